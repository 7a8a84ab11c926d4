//! Events out: each is given to the broker until it has it. What was given twice is one event to
//! every reader that looks at its id.

use crate::{
    clock,
    engine::{Handle, Publication},
    telemetry::Telemetry,
};
use async_nats::HeaderMap;
use chassis::{nats::Nats, percent};
use futures::{StreamExt as _, stream::FuturesUnordered};
use rand::Rng as _;
use saga_core::{
    id::{Path, SagaId},
    input::Input,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Publishes that wait for the broker's word at once.
const UNDER_WAY_MAX: usize = 64;
/// The first pause after a refusal: the stream may be full, or the broker just back.
const PAUSE_MS_MIN: u64 = 100;
/// The longest pause: a full stream is emptied by us, so it is worth looking often.
const PAUSE_MS_MAX: u64 = 10_000;
/// Names us in CloudEvents.
const SOURCE: &str = "/fermata";

/// Publishes what the core owes.
pub(super) struct Publisher {
    pub(super) nats: Nats,
    pub(super) engine: Handle,
    pub(super) telemetry: Telemetry,
}

impl Publisher {
    pub(super) async fn run(
        self,
        mut owed: mpsc::UnboundedReceiver<Publication>,
        stop: CancellationToken,
    ) {
        // A saga that was paused and resumed owes again what is still under way.
        let mut named: BTreeSet<(SagaId, Path)> = BTreeSet::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(it) = owed.recv(), if under_way.len() < UNDER_WAY_MAX => {
                    if named.insert((it.saga, it.step.clone())) {
                        under_way.push(self.publish(it));
                    }
                }
                Some((saga, step)) = under_way.next(), if !under_way.is_empty() => {
                    named.remove(&(saga, step.clone()));
                    self.telemetry.published.inc();
                    if self.engine.tell(Input::Published { saga, step }).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Ends when the broker has the event, as new or as a repeat.
    async fn publish(&self, publication: Publication) -> (SagaId, Path) {
        let mut pause_ms = PAUSE_MS_MIN;
        while let Err(error) = self.try_publish(&publication).await {
            let (id, subject) = (&publication.id, &publication.subject);
            tracing::warn!(id, subject, error, "an event is not with the broker; tried again");
            let jittered = rand::rng().random_range(pause_ms / 2..=pause_ms);
            tokio::time::sleep(Duration::from_millis(jittered)).await;
            pause_ms = pause_ms.saturating_mul(2).min(PAUSE_MS_MAX);
        }
        (publication.saga, publication.step)
    }

    async fn try_publish(&self, it: &Publication) -> Result<(), String> {
        self.nats.ready().await.map_err(|error| error.to_string())?;
        let body = it.body.clone().into();
        let jetstream = self.nats.jetstream();
        let ack = jetstream.publish_with_headers(it.subject.clone(), headers(it), body).await;
        let ack = ack.map_err(|error| error.to_string())?;
        ack.await.map(|_| ()).map_err(|error| error.to_string())
    }
}

/// CloudEvents 1.0 in binary mode, beside our own names.
fn headers(it: &Publication) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", it.id.as_str());
    // No header carries a line break; who reads such an event finds the key in its body.
    if !it.key.contains(['\r', '\n']) {
        headers.insert("Fermata-Key", it.key.as_str());
    }
    headers.insert("Content-Type", "application/json");
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", percent::encoded(&it.id).as_str());
    headers.insert("ce-type", percent::encoded(&it.subject).as_str());
    headers.insert("ce-source", SOURCE);
    headers.insert("ce-subject", percent::encoded(&it.key).as_str());
    headers.insert("ce-time", clock::rfc3339(clock::now()).as_str());
    headers
}
