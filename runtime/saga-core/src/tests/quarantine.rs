//! Code that ended processes: found again by what stays the same, quarantined, and tried again when
//! a person says so. The deaths are told, as a host tells them after a start.

use super::fixtures::{Order, shop};
use crate::{
    core::{Core, HeadQuery, Limits},
    effect::{Effect, Outcome},
    fold::Status,
    head::Head,
    id::{SagaId, Time},
    input::{Action, Actor, Answer, Answered, Arrival, Command, Input, Role},
    payload::Payload,
    saga::Saga,
    store::MemoryStore,
    watch::{Culprit, Interrupted, Running, Watch},
};
use serde_json::json;
use std::{borrow::Cow, sync::mpsc};
use uuid::Uuid;

struct Told(mpsc::Sender<String>);

impl Watch for Told {
    fn enters(&mut self, running: &Running<'_>) {
        let culprit = match &running.culprit {
            Culprit::Saga(_) => "saga",
            Culprit::Start => "start",
            Culprit::Event { .. } => "event",
        };
        self.0.send(format!("{culprit} {} {}", running.seq, running.step)).unwrap();
    }
    fn goes_on(&mut self) {
        self.0.send("goes on".to_owned()).unwrap();
    }
    fn leaves(&mut self) {
        self.0.send("leaves".to_owned()).unwrap();
    }
}

pub(super) fn operator() -> Actor {
    Actor { name: "ann".to_owned(), role: Role::Operator }
}

struct Rig {
    core: Core<MemoryStore>,
    deaths: u64,
    told: mpsc::Receiver<String>,
    effects: Vec<Effect>,
}

impl Rig {
    fn new() -> Rig {
        Rig::open(MemoryStore::new(Uuid::from_u128(7)), 0, None)
    }

    fn open(store: MemoryStore, deaths: u64, interrupted: Option<Interrupted>) -> Rig {
        let (tell, told) = mpsc::channel();
        let (limits, watch) = (Limits::default(), Box::new(Told(tell)));
        let core = Core::open_watched(store, shop(), limits, Time(9), watch, interrupted);
        let mut rig = Rig { core: core.unwrap(), deaths, told, effects: Vec::new() };
        rig.effects = rig.core.commit().unwrap();
        rig
    }

    /// The process ends in this code, and another one begins.
    fn dies_in(self, running: Running<'static>) -> Rig {
        let deaths = self.deaths + 1;
        let interrupted = Interrupted { process: deaths, running, blocked: true, at: Time(8) };
        Rig::open(self.core.store().clone(), deaths, Some(interrupted))
    }

    fn restarts(self) -> Rig {
        Rig::open(self.core.store().clone(), self.deaths, None)
    }

    fn input(&mut self, input: Input) -> &[Effect] {
        self.core.handle(Time(10), input).unwrap();
        self.effects = self.core.commit().unwrap();
        &self.effects
    }

    fn placed(&mut self, order: &str) -> (Outcome, Option<String>) {
        let (name, source, key) = ("shop.placed".to_owned(), "shop".to_owned(), None);
        let (id, body) = (format!("placed-{order}"), json!({ "order": order }));
        let body = Payload::of(&body).unwrap();
        let arrival = Arrival { ticket: 1, name, id, source, key, body, at: Time(10) };
        let effects = self.input(Input::Arrived(arrival));
        let verdicts = effects.iter().find_map(|it| match it {
            Effect::Ack { verdicts, .. } => Some(verdicts[0].clone()),
            _ => None,
        });
        verdicts.map(|it| (it.outcome, it.detail)).unwrap()
    }

    fn reply(&mut self, saga: SagaId) {
        let head = self.core.head(saga).unwrap().unwrap();
        let (step, body) = (head.calls[0].step.clone(), Payload::null());
        let (is_undo, answer) = (false, Answer::Ok(body));
        self.input(Input::Answered(Answered { saga, epoch: 0, step, is_undo, answer }));
    }

    fn moved(&mut self, saga: SagaId, action: Action) {
        let actor = operator();
        let command = Command::Move { saga, action, reason: "why".to_owned() };
        self.input(Input::Asked { ticket: 1, actor, command });
    }

    fn head(&self, key: &str) -> Head {
        let heads = self.core.heads(&HeadQuery { limit: 100, ..HeadQuery::default() }).unwrap();
        heads.into_iter().find(|it| it.key == key).unwrap()
    }

    fn told(&self) -> Vec<String> {
        self.told.try_iter().collect()
    }
}

fn running(culprit: Culprit<'static>, key: &str, step: &str) -> Running<'static> {
    Running {
        culprit,
        saga: None,
        definition: Cow::Borrowed(Order::NAME),
        key: Cow::Owned(key.to_owned()),
        seq: 1,
        step: Cow::Owned(step.to_owned()),
    }
}

fn turn(saga: SagaId, step: &str) -> Running<'static> {
    running(Culprit::Saga(saga), "o1", step)
}

fn is_held(head: &Head) -> bool {
    let reason = head.reason.as_deref().unwrap_or_default();
    head.status == Status::Attention && reason.contains("quarantined: at entry 1 its code blocked")
}

#[test]
fn who_watches_is_told_of_each_turn_each_replay_and_each_reading() {
    let mut rig = Rig::new();
    rig.placed("o1");
    let read = ["event 0 ", "leaves", "event 0 ", "leaves"];
    let started = ["start 0 ", "leaves"];
    assert_eq!(rig.told(), [&read[..], &started[..]].concat());
    let mut rig = rig.restarts();
    let saga = rig.head("o1").id;
    rig.reply(saga);
    let step = rig.head("o1").calls[0].step.as_str().to_owned();
    assert_eq!(rig.told(), ["saga 1 2", "goes on", "leaves"], "its start is replayed; {step}");
    rig.moved(saga, Action::Terminate);
    assert_eq!(rig.told(), ["saga 0 drop", "leaves"], "what its author does on drop");
}

#[test]
fn a_saga_that_ended_two_processes_is_held_by_every_later_one_until_a_retry() {
    let mut rig = Rig::new();
    rig.placed("o1");
    let saga = rig.head("o1").id;
    let rig = rig.dies_in(turn(saga, "2"));
    let mut rig = rig.dies_in(turn(saga, "2"));
    assert_eq!(rig.core.strikes(&turn(saga, "2")), 2);
    rig.placed("o2");
    rig.told();
    rig.reply(saga);
    assert!(is_held(&rig.head("o1")), "{:?}", rig.head("o1"));
    assert_eq!(rig.told(), Vec::<String>::new(), "nothing of it runs");
    let other = rig.head("o2").id;
    rig.reply(other);
    assert_eq!(rig.head("o2").status, Status::Running, "the others go on");
    let mut rig = rig.restarts();
    assert!(is_held(&rig.head("o1")), "durable");
    rig.moved(saga, Action::Retry);
    assert_eq!(rig.head("o1").status, Status::Running);
    let rig = rig.restarts();
    assert_eq!(rig.core.strikes(&turn(saga, "2")), 0, "as if nothing had happened");
}

#[test]
fn a_retry_that_ends_the_process_leaves_the_saga_held() {
    let mut rig = Rig::new();
    rig.placed("o1");
    let saga = rig.head("o1").id;
    let mut rig = rig.dies_in(turn(saga, "2")).dies_in(turn(saga, "2"));
    rig.reply(saga);
    let actor = operator();
    let command = Command::Move { saga, action: Action::Retry, reason: "why".to_owned() };
    // It dies before the batch is durable.
    rig.core.handle(Time(10), Input::Asked { ticket: 1, actor, command }).unwrap();
    let rig = rig.dies_in(turn(saga, "2"));
    assert!(is_held(&rig.head("o1")));
    assert_eq!(rig.core.strikes(&turn(saga, "2")), 3);
}

#[test]
fn a_death_by_chance_is_forgotten_when_what_was_under_way_is_done() {
    let mut rig = Rig::new();
    rig.placed("o1");
    let saga = rig.head("o1").id;
    let mut rig = rig.dies_in(turn(saga, "2"));
    rig.reply(saga);
    assert_eq!(rig.head("o1").status, Status::Running);
    assert_eq!(rig.core.strikes(&turn(saga, "2")), 0);
    let mut rig = rig.dies_in(turn(saga, "other"));
    rig.reply(saga);
    assert_eq!(rig.core.strikes(&turn(saga, "other")), 1, "something else was done");
    rig.moved(saga, Action::Terminate);
    assert_eq!(rig.core.strikes(&turn(saga, "other")), 0, "it has ended");
    assert_eq!(rig.restarts().core.strikes(&turn(saga, "other")), 0);
}

#[test]
fn one_death_counts_once_however_often_it_is_found() {
    let mut rig = Rig::new();
    rig.placed("o1");
    let saga = rig.head("o1").id;
    let mut rig = rig.dies_in(turn(saga, "2"));
    rig.deaths -= 1;
    let rig = rig.dies_in(turn(saga, "2"));
    assert_eq!(rig.core.strikes(&turn(saga, "2")), 1);
}

#[test]
fn a_start_that_ended_two_processes_becomes_a_saga_that_is_held() {
    let start = || running(Culprit::Start, "o1", "");
    let rig = Rig::new().dies_in(start());
    let mut rig = rig.dies_in(start());
    assert_eq!(rig.placed("o1").0, Outcome::Started, "the event has its verdict");
    assert!(is_held(&rig.head("o1")));
    assert_eq!(rig.placed("o1").0, Outcome::Duplicate);
    assert_eq!(rig.placed("o2").0, Outcome::Started);
    assert_eq!(rig.head("o2").status, Status::Running);
    let saga = rig.head("o1").id;
    let mut rig = rig.restarts();
    rig.moved(saga, Action::Retry);
    assert_eq!(rig.head("o1").status, Status::Running);
}

#[test]
fn an_event_whose_reading_ended_two_processes_is_a_dead_letter_until_it_is_offered_again() {
    let reading = || {
        let (name, source) = (Cow::Borrowed("shop.placed"), Cow::Borrowed("shop"));
        let culprit = Culprit::Event { name, source, id: Cow::Borrowed("placed-o1") };
        running(culprit, "", "")
    };
    let mut rig = Rig::new().dies_in(reading()).dies_in(reading());
    let (outcome, why) = rig.placed("o1");
    assert_eq!(outcome, Outcome::DeadLetter);
    assert!(why.as_deref().unwrap_or_default().starts_with("quarantined"), "{why:?}");
    assert_eq!(rig.placed("o2").0, Outcome::Started);
    let mut rig = rig.restarts();
    let actor = operator();
    let command = Command::Offer { position: 1, reason: "mended".to_owned(), reread: None };
    rig.input(Input::Asked { ticket: 1, actor, command });
    assert_eq!(rig.head("o1").status, Status::Running);
}

mod inputs_by_hand {
    use super::{MemoryStore, operator};
    use crate::{
        abort::Abort,
        core::{Core, Limits},
        ctx::Ctx,
        id::Time,
        input::{Command, Input},
        payload::Payload,
        saga::{Declared, Registry, Saga},
        watch::{Running, Watch},
    };
    use serde::{Deserialize, Deserializer, Serialize};
    use std::cell::{Cell, RefCell};
    use uuid::Uuid;

    thread_local! {
        static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
        static UNWATCHED: RefCell<usize> = const { RefCell::new(0) };
    }

    struct Eyes;
    impl Watch for Eyes {
        fn enters(&mut self, _: &Running<'_>) {
            IS_WATCHED.set(true);
        }
        fn goes_on(&mut self) {}
        fn leaves(&mut self) {
            IS_WATCHED.set(false);
        }
    }

    /// Its author reads it with code of their own, which may loop or overflow.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    struct Own;
    impl<'de> Deserialize<'de> for Own {
        fn deserialize<D: Deserializer<'de>>(of: D) -> Result<Own, D::Error> {
            if !IS_WATCHED.get() {
                UNWATCHED.with_borrow_mut(|it| *it += 1);
            }
            serde::de::IgnoredAny::deserialize(of).map(|_| Own)
        }
    }

    struct Reads;
    impl Saga for Reads {
        const NAME: &'static str = "Reads";
        type Input = Own;
        type Output = ();
        type Settings = ();
        fn events() -> Vec<Declared> {
            Vec::new()
        }
        async fn run(ctx: Ctx, _: Own) -> Result<(), Abort> {
            ctx.commit();
            Ok(())
        }
    }

    /// Were nobody to watch it, code that blocks would end no process, and the next start would not
    /// know whom to blame.
    #[test]
    fn what_reads_the_input_of_a_start_by_hand_is_watched() {
        let mut registry = Registry::new("test");
        registry.register::<Reads>(&()).unwrap();
        let store = MemoryStore::new(Uuid::from_u128(7));
        let (limits, watch) = (Limits::default(), Box::new(Eyes));
        let mut core = Core::open_watched(store, registry, limits, Time(9), watch, None).unwrap();
        let (definition, key) = ("Reads".to_owned(), Some("k".to_owned()));
        let input = Payload::of(&serde_json::Value::Null).unwrap();
        let command = Command::Start { definition, key, input };
        core.handle(Time(10), Input::Asked { ticket: 1, actor: operator(), command }).unwrap();
        core.commit().unwrap();
        UNWATCHED.with_borrow(|it| assert_eq!(*it, 0, "author code ran that nobody watched"));
    }
}
