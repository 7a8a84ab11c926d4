//! What operators do, and what callers may see.

use crate::world::{APPROVER, OPERATOR, VIEWER, World};
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn path(world: &World, key: &str, action: &str) -> String {
    format!("/api/sagas/{}/{action}", world.saga(key).await["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn a_paused_saga_takes_its_event_and_goes_on_when_it_is_resumed() {
    let world = World::with_runtime().await;
    let [_reserve, _release, mut ship] = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    let why = json!({ "reason": "looking into it" });
    let pause = path(&world, "o1", "pause").await;
    for (expected, token) in [(401, "nobody"), (403, APPROVER), (202, OPERATOR), (200, OPERATOR)] {
        let (status, body) = world.post(&pause, token, why.clone()).await;
        assert_eq!(status, expected, "{body}");
    }
    assert_eq!(world.saga("o1").await["paused"], true);
    world.pay("o1").await;
    world.until("the payment is taken", async |it| !it.events("consumed").await.is_empty()).await;
    let held = world.journal("o1").await.into_iter().find(|it| it["kind"] == "received").unwrap();
    assert_eq!(held["held"], "the saga is paused");
    assert!(ship.all().is_empty());
    let (status, _) = world.post(&path(&world, "o1", "resume").await, OPERATOR, why).await;
    assert_eq!(status, 202);
    world.until_status("o1", "completed").await;
    ship.heard().await;
}

#[tokio::test]
async fn a_cancelled_saga_is_undone_and_an_ended_one_cannot_be_moved() {
    let world = World::with_runtime().await;
    let [_reserve, mut release, _ship] = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    let cancel = path(&world, "o1", "cancel").await;
    let (status, body) = world.post(&cancel, OPERATOR, json!({ "reason": "" })).await;
    assert_eq!((status, &body["errors"][0]["pointer"]), (422, &json!("/reason")), "{body}");
    let (status, _) = world.post(&cancel, OPERATOR, json!({ "reason": "fraud" })).await;
    assert_eq!(status, 202);
    let saga = world.until_status("o1", "cancelled").await;
    assert!(saga["reason"].as_str().unwrap().contains("fraud"), "{saga}");
    let undo = release.heard().await;
    assert_eq!(crate::world::header(&undo, "Abort-Kind"), "cancelled");
    let (status, body) = world.post(&cancel, OPERATOR, json!({ "reason": "again" })).await;
    assert_eq!(status, 409, "{body}");
    let (status, _) = world
        .post(
            "/api/sagas/01890000-0000-7000-8000-000000000000/cancel",
            OPERATOR,
            json!({ "reason": "x" }),
        )
        .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_saga_that_panics_is_held_for_a_person_and_the_log_has_the_place_but_not_the_words() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    world.order_with("o1", json!({ "panics": true })).await;
    world.order("o2").await;
    let saga = world.until_status("o1", "attention").await;
    assert!(saga["reason"].as_str().unwrap().contains("panic"), "{saga}");
    world.until_status("o2", "waiting").await;
    let log = world.log();
    assert!(log.contains("tests/host/demo.rs:"), "the place is not in the log");
    assert!(!log.contains("somebody's name"), "the words are in the log");
}

#[tokio::test]
async fn a_terminated_saga_is_left_as_it_is() {
    let world = World::with_runtime().await;
    let [_reserve, mut release, _ship] = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    let terminate = path(&world, "o1", "terminate").await;
    let (status, _) = world.post(&terminate, OPERATOR, json!({ "reason": "by hand" })).await;
    assert_eq!(status, 202);
    world.until_status("o1", "terminated").await;
    assert!(release.all().is_empty());
}

#[tokio::test]
async fn a_saga_is_started_by_hand_once_for_each_key() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    let path = "/api/definitions/demo/sagas";
    let input = json!({ "input": { "orderId": "o1" } });
    let other = json!({ "input": { "orderId": "o1", "ask": true } });
    let broken = json!({ "input": { "order": 1 } });
    let table = [
        (403, path, VIEWER, &input),
        (404, "/api/definitions/nothing/sagas", OPERATOR, &input),
        (422, path, OPERATOR, &broken),
        (201, path, OPERATOR, &input),
        (200, path, OPERATOR, &input),
        (409, path, OPERATOR, &other),
    ];
    for (expected, path, token, body) in table {
        let (status, answer) = world.post(path, token, body.clone()).await;
        assert_eq!(status, expected, "{path} {body}: {answer}");
    }
    world.until_status("o1", "waiting").await;
}

#[tokio::test]
async fn lists_are_paged_and_every_read_needs_a_viewer() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    for number in 0..5 {
        world.order(&format!("o{number}")).await;
    }
    let all = async |it: &World| {
        it.get("/api/sagas?status=waiting").await["items"].as_array().unwrap().len() == 5
    };
    world.until("all wait", all).await;
    let mut keys = Vec::new();
    let mut path = "/api/sagas?limit=2&definition=demo".to_owned();
    loop {
        let page = world.get(&path).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        let told = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
        keys.extend(items.iter().map(|it| (told(it, "startedAt"), told(it, "key"))));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/sagas?limit=2&definition=demo&cursor={next}");
    }
    assert!(keys.iter().rev().is_sorted_by_key(|it| &it.0), "newest first: {keys:?}");
    let keys: BTreeSet<String> = keys.into_iter().map(|it| it.1).collect();
    assert_eq!(keys.len(), 5);
    let id = world.saga("o0").await["id"].as_str().unwrap().to_owned();
    let (journal, saga) = (format!("/api/sagas/{id}/journal"), format!("/api/sagas/{id}"));
    for path in ["/api/sagas", "/api/tasks", "/api/events", &saga, &journal] {
        assert_eq!(world.call("GET", path, None, None).await.0, 401, "{path}");
        assert_eq!(world.call("GET", path, Some(VIEWER), None).await.0, 200, "{path}");
    }
    for path in
        ["/api/sagas?cursor=x", "/api/events?cursor=x", "/api/sagas?limit=0", "/api/sagas?what=1"]
    {
        assert_eq!(world.call("GET", path, Some(VIEWER), None).await.0, 422, "{path}");
    }
    let document = world.call("GET", "/openapi.json", None, None).await.1;
    let paths = document["paths"].as_object().unwrap();
    for path in
        ["/api/sagas", "/api/sagas/{id}/{action}", "/api/tasks/{id}/decision", "/api/events"]
    {
        assert!(paths.contains_key(path), "{path} is not documented");
    }
    let statuses = document["paths"]["/api/tasks/{id}/decision"]["post"]["responses"].clone();
    for status in
        ["200", "202", "400", "401", "403", "404", "409", "413", "415", "422", "429", "503"]
    {
        assert!(statuses[status].is_object(), "{status} is not documented");
    }
}
