//! A small definition: ask a person when told to, reserve, hold for the payment, ship.

use saga_core::{
    abort::Abort,
    ctx::Ctx,
    filter::Field,
    message::{Event, Request, Retry},
    saga::{Declared, Registry, RegistryError, Saga, event, events},
};
use saga_host::config::Settings;
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    pub order_id: String,
    #[serde(default, deserialize_with = "yes_or_no")]
    pub ask: bool,
    /// Panics before anything else.
    #[serde(default)]
    pub panics: bool,
    /// Holds this long before anything else.
    #[serde(default)]
    pub sleep_ms: u64,
    /// By which its saga is found.
    #[serde(default)]
    pub email: String,
}

impl Event for Order {
    const SUBJECTS: &'static [&'static str] = &["orders.trigger.created"];
    const KEY: &'static str = "/orderId";
}

/// A later build, which `DEMO_LATER` stands for, also takes a text.
fn yes_or_no<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    if std::env::var_os("DEMO_LATER").is_none() {
        return bool::deserialize(value);
    }
    String::deserialize(value).map(|it| it == "yes")
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approved {
    pub order_id: String,
    pub approved: bool,
    pub by: String,
}

impl Event for Approved {
    const SUBJECTS: &'static [&'static str] = &["orders.trigger.approved"];
    const KEY: &'static str = "/orderId";
    const DECISION: bool = true;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Paid {
    pub order_id: String,
    pub session_id: String,
}

impl Event for Paid {
    const SUBJECTS: &'static [&'static str] = &["payments.trigger.completed"];
    const KEY: &'static str = "/orderId";
}

impl Paid {
    fn session_id() -> Field<Paid, String> {
        Field::at("/sessionId")
    }
}

macro_rules! request {
    ($name:ident, $subject:literal) => {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            pub order_id: String,
        }

        impl Request for $name {
            const SUBJECT: &'static str = $subject;
            const RETRY: Retry = Retry {
                first: Duration::from_millis(250),
                pause_max: Duration::from_secs(1),
                ..Retry::DEFAULT
            };
            type Reply = Done;
        }
    };
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub done: bool,
}

request!(Reserve, "inventory.reserve");
request!(Release, "inventory.release");
request!(Ship, "inventory.ship");

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    pub payment_ms: u64,
    pub approval_ms: u64,
}

pub struct Demo;

impl Saga for Demo {
    const NAME: &'static str = "demo";
    type Input = Order;
    type Output = String;
    type Settings = Limits;

    fn events() -> Vec<Declared> {
        events([event::<Order>().starts().found_by("/email"), event::<Approved>(), event::<Paid>()])
    }

    async fn run(ctx: Ctx<Limits>, order: Order) -> Result<String, Abort> {
        let (id, limits) = (order.order_id.clone(), ctx.settings().clone());
        assert!(!order.panics, "a defect of the author, with somebody's name: {id}");
        if order.sleep_ms > 0 {
            ctx.sleep(Duration::from_millis(order.sleep_ms)).await?;
        }
        if order.ask {
            let asked = ctx.when::<Approved>(&id).ask(format!("Order {id}"), &order);
            match asked.within(Duration::from_millis(limits.approval_ms)).await? {
                Some(it) if it.approved => (),
                Some(it) => return Err(Abort::rejected(format!("rejected by {}", it.by))),
                None => return Err(Abort::deadline("nobody approved")),
            }
        }
        ctx.call(Reserve { order_id: id.clone() }).undo(Release { order_id: id.clone() }).await?;
        let paid = ctx.when::<Paid>(&id).filter(Paid::session_id().eq(&format!("s-{id}")));
        if paid.within(Duration::from_millis(limits.payment_ms)).await?.is_none() {
            return Err(Abort::deadline("nobody paid"));
        }
        ctx.commit();
        ctx.call(Ship { order_id: id }).await?;
        Ok("shipped".into())
    }
}

/// Publishes what it is told to publish, where it is told to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shout {
    pub name: String,
    pub subject: String,
}

impl Event for Shout {
    const SUBJECTS: &'static [&'static str] = &["orders.trigger.shout"];
    const KEY: &'static str = "/name";
}

pub struct Shouter;

impl Saga for Shouter {
    const NAME: &'static str = "shouter";
    type Input = Shout;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<Shout>().starts()])
    }

    async fn run(ctx: Ctx, shout: Shout) -> Result<(), Abort> {
        ctx.publish(&shout.subject, &shout.name, &shout);
        Ok(())
    }
}

/// As a binary of its own would register it.
pub fn registry(settings: &mut Settings<'_>) -> Result<Registry, RegistryError> {
    let day = 24 * 3600 * 1000;
    let limits = Limits {
        payment_ms: settings.milliseconds("DEMO_PAYMENT_MS", day),
        approval_ms: settings.milliseconds("DEMO_APPROVAL_MS", day),
    };
    let mut registry = Registry::new("demo");
    registry.register::<Demo>(&limits)?;
    registry.register::<crate::chat::Chat>(&())?;
    registry.register::<crate::evil::Evils>(&())?;
    registry.register::<Shouter>(&())?;
    Ok(registry)
}
