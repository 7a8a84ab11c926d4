//! Shows that a call and its undo act once in whatever order they come, whatever crashes between.
//!
//! A service's tests describe a pair of procedures as a [`Pair`] and call [`check`]. It runs the
//! procedures as they are, over a real store but without a broker, through
//! - the six orders of call, repeated call, undo and repeated undo, and call with repeated call;
//! - with, after each request, nothing, outside work done, a crash before the outside work, or a
//!   crash after it and before its result was written down; in up to two of these places.
//!
//! After each it demands: the undo ends ok and leaves what [`Pair::observe`] shows as it was
//! before; the call was answered with one and the same reply, or, once it was undone, with the
//! rejection `undone`; without an undo the effect is that of one call.

#[cfg(feature = "conformance")]
pub mod door;
#[cfg(test)]
mod tests;

use crate::{
    core::{Core, Input, Output},
    procedure::Working,
    service::Service,
    wire::{Answer, Request},
};
use chassis::db::{Db, DbOptions, Tx};
use chrono::{DateTime, Utc};
use proto_schemas::Body;
use saga_core::message;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot::{self, error::TryRecvError};

/// A call and its undo, and a world in which to try them.
pub trait Pair {
    /// The call.
    type Call: message::Request + Body;
    /// What takes it back.
    type Undo: message::Request + Body;

    /// The service over this world; called again after each crash, as a new process would.
    fn service(&self) -> Service;
    /// Fills an empty store, so that the call succeeds.
    fn prepare(&self, tx: &mut Tx);
    /// The call.
    fn call(&self) -> Self::Call;
    /// Its undo.
    fn undo(&self) -> Self::Undo;
    /// The effects of a call, in the store and in the world outside: what is held, paid, sent. Not
    /// the traces that it may leave.
    fn observe(&self, db: &Db) -> Value;
}

/// Runs everything that the module describes. `fresh` makes a new world for each run.
///
/// # Panics
/// Something is not as it must be; the message names the order of events.
pub async fn check<P: Pair>(fresh: impl Fn() -> P) {
    let mut store = Store::new();
    let single = Run::new(fresh(), &mut store, vec![Step::Call], vec![Gap::Nothing]).play().await;
    let gaps = if single.has_worked { Gap::ALL.as_slice() } else { &Gap::ALL[..2] };
    for steps in [vec![Step::Call, Step::Call]].into_iter().chain(orders()) {
        for gaps in placed(gaps, steps.len()) {
            let is_undone = steps.contains(&Step::Undo);
            let run = Run::new(fresh(), &mut store, steps.clone(), gaps);
            let told = run.told();
            let end = run.play().await;
            let expected = if is_undone { &end.before } else { &single.after };
            assert_eq!(&end.after, expected, "the effects after {told}");
        }
    }
    other_body(fresh(), &mut store).await;
}

/// A known key with another body is refused and does nothing.
async fn other_body<P: Pair>(pair: P, store: &mut Store) {
    let mut run = Run::new(pair, store, vec![Step::Call], vec![Gap::Nothing]);
    run.request(Step::Call).await;
    let mut request = run.made(Step::Call);
    request.body = request.body.replacen('{', "{\"more\":1,", 1);
    let (reply, answer) = oneshot::channel();
    run.feed(Input::Request { request, reply }).await;
    let is_refused = answer.await.is_ok_and(|answer| match answer {
        Answer::Rejected { body, .. } => body.contains("key_reused"),
        Answer::Ok { .. } | Answer::Failed { .. } => false,
    });
    assert!(is_refused, "the key was taken with another body");
}

/// One store for all runs, because opening one takes longer than a run.
struct Store {
    dir: TempDir,
    /// Absent only while it is opened again.
    db: Option<Db>,
}

impl Store {
    fn new() -> Store {
        let dir = tempfile::tempdir().expect("a directory for the store");
        let db = Some(open(&dir));
        Store { dir, db }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("the store is open between two calls")
    }

    fn reopen(&mut self) {
        self.db = None;
        self.db = Some(open(&self.dir));
    }

    fn write(&self, tx: Tx) {
        let position = self.db().position() + 1;
        self.db().commit(tx.into_batch(), position).expect("the store commits");
    }

    /// Empties it and lets a pair prepare it.
    fn prepare(&self, pair: &impl Pair) {
        let mut tx = Tx::over(self.db());
        for (key, _) in self.db().scan(b"", None, usize::MAX).expect("the store reads") {
            tx.delete(key);
        }
        pair.prepare(&mut tx);
        self.write(tx);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Call,
    Undo,
}

/// What happens after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Nothing,
    /// The process dies before its outside work.
    Crash,
    /// Outside work ends and is written down.
    Work,
    /// Outside work has its effect, and the process dies before it is written down.
    WorkThenCrash,
}

impl Gap {
    const ALL: [Gap; 4] = [Gap::Nothing, Gap::Crash, Gap::Work, Gap::WorkThenCrash];
}

/// The six orders of two calls and two undos.
fn orders() -> impl Iterator<Item = Vec<Step>> {
    (0..16_u8).filter(|bits| bits.count_ones() == 2).map(|bits| {
        let step = |at: u8| if bits & (1 << at) == 0 { Step::Call } else { Step::Undo };
        (0..4).map(step).collect()
    })
}

/// All ways to place up to two of the gaps after `len` steps.
fn placed(gaps: &[Gap], len: usize) -> Vec<Vec<Gap>> {
    let mut all = vec![Vec::new()];
    for _ in 0..len {
        let longer = |placed: &Vec<Gap>| {
            let placed = placed.clone();
            gaps.iter().map(move |gap| [placed.as_slice(), &[*gap]].concat()).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(longer).collect();
        all.retain(|placed| placed.iter().filter(|gap| **gap != Gap::Nothing).count() <= 2);
    }
    all
}

/// One run.
struct Run<'s, P> {
    pair: P,
    store: &'s mut Store,
    core: Core,
    steps: Vec<Step>,
    gaps: Vec<Gap>,
    /// Outside work that was begun and has not run.
    working: Vec<(String, Working)>,
    /// Keys that come back after a pause.
    pausing: Vec<String>,
    /// Requests that wait for their answer.
    asked: Vec<(Step, oneshot::Receiver<Answer>)>,
    /// The first ok reply to the call.
    replied: Option<String>,
    /// Whether an undo has been asked for.
    undo_asked: bool,
    /// Whether an undo has been answered ok.
    is_undone: bool,
    /// Whether there was outside work at all.
    has_worked: bool,
    before: Value,
    now: DateTime<Utc>,
}

/// What is left of a run.
struct End {
    before: Value,
    after: Value,
    has_worked: bool,
}

const CALL_KEY: &str = "saga/0/1";
const UNDO_KEY: &str = "saga/0/1/undo";
/// Rounds in which whoever has no answer asks again; each makes progress.
const ROUNDS_MAX: usize = 10;

impl<P: Pair> Run<'_, P> {
    fn new(pair: P, store: &mut Store, steps: Vec<Step>, gaps: Vec<Gap>) -> Run<'_, P> {
        store.prepare(&pair);
        Run {
            before: pair.observe(store.db()),
            core: pair.service().into_core(),
            pair,
            store,
            steps,
            gaps,
            working: Vec::new(),
            pausing: Vec::new(),
            asked: Vec::new(),
            replied: None,
            undo_asked: false,
            is_undone: false,
            has_worked: false,
            now: DateTime::UNIX_EPOCH,
        }
    }

    /// Sends everything, then asks again until everything has its answer.
    async fn play(mut self) -> End {
        for (step, gap) in self.steps.clone().into_iter().zip(self.gaps.clone()) {
            self.request(step).await;
            match gap {
                Gap::Nothing => (),
                Gap::Crash => self.crash().await,
                Gap::Work => self.work().await,
                Gap::WorkThenCrash => {
                    for (_, working) in std::mem::take(&mut self.working) {
                        drop(working.await);
                    }
                    self.crash().await;
                }
            }
        }
        for step in [Step::Undo, Step::Call]
            .into_iter()
            .filter(|it| self.steps.contains(it))
            .collect::<Vec<_>>()
        {
            let mut rounds = 0;
            while !self.is_settled(step) {
                rounds += 1;
                assert!(rounds <= ROUNDS_MAX, "no end of {step:?} after {}", self.told());
                self.work().await;
                self.request(step).await;
            }
        }
        let after = self.pair.observe(self.store.db());
        End { before: self.before, after, has_worked: self.has_worked }
    }

    fn is_settled(&self, step: Step) -> bool {
        match step {
            Step::Undo => self.is_undone,
            Step::Call => self.is_undone || self.replied.is_some(),
        }
    }

    fn made(&self, step: Step) -> Request {
        let (subject, body) = match step {
            Step::Call => (<P::Call as message::Request>::SUBJECT, encoded(&self.pair.call())),
            Step::Undo => (<P::Undo as message::Request>::SUBJECT, encoded(&self.pair.undo())),
        };
        let is_undo = step == Step::Undo;
        Request {
            subject: subject.to_owned(),
            body,
            key: Some(if is_undo { UNDO_KEY } else { CALL_KEY }.to_owned()),
            undo_of: is_undo.then(|| CALL_KEY.to_owned()),
            abort_kind: None,
            abort_reason: None,
            attempt_class: 1,
            began: None,
        }
    }

    async fn request(&mut self, step: Step) {
        self.undo_asked |= step == Step::Undo;
        let request = self.made(step);
        let (reply, answer) = oneshot::channel();
        self.asked.push((step, answer));
        self.feed(Input::Request { request, reply }).await;
    }

    /// One input, one commit, and what it owes.
    async fn feed(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut tx = Tx::over(self.store.db());
            let mut outputs = Vec::new();
            self.core.handle(&mut tx, input, self.now, &mut outputs).expect("the rows read");
            self.store.write(tx);
            for output in outputs {
                match output {
                    Output::Answer { reply, answer, .. } => {
                        // Nobody waits any more after a crash.
                        drop(reply.send(answer));
                        self.read_answers();
                    }
                    Output::Work { key, working, .. } => self.working.push((key, working)),
                    Output::RetryLater { key, .. } => self.pausing.push(key),
                    Output::Release(release) => release(),
                    Output::Again(input) => inputs.push(input),
                    Output::Receipted(_) | Output::Owed(_) | Output::Object { .. } => (),
                }
            }
        }
    }

    /// Runs all outside work, and what becomes due by it.
    async fn work(&mut self) {
        for (key, working) in std::mem::take(&mut self.working) {
            self.has_worked = true;
            let done = working.await;
            self.feed(Input::Worked { key, done }).await;
        }
        for key in std::mem::take(&mut self.pausing) {
            self.feed(Input::Retry { key }).await;
        }
    }

    /// The process dies and starts again. What it had in memory is gone; the store is opened again
    /// in the runs with one crash only, because that takes time and has tests of its own.
    async fn crash(&mut self) {
        self.working.clear();
        self.pausing.clear();
        self.asked.clear();
        if self.gaps.iter().filter(|gap| **gap != Gap::Nothing).count() == 1 {
            self.store.reopen();
        }
        self.core = self.pair.service().into_core();
        self.feed(Input::Resume).await;
    }

    fn read_answers(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        for (step, mut receiver) in asked {
            match receiver.try_recv() {
                Ok(answer) => self.judge(step, answer),
                Err(TryRecvError::Empty) => self.asked.push((step, receiver)),
                Err(TryRecvError::Closed) => (),
            }
        }
    }

    fn judge(&mut self, step: Step, answer: Answer) {
        let told = self.told();
        match (step, answer) {
            (_, Answer::Failed { .. }) => (),
            (Step::Undo, Answer::Ok { .. }) => self.is_undone = true,
            (Step::Undo, Answer::Rejected { reason, .. }) => {
                panic!("the undo was rejected after {told}: {reason}")
            }
            (Step::Call, Answer::Ok { body }) => {
                assert!(!self.is_undone, "the call was done after its undo, after {told}");
                let first = self.replied.get_or_insert_with(|| body.clone());
                assert_eq!(first, &body, "two replies to the call after {told}");
            }
            (Step::Call, Answer::Rejected { body, reason, .. }) => {
                let is_fine = self.undo_asked && body.contains("\"undone\"");
                assert!(is_fine, "the call was rejected after {told}: {reason}");
            }
        }
    }

    fn told(&self) -> String {
        let told = self.steps.iter().zip(&self.gaps).map(|pair| format!("{pair:?}"));
        told.collect::<Vec<_>>().join(" ")
    }
}

fn open(dir: &TempDir) -> Db {
    let options = DbOptions { cache_bytes: 1 << 20, ..DbOptions::default() };
    Db::open(dir.path(), options).expect("the store opens")
}

fn encoded(body: &impl serde::Serialize) -> String {
    serde_json::to_string(body).expect("a request has a JSON form")
}
