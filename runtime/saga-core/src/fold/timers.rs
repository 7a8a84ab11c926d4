//! What time brings to a saga.

use super::{
    state::{OpenCall, OpenPublish, State, Undo, settles},
    touched::Touched,
};
use crate::{
    id::{Path, Time},
    journal::{Fact, Patience, RetryMs},
};
use std::collections::BTreeSet;

impl State {
    /// Everything that time will bring, by step.
    pub fn timers(&self) -> Vec<(Time, Path)> {
        self.timers_of(&Touched::All)
    }

    /// The same, of these steps alone.
    pub(crate) fn timers_of(&self, touched: &Touched) -> Vec<(Time, Path)> {
        [self.timers_of_holds(touched), self.timers_of_requests(touched)].concat()
    }

    pub(crate) fn timers_of_holds(&self, touched: &Touched) -> Vec<(Time, Path)> {
        let waits = self.waits.iter().filter(|it| touched.has(&it.step));
        let waits = waits.filter_map(|it| Some((it.due?, it.step.clone())));
        let sleeps = self.sleeps.iter().filter(|it| touched.has(&it.step));
        let sleeps = sleeps.map(|it| (it.due, it.step.clone()));
        let closing = self.closing.iter().filter(|it| !it.is_over && touched.has_in(&it.scope));
        let closing = closing.map(|it| (it.due, it.scope.clone()));
        waits.chain(sleeps).chain(closing).collect()
    }

    pub(crate) fn timers_of_requests(&self, touched: &Touched) -> Vec<(Time, Path)> {
        let settling = self.settling();
        let due = |step: &Path, it| Some((self.call_due(&settling, step, it)?, step.clone()));
        let calls = touched.calls(self).into_iter().filter_map(|(step, it)| due(step, it));
        let undos = self.owed.iter().filter(|it| touched.has_undo(it));
        let undos = undos.filter_map(|it| Some((self.undo_due(it)?, it.step.clone())));
        let publishes = self.publishes.iter().filter(|it| touched.has(&it.step));
        let publishes = publishes.filter_map(|it| Some((self.publish_due(it)?, it.step.clone())));
        calls.chain(undos).chain(publishes).collect()
    }

    /// The fact that the timer of this step makes at this time, if it is due.
    pub fn due(&self, step: &Path, now: Time) -> Option<Fact> {
        let is_due = |due: Option<Time>| due.is_some_and(|it| it <= now);
        if let Some(call) = self.calls.get(step) {
            let exhausted = || call.exhausted_by(step, now);
            return is_due(self.call_due(&self.settling(), step, call)).then(exhausted);
        }
        let wait = self.waits.iter().find(|it| it.step == *step).and_then(|it| it.due);
        let sleep = self.sleeps.iter().find(|it| it.step == *step).map(|it| it.due);
        let closing = self.closing.iter().find(|it| it.scope == *step && !it.is_over);
        if is_due(wait.or(sleep).or(closing.map(|it| it.due))) {
            return Some(Fact::TimerFired { step: step.clone() });
        }
        if let Some(undo) = self.asked_undo(step) {
            return is_due(self.undo_due(undo)).then(|| self.tell_of(undo, now));
        }
        let publish = self.publishes.iter().find(|it| it.step == *step)?;
        is_due(self.publish_due(publish)).then(|| {
            let seconds = self.patience().publish_ms / 1000;
            let reason = format!("the broker has not taken it for {seconds} s");
            Fact::PublishRefused { step: step.clone(), reason }
        })
    }

    fn tell_of(&self, undo: &Undo, now: Time) -> Fact {
        let step = undo.step.clone();
        if undo.exhausted_at() <= now {
            let code = "exhausted".to_owned();
            return Fact::UndoRejected { step, code, reason: "no answer for too long".to_owned() };
        }
        Fact::UndoSilent { step, reason: no_answer(self.patience().undo_ms) }
    }

    /// When a call is exhausted. What is not sent while the saga is paused is not missed either.
    fn call_due(&self, settling: &BTreeSet<&str>, step: &Path, call: &OpenCall) -> Option<Time> {
        let has_limit = !self.paused && call.exhausted.is_none() && !settles(settling, step);
        has_limit.then(|| call.limit())
    }

    /// When somebody is told of an undo, or when it is asked no more.
    fn undo_due(&self, undo: &Undo) -> Option<Time> {
        let has_limit = !self.paused && undo.is_asked && undo.failed.is_none();
        let told = undo.limit_from.after_ms(self.patience().undo_ms);
        let told = if undo.silent.is_none() { told } else { Time::NEVER };
        has_limit.then(|| undo.exhausted_at().min(told))
    }

    /// When somebody is told that the broker does not take an event.
    fn publish_due(&self, publish: &OpenPublish) -> Option<Time> {
        let has_limit = !self.paused && publish.failed.is_none();
        has_limit.then(|| publish.limit_from.after_ms(self.patience().publish_ms))
    }

    fn patience(&self) -> Patience {
        self.start.as_ref().map(|it| it.patience).unwrap_or_default()
    }
}

impl OpenCall {
    /// When it is exhausted: not answered within the time that its author gives it, or too old for
    /// its service to answer for its key.
    pub fn limit(&self) -> Time {
        self.missed_at().min(self.since.after_ms(RetryMs::undo().limit_ms))
    }

    fn missed_at(&self) -> Time {
        self.limit_from.after_ms(self.retry.limit_ms)
    }

    /// One that is too old only as its saga was paused was not missed: a person should look.
    fn exhausted_by(&self, step: &Path, now: Time) -> Fact {
        let was_missed = self.missed_at() <= now;
        let reason = match was_missed {
            true => no_answer(self.retry.limit_ms),
            false => "it is too old: its service may have forgotten it".to_owned(),
        };
        Fact::Exhausted { step: step.clone(), reason, abort: self.retry.abort && was_missed }
    }
}

impl Undo {
    /// When it is too old for its service to answer for its key.
    fn exhausted_at(&self) -> Time {
        self.since.after_ms(RetryMs::undo().limit_ms)
    }
}

impl Fact {
    /// Whether a request is asked no more because of it.
    pub(crate) fn ends_asking(&self) -> bool {
        matches!(self, Fact::Exhausted { .. } | Fact::UndoRejected { .. })
    }
}

fn no_answer(ms: u64) -> String {
    format!("no answer for {} s", ms / 1000)
}
