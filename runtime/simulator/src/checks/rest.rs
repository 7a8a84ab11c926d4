//! What must be so when nothing is left to happen.

use crate::world::World;
use saga_core::{
    effect::Outcome,
    fold::{Problem, Status},
    journal::{Decision, Entry, Fact, Turn},
};
use std::collections::BTreeSet;

/// It has ended, or it failed after its commit and a person knows.
pub(crate) fn every_saga_has_ended(world: &World) {
    for head in world.heads().iter().filter(|it| !it.status.is_ended()) {
        let problem = head.attention.as_ref().map(|it| it.problem);
        let is_known = problem == Some(Problem::FailedAfterCommit);
        assert!(is_known, "{} of {} is {:?}: {:?}", head.id, head.key, head.status, head.reason);
    }
    assert_eq!(world.desk.requests(), [], "something is still asked for");
    assert_eq!(world.desk.publishes(), [], "something is still to be published");
}

/// What was given up did not go well: the saga says so, and who gave it up and why.
pub(crate) fn what_was_waived_has_failed(world: &World) {
    for head in world.heads() {
        let journal = world.journal(head.id);
        let is_waived = |it: &Entry| matches!(it.fact, Fact::UndoWaived { .. });
        if !journal.iter().any(is_waived) || !head.status.is_ended() {
            continue;
        }
        let reason = head.reason.unwrap_or_default();
        let is_told = reason.contains("waived by ann: settled by hand");
        match head.status {
            Status::Terminated => (),
            status => assert!(status == Status::Failed && is_told, "{status:?}: {reason}"),
        }
    }
}

/// An event is kept only on a lane on which no saga of its definition has ever held.
pub(crate) fn no_event_is_stranded(world: &World) {
    let held = lanes_that_were_held(world);
    let whole = (world.kind.registries)().swap_remove(0);
    let heads = world.heads();
    let is_live =
        |name: &str| heads.iter().any(|it| it.definition == name && it.ended_at.is_none());
    for seen in world.desk.events() {
        for verdict in seen.identity.iter().flat_map(|it| &it.verdicts) {
            let is_wanted = !whole.declaring(&seen.event.name).is_empty();
            let is_unrouted = verdict.outcome == Outcome::Unrouted;
            assert!(!(is_wanted && is_unrouted), "{} is unrouted", seen.event.id);
            let Some(name) = verdict.definition.as_ref() else { continue };
            // A saga that waits for a person may still want it.
            if verdict.outcome != Outcome::Kept || is_live(name) {
                continue;
            }
            let declared = whole.get(name).and_then(|it| it.declared(&seen.event.name));
            let pointer = declared.map_or("", |it| it.key);
            let body = seen.event.body.to_value();
            let key = body.pointer(pointer).and_then(|it| it.as_str()).unwrap_or_default();
            let lane = (name.clone(), seen.event.name.clone(), key.to_owned());
            assert!(!held.contains(&lane), "{} is kept in {lane:?}", seen.event.id);
        }
    }
}

/// Definition, event and key of every wait that was ever opened, and of every start by an event.
fn lanes_that_were_held(world: &World) -> BTreeSet<(String, String, String)> {
    let mut held = BTreeSet::new();
    for head in world.heads() {
        let mut add = |name: &str, key: &str| {
            held.insert((head.definition.clone(), name.to_owned(), key.to_owned()));
        };
        for entry in world.journal(head.id) {
            if let Fact::Started(start) = &entry.fact
                && let Some(event) = &start.event
            {
                add(&event.name, &start.key);
            }
            let Turn::Done { decisions, .. } = &entry.turn else { continue };
            for decision in decisions {
                if let Decision::Wait { events, key, .. } = decision {
                    events.iter().for_each(|event| add(event, key));
                }
            }
        }
    }
    held
}
