//! Whose store: claims and connections that are lost, with a real broker.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use chassis::claim::{Claim, ClaimError, Keeper, take_over};
use chassis::config::Secret;
use chassis::db::{Db, DbOptions, WriteBatch};
use chassis::http::{Health, Metrics};
use chassis::nats::{Nats, NatsConfig};
use chassis::reserved_port;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(15);

struct Server {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Server {
    fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        let port = reserved_port();
        let child = Server::spawn(dir.path(), port);
        Server { child, dir, port }
    }
    fn spawn(dir: &Path, port: u16) -> Child {
        let config = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: {:?} }}\n\
             authorization {{ users: [{{ user: admin, password: pw }}] }}\n",
            dir.join("js")
        );
        let path = dir.join("nats.conf");
        std::fs::write(&path, config).unwrap();
        let program = std::env::var_os("NATS_SERVER").unwrap();
        Command::new(program).arg("-c").arg(path).stderr(Stdio::null()).spawn().unwrap()
    }
    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
    fn restart(&mut self) {
        self.child = Server::spawn(self.dir.path(), self.port);
    }
    fn stores(&self) -> PathBuf {
        self.dir.path().join("js/jetstream/$G/streams/STORES")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn copied(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited for: {what}"));
}

async fn connect(port: u16) -> Nats {
    let url = format!("nats://admin:pw@127.0.0.1:{port}");
    let config = NatsConfig { name: "a-test".into(), url: Secret::new(url), ca_file: None };
    let nats = Nats::connect(&config, &Health::new(), &Metrics::new()).await.unwrap();
    nats.ready().await.unwrap();
    nats
}

fn open(dir: &Path) -> Db {
    Db::open(dir, DbOptions::default()).unwrap()
}

fn moves(db: &Db, times: u64) {
    for _ in 0..times {
        db.commit(WriteBatch::new(), db.position() + 1).unwrap();
    }
}

fn claim(nats: &Nats, db: &Db) -> Claim {
    Claim::new(nats.clone(), db.clone(), "fermata").making_the_stream(1)
}

/// An idle process is started anew; then the broker loses what was since the middle of the one
/// before.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_lost_a_clean_stop_ends_no_idle_process() {
    let mut server = Server::start();
    let nats = connect(server.port).await;
    let dir = tempfile::tempdir().unwrap();
    moves(&open(dir.path()), 10);
    let db = open(dir.path());
    let mut before = claim(&nats, &db);
    before.settle().await.unwrap();
    server.stop();
    until("down", || !nats.is_up()).await;
    let past = server.dir.path().join("past");
    copied(&server.stores(), &past);
    server.restart();
    nats.ready().await.unwrap();
    before.confirm().await.unwrap();
    before.leave().await.unwrap();
    drop((before, db));
    let db = open(dir.path());
    let mut now = claim(&nats, &db);
    now.settle().await.unwrap();
    server.stop();
    until("down", || !nats.is_up()).await;
    std::fs::remove_dir_all(server.stores()).unwrap();
    copied(&past, &server.stores());
    server.restart();
    nats.ready().await.unwrap();
    let confirmed = now.confirm().await;
    assert!(confirmed.is_ok(), "nobody has replaced it: {confirmed:?}");
}

/// A store that was given up is found, is started once, stops without anything to do; then the
/// other one is started by mistake.
#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_does_not_repeat_by_itself() {
    let server = Server::start();
    let nats = connect(server.port).await;
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [a, b] = [open(dirs[0].path()), open(dirs[1].path())];
    moves(&a, 10);
    moves(&b, 1);
    let runs_once = |db: &Db| {
        let mut claim = claim(&nats, db);
        async move {
            claim.settle().await?;
            claim.leave().await
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

/// Cut off, a process goes on by itself; a copy has its place, acts, and dies. Whoever is started
/// then has another branch of the log, though it ends at a higher position.
#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_is_longer_is_another_branch_all_the_same() {
    let server = Server::start();
    let nats = connect(server.port).await;
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

/// Passes connections on; one that says this is cut, as often as is armed.
async fn breaking(server: u16, needle: &'static str, armed: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let armed = armed.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let (mut one, mut other) = (vec![0; 1 << 16], vec![0; 1 << 16]);
                loop {
                    tokio::select! {
                        n = client.read(&mut one) => {
                            let Ok(n @ 1..) = n else { return };
                            let said = String::from_utf8_lossy(&one[..n]);
                            if said.contains(needle) && armed.load(Ordering::SeqCst) > 0 {
                                armed.fetch_sub(1, Ordering::SeqCst);
                                return;
                            }
                            if server.write_all(&one[..n]).await.is_err() { return }
                        }
                        n = server.read(&mut other) => {
                            let Ok(n @ 1..) = n else { return };
                            if client.write_all(&other[..n]).await.is_err() { return }
                        }
                    }
                }
            });
        }
    });
    port
}

/// The connection breaks while the record is renewed.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_while_the_record_is_looked_at_costs_no_more_than_another() {
    let server = Server::start();
    let armed = Arc::new(AtomicUsize::new(0));
    let port = breaking(server.port, "DIRECT.GET.STORES", armed.clone()).await;
    let nats = connect(port).await;
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    moves(&db, 10);
    let (allow, allowed) = tokio::sync::watch::channel(0);
    let held = nats.behind(allowed);
    let health = Health::new();
    let (_keeper, _lost) = Keeper::start(claim(&nats, &db).settled(), allow, health.gate("broker"));
    until("it has its claim", || held.is_up()).await;
    armed.store(1, Ordering::SeqCst);
    until("it is cut", || !held.is_up()).await;
    let began = Instant::now();
    until("it is connected", || nats.is_up()).await;
    let connected = began.elapsed();
    until("it goes on", || held.is_up()).await;
    let on = began.elapsed();
    assert!(on < Duration::from_secs(2), "connected after {connected:?}, at work after {on:?}");
}

/// As before, and the connection behind it breaks in the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_while_the_claim_is_confirmed_costs_no_more_than_another() {
    let server = Server::start();
    let armed = Arc::new(AtomicUsize::new(0));
    let port = breaking(server.port, "DIRECT.GET.STORES", armed.clone()).await;
    let nats = connect(port).await;
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    moves(&db, 10);
    let (allow, allowed) = tokio::sync::watch::channel(0);
    let held = nats.behind(allowed);
    let health = Health::new();
    let (_keeper, _lost) = Keeper::start(claim(&nats, &db).settled(), allow, health.gate("broker"));
    until("it has its claim", || held.is_up()).await;
    armed.store(2, Ordering::SeqCst);
    until("it is cut", || !held.is_up()).await;
    let began = Instant::now();
    until("it goes on", || held.is_up()).await;
    let on = began.elapsed();
    assert!(on < Duration::from_secs(3), "at work after {on:?}");
}
