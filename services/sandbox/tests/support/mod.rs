//! A sandbox in this process, and a receiver of its webhooks.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use sandbox::config::Config;
use serde_json::Value;
use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpListener, runtime::Runtime, sync::mpsc, time::timeout};

pub(crate) const API_KEY: &str = "sk_test_suite";
pub(crate) const STRIPE_SECRETS: [&str; 2] = ["whsec_suite_new", "whsec_suite_old"];
pub(crate) const COURIER_SECRET: &str = "courier_suite";
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A webhook as it came over the wire.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) path: &'static str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[derive(Clone)]
struct Door {
    received: mpsc::UnboundedSender<Received>,
    answers: Answers,
}

/// Takes webhooks; it answers with the given statuses first, then with 200.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    received: mpsc::UnboundedReceiver<Received>,
}

impl Receiver {
    pub(crate) async fn start(first_answers: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        let door = Door { received: sender, answers: Answers::new(first_answers) };
        let router = Router::new()
            .route(
                "/webhooks/stripe",
                post(|door, headers, body| take(door, "stripe", headers, body)),
            )
            .route(
                "/webhooks/courier",
                post(|door, headers, body| take(door, "courier", headers, body)),
            )
            .with_state(door);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, received }
    }

    pub(crate) async fn next(&mut self) -> Received {
        let next = timeout(WAIT_MAX, self.received.recv()).await;
        next.expect("no webhook came in time").expect("the receiver is there")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.received.is_empty()
    }
}

async fn take(
    State(door): State<Door>,
    path: &'static str,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let body = String::from_utf8(body.to_vec()).unwrap();
    door.received.send(Received { path, headers, body }).unwrap();
    door.answers.next()
}

/// The answers that are still to be given before every answer is 200.
#[derive(Clone)]
struct Answers(Arc<Mutex<VecDeque<u16>>>);

impl Answers {
    fn new(first: &[u16]) -> Self {
        Self(Arc::new(Mutex::new(first.iter().copied().collect())))
    }

    fn next(&self) -> StatusCode {
        let next = self.0.lock().unwrap().pop_front().unwrap_or(200);
        StatusCode::from_u16(next).unwrap()
    }
}

/// A running sandbox.
pub(crate) struct Sandbox {
    pub(crate) base: String,
    client: reqwest::Client,
    /// Its own, so that it can go at once with all that it was about to do.
    runtime: Option<Runtime>,
}

impl Sandbox {
    pub(crate) async fn start(data_dir: &Path, receiver: SocketAddr) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http_addr = listener.local_addr().unwrap();
        let config = Config {
            http_addr,
            data_dir: data_dir.to_owned(),
            stripe_api_key: API_KEY.to_owned(),
            stripe_webhook_secrets: STRIPE_SECRETS.map(str::to_owned).to_vec(),
            courier_webhook_secret: COURIER_SECRET.to_owned(),
            payment_webhook_url: format!("http://{receiver}/webhooks/stripe"),
            courier_webhook_url: format!("http://{receiver}/webhooks/courier"),
        };
        let runtime = Runtime::new().unwrap();
        let listener = listener.into_std().unwrap();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            sandbox::run(config, listener, std::future::pending()).await.unwrap();
        });
        let (base, client) = (format!("http://{http_addr}"), reqwest::Client::new());
        Self { base, client, runtime: Some(runtime) }
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) async fn kill(mut self) {
        let runtime = self.runtime.take().unwrap();
        let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(WAIT_MAX));
        ended.await.unwrap();
    }

    /// A call of the Stripe API.
    pub(crate) async fn stripe(
        &self,
        path: &str,
        key: Option<&str>,
        form: &[(&str, &str)],
    ) -> (u16, Value) {
        let mut request = self.client.post(format!("{}{path}", self.base)).bearer_auth(API_KEY);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        answer(request.form(form)).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client.get(format!("{}{path}", self.base)).bearer_auth(API_KEY)).await
    }

    pub(crate) async fn post(&self, path: &str, key: Option<&str>, body: Value) -> (u16, Value) {
        let mut request = self.client.post(format!("{}{path}", self.base)).json(&body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        answer(request).await
    }

    pub(crate) async fn session(&self, order_id: &str) -> Value {
        let form = session_form(order_id);
        let (status, session) = self.stripe("/v1/checkout/sessions", None, &form).await;
        assert_eq!(status, 200, "{session}");
        session
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) fn session_form(order_id: &str) -> [(&str, &str); 8] {
    [
        ("mode", "payment"),
        ("success_url", "https://shop.example/ok"),
        ("client_reference_id", order_id),
        ("metadata[order_id]", order_id),
        ("line_items[0][price_data][currency]", "usd"),
        ("line_items[0][price_data][unit_amount]", "1050"),
        ("line_items[0][price_data][product_data][name]", "Widget"),
        ("line_items[0][quantity]", "2"),
    ]
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or(Value::Null))
}

/// The Python with the `stripe` client: `FERMATA_PYTHON`, else the one that `deploy/test` fetches.
pub(crate) fn python(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let fetched = root.join("target/tools/python/bin/python");
    let python = std::env::var_os("FERMATA_PYTHON").map_or(fetched, Into::into);
    assert!(
        python.exists(),
        "{} is missing: run deploy/test, or set FERMATA_PYTHON to a Python with PyPI's stripe",
        python.display()
    );
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script));
    command
}
