//! What must hold of the journal of every way: the same decisions follow from each of its parts,
//! it needs no code to be understood, and code that asks for anything else is found.

use super::{
    paths::WAYS,
    shop::{SESSION, services},
    world::{PAID, PLACED, World, order, payment, registry_with},
};
use crate::{
    Settings,
    late_delivery::LateDelivery,
    late_payment::LatePayment,
    process_order::{Limits, ProcessOrder},
    record_dispute::RecordDispute,
    record_refund::RecordRefund,
};
use proto_schemas::inventory::CheckAvailability;
use saga_core::{
    abort::Abort,
    ctx::Ctx,
    fold::{OpenWait, State, fold},
    id::Path,
    journal::{Decision, Entry, Fact, Turn},
    payload::Payload,
    replay::{Applied, Code, Live, ReplayError, code},
    saga::{Declared, Saga},
    testing::Desk,
};
use serde_json::{Value, json};
use std::{
    cell::Cell,
    future::{IntoFuture, poll_fn},
    marker::PhantomData,
    num::NonZeroU32,
};

/// Every journal of every way, with the code that wrote it.
fn each_journal(mut check: impl FnMut(&str, Code, &[Entry])) {
    for (name, go) in WAYS {
        let world = go();
        for (head, journal) in world.journals() {
            let code = world.desk.registry().get(&head.definition).unwrap().code;
            check(&format!("{name}, {} of {}", head.definition, head.key), code, &journal);
        }
    }
}

fn decisions(entry: &Entry) -> &[Decision] {
    match &entry.turn {
        Turn::Done { decisions, .. } => decisions,
        Turn::Held(_) => &[],
    }
}

fn with_decisions(journal: &[Entry], turn: usize, decided: Vec<Decision>) -> Vec<Entry> {
    let mut mutant = journal.to_vec();
    if let Turn::Done { decisions, .. } = &mut mutant[turn].turn {
        *decisions = decided;
    }
    mutant
}

#[test]
fn from_every_prefix_the_same_decisions_follow() {
    each_journal(|name, code, journal| {
        for (at, entry) in journal.iter().enumerate() {
            // A held fact has no turn: the saga was cancelled before its code saw it.
            let Turn::Done { at: turn_at, decisions } = &entry.turn else { continue };
            let mut live = Live::replay(code, &journal[..at]).unwrap();
            let applied = live.turn(entry.at, *turn_at, &entry.fact);
            assert_eq!(applied, Ok(Applied::Decided(decisions.clone())), "{name}, turn {at}");
        }
    });
}

#[test]
fn without_its_code_a_journal_tells_the_same_open_waits_and_owed_undos() {
    let without_place = |state: State| -> (Vec<OpenWait>, usize, usize) {
        let place = |it: OpenWait| OpenWait { opened: (0, 0), ..it };
        let waits = state.waits.into_iter().map(place).collect();
        (waits, state.undos.len(), state.owed.len())
    };
    let mut waits_seen = 0;
    each_journal(|name, code, journal| {
        for at in 1..=journal.len() {
            let part = &journal[..at];
            if part.iter().any(|it| matches!(it.turn, Turn::Held(_))) {
                break; // Its step is settled, but the code does not know yet.
            }
            let live = without_place(Live::replay(code, part).unwrap().state());
            waits_seen += live.0.len();
            assert_eq!(without_place(fold(part)), live, "{name}, after {at} entries");
        }
    });
    assert!(waits_seen > WAYS.len(), "only {waits_seen} waits were open");
}

#[test]
fn a_decision_more_or_less_diverges_wherever_it_is() {
    each_journal(|name, code, journal| {
        for (turn, entry) in journal.iter().enumerate() {
            if matches!(entry.turn, Turn::Held(_)) {
                continue;
            }
            let decided = decisions(entry);
            for at in 0..decided.len() {
                let mut less = decided.to_vec();
                let what = format!("{name}, without {}", less.remove(at));
                let mutant = with_decisions(journal, turn, less);
                if matches!(decided[at], Decision::Patch { .. }) {
                    // Without its mark the code goes the old way: it is found where the ways part.
                    let res = Live::replay(code, &mutant).map(drop);
                    assert!(matches!(res, Err(ReplayError::Diverged { .. })), "{what}: {res:?}");
                    continue;
                }
                diverges(code, &mutant, turn, &what);
            }
            for at in 0..=decided.len() {
                let mut more = decided.to_vec();
                more.insert(at, Decision::Patch { id: "never asked".to_owned() });
                let what = format!("{name}, more in turn {turn} at {at}");
                diverges(code, &with_decisions(journal, turn, more), turn, &what);
            }
        }
    });
}

#[test]
fn a_changed_decision_diverges_and_a_changed_length_of_time_does_not() {
    let (mut changed, mut free) = (0, 0);
    each_journal(|name, code, journal| {
        for (turn, entry) in journal.iter().enumerate() {
            for (at, decision) in decisions(entry).iter().enumerate() {
                for (pointer, other) in changes(decision) {
                    let mut decided = decisions(entry).to_vec();
                    decided[at] = other;
                    let mutant = with_decisions(journal, turn, decided);
                    let what = format!("{name}, turn {turn}, {decision}, {pointer}");
                    if is_free(&pointer) {
                        let res = Live::replay(code, &mutant).map(drop);
                        assert_eq!(res, Ok(()), "{what}");
                        free += 1;
                    } else {
                        diverges(code, &mutant, turn, &what);
                        changed += 1;
                    }
                }
            }
        }
    });
    println!("{changed} values and {free} lengths of time were changed");
    assert!(2000 < changed && 500 < free, "only {changed} and {free}");
}

/// What is recorded and stays in force, whatever the code says today.
fn is_free(pointer: &str) -> bool {
    ["/within_ms", "/retry/", "/ask/"].iter().any(|it| pointer.contains(it))
}

#[track_caller]
fn diverges(code: Code, journal: &[Entry], at: usize, what: &str) {
    let is_turn = |it: &&Entry| matches!(it.turn, Turn::Done { .. });
    let in_turn = journal[..at].iter().filter(is_turn).count();
    match Live::replay(code, journal).map(drop) {
        Err(ReplayError::Diverged { turn, .. }) => assert_eq!(turn, in_turn, "{what}"),
        other => panic!("{what}: {other:?}"),
    }
}

/// The decision with one string, number or boolean changed, for each of them.
fn changes(decision: &Decision) -> Vec<(String, Decision)> {
    let value: Value = serde_json::from_str(&serde_json::to_string(decision).unwrap()).unwrap();
    let changed = leaves(&value, "").into_iter().filter_map(|pointer| {
        let mut other = value.clone();
        change(other.pointer_mut(&pointer).unwrap());
        // What is no decision any more cannot be stored either.
        let other = serde_json::from_str(&other.to_string()).ok()?;
        Some((pointer, other))
    });
    changed.collect()
}

/// JSON pointers of all strings, numbers and booleans.
fn leaves(value: &Value, at: &str) -> Vec<String> {
    match value {
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.flat_map(|(idx, it)| leaves(it, &format!("{at}/{idx}"))).collect()
        }
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, it)| leaves(it, &format!("{at}/{name}"))).collect()
        }
        Value::Null => Vec::new(),
        _ => vec![at.to_owned()],
    }
}

fn change(value: &mut Value) {
    *value = match &*value {
        Value::String(it) => json!(format!("{it}x")),
        Value::Number(it) => json!(it.as_u64().unwrap() + 1),
        Value::Bool(it) => json!(!it),
        it => it.clone(),
    };
}

thread_local! {
    /// In which poll of a saga's future a call is inserted, and whether before its own code.
    static INSERT: Cell<Option<(usize, bool)>> = const { Cell::new(None) };
    /// How often the future was polled, and whether the call was inserted.
    static POLLED: Cell<(usize, bool)> = const { Cell::new((0, false)) };
}

/// A definition with one more call, at the place that `INSERT` names.
struct Inserted<S>(PhantomData<S>);

impl<S: Saga> Saga for Inserted<S> {
    const NAME: &'static str = S::NAME;
    type Input = S::Input;
    type Output = S::Output;
    type Settings = S::Settings;

    fn events() -> Vec<Declared> {
        S::events()
    }

    async fn run(ctx: Ctx<S::Settings>, input: S::Input) -> Result<S::Output, Abort> {
        let insert = INSERT.get();
        let mut more = ctx.call(CheckAvailability { items: Vec::new() }).into_future();
        let mut code = Box::pin(S::run(ctx, input));
        POLLED.set((0, false));
        poll_fn(|cx| {
            let polls = POLLED.get().0;
            let is_before = insert == Some((polls, true));
            if is_before {
                assert!(more.as_mut().poll(cx).is_pending(), "nobody answers it");
            }
            let res = code.as_mut().poll(cx);
            let is_behind = insert == Some((polls, false)) && res.is_pending();
            if is_behind {
                assert!(more.as_mut().poll(cx).is_pending(), "nobody answers it");
            }
            let is_inserted = POLLED.get().1 || is_before || is_behind;
            POLLED.set((polls + 1, is_inserted));
            res
        })
        .await
    }
}

/// Before couriers tried again, the first failure was the end, and no number of them was recorded.
#[test]
fn an_order_that_ended_at_its_first_failed_delivery_replays() {
    let once = Limits { delivery_attempts: NonZeroU32::MIN, ..Limits::default() };
    let registry = registry_with(&Settings { process_order: once });
    let world = World { desk: Desk::new(registry), services: services(10) };
    let world = world.placed().paid().tracked("failed");
    let mut journal = world.journal(world.order().id);
    let tries_again = |it: &Decision| matches!(it, Decision::Patch { id } if id.contains("try"));
    assert!(!journal.iter().flat_map(decisions).any(tries_again));
    let Fact::Started(start) = &mut journal[0].fact else { panic!("it begins so") };
    start.settings = Payload::of(&json!({
        "approvalMs": 86_400_000, "paymentMs": 86_400_000, "deliveryMs": 1_209_600_000
    }))
    .unwrap();
    assert_eq!(Live::replay(code::<ProcessOrder>(), &journal).map(drop), Ok(()));
    // And one that still holds for the courier goes by the new way.
    let waiting = &journal[..journal.len() - 3];
    let mut live = Live::replay(code::<ProcessOrder>(), waiting).unwrap();
    let failed = &journal[waiting.len()];
    assert!(matches!(failed.fact, Fact::Received { .. }), "{:?}", failed.fact);
    let Turn::Done { at, .. } = failed.turn else { panic!("it was seen") };
    live.turn(failed.at, at, &failed.fact).unwrap();
    let told = &journal[waiting.len() + 1];
    let Turn::Done { at, .. } = told.turn else { panic!("it was seen") };
    let Ok(Applied::Decided(decided)) = live.turn(told.at, at, &told.fact) else {
        panic!("it is applied")
    };
    assert!(matches!(decided[0], Decision::Patch { .. }), "{decided:?}");
}

#[test]
fn a_call_inserted_at_any_await_of_history_diverges() {
    let mut inserted = 0;
    for (name, go) in WAYS {
        for (head, journal) in go().journals() {
            let code = match head.definition.as_str() {
                ProcessOrder::NAME => code::<Inserted<ProcessOrder>>(),
                LatePayment::NAME => code::<Inserted<LatePayment>>(),
                LateDelivery::NAME => code::<Inserted<LateDelivery>>(),
                RecordRefund::NAME => code::<Inserted<RecordRefund>>(),
                RecordDispute::NAME => code::<Inserted<RecordDispute>>(),
                other => panic!("{other}"),
            };
            INSERT.set(None);
            assert_eq!(Live::replay(code, &journal).map(drop), Ok(()), "{name}, nothing inserted");
            for poll in 0..POLLED.get().0 {
                for is_before in [true, false] {
                    INSERT.set(Some((poll, is_before)));
                    let res = Live::replay(code, &journal).map(drop);
                    if POLLED.get().1 {
                        let diverged = matches!(res, Err(ReplayError::Diverged { .. }));
                        assert!(diverged, "{name}, poll {poll}, {is_before}: {res:?}");
                        inserted += 1;
                    }
                }
            }
        }
    }
    println!("{inserted} calls were inserted");
    assert!(400 < inserted, "only {inserted}");
}

/// What was shipped for other money before that was held for a person stays as it is recorded.
#[test]
fn an_order_that_was_shipped_for_other_money_without_a_word_still_replays() {
    let world = World::awaiting_delivery().tracked("delivered");
    let mut journal = world.journal(world.order().id);
    let other = |body: &Payload| {
        let mut paid = body.to_value();
        *paid.get_mut("amount")? = json!("90.00");
        Payload::of(&paid).ok()
    };
    let mut changed = 0;
    for entry in &mut journal {
        let paid = match (&mut entry.fact, &mut entry.turn) {
            (Fact::Received { event, body, .. }, Turn::Done { decisions, .. }) if event == PAID => {
                let refund = decisions.iter_mut().find_map(|it| match it {
                    Decision::Undo { command, .. } => Some(&mut command.body),
                    _ => None,
                });
                [Some(body), refund]
            }
            _ => continue,
        };
        for body in paid.into_iter().flatten() {
            *body = other(body).unwrap();
            changed += 1;
        }
    }
    assert_eq!(changed, 2, "what was paid, and what is to go back");
    let code = world.desk.registry().get(ProcessOrder::NAME).unwrap().code;
    assert_eq!(Live::replay(code, &journal).map(drop), Ok(()));
}

/// What was given up at its deadline before the provider was asked stays as it is recorded.
#[test]
fn an_order_that_was_given_up_unasked_still_replays() {
    let world = World::awaiting_payment().waited_h(24);
    let mut journal = world.journal(world.order().id);
    let is_mark = |it: &Decision| matches!(it, Decision::Patch { .. });
    let asked = journal.iter().position(|it| decisions(it).iter().any(is_mark)).unwrap();
    let code = world.desk.registry().get(ProcessOrder::NAME).unwrap().code;
    // Its deadline passed, and the code gave up in the same turn.
    let gave_up = decisions(&journal[asked + 1]).to_vec();
    journal = with_decisions(&journal, asked, gave_up);
    journal.truncate(asked + 1);
    assert_eq!(Live::replay(code, &journal).map(drop), Ok(()));
}

/// What was shipped before anybody looked whether its money is still here too.
#[test]
fn an_order_that_was_shipped_unlooked_still_replays() {
    let world = World::awaiting_delivery();
    let mut journal = world.journal(world.order().id);
    let is_mark = |it: &Decision| matches!(it, Decision::Patch { .. });
    let looked = journal.iter().position(|it| decisions(it).iter().any(is_mark)).unwrap();
    // The goods were asked for instead, as the step that is the look now.
    let [Decision::Patch { .. }, Decision::Call { step: look, .. }] = decisions(&journal[looked])
    else {
        panic!("a mark and a look: {:?}", journal[looked])
    };
    let mut shipped = decisions(&journal[looked + 1]).to_vec();
    let [Decision::Call { step, .. }] = &mut shipped[..] else { panic!("{shipped:?}") };
    *step = look.clone();
    journal = with_decisions(&journal, looked, shipped);
    journal.truncate(looked + 1);
    let code = world.desk.registry().get(ProcessOrder::NAME).unwrap().code;
    assert_eq!(Live::replay(code, &journal).map(drop), Ok(()));
}

/// What was held up, and left without another look at its money.
#[test]
fn an_order_that_was_held_up_and_shipped_without_another_look_still_replays() {
    let world = World::shipping_slowly().settled();
    let mut journal = world.journal(world.order().id);
    let looked = journal.iter().position(|it| decisions(it).iter().any(is_held_up)).unwrap();
    let [Decision::Patch { .. }, Decision::Call { step: look, .. }] = decisions(&journal[looked])
    else {
        panic!("a mark and a look: {:?}", journal[looked])
    };
    // The commit and the step behind it came in the same turn.
    let mut left = decisions(&journal[looked + 1]).to_vec();
    let [Decision::Commit, Decision::Call { step, .. }] = &mut left[..] else { panic!("{left:?}") };
    *step = look.clone();
    journal = with_decisions(&journal, looked, left);
    journal.truncate(looked + 1);
    let code = world.desk.registry().get(ProcessOrder::NAME).unwrap().code;
    assert_eq!(Live::replay(code, &journal).map(drop), Ok(()));
}

fn is_held_up(decision: &Decision) -> bool {
    matches!(decision, Decision::Patch { id } if id.contains("held up"))
}

fn is_behind_a_yes(decision: &Decision) -> bool {
    matches!(decision, Decision::Patch { id } if id.contains("behind a yes"))
}

fn ships(decision: &Decision) -> bool {
    matches!(decision, Decision::Call { command, .. } if command.subject == "inventory.ship")
}

/// The turn in which the goods leave, with its call under this step.
fn ships_at(journal: &[Entry], at: &Path) -> Vec<Decision> {
    let shipped = journal.iter().find(|it| decisions(it).iter().any(ships)).unwrap();
    let mut shipped = decisions(shipped).to_vec();
    let [Decision::Call { step, .. }] = &mut shipped[..] else { panic!("{shipped:?}") };
    *step = at.clone();
    shipped
}

/// What was told to be disputed, and sent all the same, before a person was asked about that.
#[test]
fn an_order_that_was_shipped_though_it_was_disputed_still_replays() {
    let world = World::paid_and_disputed().decided(true);
    let mut journal = world.journal(world.order().id);
    let is_mark = |it: &Decision| matches!(it, Decision::Patch { id } if id.contains("disputed"));
    let asked = journal.iter().position(|it| decisions(it).iter().any(is_mark)).unwrap();
    let [Decision::Patch { .. }, Decision::Wait { step: ask, .. }] = decisions(&journal[asked])
    else {
        panic!("a mark and a question: {:?}", journal[asked])
    };
    let shipped = ships_at(&journal, ask);
    journal = with_decisions(&journal, asked, shipped);
    journal.truncate(asked + 1);
    let code = world.desk.registry().get(ProcessOrder::NAME).unwrap().code;
    assert_eq!(Live::replay(code, &journal).map(drop), Ok(()));
}

/// A yes of a manager was to any dispute, before each was asked about.
#[test]
fn an_order_that_was_shipped_though_it_was_disputed_once_more_still_replays() {
    let world = World::awaiting_payment().ledger_names(&["du_1"]).paid();
    let world = world.ledger_names(&["du_2"]).decided(true);
    let mut journal = world.journal(world.order().id);
    let is_mark = |it: &Decision| matches!(it, Decision::Patch { id } if id.contains("each"));
    let asked = journal.iter().position(|it| decisions(it).iter().any(is_mark)).unwrap();
    let [Decision::Patch { .. }, Decision::Wait { step: ask, .. }] = decisions(&journal[asked])
    else {
        panic!("a mark and a question: {:?}", journal[asked])
    };
    let other = World::awaiting_delivery();
    let shipped = ships_at(&other.journal(other.order().id), ask);
    journal = with_decisions(&journal, asked, shipped);
    journal.truncate(asked + 1);
    let code = world.desk.registry().get(ProcessOrder::NAME).unwrap().code;
    assert_eq!(Live::replay(code, &journal).map(drop), Ok(()));
}

/// A yes of a manager was believed, however long it took, before it was looked once more.
#[test]
fn an_order_that_was_shipped_on_a_managers_yes_alone_still_replays() {
    let world = World::paid_and_disputed().decided(true);
    let mut journal = world.journal(world.order().id);
    let said = journal.iter().position(|it| decisions(it).iter().any(is_behind_a_yes)).unwrap();
    let [Decision::Patch { .. }, Decision::Call { step: look, .. }] = decisions(&journal[said])
    else {
        panic!("a mark and a look: {:?}", journal[said])
    };
    let shipped = ships_at(&journal, look);
    journal = with_decisions(&journal, said, shipped);
    journal.truncate(said + 1);
    let code = world.desk.registry().get(ProcessOrder::NAME).unwrap().code;
    assert_eq!(Live::replay(code, &journal).map(drop), Ok(()));
}

/// So does a refund that had failed before anybody was told.
#[test]
fn a_failed_refund_that_was_only_recorded_still_replays() {
    let world = World::awaiting_payment().refunded("re_1", "succeeded");
    let saga = world.sagas().into_iter().find(|it| it.definition == RecordRefund::NAME).unwrap();
    let mut journal = world.journal(saga.id);
    let first = &mut journal[0];
    let (Fact::Started(start), Turn::Done { decisions, .. }) = (&mut first.fact, &mut first.turn)
    else {
        panic!("a start")
    };
    let mut input = start.input.to_value();
    input["status"] = json!("failed");
    start.input = Payload::of(&input).unwrap();
    decisions.retain(|it| !matches!(it, Decision::Patch { .. }));
    let [Decision::Call { command, .. }] = &mut decisions[..] else { panic!("one call") };
    let mut asked = command.body.to_value();
    asked["refund"] = json!({ "refundId": "re_1", "amount": "100.00", "status": "failed" });
    command.body = Payload::of(&asked).unwrap();
    let code = world.desk.registry().get(RecordRefund::NAME).unwrap().code;
    assert_eq!(Live::replay(code, &journal).map(drop), Ok(()));
}

#[test]
fn the_order_of_replies_in_the_join_changes_no_name_and_no_decision() {
    let decided = |first: &str, second: &str| {
        let mut world = World::new(services(10));
        world.desk.event(PLACED, order());
        for subject in ["orders.calculate-risk", "inventory.reserve", first, second] {
            let id = world.desk.find(subject, false);
            let asked = world.desk.requests();
            let request = asked.iter().find(|it| it.id == id).unwrap();
            let answer = world.services.ask(request);
            world.desk.answer(&id, answer);
        }
        world.settle();
        let world = world.paid().tracked("delivered");
        let journal = world.journal(world.order().id);
        journal.iter().flat_map(decisions).map(ToString::to_string).collect::<Vec<String>>()
    };
    assert_eq!(
        decided("notifications.send", "payments.create-session"),
        decided("payments.create-session", "notifications.send")
    );
}

/// A manager's yes was the last word, also behind a second look. Such an order waits for its
/// courier for up to two weeks.
#[test]
fn an_order_that_was_looked_at_again_and_then_shipped_on_a_yes_still_replays() {
    let world = World::shipping_slowly().ledger_says("100.00", true).settled().decided(true);
    let mut journal = world.journal(world.order().id);
    let said = journal.iter().position(|it| decisions(it).iter().any(is_behind_a_yes)).unwrap();
    assert!(journal[..said].iter().any(|it| decisions(it).iter().any(is_held_up)));
    let [Decision::Patch { .. }, Decision::Call { step: look, .. }] = decisions(&journal[said])
    else {
        panic!("a mark and a look: {:?}", journal[said])
    };
    // The commit and the step behind it came in the same turn.
    let commits = |it: &&Entry| decisions(it).first() == Some(&Decision::Commit);
    let mut left = decisions(journal.iter().find(commits).unwrap()).to_vec();
    let [Decision::Commit, Decision::Call { step, .. }] = &mut left[..] else { panic!("{left:?}") };
    *step = look.clone();
    journal = with_decisions(&journal, said, left);
    journal.truncate(said + 1);
    let code = world.desk.registry().get(ProcessOrder::NAME).unwrap().code;
    assert_eq!(Live::replay(code, &journal).map(drop), Ok(()));
}

/// A manager's yes was believed at once, and it was looked once more only behind a slow warehouse.
#[test]
fn an_order_that_was_looked_at_again_behind_a_slow_warehouse_alone_still_replays() {
    let mut world = World::awaiting_payment().ledger_says("100.00", true);
    world.desk.event(PAID, payment(SESSION));
    world.settle();
    world.look_at_order();
    world.desk.decide(true, "as I see fit").unwrap();
    world.settle_without("inventory.ship");
    world.desk.wait_s(60);
    let world = world.settled();
    let mut journal = world.journal(world.order().id);
    let said = journal.iter().position(|it| decisions(it).iter().any(is_behind_a_yes)).unwrap();
    let shipped = journal.iter().position(|it| decisions(it).iter().any(ships)).unwrap();
    let held_up = journal.iter().position(|it| decisions(it).iter().any(is_held_up)).unwrap();
    let step_of = |it: &Entry| match decisions(it).last() {
        Some(Decision::Call { step, .. }) => step.clone(),
        other => panic!("a call: {other:?}"),
    };
    let (yes_step, ship_step) = (step_of(&journal[said]), step_of(&journal[shipped]));
    // Without the look behind the yes all that follows is a step earlier.
    let mut looks = decisions(&journal[held_up]).to_vec();
    let [Decision::Patch { .. }, Decision::Call { step, .. }] = &mut looks[..] else {
        panic!("a mark and a look: {looks:?}")
    };
    *step = ship_step;
    let ships = ships_at(&journal, &yes_step);
    journal = with_decisions(&journal, said, ships);
    journal = with_decisions(&journal, held_up, looks);
    let Fact::Replied { step, .. } = &mut journal[held_up].fact else { panic!("a reply") };
    *step = yes_step;
    journal.truncate(held_up + 1);
    journal.remove(shipped);
    let code = world.desk.registry().get(ProcessOrder::NAME).unwrap().code;
    assert_eq!(Live::replay(code, &journal).map(drop), Ok(()));
}
