//! An event that no lane keeps is given to whoever would hold for it, if all that came before had
//! been done at once.

use super::*;
use crate::tests::fixtures;

/// More than one piece looks at.
const KEPT: u32 = 200;

/// Money of its own, beside a sign if it holds for one at once; then a sign or an order.
struct Then;
impl Saga for Then {
    const NAME: &'static str = "Then";
    type Input = bool;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        let placed = event::<fixtures::Placed>().starts();
        events([placed, event::<fixtures::Paid>(), event::<Tracked>().each()])
    }
    async fn run(ctx: Ctx, holds: bool) -> Result<(), Abort> {
        let of_session = fixtures::Paid::session().eq(&"mine".to_owned());
        let money = ctx.when::<fixtures::Paid>("all").filter(of_session).forever();
        if holds {
            let sign = ctx.when::<Tracked>("all").forever();
            let placed = ctx.when::<fixtures::Placed>("all").forever();
            ctx.race(money, ctx.race(sign, placed)).await?;
        } else {
            money.await?;
        }
        let sign = ctx.when::<Tracked>("all").forever();
        ctx.race(sign, ctx.when::<fixtures::Placed>("all").forever()).await?;
        Ok(())
    }
}

/// So many calls; then a sign or an order.
struct Behind;
impl Saga for Behind {
    const NAME: &'static str = "Behind";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        let placed = event::<fixtures::Placed>().starts();
        events([placed, event::<Tracked>().each()])
    }
    async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
        ctx.join_all((0..calls).map(|_| ctx.call(Reserve::of("1"))).collect::<Vec<_>>()).await?;
        let sign = ctx.when::<Tracked>("all").forever();
        ctx.race(sign, ctx.when::<fixtures::Placed>("all").forever()).await?;
        Ok(())
    }
}

fn rig_of(limits: Limits) -> Rig {
    let mut registry = Registry::new("test");
    registry.register::<Then>(&()).unwrap();
    registry.register::<Behind>(&()).unwrap();
    Rig::over(MemoryStore::new(Uuid::from_u128(7)), registry, limits, Time(1_000))
}

/// What no lane keeps: a copy for each, and an event that starts sagas.
const UNKEPT: [(&str, &str); 2] = [("courier.status", "c"), ("shop.placed", "p")];

/// The money was there before: behind it the saga holds for what came after it. So it is with a
/// lane that keeps nothing else, and with one at which the saga still looks when both come.
#[test]
fn what_no_lane_keeps_is_not_lost_as_money_before_it_stands_behind_a_look() {
    let mut lost = Vec::new();
    for kept in [0, KEPT] {
        for holds in [false, true] {
            for (name, id) in UNKEPT {
                let mut rig = rig_of(Limits::default());
                for it in 0..kept {
                    let body = json!({ "order": "all", "session": "of-nobody" });
                    rig.event("pay.completed", &format!("e{it}"), &body);
                }
                rig.go_on();
                let saga = rig.begin("Then", "all", &holds);
                assert_eq!(rig.core.is_looking(saga).unwrap(), kept > 0);
                rig.event("pay.completed", "m", &json!({ "order": "all", "session": "mine" }));
                rig.event(name, id, &json!({ "order": "all", "status": "x" }));
                rig.go_on();
                let facts = rig.facts(saga, 1);
                if facts != ["m", id] {
                    lost.push(format!("{kept} kept, held before {holds}, {name}: {facts:?}"));
                }
            }
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

/// The same at a start, when all that is open looks, however little its lanes keep.
#[test]
fn what_no_lane_keeps_is_not_lost_to_a_saga_that_looks_at_a_start() {
    let mut lost = Vec::new();
    for others in [0, KEPT] {
        for (name, id) in UNKEPT {
            let mut rig = rig_of(Limits::default());
            for it in 0..others {
                let body = json!({ "order": "all", "session": "of-nobody" });
                rig.event("pay.completed", &format!("e{it}"), &body);
            }
            let saga = rig.begin("Then", "all", &true);
            rig.go_on();
            let mut rig = rig.reopened(rig.core.registry().clone(), rig.limits);
            rig.event("pay.completed", "m", &json!({ "order": "all", "session": "mine" }));
            rig.event(name, id, &json!({ "order": "all", "status": "x" }));
            rig.go_on();
            let facts = rig.facts(saga, 1);
            if facts != ["m", id] {
                lost.push(format!("{others} others, {name}: {facts:?}"));
            }
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

/// By what was held it would hold: it was resumed before the event came.
#[test]
fn what_no_lane_keeps_is_not_lost_to_a_saga_that_is_still_told_what_was_held() {
    let mut lost = Vec::new();
    for calls in [20, 140] {
        for (name, id) in UNKEPT {
            let mut rig = rig_of(Limits::default());
            let saga = rig.begin("Behind", "all", &calls);
            rig.make(saga, Action::Pause);
            rig.asked.clone().iter().for_each(|it| rig.answer(it));
            rig.make(saga, Action::Resume);
            rig.event(name, id, &json!({ "order": "all", "status": "x" }));
            rig.go_on();
            let facts = rig.facts(saga, 1);
            if facts.last().map(String::as_str) != Some(id) {
                lost.push(format!("{calls} calls, {name}: {:?}", facts.last()));
            }
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

/// So many calls, one after the other.
struct Calls;
impl Saga for Calls {
    const NAME: &'static str = "Calls";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Placed>().starts()])
    }
    async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
        for _ in 0..calls {
            ctx.call(Reserve::of("1")).await?;
        }
        Ok(())
    }
}

/// Rows that are read to take an event that starts a saga of its own, while answers wait for so
/// many other sagas to be read; and to do all that waits when as many such events wait.
fn rows_read(sagas: u32) -> (usize, usize) {
    let mut registry = Registry::new("test");
    registry.register::<Calls>(&()).unwrap();
    let store = MemoryStore::new(Uuid::from_u128(7));
    let mut rig = Rig::over(store, registry, limits(), Time(1_000));
    let mut calls = Vec::new();
    for it in 0..sagas {
        let saga = rig.begin("Calls", &format!("k{it}"), &100);
        for _ in 0..PIECE {
            let call = rig.call_of(saga);
            rig.answer(&call);
        }
        calls.push(rig.call_of(saga));
    }
    let limits = Limits { states_max: 0, futures_max: 1, ..rig.limits };
    let mut rig = rig.reopened(rig.core.registry().clone(), limits);
    rig.go_on();
    calls.iter().for_each(|it| rig.answer(it));
    let arrive = |rig: &mut Rig, it: u32| {
        let id = format!("p{it}");
        rig.event("shop.placed", &id, &json!({ "order": id }));
        rig.core.store().rows_read()
    };
    let one = arrive(&mut rig, 0);
    let mut all = one + (1..sagas).map(|it| arrive(&mut rig, it)).sum::<usize>();
    while rig.line.has_more(&rig.core) {
        rig.core.store().forget_reads();
        rig.line.wake(&mut rig.core).unwrap();
        while let Some((input, _)) = rig.line.next(&rig.core).unwrap() {
            rig.now = rig.now.after_ms(1);
            rig.core.handle(rig.now, input).unwrap();
        }
        rig.core.handle(rig.now, Input::GoOn).unwrap();
        all += rig.core.store().rows_read();
        rig.commit();
    }
    (one, all)
}

/// No input costs more the more is stored or waits: a new saga's start reads nothing of others.
#[test]
fn an_event_that_starts_a_saga_costs_as_much_however_many_wait_to_be_read() {
    let [(one, all), (of_twice, all_of_twice)] = [40, 80].map(rows_read);
    assert!(of_twice <= one + 8, "{one} rows while 40 wait, {of_twice} while 80 do");
    assert!(all_of_twice <= 3 * all, "{all} rows for 40 of each, {all_of_twice} for 80");
}
