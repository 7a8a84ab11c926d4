//! The promises of the runtime, attacked over real processes: `runtime/ARCHITECTURE.md` has the
//! table of all tests that try to break them. What needs a clock that a test turns, or a fault at
//! an exact point, is tried in `saga-core` and in the services' kit.

use reqwest::Method;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};
use system_tests::{
    Failure,
    audit::SKU,
    chance::Chance,
    client::{Api, As, order_of, text},
    fingerprint::{Change, Fingerprint},
    scenarios::PROCESS_ORDER,
    stack::Stack,
    until,
    wire::{Seen, StandIn, Wire, Witness},
};
use tokio::{task::JoinSet, time::Instant};

const PAID: &str = "payments.trigger.completed";
const THANKED: &str = "notifications.trigger.thanked";
const WRAP: &str = "own.wrap-parcel";
const WEIGH: &str = "own.weigh-parcel";

async fn awaiting_payment(api: &Api) -> Result<(String, String), Failure> {
    let order_id = api.place(&order_of(2, false, "bob")).await?;
    let order = api.order_is(&order_id, "awaiting_payment").await?;
    api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
    Ok((order_id, text(&order, "/paymentSessionId")?))
}

async fn journal(api: &Api, order_id: &str) -> Result<Vec<Value>, Failure> {
    let saga = api.saga(PROCESS_ORDER, order_id).await?;
    api.journal(&text(&saga, "/id")?).await
}

/// A system with a witness at its broker.
async fn witnessed() -> Result<(Stack, Witness, tempfile::TempDir), Failure> {
    let (stack, dir) = witnessable("fermata").await?;
    let witness = Witness::of(&stack).await?;
    Ok((stack, witness, dir))
}

async fn witnessable(runtime: &'static str) -> Result<(Stack, tempfile::TempDir), Failure> {
    let dir = tempfile::tempdir().map_err(|err| err.to_string())?;
    let conf = Witness::conf(dir.path())?.display().to_string();
    let stack = Stack::with_runtime(runtime, &[("NATS_CONF", &conf)]).await?;
    Ok((stack, dir))
}

fn requests(witness: &Witness) -> Vec<Seen> {
    witness.seen().into_iter().filter(|it| !it.key.is_empty()).collect()
}

/// Kills the runtime where every reply is recorded, then asks everything again with the same keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_02_a_recorded_reply_is_not_asked_for_again_and_a_repeat_acts_once()
-> Result<(), Failure> {
    let (mut stack, witness, _dir) = witnessed().await?;
    let api = stack.api().clone();
    let (order_id, session) = awaiting_payment(&api).await?;
    let asked = requests(&witness);
    let keys: BTreeSet<_> = asked.iter().map(|it| it.key.clone()).collect();
    assert_eq!(keys.len(), asked.len(), "one key for each request, and each was answered at once");
    for _ in 0..2 {
        stack.kill("fermata")?;
        stack.spawn("fermata")?;
        stack.ready("fermata").await?;
    }
    // Whatever the runtime has to ask after a start, it asks before it moves another order on.
    awaiting_payment(&api).await?;
    let again = requests(&witness).into_iter().skip(asked.len());
    let again: Vec<_> = again.filter(|it| keys.contains(&it.key)).collect();
    assert!(again.is_empty(), "asked again: {again:?}");

    let (shelf, before) = (api.stock(SKU).await?, api.order(&order_id).await?);
    let wire = Wire::of(&stack, "fermata").await?;
    for Seen { schema, key, body, .. } in &asked {
        for _ in 0..3 {
            let said = wire.ask(schema, key, body).await?;
            assert_eq!(said.outcome, "ok", "{schema}: {said:?}");
        }
    }
    assert_eq!(api.stock(SKU).await?, shelf, "nothing was reserved again");
    assert_eq!(api.order(&order_id).await?, before);
    assert_eq!(api.effects(&order_id).await?["sessions"], 1);
    let mails = fs::read_dir(stack.spool()).map_err(|err| err.to_string())?.flatten();
    let mails = mails.filter(|it| it.file_name().to_string_lossy().contains(&order_id));
    assert_eq!(mails.count(), 1, "one mail");
    let reserve = asked.iter().find(|it| it.schema == "inventory.reserve").ok_or("it reserved")?;
    let mut other = reserve.body.clone();
    other["items"][0]["quantity"] = json!(1);
    let said = wire.ask("inventory.reserve", &reserve.key, &other).await?;
    assert_eq!(said.outcome, "rejected", "a known key with another body is a mistake: {said:?}");
    api.customer(&session, "pay", json!({})).await?;
    api.order_is(&order_id, "shipped").await?;
    Ok(())
}

/// The broker has taken the payment and loses its disk, while nobody is there to hear of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_03_a_services_event_outlives_the_runtimes_death_and_the_brokers_disk()
-> Result<(), Failure> {
    let (mut stack, witness, _dir) = witnessed().await?;
    let api = stack.api().clone();
    let (order_id, session) = awaiting_payment(&api).await?;
    stack.kill("fermata")?;
    api.customer(&session, "pay", json!({})).await?;
    until("the broker has the payment", Duration::from_secs(30), || async {
        let has_it = witness.seen().iter().any(|it| it.schema == PAID);
        if has_it { Ok(()) } else { Err("it has not".to_owned()) }
    })
    .await?;
    stack.kill("nats-server")?;
    let store = &stack.env()["NATS_STORE_DIR"];
    fs::remove_dir_all(store).map_err(|err| format!("{store}: {err}"))?;
    stack.spawn("nats-server")?;
    stack.spawn("fermata")?;
    api.order_is(&order_id, "shipped").await?;
    let events = journal(&api, &order_id).await?;
    assert_eq!(events.iter().filter(|it| it["event"] == PAID).count(), 1, "and counts once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_04_an_event_is_used_once_early_or_often_and_shown_when_it_is_late()
-> Result<(), Failure> {
    const LEFT: &str = "notifications.trigger.parcel-left";
    const OPENED: &str = "notifications.trigger.parcel-opened";
    let mut stack = Stack::with_runtime("own-saga", &[]).await?;
    let api = stack.api().clone();
    let developer = Wire::of(&stack, "developer").await?;
    let wrapped = StandIn::Says(json!({ "paper": "red" }));
    let _wrapping = developer.stand_in(WRAP, wrapped).await?;
    let parcel = json!({ "number": "P-1" });
    let events = format!("{}/api/events", api.urls().runtime);
    let with = |verdict: &'static str, id: &'static str| {
        let (api, events) = (api.clone(), events.clone());
        async move {
            until(&format!("{id} is {verdict}"), api.patience(), || async {
                let seen = api.list(&events, &format!("?verdict={verdict}")).await?;
                let of_id = seen.iter().filter(|it| it["id"] == id).count();
                if of_id == 1 { Ok(()) } else { Err(format!("{of_id} of {seen:?}")) }
            })
            .await
        }
    };
    // Before its saga, and a restart later.
    developer.publish(OPENED, "opened", &parcel).await?;
    with("kept", "opened").await?;
    stack.kill("fermata")?;
    stack.spawn("fermata")?;
    stack.ready("fermata").await?;
    developer.publish(LEFT, "left", &parcel).await?;
    let saga = api.saga_is("thank-you", "P-1", "completed").await?;
    assert_eq!(
        api.journal(&text(&saga, "/id")?)
            .await?
            .iter()
            .filter(|it| it["kind"] == "received")
            .count(),
        1
    );
    // Again as it was, and again with another body, for longer than the broker itself looks for
    // repeats; and once more, too late.
    let began = Instant::now();
    until("it was told again and again", Duration::from_secs(30), || async {
        developer.publish(LEFT, "left", &parcel).await?;
        let is_often = Duration::from_millis(400) < began.elapsed();
        if is_often { Ok(()) } else { Err("not for long enough".to_owned()) }
    })
    .await?;
    with("consumed", "opened").await?;
    with("started", "left").await?;
    let other = json!({ "number": "P-2" });
    until("the other body is a conflict", api.patience(), || async {
        developer.publish(LEFT, "left", &other).await?;
        let seen = api.list(&events, "?verdict=conflict").await?;
        if seen.is_empty() { Err("none is".to_owned()) } else { Ok(()) }
    })
    .await?;
    assert_eq!(api.sagas_of("P-2").await?, Vec::<Value>::new(), "a conflict starts nothing");
    developer.publish(OPENED, "opened late", &parcel).await?;
    with("unclaimed", "opened late").await?;
    assert_eq!(api.sagas_of("P-1").await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_05_whatever_is_published_has_a_verdict_that_can_be_looked_up()
-> Result<(), Failure> {
    let stack = Stack::start(&[]).await?;
    let api = stack.api();
    let developer = Wire::of(&stack, "developer").await?;
    let (order_id, session) = awaiting_payment(api).await?;
    let paid = |order_id: &str, session: &str| {
        json!({ "orderId": order_id, "sessionId": session, "amount": "100.00", "currency": "USD" })
            .to_string()
    };
    let forged = json!({ "orderId": order_id, "approved": true, "by": "nobody" }).to_string();
    let mut placed = order_of(2, false, "bob");
    placed["orderId"] = json!(order_id);
    let published = [
        ("early", "delivery.trigger.status-updated", tracked(&order_id, "picked_up"), "consumed"),
        ("other session", PAID, paid(&order_id, "cs_other"), "kept"),
        ("other order", PAID, paid("ORD-unknown", "cs_1"), "kept"),
        ("no JSON", PAID, "{\"orderId\":".to_owned(), "dead_letter"),
        ("no text", PAID, "\u{0}\u{1}".to_owned(), "dead_letter"),
        ("no order", PAID, "{}".to_owned(), "dead_letter"),
        ("a number for a name", PAID, "{\"orderId\":7}".to_owned(), "dead_letter"),
        ("forged", "orders.trigger.approved", forged, "refused"),
        ("another start", "orders.trigger.created", placed.to_string(), "conflicting_start"),
        ("unknown", "orders.trigger.nobody-knows", paid(&order_id, "cs_2"), "unrouted"),
        ("right", PAID, paid(&order_id, &session), "consumed"),
    ];
    for (id, subject, body, _) in &published {
        developer.publish_raw(subject, id, body).await?;
    }
    until("the last of them is used", api.patience(), || async {
        let order = api.order(&order_id).await?;
        let is_used = order["shipment"]["status"] == "picked_up";
        if is_used { Ok(()) } else { Err(order.to_string()) }
    })
    .await?;
    let url = format!("{}/api/events", api.urls().runtime);
    let mut wrong = Vec::new();
    let seen = api.list(&url, "").await?;
    for (id, _, _, expected) in &published {
        let of_id: Vec<_> = seen.iter().filter(|it| it["id"] == *id).collect();
        let outcomes: BTreeSet<_> = of_id.iter().flat_map(|it| verdicts(it)).collect();
        if of_id.len() != 1 || !outcomes.contains(*expected) {
            wrong.push(format!("{id}: expected {expected}, got {of_id:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(seen.iter().all(|it| !verdicts(it).is_empty()), "none is without a verdict");
    Ok(())
}

fn tracked(order_id: &str, status: &str) -> String {
    json!({ "orderId": order_id, "status": status }).to_string()
}

fn verdicts(event: &Value) -> Vec<String> {
    let verdicts = event["verdicts"].as_array().into_iter().flatten();
    verdicts.filter_map(|it| it["outcome"].as_str().map(str::to_owned)).collect()
}

/// Money, deadline and cancel within the same moments, for many orders side by side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_06_a_wait_ends_once_by_whatever_came_first() -> Result<(), Failure> {
    const ORDERS: u64 = 24;
    const PAYMENT_MS: u64 = 3000;
    let stack = Stack::start(&[("PROCESS_ORDER_PAYMENT_MS", &PAYMENT_MS.to_string())]).await?;
    let mut runs = JoinSet::new();
    for number in 0..ORDERS {
        let (api, mut chance) = (stack.api().clone(), Chance::of(number));
        runs.spawn(async move {
            let (order_id, session) = awaiting_payment(&api).await?;
            // The webhook comes within 400 ms of the deadline, on either side.
            let delay_ms = PAYMENT_MS - 400 + chance.below(800);
            api.customer(&session, "pay", json!({ "delayMs": delay_ms })).await?;
            if number % 3 == 0 {
                let saga = api.saga(PROCESS_ORDER, &order_id).await?;
                let due = text(&saga, "/waits/0/until")?;
                until("the deadline is near", Duration::from_secs(30), || async {
                    let soon = chrono::Utc::now() + chrono::TimeDelta::milliseconds(150);
                    if due < soon.to_rfc3339() { Ok(()) } else { Err(format!("due {due}")) }
                })
                .await?;
                // It may come too late for the saga, and say so.
                api.make_move(&text(&saga, "/id")?, "cancel").await?;
            }
            ended_once(&api, &order_id).await
        });
    }
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(run) = runs.join_next().await {
        *ends.entry(run.map_err(|err| err.to_string())??).or_default() += 1;
    }
    println!("{ends:?}");
    assert!(1 < ends.len(), "all ended alike, so nothing was tried: {ends:?}");
    Ok(())
}

/// By what the wait for the money has ended; what follows from that has followed, and nothing else.
async fn ended_once(api: &Api, order_id: &str) -> Result<String, Failure> {
    let (status, effects) = until("the order is settled", api.patience(), || async {
        let (order, effects) = (api.order(order_id).await?, api.effects(order_id).await?);
        let is_settled = match order["status"].as_str() {
            Some("shipped") => effects["refunds"] == 0,
            Some("cancelled") => effects["refunds"] == 1,
            _ => false,
        };
        let seen = format!("{order} with {effects}");
        if is_settled { Ok((text(&order, "/status")?, effects)) } else { Err(seen) }
    })
    .await?;
    let journal = journal(api, order_id).await?;
    let wait =
        journal.iter().find(|it| it["kind"] == "wait" && it["events"].to_string().contains(PAID));
    let step = wait.ok_or("no wait for money")?["step"].clone();
    let ends: Vec<_> = journal
        .iter()
        .filter(|it| {
            it["step"] == step
                && ["received", "timer_fired"].contains(&it["kind"].as_str().unwrap_or_default())
        })
        .map(|it| it["kind"].as_str().unwrap_or_default().to_owned())
        .collect();
    let cancelled = journal.iter().any(|it| it["kind"] == "cancel_asked");
    let parcels = effects["shipments"].as_u64().unwrap_or_default()
        - effects["shipmentsCancelled"].as_u64().unwrap_or_default();
    match (&ends[..], status.as_str()) {
        ([end], "shipped") if end == "received" && parcels == 1 => Ok("paid".to_owned()),
        // The provider had it in time, and was asked.
        ([end], "shipped") if end == "timer_fired" && parcels == 1 => Ok("told late".to_owned()),
        ([end], "cancelled") if end == "timer_fired" && parcels == 0 => Ok("too late".to_owned()),
        ([], "cancelled") if cancelled && parcels == 0 => Ok("cancelled".to_owned()),
        ([end], "cancelled") if cancelled && end == "received" && parcels == 0 => {
            Ok("paid and cancelled".to_owned())
        }
        other => Err(format!("{order_id} has ended {other:?}, {parcels} parcels: {journal:?}")),
    }
}

/// The goods may have left, the refund is refused: a person takes over, and the rest follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_08_undos_run_newest_first_and_a_failed_one_waits_for_a_button_that_works()
-> Result<(), Failure> {
    let mut stack = Stack::start(&[]).await?;
    let api = stack.api().clone();
    let shelf = api.stock(SKU).await?;
    let (order_id, session) = awaiting_payment(&api).await?;
    stack.signal("warehouse", libc::SIGSTOP)?;
    api.customer(&session, "pay", json!({})).await?;
    until("the goods are asked to leave", api.patience(), || async {
        let saga = api.saga(PROCESS_ORDER, &order_id).await?;
        let call = &saga["calls"][0];
        let is_asked = call["subject"] == "inventory.ship" && call["attempts"].as_u64() > Some(0);
        if is_asked { Ok(()) } else { Err(saga.to_string()) }
    })
    .await?;
    stack.kill("payment")?;
    let provider = Wire::of(&stack, "payment").await?;
    let refusing = provider.stand_in("payments.refund", StandIn::Rejects("no_balance")).await?;
    let saga = text(&api.saga(PROCESS_ORDER, &order_id).await?, "/id")?;
    api.make_move(&saga, "cancel").await?.expect(202)?;
    stack.signal("warehouse", libc::SIGCONT)?;
    let stuck = api.saga_is(PROCESS_ORDER, &order_id, "attention").await?;
    assert!(text(&stuck, "/reason")?.contains("payments.refund"), "it names the undo: {stuck}");
    assert_eq!(api.order(&order_id).await?["status"], "paid", "what is older is not undone yet");
    drop(refusing);
    stack.spawn("payment")?;
    stack.ready("payment").await?;
    api.make_move(&saga, "retry").await?.expect(202)?;
    api.order_is(&order_id, "cancelled").await?;
    api.saga_is(PROCESS_ORDER, &order_id, "cancelled").await?;
    assert_eq!(api.stock(SKU).await?, shelf);
    let effects = api.effects(&order_id).await?;
    assert_eq!((&effects["refunds"], &effects["shipmentsCancelled"]), (&json!(1), &json!(1)));

    let journal = api.journal(&saga).await?;
    let decided: BTreeMap<String, usize> = journal
        .iter()
        .enumerate()
        .filter(|(_, it)| it["kind"] == "undo" || it["undo"].is_object())
        .map(|(place, it)| (it["step"].to_string(), place))
        .collect();
    let undone = journal.iter().filter(|it| it["kind"] == "undone");
    let order: Vec<_> = undone.map(|it| decided[&it["step"].to_string()]).collect();
    assert_eq!(order.len(), decided.len(), "each one is done, also of what only may have happened");
    assert!(order.is_sorted_by(|newer, older| older < newer), "newest first: {order:?}");
    Ok(())
}

/// Each change of the code, with what the journal has recorded and what the code asks for instead.
const CHANGES: [(&str, &str, &str); 4] = [
    (
        "inserted",
        "turn 1: recorded: 1 wait notifications.trigger.parcel-opened of inserted",
        "asked: 1 call own.weigh-parcel",
    ),
    ("another-value", "turn 0: recorded: 0 call own.wrap-parcel", "the same with other /number"),
    (
        "left-out",
        "turn 0: recorded: 0 call own.wrap-parcel",
        "asked: 0 wait notifications.trigger.parcel-opened of left-out",
    ),
    (
        "published-early",
        "turn 1: recorded: 1 wait notifications.trigger.parcel-opened of published-early",
        "asked: 1 publish notifications.trigger.thanked",
    ),
];

/// Parcels that are wrapped, opened and thanked for, as `own-saga` and `changed-saga` have it.
struct Parcels {
    api: Api,
    developer: Wire,
}

impl Parcels {
    async fn leaves(&self, number: &str) -> Result<String, Failure> {
        self.tell("notifications.trigger.parcel-left", number).await?;
        text(&self.is(number, "waiting").await?, "/id")
    }

    async fn opened(&self, number: &str) -> Result<(), Failure> {
        self.tell("notifications.trigger.parcel-opened", number).await
    }

    async fn tell(&self, subject: &str, number: &str) -> Result<(), Failure> {
        let id = format!("{subject}/{number}");
        self.developer.publish(subject, &id, &json!({ "number": number })).await
    }

    async fn is(&self, number: &str, status: &str) -> Result<Value, Failure> {
        self.api.saga_is("thank-you", number, status).await
    }
}

/// What the runtime has sent of this parcel: requests and events, each once.
fn sent(witness: &Witness, number: &str) -> BTreeSet<String> {
    let seen = witness.seen().into_iter();
    let ours = seen.filter(|it| !it.key.is_empty() || it.schema == THANKED);
    let of_it = |it: &Seen| it.body["number"].as_str().is_some_and(|it| it.starts_with(number));
    ours.filter(of_it).map(|it| format!("{} {} {}", it.schema, it.key, it.body)).collect()
}

async fn has_sent(witness: &Witness, number: &str, all: &[&str]) -> Result<(), Failure> {
    until(&format!("{all:?} is all that was sent of {number}"), Duration::from_secs(60), || async {
        let seen = sent(witness, number);
        let is_all =
            seen.iter().map(|it| it.split(' ').next().unwrap_or_default()).eq(all.iter().copied());
        if is_all { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await
}

/// The rows of a journal, as the runtime's store has them under their keys.
fn entries(changes: &[Change], saga: &str) -> Result<Vec<u32>, Failure> {
    let id = uuid::Uuid::parse_str(saga).map_err(|err| format!("{saga}: {err}"))?;
    let prefix = [b"e", &id.as_bytes()[..]].concat();
    let keys = changes.iter().filter(|it| it.store == "fermata").map(|it| &it.key);
    let numbers = keys.filter_map(|it| it.strip_prefix(&prefix[..]));
    Ok(numbers.map(|it| it.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))).collect())
}

/// Four deploys of other code over sagas that wait, each with the event that moves one of them on;
/// and then the code with which they began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_09_changed_code_is_found_named_and_held() -> Result<(), Failure> {
    let (mut stack, _dir) = witnessable("own-saga").await?;
    let witness = Witness::on(&stack, &["own.>", THANKED]).await?;
    let (api, developer) = (stack.api().clone(), Wire::of(&stack, "developer").await?);
    let wrapped = StandIn::Says(json!({ "paper": "red" }));
    let _wrapping = developer.stand_in(WRAP, wrapped).await?;
    let _weighing = developer.stand_in(WEIGH, StandIn::Says(json!(7))).await?;
    let parcels = Parcels { api: api.clone(), developer };
    let mut held = BTreeMap::new();
    for number in CHANGES.map(|it| it.0).into_iter().chain(["same"]) {
        let saga = parcels.leaves(number).await?;
        has_sent(&witness, number, &[WRAP]).await?;
        held.insert(number, (saga.clone(), api.journal(&saga).await?, sent(&witness, number)));
    }
    for (change, recorded, asked) in CHANGES {
        stack.deploy("changed-saga", &[("CHANGE", change)]).await?;
        let mut prints = Fingerprint::at_rest(&stack).await?;
        parcels.opened(change).await?;
        let reason = text(&parcels.is(change, "attention").await?, "/reason")?;
        assert!(reason.contains(recorded) && reason.contains(asked), "{reason}");
        let (saga, before, _) = &held[change];
        let changes = prints.changes_at_rest().await?;
        assert_eq!(
            entries(&changes, saga)?,
            [2],
            "the third entry is new, and no other is touched"
        );
        for (saga, ..) in held.values().filter(|it| it.0 != *saga) {
            assert_eq!(entries(&changes, saga)?, [0_u32; 0], "who had no event is left alone");
        }
        let journal = api.journal(saga).await?;
        assert_eq!(journal[..before.len()], before[..], "the journal is untouched");
        let [held_fact] = &journal[before.len()..] else { return Err(format!("{journal:?}")) };
        assert_eq!(held_fact["kind"], "received", "the event is not lost: {held_fact}");
        assert!(text(held_fact, "/held")?.contains(asked), "{held_fact}");

        // Whoever begins with this code goes its whole way beside the one that is held.
        let other = format!("begun-after-{change}");
        parcels.leaves(&other).await?;
        parcels.opened(&other).await?;
        parcels.is(&other, "completed").await?;
        stack.ready("fermata").await?;
        let all: &[&str] = match change {
            "inserted" => &[THANKED, WEIGH, WRAP],
            "left-out" => &[THANKED],
            _ => &[THANKED, WRAP],
        };
        has_sent(&witness, &other, all).await?;
        for (number, (_, _, before)) in &held {
            assert_eq!(
                sent(&witness, number),
                *before,
                "nothing of {number} was sent with {change}"
            );
        }
    }
    // A computation that changes no decision is no divergence.
    stack.deploy("changed-saga", &[("CHANGE", "output")]).await?;
    parcels.opened("same").await?;
    parcels.is("same", "completed").await?;
    let (saga, ..) = &held["same"];
    let journal = api.journal(saga).await?;
    let output = journal.iter().find(|it| it["kind"] == "complete").ok_or("it has no end")?;
    assert_eq!(output["output"], "RED paper, opened");

    stack.deploy("own-saga", &[]).await?;
    for (change, ..) in CHANGES {
        let (saga, before, sent_before) = &held[change];
        parcels.is(change, "attention").await?;
        api.make_move(saga, "retry").await?.expect(202)?;
        parcels.is(change, "completed").await?;
        let journal = api.journal(saga).await?;
        assert_eq!(journal[..before.len()], before[..]);
        let output = journal.iter().find(|it| it["kind"] == "complete").ok_or("it has no end")?;
        assert_eq!(output["output"], "red paper, opened");
        has_sent(&witness, change, &[THANKED, WRAP]).await?;
        assert!(sent(&witness, change).is_superset(sent_before));
    }
    Ok(())
}

/// Every write of every process, as its document lists them, by nobody and by who may only look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_10_nothing_but_an_order_can_be_written_without_leave() -> Result<(), Failure> {
    let stack = Stack::start(&[]).await?;
    let api = stack.api();
    let (order_id, _) = awaiting_payment(api).await?;
    let before = (api.order(&order_id).await?, journal(api, &order_id).await?);
    let urls = api.urls();
    let mut writes = 0;
    for url in [
        &urls.runtime,
        &urls.order,
        &urls.payment,
        &urls.warehouse,
        &urls.delivery,
        &urls.notification,
    ] {
        let document =
            api.ask(As::Anyone, Method::GET, &format!("{url}/openapi.json"), None).await?;
        let document = document.expect(200)?;
        for (path, operations) in document["paths"].as_object().into_iter().flatten() {
            let saga = text(&api.saga(PROCESS_ORDER, &order_id).await?, "/id")?;
            let place = filled(path, &saga, &order_id);
            for (method, who) in calls(operations) {
                let is_write = method != Method::GET;
                let expected = match (path.as_str(), is_write, who) {
                    ("/livez" | "/readyz" | "/metrics" | "/openapi.json", ..) => 200,
                    ("/api/orders", true, _) => 422,
                    (hook, true, _) if hook.starts_with("/webhooks/") => 400,
                    (_, _, As::Anyone) => 401,
                    (_, true, _) => 403,
                    _ => continue,
                };
                writes += usize::from(is_write);
                let (url, body) = (format!("{url}{place}"), json!({}));
                let answer = api.ask(who, method.clone(), &url, is_write.then_some(&body)).await?;
                let what = format!("{method} {url} by {who:?}");
                answer.expect(expected).map_err(|why| format!("{what}: {why}"))?;
            }
        }
    }
    assert!(14 <= writes, "only {writes} writes were tried");
    let after = (api.order(&order_id).await?, journal(api, &order_id).await?);
    assert_eq!(after, before);

    // Over NATS: a request by whoever may only publish events is not heard by anybody.
    let developer = Wire::of(&stack, "developer").await?;
    let release = json!({ "orderId": order_id });
    let shelf = api.stock(SKU).await?;
    let said = developer.ask("inventory.release", "by-a-stranger", &release).await;
    assert!(said.is_err(), "{said:?}");
    assert_eq!(api.stock(SKU).await?, shelf);
    Ok(())
}

/// The operations of a path, each by nobody and by a viewer.
fn calls(operations: &Value) -> Vec<(Method, As)> {
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let there = |it: &Method| operations.get(it.as_str().to_lowercase()).is_some();
    let methods = methods.into_iter().filter(there);
    methods.flat_map(|it| [(it.clone(), As::Anyone), (it, As::Viewer)]).collect()
}

/// The path with something real in each place.
fn filled(path: &str, saga: &str, order_id: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{id}" if path.starts_with("/api/sagas") => saga,
        "{id}" => order_id,
        "{action}" => "cancel",
        "{name}" => PROCESS_ORDER,
        "{sku}" => SKU,
        "{position}" => "1",
        part if part.starts_with('{') => "x",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}
