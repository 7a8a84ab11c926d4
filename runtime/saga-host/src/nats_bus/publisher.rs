//! Events out: each is given to the broker until it has it, or until the core takes it back. What
//! was given twice is one event to every reader that looks at its id.

use super::{
    backlog::{Backlog, EventId, Known},
    failure::{NOT_PERMITTED, Teller},
    told::{Inbox, Told, times},
};
use crate::{
    clock,
    engine::{Handle, OwedEvent, Publication},
    telemetry::Telemetry,
};
use async_nats::{HeaderMap, jetstream::context::PublishErrorKind};
use chassis::{http::Gate, nats::Nats, percent};
use futures::{StreamExt as _, stream::FuturesUnordered};
use saga_core::{effect::RequestId, id::SagaId, input::Input};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The broker stores an event within milliseconds, or is busy with its disk.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
const NO_ANSWER: &str = "the broker did not answer in time";
/// When nothing was taken for so long, the broker takes nothing: it is more than a busy disk.
const STANDS_AFTER: Duration = Duration::from_secs(15);
/// Names us in CloudEvents.
const SOURCE: &str = "/fermata";

/// Publishes what the core owes.
pub(super) struct Publisher {
    nats: Nats,
    engine: Handle,
    telemetry: Telemetry,
    questions: Inbox,
    backlog: Backlog,
    teller: Teller,
    gate: Gate,
    /// Since when the broker has taken nothing that it should take.
    stands_since: Option<Instant>,
}

/// Why an event was not taken.
enum Refusal {
    /// No fault of the broker's: nobody has set it up to take this subject.
    OfSubject(&'static str),
    /// It was not asked.
    Away,
    /// It could not: its stream is full, its disk is, or it does not answer.
    OfBroker(String),
}

impl Publisher {
    pub(super) fn new(
        nats: Nats,
        engine: Handle,
        telemetry: Telemetry,
        questions: Inbox,
        gate: Gate,
    ) -> Publisher {
        gate.open();
        let (backlog, teller) = (Backlog::default(), Teller::default());
        let stands_since = None;
        Publisher { nats, engine, telemetry, questions, backlog, teller, gate, stands_since }
    }

    pub(super) async fn run(
        mut self,
        mut owed: mpsc::UnboundedReceiver<OwedEvent>,
        stop: CancellationToken,
    ) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let is_up = self.nats.is_up();
            let next = self.backlog.next().filter(|_| is_up);
            let rest = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let told = tokio::select! {
                () = stop.cancelled() => return,
                Some(it) = owed.recv() => {
                    self.take(it);
                    while let Ok(more) = owed.try_recv() {
                        self.take(more);
                    }
                    None
                }
                Some((id, given)) = under_way.next(), if !under_way.is_empty() => {
                    self.heard(&id, given)
                }
                Some((sagas, answer)) = self.questions.recv() => {
                    let _gone = answer.send(self.tell(&sagas));
                    None
                }
                () = super::up(&self.nats), if !is_up => None,
                () = rest => None,
            };
            if let Some(input) = told
                && self.engine.tell(input).await.is_err()
            {
                return;
            }
            if self.nats.is_up() {
                for (id, publication) in self.backlog.ready(Instant::now()) {
                    under_way.push(give(self.nats.clone(), id, publication));
                }
            }
        }
    }

    fn take(&mut self, owed: OwedEvent) {
        match owed {
            OwedEvent::Publish(publication) => self.backlog.add(publication),
            OwedEvent::Withdraw(saga, step) => {
                self.backlog.forget(&(saga, step));
                if self.backlog.is_empty() {
                    self.moves();
                }
            }
            OwedEvent::Hurry(saga) => self.backlog.hurry(saga, Instant::now()),
        }
    }

    fn heard(&mut self, id: &EventId, given: Result<(), Refusal>) -> Option<Input> {
        let now = Instant::now();
        let (saga, step) = id.clone();
        let Err(refusal) = given else {
            self.telemetry.published.inc();
            self.moves();
            self.backlog.taken(id, now);
            return Some(Input::Published { saga, step });
        };
        let reason = match refusal {
            Refusal::Away => {
                self.backlog.away(id, now, super::random);
                self.stands_since = None;
                return None;
            }
            Refusal::OfSubject(reason) => reason.to_owned(),
            Refusal::OfBroker(reason) => {
                self.stands(&reason, now);
                reason
            }
        };
        self.telemetry.refused.inc();
        let subject = self.backlog.subject(id)?;
        if let Some(untold) = self.teller.tells(&subject, now) {
            tracing::warn!(%saga, %step, subject, reason, untold, "an event was not taken");
        }
        let told = self.backlog.refused(id, &reason, now, super::random)?;
        tracing::warn!(%saga, %step, subject = told.subject, reason, "an event needs a person");
        Some(Input::PublishRefused { saga, step, reason })
    }

    /// A server whose disk was full takes nothing until it is started again, and looks well
    /// otherwise.
    fn stands(&mut self, reason: &str, now: Instant) {
        let since = *self.stands_since.get_or_insert(now);
        if STANDS_AFTER <= now.saturating_duration_since(since) {
            self.gate.close(format!("the broker takes no events: {reason}"));
        }
    }

    fn moves(&mut self) {
        if self.stands_since.take().is_some() {
            self.gate.open();
        }
    }

    fn tell(&self, sagas: &[SagaId]) -> Told {
        let now = (Instant::now(), clock::now());
        let known = sagas.iter().flat_map(|saga| self.backlog.known(*saga));
        let told = known.map(|((saga, step), Known { attempts, next_at, failure })| {
            let id = RequestId { saga, step, is_undo: false };
            (id, times(now, attempts, next_at, failure.as_ref()))
        });
        told.collect()
    }
}

/// Gives the event to the broker once.
async fn give(
    nats: Nats,
    id: EventId,
    publication: Arc<Publication>,
) -> (EventId, Result<(), Refusal>) {
    let Some(connection) = nats.up() else { return (id, Err(Refusal::Away)) };
    let given = tokio::select! {
        given = tokio::time::timeout(ACK_TIMEOUT, try_publish(&nats, &publication)) => {
            given.unwrap_or_else(|_| Err(Refusal::OfBroker(NO_ANSWER.to_owned())))
        }
        () = nats.broken(connection) => Err(Refusal::Away),
        () = nats.refused(&publication.subject) => Err(Refusal::OfSubject(NOT_PERMITTED)),
    };
    (id, given)
}

async fn try_publish(nats: &Nats, it: &Publication) -> Result<(), Refusal> {
    let body = it.body.clone().into();
    let jetstream = nats.jetstream();
    let ack = jetstream.publish_with_headers(it.subject.clone(), headers(it), body).await;
    let ack = match ack {
        Ok(ack) => ack.await,
        Err(error) => Err(error),
    };
    ack.map(|_| ()).map_err(|error| match error.kind() {
        PublishErrorKind::StreamNotFound => {
            Refusal::OfSubject("no stream takes this subject: see FERMATA_EVENT_PREFIXES")
        }
        PublishErrorKind::TimedOut => Refusal::OfBroker(NO_ANSWER.to_owned()),
        _ => Refusal::OfBroker(error.to_string()),
    })
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
