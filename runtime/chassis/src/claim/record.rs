//! The record of a store, and its place at the broker.

use super::ClaimError;
use crate::nats::{Nats, STORES, store_subject};
use async_nats::{
    HeaderMap, StatusCode,
    client::RequestErrorKind,
    header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
    jetstream::{self, context::PublishErrorKind},
};
use serde::{Deserialize, Serialize};
use std::error::Error as _;
use uuid::Uuid;

/// The header in which the broker gives a message's sequence.
const SEQUENCE: &str = "Nats-Sequence";

/// What is known of a store outside of its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which store.
    pub instance: Uuid,
    /// Its epoch.
    pub epoch: u64,
    /// A position that was durable in it.
    pub position: u64,
    /// The run of the process that wrote this.
    pub run: Uuid,
    /// Whether that run has ended well.
    #[serde(default)]
    pub has_ended: bool,
    /// The run of the broker to which it was written, see [`Nats::server`]; nil in those of earlier
    /// releases.
    #[serde(default)]
    pub broker: Uuid,
}

impl Record {
    /// Whether the broker was started anew since, and so may have lost what came later.
    pub(super) fn is_of_another_broker(self, nats: &Nats) -> bool {
        self.broker != nats.server()
    }

    /// Whether this is that record, or one that the same run had written before it.
    pub(super) fn is_of_before(self, known: Record) -> bool {
        let is_same_run = !self.run.is_nil() && self.run == known.run;
        let is_not_beyond = (self.epoch, self.position) <= (known.epoch, known.position);
        self == known || is_same_run && self.instance == known.instance && is_not_beyond
    }
}

/// What stands in a place.
#[derive(Debug)]
pub(super) enum Found {
    /// A record, and its sequence.
    Record(Record, u64),
    Nothing,
    /// There are no places.
    NoStream,
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Written {
    At(u64),
    /// The sequence that it named is not the last one.
    Overtaken,
    NoStream,
}

/// Where the record of one process lies.
#[derive(Debug)]
pub(super) struct Place {
    nats: Nats,
    subject: String,
}

impl Place {
    pub(super) fn new(nats: Nats, process: &str) -> Place {
        Place { nats, subject: store_subject(process) }
    }

    pub(super) async fn read(&self) -> Result<Found, ClaimError> {
        let subject = format!("$JS.API.DIRECT.GET.{STORES}.{}", self.subject);
        let message = match self.nats.client().request(subject, "".into()).await {
            Ok(message) => message,
            Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                return Ok(Found::NoStream);
            }
            Err(error) => return Err(ClaimError::Broker(error.to_string())),
        };
        match message.status {
            Some(StatusCode::NOT_FOUND) => return Ok(Found::Nothing),
            Some(status) if !status.is_success() => {
                return Err(ClaimError::Broker(format!("status {status}")));
            }
            _ => (),
        }
        let record = serde_json::from_slice(&message.payload);
        let record = record.map_err(|error| ClaimError::Broker(error.to_string()))?;
        let sequence = message.headers.as_ref().and_then(|it| it.get(SEQUENCE));
        let sequence = sequence.and_then(|it| it.as_str().parse().ok());
        let sequence = sequence.ok_or_else(|| ClaimError::Broker("no sequence".to_owned()))?;
        Ok(Found::Record(record, sequence))
    }

    /// Writes when the last record has this sequence; 0 stands for none.
    pub(super) async fn write(&self, record: &Record, last: u64) -> Result<Written, ClaimError> {
        let broker = |error: String| ClaimError::Broker(error);
        let body = serde_json::to_vec(record).map_err(|error| broker(error.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, last.to_string().as_str());
        let subject = self.subject.clone();
        let sent = self.nats.jetstream().publish_with_headers(subject, headers, body.into()).await;
        let acked = match sent {
            Ok(acked) => acked.await,
            Err(error) => Err(error),
        };
        match acked {
            Ok(ack) => Ok(Written::At(ack.sequence)),
            Err(error) => match error.kind() {
                PublishErrorKind::WrongLastSequence => Ok(Written::Overtaken),
                PublishErrorKind::StreamNotFound => Ok(Written::NoStream),
                _ if error.source().is_some_and(|it| it.is::<jetstream::Error>()) => {
                    Err(ClaimError::Refused(error.to_string()))
                }
                _ => Err(broker(error.to_string())),
            },
        }
    }
}
