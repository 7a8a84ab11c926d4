//! Requests to services: until they answer, whatever happens in between.

use crate::world::{OPERATOR, Said, World, header};
use serde_json::json;

#[tokio::test]
async fn a_lost_reply_is_asked_for_again_with_the_same_key() {
    let world = World::with_runtime().await;
    let silent_once = |number, _: &_| (number > 0).then(Said::ok);
    let mut reserve = world.service("inventory.reserve", silent_once).await;
    world.order("o1").await;
    let (first, second) = (reserve.heard().await, reserve.heard().await);
    assert_eq!(header(&first, "Idempotency-Key"), header(&second, "Idempotency-Key"));
    assert_eq!((&first.payload, &first.reply), (&second.payload, &second.reply));
    world.until_status("o1", "waiting").await;
}

#[tokio::test]
async fn a_service_that_is_absent_or_fails_is_asked_until_it_answers() {
    let world = World::with_runtime().await;
    world.order("o1").await;
    let is_retried =
        async |it: &World| it.saga("o1").await["calls"][0]["attempts"].as_u64() >= Some(2);
    world.until("it is asked again", is_retried).await;
    let saga = world.saga("o1").await;
    assert_eq!(saga["status"], "running");
    assert_eq!(saga["calls"][0]["subject"], "inventory.reserve");
    assert!(saga["calls"][0]["nextAttemptAt"].is_string(), "{saga}");
    let fails = |number, _: &_| {
        let code = ("Nats-Service-Error-Code", "500");
        Some(if number < 2 { Said::with(&[code], "boom") } else { Said::ok() })
    };
    let _reserve = world.service("inventory.reserve", fails).await;
    world.until_status("o1", "waiting").await;
    assert!(world.metric("fermata_requests_repeated_total").await >= 2.0);
}

#[tokio::test]
async fn a_rejection_ends_the_saga_and_a_late_answer_changes_nothing() {
    let world = World::with_runtime().await;
    let no = [("Fermata-Outcome", "rejected"), ("Nats-Service-Error-Code", "409")];
    let body = r#"{"code":"out_of_stock","reason":"none left"}"#;
    let mut reserve =
        world.service("inventory.reserve", move |_, _| Some(Said::with(&no, body))).await;
    let mut release = world.service("inventory.release", |_, _| Some(Said::ok())).await;
    world.order("o1").await;
    let asked = reserve.heard().await;
    let saga = world.until_status("o1", "cancelled").await;
    assert!(saga["reason"].as_str().unwrap().contains("none left"), "{saga}");
    let journal = world.kinds("o1").await;
    let client = world.tester.clone();
    Said::with(&no, body).send(&client, asked.reply.clone().unwrap()).await;
    world
        .until("it is counted", async |it| it.metric("fermata_stale_answers_total").await == 1.0)
        .await;
    Said::ok().send(&client, asked.reply.clone().unwrap()).await;
    world
        .until("it is counted", async |it| {
            it.metric("fermata_inconsistent_answers_total").await > 0.0
        })
        .await;
    assert_eq!(world.kinds("o1").await, journal);
    assert!(release.all().is_empty(), "a call that was refused has nothing to undo");
}

#[tokio::test]
async fn an_answer_to_a_process_that_has_died_counts() {
    let mut world = World::with_runtime().await;
    let mut reserve = world.service("inventory.reserve", |_, _| None).await;
    world.order("o1").await;
    let asked = reserve.heard().await;
    world.kill();
    world.start().await;
    let client = world.tester.clone();
    Said::ok().send(&client, asked.reply.unwrap()).await;
    world.until_status("o1", "waiting").await;
}

#[tokio::test]
async fn a_useless_answer_waits_for_a_person_and_a_retry_carries_the_next_class() {
    let world = World::with_runtime().await;
    let bad = |number, _: &_| {
        let reused = Said::with(
            &[("Fermata-Outcome", "rejected"), ("Nats-Service-Error-Code", "409")],
            r#"{"code":"key_reused","reason":"another body"}"#,
        );
        Some(match number {
            0 => Said::with(&[], "{no json"),
            1 => reused,
            // Of another type than the call's.
            2 => Said::with(&[], r#"{"id":5}"#),
            _ => Said::ok(),
        })
    };
    let mut reserve = world.service("inventory.reserve", bad).await;
    world.order("o1").await;
    let mut classes = vec![header(&reserve.heard().await, "Attempt-Class")];
    for _ in 0..3 {
        let saga = world.until_status("o1", "attention").await;
        assert_eq!(saga["calls"][0]["nextAttemptAt"], json!(null), "{saga}");
        assert!(saga["calls"][0]["stopped"].is_string(), "{saga}");
        let path = format!("/api/sagas/{}/retry", saga["id"].as_str().unwrap());
        let (status, body) = world.post(&path, OPERATOR, json!({ "reason": "mended" })).await;
        assert_eq!(status, 202, "{body}");
        classes.push(header(&reserve.heard().await, "Attempt-Class"));
    }
    assert_eq!(classes, ["", "2", "3", "4"]);
    world.until_status("o1", "waiting").await;
}

#[tokio::test]
async fn a_deadline_unwinds_and_the_undo_names_its_call_and_why() {
    let mut world = World::new().await;
    world.set("DEMO_PAYMENT_MS", "300");
    world.start().await;
    let [mut reserve, mut release, mut ship] = world.services().await;
    world.order("o1").await;
    let saga = world.until_status("o1", "cancelled").await;
    assert_eq!(saga["reason"], "nobody paid");
    let (call, undo) = (reserve.heard().await, release.heard().await);
    let key = header(&call, "Idempotency-Key");
    assert_eq!(header(&undo, "Idempotency-Key"), format!("{key}/undo"));
    assert_eq!(header(&undo, "Undo-Of"), key);
    assert_eq!(header(&undo, "Abort-Kind"), "deadline");
    assert_eq!(header(&undo, "Abort-Reason"), "nobody%20paid");
    assert!(undo.reply.unwrap().ends_with(".0.0.undo"));
    assert!(ship.all().is_empty());
}

#[tokio::test]
async fn many_calls_that_a_restart_left_open_are_asked_again_one_by_one() {
    const SAGAS: usize = 30;
    let mut world = World::with_runtime().await;
    let mut silent = world.service("inventory.reserve", |_, _| None).await;
    for number in 0..SAGAS {
        world.order(&format!("o{number}")).await;
    }
    let mut keys = std::collections::BTreeSet::new();
    while keys.len() < SAGAS {
        keys.insert(header(&silent.heard().await, "Idempotency-Key"));
    }
    drop(silent);
    world.kill();
    let mut reserve = world.service("inventory.reserve", |_, _| Some(Said::ok())).await;
    world.start().await;
    let open = async |it: &World| it.metric("fermata_calls_open").await == 0.0;
    world.until("all are answered", open).await;
    let again: std::collections::BTreeSet<_> =
        reserve.all().iter().map(|it| header(it, "Idempotency-Key")).collect();
    assert_eq!(again, keys);
}
