//! What stands behind a `Ctx`: it names steps, compares or collects decisions, and keeps the state.

use crate::{
    abort::{Abort, Rejection},
    fold::State,
    id::{Path, Time},
    journal::{CloseMode, Decision, Ends, Fact},
    payload::{Payload, Same, same},
    replay::ReplayError,
    text::masked,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    rc::Rc,
    task::Poll,
};

/// How long the arms of a failed join may settle.
pub(crate) const SETTLE_MS: u64 = 30_000;

/// Tells whether a body is what a type reads.
pub(crate) type Reads = fn(&Payload) -> Result<(), String>;

#[derive(Clone, Default)]
pub(crate) struct Engine(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    state: State,
    /// How steps ended that the code has not looked at yet.
    outcomes: BTreeMap<Path, Outcome>,
    /// In which arm each step is awaited.
    awaited: BTreeMap<Path, Path>,
    /// The arm that awaits what the fact of this turn tells; nothing, when that is not known.
    woken: Option<Path>,
    /// How the answers of open calls are read, as their types are today.
    replies: BTreeMap<Path, Reads>,
    /// The number of this turn.
    turn: usize,
    /// The time of the fact that is applied.
    now: Time,
    /// The time from which deadlines of this turn count.
    turn_at: Time,
    /// What this turn must ask for, when it is stored; nothing, when it is being made.
    stored: Option<VecDeque<Decision>>,
    /// What this turn asked for.
    decided: Vec<Decision>,
    /// The scope of the arm that is being polled.
    scope: Path,
    /// How many steps each scope has named.
    named: BTreeMap<Path, u32>,
    /// The first answer for each patch.
    patches: BTreeMap<String, bool>,
    /// Why this run can no longer be believed; from then on every future of ours pends.
    stuck: Option<ReplayError>,
    /// The future is being dropped: whatever its code does on drop has no say.
    is_detached: bool,
}

/// How a step ended, once and for ever.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Replied(Payload),
    Rejected { code: String, reason: String },
    Received { event: String, body: Payload },
    TimeOver,
}

/// The host's half: around each poll.
impl Engine {
    /// Takes the fact. False when nothing is open that it could settle.
    pub(crate) fn begin(
        &self,
        at: Time,
        turn_at: Time,
        fact: &Fact,
        stored: Option<&[Decision]>,
    ) -> bool {
        let inner = &mut *self.0.borrow_mut();
        inner.stored = stored.map(|it| it.iter().cloned().collect());
        (inner.now, inner.turn_at) = (at, turn_at);
        if !inner.state.accepts(fact) {
            return false;
        }
        inner.state.learn(at, fact);
        inner.woken = None;
        if let Some((step, outcome)) = Outcome::of(fact) {
            inner.woken = inner.awaited.remove(&step);
            inner.replies.remove(&step);
            inner.outcomes.insert(step, outcome);
        }
        true
    }

    /// Why an answer that would settle a call is of no use to its code. To be asked before it is
    /// taken: from then on it counts.
    pub(crate) fn unreadable(&self, fact: &Fact) -> Option<String> {
        let Fact::Replied { step, body } = fact else { return None };
        let reads = {
            let inner = self.0.borrow();
            *inner.replies.get(step).filter(|_| inner.state.accepts(fact))?
        };
        reads(body).err()
    }

    /// Waits that took an event at which the code has not looked.
    pub(crate) fn unseen(&self) -> Vec<Path> {
        let inner = self.0.borrow();
        let is_event = |it: &Outcome| matches!(it, Outcome::Received { .. });
        inner.outcomes.iter().filter(|it| is_event(it.1)).map(|it| it.0.clone()).collect()
    }

    /// Takes a fact that the code does not see.
    pub(crate) fn learn(&self, at: Time, fact: &Fact) {
        self.0.borrow_mut().state.learn(at, fact);
    }

    /// The decisions of the turn, if they can be believed.
    pub(crate) fn finish(&self) -> Result<Vec<Decision>, ReplayError> {
        let inner = &mut *self.0.borrow_mut();
        if let Some(stuck) = inner.stuck.clone() {
            return Err(stuck);
        }
        if let Some(left) = inner.stored.as_mut().and_then(VecDeque::pop_front) {
            let (turn, recorded) = (inner.turn, Some(Box::new(left)));
            return Err(ReplayError::Diverged { turn, recorded, asked: None });
        }
        inner.turn += 1;
        Ok(std::mem::take(&mut inner.decided))
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.0.borrow().state)
    }

    /// From here on author code has no say.
    pub(crate) fn detach(&self) {
        self.0.borrow_mut().is_detached = true;
    }
}

/// The author's half: inside a poll.
impl Engine {
    /// The next name in the scope that is being polled.
    pub(crate) fn name(&self) -> Path {
        let inner = &mut *self.0.borrow_mut();
        let number = inner.named.entry(inner.scope.clone()).or_default();
        *number += 1;
        inner.scope.child(*number - 1)
    }

    pub(crate) fn within<T>(&self, scope: &Path, poll: impl FnOnce() -> T) -> T {
        let outer = std::mem::replace(&mut self.0.borrow_mut().scope, scope.clone());
        let res = poll();
        self.0.borrow_mut().scope = outer;
        res
    }

    /// The arm that awaits what the fact of this turn tells; nothing, when that is not known. All
    /// that code can await is the outcome of a step, and a fact tells one.
    pub(crate) fn woken(&self) -> Option<Path> {
        self.0.borrow().woken.clone()
    }

    pub(crate) fn now(&self) -> Time {
        self.0.borrow().now
    }

    /// Where a step is, for people: they know a saga by its id.
    fn place(&self, step: &Path) -> String {
        let inner = self.0.borrow();
        let start = inner.state.start.as_ref();
        start.map_or(step.to_string(), |it| format!("{}/{}/{step}", it.saga, it.epoch))
    }

    pub(crate) fn key(&self, step: &Path) -> String {
        let inner = self.0.borrow();
        match &inner.state.start {
            Some(start) => crate::id::call_key(start.acts_as(), start.epoch, step),
            None => step.to_string(),
        }
    }

    /// Whether the saga's keys say nothing of when and where it began.
    pub(crate) fn has_alias(&self) -> bool {
        self.0.borrow().state.start.as_ref().is_some_and(|it| it.alias.is_some())
    }

    /// In a stored turn the decision must be the next recorded one, which then stays in force.
    pub(crate) fn decide(&self, asked: Decision, types: &[Same]) {
        let inner = &mut *self.0.borrow_mut();
        // After the end only what it abandons is named.
        let is_over = inner.state.end.is_some() && !matches!(asked, Decision::Abandoned { .. });
        if is_over || inner.stuck.is_some() || inner.is_detached {
            return;
        }
        let decision = match inner.stored.as_mut().map(VecDeque::pop_front) {
            None => asked,
            Some(Some(recorded)) if recorded.is_same(&asked, types) => recorded,
            Some(recorded) => {
                let (recorded, asked) = (recorded.map(Box::new), Some(Box::new(asked)));
                let turn = inner.turn;
                inner.stuck = Some(ReplayError::Diverged { turn, recorded, asked });
                return;
            }
        };
        inner.state.decide(inner.turn_at, (0, 0), &decision);
        inner.decided.push(decision);
    }

    /// On in a new turn and where the mark is recorded; the first answer holds for a saga's life.
    pub(crate) fn patched(&self, id: &str) -> bool {
        let mark = Decision::Patch { id: id.to_owned() };
        let on = {
            let inner = self.0.borrow();
            if let Some(first) = inner.patches.get(id) {
                return *first;
            }
            inner.stored.as_ref().is_none_or(|it| it.front() == Some(&mark))
        };
        self.0.borrow_mut().patches.insert(id.to_owned(), on);
        if on {
            self.decide(mark, &[]);
        }
        on
    }

    /// Encodes what the author gives; what has no JSON form is for a person.
    pub(crate) fn encode(&self, of: &str, subject: &str, value: &impl Serialize) -> Payload {
        Payload::of(value).unwrap_or_else(|err| {
            let what = format!("{of} {subject}").trim_end().to_owned();
            self.stick(ReplayError::Unwritable { what, error: err.to_string() });
            Payload::null()
        })
    }

    /// How the answer of a call will be read.
    pub(crate) fn expects(&self, step: &Path, reads: Reads) {
        self.0.borrow_mut().replies.insert(step.clone(), reads);
    }

    pub(crate) async fn outcome(&self, step: &Path) -> Outcome {
        poll_fn(|_| {
            let inner = &mut *self.0.borrow_mut();
            if inner.stuck.is_some() {
                return Poll::Pending;
            }
            let outcome = inner.outcomes.remove(step);
            if outcome.is_none() {
                inner.awaited.insert(step.clone(), inner.scope.clone());
            }
            outcome.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// What does not decode as today's type is for a person: the code neither sees it nor skips it.
    pub(crate) async fn decode<T>(
        &self,
        step: &Path,
        of: &str,
        subject: &str,
        it: serde_json::Result<T>,
    ) -> T {
        match it {
            Ok(it) => it,
            Err(err) => {
                let what = format!("{of} {subject} for {}", self.place(step));
                let error = masked(&err.to_string());
                self.stick(ReplayError::Unreadable { what, error });
                std::future::pending().await
            }
        }
    }

    /// Closes the losers of a race: they are undone behind the saga.
    pub(crate) fn lose(&self, scope: &Path) {
        if self.read(|it| it.has_open(scope, true)) {
            self.decide(Decision::Close { scope: scope.clone(), mode: CloseMode::Lost }, &[]);
        }
        self.abandon(scope);
    }

    /// Closes the siblings of a failed arm, and returns when none of their calls is open.
    pub(crate) async fn settle(&self, scopes: &[Path]) {
        for scope in scopes.iter().filter(|scope| self.read(|it| it.has_open(scope, false))) {
            let mode = CloseMode::Settle { within_ms: SETTLE_MS };
            self.decide(Decision::Close { scope: scope.clone(), mode }, &[]);
        }
        for scope in scopes {
            poll_fn(|_| {
                let inner = self.0.borrow();
                let is_over = inner.state.closing.iter().any(|it| it.scope == *scope && it.is_over);
                let is_settled = is_over || !inner.state.has_calls(scope);
                if is_settled && inner.stuck.is_none() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            self.abandon(scope);
        }
    }

    pub(crate) fn end<T: Serialize + DeserializeOwned + PartialEq>(
        &self,
        res: Result<T, Abort>,
        ends: Ends,
    ) {
        match res {
            Ok(output) => {
                let output = self.encode("the output", "", &output);
                self.decide(Decision::Complete { output }, &[same::<T>]);
            }
            Err(abort) => self.decide(Decision::Abort { abort: abort.cut(), ends }, &[]),
        }
        self.abandon(&Path::root());
    }

    /// What the core decides without the author's code.
    pub(crate) fn decide_without_code(&self, fact: &Fact) {
        for decision in self.read(|it| it.decisions_of_core(fact)) {
            self.decide(decision, &[]);
        }
    }

    fn abandon(&self, scope: &Path) {
        for step in self.read(|it| it.calls_in(scope)) {
            self.decide(Decision::Abandoned { step }, &[]);
        }
        // What lies in a scope sorts behind it, and stands together.
        let awaited = &mut self.0.borrow_mut().awaited;
        while let Some(step) = awaited.range(scope..).next().map(|it| it.0.clone())
            && scope.contains(&step)
        {
            awaited.remove(&step);
        }
    }

    fn stick(&self, error: ReplayError) {
        self.0.borrow_mut().stuck.get_or_insert(error);
    }
}

impl Outcome {
    fn of(fact: &Fact) -> Option<(Path, Outcome)> {
        let (step, outcome) = match fact {
            Fact::Replied { step, body } => (step, Outcome::Replied(body.clone())),
            Fact::Rejected { step, code, reason } => {
                (step, Outcome::Rejected { code: code.clone(), reason: reason.clone() })
            }
            Fact::Received { step, event, body, .. } => {
                (step, Outcome::Received { event: event.clone(), body: body.clone() })
            }
            Fact::TimerFired { step } => (step, Outcome::TimeOver),
            _ => return None,
        };
        Some((step.clone(), outcome))
    }

    /// A call's outcome, as its author sees it.
    pub(crate) fn reply(self, subject: &str) -> Option<Result<Payload, Rejection>> {
        match self {
            Outcome::Replied(body) => Some(Ok(body)),
            Outcome::Rejected { code, reason } => {
                Some(Err(Rejection { subject: subject.to_owned(), code, reason }))
            }
            Outcome::Received { .. } | Outcome::TimeOver => None,
        }
    }
}
