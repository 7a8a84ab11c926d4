use crate::server::{Broker, PATIENCE, Served, eventually, serve, serve_with};
use async_nats::{
    Client,
    jetstream::{self, consumer::PullConsumer},
};
use chassis::db::{Fault, Faults};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde_json::json;
use service_kit::{NewEvent, Refusal, Service, publish};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

const SUBJECT: &str = "inventory.trigger.counted";

fn service() -> Service {
    Service::new("warehouse", "for this test")
}

/// Publishes events with these numbers, a few in each commit.
async fn tell(served: &Served, numbers: std::ops::Range<u32>) {
    let handle = served.running.handle();
    for first in numbers.clone().step_by(50) {
        let numbers = first..(first + 50).min(numbers.end);
        handle
            .write(move |tx, at| {
                for n in numbers {
                    let subject = SUBJECT.to_owned();
                    let (id, key, body) = (format!("event {n}"), n.to_string(), json!({ "n": n }));
                    publish(tx, NewEvent { id, subject, key, body, at })?;
                }
                Ok(())
            })
            .await
            .unwrap();
    }
}

/// As [`tell`], with a key that several events share.
async fn tell_of(served: &Served, numbers: std::ops::Range<u32>, keys: u32) {
    let handle = served.running.handle();
    for first in numbers.clone().step_by(500) {
        let numbers = first..(first + 500).min(numbers.end);
        let told = handle.write(move |tx, at| {
            for n in numbers {
                let (id, key) = (format!("event {n}"), (n % keys).to_string());
                let (subject, body) = (SUBJECT.to_owned(), json!({ "n": n }));
                publish(tx, NewEvent { id, subject, key, body, at })?;
            }
            Ok(())
        });
        told.await.unwrap();
    }
}

/// Takes events and sends receipts, as the runtime does.
struct Runtime {
    task: JoinHandle<()>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// When the broker stored each event, by id.
    stored: Mutex<BTreeMap<String, Vec<DateTime<Utc>>>>,
    /// The ids of each key, in the order in which they first came.
    lanes: Mutex<BTreeMap<String, Vec<String>>>,
    /// Receipts are lost while this is set.
    is_mute: AtomicBool,
    epoch: AtomicU64,
}

impl Seen {
    fn take(&self, id: &str, key: String, at: DateTime<Utc>) {
        let mut stored = self.stored.lock().unwrap();
        if !stored.contains_key(id) {
            self.lanes.lock().unwrap().entry(key).or_default().push(id.to_owned());
        }
        stored.entry(id.to_owned()).or_default().push(at);
    }

    fn count(&self) -> usize {
        self.stored.lock().unwrap().len()
    }

    fn times(&self, id: &str) -> usize {
        self.stored.lock().unwrap().get(id).map_or(0, Vec::len)
    }

    fn has_come_since(&self, id: &str, at: DateTime<Utc>) -> bool {
        self.stored.lock().unwrap().get(id).and_then(|it| it.last()).is_some_and(|it| *it >= at)
    }

    /// The shortest time between two copies of one event, in milliseconds.
    fn closest_ms(&self) -> i64 {
        let stored = self.stored.lock().unwrap();
        let gaps = stored.values().flat_map(|times| times.windows(2).map(|it| it[1] - it[0]));
        gaps.map(|gap| gap.num_milliseconds()).min().unwrap_or(i64::MAX)
    }
}

impl Runtime {
    async fn start(broker: &Broker) -> Runtime {
        let seen = Arc::new(Seen::default());
        Runtime { task: Runtime::run(broker.client().await, Arc::clone(&seen)), seen }
    }

    fn run(client: Client, seen: Arc<Seen>) -> JoinHandle<()> {
        tokio::spawn(async move {
            let context = jetstream::new(client.clone());
            loop {
                // After the loss of its store the broker knows no consumer either.
                if take(&client, &context, &seen).await.is_none() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes one batch; nothing when the broker has no such consumer.
async fn take(client: &Client, context: &jetstream::Context, seen: &Seen) -> Option<()> {
    let stream = context.get_stream("TRIGGERS").await.ok()?;
    let config = jetstream::consumer::pull::Config {
        durable_name: Some("fermata".to_owned()),
        ..Default::default()
    };
    let consumer: PullConsumer = stream.get_or_create_consumer("fermata", config).await.ok()?;
    let fetched = consumer.fetch().max_messages(200).messages().await.ok()?;
    let messages: Vec<_> = fetched.filter_map(async |it| it.ok()).collect().await;
    let mut ids = Vec::new();
    for message in &messages {
        let headers = message.headers.as_ref().unwrap();
        let text = |name: &str| headers.get(name).unwrap().as_str().to_owned();
        let id = text("Nats-Msg-Id");
        assert_eq!(text("Fermata-Receipt"), "fermata.receipt.warehouse");
        assert_eq!(text("ce-id"), id.replace(' ', "%20"));
        assert_eq!(text("ce-type"), SUBJECT);
        assert_eq!(text("ce-subject"), text("Fermata-Key"));
        let stored = message.info().unwrap().published;
        seen.take(&id, text("Fermata-Key"), stored);
        ids.push(id);
        message.ack().await.ok()?;
    }
    if !ids.is_empty() && !seen.is_mute.load(Ordering::Relaxed) {
        let epoch = seen.epoch.load(Ordering::Relaxed);
        let receipt = json!({ "ids": ids, "epoch": epoch, "position": 100 }).to_string();
        client.publish("fermata.receipt.warehouse", receipt.into()).await.ok()?;
    }
    Some(())
}

fn outstanding(served: &Served) -> usize {
    served.running.handle().db().scan(b"\x01o", None, 100_000).unwrap().len()
}

async fn settled(served: &Served) {
    eventually("each event has its receipt", || outstanding(served) == 0).await;
}

#[tokio::test]
async fn events_come_once_each_when_nothing_breaks() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let runtime = Runtime::start(&broker).await;
    let served = serve(&broker, dir.path(), service()).await;
    tell(&served, 0..300).await;
    // The same ids again are not told again.
    tell(&served, 0..300).await;
    settled(&served).await;
    assert_eq!(runtime.seen.count(), 300);
    eventually("all receipts are counted", || {
        served.count("fermata_outbox_receipted_total") == 300
    })
    .await;
    served.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_when_the_broker_loses_its_store_with_events_in_flight() {
    let (mut broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let served = serve(&broker, dir.path(), service()).await;
    tell(&served, 0..1_000).await;
    eventually("the broker has acknowledged all", || {
        served.count("fermata_outbox_published_total") >= 1_000
    })
    .await;
    broker.kill();
    tell(&served, 1_000..1_100).await;
    broker.lose_store();
    broker.restart();
    broker.create_stream(64 << 20).await;
    let runtime = Runtime::start(&broker).await;
    settled(&served).await;
    let expected: BTreeSet<_> = (0..1_100).map(|n| format!("event {n}")).collect();
    let seen: BTreeSet<_> = runtime.seen.stored.lock().unwrap().keys().cloned().collect();
    assert_eq!(seen, expected);
    assert!(runtime.seen.closest_ms() >= 100, "{} ms", runtime.seen.closest_ms());
    served.stop().await;
}

#[tokio::test]
async fn lost_receipts_mean_repeats_with_growing_pauses_and_no_loss() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let runtime = Runtime::start(&broker).await;
    runtime.seen.is_mute.store(true, Ordering::Relaxed);
    let served = serve(&broker, dir.path(), service()).await;
    tell(&served, 0..100).await;
    eventually("the first event came four times", || runtime.seen.times("event 0") >= 4).await;
    assert_eq!(outstanding(&served), 100);
    runtime.seen.is_mute.store(false, Ordering::Relaxed);
    settled(&served).await;
    assert_eq!(runtime.seen.count(), 100);
    assert!(runtime.seen.closest_ms() >= 350, "{} ms", runtime.seen.closest_ms());
    let times = runtime.seen.times("event 0");
    served.stop().await;
    // What is receipted is never sent again.
    let served = serve(&broker, dir.path(), service()).await;
    tell(&served, 100..101).await;
    settled(&served).await;
    assert_eq!(runtime.seen.times("event 0"), times);
    served.stop().await;
}

#[tokio::test]
async fn a_full_stream_and_an_absent_broker_are_told_hold_events_up_and_lose_none() {
    let (mut broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    broker.create_stream(20_000).await;
    let served = serve(&broker, dir.path(), service()).await;
    tell(&served, 0..200).await;
    eventually("the stream is full", || served.count("fermata_outbox_refused_total") >= 20).await;
    eventually("it says that nothing is taken", || !served.health.is_ready()).await;
    broker.kill();
    tell(&served, 200..250).await;
    eventually("the service is not ready", || !served.health.is_ready()).await;
    served.stop_without_broker().await;

    // The service starts before the broker is back.
    broker.restart();
    let runtime = Runtime::start(&broker).await;
    let served = serve(&broker, dir.path(), service()).await;
    settled(&served).await;
    eventually("the service is ready", || served.health.is_ready()).await;
    assert_eq!(runtime.seen.count(), 250);
    assert!(runtime.seen.closest_ms() >= 100, "{} ms", runtime.seen.closest_ms());
    served.stop().await;
}

#[tokio::test]
async fn a_backlog_beyond_what_fits_in_flight_leaves_in_the_order_of_each_key() {
    let (mut broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    // Small enough to refuse again and again.
    broker.create_stream(100_000).await;
    let served = serve(&broker, dir.path(), service()).await;
    tell_of(&served, 0..3_000, 20).await;
    eventually("the stream is full", || served.count("fermata_outbox_refused_total") >= 20).await;
    broker.kill();
    tell_of(&served, 3_000..11_000, 20).await;
    assert!(served.count("fermata_outbox_outstanding") <= 10_100);
    served.stop_without_broker().await;
    broker.restart();
    let runtime = Runtime::start(&broker).await;
    let served = serve(&broker, dir.path(), service()).await;
    settled(&served).await;
    assert_eq!(runtime.seen.count(), 11_000);
    for (key, lane) in runtime.seen.lanes.lock().unwrap().iter() {
        let numbers = lane.iter().map(|id| id.rsplit(' ').next().unwrap().parse::<u32>().unwrap());
        assert!(numbers.is_sorted(), "of key {key}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_runtime_that_was_restored_gets_again_what_it_lost() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let runtime = Runtime::start(&broker).await;
    let served = serve(&broker, dir.path(), service()).await;
    tell(&served, 0..700).await;
    settled(&served).await;

    // Restored to before the receipts, which were of position 100.
    let restored = Utc::now();
    runtime.seen.epoch.store(1, Ordering::Relaxed);
    let client = broker.client().await;
    let notice = json!({ "epoch": 1, "position": 99 }).to_string();
    client.publish("fermata.epoch", notice.into()).await.unwrap();
    // Where receipts take longer than the relay waits for them, an event comes more than once.
    eventually("each event came again", || {
        (0..700).all(|n| runtime.seen.has_come_since(&format!("event {n}"), restored))
    })
    .await;
    settled(&served).await;
    served.stop().await;
}

#[tokio::test]
async fn a_service_whose_store_fails_answers_nothing_more_and_says_so() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let faults = Faults::default();
    let served = serve_with(&broker, dir.path(), service(), &faults).await;
    tell(&served, 0..10).await;
    faults.plan(Fault::Sync, 0);
    let handle = served.running.handle();
    let write = handle.write(|tx, _| {
        tx.put("k", "v");
        Ok(())
    });
    let failed = tokio::time::timeout(PATIENCE, write).await.unwrap();
    assert!(matches!(failed, Err(Refusal::Store(_))), "{failed:?}");
    tokio::time::timeout(PATIENCE, served.running.broken()).await.unwrap();
    eventually("the process is not ready", || !served.health.is_ready()).await;
    tokio::time::timeout(PATIENCE, served.stop_without_broker()).await.unwrap();
    drop(handle);

    // What was acknowledged is there, and goes on from there.
    let runtime = Runtime::start(&broker).await;
    let served = serve(&broker, dir.path(), service()).await;
    settled(&served).await;
    assert_eq!(runtime.seen.count(), 10);
    served.stop().await;
}

impl Served {
    /// As `stop`, when the connection cannot close in good order.
    async fn stop_without_broker(self) {
        tokio::time::timeout(PATIENCE, self.running.drain()).await.unwrap();
        self.nats.close(Duration::from_millis(100)).await;
    }
}
