//! What is told in pieces is told as it would be at once, whatever else comes between.

use super::*;
use crate::tests::fixtures;

/// Rounds of money, beside a call in the first one and beside a minute in the others; and so many
/// other calls.
struct Minutes;
impl Saga for Minutes {
    const NAME: &'static str = "Minutes";
    type Input = (u32, bool);
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, (calls, is_timed): (u32, bool)) -> Result<(), Abort> {
        let rounds = async {
            let money = ctx.when::<fixtures::Paid>("all").forever();
            ctx.race(money, ctx.call(ShipStock::of("last"))).await?;
            for _ in 0..2 {
                let money = ctx.when::<fixtures::Paid>("all");
                if is_timed {
                    money.within(std::time::Duration::from_secs(60)).await?;
                } else {
                    money.forever().await?;
                }
            }
            Ok::<_, Abort>(())
        };
        let others = (0..calls).map(|_| ctx.call(Reserve::of("1"))).collect::<Vec<_>>();
        ctx.join(rounds, ctx.join_all(others)).await?;
        Ok(())
    }
}

/// All at once; one piece with little room; and more pieces with what there is.
fn paces() -> [(u32, Limits); 3] {
    let little = Limits { work_at_once: 2, ..Limits::default() };
    [(0, Limits::default()), (0, little), (140, Limits::default())]
}

/// A paused saga of which the call was answered first, then the others, and then money came that
/// took the wait which the answer had already closed.
fn holds_back(limits: Limits, calls: u32, is_timed: bool) -> (Rig, SagaId) {
    let mut registry = Registry::new("test");
    registry.register::<Minutes>(&()).unwrap();
    let store = MemoryStore::new(Uuid::from_u128(7));
    let mut rig = Rig::over(store, registry, limits, Time(1_000));
    let saga = rig.begin("Minutes", "k1", &(calls, is_timed));
    rig.make(saga, Action::Pause);
    let (mut asked, is_last) = (rig.asked.clone(), |it: &Request| it.subject.contains("ship"));
    asked.sort_by_key(|it| !is_last(it));
    asked.iter().for_each(|it| rig.answer(it));
    rig.event("pay.completed", "m1", &json!({ "order": "all", "session": "s" }));
    (rig, saga)
}

fn since_resumed(rig: &Rig, saga: SagaId) -> Vec<String> {
    let facts = rig.facts(saga, 1);
    let resumed = facts.iter().position(|it| it == "Resumed").unwrap();
    facts[resumed + 1..].to_vec()
}

/// The second money came while the saga was paused, when it held for none: its lane keeps it. What
/// was held came before it.
#[test]
fn money_that_a_lane_kept_does_not_overtake_money_that_was_held_before() {
    for (calls, limits) in paces() {
        let (mut rig, saga) = holds_back(limits, calls, false);
        rig.event("pay.completed", "m2", &json!({ "order": "all", "session": "s" }));
        rig.make(saga, Action::Resume);
        rig.go_on();
        let facts = since_resumed(&rig, saga);
        assert_eq!(facts, ["m1", "m2"], "{calls} calls, {}", limits.work_at_once);
    }
}

/// The deadline of a wait that is opened while the saga is told falls due before all was told: the
/// money that was held was there long before.
#[test]
fn a_deadline_does_not_overtake_money_that_is_still_held() {
    for (calls, limits) in paces() {
        let (mut rig, saga) = holds_back(limits, calls, true);
        rig.make(saga, Action::Resume);
        rig.now = rig.now.after_ms(61_000);
        rig.input(Input::tick(rig.now));
        rig.go_on();
        let facts = since_resumed(&rig, saga);
        assert_eq!(facts[0], "m1", "{calls} calls, {}: {facts:?}", limits.work_at_once);
    }
}
