//! What can be asked of the core between batches: all of it is durable then.

use super::{Core, turns::key_of_saga};
use crate::{
    codec::{EventRecord, IdentityRow, decode},
    fold::{OpenWait, Status},
    head::Head,
    id::{Position, SagaId, short_hash},
    journal::Entry,
    store::{Kind, Scan, Store, StoreError, Table},
};

/// Which heads, newest first.
#[derive(Clone, Debug, Default)]
pub struct HeadQuery {
    /// Only those that stand here.
    pub status: Option<Status>,
    /// Only those of this definition.
    pub definition: Option<String>,
    /// Only those with this business key.
    pub key: Option<String>,
    /// Only those with an open task.
    pub asks: bool,
    /// Only those older than this one.
    pub before: Option<SagaId>,
    /// At most so many.
    pub limit: usize,
}

/// An event, and what became of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where it is in the log.
    pub position: Position,
    /// The event.
    pub event: EventRecord,
    /// What became of it; nothing when its identity was forgotten, or it lost a conflict.
    pub identity: Option<IdentityRow>,
}

/// Rows that are read at once while a query looks for those that fit.
const ROWS_AT_ONCE: usize = 256;

impl<S: Store> Core<S> {
    /// The head of a saga, open or ended.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn head(&self, saga: SagaId) -> Result<Option<Head>, StoreError> {
        match self.txn.get(Table::Open, saga.as_bytes())? {
            Some(head) => Ok(Some(head)),
            None => self.txn.get(Table::Ended, saga.as_bytes()),
        }
    }

    /// The journal of a saga, open or ended; empty when there is none.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn journal(&self, saga: SagaId) -> Result<Vec<Entry>, StoreError> {
        self.txn.journal(saga)
    }

    /// Heads that fit a query, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn heads(&self, query: &HeadQuery) -> Result<Vec<Head>, StoreError> {
        if let Some(key) = &query.key {
            return self.heads_of(key, query);
        }
        let is_ended = query.status.map(Status::is_ended);
        let mut heads = Vec::new();
        if is_ended != Some(true) {
            heads.extend(self.heads_in(Table::Open, query)?);
        }
        if is_ended != Some(false) && !query.asks {
            heads.extend(self.heads_in(Table::Ended, query)?);
        }
        heads.sort_by_key(|it| std::cmp::Reverse(it.id));
        heads.truncate(query.limit);
        Ok(heads)
    }

    /// Open tasks with their sagas, newest saga first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn tasks(
        &self,
        before: Option<SagaId>,
        limit: usize,
    ) -> Result<Vec<(Head, OpenWait)>, StoreError> {
        let query = HeadQuery { asks: true, before, limit, ..HeadQuery::default() };
        let heads = self.heads(&query)?.into_iter();
        Ok(heads
            .flat_map(|head| {
                let asks = head.waits.iter().filter(|it| it.ask.is_some()).cloned();
                let asks: Vec<OpenWait> = asks.collect();
                asks.into_iter().map(move |it| (head.clone(), it))
            })
            .collect())
    }

    /// Events from this position on backward, newest first, with their verdicts.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn event(&self, position: Position) -> Result<Option<Seen>, StoreError> {
        let Some(event) = self.txn.record::<EventRecord>(Kind::Event, position)? else {
            return Ok(None);
        };
        let key = super::events::identity_key(&event.name, &event.source, &event.id);
        let identity = self.txn.get::<IdentityRow>(Table::Identity, &key)?;
        let identity = identity.filter(|it| it.position == position);
        Ok(Some(Seen { position, event, identity }))
    }

    /// The sagas of a key are few, and found without looking at others.
    fn heads_of(&self, key: &str, query: &HeadQuery) -> Result<Vec<Head>, StoreError> {
        let prefix = short_hash(&[key]);
        let mut heads = Vec::new();
        let mut beyond = query.before.map(|it| key_of_saga(key, it));
        while heads.len() < query.limit {
            let scan = Scan {
                table: Table::Key,
                prefix: &prefix,
                beyond: beyond.as_deref(),
                is_backward: true,
                limit: ROWS_AT_ONCE,
            };
            let rows = self.txn.store().rows(&scan)?;
            for (row, _) in &rows {
                let head = saga_of(row).map(|saga| self.head(saga)).transpose()?.flatten();
                heads.extend(head.filter(|it| query.fits(it)));
            }
            match rows.last() {
                Some((row, _)) if rows.len() == ROWS_AT_ONCE => beyond = Some(row.clone()),
                _ => break,
            }
        }
        heads.truncate(query.limit);
        Ok(heads)
    }

    fn heads_in(&self, table: Table, query: &HeadQuery) -> Result<Vec<Head>, StoreError> {
        let mut heads: Vec<Head> = Vec::new();
        let mut beyond: Option<Vec<u8>> = query.before.map(|it| it.as_bytes().to_vec());
        while heads.len() < query.limit {
            let scan = Scan {
                table,
                prefix: &[],
                beyond: beyond.as_deref(),
                is_backward: true,
                limit: ROWS_AT_ONCE,
            };
            let rows = self.txn.store().rows(&scan)?;
            for (_, value) in &rows {
                let head: Head = decode(value)?;
                if query.fits(&head) {
                    heads.push(head);
                }
            }
            match rows.last() {
                Some((key, _)) if rows.len() == ROWS_AT_ONCE => beyond = Some(key.clone()),
                _ => break,
            }
        }
        heads.truncate(query.limit);
        Ok(heads)
    }
}

/// The saga of a row by key: what stands behind the hash.
fn saga_of(row: &[u8]) -> Option<SagaId> {
    uuid::Uuid::from_slice(row.get(16..)?).ok().map(SagaId)
}

impl HeadQuery {
    fn fits(&self, head: &Head) -> bool {
        self.status.is_none_or(|it| it == head.status)
            && self.definition.as_ref().is_none_or(|it| *it == head.definition)
            && self.key.as_ref().is_none_or(|it| *it == head.key)
            && (!self.asks || head.waits.iter().any(|it| it.ask.is_some()))
    }
}
