//! Events of strangers with something wrong in them: each has a verdict that can be looked up, and
//! no saga sees it.

use super::orders::written_out;
use async_nats::{Client, HeaderMap, jetstream};
use proto_schemas::{Kind, MESSAGES};
use serde_json::Value;
use std::time::Duration;
use system_tests::{Failure, stack::Stack, until};
use uuid::Uuid;

const APPROVED: &str = "orders.trigger.approved";
const VERDICT_WITHIN: Duration = Duration::from_secs(20);

/// One event, and what must become of it.
pub(crate) struct Told {
    what: String,
    subject: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    verdict: &'static str,
    /// A part of the verdict's detail.
    says: String,
}

/// What is wrong with the body of any event, the body, and a part of the reason.
const BODIES: &[(&str, &str, &str)] = &[
    ("nothing", "", "not JSON"),
    ("no JSON", "hello", "not JSON"),
    ("half an object", "{\"orderId\":", "not JSON"),
    ("NaN", "{\"orderId\":NaN}", "not JSON"),
    ("something after the end", "{} {}", "not JSON"),
    ("101 brackets", "[{101}", "nested deeper than 100 levels"),
    ("100,000 brackets", "[{100000}", "nested deeper than 100 levels"),
    ("800 KiB", "{\"orderId\":\"x{819200}\"}", "more than"),
];

/// What is wrong with an event that is JSON: no definition can use it.
const CONTENTS: &[(&str, &str, &str)] = &[
    ("no key", "{}", "no key"),
    ("a list", "[]", "no key"),
    ("null", "null", "no key"),
    ("a key that is an object", "{\"orderId\":{}}", "no key"),
    ("a key that is null", "{\"orderId\":null}", "no key"),
    ("an empty key", "{\"orderId\":\"\"}", "a key of 0 bytes"),
    ("a key of 257 letters", "{\"orderId\":\"x{257}\"}", "a key of 257 bytes"),
    ("a key that is a path", "{\"orderId\":\"../x\"}", "/orderId"),
    ("nothing but a key", "{\"orderId\":\"ORD-none\"}", "must be given"),
];

/// What is wrong with the headers, and a part of the reason.
fn bad_headers() -> Vec<(&'static str, &'static str, String, &'static str)> {
    let structured = "application/cloudevents+json".to_owned();
    let batch = "application/cloudevents-batch+json".to_owned();
    let long = "k".repeat(257);
    vec![
        ("an empty key in the header", "Fermata-Key", String::new(), "the key has 0"),
        ("a key of 257 letters in the header", "Fermata-Key", long, "the key"),
        ("a CloudEvent that is none", "Content-Type", structured, "no CloudEvent"),
        ("a batch of CloudEvents", "Content-Type", batch, "singly"),
    ]
}

/// Subjects of the stream that no definition declares.
const UNKNOWN: &[&str] = &[
    "orders.trigger.nothing",
    "orders.trigger.created.twice",
    "payments.trigger.Completed",
    "inventory.trigger.reserved",
    "notifications.trigger.x",
];

/// Subjects that no stream takes, or that a stranger may not use.
pub(crate) const REFUSED: &[&str] = &["shop.trigger.paid", "payments.refund", "orders.create"];

pub(crate) fn rows() -> Vec<Told> {
    let is_event = |kind| matches!(kind, Kind::Event | Kind::Decision);
    let events = MESSAGES.iter().filter(|it| is_event(it.kind));
    let mut rows: Vec<Told> = events.flat_map(|it| of(it.subject)).collect();
    for subject in UNKNOWN {
        rows.push(told("an unknown subject", subject, b"{\"a\":1}", "unrouted", ""));
    }
    let long = format!("orders.trigger.{}", "x".repeat(300));
    rows.push(told("a subject of 315 letters", &long, b"{}", "dead_letter", "the subject has 315"));
    rows
}

fn of(subject: &str) -> Vec<Told> {
    let mut rows = Vec::new();
    for (what, body, says) in BODIES {
        rows.push(told(what, subject, written_out(body).as_bytes(), "dead_letter", says));
    }
    rows.push(told("no UTF-8", subject, b"\xff\xfe", "dead_letter", "not UTF-8"));
    for (what, name, value, says) in bad_headers() {
        let row = told(what, subject, b"{}", "dead_letter", says);
        rows.push(Told { headers: vec![(name, value)], ..row });
    }
    let long = told("an id of 256 letters", subject, b"{}", "dead_letter", "the id has 256");
    rows.push(Told { headers: vec![("Nats-Msg-Id", format!("{}{:x>224}", id(), ""))], ..long });
    let key = match subject {
        "payments.trigger.refunded" => "refundId",
        "payments.trigger.disputed" => "disputeId",
        _ => "orderId",
    };
    for (what, body, says) in CONTENTS {
        let (verdict, says) = match subject {
            APPROVED => ("refused", "unsigned decision"),
            _ => ("dead_letter", *says),
        };
        let body = written_out(body).replace("orderId", key);
        rows.push(told(what, subject, body.as_bytes(), verdict, says));
    }
    if subject == APPROVED {
        let forged = br#"{"orderId":"ORD-none","approved":true,"by":"nobody"}"#;
        rows.push(told("a forged decision", subject, forged, "refused", "unsigned decision"));
    }
    rows
}

fn told(what: &str, subject: &str, body: &[u8], verdict: &'static str, says: &str) -> Told {
    Told {
        what: what.to_owned(),
        subject: subject.to_owned(),
        headers: Vec::new(),
        body: body.to_vec(),
        verdict,
        says: says.to_owned(),
    }
}

/// 32 letters that nothing else has.
fn id() -> String {
    Uuid::new_v4().simple().to_string()
}

impl Told {
    pub(crate) fn line(&self) -> String {
        let subject: String = self.subject.chars().take(60).collect();
        format!("| {} | nats {subject} | {} | {} |", self.what, self.verdict, self.says)
    }

    /// Publishes it, and waits for its verdict.
    pub(crate) async fn check(&self, stack: &Stack, stranger: &Client) -> Result<(), Failure> {
        let wrong = |seen: &dyn std::fmt::Display| format!("{} {seen}", self.line());
        let mut headers = HeaderMap::new();
        let own = self.headers.iter().find(|it| it.0 == "Nats-Msg-Id").map(|it| it.1.clone());
        let id = own.unwrap_or_else(id);
        headers.insert("Nats-Msg-Id", id.as_str());
        for (name, value) in &self.headers {
            headers.insert(*name, value.as_str());
        }
        let (to, body) = (self.subject.clone(), self.body.clone().into());
        let stream = jetstream::new(stranger.clone());
        let publishing = stream.publish_with_headers(to, headers, body);
        let stored = publishing.await.map_err(|err| wrong(&err))?;
        stored.await.map_err(|err| wrong(&err))?;
        let url = format!("{}/api/events", stack.api().urls().runtime);
        let shown = until(&self.line(), VERDICT_WITHIN, || async {
            let list = stack.api().get(&url).await?;
            let is_ours = |it: &&Value| {
                it["id"].as_str().is_some_and(|it| !it.is_empty() && id.starts_with(it))
            };
            let items = list["items"].as_array().cloned().unwrap_or_default();
            items.iter().find(is_ours).cloned().ok_or_else(|| "no verdict".to_owned())
        })
        .await?;
        let verdicts = shown["verdicts"].as_array().cloned().unwrap_or_default();
        let is_right = |it: &Value| {
            let detail = it["detail"].as_str().unwrap_or_default();
            it["outcome"] == self.verdict && detail.contains(&self.says)
        };
        if verdicts.is_empty() || !verdicts.iter().all(is_right) {
            return Err(wrong(&shown));
        }
        let one = stack.api().get(&format!("{url}/{}", shown["position"])).await?;
        if one["body"].is_null() && self.body != b"null" {
            return Err(wrong(&"its body is not there to be looked at"));
        }
        Ok(())
    }
}
