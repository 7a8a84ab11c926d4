//! Why a person has to look at a saga, and what they can do.

use super::state::{Attention, End, Problem, State, Undo, settles};
use crate::id::Time;

impl State {
    /// Why a person has to look.
    pub fn attention(&self) -> Option<Attention> {
        self.stuck.clone().or_else(|| {
            let (problem, since, message) = self
                .undo_in_need()
                .or_else(|| self.call_in_need())
                .or_else(|| self.publish_in_need())
                .or_else(|| self.end_in_need())?;
            Some(Attention { problem, message, since })
        })
    }

    /// The reason of its end, or of the person's attention.
    pub fn reason(&self) -> Option<String> {
        self.reason_with(self.attention().as_ref())
    }

    /// The same, for one who has asked what needs a person.
    pub(crate) fn reason_with(&self, attention: Option<&Attention>) -> Option<String> {
        let waived = || self.waived.clone();
        match (&self.end, attention) {
            (Some(End::Terminated(reason)), _) => Some(reason.clone()),
            (_, Some(attention)) => Some(attention.message.clone()),
            (Some(End::Aborted(abort, _)), None) => match waived() {
                Some(waived) => Some(format!("{}; {waived}", abort.reason)),
                None => Some(abort.reason.clone()),
            },
            (Some(End::Completed(_)) | None, None) => waived(),
        }
    }

    /// The undos that an operator may give up, in the order in which they are owed.
    pub fn waivable(&self) -> impl Iterator<Item = &Undo> {
        self.owed.iter().filter(|it| it.is_asked && it.needs_a_person())
    }

    fn undo_in_need(&self) -> Option<(Problem, Time, String)> {
        let undo = self.waivable().next()?;
        let subject = &undo.command.subject;
        let message = match (&undo.failed, &undo.silent) {
            (Some(why), _) => format!("undo {subject} failed: {why}; retry, waive or terminate"),
            (None, silent) => {
                let why = silent.as_deref().unwrap_or_default();
                format!("undo {subject}: {why}; it is asked on; retry, waive or terminate")
            }
        };
        Some((Problem::UndoFailed, undo.since, message))
    }

    fn call_in_need(&self) -> Option<(Problem, Time, String)> {
        let settling = self.settling();
        let exhausted = self.calls.iter().filter(|it| it.1.exhausted.is_some());
        let mut calls = exhausted.filter(|it| !settles(&settling, it.0));
        let (call, why) = calls.find_map(|it| Some((it.1, it.1.exhausted.as_ref()?)))?;
        // After its pivot nothing is undone any more.
        let or = if self.committed { "terminate" } else { "cancel" };
        let message = format!("call {}: {why}; retry or {or}", call.command.subject);
        Some((Problem::CallExhausted, call.since, message))
    }

    fn publish_in_need(&self) -> Option<(Problem, Time, String)> {
        let mut publishes = self.publishes.iter();
        let (publish, why) = publishes.find_map(|it| Some((it, it.failed.as_ref()?)))?;
        let subject = &publish.command.subject;
        let message =
            format!("publish {subject}: {why}; it is tried on; mend the broker, or terminate");
        Some((Problem::PublishRefused, publish.since, message))
    }

    fn end_in_need(&self) -> Option<(Problem, Time, String)> {
        let Some(End::Aborted(abort, _)) = self.end.as_ref().filter(|_| self.committed) else {
            return None;
        };
        let message = format!("gave up after its commit: {abort}; mend by hand, then terminate");
        Some((Problem::FailedAfterCommit, self.updated_at, message))
    }
}

impl Undo {
    /// Its service refuses it, or says nothing.
    pub(super) fn needs_a_person(&self) -> bool {
        self.failed.is_some() || self.silent.is_some()
    }
}
