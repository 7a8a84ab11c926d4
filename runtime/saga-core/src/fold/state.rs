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
    /// To be run now, the newest first of each chain; see [`Undo::is_asked`].
    pub owed: Vec<Undo>,
    /// How many undos it has asked for so far.
    pub undos_asked: u32,
    /// What was given up by a person, in words.
    pub waived: Option<String>,
    /// What a person is asked, and was asked last.
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
    /// When it was decided.
    pub since: Time,
    /// From when the patience with the broker counts: the decision, a resume, or a retry.
    pub limit_from: Time,
    /// Why a person should look, though it is tried on.
    pub failed: Option<String>,
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
    /// Since when it is owed; once it is asked, since then.
    pub since: Time,
    /// Why the service refused it.
    pub failed: Option<String>,
    /// 1, and one more with each retry of an operator.
    pub attempt_class: u32,
    /// The arm that lost a race, whose undos run behind the saga; nothing for one that is undone
    /// with the saga.
    pub lost_with: Option<Path>,
    /// It is asked for: nothing that must be undone before it is left.
    pub is_asked: bool,
    /// The number of this one among those that the saga has asked for, from 1.
    pub asked_as: u32,
    /// From when the patience with its service counts: the first request, a resume, or a retry.
    pub limit_from: Time,
    /// Why a person should look, though it is asked on.
    pub silent: Option<String>,
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
    /// Its rows cannot be read.
    SetAside,
    /// A call is not asked again by itself.
    CallExhausted,
    /// A compensation failed, or is not answered.
    UndoFailed,
    /// The broker does not take an event.
    PublishRefused,
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
    pub const fn as_str(self) -> &'static str {
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
        self.status_with(self.attention().as_ref())
    }

    /// The same, for one who has asked what needs a person.
    pub(crate) fn status_with(&self, attention: Option<&Attention>) -> Status {
        match &self.end {
            Some(_) if self.ended_at.is_none() => (),
            Some(End::Terminated(_)) => return Status::Terminated,
            // What a person gave up was not undone, however well the code did.
            Some(_) if self.waived.is_some() => return Status::Failed,
            Some(End::Completed(_)) => return Status::Completed,
            Some(End::Aborted(_, Ends::Cancelled)) => return Status::Cancelled,
            Some(End::Aborted(_, Ends::Failed)) => return Status::Failed,
            None => (),
        }
        if attention.is_some() {
            Status::Attention
        } else if matches!(self.end, Some(End::Aborted(..) | End::Terminated(_))) {
            Status::Compensating
        } else if self.calls.is_empty() && (!self.waits.is_empty() || !self.sleeps.is_empty()) {
            Status::Waiting
        } else {
            Status::Running
        }
    }

    /// How many requests have no answer, and events are not with the broker.
    pub(crate) fn requests(&self) -> usize {
        let undos = self.owed.iter().filter(|it| it.is_asked).count();
        self.calls.len() + undos + self.publishes.len()
    }

    /// Whether its code could be woken by anything that is open.
    pub(crate) fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.waits.is_empty()
            && self.sleeps.is_empty()
            && self.closing.is_empty()
    }

    /// About what its waits and sleeps come to in its whole head.
    pub(crate) fn holds_bytes(&self) -> usize {
        /// Names of fields, times and numbers.
        const FIELDS_BYTES: usize = 180;
        let of_wait = |it: &OpenWait| {
            let events: usize = it.events.iter().map(|it| it.len() + 3).sum();
            let tests = it.filter.0.iter().map(|it| it.pointer.len() + it.value.text().len() + 40);
            let asked = it.ask.as_ref().map_or(0, |it| it.facts.text().len());
            FIELDS_BYTES + events + it.key.len() + tests.sum::<usize>() + asked
        };
        self.waits.iter().map(of_wait).sum::<usize>() + FIELDS_BYTES * self.sleeps.len()
    }

    /// Whether its code is to be shown what was held, as nothing holds that up any more; or what
    /// was held is to go back, as the code is over.
    pub(crate) fn is_being_told(&self) -> bool {
        let may_go_on = !self.paused && self.stuck.is_none();
        !self.held.is_empty() && (self.end.is_some() || may_go_on)
    }

    /// The arms that settle.
    pub(super) fn settling(&self) -> BTreeSet<&str> {
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
            Fact::PublishRefused { step, .. } => {
                self.publishes.iter().any(|it| it.step == *step && it.failed.is_none())
            }
            Fact::Undone { step } => self.asked_undo(step).is_some(),
            Fact::UndoRejected { step, .. } => {
                self.asked_undo(step).is_some_and(|it| it.failed.is_none())
            }
            Fact::UndoSilent { step, .. } => {
                self.asked_undo(step).is_some_and(|it| it.failed.is_none() && it.silent.is_none())
            }
            Fact::UndoWaived { step, .. } => {
                self.asked_undo(step).is_some_and(Undo::needs_a_person)
            }
            Fact::CancelAsked { .. } => self.end.is_none(),
            Fact::Paused { .. } => !self.paused,
            Fact::Resumed { .. } => self.paused,
            Fact::Terminated { .. } | Fact::Retried { .. } => true,
        }
    }
}

/// Whether the step is in an arm whose time to settle is its only limit.
pub(super) fn settles(settling: &BTreeSet<&str>, step: &Path) -> bool {
    let step = step.as_str();
    let dots = step.match_indices('.').map(|it| it.0).chain([0, step.len()]);
    !settling.is_empty() && dots.into_iter().any(|end| settling.contains(&step[..end]))
}
