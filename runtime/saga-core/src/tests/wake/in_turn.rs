//! What waited until its family was done goes before what comes when that is done, whenever a piece
//! of work was over.

use super::*;
use crate::{
    saga::{Late, LateInput},
    tests::fixtures,
};
use std::time::Duration;

/// As its input says: looks for money of nobody, is over after a minute, or has a call and is over
/// then, or holds for money.
struct Calls;
impl Saga for Calls {
    const NAME: &'static str = "Calls";
    type Input = String;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, input: String) -> Result<(), Abort> {
        if input == "minute" {
            ctx.sleep(Duration::from_secs(60)).await?;
            return Ok(());
        }
        if input != "never" {
            ctx.call(ShipStock::of("1")).await?;
        }
        if input != "ends" {
            let of_session = fixtures::Paid::session().eq(&input);
            ctx.when::<fixtures::Paid>("all").filter(of_session).forever().await?;
        }
        Ok(())
    }
}

/// As far as one input: the time of the batch is over.
fn short_piece(rig: &mut Rig) {
    rig.line.wake(&mut rig.core).unwrap();
    if let Some((input, _)) = rig.line.next(&rig.core).unwrap() {
        rig.handle(input);
    }
    rig.handle(Input::GoOn);
    rig.commit();
}

/// Two sagas will hold for the same money, and are answered while another one looks: the second one
/// when this has been done. A third one ends by its answer before, and the minute of a fourth one
/// may be over.
fn who_has_it(kept: u32, is_due: bool, done: impl Fn(&mut Rig)) -> [Vec<String>; 2] {
    let mut rig = rig_with(Limits::default(), |it| it.register::<Calls>(&()).unwrap());
    of_nobody(&mut rig, kept);
    rig.event("pay.completed", "m", &json!({ "order": "all", "session": "mine" }));
    let minute = is_due.then(|| rig.begin("Calls", "minute", &"minute"));
    let ends = rig.begin("Calls", "ends", &"ends");
    let [first, second] = ["first", "second"].map(|it| rig.begin("Calls", it, &"mine"));
    rig.go_on();
    let calls = [ends, first, second].map(|it| rig.call_of(it));
    rig.now = rig.now.after_ms(61_000);
    let looks = rig.begin("Calls", "looks", &"never");
    assert_eq!(rig.core.is_looking(looks).unwrap(), 128 < kept);
    rig.input(Input::tick(rig.now));
    rig.answer(&calls[0]);
    rig.answer(&calls[1]);
    done(&mut rig);
    rig.answer(&calls[2]);
    rig.go_on();
    if let Some(minute) = minute {
        assert_eq!(rig.facts(minute, 1), ["time"]);
    }
    [first, second].map(|it| rig.facts(it, 1))
}

fn the_first_has_it(is_due: bool, done: impl Fn(&mut Rig)) {
    for kept in [20, 200] {
        let facts = who_has_it(kept, is_due, &done);
        assert_eq!(facts, [vec!["reply", "m"], vec!["reply"]], "{kept} kept");
    }
}

#[test]
fn an_answer_does_not_overtake_one_that_waited_until_another_saga_had_looked() {
    the_first_has_it(false, Rig::piece);
}

/// No piece was done since it has waited: other inputs did what was left.
#[test]
fn an_answer_does_not_overtake_one_that_waited_for_what_other_inputs_have_done() {
    the_first_has_it(false, |rig| {
        while rig.core.has_more() {
            rig.input(Input::tick(rig.now));
        }
    });
}

#[test]
fn an_answer_does_not_overtake_one_that_is_the_next_when_a_piece_is_over() {
    the_first_has_it(false, |rig| {
        rig.piece();
        short_piece(rig);
    });
}

#[test]
fn an_answer_does_not_overtake_one_before_which_a_deadline_went() {
    the_first_has_it(true, |rig| {
        rig.piece();
        short_piece(rig);
    });
}

/// So many calls, then money beside one more; or a call beside a minute.
struct Then;
impl Saga for Then {
    const NAME: &'static str = "Then";
    type Input = (String, u32);
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, (session, calls): (String, u32)) -> Result<(), Abort> {
        for _ in 0..calls {
            ctx.call(Reserve::of("1")).await?;
        }
        let last = ctx.call(ShipStock::of("last"));
        if session == "minute" {
            ctx.race(last, ctx.sleep(Duration::from_secs(60))).await?;
        } else {
            let of_session = fixtures::Paid::session().eq(&session);
            let money = ctx.when::<fixtures::Paid>("all").filter(of_session).forever();
            ctx.race(last, money).await?;
        }
        Ok(())
    }
}

/// An answer comes to a saga whose minute was over before, while something that came before that
/// minute was over waits for a journal of so many calls: money, or an answer that has waited for a
/// look.
fn told_behind(calls: u32, by_answer: bool) -> Vec<String> {
    let mut registry = Registry::new("test");
    registry.register::<Then>(&()).unwrap();
    let store = MemoryStore::new(Uuid::from_u128(7));
    let mut rig = Rig::over(store, registry.clone(), limits(), Time(1_000));
    let takes = rig.begin("Then", "takes", &("mine", calls));
    for _ in 0..calls {
        let call = rig.call_of(takes);
        rig.answer(&call);
        rig.go_on();
    }
    of_nobody(&mut rig, 200);
    let minute = rig.begin("Then", "minute", &("minute", 0));
    let start = rig.now;
    let mut rig = rig.reopened(registry, Limits { states_max: 0, futures_max: 1, ..limits() });
    rig.go_on();
    let [of_takes, of_minute] = [takes, minute].map(|it| rig.call_of(it));
    rig.now = start.after_ms(50_000);
    if by_answer {
        rig.begin("Then", "looks", &("never", 0));
        rig.answer(&of_takes);
        while rig.core.is_busy("Then") {
            rig.piece();
        }
        rig.piece();
    } else {
        rig.event("pay.completed", "m", &json!({ "order": "all", "session": "mine" }));
    }
    assert_eq!(rig.facts(takes, 1 + calls as usize).is_empty(), PIECE < calls);
    rig.now = start.after_ms(70_000);
    rig.input(Input::tick(rig.now));
    rig.now = start.after_ms(71_000);
    rig.answer(&of_minute);
    rig.go_on();
    rig.input(Input::tick(rig.now));
    rig.go_on();
    rig.facts(minute, 1)
}

#[test]
fn an_answer_does_not_overtake_a_deadline_that_stands_behind_what_waits_for_a_journal() {
    for by_answer in [false, true] {
        let facts = [3, 150].map(|it| told_behind(it, by_answer));
        assert!(facts.iter().all(|it| *it == ["time"]), "{by_answer}: {facts:?}");
    }
}

/// An answer lets a saga hold for money, and a person starts another one for the same money; both
/// come while a third one looks at so much.
fn who_holds_first(kept: u32) -> [Vec<String>; 2] {
    let mut rig = rig_with(Limits::default(), |it| it.register::<Then>(&()).unwrap());
    of_nobody(&mut rig, kept);
    let first = rig.begin("Then", "first", &("mine", 1));
    rig.go_on();
    let call = rig.call_of(first);
    let looks = rig.begin("Then", "looks", &("never", 0));
    assert_eq!(rig.core.is_looking(looks).unwrap(), 128 < kept);
    rig.answer(&call);
    let second = rig.begin("Then", "second", &("mine", 0));
    rig.go_on();
    rig.event("pay.completed", "m", &json!({ "order": "all", "session": "mine" }));
    rig.go_on();
    [first, second].map(|it| rig.facts(it, 1))
}

#[test]
fn who_is_started_does_not_hold_before_one_whose_answer_waited_until_another_saga_had_looked() {
    for kept in [20, 200] {
        let facts = who_holds_first(kept);
        assert_eq!(facts, [vec!["reply", "m"], vec![]], "{kept} kept");
    }
}

/// A call, then it is over and its lane is swept.
struct Over;
impl Saga for Over {
    const NAME: &'static str = "Over";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>().late(Late::Run("Books"))])
    }
    async fn run(ctx: Ctx, _: u32) -> Result<(), Abort> {
        ctx.call(ShipStock::of("last")).await?;
        Ok(())
    }
}

/// Looks at all payments of the key, and takes none.
struct Books;
impl Saga for Books {
    const NAME: &'static str = "Books";
    type Input = LateInput;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, it: LateInput) -> Result<(), Abort> {
        let of_session = fixtures::Paid::session().eq(&"never".to_owned());
        ctx.when::<fixtures::Paid>(&it.ended.key).filter(of_session).forever().await?;
        Ok(())
    }
}

/// With what the saga has begun that two people start under one key: the first one while what an
/// ended saga left is handed over, the second one while the late arms look.
fn begun_with(kept: u32) -> String {
    let mut rig = rig_with(Limits::default(), |it| {
        it.register::<Over>(&()).unwrap();
        it.register::<Books>(&()).unwrap();
    });
    let over = rig.begin("Over", "all", &0);
    of_nobody(&mut rig, kept);
    let call = rig.call_of(over);
    rig.answer(&call);
    let start = |rig: &mut Rig, input: u32| {
        let (definition, key) = ("Over".to_owned(), Some("x".to_owned()));
        rig.ask(Command::Start { definition, key, input: Payload::of(&input).unwrap() })
    };
    start(&mut rig, 1);
    while rig.core.is_handing_over("Over") {
        rig.piece();
    }
    assert!(rig.core.is_busy("Over"));
    start(&mut rig, 2);
    rig.go_on();
    let query = crate::core::HeadQuery { limit: 1_000, ..Default::default() };
    let heads = rig.core.heads(&query).unwrap();
    let begun = heads.iter().find(|it| it.key == "x").unwrap().id;
    match rig.core.journal(begun).unwrap().into_iter().next().unwrap().fact {
        Fact::Started(start) => start.input.text().to_owned(),
        other => panic!("it starts: {other:?}"),
    }
}

#[test]
fn a_start_does_not_overtake_another_one_that_waits() {
    assert_eq!([50, 200].map(begun_with), ["1", "1"]);
}
