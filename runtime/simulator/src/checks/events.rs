//! Each definition gives each event one verdict, and a journal holds it where the verdict says.

use crate::world::World;
use saga_core::{
    core::Seen,
    effect::{Outcome, Verdict},
    fold::fold,
    id::{Position, SagaId},
    journal::{Entry, Fact, Turn},
    saga::{Definition, Route},
};
use std::collections::{BTreeMap, BTreeSet};

/// Who took an event, by its position and the definition.
type Takers = BTreeMap<(Position, String), Vec<Taker>>;

/// A saga whose journal has the event.
struct Taker {
    saga: SagaId,
    /// It ended without having looked at it, so that it gave it back, if its code was linked.
    may_have_given_back: bool,
}

pub(crate) fn are_accounted_for(world: &World) {
    let mut takers = takers(world);
    for seen in world.desk.events() {
        let Some(identity) = &seen.identity else {
            // It is known by the row of the one that came first.
            let outcomes: Vec<Outcome> = seen.event.verdicts.iter().map(|it| it.outcome).collect();
            assert_eq!(outcomes, [Outcome::Conflict]);
            continue;
        };
        each_definition_rules(world, &seen, &identity.verdicts);
        for verdict in &identity.verdicts {
            let Some(definition) = verdict.definition.clone() else { continue };
            let is_copied = is_copied(world, &definition, &seen.event.name);
            let mut takers = takers.remove(&(seen.position, definition)).unwrap_or_default();
            let has_it =
                |it: SagaId| verdict.outcome == Outcome::Consumed && verdict.saga == Some(it);
            takers.retain(|it| !it.may_have_given_back || has_it(it.saga));
            let takers: Vec<SagaId> = takers.iter().map(|it| it.saga).collect();
            match verdict.outcome {
                Outcome::Consumed if is_copied => (),
                Outcome::Consumed => assert_eq!(Some(takers), verdict.saga.map(|it| vec![it])),
                _ => assert_eq!(takers, [], "{verdict:?}"),
            }
        }
    }
    let left: Vec<&(Position, String)> = takers.keys().collect();
    assert!(left.is_empty(), "a journal has an event that no verdict gives to it: {left:?}");
}

/// By the definition as it is when nothing is missing.
pub(crate) fn is_copied(world: &World, definition: &str, event: &str) -> bool {
    let whole = (world.kind.registries)().swap_remove(0);
    let declared = whole.get(definition).and_then(|it| it.declared(event));
    declared.is_some_and(|it| it.route == Route::Each)
}

fn takers(world: &World) -> Takers {
    let mut takers = Takers::new();
    for head in world.heads() {
        let journal = world.journal(head.id);
        let unseen = match fold(&journal).end {
            Some(_) => world.desk.unseen(head.id, &journal),
            None => BTreeSet::new(),
        };
        for (number, entry) in journal.iter().enumerate() {
            if let Fact::Received { event_at, step, .. } = &entry.fact
                && *event_at > 0
                && !is_given_back(&journal, number)
            {
                let may_have_given_back = unseen.contains(step);
                let taker = Taker { saga: head.id, may_have_given_back };
                takers.entry((*event_at, head.definition.clone())).or_default().push(taker);
            }
        }
    }
    takers
}

fn each_definition_rules(world: &World, seen: &Seen, verdicts: &[Verdict]) {
    let declaring = world.desk.registry().declaring(&seen.event.name);
    let is_decision =
        |it: &Definition| it.declared(&seen.event.name).is_some_and(|it| it.is_decision);
    let is_decided = declaring.iter().any(|it| is_decision(it));
    let hearing = declaring.iter().filter(|it| !is_decision(it)).map(|it| Some(it.name));
    // Of a decision the core says something as well, and those who hear hear only of what it made.
    let is_refused = verdicts.iter().any(|it| it.outcome == Outcome::Refused);
    let all = (is_decided || declaring.is_empty()).then_some(None);
    let expected: Vec<Option<&str>> =
        all.into_iter().chain(hearing.filter(|_| !is_refused)).collect();
    let given: Vec<Option<&str>> = verdicts.iter().map(|it| it.definition.as_deref()).collect();
    if world.was_cut {
        // A definition that was missing, and had no saga that held for it, did not see it; one
        // that is missing now may have seen it.
        assert!(given.is_sorted() && !given.is_empty(), "{given:?}");
    } else {
        assert_eq!(given, expected, "one verdict of each definition");
    }
}

/// A fact that was held when its saga was cancelled or terminated, or whose wait was closed by a
/// fact that was held before it, has gone back.
fn is_given_back(journal: &[Entry], number: usize) -> bool {
    match journal[number].turn {
        Turn::Held(_) => fold(journal).end.is_some(),
        Turn::Done { .. } => !fold(&journal[..number]).accepts(&journal[number].fact),
    }
}
