//! Code that ended processes. What is run again after a death, and ends the next process too, is
//! quarantined: it runs no more until a person says so, and everything else goes on.

use super::{
    Core,
    routes::{key_of, unreadable},
};
use crate::{
    codec::{EventRecord, decode},
    id::{SagaId, Time},
    replay::ReplayError,
    saga::Definition,
    store::{Store, StoreError, Table},
    watch::{Culprit, Interrupted, Running, saga_key, start_key},
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Deaths after which a culprit is quarantined. One may be chance: a process that is killed, or
/// runs out of memory, is most likely to be so in a turn.
pub const STRIKES_MAX: usize = 2;

/// Strikes that are kept: an operator who tries a culprit again and again learns no more from more.
const STRIKES_KEPT_MAX: usize = 4;

/// How often processes ended while code of a culprit ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StruckRow {
    /// The oldest first.
    strikes: Vec<Strike>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Strike {
    at: Time,
    /// One process dies once.
    process: u64,
    seq: u32,
    /// What was being done. When that is done, the death was chance.
    step: String,
    blocked: bool,
}

impl StruckRow {
    fn is_quarantined(&self) -> bool {
        STRIKES_MAX <= self.strikes.len()
    }

    fn message(&self) -> String {
        let how = |it: &Strike| match it.blocked {
            true => "blocked its thread until the process ended",
            false => "ran when the process ended (a stack overflow, an abort, no memory left)",
        };
        let strike = |it: &Strike| format!("at entry {} its code {}", it.seq, how(it));
        let strikes: Vec<String> = self.strikes.iter().map(strike).collect();
        strikes.join("; ")
    }
}

impl<S: Store> Core<S> {
    /// How often processes ended while this code ran.
    pub fn strikes(&self, running: &Running<'_>) -> usize {
        self.struck.get(&running.culprit_key()).map_or(0, |it| it.strikes.len())
    }

    /// Reads what is known, and makes the new death durable before anything runs again.
    pub(super) fn read_struck(
        &mut self,
        interrupted: Option<Interrupted>,
    ) -> Result<(), StoreError> {
        self.each(Table::Struck, |core, (key, value)| {
            let wrong = |_| StoreError::failed("read", "a key of a culprit has the wrong length");
            let key = <[u8; 16]>::try_from(key).map_err(wrong)?;
            core.struck.insert(key, decode(&value)?);
            Ok(())
        })?;
        let Some(Interrupted { process, running, blocked, at }) = interrupted else {
            return Ok(());
        };
        let key = running.culprit_key();
        let strikes = self.struck.remove(&key).map_or(Vec::new(), |it| it.strikes);
        let mut row = StruckRow { strikes };
        if row.strikes.iter().all(|it| it.process != process) {
            let (seq, step) = (running.seq, running.step.into_owned());
            row.strikes.push(Strike { at, process, seq, step, blocked });
        }
        let surplus = row.strikes.len().saturating_sub(STRIKES_KEPT_MAX);
        row.strikes.drain(..surplus);
        self.txn.put(Table::Struck, &key, &row)?;
        self.struck.insert(key, row);
        self.txn.commit()
    }

    /// Why this code must not run, if it must not.
    pub(super) fn quarantined(&self, running: &Running<'_>) -> Option<ReplayError> {
        if self.struck.is_empty() {
            return None; // Nearly always; it saves a hash.
        }
        let row = self.struck.get(&running.culprit_key()).filter(|it| it.is_quarantined())?;
        Some(ReplayError::Quarantined { message: row.message() })
    }

    /// What was under way at a death has been done: it was not to blame.
    pub(super) fn came_back(&mut self, running: &Running<'_>) -> Result<(), StoreError> {
        if self.struck.is_empty() {
            return Ok(());
        }
        let key = running.culprit_key();
        let Some(row) = self.struck.get_mut(&key) else { return Ok(()) };
        let before = row.strikes.len();
        row.strikes.retain(|it| it.step != running.step);
        match row.strikes.len() {
            0 => self.lift(&[key]),
            left if left < before => drop(self.txn.put(Table::Struck, &key, row)?),
            _ => (),
        }
        Ok(())
    }

    /// From here on the culprits are as if nothing had happened.
    pub(super) fn lift(&mut self, culprits: &[[u8; 16]]) {
        for key in culprits {
            if self.struck.remove(key).is_some() {
                self.txn.delete(Table::Struck, key);
            }
        }
    }

    /// A person wants the saga to be tried again.
    pub(super) fn lift_saga(&mut self, saga: SagaId) -> Result<(), StoreError> {
        let start = self.state(saga)?.and_then(|it| it.start.as_ref());
        let start = start.map(|it| start_key(&it.definition, &it.key));
        self.lift(&[saga_key(saga)]);
        self.lift(start.as_slice());
        Ok(())
    }

    /// A person wants the event to be read again.
    pub(super) fn lift_reading(&mut self, definition: &Definition, event: &EventRecord) {
        if !self.struck.is_empty() {
            self.lift(&[reading(definition, event).culprit_key()]);
        }
    }

    /// The key of an event that the definition's types can read, or why it is of no use.
    pub(super) fn usable(
        &mut self,
        definition: &Definition,
        event: &EventRecord,
    ) -> Result<Result<String, String>, StoreError> {
        let Some(declared) = definition.declared(&event.name) else {
            return Ok(Err("the definition does not declare it".to_owned()));
        };
        // Also where its key came in a header, and its type does not look there.
        if let Err(err) = event.body.tree() {
            return Ok(Err(unreadable(&err)));
        }
        let key = match key_of(event, declared) {
            Ok(key) => key,
            Err(why) => return Ok(Err(why)),
        };
        let check = || (declared.check)(&event.name, event.body.text());
        Ok(self.reading(definition, event, check)?.map(|()| key))
    }

    /// Lets author code read an event: it may never come back, as any other.
    pub(super) fn reading(
        &mut self,
        definition: &Definition,
        event: &EventRecord,
        read: impl FnOnce() -> Result<(), String>,
    ) -> Result<Result<(), String>, StoreError> {
        self.watched(&reading(definition, event), read)
    }

    /// The same for an input that a person, or a program, hands over.
    pub(super) fn reading_by_hand(
        &mut self,
        definition: &Definition,
        key: Option<&str>,
        read: impl FnOnce() -> Result<(), String>,
    ) -> Result<Result<(), String>, StoreError> {
        let running = Running {
            culprit: Culprit::Start,
            saga: None,
            definition: Cow::Borrowed(definition.name),
            key: Cow::Borrowed(key.unwrap_or_default()),
            seq: 0,
            step: Cow::Borrowed(""),
        };
        self.watched(&running, read)
    }

    fn watched(
        &mut self,
        running: &Running<'_>,
        read: impl FnOnce() -> Result<(), String>,
    ) -> Result<Result<(), String>, StoreError> {
        if let Some(err) = self.quarantined(running) {
            return Ok(Err(err.to_string()));
        }
        let res = self.driver.watched(running, read);
        self.came_back(running)?;
        Ok(res)
    }
}

fn reading<'a>(definition: &Definition, event: &'a EventRecord) -> Running<'a> {
    Running {
        culprit: Culprit::Event {
            name: Cow::Borrowed(&event.name),
            source: Cow::Borrowed(&event.source),
            id: Cow::Borrowed(&event.id),
        },
        saga: None,
        definition: Cow::Borrowed(definition.name),
        key: Cow::Borrowed(event.key.as_deref().unwrap_or_default()),
        seq: 0,
        step: Cow::Borrowed(""),
    }
}
