//! A broker of the test's own, and a service on it.

use async_nats::{ConnectOptions, jetstream};
use chassis::{
    config::Secret,
    db::{Db, DbOptions, Faults},
    http::{Health, Metrics},
    nats::{Nats, NatsConfig, apply_stream, stores_stream, trigger_subjects, triggers_stream},
    reserved_port,
};
use service_kit::{Ground, RelayTimes, Running, Service};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// A test that waits longer has found a defect.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Times at which a test sees repeats without waiting for minutes.
pub(crate) const SHORT: RelayTimes = RelayTimes {
    receipt: Duration::from_millis(400),
    receipt_max: Duration::from_secs(2),
    refused: Duration::from_millis(200),
    refused_max: Duration::from_millis(800),
};
const USER: &str = "test";
const PASSWORD: &str = "dev-test";
const STREAM_BYTES: i64 = 64 << 20;

pub(crate) struct Broker {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Broker {
    pub(crate) async fn start() -> Broker {
        let dir = tempfile::tempdir().unwrap();
        let port = reserved_port();
        let broker = Broker { child: spawn(dir.path(), port), dir, port };
        broker.create_stream(STREAM_BYTES).await;
        broker
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn lose_store(&self) {
        fs::remove_dir_all(self.dir.path().join("js")).unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.dir.path(), self.port);
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        self.url_by(self.port)
    }

    /// By another way to it.
    pub(crate) fn url_by(&self, port: u16) -> String {
        format!("nats://{USER}:{PASSWORD}@127.0.0.1:{port}")
    }

    pub(crate) async fn create_stream(&self, bytes_max: i64) {
        let wanted = triggers_stream(trigger_subjects(&[]).unwrap(), bytes_max, 1);
        let context = jetstream::new(self.client().await);
        let created = async {
            // A server that has just started may not have its JetStream yet.
            while apply_stream(&context, &wanted).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, created).await.unwrap();
    }

    /// As the runtime makes it, beside its own.
    pub(crate) async fn create_records(&self) {
        let context = jetstream::new(self.client().await);
        apply_stream(&context, &stores_stream(1)).await.unwrap();
    }

    /// A client that is connected.
    pub(crate) async fn client(&self) -> async_nats::Client {
        let connected = async {
            loop {
                // The client does not take the user from a URL.
                let options = ConnectOptions::with_user_and_password(USER.into(), PASSWORD.into());
                if let Ok(client) = options.connect(self.url()).await {
                    return client;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, connected).await.unwrap()
    }

    pub(crate) fn nats_config(&self) -> NatsConfig {
        NatsConfig { name: "kit-test".to_owned(), url: Secret::new(self.url()), ca_file: None }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may be dead already.
        let _dead = self.child.kill();
        let _dead = self.child.wait();
    }
}

fn spawn(dir: &Path, port: u16) -> Child {
    let config = format!(
        "listen: 127.0.0.1:{port}\njetstream {{ store_dir: {:?} }}\n\
         authorization {{ users: [{{ user: {USER}, password: {PASSWORD} }}] }}\n",
        dir.join("js")
    );
    let path = dir.join("nats.conf");
    fs::write(&path, config).unwrap();
    let mut server = Command::new(program());
    server.arg("-c").arg(path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// `NATS_SERVER`, or one in PATH, or the one that `deploy/test` has fetched.
fn program() -> PathBuf {
    if let Some(path) = env::var_os("NATS_SERVER") {
        return path.into();
    }
    let paths = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&paths).map(|dir| dir.join("nats-server"));
    let fetched = "../../target/tools/bin/nats-server";
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(fetched);
    let found = in_path.chain([fetched]).find(|path| path.is_file());
    found.expect("needs nats-server: set NATS_SERVER to its path, or run deploy/test once")
}

/// A service over a store in `dir`, ready to be asked.
pub(crate) struct Served {
    pub(crate) running: Running,
    pub(crate) nats: Nats,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
}

pub(crate) async fn serve(broker: &Broker, dir: &Path, service: Service) -> Served {
    serve_with(broker, dir, service, &Faults::default()).await
}

pub(crate) async fn serve_with(
    broker: &Broker,
    dir: &Path,
    service: Service,
    faults: &Faults,
) -> Served {
    let (health, metrics) = (Health::new(), Metrics::new());
    let options = DbOptions { faults: faults.clone(), ..DbOptions::default() };
    let db = Db::open(dir, options).unwrap();
    let nats = Nats::connect(&broker.nats_config(), &health, &metrics).await.unwrap();
    let ground = Ground::new(db, nats.clone(), health.clone(), metrics.clone());
    let running = service.start(Ground { times: SHORT, ..ground }).unwrap();
    let served = Served { running, nats, metrics, health };
    eventually("the service is ready", || served.health.is_ready()).await;
    served
}

impl Served {
    pub(crate) async fn stop(self) {
        self.running.drain().await;
        assert!(self.nats.close(PATIENCE).await);
    }

    /// The value of a counter or gauge.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let text = self.metrics.text().unwrap();
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "in vain: {what}");
}
