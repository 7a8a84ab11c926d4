//! Whose lane it is, as runtime/adr/0011 says: rule 7 where lanes are of many sagas, where a
//! definition is missing for a while, and what one input costs there.

use super::{
    counting::Counting,
    fixtures::{DAY, Paid, Placed, RefundLate, Reserve, Tracked, holds_for, saga, shop},
};
use crate::{
    abort::Abort,
    core::{Core, Limits},
    ctx::Ctx,
    effect::{Outcome, Verdict},
    fold::{Status, fold},
    head::Head,
    id::{SagaId, Time},
    input::{Action, Answer, Arrival, Command, Input},
    payload::Payload,
    saga::{Declared, Late, Registry, Saga, event, events},
    store::{Batch, MemoryStore, Row, Store, Table},
    testing::{Desk, admin},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sold {
    customer: String,
    session: String,
}

/// Holds for the payment of a customer, who may have bought more than once.
struct Sale;
impl Saga for Sale {
    const NAME: &'static str = "Sale";
    type Input = Sold;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Paid>().late(Late::Run("refund"))])
    }
    async fn run(ctx: Ctx, it: Sold) -> Result<(), Abort> {
        ctx.call(Reserve::of(&it.customer)).await?;
        let paid = ctx.when::<Paid>(&it.customer).filter(Paid::session().eq(&it.session));
        paid.within(DAY).await?.ok_or_else(|| Abort::deadline("unpaid"))?;
        Ok(())
    }
}

saga!(
    /// Hears of payments as well.
    Other(ctx) -> () { ctx.sleep(DAY).await }
);

fn sales() -> Registry {
    let mut registry = Registry::new("sales");
    registry.register::<Sale>(&()).unwrap();
    registry.register::<RefundLate>(&()).unwrap();
    registry
}

fn others() -> Registry {
    let mut registry = Registry::new("others");
    registry.register::<Other>(&()).unwrap();
    registry
}

fn with<S: Saga<Settings = ()>>() -> Registry {
    let mut registry = Registry::new("with");
    registry.register::<S>(&()).unwrap();
    registry
}

fn sold(desk: &mut Desk, number: u32) -> SagaId {
    let input = json!({ "customer": "ann", "session": format!("s{number}") });
    desk.start("Sale", &format!("sale {number}"), input)
}

fn paid(desk: &mut Desk, session: &str) -> Outcome {
    desk.event("pay.completed", json!({ "order": "ann", "session": session }))[0].outcome
}

fn refunds(desk: &Desk) -> usize {
    desk.requests().iter().filter(|it| it.subject == "pay.refund").count()
}

fn verdict(desk: &Desk, event: usize) -> Verdict {
    let verdicts = desk.events()[event].identity.clone().unwrap().verdicts;
    let of_others = ["Other", "Ledger"].map(Some);
    verdicts.into_iter().find(|it| !of_others.contains(&it.definition.as_deref())).unwrap()
}

#[test]
fn money_for_a_live_saga_does_not_go_to_the_arm_of_another_on_its_lane() {
    let mut desk = Desk::new(sales());
    sold(&mut desk, 1);
    desk.reply("stock.reserve", Value::Null);
    let two = sold(&mut desk, 2);
    assert_eq!(paid(&mut desk, "s2"), Outcome::Kept);
    assert_eq!(paid(&mut desk, "s1"), Outcome::Consumed);
    assert_eq!(refunds(&desk), 0, "the second one has not come to its hold yet");
    desk.look_at(two);
    desk.reply("stock.reserve", Value::Null);
    assert_eq!((refunds(&desk), desk.status()), (0, Status::Completed));
    assert_eq!(paid(&mut desk, "s3"), Outcome::Late, "nobody lives who may want it");
}

#[test]
fn an_early_event_is_kept_though_another_saga_of_its_lane_has_ended() {
    let mut desk = Desk::new(sales());
    sold(&mut desk, 1);
    desk.reply("stock.reserve", Value::Null);
    paid(&mut desk, "s1");
    sold(&mut desk, 2);
    assert_eq!(paid(&mut desk, "s2"), Outcome::Kept);
    desk.restart();
    desk.reply("stock.reserve", Value::Null);
    assert_eq!((refunds(&desk), desk.status()), (0, Status::Completed));
}

#[test]
fn what_is_left_waits_for_those_that_had_started_before_and_for_no_other() {
    let mut desk = Desk::new(sales());
    let one = sold(&mut desk, 1);
    desk.reply("stock.reserve", Value::Null);
    let two = sold(&mut desk, 2);
    paid(&mut desk, "nobody's");
    desk.look_at(one);
    desk.moved(Action::Terminate);
    assert_eq!(verdict(&desk, 0).outcome, Outcome::Kept, "sale 2 may want it");
    // A third one starts behind it.
    desk.restart();
    sold(&mut desk, 3);
    desk.look_at(two);
    desk.moved(Action::Terminate);
    assert_eq!((verdict(&desk, 0).outcome, refunds(&desk)), (Outcome::Late, 1));
}

#[test]
fn a_lane_of_a_start_key_is_swept_at_once() {
    let mut desk = Desk::new(shop());
    desk.start("order", "o2", json!({ "order": "o2" }));
    let one = desk.start("order", "o1", json!({ "order": "o1" }));
    desk.look_at(one);
    desk.event("pay.completed", json!({ "order": "o1", "session": "other" }));
    desk.moved(Action::Terminate);
    assert_eq!((verdict(&desk, 0).outcome, refunds(&desk)), (Outcome::Late, 1));
}

/// An order that holds for its payment.
fn holding() -> Desk {
    let mut desk = Desk::new(shop());
    desk.start("order", "o1", json!({ "order": "o1" }));
    desk.reply("stock.reserve", Value::Null);
    desk.reply("mail.send", Value::Null);
    desk.reply("pay.open", json!({ "session": "s1" }));
    desk
}

fn cancel(desk: &mut Desk, saga: SagaId) {
    desk.look_at(saga);
    desk.moved(Action::Cancel);
    if desk.head().paused {
        desk.moved(Action::Resume);
    }
    while let Some(id) = desk.requests().into_iter().map(|it| it.id).next() {
        desk.answer(&id, Answer::Ok(Payload::null()));
    }
    assert_eq!(desk.status(), Status::Cancelled);
}

#[test]
fn what_a_saga_leaves_while_its_definition_is_missing_goes_to_its_arm_when_that_is_back() {
    type Pay = fn(&mut Desk);
    // Taken and held while paused; kept for another session; taken without the code.
    let ways: [(Pay, Pay); 4] = [
        (
            |desk| {
                desk.moved(Action::Pause);
                desk.event("pay.completed", json!({ "order": "o1", "session": "s1" }));
            },
            |_| (),
        ),
        (
            |desk| drop(desk.event("pay.completed", json!({ "order": "o1", "session": "s2" }))),
            |_| (),
        ),
        (
            |_| (),
            |desk| drop(desk.event("pay.completed", json!({ "order": "o1", "session": "s1" }))),
        ),
        (|_| (), |_| ()),
    ];
    for (number, (before, meanwhile)) in ways.into_iter().enumerate() {
        let mut desk = holding();
        let saga = desk.saga();
        before(&mut desk);
        desk.deploy(others());
        meanwhile(&mut desk);
        cancel(&mut desk, saga);
        if number == 3 {
            desk.event("pay.completed", json!({ "order": "o1", "session": "s1" }));
        }
        desk.restart();
        desk.wait_s(86_400);
        desk.restart();
        assert_eq!(refunds(&desk), 0);
        desk.deploy(shop());
        desk.restart();
        assert_eq!((verdict(&desk, 0).outcome, refunds(&desk)), (Outcome::Late, 1), "way {number}");
    }
}

/// Hears of payments as well.
struct Ledger;
impl Saga for Ledger {
    const NAME: &'static str = "Ledger";
    type Input = ();
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(ctx: Ctx, (): ()) -> Result<(), Abort> {
        ctx.when::<Paid>("o9").forever().await.map(drop)
    }
}

fn ledger() -> Registry {
    let mut registry = Registry::new("ledger");
    registry.register::<Ledger>(&()).unwrap();
    registry
}

/// Whether it had come to its hold when its definition went missing, or not yet, or had ended:
/// what came meanwhile, and was of use to others, is not lost for it.
#[test]
fn what_came_while_a_definition_was_missing_is_offered_to_it_when_it_is_back() {
    for has_ended in [false, true] {
        let mut desk = Desk::new(shop());
        let saga = desk.start("order", "o1", json!({ "order": "o1" }));
        if has_ended {
            cancel(&mut desk, saga);
        }
        desk.deploy(ledger());
        let seen = desk.event("pay.completed", json!({ "order": "o1", "session": "s1" }));
        assert_eq!(seen[0].definition.as_deref(), Some("Ledger"));
        desk.restart();
        let mut both = shop();
        both.register::<Ledger>(&()).unwrap();
        desk.deploy(both);
        if has_ended {
            assert_eq!(refunds(&desk), 1);
            continue;
        }
        desk.look_at(saga);
        desk.reply("stock.reserve", Value::Null);
        desk.reply("mail.send", Value::Null);
        desk.reply("pay.open", json!({ "session": "s1" }));
        assert_eq!(desk.requests()[0].subject, "courier.book", "it has its payment");
    }
}

/// Holds for money for a day, of either subject.
struct Holds;
impl Saga for Holds {
    const NAME: &'static str = "holds";
    type Input = Placed;
    type Output = String;
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Placed>().starts(), event::<Paid>()])
    }
    async fn run(ctx: Ctx, it: Placed) -> Result<String, Abort> {
        let paid = ctx.when::<Paid>(it.order).within(DAY).await?;
        Ok(paid.map_or("nothing".to_owned(), |it| it.session))
    }
}

/// A version that holds for something else.
struct HoldsNoMore;
impl Saga for HoldsNoMore {
    const NAME: &'static str = "holds";
    const VERSION: u32 = 2;
    type Input = Placed;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Placed>().starts(), event::<Tracked>()])
    }
    async fn run(ctx: Ctx, it: Placed) -> Result<(), Abort> {
        ctx.when::<Tracked>(it.order).within(DAY).await.map(drop)
    }
}

#[test]
fn what_came_in_time_is_taken_though_the_code_was_missing_then_and_at_the_deadline() {
    for meanwhile in [None, Some(others()), Some(with::<HoldsNoMore>())] {
        let mut desk = Desk::new(with::<Holds>());
        desk.event("shop.placed", json!({ "order": "o1" }));
        let (saga, was_linked) = (desk.saga(), meanwhile.is_none());
        meanwhile.into_iter().for_each(|it| desk.deploy(it));
        desk.restart();
        desk.wait_s(3_600);
        for (name, session) in [("pay.failed", "first"), ("pay.completed", "second")] {
            desk.event(name, json!({ "order": "o1", "session": session }));
        }
        desk.wait_s(2 * 86_400);
        desk.look_at(saga);
        if !was_linked {
            desk.deploy(with::<Holds>());
        }
        assert_eq!(desk.head().output.unwrap().to_value(), json!("first"), "{was_linked}");
    }
}

/// The event may be of use to others, which does not count for the older version.
#[test]
fn what_only_an_older_version_declares_is_put_aside_until_that_is_back() {
    let mut desk = Desk::new(with::<Holds>());
    desk.event("shop.placed", json!({ "order": "o1" }));
    let mut newer = ledger();
    newer.register::<HoldsNoMore>(&()).unwrap();
    desk.deploy(newer);
    for session in ["first", "second"] {
        desk.event("pay.completed", json!({ "order": "o1", "session": session }));
    }
    desk.restart();
    desk.deploy(with::<Holds>());
    let outcomes = [1, 2].map(|it| verdict(&desk, it).outcome);
    assert_eq!(outcomes, [Outcome::Consumed, Outcome::Unclaimed]);
}

/// Of several subjects the oldest event is the first, whatever they are called.
#[test]
fn what_came_while_a_definition_was_missing_is_offered_in_the_order_in_which_it_came() {
    struct Either;
    impl Saga for Either {
        const NAME: &'static str = "either";
        type Input = Value;
        type Output = String;
        type Settings = ();
        fn events() -> Vec<Declared> {
            events([event::<Tracked>().starts(), event::<Paid>()])
        }
        async fn run(ctx: Ctx, it: Value) -> Result<String, Abort> {
            let order = it["order"].as_str().unwrap_or_default();
            Ok(ctx.when::<Paid>(order).forever().await?.session)
        }
    }
    for meanwhile in [with::<Either>(), others()] {
        let mut desk = Desk::new(with::<Either>());
        desk.deploy(meanwhile);
        desk.event("courier.status", json!({ "order": "o1" , "status": "booked" }));
        for (name, session) in [("pay.failed", "first"), ("pay.completed", "second")] {
            desk.event(name, json!({ "order": "o1", "session": session }));
        }
        desk.deploy(with::<Either>());
        assert_eq!(desk.head().output.unwrap().to_value(), json!("first"));
    }
}

#[test]
fn a_start_writes_nothing_again_that_every_start_has_written() {
    let mut desk = holding();
    desk.deploy(ledger());
    for number in 0..600 {
        let body = json!({ "order": format!("x{number}"), "session": "s" });
        desk.event("pay.completed", body);
    }
    let store = Counting::over(desk.store().clone());
    let mut core = Core::open(store, ledger(), Limits::default(), desk.now()).unwrap();
    core.commit().unwrap();
    assert_eq!(core.store().rows, 0);
    assert!(core.store().rows_read() < 1_000, "what is kept is counted, and that is all");
}

struct Follows;
impl Saga for Follows {
    const NAME: &'static str = "Follows";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(ctx: Ctx, keys: u32) -> Result<(), Abort> {
        for number in 0..keys {
            ctx.when::<Paid>(format!("key {number}")).forever().await?;
        }
        Ok(())
    }
}

#[test]
fn a_head_does_not_grow_with_the_keys_that_its_saga_has_held_for() {
    let mut desk = Desk::of::<Follows>(&());
    desk.start("Follows", "k", json!(300));
    let mut sizes = Vec::new();
    for number in 0..200 {
        desk.event("pay.completed", json!({ "order": format!("key {number}"), "session": "s" }));
        sizes.push(crate::codec::encode(&desk.head()).unwrap().len());
    }
    assert!(sizes[199] < sizes[0] + 20, "{} bytes, then {}", sizes[0], sizes[199]);
    desk.moved(Action::Terminate);
    let rows = desk.store().all_rows();
    let left = rows.filter(|it| [Table::Holder, Table::Live, Table::Leaving].contains(&it.0.0));
    assert_eq!(left.count(), 0, "nothing of it is live");
}

/// As an older build wrote it: lanes in the heads, and no rows that tell whose they are.
fn older(desk: &Desk) -> MemoryStore {
    let mut store = desk.store().clone();
    let mut rows = Vec::new();
    for ((table, key), value) in desk.store().all_rows() {
        let (table, key) = (*table, key.clone());
        match table {
            Table::Holder | Table::Live | Table::Declared | Table::Leaving | Table::Sweep => {
                rows.push(Row { table, key, value: None });
            }
            Table::Index if key == b"lanes" => rows.push(Row { table, key, value: None }),
            Table::Open | Table::Ended => {
                let head: Head = crate::codec::decode(value).unwrap();
                let lanes = fold(&desk.core().journal(head.id).unwrap()).lanes;
                let mut value: Value = serde_json::from_slice(value).unwrap();
                value["it"]["lanes"] = json!(lanes);
                let value = Some(serde_json::to_vec(&value).unwrap());
                rows.push(Row { table, key, value });
            }
            _ => (),
        }
    }
    store.append(Batch { records: Vec::new(), rows }).unwrap();
    store
}

#[test]
fn the_store_of_an_older_build_is_brought_up_to_date() {
    let mut desk = Desk::new(sales());
    for number in 1..4 {
        sold(&mut desk, number);
        desk.reply("stock.reserve", Value::Null);
    }
    paid(&mut desk, "s2");
    paid(&mut desk, "nobody's");
    let open = |store| Core::open(store, sales(), Limits::default(), desk.now()).unwrap();
    let mut core = open(older(&desk));
    core.commit().unwrap();
    // Where a row was written from is another place in the log.
    let keys = |store: &MemoryStore| -> Vec<(Table, Vec<u8>)> {
        store.all_rows().map(|it| it.0.clone()).filter(|it| it.0 != Table::Ended).collect()
    };
    assert_eq!(keys(core.store()), keys(desk.store()));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Drain {
    takes: u32,
    wants: Option<String>,
}

/// Takes one event of a lane after the other.
struct Drains;
impl Saga for Drains {
    const NAME: &'static str = "Drains";
    type Input = Drain;
    type Output = u32;
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Paid>(), event::<Tracked>().each()])
    }
    async fn run(ctx: Ctx, it: Drain) -> Result<u32, Abort> {
        let mut taken = 0;
        for _ in 0..it.takes {
            let wait = ctx.when::<Paid>("o1");
            let wait = match &it.wants {
                Some(wants) => wait.filter(Paid::session().eq(wants)),
                None => wait,
            };
            taken += u32::from(wait.within(DAY).await?.is_some());
        }
        Ok(taken)
    }
}

/// A core over a store that counts, driven as the host does it.
struct Rig {
    core: Core<Counting>,
    now: Time,
    number: u64,
    /// Records and rows of the largest batch.
    largest: usize,
    /// Inputs that only went on with earlier ones.
    gone_on: usize,
}

impl Rig {
    fn of<S: Saga<Settings = ()>>() -> Rig {
        let mut registry = Registry::new("test");
        registry.register::<S>(&()).unwrap();
        let store = Counting::over(MemoryStore::new(Uuid::from_u128(7)));
        let core = Core::open(store, registry, Limits::default(), Time(1_000)).unwrap();
        Rig { core, now: Time(1_000), number: 0, largest: 0, gone_on: 0 }
    }

    fn input(&mut self, input: Input) {
        self.core.store().forget_reads();
        self.core.handle(self.now, input).unwrap();
        self.largest = self.largest.max(self.core.batch_rows());
        self.core.commit().unwrap();
        assert!(self.core.store().rows_read() < 2_000, "{}", self.core.store().rows_read());
    }

    fn all(&mut self, input: Input) {
        self.input(input);
        while self.core.has_more() {
            self.gone_on += 1;
            self.input(Input::GoOn);
        }
    }

    fn start(&mut self, definition: &str, input: &Value) {
        self.number += 1;
        let (definition, key) = (definition.to_owned(), Some(self.number.to_string()));
        let command = Command::Start { definition, key, input: Payload::of(input).unwrap() };
        self.all(Input::Asked { ticket: 1, actor: admin(), command });
    }

    fn event(&mut self, name: &str, body: &Value) {
        self.number += 1;
        let arrival = Arrival {
            ticket: 1,
            name: name.to_owned(),
            id: format!("e{}", self.number),
            source: "test".to_owned(),
            key: None,
            body: Payload::of(body).unwrap(),
            at: self.now,
        };
        self.all(Input::Arrived(arrival));
    }

    fn heads(&self) -> Vec<Head> {
        let query = crate::core::HeadQuery { limit: usize::MAX, ..Default::default() };
        self.core.heads(&query).unwrap()
    }
}

#[test]
fn a_full_lane_is_taken_in_bounded_steps_and_in_order() {
    let mut rig = Rig::of::<Drains>();
    for _ in 0..1000 {
        rig.event("pay.completed", &json!({ "order": "o1", "session": "s" }));
    }
    assert_eq!(rig.gone_on, 0);
    rig.start("Drains", &json!({ "takes": 1000 }));
    let head = rig.heads().remove(0);
    assert_eq!((head.status, head.output.unwrap().text()), (Status::Completed, "1000"));
    assert!(rig.gone_on >= 7 && rig.largest < 1_000, "{} {}", rig.gone_on, rig.largest);
    let journal = rig.core.journal(head.id).unwrap();
    let places = journal.iter().filter_map(|it| match it.fact {
        crate::journal::Fact::Received { event_at, .. } => Some(event_at),
        _ => None,
    });
    assert!(places.is_sorted(), "the oldest first");
}

#[test]
fn a_wait_looks_at_a_lane_that_is_full_of_others_in_bounded_steps() {
    let mut rig = Rig::of::<Drains>();
    for _ in 0..999 {
        rig.event("pay.completed", &json!({ "order": "o1", "session": "s" }));
    }
    rig.event("pay.completed", &json!({ "order": "o1", "session": "mine" }));
    rig.start("Drains", &json!({ "takes": 1, "wants": "mine" }));
    assert!(rig.gone_on > 6, "{}", rig.gone_on);
    assert_eq!(rig.heads()[0].status, Status::Completed);
}

/// What comes while a wait is on its way through its lane goes behind what came before.
#[test]
fn an_event_does_not_overtake_those_that_its_lane_keeps() {
    let mut rig = Rig::of::<Drains>();
    for _ in 0..400 {
        rig.event("pay.completed", &json!({ "order": "o1", "session": "s" }));
    }
    let command = Command::Start {
        definition: "Drains".to_owned(),
        key: Some("k".to_owned()),
        input: Payload::of(&json!({ "takes": 401 })).unwrap(),
    };
    rig.input(Input::Asked { ticket: 1, actor: admin(), command });
    assert!(rig.core.has_more());
    rig.event("pay.completed", &json!({ "order": "o1", "session": "last" }));
    let head = rig.heads().remove(0);
    assert_eq!(head.status, Status::Completed);
    let journal = rig.core.journal(head.id).unwrap();
    let crate::journal::Fact::Received { body, .. } = &journal.last().unwrap().fact else {
        panic!("an event ends it")
    };
    assert_eq!(body.to_value()["session"], "last");
    // The process ends in the middle, and another one goes on.
    let mut rig = Rig::of::<Drains>();
    for _ in 0..400 {
        rig.event("pay.completed", &json!({ "order": "o1", "session": "s" }));
    }
    let command = Command::Start {
        definition: "Drains".to_owned(),
        key: Some("k".to_owned()),
        input: Payload::of(&json!({ "takes": 400 })).unwrap(),
    };
    rig.input(Input::Asked { ticket: 1, actor: admin(), command });
    let store = Counting::over(rig.core.store().store.clone());
    let registry = rig.core.registry().clone();
    rig.core = Core::open(store, registry, Limits::default(), rig.now).unwrap();
    rig.all(Input::GoOn);
    assert_eq!(rig.heads()[0].status, Status::Completed);
}

/// Holds for many keys at once.
struct Wide;
impl Saga for Wide {
    const NAME: &'static str = "Wide";
    type Input = u32;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        holds_for()
    }
    async fn run(ctx: Ctx, keys: u32) -> Result<(), Abort> {
        let waits = (0..keys).map(|it| ctx.when::<Tracked>(format!("key {it}")).within(DAY));
        ctx.join_all(waits).await?;
        Ok(())
    }
}

#[test]
fn a_saga_that_ends_hands_over_its_lanes_in_bounded_steps_over_a_restart() {
    let mut rig = Rig::of::<Wide>();
    rig.start("Wide", &json!(1_000));
    rig.largest = 0;
    let saga = rig.heads()[0].id;
    let (action, reason) = (Action::Terminate, "enough".to_owned());
    let command = Command::Move { saga, action, reason };
    rig.input(Input::Asked { ticket: 1, actor: admin(), command });
    assert!(rig.core.has_more() && rig.largest < 1_000, "{}", rig.largest);
    let store = Counting::over(rig.core.store().store.clone());
    let registry = rig.core.registry().clone();
    rig.core = Core::open(store, registry, Limits::default(), rig.now).unwrap();
    rig.all(Input::GoOn);
    let count = |table| rig.core.store().store.all_rows().filter(|it| it.0.0 == table).count();
    assert_eq!([Table::Holder, Table::Leaving, Table::Live, Table::Hold].map(count), [0; 4]);
    assert_eq!(count(Table::Claim), 1_000);
}
