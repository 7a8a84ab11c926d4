//! The search index: by which personal fields a saga is found, and when it really began. Its rows
//! are folds of the sagas' first facts, so that they can be made anew at any time.

use super::{Core, reads::saga_of, routes::KeptRow, turns::hex};
use crate::{
    codec::decode,
    fold::Status,
    head::Head,
    id::{Position, SagaId, Time, short_hash},
    journal::{Fact, Start},
    store::{KeyValue, Scan, Store, StoreError, Table},
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeSet};

/// The form of the rows of the index. Form 1 had strays by their time, so that one look at a wide
/// span of time was as long as there were strays. Form 2 had nothing by which sagas of a status are
/// found.
const FORM: u32 = 3;

/// What the rows of the index were made with. Where it does not fit, they are made anew.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct IndexRow {
    /// [`FORM`]; form 1 did not say so.
    #[serde(default)]
    form: u32,
    /// The fingerprint of the search key.
    key: String,
    /// A hash over all fields that definitions are found by.
    declared: String,
}

const INDEX: &[u8] = b"search";

/// What a saga is found under that asks a person.
pub(super) const ASKS: &str = "asks";

/// All that a saga may be found under while it is open.
const OPEN_STANDINGS: [&str; 5] = [
    ASKS,
    Status::Running.as_str(),
    Status::Waiting.as_str(),
    Status::Compensating.as_str(),
    Status::Attention.as_str(),
];

/// Rows that are read, and dealt with, at once while a store is opened: it bounds what is in
/// memory.
pub(super) const ROWS_AT_ONCE: usize = 500;

impl<S: Store> Core<S> {
    /// Writes the rows under which a saga is found that starts now.
    pub(super) fn index_start(
        &mut self,
        at: Time,
        start: &Start,
        position: Position,
    ) -> Result<(), StoreError> {
        for hash in self.found_by(start)? {
            self.txn.put(Table::Found, &found_key(&hash, start.saga), &KeptRow { position })?;
        }
        if start.saga.time() != at {
            self.txn.put(Table::Stray, &stray_key(at, start.saga), &KeptRow { position })?;
        }
        Ok(())
    }

    /// Writes the rows under which a saga is found that stands so.
    pub(super) fn index_standing(
        &mut self,
        before: Option<Standing>,
        head: &Head,
    ) -> Result<(), StoreError> {
        let old = before.map(Standing::names).unwrap_or_default();
        let new = Standing::of(head).names();
        for standing in old.difference(&new) {
            self.txn.delete(Table::Standing, &standing_key(standing, head.id));
        }
        for standing in new.difference(&old) {
            let row = KeptRow { position: head.position };
            self.txn.put(Table::Standing, &standing_key(standing, head.id), &row)?;
        }
        Ok(())
    }

    /// Writes the rows of a saga of which nobody can say how it stood before.
    pub(super) fn index_standing_anew(&mut self, head: &Head) -> Result<(), StoreError> {
        for standing in OPEN_STANDINGS {
            self.txn.delete(Table::Standing, &standing_key(standing, head.id));
        }
        self.index_standing(None, head)
    }

    /// A late arm is found by what the saga is found by whose event it handles.
    fn found_by(&self, start: &Start) -> Result<BTreeSet<[u8; 16]>, StoreError> {
        let mut first = Cow::Borrowed(start);
        while let Some(origin) = first.origin {
            let origin = match self.txn.first(origin) {
                Err(err) if err.is_damage() => break,
                read => read?,
            };
            match origin.map(|it| it.fact) {
                Some(Fact::Started(start)) => first = Cow::Owned(start),
                _ => break,
            }
        }
        let definition = self.registry.get(&first.definition);
        let pointers = definition.map(|it| it.found_by()).unwrap_or_default();
        if pointers.is_empty() {
            return Ok(BTreeSet::new());
        }
        let Ok(input) = first.input.tree() else { return Ok(BTreeSet::new()) };
        let key = self.txn.store().search_key();
        let hash = |pointer| key.hash(&input.at(pointer)?.key()?);
        Ok(pointers.into_iter().filter_map(hash).collect())
    }

    /// Makes the index anew when it was made by an older build, for other fields, or with a key
    /// that is lost. Gives the number of sagas that were looked at.
    pub(super) fn reindex(&mut self) -> Result<u64, StoreError> {
        let expected = self.index_row();
        if self.txn.get::<IndexRow>(Table::Index, INDEX)?.as_ref() == Some(&expected) {
            return Ok(0);
        }
        // A start that is cut off finds no mark, and begins again.
        self.txn.delete(Table::Index, INDEX);
        for table in [Table::Found, Table::Stray, Table::Standing] {
            self.each(table, |core, (key, _)| {
                core.txn.delete(table, &key);
                Ok(())
            })?;
        }
        let mut sagas = 0;
        for table in [Table::Open, Table::Ended] {
            sagas += self.each(table, |core, (key, value)| {
                let Some(saga) = saga_of(&key) else { return Ok(()) };
                if let Some(head) = core.shown(saga, decode(&value).map(Some))? {
                    core.index_standing(None, &head)?;
                }
                let first = match core.txn.first(saga) {
                    Err(err) if err.is_damage() => None, // Found by its id and key alone.
                    read => read?,
                };
                let Some(entry) = first else { return Ok(()) };
                match entry.fact {
                    Fact::Started(start) => core.index_start(entry.at, &start, entry.position),
                    _ => Ok(()),
                }
            })?;
        }
        self.txn.put(Table::Index, INDEX, &expected)?;
        self.txn.commit()?;
        Ok(sagas)
    }

    /// Does something for each row of a table, and makes it durable chunk by chunk.
    pub(super) fn each(
        &mut self,
        table: Table,
        act: impl FnMut(&mut Self, KeyValue) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        self.each_of(table, &[], act)
    }

    /// The same for rows whose keys begin so.
    pub(super) fn each_of(
        &mut self,
        table: Table,
        prefix: &[u8],
        mut act: impl FnMut(&mut Self, KeyValue) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let (mut beyond, mut count): (Option<Vec<u8>>, u64) = (None, 0);
        loop {
            let (beyond_key, limit) = (beyond.as_deref(), ROWS_AT_ONCE);
            let scan = Scan { table, prefix, beyond: beyond_key, is_backward: false, limit };
            let rows = self.txn.store().rows(&scan)?;
            let Some((last, _)) = rows.last() else { return Ok(count) };
            beyond = Some(last.clone());
            for row in rows {
                act(self, row)?;
                count += 1;
            }
            self.txn.commit()?;
        }
    }

    fn index_row(&self) -> IndexRow {
        let definitions = self.registry.all();
        let declared = definitions.flat_map(|it| it.found_by().into_iter().map(|by| [it.name, by]));
        let declared: Vec<[&str; 2]> = declared.collect();
        let key = self.txn.store().search_key().fingerprint();
        IndexRow { form: FORM, key: hex(&key), declared: hex(&short_hash(declared.as_flattened())) }
    }
}

/// How a saga stands, as lists tell it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) status: Status,
    pub(super) paused: bool,
    asks: bool,
}

impl Standing {
    pub(super) fn of(head: &Head) -> Standing {
        let asks = head.waits.iter().any(|it| it.ask.is_some());
        Standing { status: head.status, paused: head.paused, asks }
    }

    /// Under what it is found.
    fn names(self) -> BTreeSet<&'static str> {
        self.asks.then_some(ASKS).into_iter().chain([self.status.as_str()]).collect()
    }
}

pub(super) fn standing_key(standing: &str, saga: SagaId) -> Vec<u8> {
    found_key(&short_hash(&[standing]), saga)
}

pub(super) fn found_key(hash: &[u8; 16], saga: SagaId) -> Vec<u8> {
    [&hash[..], &saga.as_bytes()[..]].concat()
}

fn stray_key(at: Time, saga: SagaId) -> Vec<u8> {
    [&saga.as_bytes()[..], &at.0.to_be_bytes()[..]].concat()
}

/// The saga of such a row, and when it began.
pub(super) fn stray_of(key: &[u8]) -> Option<(SagaId, Time)> {
    let (saga, at) = key.split_at_checked(size_of::<SagaId>())?;
    Some((saga_of(saga)?, Time(u64::from_be_bytes(at.try_into().ok()?))))
}
