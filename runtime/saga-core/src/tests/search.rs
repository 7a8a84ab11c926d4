//! Rule 34: sagas are found by personal fields, and no key of the store tells one. Age bounds what
//! a list looks at.

use super::{counting::Counting, fixtures::saga};
use crate::{
    abort::Abort,
    core::{Core, HeadQuery, Limits},
    ctx::Ctx,
    id::{SagaId, Time},
    input::{Action, Actor, Arrival, Command, Input, Role},
    message::Event,
    payload::Payload,
    saga::{Declared, Late, LateInput, Registry, RegistryError, Saga, event, events},
    search::{SEARCH_KEY_BYTES, SearchKey},
    store::{Batch, MemoryStore, Row, Store, Table},
    testing::Desk,
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Bought {
    order: String,
}
impl Event for Bought {
    const SUBJECTS: &'static [&'static str] = &["shop.bought"];
    const KEY: &'static str = "/order";
}
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Sent {}
impl Event for Sent {
    const SUBJECTS: &'static [&'static str] = &["shop.sent"];
    const KEY: &'static str = "/order";
}

/// Declares a definition that holds for what is sent.
macro_rules! sells {
    ($name:ident, $events:expr) => {
        struct $name;
        impl Saga for $name {
            const NAME: &'static str = stringify!($name);
            type Input = Bought;
            type Output = ();
            type Settings = ();
            fn events() -> Vec<Declared> {
                events($events)
            }
            async fn run(ctx: Ctx, it: Bought) -> Result<(), Abort> {
                ctx.when::<Sent>(&it.order).forever().await?;
                Ok(())
            }
        }
    };
}
sells!(
    Sale,
    [
        event::<Bought>().starts().found_by("/customer/email").found_by("/phone"),
        event::<Sent>().late(Late::Run("AfterSale"))
    ]
);

struct AfterSale;
impl Saga for AfterSale {
    const NAME: &'static str = "AfterSale";
    type Input = LateInput;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        Vec::new()
    }
    async fn run(ctx: Ctx, _: LateInput) -> Result<(), Abort> {
        Ok(ctx.call(super::fixtures::Mail::of("o1")).await?)
    }
}

fn registry() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<Sale>(&()).unwrap();
    registry.register::<AfterSale>(&()).unwrap();
    registry
}

fn bought(order: &str, email: &str) -> Value {
    json!({ "order": order, "customer": { "email": email }, "phone": 4711 })
}

fn find<S: Store>(core: &Core<S>, search: &str) -> Vec<String> {
    let query = HeadQuery { search: Some(search.to_owned()), limit: 10, ..HeadQuery::default() };
    core.heads(&query).unwrap().into_iter().map(|it| it.key).collect()
}

fn shop() -> Desk {
    let mut desk = Desk::new(registry());
    desk.event("shop.bought", bought("o1", "Ann.Bee@Example.com"));
    desk.wait_s(1);
    desk.event("shop.bought", bought("o2", "bob@example.com"));
    desk.wait_s(1);
    desk.start("Sale", "o3", bought("o3", " ann.bee@example.COM "));
    desk
}

#[test]
fn a_saga_is_found_by_mail_in_any_case_open_or_ended_and_after_a_restart() {
    let mut desk = shop();
    let all = ["ann.bee@example.com", "ANN.BEE@EXAMPLE.COM", "  Ann.Bee@example.com\t"];
    for _ in 0..2 {
        for mail in all {
            assert_eq!(find(desk.core(), mail), ["o3", "o1"], "newest first: {mail}");
        }
        assert_eq!(find(desk.core(), "4711"), ["o3", "o2", "o1"], "a number is found by its text");
        desk.restart();
    }
    desk.event("shop.sent", json!({ "order": "o1" }));
    let ended = desk.core().heads(&HeadQuery { limit: 9, ..HeadQuery::default() }).unwrap();
    assert!(ended.iter().any(|it| it.key == "o1" && it.ended_at.is_some()), "o1 has ended");
    assert_eq!(find(desk.core(), all[0]), ["o3", "o1"], "an ended saga is found as well");
    for nobody in ["ann.bee@example.org", "ann.bee", "", " ", "@", "null"] {
        assert_eq!(find(desk.core(), nobody), [""; 0], "{nobody:?}");
    }
}

#[test]
fn a_search_also_finds_by_id_and_by_business_key_and_all_filters_hold_together() {
    let mut desk = shop();
    let id = desk.head().id;
    assert_eq!(find(desk.core(), &id.to_string()), ["o3"]);
    assert_eq!(find(desk.core(), &format!(" {} ", id.to_string().to_uppercase())), ["o3"]);
    assert_eq!(find(desk.core(), "o2"), ["o2"]);
    assert_eq!(find(desk.core(), "O2"), [""; 0], "a business key is compared as it is");
    desk.event("shop.sent", json!({ "order": "o3" }));
    let search = Some("ann.bee@example.com".to_owned());
    let query = HeadQuery { search, limit: 10, ..HeadQuery::default() };
    let find = |query: HeadQuery| -> Vec<String> {
        desk.core().heads(&query).unwrap().into_iter().map(|it| it.key).collect()
    };
    let status = Some(crate::fold::Status::Completed);
    assert_eq!(find(HeadQuery { status, ..query.clone() }), ["o3"]);
    assert_eq!(find(HeadQuery { key: Some("o1".to_owned()), ..query.clone() }), ["o1"]);
    let definition = Some("AfterSale".to_owned());
    assert_eq!(find(HeadQuery { definition, ..query.clone() }), [""; 0]);
    assert_eq!(find(HeadQuery { before: Some(id), ..query.clone() }), ["o1"]);
    let id = Some(id.to_string());
    assert_eq!(find(HeadQuery { search: id, key: Some("o1".to_owned()), ..query }), [""; 0]);
}

#[test]
fn no_key_of_any_table_holds_a_personal_field_in_clear_or_in_a_plain_hash() {
    use sha2::{Digest, Sha256};
    let mut desk = shop();
    desk.event("shop.sent", json!({ "order": "o1" }));
    desk.event("shop.sent", json!({ "order": "o1" }));
    let found = desk.store().all_rows().filter(|((table, _), _)| *table == Table::Found).count();
    assert_eq!(found, 3 * 2 + 2, "each saga, and the late arm, by its mail and its phone");
    let mails = ["ann.bee@example.com", "Ann.Bee@Example.com", "bob@example.com", "4711"];
    for ((table, key), _) in desk.store().all_rows() {
        let text = String::from_utf8_lossy(key).to_lowercase();
        for mail in mails {
            assert!(!text.contains(&mail.to_lowercase()), "{table:?}: {text}");
            let plain = Sha256::digest(mail.to_lowercase().as_bytes());
            let short = crate::id::short_hash(&[&mail.to_lowercase()]);
            for hash in [&plain[..16], &short[..]] {
                assert!(!key.windows(16).any(|it| it == hash), "{table:?} can be tried out");
            }
        }
    }
}

#[test]
fn a_late_arm_is_found_by_the_mail_of_its_order_and_by_the_time_of_its_own_start() {
    let mut desk = shop();
    desk.event("shop.sent", json!({ "order": "o1" }));
    desk.wait_s(3598);
    let later = desk.now();
    desk.event("shop.sent", json!({ "order": "o1" }));
    let arm = desk.head();
    assert_eq!((arm.definition.as_str(), arm.started_at), ("AfterSale", later));
    assert!(arm.id.time() < later, "its id tells the time of the saga that ended");
    assert_eq!(find(desk.core(), "ann.bee@example.com"), ["o3", "o1", "o1"]);
    let between = |from: Option<Time>, before: Option<Time>| -> Vec<String> {
        let ages = HeadQuery { started_from: from, started_before: before, ..HeadQuery::default() };
        let heads = desk.core().heads(&HeadQuery { limit: 10, ..ages }).unwrap();
        heads.into_iter().map(|it| format!("{} {}", it.definition, it.key)).collect()
    };
    let old = ["Sale o3", "Sale o2", "Sale o1"];
    let opened = Time(later.0 - 3_600_000);
    assert_eq!(between(Some(later), None), ["AfterSale o1"]);
    assert_eq!(between(None, Some(later)), old);
    assert_eq!(between(Some(opened), Some(later)), old);
    assert_eq!(between(Some(opened), None).len(), 4);
    assert_eq!(between(Some(later.after_ms(1)), None), [""; 0]);
    assert_eq!(between(Some(later), Some(later)), [""; 0]);
    assert_eq!(between(None, Some(Time(0))), [""; 0]);
    assert_eq!(between(Some(Time::NEVER), Some(Time::NEVER)), [""; 0]);
}

fn start<S: Store>(core: &mut Core<S>, number: u64) {
    let actor = Actor { name: "ann".to_owned(), role: Role::Operator };
    let mail = format!("c{}@example.com", number % 10);
    let (key, input) = (Some(format!("k{number}")), bought(&format!("k{number}"), &mail));
    let (definition, input) = ("Sale".to_owned(), Payload::of(&input).unwrap());
    let command = Command::Start { definition, key, input };
    core.handle(Time(1_000_000 + number), Input::Asked { ticket: number, actor, command }).unwrap();
}

fn many(count: u64) -> Core<Counting> {
    let store = Counting::over(MemoryStore::new(Uuid::from_u128(7)));
    let mut core = Core::open(store, registry(), Limits::default(), Time(0)).unwrap();
    (0..count).for_each(|number| start(&mut core, number));
    core.commit().unwrap();
    core
}

#[test]
fn age_and_search_bound_what_is_looked_at() {
    let core = many(3_000);
    let cost = |query: HeadQuery| {
        core.store().forget_reads();
        let found = core.heads(&HeadQuery { limit: 1_000, ..query }).unwrap().len();
        (found, core.store().rows_read())
    };
    let from = Some(Time(1_000_100));
    let before = Some(Time(1_000_110));
    let old = HeadQuery { started_from: from, started_before: before, ..HeadQuery::default() };
    let (found, rows) = cost(old);
    assert!(found == 10 && rows < 600, "{found} found, {rows} rows looked at");
    let new = HeadQuery { started_from: Some(Time(1_002_995)), ..HeadQuery::default() };
    let (found, rows) = cost(new);
    assert!(found == 5 && rows < 600, "{found} found, {rows} rows looked at");
    let page = HeadQuery { limit: 20, ..HeadQuery::default() };
    core.store().forget_reads();
    assert_eq!(core.page(&page).unwrap().heads.len(), 20);
    let rows = core.store().rows_read();
    assert!(rows <= 20, "{rows} rows looked at for a page of 20 sagas, none of which has ended");
    let search = |it: &str| HeadQuery { search: Some(it.to_owned()), ..HeadQuery::default() };
    let (found, rows) = cost(search("C7@example.com"));
    assert!(found == 300 && rows < 1_000, "{found} found, {rows} rows looked at");
    let (found, rows) = cost(search("nobody@example.com"));
    assert!(found == 0 && rows < 5, "{found} found, {rows} rows looked at");
}

#[test]
fn one_look_is_bounded_whatever_fits_and_looks_follow_each_other_without_a_gap() {
    let core = many(2_000);
    let mut query = HeadQuery { key: None, limit: 50, ..HeadQuery::default() };
    query.started_from = Some(Time(0));
    query.definition = Some("nobody's".to_owned());
    let mut looks = 0;
    loop {
        core.store().forget_reads();
        let page = core.page(&query).unwrap();
        assert!(core.store().rows_read() <= 600, "{} rows in one look", core.store().rows_read());
        assert!(page.heads.is_empty());
        looks += 1;
        query.before = page.next;
        if query.before.is_none() {
            break;
        }
    }
    assert!(looks >= 7, "{looks} looks");
}

/// A message about a sale arrives.
fn sent(core: &mut Core<Counting>, at: Time, key: String, id: String) {
    let body = Payload::of(&json!({ "order": key })).unwrap();
    let (name, source) = ("shop.sent".to_owned(), "shop".to_owned());
    let arrival = Arrival { ticket: 1, name, id, source, key: Some(key), body, at };
    core.handle(at, Input::Arrived(arrival)).unwrap();
    core.commit().unwrap();
}

#[test]
fn one_look_is_bounded_however_many_late_arms_there_are_and_all_of_them_are_found() {
    const SALES: u64 = 1_000;
    let mut core = many(SALES);
    for (round, at) in [2_000_000, 3_000_000, 4_000_000].map(Time).into_iter().enumerate() {
        for number in 0..SALES {
            sent(&mut core, at, format!("k{number}"), format!("{round} of {number}"));
        }
    }
    let looks = |started_from: u64, started_before: u64, definition: Option<&str>| {
        let mut query = HeadQuery { limit: 50, ..HeadQuery::default() };
        query.started_from = Some(Time(started_from));
        query.started_before = Some(Time(started_before));
        query.definition = definition.map(str::to_owned);
        let (mut looks, mut found) = (0, Vec::new());
        loop {
            core.store().forget_reads();
            let page = core.page(&query).unwrap();
            let rows = core.store().rows_read();
            assert!(rows <= 1_300, "{rows} rows in one look");
            assert!(query.before.is_none_or(|it| page.heads.iter().all(|head| head.id < it)));
            found.extend(page.heads);
            looks += 1;
            query.before = page.next;
            if query.before.is_none() {
                break (looks, found);
            }
        }
    };
    let (_, found) = looks(3_000_000, 4_000_000, None);
    assert_eq!(found.len(), 1_000, "the arms of one round");
    assert!(found.iter().all(|it| it.started_at == Time(3_000_000)));
    assert!(found.is_sorted_by(|a, b| b.id < a.id), "newest first, each once");
    assert_eq!(looks(0, 5_000_000, None).1.len(), 3_000);
    assert_eq!(looks(0, 5_000_000, Some("Sale")).1.len(), 1_000);
    let (count, found) = looks(3_500_000, 3_600_000, None);
    assert!(found.is_empty() && count < 20, "{count} looks");
}

#[test]
fn pages_stay_as_they_are_while_sagas_start_and_end() {
    let search = Some("c3@example.com".to_owned());
    let queries = [
        HeadQuery::default(),
        HeadQuery { search, ..HeadQuery::default() },
        HeadQuery { started_from: Some(Time(0)), ..HeadQuery::default() },
    ];
    for query in queries {
        let mut core = many(600);
        let all = |core: &Core<Counting>| -> Vec<SagaId> {
            let query = HeadQuery { limit: usize::MAX, ..query.clone() };
            core.heads(&query).unwrap().into_iter().map(|it| it.id).collect()
        };
        let expected = all(&core);
        let (mut seen, mut next, mut number) = (Vec::new(), None, 600);
        loop {
            let page = core.page(&HeadQuery { before: next, limit: 7, ..query.clone() }).unwrap();
            seen.extend(page.heads.iter().map(|it| it.id));
            // Between two pages one saga starts, and one that is not shown yet ends.
            start(&mut core, number);
            number += 1;
            let (key, id) = (format!("k{}", number % 600), format!("sent {number}"));
            sent(&mut core, Time(2_000_000), key, id);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "each once, and none left out");
    }
}

/// A store as an older build left it: its rows without those of this index.
fn aged(core: &Core<Counting>) -> MemoryStore {
    let mut store = core.store().store.clone();
    let is_index = |table: Table| matches!(table, Table::Found | Table::Stray | Table::Index);
    let rows = store.all_rows().filter(|it| is_index(it.0.0)).map(|((table, key), _)| Row {
        table: *table,
        key: key.clone(),
        value: None,
    });
    let rows = rows.collect();
    store.append(Batch { records: Vec::new(), rows }).unwrap();
    store
}

fn open(store: MemoryStore, registry: Registry) -> Core<MemoryStore> {
    Core::open(store, registry, Limits::default(), Time(5_000_000)).unwrap()
}

fn index(store: &MemoryStore) -> Vec<(Table, Vec<u8>)> {
    let is_index = |table: Table| matches!(table, Table::Found | Table::Stray);
    store.all_rows().map(|it| it.0.clone()).filter(|it| is_index(it.0)).collect()
}

#[test]
fn a_store_of_an_older_build_and_one_whose_key_is_lost_get_their_index_at_opening() {
    let first = many(1_200);
    let core = open(aged(&first), registry());
    assert_eq!(core.reindexed(), 1_200);
    assert_eq!(index(core.store()), index(&first.store().store), "as if it had always been there");
    assert_eq!(find(&core, "c3@example.com").len(), 10);
    let core = open(core.store().clone(), registry());
    assert_eq!(core.reindexed(), 0, "once");

    // The first form of the mark did not name its form.
    let mut older = core.store().clone();
    let mark = older.row(Table::Index, b"search").unwrap().unwrap();
    let mark = String::from_utf8(mark).unwrap().replace(r#""form":3,"#, "");
    let (table, key) = (Table::Index, b"search".to_vec());
    let rows = vec![Row { table, key, value: Some(mark.into_bytes()) }];
    older.append(Batch { records: Vec::new(), rows }).unwrap();
    let core = open(older, registry());
    assert_eq!(core.reindexed(), 1_200, "rows of another form are made anew");

    let lost = core.store().clone().with_search_key(SearchKey::new([9; SEARCH_KEY_BYTES]));
    let core = open(lost, registry());
    assert_eq!(core.reindexed(), 1_200);
    assert_eq!(find(&core, "c3@example.com").len(), 10);
    let kept = index(core.store());
    assert_eq!(kept.len(), index(&first.store().store).len(), "rows of the lost key are gone");
}

#[test]
fn other_fields_and_a_start_that_was_cut_off_make_the_index_anew() {
    sells!(Sale2, [event::<Bought>().starts(), event::<Sent>()]);
    /// The same definition before it declared its fields.
    struct Before;
    impl Saga for Before {
        const NAME: &'static str = "Sale";
        type Input = Bought;
        type Output = ();
        type Settings = ();
        fn events() -> Vec<Declared> {
            Sale2::events()
        }
        async fn run(ctx: Ctx, it: Bought) -> Result<(), Abort> {
            Sale::run(ctx, it).await
        }
    }
    let mut before = Registry::new("before");
    before.register::<Before>(&()).unwrap();
    let first = many(700);
    let core = open(first.store().store.clone(), before);
    assert_eq!((core.reindexed(), index(core.store()).len()), (700, 0));
    assert_eq!(find(&core, "c3@example.com"), [""; 0]);
    let core = open(core.store().clone(), registry());
    assert_eq!(index(core.store()), index(&first.store().store), "a later build finds all of them");

    // The mark goes first: what was cut off in between is not taken for whole.
    let mut cut = first.store().store.clone();
    let rows: Vec<Row> = index(&cut)
        .into_iter()
        .take(300)
        .map(|(table, key)| Row { table, key, value: None })
        .chain([Row { table: Table::Index, key: b"search".to_vec(), value: None }])
        .collect();
    cut.append(Batch { records: Vec::new(), rows }).unwrap();
    let core = open(cut, registry());
    assert_eq!(index(core.store()), index(&first.store().store));
}

saga!(Nobody(ctx) -> () { _ = ctx.now(); Ok(()) });

#[test]
fn what_cannot_be_searched_for_is_refused_when_it_is_registered() {
    sells!(NoPointer, [event::<Bought>().starts().found_by("email"), event::<Sent>()]);
    sells!(ItsKey, [event::<Bought>().starts().found_by("/order"), event::<Sent>()]);
    sells!(NoStart, [event::<Bought>().starts(), event::<Sent>().found_by("/email")]);
    let why = |registered: Result<(), RegistryError>| registered.unwrap_err().to_string();
    let mut registry = Registry::new("test");
    let pointer = why(registry.register::<NoPointer>(&()));
    assert!(pointer.ends_with("found by email of shop.bought: a JSON pointer begins with /"));
    assert!(why(registry.register::<ItsKey>(&())).contains("stands in clear"));
    assert!(why(registry.register::<NoStart>(&())).contains("does not start"));
    registry.register::<Nobody>(&()).unwrap();
}

#[test]
fn a_start_costs_one_row_for_each_field_and_a_turn_none() {
    let mut core = many(0);
    start(&mut core, 1);
    // The entry and the audit; head, start key, key, among the live, standing, mail, phone.
    assert_eq!(core.batch_rows(), 2 + 7);
    let head = core.heads(&HeadQuery { limit: 1, ..HeadQuery::default() }).unwrap();
    assert_eq!(head.len(), 0, "a read sees what is durable");
    core.commit().unwrap();
    let saga = core.heads(&HeadQuery { limit: 1, ..HeadQuery::default() }).unwrap()[0].id;
    let actor = Actor { name: "ann".to_owned(), role: Role::Operator };
    let command = Command::Move { saga, action: Action::Pause, reason: "why".to_owned() };
    core.handle(Time(2_000_000), Input::Asked { ticket: 1, actor, command }).unwrap();
    assert_eq!(core.batch_rows(), 2 + 1, "the entry and the audit; the head");
}
