//! One thread owns the core. It drains what came in, applies it, makes it durable with one fsync,
//! and only then lets anything out.
//!
//! ```text
//! Handle ──▶ bounded lines ──▶ take in turn ≤ 256 or 2 ms ──▶ handle each ──▶ commit ──▶ release
//!                                         └── questions are answered between two batches ──┘
//! ```
//!
//! Definitions that share no event have lines of their own ([`Groups`](crate::groups::Groups)): a
//! flood for some holds up no others.
//!
//! What is released goes into channels without bounds, so that the thread never waits for somebody
//! who waits for it. What is in them is bounded all the same: by the open calls and publishes of
//! the store, and by the events that the broker lets be un-acknowledged.

mod handle;
mod inbox;
mod pulse;

pub(crate) use handle::{Busy, Handle, Room};
pub(crate) use pulse::watch_pulse;

use crate::{
    clock,
    feed::Feed,
    groups::{Group, Groups},
    sled_store::SledStore,
    telemetry::Telemetry,
};
use chassis::{clock::Clock, crash};
use handle::{Place, Places};
use inbox::Inbox;
use saga_core::{
    core::{Core, Limits, OpenError, STRIKES_MAX},
    effect::{Effect, Refusal, Reply, Request, RequestId, Verdict},
    id::{Path, SagaId, Time},
    input::{Actor, Command, Input, Ticket},
    line::Line,
    saga::Registry,
    store::StoreError,
    watch::{Interrupted, Watch},
};
use std::{
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch};

/// Events that wait for the engine: as many as a batch takes. Whoever brings them waits beyond it,
/// and gives those of others in their turn.
const EVENTS_MAX: usize = BATCH_INPUTS_MAX;
/// Answers that wait for the engine, and what the broker says of our own events. They have places
/// of their own, so that a flood of events does not keep them out.
const ANSWERS_MAX: usize = 768;
/// Questions and commands that wait for the engine; beyond it they are refused. They have places of
/// their own, so that a flood of events does not turn people away.
const DOOR_WORK_MAX: usize = 256;
/// Ticks and the stop.
const CLOCK_WORK_MAX: usize = 8;
/// Inputs of one batch: one more would make the first wait too long for its fsync.
const BATCH_INPUTS_MAX: usize = 256;
/// How long a batch goes on taking inputs.
const BATCH_TIME_MAX: Duration = Duration::from_millis(2);

/// How long questions are answered before the next batch, if there is one: as long as that takes.
/// So those who only want to know leave at least half of the time to those who bring something.
const READ_TIME_MAX: Duration = Duration::from_millis(4);

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

/// What the courier is told.
#[derive(Debug)]
pub(crate) enum Owed {
    /// What a restart left open: these leave one by one.
    Recovered(Group, Request),
    /// Ask until it answers.
    Send(Group, Request),
    /// Ask no more.
    Forget(RequestId),
    /// Ask now what waits to be asked again for this saga.
    Hurry(SagaId),
}

/// What the publisher is told.
#[derive(Debug)]
pub(crate) enum OwedEvent {
    /// Give it to the broker until it has it.
    Publish(Publication),
    /// No more.
    Withdraw(SagaId, Path),
    /// Try now what rests of this saga.
    Hurry(SagaId),
}

/// An event for the broker.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) saga: SagaId,
    /// That of its saga.
    pub(crate) group: Group,
    pub(crate) step: Path,
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) key: String,
    pub(crate) body: String,
}

/// Where effects go.
pub(crate) struct Outlets {
    pub(crate) requests: mpsc::UnboundedSender<Owed>,
    pub(crate) publications: mpsc::UnboundedSender<OwedEvent>,
    pub(crate) telemetry: Telemetry,
    /// Who watches journals.
    pub(crate) feed: Feed,
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
    let places = Places::new(EVENTS_MAX, ANSWERS_MAX, DOOR_WORK_MAX);
    let (inbox, work) = mpsc::channel(EVENTS_MAX + ANSWERS_MAX + DOOR_WORK_MAX + CLOCK_WORK_MAX);
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
            let inbox = Inbox::new(work, groups.clone());
            let _gone = opened.send(Ok(groups));
            let (waiters, line, reads) = (BTreeMap::new(), Line::default(), VecDeque::new());
            let beats = beating;
            Loop { core, inbox, due, outlets, waiters, line, reads, tickets: 0, beats, clock }.run()
        });
        let result = catch_unwind(running).unwrap_or(Err(EngineError::Panicked));
        // The server may have gone first.
        let _gone = end.send(result);
    })?;
    match is_open.await {
        Ok(Ok(groups)) => {
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

/// Who is told about a ticket.
enum Waiter {
    Event(Settled),
    Command(oneshot::Sender<Answer>),
}

/// What the thread owns.
struct Loop {
    core: Core<SledStore>,
    inbox: Inbox,
    due: watch::Sender<Option<Time>>,
    outlets: Outlets,
    /// Written when a batch is gathered, emptied when its effects are released.
    waiters: BTreeMap<Ticket, Waiter>,
    /// Inputs that wait until their saga was read. They keep their places, so that no more come
    /// than there is room for.
    line: Line<Option<Place>>,
    /// Questions that are not answered yet: at most about [`DOOR_WORK_MAX`].
    reads: VecDeque<Query>,
    /// The last ticket that was given out.
    tickets: Ticket,
    /// Counted with each input and each answer, for who looks whether the thread lives.
    beats: Arc<AtomicU64>,
    clock: Clock,
}

/// What is done after the batch is durable.
#[derive(Default)]
struct After {
    inputs: usize,
    ticks: Vec<(Time, oneshot::Sender<Ticked>)>,
    stop: bool,
}

impl Loop {
    fn run(mut self) -> Result<(), EngineError> {
        self.recover()?;
        while let Some(first) = self.next() {
            let after = self.gather(first)?;
            let stop = after.stop;
            self.finish(after)?;
            if stop {
                break;
            }
        }
        self.reads.drain(..).for_each(|read| read(&self.core));
        Ok(())
    }

    /// Waits for work; what is left of the questions is answered while there is none.
    fn next(&mut self) -> Option<Work> {
        loop {
            if let Some(work) = self.inbox.take(&self.core) {
                return Some(work);
            }
            if self.inbox.is_closed() {
                return None;
            }
            match self.reads.pop_front() {
                Some(read) => self.read(read),
                None if self.line.has_more(&self.core) => return Some(Work::GoOn),
                None if self.inbox.wait(&self.core) => (),
                None => return None,
            }
        }
    }

    /// What was owed when the process ended comes out of the first commit, and those that follow.
    fn recover(&mut self) -> Result<(), EngineError> {
        let saga_core::core::Owed { calls, publishes } = self.core.owed();
        self.core.commit()?.into_iter().for_each(|it| self.release(it));
        self.core.store().describe(calls, publishes);
        if calls > 0 {
            tracing::info!(calls, "calls without an answer are asked again");
        }
        self.due.send_replace(self.core.next_due());
        Ok(())
    }

    fn gather(&mut self, first: Work) -> Result<After, StoreError> {
        let (started, mut after) = (Instant::now(), After::default());
        let mut next = Some(first);
        while let Some(work) = next {
            self.apply(work, &mut after)?;
            let is_full = after.stop
                || BATCH_INPUTS_MAX <= after.inputs
                || DOOR_WORK_MAX <= self.reads.len()
                || BATCH_TIME_MAX <= started.elapsed();
            next = if is_full { None } else { self.inbox.take(&self.core) };
        }
        if self.line.has_more(&self.core) {
            // However much others bring, it gets done.
            self.apply(Work::GoOn, &mut after)?;
        }
        Ok(after)
    }

    fn apply(&mut self, work: Work, after: &mut After) -> Result<(), StoreError> {
        self.beats.fetch_add(1, Ordering::Relaxed);
        let mut place = None;
        let input = match work {
            Work::Told(input, its_place) => {
                place = Some(its_place);
                input
            }
            Work::Event(mut input, settled, its_place) => {
                place = Some(its_place);
                let ticket = self.ticket(Waiter::Event(settled));
                match &mut input {
                    Input::Arrived(arrival) => arrival.ticket = ticket,
                    Input::Unreadable(unreadable) => unreadable.ticket = ticket,
                    // Nothing else is an event.
                    _ => (),
                }
                input
            }
            Work::Asked(actor, command, answer, _place) => {
                let ticket = self.ticket(Waiter::Command(answer));
                Input::Asked { ticket, actor, command }
            }
            Work::Tick(watermark, answer) => {
                after.ticks.push((watermark, answer));
                Input::Tick { watermark }
            }
            Work::Read(query) => {
                self.reads.push_back(query);
                return Ok(());
            }
            Work::GoOn => return self.go_on(after),
            Work::Stop => {
                after.stop = true;
                return Ok(());
            }
        };
        match self.line.give(&self.core, input, place)? {
            Some((input, _place)) => self.handle(input, after),
            None => Ok(()),
        }
    }

    fn handle(&mut self, input: Input, after: &mut After) -> Result<(), StoreError> {
        after.inputs += 1;
        self.core.handle(clock::believed(&self.clock), input)
    }

    /// One piece of what is left to do: of a journal that is read, of what waited for it, and of
    /// what inputs have left.
    fn go_on(&mut self, after: &mut After) -> Result<(), StoreError> {
        let started = Instant::now();
        self.line.wake(&mut self.core)?;
        while let Some((input, _place)) = self.line.next(&self.core)? {
            self.handle(input, after)?;
            if BATCH_TIME_MAX <= started.elapsed() {
                break;
            }
        }
        self.handle(Input::GoOn, after)
    }

    /// Commits, releases, and answers those who only wanted to know.
    fn finish(&mut self, after: After) -> Result<(), StoreError> {
        if after.inputs > 0 {
            let started = Instant::now();
            let rows = self.core.batch_rows();
            let grown = self.outlets.feed.gather(&self.core);
            crash::point("engine.before-append");
            let effects = self.core.commit()?;
            crash::point("engine.after-flush");
            self.outlets.feed.publish(grown);
            self.outlets.telemetry.committed(after.inputs, rows, started.elapsed());
            effects.into_iter().for_each(|it| self.release(it));
            let next_due = self.core.next_due();
            self.due.send_if_modified(|it| std::mem::replace(it, next_due) != next_due);
        }
        for (watermark, answer) in after.ticks {
            let held = self.core.timers_held(clock::believed(&self.clock), watermark);
            let _gone = answer.send(Ticked { next_due: self.core.next_due(), held });
        }
        let began = Instant::now();
        while let Some(read) = self.reads.pop_front() {
            self.read(read);
            if READ_TIME_MAX <= began.elapsed() {
                break;
            }
        }
        Ok(())
    }

    fn read(&self, read: Query) {
        read(&self.core);
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    fn ticket(&mut self, waiter: Waiter) -> Ticket {
        self.tickets += 1;
        self.waiters.insert(self.tickets, waiter);
        self.tickets
    }

    /// Whoever is no longer there needs nothing any more: the store has what counts.
    fn release(&mut self, effect: Effect) {
        match effect {
            Effect::Send(request) => {
                let owed = if request.is_recovered { Owed::Recovered } else { Owed::Send };
                let group = self.inbox.group_of(request.id.saga, &self.core);
                // The courier ends after the engine.
                let _gone = self.outlets.requests.send(owed(group, request));
            }
            Effect::Forget(request) => {
                let _gone = self.outlets.requests.send(Owed::Forget(request));
            }
            Effect::Publish { saga, step, id, subject, key, body } => {
                let (body, group) = (body.text().to_owned(), self.inbox.group_of(saga, &self.core));
                let publication = Publication { saga, group, step, id, subject, key, body };
                let _gone = self.outlets.publications.send(OwedEvent::Publish(publication));
            }
            Effect::Withdraw { saga, step } => {
                let _gone = self.outlets.publications.send(OwedEvent::Withdraw(saga, step));
            }
            Effect::Hurry(saga) => {
                let _gone = self.outlets.requests.send(Owed::Hurry(saga));
                let _gone = self.outlets.publications.send(OwedEvent::Hurry(saga));
            }
            Effect::Ack { ticket, verdicts } => {
                self.outlets.telemetry.verdicts(&verdicts);
                if let Some(Waiter::Event(settled)) = self.waiters.remove(&ticket) {
                    settled(verdicts);
                }
            }
            Effect::Answer { ticket, reply } => {
                if let Some(Waiter::Command(answer)) = self.waiters.remove(&ticket) {
                    let _gone = answer.send(reply);
                }
            }
            Effect::Note(note) => self.outlets.telemetry.note(&note),
        }
    }
}

#[cfg(test)]
mod tests;
