//! The one log and its rows on guarded sled: one tree, one byte of prefix for each kind.
//!
//! ```text
//! e  saga (16) ‖ seq (u32)     an entry of a journal: position (u64) ‖ bytes
//! v n a  position (u64)        an event, a note, an audit record: bytes
//! A…     a row of a table, under the table's own letter and the row's own key
//! ```
//!
//! All numbers are big-endian and of fixed width, so that keys sort as what they name. A journal is
//! one range, and an entry that is written again replaces the old one. The price is that
//! [`Store::read`], the log by position, scans every record: it is for rebuilds and exports only.

use crate::search_key::{self, SearchKeyError};
use chassis::db::{Db, DbError, WriteBatch};
use saga_core::{
    id::{Position, SagaId},
    search::SearchKey,
    store::{
        Batch, KeyValue, Kind, Record, Scan, Slot, Store, StoreError, Stored, Table,
        VALUE_BYTES_MAX,
    },
};
use std::collections::BTreeMap;
use uuid::Uuid;

const ENTRY: u8 = b'e';
const KINDS: [Kind; 3] = [Kind::Event, Kind::Note, Kind::Audit];
const POSITION_BYTES: usize = size_of::<Position>();
/// How many records a scan of the whole log holds in memory at once.
const SCAN_ROWS: usize = 1_000;

// What the core may give fits, with its position before it.
const _: () = assert!(VALUE_BYTES_MAX + POSITION_BYTES <= chassis::db::VALUE_BYTES_MAX);

/// A store in a directory of its own.
#[derive(Debug)]
pub(crate) struct SledStore {
    db: Db,
    search_key: SearchKey,
}

impl SledStore {
    /// # Errors
    /// The search key beside the store can be neither read nor made.
    pub(crate) fn new(db: Db) -> Result<SledStore, SearchKeyError> {
        let search_key = search_key::read_or_make(db.dir())?;
        Ok(SledStore { db, search_key })
    }

    /// Which store this is, in one line: a wrong one is seen at once.
    pub(crate) fn describe(&self, calls_owed: usize, publishes_owed: usize) {
        let db = &self.db;
        tracing::info!(
            dir = %db.dir().display(), instance = %db.instance(), epoch = db.epoch(),
            position = db.position(), last_commit_ago = db.age(), calls_owed, publishes_owed,
            "the store is open"
        );
    }

    /// Positions of events and notes below this one, the last first: at most `limit`.
    pub(crate) fn records_before(
        &self,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Kind, Position)>, StoreError> {
        let mut found = Vec::new();
        for kind in [Kind::Event, Kind::Note] {
            let before = before.map(|it| record_key(kind, it));
            let rows = self.db.scan_back(&[kind_letter(kind)], before.as_deref(), limit);
            for (key, _) in rows.map_err(read)? {
                found.push((kind, u64::from_be_bytes(fixed(&key[1..])?)));
            }
        }
        found.sort_by_key(|it| std::cmp::Reverse(it.1));
        found.truncate(limit);
        Ok(found)
    }

    /// Every record of a prefix, in chunks.
    fn each(
        &self,
        prefix: u8,
        mut take: impl FnMut(&[u8], Vec<u8>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.db.scan(&[prefix], after.as_deref(), SCAN_ROWS).map_err(read)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, value) in rows {
                take(&key, value)?;
            }
        }
    }
}

impl Store for SledStore {
    fn instance(&self) -> Uuid {
        self.db.instance()
    }

    fn epoch(&self) -> u64 {
        self.db.epoch()
    }

    fn position(&self) -> Position {
        self.db.position()
    }

    fn search_key(&self) -> &SearchKey {
        &self.search_key
    }

    fn append(&mut self, batch: Batch) -> Result<(), StoreError> {
        let mut position = self.db.position();
        let mut writes = WriteBatch::new();
        for record in batch.records {
            if record.position != position + 1 {
                let reason = format!("record {} follows {position}", record.position);
                return Err(StoreError::failed("append to", reason));
            }
            position = record.position;
            match record.slot {
                Slot::Entry { saga, seq } => {
                    let mut value = position.to_be_bytes().to_vec();
                    value.extend_from_slice(&record.bytes);
                    writes.put(entry_key(saga, seq), value);
                }
                Slot::At(kind) => writes.put(record_key(kind, position), record.bytes),
            }
        }
        for row in batch.rows {
            let key = row_key(row.table, &row.key);
            match row.value {
                Some(value) => writes.put(key, value),
                None => writes.delete(key),
            }
        }
        self.db.commit(writes, position).map_err(|err| failed("append to", &err))
    }

    fn slice(&self, saga: SagaId, from: u32, limit: usize) -> Result<Vec<Stored>, StoreError> {
        let before = from.checked_sub(1).map(|seq| entry_key(saga, seq));
        let prefix = &entry_key(saga, 0)[..1 + saga.as_bytes().len()];
        let rows = self.db.scan(prefix, before.as_deref(), limit).map_err(read)?;
        rows.into_iter().map(|(_, value)| stored(value)).collect()
    }

    fn entry(&self, saga: SagaId, seq: u32) -> Result<Option<Stored>, StoreError> {
        let value = self.db.get(&entry_key(saga, seq)).map_err(read)?;
        value.map(stored).transpose()
    }

    fn read(&self, from: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        let mut first: BTreeMap<Position, Record> = BTreeMap::new();
        let mut keep = |record: Record| {
            if record.position >= from {
                first.insert(record.position, record);
                if first.len() > limit {
                    first.pop_last();
                }
            }
        };
        self.each(ENTRY, |key, value| {
            let slot = entry_slot(key)?;
            let Stored { position, bytes } = stored(value)?;
            keep(Record { position, slot, bytes });
            Ok(())
        })?;
        for kind in KINDS {
            self.each(kind_letter(kind), |key, bytes| {
                let position = u64::from_be_bytes(fixed(&key[1..])?);
                keep(Record { position, slot: Slot::At(kind), bytes });
                Ok(())
            })?;
        }
        Ok(first.into_values().collect())
    }

    fn record(&self, kind: Kind, at: Position) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get(&record_key(kind, at)).map_err(read)
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get(&row_key(table, key)).map_err(read)
    }

    fn rows(&self, scan: &Scan<'_>) -> Result<Vec<KeyValue>, StoreError> {
        let prefix = row_key(scan.table, scan.prefix);
        let beyond = scan.beyond.map(|key| row_key(scan.table, key));
        let rows = if scan.is_backward {
            self.db.scan_back(&prefix, beyond.as_deref(), scan.limit)
        } else {
            self.db.scan(&prefix, beyond.as_deref(), scan.limit)
        };
        let rows = rows.map_err(read)?;
        Ok(rows.into_iter().map(|(key, value)| (key[1..].to_vec(), value)).collect())
    }
}

fn entry_key(saga: SagaId, seq: u32) -> Vec<u8> {
    let mut key = vec![ENTRY];
    key.extend_from_slice(saga.as_bytes());
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

fn entry_slot(key: &[u8]) -> Result<Slot, StoreError> {
    let (saga, seq) = key[1..].split_at_checked(16).ok_or_else(short)?;
    let saga = SagaId(Uuid::from_bytes(fixed(saga)?));
    Ok(Slot::Entry { saga, seq: u32::from_be_bytes(fixed(seq)?) })
}

fn record_key(kind: Kind, at: Position) -> Vec<u8> {
    let mut key = vec![kind_letter(kind)];
    key.extend_from_slice(&at.to_be_bytes());
    key
}

fn row_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(table_letter(table));
    full.extend_from_slice(key);
    full
}

fn kind_letter(kind: Kind) -> u8 {
    match kind {
        Kind::Event => b'v',
        Kind::Note => b'n',
        Kind::Audit => b'a',
    }
}

fn table_letter(table: Table) -> u8 {
    match table {
        Table::Open => b'O',
        Table::Ended => b'E',
        Table::Kept => b'K',
        Table::Identity => b'I',
        Table::StartKey => b'S',
        Table::Claim => b'C',
        Table::Decided => b'D',
        Table::Unrouted => b'U',
        Table::Key => b'Q',
        Table::Found => b'F',
        Table::Stray => b'T',
        Table::Index => b'X',
        Table::Offered => b'R',
        Table::Abandoned => b'A',
        Table::Struck => b'B',
        Table::Holder => b'H',
        Table::Live => b'L',
        Table::Leaving => b'G',
        Table::Sweep => b'W',
        Table::Declared => b'Y',
        Table::Standing => b'Z',
        Table::Copy => b'P',
        Table::Hold => b'M',
    }
}

fn stored(mut value: Vec<u8>) -> Result<Stored, StoreError> {
    let bytes = match value.len() {
        POSITION_BYTES.. => value.split_off(POSITION_BYTES),
        _ => return Err(short()),
    };
    Ok(Stored { position: u64::from_be_bytes(fixed(&value)?), bytes })
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| short())
}

fn short() -> StoreError {
    StoreError::failed("read", "a key or a value has the wrong length")
}

fn read(err: DbError) -> StoreError {
    failed("read", &err)
}

fn failed(action: &'static str, err: &DbError) -> StoreError {
    StoreError::failed(action, err.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::db::DbOptions;
    use saga_core::store::{Row, conformance};

    fn open(dir: &std::path::Path) -> SledStore {
        let db = Db::open(dir, DbOptions::default()).expect("the store opens");
        SledStore::new(db).expect("its search key")
    }

    #[test]
    fn the_store_conforms_over_reopening() {
        let dir = tempfile::tempdir().expect("a directory");
        conformance::check(open(dir.path()), |store| {
            drop(store);
            open(dir.path())
        });
    }

    #[test]
    fn tables_and_kinds_do_not_share_letters() {
        use Table::*;
        let tables = [
            Open, Ended, Kept, Identity, StartKey, Claim, Decided, Unrouted, Key, Found, Stray,
            Index, Offered, Abandoned, Struck, Holder, Live, Leaving, Sweep, Declared, Standing,
        ];
        let mut letters: Vec<u8> = tables.map(table_letter).to_vec();
        letters.extend(KINDS.map(kind_letter));
        letters.push(ENTRY);
        let distinct: std::collections::BTreeSet<&u8> = letters.iter().collect();
        assert_eq!(distinct.len(), letters.len());
    }

    #[test]
    fn a_batch_that_leaves_a_gap_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut store = open(dir.path());
        let record = Record { position: 2, slot: Slot::At(Kind::Note), bytes: b"x".to_vec() };
        let batch = Batch { records: vec![record], rows: Vec::new() };
        assert!(store.append(batch).is_err());
        let row = Row { table: Table::Open, key: b"k".to_vec(), value: Some(b"v".to_vec()) };
        store.append(Batch { records: Vec::new(), rows: vec![row] }).expect("rows alone are fine");
    }
}
