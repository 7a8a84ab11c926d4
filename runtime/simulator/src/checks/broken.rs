//! Services that are silent and subjects that the broker refuses: what does not need them goes on,
//! and a person hears of what does.

use crate::world::World;
use saga_core::{
    fold::{Status, Undo, fold},
    head::Head,
    id::Time,
};

const HOUR_MS: u64 = 3_600_000;

/// Rating begins before anything else is done for a sale. When it has lost its race nothing waits
/// for its undo; when it has won, only what was decided before it does.
pub(crate) fn holds_up_nothing_else(world: &World) {
    if !world.silent.iter().all(|it| it.starts_with("risk.")) {
        return;
    }
    for head in open(world) {
        let owed = fold(&world.journal(head.id)).owed;
        let is_silent = |it: &Undo| world.silent.contains(&it.command.subject);
        let holds = |it: &Undo| it.failed.is_some() || is_silent(it) && it.lost_with.is_none();
        if owed.iter().any(holds) {
            continue;
        }
        let left = owed.iter().find(|it| !is_silent(it));
        assert!(left.is_none(), "{} still owes {:?}", head.id, left);
    }
}

/// Whatever a saga cannot get undone or published is seen by a person within an hour.
pub(crate) fn needs_a_person(world: &World) {
    let is_old = |since: Time| since.after_ms(HOUR_MS) <= world.desk.now();
    for head in open(world).filter(|it| it.status != Status::Attention) {
        let state = fold(&world.journal(head.id));
        let undo = state.owed.iter().find(|it| it.is_asked && is_old(it.limit_from));
        assert!(undo.is_none(), "{} is {:?} and owes {undo:?}", head.id, head.status);
        let event = state.publishes.iter().find(|it| is_old(it.limit_from));
        assert!(event.is_none(), "{} is {:?} and publishes {event:?}", head.id, head.status);
    }
}

fn open(world: &World) -> impl Iterator<Item = Head> {
    world.heads().into_iter().filter(|it| !it.status.is_ended())
}
