//! The sequencer: it orders the one log and matches lanes with waits. It runs no author code; the
//! driver does, one turn of a saga at a time.
//!
//! [`Core::handle`] applies one input to the batch being made, [`Core::commit`] makes the batch
//! durable and only then gives out what is owed to the world.

mod answers;
mod commands;
mod decide;
mod ends;
mod events;
#[cfg(any(test, feature = "testing"))]
mod inspect;
mod offers;
mod reads;
mod recovery;
mod routes;
mod search;
mod struck;
mod turns;
mod wanted;

pub use reads::{HeadPage, HeadQuery, Seen, TaskPage};
pub use recovery::OpenError;
pub use struck::STRIKES_MAX;

use crate::{
    driver::Driver,
    effect::{Effect, RequestId},
    id::{Lane, Path, SagaId, Time},
    input::Input,
    journal::Fact,
    lanes::Waits,
    saga::Registry,
    store::{Store, StoreError},
    txn::Txn,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Bounds, each with a default that has a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Live futures in memory: a cache, so any number is right; more is faster.
    pub futures_max: usize,
    /// Bytes of journals behind those futures, which is about what they occupy.
    pub future_bytes_max: usize,
    /// States in memory: a cache as well.
    pub states_max: usize,
    /// Events that a lane keeps; one more becomes a dead letter, so that one flooded key does not
    /// fill the store.
    pub lane_events_max: u32,
    /// Entries of a journal; a saga that needs more should be several.
    pub entries_max: u32,
    /// How long an ended saga answers for its lanes.
    pub late_for_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            futures_max: 4096,
            future_bytes_max: 256 << 20,
            states_max: 4096,
            lane_events_max: 1000,
            entries_max: 50_000,
            late_for_ms: 120 * 24 * 3600 * 1000,
        }
    }
}

/// A body that goes into a message may not be larger: the broker's default limit is 1 MiB, and
/// headers need room.
pub const PAYLOAD_BYTES_MAX: usize = 768 << 10;

/// What the decisions of one turn may weigh together, in bytes. They are one record of the store
/// with their fact: a store takes [`VALUE_BYTES_MAX`](crate::store::VALUE_BYTES_MAX), and what it
/// does not take would end the process each time that the fact is delivered.
pub const TURN_BYTES_MAX: usize = 3 << 20;

/// Beyond this many bytes of its head a saga makes no more turns: the head is one row, is written
/// with each turn, and one more turn may add [`TURN_BYTES_MAX`] to it.
pub const HEAD_BYTES_MAX: usize = 2 << 20;

/// Timers that one tick fires. After a night in which nothing ran there may be as many as there are
/// sagas: those that are left fire with the ticks that follow, and others have their turn between.
const TIMERS_AT_ONCE: usize = 256;

/// A business key may not be longer: it stands in store keys, subjects and logs.
pub const KEY_BYTES_MAX: usize = 256;

/// The heart: everything that has to be decided about sagas, as a function of its inputs.
pub struct Core<S> {
    txn: Txn<S>,
    registry: Registry,
    limits: Limits,
    driver: Driver,
    /// States of open sagas; a cache of their journals.
    states: BTreeMap<SagaId, turns::Folded>,
    waits: Waits,
    timers: BTreeSet<(Time, SagaId, Path)>,
    /// How many open sagas ever held for a lane.
    touched: BTreeMap<Lane, u32>,
    /// How many events each lane keeps.
    kept: BTreeMap<Lane, u32>,
    /// Names for which sagas have held whose definition is not in this binary.
    orphaned: BTreeSet<String>,
    /// Waits that were opened in this input and have not looked at their lanes.
    opened: VecDeque<(SagaId, Path)>,
    effects: Vec<Effect>,
    /// The requests among them.
    sends: BTreeSet<RequestId>,
    /// Sagas for which the search index was made anew when this was opened.
    reindexed: u64,
    /// Requests that a start took for too old: not sent, unless the clock was wrong.
    withheld: Vec<RequestId>,
    /// Culprits whose code ran when a process ended: a handful, each has cost a restart.
    struck: BTreeMap<[u8; 16], struck::StruckRow>,
}

impl<S: Store> Core<S> {
    /// Applies one input. `now` is the wall clock; a fact's time is never before that of the
    /// previous fact of its saga.
    ///
    /// # Errors
    /// The store cannot be read: stop, and open it again.
    pub fn handle(&mut self, now: Time, input: Input) -> Result<(), StoreError> {
        match input {
            Input::Arrived(arrival) => self.arrive(now, arrival)?,
            Input::Unreadable(unreadable) => self.keep_unreadable(now, unreadable)?,
            Input::Answered(answered) => self.answered(now, answered)?,
            Input::Published { saga, step } => {
                self.offer(now, saga, Fact::Published { step })?;
            }
            Input::Asked { ticket, actor, command } => self.asked(now, ticket, &actor, command)?,
            Input::Tick { watermark } => self.tick(now, watermark)?,
        }
        self.match_opened(now)
    }

    /// Makes everything since the last commit durable, in one append, and gives out what is owed
    /// because of it, in order.
    ///
    /// # Errors
    /// Nothing of the batch may be believed to be durable, and no effect may leave: stop.
    pub fn commit(&mut self) -> Result<Vec<Effect>, StoreError> {
        self.txn.commit()?;
        self.forget_states();
        self.sends.clear();
        Ok(std::mem::take(&mut self.effects))
    }

    /// Keeps no more states than allowed.
    fn forget_states(&mut self) {
        while self.states.len() > self.limits.states_max {
            self.states.pop_first();
        }
    }

    /// How many records and rows the batch being made has.
    pub fn batch_rows(&self) -> usize {
        self.txn.rows()
    }

    /// For how many sagas the search index was made anew at opening.
    pub fn reindexed(&self) -> u64 {
        self.reindexed
    }

    /// The sagas whose journals the batch being made adds to, with the number of records: each
    /// entry's fact and its decisions.
    pub fn batch_entries(&self) -> impl Iterator<Item = (SagaId, u64)> + '_ {
        self.txn.entries()
    }

    /// When the next timer is due.
    pub fn next_due(&self) -> Option<Time> {
        self.timers.first().map(|it| it.0)
    }

    /// How many timers are due, but held because intake has not passed them.
    pub fn timers_held(&self, now: Time, watermark: Time) -> usize {
        let due = self.timers.iter().take_while(|it| it.0 <= now);
        due.filter(|it| watermark < it.0).count()
    }

    /// The definitions of this binary.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The store, for what is not a matter of sagas.
    pub fn store(&self) -> &S {
        self.txn.store()
    }

    /// Fires what is due, by the clock and by intake; what is too much for one batch stays due.
    fn tick(&mut self, now: Time, watermark: Time) -> Result<(), StoreError> {
        let until = now.min(watermark);
        for _ in 0..TIMERS_AT_ONCE {
            let Some((due, saga, step)) = self.timers.first().cloned() else { break };
            if until < due {
                break;
            }
            let fact = self.state(saga)?.and_then(|it| it.due(&step, until));
            let taken = match fact {
                Some(fact) => self.offer(now, saga, fact)?,
                None => false,
            };
            if !taken {
                self.timers.remove(&(due, saga, step));
            }
            self.match_opened(now)?;
        }
        self.send_withheld(now)
    }
}
