//! Publishes what the outbox holds until the runtime has receipted it.

use crate::{
    metrics::KitMetrics,
    outbox::{self, EventRow},
    rows,
    wire::PAYLOAD_BYTES_MAX,
};
use async_nats::{HeaderMap, jetstream};
use chassis::{crash, db::Db, http::Gate, nats::Nats, percent};
use chrono::SecondsFormat;
use futures::{StreamExt, stream::FuturesUnordered};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// Events in flight, that is published or about to be, without a receipt. The others wait in the
/// store: memory stays bounded however long the runtime is away.
const IN_FLIGHT_MAX: usize = 10_000;
/// Rows that are read at once.
const READ_ROWS: usize = 64;
/// Publishes that wait for the broker's acknowledgement at the same time.
const UNACKED_MAX: usize = 256;

/// When events are sent again. The defaults are those of the product; tests bring shorter ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayTimes {
    /// For a receipt to come before the event is published again; doubles with each time.
    pub receipt: Duration,
    /// The longest pause between two publishes of an event without a receipt.
    pub receipt_max: Duration,
    /// After a publish that the broker did not take; doubles with each time.
    pub refused: Duration,
    /// The longest pause after such a publish: how late a broker that is back gets the event.
    pub refused_max: Duration,
}

/// Within this time JetStream drops a repeat as a duplicate, so nothing is sent twice in it.
const REPEAT_PAUSE_MIN: Duration = Duration::from_millis(150);
/// How often a lost connection is looked at.
const DOWN_PAUSE: Duration = Duration::from_millis(100);

impl Default for RelayTimes {
    fn default() -> RelayTimes {
        RelayTimes {
            receipt: Duration::from_secs(30),
            receipt_max: Duration::from_secs(600),
            refused: Duration::from_secs(1),
            refused_max: Duration::from_secs(30),
        }
    }
}

/// What the owner's thread tells the relay.
#[derive(Debug)]
pub(crate) enum RelayNote {
    /// There are new events.
    News,
    /// These have their receipt.
    Receipted(Vec<u64>),
    /// These had one, and are owed again.
    Owed(Vec<u64>),
}

/// The task's state.
pub(crate) struct Relay {
    pub(crate) service: Arc<str>,
    pub(crate) db: Db,
    pub(crate) nats: Nats,
    pub(crate) times: RelayTimes,
    pub(crate) metrics: KitMetrics,
    flights: Flights,
    /// Whether the broker took the last event that it was given.
    is_taken: bool,
    /// Closed while it does not: a server whose disk was full takes nothing until it is started
    /// again, and looks well otherwise.
    gate: Gate,
}

/// Which events are in flight, and when each is due.
struct Flights {
    by_number: BTreeMap<u64, Flight>,
    due: BTreeSet<(Instant, u64)>,
    /// Those that the broker has not taken yet, by key. Only the first of a key is due: a refusal
    /// must not let what happened later overtake what happened first.
    untaken: BTreeMap<Arc<str>, BTreeSet<u64>>,
    /// Where reading of the store goes on.
    read_to: Option<Vec<u8>>,
    /// Whether there may be more to read.
    has_more: bool,
    /// Nothing that is read leaves before: it may have been sent a moment ago.
    not_before: Instant,
}

#[derive(Clone, Debug)]
struct Flight {
    key: Arc<str>,
    due: Instant,
    /// Publishes that the broker took and the runtime did not receipt.
    taken: u32,
    /// Publishes in a row that the broker did not take.
    refused: u32,
    /// Waits for the broker's acknowledgement: not due until it is known.
    is_out: bool,
}

type Sent = (u64, Result<(), String>);

impl Relay {
    pub(crate) fn new(
        service: Arc<str>,
        db: Db,
        nats: Nats,
        times: RelayTimes,
        metrics: KitMetrics,
        gate: Gate,
    ) -> Relay {
        gate.open();
        let flights = Flights::new();
        Relay { service, db, nats, times, metrics, flights, is_taken: true, gate }
    }

    /// Runs until the notes end.
    pub(crate) async fn run(mut self, mut notes: mpsc::UnboundedReceiver<RelayNote>) {
        let jetstream = self.nats.jetstream();
        let mut unacked = FuturesUnordered::new();
        loop {
            if self.flights.has_more && self.flights.by_number.len() < IN_FLIGHT_MAX {
                self.read();
            }
            let is_up = self.nats.is_up();
            while is_up && unacked.len() < UNACKED_MAX {
                let Some(number) = self.flights.take_due(Instant::now()) else { break };
                match self.row(number) {
                    Some(row) => {
                        unacked.push(send(jetstream.clone(), self.headers(&row), row, number))
                    }
                    None => self.flights.remove(number),
                }
            }
            if !self.is_taken && self.flights.untaken.is_empty() {
                // What it seemed to refuse has arrived all the same.
                self.is_taken = true;
                self.gate.open();
            }
            self.metrics.outstanding.set(i64::try_from(self.flights.by_number.len()).unwrap_or(0));
            let wake = self.wake(is_up, unacked.len());
            tokio::select! {
                note = notes.recv() => match note {
                    Some(note) => self.note(note),
                    None => return,
                },
                Some((number, sent)) = unacked.next() => self.sent(number, sent),
                () = tokio::time::sleep_until(wake) => (),
            }
        }
    }

    /// When to look again without being told anything.
    fn wake(&self, is_up: bool, unacked: usize) -> Instant {
        let now = Instant::now();
        if !is_up {
            return now + DOWN_PAUSE;
        }
        let can_read = self.flights.has_more && self.flights.by_number.len() < IN_FLIGHT_MAX;
        if can_read {
            return now;
        }
        let idle = now + self.times.receipt_max;
        let due = self.flights.due.first().map_or(idle, |(due, _)| *due);
        // While all places are taken, an acknowledgement comes first.
        if unacked >= UNACKED_MAX { due.max(now + DOWN_PAUSE) } else { due }
    }

    /// Takes more events from the store into flight.
    fn read(&mut self) {
        let after = self.flights.read_to.clone();
        let rows = match self.db.scan(rows::OUTSTANDING, after.as_deref(), READ_ROWS) {
            Ok(rows) => rows,
            Err(error) => {
                // A poisoned store: the owner's thread is ending the process.
                tracing::error!(%error, "the outbox cannot be read");
                self.flights.has_more = false;
                return;
            }
        };
        self.flights.has_more = rows.len() == READ_ROWS;
        let due = Instant::now().max(self.flights.not_before);
        for (key, value) in rows {
            match (rows::number_of(rows::OUTSTANDING, &key), outbox::decode(&key, &value)) {
                (Some(number), Ok(row)) => self.flights.add(number, row.key.into(), due),
                (_, Err(error)) => {
                    tracing::error!(%error, "an event of the outbox cannot be read");
                }
                (None, Ok(_)) => (),
            }
            self.flights.read_to = Some(key);
        }
        if self.flights.read_to.is_none() {
            self.flights.read_to = Some(rows::OUTSTANDING.to_vec());
        }
    }

    fn row(&self, number: u64) -> Option<EventRow> {
        let key = rows::numbered(rows::OUTSTANDING, number);
        match self.db.get(&key).map(|value| value.map(|value| outbox::decode(&key, &value))) {
            Ok(Some(Ok(row))) => Some(row),
            Ok(None) => None,
            Ok(Some(Err(error))) | Err(error) => {
                tracing::error!(%error, number, "an event of the outbox cannot be read");
                None
            }
        }
    }

    /// CloudEvents in binary mode (its NATS protocol binding 1.0.3), and what the runtime asks for.
    fn headers(&self, row: &EventRow) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", row.id.as_str());
        headers.insert("Fermata-Key", row.key.as_str());
        headers.insert("Fermata-Receipt", receipt_subject(&self.service).as_str());
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-id", percent::encoded(&row.id).as_str());
        headers.insert("ce-source", format!("/services/{}", self.service).as_str());
        headers.insert("ce-type", row.subject.as_str());
        headers.insert("ce-subject", percent::encoded(&row.key).as_str());
        let at = row.at.to_rfc3339_opts(SecondsFormat::Millis, true);
        headers.insert("ce-time", at.as_str());
        headers.insert("ce-datacontenttype", "application/json");
        headers
    }

    fn note(&mut self, note: RelayNote) {
        match note {
            RelayNote::News => self.flights.has_more = true,
            RelayNote::Receipted(numbers) => {
                for number in numbers {
                    self.flights.remove(number);
                }
            }
            RelayNote::Owed(numbers) => {
                if let Some(first) = numbers.first() {
                    self.flights.read_again(*first);
                }
            }
        }
    }

    fn sent(&mut self, number: u64, sent: Result<(), String>) {
        let taken = sent.is_ok();
        if let Err(why) = sent {
            self.metrics.refused.inc();
            // A stream that is full or absent refuses thousands: one line tells of it.
            if self.is_taken {
                tracing::warn!(number, why, "the broker does not take an event; it is sent again");
            }
            self.gate.close(format!("the broker takes no events: {why}"));
        } else {
            self.metrics.published.inc();
            self.gate.open();
            crash::point("relay.before-receipt");
        }
        self.is_taken = taken;
        self.flights.sent(number, taken, &self.times);
    }
}

impl Flights {
    /// After a start it is not known when an event was sent last.
    fn new() -> Flights {
        Flights {
            by_number: BTreeMap::new(),
            due: BTreeSet::new(),
            untaken: BTreeMap::new(),
            read_to: None,
            has_more: true,
            not_before: Instant::now() + REPEAT_PAUSE_MIN,
        }
    }

    fn add(&mut self, number: u64, key: Arc<str>, due: Instant) {
        if let Entry::Vacant(place) = self.by_number.entry(number) {
            let flight = Flight { key: Arc::clone(&key), due, taken: 0, refused: 0, is_out: false };
            place.insert(flight);
            self.untaken.entry(Arc::clone(&key)).or_default().insert(number);
            self.let_first_go(&key);
        }
    }

    fn remove(&mut self, number: u64) {
        if let Some(flight) = self.by_number.remove(&number) {
            self.due.remove(&(flight.due, number));
            self.let_next_go(&flight.key, number);
        }
    }

    /// Reads from the store again, from this event on: so its memory stays bounded.
    fn read_again(&mut self, first: u64) {
        let before = rows::numbered(rows::OUTSTANDING, first.saturating_sub(1));
        self.read_to = self.read_to.take().map(|read_to| read_to.min(before));
        self.has_more = true;
        self.not_before = Instant::now() + REPEAT_PAUSE_MIN;
    }

    /// The broker has this one, or nobody wants it any more.
    fn let_next_go(&mut self, key: &Arc<str>, number: u64) {
        let Some(untaken) = self.untaken.get_mut(key) else { return };
        untaken.remove(&number);
        if untaken.is_empty() {
            self.untaken.remove(key);
        }
        self.let_first_go(key);
    }

    fn let_first_go(&mut self, key: &Arc<str>) {
        let first = self.untaken.get(key).and_then(BTreeSet::first).copied();
        let flight = first.and_then(|first| Some((first, self.by_number.get(&first)?)));
        if let Some((first, flight)) = flight.filter(|(_, flight)| !flight.is_out) {
            self.due.insert((flight.due, first));
        }
    }

    /// The event that has been due for longest; its publish must end in [`Flights::sent`].
    fn take_due(&mut self, now: Instant) -> Option<u64> {
        let &(due, number) = self.due.first().filter(|(due, _)| *due <= now)?;
        self.due.remove(&(due, number));
        if let Some(flight) = self.by_number.get_mut(&number) {
            flight.is_out = true;
        }
        Some(number)
    }

    fn sent(&mut self, number: u64, taken: bool, times: &RelayTimes) {
        // It may have been receipted before the broker's acknowledgement came.
        let Some(flight) = self.by_number.get_mut(&number).filter(|flight| flight.is_out) else {
            return;
        };
        let pause = if taken {
            flight.refused = 0;
            flight.taken += 1;
            doubled(times.receipt, flight.taken - 1, times.receipt_max)
        } else {
            flight.refused += 1;
            doubled(times.refused, flight.refused - 1, times.refused_max)
        };
        flight.is_out = false;
        flight.due = Instant::now() + pause.max(REPEAT_PAUSE_MIN);
        self.due.insert((flight.due, number));
        if taken {
            let key = Arc::clone(&flight.key);
            self.let_next_go(&key, number);
        }
    }
}

/// The subject on which the runtime receipts the events of a service.
pub(crate) fn receipt_subject(service: &str) -> String {
    format!("fermata.receipt.{service}")
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(20)).min(longest)
}

/// One publish, until the broker has stored it or has not. `duplicate` is as good as stored, and no
/// receipt either.
async fn send(
    jetstream: jetstream::Context,
    headers: HeaderMap,
    row: EventRow,
    number: u64,
) -> Sent {
    debug_assert!(row.body.get().len() <= PAYLOAD_BYTES_MAX);
    let body = String::from(Box::<str>::from(row.body)).into();
    let sent = async {
        let acked = jetstream.publish_with_headers(row.subject, headers, body).await?;
        acked.await.map(|_| ())
    };
    let sent: Result<(), jetstream::context::PublishError> = sent.await;
    (number, sent.map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests;
