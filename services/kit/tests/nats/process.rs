use crate::server::{Broker, PATIENCE, eventually};
use chassis::{Wire, config::Source, http::Json, reserved_port, shutdown::Shutdown};
use proto_schemas::inventory::{Moved, Release};
use service_kit::{App, Call, Config, Outcome, Process, RunError, Service, Tx, run};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

const PROCESS: Process =
    Process { name: "warehouse", title: "Warehouse", description: "for this test", port: 3003 };

fn release(_: &mut Tx, call: Call<Release>) -> Outcome<Moved> {
    Ok(Moved { order_id: call.body.order_id, items: Vec::new() })
}

fn app() -> App {
    let service = Service::new(PROCESS.name, PROCESS.description).procedure(release);
    App::new(service)
        .first(|tx, _| {
            let starts: u32 = tx.get_json(b"starts")?.unwrap_or(0);
            tx.put_json("starts", &(starts + 1)).map_err(Into::into)
        })
        .routes(|context| {
            let starts = move || {
                let handle = context.handle.clone();
                async move {
                    let starts: Option<u32> =
                        handle.write(|tx, _| Ok(tx.get_json(b"starts")?)).await?;
                    Ok::<_, chassis::problem::Problem>(Json(starts))
                }
            };
            aide::axum::ApiRouter::new().route("/starts", axum::routing::get(starts))
        })
}

fn config(broker: &Broker, dir: &Path, addr: SocketAddr) -> Config {
    config_by(broker.url(), dir, addr)
}

fn config_by(url: String, dir: &Path, addr: SocketAddr) -> Config {
    let mut source = Source::from_pairs([
        ("FERMATA_ENV", "development".to_owned()),
        ("WAREHOUSE_HTTP_ADDR", addr.to_string()),
        ("WAREHOUSE_DATA_DIR", dir.display().to_string()),
        ("WAREHOUSE_NATS_URL", url),
    ]);
    let config = Config::read(&mut source, &PROCESS);
    source.finish(|| config).unwrap()
}

fn get(addr: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(addr).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

async fn fetched(addr: SocketAddr, path: &'static str) -> Option<String> {
    tokio::task::spawn_blocking(move || get(addr, path)).await.unwrap()
}

#[tokio::test]
async fn a_process_starts_serves_and_stops_when_asked() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let addr = SocketAddr::from(([127, 0, 0, 1], reserved_port()));
    for start in 1..=2 {
        let shutdown = Shutdown::new();
        let config = config(&broker, dir.path(), addr);
        let running = tokio::spawn(run(PROCESS, config, app(), shutdown.clone()));
        let ready = async {
            while !fetched(addr, "/readyz").await.is_some_and(|it| it.starts_with("HTTP/1.1 200")) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.unwrap();
        let starts = fetched(addr, "/starts").await.unwrap();
        assert!(starts.ends_with(&format!("\r\n\r\n{start}")), "{starts}");
        let metrics = fetched(addr, "/metrics").await.unwrap();
        assert!(metrics.contains("fermata_outbox_outstanding 0"), "{metrics}");
        shutdown.ask();
        tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    }
}

/// Runs it until it is ready, then stops it.
async fn runs_once(broker: &Broker, dir: &Path) {
    let addr = SocketAddr::from(([127, 0, 0, 1], reserved_port()));
    let shutdown = Shutdown::new();
    let running = tokio::spawn(run(PROCESS, config(broker, dir, addr), app(), shutdown.clone()));
    let ready = async {
        while !fetched(addr, "/readyz").await.is_some_and(|it| it.starts_with("HTTP/1.1 200")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.unwrap();
    shutdown.ask();
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
}

/// Why it does not run.
async fn refused(broker: &Broker, dir: &Path) -> String {
    let any = "127.0.0.1:0".parse().unwrap();
    let running = run(PROCESS, config(broker, dir, any), app(), Shutdown::new());
    let refused = tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap_err();
    assert!(matches!(refused, RunError::Claim(_)), "{refused}");
    refused.to_string()
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

#[tokio::test]
async fn a_service_without_its_volume_is_refused_until_an_operator_gives_that_up() {
    let (mut broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    broker.create_records().await;
    let (right, empty) = (dir.path().join("right"), dir.path().join("empty"));
    runs_once(&broker, &right).await;
    let said = refused(&broker, &empty).await;
    assert!(said.contains("as the store of warehouse"), "{said}");
    assert_eq!(chassis::db::Db::open(&empty, Default::default()).unwrap().position(), 0);
    runs_once(&broker, &right).await;

    let from = said.split_once("--from ").unwrap().1.get(..36).unwrap().parse().unwrap();
    chassis::claim::take_over(&empty, from, "the disk is lost").unwrap();
    runs_once(&broker, &empty).await;
    refused(&broker, &right).await;

    // A broker that has lost its disk knows nobody, and is told anew.
    broker.kill();
    broker.lose_store();
    broker.restart();
    broker.create_stream(1 << 20).await;
    runs_once(&broker, &empty).await;
    broker.create_records().await;
    runs_once(&broker, &empty).await;
    refused(&broker, &right).await;
}

#[tokio::test]
async fn a_service_that_is_restored_from_a_backup_begins_an_epoch() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    broker.create_records().await;
    let (right, backup) = (dir.path().join("right"), dir.path().join("backup"));
    runs_once(&broker, &right).await;
    copy(&right, &backup);
    runs_once(&broker, &right).await;
    let epoch = |dir: &Path| chassis::db::Db::open(dir, Default::default()).unwrap().epoch();
    assert_eq!(epoch(&right), 0);
    runs_once(&broker, &backup).await;
    assert_eq!(epoch(&backup), 1);
    runs_once(&broker, &backup).await;
    assert_eq!(epoch(&backup), 1, "it is once");
}

#[tokio::test]
async fn a_copy_of_a_service_that_runs_is_refused_whether_or_not_there_are_records() {
    for has_records in [true, false] {
        let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
        if has_records {
            broker.create_records().await;
        }
        let (right, clone) = (dir.path().join("right"), dir.path().join("clone"));
        runs_once(&broker, &right).await;
        copy(&right, &clone);
        let addr = SocketAddr::from(([127, 0, 0, 1], reserved_port()));
        let shutdown = Shutdown::new();
        let config = config(&broker, &right, addr);
        let running = tokio::spawn(run(PROCESS, config, app(), shutdown.clone()));
        let ready = async {
            while !fetched(addr, "/readyz").await.is_some_and(|it| it.starts_with("HTTP/1.1 200")) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.unwrap();
        let said = refused(&broker, &clone).await;
        assert!(said.contains("another warehouse") && said.contains("stop that one"), "{said}");
        assert!(!running.is_finished(), "the first goes on");
        shutdown.ask();
        tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
        runs_once(&broker, &clone).await;
    }
}

#[tokio::test]
async fn a_second_process_on_the_same_store_is_refused() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    let any = "127.0.0.1:0".parse().unwrap();
    let shutdown = Shutdown::new();
    let first = run(PROCESS, config(&broker, dir.path(), any), app(), shutdown.clone());
    let first = tokio::spawn(first);
    let lock = dir.path().join("sidecar");
    eventually("the first has the store", || lock.is_file()).await;
    let second = run(PROCESS, config(&broker, dir.path(), any), app(), Shutdown::new());
    let refused = tokio::time::timeout(PATIENCE, second).await.unwrap();
    assert!(matches!(refused, Err(RunError::Open(_))));
    shutdown.ask();
    first.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_while_the_endpoints_open_holds_up_nobody_for_ever() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    broker.create_records().await;
    let url = broker.url();
    let (head, port) = url.rsplit_once(':').unwrap();
    let wire = Wire::to(port.parse().unwrap()).await.unwrap();
    wire.break_at("SUB fermata.epoch", 1);
    let through = wire.port();
    let addr = SocketAddr::from(([127, 0, 0, 1], reserved_port()));
    let mut source = Source::from_pairs([
        ("FERMATA_ENV", "development".to_owned()),
        ("WAREHOUSE_HTTP_ADDR", addr.to_string()),
        ("WAREHOUSE_DATA_DIR", dir.path().display().to_string()),
        ("WAREHOUSE_NATS_URL", format!("{head}:{through}")),
    ]);
    let config = Config::read(&mut source, &PROCESS);
    let config = source.finish(|| config).unwrap();
    let shutdown = Shutdown::new();
    let running = tokio::spawn(run(PROCESS, config, app(), shutdown.clone()));
    let ready = async {
        while !fetched(addr, "/readyz").await.is_some_and(|it| it.starts_with("HTTP/1.1 200")) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let ready = tokio::time::timeout(PATIENCE, ready).await;
    let said = fetched(addr, "/readyz").await.unwrap();
    shutdown.ask();
    let _ended = tokio::time::timeout(PATIENCE, running).await;
    assert!(ready.is_ok(), "after 30 s: {said}");
    assert_eq!(wire.breaks_left(), 0, "it has broken while they opened");
}

/// A provider that never answers, and counts who asks.
struct Counting(Arc<AtomicUsize>);

impl service_kit::Effect for Counting {
    type Request = proto_schemas::payments::CreateSession;
    type Intent = u32;
    type Done = String;

    fn begin(
        &self,
        _: &mut Tx,
        _: &Call<Self::Request>,
    ) -> Outcome<service_kit::Begun<u32, proto_schemas::payments::Session>> {
        Ok(service_kit::Begun::Work(7))
    }

    async fn work(
        &self,
        _: u32,
        _: service_kit::Attempt,
    ) -> Result<String, service_kit::WorkError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }

    fn finish(
        &self,
        _: &mut Tx,
        _: &Call<Self::Request>,
        _: u32,
        done: Result<String, service_kit::Rejection>,
    ) -> Outcome<proto_schemas::payments::Session> {
        Ok(proto_schemas::payments::Session { session_id: done?, url: None, expires_at: None })
    }
}

async fn is_ready(addr: SocketAddr) {
    let ready = async {
        while !fetched(addr, "/readyz").await.is_some_and(|it| it.starts_with("HTTP/1.1 200")) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.unwrap();
}

fn headers(key: &str) -> async_nats::HeaderMap {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Idempotency-Key", key);
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_refused_has_done_nothing_outside() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    broker.create_records().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = || asked.load(Ordering::SeqCst);
    let app = || {
        App::new(Service::new(PROCESS.name, PROCESS.description).effect(Counting(asked.clone())))
    };
    let (right, clone) = (dir.path().join("right"), dir.path().join("clone"));
    let addr = SocketAddr::from(([127, 0, 0, 1], reserved_port()));
    let shutdown = Shutdown::new();
    let first = tokio::spawn(run(PROCESS, config(&broker, &right, addr), app(), shutdown.clone()));
    is_ready(addr).await;
    let client = broker.client().await;
    let body = r#"{"orderId":"ORD-1","amount":"10.00","currency":"USD"}"#;
    let inbox = client.new_inbox();
    let (subject, key) = ("payments.create-session", headers("s/0/3"));
    client.publish_with_reply_and_headers(subject, inbox, key, body.into()).await.unwrap();
    eventually("the provider is asked", || count() == 1).await;
    shutdown.ask();
    tokio::time::timeout(PATIENCE, first).await.unwrap().unwrap().unwrap();
    copy(&right, &clone);
    let shutdown = Shutdown::new();
    let first = tokio::spawn(run(PROCESS, config(&broker, &right, addr), app(), shutdown.clone()));
    is_ready(addr).await;
    eventually("the work goes on", || count() == 2).await;
    let any = "127.0.0.1:0".parse().unwrap();
    let wrong = run(PROCESS, config(&broker, &clone, any), app(), Shutdown::new());
    let refused = tokio::time::timeout(PATIENCE, wrong).await.unwrap().unwrap_err();
    assert!(matches!(refused, RunError::Claim(_)), "{refused}");
    let asked = count();
    shutdown.ask();
    let _ended = tokio::time::timeout(PATIENCE, first).await;
    assert_eq!(asked, 2, "the copy, which was refused, has asked the provider");
}

/// Headers that break the protocol end the client of the broker, and with it the process: not
/// as one that cannot succeed as things are set up.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_ends_is_no_claim_that_was_lost() {
    let mut said = Vec::new();
    for _ in 0..12 {
        let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
        broker.create_records().await;
        let addr = SocketAddr::from(([127, 0, 0, 1], reserved_port()));
        let config = config(&broker, &dir.path().join("right"), addr);
        let running = tokio::spawn(run(PROCESS, config, app(), Shutdown::new()));
        is_ready(addr).await;
        let url = broker.url();
        let at = url.rsplit_once('@').unwrap().1;
        let mut stream = TcpStream::connect(at).unwrap();
        let headers = "NATS/1.0\r\nA: b\rc\r\n\r\n";
        let (all, body) = (headers.len() + 2, "{}");
        let login = r#"{"verbose":false,"headers":true,"user":"test","pass":"dev-test"}"#;
        let len = headers.len();
        write!(
            stream,
            "CONNECT {login}\r\nHPUB inventory.release {len} {all}\r\n{headers}{body}\r\nPING\r\n"
        )
        .unwrap();
        let ended = tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
        said.push(format!("{:?}", ended.unwrap_err()));
    }
    let claims = said.iter().filter(|it| it.starts_with("Claim")).count();
    assert_eq!(claims, 0, "{said:?}");
}

/// A backup that is started again and again beside the live one, as a supervisor does, is as
/// old as it was before.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_does_not_grow_by_being_refused() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    broker.create_records().await;
    let (right, backup) = (dir.path().join("right"), dir.path().join("backup"));
    runs_once(&broker, &right).await;
    copy(&right, &backup);
    let (stood, mut grown) = (position(&backup), Vec::new());
    for _ in 0..3 {
        runs_once(&broker, &right).await;
    }
    let addr = SocketAddr::from(([127, 0, 0, 1], reserved_port()));
    let shutdown = Shutdown::new();
    let live = tokio::spawn(run(PROCESS, config(&broker, &right, addr), app(), shutdown.clone()));
    is_ready(addr).await;
    for _ in 0..10 {
        refused(&broker, &backup).await;
        grown.push(position(&backup));
    }
    shutdown.ask();
    tokio::time::timeout(PATIENCE, live).await.unwrap().unwrap().unwrap();
    let ends = position(&right);
    runs_once(&broker, &backup).await;
    let epoch = chassis::db::Db::open(&backup, Default::default()).unwrap().epoch();
    assert_eq!(
        epoch, 1,
        "the backup ended at {stood}, after each refusal at {grown:?}; the live one at {ends}"
    );
}

/// When its process has let go of it.
fn position(dir: &Path) -> u64 {
    loop {
        match chassis::db::Db::open(dir, Default::default()) {
            Ok(db) => return db.position(),
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
}

/// The answer on a connection that is kept; nothing when it is closed.
fn answer_on(stream: &mut TcpStream, path: &str) -> Option<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").ok()?;
    let (mut answer, mut chunk) = (String::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut chunk).ok().filter(|it| 0 < *it)?;
        answer.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let len = head.lines().find_map(|it| it.strip_prefix("content-length: "));
        if len.is_some_and(|it| it.parse::<usize>().unwrap() <= body.len()) {
            return Some(answer);
        }
    }
}

fn is_taken(stream: &mut TcpStream) -> bool {
    answer_on(stream, "/take").is_some_and(|it| it.starts_with("HTTP/1.1 200"))
}

/// What it would take then is in a directory at which nobody looks again.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_knows_that_it_was_replaced_takes_nothing_over_http() {
    let (broker, dir) = (Broker::start().await, tempfile::tempdir().unwrap());
    broker.create_records().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let app = || {
        let service = Service::new(PROCESS.name, PROCESS.description);
        App::new(service.effect(Counting(asked.clone()))).routes(|context| {
            let takes = move || {
                let handle = context.handle.clone();
                async move {
                    handle.write(|tx, _| Ok(tx.put_json("taken", &1)?)).await?;
                    Ok::<_, chassis::problem::Problem>(Json("taken"))
                }
            };
            aide::axum::ApiRouter::new().route("/take", axum::routing::get(takes))
        })
    };
    let (right, clone) = (dir.path().join("right"), dir.path().join("clone"));
    runs_once(&broker, &right).await;
    copy(&right, &clone);
    let free = || SocketAddr::from(([127, 0, 0, 1], reserved_port()));
    let (first_at, second_at) = (free(), free());
    let wire = Wire::to(broker.port()).await.unwrap();
    let by_wire = config_by(broker.url_by(wire.port()), &right, first_at);
    let first = tokio::spawn(run(PROCESS, by_wire, app(), Shutdown::new()));
    is_ready(first_at).await;
    // Somebody waits for an answer, for which a service that stops would wait as well.
    let client = broker.client().await;
    let body = r#"{"orderId":"ORD-1","amount":"10.00","currency":"USD"}"#;
    let inbox = client.new_inbox();
    let (subject, key) = ("payments.create-session", headers("s/0/3"));
    client.publish_with_reply_and_headers(subject, inbox, key, body.into()).await.unwrap();
    eventually("a call is under way", || asked.load(Ordering::SeqCst) == 1).await;
    // A load balancer's.
    let mut kept = TcpStream::connect(first_at).unwrap();
    assert!(is_taken(&mut kept));
    wire.cut();
    let shutdown = Shutdown::new();
    let second = run(PROCESS, config(&broker, &clone, second_at), app(), shutdown.clone());
    let second = tokio::spawn(second);
    is_ready(second_at).await;
    wire.mend();
    let knows = tokio::task::spawn_blocking(move || {
        while !answer_on(&mut kept, "/readyz")?.contains("drain") {}
        Some(is_taken(&mut kept))
    });
    let taken = tokio::time::timeout(PATIENCE, knows).await.unwrap().unwrap();
    assert_ne!(taken, Some(true), "it knows that it was replaced");
    let ended = tokio::time::timeout(PATIENCE, first).await.unwrap().unwrap();
    assert!(matches!(ended, Err(RunError::Claim(_))), "{ended:?}");
    shutdown.ask();
    let _ended = tokio::time::timeout(PATIENCE, second).await;
}
