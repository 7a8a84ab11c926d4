//! The state of a saga, and what a host asks of it.

use crate::{
    abort::Abort,
    filter::Filter,
    id::{Path, Position, Time},
    journal::{Ask, Command, Ends, Fact, RetryMs, Start},
    payload::Payload,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a journal leads to. The default is a saga that has not started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// How it began; its input and settings are `null` here, to keep the state small.
    pub start: Option<Start>,
    /// When it began.
    pub started_at: Time,
    /// When its last fact was appended.
    pub updated_at: Time,
    /// How many entries its journal has.
    pub entries: u32,
    /// An operator has paused it.
    pub paused: bool,
    /// It has passed its pivot.
    pub committed: bool,
    /// Requests without an answer.
    pub calls: BTreeMap<Path, OpenCall>,
    /// In the order of opening.
    pub waits: Vec<OpenWait>,
    /// In the order of opening.
    pub sleeps: Vec<OpenSleep>,
    /// Events that the broker does not have yet, in the order of the journal.
    pub publishes: Vec<OpenPublish>,
    /// Arms of joins that settle.
    pub closing: Vec<Closing>,
    /// Registered, oldest first: they run only if the saga aborts or their scope loses.
    pub undos: Vec<Undo>,
    /// To be run now, one after the other, the first one first.
    pub owed: Vec<Undo>,
    /// Everything that a person was asked.
    pub asked: Vec<Asked>,
    /// Every (event, key) on which it ever waited or from which it started.
    pub lanes: BTreeSet<(String, String)>,
    /// Facts that the code has not seen, by their place in the journal.
    pub held: Vec<u32>,
    /// Why it cannot go on without a person.
    pub stuck: Option<Attention>,
    /// How its code ended; the saga has ended when nothing is owed any more.
    pub end: Option<End>,
    /// When it ended with nothing owed.
    pub ended_at: Option<Time>,
}

/// A request without an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenCall {
    /// What is asked.
    pub command: Command,
    /// When it was decided.
    pub since: Time,
    /// How it is asked again.
    pub retry: RetryMs,
    /// From when the retry limit counts: the decision, or an operator's retry.
    pub limit_from: Time,
    /// Why it is not asked again by itself.
    pub exhausted: Option<String>,
    /// 1, and one more with each retry of an operator.
    pub attempt_class: u32,
}

/// A hold for an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenWait {
    /// Its step.
    pub step: Path,
    /// The subjects that it takes.
    pub events: Vec<String>,
    /// The business key.
    pub key: String,
    /// What the event must fulfil.
    pub filter: Filter,
    /// When it was opened.
    pub since: Time,
    /// When its deadline fires.
    pub due: Option<Time>,
    /// Where in the log it was opened: the oldest takes an event.
    pub opened: (Position, u32),
    /// Set when a person is asked.
    pub ask: Option<Ask>,
}

/// A hold for a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenSleep {
    /// Its step.
    pub step: Path,
    /// When it was opened.
    pub since: Time,
    /// When it ends.
    pub due: Time,
}

/// An event that is owed to the world.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenPublish {
    /// Its step; the id of the event is the step's key.
    pub step: Path,
    /// Subject and body.
    pub command: Command,
    /// Its business key.
    pub key: String,
}

/// An arm of a join that waits for the answers of its calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closing {
    /// The arm.
    pub scope: Path,
    /// When unanswered calls are abandoned.
    pub due: Time,
    /// That time is over.
    pub is_over: bool,
}

/// A compensation.
#[derive(Clone, Debug, PartialEq)]
pub struct Undo {
    /// The step that registered it.
    pub step: Path,
    /// What is asked.
    pub command: Command,
    /// It undoes the call of its step, whose key the service needs to put the two in order.
    pub of_call: bool,
    /// Why it is owed; set when it is.
    pub why: Option<Abort>,
    /// Since when it is owed.
    pub since: Time,
    /// Why the service refused it.
    pub failed: Option<String>,
    /// 1, and one more with each retry of an operator.
    pub attempt_class: u32,
}

/// A question to a person, and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The wait that asks.
    pub step: Path,
    /// The event name and key under which services know the question.
    pub event: String,
    /// The business key.
    pub key: String,
    /// What was decided, by whom.
    pub decided: Option<Decided>,
}

/// What a person decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// Yes or no.
    pub approved: bool,
    /// The actor.
    pub by: String,
}

/// Why a saga cannot go on without a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// What is wrong.
    pub problem: Problem,
    /// In words, with what helps.
    pub message: String,
    /// Since when.
    pub since: Time,
}

/// The kinds of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// Its turn could not be made: diverged, stalled, panicked, not decodable, not linked.
    Stuck,
    /// A call is not asked again by itself.
    CallExhausted,
    /// A compensation failed.
    UndoFailed,
    /// It gave up after its pivot.
    FailedAfterCommit,
}

/// How the code of a saga ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// With this output.
    Completed(Payload),
    /// With this reason, leading to this end.
    Aborted(Abort, Ends),
    /// By an operator, without undos.
    Terminated(String),
}

/// The lifecycle. `paused` lies over any open one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A service is asked, or something is being published or tidied up.
    Running,
    /// It holds for the outside world.
    Waiting,
    /// Its undos run.
    Compensating,
    /// A person has to look.
    Attention,
    /// It succeeded.
    Completed,
    /// It was undone.
    Cancelled,
    /// The engine had to end it.
    Failed,
    /// An operator ended it without undos.
    Terminated,
}

impl Status {
    /// Whether nothing more will happen.
    pub fn is_ended(self) -> bool {
        self >= Status::Completed
    }

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::Waiting => "waiting",
            Status::Compensating => "compensating",
            Status::Attention => "attention",
            Status::Completed => "completed",
            Status::Cancelled => "cancelled",
            Status::Failed => "failed",
            Status::Terminated => "terminated",
        }
    }
}

impl State {
    /// Where it stands.
    pub fn status(&self) -> Status {
        match &self.end {
            Some(End::Terminated(_)) => return Status::Terminated,
            Some(_) if self.ended_at.is_none() => (),
            Some(End::Completed(_)) => return Status::Completed,
            Some(End::Aborted(_, Ends::Cancelled)) => return Status::Cancelled,
            Some(End::Aborted(_, Ends::Failed)) => return Status::Failed,
            None => (),
        }
        if self.attention().is_some() {
            Status::Attention
        } else if matches!(self.end, Some(End::Aborted(..))) {
            Status::Compensating
        } else if self.calls.is_empty() && (!self.waits.is_empty() || !self.sleeps.is_empty()) {
            Status::Waiting
        } else {
            Status::Running
        }
    }

    /// Why a person has to look.
    pub fn attention(&self) -> Option<Attention> {
        if self.stuck.is_some() {
            return self.stuck.clone();
        }
        let undo = self.owed.first().and_then(|it| Some((it, it.failed.as_ref()?)));
        if let Some((undo, why)) = undo {
            let message =
                format!("undo {} failed: {why}; retry or terminate", undo.command.subject);
            let (problem, since) = (Problem::UndoFailed, undo.since);
            return Some(Attention { problem, message, since });
        }
        let settling = self.settling();
        let exhausted = self.calls.iter().filter(|it| it.1.exhausted.is_some());
        let mut calls = exhausted.filter(|it| !settles(&settling, it.0));
        let call = calls.find_map(|it| Some((it.1, it.1.exhausted.as_ref()?)));
        if let Some((call, why)) = call {
            let message = format!("call {}: {why}; retry or cancel", call.command.subject);
            let (problem, since) = (Problem::CallExhausted, call.since);
            return Some(Attention { problem, message, since });
        }
        match &self.end {
            Some(End::Aborted(abort, _)) if self.committed => Some(Attention {
                problem: Problem::FailedAfterCommit,
                message: format!("gave up after its commit: {abort}; mend by hand, then terminate"),
                since: self.updated_at,
            }),
            _ => None,
        }
    }

    /// The reason of its end, or of the person's attention.
    pub fn reason(&self) -> Option<String> {
        match (&self.end, self.attention()) {
            (Some(End::Terminated(reason)), _) => Some(reason.clone()),
            (_, Some(attention)) => Some(attention.message),
            (Some(End::Aborted(abort, _)), None) => Some(abort.reason.clone()),
            _ => None,
        }
    }

    /// Whether its code could be woken by anything that is open.
    pub(crate) fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.waits.is_empty()
            && self.sleeps.is_empty()
            && self.closing.is_empty()
    }

    /// The arms that settle.
    fn settling(&self) -> BTreeSet<&str> {
        self.closing.iter().map(|it| it.scope.as_str()).collect()
    }

    /// Whether a call in the scope has no answer.
    pub(crate) fn has_calls(&self, scope: &Path) -> bool {
        // What lies in a scope sorts behind it, and stands together.
        let next = self.calls.range(scope..).next();
        next.is_some_and(|(step, _)| scope.contains(step))
    }

    /// Whether closing the scope so would end anything.
    pub(crate) fn has_open(&self, scope: &Path, with_undos: bool) -> bool {
        self.has_calls(scope)
            || self.waits.iter().any(|it| scope.contains(&it.step))
            || self.sleeps.iter().any(|it| scope.contains(&it.step))
            || with_undos && self.undos.iter().any(|it| scope.contains(&it.step))
    }

    /// Whether the fact would settle something that is open. What would not is never appended: an
    /// event stays in its lane, a late reply is recorded beside the saga.
    pub fn accepts(&self, fact: &Fact) -> bool {
        let Some(_) = self.start else { return matches!(fact, Fact::Started(_)) };
        if self.ended_at.is_some() {
            return false;
        }
        match fact {
            Fact::Started(_) => false,
            Fact::Replied { step, .. } | Fact::Rejected { step, .. } => {
                self.calls.contains_key(step)
            }
            Fact::Exhausted { step, .. } => {
                self.calls.get(step).is_some_and(|it| it.exhausted.is_none())
            }
            Fact::Received { step, .. } => self.waits.iter().any(|it| it.step == *step),
            Fact::TimerFired { step } => {
                self.waits.iter().any(|it| it.step == *step)
                    || self.sleeps.iter().any(|it| it.step == *step)
                    || self.closing.iter().any(|it| it.scope == *step && !it.is_over)
            }
            Fact::Published { step } => self.publishes.iter().any(|it| it.step == *step),
            Fact::Undone { step } => self.owed.first().is_some_and(|it| it.step == *step),
            Fact::UndoRejected { step, .. } => {
                self.owed.first().is_some_and(|it| it.step == *step && it.failed.is_none())
            }
            Fact::CancelAsked { .. } => self.end.is_none(),
            Fact::Paused { .. } => !self.paused,
            Fact::Resumed { .. } => self.paused,
            Fact::Terminated { .. } | Fact::Retried { .. } => true,
        }
    }

    /// Everything that time will bring, by step.
    pub fn timers(&self) -> Vec<(Time, Path)> {
        let waits = self.waits.iter().filter_map(|it| Some((it.due?, it.step.clone())));
        let sleeps = self.sleeps.iter().map(|it| (it.due, it.step.clone()));
        let closing = self.closing.iter().filter(|it| !it.is_over);
        let closing = closing.map(|it| (it.due, it.scope.clone()));
        // What is not sent while the saga is paused is not missed either.
        let asks = !self.paused;
        let settling = self.settling();
        let has_limit = |step: &Path, call: &OpenCall| {
            asks && call.exhausted.is_none() && !settles(&settling, step)
        };
        let calls = self.calls.iter().filter(|it| has_limit(it.0, it.1));
        let calls = calls.map(|(step, it)| (it.limit(), step.clone()));
        let undo = self.owed.first().filter(|it| asks && it.failed.is_none());
        let undo = undo.map(|it| (it.since.after_ms(RetryMs::undo().limit_ms), it.step.clone()));
        waits.chain(sleeps).chain(closing).chain(calls).chain(undo).collect()
    }

    /// The first request that is too old at this time to be sent again.
    pub(crate) fn exhausted_at(&self, now: Time) -> Option<Fact> {
        let owed = self.owed.first().map(|it| &it.step);
        let mut facts = self.calls.keys().chain(owed).filter_map(|step| self.due(step, now));
        facts.find(|it| matches!(it, Fact::Exhausted { .. } | Fact::UndoRejected { .. }))
    }

    /// The fact that the timer of this step makes at this time, if it is due.
    pub fn due(&self, step: &Path, now: Time) -> Option<Fact> {
        if !self.timers().iter().any(|(due, it)| it == step && *due <= now) {
            return None;
        }
        if let Some(call) = self.calls.get(step) {
            let seconds = call.retry.limit_ms / 1000;
            let reason = format!("no answer for {seconds} s");
            return Some(Fact::Exhausted { step: step.clone(), reason, abort: call.retry.abort });
        }
        let timer = Fact::TimerFired { step: step.clone() };
        if self.accepts(&timer) {
            return Some(timer);
        }
        let (code, reason) = ("exhausted".to_owned(), "no answer for too long".to_owned());
        Some(Fact::UndoRejected { step: step.clone(), code, reason })
    }
}

/// Whether the step is in an arm whose time to settle is its only limit.
fn settles(settling: &BTreeSet<&str>, step: &Path) -> bool {
    let step = step.as_str();
    let dots = step.match_indices('.').map(|it| it.0).chain([0, step.len()]);
    !settling.is_empty() && dots.into_iter().any(|end| settling.contains(&step[..end]))
}

impl OpenCall {
    /// When it is exhausted.
    pub fn limit(&self) -> Time {
        self.limit_from.after_ms(self.retry.limit_ms)
    }
}
