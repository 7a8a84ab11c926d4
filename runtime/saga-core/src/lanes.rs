//! Open waits by lane: who may take an event, the oldest first.

use crate::{
    filter::Filter,
    fold::OpenWait,
    id::{Lane, Path, Position, SagaId},
};
use std::collections::BTreeMap;

/// The open waits of all sagas.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    by_lane: BTreeMap<Lane, BTreeMap<(Position, u32), WaitRef>>,
}

/// One open wait in one of its lanes.
#[derive(Clone, Debug)]
pub(crate) struct WaitRef {
    pub(crate) saga: SagaId,
    pub(crate) step: Path,
    pub(crate) filter: Filter,
    pub(crate) asks: bool,
}

impl Waits {
    pub(crate) fn insert(&mut self, definition: &str, saga: SagaId, wait: &OpenWait) {
        for event in &wait.events {
            let (step, filter, asks) = (wait.step.clone(), wait.filter.clone(), wait.ask.is_some());
            let lane = Lane::of(definition, event, &wait.key);
            let of_lane = self.by_lane.entry(lane).or_default();
            of_lane.insert(wait.opened, WaitRef { saga, step, filter, asks });
        }
    }

    pub(crate) fn remove(&mut self, definition: &str, wait: &OpenWait) {
        for event in &wait.events {
            let lane = Lane::of(definition, event, &wait.key);
            if let Some(of_lane) = self.by_lane.get_mut(&lane) {
                of_lane.remove(&wait.opened);
                if of_lane.is_empty() {
                    self.by_lane.remove(&lane);
                }
            }
        }
    }

    /// The open waits of a lane, the oldest first.
    pub(crate) fn of(&self, lane: &Lane) -> impl Iterator<Item = &WaitRef> {
        self.by_lane.get(lane).into_iter().flat_map(BTreeMap::values)
    }
}
