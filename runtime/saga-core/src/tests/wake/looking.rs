//! A saga whose wait looks at more than one piece of what its lane keeps: what comes for it
//! meanwhile stands behind what it may still get, as if it had looked at once.

use super::*;
use crate::{core::HeadQuery, scope::Either, store::Table, tests::fixtures};

/// More than one piece looks at.
const KEPT: u32 = 200;

/// So many calls; then it holds for money, beside a call, a question and an hour.
struct Races;
impl Saga for Races {
    const NAME: &'static str = "Races";
    type Input = u32;
    type Output = String;
    type Settings = ();
    fn events() -> Vec<Declared> {
        fixtures::holds_for()
    }
    async fn run(ctx: Ctx, calls: u32) -> Result<String, Abort> {
        for _ in 0..calls {
            ctx.call(Reserve::of("1")).await?;
        }
        let of_session = fixtures::Paid::session().eq(&"mine".to_owned());
        let money = ctx.when::<fixtures::Paid>("all").filter(of_session).forever();
        let question = ctx.when::<fixtures::Approved>("all").ask("go on?", &json!({})).within(DAY);
        let call = ctx.call(ShipStock::of("last"));
        match ctx.race(money, ctx.race(call, question)).await? {
            Either::First(_) => Ok("money".to_owned()),
            Either::Second(_) => Ok("something else".to_owned()),
        }
    }
}

/// It holds for money, and for the name that starts it and a sign of which each has a copy.
struct Hears;
impl Saga for Hears {
    const NAME: &'static str = "Hears";
    type Input = fixtures::Placed;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        let placed = event::<fixtures::Placed>().starts();
        events([placed, event::<fixtures::Paid>(), event::<Tracked>().each()])
    }
    async fn run(ctx: Ctx, _: fixtures::Placed) -> Result<(), Abort> {
        let of_session = fixtures::Paid::session().eq(&"mine".to_owned());
        let money = ctx.when::<fixtures::Paid>("all").filter(of_session).forever();
        let sign = ctx.when::<Tracked>("all").forever();
        let placed = ctx.when::<fixtures::Placed>("all").forever();
        ctx.race(money, ctx.race(sign, placed)).await?;
        Ok(())
    }
}

impl Rig {
    fn racing() -> Rig {
        Rig::racing_with(limits())
    }

    fn racing_with(limits: Limits) -> Rig {
        let mut registry = Registry::new("test");
        registry.register::<Races>(&()).unwrap();
        registry.register::<Hears>(&()).unwrap();
        registry.register::<Long>(&()).unwrap();
        Rig::over(MemoryStore::new(Uuid::from_u128(7)), registry, limits, Time(1_000))
    }

    fn pay(&mut self, id: &str, session: &str) {
        self.event("pay.completed", id, &json!({ "order": "all", "session": session }));
    }

    fn keeps_of_nobody(&mut self, kept: u32) {
        (0..kept).for_each(|it| self.pay(&format!("e{it}"), "of-nobody"));
        self.go_on();
    }

    /// The saga with all but the last of its calls answered.
    fn starts_to_look(&mut self, calls: u32) -> SagaId {
        let (definition, key) = ("Races".to_owned(), Some("all".to_owned()));
        self.ask(Command::Start { definition, key, input: Payload::of(&calls).unwrap() });
        let saga = self.asked.last().unwrap().id.saga;
        for _ in 0..calls {
            self.go_on();
            let call = self.asked.pop().unwrap();
            self.answer(&call);
        }
        saga
    }

    fn decide(&mut self) {
        let target = Target::Event { name: "shop.approved".to_owned(), key: "all".to_owned() };
        let (approved, reason, seen) = (true, None, None);
        self.ask(Command::Decide(Decide { target, approved, reason, seen }));
    }
}

/// What may come for a saga that looks, beside events.
const OTHERS: [fn(&mut Rig, SagaId); 3] = [
    |rig, saga| {
        let call = rig.call_of(saga);
        rig.answer(&call);
    },
    |rig, _| rig.decide(),
    |rig, saga| _ = rig.make(saga, Action::Cancel),
];

/// The money was there before.
#[test]
fn nothing_overtakes_the_money_that_the_lane_kept_before() {
    for calls in [0, 2 * PIECE] {
        for (number, other) in OTHERS.into_iter().enumerate() {
            let mut rig = Rig::racing();
            rig.keeps_of_nobody(KEPT);
            rig.pay("f", "mine");
            let saga = rig.starts_to_look(calls);
            other(&mut rig, saga);
            rig.go_on();
            let facts = rig.facts(saga, 1 + calls as usize);
            assert_eq!(facts[0], "f", "{calls} calls, {number}: {facts:?}");
        }
    }
}

/// The money came while it looked, and the other thing after it.
#[test]
fn nothing_overtakes_the_money_that_came_while_its_saga_looked() {
    for (kept, calls) in [(100, 0), (KEPT, 0), (100, 2 * PIECE), (KEPT, 2 * PIECE)] {
        for (number, other) in OTHERS.into_iter().enumerate() {
            let mut rig = Rig::racing();
            rig.keeps_of_nobody(kept);
            let saga = rig.starts_to_look(calls);
            rig.pay("f", "mine");
            other(&mut rig, saga);
            rig.go_on();
            let facts = rig.facts(saga, 1 + calls as usize);
            assert_eq!(facts[0], "f", "{kept} kept, {calls} calls, {number}: {facts:?}");
        }
    }
}

/// Nor does money that comes later overtake the other thing, which waits.
#[test]
fn money_does_not_overtake_what_waits_for_its_saga() {
    for (kept, calls) in [(100, 0), (KEPT, 0), (KEPT, 2 * PIECE)] {
        for (number, other) in OTHERS.into_iter().enumerate() {
            let mut rig = Rig::racing();
            rig.keeps_of_nobody(kept);
            let saga = rig.starts_to_look(calls);
            other(&mut rig, saga);
            rig.pay("f", "mine");
            rig.go_on();
            let facts = rig.facts(saga, 1 + calls as usize);
            assert_ne!(facts[0], "f", "{kept} kept, {calls} calls, {number}: {facts:?}");
        }
    }
}

/// Nor does a deadline that is due after an answer came, however late the answer has its turn.
#[test]
fn a_deadline_does_not_overtake_what_waits_for_those_who_look() {
    for calls in [0, 2 * PIECE] {
        let mut rig = Rig::racing();
        rig.keeps_of_nobody(KEPT);
        let saga = rig.starts_to_look(calls);
        rig.now = Time(rig.core.next_due().unwrap().0 - 1_000);
        let call = rig.call_of(saga);
        rig.answer(&call);
        rig.now = rig.now.after(2 * DAY);
        for _ in 0..10 {
            rig.input(Input::tick(rig.now));
        }
        rig.go_on();
        assert_eq!(rig.facts(saga, 1 + calls as usize), ["reply"], "{calls} calls");
    }
}

/// A process that ends meanwhile looks again when it starts, and so does not lose its place.
#[test]
fn a_death_while_it_looks_lets_nothing_overtake() {
    for calls in [0, 2 * PIECE] {
        let mut rig = Rig::racing();
        rig.keeps_of_nobody(KEPT);
        rig.pay("f", "mine");
        let saga = rig.starts_to_look(calls);
        let call = rig.call_of(saga);
        let mut rig = rig.reopened(rig.core.registry().clone(), rig.limits);
        rig.answer(&call);
        rig.go_on();
        assert_eq!(rig.facts(saga, 1 + calls as usize), ["f"], "{calls} calls");
    }
}

impl Rig {
    fn place(&mut self, id: &str) {
        self.event("shop.placed", id, &json!({ "order": "all" }));
    }

    fn only_saga(&self) -> SagaId {
        let heads = self.core.heads(&HeadQuery { limit: 2, ..HeadQuery::default() }).unwrap();
        assert_eq!(heads.len(), 1, "one saga");
        heads[0].id
    }
}

/// An event of which each has a copy, and one whose name starts sagas, reach their takers at once:
/// these as well come after the money that was there before.
#[test]
fn events_that_no_lane_keeps_do_not_overtake_the_money_that_came_before() {
    let others: [fn(&mut Rig); 2] = [|rig| _ = rig.track("c"), |rig| rig.place("p")];
    for (number, other) in others.into_iter().enumerate() {
        for is_there in [true, false] {
            let mut rig = Rig::racing();
            rig.keeps_of_nobody(KEPT);
            if is_there {
                rig.pay("f", "mine");
            }
            rig.place("start");
            let saga = rig.only_saga();
            if !is_there {
                rig.pay("f", "mine");
            }
            other(&mut rig);
            rig.go_on();
            assert_eq!(rig.facts(saga, 1), ["f"], "{number}, {is_there}");
        }
    }
}

/// And what came before the money comes before it.
#[test]
fn the_money_does_not_overtake_events_that_no_lane_keeps() {
    let signs: fn(&mut Rig) = |rig| _ = rig.track("c");
    let places: fn(&mut Rig) = |rig| rig.place("p");
    for (other, first) in [(signs, "c"), (places, "p")] {
        let mut rig = Rig::racing();
        rig.keeps_of_nobody(KEPT);
        rig.place("start");
        let saga = rig.only_saga();
        other(&mut rig);
        rig.pay("f", "mine");
        rig.go_on();
        assert_eq!(rig.facts(saga, 1), [first]);
    }
}

impl Rig {
    /// Pieces until the deadline of a saga has passed that holds on no lane of those who look.
    fn pieces_until_a_deadline(&mut self, other: SagaId) -> usize {
        for pieces in 0..10_000 {
            self.input(Input::tick(self.now));
            if self.facts(other, 2) == ["time"] {
                return pieces;
            }
            self.piece();
        }
        panic!("it fires")
    }

    /// So many sagas look at so many events each, when the deadline of another one comes.
    fn lookers_beside_a_deadline(kept: u32, lookers: u32) -> (Rig, SagaId) {
        let mut rig = Rig::racing();
        let other = rig.start("Long", "other", 1);
        rig.keeps_of_nobody(kept);
        rig.now = Time(rig.core.next_due().unwrap().0 - 1_000);
        for it in 0..lookers {
            rig.begin("Races", &format!("k{it}"), &0);
        }
        rig.now = rig.now.after_ms(1_000);
        (rig, other)
    }
}

/// However many look, and at however much: it is for nobody else to wait.
#[test]
fn a_deadline_does_not_wait_for_those_who_look_at_lanes_of_others() {
    let pieces = [(200, 1), (400, 1), (200, 20), (200, 40)].map(|(kept, lookers)| {
        let (mut rig, other) = Rig::lookers_beside_a_deadline(kept, lookers);
        rig.pieces_until_a_deadline(other)
    });
    assert_eq!(pieces, [0; 4]);
}

/// Nor for what waits for those who look.
#[test]
fn a_deadline_does_not_wait_for_answers_that_wait_for_those_who_look() {
    let pieces = [1, 20, 40].map(|lookers| {
        let (mut rig, other) = Rig::lookers_beside_a_deadline(KEPT, lookers);
        rig.now = Time(rig.now.0 - 500);
        for call in std::mem::take(&mut rig.asked) {
            if call.id.saga != other {
                rig.answer(&call);
            }
        }
        rig.now = rig.now.after_ms(1_000);
        rig.pieces_until_a_deadline(other)
    });
    assert_eq!(pieces, [0; 3]);
}

/// The money was there before the deadline, and so before what is due later.
#[test]
fn a_deadline_does_not_overtake_the_money_that_the_lane_kept_before() {
    for (lookers, ticks) in [(1, 1), (1, 40), (20, 200)] {
        let mut rig = Rig::racing();
        rig.keeps_of_nobody(KEPT);
        rig.pay("f", "mine");
        rig.go_on();
        let sagas: Vec<SagaId> =
            (0..lookers).map(|it| rig.begin("Races", &format!("k{it}"), &0)).collect();
        rig.now = rig.now.after(2 * DAY);
        for _ in 0..ticks {
            rig.input(Input::tick(rig.now));
        }
        rig.go_on();
        rig.input(Input::tick(rig.now));
        rig.go_on();
        let firsts: Vec<String> = sagas.iter().map(|it| rig.facts(*it, 1)[0].clone()).collect();
        assert_eq!(firsts[0], "f", "{lookers} look");
        assert!(firsts[1..].iter().all(|it| it == "time"), "{firsts:?}");
    }
}

/// What an ended saga leaves is swept, and all else is done, with as little room as there may be.
#[test]
fn each_piece_of_work_does_something_however_little_is_done_at_once() {
    for work_at_once in [0, 1, 2] {
        let mut rig = Rig::racing_with(Limits { work_at_once, ..limits() });
        rig.keeps_of_nobody(10);
        let kept = |rig: &Rig| {
            let rows = rig.core.store().store.all_rows();
            rows.filter(|it| it.0.0 == Table::Kept).count()
        };
        assert_eq!(kept(&rig), 20, "for two definitions");
        let saga = rig.starts_to_look(2 * PIECE);
        rig.make(saga, Action::Cancel);
        rig.go_on();
        assert!(rig.status(saga).is_ended(), "{:?}", rig.status(saga));
        assert_eq!(kept(&rig), 10, "no saga of the one may want it any more");
    }
}
