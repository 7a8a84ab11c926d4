//! An order and its late arm, and sagas that do everything at once, over few keys.

use super::{
    add,
    messages::{
        Approved, BookCourier, CancelCourier, CancelOrder, Mail, OpenSession, Paid, Placed, Refund,
        Release, Reserve, ShipStock, TakeBack, Tracked, VoidSession,
    },
    poll_once,
};
use saga_core::{
    abort::Abort,
    ctx::Ctx,
    saga::{Declared, Late, LateInput, Registry, Saga, event, events},
    scope::Either,
};
use std::{future::IntoFuture, time::Duration};

const DAY: Duration = Duration::from_secs(86_400);

/// An order: asks a person when it is risky, holds for the payment, commits, holds for delivery.
pub(crate) struct Order;
impl Saga for Order {
    const NAME: &'static str = "order";
    type Input = Placed;
    type Output = String;
    type Settings = ();

    fn events() -> Vec<Declared> {
        let paid = event::<Paid>().late(Late::Ignore).late_on("pay.completed", Late::Run("refund"));
        let placed = event::<Placed>().starts().found_by("/mail");
        events([placed, event::<Approved>(), paid, event::<Tracked>()])
    }

    async fn run(ctx: Ctx, it: Placed) -> Result<String, Abort> {
        let id = it.order.as_str();
        ctx.undo(CancelOrder::of(id));
        ctx.undo(Mail::of(id));
        if it.risky {
            let asks = ctx.when::<Approved>(id).ask("approve the order", &it).within(DAY);
            match asks.await? {
                Some(it) if it.approved => (),
                Some(it) => return Err(Abort::rejected(it.reason.unwrap_or_default())),
                None => return Err(Abort::deadline("nobody approved")),
            }
        }
        ctx.call(Reserve::of(id)).undo(Release::of(id)).await?;
        let open = ctx.call(OpenSession::of(id)).undo(VoidSession::of(id));
        let ((), session) = ctx.join(ctx.call(Mail::of(id)), open).await?;
        let paid = ctx.when::<Paid>(id).filter(Paid::session().eq(&session.session)).within(DAY);
        match paid.await? {
            Some(paid) if !paid.failed => ctx.undo(Refund::of(id)),
            Some(_) => return Err(Abort::failed("the payment failed")),
            None => return Err(Abort::deadline("nobody paid")),
        }
        ctx.call(BookCourier::of(id)).undo(CancelCourier::of(id)).await?;
        ctx.call(ShipStock::of(id)).undo(TakeBack::of(id)).await?;
        ctx.commit();
        let tracked = ctx.when::<Tracked>(id).forever();
        let over = ctx.sleep(10 * DAY);
        match ctx.race(tracked, over).await? {
            Either::First(it) => Ok(it.status),
            Either::Second(()) => Ok("overdue".to_owned()),
        }
    }
}

/// Money that comes when there is no order for it any more.
pub(crate) struct RefundLate;
impl Saga for RefundLate {
    const NAME: &'static str = "refund";
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

/// Opens three waits, and looks at them in another order, between calls.
pub(crate) struct Looks;
impl Saga for Looks {
    const NAME: &'static str = "Looks";
    type Input = ();
    type Output = Vec<Option<String>>;
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<Approved>(), event::<Paid>(), event::<Tracked>()])
    }

    async fn run(ctx: Ctx, (): ()) -> Result<Vec<Option<String>>, Abort> {
        let mut first = ctx.when::<Tracked>("k1").within(DAY);
        let mut second = ctx.when::<Tracked>("k1").within(2 * DAY);
        let mut third = ctx.when::<Paid>("k1").within(3 * DAY);
        poll_once(&mut first).await;
        poll_once(&mut second).await;
        poll_once(&mut third).await;
        ctx.call(Mail::of("k1")).undo(CancelOrder::of("k1")).await?;
        let second = second.await?.map(|it| it.status);
        ctx.call(Mail::of("k1")).await?;
        let third = third.await?.map(|it| it.session);
        let first = first.await?.map(|it| it.status);
        Ok(vec![first, second, third])
    }
}

/// Races and joins, over and over.
pub(crate) struct Busy;
impl Saga for Busy {
    const NAME: &'static str = "Busy";
    type Input = ();
    type Output = usize;
    type Settings = ();

    fn events() -> Vec<Declared> {
        let tracked = event::<Tracked>().late(Late::Run("Busy late"));
        events([event::<Approved>(), event::<Paid>().each(), tracked])
    }

    async fn run(ctx: Ctx, (): ()) -> Result<usize, Abort> {
        ctx.undo(CancelOrder::of("k1"));
        let mut firsts = 0;
        for _ in 0..3 {
            let calls = async {
                ctx.call(Reserve::of("k1")).undo(Release::of("k1")).await?;
                ctx.join(ctx.call(Mail::of("k1")), ctx.call(Refund::of("k1"))).await?;
                Ok::<_, Abort>(())
            };
            let waits = async {
                let tracked = ctx.when::<Tracked>("k1").within(DAY);
                ctx.race(tracked, ctx.when::<Paid>("k2").forever()).await
            };
            match ctx.race(calls, waits).await? {
                Either::First(()) => firsts += 1,
                Either::Second(_) => ctx.publish("shop.told", "k1", &firsts),
            }
        }
        let open = ["a", "b"].map(|it| ctx.call(OpenSession::of(it)).undo(VoidSession::of(it)));
        ctx.join_all(open).await?;
        poll_once(&mut ctx.call(Reserve::of("k1")).undo(Release::of("k1")).into_future()).await;
        Ok(firsts)
    }
}

/// Takes what comes late for [`Busy`], and holds for more.
pub(crate) struct BusyLate;
impl Saga for BusyLate {
    const NAME: &'static str = "Busy late";
    type Input = LateInput;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        Looks::events()
    }

    async fn run(ctx: Ctx, it: LateInput) -> Result<(), Abort> {
        ctx.when::<Tracked>(&it.ended.key).within(DAY).await?;
        Ok(())
    }
}

/// All of them, and then what is left when some are missing.
pub(crate) fn registries() -> Vec<Registry> {
    let mut whole = Registry::new("whole");
    add::<Order>(&mut whole);
    add::<RefundLate>(&mut whole);
    add::<Looks>(&mut whole);
    add::<Busy>(&mut whole);
    add::<BusyLate>(&mut whole);
    let mut some = Registry::new("some");
    add::<Busy>(&mut some);
    add::<BusyLate>(&mut some);
    vec![whole, some]
}
