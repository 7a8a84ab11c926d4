//! Sagas, and of which definitions they are.

use crate::id::SagaId;
use std::collections::{BTreeMap, btree_map::Entry};

/// Each saga once, with its definition.
#[derive(Debug, Default)]
pub(super) struct SagaSet {
    sagas: BTreeMap<SagaId, (String, u64)>,
    /// How many there are of each; never 0.
    counts: BTreeMap<String, usize>,
}

impl SagaSet {
    /// With the input by which it came here; the first one counts.
    pub(super) fn insert(&mut self, saga: SagaId, definition: &str, input: u64) {
        let Entry::Vacant(place) = self.sagas.entry(saga) else { return };
        place.insert((definition.to_owned(), input));
        match self.counts.get_mut(definition) {
            Some(count) => *count += 1,
            None => _ = self.counts.insert(definition.to_owned(), 1),
        }
    }

    pub(super) fn remove(&mut self, saga: SagaId) {
        let Some((definition, _)) = self.sagas.remove(&saga) else { return };
        if let Some(count) = self.counts.get_mut(&definition) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&definition);
            }
        }
    }

    /// The first, and the input by which it came here.
    pub(super) fn first(&self) -> Option<(SagaId, u64)> {
        self.sagas.first_key_value().map(|(saga, (_, input))| (*saga, *input))
    }

    pub(super) fn contains(&self, saga: SagaId) -> bool {
        self.sagas.contains_key(&saga)
    }

    pub(super) fn has_of(&self, definition: &str) -> bool {
        self.counts.contains_key(definition)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sagas.is_empty()
    }
}
