//! What the engine's thread does: it takes what waits, one batch after the other, makes each
//! durable and lets its effects out, and answers questions between two of them.

use super::{
    Answer, DOOR_WORK_MAX, EngineError, Outlets, Owed, OwedEvent, Publication, Query, Settled,
    Ticked, Work, handle::Place, inbox::Inbox,
};
use crate::{clock, sled_store::SledStore};
use chassis::{clock::Clock, crash};
use saga_core::{
    core::Core,
    effect::Effect,
    id::Time,
    input::{Input, Ticket},
    line::Line,
    store::StoreError,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{oneshot, watch};

/// Inputs of one batch: one more would make the first wait too long for its fsync.
pub(super) const BATCH_INPUTS_MAX: usize = 256;
/// How long a batch goes on taking inputs.
const BATCH_TIME_MAX: Duration = Duration::from_millis(2);
/// The same once it has all that somebody brings beside a flood: whoever brings little waits for
/// little of the flood.
const SHARED_BATCH_TIME_MAX: Duration = Duration::from_micros(500);

/// How long questions are answered before the next batch, if there is one: as long as that takes.
/// So those who only want to know leave at least half of the time to those who bring something.
const READ_TIME_MAX: Duration = Duration::from_millis(4);

/// Who is told about a ticket.
enum Waiter {
    Event(Settled),
    Command(oneshot::Sender<Answer>),
}

/// What the thread owns.
pub(super) struct Loop {
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
    pub(super) fn new(
        core: Core<SledStore>,
        inbox: Inbox,
        due: watch::Sender<Option<Time>>,
        outlets: Outlets,
        beats: Arc<AtomicU64>,
        clock: Clock,
    ) -> Loop {
        let (waiters, line, reads) = (BTreeMap::new(), Line::default(), VecDeque::new());
        Loop { core, inbox, due, outlets, waiters, line, reads, tickets: 0, beats, clock }
    }

    /// Ends when it is told to stop, or when nobody can bring anything any more.
    pub(super) fn run(mut self) -> Result<(), EngineError> {
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
    fn next(&mut self) -> Option<(Work, bool)> {
        loop {
            if let Some(work) = self.inbox.take(&self.core) {
                return Some(work);
            }
            if self.inbox.is_closed() {
                return None;
            }
            match self.reads.pop_front() {
                Some(read) => self.read(read),
                None if self.line.has_more(&self.core) => return Some((Work::GoOn, false)),
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

    fn gather(&mut self, first: (Work, bool)) -> Result<After, StoreError> {
        let (started, mut after) = (Instant::now(), After::default());
        let (mut next, mut time_max) = (Some(first), BATCH_TIME_MAX);
        while let Some((work, is_from_few)) = next {
            if is_from_few {
                time_max = SHARED_BATCH_TIME_MAX;
            }
            self.apply(work, &mut after)?;
            let is_full = after.stop
                || BATCH_INPUTS_MAX <= after.inputs
                || DOOR_WORK_MAX <= self.reads.len()
                || time_max <= started.elapsed();
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
                Input::tick(watermark)
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

    /// Lets one effect out. Whoever it is for may have gone, as when the process ends: the store
    /// has what counts.
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
