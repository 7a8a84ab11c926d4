//! Whose lane it is: a lane belongs to every live saga that ever held on it, or was started from
//! it. A start key is of one saga alone, so that a lane of that key needs no row to say so; any
//! other lane, a customer's id say, may be of many, and each has a row.

use super::{Core, routes::KeptRow, turns::key_of_saga};
use crate::{
    codec::StartKeyRow,
    head::Head,
    id::{Lane, Position, SagaId, short_hash},
    journal::{Entry, Start},
    store::{Store, StoreError, Table},
};

/// What the lanes of a saga are told by.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    pub(super) saga: SagaId,
    pub(super) definition: &'a str,
    pub(super) key: &'a str,
    pub(super) origin: Option<SagaId>,
}

impl<'a> Owner<'a> {
    pub(super) fn of(start: &'a Start) -> Owner<'a> {
        let Start { saga, definition, key, origin, .. } = start;
        Owner { saga: *saga, definition, key, origin: *origin }
    }

    pub(super) fn of_head(head: &'a Head) -> Owner<'a> {
        let Head { id, definition, key, origin, .. } = head;
        Owner { saga: *id, definition, key, origin: *origin }
    }

    /// Whether no other saga of the definition has this key. Late arms have the key of the saga
    /// whose event they handle, which may be of several.
    pub(super) fn is_alone_on(&self, key: &str) -> bool {
        self.origin.is_none() && self.key == key
    }
}

impl<S: Store> Core<S> {
    /// Writes the row by which a saga that starts is found among those of its definition.
    pub(super) fn note_live(&mut self, start: &Start, at: Position) -> Result<(), StoreError> {
        let key = live_key(&start.definition, at, start.saga);
        self.txn.put(Table::Live, &key, &KeptRow { position: at }).map(drop)
    }

    pub(super) fn forget_live(&mut self, owner: Owner<'_>) -> Result<(), StoreError> {
        if let Some(at) = self.started_at(owner)? {
            self.txn.delete(Table::Live, &live_key(owner.definition, at, owner.saga));
        }
        Ok(())
    }

    /// Where the log began with the saga.
    pub(super) fn started_at(&self, owner: Owner<'_>) -> Result<Option<Position>, StoreError> {
        let row = self.txn.get::<KeptRow>(Table::Key, &key_of_saga(owner.key, owner.saga))?;
        Ok(row.map(|it| it.position))
    }

    /// Where the oldest live saga of a definition began.
    pub(super) fn oldest_live(&self, definition: &str) -> Result<Option<Position>, StoreError> {
        let prefix = short_hash(&[definition]);
        let rows = self.txn.some(Table::Live, &prefix, None, 1)?;
        let position = |key: &[u8]| Some(u64::from_be_bytes(*key.get(16..)?.first_chunk()?));
        Ok(rows.first().and_then(|it| position(&it.0)))
    }

    /// Writes on which lanes the saga holds from this entry on, of those that are new to it.
    pub(super) fn note_holds(
        &mut self,
        owner: Owner<'_>,
        is_new: impl Fn(&(String, String)) -> bool,
        entry: &Entry,
    ) -> Result<(), StoreError> {
        for (name, key) in entry.lanes() {
            let is_new = || is_new(&(name.to_owned(), key.to_owned()));
            if !owner.is_alone_on(key) && is_new() {
                let lane = Lane::of(owner.definition, name, key);
                let row = KeptRow { position: entry.position };
                self.txn.put(Table::Holder, &holder_key(&lane, owner.saga), &row)?;
            }
        }
        Ok(())
    }

    /// Whether a live saga has held on the lane, or may come to hold on it, as it has its key.
    pub(super) fn has_owner(
        &self,
        definition: &str,
        lane: &Lane,
        key: &str,
    ) -> Result<bool, StoreError> {
        if !self.txn.some(Table::Holder, &lane.0, None, 1)?.is_empty() {
            return Ok(true);
        }
        match self.started_by(definition, key)? {
            Some(saga) => self.txn.has(Table::Open, saga.as_bytes()),
            None => Ok(false),
        }
    }

    /// The saga that has the key as its start key, however it stands.
    pub(super) fn started_by(
        &self,
        definition: &str,
        key: &str,
    ) -> Result<Option<SagaId>, StoreError> {
        let start_key = short_hash(&[definition, key]);
        let row = self.txn.get::<StartKeyRow>(Table::StartKey, &start_key)?;
        Ok(row.map(|it| it.saga))
    }
}

pub(super) fn holder_key(lane: &Lane, saga: SagaId) -> Vec<u8> {
    [&lane.0[..], &saga.as_bytes()[..]].concat()
}

pub(super) fn live_key(definition: &str, at: Position, saga: SagaId) -> Vec<u8> {
    [&short_hash(&[definition])[..], &at.to_be_bytes()[..], &saga.as_bytes()[..]].concat()
}
