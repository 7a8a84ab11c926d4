//! One that was cut off and replaced, at a broker that knows nothing of it, or tells of before.

use crate::claims::{claim, connect_by as connect, moves, open, restarted};
use crate::presence::two;
use crate::server::{Server, until};
use chassis::Wire;
use chassis::claim::{Claim, ClaimError, Keeper};
use chassis::db::Db;
use chassis::http::Health;
use chassis::nats::Nats;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// A process that keeps its record, and its way to the broker.
struct Kept {
    wire: Wire,
    /// For who may use the broker in any case.
    nats: Nats,
    /// For its parts.
    held: Nats,
    keeper: Keeper,
    /// Why it ends.
    lost: oneshot::Receiver<ClaimError>,
}

impl Kept {
    /// It is at work.
    async fn start(server: &Server, db: &Db, claim: impl FnOnce(&Nats, &Db) -> Claim) -> Kept {
        let wire = Wire::to(server.port()).await.unwrap();
        let nats = connect(server, wire.port()).await;
        let (allow, allowed) = watch::channel(0);
        let held = nats.behind(allowed);
        let gate = Health::new().gate("broker");
        let (keeper, lost) = Keeper::start(claim(&nats, db).settled(), allow, gate);
        until("it is at work", || held.is_up()).await;
        Kept { wire, nats, held, keeper, lost }
    }

    async fn is_cut_off(&self) {
        self.wire.cut();
        until("it is cut off", || !self.held.is_up()).await;
    }

    async fn is_replaced(&mut self) {
        let told = tokio::time::timeout(Duration::from_secs(20), &mut self.lost).await;
        let why = told.expect("it is told").unwrap();
        assert!(matches!(why, ClaimError::Replaced { .. }), "{why}");
    }
}

fn service(nats: &Nats, db: &Db) -> Claim {
    Claim::new(nats.clone(), db.clone(), "payment")
}

/// The server, which has stopped, loses its disk, or what it took since its records were kept.
fn loses(server: &Server, all: bool) {
    if all { server.lose_the_disk() } else { server.lose_what_came_since() }
}

/// A is cut off, and B has its place. Then the broker loses its disk, or what it took since A was
/// at work; and A is back before B, or after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_tells_of_before_or_of_nobody_does_not_give_one_back_its_place() {
    for (all, is_first) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut server = Server::start();
        let dir = tempfile::tempdir().unwrap();
        let (one, copy) = two(dir.path());
        let mut a = Kept::start(&server, &one, claim).await;
        restarted(&mut server, &a.held, Server::keep_records).await;
        a.is_cut_off().await;
        let mut b = Kept::start(&server, &copy, claim).await;
        // A has heard what people said, and is further by its position.
        moves(&one, 20);
        server.stop();
        until("B has no broker", || !b.held.is_up()).await;
        loses(&server, all);
        b.wire.cut();
        server.restart();
        let (first, second) = if is_first { (&a, &b) } else { (&b, &a) };
        first.wire.mend();
        first.nats.ready().await.unwrap();
        second.wire.mend();
        a.is_replaced().await;
        until("B is at work again", || b.held.is_up()).await;
        assert!(b.lost.try_recv().is_err(), "B is not ended");
    }
}

/// The same, when A is told to stop while it looks whether it was replaced.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_cut_off_and_stops_leaves_no_record_at_a_broker_that_has_lost_something() {
    for all in [true, false] {
        let mut server = Server::start();
        let dir = tempfile::tempdir().unwrap();
        let (one, copy) = two(dir.path());
        let a = Kept::start(&server, &one, claim).await;
        restarted(&mut server, &a.held, Server::keep_records).await;
        a.is_cut_off().await;
        let nats = connect(&server, server.port()).await;
        let mut b = claim(&nats, &copy);
        b.settle().await.unwrap();
        moves(&one, 20);
        server.stop();
        until("B has no broker", || !nats.is_up()).await;
        loses(&server, all);
        server.restart();
        nats.ready().await.unwrap();
        // The runtime makes the stream; its record is not written yet.
        b.look().await.unwrap();
        a.wire.mend();
        a.nats.ready().await.unwrap();
        a.keeper.end().await;
        let confirmed = b.confirm().await;
        assert!(confirmed.is_ok(), "it has the place: {confirmed:?}");
    }
}

/// Two copies of a service's store, at a broker whose runtime has made no place for records.
#[tokio::test(flavor = "multi_thread")]
async fn without_records_one_that_was_cut_off_is_told_that_another_has_its_place() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let (one, copy) = two(dir.path());
    let mut a = Kept::start(&server, &one, service).await;
    a.is_cut_off().await;
    let nats = connect(&server, server.port()).await;
    let mut b = service(&nats, &copy);
    b.settle().await.unwrap();
    a.wire.mend();
    a.is_replaced().await;
}

/// The record of A is of a disk that the broker has lost; B, which came later, has none, as nobody
/// has made the stream anew.
#[tokio::test(flavor = "multi_thread")]
async fn who_claimed_after_the_records_were_lost_is_the_later_one() {
    let mut server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let (one, copy) = two(&dir.path().join("service"));
    let runtime = open(&dir.path().join("runtime"));
    let nats = connect(&server, server.port()).await;
    claim(&nats, &runtime).settle().await.unwrap();
    let mut a = Kept::start(&server, &one, service).await;
    a.is_cut_off().await;
    server.stop();
    until("no broker", || !nats.is_up()).await;
    server.lose_the_disk();
    server.restart();
    nats.ready().await.unwrap();
    let mut b = service(&nats, &copy);
    b.settle().await.unwrap();
    a.wire.mend();
    a.is_replaced().await;
}
