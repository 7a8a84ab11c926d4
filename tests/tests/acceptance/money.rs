//! Payments and their webhooks.

use super::{
    COUNTED_SKU, SHELF, awaiting_payment, counted, events, history, journal, mails_are, of_kind,
    session_of,
};
use serde_json::json;
use std::process::Command;
use system_tests::{
    Failure,
    client::{As, order_of},
    scenarios::{LATE, PROCESS_ORDER},
    shared::system,
    signed::{stripe, stripe_event},
    stack::{binary, dev_env},
    until,
    wire::Wire,
};

const PAID: &str = "payments.trigger.completed";
const SESSION_PAID: &str = "checkout.session.completed";

#[tokio::test]
async fn line_13_a_wait_takes_the_event_of_its_own_order_early_or_often_and_no_other()
-> Result<(), Failure> {
    let (stack, api) = system().await?;
    let developer = Wire::of(stack, "developer").await?;
    let (ours, session) = awaiting_payment(&api).await?;
    let (theirs, their_session) = awaiting_payment(&api).await?;
    let before = journal(&api, &ours).await?;

    // The courier is early, somebody else has paid, and somebody pays us for another session.
    api.courier(&ours, "delivered", json!({})).await?;
    api.customer(&their_session, "pay", json!({})).await?;
    let of_another = json!({
        "orderId": ours, "sessionId": their_session, "amount": "100.00", "currency": "USD"
    });
    developer.publish(PAID, &format!("{ours}/other"), &of_another).await?;
    api.order_is(&theirs, "shipped").await?;
    until("what is not for the wait is kept", api.patience(), || async {
        let kept = events(&api, "kept", &ours).await?;
        if kept.len() == 2 { Ok(()) } else { Err(format!("kept are {kept:?}")) }
    })
    .await?;
    assert_eq!(journal(&api, &ours).await?, before, "nothing of that has resumed it");

    // Paid at last, and told many times: by the provider, and by a repeat on the wire.
    api.customer(&session, "pay", json!({ "repeat": 3 })).await?;
    api.order_is(&ours, "completed").await?;
    api.saga_is(PROCESS_ORDER, &ours, "completed").await?;
    let taken = journal(&api, &ours).await?;
    let events = of_kind(&taken, "received", "event");
    assert_eq!(
        events,
        [PAID, "delivery.trigger.status-updated"],
        "the early one is used, each once"
    );
    let again = json!({
        "orderId": ours, "sessionId": session, "amount": "100.00", "currency": "USD"
    });
    let id = of_kind(&taken, "received", "eventId").swap_remove(0);
    developer.publish(PAID, &id, &again).await?;
    let effects = api.effects(&ours).await?;
    assert_eq!((&effects["sessionsPaid"], &effects["shipments"]), (&json!(1), &json!(1)));
    let statuses = history(&api.order(&ours).await?);
    assert_eq!(statuses.iter().filter(|it| *it == "paid").count(), 1, "{statuses:?}");
    let sagas = api.sagas_of(&ours).await?;
    let of_order = sagas.iter().filter(|it| it["definition"] == PROCESS_ORDER).count();
    assert_eq!(of_order, 1, "no second saga has come of a repeat: {sagas:?}");
    Ok(())
}

#[tokio::test]
async fn line_14_a_payment_webhook_is_taken_on_3002_when_its_provider_has_signed_it()
-> Result<(), Failure> {
    assert_eq!(dev_env()?["PAYMENT_HTTP_ADDR"], "127.0.0.1:3002");
    let (stack, api) = system().await?;
    let (order_id, session) = awaiting_payment(&api).await?;
    let event = stripe_event(SESSION_PAID, &order_id, &session, true);
    let before = journal(&api, &order_id).await?;

    let url = format!("{}/webhooks/stripe", api.urls().payment);
    api.post(As::Anyone, &url, &event).await?.expect(400)?;
    api.post(As::Operator, &url, &event).await?.expect(400)?;
    stripe(stack, &api, &event, -301).await?.expect(400)?;
    for url in [&api.urls().order, &api.urls().payment] {
        let simulated = json!({ "orderId": order_id, "status": "completed" });
        api.post(As::Anyone, &format!("{url}/webhooks/payment"), &simulated).await?.expect(404)?;
    }
    assert_eq!(journal(&api, &order_id).await?, before, "nothing unsigned moves anything");

    let unpaid = stripe_event(SESSION_PAID, &order_id, &session, false);
    stripe(stack, &api, &unpaid, 0).await?.expect(200)?;
    assert_eq!(api.order(&order_id).await?["status"], "awaiting_payment");
    stripe(stack, &api, &event, 0).await?.expect(200)?;
    stripe(stack, &api, &event, 0).await?.expect(200)?;
    api.order_is(&order_id, "shipped").await?;
    let received = of_kind(&journal(&api, &order_id).await?, "received", "event");
    assert_eq!(received, [PAID]);
    Ok(())
}

/// A payment is simulated by the sandbox alone, which nobody can have in production.
#[tokio::test]
async fn line_14_payments_are_simulated_in_development_only() -> Result<(), Failure> {
    let (stack, api) = system().await?;
    let (order_id, session) = awaiting_payment(&api).await?;
    api.customer(&session, "pay", json!({})).await?;
    api.order_is(&order_id, "shipped").await?;
    let dir = tempfile::tempdir().map_err(|err| err.to_string())?;
    let mut command = Command::new(binary("sandbox")?);
    command.envs(stack.env()).env("FERMATA_ENV", "production");
    command.env("SANDBOX_HTTP_ADDR", "127.0.0.1:0").env("SANDBOX_DATA_DIR", dir.path());
    let ended = command.output().map_err(|err| err.to_string())?;
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("FERMATA_ENV"), "it says why: {said}");
    Ok(())
}

#[tokio::test]
async fn line_18_a_failed_payment_releases_cancels_and_tells_and_late_money_goes_back_once()
-> Result<(), Failure> {
    let (stack, api) = system().await?;
    let _alone = SHELF.lock().await;
    let shelf = api.stock(COUNTED_SKU).await?;
    let order_id = api.place(&counted(order_of(2, false, "bob"))).await?;
    let session = session_of(&api, &order_id).await?;
    let reserved = (shelf.0 - 2, shelf.1 + 2, shelf.2);
    assert_eq!(api.stock(COUNTED_SKU).await?, reserved);
    api.customer(&session, "fail", json!({})).await?;
    let order = api.order_is(&order_id, "cancelled").await?;
    let why = order["history"].to_string();
    assert!(why.contains("payment failed"), "{why}");
    api.saga_is(PROCESS_ORDER, &order_id, "cancelled").await?;
    assert_eq!(api.stock(COUNTED_SKU).await?, shelf, "the pieces are on the shelf again");
    mails_are(&api, &stack.spool(), &order_id, &["order_cancelled", "order_confirmed"]).await?;
    assert_eq!(order["refunds"], json!([]), "nothing was paid");

    // The bank has thought better of it, and its provider says so three times.
    let kind = "checkout.session.async_payment_succeeded";
    let mut event = stripe_event(kind, &order_id, &session, true);
    stripe(stack, &api, &event, 0).await?.expect(200)?;
    stripe(stack, &api, &event, 0).await?.expect(200)?;
    event["id"] = json!("evt_told_under_another_id");
    stripe(stack, &api, &event, 0).await?.expect(200)?;
    api.saga_is(LATE, &order_id, "completed").await?;
    let order = until("the refund stands on the order", api.patience(), || async {
        let order = api.order(&order_id).await?;
        let count = order["refunds"].as_array().map_or(0, Vec::len);
        if count == 1 { Ok(order) } else { Err(order.to_string()) }
    })
    .await?;
    assert_eq!(
        (&order["status"], &order["refunds"][0]["amount"]),
        (&json!("cancelled"), &json!("100.00"))
    );
    let effects = api.effects(&order_id).await?;
    assert_eq!((&effects["refunds"], &effects["shipments"]), (&json!(1), &json!(0)), "{effects}");
    Ok(())
}
