//! Where the log lives. One trait, so that a replicated log can take the place of a local store.

pub mod conformance;
mod memory;

pub use memory::MemoryStore;

use crate::{
    id::{Position, SagaId},
    search::SearchKey,
};
use uuid::Uuid;

/// The longest record or row in bytes: every store takes it.
pub const VALUE_BYTES_MAX: usize = 7 << 20;

/// The one log, and rows that are folds of it.
///
/// A batch is applied as a whole or not at all, and it is durable when `append` returns: flushed,
/// fsynced, and never forgotten. After an error the store must not be used again.
pub trait Store {
    /// The id that the store got when it was made.
    fn instance(&self) -> Uuid;

    /// Counts restores; part of every receipt.
    fn epoch(&self) -> u64;

    /// The position of the last durable record; 0 in a new store.
    fn position(&self) -> Position;

    /// The key of the search index. It is made with the store and kept beside it; a store whose key
    /// was lost has another one from then on.
    fn search_key(&self) -> &SearchKey;

    /// Appends records and changes rows, atomically and durably.
    ///
    /// # Errors
    /// Nothing of the batch may be believed to be durable: stop.
    fn append(&mut self, batch: Batch) -> Result<(), StoreError>;

    /// A saga's journal from this entry on, in order: at most `limit` entries. Where an entry was
    /// written twice, the last one.
    ///
    /// # Errors
    /// The store cannot be read.
    fn slice(&self, saga: SagaId, from: u32, limit: usize) -> Result<Vec<Stored>, StoreError>;

    /// One entry of a saga's journal.
    ///
    /// # Errors
    /// The store cannot be read.
    fn entry(&self, saga: SagaId, seq: u32) -> Result<Option<Stored>, StoreError>;

    /// Records from this position on, in order: at most `limit`. An entry that was written again
    /// stands at its last position only.
    ///
    /// # Errors
    /// The store cannot be read.
    fn read(&self, from: Position, limit: usize) -> Result<Vec<Record>, StoreError>;

    /// The record at this position, if it is of a kind that is looked up so: all but journal
    /// entries.
    ///
    /// # Errors
    /// The store cannot be read.
    fn record(&self, kind: Kind, at: Position) -> Result<Option<Vec<u8>>, StoreError>;

    /// One row.
    ///
    /// # Errors
    /// The store cannot be read.
    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Rows whose key begins so, ascending, behind the key `after`: at most `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    fn rows(&self, scan: &Scan<'_>) -> Result<Vec<KeyValue>, StoreError>;
}

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// Which rows, in which order.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// The table.
    pub table: Table,
    /// What every key begins with.
    pub prefix: &'a [u8],
    /// Where to go on: rows beyond this key, in the direction of the scan.
    pub beyond: Option<&'a [u8]>,
    /// From the last key to the first.
    pub is_backward: bool,
    /// How many rows at most.
    pub limit: usize,
}

/// What is appended at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// In order of position, without gaps behind the store's position.
    pub records: Vec<Record>,
    /// Rows to write, or to delete; the last one for a key counts.
    pub rows: Vec<Row>,
}

/// One durable record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the log.
    pub position: Position,
    /// What it is.
    pub slot: Slot,
    /// Its encoded form, see [`codec`](crate::codec).
    pub bytes: Vec<u8>,
}

/// What a record is, and where it is found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// An entry of a saga's journal; written again when a held fact is applied.
    Entry {
        /// The saga.
        saga: SagaId,
        /// The number of the entry, from 0.
        seq: u32,
    },
    /// Anything else, found by its position.
    At(Kind),
}

/// The kinds of records that are found by their position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An event arrived.
    Event,
    /// Something beside a saga: a late reply, a dead letter.
    Note,
    /// Who did what.
    Audit,
}

/// An entry of a journal as the store gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its last place in the log.
    pub position: Position,
    /// Its encoded form.
    pub bytes: Vec<u8>,
}

/// The tables of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Saga → head of an open saga.
    Open,
    /// Saga → head of an ended saga.
    Ended,
    /// Lane, position → an event that nobody took yet.
    Kept,
    /// Identity of an event → position, digest, verdicts.
    Identity,
    /// Definition and key → the saga that has the start key.
    StartKey,
    /// Lane → the ended saga that held for it.
    Claim,
    /// (Event, key) of a question → its answer.
    Decided,
    /// Name, position → an event that no definition declares.
    Unrouted,
    /// Business key, saga → the position of its start: the sagas of a key.
    Key,
    /// Keyed hash of a personal field, saga → nothing more: the sagas that are found by it.
    Found,
    /// Saga, time of its start → nothing more: the sagas whose id tells another time.
    Stray,
    /// What the rows of indexes were made with, so that they are made anew when that changes.
    Index,
    /// Position → who offered an event or a dead letter again, and what it became.
    Offered,
    /// Saga, step → a call that was abandoned, and what was said to it since.
    Abandoned,
    /// Culprit → how often processes ended while its code ran.
    Struck,
    /// Lane, saga → nothing more: the live sagas that ever held on a lane which is not of their own
    /// start key.
    Holder,
    /// Definition, position of its start, saga → nothing more: the live sagas of a definition.
    Live,
    /// Definition, saga → an ended saga whose lanes are not all handed over yet.
    Leaving,
    /// Definition, position, lane → a lane that is swept when no saga lives that is as old.
    Sweep,
    /// Definition → what it declared when it was last linked.
    Declared,
    /// Status, or that it asks a person; saga → nothing more: the sagas that stand so.
    Standing,
    /// Definition, position → an event of which not all who held for it have their copies.
    Copy,
    /// Saga, step → an open wait that the row of its saga did not list when it was opened.
    Hold,
}

/// A change of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: Vec<u8>,
    /// The value; nothing deletes the row.
    pub value: Option<Vec<u8>>,
}

impl StoreError {
    /// It could not be done.
    pub fn failed(action: &'static str, reason: impl Into<String>) -> StoreError {
        StoreError { action, reason: reason.into(), is_damage: false }
    }

    /// The store could be read, and what it gave is damaged.
    pub(crate) fn damaged(reason: impl Into<String>) -> StoreError {
        let action = "make sense of a row of";
        StoreError { action, reason: reason.into(), is_damage: true }
    }

    /// Whether the store could be read, but what it gave is damaged.
    pub fn is_damage(&self) -> bool {
        self.is_damage
    }

    /// The same, with the place of what is damaged.
    pub(crate) fn at(self, place: impl FnOnce() -> String) -> StoreError {
        match self.is_damage {
            true => StoreError { reason: format!("{}: {}", place(), self.reason), ..self },
            false => self,
        }
    }
}

/// Why the store cannot be used. The process should stop, and say so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to {action} the store: {reason}")]
pub struct StoreError {
    /// What was tried.
    pub action: &'static str,
    /// What the store says.
    pub reason: String,
    is_damage: bool,
}
