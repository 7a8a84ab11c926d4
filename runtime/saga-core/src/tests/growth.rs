//! What twice as much costs, in counts: rows and records that are written and read, and journals
//! that are read. Nothing grows faster than n log n.

use super::{
    counting::Counting,
    fixtures::{DAY, Reserve, holds_for, saga},
};
use crate::{
    abort::Abort,
    core::{Core, HeadQuery, Limits},
    ctx::{Call, Ctx},
    effect::{Effect, Request, RequestId},
    fold::Status,
    head::LISTED_MAX,
    id::Time,
    input::{Answer, Answered, Command, Input},
    payload::Payload,
    saga::{Declared, Registry, Saga},
    store::MemoryStore,
    testing::admin,
};
use serde_json::json;
use std::{
    cell::Cell,
    collections::VecDeque,
    future::{IntoFuture, poll_fn},
};
use uuid::Uuid;

/// Declares a saga that starts from a number of calls.
macro_rules! calls {
    ($name:ident($ctx:ident, $calls:ident) $body:block) => {
        struct $name;
        impl Saga for $name {
            const NAME: &'static str = stringify!($name);
            type Input = u32;
            type Output = ();
            type Settings = ();
            fn events() -> Vec<Declared> {
                holds_for()
            }
            async fn run($ctx: Ctx, $calls: u32) -> Result<(), Abort> $body
        }
    };
}

calls!(FansOut(ctx, calls) {
    let calls = (0..calls).map(|it| ctx.call(Reserve::of(&it.to_string())));
    ctx.join_all(calls).await.map(drop)
});
thread_local!(static POLLED: Cell<usize> = const { Cell::new(0) });

/// A call that counts how often it is polled.
async fn counted(call: Call<Reserve>) -> Result<(), Abort> {
    let mut step = call.into_future();
    let counted = poll_fn(|cx| {
        POLLED.set(POLLED.get() + 1);
        step.as_mut().poll(cx)
    });
    counted.await?;
    Ok(())
}
calls!(IsPolled(ctx, calls) {
    let calls = (0..calls).map(|it| counted(ctx.call(Reserve::of(&it.to_string()))));
    ctx.join_all(calls).await.map(drop)
});
calls!(Loops(ctx, calls) {
    for it in 0..calls {
        ctx.call(Reserve::of(&it.to_string())).await?;
    }
    Ok(())
});
saga!(Parked(ctx) -> () { ctx.sleep(DAY).await });

/// What was done since the count began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cost {
    written: usize,
    bytes: usize,
    read: usize,
    journals: usize,
}

struct Rig {
    core: Core<Counting>,
    now: Time,
    asked: VecDeque<Request>,
    written: usize,
    bytes: usize,
    tickets: u64,
}

fn registry() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<FansOut>(&()).unwrap();
    registry.register::<IsPolled>(&()).unwrap();
    registry.register::<Loops>(&()).unwrap();
    registry.register::<Parked>(&()).unwrap();
    registry
}

impl Rig {
    fn new(limits: Limits) -> Rig {
        let store = Counting::over(MemoryStore::new(Uuid::from_u128(7)));
        let core = Core::open(store, registry(), limits, Time(1_000)).unwrap();
        let (now, asked) = (Time(1_000), VecDeque::new());
        Rig { core, now, asked, written: 0, bytes: 0, tickets: 0 }
    }

    fn input(&mut self, input: Input) {
        self.core.handle(self.now, input).unwrap();
        for effect in self.core.commit().unwrap() {
            if let Effect::Send(it) = effect {
                self.asked.push_back(it);
            }
        }
        let store = self.core.store();
        self.written += store.records + store.rows;
        self.bytes += store.bytes;
    }

    fn start(&mut self, definition: &str, input: serde_json::Value) {
        self.tickets += 1;
        let (ticket, key) = (self.tickets, Some(format!("k{}", self.tickets)));
        let (definition, input) = (definition.to_owned(), Payload::of(&input).unwrap());
        let command = Command::Start { definition, key, input };
        self.input(Input::Asked { ticket, actor: admin(), command });
    }

    fn answer_all(&mut self) {
        while let Some(Request { id: RequestId { saga, step, is_undo }, .. }) =
            self.asked.pop_front()
        {
            let answer = Answer::Ok(Payload::null());
            self.input(Input::Answered(Answered { saga, epoch: 0, step, is_undo, answer }));
        }
    }

    fn begin(&mut self) {
        (self.written, self.bytes) = (0, 0);
        self.core.store().forget_reads();
    }

    fn cost(&self) -> Cost {
        let (written, bytes, store) = (self.written, self.bytes, self.core.store());
        Cost { written, bytes, read: store.rows_read(), journals: store.journals_read() }
    }

    fn completed(&self) -> usize {
        let status = Some(Status::Completed);
        let query = HeadQuery { status, limit: usize::MAX, ..HeadQuery::default() };
        self.core.heads(&query).unwrap().len()
    }
}

/// Holds the figures of twice as much against those of once.
fn grows_at_most_n_log_n(shape: &str, n: usize, cost: impl Fn(usize) -> Cost) {
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let allowed = |it: usize| {
        let (n, it) = (n as f64, it as f64);
        it * 2.0 * (2.0 * n).log2() / n.log2()
    };
    let (once, twice) = (cost(n), cost(2 * n));
    for (once, twice) in [
        (once.written, twice.written),
        (once.bytes, twice.bytes),
        (once.read, twice.read),
        (once.journals, twice.journals),
    ] {
        // What is counted once however much there is may be a few.
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let is_bounded = twice as f64 <= allowed(once) + 4.0;
        assert!(is_bounded, "{shape}: {n} cost {once}, {} cost {twice}", 2 * n);
    }
}

#[test]
fn calls_beside_each_other_and_one_after_the_other_cost_as_much_as_there_are() {
    for definition in ["FansOut", "Loops"] {
        grows_at_most_n_log_n(definition, 100, |calls| {
            let mut rig = Rig::new(Limits::default());
            rig.start(definition, json!(calls));
            rig.answer_all();
            assert_eq!(rig.completed(), 1);
            rig.cost()
        });
    }
}

/// Each arm at first, and then the one that awaits what was answered.
#[test]
fn a_turn_of_one_of_many_arms_polls_no_other() {
    const CALLS: usize = 200;
    let mut rig = Rig::new(Limits::default());
    rig.start("IsPolled", json!(CALLS));
    rig.answer_all();
    assert_eq!((rig.completed(), POLLED.get()), (1, 2 * CALLS));
}

/// A row lists few of many requests: the rest is found in the journal, also by another process.
#[test]
fn a_saga_of_many_requests_is_shown_whole_and_goes_on_in_another_process() {
    const CALLS: usize = 100;
    let mut rig = Rig::new(Limits::default());
    rig.start("FansOut", json!(CALLS));
    let saga = rig.asked[0].id.saga;
    let row = rig.core.page(&HeadQuery { limit: 1, ..HeadQuery::default() }).unwrap().heads;
    assert_eq!((row[0].calls.len(), row[0].unlisted), (LISTED_MAX, CALLS - LISTED_MAX));
    let head = rig.core.head(saga).unwrap().unwrap();
    assert_eq!((head.calls.len(), head.timers.len(), head.unlisted), (CALLS, CALLS, 0));
    let store = Counting::over(rig.core.store().store.clone());
    let cold = Limits { states_max: 0, futures_max: 0, ..Limits::default() };
    let core = Core::open(store, registry(), cold, Time(1_000)).unwrap();
    assert_eq!(core.owed().calls, CALLS);
    assert_eq!(core.indexes(), rig.core.indexes(), "all timers are there");
    let asked = std::mem::take(&mut rig.asked);
    let mut rig = Rig { core, ..rig };
    let commit = rig.core.commit().unwrap();
    assert_eq!(commit.iter().filter(|it| matches!(it, Effect::Send(_))).count(), CALLS);
    // Each twice, the one that the row lists last first.
    rig.asked = asked.iter().rev().chain(&asked).cloned().collect();
    rig.answer_all();
    assert_eq!(rig.completed(), 1);
}

/// A saga that is busy is not read again in each of its turns, however many others came later.
#[test]
fn the_state_of_a_busy_old_saga_stays_in_memory() {
    let limits = Limits { states_max: 20, ..Limits::default() };
    let mut rig = Rig::new(limits);
    rig.start("Loops", json!(200));
    rig.now = Time(2_000);
    (0..40).for_each(|_| rig.start("Parked", json!(null)));
    rig.begin();
    rig.answer_all();
    assert_eq!(rig.completed(), 1);
    assert!(rig.cost().journals <= 2, "{:?}", rig.cost());
}

#[test]
fn a_start_reads_one_journal_for_each_saga_that_owes_something_and_no_other() {
    grows_at_most_n_log_n("a start", 50, |sagas| {
        let mut rig = Rig::new(Limits::default());
        (0..sagas).for_each(|_| rig.start("Loops", json!(5)));
        (0..sagas).for_each(|_| rig.start("Parked", json!(null)));
        let store = Counting::over(rig.core.store().store.clone());
        let core = Core::open(store, registry(), Limits::default(), Time(1_000)).unwrap();
        let journals = core.store().journals_read();
        assert_eq!(journals, sagas);
        Cost { written: 0, bytes: 0, read: core.store().rows_read(), journals }
    });
}

mod side_by_side {
    use super::*;
    use crate::{input::Arrival, tests::fixtures::Tracked};

    calls!(HoldsForMany(ctx, keys) {
        let waits = (0..keys).map(|it| ctx.when::<Tracked>(it.to_string()).forever());
        ctx.join_all(waits).await.map(drop)
    });
    calls!(SleepsForMany(ctx, many) {
        let sleeps = (1..=many).map(|it| ctx.sleep(DAY * it));
        ctx.join_all(sleeps).await.map(drop)
    });
    fn rig() -> Rig {
        let mut rig = Rig::new(Limits::default());
        let mut registry = Registry::new("test");
        registry.register::<HoldsForMany>(&()).unwrap();
        registry.register::<SleepsForMany>(&()).unwrap();
        let store = Counting::over(MemoryStore::new(Uuid::from_u128(7)));
        rig.core = Core::open(store, registry, Limits::default(), Time(1_000)).unwrap();
        rig
    }

    #[test]
    fn holds_beside_each_other_cost_as_much_as_there_are() {
        grows_at_most_n_log_n("waits side by side", 200, |keys| {
            let mut rig = rig();
            rig.start("HoldsForMany", json!(keys));
            rig.begin();
            for key in 0..keys {
                let body = json!({ "order": key.to_string(), "status": "sent" });
                rig.input(Input::Arrived(Arrival {
                    ticket: 1,
                    name: "courier.status".to_owned(),
                    id: format!("e{key}"),
                    source: "courier".to_owned(),
                    key: None,
                    body: Payload::of(&body).unwrap(),
                    at: Time(1_000),
                }));
            }
            assert_eq!(rig.completed(), 1);
            rig.cost()
        });
    }

    #[test]
    fn sleeps_beside_each_other_cost_as_much_as_there_are() {
        grows_at_most_n_log_n("sleeps side by side", 200, |many| {
            let mut rig = rig();
            rig.start("SleepsForMany", json!(many));
            rig.begin();
            for _ in 0..many {
                rig.now = rig.core.next_due().unwrap();
                rig.input(Input::tick(rig.now));
            }
            assert_eq!(rig.completed(), 1);
            rig.cost()
        });
    }
}
