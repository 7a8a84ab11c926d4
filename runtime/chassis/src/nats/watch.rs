//! Turns the client's asynchronous events into state, counts and log lines.

use std::{collections::VecDeque, sync::atomic::Ordering, time::Duration};

use async_nats::{Client, Event, ServerError, connection::State};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, watch};

use super::link::{Link, Links};
use crate::http::{Gate, Metrics};

/// Atomic batches, scheduled messages and the stream settings that we compare came with 2.12.
const VERSION_MIN: (u64, u64) = (2, 12);
const VERSION_MIN_TEXT: &str = "2.12.0";

/// Only a connection that is lost at once lets this pass.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// For a connection of which nothing was told.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Answers of services go to subjects that begin so. The broker lets a service answer each request
/// once, so one that was asked again while it slept is refused what it says again.
const REPLIES: &str = "fermata.reply.";

/// Refusals that are remembered: each is looked at as soon as it comes.
const REFUSED_MAX: usize = 256;

/// The last publishes that the broker refused us, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused {
    count: u64,
    last: VecDeque<String>,
}

impl Refused {
    fn add(&mut self, subject: &str) {
        if REFUSED_MAX <= self.last.len() {
            self.last.pop_front();
        }
        self.last.push_back(subject.to_owned());
        self.count += 1;
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The subjects of those that came after so many.
    pub(super) fn after(&self, count: u64) -> impl Iterator<Item = &str> {
        let news = usize::try_from(self.count.saturating_sub(count)).unwrap_or(usize::MAX);
        let known = self.last.len().saturating_sub(news);
        self.last.iter().skip(known).map(String::as_str)
    }
}

/// Owns what the events change.
pub(super) struct Watcher {
    client: Client,
    gate: Gate,
    links: Links,
    /// The number of the newest echo that the server has refused.
    refused: watch::Sender<u64>,
    refused_subjects: watch::Sender<Refused>,
    repeats: Counter,
    reconnects: Counter,
    slow_consumers: Counter,
    refusals: Counter,
    /// Whether something was said of this outage: attempts fail every second.
    has_said: bool,
    /// Whether it was said that the server refuses echoes.
    has_told: bool,
    /// Begins the subjects of this process's echoes.
    echoes: String,
}

impl Watcher {
    /// Starts the task; it ends when the connection is closed.
    pub(super) fn start(
        client: Client,
        mut events: mpsc::Receiver<Event>,
        gate: Gate,
        metrics: &Metrics,
        links: Links,
        echoes: &str,
    ) -> (watch::Receiver<u64>, watch::Receiver<Refused>) {
        let (refused, refused_receiver) = watch::channel(0);
        let (refused_subjects, subjects_receiver) = watch::channel(Refused::default());
        gate.close("not connected yet");
        let mut watcher = Watcher {
            client,
            gate,
            links,
            refused,
            refused_subjects,
            repeats: metrics.counter(
                "nats_repeated_answers",
                "Answers that the broker did not take, as the request was answered before",
            ),
            reconnects: metrics.counter("nats_connects", "Connections made to the broker"),
            slow_consumers: metrics
                .counter("nats_slow_consumers", "Times a subscription was full and lost messages"),
            refusals: metrics.counter("nats_refusals", "Subjects that the broker refused us"),
            has_said: false,
            has_told: false,
            echoes: echoes.to_owned(),
        };
        tokio::spawn(async move {
            let mut looks = tokio::time::interval(LOOK_EVERY);
            loop {
                tokio::select! {
                    biased;
                    event = events.recv() => match event {
                        Some(event) => watcher.on(event).await,
                        None => return watcher.ended(),
                    },
                    _ = looks.tick() => watcher.look().await,
                }
            }
        });
        (refused_receiver, subjects_receiver)
    }

    async fn on(&mut self, event: Event) {
        match event {
            // It may have been looked at a moment ago.
            Event::Connected if self.is_told() => (),
            Event::Connected => self.connected().await,
            Event::Disconnected => {
                tracing::warn!("lost the connection to NATS; reconnecting");
                self.gate.close("disconnected");
                self.links.set(Link::Down);
            }
            Event::Closed => {
                self.gate.close("closed");
                self.links.set(Link::Closed);
            }
            Event::SlowConsumer(subscription)
            | Event::ServerError(ServerError::SlowConsumer(subscription)) => {
                self.slow_consumers.inc();
                tracing::warn!(subscription, "a NATS subscription was full: messages were lost");
            }
            Event::ServerError(ServerError::AuthorizationViolation) => self.refused_login(),
            Event::ServerError(ServerError::Other(text)) => self.server_error(&text),
            Event::ClientError(error) => self.client_error(&error.to_string()),
            Event::LameDuckMode => tracing::warn!("the NATS server is going down"),
            Event::Draining => tracing::debug!("leaving NATS"),
        }
    }

    /// Nobody gives events any more. The client's task panics on headers that break the protocol,
    /// and no other one takes its place.
    fn ended(&mut self) {
        if !self.links.is(&Link::Closed) {
            tracing::error!("the NATS client has ended by itself: this process must start anew");
            self.gate.close("the client has ended");
            self.links.set(Link::Closed);
        }
    }

    /// The client drops events when too many wait, and so may have dropped this one.
    async fn look(&mut self) {
        let is_connected = self.client.connection_state() == State::Connected;
        if is_connected && !self.is_told() {
            self.connected().await;
        }
    }

    /// Whether everybody knows of the last connection.
    fn is_told(&self) -> bool {
        self.links.knows(connects(&self.client)) && !self.links.is(&Link::Down)
    }

    async fn connected(&mut self) {
        let connects = connects(&self.client);
        self.reconnects.inc();
        self.has_said = false;
        // The event comes before what the server said of itself is at hand; the connection's
        // task answers a flush after it has stored that.
        let _settled_or_gone = tokio::time::timeout(FLUSH_TIMEOUT, self.client.flush()).await;
        let found = self.client.server_info().version;
        if is_new_enough(&found) {
            tracing::info!(version = found, "connected to NATS");
            self.gate.open();
            self.links.up();
        } else {
            tracing::error!(version = found, needed = VERSION_MIN_TEXT, "the NATS server is old");
            self.gate.close(format!("the broker is {found}, needed is {VERSION_MIN_TEXT}"));
            self.links.set(Link::TooOld { found, wanted: VERSION_MIN_TEXT });
        }
        // Only now: what is known of the one before does not hold for this one.
        self.links.told(connects);
    }

    fn refused_login(&mut self) {
        self.gate.close("the broker refuses our user or password");
        if !std::mem::replace(&mut self.has_said, true) {
            tracing::error!(
                "NATS refuses our user or password: mend the URL of this process, or the server's"
            );
        }
    }

    /// While a connection is being made, what goes wrong comes as an error of the client.
    fn client_error(&mut self, text: &str) {
        if text.contains("authorization violation") {
            return self.refused_login();
        }
        if !self.links.is(&Link::Down) {
            return tracing::warn!(error = text, "NATS");
        }
        self.gate.close(format!("cannot reach the broker: {text}"));
        if !std::mem::replace(&mut self.has_said, true) {
            tracing::warn!(error = text, "cannot reach NATS; trying on");
        }
    }

    /// The text of a violation names the operation and the subject; neither is secret.
    fn server_error(&mut self, text: &str) {
        if !text.to_ascii_lowercase().starts_with("permissions violation") {
            tracing::warn!(error = text, "NATS");
        } else if let Some(number) = echo_number(text, &self.echoes) {
            self.refused.send_replace(number);
            if !std::mem::replace(&mut self.has_told, true) {
                tracing::warn!(
                    refusal = text,
                    "NATS refuses the echoes of this process, four a second: update this user"
                );
            }
        } else if repeated_answer(text) {
            self.repeats.inc();
            tracing::info!("NATS did not take an answer: it was given before");
        } else {
            self.refusals.inc();
            tracing::error!(refusal = text, "NATS refuses a subject: see this user's permissions");
            if let Some(subject) = published_on(text) {
                self.refused_subjects.send_modify(|it| it.add(subject));
            }
        }
    }
}

/// Whether a service says again what the broker has let it say.
pub(super) fn repeated_answer(text: &str) -> bool {
    published_on(text).is_some_and(|it| it.starts_with(REPLIES))
}

/// The subject of a refused publish: `… for Publish to "shop.told"`.
fn published_on(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("for Publish to \"")?;
    rest.strip_suffix('"')
}

/// The number of the echo that the server refuses: `… for Publish to "_INBOX_order.echo.7f.5"`.
/// The prefix is that of this process.
pub(super) fn echo_number(text: &str, prefix: &str) -> Option<u64> {
    published_on(text)?.strip_prefix(prefix)?.parse().ok()
}

/// Compares major and minor; what cannot be read is not new enough.
pub(super) fn is_new_enough(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split('.').map(str::parse::<u64>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= VERSION_MIN,
        _ => false,
    }
}

/// How many connections the client has had: it counts one before anything can come by it.
pub(super) fn connects(client: &Client) -> u64 {
    client.statistics().connects.load(Ordering::Acquire)
}
