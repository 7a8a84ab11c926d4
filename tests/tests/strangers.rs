//! Strangers with nothing but a NATS client.

use proto_schemas::{Kind, MESSAGES};
use serde_json::{Value, json};
use std::{collections::BTreeSet, process::Command, time::Duration};
use system_tests::{
    Failure,
    client::{order_of, text},
    scenarios::PROCESS_ORDER,
    stack::{Stack, python, root},
    until,
};

/// What the stranger's client printed.
fn stranger(stack: &Stack, arguments: &[&str]) -> Result<String, Failure> {
    let script = root().join("tests/python/stranger.py");
    let said = Command::new(python()?).arg(script).args(arguments).envs(stack.env()).output();
    let said = said.map_err(|err| format!("failed to run python: {err}"))?;
    if !said.status.success() {
        return Err(format!("the stranger failed: {}", String::from_utf8_lossy(&said.stderr)));
    }
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

fn publish(stack: &Stack, subject: &str, body: &Value) -> Result<String, Failure> {
    stranger(stack, &["publish", subject, &body.to_string()])
}

/// The newest event with this verdict.
async fn event_with(stack: &Stack, verdict: &str) -> Result<Value, Failure> {
    let url = format!("{}/api/events?verdict={verdict}", stack.api().urls().runtime);
    until(&format!("an event is {verdict}"), Duration::from_secs(20), || async {
        let list = stack.api().get(&url).await?;
        list["items"].get(0).cloned().ok_or_else(|| "there is none".to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_stranger_resumes_a_saga_and_a_bad_one_is_shown() -> Result<(), Failure> {
    let stack = Stack::start(&[]).await?;
    let api = stack.api();
    let order_id = api.place(&order_of(2, false, "bob")).await?;
    let order = api.order_is(&order_id, "awaiting_payment").await?;
    let session = text(&order, "/paymentSessionId")?;

    let other = json!({ "orderId": order_id, "sessionId": "cs_other", "amount": "100.00",
        "currency": "USD" });
    assert_eq!(publish(&stack, "payments.trigger.completed", &other)?, "stored");
    event_with(&stack, "kept").await?;

    let broken = json!({ "orderId": order_id, "amount": "a lot" });
    assert_eq!(publish(&stack, "payments.trigger.completed", &broken)?, "stored");
    let dead = event_with(&stack, "dead_letter").await?.to_string();
    assert!(dead.contains("sessionId") || dead.contains("amount"), "it says why: {dead}");

    let forged = json!({ "orderId": order_id, "approved": true, "by": "nobody" });
    assert_eq!(publish(&stack, "orders.trigger.approved", &forged)?, "stored");
    let refused = event_with(&stack, "refused").await?.to_string();
    assert!(refused.contains("unsigned decision"), "{refused}");

    let saga = api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
    assert_eq!(saga["waits"][0]["event"], "payments.trigger.completed", "it still waits");
    let paid = json!({ "orderId": order_id, "sessionId": session, "amount": "100.00",
        "currency": "USD" });
    assert_eq!(publish(&stack, "payments.trigger.completed", &paid)?, "stored");
    api.order_is(&order_id, "shipped").await?;

    assert!(publish(&stack, "payments.refund", &paid)?.starts_with("refused"), "no procedure");
    assert!(publish(&stack, "shop.trigger.paid", &paid)?.starts_with("refused"), "no such prefix");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_procedure_is_listed() -> Result<(), Failure> {
    let stack = Stack::start(&[]).await?;
    let listed = stranger(&stack, &["procedures"])?;
    let listed: BTreeSet<&str> = listed.lines().collect();
    let requests = MESSAGES.iter().filter(|it| matches!(it.kind, Kind::Request { .. }));
    let missing: Vec<&str> =
        requests.map(|it| it.subject).filter(|it| !listed.contains(it)).collect();
    assert!(missing.is_empty(), "not listed: {missing:?}; listed: {listed:?}");
    Ok(())
}
