//! What comes for a saga stands behind what it would have got before, also when that waits for
//! another saga.

use super::*;
use crate::{filter::Field, message::Event, scope::Either, tests::fixtures};
use serde::Deserialize;

/// More than one piece looks at.
const KEPT: u32 = 200;

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Word {}
impl Event for Word {
    const SUBJECTS: &'static [&'static str] = &["word.said"];
    const KEY: &'static str = "/order";
}
impl Word {
    fn status() -> Field<Word, String> {
        Field::at("/status")
    }
}

/// Holds for money beside a call; behind the call, if it looks, for a word that never comes.
struct Twice;
impl Saga for Twice {
    const NAME: &'static str = "Twice";
    type Input = bool;
    type Output = String;
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>(), event::<Word>(), event::<Tracked>().each()])
    }
    async fn run(ctx: Ctx, looks: bool) -> Result<String, Abort> {
        let money = ctx.when::<fixtures::Paid>("all").forever();
        let rest = async {
            ctx.call(ShipStock::of("last")).await?;
            if looks {
                let never = Word::status().eq(&"never".to_owned());
                ctx.when::<Word>("all").filter(never).forever().await?;
            }
            Ok::<_, Abort>(())
        };
        match ctx.race(money, rest).await? {
            Either::First(_) => Ok("money".to_owned()),
            Either::Second(()) => Ok("something else".to_owned()),
        }
    }
}

/// So many calls; then it holds for money or a last call.
struct Holds;
impl Saga for Holds {
    const NAME: &'static str = "Holds";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>(), event::<Tracked>().each()])
    }
    async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
        for _ in 0..calls {
            ctx.call(Reserve::of("1")).await?;
        }
        let money = ctx.when::<fixtures::Paid>("all").forever();
        let sign = ctx.when::<Tracked>("all").forever();
        ctx.race(ctx.race(money, sign), ctx.call(ShipStock::of("last"))).await?;
        Ok(())
    }
}

/// It holds for money of nobody, a sign of which each has a copy, and a call.
struct Signs;
impl Saga for Signs {
    const NAME: &'static str = "Signs";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        let placed = event::<fixtures::Placed>().starts();
        events([placed, event::<fixtures::Paid>(), event::<Tracked>().each()])
    }
    async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
        for _ in 0..calls {
            ctx.call(Reserve::of("1")).await?;
        }
        let of_session = fixtures::Paid::session().eq(&"mine".to_owned());
        let money = ctx.when::<fixtures::Paid>("all").filter(of_session).forever();
        let sign = ctx.when::<Tracked>("all").within(DAY);
        let placed = ctx.when::<fixtures::Placed>("all").forever();
        ctx.race(money, ctx.race(sign, ctx.race(placed, ctx.call(ShipStock::of("last"))))).await?;
        Ok(())
    }
}

impl Rig {
    fn beside_others() -> Rig {
        let mut registry = Registry::new("test");
        registry.register::<Twice>(&()).unwrap();
        registry.register::<Holds>(&()).unwrap();
        registry.register::<Signs>(&()).unwrap();
        Rig::over(MemoryStore::new(Uuid::from_u128(7)), registry, limits(), Time(1_000))
    }

    fn money(&mut self, id: &str) -> Ticket {
        self.event("pay.completed", id, &json!({ "order": "all", "session": "s" }))
    }
}

/// Of two payments the second is the younger saga's. Both stand behind what the older one may
/// still get; the younger's answer came after them.
#[test]
fn an_answer_does_not_overtake_money_that_stands_behind_another_sagas_look() {
    let mut rig = Rig::beside_others();
    for it in 0..KEPT {
        rig.event("word.said", &format!("w{it}"), &json!({ "order": "all", "status": "x" }));
    }
    let older = rig.begin("Twice", "k1", &true);
    let younger = rig.begin("Twice", "k2", &false);
    rig.go_on();
    let call = rig.call_of(older);
    rig.answer(&call);
    assert!(rig.core.is_looking(older).unwrap());
    rig.money("m1");
    rig.money("m2");
    let call = rig.call_of(younger);
    rig.answer(&call);
    rig.go_on();
    assert_eq!(rig.facts(older, 2)[0], "m1");
    assert_eq!(rig.facts(younger, 1)[0], "m2", "{:?}", rig.facts(younger, 1));
}

/// What may come for a saga, beside events.
const OTHERS: [fn(&mut Rig, SagaId); 2] = [
    |rig, saga| {
        let call = rig.call_of(saga);
        rig.answer(&call);
    },
    |rig, saga| _ = rig.make(saga, Action::Cancel),
];

/// The same where the older saga has to be read first.
#[test]
fn nothing_overtakes_money_that_waits_for_another_saga_to_be_read() {
    for other in OTHERS {
        let mut rig = Rig::beside_others();
        let older = rig.start("Holds", "k1", 100);
        let younger = rig.start("Holds", "k2", 1);
        let call = rig.call_of(younger);
        let limits = Limits { states_max: 0, futures_max: 1, ..rig.limits };
        let mut rig = rig.reopened(rig.core.registry().clone(), limits);
        rig.asked.push(call);
        rig.go_on();
        rig.money("m1");
        rig.money("m2");
        other(&mut rig, younger);
        rig.go_on();
        assert_eq!(rig.facts(older, 101), ["m1"]);
        assert_eq!(rig.facts(younger, 2)[0], "m2", "{:?}", rig.facts(younger, 2));
    }
}

/// What waits for a copy's saga was there before the copy, and the copy before what comes later
/// for others who have it.
#[test]
fn a_copy_stands_behind_what_waits_and_before_what_comes_later() {
    let mut rig = Rig::beside_others();
    let older = rig.start("Holds", "k1", 100);
    let younger = rig.start("Holds", "k2", 1);
    let calls = [older, younger].map(|it| rig.call_of(it));
    let limits = Limits { states_max: 0, futures_max: 1, ..rig.limits };
    let mut rig = rig.reopened(rig.core.registry().clone(), limits);
    rig.go_on();
    rig.answer(&calls[0]);
    rig.track("c");
    rig.answer(&calls[1]);
    rig.go_on();
    assert_eq!(rig.facts(older, 101), ["reply"]);
    assert_eq!(rig.facts(younger, 2), ["c"]);
}

/// An answer, a cancel, and an event that starts sagas wait until the saga has looked; a copy that
/// came later does not go before them.
#[test]
fn a_copy_does_not_overtake_what_waits_until_its_saga_has_looked() {
    let starts: fn(&mut Rig, SagaId) =
        |rig, _| _ = rig.event("shop.placed", "p", &json!({ "order": "all" }));
    for calls in [0, 2 * PIECE] {
        for (other, first) in [(OTHERS[0], "reply"), (OTHERS[1], "Moved"), (starts, "p")] {
            let mut rig = Rig::beside_others();
            (0..KEPT).for_each(|it| _ = rig.money(&format!("e{it}")));
            rig.go_on();
            let saga = rig.begin("Signs", "k1", &calls);
            for _ in 0..calls {
                rig.go_on();
                let call = rig.asked.pop().unwrap();
                rig.answer(&call);
            }
            assert!(rig.core.is_looking(saga).unwrap());
            other(&mut rig, saga);
            rig.track("c");
            rig.go_on();
            let facts = rig.facts(saga, 1 + calls as usize);
            assert_ne!(facts[0], "c", "{calls} calls, {first}: {facts:?}");
        }
    }
}

/// The definition is missing; what came in time comes before the deadline, also when the saga
/// looks at what its lane keeps when it comes.
#[test]
fn what_comes_for_a_missing_definition_while_its_saga_looks_comes_before_its_deadline() {
    for is_looking in [false, true] {
        for (name, id) in [("courier.status", "c"), ("shop.placed", "p")] {
            let mut rig = Rig::beside_others();
            let registry = rig.core.registry().clone();
            (0..KEPT).for_each(|it| _ = rig.money(&format!("e{it}")));
            rig.go_on();
            let saga = rig.begin("Signs", "k1", &0);
            rig.go_on();
            let mut rig = rig.reopened(Registry::new("test"), rig.limits);
            if !is_looking {
                rig.go_on();
            }
            assert_eq!(rig.core.is_looking(saga).unwrap(), is_looking);
            rig.event(name, id, &json!({ "order": "all", "status": "x" }));
            rig.go_on();
            rig.now = rig.now.after(2 * DAY);
            rig.input(Input::tick(rig.now));
            rig.go_on();
            let mut rig = rig.reopened(registry, rig.limits);
            rig.go_on();
            assert_eq!(rig.facts(saga, 1)[0], id, "{is_looking}");
        }
    }
}

/// Three rounds of money beside a call.
struct Thrice;
impl Saga for Thrice {
    const NAME: &'static str = "Thrice";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
        let rounds = async {
            for _ in 0..3 {
                let money = ctx.when::<fixtures::Paid>("all").forever();
                ctx.race(money, ctx.call(ShipStock::of("last"))).await?;
            }
            Ok::<_, Abort>(())
        };
        let others = (0..calls).map(|_| ctx.call(Reserve::of("1"))).collect::<Vec<_>>();
        ctx.join(rounds, ctx.join_all(others)).await?;
        Ok(())
    }
}

/// A resumed saga is told in pieces what was held. What goes back then, as its code took something
/// else, comes before what came for it meanwhile.
#[test]
fn money_does_not_overtake_money_that_is_still_held() {
    // One piece of all, with little room, and more pieces with what there is.
    for (calls, limits) in
        [(0, limits()), (0, Limits { work_at_once: 2, ..limits() }), (140, Limits::default())]
    {
        let mut registry = Registry::new("test");
        registry.register::<Thrice>(&()).unwrap();
        let store = MemoryStore::new(Uuid::from_u128(7));
        let mut rig = Rig::over(store, registry, limits, Time(1_000));
        let saga = rig.begin("Thrice", "k1", &calls);
        rig.make(saga, Action::Pause);
        let (mut asked, is_last) = (rig.asked.clone(), |it: &Request| it.subject.contains("ship"));
        asked.sort_by_key(|it| !is_last(it));
        asked.iter().for_each(|it| rig.answer(it));
        rig.money("m1");
        rig.make(saga, Action::Resume);
        rig.money("m2");
        rig.go_on();
        let facts = rig.facts(saga, 1);
        let resumed = facts.iter().position(|it| it == "Resumed").unwrap();
        assert_eq!(facts[resumed + 1..], ["m1", "m2"], "{calls} calls, {}", limits.work_at_once);
    }
}

/// By the answer it would hold: what comes behind that is for it, however long it has to be read.
#[test]
fn an_event_that_no_lane_keeps_does_not_overtake_the_answer_behind_which_its_saga_holds_for_it() {
    for is_asleep in [false, true] {
        for (name, id) in [("courier.status", "c"), ("shop.placed", "p")] {
            let mut rig = Rig::beside_others();
            let saga = rig.begin("Signs", "all", &40);
            for _ in 0..39 {
                let at = rig.asked.iter().position(|it| !it.subject.contains("ship")).unwrap();
                let call = rig.asked.remove(at);
                rig.answer(&call);
                rig.go_on();
            }
            let call = rig.asked.pop().unwrap();
            if is_asleep {
                let limits = Limits { states_max: 0, futures_max: 1, ..rig.limits };
                rig = rig.reopened(rig.core.registry().clone(), limits);
                rig.go_on();
            }
            rig.answer(&call);
            rig.event(name, id, &json!({ "order": "all", "status": "x" }));
            rig.go_on();
            assert_eq!(rig.facts(saga, 41), [id], "{is_asleep}");
        }
    }
}

/// Money beside a day, behind a call.
struct Within;
impl Saga for Within {
    const NAME: &'static str = "Within";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
        let others = (0..calls).map(|_| ctx.call(Reserve::of("1"))).collect::<Vec<_>>();
        let money = async {
            ctx.call(ShipStock::of("last")).await?;
            ctx.when::<fixtures::Paid>("all").forever().await?;
            Ok::<_, Abort>(())
        };
        ctx.join(ctx.race(ctx.sleep(DAY), money), ctx.join_all(others)).await?;
        Ok(())
    }
}

/// So many answers are held, the last of them the one behind which it holds for money.
fn is_resumed(limits: Limits, calls: u32, money: bool) -> (Rig, SagaId) {
    let mut registry = Registry::new("test");
    registry.register::<Within>(&()).unwrap();
    let mut rig = Rig::over(MemoryStore::new(Uuid::from_u128(7)), registry, limits, Time(1_000));
    let saga = rig.begin("Within", "k1", &calls);
    rig.make(saga, Action::Pause);
    let (mut asked, is_last) = (rig.asked.clone(), |it: &Request| it.subject.contains("ship"));
    asked.sort_by_key(is_last);
    asked.iter().for_each(|it| rig.answer(it));
    if money {
        rig.money("m1");
    }
    rig.make(saga, Action::Resume);
    assert!(rig.core.is_looking(saga).unwrap(), "it is not told all at once");
    (rig, saga)
}

/// The money came before the day was over, and so before its deadline: the saga would hold for it
/// if it had been told all that was held.
#[test]
fn a_deadline_does_not_overtake_the_money_behind_what_is_still_held() {
    let (mut rig, saga) = is_resumed(Limits::default(), 300, true);
    rig.now = rig.now.after(2 * DAY);
    rig.input(Input::tick(rig.now));
    rig.go_on();
    let facts = rig.facts(saga, 1);
    let resumed = facts.iter().position(|it| it == "Resumed").unwrap();
    assert_eq!(facts[resumed + 1], "m1");
}

/// An operator waits until the saga was told what was held, and that is bounded: as many facts in
/// each piece as it has room for, and no more are held than were open at once.
#[test]
fn an_operator_waits_for_no_more_pieces_than_what_was_held_takes() {
    for action in [Action::Pause, Action::Terminate, Action::Cancel] {
        for calls in [300, 600] {
            let (mut rig, saga) = is_resumed(Limits::default(), calls, false);
            let ticket = rig.make(saga, action);
            let mut pieces = 0;
            while !rig.is_answered(ticket) {
                rig.piece();
                pieces += 1;
                assert!(pieces < 1_000, "it is answered");
            }
            let most = calls.div_ceil(128) + 1;
            assert!(pieces <= most, "{action:?} behind {calls}: {pieces} pieces");
        }
    }
}

/// Nobody holds for the money when it comes. By the first answer the saga does, and it was told of
/// the second one before the money came.
#[test]
fn money_that_a_lane_keeps_does_not_overtake_what_waits_for_the_saga_that_will_hold_for_it() {
    for is_asleep in [false, true] {
        let mut registry = Registry::new("test");
        registry.register::<Within>(&()).unwrap();
        let store = MemoryStore::new(Uuid::from_u128(7));
        let mut rig = Rig::over(store, registry, limits(), Time(1_000));
        let saga = rig.begin("Within", "k1", &40);
        let (mut asked, is_last) = (rig.asked.clone(), |it: &Request| it.subject.contains("ship"));
        asked.sort_by_key(is_last);
        let last = [asked.pop().unwrap(), asked.pop().unwrap()];
        asked.iter().for_each(|it| rig.answer(it));
        rig.go_on();
        if is_asleep {
            let limits = Limits { states_max: 0, futures_max: 1, ..rig.limits };
            rig = rig.reopened(rig.core.registry().clone(), limits);
            rig.go_on();
        }
        last.iter().for_each(|it| rig.answer(it));
        rig.money("m1");
        rig.go_on();
        assert_eq!(rig.facts(saga, 40), ["reply", "reply", "m1"], "{is_asleep}");
    }
}

/// The same where it would hold for it if it had been told all that was held.
#[test]
fn money_that_a_lane_keeps_does_not_overtake_what_waits_until_its_saga_is_told_what_was_held() {
    let (mut rig, saga) = is_resumed(Limits::default(), 300, false);
    rig.make(saga, Action::Pause);
    rig.money("m1");
    rig.go_on();
    let facts = rig.facts(saga, 1);
    let resumed = facts.iter().position(|it| it == "Resumed").unwrap();
    assert_eq!(facts[resumed + 1..], ["Paused", "m1"]);
}

/// However many wait for those who look, a piece asks again only about those who may have looked.
#[test]
fn a_piece_reads_nothing_for_those_who_still_wait() {
    for others in [50, 100] {
        let mut rig = Rig::beside_others();
        for it in 0..950 {
            rig.event("word.said", &format!("w{it}"), &json!({ "order": "all", "status": "x" }));
        }
        let older = rig.begin("Twice", "k", &true);
        let others: Vec<SagaId> =
            (0..others).map(|it| rig.begin("Twice", &format!("k{it}"), &false)).collect();
        rig.go_on();
        let calls: Vec<Request> = others.iter().map(|it| rig.call_of(*it)).collect();
        let call = rig.call_of(older);
        let limits = Limits { states_max: 0, ..rig.limits };
        rig = rig.reopened(rig.core.registry().clone(), limits);
        rig.go_on();
        rig.answer(&call);
        rig.money("m1");
        calls.iter().for_each(|it| rig.answer(it));
        assert!(rig.line.next(&rig.core).unwrap().is_none(), "all of them wait");
        rig.core.store().forget_reads();
        assert!(rig.line.next(&rig.core).unwrap().is_none(), "still");
        assert_eq!(rig.core.store().rows_read(), 0, "{} wait", calls.len());
        rig.go_on();
        assert_eq!(rig.facts(older, 2), ["m1"]);
        assert!(others.iter().all(|it| rig.facts(*it, 1) == ["reply"]));
    }
}
