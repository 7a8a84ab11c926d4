//! What is wrong with one parameter or one field of one route, beside what [`super::routes`] and
//! [`super::bodies`] try everywhere.

use super::orders::written_out;
use super::table::{Row, row};
use serde_json::json;
use system_tests::client::{As, order_of};

/// The route, its query, and the parameter that is blamed.
const QUERIES: &[(&str, &str, &str)] = &[
    ("fermata GET /api/sagas", "status=done", "/status"),
    ("fermata GET /api/sagas", "status=", "/status"),
    ("fermata GET /api/sagas", "status=waiting&status=waiting", "/status"),
    ("fermata GET /api/sagas", "status=%ff", "/status"),
    ("fermata GET /api/sagas", "definition=d{257}", "/definition"),
    ("fermata GET /api/sagas", "key=k{257}", "/key"),
    ("fermata GET /api/sagas", "cursor=x", "/cursor"),
    ("fermata GET /api/sagas", "cursor=", "/cursor"),
    ("fermata GET /api/sagas", "startedAfter=yesterday", "/startedAfter"),
    ("fermata GET /api/sagas", "startedBefore=2026-13-45T00:00:00Z", "/startedBefore"),
    ("fermata GET /api/sagas/@saga/journal", "cursor=x", "/cursor"),
    ("fermata GET /api/sagas/@saga/journal", "cursor=-1", "/cursor"),
    ("fermata GET /api/events", "verdict=maybe", "/verdict"),
    ("fermata GET /api/events", "cursor=x", "/cursor"),
    ("fermata GET /api/events", "cursor=-1", "/cursor"),
    ("fermata GET /api/tasks", "cursor=x", "/cursor"),
    ("order GET /api/orders", "status=lost", "/status"),
    ("order GET /api/orders", "cursor=x", "/cursor"),
    ("order GET /api/orders", "cursor=1795147738000/../../x", "/cursor"),
    ("order GET /api/orders", "cursor=1795147738000%00/x", "/cursor"),
    ("order GET /api/tickets", "", "/orderId"),
    ("order GET /api/tickets", "orderId=ORD-1&cursor=x", "/cursor"),
];

/// What is wrong, the route, the body, and the pointer.
const BODIES: &[(&str, &str, &str, &str)] = &[
    ("a move without a reason", "@pause", "{}", "/reason"),
    ("a move for an empty reason", "@pause", r#"{"reason":""}"#, "/reason"),
    ("a move for a number", "@cancel", r#"{"reason":5}"#, "/reason"),
    ("a move for null", "@cancel", r#"{"reason":null}"#, "/reason"),
    ("a move for 1,001 letters", "@terminate", r#"{"reason":"r{1001}"}"#, "/reason"),
    ("a move with more", "@retry", r#"{"reason":"r","force":true}"#, "/force"),
    ("a move with two reasons", "@retry", r#"{"reason":"r","reason":"s"}"#, "/reason"),
    ("a decision without a word", "@task", "{}", "/approved"),
    ("a decision in quotes", "@task", r#"{"approved":"true"}"#, "/approved"),
    ("a decision that is a number", "@task", r#"{"approved":1}"#, "/approved"),
    ("a rejection without a reason", "@task", r#"{"approved":false}"#, "/reason"),
    ("a decision with a signature", "@task", r#"{"approved":true,"by":"x"}"#, "/by"),
    ("a decision of 1,001 letters", "@task", r#"{"approved":true,"reason":"r{1001}"}"#, "/reason"),
    ("a start of nothing", "@start", "{}", "/input"),
    ("a start with more", "@start", r#"{"input":{},"settings":{}}"#, "/settings"),
    ("a start with a key that is a number", "@start", r#"{"input":{},"key":5}"#, "/key"),
    ("an approval of no order", "@approve", r#"{"approved":true}"#, "/orderId"),
    ("an approval of a path", "@approve", r#"{"approved":true,"orderId":"../x"}"#, "/orderId"),
    ("an approval without a word", "@approve", r#"{"orderId":"ORD-1"}"#, "/approved"),
    ("an approval with more", "@approve", r#"{"orderId":"O","approved":true,"by":"x"}"#, "/by"),
];

/// Keys that cannot be those of one request.
const NO_KEYS: &[(&str, &str)] = &[
    ("an empty key", ""),
    ("a key of two words", "two words"),
    ("a key of 256 letters", "k{256}"),
    ("a key of other letters", "\u{fc}"),
    ("a key with a tab", "a\tb"),
];

pub(crate) fn rows(saga_id: &str) -> Vec<Row> {
    let at = |(door, query, pointer): &(&str, &str, &str)| {
        let door = format!("{}?{}", door.replace("@saga", saga_id), written_out(query));
        row("a wrong parameter", door, 422).by(As::Viewer).blames(pointer)
    };
    QUERIES.iter().map(at).collect()
}

pub(crate) fn bodies(saga_id: &str, task_id: &str, order_id: &str, asked_id: &str) -> Vec<Row> {
    let at = |(what, place, body, pointer): &(&str, &str, &str, &str)| {
        let (door, who) = match *place {
            "@task" => (format!("fermata POST /api/tasks/{task_id}/decision"), As::Approver),
            "@start" => {
                ("fermata POST /api/definitions/process-order/sagas".to_owned(), As::Operator)
            }
            "@approve" => ("order POST /api/orders/approve".to_owned(), As::Approver),
            action => {
                let action = action.trim_start_matches('@');
                (format!("fermata POST /api/sagas/{saga_id}/{action}"), As::Operator)
            }
        };
        // The runtime's core alone knows that a rejection needs a reason.
        let is_audited = what.starts_with("a rejection");
        let row = row(*what, door, 422).by(who).body(written_out(body));
        row.blames(pointer).audited(is_audited)
    };
    let mut rows: Vec<Row> = BODIES.iter().map(at).collect();
    for (what, key) in NO_KEYS {
        let row = row(*what, "order POST /api/orders", 400).says("Idempotency-Key");
        let body = order_of(2, false, "bob").to_string();
        rows.push(row.with("Idempotency-Key", written_out(key)).body(body));
    }
    let good = order_of(2, false, "bob").to_string();
    rows.push(
        row("two keys", "order POST /api/orders", 400)
            .with("Idempotency-Key", "a")
            .with("Idempotency-Key", "b")
            .says("twice")
            .body(good),
    );
    let decided = |what: &str, order: &str, status, approved: bool| {
        let body = json!({ "orderId": order, "approved": approved });
        row(what, "order POST /api/orders/approve", status).by(As::Approver).body(body.to_string())
    };
    rows.extend([
        decided("an approval that nothing asks for", order_id, 404, true).audited(true),
        decided("an approval of an unknown order", "ORD-none", 404, true).audited(true),
        decided("a rejection without a word why", asked_id, 422, false).blames("/reason"),
    ]);
    rows
}
