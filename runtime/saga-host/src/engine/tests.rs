use super::*;
use crate::telemetry::Telemetry;
use chassis::{
    db::{Db, DbOptions, Fault, Faults},
    http::Metrics,
};
use saga_core::{
    abort::Abort,
    core::PAYLOAD_BYTES_MAX,
    ctx::Ctx,
    input::{Arrival, Role, Unreadable},
    message::{Event, Request},
    payload::Payload,
    saga::{Declared, Saga, event, events},
    store::Store as _,
};
use std::{collections::BTreeMap, sync::mpsc as blocking, time::Duration};

mod deaths;
mod places;

struct Rig {
    engine: Engine,
    faults: Faults,
    metrics: Metrics,
    _dir: tempfile::TempDir,
}

async fn rig() -> Rig {
    rig_with(Registry::new("test")).await
}

async fn rig_with(registry: Registry) -> Rig {
    let dir = tempfile::tempdir().expect("a directory");
    let (faults, metrics) = (Faults::default(), Metrics::new());
    let options = DbOptions { faults: faults.clone(), ..DbOptions::default() };
    let db = Db::open(dir.path(), options).expect("the store opens");
    let outlets = Outlets {
        requests: mpsc::unbounded_channel().0,
        publications: mpsc::unbounded_channel().0,
        telemetry: Telemetry::new(&metrics),
        feed: crate::feed::feed(chassis::shutdown::Shutdown::new(), &metrics).0,
    };
    let store = SledStore::new(db).expect("a search key");
    let engine = start(store, registry, Limits::default(), outlets, Oversight::nobody()).await;
    Rig { engine: engine.expect("the engine starts"), faults, metrics, _dir: dir }
}

/// Every message that is no event is a record, so it needs a commit.
fn message(id: &str) -> Input {
    let (name, body, reason) = ("a.trigger.b".into(), "x".into(), "a test".into());
    Input::Unreadable(Unreadable {
        ticket: 0,
        name,
        id: id.into(),
        body,
        is_base64: false,
        headers: BTreeMap::new(),
        published_at: Time(0),
        reason,
    })
}

async fn give(handle: &Handle, id: &str) -> oneshot::Receiver<Vec<Verdict>> {
    let (settle, settled) = oneshot::channel();
    let room = handle.room().await.expect("there is room");
    room.event(message(id), Box::new(|verdicts| drop(settle.send(verdicts))));
    settled
}

#[tokio::test]
async fn what_is_settled_is_durable_and_is_there_for_a_read_that_stood_behind_it() {
    let rig = rig().await;
    let settled = give(&rig.engine.handle, "m1").await;
    let position = rig.engine.handle.read(|core| core.store().position()).await;
    assert_eq!(position, Ok(1));
    assert_eq!(settled.await.expect("it is settled").len(), 1);
}

#[tokio::test]
async fn nothing_leaves_when_the_batch_is_not_durable_and_the_engine_ends() {
    for fault in [Fault::Apply, Fault::Flush, Fault::Sync, Fault::Sidecar] {
        let mut rig = rig().await;
        rig.faults.plan(fault, 0);
        let settled = give(&rig.engine.handle, "m1").await;
        let ended = (&mut rig.engine.ended).await.expect("the thread says how it ends");
        assert!(matches!(ended, Err(EngineError::Store(_))), "{fault:?}");
        assert!(settled.await.is_err(), "{fault:?}: an event was settled");
        let handle = &rig.engine.handle;
        assert_eq!(handle.read(|core| core.store().position()).await, Err(Busy::Stopped));
        assert_eq!(handle.tick(Time::NEVER).await, Err(Busy::Stopped));
    }
}

#[tokio::test]
async fn what_comes_at_once_shares_one_commit() {
    let rig = rig().await;
    let handle = &rig.engine.handle;
    // The engine is held in a read until all has come.
    let (go, held) = blocking::channel::<()>();
    let holding = tokio::spawn({
        let handle = handle.clone();
        async move { handle.read(move |_| held.recv().is_ok()).await }
    });
    let mut settled = Vec::new();
    for number in 0..100 {
        settled.push(give(handle, &format!("m{number}")).await);
    }
    drop(go);
    holding.await.expect("no panic").expect("it is read");
    futures::future::join_all(settled).await;
    let text = rig.metrics.text().expect("metrics");
    let batches = text.lines().find_map(|it| it.strip_prefix("fermata_engine_batches_total "));
    let batches: u32 = batches.expect("a count").parse().expect("a number");
    assert!(batches <= 10, "{batches} commits for 100 messages that waited together");
}

#[tokio::test]
async fn a_stop_finishes_what_was_given_before() {
    let mut rig = rig().await;
    let settled = give(&rig.engine.handle, "m1").await;
    rig.engine.handle.stop().await;
    settled.await.expect("it is settled");
    let ended = (&mut rig.engine.ended).await.expect("the thread says how it ends");
    assert!(ended.is_ok());
}

fn off(id: &str) -> Arrival {
    let (name, source) = ("parcels.trigger.off".into(), "parcels".into());
    let body = Payload::from_text(r#"{"key":"k1"}"#).expect("JSON");
    Arrival { ticket: 0, name, id: id.into(), source, key: None, body, at: Time(1) }
}

/// Holds the engine in a question until the sender is dropped.
async fn hold(
    handle: &Handle,
) -> (blocking::Sender<()>, tokio::task::JoinHandle<Result<bool, Busy>>) {
    let (let_go, held) = blocking::channel::<()>();
    let (enter, entered) = oneshot::channel();
    let handle = handle.clone();
    let holding = tokio::spawn(async move {
        let held = move |_: &Core<SledStore>| {
            enter.send(()).expect("the test waits");
            held.recv().is_ok()
        };
        handle.read(held).await
    });
    entered.await.expect("the engine is held");
    (let_go, holding)
}

/// Asks for more in one turn than a record of the store holds.
struct Huge;

#[derive(Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Parcel {
    text: String,
}

impl Request for Parcel {
    const SUBJECT: &'static str = "parcels.wrap";
    type Reply = ();
}

impl Saga for Huge {
    const NAME: &'static str = "huge";
    type Input = ();
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        Vec::new()
    }

    async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
        let text = "x".repeat(PAYLOAD_BYTES_MAX - 100);
        ctx.join_all((0..12).map(|_| ctx.call(Parcel { text: text.clone() }))).await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_saga_that_asks_for_more_than_the_store_takes_is_held_and_ends_nothing_else() {
    let mut registry = Registry::new("test");
    registry.register::<Huge>(&()).expect("it can be registered");
    let rig = rig_with(registry).await;
    let actor = Actor { name: "ann".into(), role: Role::Operator };
    let (key, input) = (Some("k1".into()), Payload::null());
    let command = Command::Start { definition: "huge".into(), key, input };
    let answer = rig.engine.handle.ask(actor, command).await.expect("the engine goes on");
    let Ok(Reply::Accepted(saga)) = answer else { panic!("{answer:?}") };
    let head = rig.engine.handle.read(move |core| core.head(saga)).await.expect("it goes on");
    let head = head.expect("it reads").expect("a saga");
    assert!(head.reason.expect("a reason").contains("at once"), "what is wrong is said");
}

/// Told when somebody gives up.
#[derive(Clone, PartialEq, serde::Deserialize)]
struct Off {}
impl Event for Off {
    const SUBJECTS: &'static [&'static str] = &["parcels.trigger.off"];
    const KEY: &'static str = "/key";
}

/// Races a call against an event.
struct Races;
impl Saga for Races {
    const NAME: &'static str = "races";
    type Input = ();
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<Off>()])
    }

    async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
        let parcel = |text: &str| Parcel { text: text.to_owned() };
        let call = ctx.call(parcel("wrap")).undo(parcel("unwrap"));
        ctx.race(ctx.when::<Off>("k1").forever(), call).await?;
        ctx.sleep(Duration::from_secs(9999)).await
    }
}

fn races() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<Races>(&()).expect("it can be registered");
    registry
}
