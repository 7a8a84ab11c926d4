//! The same inputs, once with all the room in the world and once piece by piece: two definitions
//! that share events, of which one starts sagas, and of one of which each has a copy.

use super::{
    in_pieces::{Answers, Luck, People},
    *,
};
use crate::tests::fixtures;

/// Rounds of money of its own, beside a sign of which each has a copy, an event that starts sagas,
/// and a call. It holds for all of them all the time.
struct Mixed;
impl Saga for Mixed {
    const NAME: &'static str = "Mixed";
    type Input = (u32, String);
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        let placed = event::<fixtures::Placed>().starts();
        events([placed, event::<fixtures::Paid>(), event::<Tracked>().each()])
    }
    async fn run(ctx: Ctx, (_, key): (u32, String)) -> Result<(), Abort> {
        rounds(&ctx, &key).await
    }
}

/// The same under another name.
struct Other;
impl Saga for Other {
    const NAME: &'static str = "Other";
    type Input = (u32, String);
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        Mixed::events()
    }
    async fn run(ctx: Ctx, (_, key): (u32, String)) -> Result<(), Abort> {
        rounds(&ctx, &key).await
    }
}

async fn rounds(ctx: &Ctx, key: &str) -> Result<(), Abort> {
    for _ in 0..300 {
        let of_session = fixtures::Paid::session().eq(&key.to_owned());
        let money = ctx.when::<fixtures::Paid>("all").filter(of_session).forever();
        let sign = ctx.when::<Tracked>("all").forever();
        let placed = ctx.when::<fixtures::Placed>(key).forever();
        ctx.race(money, ctx.race(sign, ctx.race(placed, ctx.call(ShipStock::of("last"))))).await?;
    }
    Ok(())
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
    log: Vec<String>,
}

impl Worlds {
    fn new(seed: u64) -> Worlds {
        let mut luck = Luck(seed);
        let rig = |limits: Limits| {
            let mut registry = Registry::new("test");
            registry.register::<Mixed>(&()).unwrap();
            registry.register::<Other>(&()).unwrap();
            Rig::over(MemoryStore::new(Uuid::from_u128(7)), registry, limits, Time(1_000))
        };
        let fast =
            rig(Limits { wake_at_once: u32::MAX, work_at_once: usize::MAX, ..Limits::default() });
        let slow = rig(Limits {
            work_at_once: 2 + luck.below(6) as usize,
            wake_at_once: 4 + luck.below(20),
            states_max: luck.below(4) as usize,
            futures_max: luck.below(4) as usize,
            ..Limits::default()
        });
        let (sagas, pending) = (BTreeMap::new(), Vec::new());
        Worlds { fast, slow, sagas, pending, luck, log: Vec::new() }
    }

    fn event(&mut self, name: &str, id: &str, body: &serde_json::Value) {
        self.log.push(format!("{name} {id} {body}"));
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
                let key = self.any_key().unwrap_or_default();
                let order = key.trim_start_matches(['a', 'b']).to_owned();
                self.event("shop.placed", &format!("p{number}"), &json!({ "order": order }));
            }
            1..3 => self.pay(number),
            4..6 => self.pay(number),
            3 => {
                let id = format!("c{}", number - self.luck.below(2).min(number));
                self.event("courier.status", &id, &json!({ "order": "all", "status": "x" }));
            }
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
        let session = key.map_or_else(|| "nobody".to_owned(), |it| it[1..].to_owned());
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
        if let Some([fast, slow]) = self.any_key().map(|it| self.sagas[&it]) {
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
        for number in 0..(2 + self.luck.below(4)) {
            for (letter, of) in [("a", "Mixed"), ("b", "Other")] {
                let key = format!("k{number}");
                let begin = |rig: &mut Rig| rig.begin(of, &key, &(0, &key));
                let sagas = [begin(&mut self.fast), begin(&mut self.slow)];
                self.sagas.insert(format!("{letter}{key}"), sagas);
            }
        }
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

fn each_is_told_the_same(people: People) {
    for seed in 0..5 {
        for steps in [40, 150] {
            let mut worlds = Worlds::new(seed);
            worlds.play(people, Answers::InTime, steps);
            for (key, [fast, slow]) in &worlds.sagas {
                let (fast, slow) = (worlds.fast.facts(*fast, 1), worlds.slow.facts(*slow, 1));
                if fast != slow {
                    eprintln!("{:#?}\n{:?}", worlds.log, worlds.slow.limits);
                }
                assert_eq!(fast, slow, "{key} of seed {seed}, {steps} steps");
            }
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
    for seed in 0..2 {
        Worlds::new(seed).play(People::PauseAsWell, Answers::AnyTime, 200);
    }
}
