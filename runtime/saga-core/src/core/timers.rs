//! What is due, and when. What is due of sagas that have to be read first, or that may still get
//! something that came before, is left aside, so that however much it is, it stands before nobody
//! else's.

use super::{Core, TIMERS_AT_ONCE, TIMERS_LEFT_AT_ONCE};
use crate::{
    id::{Path, SagaId, Time},
    store::{Store, StoreError},
};
use std::{collections::BTreeSet, ops::Bound};

pub(super) type Timer = (Time, SagaId, Path);

#[derive(Debug, Default)]
pub(super) struct Timers {
    /// Each that was not left.
    ahead: BTreeSet<Timer>,
    /// Due, and left for when their sagas were read and have looked.
    left: BTreeSet<Timer>,
    /// The same, by saga.
    left_of: BTreeSet<(SagaId, Time, Path)>,
    /// The last of them at which a tick looked, if others are behind it.
    looked_at: Option<Timer>,
}

impl Timers {
    pub(super) fn insert(&mut self, timer: Timer) {
        if !self.left.contains(&timer) {
            self.ahead.insert(timer);
        }
    }

    pub(super) fn remove(&mut self, timer: &Timer) {
        if !self.ahead.remove(timer) && self.left.remove(timer) {
            let (due, saga, step) = timer.clone();
            self.left_of.remove(&(saga, due, step));
        }
    }

    /// Leaves one until its saga was read and has looked.
    pub(super) fn leave(&mut self, timer: Timer) {
        self.ahead.remove(&timer);
        self.left_of.insert((timer.1, timer.0, timer.2.clone()));
        self.left.insert(timer);
    }

    /// The first that was not left.
    pub(super) fn first(&self) -> Option<&Timer> {
        self.ahead.first()
    }

    /// Of whom something was left that is due, the oldest first; each time the next ones, so that
    /// nobody stands before the others for ever.
    fn next_left(&mut self, until: Time) -> Vec<SagaId> {
        let behind = self.looked_at.take().map_or(Bound::Unbounded, Bound::Excluded);
        let left = self.left.range((behind, Bound::Unbounded));
        let next: Vec<&Timer> = left.take_while(|it| it.0 <= until).take(TIMERS_AT_ONCE).collect();
        if TIMERS_AT_ONCE <= next.len() {
            self.looked_at = next.last().copied().cloned();
        }
        next.into_iter().map(|it| it.1).collect()
    }

    /// What was left of the saga, the oldest first.
    pub(super) fn left_of(&self, saga: SagaId) -> impl Iterator<Item = (Time, Path)> + '_ {
        let of_saga = self.left_of.range((saga, Time::default(), Path::default())..);
        let of_saga = of_saga.take_while(move |it| it.0 == saga);
        of_saga.map(|(_, due, step)| (*due, step.clone()))
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.ahead.first().into_iter().chain(self.left.first()).map(|it| it.0).min()
    }

    /// What is due by then.
    pub(super) fn due(&self, until: Time) -> impl Iterator<Item = &Timer> {
        let is_due = move |it: &&Timer| it.0 <= until;
        self.ahead.iter().take_while(is_due).chain(self.left.iter().take_while(is_due))
    }
}

impl Extend<Timer> for Timers {
    fn extend<I: IntoIterator<Item = Timer>>(&mut self, timers: I) {
        timers.into_iter().for_each(|it| self.insert(it));
    }
}

impl<S: Store> Core<S> {
    /// Fires what is due, by the clock and by intake; what is too much for one batch stays due.
    /// What is due of a saga fires when that was read, if it has to be, and has got all that came
    /// before.
    pub(super) fn tick(&mut self, now: Time, watermark: Time) -> Result<(), StoreError> {
        let until = now.min(watermark);
        self.reached = until;
        // Whoever looks now does so until this is done: what waits for it came before.
        let nobody_looks = self.opened.is_empty();
        let (mut fired, mut left) = (0, 0);
        for saga in self.timers.next_left(until) {
            let first = self.timers.left_of(saga).next().filter(|it| it.0 <= until);
            if let Some((due, step)) = first
                && self.may_fire(saga)?
            {
                self.fire(now, until, (due, saga, step), nobody_looks)?;
                fired += 1;
            }
        }
        while fired < TIMERS_AT_ONCE && left < TIMERS_LEFT_AT_ONCE {
            let is_due = |it: &&Timer| it.0 <= until;
            let Some(timer) = self.timers.first().filter(is_due).cloned() else { break };
            // Those of one saga fire in order.
            let is_behind = self.timers.left_of(timer.1).next().is_some();
            if is_behind || !self.may_fire(timer.1)? {
                self.timers.leave(timer);
                left += 1;
                continue;
            }
            self.fire(now, until, timer, nobody_looks)?;
            fired += 1;
        }
        self.send_withheld(now)
    }

    /// Whether nothing can still come to the saga that came before what is due now, and it need
    /// not be read.
    fn may_fire(&mut self, saga: SagaId) -> Result<bool, StoreError> {
        Ok(!self.is_among_busy(saga) && !self.must_sleep(saga))
    }

    /// Fires what was left of a saga that was read, up to this time.
    pub(super) fn fire_left_of(
        &mut self,
        now: Time,
        until: Time,
        saga: SagaId,
    ) -> Result<(), StoreError> {
        let left = self.timers.left_of(saga).take_while(|it| it.0 <= until);
        let left: Vec<(Time, Path)> = left.take(TIMERS_AT_ONCE).collect();
        for (due, step) in left {
            if self.is_among_busy(saga) {
                break;
            }
            self.fire(now, until, (due, saga, step), true)?;
        }
        Ok(())
    }

    /// Whoever holds for something by that may look at once, or when others have looked.
    fn fire(
        &mut self,
        now: Time,
        until: Time,
        (due, saga, step): Timer,
        looks_at_once: bool,
    ) -> Result<(), StoreError> {
        let fact = self.state(saga)?.and_then(|it| it.due(&step, until));
        let taken = match fact {
            Some(fact) => self.offer(now, saga, fact)?,
            None => false,
        };
        if !taken {
            self.timers.remove(&(due, saga, step));
        }
        if looks_at_once { self.match_opened(now) } else { Ok(()) }
    }
}
