//! The courier, and how an order ends.

use super::{awaiting_payment, journal, mails_are, of_kind, shipped, tickets};
use serde_json::{Value, json};
use system_tests::{
    Failure,
    client::{Api, As, text},
    scenarios::PROCESS_ORDER,
    shared::system,
    signed::{courier, courier_says},
    stack::dev_env,
    until,
};

/// Waits until the order shows what the courier said.
async fn shows(api: &Api, order_id: &str, status: &str) -> Result<Value, Failure> {
    until(&format!("{order_id} shows {status}"), api.patience(), || async {
        let order = api.order(order_id).await?;
        let is_shown = order["shipment"]["status"] == status;
        if is_shown { Ok(order) } else { Err(order.to_string()) }
    })
    .await
}

#[tokio::test]
async fn line_15_statuses_on_the_way_are_recorded_and_only_the_delivery_resumes()
-> Result<(), Failure> {
    let (_, api) = system().await?;
    let order_id = shipped(&api).await?;
    let order = api.order(&order_id).await?;
    assert!(!text(&order, "/shipment/trackingNumber")?.is_empty());
    assert_eq!(api.effects(&order_id).await?["shipments"], 1);
    for status in ["picked_up", "in_transit", "out_for_delivery"] {
        api.courier(&order_id, status, json!({})).await?;
        let order = shows(&api, &order_id, status).await?;
        assert_eq!(order["status"], "shipped", "{status} is recorded and moves nothing");
        let saga = api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
        assert_eq!(saga["waits"][0]["event"], "delivery.trigger.status-updated", "{saga}");
    }
    api.courier(&order_id, "delivered", json!({})).await?;
    api.order_is(&order_id, "completed").await?;
    Ok(())
}

#[tokio::test]
async fn line_16_a_couriers_webhook_is_taken_on_3004_when_the_courier_has_signed_it()
-> Result<(), Failure> {
    assert_eq!(dev_env()?["DELIVERY_HTTP_ADDR"], "127.0.0.1:3004");
    let (stack, api) = system().await?;
    let order_id = shipped(&api).await?;
    let before = journal(&api, &order_id).await?;
    let said = json!({ "orderId": order_id, "status": "delivered" });
    for url in [
        format!("{}/webhooks/courier", api.urls().delivery),
        format!("{}/webhooks/delivery", api.urls().delivery),
        format!("{}/webhooks/delivery", api.urls().order),
    ] {
        let status = if url.ends_with("/courier") { 400 } else { 404 };
        api.post(As::Operator, &url, &said).await?.expect(status)?;
    }
    courier(stack, &api, &order_id, "delivered", -301).await?.expect(400)?;
    assert_eq!(journal(&api, &order_id).await?, before, "nothing unsigned moves anything");
    courier(stack, &api, &order_id, "in_transit", 0).await?.expect(200)?;
    shows(&api, &order_id, "in_transit").await?;
    courier(stack, &api, &order_id, "delivered", 0).await?.expect(200)?;
    courier(stack, &api, &order_id, "delivered", 0).await?.expect(200)?;
    api.order_is(&order_id, "completed").await?;
    Ok(())
}

#[tokio::test]
async fn line_16_a_webhook_of_another_parcel_completes_no_order_that_has_none_yet()
-> Result<(), Failure> {
    let (stack, api) = system().await?;
    let (order_id, session) = awaiting_payment(&api).await?;
    let said =
        json!({ "orderId": order_id, "status": "delivered", "trackingNumber": "SOMEBODY-ELSES" });
    let answer = courier_says(stack, &api, &said, 0).await?.expect(200)?;
    assert_eq!(answer["verdict"], "kept", "{answer}");
    api.customer(&session, "pay", json!({})).await?;
    api.order_is(&order_id, "shipped").await?;
    api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
    let url = format!("{}/api/webhooks?orderId={order_id}", api.urls().delivery);
    let known = api.get(&url).await?;
    assert_eq!(known["items"][0]["verdict"], "other_parcel", "{known}");
    let order = api.order(&order_id).await?;
    assert_eq!(order["shipment"]["status"], "created", "{order}");
    api.courier(&order_id, "delivered", json!({})).await?;
    api.order_is(&order_id, "completed").await?;
    Ok(())
}

#[tokio::test]
async fn line_17_a_delivered_order_is_completed_and_its_two_mails_are_of_two_kinds()
-> Result<(), Failure> {
    let (stack, api) = system().await?;
    let order_id = shipped(&api).await?;
    let first = mails_are(&api, &stack.spool(), &order_id, &["order_confirmed"]).await?;
    api.courier(&order_id, "delivered", json!({})).await?;
    let order = api.order_is(&order_id, "completed").await?;
    assert_eq!(order["shipment"]["status"], "delivered");
    api.saga_is(PROCESS_ORDER, &order_id, "completed").await?;
    let kinds = ["order_completed", "order_confirmed"];
    let mails = mails_are(&api, &stack.spool(), &order_id, &kinds).await?;
    assert_eq!(mails["order_confirmed"], first["order_confirmed"], "the first one is as it was");
    let subject = |kind: &str| {
        let lines = mails[kind][0].lines();
        lines.clone().find(|it| it.starts_with("Subject:")).map(str::to_owned)
    };
    assert!(subject(kinds[0]).is_some() && subject(kinds[0]) != subject(kinds[1]));
    let asked = journal(&api, &order_id).await?;
    let mailed = asked.iter().filter(|it| it["subject"] == "notifications.send");
    let mailed: Vec<_> = mailed.map(|it| &it["body"]["kind"]).collect();
    assert_eq!(
        mailed[..2],
        [&json!("order_cancelled"), &json!("order_confirmed")],
        "the undo first"
    );
    assert_eq!(mailed.last(), Some(&&json!("order_completed")));
    Ok(())
}

#[tokio::test]
async fn line_19_a_delivery_that_fails_or_comes_back_opens_one_support_ticket()
-> Result<(), Failure> {
    let (_, api) = system().await?;
    for (status, reason) in
        [("failed", "the delivery failed"), ("returned", "the parcel came back")]
    {
        let order_id = shipped(&api).await?;
        api.courier(&order_id, "in_transit", json!({})).await?;
        // Webhooks overtake each other: a word that came after a failure would be a new attempt.
        shows(&api, &order_id, "in_transit").await?;
        api.courier(&order_id, status, json!({ "repeat": 2 })).await?;
        let order = api.order_is(&order_id, "delivery_failed").await?;
        // A parcel that came back is at its end; after a failure the courier tries again.
        let stands = if status == "returned" { "completed" } else { "waiting" };
        api.saga_is(PROCESS_ORDER, &order_id, stands).await?;
        let [ticket] = &tickets(&api, &order_id).await?[..] else {
            return Err(format!("one ticket of {order_id}"));
        };
        assert_eq!((&ticket["orderId"], &ticket["reason"]), (&json!(order_id), &json!(reason)));
        assert_eq!(ticket["trackingNumber"], order["shipment"]["trackingNumber"]);
        assert_eq!(order["refunds"], json!([]), "what becomes of the money, the support decides");
        let published = of_kind(&journal(&api, &order_id).await?, "call", "subject");
        assert_eq!(published.iter().filter(|it| *it == "orders.open-ticket").count(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn line_19_a_courier_tries_again_and_what_it_delivers_then_completes_the_order()
-> Result<(), Failure> {
    let (_, api) = system().await?;
    let order_id = shipped(&api).await?;
    for (said, order_status) in [
        ("failed", "delivery_failed"),
        ("out_for_delivery", "shipped"),
        ("failed", "delivery_failed"),
        ("delivered", "completed"),
    ] {
        api.courier(&order_id, said, json!({})).await?;
        let order = api.order_is(&order_id, order_status).await?;
        assert_eq!(order["shipment"]["status"], said);
    }
    api.saga_is(PROCESS_ORDER, &order_id, "completed").await?;
    assert_eq!(tickets(&api, &order_id).await?.len(), 1, "the support was asked once");

    // Three failures are the end.
    let order_id = shipped(&api).await?;
    for said in ["failed", "in_transit", "failed", "in_transit", "failed"] {
        api.courier(&order_id, said, json!({})).await?;
        shows(&api, &order_id, said).await?;
    }
    api.saga_is(PROCESS_ORDER, &order_id, "completed").await?;
    assert_eq!(api.order(&order_id).await?["status"], "delivery_failed");
    assert_eq!(tickets(&api, &order_id).await?.len(), 1);
    Ok(())
}
