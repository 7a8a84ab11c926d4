//! The sequencer: it orders the one log and matches lanes with waits. It runs no author code; the
//! driver does, one turn of a saga at a time.
//!
//! [`Core::handle`] applies one input to the batch being made, [`Core::commit`] makes the batch
//! durable and only then gives out what is owed to the world.

mod answers;
mod aside;
mod changes;
mod commands;
mod concern;
mod copies;
mod decide;
mod declared;
mod ends;
mod events;
mod families;
mod held;
mod holders;
mod holds;
#[cfg(any(test, feature = "testing"))]
mod inspect;
mod limits;
mod looks;
mod offers;
mod reads;
mod recovery;
mod returns;
mod rounds;
mod routes;
mod saga_set;
mod search;
mod sleepers;
mod states;
mod struck;
mod sweeps;
mod timers;
mod turns;
mod upgrade;
mod wake;
mod wanted;
mod withheld;

pub use concern::Concern;
pub use reads::{HeadPage, HeadQuery, Seen, TaskPage};
pub use recovery::{OpenError, Owed};
pub use struck::STRIKES_MAX;

use crate::{
    codec::DeclaredRow,
    driver::Driver,
    effect::{Effect, RequestId},
    id::{Lane, Position, SagaId, Time},
    input::Input,
    journal::{Fact, Patience},
    lanes::Waits,
    saga::Registry,
    store::{Store, StoreError},
    txn::Txn,
};
use families::Families;
use looks::Looks;
use rounds::Stage;
use saga_set::SagaSet;
use sleepers::Sleepers;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use timers::Timers;
use withheld::Withheld;

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
    /// How long silence is borne before a person is told.
    pub patience: Patience,
    /// What one input does for others than itself: at least one piece.
    pub work_at_once: usize,
    /// Entries of a journal that are read at once: at least one.
    pub wake_at_once: u32,
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
            patience: Patience::default(),
            work_at_once: WORK_AT_ONCE,
            wake_at_once: WAKE_AT_ONCE,
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

/// A turn that would lead to a longer head is not made: the head is one row, and is written with
/// each turn. What comes without a turn, the reasons why requests are not asked again, has room in
/// what is left of a row of the store.
pub const HEAD_BYTES_MAX: usize = 2 << 20;

/// What one input does for others than itself: events that it hands from lanes to waits, events
/// that a wait looks at, lanes of ended sagas. What is more goes on with [`Input::GoOn`], so that
/// however much a lane keeps, others have their turn between. Most inputs need one or two. The
/// process may end at any piece of it: what is left is always found in rows.
pub(crate) const WORK_AT_ONCE: usize = 128;

/// What any other input does of such work while some is left: it is about something else, and those
/// who wait for it shall not pay for a flood that is not theirs.
pub(crate) const WORK_BESIDE: usize = 8;

/// A saga's part in that work weighs one, and one more for so many entries of its journal: it may
/// have to be read. Whether it is, is not asked, so that the log does not depend on what is cached.
const ENTRIES_OF_ONE: usize = 32;

/// Entries of a journal that are read at once: what is longer is read in pieces behind others'
/// turns. So many take about as long as a batch goes on taking inputs, a few milliseconds; most
/// sagas never have so many.
const WAKE_AT_ONCE: u32 = 1024;

/// Timers that one tick fires, each with up to [`WORK_BESIDE`] pieces of what it leaves. After a
/// night in which nothing ran there may be as many as there are sagas: those that are left fire
/// with the ticks that follow, and others have their turn between.
const TIMERS_AT_ONCE: usize = 256;

/// Timers that one tick leaves until their sagas are read. It costs no row, and each is left once:
/// a saga with many shall not hold up others for many ticks.
const TIMERS_LEFT_AT_ONCE: usize = 4096;

/// A business key may not be longer: it stands in store keys, subjects and logs.
pub const KEY_BYTES_MAX: usize = 256;

/// The heart: everything that has to be decided about sagas, as a function of its inputs.
pub struct Core<S> {
    txn: Txn<S>,
    registry: Registry,
    limits: Limits,
    driver: Driver,
    /// States of open sagas; a cache of their journals.
    states: states::States,
    waits: Waits,
    timers: Timers,
    /// What each lane keeps.
    kept: BTreeMap<Lane, KeptLane>,
    /// What definitions declared that are not in this binary, and may be back.
    missing: BTreeMap<String, DeclaredRow>,
    /// Open sagas with journals that are not read at once.
    long: BTreeSet<SagaId>,
    /// Those of them that the input being handled has in memory.
    at_hand: BTreeSet<SagaId>,
    /// Those of them that work done in pieces has come to.
    sleepers: Sleepers,
    /// The one that is being read.
    waking: Option<wake::Waking>,
    /// How far the last tick has reached.
    reached: Time,
    /// How much more the input being handled may do for others than itself.
    room: usize,
    /// Waits that have not looked at what their lanes keep.
    opened: Looks,
    /// Events of which not all have their copies, by definition, the oldest first.
    copying: BTreeMap<String, VecDeque<copies::Copying>>,
    /// Those that are kept for sagas which are set aside, by definition; each has a row.
    kept_aside: BTreeMap<String, BTreeSet<(Lane, Position)>>,
    /// Sagas with rows of waits that their own rows do not list.
    unlisted: BTreeSet<SagaId>,
    /// Sagas that have ended and whose lanes are not all handed over, by definition; each has a row
    /// that says so.
    leaving: BTreeMap<String, VecDeque<Leaving>>,
    /// Definitions that have lanes to be swept.
    swept: BTreeSet<String>,
    /// Those of them for which that may have become possible, each with the row behind which to go
    /// on: those before it have to wait.
    sweeping: BTreeMap<String, Vec<u8>>,
    effects: Vec<Effect>,
    /// The requests among them.
    sends: BTreeSet<RequestId>,
    /// Sagas that owe something since before this was opened, of which it was not given out yet.
    owing: BTreeSet<SagaId>,
    /// Sagas whose code has not been shown all that was held, though it can go on.
    telling: SagaSet,
    families: Families,
    /// Those of which the last input has left work, in the order of their turns.
    round: VecDeque<String>,
    /// What is done of each of them, if it is not the first stage.
    stages: BTreeMap<String, Stage>,
    /// By family: sagas that have to be read before it goes on.
    stopped: BTreeMap<String, BTreeSet<SagaId>>,
    owed: Owed,
    /// Sagas of which rows cannot be read, and why; for others nothing is kept here.
    aside: BTreeMap<SagaId, String>,
    /// Sagas for which the search index was made anew when this was opened.
    reindexed: u64,
    withheld: Withheld,
    /// Culprits whose code ran when a process ended: a handful, each has cost a restart.
    struck: BTreeMap<[u8; 16], struck::StruckRow>,
}

/// What a lane keeps.
#[derive(Clone, Copy, Debug)]
struct KeptLane {
    count: u32,
    /// Nothing that came before this.
    first: Position,
}

/// A saga that has ended, and the (event, key) that it still has to hand over.
#[derive(Debug)]
struct Leaving {
    saga: SagaId,
    lanes: VecDeque<(String, String)>,
    /// Events of whose lanes nobody can say now what late means: their declaration is missing.
    later: BTreeSet<String>,
}

impl<S: Store> Core<S> {
    /// Applies one input. `now` is the wall clock; a fact's time is never before that of the
    /// previous fact of its saga.
    ///
    /// # Errors
    /// The store cannot be read: stop, and open it again.
    pub fn handle(&mut self, now: Time, input: Input) -> Result<(), StoreError> {
        let is_beside = self.has_more() && !matches!(input, Input::GoOn | Input::Woken { .. });
        let room = if is_beside { WORK_BESIDE } else { WORK_AT_ONCE };
        self.room = room.min(self.limits.work_at_once);
        self.at_hand.clear();
        self.opened.begin();
        match input {
            Input::Arrived(arrival) => self.arrive(now, arrival)?,
            Input::Unreadable(unreadable) => self.keep_unreadable(now, unreadable)?,
            Input::Answered(answered) => self.answered(now, answered)?,
            Input::Published { saga, step } => {
                self.offer(now, saga, Fact::Published { step })?;
            }
            Input::PublishRefused { saga, step, reason } => {
                self.offer(now, saga, Fact::PublishRefused { step, reason })?;
            }
            Input::Asked { ticket, actor, command } => self.asked(now, ticket, &actor, command)?,
            Input::Tick { watermark, behind } => self.tick(now, watermark, &behind)?,
            Input::Woken { saga, until } => self.woken(now, saga, until)?,
            Input::GoOn => (),
        }
        self.go_on(now)
    }

    /// Does what earlier inputs and this one have left to do, as far as there is room.
    fn go_on(&mut self, now: Time) -> Result<(), StoreError> {
        self.work_on(now)?;
        if self.withheld.has_more() {
            self.send_withheld(now)?;
        }
        self.give_out_owed(now)
    }

    /// Whether inputs have left something to do: then [`Input::GoOn`] should follow, after what
    /// others bring.
    pub fn has_more(&self) -> bool {
        let is_done = self.opened.is_empty()
            && self.telling.is_empty()
            && self.copying.is_empty()
            && self.leaving.is_empty()
            && self.sweeping.is_empty()
            && self.owing.is_empty()
            && !self.withheld.has_more();
        !is_done
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
        self.states.keep(self.limits.states_max);
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
        self.timers.next_due()
    }

    /// How many timers are due, but held because intake has not passed them.
    pub fn timers_held(&self, now: Time, watermark: Time) -> usize {
        self.timers.due(now).filter(|it| watermark < it.0).count()
    }

    /// The definitions of this binary.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The store, for what is not a matter of sagas.
    pub fn store(&self) -> &S {
        self.txn.store()
    }

    /// How far the last tick has reached: what is due until then came before what comes now.
    pub fn reached(&self) -> Time {
        self.reached
    }
}
