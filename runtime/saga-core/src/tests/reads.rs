//! What lists show: open and ended sagas as one, newest first, page by page.

use super::{
    counting::Counting,
    fixtures::{Approved, Mail, Release, Reserve, saga, shop},
};
use crate::{
    core::{Core, HeadQuery, Limits},
    fold::Status,
    head::Head,
    id::{SagaId, Time},
    input::{Actor, Command, Input, Role},
    payload::Payload,
    saga::Registry,
    store::MemoryStore,
    testing::Desk,
};
use serde_json::{Value, json};
use uuid::Uuid;

saga!(Ends(ctx) -> () {
    _ = ctx.now();
    Ok(())
});
saga!(Calls(ctx) -> () {
    ctx.call(Reserve::of("o1")).undo(Release::of("o1")).await?;
    Ok(ctx.call(Mail::of("o1")).await?)
});
saga!(AsksThrice(ctx) -> () {
    let ask = || ctx.when::<Approved>("o1").ask("?", &()).forever();
    ctx.join_all([ask(), ask(), ask()]).await?;
    Ok(())
});

fn registry() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<Ends>(&()).unwrap();
    registry.register::<Calls>(&()).unwrap();
    registry.register::<AsksThrice>(&()).unwrap();
    registry
}

/// Six hundred sagas: every third one has ended.
fn many() -> Core<MemoryStore> {
    let store = MemoryStore::new(Uuid::from_u128(7));
    let mut core = Core::open(store, registry(), Limits::default(), Time(0)).unwrap();
    for number in 0..600_u64 {
        let definition = if number % 3 == 0 { "Ends" } else { "Calls" }.to_owned();
        let (key, input) = (Some(format!("k{number}")), Payload::null());
        let actor = Actor { name: "ann".to_owned(), role: Role::Operator };
        let command = Command::Start { definition, key, input };
        core.handle(Time(1_000 + number), Input::Asked { ticket: number, actor, command }).unwrap();
    }
    core.commit().unwrap();
    core
}

fn keys(heads: &[Head]) -> Vec<&str> {
    heads.iter().map(|it| it.key.as_str()).collect()
}

#[test]
fn pages_follow_each_other_over_open_and_ended_sagas() {
    let core = many();
    for status in [None, Some(Status::Completed), Some(Status::Running)] {
        let mut query = HeadQuery { status, limit: 70, ..HeadQuery::default() };
        let mut seen: Vec<SagaId> = Vec::new();
        loop {
            let page = core.heads(&query).unwrap();
            let Some(last) = page.last() else { break };
            assert!(page.len() == 70 || seen.len() + page.len() >= 200);
            query.before = Some(last.id);
            seen.extend(page.iter().map(|it| it.id));
        }
        assert!(seen.is_sorted_by(|a, b| a > b), "newest first, each once");
        let expected = match status {
            None => 600,
            Some(Status::Completed) => 200,
            Some(_) => 400,
        };
        assert_eq!(seen.len(), expected);
    }
}

#[test]
fn a_query_finds_what_fits_among_many() {
    let core = many();
    let find = |query: HeadQuery| {
        let heads = core.heads(&HeadQuery { limit: 5, ..query }).unwrap();
        keys(&heads).join(" ")
    };
    let key = |it: &str| Some(it.to_owned());
    assert_eq!(find(HeadQuery { key: key("k1"), ..HeadQuery::default() }), "k1");
    assert_eq!(find(HeadQuery { key: key("k0"), ..HeadQuery::default() }), "k0");
    assert_eq!(find(HeadQuery { key: key("k"), ..HeadQuery::default() }), "");
    let ended = HeadQuery { definition: key("Ends"), ..HeadQuery::default() };
    assert_eq!(find(ended.clone()), "k597 k594 k591 k588 k585");
    assert_eq!(find(HeadQuery { status: Some(Status::Running), ..ended }), "");
    assert_eq!(find(HeadQuery { asks: true, ..HeadQuery::default() }), "");
    assert!(core.head(SagaId::at(Time(1), Uuid::nil(), 0, 1)).unwrap().is_none());
    assert!(core.journal(SagaId::at(Time(1), Uuid::nil(), 0, 1)).unwrap().is_empty());
}

#[test]
fn every_open_question_of_a_saga_is_a_task_of_its_own() {
    let mut desk = Desk::new(registry());
    desk.start("AsksThrice", "o1", Value::Null);
    let steps = |desk: &Desk| -> Vec<String> {
        let tasks = desk.core().tasks(None, 10).unwrap().tasks;
        tasks.iter().map(|it| it.1.step.to_string()).collect()
    };
    assert_eq!(steps(&desk), ["0.0.0", "0.1.0", "0.2.0"]);
    desk.decide(true, "yes").unwrap();
    assert_eq!(steps(&desk), ["0.1.0", "0.2.0"]);
}

#[test]
fn a_start_by_hand_is_checked_and_is_the_same_again() {
    use crate::effect::{RefusalKind, Reply};
    let mut desk = Desk::new(shop());
    let mut start = |role, definition: &str, key: Option<&str>, input: Value| {
        let actor = Actor { name: "ann".to_owned(), role };
        let (definition, key) = (definition.to_owned(), key.map(str::to_owned));
        let input = Payload::of(&input).unwrap();
        desk.ask(actor, Command::Start { definition, key, input }).map_err(|it| it.kind)
    };
    let order = || json!({ "order": "o1" });
    let by = Role::Operator;
    assert_eq!(start(Role::Approver, "order", None, order()), Err(RefusalKind::Forbidden));
    assert_eq!(start(by, "ordre", None, order()), Err(RefusalKind::NotFound));
    let input = Err(RefusalKind::Invalid { pointer: "/input" });
    assert_eq!(start(by, "order", None, json!({ "ordre": "o1" })), input);
    let key = Err(RefusalKind::Invalid { pointer: "/key" });
    assert_eq!(start(by, "order", Some(""), order()), key);
    assert_eq!(start(by, "order", Some("o1\n"), order()), key);
    assert_eq!(start(by, "order", Some("o\u{1b}[2J"), order()), key);
    assert_eq!(start(by, "order", Some(&"x".repeat(257)), order()), key);
    let Ok(Reply::Accepted(saga)) = start(by, "order", None, order()) else { panic!("a saga") };
    assert_eq!(start(by, "order", Some("o1"), order()), Ok(Reply::Same(saga)));
    let other = json!({ "order": "o1", "risky": true });
    assert_eq!(start(by, "order", None, other), Err(RefusalKind::Conflict));
    let by_event = desk.event("shop.placed", order()).remove(0);
    assert_eq!(by_event.outcome, crate::effect::Outcome::DuplicateStart);
    assert_eq!(by_event.saga, Some(saga));
}

/// However many others there are, and whatever stands newest.
#[test]
fn a_list_by_status_reads_none_but_those_that_stand_so() {
    let mut core = Core::open(
        Counting::over(MemoryStore::new(Uuid::from_u128(7))),
        registry(),
        Limits::default(),
        Time(0),
    )
    .unwrap();
    let start = |core: &mut Core<Counting>, number: u64, definition: &str| {
        let (definition, key) = (definition.to_owned(), Some(format!("k{number}")));
        let actor = Actor { name: "ann".to_owned(), role: Role::Operator };
        let command = Command::Start { definition, key, input: Payload::null() };
        core.handle(Time(1_000 + number), Input::Asked { ticket: number, actor, command }).unwrap();
        core.commit().unwrap();
    };
    start(&mut core, 0, "Ends");
    start(&mut core, 1, "AsksThrice");
    for number in 2..1_000 {
        start(&mut core, number, "Calls");
    }
    let queries = [
        HeadQuery { status: Some(Status::Completed), limit: 5, ..HeadQuery::default() },
        HeadQuery { status: Some(Status::Waiting), limit: 5, ..HeadQuery::default() },
        HeadQuery { asks: true, limit: 5, ..HeadQuery::default() },
    ];
    for query in queries {
        core.store().forget_reads();
        let page = core.page(&query).unwrap();
        assert_eq!((page.heads.len(), page.next), (1, None), "{query:?}");
        let rows = core.store().rows_read();
        assert!(rows <= 3, "{rows} rows of {query:?}: it, and its head in one of two tables");
    }
}
