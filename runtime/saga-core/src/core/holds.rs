//! Sagas that hold for more than their rows list: each wait beyond that has a row of its own. So it
//! is known who holds for an event also while the saga's journal cannot be read.

use super::{Core, reads::saga_of};
use crate::{
    codec::decode,
    fold::OpenWait,
    head::Head,
    id::{Path, SagaId},
    store::{Store, StoreError, Table},
};

impl<S: Store> Core<S> {
    /// A wait was opened; `head` is the row of its saga.
    pub(super) fn note_hold(&mut self, head: &Head, wait: &OpenWait) -> Result<(), StoreError> {
        let is_listed = || head.waits.iter().any(|it| it.step == wait.step);
        if head.unlisted_holds == 0 || wait.ask.is_some() || is_listed() {
            return Ok(()); // Nearly always.
        }
        self.unlisted.insert(head.id);
        self.txn.put(Table::Hold, &hold_key(head.id, &wait.step), wait).map(drop)
    }

    /// A wait was closed. When its saga has ended, its rows go with its lanes.
    pub(super) fn forget_hold(&mut self, head: &Head, wait: &OpenWait) {
        if self.unlisted.contains(&head.id) && head.ended_at.is_none() {
            self.txn.delete(Table::Hold, &hold_key(head.id, &wait.step));
        }
    }

    /// Deletes the rows of a saga that has ended, as many as there is room for; true when none is
    /// left.
    pub(super) fn forget_holds(&mut self, saga: SagaId) -> Result<bool, StoreError> {
        if !self.unlisted.contains(&saga) {
            return Ok(true); // Nearly always.
        }
        let rows = self.txn.some(Table::Hold, saga.as_bytes(), None, self.room)?;
        let is_last = rows.len() < self.room;
        self.room -= rows.len();
        rows.iter().for_each(|it| self.txn.delete(Table::Hold, &it.0));
        if is_last {
            self.unlisted.remove(&saga);
        }
        Ok(is_last)
    }

    /// Finds the sagas that have such rows.
    pub(super) fn find_holds(&mut self) -> Result<(), StoreError> {
        let found = self.each(Table::Hold, |core, (key, _)| {
            core.unlisted.extend(key.first_chunk::<16>().and_then(|it| saga_of(it)));
            Ok(())
        });
        found.map(drop)
    }

    /// Lists what the row of a saga does not list, from its journal or, where that cannot be read,
    /// from these rows. A store of an older build does not have them yet.
    pub(super) fn list_holds(&mut self, head: &mut Head) -> Result<(), StoreError> {
        if head.unlisted_holds == 0 {
            return Ok(());
        }
        if let Some(whole) = self.of_journal(head.id, Head::of) {
            for wait in &whole.waits {
                if !self.txn.has(Table::Hold, &hold_key(head.id, &wait.step))? {
                    self.note_hold(head, wait)?;
                }
            }
            (head.waits, head.timers) = (whole.waits, whole.timers);
            return Ok(());
        }
        for wait in self.unlisted_holds(head.id)? {
            if head.waits.iter().all(|it| it.step != wait.step) {
                head.waits.push(wait);
            }
        }
        Ok(())
    }

    /// The waits of a saga that its row does not list.
    pub(super) fn unlisted_holds(&self, saga: SagaId) -> Result<Vec<OpenWait>, StoreError> {
        if !self.unlisted.contains(&saga) {
            return Ok(Vec::new()); // Nearly always.
        }
        let rows = self.txn.some(Table::Hold, saga.as_bytes(), None, usize::MAX)?;
        let waits = rows.into_iter().map(|(_, value)| decode(&value));
        // Of one that cannot be read no more than that is lost.
        waits.filter(|it| !it.as_ref().is_err_and(StoreError::is_damage)).collect()
    }
}

fn hold_key(saga: SagaId, step: &Path) -> Vec<u8> {
    [&saga.as_bytes()[..], step.as_str().as_bytes()].concat()
}
