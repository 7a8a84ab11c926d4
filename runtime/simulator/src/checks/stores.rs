//! A store was restored, or another one had its place: nothing is lost that publishers have told,
//! and nothing is taken for what it is not.

use crate::world::World;
use std::collections::BTreeSet;

/// In the end the first store has all that publishers have told, whichever store had receipted it.
pub(crate) fn know_what_was_told(world: &World) {
    let seen: BTreeSet<String> = world.desk.events().into_iter().map(|it| it.event.id).collect();
    let lost = world.stores.outbox.all().find(|it| !seen.contains(*it));
    assert_eq!(lost, None, "its publisher has a receipt for it");
}

/// Under its id a saga asks, and is remembered by services: no other one may have the same.
pub(crate) fn name_each_saga_once(world: &World) {
    for head in world.heads() {
        let Some(before) = world.stores.begun.get(&head.id) else { continue };
        assert_eq!(world.journal(head.id)[0].fact, *before, "two sagas are {}", head.id);
    }
}
