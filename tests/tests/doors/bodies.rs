//! What is no body at all, at every door that takes JSON.

use super::table::{Row, row};
use serde_json::Value;
use std::collections::BTreeMap;
use system_tests::client::As;

/// Twice what any process takes.
const LARGE: usize = 2 << 20;

/// A door that takes JSON, who may come in, and whether the whole must be an object.
pub(crate) struct JsonDoor {
    pub(crate) door: String,
    pub(crate) who: As,
    /// A good body, for doors before which the content decides nothing.
    pub(crate) good: String,
}

/// What is wrong, and the bytes; all are 400.
const NO_JSON: &[(&str, &[u8])] = &[
    ("nothing", b""),
    ("a blank", b" "),
    ("half an object", b"{\"items\":"),
    ("words", b"hello"),
    ("a form", b"items=1&total=2"),
    ("XML", b"<order/>"),
    ("something after the end", b"{} {}"),
    ("a comma too many", b"{\"a\":1,}"),
    ("single quotes", b"{'a':1}"),
    ("a comment", b"{/* none */}"),
    ("a byte order mark", b"\xef\xbb\xbf{}"),
    ("UTF-16", b"\xff\xfe{\0}\0"),
    ("bytes that are no UTF-8", b"{\"a\":\"\xc3\x28\"}"),
    ("an overlong NUL", b"{\"a\":\"\xc0\x80\"}"),
    ("NaN", b"NaN"),
    ("a bare NUL", b"\0"),
];

/// Content types that are not JSON, or none at all.
const NO_JSON_TYPES: &[&str] =
    &["text/plain", "application/x-www-form-urlencoded", "text/json", "jsonp", ""];

/// Of which a proxy in front may have gone by the other one.
const TWO_TYPES: &[[&str; 2]] = &[
    ["application/json", "text/plain"],
    ["text/plain", "application/json"],
    ["application/json", "application/json"],
];

pub(crate) fn rows(doors: &[JsonDoor]) -> Vec<Row> {
    doors.iter().flat_map(of_door).collect()
}

fn of_door(JsonDoor { door, who, good }: &JsonDoor) -> Vec<Row> {
    let at = |what: &str, status| row(what, door, status).by(*who);
    let mut rows = Vec::new();
    rows.extend(NO_JSON.iter().map(|(what, body)| at(what, 400).body(body)));
    for kind in NO_JSON_TYPES {
        let what = format!("the content type `{kind}`");
        rows.push(at(&what, 415).with("Content-Type", kind).body(good));
    }
    for kinds in TWO_TYPES {
        let row = at(&format!("the content types `{}`", kinds.join("` and `")), 400).body(good);
        let row = kinds.iter().fold(row, |row, kind| row.with("Content-Type", kind));
        rows.push(row.says("twice"));
    }
    for levels in [101, 128, 100_000] {
        let what = format!("{levels} brackets");
        let says = "nested deeper than 100 levels";
        let closed = "[".repeat(levels) + &"]".repeat(levels);
        rows.push(at(&what, 400).body(closed).says(says));
        let what = format!("{levels} objects that never close");
        rows.push(at(&what, 400).body("{\"a\":".repeat(levels)).says(says));
        let what = format!("{levels} brackets in an unknown field");
        let inner = "[".repeat(levels) + &"]".repeat(levels);
        rows.push(at(&what, 400).body(format!("{{\"a\":{inner}}}")).says(says));
    }
    rows.extend([
        at("a list", 422).body("[]").blames(""),
        at("the values alone", 422).body(values_of(good)).blames(""),
        at("a number", 422).body("5").blames(""),
        at("null", 422).body("null").blames(""),
        at("a body over the limit", 413).body("x".repeat(LARGE)).says("limit"),
        at("a body over the limit in chunks", 413).body("x".repeat(LARGE)).chunked().says("limit"),
    ]);
    rows
}

/// A list that serde alone would take for the object.
fn values_of(object: &str) -> String {
    let fields: BTreeMap<String, Value> = serde_json::from_str(object).expect("an object");
    Value::from_iter(fields.into_values()).to_string()
}
