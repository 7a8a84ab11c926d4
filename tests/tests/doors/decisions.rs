//! Decisions that a service forwards over NATS with something wrong in them: each is answered with
//! the status that the service gives to its caller.

use super::table::stray;
use async_nats::Client;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::{Failure, fingerprint::Change};

const SUBJECT: &str = "tasks.decide";
/// Longer than any decision takes.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// One request, and what must be answered.
pub(crate) struct Asked {
    what: String,
    body: Vec<u8>,
    status: u16,
    /// The JSON pointer that is blamed; nothing when no field is to blame.
    pointer: Option<&'static str>,
    /// Whether somebody known and permitted is refused, which is audited.
    is_audited: bool,
}

/// Who asks about what.
pub(crate) struct Case<'a> {
    /// An order that a manager has to look at.
    pub(crate) asked_id: &'a str,
    /// One that asks for nothing.
    pub(crate) order_id: &'a str,
    pub(crate) approver: &'a str,
    pub(crate) viewer: &'a str,
}

/// What is no request at all.
const NO_JSON: &[(&str, &[u8])] = &[
    ("nothing", b""),
    ("a blank", b" "),
    ("words", b"hello"),
    ("half an object", b"{\"name\":"),
    ("something after the end", b"{} {}"),
    ("NaN", b"{\"approved\":NaN}"),
    ("bytes that are no UTF-8", b"\xff\xfe"),
    ("a bare NUL", b"\0"),
];

/// What is no object.
const NO_OBJECTS: &[(&str, &str)] = &[("a list", "[]"), ("null", "null"), ("a number", "5")];

/// What is wrong, the field, its value (without one it is missing), the pointer.
fn fields() -> Vec<(&'static str, &'static str, Option<Value>, &'static str)> {
    vec![
        ("no event", "name", None, "/name"),
        ("no key", "key", None, "/key"),
        ("no decision", "approved", None, "/approved"),
        ("no token", "token", None, "/token"),
        ("an unknown field", "coupon", Some(json!(1)), "/coupon"),
        ("an event that is a number", "name", Some(json!(5)), "/name"),
        ("an event that is null", "name", Some(Value::Null), "/name"),
        ("an event of no letters", "name", Some(json!("")), "/name"),
        ("an event of 257 letters", "name", Some(json!("n".repeat(257))), "/name"),
        ("a key that is a list", "key", Some(json!([])), "/key"),
        ("a key of no letters", "key", Some(json!("")), "/key"),
        ("a key of 257 letters", "key", Some(json!("k".repeat(257))), "/key"),
        ("a key of 900 KiB", "key", Some(json!("k".repeat(900 << 10))), "/key"),
        ("a truth in quotes", "approved", Some(json!("true")), "/approved"),
        ("a truth that is a number", "approved", Some(json!(1)), "/approved"),
        ("a decision that is null", "approved", Some(Value::Null), "/approved"),
        ("a reason that is a number", "reason", Some(json!(5)), "/reason"),
        ("a token that is an object", "token", Some(json!({})), "/token"),
    ]
}

/// All rows of an order that still asks.
pub(crate) fn rows(case: &Case) -> Vec<Asked> {
    let with = |name: &str, value: Option<Value>| {
        let mut body = good(case);
        let fields = body.as_object_mut().into_iter();
        fields.for_each(|it| match &value {
            Some(value) => drop(it.insert(name.to_owned(), value.clone())),
            None => drop(it.remove(name)),
        });
        body.to_string()
    };
    let text = |name: &str, value: &str| with(name, Some(value.into()));
    let mut rows: Vec<Asked> =
        NO_JSON.iter().map(|(what, body)| asked(*what, *body, 400, None)).collect();
    rows.extend(NO_OBJECTS.iter().map(|(what, body)| asked(*what, body, 422, Some(""))));
    rows.extend(
        fields()
            .into_iter()
            .map(|(what, name, value, pointer)| asked(what, with(name, value), 422, Some(pointer))),
    );
    for levels in [101, 100_000] {
        let deep = "[".repeat(levels) + &"]".repeat(levels);
        let what = format!("{levels} brackets");
        rows.push(asked(what, format!("{{\"reason\":{deep}}}"), 400, None));
    }
    let twice = good(case).to_string().replacen('{', "{\"approved\":false,", 1);
    let no = |reason: Option<&str>| {
        let mut body = good(case);
        body["approved"] = false.into();
        body["reason"] = reason.into();
        body.to_string()
    };
    let [name, key, token] = ["orders.trigger.approved", case.asked_id, case.approver];
    let values = json!([name, key, true, null, token]).to_string();
    let name = "orders.trigger.nothing";
    rows.extend([
        asked("the values alone", values, 422, Some("")),
        asked("two decisions", twice, 422, Some("/approved")),
        asked("an unknown token", text("token", "nonsense"), 401, None),
        asked("an empty token", text("token", ""), 401, None),
        asked("a token of 8,000 letters", text("token", &"x".repeat(8_000)), 401, None),
        asked("a mere viewer", text("token", case.viewer), 403, None),
        asked("an unknown order", text("key", "ORD-none"), 404, None).audited(),
        asked("an order that is a path", text("key", "../x"), 404, None).audited(),
        asked("an event that asks nobody", text("name", name), 404, None).audited(),
        asked("an order that asks for nothing", text("key", case.order_id), 404, None).audited(),
        asked("a rejection without a reason", no(None), 422, Some("/reason")).audited(),
        asked("a reason of no letters", no(Some("")), 422, Some("/reason")).audited(),
        asked("a reason of 2,001 letters", no(Some(&"r".repeat(2_001))), 422, Some("/reason"))
            .audited(),
    ]);
    rows
}

/// The rows of an order that was approved.
pub(crate) fn late_rows(case: &Case) -> Vec<Asked> {
    let mut other = good(case);
    other["approved"] = false.into();
    other["reason"] = "looked again".into();
    vec![
        asked("the other decision, too late", other.to_string(), 409, None).audited(),
        asked("the same decision again", good(case).to_string(), 200, None).audited(),
    ]
}

/// A good decision.
fn good(case: &Case) -> Value {
    json!({
        "name": "orders.trigger.approved", "key": case.asked_id, "approved": true,
        "token": case.approver,
    })
}

/// Sends a good decision of which nobody wants to hear what came of it.
pub(crate) async fn send_without_reply(service: &Client, case: &Case<'_>) -> Result<(), Failure> {
    let sent = service.publish(SUBJECT, good(case).to_string().into()).await;
    sent.map_err(|err| format!("failed to publish: {err}"))?;
    service.flush().await.map_err(|err| format!("failed to flush: {err}"))
}

fn asked(
    what: impl Into<String>,
    body: impl AsRef<[u8]>,
    status: u16,
    pointer: Option<&'static str>,
) -> Asked {
    let (what, body) = (what.into(), body.as_ref().to_vec());
    Asked { what, body, status, pointer, is_audited: false }
}

impl Asked {
    fn audited(self) -> Asked {
        Asked { is_audited: true, ..self }
    }

    pub(crate) fn line(&self) -> String {
        let pointer = self.pointer.unwrap_or("-");
        format!("| {} | nats {SUBJECT} | {} | {pointer} |", self.what, self.status)
    }

    /// What it wrote but may not, or did not but should.
    pub(crate) fn stray(&self, changes: &[Change]) -> Option<String> {
        stray(&self.line(), self.is_audited, changes)
    }

    pub(crate) async fn check(&self, service: &Client) -> Result<(), Failure> {
        let asking = service.request(SUBJECT, self.body.clone().into());
        let answer = tokio::time::timeout(ANSWER_WITHIN, asking).await;
        let answer = answer.map_err(|_| format!("{} no answer", self.line()))?;
        let answer = answer.map_err(|err| format!("{} no answer: {err}", self.line()))?;
        let body: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        let pointers: Vec<&str> = errors.iter().filter_map(|it| it["pointer"].as_str()).collect();
        let is_right = body["status"] == self.status
            && body["detail"].as_str().is_some_and(|it| !it.is_empty())
            && pointers == self.pointer.into_iter().collect::<Vec<_>>();
        if is_right { Ok(()) } else { Err(format!("{} {body}", self.line())) }
    }
}
