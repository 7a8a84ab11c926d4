//! Services that refuse, answer rubbish or are away.

use super::{
    COUNTED_SKU, awaiting_payment, counted, history, journal, mails, mails_are, of_kind, session_of,
};
use proto_schemas::{Kind, MESSAGES};
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::{
    Failure,
    client::{Api, order_of, text},
    scenarios::PROCESS_ORDER,
    shared::system,
    stack::Stack,
    until,
    wire::{StandIn, Wire},
};

/// Waits until the only calls of an order's saga that lack an answer are these.
async fn asks(api: &Api, order_id: &str, subject: &str) -> Result<Value, Failure> {
    until(&format!("{order_id} asks {subject} alone"), api.patience(), || async {
        let saga = api.saga(PROCESS_ORDER, order_id).await?;
        let calls = saga["calls"].as_array().into_iter().flatten();
        let is_alone = calls.map(|it| &it["subject"]).eq([subject]);
        if is_alone { Ok(saga) } else { Err(saga.to_string()) }
    })
    .await
}

async fn sessions_are(api: &Api, order_id: &str, count: u64) -> Result<(), Failure> {
    until(&format!("{order_id} has {count} sessions"), api.patience(), || async {
        let effects = api.effects(order_id).await?;
        if effects["sessions"] == count { Ok(()) } else { Err(effects.to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_12_confirmation_and_session_go_side_by_side_and_a_failure_of_one_is_handled()
-> Result<(), Failure> {
    let mut stack = Stack::start(&[]).await?;
    let api = stack.api().clone();
    let place = || async { api.place(&counted(order_of(2, false, "bob"))).await };
    let shelf = api.stock(COUNTED_SKU).await?;

    // Either one goes its way while the other hangs, and the order waits for both.
    stack.signal("notification", libc::SIGSTOP)?;
    let unmailed = place().await?;
    sessions_are(&api, &unmailed, 1).await?;
    asks(&api, &unmailed, "notifications.send").await?;
    assert_eq!(history(&api.order(&unmailed).await?), ["pending"]);
    stack.signal("notification", libc::SIGCONT)?;
    session_of(&api, &unmailed).await?;
    stack.signal("payment", libc::SIGSTOP)?;
    let unopened = place().await?;
    mails_are(&api, &stack.spool(), &unopened, &["order_confirmed"]).await?;
    asks(&api, &unopened, "payments.create-session").await?;
    assert_eq!(history(&api.order(&unopened).await?), ["pending"]);
    stack.signal("payment", libc::SIGCONT)?;
    session_of(&api, &unopened).await?;

    // A mailbox that refuses changes nothing; a session that is refused undoes the order.
    stack.kill("notification")?;
    let refusing = Wire::of(&stack, "notification").await?;
    let standing =
        refusing.stand_in("notifications.send", StandIn::Rejects("mail_refused")).await?;
    let refused = place().await?;
    session_of(&api, &refused).await?;
    assert_eq!(mails(&stack.spool(), &refused)?.len(), 0);
    drop(standing);
    stack.spawn("notification")?;
    stack.ready("notification").await?;
    stack.kill("payment")?;
    let refusing = Wire::of(&stack, "payment").await?;
    let sessions =
        refusing.stand_in("payments.create-session", StandIn::Rejects("no_sale")).await?;
    let unsold = place().await?;
    let order = api.order_is(&unsold, "cancelled").await?;
    let why = order["history"].to_string();
    assert!(why.contains("payments.create-session rejected"), "{why}");
    api.saga_is(PROCESS_ORDER, &unsold, "cancelled").await?;
    mails_are(&api, &stack.spool(), &unsold, &["order_cancelled", "order_confirmed"]).await?;
    drop(sessions);
    let held = 3 * 2;
    assert_eq!(api.stock(COUNTED_SKU).await?, (shelf.0 - held, shelf.1 + held, shelf.2));
    Ok(())
}

/// Each procedure, with something that is no request of its.
#[tokio::test]
async fn line_22_what_is_no_request_is_refused_with_the_field_and_binds_nobody()
-> Result<(), Failure> {
    let (stack, api) = system().await?;
    let wire = Wire::of(stack, "fermata").await?;
    let requests = MESSAGES.iter().filter(|it| matches!(it.kind, Kind::Request { .. }));
    for message in requests {
        let subject = message.subject;
        let required = (message.schema)()["required"].clone();
        let required = text(&required, "/0")?;
        let bad = [
            ("{}", format!("/{required}")),
            (r#"{"orderId":7,"items":"none","surprise":true}"#, "/".to_owned()),
            ("[]", String::new()),
            ("{\"orderId\":", String::new()),
            ("", String::new()),
        ];
        // The next body with the same key is looked at for itself: none before it bound the key.
        let key = format!("bad/{subject}");
        for (body, names) in &bad {
            let said = wire.ask_raw(subject, &key, body).await?;
            let problem = said.body.to_string();
            assert_eq!(said.outcome, "rejected", "{subject} of `{body}`: {said:?}");
            assert_eq!(said.body["code"], "invalid", "{subject} of `{body}`: {problem}");
            assert!(problem.contains(names.as_str()), "{subject} of `{body}`: {problem}");
        }
    }
    let (order_id, _) = awaiting_payment(&api).await?;
    assert_eq!(api.order(&order_id).await?["riskScore"], 30, "and all of them still work");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_22_an_answer_of_another_shape_fails_its_step_and_neither_the_runtime_nor_others()
-> Result<(), Failure> {
    let mut stack = Stack::start(&[]).await?;
    let api = stack.api().clone();
    let (misread, session) = awaiting_payment(&api).await?;
    let (unread, second_session) = awaiting_payment(&api).await?;
    let (other, _) = awaiting_payment(&api).await?;
    stack.kill("delivery")?;
    let courier = Wire::of(&stack, "delivery").await?;
    let rubbish = json!({ "shipmentId": 42, "trackingNumber": null, "surprise": "x".repeat(1000) });
    let standing = courier.stand_in("delivery.create-shipment", StandIn::Says(rubbish)).await?;
    api.customer(&session, "pay", json!({})).await?;
    let saga = api.saga_is(PROCESS_ORDER, &misread, "attention").await?;
    let why = text(&saga, "/reason")?;
    assert!(why.starts_with("call delivery.create-shipment: "), "it names the call: {why}");
    assert!(why.contains("integer `42`, expected a string"), "and what is wrong: {why}");
    drop(standing);
    let standing = courier.stand_in("delivery.create-shipment", StandIn::Babbles).await?;
    api.customer(&second_session, "pay", json!({})).await?;
    let babbled = api.saga_is(PROCESS_ORDER, &unread, "attention").await?;
    drop(standing);
    drop(courier);
    stack.ready("fermata").await?;
    stack.spawn("delivery")?;
    stack.ready("delivery").await?;

    // Neither was an answer: each can be asked for again, or undone.
    api.make_move(&text(&babbled, "/id")?, "retry").await?.expect(202)?;
    api.order_is(&unread, "shipped").await?;
    assert_eq!(api.effects(&unread).await?["shipments"], 1);
    api.make_move(&text(&saga, "/id")?, "cancel").await?.expect(202)?;
    api.order_is(&misread, "cancelled").await?;
    api.saga_is(PROCESS_ORDER, &misread, "cancelled").await?;
    assert_eq!(api.effects(&misread).await?["refunds"], 1);
    assert_eq!(api.order(&other).await?["status"], "awaiting_payment");
    Ok(())
}

/// Whatever is away, the order goes on when it is back, and each effect is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_24_an_order_goes_on_whatever_was_away_at_each_of_its_steps() -> Result<(), Failure> {
    let mut stack = Stack::start(&[("PROCESS_ORDER_APPROVAL_MS", "2500")]).await?;
    let api = stack.api().clone();
    stack.kill("warehouse")?;
    let order_id = api.place(&order_of(2, false, "bob")).await?;
    let hanging = asks(&api, &order_id, "inventory.reserve").await?;
    until("it is asked again", Duration::from_secs(30), || async {
        let saga = api.saga(PROCESS_ORDER, &order_id).await?;
        let attempts = saga["calls"][0]["attempts"].as_u64();
        if attempts > Some(1) { Ok(()) } else { Err(saga.to_string()) }
    })
    .await?;
    assert_eq!(hanging["status"], "running", "{hanging}");

    // Another order's deadline comes on time, though nobody can undo what it took.
    let unapproved = api.place(&order_of(1000, true, "ann")).await?;
    api.order_is(&unapproved, "cancelled").await?;
    stack.spawn("warehouse")?;
    stack.kill("notification")?;
    asks(&api, &order_id, "notifications.send").await?;
    stack.spawn("notification")?;
    let session = session_of(&api, &order_id).await?;

    // The money comes while neither the runtime nor the broker are there.
    stack.kill("fermata")?;
    stack.kill("nats-server")?;
    stack.kill("delivery")?;
    api.customer(&session, "pay", json!({})).await?;
    let url = format!("{}/api/webhooks", api.urls().payment);
    until("the webhook is taken", api.patience(), || async {
        let hooks = api.list(&url, "").await?;
        let is_taken = hooks.iter().any(|it| it["orderId"] == order_id.as_str());
        if is_taken { Ok(()) } else { Err(format!("there are {hooks:?}")) }
    })
    .await?;
    stack.spawn("nats-server")?;
    stack.spawn("fermata")?;
    asks(&api, &order_id, "delivery.create-shipment").await?;
    stack.spawn("delivery")?;
    api.order_is(&order_id, "shipped").await?;
    api.courier(&order_id, "delivered", json!({})).await?;
    api.order_is(&order_id, "completed").await?;
    api.saga_is(PROCESS_ORDER, &order_id, "completed").await?;
    let effects = api.effects(&order_id).await?;
    let once = [&effects["sessions"], &effects["sessionsPaid"], &effects["shipments"]];
    assert_eq!(once, [&json!(1); 3], "{effects}");
    let calls = of_kind(&journal(&api, &order_id).await?, "call", "key");
    let keys: std::collections::BTreeSet<_> = calls.iter().collect();
    assert_eq!(keys.len(), calls.len(), "each step has its own key");
    mails_are(&api, &stack.spool(), &order_id, &["order_completed", "order_confirmed"]).await?;
    Ok(())
}
