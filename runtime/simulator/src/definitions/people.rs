//! Questions to people: one after the other on one key, and one against time.

use super::{
    add,
    messages::{Approved, Heard, Mail, Placed},
};
use saga_core::{
    abort::Abort,
    ctx::Ctx,
    saga::{Declared, Registry, Saga, event, events},
    scope::Either,
};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Asks two people, one after the other, under one name and key.
pub(crate) struct FourEyes;
impl Saga for FourEyes {
    const NAME: &'static str = "four eyes";
    type Input = Placed;
    /// Who decided, in order.
    type Output = Vec<String>;
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<Placed>().starts(), event::<Approved>()])
    }

    async fn run(ctx: Ctx, it: Placed) -> Result<Vec<String>, Abort> {
        let mut by = Vec::new();
        for number in 0..2 {
            let facts = serde_json::json!({ "order": it.order, "number": number });
            let asks = ctx.when::<Approved>(&it.order).ask("approve", &facts);
            by.push(asks.forever().await?.by);
            ctx.call(Mail::of(&it.order)).await?;
        }
        Ok(by)
    }
}

/// Asks, and goes on without an answer when the time is over.
pub(crate) struct Hurry;
impl Saga for Hurry {
    const NAME: &'static str = "hurry";
    type Input = ();
    /// Who decided, in order.
    type Output = Vec<String>;
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<Approved>()])
    }

    async fn run(ctx: Ctx, (): ()) -> Result<Vec<String>, Abort> {
        let mut by = Vec::new();
        for _ in 0..2 {
            let asks = ctx.when::<Approved>("h1").ask("approve in time", &()).forever();
            match ctx.race(asks, ctx.sleep(DAY)).await? {
                Either::First(it) => by.push(it.by),
                Either::Second(()) => ctx.call(Mail::of("h1")).await?,
            }
        }
        Ok(by)
    }
}

/// Starts when it hears of a decision. Its name comes before those of all who ask.
pub(crate) struct Hears;
impl Saga for Hears {
    const NAME: &'static str = "a hears";
    type Input = Heard;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<Heard>().starts()])
    }

    async fn run(ctx: Ctx, it: Heard) -> Result<(), Abort> {
        ctx.call(Mail::of(&it.order)).await?;
        Ok(())
    }
}

/// All of them, and then what is left when some are missing.
pub(crate) fn registries() -> Vec<Registry> {
    let mut whole = Registry::new("whole");
    add::<FourEyes>(&mut whole);
    add::<Hurry>(&mut whole);
    add::<Hears>(&mut whole);
    let mut hurry = Registry::new("no four eyes");
    add::<Hurry>(&mut hurry);
    let mut hears = Registry::new("nobody asks");
    add::<Hears>(&mut hears);
    vec![whole, hurry, hears]
}
