//! Lists: who is found by what, page by page, and what a lost search key means.

use crate::world::{OPERATOR, VIEWER, World};
use chassis::db::{Db, DbOptions};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::Path};

const ANN: &str = "Ann.Bee@Example.com";

async fn keys(world: &World, query: &str) -> Vec<String> {
    let page = world.get(&format!("/api/sagas?{query}")).await;
    assert_eq!(page["next"], Value::Null, "{query}");
    ids(&page, "key")
}

fn ids(page: &Value, field: &str) -> Vec<String> {
    let items = page["items"].as_array().expect("items");
    items.iter().map(|it| it[field].as_str().expect("a text").to_owned()).collect()
}

async fn start(world: &World, key: &str, more: Value) -> Value {
    let mut input = json!({ "orderId": key });
    for (name, value) in more.as_object().expect("an object") {
        input[name] = value.clone();
    }
    let body = json!({ "input": input });
    let (status, saga) = world.post("/api/definitions/demo/sagas", OPERATOR, body).await;
    assert_eq!(status, 201, "{saga}");
    saga
}

#[tokio::test]
async fn a_customers_sagas_are_found_by_mail_in_any_case_open_or_ended_through_kills() {
    let mut world = World::with_runtime().await;
    let _services = world.services().await;
    world.order_with("o1", json!({ "email": ANN })).await;
    world.order_with("o2", json!({ "email": "bob@example.com" })).await;
    world.order_with("o3", json!({ "email": " ann.bee@example.COM" })).await;
    for key in ["o1", "o2", "o3"] {
        world.until_status(key, "waiting").await;
    }
    world.pay("o1").await;
    let ended = world.until_status("o1", "completed").await;
    for _ in 0..2 {
        for mail in ["ann.bee@example.com", "ANN.BEE%40EXAMPLE.COM", "%20Ann.Bee@Example.com"] {
            let found: BTreeSet<_> = keys(&world, &format!("q={mail}")).await.into_iter().collect();
            assert_eq!(found, BTreeSet::from(["o1".into(), "o3".into()]), "{mail}");
        }
        let both = keys(&world, "q=ann.bee@example.com&status=completed").await;
        assert_eq!(both, ["o1"], "all filters hold together");
        assert_eq!(keys(&world, "q=ann.bee@example.com&definition=other").await, [""; 0]);
        assert_eq!(keys(&world, "q=ann.bee").await, [""; 0], "a part finds nothing");
        assert_eq!(keys(&world, "q=o2").await, ["o2"]);
        assert_eq!(keys(&world, &format!("q={}", ended["id"].as_str().unwrap())).await, ["o1"]);
        world.kill();
        world.start().await;
    }
    world.stop();
    let dir = world.data_dir();
    let db = Db::open(Path::new(&dir), DbOptions::default()).expect("the store opens");
    let rows = db.scan(&[], None, usize::MAX).expect("rows");
    assert!(rows.len() > 20, "{} rows", rows.len());
    for (key, _) in rows {
        let text = String::from_utf8_lossy(&key).to_lowercase();
        assert!(!text.contains("ann") && !text.contains("example"), "a key tells a mail: {text}");
    }
    assert!(!world.log().to_lowercase().contains("ann.bee"), "the log tells a mail");
}

#[tokio::test]
async fn a_lost_search_key_loses_nothing_and_a_damaged_one_is_refused() {
    let mut world = World::with_runtime().await;
    start(&world, "o1", json!({ "email": ANN })).await;
    world.kill();
    let path = Path::new(&world.data_dir()).join("search.key");
    assert_eq!(fs::metadata(&path).expect("a key").permissions().mode() & 0o777, 0o600);
    let lost = fs::read(&path).expect("a key");
    fs::remove_file(&path).expect("it is removed");
    world.start().await;
    assert_ne!(fs::read(&path).expect("a key"), lost);
    assert_eq!(keys(&world, "q=ann.bee@example.com").await, ["o1"]);
    assert!(world.log().contains("the search index was made anew"), "it says so");
    world.stop();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is opened");
    world.start().await;
    assert_eq!(fs::metadata(&path).expect("a key").permissions().mode() & 0o777, 0o600);
    assert!(world.log().contains("others could read the search key"), "it says so");
    world.stop();
    fs::write(&path, b"short").expect("it is damaged");
    world.launch();
    assert!(!world.ended().await.success());
    let log = world.log();
    assert!(log.contains("has 5 bytes instead of 32: put the right one back"), "{log}");
}

#[tokio::test]
async fn age_finds_what_started_then_and_a_wrong_time_is_refused() {
    let world = World::with_runtime().await;
    let mut times = Vec::new();
    for key in ["o1", "o2", "o3"] {
        let saga = start(&world, key, json!({})).await;
        let started = saga["startedAt"].as_str().expect("a time").to_owned();
        // The next one starts in another millisecond.
        let later = async |_: &World| chrono::Utc::now().to_rfc3339() > started;
        world.until("a millisecond is over", later).await;
        times.push(started);
    }
    let find = async |query: String| keys(&world, &query).await;
    assert_eq!(find(format!("startedAfter={}", times[1])).await, ["o3", "o2"]);
    assert_eq!(find(format!("startedBefore={}", times[1])).await, ["o1"]);
    let between = format!("startedAfter={}&startedBefore={}", times[1], times[2]);
    assert_eq!(find(between.clone()).await, ["o2"]);
    assert_eq!(find(between + "&q=o2&key=o2&status=waiting").await, [""; 0]);
    assert_eq!(find("startedAfter=1950-01-01T00:00:00Z".into()).await.len(), 3);
    assert_eq!(find("startedAfter=2026-01-01T00:00:00%2B02:00".into()).await.len(), 3);
    assert_eq!(find("startedBefore=1950-01-01T00:00:00Z".into()).await, [""; 0]);
    assert_eq!(find("startedAfter=9999-12-31T23:59:59Z".into()).await, [""; 0]);
    for wrong in ["startedAfter=yesterday", "startedBefore=1700000000", "startedAfter=", "q="] {
        let (status, problem) =
            world.call("GET", &format!("/api/sagas?{wrong}"), Some(VIEWER), None).await;
        assert_eq!(status, 422, "{wrong}: {problem}");
        let name = wrong.split('=').next().expect("a name");
        assert_eq!(problem["errors"][0]["pointer"], format!("/{name}"), "{problem}");
    }
}

#[tokio::test]
async fn a_wrong_cursor_and_an_unknown_parameter_are_refused_by_every_list() {
    let world = World::with_runtime().await;
    let saga = start(&world, "o1", json!({ "ask": true })).await;
    let journal = format!("/api/sagas/{}/journal", saga["id"].as_str().expect("an id"));
    for list in ["/api/sagas", "/api/events", "/api/tasks", &journal] {
        for wrong in ["cursor=x", "cursor=", "cursor=-1", "cursor=%00", "limit=0", "limit=201"] {
            let path = format!("{list}?{wrong}");
            let (status, problem) = world.call("GET", &path, Some(VIEWER), None).await;
            assert_eq!(status, 422, "{path}: {problem}");
            let name = wrong.split('=').next().expect("a name");
            assert_eq!(problem["errors"][0]["pointer"], format!("/{name}"), "{path}: {problem}");
        }
        let (status, _) = world.call("GET", &format!("{list}?colour=x"), Some(VIEWER), None).await;
        assert_eq!(status, 422, "{list}");
        assert_eq!(world.call("GET", list, None, None).await.0, 401, "{list}");
    }
}

/// Follows `next` to the end; something happens between two pages.
async fn pages(world: &World, list: &str, between: impl AsyncFn(usize)) -> Vec<String> {
    let (mut seen, mut cursor, mut number) = (Vec::new(), String::new(), 0);
    loop {
        let page = world.get(&format!("{list}{cursor}")).await;
        let items = page["items"].as_array().expect("items");
        let id = |it: &Value| match &it["position"] {
            Value::Number(position) => position.to_string(),
            _ => it["id"].as_str().expect("an id").to_owned(),
        };
        assert!(items.len() <= 7, "{list}: a page is not larger than asked for");
        seen.extend(items.iter().map(id));
        between(number).await;
        number += 1;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return seen,
        }
    }
}

#[tokio::test]
async fn pages_have_no_gap_and_nothing_twice_while_more_arrives() {
    const SAGAS: usize = 30;
    let world = World::with_runtime().await;
    for number in 0..SAGAS {
        start(&world, &format!("o{number}"), json!({ "ask": true, "email": ANN })).await;
        // Some are so large that one look at the log ends with them.
        let note = "n".repeat(if number % 5 == 0 { 300 << 10 } else { 0 });
        let body = json!({ "orderId": format!("early {number}"), "sessionId": "s", "note": note });
        world.publish("payments.trigger.completed", &[], &body.to_string()).await;
    }
    world.until("all are kept", async |it| it.events("kept").await.len() == SAGAS).await;
    let lists = [
        "/api/sagas?limit=7",
        "/api/sagas?limit=7&q=ann.bee@example.com",
        "/api/sagas?limit=7&status=waiting&startedAfter=2020-01-01T00:00:00Z",
        "/api/tasks?limit=7",
        "/api/events?limit=7",
        "/api/events?limit=7&verdict=kept",
    ];
    for (at, list) in lists.into_iter().enumerate() {
        let expected = pages(&world, list, async |_| ()).await;
        assert!(expected.len() >= SAGAS, "{list}: {}", expected.len());
        let unique: BTreeSet<_> = expected.iter().collect();
        assert_eq!(unique.len(), expected.len(), "{list}: nothing twice");
        let more = async |number: usize| {
            start(&world, &format!("more {at} {number}"), json!({ "ask": true, "email": ANN }))
                .await;
            let body = json!({ "orderId": format!("m {at} {number}"), "sessionId": "s" });
            world.publish("payments.trigger.completed", &[], &body.to_string()).await;
        };
        let seen = pages(&world, list, more).await;
        // What arrived between the two walks is newer, and comes first.
        assert!(seen.ends_with(&expected), "{list}: {seen:?} {expected:?}");
    }
}

#[tokio::test]
async fn definitions_tell_what_they_declare() {
    let mut world = World::new().await;
    world.set("DEMO_PAYMENT_MS", "1234");
    world.start().await;
    let page = world.get("/api/definitions").await;
    assert_eq!(page["next"], Value::Null);
    let mut items = page["items"].as_array().expect("items").iter();
    let demo = items.find(|it| it["name"] == "demo").expect("the demo");
    assert_eq!((&demo["name"], &demo["version"]), (&json!("demo"), &json!(1)));
    assert_eq!(demo["settings"]["payment_ms"], 1234);
    let created = json!({
        "event": "orders.trigger.created", "key": "/orderId", "starts": true,
        "foundBy": ["/email"], "decision": false, "each": false, "late": "unclaimed",
    });
    assert_eq!(demo["events"][0], created);
    assert_eq!(demo["events"][1]["decision"], true);
    assert_eq!(world.call("GET", "/api/definitions", None, None).await.0, 401);
}
