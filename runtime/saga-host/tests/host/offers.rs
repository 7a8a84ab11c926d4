//! Dead letters and events that nobody wanted, offered again.

use crate::world::{APPROVER, OPERATOR, World};
use serde_json::{Value, json};

async fn offer(world: &World, position: &Value) -> (u16, Value) {
    let path = format!("/api/events/{position}/offer");
    world.post(&path, OPERATOR, json!({ "reason": "the form was mended" })).await
}

/// An order that only a later build takes; gives its event.
async fn refused_order(world: &World, id: &str) -> Value {
    let event_id = format!("created-{id}");
    let headers = [("Nats-Msg-Id", event_id.as_str())];
    let body = json!({ "orderId": id, "ask": "no" }).to_string();
    world.publish("orders.trigger.created", &headers, &body).await;
    let is_it = |it: &&Value| it["id"] == event_id.as_str();
    world
        .until("it is refused", async |it| {
            it.events("dead_letter").await.iter().any(|it| is_it(&it))
        })
        .await;
    world.events("dead_letter").await.iter().find(is_it).expect("it is there").clone()
}

#[tokio::test]
async fn a_refused_order_is_taken_once_the_code_can_use_it_however_often_it_is_offered() {
    let mut world = World::with_runtime().await;
    let refused = refused_order(&world, "o1").await;
    let position = &refused["position"];
    let (status, problem) = offer(&world, position).await;
    assert_eq!(status, 422, "{problem}");
    let detail = problem["detail"].as_str().expect("words");
    assert!(detail.starts_with("it still cannot be used: demo: invalid type"), "{detail}");
    let alone = world.get(&format!("/api/events/{position}")).await;
    assert_eq!(alone["body"], json!({ "orderId": "o1", "ask": "no" }), "its body is kept");
    assert_eq!((&alone["id"], &alone["source"]), (&json!("created-o1"), &json!("orders")));
    assert_eq!(alone["offered"], Value::Null);

    world.stop();
    world.set("DEMO_LATER", "1");
    world.start().await;
    let both = futures::join!(offer(&world, position), offer(&world, position));
    let mut statuses = [both.0.0, both.1.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 202], "{both:?}");
    let saga = world.saga("o1").await;
    for (_, event) in [both.0, both.1] {
        assert_eq!(event["verdicts"][0]["outcome"], "started", "{event}");
        assert_eq!(event["verdicts"][0]["sagaId"], saga["id"]);
        assert_eq!(event["offered"]["by"], "oscar");
        assert_eq!(event["offered"]["reason"], "the form was mended");
        assert_eq!(&event["offered"]["position"], position);
    }
    world.kill();
    world.start().await;
    assert_eq!(offer(&world, position).await.0, 200, "also after a restart");
    assert_eq!(world.get("/api/sagas").await["items"].as_array().map(Vec::len), Some(1));
    assert!(world.events("dead_letter").await.is_empty(), "nothing is left for an operator");
}

#[tokio::test]
async fn an_offer_under_way_when_the_runtime_is_killed_is_made_once() {
    const ROUNDS: usize = 6;
    let mut world = World::with_runtime().await;
    let mut refused = Vec::new();
    for round in 0..ROUNDS {
        refused.push(refused_order(&world, &format!("o{round}")).await["position"].clone());
    }
    world.stop();
    world.set("DEMO_LATER", "1");
    world.set("FERMATA_ENV", "development");
    let mut deaths = 0;
    for (round, position) in refused.iter().enumerate() {
        // The process dies at this or that batch: that of the offer, one before, one after it.
        let point = ["engine.before-append", "engine.after-flush"][round % 2];
        world.set("FERMATA_CRASH_AT", &format!("{point}:{}", 1 + round / 2));
        world.launch();
        let up_or_dead = async |it: &World| offer(it, position).await.0 > 0 || it.is_gone();
        world.until("it answers, or has died", up_or_dead).await;
        deaths += usize::from(world.is_gone());
        world.kill();
        world.set("FERMATA_CRASH_AT", "nowhere:1");
        world.start().await;
        let (status, event) = offer(&world, position).await;
        assert!([200, 202].contains(&status), "{status}: {event}");
        assert_eq!(event["verdicts"][0]["outcome"], "started");
        world.stop();
    }
    assert!(deaths >= 2, "the first batch is that of the offer, or one before it");
    world.start().await;
    let sagas = world.get("/api/sagas").await;
    assert_eq!(sagas["items"].as_array().map(Vec::len), Some(ROUNDS), "one each: {sagas}");
}

#[tokio::test]
async fn what_is_not_open_to_an_offer_says_why() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    world.pay("o1").await;
    world.until_status("o1", "completed").await;
    world.pay("o1-later").await;
    let bad = [("Nats-Msg-Id", "bad"), ("Fermata-Key", "o9")];
    world.publish("orders.trigger.created", &bad, "{no json").await;
    let decision = json!({ "orderId": "o1", "approved": true, "by": "me" }).to_string();
    world.publish("orders.trigger.approved", &[("Nats-Msg-Id", "forged")], &decision).await;
    world.until("all came", async |it| it.events("refused").await.len() == 1).await;
    for verdict in ["started", "consumed", "kept", "refused"] {
        let event = &world.events(verdict).await[0];
        let (status, problem) = offer(&world, &event["position"]).await;
        assert_eq!(status, 409, "{verdict}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(verdict), "{problem}");
    }
    let dead = &world.events("dead_letter").await[0];
    assert_eq!(dead["key"], "o9", "the headers of what was no event are kept: {dead}");
    let (status, problem) = offer(&world, &dead["position"]).await;
    assert_eq!(status, 422, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("not JSON"), "{detail}");
    assert_eq!(offer(&world, &json!(999_999)).await.0, 404);
    let path = format!("/api/events/{}/offer", dead["position"]);
    let reason = |text: &str| json!({ "reason": text });
    assert_eq!(world.post(&path, APPROVER, reason("x")).await.0, 403);
    assert_eq!(world.call("POST", &path, None, Some(&reason("x"))).await.0, 401);
    for wrong in [reason(""), reason(" "), reason(&"x".repeat(1001)), json!({}), json!({"a": 1})] {
        let (status, problem) = world.post(&path, OPERATOR, wrong.clone()).await;
        assert_eq!(status, 422, "{wrong}: {problem}");
    }
    for position in ["-1", "x", "18446744073709551616"] {
        let path = format!("/api/events/{position}/offer");
        let (status, _) = world.post(&path, OPERATOR, reason("x")).await;
        assert!([404, 422].contains(&status), "{position}: {status}");
    }
}

#[tokio::test]
async fn a_flooded_lane_refuses_with_the_body_kept_and_the_others_go_on() {
    /// What a lane keeps, and some more.
    const EVENTS: usize = 1_000 + 5;
    let world = World::with_runtime().await;
    let _services = world.services().await;
    for number in 0..EVENTS {
        let body = json!({ "orderId": "flooded", "sessionId": "s-flooded", "number": number });
        let body = body.to_string().into();
        world.tester.publish("payments.trigger.completed", body).await.expect("it is sent");
    }
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    world.pay("o1").await;
    world.until_status("o1", "completed").await;
    world.until("the lane is full", async |it| it.events("dead_letter").await.len() == 5).await;
    for dead in world.events("dead_letter").await {
        let detail = dead["verdicts"][0]["detail"].as_str().unwrap();
        assert!(detail.contains("is full with 1000 events"), "{detail}");
        let alone = world.get(&format!("/api/events/{}", dead["position"])).await;
        assert!(alone["body"]["number"].as_u64().unwrap() >= 1_000, "{alone}");
        assert_eq!(offer(&world, &dead["position"]).await.0, 422, "it still is full");
    }
    world.order("flooded").await;
    world.until_status("flooded", "completed").await;
}
