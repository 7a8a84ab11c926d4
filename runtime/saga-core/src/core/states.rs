//! States in memory: a cache of journals, of which the one goes first that was used longest ago. A
//! saga that is busy stays, however old it is.

use super::turns::Folded;
use crate::id::SagaId;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct States {
    cached: BTreeMap<SagaId, (u64, Folded)>,
    /// By last use.
    order: BTreeMap<u64, SagaId>,
    uses: u64,
}

impl States {
    /// Looks at a state without using it.
    pub(super) fn get(&self, saga: &SagaId) -> Option<&Folded> {
        self.cached.get(saga).map(|it| &it.1)
    }

    /// Takes a state out, to change it.
    pub(super) fn remove(&mut self, saga: &SagaId) -> Option<Folded> {
        let (used, folded) = self.cached.remove(saga)?;
        self.order.remove(&used);
        Some(folded)
    }

    /// Puts a state in, as the one that was used last.
    pub(super) fn insert(&mut self, saga: SagaId, folded: Folded) {
        self.remove(&saga);
        self.uses += 1;
        self.order.insert(self.uses, saga);
        self.cached.insert(saga, (self.uses, folded));
    }

    /// Keeps no more than so many.
    pub(super) fn keep(&mut self, count_max: usize) {
        while count_max < self.cached.len() {
            let Some((_, saga)) = self.order.pop_first() else { break };
            self.cached.remove(&saga);
        }
    }

    /// By saga.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&SagaId, &Folded)> {
        self.cached.iter().map(|(saga, it)| (saga, &it.1))
    }
}
