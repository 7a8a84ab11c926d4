use super::{Db, DbError, Row, WriteBatch, batch};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, ops::Bound};

/// Changes in the making, over a [`Db`]: it reads what it has written, and becomes a
/// [`WriteBatch`].
///
/// A group of commands shares one `Tx`. A [`Savepoint`] takes back what one of them did without
/// touching the others.
#[derive(Debug)]
pub struct Tx {
    db: Db,
    changes: BTreeMap<Vec<u8>, Change>,
    /// What each change replaced, so that it can be taken back.
    replaced: Vec<(Vec<u8>, Option<Change>)>,
}

/// The new value of a key; `None` deletes.
type Change = Option<Vec<u8>>;

/// A point in a [`Tx`] to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Savepoint(usize);

impl Tx {
    /// Begins without changes.
    pub fn over(db: &Db) -> Tx {
        Tx { db: db.clone(), changes: BTreeMap::new(), replaced: Vec::new() }
    }

    /// As [`Db::epoch`].
    pub fn epoch(&self) -> u64 {
        self.db.epoch()
    }

    /// Whether others know of what this store has never heard or has forgotten: it was put back
    /// from a copy, or was told to take the place of another store.
    pub fn may_have_forgotten(&self) -> bool {
        0 < self.epoch() || crate::claim::was_told(self.db.dir())
    }

    /// How often this store has taken the place of another one. Each time it may have missed what
    /// the other one heard.
    pub fn take_overs(&self) -> u64 {
        crate::claim::times_used(self.db.dir())
    }

    /// The value of a key, as it will be after the commit.
    ///
    /// # Errors
    /// As for [`Db::get`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => self.db.get(key),
        }
    }

    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.change(key.into(), Some(value.into()));
    }

    /// Removes a key, if it is there.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.change(key.into(), None);
    }

    /// The value of a key, read as JSON.
    ///
    /// # Errors
    /// As for [`Db::get`]; and the value is not a `T`.
    pub fn get_json<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, DbError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let read = serde_json::from_slice(&value);
        read.map(Some).map_err(|error| DbError::damaged(key, error.to_string()))
    }

    /// Sets a key to a value in JSON.
    ///
    /// # Errors
    /// The value has no JSON form.
    pub fn put_json(
        &mut self,
        key: impl Into<Vec<u8>>,
        value: &impl Serialize,
    ) -> Result<(), DbError> {
        let key = key.into();
        let value = serde_json::to_vec(value).map_err(|source| DbError::Encode {
            key: String::from_utf8_lossy(&key).into_owned(),
            source,
        })?;
        self.change(key, Some(value));
        Ok(())
    }

    /// As [`Db::scan`], over the rows as they will be after the commit.
    ///
    /// # Errors
    /// As for [`Db::scan`].
    pub fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, DbError> {
        let from = match after.filter(|after| *after >= prefix) {
            Some(after) => Bound::Excluded(after.to_vec()),
            None => Bound::Included(prefix.to_vec()),
        };
        let pending: Vec<_> = self
            .changes
            .range((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .collect();
        // Each pending change hides at most one stored row.
        let stored = self.db.scan(prefix, after, limit.saturating_add(pending.len()))?;
        Ok(merge(stored, pending, limit, |a, b| a <= b))
    }

    /// As [`Db::scan_back`], over the rows as they will be after the commit.
    ///
    /// # Errors
    /// As for [`Db::scan_back`].
    pub fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, DbError> {
        let pending: Vec<_> = self
            .changes
            .range((Bound::Included(prefix.to_vec()), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take_while(|(key, _)| before.is_none_or(|before| key.as_slice() < before))
            .collect();
        let stored = self.db.scan_back(prefix, before, limit.saturating_add(pending.len()))?;
        Ok(merge(stored, pending.into_iter().rev().collect(), limit, |a, b| a >= b))
    }

    /// Marks where it stands.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint(self.replaced.len())
    }

    /// Takes back every change since the savepoint.
    pub fn roll_back(&mut self, to: Savepoint) {
        while self.replaced.len() > to.0 {
            match self.replaced.pop() {
                Some((key, Some(change))) => self.changes.insert(key, change),
                Some((key, None)) => self.changes.remove(&key),
                None => None,
            };
        }
    }

    /// Finds the change since the savepoint, if there is one, for which [`Db::commit`] would refuse
    /// the whole group.
    ///
    /// # Errors
    /// [`DbError::Refused`] with that change.
    pub fn check_since(&self, savepoint: Savepoint) -> Result<(), DbError> {
        let since = self.replaced.get(savepoint.0..).unwrap_or_default();
        since.iter().try_for_each(|(key, _)| {
            let change = self.changes.get(key).and_then(Option::as_deref);
            batch::check(key, change)
        })
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes, ready for [`Db::commit`].
    pub fn into_batch(self) -> WriteBatch {
        WriteBatch { changes: self.changes }
    }

    fn change(&mut self, key: Vec<u8>, change: Change) {
        let before = self.changes.insert(key.clone(), change);
        self.replaced.push((key, before));
    }
}

/// Two sorted runs into one; where both have a key, the pending change counts.
fn merge(
    stored: Vec<Row>,
    pending: Vec<(&Vec<u8>, &Change)>,
    limit: usize,
    comes_first: impl Fn(&[u8], &[u8]) -> bool,
) -> Vec<Row> {
    let mut merged = Vec::new();
    let mut stored = stored.into_iter().peekable();
    let mut pending = pending.into_iter().peekable();
    while merged.len() < limit {
        let take_pending = match (stored.peek(), pending.peek()) {
            (None, None) => break,
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some((key, _)), Some((change, _))) => comes_first(change, key),
        };
        if !take_pending {
            merged.extend(stored.next());
            continue;
        }
        let Some((key, change)) = pending.next() else { break };
        stored.next_if(|(hidden, _)| hidden == key);
        if let Some(value) = change {
            merged.push((key.clone(), value.clone()));
        }
    }
    merged
}
