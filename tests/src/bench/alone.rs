//! The core alone: no disk, no broker, no threads. What it does then is the same on every machine,
//! so that it can be counted under an instrument.

use super::definitions::{self, Begin, Delivered, GoOn, OrderBegins, Paid};
use crate::Failure;
use saga_core::{
    core::{Core, HeadQuery, Limits},
    effect::{Effect, RequestId},
    id::{Position, SagaId, Time},
    input::{Answer, Answered, Arrival, Input},
    line::Line,
    payload::Payload,
    saga::Registry,
    search::SearchKey,
    store::{
        Batch, KeyValue, Kind, MemoryStore, Record, Scan, Slot, Store, StoreError, Stored, Table,
    },
};
use serde::Serialize;
use std::cell::Cell;
use uuid::Uuid;

/// Sagas at a time, as in the throughput figures.
pub const IN_FLIGHT: u32 = 200;

/// What was given to the store, and what was read from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    /// Sagas that ended.
    pub sagas: usize,
    /// Entries of journals: each is a turn.
    pub turns: usize,
    /// Durable batches.
    pub batches: usize,
    /// Records of events.
    pub events: usize,
    /// Rows, deletions among them.
    pub rows: usize,
    /// Bytes of entries.
    pub entry_bytes: usize,
    /// Bytes of records of events.
    pub event_bytes: usize,
    /// Bytes of the heads of sagas.
    pub head_bytes: usize,
    /// Bytes of other rows.
    pub row_bytes: usize,
    /// Rows and records that were read.
    pub rows_read: usize,
    /// Journals that were read.
    pub journals_read: usize,
    /// Entries of them.
    pub entries_read: usize,
    /// Of those, the most that one piece of work has read.
    pub entries_at_once: usize,
}

/// Runs so many sagas of four calls and two awaited events, so many at a time, from their start
/// event to their end.
///
/// # Errors
/// A saga does not end.
pub fn orders(sagas: u32, in_flight: u32) -> Result<Written, Failure> {
    let mut desk = Desk::new()?;
    let mut from = 0;
    while from < sagas {
        let to = sagas.min(from + in_flight);
        let keys: Vec<String> = (from..to).map(|it| format!("alone-{it}")).collect();
        desk.orders(&keys)?;
        from = to;
    }
    desk.written(sagas)
}

/// Who plays the host and the services.
pub(super) struct Desk {
    core: Core<Metered>,
    line: Line<()>,
    asked: Vec<RequestId>,
    now: u64,
}

impl Desk {
    pub(super) fn new() -> Result<Desk, Failure> {
        Desk::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Result<Desk, Failure> {
        Desk::over(Metered::default(), limits, 0)
    }

    /// Another process over the same store, in which nothing was counted before.
    pub(super) fn reopened(self, limits: Limits) -> Result<Desk, Failure> {
        let store = Metered { store: self.core.store().store.clone(), ..Metered::default() };
        let mut desk = Desk::over(store, limits, self.now)?;
        desk.commit()?;
        Ok(desk)
    }

    fn over(store: Metered, limits: Limits, now: u64) -> Result<Desk, Failure> {
        let mut registry = Registry::new("bench");
        definitions::register(&mut registry).map_err(|err| err.to_string())?;
        let core = Core::open(store, registry, limits, Time(now)).map_err(|err| err.to_string())?;
        Ok(Desk { core, line: Line::default(), asked: Vec::new(), now })
    }

    fn orders(&mut self, keys: &[String]) -> Result<(), Failure> {
        self.events(keys, OrderBegins::SUBJECT, |key| Begin { key, steps: 4 })?;
        self.answer()?;
        self.answer()?;
        self.events(keys, Paid::SUBJECT, |key| GoOn { key })?;
        self.answer()?;
        self.events(keys, Delivered::SUBJECT, |key| GoOn { key })?;
        self.answer()
    }

    /// Events of one subject, in one batch.
    pub(super) fn events<T: Serialize>(
        &mut self,
        keys: &[String],
        subject: &str,
        body: impl Fn(String) -> T,
    ) -> Result<(), Failure> {
        for key in keys {
            self.event(&format!("{key}/{subject}"), subject, &body(key.clone()))?;
        }
        self.commit()
    }

    pub(super) fn event(
        &mut self,
        id: &str,
        subject: &str,
        body: &impl Serialize,
    ) -> Result<(), Failure> {
        let body = Payload::of(body).map_err(|err| err.to_string())?;
        let (name, id, source) = (subject.to_owned(), id.to_owned(), "bench".to_owned());
        let (ticket, key, at) = (0, None, Time(self.now));
        self.handle(Input::Arrived(Arrival { ticket, name, id, source, key, body, at }))
    }

    /// Answers all that is asked, in one batch.
    pub(super) fn answer(&mut self) -> Result<(), Failure> {
        for request in self.take_asked() {
            self.give_answer(&request)?;
        }
        self.commit()
    }

    /// Answers one request, in a batch of its own.
    pub(super) fn answer_to(&mut self, request: &RequestId) -> Result<(), Failure> {
        self.give_answer(request)?;
        self.commit()
    }

    fn give_answer(&mut self, request: &RequestId) -> Result<(), Failure> {
        let RequestId { saga, step, is_undo } = request.clone();
        let answer = Answer::Ok(Payload::null());
        self.handle(Input::Answered(Answered { saga, epoch: 0, step, is_undo, answer }))
    }

    pub(super) fn asked(&self) -> &[RequestId] {
        &self.asked
    }

    pub(super) fn take_asked(&mut self) -> Vec<RequestId> {
        std::mem::take(&mut self.asked)
    }

    /// Does what inputs have left to do.
    pub(super) fn go_on(&mut self) -> Result<(), Failure> {
        while self.line.has_more(&self.core) {
            let before = self.core.store().written.get().entries_read;
            self.line.wake(&mut self.core).map_err(|err| err.to_string())?;
            self.note_read(before);
            while let Some((input, _)) =
                self.line.next(&self.core).map_err(|err| err.to_string())?
            {
                self.apply(input)?;
            }
            self.apply(Input::GoOn)?;
            self.commit()?;
        }
        Ok(())
    }

    pub(super) fn look(&self, query: &HeadQuery) -> Result<(), Failure> {
        self.core.page(query).map(drop).map_err(|err| err.to_string())
    }

    fn handle(&mut self, input: Input) -> Result<(), Failure> {
        match self.line.give(&self.core, input, ()).map_err(|err| err.to_string())? {
            Some((input, ())) => self.apply(input),
            None => Ok(()),
        }
    }

    fn apply(&mut self, input: Input) -> Result<(), Failure> {
        self.now += 1;
        let before = self.core.store().written.get().entries_read;
        self.core.handle(Time(self.now), input).map_err(|err| err.to_string())?;
        self.note_read(before);
        Ok(())
    }

    /// How many entries were read since there were so many.
    fn note_read(&self, before: usize) {
        self.core.store().count(|it| {
            it.entries_at_once = it.entries_at_once.max(it.entries_read - before);
        });
    }

    pub(super) fn commit(&mut self) -> Result<(), Failure> {
        for effect in self.core.commit().map_err(|err| err.to_string())? {
            if let Effect::Send(request) = effect {
                self.asked.push(request.id);
            }
        }
        Ok(())
    }

    pub(super) fn written(&self, sagas: u32) -> Result<Written, Failure> {
        let (prefix, beyond, limit) = (&[][..], None, usize::MAX);
        let scan = Scan { table: Table::Ended, prefix, beyond, is_backward: false, limit };
        let ended = self.core.store().rows(&scan).map_err(|err| err.to_string())?.len();
        if ended != sagas as usize {
            return Err(format!("{ended} of {sagas} sagas have ended"));
        }
        Ok(Written { sagas: ended, ..self.core.store().written.get() })
    }
}

/// The store in memory, which counts what it is given.
#[derive(Default)]
struct Metered {
    store: MemoryStore,
    written: Cell<Written>,
}

impl Metered {
    fn count(&self, count: impl FnOnce(&mut Written)) {
        let mut it = self.written.get();
        count(&mut it);
        self.written.set(it);
    }
}

impl Store for Metered {
    fn instance(&self) -> Uuid {
        self.store.instance()
    }

    fn epoch(&self) -> u64 {
        self.store.epoch()
    }

    fn position(&self) -> Position {
        self.store.position()
    }

    fn search_key(&self) -> &SearchKey {
        self.store.search_key()
    }

    fn append(&mut self, batch: Batch) -> Result<(), StoreError> {
        let mut it = self.written.get();
        it.batches += 1;
        for record in &batch.records {
            let (count, bytes) = match record.slot {
                Slot::Entry { .. } => (&mut it.turns, &mut it.entry_bytes),
                Slot::At(_) => (&mut it.events, &mut it.event_bytes),
            };
            *count += 1;
            *bytes += record.bytes.len();
        }
        for row in &batch.rows {
            let bytes = row.key.len() + row.value.as_ref().map_or(0, Vec::len);
            it.rows += 1;
            match row.table {
                Table::Open | Table::Ended => it.head_bytes += bytes,
                _ => it.row_bytes += bytes,
            }
        }
        self.written.set(it);
        self.store.append(batch)
    }

    fn slice(&self, saga: SagaId, from: u32, limit: usize) -> Result<Vec<Stored>, StoreError> {
        let entries = self.store.slice(saga, from, limit)?;
        self.count(|it| {
            it.journals_read += usize::from(from == 0);
            it.entries_read += entries.len();
        });
        Ok(entries)
    }

    fn entry(&self, saga: SagaId, seq: u32) -> Result<Option<Stored>, StoreError> {
        self.store.entry(saga, seq)
    }

    fn read(&self, from: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.store.read(from, limit)
    }

    fn record(&self, kind: Kind, at: Position) -> Result<Option<Vec<u8>>, StoreError> {
        self.count(|it| it.rows_read += 1);
        self.store.record(kind, at)
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.count(|it| it.rows_read += 1);
        self.store.row(table, key)
    }

    fn rows(&self, scan: &Scan<'_>) -> Result<Vec<KeyValue>, StoreError> {
        let rows = self.store.rows(scan)?;
        self.count(|it| it.rows_read += rows.len());
        Ok(rows)
    }
}
