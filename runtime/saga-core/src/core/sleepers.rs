//! Long sagas that have been left alone until they are read, in the order in which that came to be.

use crate::id::SagaId;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Sleepers {
    sagas: BTreeMap<SagaId, u64>,
    /// The same, in order.
    order: BTreeMap<u64, SagaId>,
    /// The last number that was given out.
    last: u64,
}

impl Sleepers {
    /// Whoever sleeps already keeps its place.
    pub(super) fn insert(&mut self, saga: SagaId) {
        if self.sagas.contains_key(&saga) {
            return;
        }
        self.last += 1;
        self.sagas.insert(saga, self.last);
        self.order.insert(self.last, saga);
    }

    pub(super) fn remove(&mut self, saga: SagaId) {
        if let Some(number) = self.sagas.remove(&saga) {
            self.order.remove(&number);
        }
    }

    /// Those behind this number, each with its own.
    pub(super) fn behind(&self, number: u64) -> impl Iterator<Item = (u64, SagaId)> + '_ {
        self.order.range(number.saturating_add(1)..).map(|it| (*it.0, *it.1))
    }
}
