//! People decide: over HTTP, over NATS, from the command line, and no other way.

use crate::world::{APPROVER, OPERATOR, VIEWER, World, text};
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::time::Duration;

async fn asks(world: &World, id: &str) -> String {
    world.order_with(id, json!({ "ask": true })).await;
    let saga = world.until_status(id, "waiting").await;
    saga["waits"][0]["taskId"].as_str().expect("a task").to_owned()
}

fn yes() -> Value {
    json!({ "approved": true })
}

fn no() -> Value {
    json!({ "approved": false, "reason": "too dear" })
}

#[tokio::test]
async fn a_task_is_decided_once_by_somebody_who_may() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    let mut announced = world.tester.subscribe("orders.trigger.approved").await.unwrap();
    let task = asks(&world, "o1").await;
    let tasks = world.get("/api/tasks").await;
    assert_eq!(tasks["items"][0]["id"], task.as_str());
    assert_eq!(tasks["items"][0]["title"], "Order o1");
    assert_eq!(tasks["items"][0]["facts"]["orderId"], "o1");
    let path = format!("/api/tasks/{task}/decision");
    let unknown = "/api/tasks/01890000-0000-7000-8000-000000000000.1/decision";
    let no_reason = json!({ "approved": false });
    let more = json!({ "approved": true, "by": "me" });
    let seen = tasks["items"][0]["seen"].clone();
    assert_eq!(world.saga("o1").await["waits"][0]["seen"], seen);
    let other = json!({ "approved": true, "seen": "what another task showed" });
    let seen = json!({ "approved": true, "seen": seen });
    let table = [
        (401, path.as_str(), "nobody", yes()),
        (403, &path, VIEWER, yes()),
        (404, unknown, APPROVER, yes()),
        (404, "/api/tasks/nonsense/decision", APPROVER, yes()),
        (422, &path, APPROVER, no_reason),
        (422, &path, APPROVER, more),
        (409, &path, APPROVER, other),
        (202, &path, APPROVER, seen),
        (200, &path, APPROVER, yes()),
        (409, &path, OPERATOR, no()),
    ];
    for (expected, path, token, body) in table {
        let (status, answer) = world.post(path, token, body.clone()).await;
        assert_eq!(status, expected, "{path} {token} {body}: {answer}");
    }
    world
        .until("it goes on", async |it| {
            it.saga("o1").await["waits"][0]["event"] == "payments.trigger.completed"
        })
        .await;
    assert_eq!(world.get("/api/tasks").await["items"], json!([]));
    let told =
        tokio::time::timeout(Duration::from_secs(20), announced.next()).await.unwrap().unwrap();
    let body: Value = serde_json::from_slice(&told.payload).unwrap();
    assert_eq!((&body["approved"], &body["by"]), (&json!(true), &json!("alice")));
    world.until("the announcement has come back", async |it| it.stream_messages().await == 0).await;
    world.pay("o1").await;
    world.until_status("o1", "completed").await;
}

#[tokio::test]
async fn a_decision_that_a_service_forwards_is_judged_by_the_callers_own_token() {
    let world = World::with_runtime().await;
    let mut services = world.services().await;
    let ask = async |key: &str, token: &str, more: Value| -> (u64, String) {
        let mut body = json!({
            "name": "orders.trigger.approved", "key": key, "approved": true, "token": token,
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = world.tester.request("tasks.decide", body.to_string().into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        (answer["status"].as_u64().unwrap(), answer["detail"].as_str().unwrap().to_owned())
    };
    assert_eq!(ask("o1", APPROVER, json!({})).await.0, 404, "nothing asks yet");
    asks(&world, "o1").await;
    assert_eq!(ask("o1", "nobody", json!({})).await.0, 401);
    assert_eq!(ask("o1", VIEWER, json!({})).await.0, 403);
    assert_eq!(ask("o2", APPROVER, json!({})).await.0, 404);
    assert_eq!(ask("o1", APPROVER, json!({ "approved": false })).await.0, 422);
    assert_eq!(ask("o1", APPROVER, json!({ "unknown": 1 })).await.0, 422);
    let reject = json!({ "approved": false, "reason": "too dear" });
    assert_eq!(ask("o1", APPROVER, reject.clone()).await.0, 202);
    let saga = world.until_status("o1", "cancelled").await;
    assert_eq!(saga["reason"], "rejected by alice");
    assert_eq!(ask("o1", APPROVER, reject).await.0, 200);
    assert_eq!(ask("o1", APPROVER, json!({})).await.0, 409);
    assert!(services[0].all().is_empty(), "nothing was reserved");
    assert!(!world.log().contains(APPROVER), "a token is in the log");
}

#[tokio::test]
async fn a_decision_about_a_key_in_any_letters_is_announced_and_no_key_breaks_a_header() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    let mut announced = world.tester.subscribe("orders.trigger.approved").await.unwrap();
    let start = async |order: &str| {
        let start = json!({ "input": { "orderId": order, "ask": true } });
        world.post("/api/definitions/demo/sagas", OPERATOR, start).await
    };
    let (status, problem) = start("o\r\n1").await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/key")), "{problem}");
    let (status, saga) = start("ö 1").await;
    assert_eq!(status, 201, "{saga}");
    let task = world.get("/api/tasks").await["items"][0]["id"].clone();
    let path = format!("/api/tasks/{}/decision", task.as_str().expect("a task"));
    assert_eq!(world.post(&path, APPROVER, yes()).await.0, 202);
    let next = tokio::time::timeout(Duration::from_secs(30), announced.next()).await;
    let message = next.expect("it comes in time").expect("it comes");
    let body: Value = serde_json::from_slice(&message.payload).expect("JSON");
    assert_eq!(body["orderId"], "ö 1", "{body}");
    let of_sagas = "/api/sagas?status=waiting";
    let waits = async |it: &World| it.get(of_sagas).await["items"][0]["calls"] == json!([]);
    world.until("the saga has gone on", waits).await;
    assert!(!world.is_gone(), "{}", world.log());
}

#[tokio::test]
async fn an_approval_that_is_only_published_is_refused() {
    let world = World::with_runtime().await;
    let task = asks(&world, "o1").await;
    let forged = json!({ "orderId": "o1", "approved": true, "by": "alice" }).to_string();
    world.publish("orders.trigger.approved", &[("Nats-Msg-Id", "forged")], &forged).await;
    world.until("it has its verdict", async |it| !it.events("refused").await.is_empty()).await;
    let refused = world.events("refused").await;
    assert!(
        refused[0]["verdicts"][0]["detail"].as_str().unwrap().contains("unsigned"),
        "{refused:?}"
    );
    assert_eq!(world.saga("o1").await["waits"][0]["taskId"], task.as_str());
}

#[tokio::test]
async fn an_approval_that_nobody_gives_in_time_ends_the_saga() {
    let mut world = World::new().await;
    world.set("DEMO_APPROVAL_MS", "200");
    world.start().await;
    world.order_with("o1", json!({ "ask": true })).await;
    let saga = world.until_status("o1", "cancelled").await;
    assert_eq!(saga["reason"], "nobody approved");
}

#[tokio::test]
async fn the_command_line_lists_shows_and_decides() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    let task = asks(&world, "o1").await;
    let run = |args: &[&str]| {
        let output = world.cli(args);
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, _) = run(&["sagas"]);
    assert!(code == 0 && out.contains("waiting") && out.contains("o1"), "{out}");
    let (code, out, _) = run(&["tasks"]);
    assert!(code == 0 && out.contains(&task) && out.contains("Order o1"), "{out}");
    let (code, out, _) = run(&["show", "o1"]);
    let waits = format!("unblock   fermata approve {task}");
    for part in
        ["waits for   orders.trigger.approved", "key         o1", waits.as_str(), "< started {"]
    {
        assert!(code == 0 && out.contains(part), "{part:?} is not in:\n{out}");
    }
    let (code, _, err) = run(&["show", "o9"]);
    assert!(code == 5 && err.contains("no saga has the id or the key o9"), "{err}");
    let (code, _, err) = run(&["reject", &task]);
    assert!(code == 2 && err.contains("--reason"), "{err}");
    let (code, out, err) = run(&["approve", &task, "--json"]);
    assert!(code == 0 && out.contains("\"approved\":true"), "{out}{err}");
    let (code, _, err) = run(&["reject", &task, "--reason", "too dear"]);
    assert!(code == 6 && !err.is_empty(), "{err}");
    let (code, _, err) = run(&["sagas", "--url", "http://127.0.0.1:1"]);
    assert!(code == 3 && err.contains("cannot reach the runtime"), "{err}");
    world.until_status("o1", "waiting").await;
    let (code, out, _) = run(&["show", "o1", "--json"]);
    assert!(code == 0 && out.contains("\"journal\""), "{out}");
}
