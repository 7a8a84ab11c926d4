//! Messages of a process to itself, whose return says that all it sent before has arrived.

use super::link::Link;
use async_nats::{Client, SubscribeError, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};
use uuid::Uuid;

/// Begins the subjects of a process's echoes, within its user's own inbox; their numbers follow.
/// Another process of this user, as a copy of this one, has its own.
pub(super) fn prefix(user: &str) -> String {
    format!("_INBOX_{user}.echo.{}.", Uuid::from_bytes(rand::random()).simple())
}

/// Sends them. Clones share the numbers.
#[derive(Clone, Debug)]
pub(super) struct Echo {
    client: Client,
    link: watch::Receiver<Link>,
    /// The number of the newest one that the server has refused us.
    refused: watch::Receiver<u64>,
    /// Begins their subjects.
    prefix: String,
    waiting: Arc<Mutex<Waiting>>,
    /// Ends with the last clone, as it would keep the connection.
    _hearing: Arc<JoinSet<()>>,
}

/// Those that are not back.
#[derive(Debug, Default)]
struct Waiting {
    /// How many were sent; each has its number.
    sent: u64,
    echoes: HashMap<u64, oneshot::Sender<()>>,
}

impl Echo {
    /// Hears them by one subscription, until the last clone is dropped.
    pub(super) async fn start(
        client: Client,
        link: watch::Receiver<Link>,
        refused: watch::Receiver<u64>,
        prefix: String,
    ) -> Result<Echo, SubscribeError> {
        // The server takes it before the first echo, and before all others on a later connection.
        let echoes = client.subscribe(format!("{prefix}*")).await?;
        let waiting = Arc::<Mutex<Waiting>>::default();
        let mut hearing = JoinSet::new();
        hearing.spawn(hear(echoes, Arc::clone(&waiting)));
        Ok(Echo { client, link, refused, prefix, waiting, _hearing: Arc::new(hearing) })
    }

    /// Waits until one is back. The server's refusal of it is as good: both come after everything
    /// before them. Without a connection that may be never; one that is closed for good ends it.
    pub(super) async fn is_back(&self) {
        let (mut link, mut refused) = (self.link.clone(), self.refused.clone());
        let (number, mut echo) = self.expect();
        let subject = format!("{}{number}", self.prefix);
        if self.client.publish(subject, Bytes::new()).await.is_err() {
            return;
        }
        tokio::select! {
            // It ends without an echo when nothing is heard any more: the connection closes.
            Ok(()) = &mut echo.back => (),
            _ = refused.wait_for(|refused| *refused >= number) => (),
            _ = link.wait_for(|link| matches!(link, Link::Closed)) => (),
        }
    }

    fn expect(&self) -> (u64, Expected<'_>) {
        let (back, echo) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        waiting.sent += 1;
        let number = waiting.sent;
        waiting.echoes.insert(number, back);
        (number, Expected { number, back: echo, waiting: &self.waiting })
    }
}

/// Nobody waits for it any more when this is dropped.
struct Expected<'a> {
    number: u64,
    back: oneshot::Receiver<()>,
    waiting: &'a Mutex<Waiting>,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        lock(self.waiting).echoes.remove(&self.number);
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    // Nothing panics while it holds the lock.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn hear(mut echoes: Subscriber, waiting: Arc<Mutex<Waiting>>) {
    while let Some(echo) = echoes.next().await {
        let number = echo.subject.rsplit('.').next().and_then(|it| it.parse().ok());
        let back = number.and_then(|number: u64| lock(&waiting).echoes.remove(&number));
        // Whoever waited may have left.
        back.map(|it| it.send(()));
    }
}
