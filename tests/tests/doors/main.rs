//! Bad input gets a clear answer at the door, changes nothing and loses nothing.
//!
//! The table is data: [`orders`], [`bodies`], [`routes`], [`queries`], [`webhooks`],
//! [`procedures`], [`decisions`] and [`events`] each say what is wrong, where it comes in, and what
//! must be answered. After each row all stores are hashed: nothing was written, or no more than
//! what the row says: the verdict of a webhook or an event, or the audit of a command that a known
//! person was refused.

mod bodies;
mod decisions;
mod events;
mod orders;
mod procedures;
mod queries;
mod routes;
mod table;
mod webhooks;

use bodies::JsonDoor;
use routes::Known;
use serde_json::{Value, json};
use system_tests::{
    Failure,
    client::{As, order_of, text},
    fingerprint::{Change, Fingerprint},
    scenarios::PROCESS_ORDER,
    stack::Stack,
};
use table::Row;

/// What a test found wrong, and how many rows it has looked at.
#[derive(Default)]
struct Findings {
    rows: usize,
    wrong: Vec<String>,
}

impl Findings {
    /// Notes a row, and that it has written something that it may not.
    fn note(
        &mut self,
        line: &str,
        checked: Result<(), Failure>,
        changes: &[Change],
        is_allowed: impl Fn(&Change) -> bool,
    ) {
        self.rows += 1;
        self.wrong.extend(checked.err());
        let wrong: Vec<&Change> = changes.iter().filter(|it| !is_allowed(it)).take(5).collect();
        if !wrong.is_empty() {
            self.wrong.push(format!("{line} has written {wrong:?}"));
        }
    }

    #[track_caller]
    fn none(self, at_least: usize) {
        let Findings { rows, wrong } = self;
        assert!(wrong.is_empty(), "{} of {rows} rows\n{}", wrong.len(), wrong.join("\n"));
        assert!(at_least <= rows, "the table has shrunk to {rows} rows");
    }
}

/// A system with an order that awaits its payment and one that awaits a manager.
struct Shop {
    stack: Stack,
    order_id: String,
    saga_id: String,
    asked_id: String,
    task_id: String,
}

impl Shop {
    async fn open() -> Result<Shop, Failure> {
        let stack = Stack::start(&[]).await?;
        let api = stack.api();
        let order_id = api.place(&order_of(2, false, "bob")).await?;
        let asked_id = api.place(&order_of(1000, true, "ann")).await?;
        api.order_is(&order_id, "awaiting_payment").await?;
        api.order_is(&asked_id, "awaiting_approval").await?;
        let saga = api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
        let asked = api.saga_is(PROCESS_ORDER, &asked_id, "waiting").await?;
        let saga_id = text(&saga, "/id")?;
        let task_id = text(&asked, "/waits/0/taskId")?;
        Ok(Shop { stack, order_id, saga_id, asked_id, task_id })
    }

    fn known(&self) -> Known {
        Known {
            order_id: self.order_id.clone(),
            saga_id: self.saga_id.clone(),
            task_id: self.task_id.clone(),
        }
    }

    /// What was under way goes on as if nothing had happened.
    async fn goes_on(&self) -> Result<(), Failure> {
        let api = self.stack.api();
        let order = api.order_is(&self.order_id, "awaiting_payment").await?;
        api.customer(&text(&order, "/paymentSessionId")?, "pay", json!({})).await?;
        api.approve(&self.asked_id, true).await?.expect(202)?;
        api.order_is(&self.order_id, "shipped").await?;
        api.order_is(&self.asked_id, "awaiting_payment").await?;
        Ok(())
    }

    /// All sagas with their journals, as anybody may read them.
    async fn sagas(&self) -> Result<Vec<Value>, Failure> {
        let api = self.stack.api();
        let mut all = api.list(&format!("{}/api/sagas", api.urls().runtime), "").await?;
        for saga in &mut all {
            saga["journal"] = api.journal(&text(saga, "/id")?).await?.into();
        }
        Ok(all)
    }

    async fn check(&self, rows: &[Row]) -> Result<Findings, Failure> {
        let mut prints = Fingerprint::at_rest(&self.stack).await?;
        let mut findings = Findings::default();
        for row in rows {
            let checked = row.check(&self.stack).await;
            findings.note(&row.line(), checked, &[], |_| false);
            findings.wrong.extend(row.stray(&prints.changes()?));
        }
        let late = prints.changes_at_rest().await?;
        findings.note("the last rows", Ok(()), &late, |_| false);
        Ok(findings)
    }
}

fn json_doors(shop: &Shop) -> Vec<JsonDoor> {
    let (saga, task) = (&shop.saga_id, &shop.task_id);
    let reason = r#"{"reason":"test"}"#;
    let mut doors = vec![
        ("order POST /api/orders".to_owned(), As::Anyone, order_of(2, false, "bob").to_string()),
        (
            "order POST /api/orders/approve".to_owned(),
            As::Approver,
            json!({ "orderId": shop.asked_id, "approved": true }).to_string(),
        ),
        (
            format!("fermata POST /api/tasks/{task}/decision"),
            As::Approver,
            r#"{"approved":true}"#.to_owned(),
        ),
        (
            "fermata POST /api/definitions/process-order/sagas".to_owned(),
            As::Operator,
            json!({ "input": order_of(2, false, "bob") }).to_string(),
        ),
        ("fermata POST /api/events/1/offer".to_owned(), As::Operator, reason.to_owned()),
    ];
    for action in ["pause", "resume", "cancel", "terminate", "retry", "waive"] {
        let door = format!("fermata POST /api/sagas/{saga}/{action}");
        doors.push((door, As::Operator, reason.to_owned()));
    }
    doors.into_iter().map(|(door, who, good)| JsonDoor { door, who, good }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_order_is_refused_at_the_place_that_is_wrong() -> Result<(), Failure> {
    let shop = Shop::open().await?;
    shop.check(&orders::rows()).await?.none(190);
    shop.goes_on().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_refuses_what_it_cannot_use() -> Result<(), Failure> {
    let shop = Shop::open().await?;
    let operations = routes::operations(&shop.stack).await?;
    let mut rows = routes::rows(&operations, &shop.known());
    rows.extend(bodies::rows(&json_doors(&shop)));
    rows.extend(queries::rows(&shop.saga_id));
    rows.extend(queries::bodies(&shop.saga_id, &shop.task_id, &shop.order_id, &shop.asked_id));
    shop.check(&rows).await?.none(700);
    shop.goes_on().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_webhook_leaves_nothing_and_an_odd_one_its_verdict() -> Result<(), Failure> {
    let shop = Shop::open().await?;
    shop.check(&webhooks::forged(&shop.stack)?).await?.none(55);
    let mut prints = Fingerprint::at_rest(&shop.stack).await?;
    let mut findings = Findings::default();
    for webhooks::Odd { what, row, verdict } in webhooks::odd(&shop.stack)? {
        for is_repeat in [false, true] {
            let said = row.send(&shop.stack).await?;
            let is_right = said.status == 200 && said.body["verdict"] == verdict;
            let line =
                format!("{} {verdict}{}", row.line(), if is_repeat { ", again" } else { "" });
            let checked = if is_right { Ok(()) } else { Err(format!("{line}: {said:?}")) };
            let changes = prints.changes()?;
            findings.note(&line, checked, &changes, |it| !is_repeat && it.key.starts_with(b"hook"));
            if changes.is_empty() != is_repeat {
                findings.wrong.push(format!("{what}: a verdict is written once: {changes:?}"));
            }
        }
    }
    findings.none(50);
    shop.goes_on().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_on_nats_is_rejected_for_good() -> Result<(), Failure> {
    let shop = Shop::open().await?;
    let runtime = procedures::connect(&shop.stack, "fermata").await?;
    let mut prints = Fingerprint::at_rest(&shop.stack).await?;
    let mut findings = Findings::default();
    for row in procedures::rows() {
        let checked = row.check(&runtime).await;
        findings.note(&row.line(), checked, &prints.changes()?, |_| false);
    }
    let late = prints.changes_at_rest().await?;
    findings.note("the last rows", Ok(()), &late, |_| false);
    findings.none(300);
    shop.goes_on().await
}

async fn check_decisions(
    service: &async_nats::Client,
    stack: &Stack,
    rows: &[decisions::Asked],
) -> Result<Findings, Failure> {
    let mut prints = Fingerprint::at_rest(stack).await?;
    let mut findings = Findings::default();
    for row in rows {
        let checked = row.check(service).await;
        findings.note(&row.line(), checked, &[], |_| false);
        findings.wrong.extend(row.stray(&prints.changes()?));
    }
    let late = prints.changes_at_rest().await?;
    findings.note("the last rows", Ok(()), &late, |_| false);
    Ok(findings)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_decision_on_nats_is_refused_as_over_http() -> Result<(), Failure> {
    let shop = Shop::open().await?;
    let (stack, api) = (&shop.stack, shop.stack.api());
    let service = procedures::connect(stack, "order").await?;
    let case = decisions::Case {
        asked_id: &shop.asked_id,
        order_id: &shop.order_id,
        approver: &stack.env()["FERMATA_APPROVER_TOKEN"],
        viewer: &stack.env()["FERMATA_VIEWER_TOKEN"],
    };
    check_decisions(&service, stack, &decisions::rows(&case)).await?.none(40);
    let mut prints = Fingerprint::at_rest(stack).await?;
    decisions::send_without_reply(&service, &case).await?;
    // The answer to a request that was sent later shows that it has come.
    decisions::rows(&case)[0].check(&service).await?;
    assert_eq!(prints.changes_at_rest().await?, [], "nobody hears of it, so nothing is decided");

    let decided_id = api.place(&order_of(1000, true, "eve")).await?;
    api.order_is(&decided_id, "awaiting_approval").await?;
    api.saga_is(PROCESS_ORDER, &decided_id, "waiting").await?;
    api.approve(&decided_id, true).await?.expect(202)?;
    api.order_is(&decided_id, "awaiting_payment").await?;
    api.saga_is(PROCESS_ORDER, &decided_id, "waiting").await?;
    let case = decisions::Case { asked_id: &decided_id, ..case };
    check_decisions(&service, stack, &decisions::late_rows(&case)).await?.none(3);
    shop.goes_on().await
}

/// The verdict of an event is a record of its own; everything else is as it was.
fn is_verdict(change: &Change) -> bool {
    /// Events, notes, identities, and events that nobody declares.
    const RECORDS: &[u8] = b"vnIU";
    change.store == "fermata" && change.key.first().is_some_and(|it| RECORDS.contains(it))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_event_of_a_stranger_has_a_verdict_and_no_saga_sees_it() -> Result<(), Failure> {
    let shop = Shop::open().await?;
    let stranger = procedures::connect(&shop.stack, "developer").await?;
    let mut prints = Fingerprint::at_rest(&shop.stack).await?;
    let mut findings = Findings::default();
    let sagas = shop.sagas().await?;
    for row in events::rows() {
        let checked = row.check(&shop.stack, &stranger).await;
        findings.note(&row.line(), checked, &prints.changes_beside(&["fermata"])?, |_| false);
        if shop.sagas().await? != sagas {
            findings.wrong.push(format!("{} has moved a saga", row.line()));
        }
    }
    findings.note("all rows", Ok(()), &prints.changes_at_rest().await?, is_verdict);
    for subject in events::REFUSED {
        let stream = async_nats::jetstream::new(stranger.clone());
        let stored = match stream.publish((*subject).to_owned(), "{}".into()).await {
            Ok(stored) => stored.await.is_ok(),
            Err(_) => false,
        };
        let line = format!("| a subject of others | nats {subject} | refused | - |");
        let checked = if stored { Err(line.clone()) } else { Ok(()) };
        findings.note(&line, checked, &prints.changes()?, |_| false);
    }
    let late = prints.changes_at_rest().await?;
    findings.note("the last rows", Ok(()), &late, |_| false);
    findings.none(140);
    shop.goes_on().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hash_over_all_stores_sees_one_good_order() -> Result<(), Failure> {
    let stack = Stack::start(&[]).await?;
    let mut prints = Fingerprint::at_rest(&stack).await?;
    let before = prints.hash();
    assert_eq!(prints.changes()?, [], "nothing happens by itself");
    let order_id = stack.api().place(&order_of(2, false, "bob")).await?;
    stack.api().order_is(&order_id, "awaiting_payment").await?;
    let changes = prints.changes_at_rest().await?;
    for store in ["fermata", "order", "payment", "warehouse"] {
        assert!(changes.iter().any(|it| it.store == store), "{store}: {changes:?}");
    }
    assert!(changes.iter().all(|it| it.store != "delivery"), "{changes:?}");
    assert_ne!(prints.hash(), before);
    assert_eq!(prints.changes_at_rest().await?, [], "and it is quiet again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_and_different_decision_comes_too_late() -> Result<(), Failure> {
    let stack = Stack::start(&[]).await?;
    let api = stack.api();
    let order_id = api.place(&order_of(1000, true, "ann")).await?;
    api.order_is(&order_id, "awaiting_approval").await?;
    let saga = api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
    let task =
        format!("{}/api/tasks/{}/decision", api.urls().runtime, text(&saga, "/waits/0/taskId")?);
    api.approve(&order_id, true).await?.expect(202)?;
    api.approve(&order_id, true).await?.expect(200)?;
    api.approve(&order_id, false).await?.expect(409)?;
    let decision = |approved| json!({ "approved": approved, "reason": "looked at it" });
    api.post(As::Approver, &task, &decision(true)).await?.expect(200)?;
    api.post(As::Approver, &task, &decision(false)).await?.expect(409)?;
    api.order_is(&order_id, "awaiting_payment").await?;
    Ok(())
}
