//! A decision that was accepted is what the code sees: all of them, in order, and no other.

use crate::world::World;
use saga_core::{fold::Status, id::SagaId, journal::Fact};

/// The definitions whose output is who decided.
const ASKING: [&str; 2] = ["four eyes", "hurry"];

pub(crate) fn are_seen(world: &World) {
    for head in world.heads() {
        if !ASKING.contains(&head.definition.as_str()) || head.status != Status::Completed {
            continue;
        }
        let output = head.output.as_ref().map(saga_core::payload::Payload::to_value);
        assert_eq!(output, Some(accepted(world, head.id).into()), "saga {}", head.id);
    }
}

/// What is announced was decided: nobody hears of a decision that the core did not make.
pub(crate) fn are_not_forged(world: &World) {
    for head in world.heads().iter().filter(|it| it.definition == "a hears") {
        let journal = world.journal(head.id);
        let Fact::Started(start) = &journal[0].fact else { panic!("a start comes first") };
        let by = start.input.to_value()["by"].clone();
        let is_made = world.decided.iter().any(|it| by == it.by.as_str());
        assert!(is_made, "{} was started by a decision of {by}", head.id);
    }
}

fn accepted(world: &World, saga: SagaId) -> Vec<String> {
    let of_saga = world.decided.iter().filter(|it| it.saga == saga);
    of_saga.map(|it| it.by.clone()).collect()
}
