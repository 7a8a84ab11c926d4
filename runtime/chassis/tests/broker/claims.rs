//! Whose store: claims and connections that are lost, with a real broker.

use crate::server::{Server, copied, until};
use chassis::Wire;
use chassis::claim::{Claim, ClaimError, Keeper, take_over};
use chassis::db::{Db, DbOptions, WriteBatch};
use chassis::http::{Health, Metrics};
use chassis::nats::Nats;
use std::path::Path;
use std::time::{Duration, Instant};

async fn connect(server: &Server) -> Nats {
    connect_by(server, server.port()).await
}

/// By another way to it.
pub(crate) async fn connect_by(server: &Server, port: u16) -> Nats {
    let config = server.config_by("admin", "pw", port);
    let nats = Nats::connect(&config, &Health::new(), &Metrics::new()).await.unwrap();
    nats.ready().await.unwrap();
    nats
}

pub(crate) fn open(dir: &Path) -> Db {
    Db::open(dir, DbOptions::default()).unwrap()
}

pub(crate) fn moves(db: &Db, times: u64) {
    for _ in 0..times {
        db.commit(WriteBatch::new(), db.position() + 1).unwrap();
    }
}

/// The broker is started anew; what it has is changed before.
pub(crate) async fn restarted(server: &mut Server, nats: &Nats, change: impl Fn(&Server)) {
    server.stop();
    until("down", || !nats.is_up()).await;
    change(server);
    server.restart();
    nats.ready().await.unwrap();
}

pub(crate) fn claim(nats: &Nats, db: &Db) -> Claim {
    Claim::new(nats.clone(), db.clone(), "fermata").making_the_stream(1)
}

/// An idle process is started anew; then the broker loses what was since the middle of the one
/// before.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_lost_a_clean_stop_ends_no_idle_process() {
    let mut server = Server::start();
    let nats = connect(&server).await;
    let dir = tempfile::tempdir().unwrap();
    moves(&open(dir.path()), 10);
    let db = open(dir.path());
    let mut before = claim(&nats, &db);
    before.settle().await.unwrap();
    restarted(&mut server, &nats, Server::keep_records).await;
    before.confirm().await.unwrap();
    before.leave().await.unwrap();
    drop((before, db));
    let db = open(dir.path());
    let mut now = claim(&nats, &db);
    now.settle().await.unwrap();
    restarted(&mut server, &nats, Server::lose_what_came_since).await;
    let confirmed = now.confirm().await;
    assert!(confirmed.is_ok(), "nobody has replaced it: {confirmed:?}");
}

/// Which of two stores is the right one may change; an operator says so each time. One that was
/// given up is found and taken again; then the other one is started by mistake.
#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_does_not_repeat_by_itself() {
    for ends_well in [true, false] {
        let server = Server::start();
        let nats = connect(&server).await;
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [a, b] = [open(dirs[0].path()), open(dirs[1].path())];
        moves(&a, 10);
        moves(&b, 1);
        let runs_once = |db: &Db| {
            let mut claim = claim(&nats, db);
            async move {
                claim.settle().await?;
                if ends_well { claim.leave().await } else { Ok(()) }
            }
        };
        runs_once(&a).await.unwrap();
        assert!(matches!(runs_once(&b).await, Err(ClaimError::Another(_))), "a wrong directory");
        take_over(dirs[1].path(), a.instance(), "a mistake").unwrap();
        runs_once(&b).await.unwrap();
        assert!(matches!(runs_once(&a).await, Err(ClaimError::Another(_))), "given up");
        take_over(dirs[0].path(), b.instance(), "it is the right one").unwrap();
        runs_once(&a).await.unwrap();
        let again = runs_once(&b).await;
        assert!(matches!(again, Err(ClaimError::Another(_))), "{again:?}: nobody has said so");
    }
}

/// Cut off, a process goes on by itself; a copy has its place, acts, and dies. Whoever is started
/// then has another branch of the log, though it ends at a higher position.
#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_is_longer_is_another_branch_all_the_same() {
    let server = Server::start();
    let nats = connect(&server).await;
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    moves(&open(&first), 10);
    copied(&first, &second);
    let db = open(&first);
    let mut one = claim(&nats, &db);
    one.settle().await.unwrap();
    drop(one); // Cut off: it does not answer. People ask it over HTTP meanwhile.
    moves(&db, 5);
    drop(db);
    let copy = open(&second);
    let mut other = claim(&nats, &copy);
    other.settle().await.unwrap();
    moves(&copy, 3); // It takes three payments, and acknowledges them.
    other.renew().await.unwrap();
    drop(other);
    let db = open(&first);
    claim(&nats, &db).settle().await.unwrap();
    let epochs = (copy.epoch(), db.epoch());
    assert!(epochs.0 != epochs.1, "two branches, and both are epoch {}", db.epoch());
}

/// How long a process is away whose connection breaks so many times one after the other, each time
/// while the record is looked at: first while it is renewed, then while the claim is confirmed.
async fn away_after(breaks: usize) -> Duration {
    let server = Server::start();
    let wire = Wire::to(server.port()).await.unwrap();
    let nats = connect_by(&server, wire.port()).await;
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    moves(&db, 10);
    let (allow, allowed) = tokio::sync::watch::channel(0);
    let held = nats.behind(allowed);
    let health = Health::new();
    let (_keeper, _lost) = Keeper::start(claim(&nats, &db).settled(), allow, health.gate("broker"));
    until("it has its claim", || held.is_up()).await;
    wire.break_at("DIRECT.GET.STORES", breaks);
    until("it is cut", || !held.is_up()).await;
    let began = Instant::now();
    until("it goes on", || held.is_up() && wire.breaks_left() == 0).await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_while_the_record_is_looked_at_costs_no_more_than_another() {
    for (breaks, at_most_s) in [(1, 2), (2, 3)] {
        let away = away_after(breaks).await;
        assert!(away < Duration::from_secs(at_most_s), "{breaks}: at work after {away:?}");
    }
}

/// B has taken over from A, which had ended well. The broker loses that, and says of A that all is
/// well; whatever supervises A starts it while B is on its way back.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_given_up_does_not_come_back_with_a_broker_that_tells_of_before() {
    let mut server = Server::start();
    let nats = connect(&server).await;
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [a, b] = [open(dirs[0].path()), open(dirs[1].path())];
    moves(&a, 10);
    moves(&b, 1);
    let mut of_a = claim(&nats, &a);
    of_a.settle().await.unwrap();
    of_a.leave().await.unwrap();
    drop(of_a);
    restarted(&mut server, &nats, Server::keep_records).await;
    let wire = Wire::to(server.port()).await.unwrap();
    let of_b = connect_by(&server, wire.port()).await;
    let refused = claim(&of_b, &b).settle().await;
    assert!(matches!(refused, Err(ClaimError::Another(_))), "{refused:?}");
    take_over(dirs[1].path(), a.instance(), "a lost disk").unwrap();
    let mut taken = claim(&of_b, &b);
    taken.settle().await.unwrap();

    wire.cut();
    restarted(&mut server, &nats, Server::lose_what_came_since).await;
    let mut again = claim(&nats, &a);
    let (came, confirmed) = tokio::join!(again.look(), async {
        wire.mend();
        of_b.ready().await.unwrap();
        taken.confirm().await
    });
    assert!(matches!(came, Err(ClaimError::AtWork { .. })), "{came:?}: it was given up");
    assert!(confirmed.is_ok(), "{confirmed:?}: nobody has taken its place");
}
