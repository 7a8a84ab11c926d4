//! Requests that are too old to be sent, though nothing says so yet: a start found them so, or a
//! saga that went on after a long pause. They leave for a person with the ticks that follow, when
//! intake has passed their limits; or they are sent after all, if the clock was ahead.
//!
//! What is too old at one time is so at each later one. So nothing is looked at again before the
//! clock has gone back.

use super::{Core, wanted::wanted};
use crate::{
    effect::{Effect, Request, RequestId},
    fold::{State, Touched},
    id::{Path, SagaId, Time},
    store::{Store, StoreError},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

/// Each is owed, and was not sent.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    /// When each was last found too old.
    found: BTreeMap<RequestId, Time>,
    /// The same, by time.
    by_time: BTreeSet<(Time, RequestId)>,
    /// The clock has gone back, and there was no room to look at all that was found later.
    has_more: bool,
}

impl Withheld {
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    pub(super) fn insert(&mut self, id: RequestId, now: Time) {
        self.remove(&id);
        self.by_time.insert((now, id.clone()));
        self.found.insert(id, now);
    }

    /// True if it was there.
    pub(super) fn remove(&mut self, id: &RequestId) -> bool {
        let Some(found) = self.found.remove(id) else { return false };
        self.by_time.remove(&(found, id.clone()))
    }

    /// The last one before this place that was found too old at a later time than this one.
    fn found_after(
        &self,
        now: Time,
        before: Option<&(Time, RequestId)>,
    ) -> Option<&(Time, RequestId)> {
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let last = self.by_time.range((Bound::Unbounded, end)).next_back();
        last.filter(|it| now < it.0)
    }

    /// Those of a saga that were found too old at a later time than this one.
    fn of(&self, saga: SagaId, now: Time) -> Vec<RequestId> {
        let first = RequestId { saga, step: Path::default(), is_undo: false };
        let of_saga = self.found.range(first..).take_while(|it| it.0.saga == saga);
        of_saga.filter(|it| now < *it.1).map(|it| it.0.clone()).collect()
    }
}

pub(super) fn is_too_old(state: &State, id: &RequestId, now: Time) -> bool {
    state.due(&id.step, now).is_some_and(|it| it.ends_asking())
}

impl<S: Store> Core<S> {
    /// What became too old while the saga was paused is not sent even once.
    pub(super) fn withhold(&mut self, now: Time, saga: SagaId) -> Result<(), StoreError> {
        let Some(state) = self.state(saga)? else { return Ok(()) };
        let sends = wanted(state, &Touched::All).into_iter().filter_map(|it| match it {
            Effect::Send(request) => Some(request.id),
            _ => None,
        });
        let over: BTreeSet<RequestId> = sends.filter(|it| is_too_old(state, it, now)).collect();
        if over.is_empty() {
            return Ok(());
        }
        self.sends.retain(|it| !over.contains(it));
        self.effects.retain(|it| !matches!(it, Effect::Send(it) if over.contains(&it.id)));
        over.into_iter().for_each(|it| self.withheld.insert(it, now));
        Ok(())
    }

    /// The clock has gone back: what was too old by the other one may be asked for after all.
    /// Journals are read for that, so as many are looked at as there is room for.
    pub(super) fn send_withheld(&mut self, now: Time) -> Result<(), StoreError> {
        let mut asleep = None;
        while let Some(found) = self.withheld.found_after(now, asleep.as_ref()).cloned() {
            if self.room == 0 {
                self.withheld.has_more = true;
                return Ok(());
            }
            if self.must_sleep(found.1.saga) {
                self.room -= 1;
                asleep = Some(found);
                continue;
            }
            self.weigh_turn(found.1.saga)?;
            self.send_if_due(now, found.1)?;
        }
        self.withheld.has_more = false;
        Ok(())
    }

    /// The same for one saga, which was read for it.
    pub(super) fn send_withheld_of(&mut self, now: Time, saga: SagaId) -> Result<(), StoreError> {
        self.withheld.of(saga, now).into_iter().try_for_each(|it| self.send_if_due(now, it))
    }

    fn send_if_due(&mut self, now: Time, id: RequestId) -> Result<(), StoreError> {
        self.withheld.remove(&id);
        let Some(state) = self.state(id.saga)? else { return Ok(()) };
        if is_too_old(state, &id, now) {
            self.withheld.insert(id, now);
            return Ok(());
        }
        let is_it = |it: &Effect| matches!(it, Effect::Send(Request { id: it, .. }) if *it == id);
        let of_step = wanted(state, &Touched::steps([id.step.clone()]));
        if let Some(effect) = of_step.into_iter().find(is_it) {
            self.sends.insert(id);
            self.effects.push(effect);
        }
        Ok(())
    }
}
