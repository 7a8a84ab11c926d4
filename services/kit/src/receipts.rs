//! Whose receipts: what the runtime says that it holds, and what that is worth when its store is a
//! copy, or another one.
//!
//! The service remembers which store of the runtime it was receipted by last, and how far each one
//! had come. From that follows:
//!
//! | the runtime speaks with | what was receipted |
//! |---|---|
//! | the same store | stays |
//! | a later epoch of it, opened in an older one | by that one up to there stays; all else is owed again |
//! | an older epoch of it | stays, and this receipt counts for nothing |
//! | a store that the service has not known | stays, for the first store may come back |
//! | a store that it has known before | since then, by other stores, is owed again |
//!
//! An epoch is a branch of the log that begins in an older one. So positions are compared within
//! one epoch only: a copy of before an epoch began holds nothing of it, however far it had come.
//!
//! And the service is a witness. A question, or a notice, that contradicts what it remembers is
//! answered with that: the runtime cannot know from its own directory that it has lost something.

use crate::{
    outbox::{Receipted, number, settle},
    rows,
};
use chassis::db::{DbError, Tx};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Restores whose events are owed again at the same time; there is hardly ever one.
const UNFINISHED_MAX: usize = 64;

/// What the runtime sends: after its fsync, and as a notice of which store it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// Ids of events that it holds; none in a notice.
    #[serde(default)]
    pub(crate) ids: Vec<String>,
    /// Its store; nil in receipts of before they named it.
    #[serde(default)]
    pub(crate) instance: Uuid,
    pub(crate) epoch: u64,
    /// Where its log ends; in a notice, where its epoch began: 0 when nobody knows that any more.
    pub(crate) position: u64,
    /// Names the run of its process.
    #[serde(default)]
    pub(crate) run: Uuid,
    /// The epoch in which that run opened the store; absent from receipts of before they said so.
    #[serde(default)]
    pub(crate) opened_in: Option<u64>,
    /// The position at which that run opened the store.
    #[serde(default)]
    pub(crate) opened_at: u64,
    /// Whether it only asks who knows another store: nobody has owned that up to now.
    #[serde(default)]
    pub(crate) asks: bool,
}

/// What a service knows of the runtime's store, as an answer to a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) instance: Uuid,
    pub(crate) epoch: u64,
    pub(crate) position: u64,
}

/// Which receipts count for nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lost {
    /// The store is a copy that ends at this position of an older epoch, and has begun this epoch
    /// there; where nobody knows the older one, it may hold nothing.
    Restored {
        instance: Uuid,
        epoch: u64,
        position: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opened_in: Option<u64>,
    },
    /// The store has come back after others, of later reigns, had its place.
    Returned { instance: Uuid, since: u64 },
}

impl Lost {
    pub(crate) fn holds_for(&self, receipted: &Receipted) -> bool {
        match *self {
            Lost::Restored { instance, epoch, position, opened_in } => {
                let is_its = receipted.instance == instance || receipted.instance.is_nil();
                let is_held = opened_in == Some(receipted.epoch) && receipted.position <= position;
                is_its && receipted.epoch < epoch && !is_held
            }
            Lost::Returned { instance, since } => {
                receipted.instance != instance && since < receipted.reign
            }
        }
    }

    /// The row stands until all of it is owed again, also over a crash.
    fn row(&self) -> Result<Vec<u8>, DbError> {
        let encoded = serde_json::to_vec(self).map_err(|source| DbError::Encode {
            key: String::from_utf8_lossy(rows::RESTORED).into_owned(),
            source,
        })?;
        Ok([rows::RESTORED, &encoded].concat())
    }

    pub(crate) fn is_done(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.delete(self.row()?);
        if let Lost::Restored { epoch, .. } = self {
            tx.delete(rows::numbered(rows::RESTORED, *epoch));
        }
        Ok(())
    }
}

/// The store by which the service was receipted last.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Current {
    instance: Uuid,
    reign: u64,
}

/// How far a store of the runtime had come, by its receipts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Memory {
    epoch: u64,
    position: u64,
    /// The run that was heard last.
    run: Uuid,
    /// A run has begun below what an earlier one had receipted, in the same epoch.
    is_behind: bool,
    /// The last reign of this store.
    reign: u64,
}

/// What a receipt or a notice changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Numbers of events that are now receipted.
    pub(crate) receipted: Vec<u64>,
    /// What is owed again.
    pub(crate) lost: Vec<Lost>,
    /// What the service knows better.
    pub(crate) objection: Option<Known>,
}

/// Takes a receipt or a notice.
pub(crate) fn hear(tx: &mut Tx, it: &Receipt, now: DateTime<Utc>) -> Result<Heard, DbError> {
    let mut heard = Heard::default();
    let before = current(tx)?;
    if let Some(current) = before.filter(|current| it.asks && current.instance != it.instance) {
        heard.objection = known(tx, current)?;
        return Ok(heard);
    }
    let Some(reign) = reign(tx, before, it, &mut heard)? else { return Ok(heard) };
    let memory = memory(tx, it.instance)?;
    if let Some(memory) = memory.filter(|memory| it.epoch < memory.epoch) {
        if memory.run == it.run && !it.run.is_nil() {
            // It has begun the later one itself since it said this.
            return Ok(heard);
        }
        // One that was superseded by a restore may still be talking, or does not know of it.
        tracing::warn!(epoch = it.epoch, known = memory.epoch, "a receipt of an older epoch");
        heard.objection = Some(memory.known(it.instance));
        return Ok(heard);
    }
    if let Some(older) = memory.filter(|memory| memory.epoch < it.epoch) {
        tracing::warn!(older = older.epoch, epoch = it.epoch, "the runtime's store was restored");
        heard.lost.push(restored(it));
    }
    let next = Memory::after(memory, it, reign);
    if memory != Some(next) {
        tx.put_json(rows::known(it.instance.as_bytes()), &next)?;
    }
    if next.is_behind {
        heard.objection = Some(next.known(it.instance));
    }
    for lost in &heard.lost {
        tx.put(lost.row()?, []);
    }
    let Receipt { instance, epoch, position, .. } = *it;
    let receipted = Receipted { at: now, instance, epoch, position, reign };
    heard.receipted = settle(tx, &it.ids, receipted)?;
    Ok(heard)
}

/// The reign in which the store speaks; none when it has not receipted anything yet.
fn reign(
    tx: &mut Tx,
    before: Option<Current>,
    it: &Receipt,
    heard: &mut Heard,
) -> Result<Option<u64>, DbError> {
    let reign = match before {
        Some(current) if current.instance == it.instance => return Ok(Some(current.reign)),
        // A store that has only been announced takes nobody's place.
        None if it.ids.is_empty() => return Ok(None),
        None => 1,
        // Receipts did not name their store: it is the same one.
        Some(current) if current.instance.is_nil() => {
            if let Some(memory) = memory(tx, Uuid::nil())? {
                tx.put_json(rows::known(it.instance.as_bytes()), &memory)?;
            }
            current.reign
        }
        Some(current) => match memory(tx, it.instance)? {
            None if it.ids.is_empty() => return Ok(None),
            known => {
                let (was, is) = (current.instance, it.instance);
                tracing::warn!(%was, %is, "the runtime has another store than before");
                let returned = |it: Memory| Lost::Returned { instance: is, since: it.reign };
                heard.lost.extend(known.map(returned));
                current.reign + 1
            }
        },
    };
    tx.put_json(rows::NEWEST, &Current { instance: it.instance, reign })?;
    Ok(Some(reign))
}

/// A later run does not know where the epoch began: then everything of older epochs is owed, which
/// costs time and nothing else.
fn restored(it: &Receipt) -> Lost {
    let Receipt { instance, epoch, opened_in, .. } = *it;
    let opened = match opened_in {
        Some(older) => (older < epoch).then_some((older, it.opened_at)),
        // A notice of before they said so. The first epoch of all began in none but epoch 0.
        None => (epoch == 1 && it.ids.is_empty()).then_some((0, it.position)),
    };
    let (opened_in, position) = opened.unzip();
    Lost::Restored { instance, epoch, position: position.unwrap_or_default(), opened_in }
}

impl Memory {
    fn after(before: Option<Memory>, it: &Receipt, reign: u64) -> Memory {
        let position = if it.ids.is_empty() { 0 } else { it.position };
        match before.filter(|before| before.epoch == it.epoch) {
            None => Memory { epoch: it.epoch, position, run: it.run, is_behind: false, reign },
            Some(before) => {
                let is_other = before.run != it.run && !before.run.is_nil() && !it.run.is_nil();
                // Two copies may have begun the same epoch, each where it was opened.
                let has_begun_it = it.opened_in.is_some_and(|older| older < it.epoch);
                let is_lost = is_other && (has_begun_it || it.opened_at < before.position);
                Memory {
                    position: before.position.max(position),
                    run: it.run,
                    is_behind: before.is_behind || is_lost,
                    reign,
                    ..before
                }
            }
        }
    }

    fn known(self, instance: Uuid) -> Known {
        Known { instance, epoch: self.epoch, position: self.position }
    }
}

fn current(tx: &Tx) -> Result<Option<Current>, DbError> {
    match tx.get(rows::NEWEST)? {
        None => Ok(None),
        // The epoch alone, as it was kept before receipts named their store.
        Some(bytes) if bytes.len() == size_of::<u64>() => {
            Ok(Some(Current { instance: Uuid::nil(), reign: 0 }))
        }
        Some(_) => tx.get_json(rows::NEWEST),
    }
}

fn memory(tx: &Tx, instance: Uuid) -> Result<Option<Memory>, DbError> {
    if let Some(memory) = tx.get_json(&rows::known(instance.as_bytes()))? {
        return Ok(Some(memory));
    }
    let bytes =
        tx.get(rows::NEWEST)?.filter(|it| instance.is_nil() && it.len() == size_of::<u64>());
    Ok(bytes.map(|bytes| {
        let (epoch, run) = (number(Some(bytes)), Uuid::nil());
        Memory { epoch, position: 0, run, is_behind: false, reign: 0 }
    }))
}

fn known(tx: &Tx, current: Current) -> Result<Option<Known>, DbError> {
    Ok(memory(tx, current.instance)?.map(|it| it.known(current.instance)))
}

/// What a process that died has not all owed again.
pub(crate) fn unfinished(tx: &Tx) -> Result<Vec<Lost>, DbError> {
    let rows = tx.scan(rows::RESTORED, None, UNFINISHED_MAX)?;
    let lost = rows.into_iter().filter_map(|(row, position)| {
        if let Ok(lost) = serde_json::from_slice(row.strip_prefix(rows::RESTORED)?) {
            return Some(lost);
        }
        // As it was kept before receipts named their store.
        let epoch = rows::number_of(rows::RESTORED, &row)?;
        let (instance, position) = (Uuid::nil(), number(Some(position)));
        Some(Lost::Restored { instance, epoch, position, opened_in: None })
    });
    Ok(lost.collect())
}

#[cfg(test)]
mod tests;
