//! What is due, and when. What is due of sagas that have to be read first is left aside, so that
//! however much it is, it stands before nobody else's.

use crate::id::{Path, SagaId, Time};
use std::collections::BTreeSet;

pub(super) type Timer = (Time, SagaId, Path);

#[derive(Debug, Default)]
pub(super) struct Timers {
    /// Each that was not left.
    ahead: BTreeSet<Timer>,
    /// Due, and left for when their sagas were read.
    left: BTreeSet<Timer>,
    /// The same, by saga.
    left_of: BTreeSet<(SagaId, Time, Path)>,
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

    /// Leaves one until its saga was read.
    pub(super) fn leave(&mut self, timer: Timer) {
        self.ahead.remove(&timer);
        self.left_of.insert((timer.1, timer.0, timer.2.clone()));
        self.left.insert(timer);
    }

    /// The first that was not left.
    pub(super) fn first(&self) -> Option<&Timer> {
        self.ahead.first()
    }

    /// What was left, the oldest first.
    pub(super) fn left(&self) -> impl Iterator<Item = &Timer> {
        self.left.iter()
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
