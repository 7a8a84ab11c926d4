//! Messages of a process to itself, whose return says that all it sent before has arrived.

use super::link::Link;
use async_nats::Client;
use bytes::Bytes;
use futures::StreamExt as _;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::watch;

/// Stands, within a user's own inbox, before the number of an echo.
pub(super) const ECHO: &str = ".echo.";

/// Sends them. Clones share the numbers.
#[derive(Clone, Debug)]
pub(super) struct Echo {
    client: Client,
    link: watch::Receiver<Link>,
    /// The number of the newest one that the server has refused us.
    refused: watch::Receiver<u64>,
    sent: Arc<AtomicU64>,
    /// Begins their subjects.
    prefix: String,
}

impl Echo {
    pub(super) fn new(
        client: Client,
        link: watch::Receiver<Link>,
        refused: watch::Receiver<u64>,
        user: &str,
    ) -> Echo {
        let prefix = format!("_INBOX_{user}{ECHO}");
        Echo { client, link, refused, sent: Arc::default(), prefix }
    }

    /// Waits until one is back. The server's refusal of it is as good: both come after everything
    /// before them. Without a connection that may be never; one that is closed for good ends it.
    pub(super) async fn is_back(&self) {
        let number = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
        let subject = format!("{}{number}", self.prefix);
        let (mut link, mut refused) = (self.link.clone(), self.refused.clone());
        let Ok(mut echo) = self.client.subscribe(subject.clone()).await else { return };
        if self.client.publish(subject, Bytes::new()).await.is_err() {
            return;
        }
        tokio::select! {
            _ = echo.next() => (),
            _ = refused.wait_for(|refused| *refused >= number) => (),
            _ = link.wait_for(|link| matches!(link, Link::Closed)) => (),
        }
    }
}
