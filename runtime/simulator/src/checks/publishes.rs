//! What sagas publish, while the broker takes some of it and refuses the rest.

use crate::world::{REFUSAL, World};
use saga_core::{
    fold::{OpenPublish, Status, fold},
    id::{Path, SagaId},
    journal::{Decision, Entry, Turn},
};
use std::collections::BTreeMap;

/// Each event that the code of an ended saga has published was taken by the broker, and once.
pub(crate) fn leave_once(world: &World) {
    // A restored store may have lost that the broker has taken an event.
    if world.stores.were_changed {
        return;
    }
    let mut taken: BTreeMap<SagaId, Vec<&Path>> = BTreeMap::new();
    for (saga, step) in &world.taken {
        taken.entry(*saga).or_default().push(step);
    }
    for head in world.heads().iter().filter(|it| it.status.is_ended()) {
        let count = |step: &Path| {
            taken.get(&head.id).map_or(0, |it| it.iter().filter(|it| **it == step).count())
        };
        for step in published(&world.journal(head.id)) {
            let is_right = match head.status {
                // What it still owed was taken back.
                Status::Terminated => count(&step) <= 1,
                _ => count(&step) == 1,
            };
            assert!(is_right, "{step} of {} was taken {} times", head.id, count(&step));
        }
    }
}

fn published(journal: &[Entry]) -> Vec<Path> {
    let decisions = journal.iter().flat_map(|it| match &it.turn {
        Turn::Done { decisions, .. } => &decisions[..],
        Turn::Held(_) => &[],
    });
    let published = decisions.filter_map(|it| match it {
        Decision::Publish { step, .. } => Some(step.clone()),
        _ => None,
    });
    published.collect()
}

/// A person reads what the broker said, unless its silence was told before.
pub(crate) fn say_why(world: &World) {
    for head in world.heads().iter().filter(|it| !it.status.is_ended()) {
        let publishes = fold(&world.journal(head.id)).publishes.into_iter();
        let says_so = |it: &OpenPublish| world.refused.get(&it.command.subject) == Some(&true);
        for publish in publishes.filter(says_so) {
            let why = publish.failed.unwrap_or_default();
            let is_told = why == REFUSAL || why.starts_with("the broker has not taken it for ");
            assert!(is_told, "{} is {:?}: {why}", head.id, head.status);
        }
    }
}
