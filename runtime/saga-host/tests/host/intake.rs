//! Events: taken once, in whatever form they come, and never lost.

use crate::world::World;
use chassis::Wire;
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn an_event_starts_a_saga_and_another_one_resumes_it() {
    let world = World::with_runtime().await;
    let [mut reserve, _release, mut ship] = world.services().await;
    world.order("o1").await;
    let heard = reserve.heard().await;
    let saga = world.until_status("o1", "waiting").await;
    let [key, id, began] =
        ["Idempotency-Key", "Saga", "Saga-Began"].map(|it| crate::world::header(&heard, it));
    assert_eq!((saga["id"].as_str(), saga["startedAt"].as_str()), (Some(&*id), Some(&*began)));
    let call = world.journal("o1").await.into_iter().find(|it| it["kind"] == "call").unwrap();
    assert!(call["key"] == key.as_str() && key.ends_with("/0/0") && !key.contains(&id), "{call}");
    let wait = &saga["waits"][0];
    assert_eq!(wait["event"], "payments.trigger.completed");
    assert_eq!(wait["filter"][0]["pointer"], "/sessionId");
    assert!(wait["unblock"].as_str().unwrap().contains("payments.trigger.completed"), "{wait}");
    world.pay("o1").await;
    let saga = world.until_status("o1", "completed").await;
    assert!(saga["endedAt"].is_string() && saga["calls"] == json!([]), "{saga}");
    assert_eq!(ship.heard().await.payload.as_ref(), br#"{"orderId":"o1"}"#);
    let kinds = world.kinds("o1").await;
    let expected = ["started", "call", "replied", "wait", "received", "commit", "call", "replied"];
    assert_eq!(kinds[..8], expected);
    assert_eq!(kinds[8], "complete");
    world.until("the stream is empty", async |it| it.stream_messages().await == 0).await;
    let consumed = world.events("consumed").await;
    assert_eq!(consumed[0]["id"], "paid-o1");
    assert_eq!(consumed[0]["verdicts"][0]["sagaId"], saga["id"]);
}

#[tokio::test]
async fn a_repeated_event_is_a_duplicate_and_another_body_is_a_conflict() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    let created = |note: &str| json!({ "orderId": "o1", "note": note }).to_string();
    let headers = [("Nats-Msg-Id", "e1")];
    world.publish("orders.trigger.created", &headers, &created("first")).await;
    world.until_status("o1", "waiting").await;
    world.publish("orders.trigger.created", &headers, &created("first")).await;
    world.publish("orders.trigger.created", &headers, &created("other")).await;
    world.until("the conflict is seen", async |it| !it.events("conflict").await.is_empty()).await;
    assert_eq!(world.get("/api/sagas").await["items"].as_array().unwrap().len(), 1);
    // The same id on another name is another event.
    let paid = json!({ "orderId": "o1", "sessionId": "s-o1" }).to_string();
    world.publish("payments.trigger.completed", &headers, &paid).await;
    world.until_status("o1", "completed").await;
}

#[tokio::test]
async fn what_cannot_be_read_becomes_a_dead_letter_and_holds_up_nothing() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    let bad = [("Nats-Msg-Id", "bad-1")];
    world.publish("orders.trigger.created", &bad, "{no json").await;
    world.publish("orders.trigger.created", &[("Nats-Msg-Id", "bad-2")], r#"{"orderId":7}"#).await;
    world.publish("orders.trigger.created", &[("Fermata-Key", "")], "{}").await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    let dead = world.events("dead_letter").await;
    let ids: Vec<&str> = dead.iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"bad-1") && ids.contains(&"bad-2"), "{dead:?}");
    assert_eq!(dead.len(), 3);
    let first = dead.iter().find(|it| it["id"] == "bad-1").unwrap();
    assert!(first["verdicts"][0]["detail"].as_str().unwrap().contains("not JSON"), "{first}");
    let alone = world.get(&format!("/api/events/{}", first["position"])).await;
    assert_eq!((&alone["body"], &first["body"]), (&json!("{no json"), &Value::Null));
    world.until("the stream is empty", async |it| it.stream_messages().await == 0).await;
}

/// Each of these ends or upsets the client of the broker; the first one for good.
#[tokio::test]
async fn an_event_with_headers_that_break_the_protocol_is_dead_and_holds_up_nothing() {
    let mut world = World::with_runtime().await;
    let _services = world.services().await;
    let body = |id: &str| json!({ "orderId": id }).to_string();
    world.publish_raw("orders.trigger.created", b"A: b\rc", &body("o1")).await;
    assert_eq!(world.ended().await.code(), Some(70), "{}", world.log());
    world.order("o2").await;
    world.start().await;
    world.until_status("o2", "waiting").await;
    let is_dead = async |it: &World, count: usize| it.events("dead_letter").await.len() == count;
    world.until("the first is dead", async |it| is_dead(it, 1).await).await;
    for (count, headers) in [(2, &b"A: \xff"[..]), (3, b"no colon")] {
        world.publish_raw("orders.trigger.created", headers, &body("o3")).await;
        world.until("it is dead", async |it| is_dead(it, count).await).await;
    }
    world.order("o4").await;
    world.until_status("o4", "waiting").await;
    world.until("the stream is empty", async |it| it.stream_messages().await == 0).await;
    let dead = &world.events("dead_letter").await[2];
    assert!(dead["verdicts"][0]["detail"].as_str().unwrap().contains("headers"), "{dead}");
    let whole = world.get(&format!("/api/events/{}", dead["position"])).await;
    assert_eq!(whole["body"], body("o1"), "it can be offered again");
}

#[tokio::test]
async fn cloud_events_come_in_both_modes() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    let binary = [("ce-specversion", "1.0"), ("ce-id", "c1"), ("ce-subject", "o1")];
    world.publish("orders.trigger.created", &binary, r#"{"orderId":"o1"}"#).await;
    world.until_status("o1", "waiting").await;
    let structured = json!({
        "specversion": "1.0", "id": "c2", "type": "payments.trigger.completed", "source": "/stripe",
        "subject": "o1", "data": { "orderId": "o1", "sessionId": "s-o1" },
    });
    let headers = [("Content-Type", "application/cloudevents+json")];
    world.publish("payments.trigger.completed", &headers, &structured.to_string()).await;
    world.until_status("o1", "completed").await;
    assert_eq!(world.events("consumed").await[0]["id"], "c2");
}

#[tokio::test]
async fn an_event_that_asks_for_a_receipt_gets_one_also_when_it_is_a_repeat_or_dead() {
    let world = World::with_runtime().await;
    let mut receipts = world.tester.subscribe("fermata.receipt.shop").await.unwrap();
    let mut elsewhere = world.tester.subscribe("stolen.>").await.unwrap();
    world.tester.flush().await.unwrap();
    let receipt = ("Fermata-Receipt", "fermata.receipt.shop");
    let body = r#"{"orderId":"o1"}"#;
    let mut ids = Vec::new();
    for (id, body) in [("e1", body), ("e1", body), ("e2", "{oops")] {
        world.publish("orders.trigger.created", &[("Nats-Msg-Id", id), receipt], body).await;
        let told = tokio::time::timeout(Duration::from_secs(20), receipts.next()).await;
        let told: Value = serde_json::from_slice(&told.unwrap().unwrap().payload).unwrap();
        assert_eq!(told["epoch"], 0);
        assert!(told["position"].as_u64().unwrap() > 0, "{told}");
        ids.extend(
            told["ids"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(ids, ["e1", "e1", "e2"]);
    let stray = [("Nats-Msg-Id", "e3"), ("Fermata-Receipt", "stolen.receipt")];
    world.publish("orders.trigger.created", &stray, body).await;
    world.until("it is taken", async |it| it.stream_messages().await == 0).await;
    let nothing = tokio::time::timeout(Duration::from_millis(200), elsewhere.next()).await;
    assert!(nothing.is_err(), "a receipt went where it may not");
}

#[tokio::test]
async fn a_lost_stream_is_made_again_and_its_new_events_are_not_taken_for_old_ones() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    // Without any id an event is known by its stream's birth, its sequence in it and its time.
    world.publish("orders.trigger.created", &[], r#"{"orderId":"o1"}"#).await;
    world.until_status("o1", "waiting").await;
    let stream = async_nats::jetstream::new(world.tester.clone());
    stream.delete_stream("TRIGGERS").await.unwrap();
    world.until("the stream is back", async |it| it.stream_messages().await == 0).await;
    world.publish("orders.trigger.created", &[], r#"{"orderId":"o2"}"#).await;
    world.until_status("o2", "waiting").await;
    stream.delete_consumer_from_stream("fermata", "TRIGGERS").await.unwrap();
    world.publish("orders.trigger.created", &[], r#"{"orderId":"o3"}"#).await;
    world.until_status("o3", "waiting").await;
    world.until("intake has caught up", async |it| it.is_ready().await).await;
}

#[tokio::test]
async fn a_stream_with_other_settings_is_refused_at_start() {
    let mut world = World::new().await;
    let stream = async_nats::jetstream::new(world.tester.clone());
    let config = async_nats::jetstream::stream::Config {
        name: "TRIGGERS".into(),
        subjects: vec!["orders.trigger.>".into()],
        storage: async_nats::jetstream::stream::StorageType::Memory,
        ..Default::default()
    };
    stream.create_stream(config).await.unwrap();
    world.launch();
    world.until("it is refused", async |it| it.log().contains("cannot set up the stream")).await;
    assert!(!world.is_ready().await);
}

#[tokio::test]
async fn a_configured_prefix_is_added_to_a_stream_that_is_there() {
    let mut world = World::with_runtime().await;
    world.stop();
    world.set("FERMATA_EVENT_PREFIXES", "shop");
    world.start().await;
    world.publish("shop.trigger.opened", &[("Nats-Msg-Id", "e1")], "{}").await;
    world.until("it is kept", async |it| !it.events("unrouted").await.is_empty()).await;
}

#[tokio::test]
async fn messages_of_more_bytes_than_one_pull_asks_for_are_all_taken() {
    // Some 36 MiB; each of them alone is nearly as large as the broker lets a message be.
    const MESSAGES: u64 = 40;
    let mut world = World::with_runtime().await;
    world.stop();
    for number in 0..MESSAGES {
        let id = format!("large-{number}");
        let body = json!({ "orderId": id, "sessionId": "s", "note": "x".repeat(900 << 10) });
        let headers = [("Nats-Msg-Id", id.as_str())];
        world.publish("payments.trigger.completed", &headers, &body.to_string()).await;
    }
    world.start().await;
    world.until("the stream is empty", async |it| it.stream_messages().await == 0).await;
    assert_eq!(world.deliveries().await, MESSAGES, "each once");
}

/// What is pulled stands before what the runtime sends itself: up to three megabytes, where one
/// message may have one. A way that carries two in a second is wide enough.
#[tokio::test]
async fn what_has_piled_up_does_not_put_a_runtime_out_of_touch_behind_a_narrow_way() {
    const EVENTS: usize = 1_000;
    let mut world = World::with_runtime().await;
    world.stop();
    for it in 0..EVENTS {
        let body = json!({ "orderId": format!("o{it}"), "note": "n".repeat(16 << 10) });
        world.publish("payments.trigger.failed", &[], &body.to_string()).await;
    }
    let wire = Wire::to(world.nats_port()).await.expect("a port");
    wire.narrow(2_000);
    world.set("FERMATA_NATS_URL", &format!("nats://fermata:f@127.0.0.1:{}", wire.port()));
    world.start().await;
    world.until("all are taken", async |it| it.stream_messages().await == 0).await;
    assert_eq!(world.metric("fermata_nats_lapses_total").await, 0.0, "{}", world.log());
}
