//! A runtime whose place another one may have taken while nobody could tell it, and a broker that
//! tells of before.

use crate::world::{OPERATOR, Second, Service, World};
use chassis::Wire;
use chrono::Utc;
use futures::StreamExt as _;

const ORDERS: usize = 20;
const WRITTEN_ANEW: &str = "the broker has an older record of the store";

/// A runtime whose network is gone, and a copy that has its place.
struct Replaced {
    world: World,
    wire: Wire,
    second: Second,
}

impl Replaced {
    /// The runtime must be stopped.
    async fn begin(mut world: World) -> Replaced {
        let copy = world.copy_of_the_store("copy");
        let wire = cut_off(&mut world).await;
        let second = world.second(&copy);
        world.until("the copy has its place", async |it| it.is_there(&second).await).await;
        Replaced { world, wire, second }
    }

    async fn is_completed(&self, order: &str) {
        let is = async |it: &World| it.status_at(&self.second, order).await == "completed";
        self.world.until("the copy has completed it", is).await;
    }

    async fn is_back(&self) {
        let connected = |it: &World| it.log().matches("connected to NATS").count();
        let before = connected(&self.world);
        self.wire.mend();
        let is_back = async |it: &World| it.is_gone() || before < connected(it);
        self.world.until("it is back", is_back).await;
    }

    async fn has_ended(&mut self) {
        has_ended(&mut self.world).await;
    }
}

/// Starts the runtime, and cuts its way to the broker.
async fn cut_off(world: &mut World) -> Wire {
    let wire = Wire::to(world.nats_port()).await.expect("a port");
    let url = |port: u16| format!("nats://fermata:f@127.0.0.1:{port}");
    world.set("FERMATA_NATS_URL", &url(wire.port()));
    world.start().await;
    wire.cut();
    world.until("it is cut off", async |it| !it.is_ready().await).await;
    world.set("FERMATA_NATS_URL", &url(world.nats_port()));
    wire
}

async fn has_ended(world: &mut World) {
    assert_eq!(world.ended().await.code(), Some(78));
    assert!(world.log().contains("begun to use a copy"), "{}", world.log());
}

/// Before it takes an event, the first one must look whose the events are.
#[tokio::test]
async fn a_runtime_that_was_replaced_while_it_was_cut_off_takes_nothing_when_it_is_back() {
    let mut world = World::with_runtime().await;
    let _services = world.services().await;
    let orders: Vec<String> = (0..ORDERS).map(|it| format!("o{it}")).collect();
    for it in &orders {
        world.order(it).await;
        world.until_status(it, "waiting").await;
    }
    world.stop();
    let mut it = Replaced::begin(world).await;
    it.is_back().await;
    for order in &orders {
        it.world.pay(order).await;
    }
    it.has_ended().await;
    for order in &orders {
        it.is_completed(order).await;
    }
}

/// What fell due while it was cut off is another's affair.
#[tokio::test]
async fn a_runtime_that_was_replaced_while_it_was_cut_off_undoes_nothing_when_it_is_back() {
    let (mut world, mut services) = waiting_until(4_000).await;
    let until = due(&world).await;
    world.stop();
    let mut it = Replaced::begin(world).await;
    it.world.pay("o1").await;
    it.is_completed("o1").await;
    it.world.until("the deadline has passed", async |_| until < Utc::now().to_rfc3339()).await;
    it.is_back().await;
    it.has_ended().await;
    assert!(services[1].all().is_empty(), "what was shipped is taken back");
}

#[tokio::test]
async fn a_runtime_that_was_replaced_while_it_stood_still_undoes_nothing_when_it_goes_on() {
    let (mut world, mut services) = waiting_until(8_000).await;
    let until = due(&world).await;
    world.stop();
    let copy = world.copy_of_the_store("copy");
    world.start().await;
    world.signal("-STOP");
    let second = world.second(&copy);
    world.until("the copy has its place", async |it| it.is_there(&second).await).await;
    world.pay("o1").await;
    let is = async |it: &World| it.status_at(&second, "o1").await == "completed";
    world.until("the copy has completed it", is).await;
    world.until("the deadline has passed", async |_| until < Utc::now().to_rfc3339()).await;
    world.signal("-CONT");
    has_ended(&mut world).await;
    assert!(services[1].all().is_empty(), "what was shipped is taken back");
}

/// One order that is paid within so many milliseconds, or cancelled.
async fn waiting_until(payment_ms: u32) -> (World, [Service; 3]) {
    let mut world = World::new().await;
    world.set("DEMO_PAYMENT_MS", &payment_ms.to_string());
    world.start().await;
    let services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    (world, services)
}

async fn due(world: &World) -> String {
    world.saga("o1").await["waits"][0]["until"].as_str().expect("a deadline").to_owned()
}

/// The live one is on its way back as well, and has the better right.
#[tokio::test]
async fn a_copy_that_starts_with_the_broker_is_refused_beside_the_live_runtime() {
    let (mut world, _services) = waiting_until(60_000).await;
    world.stop();
    let copy = world.copy_of_the_store("copy");
    let wire = cut_off(&mut world).await;
    world.kill_nats();
    world.start_nats();
    let second = world.second(&copy);
    let waits = async |it: &World| it.said_by(&second).contains("may be on its way back");
    world.until("the copy waits", waits).await;
    wire.mend();
    let is_refused = async |it: &World| it.said_by(&second).contains("is at work at this broker");
    world.until("the copy is refused", is_refused).await;
    world.pay("o1").await;
    world.until_status("o1", "completed").await;
}

/// JetStream acknowledges before it syncs: a broker whose machine lost its power has its streams as
/// they were minutes ago, here as they were when the process before this one ended.
#[tokio::test]
async fn a_broker_that_lost_its_last_minutes_ends_no_runtime() {
    let mut world = World::with_runtime().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    world.stop();
    world.kill_nats();
    let before = world.copy_of_the_stream("STORES");
    world.start_nats();
    world.start().await;
    world.order("o2").await;
    world.until_status("o2", "waiting").await;
    world.kill_nats();
    world.put_back_the_stream("STORES", &before);
    world.start_nats();
    world.until("the record is written anew", async |it| it.log().contains(WRITTEN_ANEW)).await;
    world.pay("o2").await;
    world.until_status("o2", "completed").await;
    assert!(!world.is_gone());
}

/// The record that was given up is there again: of a store that nobody has.
#[tokio::test]
async fn a_store_that_has_taken_over_serves_on_when_the_broker_lost_its_last_minutes() {
    let mut world = World::with_runtime().await;
    world.stop();
    let place = world.empty_place("other");
    let said = world.refused(&place).await;
    let from = said.split_once("take-over --from ").expect("a way out").1[..36].to_owned();
    world.kill_nats();
    let before = world.copy_of_the_stream("STORES");
    world.start_nats();
    world.set("FERMATA_DATA_DIR", &place.to_string_lossy());
    assert!(world.cli(&["take-over", "--from", &from, "--reason", "a lost disk"]).status.success());
    world.start().await;
    let _services = world.services().await;
    for is_running in [true, false] {
        let order = format!("o-{is_running}");
        world.order(&order).await;
        world.until_status(&order, "waiting").await;
        if !is_running {
            world.stop();
        }
        world.kill_nats();
        world.put_back_the_stream("STORES", &before);
        world.start_nats();
        if !is_running {
            world.start().await;
        }
        world.until("it is ready", async |it| it.is_ready().await).await;
        world.pay(&order).await;
        world.until_status(&order, "completed").await;
        assert!(!world.is_gone());
    }
}

/// A copy has taken a payment and is gone; the first one, which had gone on by itself, is
/// started again.
#[tokio::test]
async fn what_a_copy_took_is_not_lost_in_silence_when_the_first_one_is_back() {
    let mut world = World::with_runtime().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    world.stop();
    let copy = world.copy_of_the_store("copy");
    let wire = cut_off(&mut world).await;
    let id = world.saga("o1").await["id"].as_str().expect("an id").to_owned();
    for _ in 0..10 {
        for action in ["pause", "resume"] {
            let path = format!("/api/sagas/{id}/{action}");
            let why = serde_json::json!({ "reason": "looking into it" });
            let (status, body) = world.post(&path, OPERATOR, why).await;
            assert_eq!(status, 202, "{body}");
        }
    }
    let second = world.second(&copy);
    world.until("the copy has its place", async |it| it.is_there(&second).await).await;
    world.pay("o1").await;
    let is = async |it: &World| it.status_at(&second, "o1").await == "completed";
    world.until("the copy has completed it", is).await;
    world.until("it is acknowledged", async |it| it.stream_messages().await == 0).await;
    drop(second);
    wire.mend();
    world.until("the first one has ended", async |it| it.is_gone()).await;
    world.kill();
    world.start().await; // As whatever supervises it does.
    let is_known = world.log().contains("the store is OLDER");
    let status = world.status("o1").await;
    assert!(is_known || status == "completed", "o1 is {status}, and nobody is told");
}

/// It runs, but nothing comes by its network for some seconds, as when packets are lost. What is
/// paid meanwhile lies in its socket when that goes on.
#[tokio::test]
async fn a_runtime_that_was_replaced_while_its_network_stood_still_takes_and_undoes_nothing() {
    let mut world = World::new().await;
    world.set("DEMO_PAYMENT_MS", "8000");
    world.start().await;
    let mut services = world.services().await;
    let orders: Vec<String> = (0..ORDERS).map(|it| format!("o{it}")).collect();
    for it in &orders {
        world.order(it).await;
        world.until_status(it, "waiting").await;
    }
    let last = world.saga(orders.last().expect("one")).await;
    let until = last["waits"][0]["until"].as_str().expect("a deadline").to_owned();
    world.stop();
    let copy = world.copy_of_the_store("copy");
    let wire = Wire::to(world.nats_port()).await.expect("a port");
    let url = |port: u16| format!("nats://fermata:f@127.0.0.1:{port}");
    world.set("FERMATA_NATS_URL", &url(wire.port()));
    world.start().await;
    world.set("FERMATA_NATS_URL", &url(world.nats_port()));
    wire.stand_still();
    let second = world.second(&copy);
    world.until("the copy has its place", async |it| it.is_there(&second).await).await;
    for order in &orders {
        world.pay(order).await;
    }
    world.until("the deadline has passed", async |_| until < Utc::now().to_rfc3339()).await;
    wire.mend();
    has_ended(&mut world).await;
    for order in &orders {
        let is = async |it: &World| it.status_at(&second, order).await == "completed";
        world.until("the copy has completed it", is).await;
    }
    assert!(services[1].all().is_empty(), "what was shipped is taken back");
}

/// What the order service tells the person then is that nothing is known of it.
#[tokio::test]
async fn a_decision_whose_asker_has_left_while_the_runtime_was_out_of_touch_is_not_made() {
    let mut world = World::new().await;
    let wire = Wire::to(world.nats_port()).await.expect("a port");
    world.set("FERMATA_NATS_URL", &format!("nats://fermata:f@127.0.0.1:{}", wire.port()));
    world.start().await;
    let _services = world.services().await;
    world.order_with("o1", serde_json::json!({ "ask": true })).await;
    world.until_status("o1", "waiting").await;
    wire.stand_still();
    let body = serde_json::json!({
        "name": "orders.trigger.approved", "key": "o1", "approved": true,
        "token": crate::world::APPROVER,
    });
    let mut answers = world.tester.subscribe("answers").await.unwrap();
    let asked = world.tester.publish_with_reply("tasks.decide", "answers", body.to_string().into());
    asked.await.unwrap();
    world.until("it is out of touch", async |it| !it.is_ready().await).await;
    wire.mend();
    let answer = answers.next().await.expect("an answer");
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer["status"], 503, "{answer}");
    world.until("it is back", async |it| it.is_ready().await).await;
    let tasks = world.get("/api/tasks").await;
    assert_eq!(tasks["items"].as_array().map(Vec::len), Some(1), "decided: {tasks}");
}
