//! A broker and a runtime, each a process of its own, and services that answer in this process.

use super::definitions::{STEP, Step};
use crate::{
    Failure,
    stack::{binary, nats_server},
    until,
};
use async_nats::{
    HeaderMap,
    jetstream::{self, context::PublishAckFuture},
};
use chassis::reserved_port;
use futures::StreamExt as _;
use serde::Serialize;
use std::{
    collections::HashMap,
    fs::read_to_string,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

const READY_WITHIN: Duration = Duration::from_secs(60);
/// Clock ticks of `/proc/<pid>/stat`; the same on every Linux that this runs on.
const TICKS_PER_S: f64 = 100.0;

/// Everything that a load needs; dropping it stops and removes all.
pub struct World {
    dir: TempDir,
    settings: Vec<(String, String)>,
    /// The instrument that runs the runtime, if one does.
    under: Vec<String>,
    http_addr: String,
    nats_addr: String,
    nats: Child,
    runtime: Option<Child>,
    events: jetstream::Context,
    steps: Arc<Steps>,
    answering: JoinHandle<()>,
    http: reqwest::Client,
}

/// Who waits for which step to be asked.
#[derive(Default)]
struct Steps {
    waiting: Mutex<HashMap<(String, u32), oneshot::Sender<Instant>>>,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Processor time.
    pub cpu_s: f64,
    /// Memory.
    pub rss_bytes: u64,
}

impl World {
    /// Starts all in a directory below `target/`, which is on the disk that is measured.
    ///
    /// # Errors
    /// Something is missing or does not start.
    pub async fn start(below: &Path, settings: &[(&str, &str)]) -> Result<World, Failure> {
        World::start_under(below, settings, &[]).await
    }

    /// As [`World::start`], with the runtime under the command of an instrument.
    ///
    /// # Errors
    /// Something is missing or does not start.
    pub async fn start_under(
        below: &Path,
        settings: &[(&str, &str)],
        under: &[&str],
    ) -> Result<World, Failure> {
        let io = |err: std::io::Error| format!("no directory for data: {err}");
        std::fs::create_dir_all(below).map_err(io)?;
        let dir = TempDir::new_in(below).map_err(io)?;
        let [http_addr, nats_addr] = [(); 2].map(|()| format!("127.0.0.1:{}", reserved_port()));
        let (_, port) = nats_addr.rsplit_once(':').ok_or("no port")?;
        let nats = Command::new(nats_server()?)
            .args(["-js", "-a", "127.0.0.1", "-p", port, "-sd"])
            .arg(dir.path().join("nats"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|err| format!("failed to start nats-server: {err}"))?;
        let url = format!("nats://{nats_addr}");
        let client = until("nats-server answers", READY_WITHIN, || async {
            async_nats::connect(&url).await.map_err(|err| err.to_string())
        })
        .await?;
        let steps = Arc::new(Steps::default());
        let answering = answer(&client, steps.clone()).await?;
        let settings = settings.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
        // A process may install it once; a second time says no more than that it is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (events, http) = (jetstream::new(client), reqwest::Client::new());
        let mut world = World {
            dir,
            settings,
            under: under.iter().map(|it| (*it).to_owned()).collect(),
            http_addr,
            nats_addr,
            nats,
            runtime: None,
            events,
            steps,
            answering,
            http,
        };
        world.start_runtime()?;
        world.ready().await?;
        Ok(world)
    }

    /// Starts the runtime; it is not ready yet.
    ///
    /// # Errors
    /// It is missing.
    pub fn start_runtime(&mut self) -> Result<(), Failure> {
        let runtime = binary("bench-runtime")?;
        let mut command = match self.under.split_first() {
            None => Command::new(runtime),
            Some((instrument, args)) => {
                let mut command = Command::new(instrument);
                command.args(args).arg(runtime);
                command
            }
        };
        command
            .arg("serve")
            .env("FERMATA_ENV", "development")
            .env("FERMATA_LOG", "warn")
            .env("FERMATA_DATA_DIR", self.store())
            .env("FERMATA_HTTP_ADDR", &self.http_addr)
            .env("FERMATA_NATS_URL", format!("nats://fermata:any@{}", self.nats_addr));
        for role in ["VIEWER", "APPROVER", "OPERATOR", "ADMIN"] {
            command.env(format!("FERMATA_{role}_TOKEN"), format!("{role}-bench-token-of-no-use"));
        }
        command.envs(self.settings.iter().cloned());
        let log = std::fs::File::create(self.dir.path().join("runtime.log"));
        let log = log.map_err(|err| format!("no log: {err}"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().map_err(|err| format!("failed to start the runtime: {err}"))?;
        self.runtime = Some(child);
        Ok(())
    }

    /// Waits until the runtime takes work.
    ///
    /// # Errors
    /// It does not.
    pub async fn ready(&self) -> Result<(), Failure> {
        let url = format!("http://{}/readyz", self.http_addr);
        let ready = until("the runtime is ready", READY_WITHIN, || async {
            let answer = self.http.get(&url).send().await.map_err(|err| err.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
        });
        let log = self.dir.path().join("runtime.log");
        ready.await.map_err(|why| format!("{why}\n{}", read_to_string(log).unwrap_or_default()))
    }

    /// Asks the runtime to end, and waits for it. What it said last is its log.
    ///
    /// # Errors
    /// It does not run.
    pub fn stop_runtime(&mut self) -> Result<String, Failure> {
        let mut child = self.runtime.take().ok_or("the runtime does not run")?;
        let asked = Command::new("kill").arg(child.id().to_string()).status();
        asked.map_err(|err| format!("failed to run kill: {err}"))?;
        child.wait().map_err(|err| format!("the runtime does not end: {err}"))?;
        Ok(read_to_string(self.dir.path().join("runtime.log")).unwrap_or_default())
    }

    /// Kills the runtime as a power cut would.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill_runtime(&mut self) -> Result<(), Failure> {
        let mut child = self.runtime.take().ok_or("the runtime does not run")?;
        child.kill().and_then(|()| child.wait()).map_err(|err| format!("kill: {err}"))?;
        Ok(())
    }

    /// Resolves when this step is asked for.
    pub fn expect(&self, key: &str, number: u32) -> oneshot::Receiver<Instant> {
        let (asked, is_asked) = oneshot::channel();
        self.steps.lock().insert((key.to_owned(), number), asked);
        is_asked
    }

    /// Publishes an event; the future ends when the broker has it.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub async fn publish(
        &self,
        subject: &'static str,
        id: String,
        body: &impl Serialize,
    ) -> Result<PublishAckFuture, Failure> {
        publish(&self.events, subject, id, body).await
    }

    /// Somebody else who publishes: what they have on the way delays nobody in this process.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub async fn publisher(&self) -> Result<Publisher, Failure> {
        let client = async_nats::connect(format!("nats://{}", self.nats_addr)).await;
        let client = client.map_err(|err| err.to_string())?;
        Ok(Publisher { events: jetstream::new(client.clone()), client })
    }

    /// A sample of the runtime's metrics whose line begins so and contains all of these; 0 when
    /// there is none yet.
    ///
    /// # Errors
    /// The runtime does not answer.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<f64, Failure> {
        let url = format!("http://{}/metrics", self.http_addr);
        let text = self.http.get(url).send().await.map_err(|err| err.to_string())?.text().await;
        let text = text.map_err(|err| err.to_string())?;
        let is_it = |line: &&str| {
            line.contains(name)
                && !line.starts_with('#')
                && labels.iter().all(|it| line.contains(it))
        };
        let values = text.lines().filter(is_it).filter_map(|it| it.rsplit_once(' '));
        Ok(values.filter_map(|it| it.1.parse::<f64>().ok()).sum())
    }

    /// What the runtime has used.
    pub fn used(&self) -> Used {
        let pid = self.runtime_pid();
        let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |it| it.1).split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0);
        let status = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let rss = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
        let rss_kib = rss.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
        Used {
            cpu_s: (ticks(11) + ticks(12)) / TICKS_PER_S,
            rss_bytes: rss_kib.unwrap_or_default() * 1024,
        }
    }

    /// How often a load may ask how far the runtime is: seldom enough that the answers are little
    /// beside the sagas.
    pub fn look_every(&self) -> Duration {
        Duration::from_millis(if self.under.is_empty() { 10 } else { 1_000 })
    }

    /// The runtime's process; 0 when it does not run.
    pub fn runtime_pid(&self) -> u32 {
        self.runtime.as_ref().map_or(0, Child::id)
    }

    /// Where the runtime's store is.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Bytes of the runtime's store on the disk.
    pub fn disk_bytes(&self) -> u64 {
        bytes_below(&self.store())
    }
}

/// A connection of its own.
pub struct Publisher {
    client: async_nats::Client,
    events: jetstream::Context,
}

impl Publisher {
    /// As [`World::publish`].
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub async fn publish(
        &self,
        subject: &'static str,
        id: String,
        body: &impl Serialize,
    ) -> Result<PublishAckFuture, Failure> {
        publish(&self.events, subject, id, body).await
    }

    /// Waits until all has left: what has not is lost with the connection.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub async fn flush(&self) -> Result<(), Failure> {
        self.client.flush().await.map_err(|err| err.to_string())
    }
}

async fn publish(
    events: &jetstream::Context,
    subject: &'static str,
    id: String,
    body: &impl Serialize,
) -> Result<PublishAckFuture, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", id);
    let body = serde_json::to_vec(body).map_err(|err| err.to_string())?;
    let sent = events.publish_with_headers(subject, headers, body.into()).await;
    sent.map_err(|err| format!("failed to publish: {err}"))
}

impl Drop for World {
    fn drop(&mut self) {
        self.answering.abort();
        for child in self.runtime.iter_mut().chain([&mut self.nats]) {
            // What has ended already cannot be killed; either way it is gone afterwards.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Steps {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, u32), oneshot::Sender<Instant>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers every step at once.
async fn answer(client: &async_nats::Client, steps: Arc<Steps>) -> Result<JoinHandle<()>, Failure> {
    let asked = client.subscribe(STEP).await;
    let mut asked = asked.map_err(|err| format!("failed to subscribe: {err}"))?;
    let client = client.clone();
    let mut ok = HeaderMap::new();
    ok.insert("Fermata-Outcome", "ok");
    Ok(tokio::spawn(async move {
        while let Some(message) = asked.next().await {
            let now = Instant::now();
            let Ok(step) = serde_json::from_slice::<Step>(&message.payload) else { continue };
            if let Some(waiting) = steps.lock().remove(&(step.key, step.number)) {
                // Whoever expected it may have lost patience.
                let _ = waiting.send(now);
            }
            if let Some(reply) = message.reply {
                // What is not sent is asked for again.
                let _ = client.publish_with_headers(reply, ok.clone(), "null".into()).await;
            }
        }
    }))
}

fn bytes_below(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::metadata(path).map_or(0, |it| it.blocks() * 512);
    };
    entries.flatten().map(|it| bytes_below(&it.path())).sum()
}
