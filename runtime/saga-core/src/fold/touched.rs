//! Which steps an entry can change. A saga may have thousands of things open, and whoever compares
//! it before and after a turn looks at those alone that the turn is about.

use super::state::{OpenCall, State, Undo};
use crate::{
    id::Path,
    journal::{Decision, Entry, Turn},
};
use std::collections::BTreeSet;

/// The steps that may be otherwise after an entry.
pub(crate) enum Touched {
    All,
    Some {
        steps: BTreeSet<Path>,
        /// How many undos had been asked for before: to settle one may ask for others.
        undos_asked: u32,
    },
}

impl Touched {
    /// By an entry that is about to be appended to this state.
    pub(crate) fn by(entry: &Entry, before: &State) -> Touched {
        let Some(step) = entry.fact.settles() else { return Touched::All };
        let mut steps = BTreeSet::from([step.clone()]);
        if let Turn::Done { decisions, .. } = &entry.turn {
            for decision in decisions {
                match decision {
                    Decision::Call { step, .. }
                    | Decision::Wait { step, .. }
                    | Decision::Sleep { step, .. }
                    | Decision::Publish { step, .. } => _ = steps.insert(step.clone()),
                    Decision::Undo { .. } | Decision::Commit | Decision::Patch { .. } => (),
                    Decision::Close { .. }
                    | Decision::Abandoned { .. }
                    | Decision::Complete { .. }
                    | Decision::Abort { .. } => return Touched::All,
                }
            }
        }
        Touched::Some { steps, undos_asked: before.undos_asked }
    }

    /// These steps alone.
    pub(crate) fn steps(steps: impl IntoIterator<Item = Path>) -> Touched {
        Touched::Some { steps: steps.into_iter().collect(), undos_asked: u32::MAX }
    }

    pub(crate) fn has(&self, step: &Path) -> bool {
        match self {
            Touched::All => true,
            Touched::Some { steps, .. } => steps.contains(step),
        }
    }

    pub(crate) fn has_undo(&self, undo: &Undo) -> bool {
        match self {
            Touched::All => true,
            Touched::Some { steps, undos_asked } => {
                *undos_asked < undo.asked_as || steps.contains(&undo.step)
            }
        }
    }

    /// An arm settles with the last of its calls.
    pub(crate) fn has_in(&self, scope: &Path) -> bool {
        match self {
            Touched::All => true,
            Touched::Some { steps, .. } => {
                steps.range(scope..).next().is_some_and(|it| scope.contains(it))
            }
        }
    }

    /// The open calls among them.
    pub(crate) fn calls<'a>(&'a self, state: &'a State) -> Vec<(&'a Path, &'a OpenCall)> {
        match self {
            Touched::All => state.calls.iter().collect(),
            Touched::Some { steps, .. } => {
                steps.iter().filter_map(|it| state.calls.get_key_value(it)).collect()
            }
        }
    }
}
