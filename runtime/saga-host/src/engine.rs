//! One thread owns the core. It drains what came in, applies it, makes it durable with one fsync,
//! and only then lets anything out.
//!
//! ```text
//! Handle ──▶ bounded lines ──▶ take in turn ≤ 256 or 2 ms ──▶ handle each ──▶ commit ──▶ release
//!                                         └── questions are answered between two batches ──┘
//! ```
//!
//! Definitions that share no event have lines of their own ([`Groups`](crate::groups::Groups)): a
//! flood for some holds up no others. While several bring something, batches are shorter.
//!
//! What is released goes into channels without bounds, so that the thread never waits for somebody
//! who waits for it. What is in them is bounded all the same: by the open calls and publishes of
//! the store, and by the events that the broker lets be un-acknowledged.

mod batches;
mod handle;
mod inbox;
mod outlets;
mod pulse;

pub(crate) use handle::{Busy, Handle, Room};
pub(crate) use outlets::{Outlets, Owed, OwedEvent, Publication};
pub(crate) use pulse::watch_pulse;

use crate::{clock, groups::Groups, sled_store::SledStore};
use batches::{BATCH_INPUTS_MAX, Loop};
use chassis::clock::Clock;
use handle::{Place, Places};
use inbox::Inbox;
use saga_core::{
    core::{Core, Limits, OpenError, STRIKES_MAX},
    effect::{Refusal, Reply, Verdict},
    id::Time,
    input::{Actor, Command, Input},
    saga::Registry,
    store::StoreError,
    watch::{Interrupted, Watch},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::AtomicU64},
    thread,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Events that wait for the engine: as many as a batch takes. Whoever brings more waits until there
/// is room, and then gives the events of each group in their turn.
const EVENTS_MAX: usize = BATCH_INPUTS_MAX;
/// Events of one group that wait for the engine beside these: whoever brings few finds a place at
/// once, whatever others bring. Far more than come of such a group while one batch is made durable.
const OWN_EVENTS_MAX: usize = 16;
/// Answers that wait for the engine, and what the broker says of our own events. They have places
/// of their own, so that a flood of events does not keep them out.
const ANSWERS_MAX: usize = 768;
/// Questions and commands that wait for the engine; beyond it they are refused. They have places of
/// their own, so that a flood of events does not turn people away.
const DOOR_WORK_MAX: usize = 256;
/// Ticks and the stop.
const CLOCK_WORK_MAX: usize = 8;

/// Author code is polled on this stack; how deep it goes is its author's affair.
const STACK_BYTES: usize = 8 << 20;

/// Told when an event is durable.
pub(crate) type Settled = Box<dyn FnOnce(Vec<Verdict>) + Send>;
/// The answer to a command.
pub(crate) type Answer = Result<Reply, Refusal>;
type Query = Box<dyn FnOnce(&Core<SledStore>) + Send>;

/// What the engine is given.
enum Work {
    /// Nobody waits for it.
    Told(Input, Place),
    /// Its ticket is the engine's affair.
    Event(Input, Settled, Place),
    Asked(Actor, Command, oneshot::Sender<Answer>, Place),
    /// Time has passed, and intake has passed this time.
    Tick(Time, oneshot::Sender<Ticked>),
    Read(Query),
    /// Nobody brings anything, and something is left to do.
    GoOn,
    Stop,
}

/// What timers look like after a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticked {
    /// When the next one is due.
    pub(crate) next_due: Option<Time>,
    /// How many are due but held.
    pub(crate) held: usize,
}

/// What the engine takes from outside: the time, and who watches over author code.
pub(crate) struct Oversight {
    pub(crate) clock: Clock,
    pub(crate) watch: Box<dyn Watch + Send>,
    /// What they know of the process before this one.
    pub(crate) interrupted: Option<Interrupted>,
}

#[cfg(test)]
impl Oversight {
    /// For tests whose code comes back.
    pub(crate) fn nobody() -> Oversight {
        let (clock, watch) = (Clock::of_machine(), Box::new(saga_core::watch::Unwatched));
        Oversight { clock, watch, interrupted: None }
    }
}

/// Why the engine has stopped by itself. The process must end.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody knows what is durable.
    #[error("the engine stops: {0}")]
    Store(#[from] StoreError),
    /// The store does not fit the binary.
    #[error("the engine cannot start: {0}")]
    Open(#[from] OpenError),
    /// A defect of ours.
    #[error("the engine panicked; the log names the place")]
    Panicked,
    /// The thread could not be made.
    #[error("the engine has no thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A running engine.
pub(crate) struct Engine {
    pub(crate) handle: Handle,
    /// Ends when the thread does.
    pub(crate) ended: oneshot::Receiver<Result<(), EngineError>>,
}

/// Opens the core and starts the thread.
///
/// # Errors
/// The store does not open.
pub(crate) async fn start(
    store: SledStore,
    registry: Registry,
    limits: Limits,
    outlets: Outlets,
    oversight: Oversight,
) -> Result<Engine, EngineError> {
    let (due, next_due) = watch::channel(None);
    let (opened, is_open) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let beats = Arc::new(AtomicU64::new(0));
    let beating = beats.clone();
    let clock = oversight.clock.clone();
    thread::Builder::new().name("engine".into()).stack_size(STACK_BYTES).spawn(move || {
        let running = AssertUnwindSafe(move || {
            let core = match open(store, registry, limits, oversight) {
                Ok(core) => core,
                Err(error) => {
                    // Only the starter listens, and it does.
                    let _gone = opened.send(Err(error));
                    return Ok(());
                }
            };
            if core.reindexed() > 0 {
                tracing::info!(sagas = core.reindexed(), "the search index was made anew");
            }
            let groups = Arc::new(Groups::of(core.declarations()));
            let (sender, work) = mpsc::channel(Places::count(&groups) + CLOCK_WORK_MAX);
            let inbox = Inbox::new(work, groups.clone());
            let _gone = opened.send(Ok((sender, groups)));
            Loop::new(core, inbox, due, outlets, beating, clock).run()
        });
        let result = catch_unwind(running).unwrap_or(Err(EngineError::Panicked));
        // The server may have gone first.
        let _gone = end.send(result);
    })?;
    match is_open.await {
        Ok(Ok((inbox, groups))) => {
            let places = Places::new(&groups);
            let handle = Handle { inbox, places, groups, next_due, beats };
            Ok(Engine { handle, ended })
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(EngineError::Panicked),
    }
}

/// Opens the core, and says what is known of the last process.
fn open(
    store: SledStore,
    registry: Registry,
    limits: Limits,
    oversight: Oversight,
) -> Result<Core<SledStore>, OpenError> {
    let Oversight { clock, watch, interrupted } = oversight;
    let running = interrupted.as_ref().map(|it| it.running.clone());
    if let Some(Interrupted { running, blocked, .. }) = &interrupted {
        let saga = running.saga.map(|it| it.to_string()).unwrap_or_default();
        let (definition, seq) = (running.definition.as_ref(), running.seq);
        tracing::warn!(saga, definition, seq, blocked, "the last process ended in author code");
    }
    let now = clock::believed(&clock);
    let core = Core::open_watched(store, registry, limits, now, watch, interrupted)?;
    if let Some(running) = running.filter(|it| STRIKES_MAX <= core.strikes(it)) {
        let saga = running.saga.map(|it| it.to_string()).unwrap_or_default();
        let (definition, key) = (running.definition.as_ref(), running.key.as_ref());
        tracing::error!(saga, definition, key, "quarantined: none of its code runs until a retry");
    }
    Ok(core)
}

#[cfg(test)]
mod tests;
