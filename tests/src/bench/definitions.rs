//! The sagas that are measured.

use saga_core::{
    abort::Abort,
    ctx::Ctx,
    filter::Field,
    message::{Event, Request},
    saga::{Declared, Registry, RegistryError, Saga, event, events},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The subject on which every step asks.
pub const STEP: &str = "bench.step";

/// A step of a saga, for a service that answers at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The saga's key.
    pub key: String,
    /// Its number, from 1.
    pub number: u32,
}

impl Request for Step {
    const SUBJECT: &'static str = STEP;
    type Reply = ();
}

/// What starts a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The saga's key.
    pub key: String,
    /// How many steps it has, where that is a question.
    pub steps: u32,
}

/// What calls one of many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The key of all of them.
    pub key: String,
    /// Which one.
    pub seat: u32,
}

/// What lets a saga go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoOn {
    /// The saga's key.
    pub key: String,
}

macro_rules! event_of {
    ($(#[$doc:meta])* $name:ident: $body:ty = $subject:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $body);

        impl $name {
            /// Its subject.
            pub const SUBJECT: &'static str = $subject;
        }

        impl Event for $name {
            const SUBJECTS: &'static [&'static str] = &[$subject];
            const KEY: &'static str = "/key";
        }
    };
}

event_of!(
    /// Starts an order.
    OrderBegins: Begin = "orders.trigger.bench"
);
event_of!(
    /// Starts a row of steps.
    StepsBegin: Begin = "inventory.trigger.bench"
);
event_of!(
    /// Starts steps beside each other.
    FanBegins: Begin = "orders.trigger.bench-fan"
);
event_of!(
    /// Starts waits, one after the other.
    KeysBegin: Begin = "orders.trigger.bench-keys"
);
event_of!(
    /// Starts one of those who hold on one lane.
    SeatBegins: Begin = "orders.trigger.bench-seat"
);
event_of!(
    /// Starts one of those who get a copy.
    CopyBegins: Begin = "orders.trigger.bench-copy"
);
event_of!(
    /// One of the keys has its turn.
    Turned: GoOn = "delivery.trigger.bench-turned"
);
event_of!(
    /// One of the seats is called.
    Called: Call = "delivery.trigger.bench-called"
);
event_of!(
    /// All are called.
    CalledAll: GoOn = "delivery.trigger.bench-called-all"
);
event_of!(
    /// The order is paid.
    Paid: GoOn = "payments.trigger.bench"
);
event_of!(
    /// The order is delivered.
    Delivered: GoOn = "delivery.trigger.bench"
);

event_of!(
    /// Starts a light saga.
    LightBegins: Begin = "orders.trigger.bench-light"
);
event_of!(
    /// A light saga may go on.
    LightGoesOn: GoOn = "payments.trigger.bench-light"
);

/// Four calls and two awaited events.
pub struct Order;

impl Saga for Order {
    const NAME: &'static str = "bench-order";
    type Input = OrderBegins;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<OrderBegins>().starts(), event::<Paid>(), event::<Delivered>()])
    }

    async fn run(ctx: Ctx, OrderBegins(Begin { key, .. }): OrderBegins) -> Result<(), Abort> {
        let a_day = Duration::from_secs(24 * 3600);
        let step = |number| ctx.call(Step { key: key.clone(), number });
        step(1).await?;
        step(2).await?;
        ctx.when::<Paid>(&key).within(a_day).await?;
        step(3).await?;
        ctx.when::<Delivered>(&key).within(a_day).await?;
        step(4).await?;
        Ok(())
    }
}

/// One step after the other.
pub struct Steps;

impl Saga for Steps {
    const NAME: &'static str = "bench-steps";
    type Input = StepsBegin;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<StepsBegin>().starts()])
    }

    async fn run(ctx: Ctx, StepsBegin(Begin { key, steps }): StepsBegin) -> Result<(), Abort> {
        for number in 1..=steps {
            ctx.call(Step { key: key.clone(), number }).await?;
        }
        Ok(())
    }
}

/// All steps beside each other.
pub struct Fan;

impl Saga for Fan {
    const NAME: &'static str = "bench-fan";
    type Input = FanBegins;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<FanBegins>().starts()])
    }

    async fn run(ctx: Ctx, FanBegins(Begin { key, steps }): FanBegins) -> Result<(), Abort> {
        let calls = (1..=steps).map(|number| ctx.call(Step { key: key.clone(), number }));
        ctx.join_all(calls).await.map(drop)
    }
}

/// A day.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The key under which many sagas hold.
pub const ALL: &str = "all";

/// Waits for one key after the other.
pub struct Keys;

impl Saga for Keys {
    const NAME: &'static str = "bench-keys";
    type Input = KeysBegin;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<KeysBegin>().starts(), event::<Turned>()])
    }

    async fn run(ctx: Ctx, KeysBegin(Begin { key, steps }): KeysBegin) -> Result<(), Abort> {
        for number in 0..steps {
            ctx.when::<Turned>(format!("{key}-{number}")).within(DAY).await?;
        }
        Ok(())
    }
}

/// Holds for its seat, on the lane of all.
pub struct Seat;

impl Saga for Seat {
    const NAME: &'static str = "bench-seat";
    type Input = SeatBegins;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<SeatBegins>().starts(), event::<Called>()])
    }

    async fn run(ctx: Ctx, SeatBegins(begin): SeatBegins) -> Result<(), Abort> {
        let is_its = Field::at("/seat").eq(&begin.steps);
        ctx.when::<Called>(ALL).filter(is_its).within(DAY).await?;
        Ok(())
    }
}

/// Gets a copy of what all get.
pub struct Copied;

impl Saga for Copied {
    const NAME: &'static str = "bench-copy";
    type Input = CopyBegins;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<CopyBegins>().starts(), event::<CalledAll>().each()])
    }

    async fn run(ctx: Ctx, _: CopyBegins) -> Result<(), Abort> {
        ctx.when::<CalledAll>(ALL).within(DAY).await?;
        Ok(())
    }
}

/// A call, an awaited event, and another call to the service that all others call: it shares no
/// event with them.
pub struct Light;

impl Saga for Light {
    const NAME: &'static str = "bench-light";
    type Input = LightBegins;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<LightBegins>().starts(), event::<LightGoesOn>()])
    }

    async fn run(ctx: Ctx, LightBegins(Begin { key, .. }): LightBegins) -> Result<(), Abort> {
        ctx.call(Step { key: key.clone(), number: 1 }).await?;
        ctx.when::<LightGoesOn>(&key).within(DAY).await?;
        ctx.call(Step { key, number: 2 }).await?;
        Ok(())
    }
}

/// All of them.
///
/// # Errors
/// None that they do not make themselves.
pub fn register(registry: &mut Registry) -> Result<(), RegistryError> {
    registry.register::<Order>(&())?;
    registry.register::<Steps>(&())?;
    registry.register::<Fan>(&())?;
    registry.register::<Keys>(&())?;
    registry.register::<Seat>(&())?;
    registry.register::<Copied>(&())?;
    registry.register::<Light>(&())
}
