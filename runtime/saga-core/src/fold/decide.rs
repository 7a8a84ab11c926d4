//! What a decision does to the state.

use super::state::{Closing, End, OpenCall, OpenPublish, OpenSleep, OpenWait, State};
use crate::{
    abort::AbortKind,
    id::{Path, Position, Time},
    journal::{CloseMode, Command, Decision, Ends, Fact},
};

impl State {
    /// `at` is the time of the turn, `place` the decision's place in the log.
    pub(crate) fn decide(&mut self, at: Time, place: (Position, u32), decision: &Decision) {
        match decision {
            Decision::Call { step, command, undo, retry } => {
                if let Some(undo) = undo {
                    self.register(step, undo, true);
                }
                let (command, limit_from, retry) = (command.clone(), at, *retry);
                let call = OpenCall {
                    command,
                    since: at,
                    retry,
                    limit_from,
                    exhausted: None,
                    attempt_class: 1,
                };
                self.calls.insert(step.clone(), call);
            }
            Decision::Wait { step, events, key, filter, within_ms, ask } => {
                if ask.is_some() {
                    events.iter().for_each(|event| self.note_asked(step, event, key));
                }
                self.lanes.extend(events.iter().map(|it| (it.clone(), key.clone())));
                self.waits.push(OpenWait {
                    step: step.clone(),
                    events: events.clone(),
                    key: key.clone(),
                    filter: filter.clone(),
                    since: at,
                    due: within_ms.map(|ms| at.after_ms(ms)),
                    opened: place,
                    ask: ask.clone(),
                });
            }
            Decision::Sleep { step, ms } => {
                let (step, due) = (step.clone(), at.after_ms(*ms));
                self.sleeps.push(OpenSleep { step, since: at, due });
            }
            Decision::Publish { step, command, key } => {
                let (step, command, key) = (step.clone(), command.clone(), key.clone());
                self.publish(at, step, command, key);
            }
            Decision::Undo { step, command } => self.register(step, command, false),
            Decision::Commit => self.commit(),
            Decision::Patch { .. } => (),
            Decision::Close { scope, mode } => self.close(at, scope, *mode),
            Decision::Abandoned { step } => {
                self.calls.remove(step);
                let why = AbortKind::Lost.because("it was left without an answer");
                self.owe(at, step, &why, None);
                self.closing.retain(|it| !it.is_over || !it.scope.contains(step));
            }
            Decision::Complete { output } => {
                self.end_holds(&Path::root());
                self.end = Some(End::Completed(output.clone()));
            }
            Decision::Abort { abort, ends } => {
                self.end_holds(&Path::root());
                self.stuck = None;
                if !self.committed {
                    self.owe(at, &Path::root(), abort, None);
                }
                self.end = Some(End::Aborted(abort.clone(), *ends));
            }
        }
    }

    /// An arm that commits says nothing of what another arm has under way.
    fn commit(&mut self) {
        self.undos.retain(|it| it.of_call && self.calls.contains_key(&it.step));
        self.committed = true;
    }

    /// The decisions on a fact that is not for the author's code: the undos that it registered say
    /// what to do.
    pub fn decisions_of_core(&self, fact: &Fact) -> Vec<Decision> {
        let (abort, ends) = match fact {
            Fact::CancelAsked { by, reason } => {
                (AbortKind::Cancelled.because(format!("{reason} ({by})")), Ends::Cancelled)
            }
            Fact::Exhausted { step, reason, abort: true } => {
                let subject = self.calls.get(step).map_or("", |it| it.command.subject.as_str());
                (AbortKind::Failed.because(format!("{subject}: {reason}")), Ends::Failed)
            }
            _ => return Vec::new(),
        };
        let abandoned = self.calls_in(&Path::root()).into_iter();
        std::iter::once(Decision::Abort { abort, ends })
            .chain(abandoned.map(|step| Decision::Abandoned { step }))
            .collect()
    }

    /// The unanswered calls of a scope, the newest of each arm first.
    pub(crate) fn calls_in(&self, scope: &Path) -> Vec<Path> {
        self.calls.keys().rev().filter(|step| scope.contains(step)).cloned().collect()
    }

    pub(super) fn publish(&mut self, at: Time, step: Path, command: Command, key: String) {
        let (since, limit_from, failed) = (at, at, None);
        self.publishes.push(OpenPublish { step, command, key, since, limit_from, failed });
    }

    fn close(&mut self, at: Time, scope: &Path, mode: CloseMode) {
        self.end_holds(scope);
        match mode {
            CloseMode::Settle { within_ms } => {
                if self.has_calls(scope) {
                    let (scope, due) = (scope.clone(), at.after_ms(within_ms));
                    self.closing.push(Closing { scope, due, is_over: false });
                }
            }
            CloseMode::Lost => {
                let why = AbortKind::Lost.because(format!("arm {scope} lost a race"));
                self.owe(at, scope, &why, Some(scope));
            }
        }
    }

    /// Waits and sleeps of a closed scope end at once; so does the patience of closings in it.
    fn end_holds(&mut self, scope: &Path) {
        self.waits.retain(|it| !scope.contains(&it.step));
        self.sleeps.retain(|it| !scope.contains(&it.step));
        self.closing.retain(|it| !scope.contains(&it.scope));
    }
}
