//! What a saga owes the world: it is asked for, undone and published independently of what does not
//! work, people see why, and have a button for each.

use crate::world::{APPROVER, OPERATOR, Said, World};
use async_nats::jetstream::{
    self,
    stream::{Config, DiscardPolicy},
};
use serde_json::{Value, json};

const ORDERS: usize = 100;

async fn shout(world: &World, number: usize, subject: &str) -> String {
    let name = format!("shout{number}");
    let body = json!({ "name": name, "subject": subject }).to_string();
    world.publish("orders.trigger.shout", &[("Nats-Msg-Id", name.as_str())], &body).await;
    name
}

async fn completed(world: &World) -> usize {
    let path = "/api/sagas?definition=demo&status=completed&limit=200";
    world.get(path).await["items"].as_array().expect("sagas").len()
}

#[tokio::test]
async fn sixty_four_events_that_the_broker_refuses_leave_a_hundred_orders_alone() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    for number in 0..64 {
        // In no stream, and not permitted.
        let subject = if number % 2 == 0 { "orders.nobody.hears" } else { "shop.trigger.shouted" };
        shout(&world, number, subject).await;
    }
    let refused = async |it: &World| it.metric("fermata_events_refused_total").await >= 64.0;
    world.until("all of them are refused", refused).await;
    for number in 0..ORDERS {
        world.order_with(&format!("o{number}"), json!({ "ask": true })).await;
    }
    let tasks = async |it: &World| {
        it.get("/api/tasks?limit=200").await["items"].as_array().expect("tasks").clone()
    };
    world.until("all are asked", async |it| tasks(it).await.len() == ORDERS).await;
    for task in tasks(&world).await {
        let path = format!("/api/tasks/{}/decision", task["id"].as_str().expect("an id"));
        let (status, body) = world.post(&path, APPROVER, json!({ "approved": true })).await;
        assert_eq!(status, 202, "{body}");
    }
    for number in 0..ORDERS {
        world.pay(&format!("o{number}")).await;
    }
    world.until("all are completed", async |it| completed(it).await == ORDERS).await;

    let saga = world.until_status("shout1", "attention").await;
    let reason = saga["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("publish shop.trigger.shouted: "), "{reason}");
    let call = &saga["calls"][0];
    assert_eq!(
        (&call["kind"], &call["subject"]),
        (&json!("publish"), &json!("shop.trigger.shouted"))
    );
    assert!(call["attempts"].as_u64() >= Some(3), "{call}");
    assert!(call["lastFailure"]["times"].as_u64() >= Some(3), "{call}");
    let shown = String::from_utf8(world.cli(&["show", "shout1"]).stdout).expect("text");
    assert!(shown.contains("publishes   shop.trigger.shouted"), "{shown}");
    assert!(shown.contains("  failed    "), "{shown}");
    let path = format!("/api/sagas/{}/terminate", saga["id"].as_str().expect("an id"));
    world.post(&path, OPERATOR, json!({ "reason": "nobody will hear it" })).await;
    world.until_status("shout1", "terminated").await;
    assert!(world.log().contains("an event was not taken"));
}

#[tokio::test]
async fn why_a_call_fails_is_seen_by_whoever_looks() {
    let world = World::with_runtime().await;
    let failure = async |it: &World| it.saga("o1").await["calls"][0]["lastFailure"].clone();
    world.order("o1").await;
    let nobody = json!("nobody listens on the subject");
    world.until("it has failed", async |it| failure(it).await["reason"] == nobody).await;
    let says = [("Fermata-Outcome", "failed"), ("Nats-Service-Error", "the%20key%20is%20wrong")];
    let fails = move |_, _: &_| Some(Said::with(&says, ""));
    let service = world.service("inventory.reserve", fails).await;
    let wrong = json!("the key is wrong");
    world.until("it says why", async |it| failure(it).await["reason"] == wrong).await;
    assert!(failure(&world).await["times"].as_u64() >= Some(2));
    let log = world.log();
    assert!(log.contains("a call failed") && log.contains("nobody listens"), "{log}");
    drop(service);
    let _reserve = world.service("inventory.reserve", |_, _| Some(Said::ok())).await;
    world.until_status("o1", "waiting").await;
    assert_eq!(failure(&world).await, Value::Null, "what works is not blamed");
}

#[tokio::test]
async fn a_call_that_the_broker_does_not_permit_says_so_and_goes_on_when_it_does() {
    let mut world = World::new().await;
    let (all, without) = ("\"payments.*\", \"inventory.*\"", "\"payments.*\"");
    world.kill_nats();
    world.change_permissions(all, without);
    world.start_nats();
    world.start().await;
    let _services = world.services().await;
    world.order("o1").await;
    let says = async |it: &World| {
        let reason = it.saga("o1").await["calls"][0]["lastFailure"]["reason"].clone();
        reason.as_str().is_some_and(|it| it.starts_with("the broker does not permit this subject"))
    };
    world.until("it says what is wrong", says).await;
    world.kill_nats();
    world.change_permissions(without, all);
    world.start_nats();
    world.until_status("o1", "waiting").await;
}

#[tokio::test]
async fn a_broker_that_takes_no_events_is_told_by_readiness_until_it_takes_them() {
    let world = World::with_runtime().await;
    let full = Config {
        name: "FULL".to_owned(),
        subjects: vec!["orders.full".to_owned()],
        max_messages: 1,
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    let jetstream = jetstream::new(world.tester.clone());
    let mut stream = jetstream.create_stream(full).await.expect("a stream");
    world.tester.publish("orders.full", "x".into()).await.expect("published");
    let is_full = async |stream: &mut jetstream::stream::Stream| {
        stream.info().await.expect("known").state.messages == 1
    };
    while !is_full(&mut stream).await {}
    shout(&world, 0, "orders.full").await;
    // Its author's fault alone changes nothing.
    shout(&world, 1, "orders.nobody.hears").await;
    let told = async |it: &World| {
        let (status, body) = it.call("GET", "/readyz", None, None).await;
        status == 503 && body.to_string().contains("the broker takes no events: ")
    };
    let has_failed = async |it: &World| it.metric("fermata_events_refused_total").await >= 2.0;
    world.until("both are refused", has_failed).await;
    let saga = world.saga("shout0").await;
    let path = format!("/api/sagas/{}/retry", saga["id"].as_str().expect("an id"));
    let tries = async |it: &World| {
        it.post(&path, OPERATOR, json!({ "reason": "try it now" })).await;
        told(it).await
    };
    world.until("it says that nothing is taken", tries).await;
    stream.purge().await.expect("there is room");
    world.post(&path, OPERATOR, json!({ "reason": "there is room" })).await;
    world.until("it is ready", World::is_ready).await;
    world.until_status("shout0", "completed").await;
}

#[tokio::test]
async fn an_undo_that_is_refused_can_be_given_up_over_http_and_on_the_command_line() {
    let world = World::with_runtime().await;
    let _reserve = world.service("inventory.reserve", |_, _| Some(Said::ok())).await;
    let no = [("Fermata-Outcome", "rejected"), ("Nats-Service-Error-Code", "409")];
    let body = r#"{"code":"gone","reason":"it left the house"}"#;
    let _release =
        world.service("inventory.release", move |_, _| Some(Said::with(&no, body))).await;
    for id in ["o1", "o2"] {
        world.order(id).await;
        let saga = world.until_status(id, "waiting").await;
        let path = |action| format!("/api/sagas/{}/{action}", saga["id"].as_str().expect("an id"));
        let reason = json!({ "reason": "the customer asked" });
        let (status, refusal) = world.post(&path("waive"), OPERATOR, reason.clone()).await;
        assert_eq!(status, 409, "{refusal}");
        world.post(&path("cancel"), OPERATOR, reason).await;
        let saga = world.until_status(id, "attention").await;
        assert_eq!(saga["moves"], json!(["pause", "terminate", "retry", "waive"]));
        let step = json!({ "reason": "counted", "step": saga["calls"][0]["step"] });
        let (status, _) = world.post(&path("waive"), APPROVER, step.clone()).await;
        assert_eq!(status, 403);
        let wrong = json!({ "reason": "counted", "step": "first" });
        let (status, problem) = world.post(&path("waive"), OPERATOR, wrong).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/step")));
        if id == "o1" {
            let (status, body) = world.post(&path("waive"), OPERATOR, step).await;
            assert_eq!((status, &body["status"]), (202, &json!("failed")), "{body}");
        } else {
            let shown = String::from_utf8(world.cli(&["show", id]).stdout).expect("text");
            assert!(
                shown.contains("fermata waive ") && !shown.contains("fermata cancel "),
                "{shown}"
            );
            let output = world.cli(&["waive", id, "--reason", "counted"]);
            let said = String::from_utf8(output.stdout).expect("text");
            assert!(said.contains("given up; saga "), "{said}");
        }
        let saga = world.until_status(id, "failed").await;
        let reason = saga["reason"].as_str().expect("a reason");
        assert!(
            reason.ends_with("undo inventory.release was waived by oscar: counted"),
            "{reason}"
        );
        let journal = world.journal(id).await;
        let waived = journal.iter().find(|it| it["kind"] == "undo_waived").expect("a record");
        assert_eq!((&waived["by"], &waived["reason"]), (&json!("oscar"), &json!("counted")));
    }
}
