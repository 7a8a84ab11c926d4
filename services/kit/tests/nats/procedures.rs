use crate::server::{Broker, PATIENCE, Served, eventually, serve};
use async_nats::{Client, HeaderMap, Message};
use futures::StreamExt;
use proto_schemas::{
    inventory::{Availability, CheckAvailability, Moved, Pieces, Release, Reserve},
    payments::{CreateSession, Session},
};
use serde_json::{Value, json};
use service_kit::{
    Attempt, Begun, Call, Effect, Outcome, Refusal, Rejection, Service, Tx, WorkError,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

fn reserve(tx: &mut Tx, call: Call<Reserve>) -> Outcome<Moved> {
    let quantity: u32 = call.body.items.iter().map(|pieces| pieces.quantity).sum();
    if quantity > 100 {
        return Err(Refusal::rejected("out_of_stock", "not so many"));
    }
    if quantity == 66 {
        return Err(Refusal::failed("the shelf\nis on fire"));
    }
    let held: u32 = tx.get_json(b"held")?.unwrap_or(0);
    tx.put_json("held", &(held + quantity))?;
    Ok(Moved { order_id: call.body.order_id, items: Vec::new() })
}

fn release(tx: &mut Tx, call: Call<Release>) -> Outcome<Moved> {
    tx.put_json("held", &0)?;
    Ok(Moved { order_id: call.body.order_id, items: Vec::new() })
}

fn check(_: &Tx, _: CheckAvailability) -> Outcome<Availability> {
    Ok(Availability { available: true, items: Vec::new() })
}

fn service() -> Service {
    Service::new("warehouse", "for this test").procedure(reserve).procedure(release).query(check)
}

fn reserve_body(quantity: u32) -> String {
    let items = vec![Pieces { sku: "A-1".to_owned(), quantity }];
    let body = Reserve { order_id: "ORD-1".parse().unwrap(), items };
    serde_json::to_string(&body).unwrap()
}

const RELEASE: &str = r#"{"orderId":"ORD-1"}"#;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(*name, *value);
    }
    headers
}

async fn ask(client: &Client, subject: &str, body: &str, pairs: &[(&str, &str)]) -> Message {
    let body = body.to_owned().into();
    client.request_with_headers(subject.to_owned(), headers(pairs), body).await.unwrap()
}

fn header(message: &Message, name: &str) -> String {
    let headers = message.headers.as_ref().unwrap();
    headers.get(name).map_or_else(String::new, |value| value.as_str().to_owned())
}

fn body(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).unwrap()
}

fn held(served: &Served) -> u32 {
    let value = served.running.handle().db().get(b"held").unwrap();
    value.map_or(0, |value| serde_json::from_slice(&value).unwrap())
}

#[tokio::test]
async fn answers_carry_their_class() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let served = serve(&broker, dir.path(), service()).await;
    let client = broker.client().await;

    let ok = ask(&client, "inventory.reserve", &reserve_body(5), &[("Idempotency-Key", "a")]).await;
    assert_eq!(header(&ok, "Fermata-Outcome"), "ok");
    assert_eq!(body(&ok)["orderId"], "ORD-1");

    let key = [("Idempotency-Key", "b")];
    let no = ask(&client, "inventory.reserve", &reserve_body(101), &key).await;
    assert_eq!(header(&no, "Fermata-Outcome"), "rejected");
    assert_eq!(header(&no, "Nats-Service-Error-Code"), "409");
    assert_eq!(header(&no, "Nats-Service-Error"), "not so many");
    assert_eq!(body(&no), json!({ "code": "out_of_stock", "reason": "not so many" }));

    let failed =
        ask(&client, "inventory.reserve", &reserve_body(66), &[("Idempotency-Key", "c")]).await;
    assert_eq!(header(&failed, "Fermata-Outcome"), "failed");
    assert_eq!(header(&failed, "Nats-Service-Error-Code"), "500");
    assert_eq!(header(&failed, "Nats-Service-Error"), "the shelf is on fire");

    let bad = ask(&client, "inventory.reserve", "{}", &[("Idempotency-Key", "d")]).await;
    assert_eq!(header(&bad, "Nats-Service-Error-Code"), "400");
    assert_eq!(body(&bad)["code"], "invalid");
    assert_eq!(body(&bad)["errors"][0]["pointer"], "/items");

    let read = r#"{"items":[{"sku":"A-1","quantity":1}]}"#;
    let read = ask(&client, "inventory.check-availability", read, &[]).await;
    assert_eq!(body(&read)["available"], true);
    let label = "fermata_service_calls_total{subject=\"inventory.reserve\",outcome=\"rejected\"}";
    eventually("the calls are counted", || served.count(label) == 2).await;
    served.stop().await;
}

#[tokio::test]
async fn resends_act_once_over_a_restart_and_a_late_call_after_its_undo_does_nothing() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let served = serve(&broker, dir.path(), service()).await;
    let client = broker.client().await;
    let call = [("Idempotency-Key", "s/0/1")];
    for _ in 0..3 {
        ask(&client, "inventory.reserve", &reserve_body(5), &call).await;
    }
    assert_eq!(held(&served), 5);
    served.stop().await;

    let served = serve(&broker, dir.path(), service()).await;
    let ok = ask(&client, "inventory.reserve", &reserve_body(5), &call).await;
    assert_eq!(header(&ok, "Fermata-Outcome"), "ok");
    assert_eq!(held(&served), 5);

    // The undo overtakes a call that still lies in a socket.
    let undo = [("Idempotency-Key", "s/0/2/undo"), ("Undo-Of", "s/0/2"), ("Abort-Kind", "lost")];
    let ok = ask(&client, "inventory.release", RELEASE, &undo).await;
    assert_eq!((header(&ok, "Fermata-Outcome").as_str(), body(&ok)), ("ok", Value::Null));
    assert_eq!(held(&served), 5);
    let late = [("Idempotency-Key", "s/0/2")];
    let late = ask(&client, "inventory.reserve", &reserve_body(7), &late).await;
    assert_eq!(header(&late, "Fermata-Outcome"), "rejected");
    assert_eq!(body(&late)["code"], "undone");
    assert_eq!(held(&served), 5);
    served.stop().await;
}

#[tokio::test]
async fn a_flood_of_repeats_from_many_callers_acts_once_per_key() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let served = serve(&broker, dir.path(), service()).await;
    let client = broker.client().await;
    let mut asked = Vec::new();
    for n in 0..600 {
        let client = client.clone();
        asked.push(tokio::spawn(async move {
            let key = format!("s/0/{}", n % 50);
            let body = reserve_body(1);
            ask(&client, "inventory.reserve", &body, &[("Idempotency-Key", &key)]).await
        }));
    }
    for answer in asked {
        assert_eq!(header(&answer.await.unwrap(), "Fermata-Outcome"), "ok");
    }
    assert_eq!(held(&served), 50);
    // One fsync for many callers.
    assert!(served.count("fermata_service_commits_total") < 50);
    served.stop().await;
}

#[tokio::test]
async fn the_procedures_can_be_listed() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let served = serve(&broker, dir.path(), service()).await;
    let client = broker.client().await;
    for subject in ["$SRV.INFO", "$SRV.STATS.warehouse"] {
        let listed = body(&ask(&client, subject, "", &[]).await);
        let endpoints = listed["endpoints"].as_array().unwrap();
        let subjects: BTreeSet<_> =
            endpoints.iter().map(|it| it["subject"].as_str().unwrap()).collect();
        let expected = ["inventory.check-availability", "inventory.release", "inventory.reserve"];
        assert_eq!(subjects, BTreeSet::from(expected));
        assert!(endpoints.iter().all(|it| it["queue_group"] == "warehouse"));
    }
    let pong = body(&ask(&client, "$SRV.PING.warehouse", "", &[]).await);
    assert_eq!(pong["name"], "warehouse");
    served.stop().await;
}

/// A provider that answers when it is let to.
struct Slow {
    allowed: Arc<Semaphore>,
    asked: Arc<Semaphore>,
}

impl Effect for Slow {
    type Request = CreateSession;
    type Intent = u32;
    type Done = String;

    fn begin(&self, _: &mut Tx, _: &Call<CreateSession>) -> Outcome<Begun<u32, Session>> {
        Ok(Begun::Work(7))
    }

    async fn work(&self, intent: u32, attempt: Attempt) -> Result<String, WorkError> {
        self.asked.add_permits(1);
        self.allowed.acquire().await.unwrap().forget();
        Ok(format!("{} {intent} {}", attempt.key, attempt.may_have_happened))
    }

    fn finish(
        &self,
        tx: &mut Tx,
        _: &Call<CreateSession>,
        _: u32,
        done: Result<String, Rejection>,
    ) -> Outcome<Session> {
        let session_id = done?;
        let sessions: u32 = tx.get_json(b"sessions")?.unwrap_or(0);
        tx.put_json("sessions", &(sessions + 1))?;
        Ok(Session { session_id, url: None, expires_at: None })
    }
}

#[tokio::test]
async fn outside_work_that_was_cut_off_goes_on_after_the_start_with_the_same_key() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let (allowed, asked) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let slow = || {
        let slow = Slow { allowed: Arc::clone(&allowed), asked: Arc::clone(&asked) };
        Service::new("payment", "for this test").effect(slow)
    };
    let served = serve(&broker, dir.path(), slow()).await;
    let client = broker.client().await;
    let body = r#"{"orderId":"ORD-1","amount":"10.00","currency":"USD"}"#;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    let send = || {
        let key = headers(&[("Idempotency-Key", "s/0/3")]);
        let (subject, body) = ("payments.create-session", body.to_owned().into());
        client.publish_with_reply_and_headers(subject, inbox.clone(), key, body)
    };
    send().await.unwrap();
    asked.acquire().await.unwrap().forget();
    // The drain leaves the request unanswered, since its work has no end.
    served.stop().await;
    let served = serve(&broker, dir.path(), slow()).await;
    asked.acquire().await.unwrap().forget();
    send().await.unwrap();
    send().await.unwrap();
    // One for the run of the first process, which lives on in this test and is heard by nobody.
    allowed.add_permits(2);
    for _ in 0..2 {
        let answer = tokio::time::timeout(PATIENCE, answers.next()).await.unwrap().unwrap();
        assert_eq!(header(&answer, "Fermata-Outcome"), "ok");
        let body: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(body["sessionId"], "s/0/3 7 true");
    }
    let handle = served.running.handle();
    assert_eq!(handle.db().get(b"sessions").unwrap().unwrap(), b"1");
    served.stop().await;
}

/// A provider that always fails.
struct Failing {
    asked: Arc<Semaphore>,
}

impl Effect for Failing {
    type Request = CreateSession;
    type Intent = u32;
    type Done = String;

    fn begin(&self, _: &mut Tx, _: &Call<CreateSession>) -> Outcome<Begun<u32, Session>> {
        Ok(Begun::Work(7))
    }

    async fn work(&self, _: u32, _: Attempt) -> Result<String, WorkError> {
        self.asked.add_permits(1);
        Err(WorkError::Failed("it is down".to_owned()))
    }

    fn finish(
        &self,
        _: &mut Tx,
        _: &Call<CreateSession>,
        _: u32,
        done: Result<String, Rejection>,
    ) -> Outcome<Session> {
        Ok(Session { session_id: done?, url: None, expires_at: None })
    }
}

/// A copy may have its place then, and have undone what it would do now.
#[tokio::test]
async fn who_is_cut_off_from_the_broker_asks_no_provider() {
    let (mut broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let asked = Arc::new(Semaphore::new(0));
    let failing = Failing { asked: Arc::clone(&asked) };
    let service = Service::new("payment", "for this test").effect(failing);
    let served = serve(&broker, dir.path(), service).await;
    let client = broker.client().await;
    let body = r#"{"orderId":"ORD-1","amount":"10.00","currency":"USD"}"#;
    let key = headers(&[("Idempotency-Key", "s/0/3")]);
    let inbox = client.new_inbox();
    let subject = "payments.create-session";
    client.publish_with_reply_and_headers(subject, inbox, key, body.into()).await.unwrap();
    asked.acquire().await.unwrap().forget();
    broker.kill();
    eventually("it is cut off", || !served.nats.is_up()).await;
    while let Ok(before) = asked.try_acquire() {
        before.forget();
    }
    let is_asked = tokio::time::timeout(Duration::from_secs(3), asked.acquire()).await;
    assert!(is_asked.is_err(), "it has asked the provider");
    broker.restart();
    let is_asked = tokio::time::timeout(PATIENCE, asked.acquire()).await;
    assert!(is_asked.is_ok(), "it goes on when it is back");
    served.stop().await;
}

#[tokio::test]
async fn a_provider_that_hangs_holds_up_nobody_else() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let (allowed, asked) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let slow = Slow { allowed: Arc::clone(&allowed), asked: Arc::clone(&asked) };
    let served = serve(&broker, dir.path(), service().effect(slow)).await;
    let client = broker.client().await;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    // More than all places of the process together would be.
    for n in 0..1_200 {
        let key = format!("s/0/{n}");
        let key = headers(&[("Idempotency-Key", &key)]);
        let body = r#"{"orderId":"ORD-1","amount":"10.00","currency":"USD"}"#.into();
        let sent = client.publish_with_reply_and_headers(
            "payments.create-session",
            inbox.clone(),
            key,
            body,
        );
        sent.await.unwrap();
    }
    // As many as may run at once.
    asked.acquire_many(32).await.unwrap().forget();
    let key = [("Idempotency-Key", "s/1/1")];
    let ok = ask(&client, "inventory.reserve", &reserve_body(5), &key).await;
    assert_eq!(header(&ok, "Fermata-Outcome"), "ok");
    assert_eq!(asked.available_permits(), 0);
    allowed.add_permits(1_200);
    for _ in 0..1_200 {
        let answer = tokio::time::timeout(PATIENCE, answers.next()).await.unwrap().unwrap();
        assert_eq!(header(&answer, "Fermata-Outcome"), "ok");
    }
    served.stop().await;
}

#[tokio::test]
async fn procedures_come_back_with_the_broker() {
    let (mut broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let served = serve(&broker, dir.path(), service()).await;
    for n in 0..3 {
        broker.kill();
        eventually("the service is not ready", || !served.health.is_ready()).await;
        broker.restart();
        eventually("the service is ready again", || served.health.is_ready()).await;
        let client = broker.client().await;
        let key = format!("s/0/{n}");
        let key = [("Idempotency-Key", key.as_str())];
        let ok = ask(&client, "inventory.reserve", &reserve_body(1), &key).await;
        assert_eq!(header(&ok, "Fermata-Outcome"), "ok");
        let pong = body(&ask(&client, "$SRV.PING.warehouse", "", &[]).await);
        assert_eq!(pong["name"], "warehouse");
    }
    assert_eq!(held(&served), 3);
    served.stop().await;
}

#[tokio::test]
async fn what_is_in_flight_when_the_service_stops_is_answered_or_can_be_asked_again() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let client = broker.client().await;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    let send = async |n: u32| {
        let key = format!("s/0/{n}");
        let (key, body) = (headers(&[("Idempotency-Key", &key)]), reserve_body(1).into());
        let to = format!("{inbox}.{n}");
        client.publish_with_reply_and_headers("inventory.reserve", to, key, body).await.unwrap();
    };
    drop(answers);
    answers = client.subscribe(format!("{inbox}.*")).await.unwrap();
    let mut open: BTreeSet<u32> = (0..400).collect();
    for stop in 0.. {
        assert!(stop < 20, "still unanswered: {open:?}");
        let served = serve(&broker, dir.path(), service()).await;
        for n in &open {
            send(*n).await;
        }
        client.flush().await.unwrap();
        // Half of them at the first stops, so that the stop comes in their midst.
        let enough = if stop < 3 { open.len() / 2 } else { open.len() };
        for _ in 0..enough {
            let Ok(Some(answer)) = tokio::time::timeout(PATIENCE, answers.next()).await else {
                panic!("no answer");
            };
            take_answer(&answer, &mut open);
        }
        served.stop().await;
        while let Ok(Some(answer)) =
            tokio::time::timeout(Duration::from_millis(100), answers.next()).await
        {
            take_answer(&answer, &mut open);
        }
        if open.is_empty() {
            break;
        }
    }
    let served = serve(&broker, dir.path(), service()).await;
    assert_eq!(held(&served), 400);
    served.stop().await;
}

fn take_answer(answer: &Message, open: &mut BTreeSet<u32>) {
    if header(answer, "Fermata-Outcome") == "ok" {
        open.remove(&answer.subject.as_str().rsplit('.').next().unwrap().parse().unwrap());
    }
}

#[tokio::test]
async fn a_write_of_ones_own_is_once_per_key_and_survives_refusals() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let served = serve(&broker, dir.path(), service()).await;
    let handle = served.running.handle();
    let add = |tx: &mut Tx, _| {
        let n: u32 = tx.get_json(b"n")?.unwrap_or(0);
        tx.put_json("n", &(n + 1))?;
        Ok(n + 1)
    };
    for _ in 0..2 {
        let n: u32 = handle.write_once("POST /n", "key", r#"{"a":1,"b":2}"#, add).await.unwrap();
        assert_eq!(n, 1);
    }
    let n: u32 = handle.write_once("POST /n", "key", r#"{"b":2, "a":1}"#, add).await.unwrap();
    assert_eq!(n, 1);
    let other = handle.write_once::<u32, _>("POST /n", "key", "{}", add).await;
    assert!(matches!(other, Err(Refusal::Rejected(no)) if no.code() == "key_reused"));
    for _ in 0..2 {
        let no = |tx: &mut Tx, _| -> Outcome<u32> {
            tx.put_json("n", &100)?;
            Err(Refusal::rejected("no", "never"))
        };
        let no = handle.write_once("POST /n", "other", "{}", no).await;
        assert!(matches!(no, Err(Refusal::Rejected(no)) if no.code() == "no"));
    }
    let panics = handle.write::<(), _>(|_, _| panic!("planned")).await;
    assert!(matches!(panics, Err(Refusal::Failed(_))));
    assert_eq!(handle.write(add).await.unwrap(), 2);
    served.stop().await;
    assert!(matches!(handle.write(add).await, Err(Refusal::Failed(_))));
}
