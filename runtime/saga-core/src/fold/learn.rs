//! What a fact does to the state. A fact for a step that is settled does nothing.

use super::state::{Asked, Attention, Decided, End, Problem, State};
use crate::{
    id::{Path, Time},
    journal::{Command, Fact, Hold},
    payload::Payload,
    text::cut,
};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Closed questions that are remembered: a decision that does not say what was seen could mean one.
const CLOSED_MAX: usize = 16;

/// What the body of a decision always has: the core itself made it.
#[derive(Deserialize)]
struct DecisionBody {
    approved: bool,
    by: String,
}

impl State {
    pub(crate) fn learn(&mut self, at: Time, fact: &Fact) {
        match fact {
            Fact::Started(start) => {
                let mut start = start.clone();
                self.lanes
                    .extend(start.event.iter().map(|it| (it.name.clone(), start.key.clone())));
                (start.input, start.settings) = (Payload::null(), Payload::null());
                (self.started_at, self.start) = (at, Some(start));
            }
            Fact::Replied { step, .. } => self.settle_call(step),
            Fact::Rejected { step, .. } => {
                if self.calls.contains_key(step) {
                    self.undos.retain(|it| it.step != *step); // What was refused did not happen.
                }
                self.settle_call(step);
            }
            Fact::Received { step, event, body, .. } => self.receive(at, step, event, body),
            Fact::TimerFired { step } => {
                self.waits.retain(|it| it.step != *step);
                self.sleeps.retain(|it| it.step != *step);
                let closing = self.closing.iter_mut().filter(|it| it.scope == *step);
                closing.for_each(|it| it.is_over = true);
            }
            Fact::Exhausted { step, reason, .. } => {
                if let Some(call) = self.calls.get_mut(step) {
                    call.exhausted = Some(reason.clone());
                }
            }
            Fact::Published { step } => self.publishes.retain(|it| it.step != *step),
            Fact::PublishRefused { step, reason } => {
                let publish = self.publishes.iter_mut().find(|it| it.step == *step);
                publish.into_iter().for_each(|it| it.failed = Some(reason.clone()));
            }
            Fact::Undone { step } => drop(self.settle_undo(at, step)),
            Fact::UndoWaived { step, by, reason } => self.waive(at, step, by, reason),
            Fact::UndoRejected { step, reason, .. } => {
                let undo = self.owed_undo_mut(step).into_iter();
                undo.for_each(|it| it.failed = Some(reason.clone()));
            }
            Fact::UndoSilent { step, reason } => {
                let undo = self.owed_undo_mut(step).into_iter();
                undo.for_each(|it| it.silent = Some(reason.clone()));
            }
            Fact::Paused { .. } => self.paused = true,
            Fact::Resumed { .. } => self.resume(at),
            Fact::CancelAsked { .. } => (),
            Fact::Terminated { reason, .. } => self.terminate(reason),
            Fact::Retried { .. } => self.retry(at),
        }
    }

    pub(super) fn hold(&mut self, seq: u32, at: Time, hold: &Hold) {
        if *hold == Hold::GivenBack {
            return;
        }
        self.held.push(seq);
        // The code was over with an earlier one: this one has to go back first.
        self.ended_at = None;
        if let Hold::Stuck { message } = hold {
            let (problem, message) = (Problem::Stuck, message.clone());
            self.stuck.get_or_insert(Attention { problem, message, since: at });
        }
    }

    /// It has ended once its code has, nothing is owed to anyone, and what the code was never shown
    /// has gone back.
    pub(super) fn note_end(&mut self, at: Time) {
        let is_owed = !(self.owed.is_empty() && self.publishes.is_empty());
        let is_over = self.held.is_empty()
            && match self.end {
                None => false,
                Some(End::Terminated(_)) => true,
                Some(End::Completed(_)) => !is_owed,
                Some(End::Aborted(..)) => !is_owed && !self.committed,
            };
        if is_over && self.ended_at.is_none() {
            self.ended_at = Some(at);
        }
    }

    fn settle_call(&mut self, step: &Path) {
        self.calls.remove(step);
        let mut closing = std::mem::take(&mut self.closing);
        // No other arm has lost a call.
        closing.retain(|it| it.is_over || !it.scope.contains(step) || self.has_calls(&it.scope));
        self.closing = closing;
    }

    fn receive(&mut self, at: Time, step: &Path, event: &str, body: &Payload) {
        let Some(place) = self.waits.iter().position(|it| it.step == *step) else { return };
        let wait = self.waits.remove(place);
        if wait.ask.is_none() {
            return;
        }
        let decision = body.decode::<DecisionBody>().ok();
        let decided = decision.map(|it| Decided { approved: it.approved, by: it.by });
        let (event, key) = (event.to_owned(), wait.key);
        for asked in self.asked.iter_mut().filter(|it| it.step == *step) {
            asked.decided.clone_from(&decided);
        }
        // The world hears of a decision from us alone.
        let command = Command { subject: event, body: body.clone() };
        self.publish(at, step.clone(), command, key);
    }

    fn terminate(&mut self, reason: &str) {
        self.calls.clear();
        self.waits.clear();
        self.sleeps.clear();
        self.closing.clear();
        self.publishes.clear();
        self.owed.clear();
        self.stuck = None;
        self.end = Some(End::Terminated(reason.to_owned()));
    }

    /// What was not sent while the saga was paused was not missed.
    fn resume(&mut self, at: Time) {
        self.paused = false;
        self.calls.values_mut().for_each(|it| it.limit_from = at);
        self.owed.iter_mut().for_each(|it| it.limit_from = at);
        self.publishes.iter_mut().for_each(|it| it.limit_from = at);
    }

    /// What needs a person is asked again, with a class of its own, as a provider repeats its
    /// answer to the one before; what is still in its time gets all of it again.
    fn retry(&mut self, at: Time) {
        for call in self.calls.values_mut().filter(|it| it.exhausted.is_some()) {
            call.exhausted = None;
            (call.since, call.limit_from) = (at, at);
            call.attempt_class += 1;
        }
        for undo in self.owed.iter_mut().filter(|it| it.is_asked) {
            undo.limit_from = at;
            if undo.needs_a_person() {
                (undo.failed, undo.silent) = (None, None);
                undo.since = at;
                undo.attempt_class += 1;
            }
        }
        for publish in &mut self.publishes {
            (publish.failed, publish.limit_from) = (None, at);
        }
    }

    fn waive(&mut self, at: Time, step: &Path, by: &str, reason: &str) {
        /// It stands in the head; the journal has all of it.
        const CHARS_MAX: usize = 2_000;
        let Some(undo) = self.settle_undo(at, step) else { return };
        let said = format!("undo {} was waived by {by}: {reason}", undo.command.subject);
        let said = match self.waived.take() {
            Some(before) => format!("{before}; {said}"),
            None => said,
        };
        self.waived = Some(cut(&said, CHARS_MAX).into_owned());
    }

    pub(super) fn note_asked(&mut self, step: &Path, event: &str, key: &str) {
        // Now and then, so that many that are open are not looked at with each new one.
        if CLOSED_MAX < self.asked.len() && self.asked.len().is_power_of_two() {
            self.forget_closed_questions();
        }
        let (step, event, key) = (step.clone(), event.to_owned(), key.to_owned());
        self.asked.push(Asked { step, event, key, decided: None });
    }

    fn forget_closed_questions(&mut self) {
        let open: BTreeSet<&Path> = self.waits.iter().map(|it| &it.step).collect();
        let closed = self.asked.iter().filter(|it| !open.contains(&it.step)).count();
        let mut surplus = closed.saturating_sub(CLOSED_MAX);
        self.asked.retain(|it| {
            let is_forgotten = 0 < surplus && !open.contains(&it.step);
            surplus -= usize::from(is_forgotten);
            !is_forgotten
        });
    }
}
