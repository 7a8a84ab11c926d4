//! Everything that can come in: reading these enums tells all that can happen.

use crate::{
    id::{Path, Position, SagaId, TaskId, Time},
    payload::Payload,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The host's name for whoever waits for an acknowledgement or an answer.
pub type Ticket = u64;

/// What comes in. Inputs of one batch are applied one by one, in order.
#[derive(Clone, Debug)]
pub enum Input {
    /// An event from the stream.
    Arrived(Arrival),
    /// A message that is no event: what could be read of it, and why not more.
    Unreadable(Unreadable),
    /// A service answered a request.
    Answered(Answered),
    /// The broker has an event that we published.
    Published {
        /// The saga that publishes.
        saga: SagaId,
        /// Its step.
        step: Path,
    },
    /// The broker has not taken an event that we publish for some time, and says why.
    PublishRefused {
        /// The saga that publishes.
        saga: SagaId,
        /// Its step.
        step: Path,
        /// In the broker's words.
        reason: String,
    },
    /// Somebody wants something.
    Asked {
        /// Who waits for the answer.
        ticket: Ticket,
        /// Who asks.
        actor: Actor,
        /// What is wanted.
        command: Command,
    },
    /// Time has passed, and intake has passed this time: every event that the broker took at or
    /// before it is durable.
    Tick {
        /// The intake watermark.
        watermark: Time,
        /// Filled in by [`Line`](crate::line::Line): families of definitions in which something
        /// waits, and since when. What is due later is left there.
        behind: BTreeMap<String, Time>,
    },
    /// A saga with a long journal was read into memory, see [`Core::sleepers`] and
    /// [`Core::stops_others`].
    ///
    /// [`Core::sleepers`]: crate::core::Core::sleepers
    /// [`Core::stops_others`]: crate::core::Core::stops_others
    Woken {
        /// The saga.
        saga: SagaId,
        /// What is due of it later than this stands behind something that came for it.
        until: Time,
    },
    /// Go on with what earlier inputs left to do, see [`Core::has_more`].
    ///
    /// [`Core::has_more`]: crate::core::Core::has_more
    GoOn,
}

impl Input {
    /// A tick when intake has passed this time for all.
    pub fn tick(watermark: Time) -> Input {
        Input::Tick { watermark, behind: BTreeMap::new() }
    }
}

/// An event from the stream.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Who is told when it is durable.
    pub ticket: Ticket,
    /// Its subject.
    pub name: String,
    /// The publisher's id for it: `Nats-Msg-Id`, else `ce-id`, else a name made of its sequence and
    /// the time at which the broker took it.
    pub id: String,
    /// From whom, by the subject's prefix: never by the body.
    pub source: String,
    /// The business key, when a header gives it; else it is read from the body.
    pub key: Option<String>,
    /// The body.
    pub body: Payload,
    /// When the broker took it.
    pub at: Time,
}

/// A message that is no event.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Who is told when it is durable.
    pub ticket: Ticket,
    /// Its subject.
    pub name: String,
    /// Its id, if it had one.
    pub id: String,
    /// Its body, as text or base64.
    pub body: String,
    /// The body is in base64, as it is no text.
    pub is_base64: bool,
    /// The headers that say what an event is, as they came.
    pub headers: BTreeMap<String, String>,
    /// When the broker took it.
    pub published_at: Time,
    /// Why it is no event.
    pub reason: String,
}

/// An answer of a service.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The saga that asked.
    pub saga: SagaId,
    /// Its epoch when it asked.
    pub epoch: u32,
    /// The step.
    pub step: Path,
    /// The undo of the step was asked, not its call.
    pub is_undo: bool,
    /// What the service said.
    pub answer: Answer,
}

/// What a service said. Failures are not here: the host asks again.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It did it.
    Ok(Payload),
    /// It never will.
    Rejected {
        /// Its code.
        code: String,
        /// Its words.
        reason: String,
    },
    /// Its answer is of no use, and asking again will not help: a person has to look.
    Useless {
        /// What is wrong with it.
        reason: String,
    },
}

/// Who asks, as the host has authenticated them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The name under which they are audited.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// What somebody may do; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Decide tasks.
    Approver,
    /// Move sagas.
    Operator,
    /// Everything.
    Admin,
}

/// What somebody wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// Start a saga by hand.
    Start {
        /// The definition.
        definition: String,
        /// The business key; else it is read from the input.
        key: Option<String>,
        /// What it is about.
        input: Payload,
    },
    /// Decide a task.
    Decide(Decide),
    /// Offer an event again that could not be used, or that nobody wanted.
    Offer {
        /// Where it is in the log.
        position: Position,
        /// Why.
        reason: String,
        /// What a message that was no event reads as now: the event, or why it still is none.
        reread: Option<Box<Result<Arrival, String>>>,
    },
    /// Believe a clock that the host doubts. It is the host's affair, and audited here.
    AcceptClock {
        /// What the host doubted.
        was: String,
        /// Why it is right.
        reason: String,
    },
    /// Move a saga.
    Move {
        /// Which.
        saga: SagaId,
        /// How.
        action: Action,
        /// Why.
        reason: String,
    },
    /// Give an undo up.
    Waive {
        /// Of which saga.
        saga: SagaId,
        /// The step of the undo; may be left out when only one needs a person.
        step: Option<Path>,
        /// Why.
        reason: String,
    },
}

/// A person's decision. It is a command, never an event: whoever makes it has been authenticated.
#[derive(Clone, Debug)]
pub struct Decide {
    /// What is decided.
    pub target: Target,
    /// Yes or no.
    pub approved: bool,
    /// Why; a no needs it.
    pub reason: Option<String>,
    /// Which question the person saw, and what it showed, as [`Head::seen`] gives it: to refuse a
    /// decision on something else.
    ///
    /// [`Head::seen`]: crate::head::Head::seen
    pub seen: Option<String>,
}

/// How a task is named.
#[derive(Clone, Debug)]
pub enum Target {
    /// By its id.
    Task(TaskId),
    /// As services know it.
    Event {
        /// The event name that the wait holds for.
        name: String,
        /// The business key.
        key: String,
    },
}

/// The moves of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Stop turns and sends.
    Pause,
    /// Go on.
    Resume,
    /// Undo everything.
    Cancel,
    /// End without undos.
    Terminate,
    /// Try now whatever waits to be tried again.
    Retry,
    /// Give up an undo that fails, or is not answered.
    Waive,
}
