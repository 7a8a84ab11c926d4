//! A desk plays the host: it takes inputs, keeps the clock, and holds what is owed to the world.

mod see;

use super::check;
use crate::{
    core::{Core, Limits},
    effect::{Effect, Note, Refusal, Reply, Request, RequestId, Verdict},
    fold::State,
    id::{Path, Position, SagaId, Time},
    input::{
        Action, Actor, Answer, Answered, Arrival, Command, Decide, Input, Role, Target, Ticket,
    },
    line::Line,
    payload::Payload,
    saga::{Registry, Saga},
    store::{MemoryStore, Store},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use uuid::Uuid;

/// When every desk opens: 2026-01-01T00:00:00Z.
const OPENS_AT: Time = Time(1_767_225_600_000);
/// What one input leaves to do comes to an end: it is many times what the worlds of the tests need.
const PIECES_MAX: u32 = 2_000;

/// A host to play with. It gives every input to two cores: a warm one, and a cold one that keeps
/// no future and no state between turns. After each input it checks that
///
/// - both decide, store and owe the same, byte for byte;
/// - the state in memory, the head row, a replay of the stored journal, and `fold` agree, and the
///   replay decides nothing new;
/// - a core opened over the same store has the same indexes and owes the same.
///
/// Most methods speak of the saga that was started last; [`Desk::look_at`] turns to another one.
/// They panic, with the journal, when what they ask for is not there.
pub struct Desk {
    /// The warm core and the cold one.
    pub(super) cores: [Core<MemoryStore>; 2],
    registry: Registry,
    limits: Limits,
    /// Inputs that wait for a saga with a long journal.
    line: Line<()>,
    pub(super) now: Time,
    /// Set while intake is behind.
    watermark: Option<Time>,
    /// What an input leaves to do is not done behind it.
    is_busy: bool,
    tickets: Ticket,
    events: u64,
    looks_at: Option<SagaId>,
    /// Requests under way.
    pub(super) asked: BTreeMap<RequestId, Request>,
    /// Publishes under way.
    pub(super) published: BTreeMap<(SagaId, Path), Effect>,
    /// What the last input gave out.
    effects: Vec<Effect>,
    /// Everything that came in, with its time.
    inputs: Vec<(Time, Input)>,
    /// Everything of the log up to here has been checked.
    pub(super) checked: Position,
    /// States that are known to be folds of their journals.
    pub(super) folded: BTreeMap<SagaId, State>,
    /// Sagas whose journals the code does not fit: a test deployed it so.
    pub(super) misfits: BTreeSet<SagaId>,
}

/// Somebody who may do everything.
pub fn admin() -> Actor {
    Actor { name: "ann".to_owned(), role: Role::Admin }
}

impl Desk {
    /// A desk for one definition.
    pub fn of<S: Saga>(settings: &S::Settings) -> Desk {
        let mut registry = Registry::new("test");
        registry.register::<S>(settings).expect("the definition can be registered");
        Desk::new(registry)
    }

    /// A desk for these definitions.
    pub fn new(registry: Registry) -> Desk {
        Desk::with_limits(registry, Limits::default())
    }

    /// A desk with bounds of its own.
    pub fn with_limits(registry: Registry, limits: Limits) -> Desk {
        let store = MemoryStore::new(Uuid::from_u128(7));
        let cores = open(&store, &registry, limits, OPENS_AT);
        let mut desk = Desk {
            cores,
            registry,
            limits,
            line: Line::default(),
            now: OPENS_AT,
            watermark: None,
            is_busy: false,
            tickets: 0,
            events: 0,
            looks_at: None,
            asked: BTreeMap::new(),
            published: BTreeMap::new(),
            effects: Vec::new(),
            inputs: Vec::new(),
            checked: 0,
            folded: BTreeMap::new(),
            misfits: BTreeSet::new(),
        };
        desk.commit();
        desk
    }

    /// Gives an input to the cores, commits, and checks. One that has to wait until the warm core
    /// has read its saga is handled with the rest.
    pub fn input(&mut self, input: Input) -> &[Effect] {
        let given = self.line.give(&self.cores[0], input, ());
        if let Some((input, ())) = given.expect("a memory store can be read") {
            self.handle(input);
        }
        self.hand_over();
        self.commit();
        self.do_the_rest();
        &self.effects
    }

    fn handle(&mut self, input: Input) {
        if let Input::Published { saga, step } = &input {
            self.published.remove(&(*saga, step.clone()));
        }
        for core in &mut self.cores {
            core.handle(self.now, input.clone()).expect("a memory store can be read");
        }
        self.inputs.push((self.now, input));
    }

    /// What has waited, and need not wait any longer.
    fn hand_over(&mut self) {
        let next = |desk: &mut Desk| desk.line.next(&desk.cores[0]);
        let mut handed = 0;
        while let Some((input, _)) = next(self).expect("a memory store can be read") {
            self.handle(input);
            handed += 1;
            assert!(handed < PIECES_MAX, "what has waited comes to an end");
        }
    }

    /// What is too much for one input follows at once, as if nobody brought anything else.
    fn do_the_rest(&mut self) {
        let mut pieces = 0;
        while !self.is_busy && self.line.has_more(&self.cores[0]) {
            self.go_on();
            pieces += 1;
            assert!(pieces < PIECES_MAX, "what an input leaves to do comes to an end");
        }
    }

    /// One piece of what inputs have left to do.
    pub fn go_on(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        self.line.wake(&mut self.cores[0]).expect("a memory store can be read");
        self.hand_over();
        self.handle(Input::GoOn);
        self.commit();
        effects.append(&mut self.effects);
        self.effects = effects;
    }

    /// While others bring much, what an input leaves to do stays undone: with [`Desk::restart`] the
    /// process dies in the middle of it. What is left then follows when they are done.
    pub fn is_busy(&mut self, is_busy: bool) {
        self.is_busy = is_busy;
        self.do_the_rest();
    }

    fn commit(&mut self) {
        check::states(self);
        let [warm, cold] = &mut self.cores;
        let effects = warm.commit().expect("a memory store takes a batch");
        let again = cold.commit().expect("a memory store takes a batch");
        assert_eq!(effects, again, "the warm and the cold core owe the same");
        self.take_in(&effects);
        self.effects = effects;
        check::all(self);
        self.checked = self.store().position();
    }

    fn take_in(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Send(request) => {
                    let asked = Request { is_recovered: false, ..request.clone() };
                    let old = self.asked.insert(request.id.clone(), asked);
                    assert_eq!(old, None, "a request is not sent while it is under way");
                }
                Effect::Forget(id) => {
                    self.asked.remove(id);
                }
                Effect::Publish { saga, step, .. } => {
                    self.published.insert((*saga, step.clone()), effect.clone());
                }
                Effect::Withdraw { saga, step } => {
                    self.published.remove(&(*saga, step.clone()));
                }
                Effect::Note(note) => {
                    if let Note::Started { saga, .. } = note {
                        self.looks_at = Some(*saga);
                    }
                }
                Effect::Hurry(_) | Effect::Ack { .. } | Effect::Answer { .. } => (),
            }
        }
    }
}

fn open(
    store: &MemoryStore,
    registry: &Registry,
    limits: Limits,
    now: Time,
) -> [Core<MemoryStore>; 2] {
    let cold = Limits { futures_max: 0, states_max: 0, ..limits };
    [limits, cold].map(|limits| {
        Core::open(store.clone(), registry.clone(), limits, now).expect("a core opens")
    })
}

/// Starting, events, and the processes around.
impl Desk {
    /// Starts a saga by hand.
    pub fn start(&mut self, definition: &str, key: &str, input: Value) -> SagaId {
        let (definition, key) = (definition.to_owned(), Some(key.to_owned()));
        let command = Command::Start { definition, key, input: payload(&input) };
        match self.ask(admin(), command) {
            Ok(Reply::Accepted(saga)) => {
                self.looks_at = Some(saga);
                saga
            }
            other => panic!("the saga does not start: {other:?}"),
        }
    }

    /// An event with a new id arrives; its key is in its body.
    pub fn event(&mut self, name: &str, body: Value) -> Vec<Verdict> {
        self.events += 1;
        let id = format!("e{}", self.events);
        self.event_again(&id, name, body)
    }

    /// An event with this id arrives.
    pub fn event_again(&mut self, id: &str, name: &str, body: Value) -> Vec<Verdict> {
        let source = name.split('.').next().unwrap_or_default().to_owned();
        let (name, id, body) = (name.to_owned(), id.to_owned(), payload(&body));
        self.arrive(Arrival { ticket: 0, name, id, source, key: None, body, at: self.now })
    }

    /// An event arrives; its ticket is ours.
    pub fn arrive(&mut self, mut arrival: Arrival) -> Vec<Verdict> {
        arrival.ticket = self.ticket();
        let ticket = arrival.ticket;
        let effects = self.input(Input::Arrived(arrival));
        let verdicts = effects.iter().find_map(|effect| match effect {
            Effect::Ack { ticket: it, verdicts } if *it == ticket => Some(verdicts.clone()),
            _ => None,
        });
        verdicts.expect("every event is acknowledged")
    }

    /// Somebody asks for something.
    pub fn ask(&mut self, actor: Actor, command: Command) -> Result<Reply, Refusal> {
        let ticket = self.ticket();
        let effects = self.input(Input::Asked { ticket, actor, command });
        let reply = effects.iter().find_map(|effect| match effect {
            Effect::Answer { ticket: it, reply } if *it == ticket => Some(reply.clone()),
            _ => None,
        });
        reply.expect("every command is answered")
    }

    /// The process dies and another one opens its store: what was under way is forgotten, and the
    /// new one gives out what is owed.
    pub fn restart(&mut self) {
        let registry = self.registry.clone();
        self.deploy(registry);
    }

    /// The same, with other code.
    pub fn deploy(&mut self, registry: Registry) {
        self.registry = registry;
        self.change_store(|_| ());
    }

    /// The process dies, somebody changes its store, and another one opens it.
    pub fn change_store(&mut self, change: impl FnOnce(&mut MemoryStore)) {
        let mut store = self.store().clone();
        change(&mut store);
        self.asked.clear();
        self.published.clear();
        self.line = Line::default();
        self.cores = open(&store, &self.registry, self.limits, self.now);
        let heads = check::open_heads(&self.cores[0]);
        let fits = |saga: &SagaId| {
            let journal = self.cores[0].journal(*saga).expect("a memory store can be read");
            self.replay(*saga, &journal).is_none_or(|it| it.is_ok())
        };
        self.misfits = heads.iter().map(|it| it.id).filter(|it| !fits(it)).collect();
        self.commit();
        self.do_the_rest();
    }

    /// Time passes: each timer fires when it is due.
    pub fn wait_s(&mut self, seconds: u64) {
        self.wait_ms(seconds * 1000);
    }

    /// The same, in milliseconds.
    pub fn wait_ms(&mut self, ms: u64) {
        let until = self.now.after_ms(ms);
        while let Some(due) = self.cores[0].next_due().filter(|it| *it <= until) {
            let held = self.watermark.is_some_and(|it| it < due);
            if held {
                break;
            }
            self.now = self.now.max(due);
            self.tick();
        }
        self.now = until;
        self.tick();
    }

    /// Time passes in which nothing runs.
    pub fn skip(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// The host believes this time from now on.
    pub fn set_clock(&mut self, now: Time) {
        self.now = now;
    }

    /// The clock is set back.
    pub fn clock_steps_back(&mut self, ms: u64) {
        self.now = Time(self.now.0.saturating_sub(ms));
    }

    /// Timers fire up to the clock and the watermark.
    pub fn tick(&mut self) {
        let watermark = self.watermark.unwrap_or(self.now);
        self.input(Input::tick(watermark));
    }

    /// Intake stays where it is, or has caught up.
    pub fn intake_is_behind(&mut self, is_behind: bool) {
        self.watermark = is_behind.then_some(self.now);
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }
}

/// Answers of services. A request is named by its step (`3.0.1`) or by its subject.
impl Desk {
    /// A service answers a call.
    pub fn reply(&mut self, call: &str, body: Value) {
        let id = self.find(call, false);
        self.answer(&id, Answer::Ok(payload(&body)));
    }

    /// A service refuses a call.
    pub fn reject(&mut self, call: &str, code: &str) {
        let id = self.find(call, false);
        self.answer(&id, rejected(code));
    }

    /// A service did an undo.
    pub fn undone(&mut self, undo: &str) {
        let id = self.find(undo, true);
        self.answer(&id, Answer::Ok(Payload::null()));
    }

    /// A service refuses an undo.
    pub fn undo_rejected(&mut self, undo: &str, code: &str) {
        let id = self.find(undo, true);
        self.answer(&id, rejected(code));
    }

    /// A service answers a request, whether it is still under way or not.
    pub fn answer(&mut self, id: &RequestId, answer: Answer) {
        let epoch = self.head_of(id.saga).map_or(0, |it| it.epoch);
        let (saga, step, is_undo) = (id.saga, id.step.clone(), id.is_undo);
        self.input(Input::Answered(Answered { saga, epoch, step, is_undo, answer }));
    }

    /// The broker takes everything that is being published.
    pub fn publish_all(&mut self) {
        while let Some((saga, step)) = self.published.keys().next().cloned() {
            self.broker_has(saga, step);
        }
    }

    /// The broker has this event.
    pub fn broker_has(&mut self, saga: SagaId, step: Path) {
        self.input(Input::Published { saga, step });
    }

    /// The broker does not take this event, and says why.
    pub fn broker_refuses(&mut self, saga: SagaId, step: Path, reason: &str) {
        self.input(Input::PublishRefused { saga, step, reason: reason.to_owned() });
    }

    /// The subject of the call under way with this step.
    pub fn asked_for(&self, step: &str) -> &str {
        &self.asked[&self.find(step, false)].subject
    }

    /// The request under way with this step or subject.
    pub fn find(&self, what: &str, is_undo: bool) -> RequestId {
        let saga = self.saga();
        let step = what.parse::<Path>().ok();
        let is_it = |it: &&Request| {
            let by_name = step.as_ref().map_or(it.subject == what, |step| it.id.step == *step);
            it.id.saga == saga && it.id.is_undo == is_undo && by_name
        };
        match self.asked.values().filter(is_it).collect::<Vec<_>>()[..] {
            [request] => request.id.clone(),
            [] => panic!("{what} is not asked for:\n{}", self.text()),
            _ => panic!("{what} is asked for more than once: name the step\n{}", self.text()),
        }
    }
}

/// Moves and decisions.
impl Desk {
    /// An operator makes a move.
    pub fn make(&mut self, action: Action) -> Result<Reply, Refusal> {
        let (saga, reason) = (self.saga(), format!("{} please", action.as_str()));
        self.ask(admin(), Command::Move { saga, action, reason })
    }

    /// The move must be possible.
    pub fn moved(&mut self, action: Action) {
        let reply = self.make(action);
        assert!(reply.is_ok(), "{action:?}: {reply:?}\n{}", self.text());
    }

    /// An operator gives an undo up.
    pub fn waive(&mut self, step: Option<&str>) -> Result<Reply, Refusal> {
        let step = step.map(|it| it.parse().expect("a step"));
        let (saga, reason) = (self.saga(), "settled by hand".to_owned());
        self.ask(admin(), Command::Waive { saga, step, reason })
    }

    /// A manager decides the saga's only open task.
    pub fn decide(&mut self, approved: bool, reason: &str) -> Result<Reply, Refusal> {
        let saga = self.saga();
        let waits = self.head().waits;
        let ask = waits.into_iter().find(|it| it.ask.is_some());
        let step = ask.unwrap_or_else(|| panic!("nothing asks:\n{}", self.text())).step;
        let target = Target::Task(crate::id::TaskId { saga, step });
        let reason = Some(reason.to_owned());
        self.ask(admin(), Command::Decide(Decide { target, approved, reason, seen: None }))
    }
}

fn payload(body: &Value) -> Payload {
    Payload::of(body).expect("a value has a JSON form")
}

fn rejected(code: &str) -> Answer {
    Answer::Rejected { code: code.to_owned(), reason: code.replace('_', " ") }
}
