//! Rule 23: one bad saga is one bad saga. Rule 24: nothing has meaning on drop. Rule 25: what is
//! found of futures that are not ours.

use super::fixtures::{
    Approved, BookCourier, CancelOrder, Mail, Paid, Refund, Reserve, ShipStock, Tracked, holds_for,
    poll_once, saga, shop, started,
};
use crate::{
    abort::Abort,
    core::PAYLOAD_BYTES_MAX,
    ctx::Ctx,
    fold::Status,
    input::Action,
    message::{Event, Request},
    saga::{Declared, Registry, Saga, event, events},
    testing::Desk,
};
use futures::{
    future::{join_all, pending},
    stream::{FuturesUnordered, StreamExt},
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use std::{
    cell::Cell,
    future::{IntoFuture, poll_fn},
    task::Poll,
};

const FOREIGN: &str = "= held: awaits a future that is not ours (a timer, a channel, a socket, a \
    combinator over many): use ctx.call, ctx.when, ctx.sleep, ctx.join, ctx.race, ctx.join_all, \
    ctx.race_all";

saga!(KeepsWaker(ctx) -> () {
    let mut kept = None;
    poll_fn(|cx| {
        kept = Some(cx.waker().clone());
        Poll::<()>::Pending
    }).await;
    ctx.commit();
    Ok(())
});
saga!(WakesWaker(ctx) -> () {
    poll_once(&mut ctx.when::<Tracked>("o1").forever()).await;
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    }).await;
    Ok(())
});
saga!(Unordered(ctx) -> () {
    let calls = [ctx.call(Mail::of("o1")).into_future(), ctx.call(Mail::of("o2")).into_future()];
    let mut calls: FuturesUnordered<_> = calls.into_iter().collect();
    while let Some(reply) = calls.next().await {
        reply?;
    }
    Ok(())
});
saga!(LargeJoinAll(ctx) -> () {
    let calls = (0..64).map(|it| ctx.call(Mail::of(&it.to_string())).into_future());
    join_all(calls.collect::<Vec<_>>()).await;
    Ok(())
});
saga!(Stalls(ctx) -> () {
    ctx.call(Mail::of("o1")).await?;
    pending().await
});

#[test]
fn a_future_that_keeps_our_waker_is_caught_in_the_same_turn_with_the_hint() {
    for desk in [
        started::<KeepsWaker>(),
        started::<WakesWaker>(),
        started::<Unordered>(),
        started::<LargeJoinAll>(),
    ] {
        assert_eq!((desk.last().as_str(), desk.status()), (FOREIGN, Status::Attention));
        assert!(desk.owed().is_empty() && desk.waits().is_empty(), "the turn is discarded whole");
    }
}

#[test]
fn a_saga_with_nothing_open_is_stalled_in_the_same_turn() {
    let mut desk = started::<Stalls>();
    desk.reply("mail.send", Value::Null);
    assert_eq!(desk.last(), "= held: stalled: it awaits something, nothing is open");
    assert_eq!(desk.status(), Status::Attention);
}

/// Panics, stalls or talks on drop where it says; `FIXED` does not.
struct Bad<const FIXED: bool>;
impl<const FIXED: bool> Saga for Bad<FIXED> {
    const NAME: &'static str = "Bad";
    type Input = ();
    type Output = String;
    type Settings = ();
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(ctx: Ctx, (): ()) -> Result<String, Abort> {
        ctx.undo(CancelOrder::of("o1"));
        ctx.call(Reserve::of("o1")).await?;
        assert!(FIXED, "nobody thought of this");
        let tracked = ctx.when::<Tracked>("o1").forever().await?;
        Ok(tracked.status)
    }
}

fn registry<const FIXED: bool>() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<Bad<FIXED>>(&()).unwrap();
    registry
}

#[test]
fn a_panic_is_for_a_person_facts_are_kept_and_other_code_goes_on() {
    let mut desk = Desk::new(registry::<false>());
    desk.start("Bad", "o1", Value::Null);
    desk.reply("stock.reserve", Value::Null);
    assert_eq!(desk.last(), "= held: its code panicked: nobody thought of this");
    assert_eq!(desk.status(), Status::Attention);
    desk.moved(Action::Retry);
    assert_eq!(desk.status(), Status::Attention, "the same code panics again");
    desk.deploy(registry::<true>());
    assert_eq!(desk.status(), Status::Attention, "nothing happens by itself");
    desk.moved(Action::Retry);
    assert_eq!(desk.status(), Status::Waiting);
    desk.event("courier.status", json!({ "order": "o1", "status": "sent" }));
    desk.reads(
        r#"
0 +0s < started Bad v1 o1
  > 0 undo order.cancel {"order":"o1"}
  > 1 call stock.reserve {"order":"o1"}
1 +0s < 1 replied null
  > 2 wait courier.status of o1, forever
2 +0s < retried by ann: retry please
3 +0s < retried by ann: retry please
4 +0s < 2 received courier.status {"order":"o1","status":"sent"}
  > complete "sent"
"#,
    );
}

struct PanicsAtOnce;
impl Saga for PanicsAtOnce {
    const NAME: &'static str = "Bad";
    type Input = ();
    type Output = String;
    type Settings = ();
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(_: Ctx, (): ()) -> Result<String, Abort> {
        panic!("at once")
    }
}

#[test]
fn a_start_that_panics_can_be_mended_or_cancelled() {
    for mend in [true, false] {
        let mut desk = Desk::of::<PanicsAtOnce>(&());
        desk.start("Bad", "o1", Value::Null);
        assert_eq!(desk.last(), "= held: its code panicked: at once");
        desk.moved(Action::Pause);
        desk.moved(Action::Resume);
        if mend {
            desk.deploy(registry::<true>());
            desk.moved(Action::Retry);
            desk.reply("stock.reserve", Value::Null);
            assert_eq!(desk.status(), Status::Waiting);
        } else {
            desk.moved(Action::Cancel);
            assert_eq!(desk.status(), Status::Cancelled);
        }
    }
}

#[test]
fn a_bad_saga_does_not_hold_up_the_others() {
    let mut registry = shop();
    registry.register::<Bad<false>>(&()).unwrap();
    let mut desk = Desk::new(registry);
    let bad = desk.start("Bad", "o1", Value::Null);
    desk.reply("stock.reserve", Value::Null);
    desk.start("order", "o2", json!({ "order": "o2" }));
    desk.reply("stock.reserve", Value::Null);
    assert_eq!(desk.status(), Status::Running);
    desk.look_at(bad);
    assert_eq!(desk.status(), Status::Attention);
}

/// Its body cannot be read without a panic until `MENDED`.
#[derive(Debug)]
struct Fragile;
thread_local! {
    static MENDED: Cell<bool> = const { Cell::new(false) };
}
impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Fragile, D::Error> {
        let body = Value::deserialize(from)?;
        assert!(MENDED.get() || body["order"] != "bad", "nobody thought of this body");
        Ok(Fragile)
    }
}
impl Event for Fragile {
    const SUBJECTS: &'static [&'static str] = &["shop.fragile"];
    const KEY: &'static str = "/order";
}
struct StartsFragile;
impl Saga for StartsFragile {
    const NAME: &'static str = "StartsFragile";
    type Input = Fragile;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Fragile>().starts()])
    }
    async fn run(_: Ctx, _: Fragile) -> Result<(), Abort> {
        Ok(())
    }
}

#[test]
fn a_panic_while_a_body_is_read_is_a_dead_letter_and_ends_nothing() {
    use crate::{effect::Outcome, input::Command};
    let mut desk = Desk::of::<StartsFragile>(&());
    let body = json!({ "order": "bad" });
    let verdict = desk.event("shop.fragile", body.clone()).remove(0);
    assert_eq!(verdict.outcome, Outcome::DeadLetter);
    let detail = verdict.detail.unwrap();
    assert_eq!(detail, "reading it panicked: nobody thought of this body");
    let (definition, key) = ("StartsFragile".to_owned(), Some("k".to_owned()));
    let input = crate::payload::Payload::of(&body).unwrap();
    let refused = desk.ask(crate::testing::admin(), Command::Start { definition, key, input });
    assert!(refused.unwrap_err().detail.contains("panicked"));
    let other = desk.event("shop.fragile", json!({ "order": "good" })).remove(0);
    assert_eq!(other.outcome, Outcome::Started, "the others go on");
    MENDED.set(true);
    let position = desk.events()[0].position;
    let reason = "mended".to_owned();
    let offer = Command::Offer { position, reason, reread: None };
    assert!(desk.ask(crate::testing::admin(), offer).is_ok());
    assert_eq!(desk.head().key, "bad");
}

/// One arm panics, another one could go on.
struct BadArm<const FIXED: bool>;
impl<const FIXED: bool> Saga for BadArm<FIXED> {
    const NAME: &'static str = "BadArm";
    type Input = ();
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
        let bad = async {
            ctx.call(Reserve::of("o1")).await?;
            assert!(FIXED, "in an arm");
            Ok::<_, Abort>(())
        };
        let good = async {
            ctx.when::<Tracked>("o1").forever().await?;
            Ok::<_, Abort>(ctx.call(Mail::of("o1")).await?)
        };
        ctx.join(bad, good).await?;
        Ok(())
    }
}

#[test]
fn facts_behind_a_held_one_are_held_and_seen_in_their_order() {
    let mut desk = started::<BadArm<false>>();
    desk.reply("stock.reserve", Value::Null);
    desk.event("courier.status", json!({ "order": "o1", "status": "sent" }));
    assert_eq!(desk.last(), "= held: an earlier fact is held");
    assert_eq!(desk.owed(), [""; 0]);
    let mut registry = Registry::new("fixed");
    registry.register::<BadArm<true>>(&()).unwrap();
    desk.deploy(registry);
    desk.moved(Action::Retry);
    desk.reads(
        r#"
0 +0s < started BadArm v1 o1
  > 0.0.0 call stock.reserve {"order":"o1"}
  > 0.1.0 wait courier.status of o1, forever
1 +0s < 0.0.0 replied null
2 +0s < 0.1.0 received courier.status {"order":"o1","status":"sent"}
  > 0.1.1 call mail.send {"order":"o1"}
3 +0s < retried by ann: retry please
"#,
    );
}

/// Waits for what it does not declare, or as it does not declare it.
struct Undeclared<const HOW: u8>;
impl<const HOW: u8> Saga for Undeclared<HOW> {
    const NAME: &'static str = "Undeclared";
    type Input = ();
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Tracked>(), event::<Approved>()])
    }
    async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
        match HOW {
            0 => drop(ctx.when::<Paid>("o1").forever().await?),
            1 => drop(ctx.when::<Approved>("o1").forever().await?),
            _ => drop(ctx.when::<Tracked>("o1").ask("?", &()).forever().await?),
        }
        Ok(())
    }
}

#[test]
fn a_wait_for_what_the_definition_does_not_declare_so_is_found_at_once() {
    let held = |desk: Desk| (desk.status(), desk.last());
    let status = Status::Attention;
    let undeclared = "= held: waits for pay.completed, which its definition does not declare: add \
                      it to events()";
    assert_eq!(held(started::<Undeclared<0>>()), (status, undeclared.to_owned()));
    let unasked = "= held: waits for shop.approved, which only a person decides: say .ask(…)";
    assert_eq!(held(started::<Undeclared<1>>()), (status, unasked.to_owned()));
    let no_decision = "= held: asks for courier.status, which is not declared as a decision";
    assert_eq!(held(started::<Undeclared<2>>()), (status, no_decision.to_owned()));
}

/// Has something to say, and to break, when it is dropped.
struct Talks<const PANICS: bool>(Ctx);
impl<const PANICS: bool> Drop for Talks<PANICS> {
    fn drop(&mut self) {
        self.0.undo(Refund::of("o1"));
        self.0.commit();
        self.0.publish("shop.told", "o1", &1);
        _ = (self.0.patched("dropped"), self.0.new_id(), self.0.now());
        assert!(!PANICS, "in a drop");
    }
}
struct TalksOnDrop<const PANICS: bool>;
impl<const PANICS: bool> Saga for TalksOnDrop<PANICS> {
    const NAME: &'static str = "TalksOnDrop";
    type Input = ();
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
        let _talks = Talks::<PANICS>(ctx.clone());
        ctx.call(Mail::of("o1")).await?;
        ctx.when::<Tracked>("o1").forever().await?;
        Ok(())
    }
}

#[test]
fn a_future_that_is_dropped_has_no_say() {
    // The cold core drops the future after each turn, and must write what the warm one writes.
    let mut desk = started::<TalksOnDrop<false>>();
    desk.reply("mail.send", Value::Null);
    desk.moved(Action::Cancel);
    assert_eq!(desk.last(), "> abort, cancelled: cancel please (ann)");
    assert_eq!((desk.status(), desk.owed().len()), (Status::Cancelled, 0));

    let mut desk = started::<TalksOnDrop<true>>();
    desk.reply("mail.send", Value::Null);
    desk.moved(Action::Terminate);
    assert_eq!(desk.status(), Status::Terminated, "a panic on drop is ours");
}

saga!(Endless(ctx) -> () {
    loop {
        ctx.call(Mail::of("o1")).await?;
    }
});

#[test]
fn a_full_journal_asks_for_a_person() {
    let mut registry = Registry::new("test");
    registry.register::<Endless>(&()).unwrap();
    let limits = crate::core::Limits { entries_max: 5, ..Default::default() };
    let mut desk = Desk::with_limits(registry, limits);
    desk.start("Endless", "o1", Value::Null);
    for step in 0..5 {
        desk.reply(&step.to_string(), Value::Null);
    }
    assert_eq!(desk.last(), "= held: its journal is full: split the saga");
    desk.moved(Action::Cancel);
    assert_eq!(desk.status(), Status::Cancelled);
}

/// Something of this many bytes to look at, or to ask for.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Bulk(String);
impl Request for Bulk {
    const SUBJECT: &'static str = "bulk.move";
    type Reply = ();
}
fn bulk() -> Bulk {
    Bulk("x".repeat(PAYLOAD_BYTES_MAX - 10))
}
saga!(AsksForMuch(ctx) -> () {
    ctx.undo(CancelOrder::of("o1"));
    ctx.call(Mail::of("o1")).await?;
    ctx.join_all((0..5).map(|_| ctx.call(bulk()))).await?;
    Ok(())
});
/// Shows people more and more, and never hears from them.
struct ShowsMuch;
impl Saga for ShowsMuch {
    const NAME: &'static str = "ShowsMuch";
    type Input = ();
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Approved>()])
    }
    async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
        let mut asked = Vec::new();
        for _ in 0..100 {
            let shown = "x".repeat(60 << 10);
            let mut it = ctx.when::<Approved>("o1").ask("Look", &shown).forever();
            poll_once(&mut it).await;
            asked.push(it);
            ctx.call(Mail::of("o1")).await?;
        }
        Ok(())
    }
}

#[test]
fn a_turn_that_asks_for_more_than_a_record_holds_is_held_whole_and_can_be_cancelled() {
    let mut desk = started::<AsksForMuch>();
    desk.reply("mail.send", Value::Null);
    let bytes = 5 * PAYLOAD_BYTES_MAX;
    assert!(desk.last().starts_with("= held: one turn asks for 39"), "{} {bytes}", desk.last());
    assert_eq!((desk.status(), desk.owed().len()), (Status::Attention, 0));
    desk.moved(Action::Cancel);
    assert_eq!(desk.owed(), ["0 undo order.cancel (cancelled)"]);
}

#[test]
fn a_saga_that_holds_for_more_than_its_head_may_have_is_held() {
    let mut desk = started::<ShowsMuch>();
    let mut turns = 0;
    while desk.owed() != [""; 0] {
        desk.reply("mail.send", Value::Null);
        turns += 1;
    }
    assert_eq!(turns, 34, "35 times 60 KiB are more than 2 MiB");
    let held = "= held: bytes of all that it holds for and has asked: 21";
    assert!(desk.last().starts_with(held), "{}", desk.last());
    desk.restart();
    desk.moved(Action::Cancel);
    assert_eq!(desk.status(), Status::Cancelled);
}

saga!(
    /// Its arms are async blocks over arms.
    Deep(ctx) -> () {
        let leaf = |it: &'static str| {
            let ctx = ctx.clone();
            async move {
                ctx.join(ctx.call(Mail::of(it)), ctx.call(ShipStock::of(it))).await?;
                Ok::<_, Abort>(())
            }
        };
        ctx.join_all(["a", "b"].map(|it| Box::pin(leaf(it)))).await?;
        ctx.call(BookCourier::of("o1")).await?;
        Ok(())
    }
);

#[test]
fn names_are_counted_per_arm_at_any_depth() {
    let desk = started::<Deep>();
    let calls = [
        "0.0.0.0.0 mail.send",
        "0.0.0.1.0 stock.ship",
        "0.1.0.0.0 mail.send",
        "0.1.0.1.0 stock.ship",
    ];
    assert_eq!(desk.owed(), calls);
}
