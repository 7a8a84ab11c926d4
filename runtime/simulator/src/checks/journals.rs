//! What every journal must look like.

use crate::world::World;
use saga_core::{
    fold::fold,
    id::Path,
    journal::{Decision, Entry, Fact, Turn},
};
use std::collections::BTreeSet;

/// By what is appended first: its event or its deadline.
pub(crate) fn a_wait_ends_once(world: &World) {
    for head in world.heads() {
        let journal = world.journal(head.id);
        let waits = waits(&journal);
        let mut ended = BTreeSet::new();
        for entry in &journal {
            let step = match &entry.fact {
                Fact::Received { step, .. } | Fact::TimerFired { step } => step,
                _ => continue,
            };
            assert!(!waits.contains(step) || ended.insert(step), "{step} of {} twice", head.id);
        }
    }
}

fn waits(journal: &[Entry]) -> BTreeSet<Path> {
    let decisions = journal.iter().flat_map(|it| match &it.turn {
        Turn::Done { decisions, .. } => &decisions[..],
        Turn::Held(_) => &[],
    });
    let waits = decisions.filter_map(|it| match it {
        Decision::Wait { step, .. } => Some(step.clone()),
        _ => None,
    });
    waits.collect()
}

/// A timer fires when it is due by the clock, or later; never before.
pub(crate) fn no_deadline_is_early(world: &World) {
    for head in world.heads() {
        let journal = world.journal(head.id);
        for (number, entry) in journal.iter().enumerate() {
            let Fact::TimerFired { step } = &entry.fact else { continue };
            let timers = fold(&journal[..number]).timers();
            let due = timers.iter().find(|it| it.1 == *step).map(|it| it.0);
            // What was held before it may have closed its step when the code saw it at last.
            assert!(due.is_none_or(|it| it <= entry.at), "{step} of {} is due {due:?}", head.id);
        }
    }
}
