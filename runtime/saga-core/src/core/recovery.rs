//! Opening: indexes from rows, and the effects still owed. It is no second path: what a saga owes
//! is the same function of its state as after any turn.

use super::{
    Core, Limits,
    routes::{KeptRow, unrouted_key},
    wanted::wanted,
};
use crate::{
    codec::{EventRecord, IdentityRow, NoteRecord, decode},
    driver::Driver,
    effect::Effect,
    head::Head,
    id::{Lane, Position, Time, short_hash},
    lanes::Waits,
    saga::{Registry, RegistryError},
    store::{Kind, Store, StoreError, Table},
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

impl<S: Store> Core<S> {
    /// Opens a store. What is owed to the world comes out of the first commit.
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
        let mut core = Core {
            txn: Txn::new(store),
            registry,
            limits,
            driver: Driver::new(limits.futures_max, limits.future_bytes_max, watch),
            states: BTreeMap::new(),
            waits: Waits::default(),
            timers: BTreeSet::new(),
            touched: BTreeMap::new(),
            kept: BTreeMap::new(),
            orphaned: BTreeSet::new(),
            opened: VecDeque::new(),
            effects: Vec::new(),
            sends: BTreeSet::new(),
            reindexed: 0,
            withheld: Vec::new(),
            struck: BTreeMap::new(),
        };
        // Before any author code runs again.
        core.read_struck(interrupted)?;
        core.reindexed = core.reindex()?;
        core.count_kept()?;
        core.index_heads(now)?;
        core.offer_unrouted(now)?;
        Ok(core)
    }

    fn count_kept(&mut self) -> Result<(), StoreError> {
        let counted = self.each(Table::Kept, |core, (key, _)| {
            let mut lane = [0; 16];
            lane.copy_from_slice(&key[..16]);
            *core.kept.entry(Lane(lane)).or_default() += 1;
            Ok(())
        });
        counted.map(drop)
    }

    fn index_heads(&mut self, now: Time) -> Result<(), StoreError> {
        let indexed = self.each(Table::Open, |core, (_, value)| core.index_head(now, &value));
        indexed.map(drop)
    }

    fn index_head(&mut self, now: Time, value: &[u8]) -> Result<(), StoreError> {
        let head: Head = decode(value)?;
        for wait in &head.waits {
            self.waits.insert(&head.definition, head.id, wait);
        }
        self.timers.extend(head.timers.iter().map(|it| (it.0, head.id, it.1.clone())));
        if self.registry.get(&head.definition).is_none() {
            self.orphaned.extend(head.lanes.iter().map(|it| it.0.clone()));
        }
        for (name, key) in &head.lanes {
            *self.touched.entry(Lane::of(&head.definition, name, key)).or_default() += 1;
        }
        if head.owes
            && let Some(state) = self.state(head.id)?
        {
            // What is too old to be sent again leaves with the next tick.
            let is_over = |it: &Effect| match it {
                Effect::Send(request) => state.due(&request.id.step, now).is_some(),
                _ => false,
            };
            let (over, owed): (Vec<Effect>, Vec<Effect>) =
                wanted(state).into_iter().partition(is_over);
            self.withheld.extend(over.into_iter().filter_map(|it| match it {
                Effect::Send(request) => Some(request.id),
                _ => None,
            }));
            // What opening itself takes back is then not given out at all.
            self.sends.extend(owed.iter().filter_map(|it| match it {
                Effect::Send(request) => Some(request.id.clone()),
                _ => None,
            }));
            self.effects.extend(owed);
            self.forget_states();
        }
        Ok(())
    }

    /// What a start took for too old, by a clock that was ahead, is asked for after all.
    pub(super) fn send_withheld(&mut self, now: Time) -> Result<(), StoreError> {
        for id in std::mem::take(&mut self.withheld) {
            let Some(state) = self.state(id.saga)? else { continue };
            let is_it = |it: &Effect| matches!(it, Effect::Send(request) if request.id == id);
            let Some(effect) = wanted(state).into_iter().find(is_it) else { continue };
            if state.due(&id.step, now).is_some() {
                self.withheld.push(id);
                continue;
            }
            self.sends.insert(id);
            self.effects.push(effect);
        }
        Ok(())
    }

    /// Events that came when a definition was not in the binary which declares their name now.
    fn offer_unrouted(&mut self, now: Time) -> Result<(), StoreError> {
        let names: BTreeSet<&'static str> =
            self.registry.all().flat_map(|it| it.events.iter().map(|it| it.name)).collect();
        for name in names {
            self.each_of(Table::Unrouted, &short_hash(&[name]), |core, (_, value)| {
                let KeptRow { position } = decode(&value)?;
                core.txn.delete(Table::Unrouted, &unrouted_key(name, position));
                core.route_again(now, position)?;
                core.match_opened(now)
            })?;
        }
        Ok(())
    }

    fn route_again(&mut self, now: Time, position: Position) -> Result<(), StoreError> {
        let Some(event) = self.txn.record::<EventRecord>(Kind::Event, position)? else {
            return Ok(());
        };
        let key = super::events::identity_key(&event.name, &event.source, &event.id);
        let known = self.txn.get::<IdentityRow>(Table::Identity, &key)?;
        let ruled = known.map(|it| it.verdicts).unwrap_or_default();
        let verdicts = self.route_all(now, position, &event, &ruled)?;
        for verdict in verdicts.iter().cloned() {
            self.txn.put_record(Kind::Note, &NoteRecord::Ruled { event: position, verdict })?;
        }
        // Routing may have ruled anew on an event that was kept.
        if let Some(mut row) = self.txn.get::<IdentityRow>(Table::Identity, &key)? {
            row.verdicts.retain(|it| it.definition.is_some());
            row.verdicts.extend(verdicts);
            row.verdicts.sort_by(|a, b| a.definition.cmp(&b.definition));
            self.txn.put(Table::Identity, &key, &row)?;
        }
        Ok(())
    }
}
