//! A real nats-server, the runtime as a process of its own, and hands to move both.

use async_nats::jetstream::consumer::FromConsumer as _;
use async_nats::{Client, HeaderMap, Message, jetstream};
use chassis::reserved_port;
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// The child process looks here for the arguments of the command line.
pub const CHILD_ARGS: &str = "SAGA_HOST_TEST_ARGS";
/// The test that is the child process.
const CHILD: &str = "a_child_process_is_the_command_line_when_it_is_asked_to_be";
/// Nothing here takes as long on a machine that is not stuck.
const PATIENCE: Duration = Duration::from_secs(25);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A value of `deploy/dev.env`.
pub fn dev_env(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/dev.env");
    let text = fs::read_to_string(path).expect("deploy/dev.env");
    let mut pairs = text.lines().filter_map(|it| it.split_once('='));
    pairs.find(|it| it.0 == name).expect("it is set there").1.to_owned()
}

/// The users of `deploy/`.
const USERS: [&str; 6] = ["FERMATA", "ORDER", "PAYMENT", "WAREHOUSE", "DELIVERY", "NOTIFICATION"];

pub const VIEWER: &str = "viewer-token-of-these-tests";
pub const APPROVER: &str = "approver-token-of-these-tests";
pub const OPERATOR: &str = "operator-token-of-these-tests";

/// A broker and a place for a runtime.
pub struct World {
    dir: TempDir,
    nats_port: u16,
    http_port: u16,
    nats: Option<Child>,
    runtime: Option<Child>,
    env: BTreeMap<String, String>,
    http: reqwest::Client,
    pub tester: Client,
}

/// A runtime beside the one of the world.
pub struct Second {
    child: Reaped,
    port: u16,
    log: PathBuf,
}

impl Second {
    pub fn is_running(&mut self) -> bool {
        self.child.0.try_wait().expect("a status").is_none()
    }

    /// What it has said, once it was refused.
    pub fn refusal(&mut self) -> Option<String> {
        let status = self.child.0.try_wait().expect("a status")?;
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        assert_eq!(status.code(), Some(78), "{said}");
        Some(said)
    }
}

/// A child that does not outlive the test.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for mut child in self.runtime.take().into_iter().chain(self.nats.take()) {
            let _ended = child.kill();
            let _reaped = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().filter(|it| !it.contains("/readyz")).collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            let nats = fs::read_to_string(self.dir.path().join("nats.log")).unwrap_or_default();
            let nats = if nats.contains("[FTL]") || !nats.contains("ready") { &*nats } else { "" };
            eprintln!("{nats}the runtime's log ends so:\n{tail}");
        }
    }
}

impl World {
    /// A broker alone.
    pub async fn new() -> World {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a directory");
        let (nats_port, http_port) = (reserved_port(), reserved_port());
        write_nats_conf(dir.path(), nats_port);
        let nats = start_nats(dir.path());
        let tester =
            async_nats::ConnectOptions::with_user_and_password("tester".into(), "t".into())
                .retry_on_initial_connect()
                .connect(format!("127.0.0.1:{nats_port}"))
                .await
                .expect("a tester's connection");
        let mut world = World {
            dir,
            nats_port,
            http_port,
            nats: Some(nats),
            runtime: None,
            env: BTreeMap::new(),
            http: reqwest::Client::new(),
            tester,
        };
        world.set_env_defaults();
        world
    }

    /// A broker and a runtime that is ready.
    pub async fn with_runtime() -> World {
        let mut world = World::new().await;
        world.start().await;
        world
    }

    fn set_env_defaults(&mut self) {
        let (nats, http) = (self.nats_port, self.http_port);
        let data = self.dir.path().join("data");
        self.set("FERMATA_NATS_URL", &format!("nats://fermata:f@127.0.0.1:{nats}"));
        self.set("FERMATA_HTTP_ADDR", &format!("127.0.0.1:{http}"));
        self.set("FERMATA_URL", &format!("http://127.0.0.1:{http}"));
        self.set("FERMATA_DATA_DIR", &data.to_string_lossy());
        self.set("FERMATA_VIEWER_TOKEN", VIEWER);
        self.set("FERMATA_APPROVER_TOKEN", &format!("alice:{APPROVER}"));
        self.set("FERMATA_OPERATOR_TOKEN", &format!("oscar:{OPERATOR}"));
        self.set("FERMATA_HTTP_REQUESTS_PER_S", "5000");
        self.set("FERMATA_LOG_FORMAT", "text");
        self.set("FERMATA_LOG", "debug,async_nats=error,hyper=warn,sled=warn,reqwest=warn");
    }

    /// Sets a variable for runtimes that start from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.insert(name.into(), value.into());
    }

    /// Starts the runtime and waits until it is ready.
    pub async fn start(&mut self) {
        self.launch();
        self.until("the runtime is ready", async |it| it.is_ready().await).await;
    }

    /// Starts the runtime.
    pub fn launch(&mut self) {
        assert!(self.runtime.is_none(), "a runtime runs already");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("runtime.log"))
            .expect("a log");
        let child = self.child(&["serve"]).stderr(log).stdout(Stdio::null()).spawn();
        self.runtime = Some(child.expect("the runtime starts"));
    }

    /// Another runtime on the same broker, with its store there, which is to be refused: gives what
    /// it says.
    pub async fn refused(&self, data: &Path) -> String {
        let mut command = self.child(&["serve"]);
        command.env("FERMATA_DATA_DIR", data).env("FERMATA_HTTP_ADDR", "127.0.0.1:0");
        let log = self.dir.path().join("refused.log");
        let file = fs::File::create(&log).expect("a log");
        let child = command.stderr(file).stdout(Stdio::null()).spawn().expect("it starts");
        let mut other = Reaped(child);
        let began = Instant::now();
        loop {
            if let Some(status) = other.0.try_wait().expect("a status") {
                let said = fs::read_to_string(&log).unwrap_or_default();
                assert_eq!(status.code(), Some(78), "{said}");
                return said;
            }
            assert!(began.elapsed() < PATIENCE, "it is not refused");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Another runtime on the same broker, with its store there.
    pub fn second(&self, data: &Path) -> Second {
        let port = reserved_port();
        let mut command = self.child(&["serve"]);
        command.env("FERMATA_DATA_DIR", data);
        command.env("FERMATA_HTTP_ADDR", format!("127.0.0.1:{port}"));
        let log = self.dir.path().join(format!("second-{port}.log"));
        let file = fs::File::create(&log).expect("a log");
        let child = command.stderr(file).stdout(Stdio::null()).spawn();
        Second { child: Reaped(child.expect("it starts")), port, log }
    }

    pub async fn is_there(&self, second: &Second) -> bool {
        let url = format!("http://127.0.0.1:{}/readyz", second.port);
        self.http.get(url).send().await.is_ok_and(|it| it.status() == 200)
    }

    /// Copies the store, whose runtime must not run, to a place below the world's directory.
    pub fn copy_of_the_store(&self, name: &str) -> PathBuf {
        let copy = self.dir.path().join(name);
        copied(Path::new(&self.data_dir()), &copy);
        copy
    }

    /// A place for a store that is not there yet.
    pub fn empty_place(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a copy in the place of the store.
    pub fn restore(&self, copy: &Path) {
        fs::remove_dir_all(self.data_dir()).expect("the store is removed");
        fs::rename(copy, self.data_dir()).expect("the copy is moved");
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.runtime.as_ref().expect("a runtime runs").id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    fn child(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env::current_exe().expect("our own path"));
        command.args(["--exact", CHILD, "--nocapture"]).env(CHILD_ARGS, args.join("\n"));
        command.env_remove("FERMATA_ENV").envs(&self.env);
        command
    }

    /// Runs a command of the command line against the runtime.
    pub fn cli(&self, args: &[&str]) -> Output {
        self.child(args).output().expect("the command runs")
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.runtime.take().expect("a runtime runs");
        child.kill().expect("it is killed");
        child.wait().expect("it is gone");
    }

    /// SIGTERM; gives the exit status and the time it took.
    pub fn stop(&mut self) -> (ExitStatus, Duration) {
        let mut child = self.runtime.take().expect("a runtime runs");
        let began = Instant::now();
        let told = Command::new("kill").arg(child.id().to_string()).status();
        assert!(told.expect("kill runs").success());
        (child.wait().expect("it ends"), began.elapsed())
    }

    /// Waits for the runtime to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.runtime.take().expect("a runtime runs");
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("a status") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the runtime does not end");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether the runtime has died by itself; [`World::kill`] still has to reap it.
    pub fn is_gone(&self) -> bool {
        let pid = self.runtime.as_ref().expect("a runtime runs").id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ")
    }

    pub fn kill_nats(&mut self) {
        let mut child = self.nats.take().expect("a broker runs");
        child.kill().expect("it is killed");
        child.wait().expect("it is gone");
    }

    /// As a power cut may leave it: the stream is there, its messages are gone.
    pub fn lose_events_of_the_broker(&self) {
        fs::remove_dir_all(self.stream_dir("TRIGGERS").join("msgs"))
            .expect("the messages are removed");
    }

    /// As a power cut has left it: the settings are empty, and the state is of zeros.
    pub fn tear_the_consumer(&self) {
        let consumer = self.stream_dir("TRIGGERS").join("obs/fermata");
        fs::create_dir_all(&consumer).expect("a folder");
        fs::write(consumer.join("meta.inf"), []).expect("written");
        fs::write(consumer.join("o.dat"), [0; 19]).expect("written");
    }

    /// The last file of this name that the broker has of a stream is empty, or of zeros.
    pub fn tear(&self, stream: &str, name: &str, is_empty: bool) {
        let (folder, name) = name.rsplit_once('/').unwrap_or(("", name));
        let ending = name.trim_start_matches('*');
        let files = fs::read_dir(self.stream_dir(stream).join(folder)).expect("a folder");
        let paths = files.map(|it| it.expect("an entry").path());
        let path = paths.filter(|it| it.to_string_lossy().ends_with(ending)).max();
        let path = path.unwrap_or_else(|| panic!("{stream} has no {name}"));
        let len = fs::metadata(&path).expect("a length").len();
        let len = if is_empty { 0 } else { usize::try_from(len).expect("a short one") };
        fs::write(path, vec![0; len]).expect("written");
    }

    pub fn copy_of_the_stream(&self, stream: &str) -> PathBuf {
        let copy = self.dir.path().join(format!("{stream}-before"));
        copied(&self.stream_dir(stream), &copy);
        copy
    }

    pub fn put_back_the_stream(&self, stream: &str, copy: &Path) {
        let dir = self.stream_dir(stream);
        fs::remove_dir_all(&dir).expect("it is removed");
        copied(copy, &dir);
    }

    pub fn nats_port(&self) -> u16 {
        self.nats_port
    }

    pub fn said_by(&self, second: &Second) -> String {
        fs::read_to_string(&second.log).unwrap_or_default()
    }

    /// The status of the saga with this key, by another runtime.
    pub async fn status_at(&self, second: &Second, key: &str) -> String {
        let url = format!("http://127.0.0.1:{}/api/sagas?key={key}", second.port);
        let Ok(got) = self.http.get(url).bearer_auth(VIEWER).send().await else {
            return "away".into();
        };
        let page: Value = got.json().await.unwrap_or_default();
        page["items"][0]["status"].as_str().unwrap_or("none").to_owned()
    }

    fn stream_dir(&self, stream: &str) -> PathBuf {
        self.dir.path().join("nats/jetstream/$G/streams").join(stream)
    }

    pub fn start_nats(&mut self) {
        self.nats = Some(start_nats(self.dir.path()));
    }

    /// Takes these words out of what the users may do at a broker that starts from now on, and puts
    /// others there.
    pub fn change_permissions(&self, before: &str, after: &str) {
        let path = self.dir.path().join("nats-users.conf");
        let users = fs::read_to_string(&path).expect("the users");
        assert!(users.contains(before), "{before} is nowhere");
        fs::write(&path, users.replacen(before, after, 1)).expect("written");
    }

    pub fn data_dir(&self) -> String {
        self.dir.path().join("data").to_string_lossy().into_owned()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("runtime.log")).unwrap_or_default()
    }

    /// Looks again and again until it is so.
    pub async fn until(&self, what: &str, so: impl AsyncFn(&World) -> bool) {
        let began = Instant::now();
        while !so(self).await {
            assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub async fn is_ready(&self) -> bool {
        self.call("GET", "/readyz", None, None).await.0 == 200
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http_port)
    }

    /// For answers that are more than a body.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The status and the body as JSON; status 0 when nobody answers.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let mut request = self.http.request(method.parse().expect("a method"), self.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let Ok(response) = request.send().await else { return (0, Value::Null) };
        let status = response.status().as_u16();
        let text = response.text().await.unwrap_or_default();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, Some(VIEWER), None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, token: &str, body: Value) -> (u16, Value) {
        self.call("POST", path, Some(token), Some(&body)).await
    }

    /// The newest saga with this key; null when there is none.
    pub async fn saga(&self, key: &str) -> Value {
        self.get(&format!("/api/sagas?key={key}")).await["items"][0].clone()
    }

    pub async fn status(&self, key: &str) -> String {
        self.saga(key).await["status"].as_str().unwrap_or("none").to_owned()
    }

    /// Waits until the saga stands there.
    pub async fn until_status(&self, key: &str, status: &str) -> Value {
        let what = format!("saga {key} is {status}");
        self.until(&what, async |it| it.status(key).await == status).await;
        self.saga(key).await
    }

    /// The kinds of the journal's records.
    pub async fn journal(&self, key: &str) -> Vec<Value> {
        let id = self.saga(key).await["id"].as_str().expect("an id").to_owned();
        let page = self.get(&format!("/api/sagas/{id}/journal?limit=200")).await;
        page["items"].as_array().expect("records").clone()
    }

    pub async fn kinds(&self, key: &str) -> Vec<String> {
        let journal = self.journal(key).await;
        journal.iter().map(|it| it["kind"].as_str().expect("a kind").to_owned()).collect()
    }

    /// Events with this verdict.
    pub async fn events(&self, verdict: &str) -> Vec<Value> {
        let page = self.get(&format!("/api/events?verdict={verdict}")).await;
        page["items"].as_array().expect("events").clone()
    }

    pub async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.call("GET", "/metrics", None, None).await;
        let text = text.as_str().unwrap_or_default().to_owned();
        let line = text.lines().find(|it| it.split([' ', '{']).next() == Some(name));
        line.and_then(|it| it.rsplit(' ').next()?.parse().ok()).unwrap_or(f64::NAN)
    }

    /// Bytes of memory that the runtime's process occupies.
    pub fn memory(&self) -> u64 {
        let pid = self.runtime.as_ref().expect("a runtime runs").id();
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = text.lines().find_map(|it| it.strip_prefix("VmRSS:"));
        let kib = line.and_then(|it| it.trim().strip_suffix(" kB")).expect("VmRSS in kB");
        kib.parse::<u64>().expect("a number") << 10
    }

    /// For how long the engine's thread has had a processor, to a hundredth of a second.
    pub fn engine_time(&self) -> Duration {
        let pid = self.runtime.as_ref().expect("a runtime runs").id();
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("threads").flatten();
        let stat = |it: fs::DirEntry| fs::read_to_string(it.path().join("stat")).ok();
        let engine = tasks.filter_map(stat).find(|it| it.contains("(engine)")).expect("a thread");
        let after_name = engine.rsplit_once(") ").expect("a name in parentheses").1;
        // See proc_pid_stat(5): utime and stime, the 14th and 15th, in ticks of 10 ms.
        let ticks = after_name.split(' ').skip(11).take(2).map(|it| it.parse::<u64>());
        Duration::from_millis(10 * ticks.map(|it| it.expect("a number")).sum::<u64>())
    }

    /// What the kernel has counted for the runtime's process.
    pub fn io(&self) -> Vec<(String, u64)> {
        let pid = self.runtime.as_ref().expect("a runtime runs").id();
        let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        let lines = text.lines().filter_map(|it| it.split_once(": "));
        lines.map(|(name, count)| (name.to_owned(), count.parse().unwrap_or(0))).collect()
    }

    /// Publishes to the stream until the broker has it as a message of its own: it drops what comes
    /// with a known id within its window, whatever that is.
    pub async fn publish(&self, subject: &str, headers: &[(&str, &str)], body: &str) {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| map.insert(*name, *value));
        let stream = jetstream::new(self.tester.clone());
        loop {
            let (subject, body) = (subject.to_owned(), body.to_owned().into());
            let sent = stream.publish_with_headers(subject, map.clone(), body).await;
            let ack = sent.expect("it is sent").await.expect("the broker has it");
            if !ack.duplicate {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// As a client may that looks at nothing: the headers are these bytes.
    pub async fn publish_raw(&self, subject: &str, headers: &[u8], body: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.nats_port)).expect("the broker");
        let headers = [b"NATS/1.0\r\n", headers, b"\r\n\r\n"].concat();
        let sizes = (headers.len(), headers.len() + body.len());
        let login = r#"{"verbose":false,"headers":true,"user":"tester","pass":"t"}"#;
        let command = format!("CONNECT {login}\r\nHPUB {subject} {} {}\r\n", sizes.0, sizes.1);
        let tail = format!("{body}\r\nPING\r\n");
        let sent = stream.write_all(&[command.as_bytes(), &headers, tail.as_bytes()].concat());
        sent.expect("it is sent");
        let mut answer = String::new();
        let mut lines = BufReader::new(stream);
        while !answer.contains("PONG") {
            assert!(lines.read_line(&mut answer).expect("an answer") > 0, "{answer}");
        }
    }

    pub async fn order(&self, id: &str) {
        self.order_with(id, json!({})).await;
    }

    pub async fn order_with(&self, id: &str, more: Value) {
        let mut body = json!({ "orderId": id });
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let event_id = format!("created-{id}");
        let headers = [("Nats-Msg-Id", event_id.as_str())];
        self.publish("orders.trigger.created", &headers, &body.to_string()).await;
    }

    pub async fn pay(&self, id: &str) {
        let body = json!({ "orderId": id, "sessionId": format!("s-{id}") }).to_string();
        let event_id = format!("paid-{id}");
        let headers = [("Nats-Msg-Id", event_id.as_str())];
        self.publish("payments.trigger.completed", &headers, &body).await;
    }

    /// Pulls one message as the runtime's own consumer and forgets it, as a process that dies does.
    pub async fn take_without_acknowledging(&self) {
        let stream = jetstream::new(self.tester.clone()).get_stream("TRIGGERS").await;
        let consumer = stream.expect("the stream").get_consumer("fermata").await;
        let consumer: jetstream::consumer::PullConsumer = consumer.expect("the consumer");
        let mut batch = consumer.batch().max_messages(1).messages().await.expect("a pull");
        batch.next().await.expect("a message").expect("it is taken");
    }

    /// Makes the runtime's consumer as versions did that had it on the broker's disk.
    pub async fn keep_the_consumer_on_disk(&self) {
        let stream = jetstream::new(self.tester.clone()).get_stream("TRIGGERS").await;
        let stream = stream.expect("the stream");
        let consumer = stream.get_consumer("fermata").await;
        let consumer: jetstream::consumer::PullConsumer = consumer.expect("the consumer");
        let mut config = consumer.cached_info().config.clone();
        config.memory_storage = false;
        let config = jetstream::consumer::pull::Config::try_from_consumer_config(config);
        stream.delete_consumer("fermata").await.expect("it is deleted");
        stream.create_consumer(config.expect("of pulls")).await.expect("it is made");
    }

    pub async fn is_consumer_on_disk(&self) -> bool {
        let stream = jetstream::new(self.tester.clone()).get_stream("TRIGGERS").await;
        let info = stream.expect("the stream").consumer_info("fermata").await;
        !info.expect("the consumer").config.memory_storage
    }

    /// How often the broker has delivered a message to the runtime.
    pub async fn deliveries(&self) -> u64 {
        let stream = jetstream::new(self.tester.clone()).get_stream("TRIGGERS").await;
        let consumer = stream.expect("the stream").get_consumer("fermata").await;
        let consumer: jetstream::consumer::PullConsumer = consumer.expect("the consumer");
        consumer.cached_info().delivered.consumer_sequence
    }

    /// What the broker keeps of stores has from now on at most so many bytes.
    pub async fn limit_records(&self, bytes: i32) {
        let context = jetstream::new(self.tester.clone());
        let stream = context.get_stream("STORES").await.expect("the stream");
        let mut config = stream.cached_info().config.clone();
        config.max_message_size = bytes;
        context.update_stream(config).await.expect("it is changed");
    }

    /// Messages that the stream still holds.
    pub async fn stream_messages(&self) -> u64 {
        let stream = jetstream::new(self.tester.clone()).get_stream("TRIGGERS").await;
        stream.map_or(u64::MAX, |it| it.cached_info().state.messages)
    }

    /// A service on one subject; each request goes through the script, which answers or not.
    pub async fn service(
        &self,
        subject: &'static str,
        mut script: impl FnMut(usize, &Message) -> Option<Said> + Send + 'static,
    ) -> Service {
        let mut requests = self.tester.subscribe(subject).await.expect("a subscription");
        self.tester.flush().await.expect("it is with the broker");
        let (client, (heard, calls)) = (self.tester.clone(), mpsc::unbounded_channel());
        let task = tokio::spawn(async move {
            let mut number = 0;
            while let Some(request) = requests.next().await {
                if let Some(said) = script(number, &request) {
                    said.send(&client, request.reply.clone().expect("a reply subject")).await;
                }
                number += 1;
                if heard.send(request).is_err() {
                    return;
                }
            }
        });
        Service { calls, task }
    }

    /// Services that do what they are asked.
    pub async fn services(&self) -> [Service; 3] {
        [
            self.service("inventory.reserve", |_, _| Some(Said::ok())).await,
            self.service("inventory.release", |_, _| Some(Said::ok())).await,
            self.service("inventory.ship", |_, _| Some(Said::ok())).await,
        ]
    }
}

fn copied(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.expect("cp runs").success());
}

/// What a service says.
pub struct Said {
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Said {
    pub fn ok() -> Said {
        Said { headers: vec![("Fermata-Outcome", "ok".into())], body: r#"{"done":true}"#.into() }
    }

    pub fn with(headers: &[(&'static str, &str)], body: &str) -> Said {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Said { headers, body: body.to_owned() }
    }

    pub async fn send(self, client: &Client, reply: async_nats::Subject) {
        let mut headers = HeaderMap::new();
        self.headers.iter().for_each(|(name, value)| headers.insert(*name, value.as_str()));
        client.publish_with_headers(reply, headers, self.body.into()).await.expect("it is sent");
    }
}

/// A service, until it is dropped.
pub struct Service {
    calls: mpsc::UnboundedReceiver<Message>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Service {
    /// The next request that it heard.
    pub async fn heard(&mut self) -> Message {
        let heard = tokio::time::timeout(PATIENCE, self.calls.recv()).await;
        heard.expect("a request comes").expect("the service runs")
    }

    /// All that it has heard and nobody has looked at.
    pub fn all(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.calls.try_recv().ok()).collect()
    }
}

pub fn header(message: &Message, name: &str) -> String {
    let headers = message.headers.as_ref();
    headers.and_then(|it| it.get(name)).map_or(String::new(), |it| it.as_str().to_owned())
}

/// The runtime has the permissions of `deploy/`; the tester may do everything.
fn write_nats_conf(dir: &Path, port: u16) {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/nats-users.conf");
    fs::copy(deploy, dir.join("nats-users.conf")).expect("the users of deploy/");
    // The server refuses variables that nobody uses.
    let users = USERS.map(|it| format!("$USER_{it}")).join(", ");
    let conf = format!(
        "listen: 127.0.0.1:{port}\njetstream {{ store_dir: {:?} }}\ninclude \"nats-users.conf\"\n\
         authorization {{ users: [ {users}, {{ user: tester, password: t }} ] }}\n",
        dir.join("nats")
    );
    fs::write(dir.join("nats.conf"), conf).expect("a configuration");
}

fn start_nats(dir: &Path) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("nats.log"));
    let passwords = USERS.map(|it| (format!("{it}_NATS_PASSWORD"), "f"));
    let mut child = Command::new(nats_server());
    child.arg("-c").arg(dir.join("nats.conf")).envs(passwords);
    child.stdout(Stdio::null()).stderr(log.expect("a log"));
    child.spawn().expect("nats-server starts")
}

/// `NATS_SERVER`, else what is in PATH, else what `deploy/` has fetched.
fn nats_server() -> PathBuf {
    if let Some(path) = env::var_os("NATS_SERVER") {
        return path.into();
    }
    let paths = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&paths).map(|it| it.join("nats-server"));
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = target.unwrap_or_else(|| root.join("target"));
    let fetched = [target, root.join("target")].map(|it| it.join("tools/nats/bin/nats-server"));
    let found = in_path.chain(fetched).find(|it| it.is_file());
    found.expect("a nats-server: set NATS_SERVER, put it into PATH, or run deploy/test")
}

/// The text of a file descriptor's output.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut bytes = bytes;
    bytes.read_to_string(&mut text).expect("text");
    text
}

/// The arguments that a child process got, one a line.
pub fn child_args() -> Option<Vec<std::ffi::OsString>> {
    let args = env::var(CHILD_ARGS).ok()?;
    let program = OsStr::new("fermata").to_owned();
    Some(std::iter::once(program).chain(args.lines().map(Into::into)).collect())
}
