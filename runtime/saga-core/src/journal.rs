//! The journal: what the world told a saga and what the saga's code then asked for, turn by turn.

use crate::{
    abort::Abort,
    filter::Filter,
    id::{Alias, Path, Position, SagaId, Time, millis},
    message::{OnExhausted, Retry},
    payload::{Payload, Same},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One row of a journal: a fact, and what the code decided on it. It is appended whole, so a torn
/// turn has no form, and what is stored after a fact is all that will ever be decided on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where the log wrote it last.
    pub position: Position,
    /// When the fact was appended; never before the previous entry of the saga.
    pub at: Time,
    /// What happened.
    pub fact: Fact,
    /// What the code decided on it, or why it has not seen it yet.
    pub turn: Turn,
}

/// Whether the code has seen a fact. "Decided nothing" and "not applied yet" never look alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// The code saw the fact at this time and decided exactly this.
    Done {
        /// Deadlines opened by the turn count from here. The time of the fact, or a later one when
        /// the fact was held.
        at: Time,
        /// In the order in which the code asked.
        decisions: Vec<Decision>,
    },
    /// The fact is settled, but the code sees it later.
    Held(Hold),
}

/// Why a fact is held, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// An operator paused the saga.
    Paused,
    /// The turn could not be made: a person has to mend the code or end the saga.
    Stuck {
        /// What went wrong, and what helps.
        message: String,
    },
    /// An earlier fact is held.
    Behind,
    /// The code was over before it was shown this: it never will be, and an event has gone back to
    /// its lane.
    GivenBack,
}

/// Facts are delivered to the code, never checked against it. An event is one only after the core
/// has matched it: it names the wait that it closes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "step, by and reason mean the same in every variant")]
pub enum Fact {
    /// The saga began.
    Started(Start),
    /// A service answered a call.
    Replied { step: Path, body: Payload },
    /// A service refused a call for good.
    Rejected { step: Path, code: String, reason: String },
    /// An event was matched with the wait that it closes.
    /// `event_at` is the event's place in the log; 0 for a decision, which is in no lane.
    Received { step: Path, event: String, event_id: String, event_at: Position, body: Payload },
    /// A deadline, a sleep, or the time for a closing scope to settle is over.
    TimerFired { step: Path },
    /// A call is not asked again by itself; `abort` when the definition said that it ends the saga.
    Exhausted { step: Path, reason: String, abort: bool },
    /// The broker has what the step publishes.
    Published { step: Path },
    /// A service did an undo.
    Undone { step: Path },
    /// A service refused an undo, or did not answer for too long: a person decides.
    UndoRejected { step: Path, code: String, reason: String },
    /// A service has not answered an undo for so long that a person should know; it is asked on.
    UndoSilent { step: Path, reason: String },
    /// A person gave an undo up.
    UndoWaived { step: Path, by: String, reason: String },
    /// The broker does not take what the step publishes, for so long that a person should know; it
    /// is tried on.
    PublishRefused { step: Path, reason: String },
    /// An operator stopped turns and sends.
    Paused { by: String, reason: String },
    /// An operator let the saga go on.
    Resumed { by: String, reason: String },
    /// An operator wants the saga undone.
    CancelAsked { by: String, reason: String },
    /// An operator ended the saga without undos; the steps are those whose undo was owed.
    Terminated { by: String, reason: String, abandoned: Vec<Path> },
    /// An operator wants what failed to be tried again.
    Retried { by: String, reason: String },
}

/// How a saga began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The saga's id.
    pub saga: SagaId,
    /// The name of its definition.
    pub definition: String,
    /// The version of the definition with which it keeps.
    pub version: u32,
    /// The build that started it.
    pub build: String,
    /// The business key, an order id say.
    pub key: String,
    /// Counts rewinds, restores and continue-as-new.
    pub epoch: u32,
    /// What it is about.
    pub input: Payload,
    /// Its settings, read once.
    pub settings: Payload,
    /// The saga whose late event this one handles.
    pub origin: Option<SagaId>,
    /// The event that started it, if one did.
    pub event: Option<EventRef>,
    /// How long silence is borne.
    #[serde(default)]
    pub patience: Patience,
    /// Under which name it acts; sagas of before have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
}

impl Start {
    /// The name under which the world outside knows the saga.
    pub fn acts_as(&self) -> Alias {
        self.alias.unwrap_or(Alias::of_id(self.saga))
    }
}

/// How long silence is borne before a person is told. A saga keeps what was set when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// A service does not answer an undo.
    pub undo_ms: u64,
    /// The broker does not take an event.
    pub publish_ms: u64,
}

impl Default for Patience {
    /// Longer than a service takes to start anew, and shorter than money and goods should lie about
    /// unnoticed.
    fn default() -> Patience {
        let half_an_hour = 30 * 60 * 1000;
        Patience { undo_ms: half_an_hour, publish_ms: half_an_hour }
    }
}

/// An event by its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRef {
    /// Its subject.
    pub name: String,
    /// Its id.
    pub id: String,
}

/// On replay each one must be asked for again, in this order, in this turn, and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "step, scope and command mean the same in every variant")]
pub enum Decision {
    /// Ask a service until it answers.
    Call {
        step: Path,
        command: Command,
        /// What undoes it, given before the call was made.
        undo: Option<Command>,
        retry: RetryMs,
    },
    /// Hold until an event on one of these lanes passes the filter, or the time is over.
    Wait {
        step: Path,
        events: Vec<String>,
        key: String,
        filter: Filter,
        within_ms: Option<u64>,
        /// Set when a person is asked.
        ask: Option<Ask>,
    },
    /// Hold for a time.
    Sleep { step: Path, ms: u64 },
    /// Tell the world, with the step's key as the event's id.
    Publish { step: Path, command: Command, key: String },
    /// What must happen if the saga does not succeed.
    Undo { step: Path, command: Command },
    /// The pivot: from here the saga no longer unwinds.
    Commit,
    /// This run takes the new path of a patch.
    Patch { id: String },
    /// An arm is closed as a whole.
    Close { scope: Path, mode: CloseMode },
    /// A call without an answer when its scope closed: sent no more, and its undo owed.
    Abandoned { step: Path },
    /// The saga succeeded.
    Complete { output: Payload },
    /// The saga gives up and unwinds.
    Abort { abort: Abort, ends: Ends },
}

/// Who is asked, and about what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// One line for a list of tasks.
    pub title: String,
    /// What the person should see before deciding, as a JSON object.
    pub facts: Payload,
}

impl Ask {
    /// What a decision says to be about this question, asked in the step with this key, and about
    /// what it shows.
    pub(crate) fn seen(&self, step_key: &str) -> String {
        let facts: String = self.facts.digest().iter().map(|it| format!("{it:02x}")).collect();
        let short = crate::id::short_hash(&[step_key, &self.title, &facts]);
        short.iter().map(|it| format!("{it:02x}")).collect()
    }
}

/// What closing a scope means for its calls. Its waits and sleeps end at once in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseMode {
    /// The arm of a join whose sibling failed: answers are awaited for this long, then abandoned;
    /// undos of what was answered stay with the saga.
    Settle {
        /// Milliseconds.
        within_ms: u64,
    },
    /// The arm that lost a race: all that it did is undone, newest first, behind the saga.
    Lost,
}

/// Which end an abort leads to once everything is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    /// The definition gave up, or an operator cancelled.
    Cancelled,
    /// The engine had to end it.
    Failed,
}

/// A request as data, so that it can be stored, shown and sent again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Where it is sent.
    pub subject: String,
    /// What is sent.
    pub body: Payload,
}

/// [`Retry`] as it is recorded, in milliseconds: a call is retried without its author's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryMs {
    /// The longest pause before the second attempt.
    pub first_ms: u64,
    /// The longest pause between any two attempts.
    pub pause_ms_max: u64,
    /// From the decision to exhaustion.
    pub limit_ms: u64,
    /// Whether exhaustion ends the saga.
    pub abort: bool,
}

impl From<Retry> for RetryMs {
    fn from(retry: Retry) -> RetryMs {
        RetryMs {
            first_ms: millis(retry.first),
            pause_ms_max: millis(retry.pause_max),
            limit_ms: millis(retry.limit.min(RESEND_MAX)),
            abort: retry.on_exhausted == OnExhausted::Abort,
        }
    }
}

/// Nothing first sent longer ago is sent again: services forget keys after 90 days, and a person
/// should look before then.
pub const RESEND_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

impl RetryMs {
    /// How an undo is retried: until it is too old for anyone to answer for its key.
    pub fn undo() -> RetryMs {
        RetryMs { limit_ms: millis(RESEND_MAX), abort: false, ..Retry::DEFAULT.into() }
    }
}

impl Entry {
    /// How the saga began, if it began with this entry.
    pub(crate) fn start(&self) -> Option<&Start> {
        match &self.fact {
            Fact::Started(start) => Some(start),
            _ => None,
        }
    }

    /// The (event, key) from which the saga starts, and those on which it begins to hold here.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = (&str, &str)> {
        let started = match &self.fact {
            Fact::Started(start) => {
                start.event.as_ref().map(|it| (it.name.as_str(), start.key.as_str()))
            }
            _ => None,
        };
        let decisions = match &self.turn {
            Turn::Done { decisions, .. } => decisions.as_slice(),
            Turn::Held(_) => &[],
        };
        let held_on = decisions.iter().flat_map(|it| match it {
            Decision::Wait { events, key, .. } => {
                events.iter().map(|event| (event.as_str(), key.as_str())).collect()
            }
            _ => Vec::new(),
        });
        started.into_iter().chain(held_on)
    }
}

impl Turn {
    /// Whether the code is over with it.
    pub(crate) fn is_final(&self) -> bool {
        let is_end =
            |it: &Decision| matches!(it, Decision::Complete { .. } | Decision::Abort { .. });
        matches!(self, Turn::Done { decisions, .. } if decisions.iter().any(is_end))
    }
}

impl Fact {
    /// Whether the author's code may decide anything on it; on the others the core decides.
    pub fn is_for_code(&self) -> bool {
        match self {
            Fact::Started(_)
            | Fact::Replied { .. }
            | Fact::Rejected { .. }
            | Fact::Received { .. }
            | Fact::TimerFired { .. } => true,
            Fact::CancelAsked { .. }
            | Fact::Exhausted { .. }
            | Fact::Published { .. }
            | Fact::Undone { .. }
            | Fact::UndoRejected { .. }
            | Fact::UndoSilent { .. }
            | Fact::UndoWaived { .. }
            | Fact::PublishRefused { .. }
            | Fact::Paused { .. }
            | Fact::Resumed { .. }
            | Fact::Terminated { .. }
            | Fact::Retried { .. } => false,
        }
    }
}

impl Fact {
    /// The step that it settles; empty for a fact that is about the saga as a whole.
    pub fn step(&self) -> &str {
        self.settles().map_or("", Path::as_str)
    }

    /// The step that it settles; nothing for a fact that is about the saga as a whole.
    pub(crate) fn settles(&self) -> Option<&Path> {
        match self {
            Fact::Replied { step, .. }
            | Fact::Rejected { step, .. }
            | Fact::Received { step, .. }
            | Fact::TimerFired { step }
            | Fact::Exhausted { step, .. }
            | Fact::Published { step }
            | Fact::PublishRefused { step, .. }
            | Fact::Undone { step }
            | Fact::UndoRejected { step, .. }
            | Fact::UndoSilent { step, .. }
            | Fact::UndoWaived { step, .. } => Some(step),
            Fact::Started(_)
            | Fact::Paused { .. }
            | Fact::Resumed { .. }
            | Fact::CancelAsked { .. }
            | Fact::Terminated { .. }
            | Fact::Retried { .. } => None,
        }
    }
}

impl Decision {
    /// Compares bodies as today's `types`, all else as values; lengths of time not at all.
    pub(crate) fn is_same(&self, asked: &Decision, types: &[Same]) -> bool {
        let (mut a, mut b) = (self.clone(), asked.clone());
        let (a_bodies, b_bodies) = (a.take_bodies(), b.take_bodies());
        a == b
            && a_bodies.len() == b_bodies.len()
            && a_bodies.len() == types.len()
            && types.iter().zip(a_bodies.iter().zip(&b_bodies)).all(|(same, (a, b))| same(a, b))
    }

    /// Leaves the shape behind: what is compared by value.
    pub(crate) fn take_bodies(&mut self) -> Vec<Payload> {
        let take = |body: &mut Payload| std::mem::replace(body, Payload::null());
        match self {
            Decision::Call { command, undo, retry, .. } => {
                *retry = RetryMs::undo();
                let undo = undo.as_mut().map(|it| take(&mut it.body));
                std::iter::once(take(&mut command.body)).chain(undo).collect()
            }
            Decision::Undo { command, .. } | Decision::Publish { command, .. } => {
                vec![take(&mut command.body)]
            }
            Decision::Complete { output } => vec![take(output)],
            Decision::Abort { abort, .. } => {
                // Older builds recorded reasons of any length.
                *abort = abort.cut();
                Vec::new()
            }
            Decision::Wait { within_ms, ask, .. } => {
                *within_ms = within_ms.map(|_| 0);
                // What a person is shown may be worded anew while the task is open.
                *ask = ask.take().map(|_| Ask { title: String::new(), facts: Payload::null() });
                Vec::new()
            }
            Decision::Sleep { ms, .. } => {
                *ms = 0;
                Vec::new()
            }
            Decision::Close { mode: CloseMode::Settle { within_ms }, .. } => {
                *within_ms = 0;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }
}
