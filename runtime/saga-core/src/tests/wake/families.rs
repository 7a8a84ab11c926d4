//! What waits while the core works for a family: whom it waits for, and who wins.

use super::*;
use crate::{
    saga::{Late, LateInput},
    tests::fixtures,
};
use std::time::Duration;

/// Money of its own session, for a minute; longer than that it is for nobody.
struct Pays;
impl Saga for Pays {
    const NAME: &'static str = "Pays";
    type Input = String;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, session: String) -> Result<(), Abort> {
        let of_session = fixtures::Paid::session().eq(&session);
        let money = ctx.when::<fixtures::Paid>("all").filter(of_session).forever();
        ctx.race(money, ctx.race(ctx.sleep(Duration::from_secs(60)), ctx.call(ShipStock::of("1"))))
            .await?;
        Ok(())
    }
}

/// The minute was over, and intake had passed it, before the money came.
#[test]
fn money_that_comes_after_a_deadline_does_not_win_since_another_saga_looks() {
    let mut wrong = Vec::new();
    for kept in [20, 200] {
        let mut rig = rig_with(Limits::default(), |it| it.register::<Pays>(&()).unwrap());
        of_nobody(&mut rig, kept);
        let mine = rig.begin("Pays", "mine", &"mine");
        rig.go_on();
        rig.now = rig.now.after_ms(61_000);
        let other = rig.begin("Pays", "other", &"other");
        assert_eq!(rig.core.is_looking(other).unwrap(), 128 < kept);
        rig.input(Input::tick(rig.now));
        rig.now = rig.now.after_ms(10_000);
        rig.event("pay.completed", "m", &json!({ "order": "all", "session": "mine" }));
        rig.go_on();
        rig.input(Input::tick(rig.now));
        rig.go_on();
        let facts = rig.facts(mine, 1);
        if facts != ["time"] {
            wrong.push(format!("{kept} kept: {facts:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The same with an answer that came after the minute.
#[test]
fn an_answer_that_comes_after_a_deadline_does_not_win_since_another_saga_looks() {
    let mut wrong = Vec::new();
    for kept in [20, 200] {
        let mut rig = rig_with(Limits::default(), |it| it.register::<Pays>(&()).unwrap());
        of_nobody(&mut rig, kept);
        let mine = rig.begin("Pays", "mine", &"mine");
        rig.go_on();
        let call = rig.call_of(mine);
        rig.now = rig.now.after_ms(61_000);
        rig.begin("Pays", "other", &"other");
        rig.input(Input::tick(rig.now));
        rig.now = rig.now.after_ms(10_000);
        rig.answer(&call);
        rig.go_on();
        rig.input(Input::tick(rig.now));
        rig.go_on();
        let facts = rig.facts(mine, 1);
        if facts != ["time"] {
            wrong.push(format!("{kept} kept: {facts:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A call, then it is over and its lane is swept; or it holds for money.
struct Shop;
impl Saga for Shop {
    const NAME: &'static str = "Shop";
    type Input = bool;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>().late(Late::Run("Refund"))])
    }
    async fn run(ctx: Ctx, holds: bool) -> Result<(), Abort> {
        if holds {
            ctx.when::<fixtures::Paid>("all").forever().await?;
        } else {
            ctx.call(ShipStock::of("last")).await?;
        }
        Ok(())
    }
}

/// What comes too late.
struct Refund;
impl Saga for Refund {
    const NAME: &'static str = "Refund";
    type Input = LateInput;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        Vec::new()
    }
    async fn run(_: Ctx, _: LateInput) -> Result<(), Abort> {
        Ok(())
    }
}

/// Its lane is swept when it ends: who starts later claims nothing of that.
#[test]
fn money_that_an_ended_saga_left_is_not_given_to_one_that_a_person_starts_later() {
    let mut wrong = Vec::new();
    for kept in [50, 200] {
        let mut rig = rig_with(Limits::default(), |it| {
            it.register::<Shop>(&()).unwrap();
            it.register::<Refund>(&()).unwrap();
        });
        let ends = rig.begin("Shop", "all", &false);
        of_nobody(&mut rig, kept);
        let call = rig.call_of(ends);
        rig.answer(&call);
        assert_eq!(rig.status(ends), Status::Completed);
        let later = rig.begin("Shop", "later", &true);
        rig.go_on();
        let facts = rig.facts(later, 1);
        if !facts.is_empty() {
            wrong.push(format!("{kept} kept: {facts:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Holds for a sign, beside a minute.
struct Light;
impl Saga for Light {
    const NAME: &'static str = "Light";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Tracked>()])
    }
    async fn run(ctx: Ctx, _: u32) -> Result<(), Abort> {
        let sign = ctx.when::<Tracked>("all").forever();
        ctx.race(ctx.sleep(Duration::from_secs(60)), ctx.join(sign, ctx.call(ShipStock::of("1"))))
            .await?;
        Ok(())
    }
}

/// So many sagas look at a full lane of another definition, as after a start.
fn with_lookers(sagas: u32) -> (Rig, SagaId) {
    let register = |it: &mut Registry| {
        it.register::<Pays>(&()).unwrap();
        it.register::<Light>(&()).unwrap();
    };
    let mut rig = rig_with(Limits::default(), register);
    of_nobody(&mut rig, 1_000);
    for it in 0..sagas {
        rig.begin("Pays", &format!("k{it}"), &"never");
        rig.go_on();
    }
    let old = rig.begin("Light", "old", &0);
    rig.go_on();
    let mut registry = Registry::new("test");
    register(&mut registry);
    (rig.reopened(registry, Limits::default()), old)
}

/// Pieces until an old saga of the light definition has its answer, when a new one has begun.
fn pieces_until_answered(sagas: u32) -> usize {
    let (mut rig, old) = with_lookers(sagas);
    while !rig.asked.iter().any(|it| it.id.saga == old) {
        rig.piece();
        assert!(!rig.core.is_looking(old).unwrap());
    }
    rig.begin("Light", "new", &0);
    let call = rig.call_of(old);
    rig.answer(&call);
    let mut pieces = 0;
    while rig.facts(old, 1).is_empty() {
        rig.piece();
        pieces += 1;
    }
    pieces
}

#[test]
fn an_answer_of_one_definition_does_not_wait_for_looks_of_another() {
    let pieces = [10, 20, 40].map(pieces_until_answered);
    assert!(pieces.iter().all(|it| *it <= 2), "{pieces:?}");
}

/// The same for a deadline, when an event for those who look waits in the line. (A host ticks so
/// far when that was offered; one from the stream has not been passed by intake.)
fn pieces_until_due(sagas: u32, comes: bool) -> usize {
    let (mut rig, old) = with_lookers(sagas);
    if comes {
        rig.event("pay.completed", "m", &json!({ "order": "all", "session": "of-nobody" }));
    }
    rig.now = rig.now.after_ms(61_000);
    let mut pieces = 0;
    loop {
        rig.input(Input::tick(rig.now));
        if rig.facts(old, 1) == ["time"] {
            return pieces;
        }
        rig.piece();
        pieces += 1;
    }
}

#[test]
fn a_deadline_does_not_wait_for_looks_of_another_definition() {
    let pieces = [10, 20, 40].map(|it| [pieces_until_due(it, false), pieces_until_due(it, true)]);
    assert!(pieces.as_flattened().iter().all(|it| *it <= 2), "{pieces:?}");
}

/// Over after a minute; what comes later is refunded.
struct Expires;
impl Saga for Expires {
    const NAME: &'static str = "Expires";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>().late(Late::Run("Refund"))])
    }
    async fn run(ctx: Ctx, _: u32) -> Result<(), Abort> {
        let money = ctx.when::<fixtures::Paid>("mine").forever();
        ctx.race(money, ctx.sleep(Duration::from_secs(60))).await?;
        Ok(())
    }
}

/// Ticks until the deadlines of so many sagas have fired, each with all pieces that follow.
fn ticks_until_expired(sagas: u32) -> usize {
    let register = |it: &mut Registry| {
        it.register::<Expires>(&()).unwrap();
        it.register::<Refund>(&()).unwrap();
    };
    let mut rig = rig_with(Limits::default(), register);
    for it in 0..sagas {
        rig.begin("Expires", &format!("k{it}"), &0);
    }
    let mut registry = Registry::new("test");
    register(&mut registry);
    let mut rig = rig.reopened(registry, Limits { states_max: 0, ..Limits::default() });
    rig.go_on();
    rig.now = rig.now.after_ms(61_000);
    let mut ticks = 0;
    while rig.core.next_due().is_some_and(|it| it <= rig.now) {
        rig.input(Input::tick(rig.now));
        rig.go_on();
        ticks += 1;
    }
    ticks
}

/// After a night in which nothing ran there may be as many as there are sagas.
#[test]
fn a_tick_fires_many_deadlines_that_end_their_sagas() {
    let ticks = [50, 100, 200].map(ticks_until_expired);
    assert!(ticks.iter().all(|it| *it <= 4), "{ticks:?}");
}

/// A call, then it is over; or it holds for money. What is left is for nobody.
struct Plain;
impl Saga for Plain {
    const NAME: &'static str = "Plain";
    type Input = fixtures::Placed;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Placed>().starts(), event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, it: fixtures::Placed) -> Result<(), Abort> {
        if it.risky {
            ctx.when::<fixtures::Paid>("all").forever().await?;
        } else {
            ctx.call(ShipStock::of("last")).await?;
        }
        Ok(())
    }
}

/// Where nothing runs late it becomes unclaimed, and a person is told.
#[test]
fn what_an_ended_saga_left_is_not_given_to_one_that_an_event_starts_later() {
    let mut wrong = Vec::new();
    for kept in [50, 200] {
        let mut rig = rig_with(Limits::default(), |it| it.register::<Plain>(&()).unwrap());
        let ends = rig.begin("Plain", "all", &json!({ "order": "all" }));
        of_nobody(&mut rig, kept);
        let call = rig.call_of(ends);
        rig.answer(&call);
        assert_eq!(rig.status(ends), Status::Completed);
        rig.event("shop.placed", "p", &json!({ "order": "later", "risky": true }));
        rig.go_on();
        let query = crate::core::HeadQuery { limit: 10, ..Default::default() };
        let heads = rig.core.heads(&query).unwrap();
        let later = heads.iter().find(|it| it.key == "later").unwrap().id;
        let facts = rig.facts(later, 1);
        if !facts.is_empty() {
            wrong.push(format!("{kept} kept: {facts:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// So many calls, then money of nobody.
struct Deep;
impl Saga for Deep {
    const NAME: &'static str = "Deep";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
        for _ in 0..calls {
            ctx.call(Reserve::of("1")).await?;
        }
        let of_session = fixtures::Paid::session().eq(&"never".to_owned());
        let money = ctx.when::<fixtures::Paid>("all").filter(of_session).forever();
        ctx.join(money, ctx.call(ShipStock::of("last"))).await?;
        Ok(())
    }
}

/// Pieces until an old saga of the light definition has its answer, when a new one has begun, and
/// long ones of another definition look anew after a start.
fn pieces_beside_long(sagas: u32) -> usize {
    let mut registry = Registry::new("test");
    registry.register::<Deep>(&()).unwrap();
    registry.register::<Light>(&()).unwrap();
    let store = MemoryStore::new(Uuid::from_u128(7));
    let mut rig = Rig::over(store, registry.clone(), limits(), Time(1_000));
    for it in 0..sagas {
        rig.start("Deep", &format!("k{it}"), 200);
    }
    of_nobody(&mut rig, 1);
    let old = rig.begin("Light", "old", &0);
    rig.go_on();
    let call = rig.call_of(old);
    let mut rig = rig.reopened(registry, limits());
    rig.begin("Light", "new", &0);
    rig.answer(&call);
    let mut pieces = 0;
    while rig.facts(old, 1).is_empty() {
        rig.piece();
        pieces += 1;
    }
    pieces
}

#[test]
fn one_definition_does_not_wait_for_the_journals_of_another_one_that_looks() {
    let pieces = [1, 2, 4].map(pieces_beside_long);
    assert!(pieces.iter().all(|it| *it <= 2), "{pieces:?}");
}

/// A sign of which each has a copy, beside a minute and a call.
struct Called;
impl Saga for Called {
    const NAME: &'static str = "Called";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Tracked>()])
    }
    async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
        for _ in 0..calls {
            ctx.call(Reserve::of("1")).await?;
        }
        let time = ctx.sleep(Duration::from_secs(60));
        ctx.race(ctx.call(ShipStock::of("last")), time).await?;
        Ok(())
    }
}

/// What the saga is told whose answer came before its minute was over.
fn told_in_pieces(inputs_max: usize) -> Vec<String> {
    let mut registry = Registry::new("test");
    registry.register::<Called>(&()).unwrap();
    let store = MemoryStore::new(Uuid::from_u128(7));
    let mut rig = Rig::over(store, registry.clone(), limits(), Time(1_000));
    let long = rig.start("Called", "long", 100);
    let short = rig.begin("Called", "short", &0);
    let start = rig.now;
    let mut rig = rig.reopened(registry, Limits { states_max: 0, futures_max: 1, ..limits() });
    rig.go_on();
    let (of_long, of_short) = (rig.call_of(long), rig.call_of(short));
    rig.now = start.after_ms(50_000);
    rig.answer(&of_long);
    rig.track("e");
    rig.answer(&of_short);
    assert_eq!(rig.facts(short, 1), [""; 0], "it waits");
    rig.now = start.after_ms(70_000);
    while rig.line.has_more(&rig.core) {
        rig.line.wake(&mut rig.core).unwrap();
        for _ in 0..inputs_max {
            let Some((input, _)) = rig.line.next(&rig.core).unwrap() else { break };
            rig.handle(input);
        }
        rig.handle(Input::GoOn);
        rig.commit();
        rig.input(Input::tick(rig.now));
    }
    rig.facts(short, 1)
}

/// It waits behind an event of anybody, which waits for a long saga. A piece of work may be over
/// when the event has had its turn, and the next input be a tick.
#[test]
fn a_deadline_does_not_overtake_an_answer_that_stood_behind_an_event_of_anybody() {
    let facts = [10, 1].map(told_in_pieces);
    assert!(facts.iter().all(|it| *it == ["reply"]), "{facts:?}");
}

/// Money of its own, for ever.
struct Loops;
impl Saga for Loops {
    const NAME: &'static str = "Loops";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, _: u32) -> Result<(), Abort> {
        loop {
            let of_session = fixtures::Paid::session().eq(&"mine".to_owned());
            ctx.when::<fixtures::Paid>("all").filter(of_session).forever().await?;
        }
    }
}

/// How often the line looks at so many events that wait: each that has its turn makes the family
/// busy again, and the others go on waiting.
fn looks_at(events: u32) -> usize {
    let mut rig = rig_with(Limits::default(), |it| it.register::<Loops>(&()).unwrap());
    of_nobody(&mut rig, 200);
    rig.begin("Loops", "k", &0);
    for it in 0..events {
        let body = json!({ "order": "all", "session": "mine" });
        rig.event("pay.completed", &format!("m{it}"), &body);
    }
    rig.go_on();
    rig.line.looks
}

#[test]
fn how_often_the_line_looks_at_what_waits_does_not_grow_with_the_square_of_it() {
    let looks = [100, 200, 400].map(looks_at);
    assert!(looks[2] < looks[1] * 3 && 400 <= looks[2], "{looks:?}");
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

/// One of the payments of the key.
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
        ctx.when::<fixtures::Paid>(&it.ended.key).forever().await?;
        Ok(())
    }
}

/// There are as many payments as late arms, which hold for one each.
#[test]
fn what_a_late_arm_holds_for_is_not_swept_away_before_the_arm_has_begun() {
    let mut wrong = Vec::new();
    for kept in [50, 200] {
        let mut rig = rig_with(Limits::default(), |it| {
            it.register::<Over>(&()).unwrap();
            it.register::<Books>(&()).unwrap();
        });
        let over = rig.begin("Over", "all", &0);
        of_nobody(&mut rig, kept);
        let call = rig.call_of(over);
        rig.answer(&call);
        rig.go_on();
        let query = crate::core::HeadQuery { limit: 1_000, ..Default::default() };
        let heads = rig.core.heads(&query).unwrap();
        let arms = heads.iter().filter(|it| it.definition == "Books");
        let open = arms.clone().filter(|it| it.status != Status::Completed).count();
        assert_eq!(arms.count(), kept as usize);
        if 0 < open {
            wrong.push(format!("{kept} kept: {open} arms have nothing"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A question that lapses after a day, or money of nobody.
struct Lapses;
impl Saga for Lapses {
    const NAME: &'static str = "Lapses";
    type Input = bool;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Approved>(), event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, asks: bool) -> Result<(), Abort> {
        if asks {
            ctx.when::<fixtures::Approved>("k").ask("go on?", &json!({})).within(DAY).await?;
        } else {
            let of_session = fixtures::Paid::session().eq(&"never".to_owned());
            ctx.when::<fixtures::Paid>("all").filter(of_session).forever().await?;
        }
        Ok(())
    }
}

/// The day was over, and intake had passed it, before the manager said yes.
#[test]
fn a_yes_to_a_question_that_has_lapsed_does_not_count_since_another_saga_looks() {
    let mut wrong = Vec::new();
    for kept in [20, 200] {
        let mut rig = rig_with(Limits::default(), |it| it.register::<Lapses>(&()).unwrap());
        of_nobody(&mut rig, kept);
        let asks = rig.begin("Lapses", "asks", &true);
        rig.go_on();
        rig.now = rig.now.after(DAY).after_ms(1_000);
        rig.begin("Lapses", "looks", &false);
        rig.input(Input::tick(rig.now));
        rig.now = rig.now.after_ms(10_000);
        let target = Target::Event { name: "shop.approved".to_owned(), key: "k".to_owned() };
        let decide = Decide { target, approved: true, reason: None, seen: None };
        rig.ask(Command::Decide(decide));
        rig.go_on();
        let facts = rig.facts(asks, 1);
        if facts != ["time"] {
            wrong.push(format!("{kept} kept: {facts:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A tick has left a deadline, as another saga looked, and the clock is set back: what came
/// meanwhile waits for the looking, and not for the clock.
#[test]
fn a_clock_that_is_set_back_behind_a_deadline_that_was_left_lets_the_family_go_on() {
    let mut rig = rig_with(Limits::default(), |it| it.register::<Pays>(&()).unwrap());
    of_nobody(&mut rig, 200);
    let mine = rig.begin("Pays", "mine", &"mine");
    rig.go_on();
    let call = rig.call_of(mine);
    rig.now = rig.now.after_ms(61_000);
    let other = rig.begin("Pays", "other", &"other");
    assert!(rig.core.is_looking(other).unwrap());
    rig.input(Input::tick(rig.now));
    rig.answer(&call);
    rig.now = Time(rig.now.0 - 2_000);
    rig.input(Input::tick(rig.now));
    rig.go_on();
    assert_eq!(rig.facts(mine, 1), ["reply"]);
}

/// Looks at money, and declares what `Minute` does.
struct Seer;
impl Saga for Seer {
    const NAME: &'static str = "Seer";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>(), event::<Tracked>()])
    }
    async fn run(ctx: Ctx, _: u32) -> Result<(), Abort> {
        let of_session = fixtures::Paid::session().eq(&"never".to_owned());
        ctx.when::<fixtures::Paid>("all").filter(of_session).forever().await?;
        Ok(())
    }
}

/// A sign within a minute; or a call.
struct Minute;
impl Saga for Minute {
    const NAME: &'static str = "Minute";
    type Input = bool;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Tracked>()])
    }
    async fn run(ctx: Ctx, calls: bool) -> Result<(), Abort> {
        if calls {
            ctx.call(ShipStock::of("1")).await?;
        } else {
            let sign = ctx.when::<Tracked>("all").forever();
            ctx.race(sign, ctx.sleep(Duration::from_secs(60))).await?;
        }
        Ok(())
    }
}

fn told_of_offered(kept: u32, answered: bool) -> Vec<String> {
    let mut rig = rig_with(Limits::default(), |it| {
        it.register::<Seer>(&()).unwrap();
        it.register::<Minute>(&()).unwrap();
    });
    of_nobody(&mut rig, kept);
    rig.input(Input::Unreadable(Unreadable {
        ticket: 8_888,
        name: "courier.status".to_owned(),
        id: "sign".to_owned(),
        body: "?".to_owned(),
        is_base64: false,
        headers: BTreeMap::new(),
        published_at: rig.now,
        reason: "it is no event".to_owned(),
    }));
    let position = rig.core.store().store.position();
    let mine = rig.begin("Minute", "mine", &false);
    let third = rig.begin("Minute", "third", &true);
    rig.go_on();
    let call = rig.call_of(third);
    rig.now = rig.now.after_ms(50_000);
    let other = rig.begin("Seer", "other", &0);
    assert_eq!(rig.core.is_looking(other).unwrap(), 128 < kept);
    let (name, source, at) = ("courier.status".to_owned(), "a".to_owned(), rig.now);
    let body = Payload::of(&json!({ "order": "all", "status": "x" })).unwrap();
    let (ticket, id, key) = (0, "sign".to_owned(), None);
    let reread = Some(Box::new(Ok(Arrival { ticket, name, id, source, key, body, at })));
    rig.ask(Command::Offer { position, reason: "a newer build reads it".to_owned(), reread });
    rig.now = rig.now.after_ms(11_000);
    rig.input(Input::tick(rig.now));
    if answered {
        rig.answer(&call);
    }
    rig.go_on();
    rig.input(Input::tick(rig.now));
    rig.go_on();
    rig.facts(mine, 1)
}

/// It was offered ten seconds before the minute was over, and waits for the looks of another family
/// that it is for as well. An answer for a third saga comes meanwhile.
#[test]
fn a_deadline_does_not_overtake_what_was_offered_before_it_as_an_answer_for_another_came() {
    assert_eq!(told_of_offered(20, false), ["sign"], "at once");
    assert_eq!(told_of_offered(20, true), ["sign"], "at once, with an answer");
    assert_eq!(told_of_offered(1_000, false), ["sign"], "later, without the answer");
    assert_eq!(told_of_offered(1_000, true), ["sign"], "later, with the answer");
}

/// A call; then, as its input says, it is over, looks at a lane, or calls again.
struct Walks;
impl Saga for Walks {
    const NAME: &'static str = "Walks";
    type Input = String;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>().late(Late::Run("Refund"))])
    }
    async fn run(ctx: Ctx, then: String) -> Result<(), Abort> {
        ctx.call(Reserve::of("1")).await?;
        if then == "looks" {
            let of_session = fixtures::Paid::session().eq(&"never".to_owned());
            ctx.when::<fixtures::Paid>("many").filter(of_session).forever().await?;
        }
        if then != "ends" {
            ctx.call(ShipStock::of("1")).await?;
        }
        Ok(())
    }
}

/// While what a saga has left is handed over there come an answer, by which its saga looks, a start
/// by hand, which does not wait for looks, and an answer for another saga.
#[test]
fn an_answer_behind_a_start_by_hand_has_its_turn() {
    let limits = Limits { work_at_once: 1, ..Limits::default() };
    let mut rig = rig_with(limits, |it| {
        it.register::<Walks>(&()).unwrap();
        it.register::<Refund>(&()).unwrap();
    });
    let ends = rig.begin("Walks", "all", &"ends");
    let looks = rig.begin("Walks", "looks", &"looks");
    let calls = rig.begin("Walks", "calls", &"calls");
    for it in 0..5 {
        for order in ["all", "many"] {
            let body = json!({ "order": order, "session": "of-nobody" });
            rig.event("pay.completed", &format!("{order}{it}"), &body);
        }
    }
    rig.go_on();
    let answers = [ends, looks, calls].map(|it| rig.call_of(it));
    rig.answer(&answers[0]);
    assert_eq!(rig.status(ends), Status::Completed);
    assert!(rig.core.has_more());
    rig.answer(&answers[1]);
    let (definition, key) = ("Walks".to_owned(), Some("new".to_owned()));
    rig.ask(Command::Start { definition, key, input: Payload::of(&"calls").unwrap() });
    rig.answer(&answers[2]);
    for _ in 0..1_000 {
        rig.piece();
    }
    assert_eq!(rig.facts(looks, 1), ["reply"]);
    assert_eq!(rig.facts(calls, 1), ["reply"]);
    assert!(!rig.line.has_more(&rig.core));
}

/// So many calls, then money of nobody, for a minute, beside a call.
struct DeepPays;
impl Saga for DeepPays {
    const NAME: &'static str = "DeepPays";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
        for _ in 0..calls {
            ctx.call(Reserve::of("1")).await?;
        }
        let of_session = fixtures::Paid::session().eq(&"never".to_owned());
        let money = ctx.when::<fixtures::Paid>("all").filter(of_session).forever();
        let minute = ctx.sleep(Duration::from_secs(60));
        ctx.race(money, ctx.race(minute, ctx.call(ShipStock::of("last")))).await?;
        Ok(())
    }
}

/// What became of an old saga and of a long one, whose minute was over a little before.
fn told_beside_long(kept: u32, answered: bool) -> (Vec<String>, Vec<String>) {
    let limits = Limits { states_max: 0, futures_max: 1, ..limits() };
    let mut rig = rig_with(limits, |it| it.register::<DeepPays>(&()).unwrap());
    of_nobody(&mut rig, kept);
    let long = rig.start("DeepPays", "long", 600);
    rig.go_on();
    let mine = rig.begin("DeepPays", "mine", &0);
    rig.go_on();
    let (of_long, call) = (rig.call_of(long), rig.call_of(mine));
    assert!(!rig.core.is_awake(long));
    rig.now = rig.now.after_ms(50_000);
    rig.input(Input::tick(rig.now));
    if answered {
        rig.answer(&of_long);
    }
    rig.now = rig.now.after_ms(20_000);
    let other = rig.begin("DeepPays", "other", &0);
    assert_eq!(rig.core.is_looking(other).unwrap(), 128 < kept);
    rig.input(Input::tick(rig.now));
    rig.now = rig.now.after_ms(1_000);
    rig.answer(&call);
    rig.go_on();
    rig.input(Input::tick(rig.now));
    rig.go_on();
    (rig.facts(mine, 1), rig.facts(long, 601))
}

/// Ticks have left two deadlines since another saga looks. Before the older one an answer in time
/// waits for its journal: that does not let an answer go before the other one.
#[test]
fn an_answer_in_time_that_waits_for_a_journal_lets_no_late_one_go_before_its_deadline() {
    let one = |it: &str| vec![it.to_owned()];
    assert_eq!(told_beside_long(1_000, false), (one("time"), one("time")), "without");
    assert_eq!(told_beside_long(20, true), (one("time"), one("reply")), "at once");
    assert_eq!(told_beside_long(1_000, true), (one("time"), one("reply")), "later");
}
