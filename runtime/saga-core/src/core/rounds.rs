//! What inputs have left to do is done family by family, in turn: nothing of one can change what
//! comes of another, so however much one has left, and whichever journal it waits for, the others
//! go on.

use super::Core;
use crate::{
    id::{SagaId, Time},
    store::{Store, StoreError},
};
use std::collections::{BTreeSet, VecDeque};

/// Where a family stands. Each stage is done to its end before the next begins, and behind the last
/// comes the first again: so it comes out as if there were room for all at once. Copies are made in
/// the first, and hold up no next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waits look at what lanes keep, and sagas are told what was held.
    #[default]
    Look,
    /// Sagas that have ended hand over their lanes.
    HandOver,
    /// What they have left goes to late arms. These look when all have begun.
    Sweep,
}

impl<S: Store> Core<S> {
    /// Does what is left, as far as there is room: each family has a part of it. Those that had
    /// nothing left before this input come first.
    pub(super) fn work_on(&mut self, now: Time) -> Result<(), StoreError> {
        let mut new = self.at_work();
        self.stopped.retain(|it, _| new.contains(it));
        let mut turns = std::mem::take(&mut self.round);
        turns.retain(|it| new.remove(it));
        new.into_iter().for_each(|it| turns.push_front(it));
        let (mut again, mut stuck) = (VecDeque::new(), VecDeque::new());
        while 0 < self.room {
            if turns.is_empty() {
                turns.append(&mut again);
            }
            let Some(family) = turns.pop_front() else { break };
            // Whoever needs less leaves it to the others.
            let part = self.room.div_ceil(turns.len() + 1);
            let rest = self.room - part;
            self.room = part;
            self.work_for(now, &family)?;
            // Done, or it has to wait for a journal: nothing more of it with this input.
            let goes_on = self.room < part;
            if goes_on { &mut again } else { &mut stuck }.push_back(family);
            self.room += rest;
        }
        self.round.extend(turns.into_iter().chain(again).chain(stuck));
        Ok(())
    }

    /// Does what is left of one family.
    pub(super) fn work_for(&mut self, now: Time, family: &str) -> Result<(), StoreError> {
        let definitions = self.families.members(family);
        let mut before = None;
        loop {
            let is_done = match self.stage_of(family) {
                Stage::Look => {
                    self.match_opened(now, family)?;
                    for definition in &definitions {
                        self.copy_on(now, definition)?;
                    }
                    !self.looks(family)
                }
                Stage::HandOver => {
                    for definition in &definitions {
                        self.hand_over_lanes(definition)?;
                    }
                    !definitions.iter().any(|it| self.leaving.contains_key(it))
                }
                Stage::Sweep => {
                    for definition in &definitions {
                        self.sweep(now, definition)?;
                    }
                    !definitions.iter().any(|it| self.sweeping.contains_key(it))
                }
            };
            match self.stage_of(family) {
                _ if !is_done => return Ok(()),
                Stage::Look => _ = self.stages.insert(family.to_owned(), Stage::HandOver),
                Stage::HandOver => _ = self.stages.insert(family.to_owned(), Stage::Sweep),
                Stage::Sweep => {
                    self.stages.remove(family);
                    // Nothing was left to do.
                    if before.replace(self.room) == Some(self.room) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// What is done of the family now.
    pub(super) fn stage_of(&self, family: &str) -> Stage {
        self.stages.get(family).copied().unwrap_or_default()
    }

    /// The families of which something is left.
    fn at_work(&self) -> BTreeSet<String> {
        let definitions = self.opened.definitions().chain(self.telling.definitions());
        let definitions = definitions.chain(self.copying.keys()).chain(self.leaving.keys());
        let definitions = definitions.chain(self.sweeping.keys());
        definitions.map(|it| self.families.name(it).to_owned()).collect()
    }

    /// The saga has to be read before its family goes on.
    pub(super) fn stops_family(&mut self, family: &str, saga: SagaId) {
        self.stopped.entry(family.to_owned()).or_default().insert(saga);
    }
}
