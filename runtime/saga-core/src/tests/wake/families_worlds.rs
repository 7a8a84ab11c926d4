//! The same inputs with all the room in the world and piece by piece, in families with late arms,
//! ends, deadlines and starts. What each has a copy of is left out: copies go on behind others.

use super::{in_pieces::Luck, *};
use crate::{
    saga::{Late, LateInput},
    tests::fixtures::{self, poll_once},
};
use std::time::Duration;

/// Its order, its session, how many rounds, and when it is over, in ms (0: never).
type Rounds = (String, String, u32, u64);

macro_rules! family {
    ($name:ident, $called:literal, $events:expr) => {
        struct $name;
        impl Saga for $name {
            const NAME: &'static str = $called;
            type Input = serde_json::Value;
            type Output = ();
            type Settings = ();
            fn events() -> Vec<Declared> {
                $events
            }
            async fn run(ctx: Ctx, input: serde_json::Value) -> Result<(), Abort> {
                let key = input["order"].as_str().unwrap_or("k0").to_owned();
                let rounds = u32::try_from(input["rounds"].as_u64().unwrap_or(3)).unwrap();
                let due = input["due"].as_u64().unwrap_or(0);
                let session = input["session"].as_str().unwrap_or(&key).to_owned();
                rounds_of(&ctx, (key, session, rounds, due)).await
            }
        }
    };
}
family!(
    Shop,
    "Shop",
    events([
        event::<fixtures::Placed>().starts(),
        event::<fixtures::Paid>().late(Late::Run("Arm")),
        event::<Tracked>(),
    ])
);
family!(
    Sells,
    "Sells",
    events([event::<fixtures::Paid>().late(Late::Run("Arm")), event::<Tracked>()])
);
family!(Alone, "Alone", events([event::<fixtures::Paid>(), event::<Tracked>()]));

/// Holds for what comes later, or came meanwhile.
struct Arm;
impl Saga for Arm {
    const NAME: &'static str = "Arm";
    type Input = LateInput;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, it: LateInput) -> Result<(), Abort> {
        let of_session = fixtures::Paid::session().eq(&it.ended.key);
        let money = ctx.when::<fixtures::Paid>("all").filter(of_session).forever();
        ctx.race(money, ctx.call(ShipStock::of("last"))).await?;
        Ok(())
    }
}

async fn rounds_of(ctx: &Ctx, (key, session, rounds, due): Rounds) -> Result<(), Abort> {
    let work = async {
        for round in 0..rounds {
            let of_session = || fixtures::Paid::session().eq(&session);
            let mut unseen = ctx.when::<fixtures::Paid>("all").filter(of_session()).forever();
            if rounds.is_multiple_of(4) && round % 2 == 0 {
                poll_once(&mut unseen).await;
            }
            let money = ctx.when::<fixtures::Paid>("all").filter(of_session()).forever();
            let own = ctx.when::<fixtures::Paid>(&key).forever();
            let sign = ctx.when::<Tracked>("all").forever();
            ctx.race(ctx.race(money, own), ctx.race(sign, ctx.call(ShipStock::of("last")))).await?;
        }
        Ok::<_, Abort>(())
    };
    if due == 0 {
        return work.await;
    }
    let left = due.saturating_sub(ctx.now().0);
    ctx.race(work, ctx.sleep(Duration::from_millis(left))).await?;
    Ok(())
}

#[derive(Clone, Copy)]
struct With {
    /// Several hold for the same money.
    shared: bool,
    deadlines: bool,
    by_hand: bool,
    pauses: bool,
    reopens: bool,
    unseen: bool,
}

struct Worlds {
    with: With,
    fast: Rig,
    slow: Rig,
    pending: Vec<Request>,
    luck: Luck,
    log: Vec<String>,
}

fn registry() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<Shop>(&()).unwrap();
    registry.register::<Sells>(&()).unwrap();
    registry.register::<Alone>(&()).unwrap();
    registry.register::<Arm>(&()).unwrap();
    registry
}

/// All sagas by what they are in both worlds.
fn all(rig: &Rig) -> BTreeMap<String, SagaId> {
    let query = crate::core::HeadQuery { limit: 10_000, ..Default::default() };
    let heads = rig.core.heads(&query).unwrap();
    let label = |it: &crate::head::Head| {
        let first = rig.core.journal(it.id).unwrap().into_iter().next().unwrap();
        let Fact::Started(start) = first.fact else { panic!("it starts") };
        match start.origin {
            Some(_) => {
                let input: serde_json::Value = serde_json::from_str(start.input.text()).unwrap();
                format!("{}/{}/{}", it.definition, it.key, input["event"]["id"])
            }
            None => format!("{}/{}", it.definition, it.key),
        }
    };
    heads.iter().map(|it| (label(it), it.id)).collect()
}

impl Worlds {
    fn new(seed: u64, with: With) -> Worlds {
        let mut luck = Luck(seed.wrapping_mul(7_919).wrapping_add(11));
        let rig = |limits: Limits| {
            Rig::over(MemoryStore::new(Uuid::from_u128(7)), registry(), limits, Time(1_000))
        };
        let fast =
            rig(Limits { wake_at_once: u32::MAX, work_at_once: usize::MAX, ..Limits::default() });
        let slow = rig(Limits {
            work_at_once: 1 + luck.below(6) as usize,
            wake_at_once: 4 + luck.below(20),
            states_max: luck.below(4) as usize,
            futures_max: luck.below(4) as usize,
            ..Limits::default()
        });
        Worlds { with, fast, slow, pending: Vec::new(), luck, log: Vec::new() }
    }

    fn event(&mut self, name: &str, id: &str, body: &serde_json::Value) {
        if self.with.deadlines {
            // Up to an event that waits a tick reaches; at once it has to come before that.
            let tick = Input::tick(Time(self.fast.now.0 - 1));
            self.fast.input(tick.clone());
            self.slow.input(tick);
        }
        self.log.push(format!("{name} {id} {body}"));
        self.fast.event(name, id, body);
        self.slow.event(name, id, body);
    }

    fn session_of(&self, order: &str) -> String {
        let number: Option<u32> = order.trim_start_matches('k').parse().ok();
        match number.filter(|_| self.with.shared) {
            Some(number) => format!("k{}", number % 2),
            None => order.to_owned(),
        }
    }

    fn begin(&mut self, number: u32, now: u64) {
        let definition = ["Shop", "Sells", "Alone"][self.luck.below(3) as usize];
        let mut rounds = 1 + self.luck.below(5);
        if !self.with.unseen && rounds.is_multiple_of(4) {
            rounds += 1;
        }
        let due = match self.with.deadlines && self.luck.below(2) == 0 {
            true => now + 1_000 * u64::from(self.luck.below(30)) + 500,
            false => 0,
        };
        let order = format!("k{number}");
        let session = self.session_of(&order);
        let input = json!({ "order": order, "session": session, "rounds": rounds, "due": due });
        self.log.push(format!("begin {definition} {input}"));
        for rig in [&mut self.fast, &mut self.slow] {
            let (definition, key) = (definition.to_owned(), Some(order.clone()));
            rig.ask(Command::Start { definition, key, input: Payload::of(&input).unwrap() });
        }
    }

    fn any(&mut self) -> Option<(String, SagaId)> {
        let all: Vec<_> = all(&self.fast).into_iter().collect();
        self.luck.any(&all).cloned()
    }

    fn step(&mut self, number: u32, now: u64) {
        match self.luck.below(16) {
            0 if self.with.by_hand => self.begin(100 + number, now),
            0 | 1 => {
                let order = format!("k{}", 200 + number - self.luck.below(3).min(number));
                let session = self.session_of(&order);
                let body = json!({ "order": order, "session": session, "risky": true });
                self.event("shop.placed", &format!("p{number}"), &body);
            }
            2..8 => {
                let keys: Vec<String> = all(&self.fast)
                    .keys()
                    .map(|it| it.split('/').nth(1).unwrap().to_owned())
                    .collect();
                let mine = self.luck.any(&keys).cloned().unwrap_or_default();
                let own = self.session_of(&mine);
                let session = if self.luck.below(3) == 0 { "nobody" } else { &own };
                let order = if self.luck.below(2) == 0 { "all" } else { &mine };
                let body = json!({ "order": order, "session": session });
                let id = format!("m{}", number.saturating_sub(self.luck.below(2)));
                self.event("pay.completed", &id, &body);
            }
            8..13 => self.answer(),
            13 => {
                let actions = match self.with.pauses {
                    true => &[
                        Action::Pause,
                        Action::Pause,
                        Action::Resume,
                        Action::Resume,
                        Action::Cancel,
                    ][..],
                    false => &[Action::Cancel][..],
                };
                let Some(action) = self.luck.any(actions).copied() else { return };
                if !self.with.pauses && self.luck.below(3) > 0 {
                    return;
                }
                let Some((label, fast)) = self.any() else { return };
                let Some(slow) = all(&self.slow).get(&label).copied() else { return };
                self.log.push(format!("{action:?} {label}"));
                self.fast.make(fast, action);
                self.slow.make(slow, action);
            }
            _ => {
                let tick = Input::tick(Time(now));
                self.log.push(format!("tick {now}"));
                self.fast.input(tick.clone());
                self.slow.input(tick);
            }
        }
    }

    fn answer(&mut self) {
        let fast: BTreeMap<SagaId, String> =
            all(&self.fast).into_iter().map(|(label, saga)| (saga, label)).collect();
        let slow = all(&self.slow);
        let in_slow = |it: &Request| {
            let saga = *slow.get(fast.get(&it.id.saga)?)?;
            let id = RequestId { saga, ..it.id.clone() };
            self.slow.asked.iter().find(|it| it.id == id).cloned()
        };
        let may: Vec<(usize, Request)> =
            self.pending.iter().enumerate().filter_map(|it| Some((it.0, in_slow(it.1)?))).collect();
        let Some((at, other)) = self.luck.any(&may).cloned() else { return };
        let mine = self.pending.swap_remove(at);
        self.log.push(format!("answer {} {:?}", fast[&mine.id.saga], mine.id.step));
        self.fast.answer(&mine);
        self.slow.answer(&other);
    }

    fn go_on(&mut self) {
        self.fast.go_on();
        self.pending.append(&mut self.fast.asked);
        for _ in 0..self.luck.below(4) {
            if self.slow.line.has_more(&self.slow.core) {
                self.log.push("piece".to_owned());
                self.slow.piece();
            }
        }
        if self.with.reopens && self.luck.below(40) == 0 {
            self.log.push("reopen".to_owned());
            self.slow.go_on();
            let asked = std::mem::take(&mut self.slow.asked);
            self.slow = self.slow.reopened(registry(), self.slow.limits);
            self.slow.asked.extend(asked);
        }
    }

    fn play(&mut self, steps: u32) -> Result<(), String> {
        for number in 0..(2 + self.luck.below(5)) {
            self.begin(number, 10_000);
        }
        self.go_on();
        let mut now = 10_000;
        for number in 0..steps {
            now = 10_000 + 1_000 * u64::from(number);
            (self.fast.now, self.slow.now) = (Time(now), Time(now));
            self.step(number, now);
            self.go_on();
        }
        for rig in [&mut self.fast, &mut self.slow] {
            rig.go_on();
            rig.now = rig.now.max(Time(now + 60_000));
            for _ in 0..200 {
                rig.input(Input::tick(Time(now)));
                rig.go_on();
            }
        }
        let (fast, slow) = (all(&self.fast), all(&self.slow));
        for label in fast.keys().chain(slow.keys()) {
            let facts = |rig: &Rig, of: &BTreeMap<String, SagaId>| {
                of.get(label).map(|it| (rig.facts(*it, 1), rig.status(*it)))
            };
            let (fast, slow) = (facts(&self.fast, &fast), facts(&self.slow, &slow));
            if fast != slow {
                for (name, rig) in [("fast", &self.fast), ("slow", &self.slow)] {
                    let mut all: Vec<_> = all(rig).into_iter().collect();
                    all.sort_by_key(|it| rig.core.journal(it.1).unwrap()[0].position);
                    for (label, saga) in all {
                        let at = rig.core.journal(saga).unwrap()[0].position;
                        let (facts, status) = (rig.facts(saga, 1), rig.status(saga));
                        self.log.push(format!("{name} {at} {label} {facts:?} {status:?}"));
                    }
                }
                return Err(format!("{label}: {fast:?}, in pieces {slow:?}"));
            }
        }
        Ok(())
    }
}

/// So many worlds of each length.
const WORLDS: u64 = 3;

fn all_agree(with: With) {
    for steps in [25, 100] {
        for seed in 0..WORLDS {
            let mut worlds = Worlds::new(seed, with);
            if let Err(why) = worlds.play(steps) {
                panic!("seed {seed}, {steps} steps: {why}\n{:#?}", worlds.log);
            }
        }
    }
}

const BASE: With = With {
    shared: false,
    deadlines: false,
    by_hand: false,
    pauses: false,
    reopens: false,
    unseen: false,
};

#[test]
fn in_pieces_it_is_as_at_once_with_ends_and_late_arms() {
    all_agree(BASE);
}

#[test]
fn in_pieces_it_is_as_at_once_when_several_hold_for_the_same() {
    all_agree(With { shared: true, ..BASE });
    all_agree(With { shared: true, deadlines: true, ..BASE });
}

#[test]
fn in_pieces_it_is_as_at_once_when_code_leaves_events_unseen() {
    all_agree(With { unseen: true, ..BASE });
}

#[test]
fn in_pieces_it_is_as_at_once_when_sagas_are_paused() {
    all_agree(With { pauses: true, unseen: true, ..BASE });
}

#[test]
fn in_pieces_it_is_as_at_once_when_processes_die_between() {
    all_agree(With { reopens: true, ..BASE });
}

#[test]
fn in_pieces_it_is_as_at_once_with_deadlines() {
    all_agree(With { deadlines: true, ..BASE });
}

#[test]
fn in_pieces_it_is_as_at_once_when_people_start_sagas() {
    all_agree(With { by_hand: true, ..BASE });
}
