//! A call and its undo with outside work, in any order and with anything that goes wrong between:
//! found by chance where `conformance` walks all orders of a few requests.

use super::*;
use crate::{Attempt, Begun, Call, Effect, Outcome, Service};
use chassis::db::{Db, DbOptions};
use futures::FutureExt;
use proptest::prelude::*;
use proto_schemas::{
    OrderId,
    payments::{CreateSession, Session, SessionStatus, SessionVoided, VoidSession},
};
use std::sync::Mutex;

/// What the provider does with the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Takes,
    Refuses,
    Away,
    /// It takes the request, and its answer gets lost.
    Mute,
}

/// Acts once per key, and repeats what it said to a known one.
#[derive(Default)]
struct Desk {
    /// By key: whether it was done, or refused.
    known: BTreeMap<String, bool>,
}

impl Desk {
    fn ask(&mut self, mood: Mood, attempt: &Attempt) -> Result<(), WorkError> {
        let failed = || Err(WorkError::Failed("no answer".to_owned()));
        let call = attempt.key.split('.').next().unwrap_or_default();
        let is_done = |key: &str, done: bool| done && key.split('.').next() == Some(call);
        if mood == Mood::Away {
            return failed();
        }
        // The look-up that goes before an operator's retry.
        if attempt.may_have_happened && self.known.iter().any(|(key, done)| is_done(key, *done)) {
            return Ok(());
        }
        let done = *self.known.entry(attempt.key.clone()).or_insert(mood != Mood::Refuses);
        match (mood, done) {
            (Mood::Mute, _) => failed(),
            (_, true) => Ok(()),
            (_, false) => Err(Rejection::new("refused", "the provider says no").into()),
        }
    }

    fn done(&self) -> usize {
        self.known.values().filter(|done| **done).count()
    }
}

struct World {
    mood: Mood,
    charges: Desk,
    refunds: Desk,
}

type Shared = Arc<Mutex<World>>;

struct Charge(Shared);
struct Refund(Shared);

impl Effect for Charge {
    type Request = CreateSession;
    type Intent = ();
    type Done = ();

    fn begin(&self, _: &mut Tx, _: &Call<CreateSession>) -> Outcome<Begun<(), Session>> {
        Ok(Begun::Work(()))
    }

    async fn work(&self, (): (), attempt: Attempt) -> Result<(), WorkError> {
        let mut world = self.0.lock().unwrap();
        let mood = world.mood;
        world.charges.ask(mood, &attempt)
    }

    fn finish(
        &self,
        tx: &mut Tx,
        _: &Call<CreateSession>,
        (): (),
        done: Result<(), Rejection>,
    ) -> Outcome<Session> {
        done?;
        tx.put_json("charged", &true)?;
        Ok(Session { session_id: "cs".to_owned(), url: None, expires_at: None })
    }
}

impl Effect for Refund {
    type Request = VoidSession;
    type Intent = ();
    type Done = ();

    fn begin(&self, tx: &mut Tx, _: &Call<VoidSession>) -> Outcome<Begun<(), SessionVoided>> {
        assert!(tx.get(b"charged")?.is_some(), "an undo of what was not done");
        Ok(Begun::Work(()))
    }

    async fn work(&self, (): (), attempt: Attempt) -> Result<(), WorkError> {
        let mut world = self.0.lock().unwrap();
        let mood = world.mood;
        world.refunds.ask(mood, &attempt)
    }

    fn finish(
        &self,
        tx: &mut Tx,
        call: &Call<VoidSession>,
        (): (),
        done: Result<(), Rejection>,
    ) -> Outcome<SessionVoided> {
        done?;
        tx.delete("charged");
        let order_id = call.body.order_id.clone();
        Ok(SessionVoided { order_id, status: Some(SessionStatus::Expired) })
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Call(u32),
    Undo(u32),
    /// One run of outside work ends, and is heard of.
    Work(usize, Mood),
    /// As above, and the process dies before it hears of it.
    WorkUnheard(usize, Mood),
    Pause(usize),
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mood = prop_oneof![
        3 => Just(Mood::Takes),
        2 => Just(Mood::Refuses),
        1 => Just(Mood::Away),
        2 => Just(Mood::Mute),
    ];
    let step = prop_oneof![
        3 => (1..=2_u32).prop_map(Step::Call),
        3 => (1..=2_u32).prop_map(Step::Undo),
        5 => (0..4_usize, mood.clone()).prop_map(|(at, mood)| Step::Work(at, mood)),
        1 => (0..4_usize, mood).prop_map(|(at, mood)| Step::WorkUnheard(at, mood)),
        1 => (0..4_usize).prop_map(Step::Pause),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..25)
}

/// One process after the other, over one transaction that is never committed: a crash takes the
/// memory, and what was in the transaction counts as committed.
struct Run {
    tx: Tx,
    core: Core,
    world: Shared,
    working: Vec<(String, Working)>,
    pausing: Vec<String>,
    asked: Vec<(bool, oneshot::Receiver<Answer>)>,
    undone: bool,
    called: bool,
    undo_called: bool,
}

fn core(world: &Shared) -> Core {
    let service = Service::new("payment", "for this test");
    service.effect(Charge(Arc::clone(world))).effect(Refund(Arc::clone(world))).into_core()
}

impl Run {
    fn new(db: &Db) -> Run {
        let (charges, refunds) = (Desk::default(), Desk::default());
        let world = Arc::new(Mutex::new(World { mood: Mood::Takes, charges, refunds }));
        Run {
            tx: Tx::over(db),
            core: core(&world),
            world,
            working: Vec::new(),
            pausing: Vec::new(),
            asked: Vec::new(),
            undone: false,
            called: false,
            undo_called: false,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Call(class) => self.ask(false, class),
            Step::Undo(class) => self.ask(true, class),
            Step::Work(at, mood) => {
                if let Some((key, done)) = self.end_work(at, mood) {
                    self.feed(Input::Worked { key, done });
                }
            }
            Step::WorkUnheard(at, mood) => {
                self.end_work(at, mood);
                self.crash();
            }
            Step::Pause(at) => {
                if !self.pausing.is_empty() {
                    let key = self.pausing.swap_remove(at % self.pausing.len());
                    self.feed(Input::Retry { key });
                }
            }
            Step::Crash => self.crash(),
        }
        self.check();
    }

    fn ask(&mut self, is_undo: bool, attempt_class: u32) {
        let order_id: OrderId = "ORD-1".parse().unwrap();
        let (subject, body) = if is_undo {
            ("payments.void-session", serde_json::json!({ "orderId": order_id }))
        } else {
            let amount = serde_json::json!({
                "orderId": order_id, "amount": "10.00", "currency": "USD",
            });
            ("payments.create-session", amount)
        };
        self.called |= !is_undo;
        self.undo_called |= is_undo;
        let request = Request {
            subject: subject.to_owned(),
            body: body.to_string(),
            key: Some(if is_undo { "k/undo" } else { "k" }.to_owned()),
            undo_of: is_undo.then(|| "k".to_owned()),
            abort_kind: None,
            abort_reason: None,
            attempt_class,
            began: None,
        };
        let (reply, answer) = oneshot::channel();
        self.asked.push((is_undo, answer));
        self.feed(Input::Request { request, reply });
    }

    fn end_work(&mut self, at: usize, mood: Mood) -> Option<(String, Result<Done, WorkError>)> {
        let at = at % self.working.len().max(1);
        let (key, working) = (at < self.working.len()).then(|| self.working.swap_remove(at))?;
        self.world.lock().unwrap().mood = mood;
        Some((key, working.now_or_never().expect("the work waits for nothing")))
    }

    fn crash(&mut self) {
        self.working.clear();
        self.pausing.clear();
        self.asked.clear();
        self.core = core(&self.world);
        self.feed(Input::Resume);
    }

    fn feed(&mut self, input: Input) {
        let mut outputs = Vec::new();
        let now = DateTime::UNIX_EPOCH;
        self.core.handle(&mut self.tx, input, now, &mut outputs).expect("the rows read");
        for output in outputs {
            match output {
                // Nobody listens any more after a crash.
                Output::Answer { reply, answer, .. } => drop(reply.send(answer)),
                Output::Work { key, working, .. } => {
                    let is_running = self.working.iter().any(|(other, _)| *other == key);
                    assert!(!is_running, "two runs of {key} at the same time");
                    self.working.push((key, working));
                }
                Output::RetryLater { key, .. } => self.pausing.push(key),
                _ => panic!("nothing else is owed"),
            }
        }
        for (is_undo, mut answer) in std::mem::take(&mut self.asked) {
            match answer.try_recv() {
                Ok(answer) => self.judge(is_undo, &answer),
                Err(_) => self.asked.push((is_undo, answer)),
            }
        }
    }

    fn judge(&mut self, is_undo: bool, answer: &Answer) {
        let world = self.world.lock().unwrap();
        let (charges, refunds) = (world.charges.done(), world.refunds.done());
        match (is_undo, answer) {
            (true, Answer::Ok { .. }) => {
                assert_eq!(charges, refunds, "the undo left something behind");
                self.undone = true;
            }
            (false, Answer::Ok { .. }) => {
                assert_eq!(charges, 1, "the call did nothing");
                assert!(!self.undone, "the call was done after its undo");
            }
            _ => (),
        }
    }

    fn check(&self) {
        let world = self.world.lock().unwrap();
        let (charges, refunds) = (world.charges.done(), world.refunds.done());
        assert!(charges <= 1 && refunds <= charges, "{charges} charges, {refunds} refunds");
        assert!(!self.undone || charges == refunds, "a charge after the undo");
    }

    /// Nothing goes wrong any more, and an operator presses the button: everything comes to an end.
    fn settle(&mut self) {
        for _ in 0..8 {
            if self.undo_called {
                self.ask(true, 3);
            }
            if self.called {
                self.ask(false, 3);
            }
            while !self.working.is_empty() {
                self.step(Step::Work(0, Mood::Takes));
            }
            self.step(Step::Pause(0));
        }
        assert!(self.asked.is_empty(), "somebody has no answer");
        assert!(!self.undo_called || self.undone, "the undo did not succeed");
        let world = self.world.lock().unwrap();
        let expected = usize::from(self.called && !self.undo_called);
        let (charges, refunds) = (world.charges.done(), world.refunds.done());
        assert_eq!(charges - refunds, expected, "{charges} charges, {refunds} refunds");
    }
}

#[test]
fn in_any_order_a_call_acts_once_and_its_undo_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), DbOptions::default()).unwrap();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) };
    proptest!(config, |(steps in steps())| {
        let mut run = Run::new(&db);
        for step in steps {
            run.step(step);
        }
        run.settle();
    });
}
