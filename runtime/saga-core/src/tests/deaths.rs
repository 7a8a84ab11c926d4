//! The process may die at any piece of what an input leaves to do: what is left is found in rows,
//! and is done by the next process as this one would have done it.

use super::fixtures::{DAY, Paid, Placed, RefundLate, Reserve};
use crate::{
    abort::Abort,
    core::Limits,
    ctx::Ctx,
    effect::Outcome,
    fold::Status,
    id::SagaId,
    input::Action,
    saga::{Declared, Late, Registry, Saga, event, events},
    store::Table,
    testing::Desk,
};
use serde_json::{Value, json};

/// Money that comes late goes back.
fn money() -> Vec<Declared> {
    let paid = event::<Paid>().late(Late::Ignore).late_on("pay.completed", Late::Run("refund"));
    events([event::<Placed>().starts(), paid])
}

/// Holds for money for a day, on the lane of its order.
struct Holds;
impl Saga for Holds {
    const NAME: &'static str = "holds";
    type Input = Placed;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        money()
    }
    async fn run(ctx: Ctx, it: Placed) -> Result<(), Abort> {
        ctx.when::<Paid>(it.order).within(DAY).await.map(drop)
    }
}

/// The same, with many lanes beside it.
struct Wide;
impl Saga for Wide {
    const NAME: &'static str = "wide";
    type Input = Placed;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        money()
    }
    async fn run(ctx: Ctx, it: Placed) -> Result<(), Abort> {
        let arms = (0..20).map(|arm| ctx.when::<Paid>(format!("{}/{arm}", it.order)).within(DAY));
        ctx.join_all(arms).await.map(drop)
    }
}

/// Holds for money of its session on the lane of its customer, who is named in its order.
struct OfCustomer;
impl Saga for OfCustomer {
    const NAME: &'static str = "of-customer";
    type Input = Placed;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        money()
    }
    async fn run(ctx: Ctx, it: Placed) -> Result<(), Abort> {
        let (customer, _) = it.order.split_once('/').unwrap_or_default();
        ctx.call(Reserve::of(&it.order)).await?;
        ctx.when::<Paid>(customer)
            .filter(Paid::session().eq(&"s".to_owned()))
            .within(DAY)
            .await
            .map(drop)
    }
}

/// A desk that does little at once, and leaves the rest undone.
fn busy(register: impl FnOnce(&mut Registry)) -> Desk {
    let mut registry = Registry::new("test");
    registry.register::<RefundLate>(&()).unwrap();
    register(&mut registry);
    let mut desk = Desk::with_limits(registry, Limits { work_at_once: 1, ..Limits::default() });
    desk.is_busy(true);
    desk
}

fn placed(desk: &mut Desk, order: &str) -> SagaId {
    desk.event("shop.placed", json!({ "order": order }));
    desk.saga()
}

/// Two days pass in which nothing runs, and one tick.
fn expires(desk: &mut Desk) {
    desk.skip(2 * DAY);
    desk.tick();
}

/// The process dies, and the next one has time for the rest.
fn dies(desk: &mut Desk) {
    assert!(desk.core().has_more(), "something is left to do");
    desk.restart();
    desk.is_busy(false);
    desk.wait_s(0);
}

fn paid_late(desk: &mut Desk, order: &str) -> Outcome {
    desk.event("pay.completed", json!({ "order": order, "session": "s" }))[0].outcome
}

#[test]
fn a_death_behind_the_tick_in_which_many_end_loses_no_late_money() {
    let mut desk = busy(|it| it.register::<Wide>(&()).unwrap());
    for number in 0..8 {
        placed(&mut desk, &format!("o{number}"));
    }
    expires(&mut desk);
    dies(&mut desk);
    for number in 0..8 {
        assert_eq!(paid_late(&mut desk, &format!("o{number}")), Outcome::Late, "{number}");
    }
}

#[test]
fn a_death_in_the_middle_of_many_lanes_leaves_no_lane_of_any_saga_behind() {
    let mut desk = busy(|it| {
        it.register::<Wide>(&()).unwrap();
        it.register::<Holds>(&()).unwrap();
    });
    placed(&mut desk, "o1");
    expires(&mut desk);
    dies(&mut desk);
    let left = [Table::Holder, Table::Leaving, Table::Live];
    let rows = desk.store().all_rows().filter(|it| left.contains(&it.0.0));
    assert_eq!(rows.count(), 0);
    assert_eq!(paid_late(&mut desk, "o1"), Outcome::Late);
}

/// A lane of many is swept when no saga lives that is as old: also none that died with its process.
#[test]
fn a_death_behind_the_end_of_sagas_takes_the_late_arm_from_no_later_one() {
    let mut desk = busy(|it| it.register::<OfCustomer>(&()).unwrap());
    for number in 0..4 {
        placed(&mut desk, &format!("c{number}/o{number}"));
        desk.reply("stock.reserve", Value::Null);
    }
    desk.wait_s(2 * 86_400);
    dies(&mut desk);
    placed(&mut desk, "new/o");
    desk.reply("stock.reserve", Value::Null);
    desk.wait_s(2 * 86_400);
    assert_eq!(paid_late(&mut desk, "new"), Outcome::Late);
}

#[test]
fn who_ended_last_answers_for_a_lane_also_behind_a_death() {
    let mut desk = busy(|it| it.register::<OfCustomer>(&()).unwrap());
    let sagas = ["c/first", "c/second"].map(|order| {
        let saga = placed(&mut desk, order);
        desk.reply("stock.reserve", Value::Null);
        saga
    });
    desk.is_busy(false);
    desk.is_busy(true);
    // The second one ends when what the first has left is handed over.
    for saga in [sagas[1], sagas[0]] {
        desk.is_busy(false);
        desk.is_busy(true);
        desk.look_at(saga);
        desk.moved(Action::Terminate);
    }
    dies(&mut desk);
    assert_eq!(paid_late(&mut desk, "c"), Outcome::Late);
    assert_eq!(desk.head().origin, Some(sagas[0]));
}

#[test]
fn the_oldest_wait_takes_what_its_lane_keeps_also_behind_a_death() {
    let mut desk = busy(|it| it.register::<OfCustomer>(&()).unwrap());
    let sagas = ["c/first", "c/second"].map(|order| placed(&mut desk, order));
    for session in ["x", "x", "x", "x", "x", "s"] {
        desk.event("pay.completed", json!({ "order": "c", "session": session }));
    }
    for saga in [sagas[1], sagas[0]] {
        desk.look_at(saga);
        desk.reply("stock.reserve", Value::Null);
    }
    dies(&mut desk);
    // The second answer waited for the one who looked, and is asked for again.
    desk.look_at(sagas[0]);
    desk.reply("stock.reserve", Value::Null);
    let stands = sagas.map(|it| desk.head_of(it).unwrap().status);
    assert_eq!(stands, [Status::Waiting, Status::Completed]);
}
