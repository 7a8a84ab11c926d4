//! The same inputs, once with all the room in the world and once piece by piece: each saga is told
//! the same, in the same order.

use super::*;
use crate::tests::fixtures;

/// So many calls; then a few rounds of money of its own beside a call.
struct Rounds;
impl Saga for Rounds {
    const NAME: &'static str = "Rounds";
    type Input = (u32, String);
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<fixtures::Paid>()])
    }
    async fn run(ctx: Ctx, (calls, key): (u32, String)) -> Result<(), Abort> {
        for _ in 0..calls {
            ctx.call(Reserve::of("1")).await?;
        }
        for _ in 0..300 {
            let of_session = fixtures::Paid::session().eq(&key);
            let money = ctx.when::<fixtures::Paid>("all").filter(of_session).forever();
            ctx.race(money, ctx.call(ShipStock::of("last"))).await?;
        }
        Ok(())
    }
}

pub(super) struct Luck(pub(super) u64);
impl Luck {
    pub(super) fn below(&mut self, max: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap() % max
    }

    pub(super) fn any<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let max = u32::try_from(of.len()).unwrap();
        (max > 0).then(|| &of[self.below(max) as usize])
    }
}

/// What a person may do here.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum People {
    Cancel,
    PauseAsWell,
}

/// Which answers come.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Answers {
    /// To what both have asked.
    InTime,
    /// Also to what one has not asked yet.
    AnyTime,
}

/// The same sagas twice: told at full speed, and piece by piece.
struct Worlds {
    fast: Rig,
    slow: Rig,
    /// By key.
    sagas: BTreeMap<String, [SagaId; 2]>,
    /// What the fast one has asked, and nobody has answered.
    pending: Vec<Request>,
    luck: Luck,
}

impl Worlds {
    fn new(seed: u64) -> Worlds {
        let mut luck = Luck(seed);
        let rig = |limits: Limits| {
            let mut registry = Registry::new("test");
            registry.register::<Rounds>(&()).unwrap();
            Rig::over(MemoryStore::new(Uuid::from_u128(7)), registry, limits, Time(1_000))
        };
        let fast =
            rig(Limits { wake_at_once: u32::MAX, work_at_once: usize::MAX, ..Limits::default() });
        let slow = rig(Limits {
            work_at_once: 1 + luck.below(7) as usize,
            wake_at_once: 4 + luck.below(20),
            states_max: luck.below(4) as usize,
            futures_max: luck.below(4) as usize,
            ..Limits::default()
        });
        let (sagas, pending) = (BTreeMap::new(), Vec::new());
        Worlds { fast, slow, sagas, pending, luck }
    }

    fn event(&mut self, name: &str, id: &str, body: &serde_json::Value) {
        self.fast.event(name, id, body);
        self.slow.event(name, id, body);
    }

    fn any_key(&mut self) -> Option<String> {
        let keys: Vec<String> = self.sagas.keys().cloned().collect();
        self.luck.any(&keys).cloned()
    }

    fn step(&mut self, number: u32, people: People, answers: Answers) {
        match self.luck.below(12) {
            0 => {
                let (key, calls) = (format!("k{}", self.sagas.len()), self.luck.below(12));
                let begin = |rig: &mut Rig| rig.begin("Rounds", &key, &(calls, &key));
                let sagas = [begin(&mut self.fast), begin(&mut self.slow)];
                self.sagas.insert(key, sagas);
            }
            1..6 => self.pay(number),
            6..10 => self.answer(answers),
            10 => self.ask(people),
            _ => {
                let tick = Input::Tick { watermark: self.fast.now };
                self.fast.input(tick.clone());
                self.slow.input(tick);
            }
        }
    }

    /// Sometimes of nobody, and sometimes twice. Not of one that comes later: whether that comes
    /// before what an ended saga left is swept away is luck.
    fn pay(&mut self, number: u32) {
        let key = if self.luck.below(3) == 0 { None } else { self.any_key() };
        let session = key.unwrap_or_else(|| "nobody".to_owned());
        let id = format!("m{}", number.saturating_sub(self.luck.below(2)));
        self.event("pay.completed", &id, &json!({ "order": "all", "session": session }));
    }

    fn answer(&mut self, answers: Answers) {
        let in_slow = |of: &Request| {
            let sagas = self.sagas.values().find(|it| it[0] == of.id.saga).unwrap();
            RequestId { saga: sagas[1], ..of.id.clone() }
        };
        let is_asked = |it: &Request| {
            let id = in_slow(it);
            answers == Answers::AnyTime || self.slow.asked.iter().any(|it| it.id == id)
        };
        let may_come = (0..self.pending.len()).filter(|it| is_asked(&self.pending[*it]));
        let may_come: Vec<usize> = may_come.collect();
        let Some(at) = self.luck.any(&may_come) else { return };
        let other = Request { id: in_slow(&self.pending[*at]), ..self.pending[*at].clone() };
        self.fast.answer(&self.pending.swap_remove(*at));
        self.slow.answer(&other);
    }

    fn ask(&mut self, people: People) {
        let action = match (people, self.luck.below(9)) {
            (People::Cancel, 1..) => return,
            (People::Cancel, _) | (People::PauseAsWell, 0) => Action::Cancel,
            (People::PauseAsWell, 1..5) => Action::Pause,
            (People::PauseAsWell, _) => Action::Resume,
        };
        if let Some([fast, slow]) = self.any_key().map(|it| self.sagas[&it]) {
            self.fast.make(fast, action);
            self.slow.make(slow, action);
        }
    }

    fn go_on(&mut self) {
        self.fast.go_on();
        self.pending.append(&mut self.fast.asked);
        for _ in 0..self.luck.below(4) {
            if self.slow.line.has_more(&self.slow.core) {
                self.slow.piece();
            }
        }
        if self.luck.below(40) == 0 {
            // What waits in the line of a process that dies comes again: here it does not.
            self.slow.go_on();
            let registry = self.slow.core.registry().clone();
            self.slow = self.slow.reopened(registry, self.slow.limits);
        }
    }

    fn play(&mut self, people: People, answers: Answers) {
        for number in 0..(100 + self.luck.below(200)) {
            let now = Time(10_000 + 1_000 * u64::from(number));
            (self.fast.now, self.slow.now) = (now, now);
            self.step(number, people, answers);
            self.go_on();
        }
        self.slow.go_on();
    }
}

fn each_is_told_the_same(people: People) {
    for seed in 0..30 {
        let mut worlds = Worlds::new(seed);
        worlds.play(people, Answers::InTime);
        for (key, [fast, slow]) in &worlds.sagas {
            let (fast, slow) = (worlds.fast.facts(*fast, 1), worlds.slow.facts(*slow, 1));
            assert_eq!(fast, slow, "{key} of seed {seed}");
        }
    }
}

#[test]
fn each_saga_is_told_the_same_however_little_is_done_at_once() {
    each_is_told_the_same(People::Cancel);
}

#[test]
fn each_saga_is_told_the_same_however_little_is_done_at_once_also_when_it_is_paused() {
    each_is_told_the_same(People::PauseAsWell);
}

/// Also when answers come to what the one that does little at once has not asked yet.
#[test]
fn it_comes_to_an_end_whatever_is_answered() {
    for seed in 0..20 {
        Worlds::new(seed).play(People::PauseAsWell, Answers::AnyTime);
    }
}
