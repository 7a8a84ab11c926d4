//! The worlds of `in_pieces`, with two definitions that share events, of which one starts sagas,
//! and of one of which each has a copy.

use super::{
    in_pieces::{Cast, People, comes_to_an_end, each_is_told_the_same},
    *,
};
use crate::tests::fixtures;

/// Rounds of money of its own, beside a sign of which each has a copy, an event that starts sagas,
/// and a call. It holds for all of them all the time.
struct Mixed;
impl Saga for Mixed {
    const NAME: &'static str = "Mixed";
    type Input = (u32, String);
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        let placed = event::<fixtures::Placed>().starts();
        events([placed, event::<fixtures::Paid>(), event::<Tracked>().each()])
    }
    async fn run(ctx: Ctx, (_, key): (u32, String)) -> Result<(), Abort> {
        rounds(&ctx, &key).await
    }
}

/// The same under another name.
struct Other;
impl Saga for Other {
    const NAME: &'static str = "Other";
    type Input = (u32, String);
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        Mixed::events()
    }
    async fn run(ctx: Ctx, (_, key): (u32, String)) -> Result<(), Abort> {
        rounds(&ctx, &key).await
    }
}

async fn rounds(ctx: &Ctx, key: &str) -> Result<(), Abort> {
    for _ in 0..300 {
        let of_session = fixtures::Paid::session().eq(&key.to_owned());
        let money = ctx.when::<fixtures::Paid>("all").filter(of_session).forever();
        let sign = ctx.when::<Tracked>("all").forever();
        let placed = ctx.when::<fixtures::Placed>(key).forever();
        ctx.race(money, ctx.race(sign, ctx.race(placed, ctx.call(ShipStock::of("last"))))).await?;
    }
    Ok(())
}

const MIXED: Cast = Cast {
    register: |it| {
        it.register::<Mixed>(&()).unwrap();
        it.register::<Other>(&()).unwrap();
    },
    work_at_once_min: 2,
    opens: |worlds| {
        for number in 0..(2 + worlds.luck.below(4)) {
            for of in ["Mixed", "Other"] {
                worlds.begin(of, format!("k{number}"), 0);
            }
        }
    },
    begins: |worlds, number| {
        let order = worlds.any().map(|(_, key)| key).unwrap_or_default();
        worlds.event("shop.placed", &format!("p{number}"), &json!({ "order": order }));
    },
    has_signs: true,
};

/// So many worlds of a few steps, and as many of more.
fn worlds(count: u64) -> impl Iterator<Item = (u64, u32)> {
    (0..count).flat_map(|seed| [(seed, 40), (seed, 150)])
}

#[test]
fn each_saga_is_told_the_same_however_little_is_done_at_once() {
    each_is_told_the_same(&MIXED, People::Cancel, worlds(5));
}

#[test]
fn each_saga_is_told_the_same_however_little_is_done_at_once_also_when_it_is_paused() {
    each_is_told_the_same(&MIXED, People::PauseAsWell, worlds(5));
}

#[test]
fn it_comes_to_an_end_whatever_is_answered() {
    comes_to_an_end(&MIXED, (0..2).map(|seed| (seed, 200)));
}
