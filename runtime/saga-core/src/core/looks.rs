//! Waits on their way through what their lanes keep. Each is in the line once, however many events
//! come meanwhile: what comes behind the place that it has reached, it sees by itself.

use crate::id::{Path, Position, SagaId};
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug, Default)]
pub(super) struct Looks {
    line: VecDeque<(SagaId, Path)>,
    /// Up to where each has looked, and taken nothing.
    behind: BTreeMap<(SagaId, Path), Position>,
}

impl Looks {
    pub(super) fn is_empty(&self) -> bool {
        self.behind.is_empty()
    }

    pub(super) fn has(&self, saga: SagaId, step: &Path) -> bool {
        !self.behind.is_empty() && self.behind.contains_key(&(saga, step.clone()))
    }

    /// Has the wait look at what stands behind this place.
    pub(super) fn look(&mut self, saga: SagaId, step: &Path, behind: Position) {
        let wait = (saga, step.clone());
        if let Some(reached) = self.behind.get_mut(&wait) {
            *reached = behind.min(*reached);
            return;
        }
        self.line.push_back(wait.clone());
        self.behind.insert(wait, behind);
    }

    /// Takes the first out, to look.
    pub(super) fn next(&mut self) -> Option<(SagaId, Path, Position)> {
        let wait = self.line.pop_front()?;
        let behind = self.behind.remove(&wait).unwrap_or_default();
        Some((wait.0, wait.1, behind))
    }

    /// Puts it back: it goes on from here, before all others.
    pub(super) fn put_back(&mut self, saga: SagaId, step: Path, behind: Position) {
        self.line.push_front((saga, step.clone()));
        self.behind.insert((saga, step), behind);
    }
}
