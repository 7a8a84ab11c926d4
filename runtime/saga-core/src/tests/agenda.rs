//! What is too much for one input goes on behind others: rows and journals of each input are
//! bounded, however much is stored, nothing is left out, and nothing overtakes.

mod given_back;

use super::{
    counting::Counting,
    fixtures::{DAY, Paid, Reserve},
};
use crate::{
    abort::Abort,
    core::{Core, HeadQuery, Limits, WORK_AT_ONCE, WORK_BESIDE},
    ctx::Ctx,
    effect::{Effect, Outcome, Request, RequestId},
    fold::Status,
    id::{SagaId, Time},
    input::{Action, Answer, Answered, Arrival, Command, Input},
    journal::Fact,
    payload::Payload,
    saga::{Declared, Registry, Saga, event, events},
    store::{MemoryStore, Store},
    testing::admin,
};
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Rows and records that one piece of work writes or reads at most.
const ROWS_OF_ONE: usize = 8;

/// Rows and records that one input may write, and as many may it read.
const INPUT_ROWS_MAX: usize = WORK_AT_ONCE * ROWS_OF_ONE;

/// A saga that is not in memory is read for its state, and for its code; so may be the one that the
/// input is about.
const INPUT_JOURNALS_MAX: usize = 2 * (WORK_AT_ONCE + 1);

/// All of them hold for the same events, for a day.
struct Hears;
impl Saga for Hears {
    const NAME: &'static str = "Hears";
    type Input = String;
    type Output = String;
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Paid>().each()])
    }
    async fn run(ctx: Ctx, session: String) -> Result<String, Abort> {
        let of_session = Paid::session().eq(&session);
        let first = ctx.when::<Paid>("all").filter(of_session).within(DAY).await?;
        let second = ctx.when::<Paid>("all").within(DAY).await?;
        Ok(format!("{first:?} {second:?}"))
    }
}

struct Asks;
impl Saga for Asks {
    const NAME: &'static str = "Asks";
    type Input = ();
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        Vec::new()
    }
    async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
        ctx.call(Reserve::of("1")).await?;
        ctx.call(Reserve::of("2")).await?;
        Ok(())
    }
}

struct Rig {
    core: Core<Counting>,
    asked: Vec<Request>,
    now: Time,
    tickets: u64,
    /// The most that one input has written, and read.
    most: (usize, usize),
    most_journals: usize,
}

fn registry() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<Hears>(&()).unwrap();
    registry.register::<Asks>(&()).unwrap();
    registry
}

/// One definition.
fn only<S: Saga<Settings = ()>>() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<S>(&()).unwrap();
    registry
}

impl Rig {
    fn over(store: MemoryStore, registry: Registry, limits: Limits, now: Time) -> Rig {
        let core = Core::open(Counting::over(store), registry, limits, now).unwrap();
        let (asked, most) = (Vec::new(), (0, 0));
        let most_journals = core.store().journals_read();
        Rig { core, asked, now, tickets: 0, most, most_journals }
    }

    fn with(registry: Registry) -> Rig {
        let store = MemoryStore::new(Uuid::from_u128(7));
        Rig::over(store, registry, Limits::default(), Time(1_000))
    }

    fn new() -> Rig {
        Rig::with(registry())
    }

    /// Another process, over what was durable.
    fn reopened(&self, limits: Limits) -> Rig {
        let store = self.core.store().store.clone();
        let mut rig = Rig::over(store, registry(), limits, self.now);
        rig.commit();
        rig
    }

    fn input(&mut self, input: Input) {
        self.core.store().forget_reads();
        self.core.handle(self.now, input).unwrap();
        let read = self.core.store().rows_read();
        self.most = (self.most.0.max(self.core.batch_rows()), self.most.1.max(read));
        self.most_journals = self.most_journals.max(self.core.store().journals_read());
        self.commit();
    }

    fn commit(&mut self) {
        for effect in self.core.commit().unwrap() {
            if let Effect::Send(request) = effect {
                self.asked.push(request);
            }
        }
    }

    fn start(&mut self, definition: &str, input: serde_json::Value) {
        self.tickets += 1;
        let (ticket, key) = (self.tickets, Some(format!("k{}", self.tickets)));
        let (definition, input) = (definition.to_owned(), Payload::of(&input).unwrap());
        let command = Command::Start { definition, key, input };
        self.input(Input::Asked { ticket, actor: admin(), command });
    }

    fn pay(&mut self, id: &str, session: &str) {
        self.tickets += 1;
        let body = Payload::of(&json!({ "order": "all", "session": session })).unwrap();
        let (name, id, source) = ("pay.completed".to_owned(), id.to_owned(), "pay".to_owned());
        let (ticket, at) = (self.tickets, self.now);
        self.input(Input::Arrived(Arrival { ticket, name, id, source, key: None, body, at }));
    }

    fn answer(&mut self, request: &Request) {
        let (RequestId { saga, step, is_undo }, epoch) = (request.id.clone(), request.epoch);
        let answer = Answer::Ok(Payload::null());
        self.input(Input::Answered(Answered { saga, epoch, step, is_undo, answer }));
    }

    /// The saga, of those that have one.
    fn saga(&self) -> SagaId {
        let query = HeadQuery { limit: 1, ..HeadQuery::default() };
        self.core.heads(&query).unwrap()[0].id
    }

    fn moves(&mut self, saga: SagaId, action: Action) {
        let command = Command::Move { saga, action, reason: "why".to_owned() };
        self.input(Input::Asked { ticket: 1, actor: admin(), command });
    }

    /// What is ruled on the event at this position now.
    fn ruled(&self, position: u64) -> Outcome {
        self.core.event(position).unwrap().unwrap().identity.unwrap().verdicts[0].outcome
    }

    fn go_on(&mut self) {
        while self.core.has_more() {
            self.input(Input::GoOn);
        }
    }

    fn is_bounded(&self) {
        let (written, read) = self.most;
        assert!(written <= INPUT_ROWS_MAX, "{written} rows and records written by one input");
        assert!(read <= INPUT_ROWS_MAX, "{read} rows and records read by one input");
        let journals = self.most_journals;
        assert!(journals <= INPUT_JOURNALS_MAX, "{journals} journals read by one input");
    }

    /// The events that each saga took, in order → how many took just these.
    fn taken(&self) -> BTreeMap<Vec<String>, usize> {
        let mut taken = BTreeMap::new();
        let query = HeadQuery { limit: usize::MAX, ..HeadQuery::default() };
        for head in self.core.heads(&query).unwrap() {
            let journal = self.core.journal(head.id).unwrap();
            let ids = journal.into_iter().filter_map(|it| match it.fact {
                Fact::Received { event_id, .. } => Some(event_id),
                _ => None,
            });
            *taken.entry(ids.collect()).or_default() += 1;
        }
        taken
    }
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|it| (*it).to_owned()).collect()
}

#[test]
fn an_event_for_many_sagas_is_copied_in_pieces_and_each_gets_it_once() {
    for sagas in [300, 600] {
        let mut rig = Rig::new();
        (0..sagas).for_each(|_| rig.start("Hears", json!("s")));
        rig.pay("e1", "s");
        assert!(rig.core.has_more());
        // Another one, before all have the first one; then the process dies.
        rig.pay("e2", "s");
        let most = rig.most;
        let mut rig = rig.reopened(Limits::default());
        rig.most = most;
        rig.tickets = 1_000;
        rig.start("Hears", json!("too late"));
        rig.go_on();
        rig.is_bounded();
        let expected = BTreeMap::from([(ids(&["e1", "e2"]), sagas), (ids(&[]), 1)]);
        assert_eq!(rig.taken(), expected);
    }
}

/// The deadlines of all have passed when the clock is read next: those who held when the event came
/// have it all the same, as if they had got it at once.
#[test]
fn what_comes_later_does_not_overtake_a_copy_that_is_still_owed() {
    let mut rig = Rig::new();
    (0..300).for_each(|_| rig.start("Hears", json!("s")));
    rig.pay("e1", "s");
    rig.now = rig.now.after(DAY);
    let watermark = rig.now;
    let before = rig.most;
    rig.input(Input::tick(watermark));
    rig.most = before;
    rig.go_on();
    assert_eq!(rig.taken(), BTreeMap::from([(ids(&["e1"]), 300)]));
}

/// The order of turns: those who bring something else wait for little of what others have left to
/// do, however much that is.
#[test]
fn an_input_of_somebody_else_does_little_of_what_a_flood_has_left() {
    for sagas in [300, 600] {
        let mut rig = Rig::new();
        rig.start("Asks", json!(null));
        (0..sagas).for_each(|_| rig.start("Hears", json!("s")));
        rig.pay("e1", "s");
        let (before, call) = (rig.core.store().position(), rig.asked.pop().unwrap());
        rig.answer(&call);
        assert!(rig.core.has_more());
        let turns = rig.core.store().position() - before;
        assert!(turns <= 1 + WORK_BESIDE as u64, "{turns} turns with the answer of another saga");
        rig.go_on();
        assert_eq!(rig.taken(), BTreeMap::from([(ids(&["e1"]), sagas), (ids(&[]), 1)]));
    }
}

#[test]
fn a_copy_goes_only_to_those_whose_filter_lets_it_through() {
    let mut rig = Rig::new();
    (0..200).for_each(|it| rig.start("Hears", json!(if it % 2 == 0 { "even" } else { "odd" })));
    rig.pay("e1", "odd");
    rig.go_on();
    assert_eq!(rig.taken(), BTreeMap::from([(ids(&["e1"]), 100), (ids(&[]), 100)]));
}

#[test]
fn a_start_gives_out_what_is_owed_in_pieces_each_request_once() {
    for sagas in [300, 600] {
        let mut rig = Rig::new();
        (0..sagas).for_each(|_| rig.start("Asks", json!(null)));
        let first: Vec<RequestId> = rig.asked.iter().map(|it| it.id.clone()).collect();
        let mut rig = rig.reopened(Limits::default());
        let owed = rig.core.owed();
        assert_eq!((owed.calls, owed.publishes), (sagas, 0), "what the start says");
        assert!(rig.core.has_more());
        // The one whose turn comes last is answered before.
        let last = first.iter().max().unwrap().clone();
        let answered = Answer::Ok(Payload::null());
        let (saga, step) = (last.saga, last.step.clone());
        let answered = Answered { saga, epoch: 0, step, is_undo: false, answer: answered };
        rig.input(Input::Answered(answered));
        rig.go_on();
        rig.is_bounded();
        let recovered: Vec<RequestId> = rig.asked.iter().map(|it| it.id.clone()).collect();
        let mut once = recovered.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), recovered.len(), "none is given out twice");
        let new = rig.asked.iter().filter(|it| !it.is_recovered).collect::<Vec<_>>();
        assert_eq!(new.len(), 1, "the answered saga's next call");
        assert_eq!(new[0].id.saga, last.saga);
        assert!(!recovered.contains(&last), "what was answered is not asked again");
        assert_eq!(recovered.len(), sagas);
        for request in std::mem::take(&mut rig.asked) {
            rig.answer(&request);
        }
        for request in std::mem::take(&mut rig.asked) {
            rig.answer(&request);
        }
        let status = Some(Status::Completed);
        let query = HeadQuery { status, limit: usize::MAX, ..HeadQuery::default() };
        assert_eq!(rig.core.heads(&query).unwrap().len(), sagas);
    }
}

/// Holds for a session of its own, on a lane that many share.
struct Filters;
impl Saga for Filters {
    const NAME: &'static str = "Filters";
    type Input = String;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Paid>()])
    }
    async fn run(ctx: Ctx, session: String) -> Result<(), Abort> {
        let of_session = Paid::session().eq(&session);
        ctx.when::<Paid>("all").filter(of_session).within(DAY).await?;
        Ok(())
    }
}

/// Nobody's timers fire while waits look at what their lanes keep, so that has to come to an end:
/// a wait looks on from where it was, however many events come meanwhile.
#[test]
fn events_that_come_while_a_wait_looks_cost_what_they_are_and_not_all_waits_of_the_lane() {
    let pieces = |arrivals: usize| {
        let mut rig = Rig::with(only::<Filters>());
        (0..20).for_each(|it| rig.start("Filters", json!(format!("mine-{it}"))));
        (0..200).for_each(|it| rig.pay(&format!("e{it}"), "of-nobody"));
        rig.go_on();
        // One more wait: it has 200 to look at, which is more than one input has room for.
        rig.start("Filters", json!("mine-20"));
        assert!(rig.core.has_more());
        (0..arrivals).for_each(|it| rig.pay(&format!("f{it}"), "of-nobody"));
        let mut pieces = 0;
        while rig.core.has_more() {
            rig.input(Input::GoOn);
            pieces += 1;
        }
        pieces
    };
    let (few, many) = (pieces(5), pieces(10));
    // The new wait looks at 200 and at what came meanwhile; nobody looks at what is not theirs.
    assert!(many <= few + 1, "{few} and {many} pieces of work of {WORK_AT_ONCE} each are left");
    assert!(few <= 3, "{few} and {many} pieces of work of {WORK_AT_ONCE} each are left");
}

mod resumed {
    use super::*;

    /// Asks for as many things at once as it may.
    struct Fans;
    impl Saga for Fans {
        const NAME: &'static str = "Fans";
        type Input = u32;
        type Output = ();
        type Settings = ();
        fn events() -> Vec<Declared> {
            Vec::new()
        }
        async fn run(ctx: Ctx, many: u32) -> Result<(), Abort> {
            let calls = (0..many).map(|it| ctx.call(Reserve::of(&it.to_string())));
            ctx.join_all(calls).await.map(drop)
        }
    }

    fn rig(many: u32) -> Rig {
        let mut rig = Rig::with(only::<Fans>());
        rig.start("Fans", json!(many));
        rig
    }

    /// What a saga was told meanwhile may be thousands of turns, and everybody else waits for each.
    #[test]
    fn a_resume_makes_no_more_turns_at_once_than_other_inputs() {
        let mut rig = rig(400);
        rig.moves(rig.saga(), Action::Pause);
        for request in std::mem::take(&mut rig.asked) {
            rig.answer(&request);
        }
        let before = rig.core.store().position();
        rig.moves(rig.saga(), Action::Resume);
        let turns = rig.core.store().position() - before;
        assert!(turns <= 2 * WORK_AT_ONCE as u64, "{turns} turns by one input");
    }

    #[test]
    fn a_resume_after_a_month_gives_up_no_more_calls_at_once_than_other_inputs() {
        let mut rig = rig(400);
        rig.moves(rig.saga(), Action::Pause);
        (0..31).for_each(|_| rig.now = rig.now.after(DAY));
        let before = rig.core.store().position();
        rig.moves(rig.saga(), Action::Resume);
        let turns = rig.core.store().position() - before;
        assert!(turns <= 2 * WORK_AT_ONCE as u64, "{turns} turns by one input");
    }
}

/// What a start withheld, as it is too old to be sent again, is looked at with each tick, in turn:
/// to look at one reads its journal.
#[test]
fn a_tick_after_a_long_outage_looks_at_no_more_sagas_than_other_inputs() {
    let limits = Limits { states_max: 64, ..Limits::default() };
    let mut rig = Rig::new();
    (0..600).for_each(|_| rig.start("Asks", json!(null)));
    (0..31).for_each(|_| rig.now = rig.now.after(DAY));
    let mut rig = rig.reopened(limits);
    rig.go_on();
    rig.most_journals = 0;
    rig.input(Input::tick(rig.now));
    let journals = rig.most_journals;
    assert!(journals <= INPUT_JOURNALS_MAX, "{journals} journals read by one tick, of 600 sagas");
}

mod caught_up {
    use super::*;

    /// Takes every copy, for ever.
    struct Listens;
    impl Saga for Listens {
        const NAME: &'static str = "Listens";
        type Input = ();
        type Output = ();
        type Settings = ();
        fn events() -> Vec<Declared> {
            events([event::<Paid>().each()])
        }
        async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
            loop {
                ctx.when::<Paid>("all").forever().await?;
            }
        }
    }

    /// Who gets a copy late gets all that came since as well. That counts as what is done in a
    /// piece of work.
    #[test]
    fn a_piece_of_copying_makes_no_more_turns_when_there_are_more_events_to_copy() {
        let most = |events: u32| {
            let mut rig = Rig::with(only::<Listens>());
            (0..150).for_each(|_| rig.start("Listens", json!(null)));
            let mut turns = 0;
            let mut counted = |rig: &mut Rig, act: &mut dyn FnMut(&mut Rig)| {
                let before = rig.core.store().position();
                act(rig);
                turns = turns.max(rig.core.store().position() - before);
            };
            for it in 0..events {
                counted(&mut rig, &mut |rig| rig.pay(&format!("e{it}"), "s"));
            }
            while rig.core.has_more() {
                counted(&mut rig, &mut |rig| rig.input(Input::GoOn));
            }
            turns
        };
        let (few, many) = (most(10), most(40));
        assert!(many <= 2 * WORK_AT_ONCE as u64, "{few} and {many} turns by one input");
    }
}

/// Who gets an event that comes while waits are on their way through what its lane keeps.
mod looking {
    use super::*;

    fn started(rig: &mut Rig, session: &str) -> SagaId {
        rig.start("Filters", json!(session));
        let key = Some(format!("k{}", rig.tickets));
        let query = HeadQuery { key, limit: 1, ..HeadQuery::default() };
        rig.core.heads(&query).unwrap()[0].id
    }

    fn status(rig: &Rig, saga: SagaId) -> Status {
        rig.core.head(saga).unwrap().unwrap().status
    }

    #[test]
    fn an_event_that_comes_while_a_younger_wait_looks_goes_to_the_oldest() {
        let mut rig = Rig::with(only::<Filters>());
        let oldest = started(&mut rig, "mine");
        (0..200).for_each(|it| rig.pay(&format!("e{it}"), "of-nobody"));
        rig.go_on();
        let younger = started(&mut rig, "mine");
        assert!(rig.core.has_more(), "it looks at 200");
        rig.pay("f", "mine");
        assert_eq!(status(&rig, oldest), Status::Completed, "at once: it looks at nothing");
        rig.pay("g", "mine");
        rig.go_on();
        assert_eq!(status(&rig, younger), Status::Completed, "what is next is for the next");
    }

    /// A wait that was opened while older ones look looks behind them, and what came before it
    /// was opened stands before it.
    #[test]
    fn an_event_that_comes_while_several_look_goes_to_the_oldest_of_them() {
        let mut rig = Rig::with(only::<Filters>());
        (0..200).for_each(|it| rig.pay(&format!("e{it}"), "of-nobody"));
        let oldest = started(&mut rig, "mine");
        rig.start("Filters", json!("mine"));
        rig.pay("f", "mine");
        rig.start("Filters", json!("mine"));
        rig.go_on();
        let completed = |rig: &Rig| {
            let query = HeadQuery { limit: 9, ..HeadQuery::default() };
            let heads = rig.core.heads(&query).unwrap().into_iter();
            heads.filter(|it| it.status == Status::Completed).map(|it| it.id).collect::<Vec<_>>()
        };
        assert_eq!(completed(&rig), [oldest]);
    }

    /// So does one that was given to a saga whose code never sees it, and that is back in its lane.
    #[test]
    fn an_event_that_comes_back_while_a_younger_wait_looks_goes_to_the_oldest() {
        let mut rig = Rig::with(only::<Filters>());
        let first = started(&mut rig, "mine");
        rig.moves(first, Action::Pause);
        (0..200).for_each(|it| rig.pay(&format!("e{it}"), "of-nobody"));
        rig.pay("f", "mine");
        let oldest = started(&mut rig, "mine");
        rig.go_on();
        let younger = started(&mut rig, "mine");
        assert!(rig.core.has_more(), "it looks at 200");
        rig.moves(first, Action::Cancel);
        rig.go_on();
        let ends = [first, oldest, younger].map(|it| status(&rig, it));
        assert_eq!(ends, [Status::Cancelled, Status::Completed, Status::Waiting]);
    }

    /// Somebody holds for it: whether the lane is full does not matter, be it that he looks himself
    /// or that others do.
    #[test]
    fn an_event_that_somebody_holds_for_is_no_dead_letter_while_waits_look() {
        for is_looking in [false, true] {
            let mut rig = Rig::with(only::<Filters>());
            if !is_looking {
                rig.start("Filters", json!("mine"));
            }
            (0..1_000).for_each(|it| rig.pay(&format!("e{it}"), "of-nobody"));
            rig.go_on();
            rig.start("Filters", json!(if is_looking { "mine" } else { "other" }));
            assert!(rig.core.has_more(), "it looks at 1000");
            let paid = |rig: &mut Rig, id: &str, session: &str| {
                let position = rig.core.store().position() + 1;
                rig.pay(id, session);
                position
            };
            let [mine, nobodys] = [("f", "mine"), ("g", "of-nobody")]
                .map(|(id, session)| paid(&mut rig, id, session));
            rig.go_on();
            let ruled = [mine, nobodys].map(|it| rig.ruled(it));
            assert_eq!(ruled, [Outcome::Consumed, Outcome::DeadLetter], "{is_looking}");
        }
    }

    /// Takes what is for its session, one after the other.
    struct Collects;
    impl Saga for Collects {
        const NAME: &'static str = "Collects";
        type Input = String;
        type Output = ();
        type Settings = ();
        fn events() -> Vec<Declared> {
            events([event::<Paid>()])
        }
        async fn run(ctx: Ctx, session: String) -> Result<(), Abort> {
            for _ in 0..3 {
                let of_session = Paid::session().eq(&session);
                ctx.when::<Paid>("all").filter(of_session).forever().await?;
            }
            Ok(())
        }
    }

    /// As if each had been done at once: the saga takes the first, and holds for the next.
    #[test]
    fn an_event_for_a_saga_that_takes_one_after_the_other_is_no_dead_letter_while_it_looks() {
        for kept in [100, 1_000] {
            let mut rig = Rig::with(only::<Collects>());
            (0..kept).for_each(|it| rig.pay(&format!("e{it}"), "of-nobody"));
            rig.go_on();
            rig.start("Collects", json!("mine"));
            let all = ["f", "g", "h"].map(|id| {
                let position = rig.core.store().position() + 1;
                rig.pay(id, "mine");
                position
            });
            rig.go_on();
            assert_eq!(all.map(|it| rig.ruled(it)), [Outcome::Consumed; 3], "{kept} kept");
        }
    }
}

/// Holds for the first event of its session; then it has what it wants, or holds for any other.
struct Series;
impl Saga for Series {
    const NAME: &'static str = "Series";
    type Input = (String, bool);
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Paid>().each()])
    }
    async fn run(ctx: Ctx, (session, goes_on): (String, bool)) -> Result<(), Abort> {
        let of_session = Paid::session().eq(&session);
        ctx.when::<Paid>("all").filter(of_session).forever().await?;
        if goes_on {
            ctx.when::<Paid>("all").forever().await?;
        }
        Ok(())
    }
}

/// Whoever gets the first copy late gets the second one as well, as if it had got it at once; and
/// what nobody then holds for is unclaimed.
#[test]
fn a_copy_is_for_those_who_come_to_hold_for_it_by_a_copy_that_they_have_not_got() {
    for (first, dies) in [(100, false), (200, false), (200, true)] {
        let mut rig = Rig::with(only::<Series>());
        (0..first).for_each(|_| rig.start("Series", json!(["s", false])));
        (0..10).for_each(|_| rig.start("Series", json!(["s", true])));
        rig.pay("e1", "s");
        let [second, third] = ["e2", "e3"].map(|id| {
            let position = rig.core.store().position() + 1;
            rig.pay(id, "another");
            position
        });
        if dies {
            let store = rig.core.store().store.clone();
            rig = Rig::over(store, only::<Series>(), Limits::default(), rig.now);
            rig.commit();
        }
        rig.go_on();
        let expected = BTreeMap::from([(ids(&["e1"]), first), (ids(&["e1", "e2"]), 10)]);
        assert_eq!(rig.taken(), expected, "{first}");
        let ruled = [second, third].map(|it| {
            let identity = rig.core.event(it).unwrap().unwrap().identity.unwrap();
            identity.verdicts[0].outcome
        });
        assert_eq!(ruled, [Outcome::Consumed, Outcome::Unclaimed]);
    }
}
