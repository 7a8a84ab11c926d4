//! The webhook's door, with signatures made by Python's own `hmac`.

use super::{SECRET, events, settings, store};
use crate::{
    PROCESS, app,
    hooks::{self, Verdict},
};
use chassis::{
    config::Source,
    db::{Db, DbOptions},
    shutdown::Shutdown,
};
use chrono::Utc;
use serde_json::{Value, json};
use service_kit::{Config, Tx};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// The process as it runs, without a broker: what it takes stays in its outbox.
struct Door {
    base: String,
    client: reqwest::Client,
    shutdown: Shutdown,
    served: tokio::task::JoinHandle<Result<(), service_kit::RunError>>,
    dir: TempDir,
}

impl Door {
    async fn open() -> Door {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().to_str().unwrap().to_owned();
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut source = Source::from_pairs([
            ("FERMATA_ENV", "development"),
            ("FERMATA_VIEWER_TOKEN", "dev-viewer"),
            ("DELIVERY_HTTP_ADDR", &addr.to_string()),
            ("DELIVERY_DATA_DIR", &data),
            ("DELIVERY_NATS_URL", "nats://delivery:dev-none@127.0.0.1:1"),
        ]);
        let config = Config::read(&mut source, &PROCESS);
        let config = source.finish(|| config).unwrap();
        let shutdown = Shutdown::new();
        let run = service_kit::run(PROCESS, config, app(settings(None)), shutdown.clone());
        let served = tokio::spawn(run);
        let base = format!("http://{addr}");
        let client = reqwest::Client::new();
        while client.get(format!("{base}/livez")).send().await.is_err() {
            assert!(!served.is_finished(), "the process ended: {:?}", served.await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Door { base, client, shutdown, served, dir }
    }

    async fn post(&self, signature: &str, timestamp: &str, body: &str) -> (u16, Value) {
        let request = self.client.post(format!("{}/webhooks/courier", self.base));
        let request = request.header("X-Signature", signature).header("X-Timestamp", timestamp);
        let answer = request.body(body.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn verdicts(&self, query: &str) -> Value {
        let url = format!("{}/api/webhooks{query}", self.base);
        let answer = self.client.get(url).bearer_auth("dev-viewer").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    async fn close(self) -> Vec<Value> {
        self.shutdown.ask();
        self.served.await.unwrap().unwrap();
        events(&Db::open(self.dir.path(), DbOptions::default()).unwrap())
    }
}

/// `FERMATA_PYTHON`, or the one that deploy/test makes.
fn python() -> PathBuf {
    if let Some(path) = std::env::var_os("FERMATA_PYTHON") {
        return path.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("target/tools/python/bin/python");
    assert!(path.is_file(), "needs a Python: set FERMATA_PYTHON, or run deploy/test once");
    path
}

/// The signature that a courier's Python makes for this body.
fn signed(body: &str, secret: &str, timestamp: &str) -> String {
    const PROGRAM: &str = "import hashlib, hmac, sys\n\
        body = sys.argv[2].encode() + b'.' + sys.stdin.buffer.read()\n\
        digest = hmac.new(sys.argv[1].encode(), body, hashlib.sha256).hexdigest()\n\
        sys.stdout.write('sha256=' + digest)";
    let mut child = Command::new(python())
        .args(["-c", PROGRAM, secret, timestamp])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_webhook_signed_by_the_courier_becomes_an_event_once() {
    let door = Door::open().await;
    let time = Utc::now().timestamp().to_string();
    let body = "{ \"orderId\": \"o-1\", \"status\": \"picked_up\", \"trackingNumber\": \"T-1\",\n \
                \"hub\": \"Zürich\" }";
    let signature = signed(body, SECRET, &time);
    for _ in 0..3 {
        let (status, answer) = door.post(&signature, &time, body).await;
        assert_eq!((status, &answer["verdict"]), (200, &json!("published")), "{answer}");
    }
    let page = door.verdicts("?orderId=o-1").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!(page["items"][0]["status"], "picked_up");
    let events = door.close().await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["subject"], "delivery.trigger.status-updated");
    assert_eq!(events[0]["key"], "o-1");
    let body = json!({ "orderId": "o-1", "status": "picked_up", "trackingNumber": "T-1" });
    assert_eq!(events[0]["body"], body);
}

#[tokio::test]
async fn a_webhook_that_is_not_genuine_or_not_timely_is_refused_and_leaves_nothing() {
    let door = Door::open().await;
    let now_s = Utc::now().timestamp();
    let (time, old, early) =
        (now_s.to_string(), (now_s - 400).to_string(), (now_s + 400).to_string());
    let body = "{\"orderId\":\"o-1\",\"status\":\"delivered\"}";
    let good = signed(body, SECRET, &time);
    let foreign = signed(body, "another", &time);
    let (late, ahead) = (signed(body, SECRET, &old), signed(body, SECRET, &early));
    for (signature, time, body) in [
        (foreign.as_str(), &time, body),
        (&late, &old, body),
        (&ahead, &early, body),
        (&good, &old, body),
        (&good, &time, "{\"orderId\":\"o-1\",\"status\":\"returned\"}"),
        ("", &time, body),
        (good.trim_start_matches("sha256="), &time, body),
    ] {
        let (status, problem) = door.post(signature, time, body).await;
        assert_eq!((status, &problem["status"]), (400, &json!(400)), "{signature}: {problem}");
    }
    assert_eq!(door.verdicts("").await, json!({ "items": [], "next": null }));
    assert_eq!(door.close().await, [] as [Value; 0]);
}

/// Takes webhooks one after the other, each a second later; gives verdicts and published statuses.
#[track_caller]
fn play(bodies: &[&str]) -> (Vec<Verdict>, Vec<String>) {
    let (db, _dir) = store();
    let mut tx = Tx::over(&db);
    let mut verdicts = Vec::new();
    for (time_s, body) in bodies.iter().enumerate() {
        let time = time_s.to_string();
        let hook = hooks::take(&mut tx, &time, body.as_bytes(), Utc::now()).unwrap();
        verdicts.push(hook.verdict);
    }
    db.commit(tx.into_batch(), 1).unwrap();
    let status = |event: Value| event["body"]["status"].as_str().unwrap().to_owned();
    (verdicts, events(&db).into_iter().map(status).collect())
}

#[test]
fn each_kind_of_webhook_has_its_verdict() {
    use Verdict::*;
    for (body, verdict) in [
        ("{\"orderId\":\"o-1\",\"status\":\"in_transit\",\"new\":[1]}", Published),
        ("{\"orderId\":\"o-1\",\"status\":\"lost_in_space\"}", UnknownStatus),
        ("{\"orderId\":\"o-1\",\"status\":5}", UnknownStatus),
        ("{\"orderId\":\"o-1\"}", UnknownStatus),
        ("{\"status\":\"delivered\"}", NoOrder),
        ("{\"orderId\":\"a b\",\"status\":\"delivered\"}", NoOrder),
        ("{\"orderId\":7,\"status\":\"delivered\"}", NoOrder),
        ("[]", Unreadable),
        ("", Unreadable),
    ] {
        assert_eq!(play(&[body]).0, [verdict], "{body}");
    }
}

#[test]
fn out_of_order_only_news_is_told() {
    use Verdict::*;
    let (verdicts, told) = play(&[
        "{\"orderId\":\"o-1\",\"status\":\"in_transit\"}",
        "{\"orderId\":\"o-1\",\"status\":\"picked_up\"}",
        "{\"orderId\":\"o-1\",\"status\":\"in_transit\"}",
        "{\"orderId\":\"o-1\",\"status\":\"failed\"}",
        "{\"orderId\":\"o-1\",\"status\":\"out_for_delivery\"}",
        "{\"orderId\":\"o-1\",\"status\":\"delivered\"}",
        "{\"orderId\":\"o-1\",\"status\":\"out_for_delivery\"}",
        "{\"orderId\":\"o-2\",\"status\":\"delivered\"}",
    ]);
    let wanted =
        [Published, Outdated, Outdated, Published, Published, Published, Outdated, Published];
    assert_eq!(verdicts, wanted);
    assert_eq!(told, ["in_transit", "failed", "out_for_delivery", "delivered", "delivered"]);
}
