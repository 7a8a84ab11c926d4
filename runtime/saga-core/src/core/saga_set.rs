//! Sagas, and of which definitions they are.

use crate::id::SagaId;
use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

/// Each saga once, with its definition.
#[derive(Debug, Default)]
pub(super) struct SagaSet {
    sagas: BTreeMap<SagaId, (String, u64)>,
    /// The same by definition; never none.
    of: BTreeMap<String, BTreeSet<SagaId>>,
}

impl SagaSet {
    /// With the input by which it came here; the first one counts.
    pub(super) fn insert(&mut self, saga: SagaId, definition: &str, input: u64) {
        let Entry::Vacant(place) = self.sagas.entry(saga) else { return };
        place.insert((definition.to_owned(), input));
        match self.of.get_mut(definition) {
            Some(sagas) => _ = sagas.insert(saga),
            None => _ = self.of.insert(definition.to_owned(), [saga].into()),
        }
    }

    pub(super) fn remove(&mut self, saga: SagaId) {
        let Some((definition, _)) = self.sagas.remove(&saga) else { return };
        if let Some(sagas) = self.of.get_mut(&definition) {
            sagas.remove(&saga);
            if sagas.is_empty() {
                self.of.remove(&definition);
            }
        }
    }

    /// The first of these definitions, and the input by which it came here.
    pub(super) fn first_of(&self, definitions: &[String]) -> Option<(SagaId, u64)> {
        let sagas = definitions.iter().filter_map(|it| self.of.get(it)?.first());
        let first = sagas.min()?;
        self.sagas.get(first).map(|(_, input)| (*first, *input))
    }

    pub(super) fn definitions(&self) -> impl Iterator<Item = &String> {
        self.of.keys()
    }

    pub(super) fn contains(&self, saga: SagaId) -> bool {
        self.sagas.contains_key(&saga)
    }

    pub(super) fn has_of(&self, definition: &str) -> bool {
        self.of.contains_key(definition)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sagas.is_empty()
    }
}
