//! Events that could be forgotten: of a declaration that goes and comes back, never looked at by
//! the code, or late on a lane on which nobody can hold any more.

use super::fixtures::{Paid, Refund, Tracked};
use crate::{
    abort::Abort,
    core::HeadQuery,
    ctx::Ctx,
    effect::Outcome,
    saga::{Declared, Late, LateInput, Registry, Saga, event, events},
    testing::Desk,
};
use serde_json::{Value, json};

/// Holds for its parcel. `PAID`: its code knows of payments, and gives back what comes too late.
struct Sells<const PAID: bool>;
impl<const PAID: bool> Saga for Sells<PAID> {
    const NAME: &'static str = "Sells";
    type Input = ();
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        let paid = || event::<Paid>().late(Late::Run("Back"));
        match PAID {
            true => events([event::<Tracked>(), paid()]),
            false => events([event::<Tracked>()]),
        }
    }
    async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
        ctx.when::<Tracked>("o1").forever().await?;
        Ok(())
    }
}

struct Back;
impl Saga for Back {
    const NAME: &'static str = "Back";
    type Input = LateInput;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        Vec::new()
    }
    async fn run(ctx: Ctx, it: LateInput) -> Result<(), Abort> {
        ctx.call(Refund::of(&it.ended.key)).await?;
        Ok(())
    }
}

fn sells<const PAID: bool>() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<Sells<PAID>>(&()).unwrap();
    registry.register::<Back>(&()).unwrap();
    registry
}

fn arms(desk: &Desk) -> usize {
    let query = HeadQuery { limit: usize::MAX, ..HeadQuery::default() };
    let heads = desk.core().heads(&query).unwrap();
    heads.iter().filter(|it| it.definition == "Back").count()
}

/// The money came while it was declared, its saga ends while it is not.
#[test]
fn what_a_lane_keeps_of_an_event_that_is_declared_no_more_goes_to_its_arm_when_it_is_again() {
    let mut desk = Desk::new(sells::<true>());
    desk.start("Sells", "o1", Value::Null);
    let paid = desk.event("pay.completed", json!({ "order": "o1", "session": "s1" }));
    assert_eq!(paid[0].outcome, Outcome::Kept);
    desk.deploy(sells::<false>());
    desk.event("courier.status", json!({ "order": "o1", "status": "delivered" }));
    desk.deploy(sells::<true>());
    assert_eq!(arms(&desk), 1, "the customer's money goes back");
}

/// As [`Sells`], but for a saga that had held on the lane of the payment.
struct Held<const PAID: bool>;
impl<const PAID: bool> Saga for Held<PAID> {
    const NAME: &'static str = "Sells";
    type Input = ();
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        Sells::<PAID>::events()
    }
    async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
        if PAID {
            // Lost to a later build, whose sagas go on from here.
            let paid = ctx.when::<Paid>("o1").within(std::time::Duration::from_secs(1));
            paid.await?;
        }
        ctx.when::<Tracked>("o1").forever().await?;
        Ok(())
    }
}

#[test]
fn what_a_lane_keeps_on_which_it_had_held_goes_to_its_arm_when_it_is_declared_again() {
    let registry = |paid: bool| {
        let mut registry = Registry::new("test");
        match paid {
            true => registry.register::<Held<true>>(&()).unwrap(),
            false => registry.register::<Held<false>>(&()).unwrap(),
        }
        registry.register::<Back>(&()).unwrap();
        registry
    };
    let mut desk = Desk::new(registry(true));
    desk.start("Sells", "o1", Value::Null);
    desk.wait_s(2);
    let paid = desk.event("pay.completed", json!({ "order": "o1", "session": "s1" }));
    assert_eq!(paid[0].outcome, Outcome::Kept);
    desk.deploy(registry(false));
    desk.moved(crate::input::Action::Cancel);
    desk.deploy(registry(true));
    assert_eq!(arms(&desk), 1, "the customer's money goes back");
}

/// A deploy makes copies of an event that was for one: what the lane keeps nobody has got.
struct Hears<const EACH: bool>;
impl<const EACH: bool> Saga for Hears<EACH> {
    const NAME: &'static str = "Sells";
    type Input = ();
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        let paid = event::<Paid>();
        let paid = if EACH { paid.each() } else { paid.late(Late::Run("Back")) };
        events([event::<Tracked>(), paid])
    }
    async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
        ctx.when::<Tracked>("o1").forever().await?;
        Ok(())
    }
}

#[test]
fn what_a_lane_keeps_is_not_told_to_be_consumed_by_a_saga_that_never_saw_it() {
    let registry = |each: bool| {
        let mut registry = Registry::new("test");
        match each {
            true => registry.register::<Hears<true>>(&()).unwrap(),
            false => registry.register::<Hears<false>>(&()).unwrap(),
        }
        registry.register::<Back>(&()).unwrap();
        registry
    };
    let mut desk = Desk::new(registry(false));
    desk.start("Sells", "o1", Value::Null);
    let paid = desk.event("pay.completed", json!({ "order": "o1", "session": "s1" }));
    assert_eq!(paid[0].outcome, Outcome::Kept);
    desk.deploy(registry(true));
    desk.moved(crate::input::Action::Cancel);
    let verdicts: Vec<Outcome> = desk
        .events()
        .iter()
        .filter(|it| it.event.name == "pay.completed")
        .flat_map(|it| {
            it.identity
                .iter()
                .flat_map(|it| it.verdicts.iter().map(|it| it.outcome))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(!verdicts.contains(&Outcome::Consumed), "{verdicts:?}: by a saga that never saw it");
}

/// Looks at its payment after something else.
struct LooksLater;
impl Saga for LooksLater {
    const NAME: &'static str = "Sells";
    type Input = ();
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        Sells::<true>::events()
    }
    async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
        let mut paid = ctx.when::<Paid>("o1").forever();
        super::fixtures::poll_once(&mut paid).await;
        ctx.call(super::fixtures::Reserve::of("o1")).await?;
        paid.await?;
        ctx.undo(Refund::of("o1"));
        ctx.when::<Tracked>("o1").forever().await?;
        Ok(())
    }
}

#[test]
fn money_that_the_code_never_looked_at_goes_back_when_its_saga_gives_up() {
    let mut registry = Registry::new("test");
    registry.register::<LooksLater>(&()).unwrap();
    registry.register::<Back>(&()).unwrap();
    let mut desk = Desk::new(registry);
    desk.start("Sells", "o1", Value::Null);
    desk.event("pay.completed", json!({ "order": "o1", "session": "s1" }));
    desk.reject("stock.reserve", "out_of_stock");
    assert_eq!(arms(&desk), 1, "nobody has seen the money, and the saga is over");
}

/// Holds for a payment of its session, on the lane of a customer.
struct PaysInTime;
impl Saga for PaysInTime {
    const NAME: &'static str = "PaysInTime";
    type Input = ();
    type Output = bool;
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Paid>()])
    }
    async fn run(ctx: Ctx, (): ()) -> Result<bool, Abort> {
        let of_session = Paid::session().eq(&"mine".to_owned());
        let day = std::time::Duration::from_secs(86_400);
        let paid = ctx.when::<Paid>("ada").filter(of_session).within(day).await?;
        Ok(paid.is_some())
    }
}

/// Its deadline passes while its definition is missing, and its wait has not looked yet at all that
/// the lane keeps, as after each start with a backlog.
#[test]
fn what_came_in_time_for_a_missing_definition_is_first_when_its_wait_has_looked() {
    let mut registry = Registry::new("test");
    registry.register::<PaysInTime>(&()).unwrap();
    let mut desk = Desk::new(registry.clone());
    desk.start("PaysInTime", "o1", Value::Null);
    let pay = |desk: &mut Desk, session: &str| {
        desk.event("pay.completed", json!({ "order": "ada", "session": session }))
    };
    (0..20).for_each(|it| drop(pay(&mut desk, &format!("other{it}"))));
    desk.is_busy(true);
    desk.deploy(Registry::new("test"));
    // What comes meanwhile waits until the wait has looked.
    desk.is_busy(false);
    let verdicts = pay(&mut desk, "mine");
    desk.wait_s(86_401);
    desk.deploy(registry);
    let output = desk.head().output.map(|it| it.to_value());
    assert_eq!(output, Some(json!(true)), "{:?}: paid in time", verdicts[0].outcome);
}

/// The start key is used for ever, so that no saga can hold on this lane again.
#[test]
fn what_comes_after_the_end_on_a_lane_that_nobody_can_ever_hold_on_is_unclaimed() {
    let mut desk = Desk::new(super::fixtures::shop());
    desk.event("shop.placed", json!({ "order": "o1" }));
    desk.moved(crate::input::Action::Terminate);
    let late = desk.event("courier.status", json!({ "order": "o1", "status": "sent" }));
    assert_eq!(late[0].outcome, Outcome::Unclaimed, "kept for ever, in memory as well");
}

/// The same, when both were held while the saga was paused.
#[test]
fn money_that_the_code_never_looked_at_goes_back_also_when_its_saga_gives_up_at_a_resume() {
    use crate::input::Action;
    let mut registry = Registry::new("test");
    registry.register::<LooksLater>(&()).unwrap();
    registry.register::<Back>(&()).unwrap();
    let mut desk = Desk::new(registry);
    desk.start("Sells", "o1", Value::Null);
    let call = desk.find("stock.reserve", false);
    desk.moved(Action::Pause);
    let paid = desk.event("pay.completed", json!({ "order": "o1", "session": "s1" }));
    assert_eq!(paid[0].outcome, Outcome::Consumed);
    let (code, reason) = ("out_of_stock".to_owned(), String::new());
    desk.answer(&call, crate::input::Answer::Rejected { code, reason });
    desk.moved(Action::Resume);
    desk.go_on();
    assert_eq!(arms(&desk), 1, "the customer's money goes back");
}
