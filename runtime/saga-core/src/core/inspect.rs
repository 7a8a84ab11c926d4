//! What tests see of the sequencer's memory: all of it must follow from the store.

use super::Core;
use crate::{
    fold::State,
    id::{SagaId, Time},
    store::Store,
};
use std::collections::BTreeSet;

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
        let timers: BTreeSet<_> = self.timers.due(Time::NEVER).collect();
        let kept: Vec<_> = self.kept.iter().map(|(lane, it)| (lane, it.count)).collect();
        format!(
            "waits {:?}\ntimers {:?}\nkept {:?}\nmissing {:?}\ncopying {:?}",
            self.waits, timers, kept, self.missing, self.copying
        )
    }

    /// Whether all is given out that was owed when this was opened.
    pub(crate) fn has_given_out(&self) -> bool {
        let all_were_read = self.sleepers(0).next().is_none();
        self.owing.is_empty() && !self.withheld.has_more() && all_were_read
    }

    /// Definitions that have lanes to be swept: more of them while lanes are handed over.
    pub(crate) fn swept(&self) -> &BTreeSet<String> {
        &self.swept
    }
}
