//! Connecting, and leaving without losing what was sent.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, ServerAddr, jetstream};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::echo::{self, Echo};
use super::link::{Link, Links};
use super::pulse::Pulse;
use super::watch::{Refused, Watcher, connects};
use crate::config::{Secret, Source};
use crate::http::{Health, Metrics};
use crate::percent;

/// Events that wait for the watcher; it only counts and logs, so this is never full for long.
const EVENTS_MAX: usize = 1_024;
/// The first wait before a new attempt to connect; doubles from there.
const RECONNECT_MS_MIN: u64 = 50;
/// The longest wait: a broker that is back is found within a second.
pub(crate) const RECONNECT_MS_MAX: u64 = 1_000;
/// A machine that is down does not refuse: an attempt that hears nothing is given up then.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// JetStream and service requests answer within milliseconds or not at all.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// After a look at a server that is too old.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const URL_EXPECTED: &str = "a URL such as nats://user:password@host:4222 (or tls://)";

/// Where the broker is and who we are there.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// Shown in the broker's list of connections.
    pub name: String,
    /// With user and password; `tls://` asks for TLS.
    pub url: Secret,
    /// Certificates of the authority that signed the broker's; the system's own otherwise.
    pub ca_file: Option<PathBuf>,
}

impl NatsConfig {
    /// Reads `<PROCESS>_NATS_URL` and `<PROCESS>_NATS_CA_FILE`.
    pub fn read(source: &mut Source, process: &str) -> Option<NatsConfig> {
        let variable = format!("{process}_NATS_URL");
        let url = source.secret(&variable, URL_EXPECTED);
        let ca_file = source.optional(&format!("{process}_NATS_CA_FILE"), "the path of a file");
        let url = url?;
        if login_of(&url).is_none() {
            let found = "found something else (hidden)".into();
            return source.fault(&variable, found, URL_EXPECTED);
        }
        Some(NatsConfig { name: process.to_ascii_lowercase(), url, ca_file: ca_file? })
    }
}

/// Why the broker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The URL is none, or names no user.
    #[error("the NATS URL must look like nats://user:password@host:4222")]
    Url,
    /// The first attempt failed in a way that repeating it does not mend.
    #[error("cannot connect to NATS: {0}")]
    Connect(#[from] async_nats::ConnectError),
    /// The server lacks what we rely on.
    #[error("the NATS server has version {found}, at least {wanted} is needed: upgrade it")]
    Version {
        /// What the server says.
        found: String,
        /// What we need.
        wanted: &'static str,
    },
    /// The connection was closed for good.
    #[error("the NATS connection is closed")]
    Closed,
    /// A stream cannot be created or read.
    #[error("cannot set up the stream {name}: {reason}")]
    Stream {
        /// The stream's name.
        name: String,
        /// What the server says.
        reason: String,
    },
    /// The server applied other settings than those asked for.
    #[error("the stream {name} has other settings than asked for: {}", differences.join("; "))]
    StreamDiffers {
        /// The stream's name.
        name: String,
        /// One line per setting.
        differences: Vec<String>,
    },
    /// A configured prefix of event subjects is malformed or overlaps another.
    #[error("the event prefix {prefix:?} cannot be used: {reason}")]
    Prefix {
        /// As configured.
        prefix: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// A connection that reconnects for ever. Clones share it.
#[derive(Clone, Debug)]
pub struct Nats {
    client: Client,
    link: watch::Receiver<Link>,
    links: Links,
    echo: Echo,
    pulse: Pulse,
    /// The subjects that it has refused us.
    refused_subjects: watch::Receiver<Refused>,
    /// The number of the last connection that those who hold this handle may use.
    allowed: watch::Receiver<u64>,
}

/// The subjects that the server refuses us to publish on, as it does.
#[derive(Debug)]
pub struct Refusals {
    refused: watch::Receiver<Refused>,
    /// How many were told.
    told: u64,
}

impl Refusals {
    /// Waits for refusals, and gives their subjects. Nothing is lost when this is dropped before.
    pub async fn next(&mut self) -> Vec<String> {
        let told = self.told;
        let Ok(refused) = self.refused.wait_for(|it| told < it.count()).await else {
            // The connection is closed: nothing is refused any more.
            return std::future::pending().await;
        };
        self.told = refused.count();
        refused.after(told).map(str::to_owned).collect()
    }
}

impl Nats {
    /// Starts connecting and returns at once: the broker may come later. The gate `nats` of
    /// `health` opens while there is a connection to a server that is new enough, and `echo` while
    /// this process is in touch with it.
    ///
    /// # Errors
    /// When the URL is malformed or the options cannot be used.
    pub async fn connect(
        config: &NatsConfig,
        health: &Health,
        metrics: &Metrics,
    ) -> Result<Nats, NatsError> {
        let Login { user, password } = login_of(&config.url).ok_or(NatsError::Url)?;
        let prefix = echo::prefix(&user);
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        let mut options = ConnectOptions::new()
            .name(&config.name)
            .custom_inbox_prefix(format!("_INBOX_{user}"))
            // The client does not take them from the URL by itself.
            .user_and_password(user, password)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .connection_timeout(CONNECT_WITHIN)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                let events = events.clone();
                async move {
                    // The watcher ends after the last event; nobody listens then.
                    let _ended = events.send(event).await;
                }
            });
        if let Some(path) = &config.ca_file {
            options = options.add_root_certificates(path.clone());
        }
        let client = options.connect(config.url.expose()).await?;
        let (gate, in_touch) = (health.gate("nats"), health.gate("echo"));
        let (links, link) = Links::new();
        let (refused, refused_subjects) =
            Watcher::start(client.clone(), inbox, gate, metrics, links.clone(), &prefix);
        let echo = Echo::start(client.clone(), link.clone(), refused, prefix);
        let echo = echo.await.map_err(|_| NatsError::Closed)?;
        let pulse = Pulse::start(echo.clone(), links.clone(), link.clone(), in_touch, metrics);
        // Nobody holds it up; what was said stays.
        let (_said, allowed) = watch::channel(u64::MAX);
        Ok(Nats { client, link, links, echo, pulse, refused_subjects, allowed })
    }

    /// The same broker for those who may use it on the connections up to this number alone: on any
    /// later one it is away for them until that is allowed too.
    #[must_use]
    pub fn behind(&self, allowed: watch::Receiver<u64>) -> Nats {
        Nats { allowed, ..self.clone() }
    }

    /// The client, for core messages.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A JetStream context on the client.
    #[must_use]
    pub fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client.clone())
    }

    /// The run of the server at the other end: one that was started anew is another.
    #[must_use]
    pub fn server(&self) -> Uuid {
        let id = Sha256::digest(self.client.server_info().server_id);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&id[..16]);
        Uuid::from_bytes(bytes)
    }

    /// Whether there is a connection to a server that is new enough, which may be used, and this
    /// process is in touch with it.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up().is_some()
    }

    /// The number of such a connection, if there is one.
    #[must_use]
    pub fn up(&self) -> Option<u64> {
        let Link::Up(number) = *self.link.borrow() else { return None };
        self.is_on(number).then_some(number)
    }

    /// Waits until there is such a connection.
    ///
    /// # Errors
    /// When the server is too old, or the connection was closed.
    pub async fn ready(&self) -> Result<(), NatsError> {
        self.connection().await.map(drop)
    }

    /// As [`Nats::ready`]; gives the number of the connection.
    ///
    /// # Errors
    /// As for that.
    pub async fn connection(&self) -> Result<u64, NatsError> {
        let (mut link, mut allowed) = (self.link.clone(), self.allowed.clone());
        // Who would say so is gone: the process is ending.
        let ending = |_: watch::error::RecvError| NatsError::Closed;
        // Before anything was allowed it matters to nobody what the server is.
        allowed.wait_for(|it| 0 < *it).await.map_err(ending)?;
        loop {
            let settled = |link: &Link| !matches!(link, Link::Down);
            let number = match link.wait_for(settled).await.as_deref() {
                Ok(Link::Up(number)) => *number,
                Ok(Link::TooOld { found, wanted }) => {
                    return Err(NatsError::Version { found: found.clone(), wanted });
                }
                Ok(Link::Closed | Link::Down) | Err(_) => return Err(NatsError::Closed),
            };
            tokio::select! {
                it = allowed.wait_for(|it| number <= *it) => it.map(drop).map_err(ending)?,
                () = self.broken(number) => continue,
            }
            tokio::select! {
                () = self.pulse.steady(number) => (),
                () = self.broken(number) => continue,
            }
            if self.is_on(number) {
                return Ok(number);
            }
            // It has another one, which gets its number in a moment.
            tokio::task::yield_now().await;
        }
    }

    /// As [`Nats::ready`], but waits also for a server that is new enough. False when the
    /// connection is closed for good.
    pub async fn is_there(&self) -> bool {
        loop {
            match self.ready().await {
                Ok(()) => return true,
                Err(NatsError::Closed) => return false,
                // A broker that is too old may be replaced by one that is not.
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }

    /// Waits until the connection of this number is no more. One on which this process was out of
    /// touch for so long that another may have replaced it has another number from then on.
    pub async fn broken(&self, number: u64) {
        let mut link = self.link.clone();
        // The watcher ends after the last connection.
        let _ended = link.wait_for(|it| *it != Link::Up(number)).await;
    }

    /// Whether it is still the connection of this number, may be used, and works in this moment.
    #[must_use]
    pub fn is_on(&self, number: u64) -> bool {
        *self.link.borrow() == Link::Up(number)
            && number <= *self.allowed.borrow()
            && self.links.knows(connects(&self.client))
            && self.pulse.is_steady(number)
    }

    /// Waits until the server refuses us to publish on this subject; what was refused before does
    /// not count.
    pub async fn refused(&self, subject: &str) {
        let mut refused = self.refused_subjects.clone();
        let before = refused.borrow().count();
        let is_new = |refused: &Refused| refused.after(before).any(|it| it == subject);
        if refused.wait_for(is_new).await.is_err() {
            // The connection is closed: nothing is refused any more.
            std::future::pending::<()>().await;
        }
    }

    /// What the server refuses from now on.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        let refused = self.refused_subjects.clone();
        let told = refused.borrow().count();
        Refusals { refused, told }
    }

    /// Waits until the connection is closed for good. When that is not our doing, the process can
    /// only end: the next one connects anew.
    pub async fn closed(&self) {
        let mut link = self.link.clone();
        // The watcher, too, ends after the client.
        let _ended = link.wait_for(|link| matches!(link, Link::Closed)).await;
    }

    /// Ends the subscriptions, and waits until the server has what was sent and the connection is
    /// closed: at most `within`, after which `false` says that something may not have left.
    ///
    /// Stop pulls and await publish acknowledgements first.
    pub async fn close(&self, within: Duration) -> bool {
        let closing = async {
            self.arrived().await;
            // It fails only when the connection is gone already.
            let _gone = self.client.drain().await;
            self.closed().await;
        };
        let closed = tokio::time::timeout(within, closing).await.is_ok();
        if !closed {
            tracing::warn!("the NATS connection did not close in time");
        }
        closed
    }

    /// Waits until the server has taken all that was published and subscribed before; bound it,
    /// since without a connection that may be never.
    ///
    /// The client's `flush` does not say that: under load it returns before its buffer is empty,
    /// and `drain` then drops the rest.
    pub async fn arrived(&self) {
        self.echo.is_back().await;
    }
}

fn reconnect_delay(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    Duration::from_millis((RECONNECT_MS_MIN << doublings).min(RECONNECT_MS_MAX))
}

struct Login {
    user: String,
    password: String,
}

/// The user's name becomes part of subjects, so it is one plain token. A password in a URL has its
/// reserved characters escaped.
fn login_of(url: &Secret) -> Option<Login> {
    let url = ServerAddr::from_str(url.expose()).ok()?;
    let (user, password) = (url.username()?, url.password()?);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let login = || Login { user: user.into(), password: percent::decoded(password) };
    (!user.is_empty() && user.bytes().all(plain)).then(login)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_read_from_the_url() {
        let url = |text: &str| Secret::new(text.into());
        let login = login_of(&url("nats://order:a%40b+%2F=c&d%@127.0.0.1:4222")).expect("a login");
        assert_eq!((login.user.as_str(), login.password.as_str()), ("order", "a@b+/=c&d%"));
        for bad in ["", "nats://h:4222", "nats://a.b:c@h", "nats://a*:c@h", "nats://a@h"] {
            assert!(login_of(&url(bad)).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_waits_between_attempts_double_up_to_a_second() {
        let delays: Vec<_> = [0, 1, 2, 5, 6, usize::MAX].map(reconnect_delay).into();
        let wanted = [50, 50, 100, 800, 1_000, 1_000].map(Duration::from_millis);
        assert_eq!(delays, wanted);
    }
}
