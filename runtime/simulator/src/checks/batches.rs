//! The same inputs in other batches make the same store.

use crate::world::World;
use saga_core::{
    core::{Core, Limits},
    store::{MemoryStore, Store},
};

pub(crate) fn make_no_difference(world: &World, size: usize) {
    let inputs = world.desk.inputs();
    let store = MemoryStore::new(world.desk.store().instance());
    let opened_at = inputs.first().map_or(world.desk.now(), |it| it.0);
    let registry = world.desk.registry().clone();
    // Enough memory for all of them: what is cached makes no difference either.
    let Limits { wake_at_once, work_at_once, .. } = world.desk.limits();
    let limits = Limits { wake_at_once, work_at_once, ..Limits::default() };
    let core = Core::open(store, registry, limits, opened_at);
    let mut core = core.expect("a core opens");
    core.commit().expect("a memory store takes a batch");
    for batch in inputs.chunks(size) {
        for (now, input) in batch {
            core.handle(*now, input.clone()).expect("a memory store can be read");
        }
        core.commit().expect("a memory store takes a batch");
    }
    let (one, many) = (world.desk.store(), core.store());
    assert_eq!(one.read(0, usize::MAX), many.read(0, usize::MAX), "batches of {size}");
    assert!(one.all_rows().eq(many.all_rows()), "batches of {size}");
}
