//! What ended sagas leave in their lanes goes to the late arm, or becomes unclaimed, as soon as no
//! live saga may want it. On a lane of a start key that is at once. On any other one a live saga of
//! the definition may still come to hold, as long as it had started before: such a lane is swept
//! when the last of those has ended.

use super::{Core, routes::Routed};
use crate::{
    codec::{ClaimRow, EventRecord, SweepRow, decode},
    head::Head,
    id::{Lane, Position, Time, short_hash},
    saga::Definition,
    store::{Kind, Store, StoreError, Table},
};

impl<S: Store> Core<S> {
    /// Has the lane swept when no saga of the definition lives that is as old as this; at once
    /// when the lane is of one saga alone, which has ended.
    pub(super) fn sweep_later(
        &mut self,
        definition: &str,
        name: String,
        key: String,
        is_alone: bool,
    ) -> Result<(), StoreError> {
        let until = self.txn.next() - 1;
        let behind = if is_alone { 0 } else { until };
        let lane = Lane::of(definition, &name, &key);
        let row = SweepRow { name, key, until };
        self.txn.put(Table::Sweep, &sweep_key(definition, behind, &lane), &row)?;
        self.swept.insert(definition.to_owned());
        self.look_at_sweeps(definition);
        Ok(())
    }

    /// One of the definition's sagas has ended, and lanes may have waited for that.
    pub(super) fn look_at_sweeps(&mut self, definition: &str) {
        if self.swept.contains(definition) {
            self.sweeping.insert(definition.to_owned(), Vec::new());
        }
    }

    /// Finds the definitions that have lanes to be swept.
    pub(super) fn find_sweeps(&mut self) -> Result<(), StoreError> {
        for name in self.registry.all().map(|it| it.name).collect::<Vec<_>>() {
            if !self.txn.some(Table::Sweep, &short_hash(&[name]), None, 1)?.is_empty() {
                self.swept.insert(name.to_owned());
                self.sweeping.insert(name.to_owned(), Vec::new());
            }
        }
        Ok(())
    }

    /// Sweeps the lanes of a definition that may be swept, as many as there is room for.
    pub(super) fn sweep(&mut self, now: Time, name: &str) -> Result<(), StoreError> {
        while 0 < self.room
            && let Some((name, beyond)) = self.sweeping.remove_entry(name)
        {
            let Some(definition) = self.registry.get(&name).cloned() else { continue };
            if let Some(beyond) = self.sweep_next(now, &definition, beyond)? {
                // To sweep may have made it possible for others, which come first.
                self.sweeping.entry(name).or_insert(beyond);
            }
        }
        Ok(())
    }

    /// Sweeps one lane of the definition, the first behind this row, and says behind which row to
    /// go on. Nothing when none is left that may be swept.
    fn sweep_next(
        &mut self,
        now: Time,
        definition: &Definition,
        beyond: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let prefix = short_hash(&[definition.name]);
        let behind = Some(&beyond[..]).filter(|it| !it.is_empty());
        let Some((key, value)) = self.txn.some(Table::Sweep, &prefix, behind, 1)?.pop() else {
            if behind.is_none() {
                self.swept.remove(definition.name);
            }
            return Ok(None);
        };
        let oldest = self.oldest_live(definition.name)?;
        if oldest.is_some_and(|oldest| oldest <= behind_of(&key)) {
            return Ok(None);
        }
        self.room -= 1;
        let row: SweepRow = decode(&value)?;
        if self.is_former(definition, &row.name) {
            // What late means is decided when its declaration is back.
            return Ok(Some(key));
        }
        if self.sweep_lane(now, definition, &row)? {
            self.txn.delete(Table::Sweep, &key);
        }
        Ok(Some(beyond))
    }

    /// True when the lane keeps nothing more that is to be swept.
    fn sweep_lane(
        &mut self,
        now: Time,
        definition: &Definition,
        row: &SweepRow,
    ) -> Result<bool, StoreError> {
        let lane = Lane::of(definition.name, &row.name, &row.key);
        if self.has_owner(definition.name, &lane, &row.key)? {
            return Ok(true); // It sweeps the lane when it ends.
        }
        let Some(claim) = self.txn.get::<ClaimRow>(Table::Claim, &lane.0)? else {
            return Ok(true);
        };
        let ended = self.txn.get::<Head>(Table::Ended, claim.saga.as_bytes());
        let Some(ended) = self.shown(claim.saga, ended)? else { return Ok(true) };
        // The first event is part of the lane, so that it goes on with the least room.
        loop {
            let next = self.next_kept(&[lane], 0)?.filter(|it| it.0 <= row.until);
            let Some((position, _)) = next else { return Ok(true) };
            self.sweep_event(now, definition, &ended, row, position)?;
            if self.room == 0 {
                return Ok(false);
            }
            self.room -= 1;
        }
    }

    fn sweep_event(
        &mut self,
        now: Time,
        definition: &Definition,
        ended: &Head,
        row: &SweepRow,
        position: Position,
    ) -> Result<(), StoreError> {
        let lane = Lane::of(definition.name, &row.name, &row.key);
        self.take_kept(&lane, position);
        let Some(event) = self.txn.record::<EventRecord>(Kind::Event, position)? else {
            return Ok(());
        };
        let routed = Routed::of(position, &event, row.key.clone(), lane);
        let fate = self.late(now, event.at, definition, ended, &routed)?;
        self.rule(definition.name, &event, fate)
    }
}

fn sweep_key(definition: &str, behind: Position, lane: &Lane) -> Vec<u8> {
    [&short_hash(&[definition])[..], &behind.to_be_bytes()[..], &lane.0[..]].concat()
}

fn behind_of(key: &[u8]) -> Position {
    let behind = key.get(16..).and_then(|it| it.first_chunk());
    behind.map_or(Position::MAX, |it| u64::from_be_bytes(*it))
}
