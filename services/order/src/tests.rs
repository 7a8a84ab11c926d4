//! The whole service: its door over real sockets, its procedures over a real store.

mod decisions;
mod door;
mod procedures;

use crate::{PROCESS, Settings, app};
use chassis::{
    config::Source,
    db::{Db, DbOptions},
    shutdown::Shutdown,
};
use serde_json::{Value, json};
use service_kit::Config;
use std::{net::TcpListener, time::Duration};
use tempfile::TempDir;

/// The process as it runs.
struct Door {
    base: String,
    client: reqwest::Client,
    shutdown: Shutdown,
    served: tokio::task::JoinHandle<Result<(), service_kit::RunError>>,
    dir: TempDir,
}

impl Door {
    /// Without a broker: what it has to tell stays in its outbox.
    async fn open() -> Door {
        Door::open_at("nats://order:dev-none@127.0.0.1:1").await
    }

    async fn open_at(nats_url: &str) -> Door {
        // It fails when another test has installed it already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().to_str().unwrap().to_owned();
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut source = Source::from_pairs([
            ("FERMATA_ENV", "development"),
            ("FERMATA_VIEWER_TOKEN", "dev-viewer"),
            ("FERMATA_APPROVER_TOKEN", "dev-approver"),
            ("ORDER_HTTP_ADDR", &addr.to_string()),
            ("ORDER_DATA_DIR", &data),
            ("ORDER_NATS_URL", nats_url),
        ]);
        let config = Config::read(&mut source, &PROCESS);
        let config = source.finish(|| config).unwrap();
        let shutdown = Shutdown::new();
        let run = service_kit::run(PROCESS, config, app(Settings), shutdown.clone());
        let served = tokio::spawn(run);
        let base = format!("http://{addr}");
        let client = reqwest::Client::new();
        while client.get(format!("{base}/livez")).send().await.is_err() {
            assert!(!served.is_finished(), "the process ended: {:?}", served.await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Door { base, client, shutdown, served, dir }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth("dev-viewer");
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = self.client.post(format!("{}{path}", self.base));
        request = request.header("Content-Type", "application/json").body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let header = |name| answer.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
        let (location, retry_after) = (header("location"), header("retry-after"));
        let (status, body) = (answer.status().as_u16(), answer.json().await.unwrap());
        Answer { status, location, retry_after, body }
    }

    /// Stops the process and gives the events that it owes.
    async fn close(self) -> Vec<Value> {
        self.shutdown.ask();
        self.served.await.unwrap().unwrap();
        events(&Db::open(self.dir.path(), DbOptions::default()).unwrap())
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    location: Option<String>,
    retry_after: Option<String>,
    body: Value,
}

fn events(db: &Db) -> Vec<Value> {
    let rows = db.scan(&[service_kit::KIT_PREFIX, b'o'], None, 1000).unwrap();
    rows.iter().map(|(_, row)| serde_json::from_slice(row).unwrap()).collect()
}

fn order() -> Value {
    json!({
        "items": [
            { "sku": "WIDGET-001", "quantity": 2, "price": "40.00" },
            { "sku": "GADGET-002", "quantity": 1, "price": "20.00" },
        ],
        "total": "100.00",
        "customer": { "name": "Zoë", "email": "zoe@example.com" },
        "shippingAddress": {
            "street": "1 Main St", "city": "Springfield", "zip": "12345", "country": "US",
        },
    })
}
