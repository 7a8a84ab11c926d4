//! The connection, against a real nats-server.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chassis::config::Secret;
use chassis::http::{Health, Metrics};
use chassis::nats::{Nats, NatsConfig, NatsError, apply_stream, trigger_subjects, triggers_stream};
use chassis::reserved_port;
use futures::StreamExt as _;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(10);
const USERS: &str = r#"
accounts: { A: { jetstream: enabled, users: [
  { user: admin, password: pw }
  { user: order, password: pw, permissions: {
      publish: ["orders.trigger.>", "$SRV.>"], subscribe: ["_INBOX_order.>", "orders.>"] } }
] } }
"#;

/// `NATS_SERVER`, or one in PATH, or the one that deploy/test fetched.
fn nats_server() -> PathBuf {
    if let Some(path) = std::env::var_os("NATS_SERVER") {
        return path.into();
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&paths).map(|dir| dir.join("nats-server"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let fetched = root.join("target/tools/bin/nats-server");
    let found = in_path.chain([fetched]).find(|path| path.is_file());
    found.expect("needs nats-server: set NATS_SERVER to its path, or run deploy/test once")
}

struct Server {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Server {
    fn start() -> Server {
        let dir = tempfile::tempdir().expect("a directory");
        let port = reserved_port();
        let child = Server::spawn(dir.path(), port);
        Server { child, dir, port }
    }

    fn spawn(dir: &Path, port: u16) -> Child {
        let config = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: {:?} }}\n{USERS}",
            dir.join("js")
        );
        let path = dir.join("nats.conf");
        std::fs::write(&path, config).expect("written");
        Command::new(nats_server())
            .arg("-c")
            .arg(path)
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server starts")
    }

    fn stop(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    fn restart(&mut self) {
        self.child = Server::spawn(self.dir.path(), self.port);
    }

    fn config(&self, user: &str, password: &str) -> NatsConfig {
        let url = format!("nats://{user}:{password}@127.0.0.1:{}", self.port);
        NatsConfig { name: "a-test".into(), url: Secret::new(url), ca_file: None }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited for: {what}"));
}

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

/// Which of two stores is the right one may change; an operator says so each time.
#[tokio::test]
async fn a_word_that_was_used_does_not_let_a_wrong_store_in_again() {
    use chassis::{
        claim::{Claim, ClaimError, take_over},
        db::{Db, DbOptions, WriteBatch},
    };
    let server = Server::start();
    let connected = connect(&server.config("admin", "pw")).await;
    let dirs = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("another")];
    let open = |dir: &TempDir| {
        let db = Db::open(dir.path(), DbOptions::default()).expect("it opens");
        db.commit(WriteBatch::new(), db.position() + 1).expect("it commits");
        db
    };
    let [a, b] = [open(&dirs[0]), open(&dirs[1])];
    let starts = |db: &Db| {
        let claim = Claim::new(connected.nats.clone(), db.clone(), "fermata");
        let mut claim = claim.making_the_stream(1);
        async move { claim.settle().await }
    };
    starts(&a).await.expect("the first one");
    assert!(matches!(starts(&b).await, Err(ClaimError::Another(_))), "a wrong directory");
    // The disk of a seems to be lost.
    take_over(dirs[1].path(), a.instance(), "the disk is lost").expect("it is said");
    starts(&b).await.expect("as told");
    // It is found, and goes on in the place of b, which an operator says.
    assert!(matches!(starts(&a).await, Err(ClaimError::Another(_))), "given up");
    take_over(dirs[0].path(), b.instance(), "it was found").expect("it is said");
    starts(&a).await.expect("as told");
    // Somebody starts the other one by mistake.
    let again = starts(&b).await;
    assert!(matches!(again, Err(ClaimError::Another(_))), "{again:?}: nobody has said so");
}
