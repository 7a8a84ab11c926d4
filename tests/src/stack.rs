//! A whole system of its own: a real nats-server and real binaries, on free ports and in a
//! directory of its own, to kill and to freeze.

use crate::{
    Failure,
    client::{Api, As},
    until,
};
use chassis::reserved_port;
use reqwest::Method;
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, create_dir_all, read_to_string},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// How long a process may take to be ready on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The processes of a system, in the order in which they start.
pub const PROCESSES: [&str; 8] = [
    "nats-server",
    "fermata",
    "order",
    "payment",
    "warehouse",
    "delivery",
    "notification",
    "sandbox",
];

/// A running system; dropping it kills what it started and removes its data.
pub struct Stack {
    dir: TempDir,
    /// The binary that is the runtime.
    runtime: &'static str,
    env: BTreeMap<String, String>,
    api: Api,
    running: BTreeMap<&'static str, Child>,
}

impl Stack {
    /// Starts everything, and waits until all are ready. `settings` are variables of the
    /// environment that win over `deploy/dev.env`.
    ///
    /// # Errors
    /// Something is missing, or did not become ready: the message has the end of its log.
    pub async fn start(settings: &[(&str, &str)]) -> Result<Stack, Failure> {
        Stack::with_runtime("fermata", settings).await
    }

    /// As [`Stack::start`], with this binary as the runtime.
    ///
    /// # Errors
    /// Something is missing, or did not become ready: the message has the end of its log.
    pub async fn with_runtime(
        runtime: &'static str,
        settings: &[(&str, &str)],
    ) -> Result<Stack, Failure> {
        let dir = tempfile::tempdir().map_err(|err| format!("no temporary directory: {err}"))?;
        Stack::start_in(dir, runtime, settings).await
    }

    /// As [`Stack::start`], with data and logs below this directory.
    ///
    /// # Errors
    /// Something is missing, or did not become ready: the message has the end of its log.
    pub async fn start_below(parent: &Path, settings: &[(&str, &str)]) -> Result<Stack, Failure> {
        let failed = |err: std::io::Error| format!("failed to make {}: {err}", parent.display());
        create_dir_all(parent).map_err(failed)?;
        let dir = tempfile::Builder::new().prefix("run-").tempdir_in(parent).map_err(failed)?;
        Stack::start_in(dir, "fermata", settings).await
    }

    async fn start_in(
        dir: TempDir,
        runtime: &'static str,
        settings: &[(&str, &str)],
    ) -> Result<Stack, Failure> {
        let mut env = dev_env()?;
        place(&mut env, dir.path())?;
        let settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        env.extend(settings.collect::<Vec<(String, String)>>());
        let api = Api::of(&env)?;
        let mut stack = Stack { dir, runtime, env, api, running: BTreeMap::new() };
        for process in PROCESSES {
            stack.spawn(process)?;
        }
        for process in PROCESSES {
            stack.ready(process).await?;
        }
        Ok(stack)
    }

    /// Its public APIs.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Its environment: addresses, tokens, secrets.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Lets data and logs be after the end, for whoever looks for a fault in them.
    pub fn keep(&mut self) -> &Path {
        self.dir.disable_cleanup(true);
        self.dir.path()
    }

    /// Where mails stand when there is no mail server.
    pub fn spool(&self) -> PathBuf {
        self.dir.path().join("spool")
    }

    /// Starts a process; what it says goes to its log.
    ///
    /// # Errors
    /// Its binary is missing.
    pub fn spawn(&mut self, process: &'static str) -> Result<(), Failure> {
        self.spawn_with(process, &[])
    }

    /// As [`Stack::spawn`], with more variables in its environment.
    ///
    /// # Errors
    /// Its binary is missing.
    pub fn spawn_with(
        &mut self,
        process: &'static str,
        settings: &[(&str, &str)],
    ) -> Result<(), Failure> {
        let log = OpenOptions::new().create(true).append(true).open(self.log(process));
        let log = log.map_err(|err| format!("no log for {process}: {err}"))?;
        let mut command = self.command(process)?;
        command.stdin(Stdio::null()).stdout(clone(&log)?).stderr(log).envs(settings.to_vec());
        let child = command.spawn().map_err(|err| format!("failed to start {process}: {err}"))?;
        self.running.insert(process, child);
        Ok(())
    }

    /// Stops a process as an operator does.
    ///
    /// # Errors
    /// It does not end well.
    pub async fn stop(&mut self, process: &'static str) -> Result<(), Failure> {
        self.signal(process, libc::SIGTERM)?;
        match self.ended(process).await? {
            Some(0) => Ok(()),
            code => Err(format!("{process} has ended with {code:?}")),
        }
    }

    /// Starts a process once with its store in this directory of the system's, where it must not
    /// serve; gives the end of what it said.
    ///
    /// # Errors
    /// It serves, or ends otherwise than refused.
    pub async fn refused(&mut self, process: &'static str, store: &str) -> Result<String, Failure> {
        let dir = self.dir.path().join(store).display().to_string();
        self.spawn_with(process, &[(&format!("{}_DATA_DIR", process.to_uppercase()), &dir)])?;
        let ended = tokio::time::timeout(READY_WITHIN, self.ended(process)).await;
        let is_not = |_| format!("{process} is not refused\n{}", self.end_of_log(process));
        let code = ended.map_err(is_not)??;
        let said = self.end_of_log(process);
        if code == Some(78) { Ok(said) } else { Err(format!("ended with {code:?}: {said}")) }
    }

    /// Stops the runtime as an operator does, and starts this binary over what it leaves behind.
    ///
    /// # Errors
    /// It does not end well, or the other one is not ready.
    pub async fn deploy(
        &mut self,
        runtime: &'static str,
        settings: &[(&str, &str)],
    ) -> Result<(), Failure> {
        self.stop("fermata").await?;
        self.runtime = runtime;
        self.spawn_with("fermata", settings)?;
        self.ready("fermata").await
    }

    /// Waits until the process answers that it is ready.
    ///
    /// # Errors
    /// It is not, after a long time; the message has the end of its log.
    pub async fn ready(&self, process: &'static str) -> Result<(), Failure> {
        let ready = self.readiness(process)?;
        ready.await.map_err(|why| format!("{why}\n{}", self.end_of_log(process)))
    }

    /// As [`Stack::ready`], for whoever must not hold on to the system meanwhile.
    ///
    /// # Errors
    /// It has no address.
    pub fn readiness(
        &self,
        process: &'static str,
    ) -> Result<impl Future<Output = Result<(), Failure>> + use<>, Failure> {
        let (api, address) = (self.api.clone(), self.address(process)?);
        Ok(async move {
            let what = format!("{process} is ready");
            until(&what, READY_WITHIN, || is_ready(&api, process, &address)).await
        })
    }

    /// Kills a process as a power cut would, and does not start it again.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self, process: &'static str) -> Result<(), Failure> {
        let child = self.running.remove(process);
        let mut child = child.ok_or_else(|| format!("{process} does not run"))?;
        child.kill().map_err(|err| format!("failed to kill {process}: {err}"))?;
        child.wait().map_err(|err| format!("failed to wait for {process}: {err}"))?;
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, process: &'static str, signal: libc::c_int) -> Result<(), Failure> {
        let child = self.running.get(process).ok_or_else(|| format!("{process} does not run"))?;
        let pid = libc::pid_t::try_from(child.id()).map_err(|err| err.to_string())?;
        #[allow(unsafe_code, reason = "the standard library has no way to stop and go on")]
        // SAFETY: the process is our child and not yet waited for, so the id is its own.
        let res = unsafe { libc::kill(pid, signal) };
        if res == 0 { Ok(()) } else { Err(format!("failed to signal {process}")) }
    }

    /// The id of a process.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self, process: &str) -> Result<u32, Failure> {
        let child = self.running.get(process);
        child.map(Child::id).ok_or_else(|| format!("{process} does not run"))
    }

    /// Whether a process has ended by itself; it does not run any more then.
    ///
    /// # Errors
    /// It did not run.
    pub fn has_ended(&mut self, process: &'static str) -> Result<bool, Failure> {
        let child = self.running.get_mut(process);
        let child = child.ok_or_else(|| format!("{process} does not run"))?;
        let has_ended = child.try_wait().map_err(|err| err.to_string())?.is_some();
        if has_ended {
            self.running.remove(process);
        }
        Ok(has_ended)
    }

    /// Waits for the end of a process that was told to stop, and gives its exit code.
    ///
    /// # Errors
    /// It does not end.
    pub async fn ended(&mut self, process: &'static str) -> Result<Option<i32>, Failure> {
        let child = self.running.remove(process);
        let mut child = child.ok_or_else(|| format!("{process} does not run"))?;
        loop {
            match child.try_wait().map_err(|err| err.to_string())? {
                Some(status) => return Ok(status.code()),
                None => tokio::time::sleep(crate::LOOK_EVERY).await,
            }
        }
    }

    /// The last lines of a process's log.
    pub fn end_of_log(&self, process: &str) -> String {
        let log = read_to_string(self.log(process)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn log(&self, process: &str) -> PathBuf {
        self.dir.path().join(format!("{process}.log"))
    }

    fn address(&self, process: &str) -> Result<String, Failure> {
        let name = match process {
            "nats-server" => "NATS_ADDR".to_owned(),
            other => format!("{}_HTTP_ADDR", other.to_uppercase()),
        };
        self.env.get(&name).cloned().ok_or_else(|| format!("{name} is not set"))
    }

    fn command(&self, process: &'static str) -> Result<Command, Failure> {
        let mut command = match process {
            "nats-server" => {
                let (_, port) = split(&self.address(process)?)?;
                let mut command = Command::new(nats_server()?);
                let conf = self.env.get("NATS_CONF").map(PathBuf::from);
                command.arg("-c").arg(conf.unwrap_or_else(|| root().join("deploy/nats.conf")));
                command.args(["-a", "127.0.0.1", "-p", &port]);
                command
            }
            "fermata" => {
                let mut command = Command::new(binary(self.runtime)?);
                command.arg("serve");
                command
            }
            other => Command::new(binary(other)?),
        };
        command.env_clear().envs(&self.env).current_dir(root());
        if let ("nats-server", Some(dir)) = (process, self.env.get("NATS_STORE_DIR")) {
            // It reads the value as a piece of its configuration: a path may have spaces.
            let quoted = dir.replace('\\', "\\\\").replace('"', "\\\"");
            command.env("NATS_STORE_DIR", format!("\"{quoted}\""));
        }
        Ok(command)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            // What has ended already cannot be killed; either way it is gone afterwards.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn is_ready(api: &Api, process: &str, address: &str) -> Result<(), Failure> {
    let url = match process {
        "nats-server" => {
            let connected = tokio::net::TcpStream::connect(address).await;
            return connected.map(|_| ()).map_err(|err| err.to_string());
        }
        "sandbox" => format!("http://{address}/livez"),
        _ => format!("http://{address}/readyz"),
    };
    api.ask(As::Anyone, Method::GET, &url, None).await?.expect(200).map(|_| ())
}

fn clone(file: &File) -> Result<File, Failure> {
    file.try_clone().map_err(|err| format!("failed to share a log: {err}"))
}

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The plain lines of `deploy/dev.env`.
///
/// # Errors
/// It cannot be read.
pub fn dev_env() -> Result<BTreeMap<String, String>, Failure> {
    let path = root().join("deploy/dev.env");
    let text = read_to_string(&path).map_err(|err| format!("{}: {err}", path.display()))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// Gives everything a free port and a place in the directory.
fn place(env: &mut BTreeMap<String, String>, dir: &Path) -> Result<(), Failure> {
    let nats = reserved_port().to_string();
    let mut ports = BTreeMap::from([("4222".to_owned(), nats.clone())]);
    for (_, usual) in env.iter().filter(|it| it.0.ends_with("_HTTP_ADDR")) {
        ports.insert(port_of(usual)?, reserved_port().to_string());
    }
    for value in env.values_mut() {
        *value = moved(value, &ports);
        if let Some(rest) = value.strip_prefix("target/fermata/") {
            *value = dir.join(rest).display().to_string();
        }
    }
    env.insert("NATS_ADDR".to_owned(), format!("127.0.0.1:{nats}"));
    for name in ["PATH", "HOME", "RUST_BACKTRACE"] {
        if let Ok(value) = std::env::var(name) {
            env.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

fn port_of(address: &str) -> Result<String, Failure> {
    split(address).map(|it| it.1)
}

/// The value with each port replaced, once: a new port may look like the begin of a usual one.
fn moved(value: &str, ports: &BTreeMap<String, String>) -> String {
    const HOST: &str = "127.0.0.1:";
    let mut parts = value.split(HOST);
    let mut moved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|it: char| !it.is_ascii_digit()).unwrap_or(part.len());
        let (port, rest) = part.split_at(digits);
        moved += HOST;
        moved += ports.get(port).map_or(port, String::as_str);
        moved += rest;
    }
    moved
}

fn split(address: &str) -> Result<(String, String), Failure> {
    let parts = address.rsplit_once(':').ok_or_else(|| format!("{address} has no port"))?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

/// A binary of this workspace, beside the one that runs.
///
/// # Errors
/// It is not built.
pub fn binary(name: &str) -> Result<PathBuf, Failure> {
    let ours = std::env::current_exe().map_err(|err| format!("where are we? {err}"))?;
    let near = ours.ancestors().skip(1).take(2).map(|it| it.join(name));
    let found = near.into_iter().find(|it| it.is_file());
    found.ok_or_else(|| format!("no binary {name}: run `cargo build --workspace --bins` first"))
}

/// The nats-server: named by the environment, in the PATH, or where `deploy/test` puts it.
pub(crate) fn nats_server() -> Result<PathBuf, Failure> {
    let named = std::env::var_os("NATS_SERVER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|it| it.join("nats-server"));
    let tools = root().join("target/tools/bin/nats-server");
    let mut candidates = named.into_iter().chain(in_path).chain([tools]);
    let found = candidates.find(|it| it.is_file());
    found.ok_or_else(|| "no nats-server: run deploy/test, or set NATS_SERVER".to_owned())
}

/// A Python that has the packages of `tests/python/requirements.txt`.
///
/// # Errors
/// There is none.
pub fn python() -> Result<PathBuf, Failure> {
    let named = std::env::var_os("FERMATA_PYTHON").map(PathBuf::from);
    let tools = root().join("target/tools/python/bin/python");
    let found = named.into_iter().chain([tools]).find(|it| it.is_file());
    found.ok_or_else(|| "no Python with the packages of the suite: run deploy/test".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_moved_once_and_whole() {
        let ports = [("3001", "30015"), ("3000", "22151"), ("4222", "3001")];
        let ports = ports.map(|(old, new)| (old.to_owned(), new.to_owned())).into();
        assert_eq!(moved("127.0.0.1:3001", &ports), "127.0.0.1:30015");
        let urls = "nats://a:b@127.0.0.1:4222,http://127.0.0.1:3000/x";
        assert_eq!(moved(urls, &ports), "nats://a:b@127.0.0.1:3001,http://127.0.0.1:22151/x");
        assert_eq!(moved("127.0.0.1:30001 and no port", &ports), "127.0.0.1:30001 and no port");
    }
}
