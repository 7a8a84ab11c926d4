//! What a fact does to the state. A fact for a step that is settled does nothing.

use super::state::{Asked, Attention, Decided, End, OpenPublish, Problem, State};
use crate::{
    id::{Path, Time},
    journal::{Command, Fact, Hold},
    payload::Payload,
};
use serde::Deserialize;

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
            Fact::Received { step, event, body, .. } => self.receive(step, event, body),
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
            Fact::Undone { step } => {
                if self.owed.first().is_some_and(|it| it.step == *step) {
                    self.owed.remove(0);
                }
                // The next one is asked for from here on.
                self.owed.iter_mut().take(1).for_each(|it| it.since = at);
            }
            Fact::UndoRejected { step, reason, .. } => {
                if let Some(undo) = self.owed.first_mut().filter(|it| it.step == *step) {
                    undo.failed = Some(reason.clone());
                }
            }
            Fact::Paused { .. } => self.paused = true,
            Fact::Resumed { .. } => self.paused = false,
            Fact::CancelAsked { .. } => (),
            Fact::Terminated { reason, .. } => self.terminate(reason),
            Fact::Retried { .. } => self.retry(at),
        }
    }

    pub(super) fn hold(&mut self, seq: u32, at: Time, hold: &Hold) {
        self.held.push(seq);
        if let Hold::Stuck { message } = hold {
            let (problem, message) = (Problem::Stuck, message.clone());
            self.stuck.get_or_insert(Attention { problem, message, since: at });
        }
    }

    /// It has ended once its code has and nothing is owed to anyone.
    pub(super) fn note_end(&mut self, at: Time) {
        let is_owed = !(self.owed.is_empty() && self.publishes.is_empty() && self.held.is_empty());
        let is_over = match self.end {
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
        closing.retain(|it| it.is_over || self.has_calls(&it.scope));
        self.closing = closing;
    }

    fn receive(&mut self, step: &Path, event: &str, body: &Payload) {
        let Some(at) = self.waits.iter().position(|it| it.step == *step) else { return };
        let wait = self.waits.remove(at);
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
        self.publishes.push(OpenPublish { step: step.clone(), command, key });
    }

    fn terminate(&mut self, reason: &str) {
        self.calls.clear();
        self.waits.clear();
        self.sleeps.clear();
        self.closing.clear();
        self.publishes.clear();
        self.owed.clear();
        self.held.clear();
        self.stuck = None;
        self.end = Some(End::Terminated(reason.to_owned()));
    }

    fn retry(&mut self, at: Time) {
        for call in self.calls.values_mut().filter(|it| it.exhausted.is_some()) {
            call.exhausted = None;
            call.limit_from = at;
            call.attempt_class += 1;
        }
        if let Some(undo) = self.owed.first_mut().filter(|it| it.failed.is_some()) {
            undo.failed = None;
            undo.since = at;
            undo.attempt_class += 1;
        }
    }

    pub(super) fn note_asked(&mut self, step: &Path, event: &str, key: &str) {
        let (step, event, key) = (step.clone(), event.to_owned(), key.to_owned());
        self.asked.push(Asked { step, event, key, decided: None });
    }
}
