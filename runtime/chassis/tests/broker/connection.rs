//! The connection, against a real nats-server.

use crate::server::{Server, until};
use chassis::http::{Health, Metrics};
use chassis::nats::{Nats, NatsConfig, NatsError, apply_stream, trigger_subjects, triggers_stream};
use futures::StreamExt as _;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

struct Connected {
    nats: Nats,
    health: Health,
    metrics: Metrics,
}

async fn connect(config: &NatsConfig) -> Connected {
    let (health, metrics) = (Health::new(), Metrics::new());
    let nats = Nats::connect(config, &health, &metrics).await.expect("starts");
    Connected { nats, health, metrics }
}

#[tokio::test]
async fn a_process_may_start_before_the_broker_and_survives_its_restart() {
    let mut server = Server::start();
    server.stop();
    let it = connect(&server.config("admin", "pw")).await;
    assert!(!it.health.is_ready() && !it.nats.is_up());
    server.restart();
    it.nats.ready().await.expect("connects");
    until("ready", || it.health.is_ready()).await;
    assert!(it.nats.client().new_inbox().starts_with("_INBOX_admin."));
    server.stop();
    until("not ready without a broker", || !it.health.is_ready()).await;
    server.restart();
    until("ready again", || it.health.is_ready()).await;
    let text = it.metrics.text().expect("text");
    assert!(text.contains("fermata_nats_connects_total 2"), "{text}");
}

#[tokio::test]
async fn a_refused_subject_is_counted_and_told() {
    let server = Server::start();
    let it = connect(&server.config("order", "pw")).await;
    it.nats.ready().await.expect("connects");
    let mut refusals = it.nats.refusals();
    it.nats.client().publish("payments.trigger.completed", "x".into()).await.expect("buffered");
    it.nats.client().flush().await.expect("flushed");
    let told = tokio::time::timeout(PATIENCE, refusals.next()).await.expect("it is told");
    assert_eq!(told, ["payments.trigger.completed"]);
    let refused = || it.metrics.text().expect("text").contains("fermata_nats_refusals_total 1");
    until("the refusal is counted", refused).await;
}

#[tokio::test]
async fn a_wrong_password_keeps_the_gate_closed() {
    let server = Server::start();
    let it = connect(&server.config("admin", "wrong")).await;
    let waiting = tokio::time::timeout(Duration::from_millis(500), it.nats.ready()).await;
    assert!(waiting.is_err() || waiting.is_ok_and(|it| it.is_err()));
    assert!(!it.health.is_ready());
}

#[tokio::test]
async fn what_was_sent_before_the_close_arrives() {
    const COUNT: usize = 20_000;
    let server = Server::start();
    // `order` may not publish into its own inbox, `admin` may: either is proof of arrival.
    for user in ["admin", "order"] {
        let to = connect(&server.config("admin", "pw")).await;
        to.nats.ready().await.expect("connects");
        let mut inbox = to.nats.client().subscribe("orders.trigger.>").await.expect("subscribes");
        // A request is answered (nobody serves it) after the subscription was taken.
        let _nobody = to.nats.client().request("nobody", "".into()).await;
        let from = connect(&server.config(user, "pw")).await;
        from.nats.ready().await.expect("connects");
        for _ in 0..COUNT {
            let payload = vec![b'x'; 256].into();
            from.nats.client().publish("orders.trigger.x", payload).await.expect("buffered");
        }
        assert!(from.nats.close(PATIENCE).await, "closes in time");
        assert!(!from.health.is_ready());
        let arriving = async { (&mut inbox).take(COUNT).count().await };
        let count = tokio::time::timeout(PATIENCE, arriving).await.expect("all arrive");
        assert_eq!(count, COUNT);
    }
}

#[tokio::test]
async fn arrival_is_known_again_and_again_with_and_without_leave_to_hear_oneself() {
    let server = Server::start();
    for user in ["admin", "order"] {
        let it = connect(&server.config(user, "pw")).await;
        it.nats.ready().await.expect("connects");
        for _ in 0..3 {
            it.nats.client().publish("orders.trigger.x", "x".into()).await.expect("buffered");
            tokio::time::timeout(PATIENCE, it.nats.arrived()).await.expect("is known");
        }
        let text = it.metrics.text().expect("text");
        assert!(text.contains("fermata_nats_refusals_total 0"), "{text}");
    }
}

#[tokio::test]
async fn closing_without_a_broker_is_bounded() {
    let mut server = Server::start();
    let it = connect(&server.config("admin", "pw")).await;
    it.nats.ready().await.expect("connects");
    server.stop();
    until("not ready", || !it.health.is_ready()).await;
    let bound = Duration::from_millis(200);
    let closing = it.nats.close(bound);
    tokio::time::timeout(PATIENCE, closing).await.expect("the bound holds");
}

#[tokio::test]
async fn the_event_stream_is_created_as_asked_and_extended_by_a_prefix() {
    let server = Server::start();
    let it = connect(&server.config("admin", "pw")).await;
    it.nats.ready().await.expect("connects");
    let jetstream = it.nats.jetstream();
    let wanted = triggers_stream(trigger_subjects(&[]).expect("ours"), 1 << 20, 1);
    let created = apply_stream(&jetstream, &wanted).await.expect("created as asked");
    let again = apply_stream(&jetstream, &wanted).await.expect("nothing to do");
    assert_eq!(created.created, again.created);
    let subjects = trigger_subjects(&["shop".into()]).expect("a new prefix");
    let more = triggers_stream(subjects, 1 << 20, 1);
    let updated = apply_stream(&jetstream, &more).await.expect("updated");
    assert_eq!(updated.config.subjects.len(), 6);
    let mut other = more.clone();
    other.retention = async_nats::jetstream::stream::RetentionPolicy::Limits;
    let error = apply_stream(&jetstream, &other).await.expect_err("cannot be changed");
    assert!(matches!(error, NatsError::Stream { .. }), "{error}");
}

/// It blocks its thread, as one does that was stopped. Others may have taken its place.
#[tokio::test(flavor = "current_thread")]
async fn a_process_that_stood_still_has_another_connection_when_it_goes_on() {
    let server = Server::start();
    let it = connect(&server.config("admin", "pw")).await;
    let number = it.nats.connection().await.expect("connected");
    let (_allow, allowed) = tokio::sync::watch::channel(number);
    let held = it.nats.behind(allowed);
    assert!(held.is_up() && held.is_on(number));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        std::hint::spin_loop();
    }
    assert!(!held.is_up() && !held.is_on(number), "nothing has run yet, and it knows");
    let next = it.nats.connection().await.expect("connected");
    assert!(number < next, "{number} and {next}");
    assert!(it.nats.is_on(next) && !held.is_up(), "the new one is not allowed yet");
    assert_eq!(it.nats.connection().await.expect("connected"), next, "it does not change again");
}
