//! Whoever runs, but is slow to reach; words that get lost, and ways back that take long.

use crate::claims::{claim, connect_by as connect, moves, open, restarted};
use crate::server::{Server, copied, until};
use crate::ways::{silent, slow};
use async_nats::jetstream::stream;
use chassis::Wire;
use chassis::claim::{Claim, ClaimError, Keeper};
use chassis::db::Db;
use chassis::http::{Health, Metrics};
use chassis::nats::Nats;
use futures::StreamExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How a record is written, and what the broker answers.
const RECORD: &str = "HPUB fermata.store.fermata";
const KEPT: &str = "\"stream\":\"STORES\"";

/// A store of ten positions and a copy of it.
pub(crate) fn two(dir: &Path) -> (Db, Db) {
    let (first, second) = (dir.join("first"), dir.join("second"));
    moves(&open(&first), 10);
    copied(&first, &second);
    (open(&first), open(&second))
}

/// The right one is at work, well, and next to the broker. A copy is started behind a way on which
/// a question and its answer take 1.2 s.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_far_from_the_broker_does_not_replace_one_that_is_at_work() {
    let server = Server::start();
    let nats = connect(&server, server.port()).await;
    let dir = tempfile::tempdir().unwrap();
    let (db, copy) = two(dir.path());
    let (allow, allowed) = watch::channel(0);
    let held = nats.behind(allowed);
    let health = Health::new();
    let (_keeper, mut lost) =
        Keeper::start(claim(&nats, &db).settled(), allow, health.gate("broker"));
    until("it is at work", || held.is_up()).await;
    let ms = Arc::new(AtomicU64::new(0));
    let far = connect(&server, slow(server.port(), ms.clone()).await).await;
    ms.store(600, Ordering::SeqCst);
    let came = claim(&far, &copy).settle().await;
    let ended = tokio::time::timeout(Duration::from_secs(7), &mut lost).await;
    assert!(
        matches!(came, Err(ClaimError::AtWork { .. })),
        "one is at work: {came:?}, and that one is told {ended:?}"
    );
}

/// The same, when the way of the one that is started breaks under its questions.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_loses_its_connection_while_it_asks_does_not_replace_one_that_is_at_work() {
    let server = Server::start();
    let nats = connect(&server, server.port()).await;
    let dir = tempfile::tempdir().unwrap();
    let (db, copy) = two(dir.path());
    let mut one = claim(&nats, &db);
    one.settle().await.unwrap();
    let wire = Wire::to(server.port()).await.unwrap();
    let other = connect(&server, wire.port()).await;
    wire.break_at("PUB fermata.owner.fermata", 2);
    let came = claim(&other, &copy).settle().await;
    assert!(matches!(came, Err(ClaimError::AtWork { .. })), "one is at work: {came:?}");
    assert_eq!(wire.breaks_left(), 0, "it has asked on broken connections");
}

/// The same for a service at a broker without a place for records: one question is all.
#[tokio::test(flavor = "multi_thread")]
async fn one_broken_connection_lets_no_second_service_to_work() {
    let server = Server::start();
    let nats = connect(&server, server.port()).await;
    let dir = tempfile::tempdir().unwrap();
    let (db, copy) = two(dir.path());
    let mut one = Claim::new(nats.clone(), db.clone(), "payment");
    one.settle().await.unwrap();
    let wire = Wire::to(server.port()).await.unwrap();
    let other = connect(&server, wire.port()).await;
    wire.break_at("PUB fermata.owner.payment", 1);
    let came = Claim::new(other.clone(), copy.clone(), "payment").settle().await;
    assert!(matches!(came, Err(ClaimError::AtWork { .. })), "one is at work: {came:?}");
    assert_eq!(wire.breaks_left(), 0, "it has asked on broken connections");
}

/// It runs all the while, but its network stands still; a copy asks, hears nothing, and has its
/// place. What was asked meanwhile comes when the network goes on: it is for the copy.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_replaced_while_its_network_stood_still_answers_nothing_when_that_goes_on() {
    let server = Server::start();
    let wire = Wire::to(server.port()).await.unwrap();
    let nats = connect(&server, wire.port()).await;
    let dir = tempfile::tempdir().unwrap();
    let (db, copy) = two(dir.path());
    let (allow, allowed) = watch::channel(0);
    let held = nats.behind(allowed);
    let health = Health::new();
    let (_keeper, lost) = Keeper::start(claim(&nats, &db).settled(), allow, health.gate("broker"));
    until("it is at work", || held.is_up()).await;
    // As an endpoint of the kit does.
    let mut requests = held.client().subscribe("payment.charge").await.unwrap();
    let serving = held.clone();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            serving.ready().await.unwrap();
            let reply = request.reply.unwrap();
            serving.client().publish(reply, "from the wrong store".into()).await.unwrap();
        }
    });
    held.arrived().await;

    let direct = connect(&server, server.port()).await;
    wire.stand_still();
    let mut other = claim(&direct, &copy);
    other.settle().await.expect("nobody answers");
    let asker = direct.client().clone();
    let asked = tokio::spawn(async move {
        let asked = asker.request("payment.charge", "a card".into());
        tokio::time::timeout(Duration::from_secs(3), asked).await
    });
    direct.arrived().await;
    assert!(!held.is_up(), "it was out of touch for so long");
    wire.mend();
    let answer = asked.await.unwrap();
    let why = lost.await.map(|it| it.to_string());
    assert!(
        !matches!(answer, Ok(Ok(_))),
        "it answered {:?}, and a moment later: {why:?}",
        answer.unwrap().unwrap().payload
    );
}

/// It is told that it was replaced, on a connection that was never lost; until it has ended it
/// drains. The broker is away for it.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_that_it_was_replaced_has_no_broker_any_more() {
    let server = Server::start();
    let nats = connect(&server, server.port()).await;
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    moves(&db, 10);
    let (allow, allowed) = watch::channel(0);
    let held = nats.behind(allowed);
    let health = Health::new();
    let (_keeper, lost) = Keeper::start(claim(&nats, &db).settled(), allow, health.gate("broker"));
    until("it is at work", || held.is_up()).await;
    let connection = nats.connection().await.unwrap();
    let run = uuid::Uuid::from_u128(7);
    let record = serde_json::json!({
        "instance": db.instance(), "epoch": db.epoch(), "position": 100, "run": run,
        "broker": nats.server(),
    });
    let jetstream = nats.jetstream();
    let written = jetstream.publish("fermata.store.fermata", record.to_string().into());
    written.await.unwrap().await.unwrap();
    // Whoever is asked looks at its record.
    nats.client().request("fermata.owner.fermata", "".into()).await.unwrap();
    let why = lost.await.unwrap();
    assert!(matches!(why, ClaimError::Replaced { .. }), "{why}");
    assert!(nats.is_on(connection), "it has its connection yet");
    assert!(!held.is_up(), "after `{why}` its parts may still take and send");
}

/// B takes the place of A, as an operator has said; the broker's word for its record gets lost.
/// Then the broker loses its last minutes, and has the record of A once more.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_took_over_serves_on_though_the_word_for_its_record_got_lost() {
    for is_lost in [false, true] {
        let mut server = Server::start();
        let nats = connect(&server, server.port()).await;
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [a, b] = [open(dirs[0].path()), open(dirs[1].path())];
        moves(&a, 10);
        moves(&b, 1);
        let mut of_a = claim(&nats, &a);
        of_a.settle().await.unwrap();
        of_a.leave().await.unwrap();
        drop(of_a);
        restarted(&mut server, &nats, Server::keep_records).await;
        assert!(claim(&nats, &b).settle().await.is_err(), "a wrong directory");
        chassis::claim::take_over(dirs[1].path(), a.instance(), "a lost disk").unwrap();
        let wire = Wire::to(server.port()).await.unwrap();
        let of_b = connect(&server, wire.port()).await;
        if is_lost {
            wire.lose_answer(RECORD, KEPT);
        }
        let mut taken = claim(&of_b, &b);
        taken.settle().await.unwrap();
        assert_eq!(wire.breaks_left(), 0, "it was lost, if it was to be");
        restarted(&mut server, &of_b, Server::lose_what_came_since).await;
        let confirmed = taken.confirm().await;
        assert!(confirmed.is_ok(), "lost: {is_lost}: nobody has come: {confirmed:?}");
    }
}

/// The same for an idle process that is started anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_one_is_not_ended_by_a_broker_of_before_though_the_word_for_its_record_got_lost() {
    for is_lost in [false, true] {
        let mut server = Server::start();
        let nats = connect(&server, server.port()).await;
        let dir = tempfile::tempdir().unwrap();
        moves(&open(dir.path()), 10);
        let db = open(dir.path());
        let mut before = claim(&nats, &db);
        before.settle().await.unwrap();
        drop((before, db));
        restarted(&mut server, &nats, Server::keep_records).await;
        let db = open(dir.path());
        let wire = Wire::to(server.port()).await.unwrap();
        let nats = connect(&server, wire.port()).await;
        if is_lost {
            wire.lose_answer(RECORD, KEPT);
        }
        let mut now = claim(&nats, &db);
        now.settle().await.unwrap();
        assert_eq!(wire.breaks_left(), 0, "it was lost, if it was to be");
        restarted(&mut server, &nats, Server::lose_what_came_since).await;
        let confirmed = now.confirm().await;
        assert!(confirmed.is_ok(), "lost: {is_lost}: nobody has come: {confirmed:?}");
    }
}

/// The machine of the broker lost its power, and is back after some seconds. So is the live
/// process, as soon as it can be; a copy is started as soon as the broker is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_waits_as_long_as_one_that_is_on_its_way_back_may_take() {
    let mut server = Server::start();
    let (fall, down) = watch::channel(false);
    let tries = Arc::new(AtomicUsize::new(0));
    let nats = connect(&server, silent(server.port(), down, tries.clone()).await).await;
    let dir = tempfile::tempdir().unwrap();
    let (db, copy) = two(dir.path());
    let (allow, allowed) = watch::channel(0);
    let held = nats.behind(allowed);
    let health = Health::new();
    let (_keeper, mut lost) =
        Keeper::start(claim(&nats, &db).settled(), allow, health.gate("broker"));
    until("it is at work", || held.is_up()).await;
    fall.send_replace(true);
    server.stop();
    until("it is down", || !held.is_up()).await;
    until("it tries to connect", || 0 < tries.load(Ordering::SeqCst)).await;
    server.restart();
    fall.send_replace(false);
    let direct = connect(&server, server.port()).await;
    let came = claim(&direct, &copy).settle().await;
    let ended = tokio::time::timeout(Duration::from_secs(10), &mut lost).await;
    assert!(
        matches!(came, Err(ClaimError::AtWork { .. })),
        "one was on its way back: {came:?}, and that one is told {ended:?}"
    );
}

/// The broker stands still: nothing is sent to it, and somebody looks whether this one is ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stands_still_is_told_while_it_does() {
    let server = Server::start();
    let wire = Wire::to(server.port()).await.unwrap();
    let (health, metrics) = (Health::new(), Metrics::new());
    let config = server.config_by("admin", "pw", wire.port());
    let nats = Nats::connect(&config, &health, &metrics).await.unwrap();
    nats.ready().await.unwrap();
    until("it is ready", || health.is_ready()).await;
    let connection = nats.connection().await.unwrap();
    wire.stand_still();
    until("it is not ready", || !health.is_ready()).await;
    let lapses = |it: &Metrics| it.text().unwrap().contains("fermata_nats_lapses_total 1");
    until("the lapse is counted", || lapses(&metrics)).await;
    nats.broken(connection).await;
    wire.mend();
    until("it is ready again", || health.is_ready()).await;
    assert!(lapses(&metrics), "one that lasts is one: {}", metrics.text().unwrap());
}

/// One is stopped, and its machine is not reached within a second: a copy of it is started there.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_very_far_from_the_broker_replaces_one_that_stands_still() {
    let server = Server::start();
    let wire = Wire::to(server.port()).await.unwrap();
    let nats = connect(&server, wire.port()).await;
    let dir = tempfile::tempdir().unwrap();
    let (db, copy) = two(dir.path());
    let mut one = claim(&nats, &db);
    one.settle().await.unwrap();
    let ms = Arc::new(AtomicU64::new(0));
    let far = connect(&server, slow(server.port(), ms.clone()).await).await;
    ms.store(800, Ordering::SeqCst);
    wire.stand_still();
    let mut other = claim(&far, &copy);
    let settled = tokio::time::timeout(Duration::from_secs(40), other.settle()).await;
    assert!(matches!(settled, Ok(Ok(()))), "nobody answers: {settled:?}");
}

/// A process hears its own echoes, and not those of a copy.
#[tokio::test(flavor = "multi_thread")]
async fn no_two_processes_send_the_same_echo() {
    let server = Server::start();
    let listener = connect(&server, server.port()).await;
    let mut heard = listener.client().subscribe("_INBOX_admin.echo.>").await.unwrap();
    listener.arrived().await;
    let two = [connect(&server, server.port()).await, connect(&server, server.port()).await];
    let mut subjects = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let echo = heard.next().await.unwrap();
        assert!(subjects.insert(echo.subject.to_string()), "{} was sent twice", echo.subject);
    }
    drop(two);
}

/// What the broker does not answer is not a broker that is full: another one may be kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_not_confirmed_by_a_record_whose_fate_nobody_knows() {
    let server = Server::start();
    let nats = connect(&server, server.port()).await;
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut one = claim(&nats, &db);
    one.settle().await.unwrap();
    let jetstream = nats.jetstream();
    let mut stream = jetstream.get_stream("STORES").await.unwrap();
    let silent = stream.info().await.unwrap().config.clone();
    jetstream.update_stream(stream::Config { no_ack: true, ..silent }).await.unwrap();
    let confirmed = one.confirm().await;
    assert!(matches!(confirmed, Err(ClaimError::Broker(_))), "{confirmed:?}");
}

/// Only the run that a service has contradicted gives its record back.
#[tokio::test(flavor = "multi_thread")]
async fn who_gives_its_record_back_leaves_that_of_another_one() {
    let server = Server::start();
    let nats = connect(&server, server.port()).await;
    let dir = tempfile::tempdir().unwrap();
    let (db, copy) = two(dir.path());
    let mut one = claim(&nats, &db);
    one.settle().await.unwrap();
    let run = one.run();
    drop(one);
    let mut other = claim(&nats, &copy);
    other.settle().await.unwrap();
    let theirs = (uuid::Uuid::from_u128(7), 0, 100);
    chassis::claim::give_back(&nats, "fermata", run, theirs).await.unwrap();
    other.confirm().await.expect("its record is there yet");
    chassis::claim::give_back(&nats, "fermata", other.run(), theirs).await.unwrap();
    assert!(other.confirm().await.is_err(), "it is given back");
}
