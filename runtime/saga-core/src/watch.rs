//! Whose code runs now. Code that blocks its thread, or ends its process by a stack overflow, can
//! only be seen from outside: so the host is told before author code runs, and when it is back.

use crate::id::{SagaId, Time, short_hash};
use std::borrow::Cow;

/// Watches over author code. Between `enters` and `leaves` nothing runs that is not the author's,
/// or ours on its behalf: no store, no wire.
pub trait Watch {
    /// Author code is about to run.
    fn enters(&mut self, running: &Running<'_>);
    /// It came back, and is called again at once: a stored turn was replayed.
    fn goes_on(&mut self);
    /// It came back.
    fn leaves(&mut self);
}

/// Which author code runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running<'a> {
    /// Who is to blame if it never comes back.
    pub culprit: Culprit<'a>,
    /// The saga, if it is code of one.
    pub saga: Option<SagaId>,
    /// The definition.
    pub definition: Cow<'a, str>,
    /// The business key.
    pub key: Cow<'a, str>,
    /// The number of the entry that is being made.
    pub seq: u32,
    /// The step that the entry's fact settles; empty for a start.
    pub step: Cow<'a, str>,
}

/// What stays the same when the same code is run again, also by another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Culprit<'a> {
    /// A saga. Its turns, and the replays of them, count together.
    Saga(SagaId),
    /// The start of a saga: it gets another id when it is tried again.
    Start,
    /// The reading of an event, as the definition's types do it.
    Event {
        /// The event's subject.
        name: Cow<'a, str>,
        /// From whom.
        source: Cow<'a, str>,
        /// Its id.
        id: Cow<'a, str>,
    },
}

/// Author code that ran when a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// Names the process that ended, so that one death is counted once.
    pub process: u64,
    /// The code.
    pub running: Running<'static>,
    /// The host ended the process, because the code did not come back in time.
    pub blocked: bool,
    /// When it was found.
    pub at: Time,
}

/// Nobody watches: for tests, and tools that may hang.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn enters(&mut self, _: &Running<'_>) {}
    fn goes_on(&mut self) {}
    fn leaves(&mut self) {}
}

impl Running<'_> {
    /// The key under which deaths of the culprit are counted.
    pub(crate) fn culprit_key(&self) -> [u8; 16] {
        match &self.culprit {
            Culprit::Saga(saga) => saga_key(*saga),
            Culprit::Start => start_key(&self.definition, &self.key),
            Culprit::Event { name, source, id } => {
                short_hash(&["event", &self.definition, name, source, id])
            }
        }
    }
}

pub(crate) fn saga_key(saga: SagaId) -> [u8; 16] {
    *saga.as_bytes()
}

pub(crate) fn start_key(definition: &str, key: &str) -> [u8; 16] {
    short_hash(&["start", definition, key])
}
