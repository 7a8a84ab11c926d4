//! What happens while a process is away, or does not answer.

use serde_json::json;
use std::time::Duration;
use system_tests::{
    Failure,
    audit::SKU,
    client::{order_of, text},
    scenarios::PROCESS_ORDER,
    stack::Stack,
    until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_made_in_time_counts_though_the_runtime_was_down() -> Result<(), Failure> {
    let mut stack = Stack::start(&[("PROCESS_ORDER_PAYMENT_MS", "6000")]).await?;
    let api = stack.api().clone();
    let order_id = api.place(&order_of(2, false, "bob")).await?;
    let order = api.order_is(&order_id, "awaiting_payment").await?;
    let saga = api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
    let due = text(&saga, "/waits/0/until")?;
    stack.kill("fermata")?;
    api.customer(&text(&order, "/paymentSessionId")?, "pay", json!({})).await?;
    until("the deadline passes", Duration::from_secs(30), || async {
        let now = chrono::Utc::now().to_rfc3339();
        if due < now { Ok(()) } else { Err(format!("it is {now}, and due {due}")) }
    })
    .await?;
    stack.spawn("fermata")?;
    stack.ready("fermata").await?;
    api.order_is(&order_id, "shipped").await?;
    Ok(())
}

/// The provider is asked before an order is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_whose_webhook_is_lost_is_found_at_the_deadline() -> Result<(), Failure> {
    let stack = Stack::start(&[("PROCESS_ORDER_PAYMENT_MS", "4000")]).await?;
    let api = stack.api().clone();
    let order_id = api.place(&order_of(2, false, "bob")).await?;
    let order = api.order_is(&order_id, "awaiting_payment").await?;
    // It would come in ten minutes.
    let lost = json!({ "delayMs": 600_000 });
    api.customer(&text(&order, "/paymentSessionId")?, "pay", lost).await?;
    api.order_is(&order_id, "shipped").await?;
    let saga = text(&api.saga(PROCESS_ORDER, &order_id).await?, "/id")?;
    let journal = api.journal(&saga).await?;
    assert!(journal.iter().any(|it| it["kind"] == "timer_fired"), "{journal:?}");
    assert_eq!(api.effects(&order_id).await?["refunds"], 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reserve_in_the_socket_of_a_frozen_warehouse_is_undone() -> Result<(), Failure> {
    let stack = Stack::start(&[]).await?;
    let api = stack.api().clone();
    let stock = api.stock(SKU).await?;
    stack.signal("warehouse", libc::SIGSTOP)?;
    let order_id = api.place(&order_of(2, false, "bob")).await?;
    let saga = until("the warehouse is asked", Duration::from_secs(30), || async {
        let saga = api.saga(PROCESS_ORDER, &order_id).await?;
        let subject = saga["calls"][0]["subject"].clone();
        let attempts = saga["calls"][0]["attempts"].as_u64().unwrap_or_default();
        let is_asked = subject == "inventory.reserve" && attempts > 0;
        if is_asked { Ok(saga) } else { Err(format!("it is {saga}")) }
    })
    .await?;
    api.make_move(&text(&saga, "/id")?, "cancel").await?.expect(202)?;
    api.saga_is(PROCESS_ORDER, &order_id, "compensating").await?;
    stack.signal("warehouse", libc::SIGCONT)?;
    api.order_is(&order_id, "cancelled").await?;
    api.saga_is(PROCESS_ORDER, &order_id, "cancelled").await?;
    assert_eq!(api.stock(SKU).await?, stock, "stock is as before");
    Ok(())
}

/// The saga looks for the money before it asks the warehouse, and the answer comes later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goods_whose_money_went_back_while_the_warehouse_was_frozen_stay_for_a_person()
-> Result<(), Failure> {
    let stack = Stack::start(&[]).await?;
    let api = stack.api().clone();
    let stock = api.stock(SKU).await?;
    let order_id = api.place(&order_of(2, false, "bob")).await?;
    let order = api.order_is(&order_id, "awaiting_payment").await?;
    stack.signal("warehouse", libc::SIGSTOP)?;
    api.customer(&text(&order, "/paymentSessionId")?, "pay", json!({})).await?;
    let payment_id = api.payment_of(&order_id).await?;
    let saga = until("the warehouse is asked", api.patience(), || async {
        let saga = api.saga(PROCESS_ORDER, &order_id).await?;
        let is_asked = saga["calls"][0]["subject"] == "inventory.ship";
        if is_asked { Ok(saga) } else { Err(format!("it is {saga}")) }
    })
    .await?;
    let looked = chrono::Utc::now();
    let how = json!({ "amountMinor": 10_000 });
    api.at_the_provider(&format!("payments/{payment_id}/refund"), how).await?;
    until("the order shows the refund", api.patience(), || async {
        let order = api.order(&order_id).await?;
        if order["refunds"][0]["status"] == "succeeded" { Ok(()) } else { Err(order.to_string()) }
    })
    .await?;
    until("the look is some seconds old", api.patience(), || async {
        let age = chrono::Utc::now() - looked;
        if 6 < age.num_seconds() { Ok(()) } else { Err(format!("it is {age} old")) }
    })
    .await?;
    stack.signal("warehouse", libc::SIGCONT)?;
    until("it is asked whether the goods leave", api.patience(), || async {
        let saga = api.saga(PROCESS_ORDER, &order_id).await?;
        if saga["waits"][0]["taskId"].is_string() { Ok(()) } else { Err(saga.to_string()) }
    })
    .await?;
    assert_eq!(api.order(&order_id).await?["status"], "paid");
    api.make_move(&text(&saga, "/id")?, "cancel").await?.expect(202)?;
    api.order_is(&order_id, "cancelled").await?;
    api.saga_is(PROCESS_ORDER, &order_id, "cancelled").await?;
    assert_eq!(api.stock(SKU).await?, stock, "stock is as before");
    let effects = api.effects(&order_id).await?;
    assert_eq!(
        (&effects["refundedMinor"], &effects["shipmentsCancelled"]),
        (&json!(10_000), &json!(1))
    );
    Ok(())
}
