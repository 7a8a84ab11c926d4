//! A flood for one definition, counted: what else waits for it, in which order it is handled, and
//! what a death in its middle leaves.

use crate::world::World;
use serde_json::{Value, json};

/// Far more than the engine has places for.
const FLOOD: usize = 1_000;
/// What goes ahead of an event of others that came while the engine was busy: what it was busy
/// with, and one more from each line.
const AHEAD_MAX: usize = 1 + 2;

/// Events of one definition under two names, for orders that are not there.
async fn flood(world: &World, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..count {
        let names = ["payments.trigger.completed", "orders.trigger.approved"];
        let id = format!("flood-{number}");
        let body = json!({ "orderId": format!("none-{number}"), "sessionId": "s" });
        world.publish(names[number % 2], &[("Nats-Msg-Id", &id)], &body.to_string()).await;
        ids.push(id);
    }
    ids
}

/// Keeps the engine busy for longer than the broker waits for an acknowledgement.
async fn slow(world: &World) {
    let body = json!({ "name": "slow", "kind": "slow" }).to_string();
    world.publish("orders.trigger.evil", &[("Nats-Msg-Id", "slow")], &body).await;
}

async fn shout(world: &World) {
    let body = json!({ "name": "s1", "subject": "orders.trigger.heard" }).to_string();
    world.publish("orders.trigger.shout", &[("Nats-Msg-Id", "shout")], &body).await;
}

async fn until_handled(world: &World) {
    world.until("the stream is empty", async |it| it.stream_messages().await == 0).await;
}

/// The ids of all events, as they were made durable.
async fn handled(world: &World) -> Vec<String> {
    let (mut items, mut cursor): (Vec<Value>, String) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/api/events?limit=200{cursor}")).await;
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    items.sort_by_key(|it| it["position"].as_u64());
    items.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_event_waits_for_few_of_a_flood_for_others_whose_order_is_kept() {
    let mut world = World::new().await;
    world.set("FERMATA_TURN_SECONDS_MAX", "60");
    world.start().await;
    world.stop();
    slow(&world).await;
    let flood = flood(&world, FLOOD).await;
    shout(&world).await;
    world.start().await;
    until_handled(&world).await;
    let handled = handled(&world).await;
    let ahead = handled.iter().position(|it| it == "shout").expect("it is handled");
    assert!(ahead <= AHEAD_MAX, "{ahead} events went before it");
    let of_flood: Vec<&String> = handled.iter().filter(|it| it.starts_with("flood-")).collect();
    assert_eq!(of_flood, flood.iter().collect::<Vec<_>>(), "in the order of the stream");
    // The slow one, the shout, and what the shout publishes.
    let all = FLOOD as u64 + 3;
    assert_eq!(world.deliveries().await, all, "each once, however long it waited in its line");
}

#[tokio::test]
async fn what_a_dead_process_took_comes_again_before_what_is_newer() {
    const TAKEN: usize = 400;
    let mut world = World::new().await;
    world.set("FERMATA_TURN_SECONDS_MAX", "60");
    world.start().await;
    slow(&world).await;
    let mut expected = flood(&world, TAKEN).await;
    let all = TAKEN as u64 + 1;
    world.until("all is taken", async |it| it.deliveries().await == all).await;
    world.kill();
    let body = json!({ "orderId": "o1", "sessionId": "s" }).to_string();
    world.publish("payments.trigger.completed", &[("Nats-Msg-Id", "last")], &body).await;
    world.start().await;
    until_handled(&world).await;
    expected.push("last".to_owned());
    let mut handled = handled(&world).await;
    handled.retain(|it| it != "slow");
    assert_eq!(handled, expected);
}

#[tokio::test]
async fn a_payment_behind_a_flood_wins_over_its_deadline() {
    let mut world = World::new().await;
    world.set("DEMO_PAYMENT_MS", "1500");
    world.start().await;
    let _services = world.services().await;
    world.order("o1").await;
    let saga = world.until_status("o1", "waiting").await;
    let until = saga["waits"][0]["until"].as_str().unwrap().to_owned();
    world.stop();
    flood(&world, 500).await;
    world.pay("o1").await;
    // It goes ahead of the payment, and the deadline does not go with it.
    shout(&world).await;
    let passed = async |_: &World| chrono::Utc::now().to_rfc3339() > until;
    world.until("the deadline has passed", passed).await;
    world.start().await;
    world.until_status("o1", "completed").await;
}
