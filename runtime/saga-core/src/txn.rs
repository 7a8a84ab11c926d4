//! The batch being made: it reads through to the store, and is written as one.

use crate::{
    codec::{decode, encode},
    id::{Position, SagaId},
    journal::{Entry, Turn},
    store::{Batch, KeyValue, Kind, Record, Row, Scan, Slot, Store, StoreError, Table},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, ops::Bound};

pub(crate) struct Txn<S> {
    store: S,
    records: Vec<Record>,
    rows: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    entries: BTreeMap<(SagaId, u32), (Entry, usize)>,
}

impl<S: Store> Txn<S> {
    pub(crate) fn new(store: S) -> Txn<S> {
        let (records, rows, entries) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Txn { store, records, rows, entries }
    }

    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    /// For tests that change a store under its core.
    #[cfg(test)]
    pub(crate) fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// The position that the next record gets.
    pub(crate) fn next(&self) -> Position {
        self.records.last().map_or(self.store.position(), |it| it.position) + 1
    }

    /// Records and rows of the batch.
    pub(crate) fn rows(&self) -> usize {
        self.records.len() + self.rows.len()
    }

    /// The sagas of the entries of this batch, with how many records each entry has.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (SagaId, u64)> + '_ {
        self.entries.iter().map(|((saga, _), (entry, _))| {
            let decisions = match &entry.turn {
                Turn::Done { decisions, .. } => decisions.len(),
                Turn::Held(_) => 0,
            };
            (*saga, 1 + decisions as u64)
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.rows.is_empty()
    }

    pub(crate) fn put_record<T: Serialize>(
        &mut self,
        kind: Kind,
        it: &T,
    ) -> Result<Position, StoreError> {
        let (position, bytes) = (self.next(), encode(it)?);
        self.records.push(Record { position, slot: Slot::At(kind), bytes });
        Ok(position)
    }

    /// Writes a record of this batch anew, at its place.
    pub(crate) fn amend_record<T: Serialize>(
        &mut self,
        position: Position,
        it: &T,
    ) -> Result<(), StoreError> {
        let bytes = encode(it)?;
        if let Some(record) = self.pending(position).and_then(|at| self.records.get_mut(at)) {
            record.bytes = bytes;
        }
        Ok(())
    }

    /// Writes an entry; its position must be the next one. Gives its size in bytes.
    pub(crate) fn put_entry(
        &mut self,
        saga: SagaId,
        seq: u32,
        entry: Entry,
    ) -> Result<usize, StoreError> {
        let bytes = crate::codec::encode_entry(&entry)?;
        let size = bytes.len();
        let (position, slot) = (entry.position, Slot::Entry { saga, seq });
        self.records.push(Record { position, slot, bytes });
        self.entries.insert((saga, seq), (entry, size));
        Ok(size)
    }

    /// Writes a row. Gives its size in bytes.
    pub(crate) fn put<T: Serialize>(
        &mut self,
        table: Table,
        key: &[u8],
        it: &T,
    ) -> Result<usize, StoreError> {
        let value = encode(it)?;
        let size = value.len();
        self.put_encoded(table, key, value);
        Ok(size)
    }

    /// Writes a row that is encoded already.
    pub(crate) fn put_encoded(&mut self, table: Table, key: &[u8], value: Vec<u8>) {
        self.rows.insert((table, key.to_vec()), Some(value));
    }

    /// Deletes a row that is written once: if this batch wrote it, it is as if nobody had.
    pub(crate) fn take_back(&mut self, table: Table, key: &[u8]) {
        if self.rows.remove(&(table, key.to_vec())).is_none() {
            self.delete(table, key);
        }
    }

    pub(crate) fn delete(&mut self, table: Table, key: &[u8]) {
        self.rows.insert((table, key.to_vec()), None);
    }

    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        let bytes = match self.rows.get(&(table, key.to_vec())) {
            Some(pending) => pending.clone(),
            None => self.store.row(table, key)?,
        };
        let place = || format!("a row of {table:?}, key {}", hex(key));
        bytes.map(|it| decode(&it).map_err(|err| err.at(place))).transpose()
    }

    /// Whether there is such a row, whether it can be read or not.
    pub(crate) fn has(&self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        match self.rows.get(&(table, key.to_vec())) {
            Some(pending) => Ok(pending.is_some()),
            None => self.store.row(table, key).map(|it| it.is_some()),
        }
    }

    pub(crate) fn record<T: DeserializeOwned>(
        &self,
        kind: Kind,
        at: Position,
    ) -> Result<Option<T>, StoreError> {
        let pending = self.pending(at).and_then(|at| self.records.get(at));
        let bytes = match pending.filter(|it| it.slot == Slot::At(kind)) {
            Some(pending) => Some(pending.bytes.clone()),
            None => self.store.record(kind, at)?,
        };
        let place = || format!("the record at position {at}");
        bytes.map(|it| decode(&it).map_err(|err| err.at(place))).transpose()
    }

    /// Where among the records of this batch the one with this position would be.
    fn pending(&self, position: Position) -> Option<usize> {
        let first = self.records.first()?.position;
        position.checked_sub(first).and_then(|at| usize::try_from(at).ok())
    }

    /// Rows whose key begins so, ascending, behind the key `beyond`: at most `limit`.
    pub(crate) fn some(
        &self,
        table: Table,
        prefix: &[u8],
        beyond: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        /// What is pending may take rows away: the next ones are read along then.
        const MORE: usize = 64;
        let (mut found, mut beyond) = (Vec::new(), beyond.map(<[u8]>::to_vec));
        loop {
            let first = match &beyond {
                Some(beyond) => Bound::Excluded((table, beyond.clone())),
                None => Bound::Included((table, prefix.to_vec())),
            };
            let is_ours = |(it, key): &(Table, Vec<u8>)| *it == table && key.starts_with(prefix);
            let mut pending = self.rows.range((first, Bound::Unbounded)).peekable();
            let is_thinned = pending.peek().is_some_and(|it| is_ours(it.0) && it.1.is_none());
            let at_once = if is_thinned { limit.max(MORE) } else { limit };
            let (is_backward, after) = (false, beyond.as_deref());
            let scan = Scan { table, prefix, beyond: after, is_backward, limit: at_once };
            let stored = self.store.rows(&scan)?;
            // Behind the last of these there may be more, which go before what is pending there.
            let until = stored.last().filter(|_| stored.len() == at_once).map(|it| it.0.clone());
            let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
            let pending = pending.take_while(|it| {
                is_ours(it.0) && until.as_ref().is_none_or(|last| it.0.1 <= *last)
            });
            for ((_, key), value) in pending {
                match value {
                    Some(value) => rows.insert(key.clone(), value.clone()),
                    None => rows.remove(key),
                };
            }
            found.extend(rows);
            if until.is_none() || limit <= found.len() {
                found.truncate(limit);
                return Ok(found);
            }
            beyond = until;
        }
    }

    /// The first entry of a saga's journal.
    pub(crate) fn first(&self, saga: SagaId) -> Result<Option<Entry>, StoreError> {
        if let Some((entry, _)) = self.entries.get(&(saga, 0)) {
            return Ok(Some(entry.clone()));
        }
        let stored = self.store.entry(saga, 0)?;
        let place = || "entry 0".to_owned();
        stored.map(|it| crate::codec::decode_entry(&it).map_err(|err| err.at(place))).transpose()
    }

    /// The whole journal of a saga.
    pub(crate) fn journal(&self, saga: SagaId) -> Result<Vec<Entry>, StoreError> {
        Ok(self.sized_journal(saga)?.into_iter().map(|it| it.0).collect())
    }

    /// The same, with the size of each entry in bytes.
    pub(crate) fn sized_journal(&self, saga: SagaId) -> Result<Vec<(Entry, usize)>, StoreError> {
        self.piece(saga, 0, usize::MAX)
    }

    /// The journal of a saga from this entry on, at most so many entries.
    pub(crate) fn piece(
        &self,
        saga: SagaId,
        from: u32,
        limit: usize,
    ) -> Result<Vec<(Entry, usize)>, StoreError> {
        let stored = self.store.slice(saga, from, limit)?;
        let mut piece = Vec::with_capacity(stored.len() + 1);
        for it in &stored {
            let number = from as usize + piece.len();
            let place = || format!("entry {number} at position {}", it.position);
            let entry = crate::codec::decode_entry(it).map_err(|err| err.at(place))?;
            piece.push((entry, it.bytes.len()));
        }
        let last = from.saturating_add(u32::try_from(limit.saturating_sub(1)).unwrap_or(u32::MAX));
        for ((_, seq), entry) in self.entries.range((saga, from)..=(saga, last)) {
            match piece.get_mut((seq - from) as usize) {
                Some(old) => *old = entry.clone(),
                None => piece.push(entry.clone()),
            }
        }
        Ok(piece)
    }

    /// Makes everything durable, and begins anew.
    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        if self.is_empty() {
            return Ok(());
        }
        self.entries.clear();
        let records = std::mem::take(&mut self.records);
        let rows = std::mem::take(&mut self.rows).into_iter();
        let rows = rows.map(|((table, key), value)| Row { table, key, value }).collect();
        self.store.append(Batch { records, rows })
    }
}

/// A key for whoever looks for it with a tool.
fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}
