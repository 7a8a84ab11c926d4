use super::{handle::PLACE_BYTES, *};
use crate::telemetry::Telemetry;
use chassis::{
    db::{Db, DbOptions, Fault, Faults},
    http::Metrics,
};
use futures::FutureExt as _;
use saga_core::{
    abort::Abort,
    core::PAYLOAD_BYTES_MAX,
    ctx::Ctx,
    effect::RequestId,
    id::SagaId,
    input::{Action, Answered, Arrival, Role, Unreadable},
    journal::Fact,
    message::{Event, Request},
    payload::Payload,
    saga::{Declared, Saga, event, events},
    store::Store as _,
};
use std::{
    collections::BTreeMap,
    sync::{atomic::Ordering, mpsc as blocking},
    time::{Duration, Instant},
};

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
async fn a_flood_of_events_leaves_room_for_questions_which_are_refused_beyond_theirs() {
    let rig = rig().await;
    let (go, held) = blocking::channel::<()>();
    let handle = rig.engine.handle.clone();
    let holding = tokio::spawn(async move { handle.read(move |_| held.recv().is_ok()).await });
    let mut rooms = Vec::new();
    let is_full = loop {
        match tokio::time::timeout(Duration::from_millis(200), rig.engine.handle.room()).await {
            Ok(room) => rooms.push(room.expect("there is room")),
            Err(_) => break rooms.len() == EVENTS_MAX,
        }
    };
    assert!(is_full, "{} places", rooms.len());
    let mut asked = 0;
    let refused = loop {
        // Polled once, a question is in the inbox or refused.
        match rig.engine.handle.read(|core| core.store().position()).now_or_never() {
            Some(refused) => break refused,
            None => asked += 1,
        }
    };
    assert_eq!(refused, Err(Busy::Full));
    assert!((DOOR_WORK_MAX - 1..=DOOR_WORK_MAX).contains(&asked), "{asked} questions");
    let problem = crate::door::busy(Busy::Full);
    assert_eq!(problem.status(), 503);
    drop((rooms, go));
    holding.await.expect("no panic").expect("it is read");
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

#[tokio::test]
async fn an_event_of_one_group_waits_for_one_of_another_however_many_wait() {
    let rig = rig_with(races()).await;
    let handle = &rig.engine.handle;
    let (let_go, holding) = hold(handle).await;
    let handled = Arc::new(AtomicU64::new(0));
    let mut settled = Vec::new();
    let count = |number: usize| {
        let (settle, is_settled) = oneshot::channel();
        let handled = handled.clone();
        let count = move |_| {
            let _gone = settle.send(handled.fetch_add(1, Ordering::Relaxed));
        };
        let input = match number {
            0 => Input::Arrived(off("e1")),
            _ => message(&format!("m{number}")),
        };
        (input, Box::new(count) as Settled, is_settled)
    };
    for number in (0..EVENTS_MAX).rev() {
        let (input, settle, is_settled) = count(number);
        handle.room().await.expect("there is room").event(input, settle);
        settled.push(is_settled);
    }
    drop(let_go);
    let last = settled.pop().expect("it was given").await.expect("it is settled");
    assert_eq!(last, 1, "it came last, and one went before it");
    for (number, it) in settled.into_iter().enumerate() {
        let before = if number == 0 { 0 } else { number as u64 + 1 };
        assert_eq!(it.await, Ok(before), "the others in their order");
    }
    holding.await.expect("no panic").expect("it is read");
}

#[tokio::test]
async fn whoever_brings_few_finds_a_place_when_others_have_all_of_theirs() {
    let rig = rig_with(races()).await;
    let handle = &rig.engine.handle;
    let (let_go, holding) = hold(handle).await;
    let handled = Arc::new(AtomicU64::new(0));
    let counted = || {
        let (settle, is_settled) = oneshot::channel();
        let handled = handled.clone();
        let count = move |_| {
            let _gone = settle.send(handled.fetch_add(1, Ordering::Relaxed));
        };
        (Box::new(count) as Settled, is_settled)
    };
    let groups = handle.groups();
    let [many, few] = ["a.trigger.b", "parcels.trigger.off"].map(|it| groups.of_event(it));
    let mut given = 0;
    // It has all places that anybody may take, and those of its group.
    let shared = || {
        let room = tokio::task::unconstrained(handle.room()).now_or_never();
        room.map(|it| it.expect("the engine goes on"))
    };
    while let Some(room) = handle.own_room(many, 100).or_else(shared) {
        given += 1;
        room.event(message(&format!("m{given}")), counted().0);
    }
    assert_eq!(given, EVENTS_MAX + OWN_EVENTS_MAX);
    assert!(handle.own_room(few, PLACE_BYTES + 1).is_none(), "a large one waits in its line");
    let mut settled = Vec::new();
    while let Some(room) = handle.own_room(few, 100) {
        let (settle, is_settled) = counted();
        room.event(Input::Arrived(off(&format!("e{}", settled.len()))), settle);
        settled.push(is_settled);
    }
    assert_eq!(settled.len(), OWN_EVENTS_MAX);
    drop(let_go);
    for (number, it) in (1..).zip(settled) {
        let before = it.await.expect("it is settled");
        assert!(before <= number * 2, "{before} were handled before its event {number}");
    }
    holding.await.expect("no panic").expect("it is read");
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

#[tokio::test]
async fn questions_do_not_keep_events_from_being_settled() {
    const QUESTIONS: usize = 200;
    let rig = rig().await;
    let handle = &rig.engine.handle;
    let (let_go, holding) = hold(handle).await;
    let (answering, answered) = watch::channel(0_usize);
    let slow = |_: usize| {
        let answering = answering.clone();
        handle.read(move |_| {
            // It takes the engine's time.
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(5) {
                std::hint::spin_loop();
            }
            answering.send_modify(|it| *it += 1);
            *answering.borrow()
        })
    };
    let mut questions = Box::pin(futures::future::join_all((0..QUESTIONS).map(slow)));
    assert!(questions.as_mut().now_or_never().is_none(), "all of them are asked");
    drop(let_go);
    answered.clone().wait_for(|it| *it > 0).await.expect("the first one is answered");
    give(handle, "m1").await.await.expect("it is settled");
    let before = *answered.borrow();
    assert!(before < QUESTIONS / 10, "{before} questions went before it");
    let expected: Vec<_> = (1..=QUESTIONS).map(Ok).collect();
    assert_eq!(questions.await, expected, "all are answered, in order");
    holding.await.expect("no panic").expect("it is read");
}

#[tokio::test]
async fn a_question_is_not_answered_when_its_asker_has_left() {
    let rig = rig().await;
    let handle = &rig.engine.handle;
    let (let_go, holding) = hold(handle).await;
    let asked = |_: usize| handle.read(|_| panic!("nobody waits for this"));
    let mut left = Box::pin(futures::future::join_all((0..10).map(asked)));
    assert!(left.as_mut().now_or_never().is_none(), "all of them are asked");
    drop(left);
    drop(let_go);
    holding.await.expect("no panic").expect("it is read");
    assert_eq!(handle.read(|core| core.store().position()).await, Ok(0), "it goes on");
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

/// A process over this directory, until it has done this; gives what its courier was told.
async fn process(
    dir: &std::path::Path,
    registry: Registry,
    act: impl AsyncFnOnce(&Handle),
) -> mpsc::UnboundedReceiver<Owed> {
    let db = Db::open(dir, DbOptions::default()).expect("the store opens");
    let (requests, owed) = mpsc::unbounded_channel();
    let metrics = Metrics::new();
    let outlets = Outlets {
        requests,
        publications: mpsc::unbounded_channel().0,
        telemetry: Telemetry::new(&metrics),
        feed: crate::feed::feed(chassis::shutdown::Shutdown::new(), &metrics).0,
    };
    let store = SledStore::new(db).expect("a search key");
    let engine = start(store, registry, Limits::default(), outlets, Oversight::nobody()).await;
    let engine = engine.expect("the engine starts");
    act(&engine.handle).await;
    engine.handle.stop().await;
    engine.ended.await.expect("it ends").expect("well");
    owed
}

#[tokio::test]
async fn a_call_that_a_start_abandons_is_not_asked_beside_its_undo() {
    let dir = tempfile::tempdir().expect("a directory");
    process(dir.path(), races(), async |handle| {
        let actor = Actor { name: "ann".into(), role: Role::Operator };
        let (key, input) = (Some("k1".into()), Payload::null());
        let command = Command::Start { definition: "races".into(), key, input };
        handle.ask(actor, command).await.expect("it goes on").expect("it starts");
    })
    .await;
    // Without the definition the event is kept; the start that has it again abandons the call.
    process(dir.path(), Registry::new("other"), async |handle| {
        let (settle, settled) = oneshot::channel();
        let room = handle.room().await.expect("there is room");
        room.event(Input::Arrived(off("e1")), Box::new(|it| drop(settle.send(it))));
        settled.await.expect("it is durable");
    })
    .await;
    let mut owed = process(dir.path(), races(), async |_| ()).await;
    let mut asked = std::collections::BTreeSet::new();
    while let Ok(it) = owed.try_recv() {
        match it {
            Owed::Recovered(_, request) | Owed::Send(_, request) => drop(asked.insert(request.id)),
            Owed::Forget(id) => drop(asked.remove(&id)),
            Owed::Hurry(_) => (),
        }
    }
    let asked: Vec<bool> = asked.into_iter().map(|it| it.is_undo).collect();
    assert_eq!(asked, [true], "its undo alone");
}

/// Told when money came.
#[derive(Clone, PartialEq, serde::Deserialize)]
struct Paid {}
impl Event for Paid {
    const SUBJECTS: &'static [&'static str] = &["parcels.trigger.paid"];
    const KEY: &'static str = "/key";
}

/// Calls that are open while a saga is paused: more than it is told of in two pieces.
const WRAPS: usize = 300;

/// Three rounds of money beside a call, and many calls beside all of that.
struct Rounds;
impl Saga for Rounds {
    const NAME: &'static str = "rounds";
    type Input = ();
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<Paid>()])
    }

    async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
        let parcel = |text: &str| ctx.call(Parcel { text: text.to_owned() });
        let rounds = async {
            for _ in 0..3 {
                ctx.race(ctx.when::<Paid>("k1").forever(), parcel("ship")).await?;
            }
            Ok::<_, Abort>(())
        };
        let wraps = (0..WRAPS).map(|_| parcel("wrap")).collect::<Vec<_>>();
        ctx.join(rounds, ctx.join_all(wraps)).await?;
        ctx.sleep(Duration::from_secs(9999)).await
    }
}

/// A process over a directory, which dies with a commit.
struct Mortal {
    engine: Engine,
    faults: Faults,
    owed: mpsc::UnboundedReceiver<Owed>,
}

impl Mortal {
    async fn over(dir: &std::path::Path) -> Mortal {
        let (faults, metrics) = (Faults::default(), Metrics::new());
        let options = DbOptions { faults: faults.clone(), ..DbOptions::default() };
        let db = Db::open(dir, options).expect("the store opens");
        let (requests, owed) = mpsc::unbounded_channel();
        let outlets = Outlets {
            requests,
            publications: mpsc::unbounded_channel().0,
            telemetry: Telemetry::new(&metrics),
            feed: crate::feed::feed(chassis::shutdown::Shutdown::new(), &metrics).0,
        };
        let mut registry = Registry::new("test");
        registry.register::<Rounds>(&()).expect("it can be registered");
        let store = SledStore::new(db).expect("a search key");
        let engine = start(store, registry, Limits::default(), outlets, Oversight::nobody()).await;
        Mortal { engine: engine.expect("the engine starts"), faults, owed }
    }

    async fn ask(&self, command: Command) -> Result<Answer, Busy> {
        let actor = Actor { name: "ann".into(), role: Role::Operator };
        self.engine.handle.ask(actor, command).await
    }

    async fn pay(&self, id: &str) -> oneshot::Receiver<Vec<Verdict>> {
        let body = Payload::from_text(r#"{"key":"k1"}"#).expect("JSON");
        let (name, source, key) = ("parcels.trigger.paid".into(), "bank".into(), None);
        let (id, at) = (id.to_owned(), Time(1));
        let input = Input::Arrived(Arrival { ticket: 0, name, id, source, key, body, at });
        let (settle, settled) = oneshot::channel();
        let room = self.engine.handle.room().await.expect("there is room");
        room.event(input, Box::new(|verdicts| drop(settle.send(verdicts))));
        settled
    }

    /// What happened to the saga, once there are so many entries of its journal.
    async fn facts(&self, saga: SagaId, entries: usize) -> Vec<Fact> {
        loop {
            let journal = self.engine.handle.read(move |core| core.journal(saga)).await;
            let journal = journal.expect("it goes on").expect("it reads");
            if entries <= journal.len() {
                return journal.into_iter().map(|it| it.fact).collect();
            }
            tokio::task::yield_now().await;
        }
    }

    /// A paused saga for which answers and money are held: money that its code will not take where
    /// it came.
    async fn holds(&mut self) -> SagaId {
        let (key, input) = (Some("k1".into()), Payload::null());
        let command = Command::Start { definition: "rounds".into(), key, input };
        let answer = self.ask(command).await.expect("it goes on");
        let Ok(Reply::Accepted(saga)) = answer else { panic!("{answer:?}") };
        let mut asked = Vec::new();
        while asked.len() <= WRAPS {
            let Some(Owed::Send(_, request)) = self.owed.recv().await else { panic!("a call") };
            asked.push(request);
        }
        self.ask(moved(saga, Action::Pause)).await.expect("it goes on").expect("it pauses");
        asked.sort_by_key(|it| !it.body.text().contains("ship"));
        for request in asked {
            let (RequestId { saga, step, is_undo }, epoch) = (request.id, request.epoch);
            let answer = saga_core::input::Answer::Ok(Payload::null());
            let answered = Answered { saga, epoch, step, is_undo, answer };
            self.engine.handle.tell(Input::Answered(answered)).await.expect("it goes on");
        }
        self.facts(saga, WRAPS + 3).await;
        self.pay("m1").await.await.expect("it is settled");
        saga
    }
}

fn moved(saga: SagaId, action: Action) -> Command {
    Command::Move { saga, action, reason: "please".to_owned() }
}

/// It is resumed, and money comes while it is told what was held. Whichever commit the process
/// dies with, before it is durable or after that, the next one goes on as if nothing had been.
#[tokio::test]
async fn a_death_while_a_saga_is_told_what_was_held_loses_nothing_and_lets_nothing_overtake() {
    for fault in [Fault::Apply, Fault::Sidecar] {
        let mut died = 0;
        loop {
            let dir = tempfile::tempdir().expect("a directory");
            let mut first = Mortal::over(dir.path()).await;
            let saga = first.holds().await;
            let (let_go, holding) = hold(&first.engine.handle).await;
            let mut resumed = Box::pin(first.ask(moved(saga, Action::Resume)));
            assert!(resumed.as_mut().now_or_never().is_none(), "the engine is held");
            let settled = first.pay("m2").await;
            first.faults.plan(fault, died);
            drop(let_go);
            let is_resumed = resumed.await.is_ok();
            let is_settled = settled.await.is_ok();
            let _gone = holding.await.expect("no panic");
            if is_settled {
                break;
            }
            died += 1;
            first.engine.ended.await.expect("it says how it ends").expect_err("it died");
            let second = Mortal::over(dir.path()).await;
            if !is_resumed {
                // Whoever got no answer asks again.
                let _was_resumed = second.ask(moved(saga, Action::Resume)).await;
            }
            second.pay("m2").await.await.expect("it is settled");
            let facts = second.facts(saga, WRAPS + 7).await;
            let behind = facts.iter().skip_while(|it| !matches!(it, Fact::Resumed { .. }));
            let money = behind.filter_map(|it| match it {
                Fact::Received { event_id, .. } => Some(event_id.as_str()),
                _ => None,
            });
            assert_eq!(money.collect::<Vec<_>>(), ["m1", "m2"], "{fault:?}, commit {died}");
            second.engine.handle.stop().await;
            second.engine.ended.await.expect("it ends").expect("well");
        }
        assert!(3 <= died, "{fault:?}: it was told in {died} commits");
    }
}
