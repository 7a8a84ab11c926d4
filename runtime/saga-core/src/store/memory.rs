//! The in-memory twin: for tests and the simulator, held to the same conformance kit.

use super::{
    Batch, KeyValue, Kind, Position, Record, SagaId, Scan, Slot, Store, StoreError, Stored, Table,
    VALUE_BYTES_MAX,
};
use crate::search::{SEARCH_KEY_BYTES, SearchKey};
use std::{collections::BTreeMap, ops::Bound};
use uuid::Uuid;

/// A store that forgets everything when it is dropped.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    instance: Uuid,
    epoch: u64,
    search_key: SearchKey,
    position: Position,
    records: BTreeMap<Position, Record>,
    entries: BTreeMap<(SagaId, u32), Position>,
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl MemoryStore {
    /// An empty one with this instance id.
    pub fn new(instance: Uuid) -> MemoryStore {
        MemoryStore {
            instance,
            epoch: 0,
            search_key: SearchKey::new([7; SEARCH_KEY_BYTES]),
            position: 0,
            records: BTreeMap::new(),
            entries: BTreeMap::new(),
            rows: BTreeMap::new(),
        }
    }

    /// The same store with another search key, as if the old one had been lost.
    pub fn with_search_key(self, search_key: SearchKey) -> MemoryStore {
        MemoryStore { search_key, ..self }
    }

    /// The same store in another epoch, as when it was found to be an older copy.
    pub fn in_epoch(self, epoch: u64) -> MemoryStore {
        MemoryStore { epoch, ..self }
    }

    /// All rows, to compare stores with each other.
    pub fn all_rows(&self) -> impl Iterator<Item = (&(Table, Vec<u8>), &Vec<u8>)> {
        self.rows.iter()
    }
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new(Uuid::nil())
    }
}

impl Store for MemoryStore {
    fn instance(&self) -> Uuid {
        self.instance
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn position(&self) -> Position {
        self.position
    }

    fn search_key(&self) -> &SearchKey {
        &self.search_key
    }

    fn append(&mut self, batch: Batch) -> Result<(), StoreError> {
        // Other stores refuse it too: whoever gives it would end the process.
        let of_rows = batch.rows.iter().filter_map(|it| it.value.as_ref().map(Vec::len));
        let bytes = of_rows.chain(batch.records.iter().map(|it| it.bytes.len())).max();
        if let Some(bytes) = bytes.filter(|it| VALUE_BYTES_MAX < *it) {
            let reason = format!("a value of {bytes} bytes; {VALUE_BYTES_MAX} are allowed");
            return Err(StoreError::failed("append to", reason));
        }
        for record in batch.records {
            if record.position != self.position + 1 {
                let reason = format!("record {} follows {}", record.position, self.position);
                return Err(StoreError::failed("append to", reason));
            }
            self.position = record.position;
            if let Slot::Entry { saga, seq } = record.slot
                && let Some(old) = self.entries.insert((saga, seq), record.position)
            {
                self.records.remove(&old);
            }
            self.records.insert(record.position, record);
        }
        for row in batch.rows {
            match row.value {
                Some(value) => self.rows.insert((row.table, row.key), value),
                None => self.rows.remove(&(row.table, row.key)),
            };
        }
        Ok(())
    }

    fn slice(&self, saga: SagaId, from: u32, limit: usize) -> Result<Vec<Stored>, StoreError> {
        let entries = self.entries.range((saga, from)..=(saga, u32::MAX));
        let stored = |position: &Position| Stored {
            position: *position,
            bytes: self.records[position].bytes.clone(),
        };
        Ok(entries.take(limit).map(|(_, position)| stored(position)).collect())
    }

    fn entry(&self, saga: SagaId, seq: u32) -> Result<Option<Stored>, StoreError> {
        let position = self.entries.get(&(saga, seq));
        let stored =
            |it: &Position| Stored { position: *it, bytes: self.records[it].bytes.clone() };
        Ok(position.map(stored))
    }

    fn read(&self, from: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        Ok(self.records.range(from..).take(limit).map(|(_, it)| it.clone()).collect())
    }

    fn record(&self, kind: Kind, at: Position) -> Result<Option<Vec<u8>>, StoreError> {
        let record = self.records.get(&at).filter(|it| it.slot == Slot::At(kind));
        Ok(record.map(|it| it.bytes.clone()))
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn rows(&self, scan: &Scan<'_>) -> Result<Vec<KeyValue>, StoreError> {
        let key = |bytes: &[u8]| (scan.table, bytes.to_vec());
        let first = Bound::Included(key(scan.prefix));
        let beyond = scan.beyond.map(|it| Bound::Excluded(key(it)));
        let is_ours = |(table, bytes): &(Table, Vec<u8>)| {
            *table == scan.table && bytes.starts_with(scan.prefix)
        };
        let row = |(key, value): (&(Table, Vec<u8>), &Vec<u8>)| (key.1.clone(), value.clone());
        if !scan.is_backward {
            let rows = self.rows.range((beyond.unwrap_or(first), Bound::Unbounded));
            return Ok(rows.take_while(|it| is_ours(it.0)).take(scan.limit).map(row).collect());
        }
        let rows = self.rows.range((first, beyond.unwrap_or(Bound::Unbounded))).rev();
        Ok(rows.filter(|it| is_ours(it.0)).take(scan.limit).map(row).collect())
    }
}
