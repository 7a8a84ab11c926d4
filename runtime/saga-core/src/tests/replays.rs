//! Rule 5: a deploy makes no recorded saga act. Rule 17: what may change without a patch.

use super::fixtures::{
    Approved, CancelOrder, Mail, Refund, Release, Reserve, Tracked, holds_for, saga, started,
};
use crate::{
    abort::Abort,
    ctx::Ctx,
    effect::Effect,
    fold::Status,
    input::Action,
    journal::{Decision, Entry, Turn},
    message::{Request, Retry},
    replay::{Live, ReplayError, code},
    saga::{Declared, Registry, Saga},
    testing::Desk,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// The code as it was, and as a deploy changed it.
struct Changed<const CHANGE: u8>;
const PLAIN: u8 = 1;
const PATCHED: u8 = 2;
const PATCHED_LATER: u8 = 3;
const LESS: u8 = 4;
const OTHER: u8 = 5;

impl<const CHANGE: u8> Saga for Changed<CHANGE> {
    const NAME: &'static str = "Changed";
    type Input = ();
    type Output = bool;
    type Settings = ();
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(ctx: Ctx, (): ()) -> Result<bool, Abort> {
        let first = async {
            ctx.call(Mail::of(if CHANGE == OTHER { "o2" } else { "o1" })).await?;
            if CHANGE == PLAIN || CHANGE == PATCHED && ctx.patched("refund") {
                ctx.call(Refund::of("o1")).await?;
            }
            Ok::<_, Abort>(())
        };
        let second = async {
            if CHANGE != LESS {
                ctx.call(CancelOrder::of("o1")).await?;
            }
            Ok::<_, Abort>(())
        };
        ctx.join(first, second).await?;
        ctx.call(Release::of("o1")).await?;
        let late = CHANGE == PATCHED || CHANGE == PATCHED_LATER;
        Ok(late && ctx.patched("refund"))
    }
}

fn registry<S: Saga<Settings = ()>>() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<S>(&()).unwrap();
    registry
}

/// Its last turn decided nothing.
fn stored() -> Desk {
    let mut desk = Desk::of::<Changed<0>>(&());
    desk.start("Changed", "o1", Value::Null);
    desk.reply("mail.send", Value::Null);
    desk
}

fn replay<S: Saga>(journal: &[Entry]) -> Result<Live, ReplayError> {
    Live::replay(code::<S>(), journal)
}

fn error<S: Saga>(journal: &[Entry]) -> String {
    replay::<S>(journal).map(|_| ()).unwrap_err().to_string()
}

const HELP: &str = "; put the old code back, or guard the new one with ctx.patched";

#[test]
fn more_less_and_other_in_a_stored_turn_diverge_and_are_named() {
    let journal = stored().journal();
    let more = "diverged in turn 1: recorded: nothing; asked: 0.0.1 call pay.refund";
    assert_eq!(error::<Changed<PLAIN>>(&journal), format!("{more}{HELP}"));
    let less = "diverged in turn 0: recorded: 0.1.0 call order.cancel; asked: nothing";
    assert_eq!(error::<Changed<LESS>>(&journal), format!("{less}{HELP}"));
    let other = "diverged in turn 0: recorded: 0.0.0 call mail.send; asked: the same with \
                 other /order (a text of 2 characters, recorded: a text of 2 characters)";
    assert_eq!(error::<Changed<OTHER>>(&journal), format!("{other}{HELP}"));
}

#[test]
fn a_deploy_that_diverges_holds_the_saga_and_sends_nothing_new() {
    let mut desk = stored();
    let before = desk.text();
    desk.deploy(registry::<Changed<PLAIN>>());
    assert_eq!(desk.owed(), ["0.1.0 order.cancel"], "what was owed is owed");
    desk.reply("order.cancel", Value::Null);
    assert_eq!((desk.status(), desk.owed().len()), (Status::Attention, 0));
    assert!(desk.text().starts_with(&before), "the journal is untouched");
    assert!(desk.last().starts_with("= held: diverged in turn 1"));
    desk.deploy(registry::<Changed<0>>());
    desk.moved(Action::Retry);
    desk.reply("stock.release", Value::Null);
    assert_eq!(desk.status(), Status::Completed);
}

#[test]
fn a_patch_is_off_in_a_stored_turn_and_its_first_answer_holds() {
    let mut desk = stored();
    desk.deploy(registry::<Changed<PATCHED>>());
    desk.reply("order.cancel", Value::Null);
    desk.reply("stock.release", Value::Null);
    assert!(!desk.text().contains("refund"));
    assert_eq!(desk.last(), "> complete false");
}

#[test]
fn a_patch_is_on_and_marked_in_a_new_turn() {
    let mut desk = stored();
    desk.reply("order.cancel", Value::Null);
    desk.deploy(registry::<Changed<PATCHED_LATER>>());
    desk.reply("stock.release", Value::Null);
    assert!(desk.text().ends_with("> patch refund\n  > complete true"));
    let journal = desk.journal();
    assert!(replay::<Changed<PATCHED_LATER>>(&journal).is_ok());
    let unmarked = "diverged in turn 3: recorded: patch refund; asked: complete";
    assert_eq!(error::<Changed<0>>(&journal), format!("{unmarked}{HELP}"));

    let mut desk = Desk::of::<Changed<PATCHED>>(&());
    desk.start("Changed", "o1", Value::Null);
    desk.reply("mail.send", Value::Null);
    assert!(desk.text().ends_with("> patch refund\n  > 0.0.1 call pay.refund {\"order\":\"o1\"}"));
    desk.restart();
    desk.reply("order.cancel", Value::Null);
    desk.reply("pay.refund", Value::Null);
    desk.reply("stock.release", Value::Null);
    assert_eq!(desk.last(), "> complete true");
    assert_eq!(desk.text().matches("patch refund").count(), 1, "marked once");
}

#[test]
fn a_patched_call_diverges_too_where_the_journal_has_its_mark_only() {
    let mut journal = stored().journal();
    let Turn::Done { decisions, .. } = &mut journal[1].turn else { panic!("a turn") };
    decisions.push(Decision::Patch { id: "refund".to_owned() });
    assert!(
        error::<Changed<PATCHED>>(&journal).starts_with("diverged in turn 1: recorded: nothing")
    );
}

#[test]
fn a_journal_without_its_start_or_with_two_is_torn() {
    let journal = stored().journal();
    assert_eq!(error::<Changed<0>>(&journal[1..]), "the journal is torn at entry 0");
    let twice = [&journal[..1], &journal[..]].concat();
    assert_eq!(error::<Changed<0>>(&twice), "the journal is torn at entry 1");
    assert!(replay::<Changed<0>>(&[]).is_ok(), "nothing is nothing");
}

/// A request, as it was and with a field more; and the wait behind it, with another deadline.
/// A field with another value than its default is another request: that takes a `patched`.
#[derive(PartialEq, Serialize, Deserialize)]
struct Old {
    sku: String,
    obsolete: u8,
}
#[derive(PartialEq, Serialize, Deserialize)]
struct New<const GIFT: bool> {
    sku: String,
    #[serde(default)]
    gift: bool,
}
trait Ask: Request {
    const ASK: fn() -> Self;
    const LIMIT_S: u64;
}
impl Request for Old {
    const SUBJECT: &'static str = "x";
    type Reply = ();
}
impl<const GIFT: bool> Request for New<GIFT> {
    const SUBJECT: &'static str = "x";
    const RETRY: Retry = Retry { pause_max: Duration::from_secs(1), ..Retry::DEFAULT };
    type Reply = ();
}
impl Ask for Old {
    const ASK: fn() -> Old = || Old { sku: "a".into(), obsolete: 1 };
    const LIMIT_S: u64 = 60;
}
impl<const GIFT: bool> Ask for New<GIFT> {
    const ASK: fn() -> Self = || New { sku: "a".into(), gift: GIFT };
    const LIMIT_S: u64 = 5;
}
struct Asks<R>(std::marker::PhantomData<R>);
impl<R: Ask> Saga for Asks<R> {
    const NAME: &'static str = "Asks";
    type Input = ();
    type Output = bool;
    type Settings = ();
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(ctx: Ctx, (): ()) -> Result<bool, Abort> {
        ctx.undo(R::ASK());
        ctx.call(R::ASK()).undo(R::ASK()).await?;
        ctx.publish("shop.told", "o1", &R::ASK());
        let limit = Duration::from_secs(R::LIMIT_S);
        ctx.sleep(limit).await?;
        let wait = ctx.when::<Tracked>("o1").within(limit);
        Ok(wait.await?.is_some())
    }
}

#[test]
fn an_added_field_and_another_deadline_do_not_diverge_and_what_is_recorded_stays() {
    let mut desk = Desk::of::<Asks<Old>>(&());
    desk.start("Asks", "o1", Value::Null);
    desk.reply("1", Value::Null);
    desk.wait_s(60);
    let journal = desk.journal();
    assert!(error::<Asks<New<true>>>(&journal).starts_with("diverged in turn 0"));
    let live = replay::<Asks<New<false>>>(&journal).unwrap();
    assert_eq!(live.state().waits[0].due, desk.waits()[0].due);
    assert_eq!(live.state().undos, desk.state().undos);
    desk.deploy(registry::<Asks<New<false>>>());
    desk.wait_ms(59_999);
    assert_eq!(desk.status(), Status::Waiting);
    desk.publish_all();
    desk.wait_ms(1);
    assert_eq!((desk.last().as_str(), desk.status()), ("> complete false", Status::Completed));
}

/// Whether a wait has a deadline is compared, how long is not.
struct Deadline<const HAS: bool>;
impl<const HAS: bool> Saga for Deadline<HAS> {
    const NAME: &'static str = "Deadline";
    type Input = ();
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
        let when = ctx.when::<Tracked>("o1");
        if HAS {
            when.within(Duration::from_secs(5)).await?;
        } else {
            when.forever().await?;
        }
        Ok(())
    }
}

#[test]
fn a_deadline_that_is_taken_away_or_added_diverges() {
    let journal = started::<Deadline<true>>().journal();
    assert!(error::<Deadline<false>>(&journal).starts_with("diverged in turn 0"));
    let journal = started::<Deadline<false>>().journal();
    assert!(error::<Deadline<true>>(&journal).starts_with("diverged in turn 0"));
}

/// Settings are read once, when a saga starts.
struct Configured;
#[derive(Serialize, Deserialize)]
struct Settings {
    limit_s: u64,
}
impl Saga for Configured {
    const NAME: &'static str = "Configured";
    type Input = ();
    type Output = u64;
    type Settings = Settings;
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(ctx: Ctx<Settings>, (): ()) -> Result<u64, Abort> {
        ctx.sleep(Duration::from_secs(ctx.settings().limit_s)).await?;
        Ok(ctx.settings().limit_s)
    }
}

#[test]
fn a_saga_keeps_the_settings_with_which_it_started() {
    let mut desk = Desk::of::<Configured>(&Settings { limit_s: 60 });
    desk.start("Configured", "o1", Value::Null);
    let mut registry = Registry::new("test");
    registry.register::<Configured>(&Settings { limit_s: 5 }).unwrap();
    desk.deploy(registry);
    desk.wait_s(59);
    assert_eq!(desk.status(), Status::Waiting);
    desk.wait_s(1);
    assert_eq!(desk.last(), "> complete 60");
    desk.start("Configured", "o2", Value::Null);
    desk.wait_s(5);
    assert_eq!(desk.last(), "> complete 5");
}

/// Another version of a definition.
struct Versioned<const VERSION: u32>;
impl<const VERSION: u32> Saga for Versioned<VERSION> {
    const NAME: &'static str = "Versioned";
    const VERSION: u32 = VERSION;
    type Input = ();
    type Output = u32;
    type Settings = ();
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(ctx: Ctx, (): ()) -> Result<u32, Abort> {
        ctx.call(Reserve::of("o1")).undo(Release::of("o1")).await?;
        Ok(VERSION)
    }
}

#[test]
fn a_saga_of_a_version_that_is_not_linked_waits_for_a_person() {
    let mut desk = started::<Versioned<1>>();
    desk.deploy(registry::<Versioned<2>>());
    desk.reply("stock.reserve", Value::Null);
    assert_eq!(desk.last(), "= held: definition Versioned version 1 is not in this binary");
    desk.deploy(registry::<Versioned<1>>());
    desk.moved(Action::Retry);
    assert_eq!(desk.status(), Status::Completed);
}

saga!(Reads(ctx) -> String {
    Ok(ctx.when::<Tracked>("o1").forever().await?.status)
});

/// The same saga, whose event has lost its field.
struct ReadsLess;
#[derive(Deserialize)]
struct TrackedBy {
    by: u64,
}
impl crate::message::Event for TrackedBy {
    const SUBJECTS: &'static [&'static str] = &["courier.status"];
    const KEY: &'static str = "/order";
}
impl Saga for ReadsLess {
    const NAME: &'static str = "Reads";
    type Input = ();
    type Output = String;
    type Settings = ();
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(ctx: Ctx, (): ()) -> Result<String, Abort> {
        Ok(ctx.when::<TrackedBy>("o1").forever().await?.by.to_string())
    }
}

#[test]
fn an_event_that_no_longer_decodes_at_its_taker_is_for_a_person_and_never_skipped() {
    let mut desk = started::<Reads>();
    desk.deploy(registry::<ReadsLess>());
    desk.event("courier.status", json!({ "order": "o1", "status": "sent" }));
    let held = format!("= held: the event courier.status for {}/0/0 cannot be read", desk.saga());
    assert!(desk.last().starts_with(&held), "{}", desk.last());
    desk.deploy(registry::<Reads>());
    desk.moved(Action::Retry);
    assert_eq!(desk.status(), Status::Completed);
}

saga!(
    /// Cannot go on once somebody has said yes.
    Breaks(ctx) -> () {
        ctx.undo(CancelOrder::of("o1"));
        ctx.when::<Approved>("o1").ask("approve", &()).forever().await?;
        panic!("it broke");
    }
);

#[test]
fn what_a_held_fact_opened_and_the_world_closed_is_closed_in_a_replay_too() {
    let mut desk = started::<Breaks>();
    desk.decide(true, "fine").unwrap();
    assert_eq!((desk.status(), desk.publishes().len()), (Status::Attention, 1));
    desk.publish_all();
    desk.moved(Action::Cancel);
    desk.undone("order.cancel");
    assert_eq!(desk.status(), Status::Cancelled);
}

saga!(
    /// Races a call against the world, and holds on.
    Races(ctx) -> () {
        let call = ctx.call(Reserve::of("o1")).undo(Release::of("o1"));
        ctx.race(ctx.when::<Tracked>("o1").forever(), call).await?;
        ctx.sleep(Duration::from_secs(5)).await
    }
);

#[test]
fn a_start_that_abandons_a_call_gives_out_its_undo_alone() {
    let mut desk = started::<Races>();
    desk.deploy(Registry::new("without it"));
    desk.event("courier.status", json!({ "order": "o1", "status": "sent" }));
    desk.deploy(registry::<Races>());
    assert_eq!(desk.owed(), ["0.1.0 undo stock.release (lost)"]);
    let is_call = |it: &&Effect| matches!(it, Effect::Send(it) if it.undo.is_none());
    let is_forget = |it: &&Effect| matches!(it, Effect::Forget(_));
    let effects = desk.effects().iter();
    assert_eq!(effects.filter(|it| is_call(it) || is_forget(it)).count(), 0);
}
