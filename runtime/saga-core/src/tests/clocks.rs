//! A core that was opened by a clock that was ahead.

use super::{
    fixtures::{DAY, Reserve, saga},
    quarantine::operator,
};
use crate::{
    core::{Core, HeadQuery, Limits},
    effect::Effect,
    fold::Status,
    id::Time,
    input::{Command, Input},
    payload::Payload,
    saga::Registry,
    store::MemoryStore,
};
use uuid::Uuid;

const NOON: Time = Time(1_767_225_600_000);

saga!(Asks(ctx) -> () { Ok(ctx.call(Reserve::of("o1")).await?) });

fn open(store: MemoryStore, now: Time) -> Core<MemoryStore> {
    let mut registry = Registry::new("test");
    registry.register::<Asks>(&()).unwrap();
    Core::open(store, registry, Limits::default(), now).unwrap()
}

fn sends(effects: &[Effect]) -> usize {
    effects.iter().filter(|it| matches!(it, Effect::Send(_))).count()
}

fn asked() -> MemoryStore {
    let mut core = open(MemoryStore::new(Uuid::from_u128(7)), NOON);
    let (definition, key, input) = ("Asks".to_owned(), Some("k".to_owned()), Payload::null());
    let command = Command::Start { definition, key, input };
    core.handle(NOON, Input::Asked { ticket: 1, actor: operator(), command }).unwrap();
    assert_eq!(sends(&core.commit().unwrap()), 1);
    core.store().clone()
}

#[test]
fn a_clock_that_is_ahead_at_the_start_silences_no_call() {
    let mut core = open(asked(), NOON.after(40 * DAY));
    assert_eq!(sends(&core.commit().unwrap()), 0, "too old to be sent, it seems");
    let watermark = NOON.after(DAY / 1_000);
    for expected in [1, 0] {
        core.handle(watermark, Input::tick(watermark)).unwrap();
        assert_eq!(sends(&core.commit().unwrap()), expected, "once");
    }
}

#[test]
fn a_call_that_is_too_old_at_the_start_is_for_a_person_and_never_sent() {
    let now = NOON.after(40 * DAY);
    let mut core = open(asked(), now);
    core.commit().unwrap();
    core.handle(now, Input::tick(now)).unwrap();
    assert_eq!(sends(&core.commit().unwrap()), 0);
    let heads = core.heads(&HeadQuery { limit: 1, ..HeadQuery::default() }).unwrap();
    assert_eq!(heads[0].status, Status::Attention);
}
