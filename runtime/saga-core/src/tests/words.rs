//! Names, filters, and what an author can write at all.

use crate::{
    exact::Tree,
    filter::{Field, Filter, Literal, Op, Test, Where},
    id::{Alias, Lane, NotAPath, Path, SagaId, TaskId, Time, call_key, undo_key},
    store::MemoryStore,
};
use serde_json::json;
use uuid::Uuid;

#[test]
fn filters_hold_for_this() {
    let body = json!({
        "n": 5, "s": "b", "flag": true, "list": [1], "nested": { "null": null }, "a/b": 1,
        "big": 9_007_199_254_740_993_u64,
    })
    .to_string();
    let body = Tree::read(&body).unwrap();
    let table = [
        ("/n", Op::Eq, json!(5), true),
        ("/n", Op::Eq, json!(5.0), true),
        ("/n", Op::Eq, json!("5"), false),
        ("/n", Op::Ne, json!(6), true),
        ("/n", Op::Ne, json!(5.0), false),
        ("/n", Op::Ne, json!("6"), false),
        ("/absent", Op::Ne, json!(6), false),
        ("/absent", Op::Eq, json!(null), false),
        ("/n", Op::In, json!([4, 5]), true),
        ("/n", Op::In, json!([4, "5"]), false),
        ("/n", Op::In, json!([]), false),
        ("/n", Op::In, json!(5), false),
        ("/n", Op::Lt, json!(5.5), true),
        ("/n", Op::Le, json!(4), false),
        ("/n", Op::Le, json!(5), true),
        ("/n", Op::Gt, json!("4"), false),
        ("/n", Op::Gt, json!(-1), true),
        ("/s", Op::Ge, json!("a"), true),
        ("/s", Op::Lt, json!("a"), false),
        ("/flag", Op::Eq, json!(true), true),
        ("/flag", Op::Ne, json!(false), true),
        ("/flag", Op::Lt, json!(true), false),
        ("/list", Op::Eq, json!([1]), true),
        ("/list/0", Op::Eq, json!(1), true),
        ("/a~1b", Op::Eq, json!(1), true),
        ("/nested/null", Op::Exists, json!(true), true),
        ("/nested/null", Op::Eq, json!(null), true),
        ("/absent", Op::Exists, json!(false), true),
        ("/n", Op::Exists, json!(false), false),
        ("/big", Op::Eq, json!(9_007_199_254_740_992_u64), false),
        ("", Op::Exists, json!(true), true),
    ];
    for (pointer, op, value, expected) in table {
        let (pointer, shown, value) = (pointer.to_owned(), pointer, Literal::of(&value));
        let filter = Filter(vec![Test { pointer, op, value: value.clone() }]);
        assert_eq!(filter.holds(&body), expected, "{shown} {op:?} {value:?}");
    }
    assert!(Filter::default().holds(&Tree::Null));
}

#[test]
fn a_filter_is_a_conjunction_of_typed_tests_and_says_what_it_refused() {
    struct Paid;
    let of = |tests: Vec<Where<Paid>>| Filter(tests.into_iter().map(|it| it.test).collect());
    let filter = of(vec![
        Field::<Paid, String>::at("/session").eq(&"s1".to_owned()),
        Field::<Paid, u64>::at("/amount").at_least(&5),
        Field::<Paid, u64>::at("/amount").at_most(&9),
        Field::<Paid, u64>::at("/amount").one_of(&[5, 7]),
        Field::<Paid, String>::at("/status").ne(&"open".to_owned()),
    ]);
    let body =
        |session: &str| json!({ "session": session, "amount": 7, "status": "paid" }).to_string();
    let (fits, other) = (body("s1"), body("s0"));
    let (fits, other) = (Tree::read(&fits).unwrap(), Tree::read(&other).unwrap());
    assert!(filter.holds(&fits));
    assert_eq!(filter.refusal(&fits), None);
    assert_eq!(filter.refusal(&other).unwrap().to_string(), r#"/session eq "s1""#);
    let text = serde_json::to_value(&filter.0[0]).unwrap();
    assert_eq!(text, json!({ "pointer": "/session", "op": "eq", "value": "s1" }), "it is data");
}

#[test]
fn paths_sort_by_number_contain_what_lies_in_them_and_are_read_strictly() {
    let path = |text: &str| text.parse::<Path>().unwrap();
    let mut paths = ["10", "9.1.0", "9", "2.0.1", "2.0.10", "2.0.9"].map(path);
    paths.sort();
    assert_eq!(paths.map(|it| it.to_string()), ["2.0.1", "2.0.9", "2.0.10", "9", "9.1.0", "10"]);
    assert!(path("1").contains(&path("1.2")) && path("1").contains(&path("1")));
    assert!(!path("1").contains(&path("10")) && !path("1.2").contains(&path("1")));
    assert!(Path::root().contains(&path("3")) && !path("3").contains(&Path::root()));
    for text in ["x", "1.", ".1", "1..2", "01", "-1", "1.2 ", "4294967296"] {
        assert_eq!(text.parse::<Path>(), Err(text.parse::<Path>().unwrap_err()), "{text}");
        assert!(text.parse::<Path>().is_err(), "{text}");
    }
    let _: NotAPath = "x".parse::<Path>().unwrap_err();
}

#[test]
fn ids_are_made_without_randomness_and_sort_by_time() {
    let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let id = SagaId::at(Time(1_767_225_600_000), one, 0, 5);
    assert_eq!(id, SagaId::at(Time(1_767_225_600_000), one, 0, 5));
    assert_ne!(id, SagaId::at(Time(1_767_225_600_000), other, 0, 5));
    assert_ne!(id, SagaId::at(Time(1_767_225_600_000), one, 0, 6));
    assert_ne!(id, SagaId::at(Time(1_767_225_600_000), one, 1, 5), "the store was restored");
    assert_eq!((id.time(), id.0.get_version_num()), (Time(1_767_225_600_000), 7));
    assert!(id < SagaId::at(Time(1_767_225_600_001), one, 0, 1));
    let step = "3.1.0".parse().unwrap();
    let alias = Alias::of_id(id);
    assert_eq!(call_key(alias, 2, &step), format!("{id}/2/3.1.0"));
    assert_eq!(undo_key(alias, 2, &step), format!("{id}/2/3.1.0/undo"));
    let task = TaskId { saga: id, step };
    assert_eq!(task.to_string().parse(), Ok(task));
    for text in ["", "x.1", &id.to_string(), &format!("{id}.x")] {
        assert!(text.parse::<TaskId>().is_err(), "{text}");
    }
    assert_ne!(Lane::of("a", "bc", "d"), Lane::of("ab", "c", "d"), "parts do not run together");
    _ = MemoryStore::new(one);
}

/// Rule 21: there is no closure form of anything. What takes a function is a combinator over it.
#[test]
fn no_method_of_an_authors_vocabulary_takes_a_closure() {
    let sources = [
        include_str!("../ctx.rs"),
        include_str!("../wait.rs"),
        include_str!("../scope.rs"),
        include_str!("../filter.rs"),
    ];
    let mut seen = 0;
    for source in sources {
        for part in source.split("pub fn ").chain(source.split("pub async fn ")).skip(1) {
            let signature = &part[..part.find(" {\n").unwrap_or(part.len())];
            for word in ["Fn(", "FnMut(", "FnOnce(", "fn("] {
                assert!(!signature.contains(word), "{signature}");
            }
            seen += 1;
        }
    }
    assert!(20 < seen, "only {seen} signatures were seen");
}
