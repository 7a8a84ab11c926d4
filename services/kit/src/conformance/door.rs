//! A service's HTTP door over real sockets, and what a stranger's program sends to it.

use crate::{
    rows::OUTSTANDING,
    run::{self, App, Config, Process, RunError},
};
use chassis::{
    config::Source,
    db::{Db, DbOptions, WriteBatch},
    shutdown::Shutdown,
};
use serde_json::Value;
use std::{
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// The tokens of viewer and approver at a [`Door`].
pub const VIEWER: &str = "dev-viewer";
/// See [`VIEWER`].
pub const APPROVER: &str = "dev-approver";
const EVENTS_MAX: usize = 1_000;

/// The process as it runs, until it is closed.
pub struct Door {
    /// Its address as a URL, without a path.
    pub base: String,
    /// To ask what the helpers do not.
    pub client: reqwest::Client,
    shutdown: Shutdown,
    served: JoinHandle<Result<(), RunError>>,
    dir: TempDir,
}

/// How a door answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header `Location`.
    pub location: Option<String>,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The JSON body.
    pub body: Value,
}

/// A store that was used before: a new one would wait for what the broker knows of it.
fn used(dir: &Path) {
    let db = Db::open(dir, DbOptions::default()).expect("the store opens");
    db.commit(WriteBatch::new(), 1).expect("it commits");
}

impl Door {
    /// Starts the process without a broker: what it has to tell stays in its outbox.
    ///
    /// # Panics
    /// It does not start.
    pub async fn open(process: Process, app: App) -> Door {
        let nats_url = format!("nats://{}:dev-none@127.0.0.1:1", process.name);
        Door::open_at(process, app, &nats_url).await
    }

    /// Starts the process with this broker.
    ///
    /// # Panics
    /// It does not start.
    pub async fn open_at(process: Process, app: App, nats_url: &str) -> Door {
        // It fails when another test has installed it already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a directory");
        used(dir.path());
        let data = dir.path().to_str().expect("a readable path");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address").to_string();
        drop(listener);
        let name = process.name.to_ascii_uppercase();
        let mut source = Source::from_pairs([
            ("FERMATA_ENV", "development"),
            ("FERMATA_VIEWER_TOKEN", VIEWER),
            ("FERMATA_APPROVER_TOKEN", APPROVER),
            (&format!("{name}_HTTP_ADDR"), &addr),
            (&format!("{name}_DATA_DIR"), data),
            (&format!("{name}_NATS_URL"), nats_url),
        ]);
        let config = Config::read(&mut source, &process);
        let config = source.finish(|| config).expect("settings that can be used");
        let shutdown = Shutdown::new();
        let served = tokio::spawn(run::run(process, config, app, shutdown.clone()));
        let base = format!("http://{addr}");
        let client = reqwest::Client::new();
        while client.get(format!("{base}/livez")).send().await.is_err() {
            assert!(!served.is_finished(), "the process ended: {:?}", served.await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Door { base, client, shutdown, served, dir }
    }

    /// What a viewer gets.
    ///
    /// # Panics
    /// It does not answer, or not with JSON.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth(VIEWER);
        let answer = answer(request).await;
        (answer.status, answer.body)
    }

    /// What the sender of this body and these headers gets.
    ///
    /// # Panics
    /// As for [`Door::get`].
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = self.client.post(format!("{}{path}", self.base));
        request = request.header("Content-Type", "application/json").body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await
    }

    /// Stops the process and gives the events that it owes.
    ///
    /// # Panics
    /// It did not end well.
    pub async fn close(self) -> Vec<Value> {
        self.shutdown.ask();
        self.served.await.expect("no panic").expect("a good end");
        events(&Db::open(self.dir.path(), DbOptions::default()).expect("its store"))
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.expect("an answer");
    let header = |name| {
        answer.headers().get(name).map(|it| it.to_str().expect("a readable header").to_owned())
    };
    let (location, retry_after) = (header("location"), header("retry-after"));
    let status = answer.status().as_u16();
    let body = answer.json().await.expect("a JSON body");
    Answer { status, location, retry_after, body }
}

/// The events that a store owes to the runtime.
///
/// # Panics
/// The store does not answer.
pub fn events(db: &Db) -> Vec<Value> {
    let rows = db.scan(OUTSTANDING, None, EVENTS_MAX).expect("the outbox");
    rows.iter().map(|(_, row)| serde_json::from_slice(row).expect("an event")).collect()
}

/// Runs a Python program over this input; gives what it prints. The interpreter is
/// `FERMATA_PYTHON`, or the one that deploy/test makes, with what tests/python/requirements.txt
/// pins.
///
/// # Panics
/// There is no such interpreter, or the program fails.
pub fn python(program: &str, arguments: &[&str], input: &str) -> String {
    let usual =
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/python/bin/python");
    let python = std::env::var_os("FERMATA_PYTHON").map_or_else(usual, PathBuf::from);
    assert!(python.is_file(), "needs a Python: set FERMATA_PYTHON, or run deploy/test once");
    let mut child = Command::new(python)
        .args(["-c", program])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "a package may be missing: run deploy/test once");
    String::from_utf8(output.stdout).expect("text")
}
