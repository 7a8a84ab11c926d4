//! Rows that cannot be read: one saga's set that saga aside, shared ones end the process.

use super::fixtures::shop;
use crate::{
    abort::Abort,
    core::{Core, HeadQuery, Limits},
    ctx::Ctx,
    effect::{Effect, Outcome, Refusal, RefusalKind, Reply, Request, RequestId},
    fold::Status,
    id::{Path, SagaId, TaskId, Time},
    input::{Action, Answer, Answered, Arrival, Command, Decide, Input, Target},
    journal::{Entry, Fact},
    message::Event,
    payload::Payload,
    saga::{Registry, Saga},
    store::{Batch, MemoryStore, Record, Row, Slot, Store, StoreError, Table},
    testing::admin,
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Paid {
    order: String,
}
impl Event for Paid {
    const SUBJECTS: &'static [&'static str] = &["pay.completed"];
    const KEY: &'static str = "/order";
}

/// A core without a desk, which would read every row after each input.
struct Rig {
    core: Core<MemoryStore>,
    asked: Vec<Request>,
    tickets: u64,
}

impl Rig {
    fn over(store: MemoryStore) -> Result<Rig, StoreError> {
        let core = Core::open(store, shop(), Limits::default(), Time(1_000));
        let core = core.map_err(|err| StoreError::failed("open", err.to_string()))?;
        let mut rig = Rig { core, asked: Vec::new(), tickets: 0 };
        rig.commit();
        rig.go_on();
        Ok(rig)
    }

    /// With one definition. No event has the id of one before.
    fn of<S: Saga<Settings = ()>>(store: MemoryStore, limits: Limits) -> Rig {
        let mut registry = Registry::new("test");
        registry.register::<S>(&()).unwrap();
        let tickets = store.position() * 10;
        let core = Core::open(store, registry, limits, Time(1_000)).unwrap();
        let mut rig = Rig { core, asked: Vec::new(), tickets };
        rig.commit();
        rig
    }

    fn go_on(&mut self) {
        while self.core.has_more() {
            self.input(Input::GoOn);
        }
    }

    /// Starts a saga, the only one.
    fn begins<S: Saga>(&mut self) -> SagaId {
        let (definition, key) = (S::NAME.to_owned(), Some("k1".to_owned()));
        let input = Payload::of(&Value::Null).unwrap();
        self.asks(Command::Start { definition, key, input }).unwrap();
        self.saga()
    }

    fn saga(&self) -> SagaId {
        let query = HeadQuery { limit: 1, ..HeadQuery::default() };
        self.core.heads(&query).unwrap()[0].id
    }

    fn commit(&mut self) -> Vec<Effect> {
        let effects = self.core.commit().unwrap();
        for effect in &effects {
            if let Effect::Send(it) = effect {
                self.asked.push(it.clone());
            }
        }
        effects
    }

    fn input(&mut self, input: Input) -> Vec<Effect> {
        self.core.handle(Time(1_000), input).unwrap();
        self.commit()
    }

    fn placed(&mut self, order: &str) -> SagaId {
        self.event("shop.placed", json!({ "order": order }));
        let query = HeadQuery { key: Some(order.to_owned()), limit: 1, ..HeadQuery::default() };
        self.core.heads(&query).unwrap()[0].id
    }

    fn event(&mut self, name: &str, body: Value) -> Outcome {
        self.tickets += 1;
        let arrival = Arrival {
            ticket: self.tickets,
            name: name.to_owned(),
            id: format!("e{}", self.tickets),
            source: "shop".to_owned(),
            key: None,
            body: Payload::of(&body).unwrap(),
            at: Time(1_000),
        };
        let effects = self.input(Input::Arrived(arrival));
        let verdicts = effects.into_iter().find_map(|it| match it {
            Effect::Ack { verdicts, .. } => Some(verdicts),
            _ => None,
        });
        verdicts.unwrap()[0].outcome
    }

    /// Answers the oldest request of a saga.
    fn reply(&mut self, saga: SagaId) {
        let at = self.asked.iter().position(|it| it.id.saga == saga).expect("a request");
        let Request { id: RequestId { saga, step, is_undo }, subject, .. } = self.asked.remove(at);
        let body = match subject.as_str() {
            "pay.open" => json!({ "session": "s1" }),
            _ => Value::Null,
        };
        let answer = Answer::Ok(Payload::of(&body).unwrap());
        self.input(Input::Answered(Answered { saga, epoch: 0, step, is_undo, answer }));
    }

    fn moves(&mut self, saga: SagaId, action: Action) -> Result<Reply, Refusal> {
        self.asks(Command::Move { saga, action, reason: "why".to_owned() })
    }

    fn asks(&mut self, command: Command) -> Result<Reply, Refusal> {
        self.tickets += 1;
        let asked = Input::Asked { ticket: self.tickets, actor: admin(), command };
        let reply = self.input(asked).into_iter().find_map(|it| match it {
            Effect::Answer { reply, .. } => Some(reply),
            _ => None,
        });
        reply.unwrap()
    }

    fn reason(&self, saga: SagaId) -> Option<String> {
        self.core.head(saga).unwrap().unwrap().reason
    }
}

/// An entry that says nothing; the journal of a saga keeps its length.
fn spoil_entry(store: &mut MemoryStore, saga: SagaId, seq: u32) -> Record {
    let old = store.entry(saga, seq).unwrap().unwrap();
    let (position, slot) = (store.position() + 1, Slot::Entry { saga, seq });
    let record = |bytes: &[u8], position| Record { position, slot, bytes: bytes.to_vec() };
    let spoilt = record(br#"{"v":1,"it":{"at":"ada@example.com"}}"#, position);
    store.append(Batch { records: vec![spoilt], rows: Vec::new() }).unwrap();
    record(&old.bytes, position + 1)
}

/// Its store, in which the entry can be read again.
fn mended(rig: Rig, old: Record) -> MemoryStore {
    let mut store = rig.core.store().clone();
    mend(&mut store, old);
    store
}

fn mend(store: &mut MemoryStore, old: Record) {
    let record = Record { position: store.position() + 1, ..old };
    store.append(Batch { records: vec![record], rows: Vec::new() }).unwrap();
}

fn spoil_row(store: &mut MemoryStore, table: Table, key: &[u8]) {
    let row = Row { table, key: key.to_vec(), value: Some(b"{\"v\":1,\"it\":[]}".to_vec()) };
    store.append(Batch { records: Vec::new(), rows: vec![row] }).unwrap();
}

fn two_orders() -> (Rig, [SagaId; 2]) {
    let mut rig = Rig::over(MemoryStore::new(Uuid::from_u128(7))).unwrap();
    let sagas = ["o1", "o2"].map(|order| rig.placed(order));
    for saga in sagas {
        // Until it waits for its payment.
        (0..3).for_each(|_| rig.reply(saga));
    }
    (rig, sagas)
}

#[test]
fn a_saga_whose_journal_cannot_be_read_is_set_aside_and_its_others_go_on() {
    let (rig, [bad, good]) = two_orders();
    let mut store = rig.core.store().clone();
    let mended = spoil_entry(&mut store, bad, 2);
    let mut rig = Rig::over(store).unwrap();
    let paid = |order: &str| json!({ "order": order, "session": "s1" });
    assert_eq!(rig.event("pay.completed", paid("o1")), Outcome::Kept, "for when it is back");
    assert_eq!(rig.event("pay.completed", paid("o2")), Outcome::Consumed);
    let reason = rig.reason(bad).unwrap();
    assert!(reason.starts_with("set aside: entry 2 at position"), "{reason}");
    assert!(!reason.contains("ada@"), "{reason}");
    let query = HeadQuery { limit: 9, status: Some(Status::Attention), ..HeadQuery::default() };
    let shown = rig.core.heads(&query).unwrap();
    assert_eq!(shown.iter().map(|it| (it.id, it.key.as_str())).collect::<Vec<_>>(), [(bad, "o1")]);
    for action in [Action::Cancel, Action::Retry, Action::Terminate] {
        let refusal = rig.moves(bad, action).unwrap_err();
        assert_eq!((refusal.kind, &refusal.detail), (RefusalKind::Conflict, &reason));
    }
    let decide = |saga| {
        let target = Target::Task(TaskId { saga, step: Path::root() });
        Command::Decide(Decide { target, approved: true, reason: None, seen: None })
    };
    let [of_bad, of_good] = [bad, good].map(|it| rig.asks(decide(it)).unwrap_err().kind);
    assert_eq!((of_bad, of_good), (RefusalKind::Conflict, RefusalKind::NotFound));
    rig.reply(good);
    // Mended while the process is down, it takes at once what was kept for it; while the process
    // runs, a retry does it.
    let mend = |store: &mut MemoryStore| {
        let record = Record { position: store.position() + 1, ..mended.clone() };
        store.append(Batch { records: vec![record], rows: Vec::new() }).unwrap();
    };
    let mut store = rig.core.store().clone();
    mend(&mut store);
    let other = Rig::over(store).unwrap();
    let status = |rig: &Rig| rig.core.head(bad).unwrap().unwrap().status;
    assert_eq!((status(&other), other.reason(bad)), (Status::Running, None));
    mend(rig.core.store_mut());
    rig.moves(bad, Action::Retry).ok();
    assert_eq!((status(&rig), rig.reason(bad)), (Status::Running, None));
}

/// A head is a fold of its journal: it is made anew.
#[test]
fn a_head_that_cannot_be_read_is_made_from_its_journal() {
    let (rig, [bad, _]) = two_orders();
    let mut store = rig.core.store().clone();
    let head = rig.core.head(bad).unwrap();
    spoil_row(&mut store, Table::Open, bad.as_bytes());
    let mut rig = Rig::over(store).unwrap();
    assert_eq!(rig.core.head(bad).unwrap(), head);
    let paid = json!({ "order": "o1", "session": "s1" });
    assert_eq!(rig.event("pay.completed", paid), Outcome::Consumed);
    // And one that rots while the process runs.
    let mut store = rig.core.store().clone();
    spoil_row(&mut store, Table::Ended, bad.as_bytes());
    assert!(Rig::over(store).is_ok());
}

#[test]
fn a_saga_of_which_nothing_can_be_read_is_shown_by_its_id() {
    let (rig, [bad, good]) = two_orders();
    let mut store = rig.core.store().clone();
    spoil_row(&mut store, Table::Open, bad.as_bytes());
    (0..4).for_each(|seq| drop(spoil_entry(&mut store, bad, seq)));
    let mut rig = Rig::over(store).unwrap();
    let head = rig.core.head(bad).unwrap().unwrap();
    assert_eq!((head.status, head.definition.as_str()), (Status::Attention, "unreadable"));
    assert!(head.reason.unwrap().starts_with("set aside: "));
    let all = rig.core.heads(&HeadQuery { limit: 9, ..HeadQuery::default() }).unwrap();
    assert_eq!(all.len(), 2, "lists go on");
    rig.event("pay.completed", json!({ "order": "o2", "session": "s1" }));
    assert_eq!(rig.core.head(good).unwrap().unwrap().status, Status::Running);
}

/// What several sagas share may not be guessed.
#[test]
fn a_shared_row_that_cannot_be_read_stops_the_process_with_its_place() {
    let (rig, _) = two_orders();
    let mut store = rig.core.store().clone();
    let scan = crate::store::Scan {
        table: Table::StartKey,
        prefix: &[],
        beyond: None,
        is_backward: false,
        limit: usize::MAX,
    };
    for (key, _) in store.rows(&scan).unwrap() {
        spoil_row(&mut store, Table::StartKey, &key);
    }
    let mut rig = Rig::over(store).unwrap();
    let arrival = Arrival {
        ticket: 1,
        name: "shop.placed".to_owned(),
        id: "again".to_owned(),
        source: "shop".to_owned(),
        key: None,
        body: Payload::of(&json!({ "order": "o1" })).unwrap(),
        at: Time(1_000),
    };
    let err = rig.core.handle(Time(1_000), Input::Arrived(arrival)).unwrap_err();
    assert!(err.is_damage() && err.reason.starts_with("a row of StartKey, key "), "{err}");
}

/// No call is sent again that was first sent more than 30 days ago, also of a saga that was set
/// aside: its services may have forgotten the key.
#[test]
fn what_is_older_than_thirty_days_is_not_sent_when_a_saga_that_was_set_aside_is_tried_again() {
    let mut rig = Rig::over(MemoryStore::new(Uuid::from_u128(7))).unwrap();
    let bad = rig.placed("o1");
    assert_eq!(rig.asked[0].subject, "stock.reserve");
    let mut store = rig.core.store().clone();
    let mended = spoil_entry(&mut store, bad, 0);
    let mut rig = Rig::over(store).unwrap();
    assert!(rig.asked.is_empty() && rig.reason(bad).is_some());
    // A build that reads it comes 40 days later.
    let record = Record { position: rig.core.store().position() + 1, ..mended };
    rig.core.store_mut().append(Batch { records: vec![record], rows: Vec::new() }).unwrap();
    let later = Time(1_000 + 40 * 24 * 3_600_000);
    let command = Command::Move { saga: bad, action: Action::Pause, reason: "why".to_owned() };
    let retry = Command::Move { saga: bad, action: Action::Retry, reason: "why".to_owned() };
    for command in [retry, command] {
        let asked = Input::Asked { ticket: 1, actor: admin(), command };
        rig.core.handle(later, asked).unwrap();
        rig.commit();
    }
    let sent: Vec<&str> = rig.asked.iter().map(|it| it.subject.as_str()).collect();
    assert_eq!(sent, [""; 0], "after 40 days its service may reserve a second time");
}

mod shared_names {
    use super::*;
    use crate::saga::{Declared, event, events};

    /// Starts from a payment, and holds for a second one of the same name.
    struct TwoParts;
    impl Saga for TwoParts {
        const NAME: &'static str = "TwoParts";
        type Input = Value;
        type Output = String;
        type Settings = ();
        fn events() -> Vec<Declared> {
            events([event::<Paid>().starts()])
        }
        async fn run(ctx: Ctx, _: Value) -> Result<String, Abort> {
            let second = ctx.when::<Paid>("o1").forever().await?;
            Ok(second.order)
        }
    }

    /// Everybody who holds for it gets a copy.
    struct Copied;
    impl Saga for Copied {
        const NAME: &'static str = "Copied";
        type Input = Value;
        type Output = String;
        type Settings = ();
        fn events() -> Vec<Declared> {
            events([event::<Paid>().each()])
        }
        async fn run(ctx: Ctx, _: Value) -> Result<String, Abort> {
            Ok(ctx.when::<Paid>("o1").forever().await?.order)
        }
    }

    fn over<S: Saga<Settings = ()>>(store: MemoryStore) -> Rig {
        let mut rig = Rig::of::<S>(store, Limits::default());
        rig.go_on();
        rig
    }

    /// What is meant for it is kept for it.
    #[test]
    fn a_second_event_of_the_starting_name_is_kept_for_a_saga_that_is_set_aside() {
        let paid = || json!({ "order": "o1" });
        let mut rig = over::<TwoParts>(MemoryStore::new(Uuid::from_u128(7)));
        assert_eq!(rig.event("pay.completed", paid()), Outcome::Started);
        let bad = rig.saga();
        let mut store = rig.core.store().clone();
        let old = spoil_entry(&mut store, bad, 0);
        let mut rig = over::<TwoParts>(store);
        rig.tickets = 200;
        let told = rig.event("pay.completed", paid());
        let rig = over::<TwoParts>(mended(rig, old));
        let status = rig.core.head(bad).unwrap().unwrap().status;
        assert_eq!(
            (told, status),
            (Outcome::Kept, Status::Completed),
            "the money was meant for it"
        );
    }

    #[test]
    fn a_copy_is_kept_for_a_saga_that_is_set_aside() {
        let mut rig = over::<Copied>(MemoryStore::new(Uuid::from_u128(7)));
        let (definition, key) = ("Copied".to_owned(), Some("k1".to_owned()));
        let input = Payload::of(&Value::Null).unwrap();
        rig.asks(Command::Start { definition, key, input }).unwrap();
        let bad = rig.saga();
        for action in [Action::Pause, Action::Resume] {
            let reason = "why".to_owned();
            rig.asks(Command::Move { saga: bad, action, reason }).unwrap();
        }
        let mut store = rig.core.store().clone();
        let old = spoil_entry(&mut store, bad, 2);
        let mut rig = over::<Copied>(store);
        let told = rig.event("pay.completed", json!({ "order": "o1" }));
        let rig = over::<Copied>(mended(rig, old));
        let status = rig.core.head(bad).unwrap().unwrap().status;
        assert_eq!(status, Status::Completed, "{told:?}: it held for it, and its row is mended");
    }
}

/// Copies for a saga that is set aside.
mod copies {
    use super::*;
    use crate::{
        filter::Field,
        saga::{Declared, event, events},
    };

    /// Holds for forty orders.
    struct Many;
    impl Saga for Many {
        const NAME: &'static str = "Many";
        type Input = Value;
        type Output = usize;
        type Settings = ();
        fn events() -> Vec<Declared> {
            events([event::<Paid>().each()])
        }
        async fn run(ctx: Ctx, _: Value) -> Result<usize, Abort> {
            let waits = (0..40).map(|it| ctx.when::<Paid>(&format!("o{it}")).forever());
            Ok(ctx.race_all(waits.collect::<Vec<_>>()).await?.0)
        }
    }

    /// Takes every copy, first one in which a session stands.
    struct Listens;
    impl Saga for Listens {
        const NAME: &'static str = "Listens";
        type Input = Value;
        type Output = String;
        type Settings = ();
        fn events() -> Vec<Declared> {
            events([event::<Paid>().each()])
        }
        async fn run(ctx: Ctx, _: Value) -> Result<String, Abort> {
            let of_session = Field::<Paid, String>::at("/session").eq(&"s".to_owned());
            ctx.when::<Paid>("o1").filter(of_session).forever().await?;
            loop {
                ctx.when::<Paid>("o1").forever().await?;
            }
        }
    }

    fn over<S: Saga<Settings = ()>>(store: MemoryStore) -> Rig {
        let mut rig = Rig::of::<S>(store, Limits { lane_events_max: 10, ..Limits::default() });
        rig.go_on();
        rig
    }

    /// A saga that is set aside, as an entry cannot be read; and what the entry was.
    fn set_aside<S: Saga<Settings = ()>>(seq: u32) -> (Rig, SagaId, Record) {
        let mut rig = over::<S>(MemoryStore::new(Uuid::from_u128(7)));
        let saga = rig.begins::<S>();
        for action in [Action::Pause, Action::Resume] {
            rig.moves(saga, action).unwrap();
        }
        let mut store = rig.core.store().clone();
        let old = spoil_entry(&mut store, saga, seq);
        (over::<S>(store), saga, old)
    }

    fn paid(rig: &mut Rig, order: &str, session: &str) -> Outcome {
        let told = rig.event("pay.completed", json!({ "order": order, "session": session }));
        rig.go_on();
        told
    }

    /// Also for the waits that its row does not list, whichever entry cannot be read.
    #[test]
    fn a_copy_is_kept_for_each_wait_of_a_saga_that_is_set_aside() {
        let told = |order: &str, seq| paid(&mut set_aside::<Many>(seq).0, order, "s");
        assert_eq!([told("o3", 0), told("o39", 0)], [Outcome::Kept; 2], "they were opened there");
        for order in ["o3", "o39"] {
            let (mut rig, bad, old) = set_aside::<Many>(2);
            let told = paid(&mut rig, order, "s");
            // It is set aside for a while.
            let mut store = over::<Many>(rig.core.store().clone()).core.store().clone();
            mend(&mut store, old);
            let rig = over::<Many>(store);
            let status = rig.core.head(bad).unwrap().unwrap().status;
            assert_eq!((told, status), (Outcome::Kept, Status::Completed), "{order}");
        }
    }

    /// What it missed it gets when an operator wants it tried again, all of it, in order: also what
    /// it would have come to hold for.
    #[test]
    fn a_saga_that_is_back_gets_all_copies_that_it_missed_before_newer_ones() {
        for is_restarted in [false, true] {
            let (mut rig, bad, old) = set_aside::<Listens>(2);
            assert_eq!(paid(&mut rig, "o1", "other"), Outcome::Unclaimed);
            assert_eq!(paid(&mut rig, "o1", "s"), Outcome::Kept);
            for _ in 0..15 {
                assert_eq!(paid(&mut rig, "o1", "other"), Outcome::Kept);
            }
            assert_eq!(paid(&mut rig, "o2", "s"), Outcome::Unclaimed, "nobody's lane");
            if is_restarted {
                rig = over::<Listens>(rig.core.store().clone());
                assert_eq!(paid(&mut rig, "o1", "other"), Outcome::Kept);
            }
            mend(rig.core.store_mut(), old);
            rig.moves(bad, Action::Retry).ok();
            rig.go_on();
            let told = paid(&mut rig, "o1", "newer");
            assert_eq!(told, Outcome::Consumed);
            let taken: Vec<u64> =
                rig.core.journal(bad).unwrap().iter().filter_map(event_of).collect();
            assert_eq!(taken.len(), if is_restarted { 18 } else { 17 });
            assert!(taken.is_sorted(), "{taken:?}");
            for position in taken {
                let identity = rig.core.event(position).unwrap().unwrap().identity.unwrap();
                assert_eq!(identity.verdicts[0].outcome, Outcome::Consumed);
            }
        }
    }

    fn event_of(entry: &Entry) -> Option<u64> {
        match &entry.fact {
            Fact::Received { event_at, .. } => Some(*event_at),
            _ => None,
        }
    }

    /// So many that whoever reads them has enough with them; what is more says so.
    #[test]
    fn no_more_than_a_thousand_copies_are_kept_for_sagas_that_are_set_aside() {
        let (mut rig, bad, old) = set_aside::<Listens>(2);
        for _ in 0..1_000 {
            assert_eq!(paid(&mut rig, "o1", "s"), Outcome::Kept);
        }
        assert_eq!(paid(&mut rig, "o1", "s"), Outcome::DeadLetter);
        mend(rig.core.store_mut(), old);
        rig.moves(bad, Action::Retry).ok();
        rig.go_on();
        assert_eq!(rig.core.journal(bad).unwrap().iter().filter_map(event_of).count(), 1_000);
    }
}

/// A saga that is set aside between two pieces of what goes back.
mod between_pieces {
    use super::*;
    use crate::{
        saga::{Declared, event, events},
        tests::fixtures::Tracked,
    };

    struct Gathers;
    impl Saga for Gathers {
        const NAME: &'static str = "Gathers";
        type Input = Value;
        type Output = ();
        type Settings = ();
        fn events() -> Vec<Declared> {
            events([event::<Tracked>()])
        }
        async fn run(ctx: Ctx, _: Value) -> Result<(), Abort> {
            let sign = |it: u32| ctx.when::<Tracked>(&it.to_string()).forever();
            ctx.join_all((0..200).map(sign).collect::<Vec<_>>()).await.map(drop)
        }
    }

    /// Its rows can be read again, and an operator wants it tried again: it goes on where it was.
    #[test]
    fn a_saga_that_is_back_goes_on_giving_back_or_being_told() {
        for action in [Action::Cancel, Action::Terminate, Action::Resume] {
            for is_spoilt in [false, true] {
                let limits = Limits { states_max: 0, ..Limits::default() };
                let mut rig = Rig::of::<Gathers>(MemoryStore::new(Uuid::from_u128(7)), limits);
                let saga = rig.begins::<Gathers>();
                rig.moves(saga, Action::Pause).unwrap();
                for it in 0..200 {
                    let body = json!({ "order": it.to_string(), "status": "ok" });
                    rig.event("courier.status", body);
                }
                rig.moves(saga, action).unwrap();
                assert!(rig.core.has_more(), "{action:?}");
                if is_spoilt {
                    let old = spoil_entry(rig.core.store_mut(), saga, 190);
                    rig.go_on();
                    let status = rig.core.head(saga).unwrap().unwrap().status;
                    assert_eq!(status, Status::Attention, "{action:?}: it is set aside");
                    mend(rig.core.store_mut(), old);
                    // It is tried again, whatever the answer: nothing of it has failed.
                    _ = rig.moves(saga, Action::Retry);
                }
                rig.go_on();
                let status = rig.core.head(saga).unwrap().unwrap().status;
                let ends = match action {
                    Action::Cancel => Status::Cancelled,
                    Action::Terminate => Status::Terminated,
                    _ => Status::Completed,
                };
                assert_eq!(status, ends, "{action:?} {is_spoilt}");
            }
        }
    }
}
