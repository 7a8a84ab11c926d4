//! Everything that goes out, after the batch that asked for it is durable.

use crate::{
    abort::Abort,
    fold::Status,
    id::{Path, Position, SagaId, Time},
    input::Ticket,
    journal::RetryMs,
    payload::Payload,
};

/// What the host owes the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask a service until it answers, or until [`Effect::Forget`].
    Send(Request),
    /// Ask no more: answered, abandoned, paused, exhausted.
    Forget(RequestId),
    /// Give an event to the broker until it has it, or until [`Effect::Withdraw`]; then say
    /// [`Input::Published`]. Events of one saga on one subject and key go in order.
    ///
    /// [`Input::Published`]: crate::input::Input::Published
    Publish {
        /// The saga that publishes.
        saga: SagaId,
        /// Its step.
        step: Path,
        /// The event's id.
        id: String,
        /// Its subject.
        subject: String,
        /// Its business key.
        key: String,
        /// Its body.
        body: Payload,
    },
    /// Give it to the broker no more: it has it, or the saga is paused or terminated.
    Withdraw {
        /// The saga that publishes.
        saga: SagaId,
        /// Its step.
        step: Path,
    },
    /// Try now what waits to be tried again for this saga: an operator wants it.
    Hurry(SagaId),
    /// The event is durable, with these verdicts: acknowledge it, and receipt it.
    Ack {
        /// As the arrival gave it.
        ticket: Ticket,
        /// One line for each definition, or one for all.
        verdicts: Vec<Verdict>,
    },
    /// The answer to a command.
    Answer {
        /// As the command gave it.
        ticket: Ticket,
        /// What became of it.
        reply: Result<Reply, Refusal>,
    },
    /// Something for the log and the metrics; never repeated by a replay.
    Note(Note),
}

/// One request of a saga.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId {
    /// The saga.
    pub saga: SagaId,
    /// Its step.
    pub step: Path,
    /// The undo of the step, not its call.
    pub is_undo: bool,
}

/// A request to a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What names it.
    pub id: RequestId,
    /// The saga's epoch.
    pub epoch: u32,
    /// Where it goes.
    pub subject: String,
    /// The idempotency key.
    pub key: String,
    /// What is asked.
    pub body: Payload,
    /// Set for an undo.
    pub undo: Option<UndoOf>,
    /// 1, and one more with each retry of an operator.
    pub attempt_class: u32,
    /// When it was decided.
    pub since: Time,
    /// How it is asked again.
    pub retry: RetryMs,
    /// The business key of the saga, for traces and logs.
    pub saga_key: String,
    /// An earlier process was to ask it: there may be thousands of these, and none of them is new.
    pub is_recovered: bool,
    /// When the saga began: what it did may be forgotten some time.
    pub began: Time,
}

/// What an undo tells the service beside its body.
#[derive(Clone, Debug, PartialEq)]
pub struct UndoOf {
    /// The key of the call that it undoes, if it undoes one.
    pub call_key: Option<String>,
    /// Why.
    pub abort: Abort,
}

/// What became of an event, for one definition.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Verdict {
    /// The definition; nothing when it speaks for all.
    pub definition: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// The saga that has to do with it.
    pub saga: Option<SagaId>,
    /// In words, where there is more to say.
    pub detail: Option<String>,
}

/// What can become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A wait took it.
    Consumed,
    /// It started a saga.
    Started,
    /// It is kept for a wait that may open later.
    Kept,
    /// A late arm handles it.
    Late,
    /// It came late and means nothing.
    Ignored,
    /// Nobody wants it.
    Unclaimed,
    /// No definition declares its name; kept until one does.
    Unrouted,
    /// The same event came before.
    Duplicate,
    /// An event with this id and another body came before.
    Conflict,
    /// A saga with this start key and the same input is there.
    DuplicateStart,
    /// A saga with this start key and another input is there.
    ConflictingStart,
    /// Our own announcement of a decision.
    Announced,
    /// It may not come this way.
    Refused,
    /// It cannot be used; its body is kept for an operator.
    DeadLetter,
}

/// A command that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It has an effect from now on.
    Accepted(SagaId),
    /// It had that effect already.
    Same(SagaId),
    /// The event at this place was taken in.
    Taken(Position),
    /// It was taken in before.
    TakenBefore(Position),
}

/// A command that was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which kind of no.
    pub kind: RefusalKind,
    /// In words.
    pub detail: String,
}

/// The kinds of no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// There is no such thing.
    NotFound,
    /// Its state does not allow it.
    Conflict,
    /// The actor may not.
    Forbidden,
    /// What it is about still cannot be used.
    Unusable,
    /// A field is wrong.
    Invalid {
        /// JSON pointer to it.
        pointer: &'static str,
    },
}

/// Something for the log and the metrics.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// A saga began.
    Started {
        /// The saga.
        saga: SagaId,
        /// Its definition.
        definition: String,
        /// Its key.
        key: String,
    },
    /// A saga changed its status.
    Status {
        /// The saga.
        saga: SagaId,
        /// Its definition.
        definition: String,
        /// The new one.
        status: Status,
        /// Why, for attention and bad ends.
        reason: Option<String>,
        /// From its start to its end, when it has ended; both by the clock of the core.
        took_ms: Option<u64>,
    },
    /// An answer came that nobody waits for: late, or repeated.
    StaleAnswer {
        /// The saga.
        saga: SagaId,
        /// The step.
        step: Path,
    },
}
