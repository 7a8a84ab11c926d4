//! What one input begins is done before what later ones bring, whoever looks, is told or ends
//! meanwhile.

use super::*;
use crate::{
    saga::{Late, LateInput},
    tests::fixtures::{self, poll_once},
};

/// A minute, and money: held for before, and never looked at, or held for afterwards.
struct Minute;
impl Saga for Minute {
    const NAME: &'static str = "Minute";
    type Input = bool;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, holds_before: bool) -> Result<(), Abort> {
        let of_session = fixtures::Paid::session().eq(&"mine".to_owned());
        let mut money = ctx.when::<fixtures::Paid>("all").filter(of_session).forever();
        if holds_before {
            poll_once(&mut money).await;
        }
        ctx.sleep(std::time::Duration::from_secs(60)).await?;
        if !holds_before {
            money.await?;
        }
        Ok(())
    }
}

/// Both minutes are over with one tick. The one who comes to hold looks at the lane; the other ends
/// and gives back money that came before all that the first has looked at.
#[test]
fn money_that_is_given_back_is_not_passed_over_by_one_who_has_looked_further() {
    let mut lost = Vec::new();
    for (kept, limits) in [
        (100, Limits::default()),
        (200, Limits::default()),
        (20, Limits { work_at_once: 4, ..Limits::default() }),
    ] {
        let mut rig = rig_with(limits, |it| it.register::<Minute>(&()).unwrap());
        let holds_later = rig.begin("Minute", "later", &false);
        let holds_before = rig.begin("Minute", "before", &true);
        rig.event("pay.completed", "m", &json!({ "order": "all", "session": "mine" }));
        assert_eq!(rig.facts(holds_before, 1), ["m"]);
        of_nobody(&mut rig, kept);
        rig.now = rig.now.after_ms(100_000);
        // Who is due behind somebody else's look is due again with the next tick.
        while rig.core.next_due().is_some() {
            rig.input(Input::tick(rig.now));
            rig.go_on();
        }
        assert_eq!(rig.status(holds_before), Status::Completed);
        let facts = rig.facts(holds_later, 1);
        if facts != ["time", "m"] {
            lost.push(format!("{kept} kept, {}: {facts:?}", limits.work_at_once));
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

/// Money of its own if it holds for some, else over at once; late money starts an arm.
struct Shop;
impl Saga for Shop {
    const NAME: &'static str = "Shop";
    type Input = fixtures::Placed;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        let paid = event::<fixtures::Paid>().late(Late::Run("Arm"));
        events([event::<fixtures::Placed>().starts(), paid, event::<Tracked>().each()])
    }
    async fn run(ctx: Ctx, it: fixtures::Placed) -> Result<(), Abort> {
        if it.risky {
            let of_session = fixtures::Paid::session().eq(&"mine".to_owned());
            ctx.when::<fixtures::Paid>("all").filter(of_session).forever().await?;
        } else if it.order.starts_with("sign") {
            ctx.when::<Tracked>("all").forever().await?;
        }
        Ok(())
    }
}

/// The same, of which no sign is.
struct Sells;
impl Saga for Sells {
    const NAME: &'static str = "Sells";
    type Input = fixtures::Placed;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        let paid = event::<fixtures::Paid>().late(Late::Run("Arm"));
        events([event::<fixtures::Placed>().starts(), paid])
    }
    async fn run(ctx: Ctx, it: fixtures::Placed) -> Result<(), Abort> {
        if it.risky {
            let of_session = fixtures::Paid::session().eq(&"mine".to_owned());
            ctx.when::<fixtures::Paid>("all").filter(of_session).forever().await?;
        }
        Ok(())
    }
}

/// What comes too late, and then a sign of which each has a copy.
struct Arm;
impl Saga for Arm {
    const NAME: &'static str = "Arm";
    type Input = LateInput;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Tracked>().each()])
    }
    async fn run(ctx: Ctx, _: LateInput) -> Result<(), Abort> {
        ctx.when::<Tracked>("all").forever().await?;
        Ok(())
    }
}

fn shop(kept: u32) -> Rig {
    let mut rig = rig_with(Limits::default(), |it| {
        it.register::<Shop>(&()).unwrap();
        it.register::<Sells>(&()).unwrap();
        it.register::<Arm>(&()).unwrap();
    });
    of_nobody(&mut rig, kept);
    rig
}

fn arms(rig: &Rig) -> Vec<SagaId> {
    let query = crate::core::HeadQuery { limit: 1_000, ..Default::default() };
    let heads = rig.core.heads(&query).unwrap();
    heads.iter().filter(|it| it.definition == "Arm").map(|it| it.id).collect()
}

/// The late money was there before the sign: its arm holds for that. So it is when nobody looks.
#[test]
fn a_copy_is_not_lost_to_a_late_arm_whose_money_waits_for_others_who_look() {
    let mut lost = Vec::new();
    for kept in [0, 200] {
        let mut rig = rig_with(Limits::default(), |it| {
            it.register::<Sells>(&()).unwrap();
            it.register::<Arm>(&()).unwrap();
        });
        of_nobody(&mut rig, kept);
        let over = rig.begin("Sells", "over", &json!({ "order": "over" }));
        assert_eq!(rig.status(over), Status::Completed);
        rig.go_on();
        let looks = rig.begin("Sells", "looks", &json!({ "order": "looks", "risky": true }));
        assert_eq!(rig.core.is_looking(looks).unwrap(), kept > 0);
        let late = rig.event("pay.completed", "m", &json!({ "order": "over", "session": "s" }));
        assert_eq!(rig.is_answered(late), kept == 0, "{kept}");
        rig.event("courier.status", "c", &json!({ "order": "all", "status": "x" }));
        rig.go_on();
        let arms = arms(&rig);
        let arms = match &arms[..] {
            [arm] => [*arm],
            _ => panic!("{} arms", arms.len()),
        };
        let facts = rig.facts(arms[0], 1);
        if facts != ["c"] {
            lost.push(format!("{kept} kept: {facts:?}"));
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

/// Who starts by hand what an event has started is refused: the event came first.
#[test]
fn a_start_by_hand_does_not_overtake_the_event_that_starts_the_same() {
    let mut wrong = Vec::new();
    for kept in [0, 200] {
        let mut rig = shop(kept);
        rig.begin("Shop", "looks", &json!({ "order": "looks", "risky": true }));
        rig.event("shop.placed", "p", &json!({ "order": "k9" }));
        let input = Payload::of(&json!({ "order": "k9", "risky": true })).unwrap();
        let (definition, key) = ("Shop".to_owned(), Some("k9".to_owned()));
        let ticket = rig.ask(Command::Start { definition, key, input });
        rig.go_on();
        let is_refused = |it: &Effect| match it {
            Effect::Answer { ticket: of, reply: Err(it) } => *of == ticket && it.kind == Conflict,
            _ => false,
        };
        if !rig.effects.iter().any(is_refused) {
            wrong.push(format!("{kept} kept"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A sign that came before anybody held for it is not one of a saga that began afterwards.
#[test]
fn a_copy_is_not_given_to_one_that_began_after_it() {
    let mut wrong = Vec::new();
    for kept in [0, 200] {
        let mut rig = shop(kept);
        rig.begin("Shop", "looks", &json!({ "order": "looks", "risky": true }));
        rig.event("courier.status", "c", &json!({ "order": "all", "status": "x" }));
        let saga = rig.begin("Shop", "sign", &json!({ "order": "sign" }));
        rig.go_on();
        let facts = rig.facts(saga, 1);
        if !facts.is_empty() {
            wrong.push(format!("{kept} kept: {facts:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A call; then it is over, and its lane is swept.
struct Ends;
impl Saga for Ends {
    const NAME: &'static str = "Ends";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>().late(Late::Run("Arm"))])
    }
    async fn run(ctx: Ctx, _: u32) -> Result<(), Abort> {
        ctx.call(ShipStock::of("last")).await?;
        Ok(())
    }
}

/// Each money that its lane kept starts an arm when it ends, before the sign comes: each holds.
#[test]
fn a_copy_is_not_lost_to_late_arms_that_are_started_in_pieces() {
    let mut lost = Vec::new();
    for kept in [50, 200] {
        let mut rig = rig_with(Limits::default(), |it| {
            it.register::<Ends>(&()).unwrap();
            it.register::<Arm>(&()).unwrap();
        });
        let saga = rig.begin("Ends", "all", &1);
        of_nobody(&mut rig, kept);
        let call = rig.call_of(saga);
        rig.answer(&call);
        assert_eq!(rig.status(saga), Status::Completed);
        assert_eq!(arms(&rig).len() < kept as usize, kept > 128, "{}", arms(&rig).len());
        rig.event("courier.status", "c", &json!({ "order": "all", "status": "x" }));
        rig.go_on();
        let arms = arms(&rig);
        assert_eq!(arms.len(), kept as usize);
        let without = arms.iter().filter(|it| rig.facts(**it, 1) != ["c"]).count();
        if 0 < without {
            lost.push(format!("{without} of {kept} have no copy"));
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

/// With calls: money beside a call, and the others. Without: money twice.
struct Shares;
impl Saga for Shares {
    const NAME: &'static str = "Shares";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, calls: u32) -> Result<(), Abort> {
        let money = || ctx.when::<fixtures::Paid>("all").forever();
        if calls == 0 {
            money().await?;
            money().await?;
            return Ok(());
        }
        let others = (1..calls).map(|_| ctx.call(Reserve::of("1"))).collect::<Vec<_>>();
        let first = ctx.race(money(), ctx.call(ShipStock::of("last")));
        ctx.join(first, ctx.join_all(others)).await?;
        Ok(())
    }
}

/// The first money was taken by one that was paused, whose call had been answered before: it goes
/// back with the resume, before the second money comes.
#[test]
fn money_that_goes_back_with_a_resume_is_not_overtaken_by_what_comes_later() {
    let mut wrong = Vec::new();
    for calls in [20, 140] {
        let mut rig = rig_with(Limits::default(), |it| it.register::<Shares>(&()).unwrap());
        let paused = rig.begin("Shares", "paused", &calls);
        let other = rig.begin("Shares", "other", &0);
        rig.make(paused, Action::Pause);
        let (mut asked, is_last) = (rig.asked.clone(), |it: &Request| it.subject.contains("ship"));
        asked.sort_by_key(|it| !is_last(it));
        asked.iter().for_each(|it| rig.answer(it));
        rig.event("pay.completed", "m1", &json!({ "order": "all", "session": "s" }));
        rig.make(paused, Action::Resume);
        rig.event("pay.completed", "m2", &json!({ "order": "all", "session": "s" }));
        rig.go_on();
        let facts = rig.facts(other, 1);
        if facts != ["m1", "m2"] {
            wrong.push(format!("{calls} calls: {facts:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Pieces until a saga that begins has what its lane keeps, while one of another definition is told
/// so much that was held.
fn pieces_until_light(calls: u32) -> usize {
    let mut rig = rig_with(Limits::default(), |it| {
        it.register::<Shares>(&()).unwrap();
        it.register::<Long>(&()).unwrap();
    });
    let paused = rig.begin("Shares", "paused", &calls);
    rig.track("e1");
    rig.make(paused, Action::Pause);
    rig.asked.clone().iter().for_each(|it| rig.answer(it));
    rig.make(paused, Action::Resume);
    let light = rig.begin("Long", "light", &0);
    let mut pieces = 0;
    while rig.facts(light, 1).is_empty() {
        rig.piece();
        pieces += 1;
    }
    pieces
}

/// A light definition does not wait for what another one's saga is told.
#[test]
fn looks_of_one_definition_do_not_wait_for_what_a_saga_of_another_is_told() {
    let pieces = [50, 500, 1_000].map(pieces_until_light);
    assert!(pieces.iter().all(|it| *it <= pieces[0] + 2), "{pieces:?}");
}

/// Random worlds: whoever holds for something that a lane keeps has it, whatever happened before.
mod worlds {
    use super::*;
    use crate::tests::wake::in_pieces::Luck;

    /// Rounds of money of a session that others hold for as well, beside a sign, an order, a call
    /// and sometimes a minute; sometimes money is never looked at.
    struct One;
    struct Two;
    struct Afterwards;
    macro_rules! rounds {
        ($name:ident, $called:literal) => {
            impl Saga for $name {
                const NAME: &'static str = $called;
                type Input = (String, String, u32);
                type Output = ();
                type Settings = ();
                fn events() -> Vec<Declared> {
                    let paid = event::<fixtures::Paid>().late(Late::Run("Afterwards"));
                    let placed = event::<fixtures::Placed>().starts();
                    events([placed, paid, event::<Tracked>().each()])
                }
                async fn run(ctx: Ctx, (session, lane, kind): Self::Input) -> Result<(), Abort> {
                    rounds(&ctx, &session, &lane, kind).await
                }
            }
        };
    }
    rounds!(One, "One");
    rounds!(Two, "Two");
    impl Saga for Afterwards {
        const NAME: &'static str = "Afterwards";
        type Input = LateInput;
        type Output = ();
        type Settings = ();
        fn events() -> Vec<Declared> {
            events([event::<Tracked>().each(), event::<fixtures::Paid>()])
        }
        async fn run(ctx: Ctx, _: LateInput) -> Result<(), Abort> {
            rounds(&ctx, "k0", "all", 4).await
        }
    }

    async fn rounds(ctx: &Ctx, session: &str, lane: &str, kind: u32) -> Result<(), Abort> {
        let of = || fixtures::Paid::session().eq(&session.to_owned());
        for round in 0..(2 + kind % 5 * 3) {
            let mut unseen = ctx.when::<fixtures::Paid>(lane).filter(of()).forever();
            if kind.is_multiple_of(3) && round % 2 == 0 {
                poll_once(&mut unseen).await;
            }
            let money = ctx.when::<fixtures::Paid>(lane).filter(of()).forever();
            let sign = ctx.when::<Tracked>(lane).forever();
            let time = ctx.sleep(std::time::Duration::from_secs(20 + u64::from(kind)));
            let call = ctx.call(ShipStock::of("last"));
            ctx.race(money, ctx.race(sign, ctx.race(time, call))).await?;
        }
        Ok(())
    }

    fn registry(with_two: bool) -> Registry {
        let mut registry = Registry::new("test");
        registry.register::<One>(&()).unwrap();
        registry.register::<Afterwards>(&()).unwrap();
        if with_two {
            registry.register::<Two>(&()).unwrap();
        }
        registry
    }

    fn play(seed: u64, steps: u32, log: bool) -> Result<(), String> {
        let mut luck = Luck(seed.wrapping_mul(77_777).wrapping_add(5));
        let limits = Limits {
            work_at_once: 1 + luck.below(8) as usize,
            wake_at_once: 4 + luck.below(20),
            states_max: luck.below(4) as usize,
            futures_max: luck.below(4) as usize,
            ..Limits::default()
        };
        let missing = luck.below(3) == 0;
        let mut rig =
            Rig::over(MemoryStore::new(Uuid::from_u128(7)), registry(true), limits, Time(1_000));
        let mut sagas = Vec::new();
        let mut events = Vec::new();
        macro_rules! log { ($($it:tt)*) => { if log { eprintln!($($it)*); } } }
        log!("{limits:?}");
        for number in 0..steps {
            rig.now = Time(10_000 + 1_000 * u64::from(number));
            match luck.below(14) {
                0 | 1 => {
                    let of = if luck.below(2) == 0 { "One" } else { "Two" };
                    let is_there = rig.core.registry().get(of).is_some();
                    let (session, kind) = (format!("k{}", luck.below(2)), luck.below(12));
                    let key = format!("s{number}");
                    log!("{number} begin {of} {key} {session} {kind}");
                    if is_there {
                        sagas.push(rig.begin(of, &key, &(session, "all", kind)));
                    }
                }
                2..8 => {
                    let session = match luck.below(3) {
                        0 => "nobody".to_owned(),
                        _ => format!("k{}", luck.below(2)),
                    };
                    let id = format!("m{number}");
                    log!("{number} money {session}");
                    let body = json!({ "order": "all", "session": session });
                    events.push(rig.event("pay.completed", &id, &body));
                }
                8 => {
                    log!("{number} sign");
                    let body = json!({ "order": "all", "status": "x" });
                    events.push(rig.event("courier.status", &format!("c{number}"), &body));
                }
                9 | 10 => {
                    let Some(at) = luck.any(&rig.asked.clone()).cloned() else { continue };
                    log!("{number} answer {:?}", at.id);
                    rig.answer(&at);
                }
                11 => {
                    let Some(saga) = luck.any(&sagas).copied() else { continue };
                    let actions = [
                        Action::Pause,
                        Action::Pause,
                        Action::Resume,
                        Action::Resume,
                        Action::Cancel,
                        Action::Terminate,
                        Action::Retry,
                    ];
                    let action = actions[luck.below(7) as usize];
                    log!("{number} {action:?} {saga:?}");
                    rig.make(saga, action);
                }
                12 => {
                    log!("{number} tick");
                    rig.input(Input::tick(rig.now));
                }
                _ => {
                    if luck.below(8) == 0 {
                        let with_two = !missing || luck.below(2) == 0;
                        log!("{number} reopen with two {with_two}");
                        rig.try_go_on()?;
                        rig = rig.reopened(registry(with_two), limits);
                    }
                }
            }
            for _ in 0..luck.below(4) {
                if rig.line.has_more(&rig.core) {
                    rig.piece();
                }
            }
        }
        rig.try_go_on()?;
        let with_two = rig.core.registry().get("Two").is_some();
        let query = crate::core::HeadQuery { limit: 10_000, ..Default::default() };
        let all: Vec<SagaId> = rig.core.heads(&query).unwrap().iter().map(|it| it.id).collect();
        for saga in &all {
            if rig.core.is_looking(*saga).unwrap() {
                return Err(format!("{saga:?} still looks"));
            }
        }
        let facts = |rig: &Rig| all.iter().map(|it| rig.facts(*it, 0)).collect::<Vec<_>>();
        let before = facts(&rig);
        let mut again = rig.reopened(registry(with_two), limits);
        again.try_go_on()?;
        let after = facts(&again);
        for (at, saga) in all.iter().enumerate() {
            if before[at] != after[at] {
                return Err(format!("{saga:?}: {:?}, then {:?}", before[at], after[at]));
            }
        }
        Ok(())
    }

    impl Rig {
        fn try_go_on(&mut self) -> Result<(), String> {
            for _ in 0..20_000 {
                if !self.line.has_more(&self.core) {
                    return Ok(());
                }
                self.piece();
            }
            Err("it does not come to an end".to_owned())
        }
    }

    #[test]
    fn whoever_holds_for_what_is_kept_has_it() {
        let mut wrong = Vec::new();
        for seed in 0..12 {
            for steps in [30, 80] {
                let played = std::panic::catch_unwind(|| play(seed, steps, false));
                let why = match played {
                    Ok(Ok(())) => continue,
                    Ok(Err(why)) => why,
                    Err(_) => "panic".to_owned(),
                };
                wrong.push((seed, steps, why));
                break;
            }
        }
        if let Some((seed, steps, _)) = wrong.iter().min_by_key(|it| it.1) {
            let (seed, steps) = (*seed, *steps);
            eprintln!("seed {seed} {steps}");
            _ = std::panic::catch_unwind(|| play(seed, steps, true));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
