//! The same inputs, once with all the room in the world and once piece by piece: each saga is told
//! the same, in the same order. Here of sagas that begin by hand and share one event; `mixed` lets
//! others play in the same worlds.

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
enum Answers {
    /// To what both have asked.
    InTime,
    /// Also to what one has not asked yet.
    AnyTime,
}

/// Who plays, and what comes besides money, answers, people and time.
pub(super) struct Cast {
    pub(super) register: fn(&mut Registry),
    /// The least that the one who does little at once may do.
    pub(super) work_at_once_min: u32,
    /// Those who are there from the beginning.
    pub(super) opens: fn(&mut Worlds),
    /// What has somebody begin, at the step of this number.
    pub(super) begins: fn(&mut Worlds, u32),
    /// Whether signs come, of which each has a copy.
    pub(super) has_signs: bool,
}

const ROUNDS: Cast = Cast {
    register: |it| it.register::<Rounds>(&()).unwrap(),
    work_at_once_min: 1,
    opens: |_| (),
    begins: |worlds, _| {
        let (key, calls) = (format!("k{}", worlds.sagas.len()), worlds.luck.below(12));
        worlds.begin("Rounds", key, calls);
    },
    has_signs: false,
};

/// The same sagas twice: told at full speed, and piece by piece.
pub(super) struct Worlds {
    cast: &'static Cast,
    fast: Rig,
    slow: Rig,
    /// By their definition and key.
    sagas: BTreeMap<(&'static str, String), [SagaId; 2]>,
    /// What the fast one has asked, and nobody has answered.
    pending: Vec<Request>,
    pub(super) luck: Luck,
    /// What came, to be read when they differ.
    log: Vec<String>,
}

impl Worlds {
    fn new(cast: &'static Cast, seed: u64) -> Worlds {
        let mut luck = Luck(seed);
        let rig = |limits: Limits| {
            let mut registry = Registry::new("test");
            (cast.register)(&mut registry);
            Rig::over(MemoryStore::new(Uuid::from_u128(7)), registry, limits, Time(1_000))
        };
        let fast =
            rig(Limits { wake_at_once: u32::MAX, work_at_once: usize::MAX, ..Limits::default() });
        let slow = rig(Limits {
            work_at_once: (cast.work_at_once_min + luck.below(8 - cast.work_at_once_min)) as usize,
            wake_at_once: 4 + luck.below(20),
            states_max: luck.below(4) as usize,
            futures_max: luck.below(4) as usize,
            ..Limits::default()
        });
        let (sagas, pending) = (BTreeMap::new(), Vec::new());
        Worlds { cast, fast, slow, sagas, pending, luck, log: Vec::new() }
    }

    pub(super) fn begin(&mut self, of: &'static str, key: String, calls: u32) {
        self.log.push(format!("{of} {key} {calls}"));
        let begin = |rig: &mut Rig| rig.begin(of, &key, &(calls, &key));
        let sagas = [begin(&mut self.fast), begin(&mut self.slow)];
        self.sagas.insert((of, key), sagas);
    }

    pub(super) fn event(&mut self, name: &str, id: &str, body: &serde_json::Value) {
        self.log.push(format!("{name} {id} {body}"));
        self.fast.event(name, id, body);
        self.slow.event(name, id, body);
    }

    pub(super) fn any(&mut self) -> Option<(&'static str, String)> {
        let all: Vec<_> = self.sagas.keys().cloned().collect();
        self.luck.any(&all).cloned()
    }

    fn step(&mut self, number: u32, people: People, answers: Answers) {
        match self.luck.below(12) {
            0 => (self.cast.begins)(self, number),
            3 if self.cast.has_signs => {
                let id = format!("c{}", number.saturating_sub(self.luck.below(2)));
                self.event("courier.status", &id, &json!({ "order": "all", "status": "x" }));
            }
            1..6 => self.pay(number),
            6..10 => self.answer(answers),
            10 => self.ask(people),
            _ => {
                let tick = Input::tick(self.fast.now);
                self.fast.input(tick.clone());
                self.slow.input(tick);
            }
        }
    }

    /// Sometimes of nobody, and sometimes twice. Not of one that comes later: whether that comes
    /// before what an ended saga left is swept away is luck.
    fn pay(&mut self, number: u32) {
        let of = if self.luck.below(3) == 0 { None } else { self.any() };
        let session = of.map_or_else(|| "nobody".to_owned(), |(_, key)| key);
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
        self.log.push(format!("answer {:?}", self.pending[*at].id));
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
        if let Some([fast, slow]) = self.any().map(|it| self.sagas[&it]) {
            self.log.push(format!("{action:?} {fast:?}"));
            self.fast.make(fast, action);
            self.slow.make(slow, action);
        }
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
        if self.luck.below(40) == 0 {
            self.log.push("reopen".to_owned());
            // What waits in the line of a process that dies comes again: here it does not.
            self.slow.go_on();
            let registry = self.slow.core.registry().clone();
            self.slow = self.slow.reopened(registry, self.slow.limits);
        }
    }

    fn play(&mut self, people: People, answers: Answers, steps: u32) {
        (self.cast.opens)(self);
        self.go_on();
        for number in 0..steps {
            let now = Time(10_000 + 1_000 * u64::from(number));
            (self.fast.now, self.slow.now) = (now, now);
            self.step(number, people, answers);
            self.go_on();
        }
        self.slow.go_on();
    }
}

/// Plays a world for each seed and number of steps.
pub(super) fn each_is_told_the_same(
    cast: &'static Cast,
    people: People,
    worlds: impl IntoIterator<Item = (u64, u32)>,
) {
    for (seed, steps) in worlds {
        let mut worlds = Worlds::new(cast, seed);
        worlds.play(people, Answers::InTime, steps);
        for (key, [fast, slow]) in &worlds.sagas {
            let (fast, slow) = (worlds.fast.facts(*fast, 1), worlds.slow.facts(*slow, 1));
            if fast != slow {
                eprintln!("{:#?}\n{:?}", worlds.log, worlds.slow.limits);
            }
            assert_eq!(fast, slow, "{key:?} of seed {seed}, {steps} steps");
        }
    }
}

/// Also when answers come to what the one that does little at once has not asked yet.
pub(super) fn comes_to_an_end(cast: &'static Cast, worlds: impl IntoIterator<Item = (u64, u32)>) {
    for (seed, steps) in worlds {
        Worlds::new(cast, seed).play(People::PauseAsWell, Answers::AnyTime, steps);
    }
}

/// So many worlds, each of 100 to 300 steps.
fn worlds(count: u64) -> impl Iterator<Item = (u64, u32)> {
    (0..count).map(|seed| (seed, 100 + Luck(seed).below(200)))
}

#[test]
fn each_saga_is_told_the_same_however_little_is_done_at_once() {
    each_is_told_the_same(&ROUNDS, People::Cancel, worlds(12));
}

#[test]
fn each_saga_is_told_the_same_however_little_is_done_at_once_also_when_it_is_paused() {
    each_is_told_the_same(&ROUNDS, People::PauseAsWell, worlds(12));
}

#[test]
fn it_comes_to_an_end_whatever_is_answered() {
    comes_to_an_end(&ROUNDS, worlds(8));
}
