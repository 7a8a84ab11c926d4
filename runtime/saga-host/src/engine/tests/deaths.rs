//! Processes that end, and what the next one over their directory makes of it.

use super::*;
use futures::FutureExt as _;
use saga_core::{
    effect::RequestId,
    id::SagaId,
    input::{Action, Answered},
    journal::Fact,
};

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
