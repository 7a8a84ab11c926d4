//! Clocks that jump.

use crate::world::World;
use saga_core::{fold::fold, journal::Fact};
use std::collections::BTreeMap;

/// The least jump is of ten minutes, and steps of a second are followed.
const TOLERANCE_MS: u64 = 300_000;

/// Between the turn that set a deadline and the one in which it fires as much time has passed as
/// was promised, by the clock that counts, unless a person has said that a wrong one is right.
pub(crate) fn fire_nothing_early(world: &World) {
    let clocks = &world.clocks;
    if !clocks.has_jumped || clocks.is_misled || world.stores.were_changed {
        return;
    }
    for head in world.heads() {
        let journal = world.journal(head.id);
        let mut set = BTreeMap::new();
        for (number, entry) in journal.iter().enumerate() {
            let timers = fold(&journal[..number]).timers();
            if let Fact::TimerFired { step } = &entry.fact
                && let Some((due, _)) = timers.into_iter().find(|it| it.1 == *step)
                && let Some(set_at) = set.get(&(due, step.clone()))
            {
                let (set, fired) = (clocks.written(*set_at), clocks.written(entry.position));
                let passed = fired.since_boot - set.since_boot;
                let promised = due.0.saturating_sub(set.believed.0);
                let is_early = passed + TOLERANCE_MS < promised;
                assert!(!is_early, "{step} of {} fired {passed} of {promised} ms", head.id);
            }
            for timer in fold(&journal[..=number]).timers() {
                set.entry(timer).or_insert(entry.position);
            }
        }
    }
}
