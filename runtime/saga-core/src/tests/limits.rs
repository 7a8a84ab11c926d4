//! Nothing that an author or a service hands over ends the process, and what is over a limit says
//! what it is, how large, and how much is allowed. The store in memory refuses what any store does.

use super::fixtures::{
    BookCourier, DAY, Paid, Release, Reserve, Session, holds_for, saga, started,
};
use crate::{
    abort::{Abort, AbortKind},
    codec::encoded_bytes,
    core::{HEAD_BYTES_MAX, PAYLOAD_BYTES_MAX},
    ctx::Ctx,
    fold::Status,
    head::Head,
    id::{Path, Time},
    input::{self, Action, Answer},
    journal::{Command, Decision, Ends, Fact},
    message::{Event, Request},
    payload::Payload,
    saga::{Declared, Registry, Saga, event, events},
    store::VALUE_BYTES_MAX,
    testing::{Desk, admin},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::pin::Pin;

/// Whatever the definition below is told to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Wants {
    key: String,
    subject: String,
    title: String,
    shown: String,
    filters: usize,
    compared: String,
    patch: String,
    output: String,
    undo: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Words(String);
impl Request for Words {
    const SUBJECT: &'static str = "mail.words";
    type Reply = Session;
}

struct Asks;
impl Saga for Asks {
    const NAME: &'static str = "Asks";
    type Input = Wants;
    type Output = String;
    type Settings = ();
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(ctx: Ctx, it: Wants) -> Result<String, Abort> {
        // The least that each may be is what the others ask for.
        let or =
            |text: &str, other: &str| if text.is_empty() { other.into() } else { text.to_owned() };
        ctx.publish(&or(&it.subject, "shop.told"), or(&it.key, "o1"), &it.undo);
        ctx.undo(Words(it.undo.clone()));
        _ = ctx.patched(&or(&it.patch, "p"));
        if !it.output.is_empty() {
            return Ok(it.output);
        }
        if !(it.title.is_empty() && it.shown.is_empty()) {
            let ask = ctx.when::<super::fixtures::Approved>("o1").ask(it.title, &it.shown);
            ask.forever().await?;
        }
        let mut wait = ctx.when::<Paid>(or(&it.key, "o1"));
        for _ in 0..it.filters {
            wait = wait.filter(Paid::session().eq(&it.compared));
        }
        wait.within(DAY).await?;
        Ok(String::new())
    }
}

fn stuck(wants: &Wants) -> Option<String> {
    let mut desk = Desk::of::<Asks>(&());
    desk.start("Asks", "o1", json!(wants));
    let head = desk.head();
    (head.status == Status::Attention).then(|| head.reason.unwrap())
}

#[test]
fn what_is_over_a_limit_is_held_and_says_what_how_large_and_how_much_is_allowed() {
    let long = |size: usize| "x".repeat(size);
    let of = |change: &dyn Fn(&mut Wants)| {
        let mut wants = Wants::default();
        change(&mut wants);
        wants
    };
    let table: [(Wants, Wants, &str); 9] = [
        (
            of(&|it| it.key = long(256)),
            of(&|it| it.key = long(257)),
            "bytes of the key of shop.told that is published: 257, and 256 are allowed",
        ),
        (
            of(&|it| it.subject = long(255)),
            of(&|it| it.subject = long(256)),
            "it has more than 255 bytes",
        ),
        (
            of(&|it| it.subject = "a.b-c.d_e".to_owned()),
            of(&|it| it.subject = "a.*".to_owned()),
            "no message can go to the subject \"a.*\": it has a wildcard",
        ),
        (
            of(&|it| it.title = long(1_000)),
            of(&|it| it.title = long(1_001)),
            "bytes of the title that asks for shop.approved: 1001, and 1000 are allowed",
        ),
        (
            of(&|it| it.shown = long((64 << 10) - 2)),
            of(&|it| it.shown = long(64 << 10)),
            "bytes of what is shown to whoever decides shop.approved: 65538, and 65536 are",
        ),
        (
            of(&|it| it.filters = 32),
            of(&|it| it.filters = 33),
            "comparisons of a wait for pay.completed: 33, and 32 are allowed",
        ),
        (
            of(&|it| (it.filters, it.compared) = (1, long(10_000))),
            of(&|it| (it.filters, it.compared) = (1, long(20_000))),
            "bytes of the comparisons of a wait for pay.completed: ",
        ),
        (
            of(&|it| it.patch = long(255)),
            of(&|it| it.patch = long(256)),
            "bytes of the name of a patch: 256, and 255 are allowed",
        ),
        (
            of(&|it| it.output = long(PAYLOAD_BYTES_MAX - 2)),
            of(&|it| it.output = long(PAYLOAD_BYTES_MAX)),
            "bytes of the output: ",
        ),
    ];
    for (fits, exceeds, told) in &table {
        assert_eq!(stuck(fits), None, "{told}");
        let reason = stuck(exceeds).unwrap_or_else(|| panic!("not held: {told}"));
        assert!(reason.contains(told) && reason.len() < 400, "{reason}");
    }
    let undo = Wants { undo: long(PAYLOAD_BYTES_MAX), ..Wants::default() };
    let reason = stuck(&undo).unwrap();
    assert!(reason.starts_with("bytes of the body for shop.told: 786434, and"), "{reason}");
}

/// No answer of a service ends the process, again and again.
#[test]
fn a_key_that_a_service_made_too_long_holds_its_saga() {
    saga!(ByAnswer(ctx) -> () {
        let told = ctx.call(Words("o1".to_owned())).await?;
        ctx.when::<Paid>(&told.session).within(DAY).await?;
        Ok(())
    });
    let mut desk = started::<ByAnswer>();
    desk.reply("mail.words", json!({ "session": "x".repeat(700 << 10) }));
    let reason = desk.head().reason.unwrap();
    assert!(
        reason.contains("the key of pay.completed that is awaited: 716800, and 256"),
        "{reason}"
    );
    desk.restart();
    desk.moved(Action::Retry);
    assert_eq!(desk.status(), Status::Attention);
    desk.moved(Action::Cancel);
    assert_eq!(desk.status(), Status::Cancelled);
}

/// A name as long as a hold for twelve of them needs to be to fill a head with some hundred holds.
macro_rules! long {
    ($word:literal) => {
        concat!(
            "a.trigger.the-order-that-somebody-has-placed-with-us-a-good-while-ago-was-as-far-",
            "as-the-",
            "department-in-charge-of-this-has-been-able-to-find-out-until-now-",
            $word
        )
    };
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Twelve {}
impl Event for Twelve {
    const SUBJECTS: &'static [&'static str] = &[
        long!("placed"),
        long!("paid"),
        long!("packed"),
        long!("shipped"),
        long!("found"),
        long!("returned"),
        long!("refunded"),
        long!("lost"),
        long!("changed"),
        long!("split"),
        long!("merged"),
        long!("closed"),
    ];
    const KEY: &'static str = "/order";
}

/// Holds for very much, and, once a service has answered, for as much again.
struct Grows;
impl Saga for Grows {
    const NAME: &'static str = "Grows";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Twelve>()])
    }
    async fn run(ctx: Ctx, waits: u32) -> Result<(), Abort> {
        let key = |it: u32| format!("{it:0250}");
        let hold = |from: u32| {
            ctx.join_all((from..from + waits).map(|it| ctx.when::<Twelve>(key(it)).within(DAY)))
        };
        let more = async {
            ctx.call(Reserve::of("o1")).undo(Release::of("o1")).await?;
            hold(waits).await
        };
        ctx.join(hold(0), more).await?;
        Ok(())
    }
}

/// Neither the turn that asks for too much, nor an operator's retry of it.
#[test]
fn no_number_of_waits_and_no_retry_makes_a_row_that_the_store_refuses() {
    for waits in [20, 600, 1_050] {
        let mut desk = Desk::of::<Grows>(&());
        desk.start("Grows", "k", json!(waits));
        let is_asked = !desk.requests().is_empty();
        if is_asked {
            desk.reply("stock.reserve", Value::Null);
        }
        assert_eq!(is_asked, waits < 1_050, "{:?}", desk.head().reason);
        let is_held = desk.status() == Status::Attention;
        assert_eq!(is_held, 20 < waits, "{waits}: {:?}", desk.head().reason);
        desk.make(Action::Retry).ok();
        assert_eq!(desk.status() == Status::Attention, is_held, "{waits}");
        assert!(encoded_bytes(&desk.head()) <= HEAD_BYTES_MAX + 10_000);
        desk.moved(Action::Cancel);
        if is_asked {
            desk.undone("stock.release");
        }
        assert_eq!(desk.status(), Status::Cancelled, "a person has a way out");
    }
}

/// A call more than may be open, with the longest reason at each of the others.
#[test]
fn as_many_calls_as_may_be_open_have_room_for_their_reasons() {
    struct Many;
    impl Saga for Many {
        const NAME: &'static str = "Many";
        type Input = u32;
        type Output = ();
        type Settings = ();
        fn events() -> Vec<Declared> {
            holds_for()
        }
        async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
            let calls = (0..calls).map(|it| ctx.call(Reserve::of(&it.to_string())));
            ctx.join_all(calls).await.map(drop)
        }
    }
    let mut registry = Registry::new("test");
    registry.register::<Many>(&()).unwrap();
    let mut desk = Desk::new(registry);
    desk.start("Many", "one more", json!(2_001));
    let reason = desk.head().reason.unwrap();
    assert!(reason.contains("open at once: 2001, and 2000 are allowed"), "{reason}");
    assert_eq!(desk.requests().len(), 0);
    desk.start("Many", "some", json!(40));
    for id in desk.requests().into_iter().map(|it| it.id).collect::<Vec<_>>() {
        desk.answer(&id, Answer::Useless { reason: "\u{1}".repeat(100_000) });
    }
    let bytes = encoded_bytes(&desk.head());
    assert!(bytes < 40 * 1_500 + 10_000, "{bytes}: of 2,000 less than the 7 MiB of a row");
}

/// An undo that is owed can be sent, whatever a service said.
#[test]
fn an_undo_with_the_words_of_a_service_fits_into_a_message() {
    saga!(Unwinds(ctx) -> () {
        ctx.call(Reserve::of("o1")).undo(Release::of("o1")).await?;
        ctx.call(BookCourier::of("o1")).await?;
        Ok(())
    });
    let mut desk = started::<Unwinds>();
    desk.reply("stock.reserve", Value::Null);
    let id = desk.find("courier.book", false);
    let (code, reason) = ("c".repeat(70_000), "no such strasse: ß ".repeat(40_000));
    desk.answer(&id, Answer::Rejected { code, reason });
    let undo = desk.requests().into_iter().next().unwrap();
    let told = undo.undo.unwrap().abort.reason;
    assert_eq!((told.chars().count(), told.chars().last()), (1_000, Some('…')), "{told}");
    assert!(told.starts_with("courier.book rejected: no such strasse: ß no such"));
    assert!(encoded_bytes(&desk.head()) < 10_000);
    let journal = desk.text();
    assert!(journal.len() < 10_000, "{} bytes", journal.len());
}

/// What differs is told in a line, by place and kind, and without what a customer has told us.
#[test]
fn a_divergence_is_told_in_a_line_without_what_stands_in_bodies() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Letter {
        text: String,
        to: Vec<String>,
        copies: u8,
    }
    impl Request for Letter {
        const SUBJECT: &'static str = "mail.letter";
        type Reply = ();
    }
    struct Writes<const NEW: bool>;
    impl<const NEW: bool> Saga for Writes<NEW> {
        const NAME: &'static str = "Writes";
        type Input = ();
        type Output = ();
        type Settings = ();
        fn events() -> Vec<Declared> {
            holds_for()
        }
        async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
            let text = format!("{NEW} {}", "x".repeat(700 << 10));
            let to = if NEW { "ada@example.com" } else { "eva@example.com" };
            let copies = if NEW { 10 } else { 1 };
            ctx.call(Letter { text, to: vec![to.to_owned()], copies }).await?;
            Ok(())
        }
    }
    let mut desk = Desk::of::<Writes<false>>(&());
    desk.start("Writes", "k", Value::Null);
    let mut registry = Registry::new("new");
    registry.register::<Writes<true>>(&()).unwrap();
    desk.deploy(registry);
    desk.reply("mail.letter", Value::Null);
    assert_eq!(
        desk.head().reason.unwrap(),
        "diverged in turn 0: recorded: 0 call mail.letter; asked: the same with other /copies \
         (a number of 2 characters, recorded: a number of 1 characters), /text (a text of 716805 \
         characters, recorded: a text of 716806 characters), /to/0 (a text of 15 characters, \
         recorded: a text of 15 characters); put the old code back, or guard the new one with \
         ctx.patched"
    );
}

/// What a decoder says quotes what it read.
#[test]
fn an_answer_that_cannot_be_read_is_told_without_what_stands_in_it() {
    saga!(Reads(ctx) -> String { Ok(ctx.call(Words(String::new())).await?.session) });
    for (body, told) in [
        (json!("ada@example.com"), "invalid type: string \"…\", expected struct Session"),
        (json!({ "session": 5 }), "invalid type: integer `5`, expected a string"),
    ] {
        let mut desk = started::<Reads>();
        desk.reply("mail.words", body);
        let reason = desk.head().reason.unwrap();
        assert!(reason.contains(told) && !reason.contains("ada@"), "{reason}");
    }
}

/// A long reason that an older build recorded is the same as the one that is cut today.
#[test]
fn a_reason_of_an_older_build_replays() {
    let long = Abort { kind: AbortKind::Failed, reason: "x".repeat(5_000) };
    let ends = Ends::Cancelled;
    let recorded = Decision::Abort { abort: long.clone(), ends };
    let asked = Decision::Abort { abort: long.cut(), ends };
    assert!(recorded.is_same(&asked, &[]));
    let other = Decision::Abort { abort: Abort::failed("y"), ends };
    assert!(!recorded.is_same(&other, &[]));
}

/// As many arms as it is told, each of which registers what undoes it; then it holds.
struct ManyUndos;
impl Saga for ManyUndos {
    const NAME: &'static str = "many-undos";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(ctx: Ctx, undos: u32) -> Result<(), Abort> {
        let arms = (0..undos).map(|it| {
            let ctx = ctx.clone();
            async move {
                ctx.undo(Release::of(&it.to_string()));
                Ok::<(), Abort>(())
            }
        });
        ctx.join_all(arms).await?;
        ctx.when::<Paid>("o1").forever().await.map(drop)
    }
}

#[test]
fn undos_beside_each_other_are_asked_for_as_far_as_the_head_has_room() {
    const UNDOS: u32 = 2_000;
    let mut desk = Desk::of::<ManyUndos>(&());
    desk.start("many-undos", "k", json!(UNDOS));
    desk.moved(Action::Cancel);
    let asked = desk.requests();
    assert!((1_000..UNDOS as usize).contains(&asked.len()), "{} at once", asked.len());
    desk.answer(&asked[0].id, Answer::Ok(Payload::null()));
    assert_eq!(desk.requests().len(), asked.len(), "the next one follows");
}

/// A cancel, a timer and an answer are no turns that could be refused.
#[test]
fn many_undos_make_no_head_that_a_store_refuses_whatever_services_say_of_them() {
    let mut desk = Desk::of::<ManyUndos>(&());
    desk.start("many-undos", "k", json!(0));
    for (undos, depth) in [(10_000, 1), (3_000, 100)] {
        let mut state = desk.state();
        let deep = "0.0.".repeat(depth);
        for arm in 0..undos {
            let step = format!("{deep}1.{arm}.0").parse().unwrap();
            let command = Command { subject: "stock.release".to_owned(), body: Payload::null() };
            state.decide(Time(1), (1, arm), &Decision::Undo { step, command });
        }
        let (abort, ends) = (Abort::failed("cancelled"), Ends::Cancelled);
        state.decide(Time(2), (2, 0), &Decision::Abort { abort, ends });
        let asked: Vec<Path> =
            state.owed.iter().filter(|it| it.is_asked).map(|it| it.step.clone()).collect();
        let (code, reason) = ("no".to_owned(), "\u{1}".repeat(1_000));
        for step in asked {
            let (code, reason) = (code.clone(), reason.clone());
            state.learn(Time(3), &Fact::UndoRejected { step, code, reason });
        }
        let bytes = encoded_bytes(&Head::of(&state, 1));
        assert!(HEAD_BYTES_MAX / 4 < bytes && bytes < VALUE_BYTES_MAX / 2, "{bytes} bytes");
    }
}

#[test]
fn all_undos_are_asked_for_in_the_end() {
    let mut desk = Desk::of::<ManyUndos>(&());
    desk.start("many-undos", "k", json!(1_600));
    let mut state = desk.state();
    let (abort, ends) = (Abort::failed("cancelled"), Ends::Cancelled);
    state.decide(Time(2), (2, 0), &Decision::Abort { abort, ends });
    let mut undone = 0;
    while let Some(step) = state.owed.iter().find(|it| it.is_asked).map(|it| it.step.clone()) {
        state.learn(Time(3), &Fact::Undone { step });
        undone += 1;
    }
    assert_eq!((undone, state.owed.len()), (1_600, 0));
}

#[test]
fn what_people_have_given_up_is_kept_short_in_the_head() {
    saga!(Waived(ctx) -> () {
        (0..40).for_each(|it: u32| ctx.undo(Release::of(&it.to_string())));
        ctx.when::<Paid>("o1").forever().await.map(drop)
    });
    let mut desk = started::<Waived>();
    desk.moved(Action::Cancel);
    let saga = desk.saga();
    for _ in 0..30 {
        desk.undo_rejected("stock.release", "no");
        let reason = "\u{1F4A5}".repeat(1_000);
        desk.ask(admin(), input::Command::Waive { saga, step: None, reason }).unwrap();
    }
    let bytes = encoded_bytes(&desk.head());
    assert!(bytes < 30_000, "{bytes} bytes after 30 waives, in lists as well");
}

/// Joins that lie in each other.
fn deep(ctx: &Ctx, levels: u32) -> Pin<Box<dyn Future<Output = Result<(), Abort>> + '_>> {
    Box::pin(async move {
        match levels {
            0 => ctx.call(Reserve::of("o1")).await.map_err(Abort::from),
            _ => ctx.join(deep(ctx, levels - 1), async { Ok::<_, Abort>(()) }).await.map(drop),
        }
    })
}

#[test]
fn a_step_that_lies_in_too_many_joins_holds_its_saga() {
    saga!(Deep(ctx) -> () { deep(&ctx, 300).await });
    let desk = started::<Deep>();
    let reason = desk.head().reason.unwrap();
    assert!(reason.contains("bytes of the name of a step"), "{reason}");
}

#[test]
fn a_definition_has_a_name_of_a_sensible_length() {
    struct Unnamed;
    impl Saga for Unnamed {
        const NAME: &'static str = "";
        type Input = Value;
        type Output = ();
        type Settings = ();
        fn events() -> Vec<Declared> {
            events([])
        }
        async fn run(_: Ctx, _: Value) -> Result<(), Abort> {
            Ok(())
        }
    }
    let error = Registry::new("test").register::<Unnamed>(&()).unwrap_err().to_string();
    assert!(error.ends_with("it may have 1 to 200"), "{error}");
}
