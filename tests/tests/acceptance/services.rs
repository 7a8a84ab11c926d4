//! Who there is, and what can be asked.

use super::{awaiting_payment, events, journal, of_kind, order_at};
use proto_schemas::{Kind, MESSAGES};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs};
use system_tests::{
    Failure,
    client::{As, order_of, text},
    scenarios::PROCESS_ORDER,
    shared::system,
    stack::{Stack, binary, dev_env, root},
    wire::{Said, Wire},
};

/// The services that the business names, with their ports and what their subjects begin with.
const SERVICES: [(&str, u16, &str); 4] = [
    ("order", 3001, "orders."),
    ("payment", 3002, "payments."),
    ("warehouse", 3003, "inventory."),
    ("delivery", 3004, "delivery."),
];

/// The procedures that the business names, with their service.
const PROCEDURES: [(&str, &str); 12] = [
    ("order", "orders.create"),
    ("order", "orders.calculate-risk"),
    ("order", "orders.update-status"),
    ("order", "orders.approve"),
    ("payment", "payments.create-session"),
    ("payment", "payments.process"),
    ("warehouse", "inventory.check-availability"),
    ("warehouse", "inventory.reserve"),
    ("warehouse", "inventory.release"),
    ("delivery", "delivery.create-shipment"),
    ("delivery", "delivery.get-status"),
    ("notification", "notifications.send"),
];

fn address(stack: &Stack, service: &str) -> String {
    stack.env()[&format!("{}_HTTP_ADDR", service.to_uppercase())].clone()
}

#[tokio::test]
async fn line_01_four_services_are_processes_of_their_own_on_ports_3001_to_3004_over_nats()
-> Result<(), Failure> {
    let (stack, api) = system().await?;
    let asyncapi = fs::read_to_string(root().join("proto-schemas/asyncapi.json"));
    let asyncapi: Value = serde_json::from_str(&asyncapi.map_err(|err| err.to_string())?)
        .map_err(|err| err.to_string())?;
    let (mut pids, mut files) = (BTreeSet::new(), BTreeSet::new());
    for (service, port, prefix) in SERVICES {
        let usual = &dev_env()?[&format!("{}_HTTP_ADDR", service.to_uppercase())];
        assert_eq!(*usual, format!("127.0.0.1:{port}"), "{service}");
        let pid = stack.pid(service)?;
        let file = fs::read_link(format!("/proc/{pid}/exe")).map_err(|err| err.to_string())?;
        let built = binary(service)?.canonicalize().map_err(|err| err.to_string())?;
        assert_eq!(file, built);
        pids.insert(pid);
        files.insert(file);
        let url = format!("http://{}/readyz", address(stack, service));
        api.ask(As::Anyone, reqwest::Method::GET, &url, None).await?.expect(200)?;

        let listens = procedures_of(stack, service).await?;
        let named = |it: &&str| it.starts_with(prefix);
        assert!(listens.iter().all(|it| named(&it.as_str())), "{service}: {listens:?}");
        let table = MESSAGES.iter().map(|it| it.subject).filter(named);
        for subject in table {
            let channel = &asyncapi["channels"][subject];
            assert_eq!(channel["address"], subject, "{subject} is a channel of AsyncAPI");
            let is_event = subject.contains(".trigger.");
            assert_eq!(listens.contains(subject), !is_event, "{service} answers {subject}");
        }
    }
    assert_eq!((pids.len(), files.len()), (4, 4), "four processes of four programs");
    Ok(())
}

/// What a service says of itself to whoever asks the broker.
async fn procedures_of(stack: &Stack, service: &str) -> Result<BTreeSet<String>, Failure> {
    let developer = Wire::of(stack, "developer").await?;
    let said = developer.ask_raw(&format!("$SRV.INFO.{service}"), "look", "").await?;
    let endpoints = said.body["endpoints"].as_array().cloned().unwrap_or_default();
    endpoints.iter().map(|it| text(it, "/subject")).collect()
}

fn is_done(said: &Said, wants: &Value) -> Result<(), Failure> {
    let as_wanted = |(name, value): (&String, &Value)| said.body[name] == *value;
    let is_right =
        said.outcome == "ok" && wants.as_object().is_some_and(|it| it.iter().all(as_wanted));
    if is_right { Ok(()) } else { Err(format!("expected {wants}, got {said:?}")) }
}

/// Beside the runtime, as its user: no saga has a hand in it.
#[tokio::test]
async fn line_02_every_procedure_answers_a_request_over_nats() -> Result<(), Failure> {
    let (stack, api) = system().await?;
    let wire = Wire::of(stack, "fermata").await?;
    let id = format!("ORD-{}", uuid::Uuid::new_v4().simple());
    let asked = |subject: &'static str, body: Value, wants: Value| {
        let (wire, key) = (&wire, format!("{id}/{subject}"));
        async move {
            let said = wire.ask(subject, &key, &body).await?;
            is_done(&said, &wants).map_err(|why| format!("{subject}: {why}"))?;
            Ok::<Value, Failure>(said.body)
        }
    };
    let order = json!({ "orderId": id });
    let with = |more: Value| {
        let mut body = order.clone();
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    };
    let items = json!([{ "sku": "WIDGET-001", "quantity": 2 }]);
    let lines = json!([{ "sku": "WIDGET-001", "quantity": 2, "price": "50.00" }]);
    let to = order_of(2, false, "bob")["shippingAddress"].clone();

    asked("orders.calculate-risk", with(json!({
        "items": lines, "total": "100.00", "currency": "USD", "newCustomer": false, "country": "US"
    })), json!({ "score": 30 })).await?;
    asked("inventory.check-availability", json!({ "items": items }), json!({ "available": true }))
        .await?;
    let moved = with(json!({ "items": items }));
    asked("inventory.reserve", moved.clone(), moved.clone()).await?;
    asked("inventory.release", order.clone(), moved).await?;
    let opened = asked(
        "payments.create-session",
        with(json!({
            "amount": "100.00", "currency": "USD"
        })),
        json!({}),
    )
    .await?;
    let open = with(json!({ "sessionId": opened["sessionId"], "status": "open" }));
    asked("payments.process", order.clone(), open).await?;
    let sent = asked(
        "delivery.create-shipment",
        with(json!({
            "name": "Bob", "shippingAddress": to, "items": items
        })),
        json!({}),
    )
    .await?;
    let status = with(json!({ "trackingNumber": sent["trackingNumber"], "status": "created" }));
    asked("delivery.get-status", order.clone(), status).await?;
    asked(
        "notifications.send",
        with(json!({
            "kind": "order_confirmed", "to": "bob@example.com", "name": "Bob", "total": "100.00",
            "currency": "USD"
        })),
        json!({}),
    )
    .await?;

    // An order that is placed so goes its way as any other does.
    let placed = order_of(2, false, "bob");
    let placed = asked("orders.create", placed, json!({ "status": "pending" })).await?;
    let placed = text(&placed, "/orderId")?;
    api.order_is(&placed, "awaiting_payment").await?;
    api.saga_is(PROCESS_ORDER, &placed, "waiting").await?;
    let paid = json!({ "orderId": placed, "status": "paid" });
    asked("orders.update-status", paid.clone(), paid).await?;
    assert_eq!(api.order(&placed).await?["status"], "paid");

    // Nobody on NATS can show whose decision it is: it answers, and says which door takes it.
    let yes = json!({ "orderId": placed, "approved": true });
    let said = wire.ask("orders.approve", &format!("{id}/approve"), &yes).await?;
    assert_eq!((said.outcome.as_str(), &said.body["code"]), ("rejected", &json!("unauthorized")));
    assert!(text(&said.body, "/reason")?.contains("POST /api/orders/approve"), "{said:?}");
    Ok(())
}

#[tokio::test]
async fn line_02_every_procedure_is_listed_by_its_service() -> Result<(), Failure> {
    let (stack, api) = system().await?;
    for (service, subject) in PROCEDURES {
        let listed = procedures_of(stack, service).await?;
        assert!(listed.contains(subject), "{service} lists {listed:?} at the broker");
        let url = format!("http://{}/openapi.json", address(stack, service));
        let document = api.ask(As::Anyone, reqwest::Method::GET, &url, None).await?.expect(200)?;
        let listed = document["x-nats-procedures"].to_string();
        assert!(listed.contains(&format!("\"{subject}\"")), "{service} documents {listed}");
    }
    let requests = MESSAGES.iter().filter(|it| matches!(it.kind, Kind::Request { .. }));
    let known: BTreeSet<&str> = requests.map(|it| it.subject).collect();
    assert!(PROCEDURES.iter().all(|it| known.contains(it.1)));
    Ok(())
}

#[tokio::test]
async fn line_03_each_of_the_four_triggers_moves_an_order_on() -> Result<(), Failure> {
    let (_, api) = system().await?;
    let order_id = api.place(&order_at("50000.00", true)).await?;
    api.order_is(&order_id, "awaiting_approval").await?;
    api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
    let heard = async || {
        let journal = journal(&api, &order_id).await?;
        let started = &journal[0];
        assert_eq!(started["kind"], "started", "by orders.trigger.created");
        Ok::<_, Failure>(of_kind(&journal, "received", "event"))
    };
    assert_eq!(heard().await?, [""; 0]);
    api.approve(&order_id, true).await?.expect(202)?;
    let session = super::session_of(&api, &order_id).await?;
    let mut expected = vec!["orders.trigger.approved"];
    assert_eq!(heard().await?, expected);
    api.customer(&session, "pay", json!({})).await?;
    api.order_is(&order_id, "shipped").await?;
    expected.push("payments.trigger.completed");
    assert_eq!(heard().await?, expected);
    api.courier(&order_id, "delivered", json!({})).await?;
    api.order_is(&order_id, "completed").await?;
    expected.push("delivery.trigger.status-updated");
    assert_eq!(heard().await?, expected);

    // The first one is published by the order service, once the order is stored.
    let (order_id, _) = awaiting_payment(&api).await?;
    let [created] = &events(&api, "started", &order_id).await?[..] else {
        return Err(format!("one event has started {order_id}"));
    };
    assert_eq!(
        (&created["name"], &created["source"]),
        (&json!("orders.trigger.created"), &json!("orders"))
    );
    Ok(())
}
