//! Copies of an event for all who hold for it. There may be as many as there are sagas, and each is
//! a turn: what is too much for one input goes on behind others, from a row that says how far it
//! has come. Who held when the event came gets it, before anything that comes for them later.

use super::{
    Core,
    routes::{Routed, received},
};
use crate::{
    codec::{CopyRow, EventRecord, decode},
    fold::OpenWait,
    id::{Lane, Place, Position, SagaId, Time, short_hash},
    lanes::WaitRef,
    store::{Kind, Store, StoreError, Table},
};
use std::collections::{BTreeSet, VecDeque};

/// An event of which not all have their copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copying {
    position: Position,
    lane: Lane,
    name: String,
    key: String,
    /// Whoever gets one had opened a wait before this: an event may be offered long after it came.
    until: Position,
    /// The waits that were opened up to here have theirs.
    behind: Place,
}

impl Copying {
    /// Whether the wait is one of the lane, was opened before this place and has no copy.
    fn is_for(&self, wait: &OpenWait, until: Place) -> bool {
        let is_of_lane = wait.key == self.key && wait.events.contains(&self.name);
        is_of_lane && wait.ask.is_none() && self.behind < wait.opened && wait.opened < until
    }

    /// Whether what was opened there was open when the event was given to all.
    fn held(&self, opened: Place) -> bool {
        opened < (self.until, 0)
    }
}

impl<S: Store> Core<S> {
    /// Gives copies to all who hold for the event, as far as there is room, and says who was the
    /// first of them.
    pub(super) fn give_each(
        &mut self,
        now: Time,
        definition: &str,
        routed: &Routed<'_>,
    ) -> Result<Option<SagaId>, StoreError> {
        let (position, lane) = (routed.position, routed.lane);
        let (name, key) = (routed.event.name.clone(), routed.key.clone());
        let until = self.txn.next();
        let mut copying = Copying { position, lane, name, key, until, behind: (0, 0) };
        let is_waited_for = |it: &VecDeque<Copying>| it.iter().any(|it| it.lane == lane);
        if self.copying.get(definition).is_some_and(is_waited_for) {
            // Those that came before it go first.
            let Some((_, first)) = self.next_copy(&copying, routed) else { return Ok(None) };
            self.copy_later(definition, copying)?;
            return Ok(Some(first.saga));
        }
        let mut first = None;
        while let Some((opened, wait)) = self.next_copy(&copying, routed) {
            if self.room == 0 || self.must_sleep(wait.saga) {
                self.copy_later(definition, copying)?;
                return Ok(Some(first.unwrap_or(wait.saga)));
            }
            self.weigh_turn(wait.saga)?;
            copying.behind = opened;
            if self.offer(now, wait.saga, received(routed, wait.step))? {
                first.get_or_insert(wait.saga);
            }
        }
        if self.held_aside(routed, (until, 0)).is_some() {
            self.note_copying(definition, &Copying { behind: (0, 0), ..copying })?;
        }
        Ok(first)
    }

    fn next_copy(&self, copying: &Copying, routed: &Routed<'_>) -> Option<(Place, WaitRef)> {
        let next = self.next_taker(routed, copying.behind)?;
        copying.held(next.0).then_some(next)
    }

    fn note_copying(&mut self, definition: &str, copying: &Copying) -> Result<(), StoreError> {
        let Copying { position, name, key, until, behind, .. } = copying.clone();
        let row = CopyRow { name, key, until, behind };
        self.txn.put(Table::Copy, &copy_key(definition, position), &row).map(drop)
    }

    fn copy_later(&mut self, definition: &str, copying: Copying) -> Result<(), StoreError> {
        self.note_copying(definition, &copying)?;
        self.copying.entry(definition.to_owned()).or_default().push_back(copying);
        Ok(())
    }

    /// Goes on with copies, the oldest event first, as far as there is room.
    pub(super) fn copy_on(&mut self, now: Time) -> Result<(), StoreError> {
        while 0 < self.room {
            let first = |it: &VecDeque<Copying>| it.front().map(|it| it.until);
            let oldest = self.copying.iter().min_by_key(|it| first(it.1));
            let Some(definition) = oldest.map(|it| it.0.clone()) else { break };
            let next = self.copying.get_mut(&definition).and_then(VecDeque::pop_front);
            let goes_on = match next {
                Some(copying) => self.copy_some(now, &definition, copying)?,
                None => true,
            };
            if self.copying.get(&definition).is_some_and(VecDeque::is_empty) {
                self.copying.remove(&definition);
            }
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// False when the next one has to be read first.
    fn copy_some(
        &mut self,
        now: Time,
        definition: &str,
        mut copying: Copying,
    ) -> Result<bool, StoreError> {
        let (position, lane, key) = (copying.position, copying.lane, copying.key.clone());
        if let Some(event) = self.txn.record::<EventRecord>(Kind::Event, position)? {
            let routed = Routed::of(position, &event, key, lane);
            while let Some((opened, wait)) = self.next_copy(&copying, &routed) {
                let is_asleep = self.must_sleep(wait.saga);
                if self.room == 0 || is_asleep {
                    self.note_copying(definition, &copying)?;
                    self.copying.entry(definition.to_owned()).or_default().push_front(copying);
                    return Ok(!is_asleep);
                }
                self.weigh_turn(wait.saga)?;
                copying.behind = opened;
                self.give_out(now, wait.saga)?;
                if self.settle(now, wait.saga, received(&routed, wait.step))? {
                    self.copy_to(now, wait.saga, true)?;
                }
            }
            if self.held_aside(&routed, (copying.until, 0)).is_some() {
                // Whoever has got theirs holds no more: it begins again when that saga is back.
                self.note_copying(definition, &Copying { behind: (0, 0), ..copying })?;
                return Ok(true);
            }
        }
        self.txn.delete(Table::Copy, &copy_key(definition, position));
        Ok(true)
    }

    /// Gives a saga the copies that it has not got, before anything that came after them.
    pub(super) fn catch_up(&mut self, now: Time, saga: SagaId) -> Result<(), StoreError> {
        if self.copying.is_empty() {
            return Ok(()); // Nearly always.
        }
        self.copy_to(now, saga, false)
    }

    /// Gives a saga what is being copied, in order. It may have got a copy late: what it has opened
    /// since then, it would have held open when the next event came.
    fn copy_to(&mut self, now: Time, saga: SagaId, mut is_late: bool) -> Result<(), StoreError> {
        for number in 0.. {
            let Some(copying) = self.copying_of(saga, number)? else { break };
            let until = if is_late { (self.txn.next(), 0) } else { (copying.until, 0) };
            while let Some(wait) = self.missed_by(saga, &copying, until)? {
                let Copying { position, lane, key, .. } = copying.clone();
                let event = self.txn.record::<EventRecord>(Kind::Event, position)?;
                let Some(event) = event else { break };
                let routed = Routed::of(position, &event, key, lane);
                // All that one saga has not got goes on at once; others wait for that.
                self.room = self.room.saturating_sub(1);
                if !self.settle(now, saga, received(&routed, wait.step))? {
                    break;
                }
                is_late = true;
            }
        }
        Ok(())
    }

    /// The event with this number among those that are copied by the saga's definition.
    fn copying_of(&mut self, saga: SagaId, number: usize) -> Result<Option<Copying>, StoreError> {
        let Some(state) = self.state(saga)? else { return Ok(None) };
        let Some(definition) = state.start.as_ref().map(|it| it.definition.clone()) else {
            return Ok(None);
        };
        Ok(self.copying.get(&definition).and_then(|it| it.get(number)).cloned())
    }

    /// A wait of the saga that was opened before this place and has not got its copy.
    fn missed_by(
        &mut self,
        saga: SagaId,
        copying: &Copying,
        until: Place,
    ) -> Result<Option<OpenWait>, StoreError> {
        let Some(state) = self.state(saga)? else { return Ok(None) };
        let waits = state.waits.iter().filter(|it| copying.is_for(it, until));
        let waits: Vec<OpenWait> = waits.cloned().collect();
        if waits.is_empty() {
            return Ok(None);
        }
        let event = self.txn.record::<EventRecord>(Kind::Event, copying.position)?;
        Ok(waits.into_iter().find(|it| event.as_ref().is_some_and(|by| it.filter.passes(&by.body))))
    }

    /// Copies that a saga has not got while it was set aside.
    pub(super) fn copy_to_those_back(&mut self, definition: &str) -> Result<(), StoreError> {
        let kept_max = self.limits.lane_events_max as usize;
        let rows = self.txn.some(Table::Copy, &short_hash(&[definition]), None, kept_max)?;
        for (row_key, value) in rows {
            let Some(copying) = copying_of_row(definition, &row_key, &value)? else { continue };
            let all = self.copying.entry(definition.to_owned()).or_default();
            if all.iter().all(|it| it.position != copying.position) {
                all.push_back(copying);
                all.make_contiguous().sort_by_key(|it| it.until);
            }
        }
        Ok(())
    }

    /// What an earlier process has not copied to all, also those of definitions that are missing.
    pub(super) fn find_copying(&mut self) -> Result<(), StoreError> {
        let linked = self.registry.all().map(|it| it.name);
        let all: BTreeSet<String> =
            linked.map(str::to_owned).chain(self.missing.keys().cloned()).collect();
        for definition in &all {
            self.each_of(Table::Copy, &short_hash(&[definition]), |core, (row_key, value)| {
                let copying = copying_of_row(definition, &row_key, &value)?;
                core.copying.entry(definition.to_owned()).or_default().extend(copying);
                Ok(())
            })?;
        }
        for copying in self.copying.values_mut() {
            copying.make_contiguous().sort_by_key(|it| it.until);
        }
        Ok(())
    }
}

fn copying_of_row(
    definition: &str,
    key: &[u8],
    value: &[u8],
) -> Result<Option<Copying>, StoreError> {
    let position = key.get(16..).and_then(|it| it.first_chunk());
    let Some(position) = position.map(|it| u64::from_be_bytes(*it)) else { return Ok(None) };
    let CopyRow { name, key, until, behind } = decode(value)?;
    let lane = Lane::of(definition, &name, &key);
    Ok(Some(Copying { position, lane, name, key, until, behind }))
}

fn copy_key(definition: &str, position: Position) -> Vec<u8> {
    [&short_hash(&[definition])[..], &position.to_be_bytes()[..]].concat()
}
