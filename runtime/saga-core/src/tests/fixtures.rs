//! Messages and sagas for the tests: a small order, and its late arm.

use crate::{
    abort::Abort,
    ctx::Ctx,
    filter::Field,
    message::{Event, Request},
    saga::{Declared, Late, LateInput, Registry, Saga, event, events},
    scope::Either,
    testing::Desk,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// Declares a request type with the order's id as its only field.
macro_rules! request {
    ($name:ident, $subject:literal, $reply:ty) => {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub(super) struct $name {
            pub(super) order: String,
        }
        impl Request for $name {
            const SUBJECT: &'static str = $subject;
            type Reply = $reply;
        }
        impl $name {
            pub(super) fn of(order: &str) -> $name {
                $name { order: order.to_owned() }
            }
        }
    };
}

request!(Reserve, "stock.reserve", ());
request!(Release, "stock.release", ());
request!(ShipStock, "stock.ship", ());
request!(TakeBack, "stock.take-back", ());
request!(OpenSession, "pay.open", Session);
request!(VoidSession, "pay.void", ());
request!(Refund, "pay.refund", ());
request!(Mail, "mail.send", ());
request!(CancelOrder, "order.cancel", ());
request!(BookCourier, "courier.book", ());
request!(CancelCourier, "courier.cancel", ());

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) session: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Placed {
    pub(super) order: String,
    #[serde(default)]
    pub(super) risky: bool,
}
impl Event for Placed {
    const SUBJECTS: &'static [&'static str] = &["shop.placed"];
    const KEY: &'static str = "/order";
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Approved {
    pub(super) order: String,
    pub(super) approved: bool,
    pub(super) by: String,
    pub(super) reason: Option<String>,
}
impl Event for Approved {
    const SUBJECTS: &'static [&'static str] = &["shop.approved"];
    const KEY: &'static str = "/order";
    const DECISION: bool = true;
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Paid {
    pub(super) session: String,
    #[serde(skip)]
    pub(super) failed: bool,
}
impl Event for Paid {
    const SUBJECTS: &'static [&'static str] = &["pay.completed", "pay.failed"];
    const KEY: &'static str = "/order";

    fn decode(subject: &str, body: &str) -> serde_json::Result<Paid> {
        let paid: Paid = serde_json::from_str(body)?;
        Ok(Paid { failed: subject == "pay.failed", ..paid })
    }
}
impl Paid {
    pub(super) fn session() -> Field<Paid, String> {
        Field::at("/session")
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Tracked {
    pub(super) status: String,
}
impl Event for Tracked {
    const SUBJECTS: &'static [&'static str] = &["courier.status"];
    const KEY: &'static str = "/order";
}

/// An order: asks a person when it is risky, holds for the payment, commits, holds for delivery.
pub(super) struct Order;
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
pub(super) struct RefundLate;
impl Saga for RefundLate {
    const NAME: &'static str = "refund";
    type Input = LateInput;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        Vec::new()
    }

    async fn run(ctx: Ctx, it: LateInput) -> Result<(), Abort> {
        // A completed order was paid by the payment that it took: another one is too much.
        ctx.call(Refund::of(&it.ended.key)).await?;
        Ok(())
    }
}

pub(super) fn shop() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<Order>(&()).unwrap();
    registry.register::<RefundLate>(&()).unwrap();
    registry
}

/// Declares a saga without input, over all events of this file.
macro_rules! saga {
    ($(#[$doc:meta])* $name:ident($ctx:ident) -> $output:ty $body:block) => {
        $(#[$doc])*
        struct $name;
        impl crate::saga::Saga for $name {
            const NAME: &'static str = stringify!($name);
            type Input = ();
            type Output = $output;
            type Settings = ();

            fn events() -> Vec<crate::saga::Declared> {
                crate::tests::fixtures::holds_for()
            }

            async fn run(
                $ctx: crate::ctx::Ctx,
                (): (),
            ) -> Result<$output, crate::abort::Abort> $body
        }
    };
}
pub(super) use saga;

/// What such a saga may hold for.
pub(super) fn holds_for() -> Vec<Declared> {
    events([event::<Approved>(), event::<Paid>(), event::<Tracked>()])
}

/// A desk at which a saga of this type has started for order `o1`.
pub(super) fn started<S: Saga<Settings = ()>>() -> Desk {
    let mut desk = Desk::of::<S>(&());
    desk.start(S::NAME, "o1", serde_json::Value::Null);
    desk
}

/// Polls once and goes on, as a combinator made by hand would.
pub(super) async fn poll_once(step: &mut (impl Future + Unpin)) {
    std::future::poll_fn(|cx| {
        _ = std::pin::Pin::new(&mut *step).poll(cx);
        std::task::Poll::Ready(())
    })
    .await;
}
