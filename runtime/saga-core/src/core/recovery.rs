//! Opening: indexes from rows, and the effects still owed. It is no second path: what a saga owes
//! is the same function of its state as after any turn.

use super::{
    Core, Leaving, Limits,
    families::Families,
    looks::Looks,
    reads::saga_of,
    routes::lane_of_kept,
    saga_set::SagaSet,
    search::ROWS_AT_ONCE,
    sleepers::Sleepers,
    states::States,
    timers::Timers,
    turns::Folded,
    wanted::wanted,
    withheld::{Withheld, is_too_old},
};
use crate::{
    codec::{LeavingRow, decode},
    driver::Driver,
    effect::{Effect, Request},
    fold::{OpenWait, Touched, fold},
    head::Head,
    id::{Lane, Path, Place, Position, SagaId, Time, short_hash},
    lanes::Waits,
    saga::{Registry, RegistryError},
    store::{Store, StoreError, Table},
    txn::Txn,
    watch::{Interrupted, Unwatched, Watch},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Why the heart does not beat.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The definitions do not fit together.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What sagas owe the world when a store is opened, as their heads say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// Requests without an answer.
    pub calls: usize,
    /// Events that the broker does not have yet.
    pub publishes: usize,
}

impl Owed {
    /// A paused saga sends nothing, and what has stopped is not asked again by itself.
    fn count(&mut self, head: &Head) {
        for call in head.calls.iter().filter(|it| !head.paused && it.stopped.is_none()) {
            let counted = if call.is_publish { &mut self.publishes } else { &mut self.calls };
            *counted += 1;
        }
        self.calls += if head.paused { 0 } else { head.unlisted };
    }
}

impl<S: Store> Core<S> {
    /// Opens a store. What is owed to the world comes out of the first commit, and out of those
    /// that follow if it is much, see [`Core::has_more`].
    ///
    /// # Errors
    /// The definitions do not fit together, or the store cannot be read.
    pub fn open(
        store: S,
        registry: Registry,
        limits: Limits,
        now: Time,
    ) -> Result<Core<S>, OpenError> {
        Core::open_watched(store, registry, limits, now, Box::new(Unwatched), None)
    }

    /// The same, with somebody who watches over author code, and who has found that the last
    /// process ended while this code ran.
    ///
    /// # Errors
    /// As for [`Core::open`].
    pub fn open_watched(
        store: S,
        registry: Registry,
        limits: Limits,
        now: Time,
        watch: Box<dyn Watch + Send>,
        interrupted: Option<Interrupted>,
    ) -> Result<Core<S>, OpenError> {
        registry.check()?;
        // However little is done at once, it goes on.
        let limits = Limits { work_at_once: limits.work_at_once.max(1), ..limits };
        let mut core = Core {
            txn: Txn::new(store),
            families: Families::of(&registry),
            registry,
            limits,
            driver: Driver::new(limits.futures_max, limits.future_bytes_max, watch),
            states: States::default(),
            waits: Waits::default(),
            timers: Timers::default(),
            kept: BTreeMap::new(),
            missing: BTreeMap::new(),
            long: BTreeSet::new(),
            at_hand: BTreeSet::new(),
            sleepers: Sleepers::default(),
            waking: None,
            reached: Time::default(),
            room: limits.work_at_once,
            opened: Looks::default(),
            copying: BTreeMap::new(),
            kept_aside: BTreeMap::new(),
            unlisted: BTreeSet::new(),
            leaving: BTreeMap::new(),
            swept: BTreeSet::new(),
            sweeping: BTreeMap::new(),
            effects: Vec::new(),
            sends: BTreeSet::new(),
            owing: BTreeSet::new(),
            telling: SagaSet::default(),
            stopped: BTreeMap::new(),
            round: VecDeque::new(),
            stages: BTreeMap::new(),
            owed: Owed::default(),
            aside: BTreeMap::new(),
            reindexed: 0,
            withheld: Withheld::default(),
            struck: BTreeMap::new(),
        };
        // Before any author code runs again.
        core.read_struck(interrupted)?;
        core.reindexed = core.reindex()?;
        core.upgrade_lanes(now)?;
        core.count_kept()?;
        let missed = core.find_missing(now)?;
        core.find_holds()?;
        core.index_heads()?;
        core.give_out_owed(now)?;
        core.find_copying()?;
        core.find_leaving()?;
        core.find_sweeps()?;
        core.tell_those_back(now, &missed.back)?;
        core.offer_unrouted(now, &missed.names)?;
        core.note_declared()?;
        Ok(core)
    }

    fn count_kept(&mut self) -> Result<(), StoreError> {
        let counted = self.each(Table::Kept, |core, (key, _)| {
            if let Some((lane, position)) = lane_of_kept(&key) {
                core.count_as_kept(lane, position);
            }
            Ok(())
        });
        counted.map(drop)
    }

    /// Whether a lane of the wait keeps anything: it may not have looked at all of it before the
    /// process ended.
    pub(super) fn keeps_for(&self, definition: &str, wait: &OpenWait) -> bool {
        let keeps = |it: &String| self.kept.contains_key(&Lane::of(definition, it, &wait.key));
        !self.kept.is_empty() && wait.events.iter().any(keeps)
    }

    /// Hands over the lanes of sagas that ended while their definition was missing, or shortly
    /// before the process did, in the order of their ends: the last one answers for a lane.
    fn find_leaving(&mut self) -> Result<(), StoreError> {
        let mut left: Vec<(Position, SagaId, Option<BTreeSet<String>>)> = Vec::new();
        for name in self.registry.all().map(|it| it.name).collect::<Vec<_>>() {
            self.each_of(Table::Leaving, &short_hash(&[name]), |_, (key, value)| {
                let LeavingRow { position, only } = decode(&value)?;
                left.extend(key.get(16..).and_then(saga_of).map(|it| (position, it, only)));
                Ok(())
            })?;
        }
        left.sort_unstable();
        for sagas in left.chunks(ROWS_AT_ONCE) {
            for (_, saga, only) in sagas {
                self.let_leave(*saga, only.as_ref())?;
            }
            self.txn.commit()?;
        }
        self.room = self.limits.work_at_once;
        Ok(())
    }

    fn let_leave(
        &mut self,
        saga: SagaId,
        only: Option<&BTreeSet<String>>,
    ) -> Result<(), StoreError> {
        let head = self.txn.get::<Head>(Table::Ended, saga.as_bytes());
        let Some(head) = self.shown(saga, head)? else { return Ok(()) };
        let journal = match self.txn.journal(saga) {
            // It can be read again some day; until then its lanes keep what they have.
            Err(err) if err.is_damage() => return Ok(()),
            read => read?,
        };
        let leaving = self.leaving_of(&head, &fold(&journal).lanes, only);
        let is_as_before = |it: &Leaving| it.lanes.is_empty() && Some(&it.later) == only;
        if let Some(leaving) = leaving.filter(|it| !is_as_before(it)) {
            self.hand_over_later(&head.definition, leaving);
        }
        self.room = usize::MAX;
        self.hand_over_lanes(&head.definition)
    }

    fn index_heads(&mut self) -> Result<(), StoreError> {
        let mut looks = Vec::new();
        self.each(Table::Open, |core, (key, value)| match saga_of(&key) {
            Some(saga) => core.index_head(saga, &value, &mut looks),
            None => Ok(()),
        })?;
        // The oldest wait takes an event.
        looks.sort();
        for (_, saga, definition, step) in &looks {
            self.opened.look(definition, *saga, step);
        }
        // Their heads were read, and none of their journals.
        self.at_hand.clear();
        Ok(())
    }

    fn index_head(
        &mut self,
        saga: SagaId,
        value: &[u8],
        looks: &mut Vec<(Place, SagaId, String, Path)>,
    ) -> Result<(), StoreError> {
        let mut head = self.head_at_start(saga, value)?;
        self.has_grown(saga, head.entries);
        self.list_holds(&mut head)?;
        // A saga whose code is over and that owes nothing has ended, unless something has to go
        // back: rows of older builds do not say so.
        let is_over = head.aborted || head.output.is_some();
        if head.telling || is_over && !head.owes {
            self.telling.insert(saga, &head.definition, self.opened.input());
        }
        for wait in &head.waits {
            self.waits.insert(&head.definition, head.id, wait);
        }
        self.timers.extend(head.timers.iter().map(|it| (it.0, head.id, it.1.clone())));
        for wait in head.waits.iter().filter(|it| it.ask.is_none()) {
            if self.keeps_for(&head.definition, wait) {
                looks.push((wait.opened, head.id, head.definition.clone(), wait.step.clone()));
            }
        }
        if head.owes {
            self.owed.count(&head);
            self.owing.insert(head.id);
        }
        Ok(())
    }

    /// What is owed when this was opened.
    pub fn owed(&self) -> Owed {
        self.owed
    }

    /// Gives out what sagas owe since before this was opened. That needs their journals, so as many
    /// as there is room for.
    pub(super) fn give_out_owed(&mut self, now: Time) -> Result<(), StoreError> {
        while 0 < self.room
            && let Some(saga) = self.owing.first().copied()
            && !self.must_sleep(saga)
        {
            self.give_out(now, saga)?;
            self.weigh_turn(saga)?;
            self.forget_states();
        }
        Ok(())
    }

    /// Gives out what one of them owes, before anything else happens to it: from then on only what
    /// changes is given out.
    pub(super) fn give_out(&mut self, now: Time, saga: SagaId) -> Result<(), StoreError> {
        if !self.owing.remove(&saga) {
            return Ok(());
        }
        if self.state(saga)?.is_none() {
            return Ok(());
        }
        let Some(Folded { state, .. }) = self.states.get(&saga) else { return Ok(()) };
        // Its row may not have listed all of them.
        self.timers.extend(state.timers().into_iter().map(|(due, step)| (due, saga, step)));
        // What is too old to be sent again is for a person with the next tick.
        let (mut over, mut owed) = (Vec::new(), Vec::new());
        for effect in wanted(state, &Touched::All) {
            match effect {
                Effect::Send(it) if is_too_old(state, &it.id, now) => over.push(it.id),
                Effect::Send(it) => owed.push(Effect::Send(Request { is_recovered: true, ..it })),
                effect => owed.push(effect),
            }
        }
        over.into_iter().for_each(|it| self.withheld.insert(it, now));
        // What is taken back before it leaves is then not given out at all.
        self.sends.extend(owed.iter().filter_map(|it| match it {
            Effect::Send(request) => Some(request.id.clone()),
            _ => None,
        }));
        self.effects.extend(owed);
        Ok(())
    }
}
