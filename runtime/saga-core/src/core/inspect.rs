//! What tests see of the sequencer's memory: all of it must follow from the store.

use super::Core;
use crate::{fold::State, id::SagaId, store::Store};

impl<S: Store> Core<S> {
    /// The store, for tests that change it under its core.
    #[cfg(test)]
    pub(crate) fn store_mut(&mut self) -> &mut S {
        self.txn.store_mut()
    }

    /// The states in memory.
    pub(crate) fn states(&self) -> impl Iterator<Item = (&SagaId, &State)> {
        self.states.iter().map(|(saga, it)| (saga, &it.state))
    }

    /// The indexes in memory, as text: equal for equal stores.
    pub(crate) fn indexes(&self) -> String {
        let kept: Vec<_> = self.kept.iter().map(|(lane, it)| (lane, it.count)).collect();
        format!(
            "waits {:?}\ntimers {:?}\nkept {:?}\nmissing {:?}\nswept {:?}\ncopying {:?}",
            self.waits, self.timers, kept, self.missing, self.swept, self.copying
        )
    }
}
