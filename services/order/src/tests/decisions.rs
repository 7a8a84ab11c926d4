//! Decisions, handed on to something that answers as the runtime does.

use super::*;
use chassis::reserved_port;
use futures::StreamExt as _;
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// `NATS_SERVER`, or one in PATH, or the one that deploy/test fetched.
fn nats_server() -> PathBuf {
    if let Some(path) = std::env::var_os("NATS_SERVER") {
        return path.into();
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&paths).map(|dir| dir.join("nats-server"));
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    let fetched = ["nats", "python"].map(|it| tools.join(it).join("bin/nats-server"));
    let found = in_path.chain(fetched).find(|path| path.is_file());
    found.expect("needs nats-server: set NATS_SERVER to its path, or run deploy/test once")
}

struct Broker {
    child: Child,
    port: u16,
}

impl Broker {
    fn start() -> Broker {
        let port = reserved_port();
        let child = Command::new(nats_server())
            .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Broker { child, port }
    }

    fn url(&self, user: &str) -> String {
        format!("nats://{user}:dev-any@127.0.0.1:{}", self.port)
    }

    /// Answers every decision with this, and gives what it was asked.
    async fn runtime(&self, answer: &'static str) -> tokio::sync::mpsc::Receiver<Value> {
        let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
        let client = options.connect(self.url("fermata")).await.unwrap();
        let mut asked = client.subscribe("tasks.decide").await.unwrap();
        client.flush().await.unwrap();
        let (sender, receiver) = tokio::sync::mpsc::channel(10);
        tokio::spawn(async move {
            while let Some(message) = asked.next().await {
                sender.send(serde_json::from_slice(&message.payload).unwrap()).await.unwrap();
                client.publish(message.reply.unwrap(), answer.into()).await.unwrap();
            }
        });
        receiver
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

const APPROVER: (&str, &str) = ("Authorization", "Bearer dev-approver");

/// Asks until the broker has let both sides in.
async fn approve(door: &Door, body: &str) -> Answer {
    loop {
        let answer = door.post("/api/orders/approve", &[APPROVER], body).await;
        if answer.status != 503 {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_decision_carries_the_callers_token_and_the_runtimes_answer_comes_back() {
    let yes = json!({ "orderId": "o-1", "approved": true, "seen": "a1" }).to_string();
    for (answer, status) in [
        ("{\"status\":202,\"detail\":\"accepted\"}", 202),
        ("{\"status\":200,\"detail\":\"the same again\"}", 200),
        ("{\"status\":404,\"detail\":\"nothing asks\"}", 404),
        ("{\"status\":409,\"detail\":\"decided otherwise\"}", 409),
        ("{\"status\":401,\"detail\":\"unknown\"}", 401),
        ("{\"status\":403,\"detail\":\"not you\"}", 403),
    ] {
        let broker = Broker::start();
        let mut asked = broker.runtime(answer).await;
        let door = open_at(&broker.url("order")).await;
        let decided = approve(&door, &yes).await;
        assert_eq!(decided.status, status, "{decided:?}");
        if status < 300 {
            assert_eq!(decided.body, json!({ "orderId": "o-1", "approved": true }));
        } else {
            let detail = decided.body["detail"].as_str().unwrap();
            assert!(answer.contains(detail), "{decided:?}");
        }
        let wanted = json!({
            "name": "orders.trigger.approved", "key": "o-1", "approved": true, "seen": "a1",
            "token": "dev-approver",
        });
        assert_eq!(asked.recv().await.unwrap(), wanted);
        door.close().await;
    }
}

#[tokio::test]
async fn a_rejection_hands_on_its_reason() {
    let broker = Broker::start();
    let mut asked = broker.runtime("{\"status\":202}").await;
    let door = open_at(&broker.url("order")).await;
    let no = json!({ "orderId": "o-1", "approved": false, "reason": "stolen card" });
    assert_eq!(approve(&door, &no.to_string()).await.status, 202);
    assert_eq!(asked.recv().await.unwrap()["reason"], "stolen card");
    door.close().await;
}

#[tokio::test]
async fn what_the_runtime_blames_is_named_as_a_field_of_the_request() {
    let broker = Broker::start();
    let answer = r#"{"status":422,"detail":"a field of the request is wrong","errors":[
        {"pointer":"/reason","detail":"a reason may have 1000 characters"},
        {"pointer":"/key","detail":"a key"}]}"#;
    let mut asked = broker.runtime(answer).await;
    let door = open_at(&broker.url("order")).await;
    let no = json!({ "orderId": "o-1", "approved": false, "reason": "stolen card" });
    let refused = approve(&door, &no.to_string()).await;
    asked.recv().await.unwrap();
    let blamed = json!([
        { "pointer": "/reason", "detail": "a reason may have 1000 characters" },
        { "pointer": "/orderId", "detail": "a key" },
    ]);
    assert_eq!((refused.status, &refused.body["errors"]), (422, &blamed), "{refused:?}");
    door.close().await;
}

/// The longest reason that the document allows, in an alphabet of four bytes a character.
#[tokio::test]
async fn a_reason_is_counted_in_characters() {
    let broker = Broker::start();
    let mut asked = broker.runtime("{\"status\":202}").await;
    let door = open_at(&broker.url("order")).await;
    let no = |count| json!({ "orderId": "o-1", "approved": false, "reason": "😀".repeat(count) });
    assert_eq!(approve(&door, &no(1000).to_string()).await.status, 202);
    assert_eq!(asked.recv().await.unwrap()["reason"], "😀".repeat(1000));
    let refused = approve(&door, &no(1001).to_string()).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/reason")));
    door.close().await;
}

#[tokio::test]
async fn who_may_not_or_does_not_say_why_is_refused_before_the_runtime_hears_of_it() {
    let broker = Broker::start();
    let mut asked = broker.runtime("{\"status\":202}").await;
    let door = open_at(&broker.url("order")).await;
    let yes = json!({ "orderId": "o-1", "approved": true }).to_string();
    assert_eq!(approve(&door, &yes).await.status, 202, "both sides are in");
    asked.recv().await.unwrap();
    let viewer = ("Authorization", "Bearer dev-viewer");
    let stranger = ("Authorization", "Bearer somebody");
    let silent = json!({ "orderId": "o-1", "approved": false }).to_string();
    let blank = json!({ "orderId": "o-1", "approved": false, "reason": "  " }).to_string();
    for (headers, body, status) in [
        (&[][..], &yes, 401),
        (&[stranger], &yes, 401),
        (&[viewer], &yes, 403),
        (&[APPROVER], &silent, 422),
        (&[APPROVER], &blank, 422),
        (&[APPROVER], &"{\"orderId\":\"a b\",\"approved\":true}".to_owned(), 422),
        (&[APPROVER], &"{\"orderId\":\"o-1\"}".to_owned(), 422),
        (&[APPROVER], &"{".to_owned(), 400),
    ] {
        let answer = door.post("/api/orders/approve", headers, body).await;
        assert_eq!(answer.status, status, "{headers:?} {body}: {answer:?}");
    }
    assert!(asked.try_recv().is_err(), "the runtime was asked");
    door.close().await;
}

#[tokio::test]
async fn without_a_runtime_nothing_is_decided() {
    let broker = Broker::start();
    let door = open_at(&broker.url("order")).await;
    loop {
        let (status, _) = door.get("/readyz").await;
        if status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let yes = json!({ "orderId": "o-1", "approved": true }).to_string();
    let answer = door.post("/api/orders/approve", &[APPROVER], &yes).await;
    assert_eq!((answer.status, answer.retry_after.as_deref()), (503, Some("2")), "{answer:?}");
    door.close().await;
}

#[tokio::test]
async fn without_a_broker_the_answer_is_503_too() {
    let door = open().await;
    let yes = json!({ "orderId": "o-1", "approved": true }).to_string();
    let answer = door.post("/api/orders/approve", &[APPROVER], &yes).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    door.close().await;
}
