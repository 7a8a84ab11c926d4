//! However much is there, one input and one scan are bounded: the engine's thread has others to
//! serve, and its memory is not the store's.

use super::{
    counting::Counting,
    fixtures::{DAY, saga},
};
use crate::{
    abort::Abort,
    core::{Core, Limits},
    ctx::Ctx,
    fold::Status,
    id::Time,
    input::{Action, Actor, Arrival, Command, Input, Role},
    message::Event,
    payload::Payload,
    saga::{Declared, Registry, Saga, event, events},
    store::{MemoryStore, Store},
};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

const SAGAS: u64 = 1_500;

saga!(Sleeper(ctx) -> () { ctx.sleep(DAY).await });

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Rang {}
impl Event for Rang {
    const SUBJECTS: &'static [&'static str] = &["door.rang"];
    const KEY: &'static str = "/door";
}

/// Starts when somebody rings.
struct Opens;
impl Saga for Opens {
    const NAME: &'static str = "Opens";
    type Input = Rang;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Rang>().starts()])
    }
    async fn run(ctx: Ctx, _: Rang) -> Result<(), Abort> {
        ctx.sleep(DAY).await
    }
}

fn open(store: Counting, registry: Registry, at: Time) -> Core<Counting> {
    Core::open(store, registry, Limits::default(), at).unwrap()
}

fn sleepers() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<Sleeper>(&()).unwrap();
    registry
}

fn asleep() -> Core<Counting> {
    let store = Counting::over(MemoryStore::new(Uuid::from_u128(7)));
    let mut core = open(store, sleepers(), Time(0));
    for number in 0..SAGAS {
        let actor = Actor { name: "ann".to_owned(), role: Role::Operator };
        let (definition, key) = ("Sleeper".to_owned(), Some(format!("k{number}")));
        let command = Command::Start { definition, key, input: Payload::null() };
        core.handle(Time(1_000), Input::Asked { ticket: number, actor, command }).unwrap();
    }
    core.commit().unwrap();
    core
}

#[test]
fn a_night_of_deadlines_fires_in_many_batches() {
    let mut core = asleep();
    let now = Time(1_000).after(2 * DAY);
    let mut ticks = 0;
    while core.next_due().is_some() {
        core.handle(now, Input::tick(now)).unwrap();
        assert!(core.batch_rows() <= 2_000, "{} rows in one batch", core.batch_rows());
        core.commit().unwrap();
        ticks += 1;
    }
    assert!((4..=20).contains(&ticks), "{ticks} ticks");
    let query = crate::core::HeadQuery { limit: usize::MAX, ..Default::default() };
    let heads = core.heads(&query).unwrap();
    assert!(heads.iter().all(|it| it.status == Status::Completed));
}

#[test]
fn a_store_is_opened_piece_by_piece() {
    let core = asleep();
    let store = Counting::over(core.store().store.clone());
    let mut core = open(store, sleepers(), Time(2_000));
    assert!(core.store().rows_at_once() <= 500, "{} rows", core.store().rows_at_once());
    let saga =
        core.heads(&crate::core::HeadQuery { limit: 1, ..Default::default() }).unwrap()[0].id;
    let actor = Actor { name: "ann".to_owned(), role: Role::Operator };
    let command = Command::Move { saga, action: Action::Cancel, reason: "why".to_owned() };
    core.handle(Time(3_000), Input::Asked { ticket: 1, actor, command }).unwrap();
    core.commit().unwrap();
    assert_eq!(core.head(saga).unwrap().unwrap().status, Status::Cancelled, "all are there");
}

#[test]
fn events_that_waited_for_their_definition_are_taken_in_many_batches() {
    let mut core = asleep();
    for number in 0..SAGAS {
        let (name, source) = ("door.rang".to_owned(), "door".to_owned());
        let (id, body) = (format!("e{number}"), json!({ "door": format!("d{number}") }));
        let (key, at, body) = (None, Time(2_000), Payload::of(&body).unwrap());
        let arrival = Arrival { ticket: number, name, id, source, key, body, at };
        core.handle(Time(2_000), Input::Arrived(arrival)).unwrap();
    }
    core.commit().unwrap();
    let mut registry = sleepers();
    registry.register::<Opens>(&()).unwrap();
    let before = core.store().position();
    let mut core = open(Counting::over(core.store().store.clone()), registry, Time(3_000));
    core.commit().unwrap();
    let most = core.store().largest;
    assert!(most <= 5_000, "{most} rows and records in one batch");
    assert!(before + 2 * SAGAS <= core.store().position(), "all of them have started their sagas");
}
