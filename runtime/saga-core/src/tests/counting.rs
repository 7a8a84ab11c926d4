//! The store in memory, which counts what it is given and what is read from it.

use crate::{
    id::{Position, SagaId},
    search::SearchKey,
    store::{Batch, KeyValue, Kind, MemoryStore, Record, Scan, Store, StoreError, Stored, Table},
};
use std::cell::Cell;
use uuid::Uuid;

/// What the last batch wrote, and what was read since [`Counting::forget_reads`].
pub(super) struct Counting {
    pub(super) store: MemoryStore,
    pub(super) records: usize,
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// Records and rows of the largest batch.
    pub(super) largest: usize,
    journals_read: Cell<usize>,
    entries_read: Cell<usize>,
    rows_read: Cell<usize>,
    rows_at_once: Cell<usize>,
}

impl Counting {
    pub(super) fn over(store: MemoryStore) -> Counting {
        Counting {
            store,
            records: 0,
            rows: 0,
            bytes: 0,
            largest: 0,
            journals_read: Cell::new(0),
            entries_read: Cell::new(0),
            rows_read: Cell::new(0),
            rows_at_once: Cell::new(0),
        }
    }

    pub(super) fn forget_reads(&self) {
        self.journals_read.set(0);
        self.entries_read.set(0);
        self.rows_read.set(0);
        self.rows_at_once.set(0);
    }

    /// How often a journal was read.
    pub(super) fn journals_read(&self) -> usize {
        self.journals_read.get()
    }

    /// Entries of journals that were read.
    pub(super) fn entries_read(&self) -> usize {
        self.entries_read.get()
    }

    /// Rows that were read.
    pub(super) fn rows_read(&self) -> usize {
        self.rows_read.get()
    }

    /// Rows of the longest scan.
    pub(super) fn rows_at_once(&self) -> usize {
        self.rows_at_once.get()
    }
}

impl Store for Counting {
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
        (self.records, self.rows) = (batch.records.len(), batch.rows.len());
        self.largest = self.largest.max(self.records + self.rows);
        let of_records: usize = batch.records.iter().map(|it| it.bytes.len()).sum();
        let of_rows = batch.rows.iter().map(|it| it.value.as_ref().map_or(0, Vec::len));
        self.bytes = of_records + of_rows.sum::<usize>();
        self.store.append(batch)
    }
    fn slice(&self, saga: SagaId, from: u32, limit: usize) -> Result<Vec<Stored>, StoreError> {
        let entries = self.store.slice(saga, from, limit)?;
        self.journals_read.set(self.journals_read.get() + 1);
        self.entries_read.set(self.entries_read.get() + entries.len());
        Ok(entries)
    }
    fn entry(&self, saga: SagaId, seq: u32) -> Result<Option<Stored>, StoreError> {
        self.store.entry(saga, seq)
    }
    fn read(&self, from: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.store.read(from, limit)
    }
    fn record(&self, kind: Kind, at: Position) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.record(kind, at)
    }
    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows_read.set(self.rows_read.get() + 1);
        self.store.row(table, key)
    }
    fn rows(&self, scan: &Scan<'_>) -> Result<Vec<KeyValue>, StoreError> {
        let rows = self.store.rows(scan)?;
        self.rows_read.set(self.rows_read.get() + rows.len());
        self.rows_at_once.set(self.rows_at_once.get().max(rows.len()));
        Ok(rows)
    }
}
