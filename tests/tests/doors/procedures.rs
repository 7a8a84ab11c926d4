//! Requests on NATS with something wrong in them: each is rejected with a code, for good.

use async_nats::{Client, HeaderMap};
use proto_schemas::{Kind, MESSAGES};
use serde_json::Value;
use std::time::Duration;
use system_tests::{Failure, stack::Stack};

/// Longer than any procedure takes that answers at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Procedures that only read, and need no key.
const QUERIES: &[&str] = &[
    "orders.approve",
    "orders.calculate-risk",
    "payments.process",
    "inventory.check-availability",
    "delivery.get-status",
];

/// One request, and the rejection that must come of it.
pub(crate) struct Asked {
    what: String,
    subject: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    code: &'static str,
    pointer: Option<&'static str>,
}

/// What is wrong with a body of any procedure, and the place that is blamed.
const BODIES: &[(&str, &[u8], Option<&str>)] = &[
    ("nothing", b"", Some("")),
    ("no JSON", b"hello", Some("")),
    ("half an object", b"{\"orderId\":", Some("")),
    ("NaN", b"{\"orderId\":NaN}", Some("")),
    ("bytes that are no UTF-8", b"\xff\xfe", None),
    ("a list", b"[]", Some("")),
    ("null", b"null", Some("")),
    ("an unknown field", b"{\"coupon\":1}", Some("/coupon")),
    ("a field twice", b"{\"coupon\":1,\"coupon\":2}", Some("/coupon")),
];

/// What is wrong with one field of one procedure.
const FIELDS: &[(&str, &str, &str, &str)] = &[
    (
        "no pieces",
        "inventory.reserve",
        r#"{"items":[{"sku":"A","quantity":0}]}"#,
        "/items/0/quantity",
    ),
    (
        "a negative count",
        "inventory.reserve",
        r#"{"items":[{"sku":"A","quantity":-1}]}"#,
        "/items/0/quantity",
    ),
    (
        "a unit that is a path",
        "inventory.reserve",
        r#"{"items":[{"sku":"..","quantity":1}]}"#,
        "/items/0/sku",
    ),
    ("no items", "inventory.check-availability", r#"{"items":[]}"#, "/items"),
    ("an order that is a path", "inventory.release", r#"{"orderId":"../x"}"#, "/orderId"),
    ("an order with a blank", "inventory.ship", r#"{"orderId":"a b"}"#, "/orderId"),
    ("an order of no letters", "payments.void-session", r#"{"orderId":""}"#, "/orderId"),
    ("an order that is a number", "delivery.get-status", r#"{"orderId":5}"#, "/orderId"),
    ("a negative amount", "payments.create-session", r#"{"amount":"-1.00"}"#, "/amount"),
    ("an amount with an exponent", "payments.refund", r#"{"amount":1e2}"#, "/amount"),
    ("an unknown currency", "payments.refund", r#"{"currency":"QQQ"}"#, "/currency"),
    ("an unknown status", "orders.update-status", r#"{"status":"lost"}"#, "/status"),
    ("a truth in quotes", "orders.approve", r#"{"approved":"yes"}"#, "/approved"),
    ("an unknown mail", "notifications.send", r#"{"kind":"spam"}"#, "/kind"),
    ("an address without a place", "notifications.send", r#"{"to":"bob"}"#, "/to"),
    ("an address with a header", "notifications.send", r#"{"to":"a@b.c\r\nBcc: d@e.f"}"#, "/to"),
    ("a name with NUL", "delivery.create-shipment", r#"{"name":"\u0000"}"#, "/name"),
    (
        "an address that is text",
        "delivery.create-shipment",
        r#"{"shippingAddress":"x"}"#,
        "/shippingAddress",
    ),
    ("a reason of 1,001 letters", "orders.open-ticket", r#"{"reason":"r{1001}"}"#, "/reason"),
];

/// Headers that do not do, for procedures that need a key.
fn bad_headers() -> Vec<(&'static str, &'static str, String)> {
    vec![
        ("an empty key", "Idempotency-Key", String::new()),
        ("a key of 513 letters", "Idempotency-Key", "k".repeat(513)),
        ("an attempt in words", "Attempt-Class", "two".to_owned()),
        ("a negative attempt", "Attempt-Class", "-1".to_owned()),
        ("an attempt beyond 32 bits", "Attempt-Class", "4294967296".to_owned()),
        ("an undo of nothing", "Undo-Of", String::new()),
    ]
}

pub(crate) fn rows() -> Vec<Asked> {
    let requests = MESSAGES.iter().filter(|it| matches!(it.kind, Kind::Request { .. }));
    let mut rows: Vec<Asked> = requests.flat_map(|it| of(it.subject)).collect();
    for (what, subject, body, pointer) in FIELDS {
        let body = super::orders::written_out(body).into_bytes();
        rows.push(asked(*what, subject, &body, "invalid", Some(pointer)));
    }
    rows
}

fn of(subject: &'static str) -> Vec<Asked> {
    let mut rows: Vec<Asked> = BODIES
        .iter()
        .map(|(what, body, pointer)| asked(*what, subject, body, "invalid", *pointer))
        .collect();
    for levels in [101, 100_000] {
        let body = "[".repeat(levels) + &"]".repeat(levels);
        let what = format!("{levels} brackets");
        rows.push(asked(what, subject, body.as_bytes(), "invalid", None));
    }
    let large = format!("{{\"coupon\":\"{}\"}}", "x".repeat(900 << 10));
    rows.push(asked("a body of 900 KiB", subject, large.as_bytes(), "invalid", Some("/coupon")));
    for (what, name, value) in bad_headers() {
        let mut row = asked(what, subject, b"{}", "invalid", None);
        row.headers.retain(|it| it.0 != name);
        row.headers.push((name, value));
        rows.push(row);
    }
    if !QUERIES.contains(&subject) {
        let row = asked("no key", subject, b"{}", "key_missing", None);
        rows.push(Asked { headers: Vec::new(), ..row });
    }
    rows
}

fn asked(
    what: impl Into<String>,
    subject: &'static str,
    body: &[u8],
    code: &'static str,
    pointer: Option<&'static str>,
) -> Asked {
    let headers = vec![("Idempotency-Key", format!("doors/{subject}"))];
    Asked { what: what.into(), subject, headers, body: body.to_vec(), code, pointer }
}

impl Asked {
    pub(crate) fn line(&self) -> String {
        let pointer = self.pointer.unwrap_or("-");
        format!("| {} | nats {} | rejected: {} | {pointer} |", self.what, self.subject, self.code)
    }

    pub(crate) async fn check(&self, runtime: &Client) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.insert(*name, value.as_str());
        }
        let (to, body) = (self.subject.to_owned(), self.body.clone().into());
        let asking = runtime.request_with_headers(to, headers, body);
        let answer = tokio::time::timeout(ANSWER_WITHIN, asking).await;
        let answer = answer.map_err(|_| format!("{} no answer", self.line()))?;
        let answer = answer.map_err(|err| format!("{} no answer: {err}", self.line()))?;
        let header = |name: &str| {
            let headers = answer.headers.as_ref();
            headers.and_then(|it| it.get(name)).map(|it| it.as_str().to_owned()).unwrap_or_default()
        };
        let body: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        let blames = |pointer: &str| errors.iter().any(|it| it["pointer"] == pointer);
        let is_right = header("Fermata-Outcome") == "rejected"
            && header("Nats-Service-Error-Code") == "400"
            && body["code"] == self.code
            && body["reason"].as_str().is_some_and(|it| !it.is_empty())
            && self.pointer.is_none_or(blames);
        if is_right { Ok(()) } else { Err(format!("{} {:?} {body}", self.line(), answer.headers)) }
    }
}

/// A connection as one of the users of `deploy/nats-users.conf`, in inboxes of its own.
pub(crate) async fn connect(stack: &Stack, user: &str) -> Result<Client, Failure> {
    let password = &stack.env()[&format!("{}_NATS_PASSWORD", user.to_uppercase())];
    async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.clone())
        .custom_inbox_prefix(format!("_INBOX_{user}"))
        .connect(format!("nats://{}", stack.env()["NATS_ADDR"]))
        .await
        .map_err(|err| format!("{user} cannot connect: {err}"))
}
