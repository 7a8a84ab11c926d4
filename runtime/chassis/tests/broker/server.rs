//! A real nats-server.

use chassis::{config::Secret, nats::NatsConfig, reserved_port};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(15);
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

pub(crate) struct Server {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Server {
    pub(crate) fn start() -> Server {
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

    pub(crate) fn stop(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    pub(crate) fn restart(&mut self) {
        self.child = Server::spawn(self.dir.path(), self.port);
    }

    /// Keeps the stream of records as it is. The server must have stopped.
    pub(crate) fn keep_records(&self) {
        copied(&self.records(), &self.kept());
    }

    /// As after a power cut: it has synced nothing since they were kept. It must have stopped.
    pub(crate) fn lose_what_came_since(&self) {
        std::fs::remove_dir_all(self.records()).expect("removed");
        copied(&self.kept(), &self.records());
    }

    /// It must have stopped.
    pub(crate) fn lose_the_disk(&self) {
        std::fs::remove_dir_all(self.dir.path().join("js")).expect("removed");
    }

    fn records(&self) -> PathBuf {
        self.dir.path().join("js/jetstream/A/streams/STORES")
    }

    fn kept(&self) -> PathBuf {
        self.dir.path().join("kept")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn config(&self, user: &str, password: &str) -> NatsConfig {
        self.config_by(user, password, self.port)
    }

    /// By another way to it.
    pub(crate) fn config_by(&self, user: &str, password: &str, port: u16) -> NatsConfig {
        let url = format!("nats://{user}:{password}@127.0.0.1:{port}");
        NatsConfig { name: "a-test".into(), url: Secret::new(url), ca_file: None }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited for: {what}"));
}

pub(crate) fn copied(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success());
}
