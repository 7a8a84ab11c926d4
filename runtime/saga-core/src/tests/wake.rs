//! A saga with a long journal that is not in memory: it is read in pieces, others have their turns
//! between, and nothing that is about it overtakes.

use super::{
    counting::Counting,
    fixtures::{DAY, Reserve, ShipStock, Tracked},
};
use crate::{
    abort::Abort,
    core::{Core, Limits},
    ctx::Ctx,
    effect::{Effect, Outcome, RefusalKind::Conflict, Reply, Request, RequestId},
    fold::Status,
    id::{SagaId, TaskId, Time},
    input::{
        Action, Actor, Answer, Answered, Arrival, Command, Decide, Input, Role, Target, Ticket,
        Unreadable,
    },
    journal::Fact,
    line::Line,
    payload::Payload,
    saga::{Declared, Registry, Saga, event, events},
    store::{MemoryStore, Store},
    testing::admin,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Entries that are read at once here.
const PIECE: u32 = 16;

/// So many calls, one after the other; then one more, beside three events and beside an hour.
struct Long;
impl Saga for Long {
    const NAME: &'static str = "Long";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Tracked>()])
    }
    async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
        for _ in 0..calls {
            ctx.call(Reserve::of("1")).await?;
        }
        let events = async {
            for _ in 0..3 {
                ctx.when::<Tracked>("all").within(DAY).await?;
            }
            Ok::<_, Abort>(())
        };
        ctx.join(ctx.call(ShipStock::of("last")), events).await?;
        Ok(())
    }
}

/// The same code, but for its first call.
struct Other;
impl Saga for Other {
    const NAME: &'static str = "Long";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        Long::events()
    }
    async fn run(ctx: Ctx, _: u32) -> Result<(), Abort> {
        ctx.call(ShipStock::of("first")).await?;
        Ok(())
    }
}

/// So many calls, then a question.
struct Asks;
impl Saga for Asks {
    const NAME: &'static str = "Asks";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        super::fixtures::holds_for()
    }
    async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
        for _ in 0..calls {
            ctx.call(Reserve::of("1")).await?;
        }
        ctx.when::<super::fixtures::Approved>("all").ask("go on?", &json!({})).within(DAY).await?;
        Ok(())
    }
}

/// A copy of each event is for it.
struct Copied;
impl Saga for Copied {
    const NAME: &'static str = "Copied";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Tracked>().each()])
    }
    async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
        for _ in 0..calls {
            ctx.call(Reserve::of("1")).await?;
        }
        ctx.when::<Tracked>("all").within(DAY).await?;
        ctx.when::<Tracked>("all").within(DAY).await?;
        Ok(())
    }
}

fn registry() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<Long>(&()).unwrap();
    registry.register::<Asks>(&()).unwrap();
    registry.register::<Copied>(&()).unwrap();
    registry
}

fn limits() -> Limits {
    Limits { wake_at_once: PIECE, ..Limits::default() }
}

struct Rig {
    core: Core<Counting>,
    line: Line<()>,
    limits: Limits,
    now: Time,
    asked: Vec<Request>,
    effects: Vec<Effect>,
    tickets: Ticket,
    /// Entries that the most expensive piece of work has read.
    most: usize,
}

impl Rig {
    fn over(store: MemoryStore, registry: Registry, limits: Limits, now: Time) -> Rig {
        let core = Core::open(Counting::over(store), registry, limits, now).unwrap();
        let line = Line::default();
        let (asked, effects, tickets) = (Vec::new(), Vec::new(), 0);
        let most = core.store().entries_read();
        let mut rig = Rig { core, line, limits, now, asked, effects, tickets, most };
        rig.commit();
        rig
    }

    fn new() -> Rig {
        Rig::over(MemoryStore::new(Uuid::from_u128(7)), registry(), limits(), Time(1_000))
    }

    /// Another process, with nothing in memory.
    fn reopened(&self, registry: Registry, limits: Limits) -> Rig {
        let mut rig = Rig::over(self.core.store().store.clone(), registry, limits, self.now);
        rig.tickets = 1_000 + self.tickets;
        rig
    }

    /// The same, when it has given out what is owed.
    fn cold(&self) -> Rig {
        let mut rig = self.reopened(registry(), self.limits);
        rig.go_on();
        let limits = Limits { states_max: 0, futures_max: 1, ..self.limits };
        let mut cold = self.reopened(registry(), limits);
        cold.go_on();
        (cold.most, cold.effects) = (0, Vec::new());
        cold
    }

    fn handle(&mut self, input: Input) {
        self.now = self.now.after_ms(1);
        self.core.handle(self.now, input).unwrap();
        self.most = self.most.max(self.core.store().entries_read());
        self.core.store().forget_reads();
    }

    fn input(&mut self, input: Input) {
        self.core.store().forget_reads();
        if let Some((input, ())) = self.line.give(&self.core, input, ()).unwrap() {
            self.handle(input);
        }
        self.commit();
    }

    /// One piece of what is left to do.
    fn piece(&mut self) {
        self.core.store().forget_reads();
        self.line.wake(&mut self.core).unwrap();
        self.most = self.most.max(self.core.store().entries_read());
        self.core.store().forget_reads();
        let mut inputs = 0;
        while let Some((input, _)) = self.line.next(&self.core).unwrap() {
            self.handle(input);
            inputs += 1;
            assert!(inputs < 1_000, "it comes to an end");
        }
        self.handle(Input::GoOn);
        self.commit();
    }

    fn go_on(&mut self) -> usize {
        let mut pieces = 0;
        while self.line.has_more(&self.core) {
            self.piece();
            pieces += 1;
            assert!(pieces < 10_000, "it comes to an end");
        }
        pieces
    }

    fn commit(&mut self) {
        for effect in self.core.commit().unwrap() {
            if let Effect::Send(request) = &effect {
                self.asked.push(request.clone());
            }
            self.effects.push(effect);
        }
    }

    fn ask(&mut self, command: Command) -> Ticket {
        self.tickets += 1;
        let (ticket, actor) = (self.tickets, admin());
        self.input(Input::Asked { ticket, actor, command });
        ticket
    }

    fn is_answered(&self, of: Ticket) -> bool {
        let ticket = |it: &Effect| match it {
            Effect::Ack { ticket, .. } | Effect::Answer { ticket, .. } => Some(*ticket),
            _ => None,
        };
        self.effects.iter().filter_map(ticket).any(|it| it == of)
    }

    /// Starts a saga and answers so many of its calls.
    fn start(&mut self, definition: &str, key: &str, calls: u32) -> SagaId {
        let (definition, key) = (definition.to_owned(), Some(key.to_owned()));
        let input = Payload::of(&calls).unwrap();
        self.ask(Command::Start { definition, key, input });
        let saga = self.asked.last().unwrap().id.saga;
        for _ in 0..calls {
            let call = self.asked.pop().unwrap();
            self.answer(&call);
            self.go_on();
        }
        saga
    }

    fn answer(&mut self, request: &Request) {
        let (RequestId { saga, step, is_undo }, epoch) = (request.id.clone(), request.epoch);
        let answer = Answer::Ok(Payload::null());
        self.input(Input::Answered(Answered { saga, epoch, step, is_undo, answer }));
    }

    /// The last call of the saga.
    fn call_of(&self, saga: SagaId) -> Request {
        self.asked.iter().rfind(|it| it.id.saga == saga).unwrap().clone()
    }

    fn track(&mut self, id: &str) -> Ticket {
        self.track_of(id, "all")
    }

    fn track_of(&mut self, id: &str, order: &str) -> Ticket {
        self.event("courier.status", id, &json!({ "order": order, "status": id }))
    }

    fn event(&mut self, name: &str, id: &str, body: &serde_json::Value) -> Ticket {
        self.tickets += 1;
        let (name, source, body) = (name.to_owned(), "a".to_owned(), Payload::of(body).unwrap());
        let (ticket, id, key, at) = (self.tickets, id.to_owned(), None, self.now);
        self.input(Input::Arrived(Arrival { ticket, name, id, source, key, body, at }));
        ticket
    }

    fn begin(&mut self, definition: &str, key: &str, input: &impl serde::Serialize) -> SagaId {
        let (definition, key) = (definition.to_owned(), Some(key.to_owned()));
        let input = Payload::of(input).unwrap();
        let ticket = self.ask(Command::Start { definition, key, input });
        // It may stand behind an event that anybody may come to hold for.
        while !self.is_answered(ticket) {
            self.piece();
        }
        let begun = |it: &Effect| match it {
            Effect::Answer { ticket: of, reply: Ok(Reply::Accepted(saga)) } if *of == ticket => {
                Some(*saga)
            }
            _ => None,
        };
        self.effects.iter().find_map(begun).unwrap()
    }

    fn make(&mut self, saga: SagaId, action: Action) -> Ticket {
        self.ask(Command::Move { saga, action, reason: "please".to_owned() })
    }

    fn status(&self, saga: SagaId) -> Status {
        self.core.head(saga).unwrap().unwrap().status
    }

    /// What happened to the saga behind so many entries, in order.
    fn facts(&self, saga: SagaId, behind: usize) -> Vec<String> {
        let journal = self.core.journal(saga).unwrap();
        let fact = |it: Fact| match it {
            Fact::Received { event, event_at: 0, .. } => event,
            Fact::Received { event_id, .. } => event_id,
            Fact::Replied { .. } => "reply".to_owned(),
            Fact::TimerFired { .. } => "time".to_owned(),
            other => format!("{other:?}").split([' ', '{']).next().unwrap_or_default().to_owned(),
        };
        journal.into_iter().skip(behind).map(|it| fact(it.fact)).collect()
    }
}

/// Whatever the journal has, no piece of work reads more than a piece of it; what others bring
/// between is handled at once.
#[test]
fn a_long_journal_is_read_in_pieces_and_others_have_their_turns_between() {
    for calls in [300, 600] {
        let mut rig = Rig::new();
        let long = rig.start("Long", "long", calls);
        let short = rig.start("Long", "short", 3);
        let mut rig = rig.cold();
        let (of_long, of_short) = (rig.call_of(long), rig.call_of(short));
        rig.answer(&of_long);
        assert!(rig.line.has_more(&rig.core), "it waits");
        assert_eq!(rig.facts(long, 1 + calls as usize), [""; 0]);
        rig.piece();
        rig.answer(&of_short);
        assert_eq!(rig.facts(short, 4).len(), 1, "another saga's answer does not wait");
        let pieces = rig.go_on();
        assert_eq!(rig.facts(long, 1 + calls as usize), ["reply"]);
        assert!(rig.most <= PIECE as usize, "{} entries read at once", rig.most);
        let twice = 2 * calls / PIECE;
        assert!(pieces <= twice as usize + 8, "{pieces} pieces: its state, and its code");
    }
}

/// The same inputs lead to the same journal, whether it has to be read or not.
#[test]
fn what_comes_for_a_saga_that_is_read_keeps_its_order() {
    let mut warm = Rig::new();
    let (long, behind) = (warm.start("Long", "long", 100), 101);
    let play = |rig: &mut Rig| {
        let call = rig.call_of(long);
        let mut tickets = vec![rig.track("e1")];
        if rig.line.has_more(&rig.core) {
            rig.piece();
        }
        rig.answer(&call);
        tickets.push(rig.track("e2"));
        tickets.push(rig.make(long, Action::Pause));
        tickets.push(rig.make(long, Action::Resume));
        tickets.push(rig.track("e3"));
        tickets.push(rig.make(long, Action::Cancel));
        tickets.push(rig.track("e4"));
        tickets
    };
    let mut cold = warm.cold();
    let tickets = play(&mut cold);
    assert!(tickets.iter().all(|it| !cold.is_answered(*it)), "nothing is acknowledged before");
    cold.go_on();
    assert!(tickets.iter().all(|it| cold.is_answered(*it)));
    assert!(cold.most <= PIECE as usize, "{} entries read at once", cold.most);
    play(&mut warm);
    warm.go_on();
    let facts = cold.facts(long, behind);
    assert_eq!(facts, ["e1", "reply", "e2", "Paused", "Resumed", "e3"]);
    assert_eq!(facts, warm.facts(long, behind));
}

/// What is on a lane with an event that waits stands behind it, also if it is for somebody else.
#[test]
fn an_event_does_not_overtake_one_that_waits_on_its_lane() {
    let mut rig = Rig::new();
    let long = rig.start("Long", "long", 100);
    let younger = rig.start("Long", "younger", 1);
    let mut rig = rig.cold();
    for id in ["e1", "e2", "e3", "e4", "e5", "e6"] {
        rig.track(id);
    }
    rig.go_on();
    assert_eq!(rig.facts(long, 101), ["e1", "e3", "e5"], "the oldest wait takes an event");
    assert_eq!(rig.facts(younger, 2), ["e2", "e4", "e6"]);
}

/// An event that waits was there before the deadline: a tick behind it fires nothing that the event
/// would have settled. Those of others that were due before do not wait.
#[test]
fn a_deadline_does_not_overtake_an_event_that_waits() {
    let mut rig = Rig::new();
    let early = rig.start("Long", "early", 1);
    rig.now = rig.now.after(DAY / 2);
    let long = rig.start("Long", "long", 100);
    let mut rig = rig.cold();
    rig.now = rig.now.after(DAY / 4);
    // The older one takes the first, and the other one waits for the long one.
    rig.track("e0");
    rig.go_on();
    assert_eq!(rig.facts(early, 2), ["e0"]);
    let ticket = rig.track("e1");
    rig.now = rig.now.after(DAY);
    rig.input(Input::tick(rig.now));
    rig.go_on();
    assert!(rig.is_answered(ticket));
    assert_eq!(rig.facts(long, 101)[0], "e1");
    rig.input(Input::tick(rig.now));
    rig.go_on();
    assert_eq!(rig.facts(early, 2), ["e0", "time"], "which aborts");
    assert!(rig.facts(long, 101).len() < 3);
}

#[test]
fn what_is_due_of_a_saga_that_has_to_be_read_fires_behind_others() {
    let mut rig = Rig::new();
    let long = rig.start("Long", "long", 300);
    let short = rig.start("Long", "short", 1);
    let mut rig = rig.cold();
    rig.now = rig.now.after(2 * DAY);
    rig.input(Input::tick(rig.now));
    assert_eq!(rig.facts(short, 2), ["time"]);
    assert_eq!(rig.facts(long, 301), [""; 0]);
    rig.go_on();
    assert_eq!(rig.facts(long, 301), ["time"]);
    assert!(rig.most <= PIECE as usize, "{} entries read at once", rig.most);
}

/// Nothing of it was acknowledged, and so it comes again.
#[test]
fn a_death_between_two_pieces_loses_and_doubles_nothing() {
    let mut rig = Rig::new();
    let long = rig.start("Long", "long", 100);
    for pieces in 0..16 {
        let mut rig = rig.cold();
        let call = rig.call_of(long);
        let bring = |rig: &mut Rig| {
            let ticket = rig.track("e1");
            rig.answer(&call);
            ticket
        };
        let ticket = bring(&mut rig);
        for _ in 0..pieces {
            if rig.line.has_more(&rig.core) {
                rig.piece();
            }
        }
        let was_acknowledged = rig.is_answered(ticket);
        let mut rig = rig.reopened(registry(), rig.limits);
        assert_eq!(was_acknowledged, rig.facts(long, 101).contains(&"e1".to_owned()));
        bring(&mut rig);
        rig.go_on();
        assert_eq!(rig.facts(long, 101), ["e1", "reply"]);
    }
}

#[test]
fn a_start_gives_out_what_a_long_saga_owes_when_it_was_read() {
    let mut rig = Rig::new();
    let long = rig.start("Long", "long", 300);
    let short = rig.start("Long", "short", 1);
    let mut rig = rig.reopened(registry(), limits());
    rig.go_on();
    let asked: BTreeSet<SagaId> = rig.asked.iter().map(|it| it.id.saga).collect();
    assert_eq!((asked, rig.asked.len()), (BTreeSet::from([long, short]), 2));
    assert!(rig.most <= PIECE as usize, "{} entries read at once", rig.most);
}

/// By a clock that is ahead it is too old to be asked for again; when the clock is right, it is.
#[test]
fn what_a_clock_withheld_of_a_long_saga_is_sent_when_it_was_read() {
    let mut rig = Rig::new();
    rig.start("Long", "long", 100);
    let began = rig.now;
    rig.now = began.after(365 * DAY);
    let limits = Limits { states_max: 0, futures_max: 1, ..limits() };
    let mut rig = rig.reopened(registry(), limits);
    rig.go_on();
    assert!(rig.asked.is_empty());
    rig.now = began;
    rig.input(Input::tick(began));
    rig.go_on();
    assert_eq!(rig.asked.len(), 1);
    assert!(rig.most <= PIECE as usize, "{} entries read at once", rig.most);
}

/// While intake is behind nothing that is withheld is for a person, so it stays. Two of them must
/// not have each other read again and again, nor a tick have all of them read.
#[test]
fn what_is_withheld_of_long_sagas_is_not_looked_at_for_ever() {
    let mut rig = Rig::new();
    let began = rig.now;
    let sagas = ["one", "two", "three"].map(|it| rig.start("Long", it, 50));
    rig.now = began.after(365 * DAY);
    let mut rig = rig.reopened(registry(), Limits { states_max: 4, ..limits() });
    rig.go_on();
    rig.input(Input::tick(began));
    let pieces = rig.go_on();
    assert_eq!((pieces, rig.asked.len()), (0, 0), "by the same clock all of it is as it was");
    // A clock that comes back a little, and then wholly.
    rig.now = began.after(364 * DAY);
    rig.input(Input::tick(began));
    assert!(rig.go_on() < 100);
    assert!(rig.asked.is_empty());
    rig.now = began;
    rig.input(Input::tick(began));
    rig.go_on();
    let asked: BTreeSet<SagaId> = rig.asked.iter().map(|it| it.id.saga).collect();
    assert_eq!((asked, rig.asked.len()), (BTreeSet::from(sagas), 3));
    assert!(rig.most <= PIECE as usize, "{} entries read at once", rig.most);
}

/// What is withheld of others leaves room for a long saga that owes.
#[test]
fn calls_that_are_too_old_leave_room_for_a_long_saga_that_owes() {
    for short in [100, 140] {
        let mut rig = Rig::new();
        (0..short).for_each(|it| _ = rig.start("Long", &format!("k{it}"), 0));
        rig.now = rig.now.after(40 * DAY);
        let long = rig.start("Long", "long", 50);
        let mut rig = rig.reopened(registry(), limits());
        rig.go_on();
        assert_eq!(rig.asked.iter().map(|it| it.id.saga).collect::<Vec<_>>(), [long]);
    }
}

/// Room for none of them: whoever was read has its turn first.
#[test]
fn long_sagas_that_have_no_room_in_memory_do_not_starve_each_other() {
    let mut rig = Rig::new();
    let sagas: Vec<SagaId> = (0..4).map(|it| rig.start("Long", &format!("k{it}"), 50)).collect();
    let mut rig = rig.cold();
    for round in 0..3 {
        for id in 0..4 {
            rig.track(&format!("e{round}{id}"));
        }
    }
    for saga in &sagas {
        let call = rig.call_of(*saga);
        rig.answer(&call);
    }
    rig.go_on();
    let statuses: Vec<Status> = sagas.iter().map(|it| rig.status(*it)).collect();
    assert_eq!(statuses, [Status::Completed; 4]);
    assert!(rig.most <= PIECE as usize, "{} entries read at once", rig.most);
}

#[test]
fn a_decision_on_a_saga_that_has_to_be_read_waits_for_it() {
    let mut rig = Rig::new();
    let long = rig.start("Asks", "all", 100);
    for by_task in [true, false] {
        let mut rig = rig.cold();
        let step = rig.core.head(long).unwrap().unwrap().waits[0].step.clone();
        let target = match by_task {
            true => Target::Task(TaskId { saga: long, step }),
            false => Target::Event { name: "shop.approved".to_owned(), key: "all".to_owned() },
        };
        let (approved, reason, seen) = (true, None, None);
        let ticket = rig.ask(Command::Decide(Decide { target, approved, reason, seen }));
        assert!(!rig.is_answered(ticket));
        rig.go_on();
        assert!(rig.is_answered(ticket));
        assert_eq!(rig.facts(long, 101), ["shop.approved"]);
        assert!(rig.most <= PIECE as usize, "{} entries read at once", rig.most);
    }
}

#[test]
fn copies_for_long_sagas_are_given_when_they_were_read_each_once_and_in_order() {
    let mut rig = Rig::new();
    let calls = [1, 100, 2, 200, 3];
    let sagas: Vec<SagaId> =
        (0..5).map(|it| rig.start("Copied", &format!("k{it}"), calls[it])).collect();
    let mut rig = rig.cold();
    let ticket = rig.track("e1");
    assert!(rig.is_answered(ticket), "a row says how far its copies have come");
    rig.piece();
    rig.track("e2");
    rig.go_on();
    for (saga, calls) in sagas.iter().zip(calls) {
        assert_eq!(rig.facts(*saga, 1 + calls as usize), ["e1", "e2"]);
    }
    assert!(rig.most <= PIECE as usize, "{} entries read at once", rig.most);
}

/// The pieces tell as much as the whole: the saga is held, and its journal is not read again to
/// find that out.
#[test]
fn code_that_does_not_fit_a_long_journal_is_found_in_pieces() {
    let mut rig = Rig::new();
    let long = rig.start("Long", "long", 100);
    let mut other = Registry::new("test");
    other.register::<Other>(&()).unwrap();
    let mut rig = rig.reopened(other, limits());
    rig.go_on();
    rig.track("e1");
    rig.go_on();
    let head = rig.core.head(long).unwrap().unwrap();
    assert_eq!(head.status, Status::Attention);
    assert!(head.reason.unwrap_or_default().contains("turn 0"), "where it diverges");
    assert!(rig.most <= PIECE as usize, "{} entries read at once", rig.most);
}

/// A repeat of an answer or an event, and a command of somebody who may give none.
#[test]
fn what_needs_no_journal_does_not_wait() {
    let mut rig = Rig::new();
    let long = rig.start("Long", "long", 100);
    let first = Request {
        id: RequestId { step: "0".parse().unwrap(), ..rig.call_of(long).id },
        ..rig.call_of(long)
    };
    let mut rig = rig.cold();
    rig.answer(&first);
    let action = Action::Cancel;
    let command = Command::Move { saga: long, action, reason: "please".to_owned() };
    let (ticket, actor) = (9_999, Actor { role: Role::Viewer, ..admin() });
    rig.input(Input::Asked { ticket, actor, command });
    assert!(rig.is_answered(ticket) && !rig.line.has_more(&rig.core), "nothing is read for them");
    let tracked = rig.track("e1");
    rig.go_on();
    let again = rig.track("e1");
    assert!(rig.is_answered(tracked) && rig.is_answered(again), "a duplicate waits for nobody");
    let is_duplicate = |it: &Effect| match it {
        Effect::Ack { verdicts, .. } => verdicts[0].outcome == Outcome::Duplicate,
        _ => false,
    };
    assert!(rig.effects.iter().any(is_duplicate));
    assert!(rig.most <= PIECE as usize, "{} entries read at once", rig.most);
}

/// A manager who answers in time is not told that nothing asks, as the saga had to be read first.
#[test]
fn a_deadline_does_not_overtake_a_decision_that_waits() {
    let mut rig = Rig::new();
    let long = rig.start("Asks", "all", 100);
    let mut rig = rig.cold();
    let due = rig.core.next_due().unwrap();
    rig.now = Time(due.0 - 10);
    let target = Target::Event { name: "shop.approved".to_owned(), key: "all".to_owned() };
    let (approved, reason, seen) = (true, None, None);
    rig.ask(Command::Decide(Decide { target, approved, reason, seen }));
    rig.now = due.after_ms(1);
    rig.input(Input::tick(rig.now));
    rig.go_on();
    assert_eq!(rig.facts(long, 101), ["shop.approved"], "it came 10 ms before the deadline");
}

/// Of two bodies under one id the first stays in force, also when it has to wait and the second,
/// which says another key, would not.
#[test]
fn a_body_does_not_overtake_another_one_under_its_id_that_waits() {
    let mut rig = Rig::new();
    let long = rig.start("Long", "long", 100);
    let mut rig = rig.cold();
    rig.track("e1");
    let second = rig.track_of("e1", "somebody-else");
    assert!(!rig.is_answered(second), "it waits as well");
    rig.go_on();
    assert_eq!(rig.facts(long, 101), ["e1"]);
    let outcome = |it: &Effect| match it {
        Effect::Ack { ticket, verdicts } if *ticket == second => Some(verdicts[0].outcome),
        _ => None,
    };
    assert_eq!(rig.effects.iter().find_map(outcome), Some(Outcome::Conflict));
}

/// So with a message that was no event, and that an operator offers as one under the same id.
#[test]
fn an_offer_does_not_overtake_a_body_under_its_id_that_waits() {
    let mut rig = Rig::new();
    let long = rig.start("Long", "long", 100);
    let mut rig = rig.cold();
    rig.input(Input::Unreadable(Unreadable {
        ticket: 8_888,
        name: "courier.status".to_owned(),
        id: "e1".to_owned(),
        body: "?".to_owned(),
        is_base64: false,
        headers: BTreeMap::new(),
        published_at: rig.now,
        reason: "it is no event".to_owned(),
    }));
    let position = rig.core.store().store.position();
    let first = rig.track("e1");
    let (name, source, at) = ("courier.status".to_owned(), "a".to_owned(), rig.now);
    let body = Payload::of(&json!({ "order": "somebody-else", "status": "x" })).unwrap();
    let (ticket, id, key) = (0, "e1".to_owned(), None);
    let reread = Some(Box::new(Ok(Arrival { ticket, name, id, source, key, body, at })));
    let reason = "a newer build reads it".to_owned();
    let offer = rig.ask(Command::Offer { position, reason, reread });
    assert!(!rig.is_answered(first) && !rig.is_answered(offer), "both wait");
    rig.go_on();
    assert_eq!(rig.facts(long, 101), ["e1"], "what came first under the id stays in force");
    let is_refused = |it: &Effect| match it {
        Effect::Answer { ticket, reply: Err(it) } => *ticket == offer && it.kind == Conflict,
        _ => false,
    };
    assert!(rig.effects.iter().any(is_refused));
}

/// So with an answer, and the time after which its call is given up.
#[test]
fn a_limit_does_not_overtake_an_answer_that_waits() {
    let mut rig = Rig::new();
    let long = rig.start("Long", "long", 100);
    let mut rig = rig.cold();
    let due = rig.now.after(30 * DAY);
    rig.now = Time(due.0 - 1_000);
    let call = rig.call_of(long);
    rig.answer(&call);
    rig.now = due.after_ms(1_000);
    rig.input(Input::tick(rig.now));
    rig.go_on();
    let facts = rig.facts(long, 101);
    assert_eq!(facts.iter().find(|it| *it != "time").unwrap(), "reply", "{facts:?}");
}

/// A rig with these definitions.
fn rig_with(limits: Limits, register: impl FnOnce(&mut Registry)) -> Rig {
    let mut registry = Registry::new("test");
    register(&mut registry);
    Rig::over(MemoryStore::new(Uuid::from_u128(7)), registry, limits, Time(1_000))
}

/// The lane of all keeps so many that are for nobody.
fn of_nobody(rig: &mut Rig, kept: u32) {
    for it in 0..kept {
        let body = json!({ "order": "all", "session": "of-nobody" });
        rig.event("pay.completed", &format!("e{it}"), &body);
    }
    rig.go_on();
}

mod beside_others;
mod cascades;
mod families;
mod families_worlds;
mod in_pieces;
mod in_turn;
mod looking;
mod mixed;
mod told;
mod unkept;

mod set_aside {
    use super::*;
    use crate::store::{Batch, Record, Slot};

    /// So many calls, then so many sleeps beside each other.
    struct Sleeps;
    impl Saga for Sleeps {
        const NAME: &'static str = "Sleeps";
        type Input = u32;
        type Output = ();
        type Settings = ();
        fn events() -> Vec<Declared> {
            events([event::<Tracked>()])
        }
        async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
            for _ in 0..calls {
                ctx.call(Reserve::of("1")).await?;
            }
            let sleeps = (0..300).map(|_| ctx.sleep(DAY / 2)).collect::<Vec<_>>();
            ctx.join(ctx.join_all(sleeps), ctx.when::<Tracked>("all").forever()).await?;
            Ok(())
        }
    }

    /// Its rows rot while the process runs. That is its own affair.
    #[test]
    fn a_long_saga_that_is_set_aside_holds_up_no_deadline_of_others() {
        let mut registry = Registry::new("test");
        registry.register::<Sleeps>(&()).unwrap();
        registry.register::<Long>(&()).unwrap();
        let store = MemoryStore::new(Uuid::from_u128(7));
        let limits = Limits { states_max: 0, futures_max: 0, ..limits() };
        let mut rig = Rig::over(store, registry, limits, Time(1_000));
        let bad = rig.start("Sleeps", "bad", 50);
        let good = rig.start("Long", "good", 1);
        let (position, slot) = (rig.core.store().position() + 1, Slot::Entry { saga: bad, seq: 3 });
        let bytes = br#"{"v":1,"it":{"at":"rotten"}}"#.to_vec();
        let record = Record { position, slot, bytes };
        let batch = Batch { records: vec![record], rows: Vec::new() };
        rig.core.store_mut().append(batch).unwrap();
        rig.make(bad, Action::Pause);
        rig.go_on();
        assert_eq!(rig.status(bad), Status::Attention, "set aside");
        rig.now = rig.now.after(2 * DAY);
        for _ in 0..20 {
            rig.input(Input::tick(rig.now));
            rig.go_on();
        }
        assert_eq!(rig.facts(good, 2), ["time"], "its day is over");
    }
}
