//! The runtime, and the broker under it, die and come back.

use crate::world::{World, header};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

#[tokio::test]
async fn a_payment_made_while_the_runtime_was_down_wins_over_its_deadline() {
    let mut world = World::new().await;
    world.set("DEMO_PAYMENT_MS", "1500");
    world.start().await;
    let _services = world.services().await;
    world.order("o1").await;
    let saga = world.until_status("o1", "waiting").await;
    let until = saga["waits"][0]["until"].as_str().unwrap().to_owned();
    world.stop();
    world.pay("o1").await;
    let passed = async |_: &World| chrono::Utc::now().to_rfc3339() > until;
    world.until("the deadline has passed", passed).await;
    world.start().await;
    world.until_status("o1", "completed").await;
}

#[tokio::test]
async fn a_payment_that_a_dead_process_took_and_never_acknowledged_wins_over_its_deadline() {
    let mut world = World::new().await;
    world.set("DEMO_PAYMENT_MS", "1500");
    world.start().await;
    let _services = world.services().await;
    world.order("o1").await;
    let saga = world.until_status("o1", "waiting").await;
    let until = saga["waits"][0]["until"].as_str().unwrap().to_owned();
    world.stop();
    world.pay("o1").await;
    world.take_without_acknowledging().await;
    let passed = async |_: &World| chrono::Utc::now().to_rfc3339() > until;
    world.until("the deadline has passed", passed).await;
    // Newer events are delivered at once; the payment only when the broker gives it again.
    world.order("o2").await;
    world.start().await;
    world.until_status("o1", "completed").await;
}

#[tokio::test]
async fn a_runtime_may_start_before_its_broker_and_stop_after_it() {
    let mut world = World::new().await;
    world.kill_nats();
    world.launch();
    let says_why = async |it: &World| {
        it.call("GET", "/readyz", None, None).await.1.to_string().contains("/checks/nats")
    };
    world.until("it says what it waits for", says_why).await;
    world.start_nats();
    world.until("the runtime is ready", async |it| it.is_ready().await).await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    world.kill_nats();
    let (status, took) = world.stop();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[tokio::test]
async fn a_deadline_that_passed_while_the_runtime_was_down_fires_once() {
    let mut world = World::new().await;
    world.set("DEMO_PAYMENT_MS", "700");
    world.start().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    world.kill();
    world.start().await;
    world.until_status("o1", "cancelled").await;
    let kinds = world.kinds("o1").await;
    assert_eq!(kinds.iter().filter(|it| *it == "timer_fired").count(), 1, "{kinds:?}");
}

#[tokio::test]
async fn sagas_survive_kills_of_the_runtime_and_each_step_has_one_key() {
    const SAGAS: usize = 40;
    let mut world = World::with_runtime().await;
    let [mut reserve, _release, mut ship] = world.services().await;
    for round in 0..4 {
        for number in (0..SAGAS).filter(|it| it % 4 == round) {
            world.order(&format!("o{number}")).await;
            world.pay(&format!("o{number}")).await;
        }
        world.kill();
        world.start().await;
    }
    let completed = async |it: &World| {
        let page = it.get("/api/sagas?status=completed&limit=200").await;
        page["items"].as_array().unwrap().len() == SAGAS
    };
    world.until("all are shipped", completed).await;
    for calls in [reserve.all(), ship.all()] {
        let keys: BTreeSet<_> = calls.iter().map(|it| header(it, "Idempotency-Key")).collect();
        assert_eq!(keys.len(), SAGAS);
    }
    world.until("the stream is empty", async |it| it.stream_messages().await == 0).await;
    assert_eq!(world.events("dead_letter").await.len(), 0);
}

#[tokio::test]
async fn while_the_broker_is_away_timers_are_held_and_said_to_be() {
    let mut world = World::new().await;
    world.set("DEMO_PAYMENT_MS", "800");
    world.start().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    world.kill_nats();
    let held = async |it: &World| it.metric("fermata_timers_held").await == 1.0;
    world.until("the timer is held", held).await;
    let (status, body) = world.call("GET", "/readyz", None, None).await;
    assert_eq!(status, 503);
    assert!(body.to_string().contains("held: intake behind"), "{body}");
    assert_eq!(world.status("o1").await, "waiting");
    world.start_nats();
    world.until_status("o1", "cancelled").await;
    world.until("it is ready again", async |it| it.is_ready().await).await;
}

#[tokio::test]
async fn a_broker_that_is_killed_and_comes_back_loses_nothing() {
    const SAGAS: usize = 10;
    let mut world = World::with_runtime().await;
    let _services = world.services().await;
    for number in 0..SAGAS {
        world.order(&format!("o{number}")).await;
    }
    world.kill_nats();
    world.start_nats();
    let back = async |it: &World| it.is_ready().await && it.tester.flush().await.is_ok();
    world.until("the broker is back", back).await;
    for number in 0..SAGAS {
        world.until("the broker takes it", async |it| it.stream_messages().await < u64::MAX).await;
        world.pay(&format!("o{number}")).await;
    }
    for number in 0..SAGAS {
        world.until_status(&format!("o{number}"), "completed").await;
    }
}

#[tokio::test]
async fn a_broker_that_lost_its_events_is_heard_again() {
    let mut world = World::with_runtime().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    world.kill_nats();
    world.lose_events_of_the_broker();
    world.start_nats();
    let back =
        async |it: &World| it.tester.flush().await.is_ok() && it.stream_messages().await == 0;
    world.until("the broker is back", back).await;
    world.pay("o1").await;
    world.until_status("o1", "completed").await;
}

#[tokio::test]
async fn a_broker_with_a_torn_file_of_the_consumer_is_heard_again() {
    let mut world = World::with_runtime().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    world.kill_nats();
    world.tear_the_consumer();
    world.start_nats();
    world.until("it is ready", async |it| it.is_ready().await).await;
    world.pay("o1").await;
    world.until_status("o1", "completed").await;
}

/// Whole blocks of a file that were never written, or none of it: what a file system leaves of a
/// file that was not synced when the power went.
#[tokio::test]
async fn a_torn_file_of_a_stream_stops_nothing() {
    let mut world = World::with_runtime().await;
    let _services = world.services().await;
    let files =
        ["meta.inf", "meta.sum", "msgs/*.blk"].map(|it| ["TRIGGERS", "STORES"].map(|of| (of, it)));
    for (number, (stream, file)) in files.concat().into_iter().enumerate() {
        for is_empty in [true, false] {
            let order = format!("o{number}-{is_empty}");
            world.order(&order).await;
            world.until_status(&order, "waiting").await;
            world.stop();
            // It is in the stream, and what is left of it comes, or comes again from its outbox.
            world.pay(&order).await;
            world.kill_nats();
            world.tear(stream, file, is_empty);
            world.start_nats();
            world.start().await;
            world.until("it is ready", async |it| it.is_ready().await).await;
            world.pay(&order).await;
            world.until_status(&order, "completed").await;
        }
    }
}

/// A power cut takes the acknowledgement as well as the settings of the stream.
#[tokio::test]
async fn an_event_without_an_id_is_used_once_though_the_settings_of_its_stream_were_torn() {
    let mut world = World::new().await;
    world.set("FERMATA_ENV", "development");
    world.start().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    world.stop();
    world.set("FERMATA_CRASH_AT", "acks.before-ack:1");
    world.launch();
    let paid = r#"{"orderId":"o1","sessionId":"s-o1"}"#;
    world.publish("payments.trigger.completed", &[], paid).await;
    assert!(!world.ended().await.success(), "it dies with the payment durable");
    world.set("FERMATA_CRASH_AT", "nowhere:1");
    world.kill_nats();
    world.tear("TRIGGERS", "meta.inf", true);
    world.start_nats();
    world.start().await;
    world.until_status("o1", "completed").await;
    world.until("all is acknowledged", async |it| it.stream_messages().await == 0).await;
    let page = world.get("/api/events?limit=50").await;
    let names = page["items"].as_array().expect("events").iter().map(|it| it["name"].clone());
    assert_eq!(names.filter(|it| it == "payments.trigger.completed").count(), 1, "{page:#}");
}

#[tokio::test]
async fn a_consumer_of_an_earlier_version_is_made_anew_with_what_was_under_way() {
    let mut world = World::with_runtime().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    world.stop();
    world.keep_the_consumer_on_disk().await;
    world.pay("o1").await;
    world.take_without_acknowledging().await;
    world.start().await;
    world.until_status("o1", "completed").await;
    assert!(!world.is_consumer_on_disk().await);
}

#[tokio::test]
async fn an_event_without_an_id_is_not_taken_for_the_one_whose_place_in_the_stream_it_has() {
    let mut world = World::with_runtime().await;
    let _services = world.services().await;
    world.publish("orders.trigger.created", &[], r#"{"orderId":"o1"}"#).await;
    world.until_status("o1", "waiting").await;
    world.kill_nats();
    world.lose_events_of_the_broker();
    world.start_nats();
    let back =
        async |it: &World| it.tester.flush().await.is_ok() && it.stream_messages().await == 0;
    world.until("the broker is back", back).await;
    world.publish("orders.trigger.created", &[], r#"{"orderId":"o2"}"#).await;
    world.until_status("o2", "waiting").await;
    assert_eq!(world.events("conflict").await.len(), 0);
}

#[tokio::test]
async fn a_stop_is_quick_clean_and_repeatable() {
    let mut world = World::with_runtime().await;
    let _services = world.services().await;
    world.order_with("o1", json!({ "sleepMs": 60_000 })).await;
    let saga = world.until_status("o1", "waiting").await;
    assert_eq!(saga["waits"][0]["event"], "sleep");
    for _ in 0..2 {
        let (status, took) = world.stop();
        assert_eq!(status.code(), Some(0));
        assert!(took < Duration::from_secs(20), "{took:?}");
        world.start().await;
    }
    assert_eq!(world.kinds("o1").await, ["started", "sleep"]);
}

#[tokio::test]
async fn a_second_runtime_on_the_same_data_is_refused() {
    let world = World::with_runtime().await;
    let mut other = World::new().await;
    let data = world.data_dir();
    other.set("FERMATA_DATA_DIR", &data);
    other.launch();
    let status = other.ended().await;
    assert_eq!(status.code(), Some(1));
    assert!(other.log().contains("in use by process"), "{}", other.log());
}

#[tokio::test]
async fn all_wrong_settings_are_listed_before_anything_runs() {
    let mut world = World::new().await;
    world.set("DEMO_PAYMENT_MS", "soon");
    let token = crate::world::dev_env("FERMATA_VIEWER_TOKEN");
    world.set("FERMATA_VIEWER_TOKEN", &token);
    let output = world.cli(&["serve"]);
    assert_eq!(output.status.code(), Some(78));
    let complaint = crate::world::text(&output.stderr);
    for name in ["DEMO_PAYMENT_MS", "FERMATA_VIEWER_TOKEN"] {
        assert!(complaint.contains(name), "{complaint}");
    }
    assert!(!complaint.contains(&token), "a secret is shown");
}
