//! What is due, and when. What is due of sagas that have to be read first, or that may still get
//! something that came before, is left aside, so that however much it is, it stands before nobody
//! else's.

use super::{Core, TIMERS_AT_ONCE, TIMERS_LEFT_AT_ONCE, WORK_BESIDE};
use crate::{
    id::{Path, SagaId, Time},
    store::{Store, StoreError},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

pub(super) type Timer = (Time, SagaId, Path);

#[derive(Debug, Default)]
pub(super) struct Timers {
    /// Each that was not left.
    ahead: BTreeSet<Timer>,
    /// Due, and left for when their sagas were read, or when this family has done what came before.
    left: BTreeMap<Timer, Option<String>>,
    /// The same, by saga.
    left_of: BTreeSet<(SagaId, Time, Path)>,
    /// Those that wait for a family, by that.
    behind: BTreeMap<String, BTreeSet<Timer>>,
    /// The last of what is left at which a tick looked, if others are behind it.
    looked_at: Option<Timer>,
}

impl Timers {
    pub(super) fn insert(&mut self, timer: Timer) {
        if !self.left.contains_key(&timer) {
            self.ahead.insert(timer);
        }
    }

    pub(super) fn remove(&mut self, timer: &Timer) {
        if !self.ahead.remove(timer)
            && let Some(family) = self.left.remove(timer)
        {
            let (due, saga, step) = timer.clone();
            self.left_of.remove(&(saga, due, step));
            self.wait_no_more(timer, family);
        }
    }

    /// Leaves one until its saga was read, or until this family has done what came before.
    pub(super) fn leave(&mut self, timer: Timer, behind: Option<String>) {
        self.ahead.remove(&timer);
        self.left_of.insert((timer.1, timer.0, timer.2.clone()));
        if let Some(family) = self.left.insert(timer.clone(), behind.clone()) {
            self.wait_no_more(&timer, family);
        }
        if let Some(family) = behind {
            self.behind.entry(family).or_default().insert(timer);
        }
    }

    fn wait_no_more(&mut self, timer: &Timer, behind: Option<String>) {
        let Some(family) = behind else { return };
        if let Some(timers) = self.behind.get_mut(&family) {
            timers.remove(timer);
            if timers.is_empty() {
                self.behind.remove(&family);
            }
        }
    }

    /// Those that wait for the family and were due by then, the oldest first, and whose they are.
    fn behind(&self, family: &str, until: Time) -> impl Iterator<Item = (Time, SagaId)> + '_ {
        let all = self.behind.get(family).into_iter().flatten();
        all.take_while(move |it| it.0 <= until).map(|it| (it.0, it.1))
    }

    /// Whether anything waits for a family.
    pub(super) fn wait(&self) -> bool {
        !self.behind.is_empty()
    }

    /// The first that was not left.
    pub(super) fn first(&self) -> Option<&Timer> {
        self.ahead.first()
    }

    /// Of whom something was left that is due, the oldest first; each time the next ones, so that
    /// nobody stands before the others for ever.
    fn next_left(&mut self, until: Time) -> Vec<SagaId> {
        let behind = self.looked_at.take().map_or(Bound::Unbounded, Bound::Excluded);
        let left = self.left.range((behind, Bound::Unbounded)).map(|it| it.0);
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
        self.ahead.first().into_iter().chain(self.left.keys().next()).map(|it| it.0).min()
    }

    /// What is due by then.
    pub(super) fn due(&self, until: Time) -> impl Iterator<Item = &Timer> {
        let is_due = move |it: &&Timer| it.0 <= until;
        self.ahead.iter().take_while(is_due).chain(self.left.keys().take_while(is_due))
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
    pub(super) fn tick(
        &mut self,
        now: Time,
        watermark: Time,
        behind: &BTreeMap<String, Time>,
    ) -> Result<(), StoreError> {
        let until = now.min(watermark);
        self.reached = until;
        let (mut fired, mut left) = (0, 0);
        for saga in self.timers.next_left(until) {
            let first = self.timers.left_of(saga).next().filter(|it| it.0 <= until);
            let Some((due, step)) = first else { continue };
            fired += usize::from(self.fire_or_leave(now, until, (due, saga, step), behind)?);
        }
        while fired < TIMERS_AT_ONCE && left < TIMERS_LEFT_AT_ONCE {
            let is_due = |it: &&Timer| it.0 <= until;
            let Some(timer) = self.timers.first().filter(is_due).cloned() else { break };
            // Those of one saga fire in order.
            let first = self.timers.left_of(timer.1).next();
            let has_fired = match first.map(|(due, step)| (due, timer.1, step)) {
                Some(first) => {
                    let behind = self.timers.left.get(&first).cloned().flatten();
                    self.timers.leave(timer, behind);
                    false
                }
                None => self.fire_or_leave(now, until, timer, behind)?,
            };
            if has_fired { fired += 1 } else { left += 1 }
        }
        self.send_withheld(now)
    }

    /// Fires one, or leaves it: where something that came before is not done in its family, or
    /// waits there (`behind`: since when), and where its saga has to be read. True when it has
    /// fired.
    fn fire_or_leave(
        &mut self,
        now: Time,
        until: Time,
        timer: Timer,
        behind: &BTreeMap<String, Time>,
    ) -> Result<bool, StoreError> {
        let is_behind = |it: &String| behind.get(it).is_some_and(|it| *it < timer.0);
        let family = if behind.is_empty() { None } else { self.family_of(timer.1) };
        let family = family.filter(is_behind).or_else(|| self.busy_family_of(timer.1));
        if family.is_some() || self.must_sleep(timer.1) {
            self.timers.leave(timer, family);
            return Ok(false);
        }
        self.fire(now, until, timer)?;
        Ok(true)
    }

    /// The family of a saga, if something that came before is not done there.
    fn busy_family_of(&self, saga: SagaId) -> Option<String> {
        let family = if self.may_be_busy() { self.family_of(saga) } else { None };
        family.filter(|it| self.is_busy(it))
    }

    /// What ticks have left that was due by then, as something that had come to this family before
    /// was not done: when it was due, the oldest first, and of whom. It goes before all that has
    /// come to the family since, when that is done: [`Input::Woken`] should follow for its saga.
    ///
    /// [`Input::Woken`]: crate::input::Input::Woken
    pub(crate) fn overdue(
        &self,
        family: &str,
        until: Time,
    ) -> impl Iterator<Item = (Time, SagaId)> + '_ {
        // Not beyond the last tick: the clock may have been set back.
        let until = until.min(self.reached);
        let left = (!self.is_busy(family)).then(|| self.timers.behind(family, until));
        left.into_iter().flatten()
    }

    /// Fires what was left of a saga, up to this time.
    pub(super) fn fire_left_of(
        &mut self,
        now: Time,
        until: Time,
        saga: SagaId,
    ) -> Result<(), StoreError> {
        let left = self.timers.left_of(saga).take_while(|it| it.0 <= until);
        let left: Vec<(Time, Path)> = left.take(TIMERS_AT_ONCE).collect();
        for (due, step) in left {
            let timer = (due, saga, step);
            match self.busy_family_of(saga) {
                Some(family) => self.timers.leave(timer, Some(family)),
                None => self.fire(now, until, timer)?,
            }
        }
        Ok(())
    }

    /// Fires one. What that leaves in its family is done at once, as far as there is room: the next
    /// one would have to wait for it.
    fn fire(&mut self, now: Time, until: Time, (due, saga, step): Timer) -> Result<(), StoreError> {
        let family = self.family_of(saga);
        let fact = self.state(saga)?.and_then(|it| it.due(&step, until));
        let taken = match fact {
            Some(fact) => self.offer(now, saga, fact)?,
            None => false,
        };
        if !taken {
            self.timers.remove(&(due, saga, step));
        }
        let Some(family) = family.filter(|it| self.is_busy(it)) else { return Ok(()) };
        // As much as any other input does, for each: most that end their sagas need no more.
        let left = self.room;
        self.room += WORK_BESIDE.min(self.limits.work_at_once);
        self.work_for(now, &family)?;
        self.room = self.room.min(left);
        Ok(())
    }
}
