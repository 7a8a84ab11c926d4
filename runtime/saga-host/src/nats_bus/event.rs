//! A message of the stream, read as an event: plain JSON with headers, CloudEvents in binary or in
//! structured mode. What cannot be read becomes a dead letter with its reason, and never blocks the
//! line.

use crate::clock;
use async_nats::HeaderMap;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use chassis::{
    json::{DEPTH_MAX, is_too_deep},
    percent,
};
use chrono::{DateTime, Utc};
use saga_core::{
    core::{KEY_BYTES_MAX, PAYLOAD_BYTES_MAX},
    id::Time,
    input::{Arrival, Input, Ticket, Unreadable},
    payload::Payload,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Ids are store keys and parts of receipts; UUIDs and providers' ids are far shorter.
const ID_BYTES_MAX: usize = 255;
/// A subject is part of store rows and metrics of publishers; ours have some 30 bytes.
const SUBJECT_BYTES_MAX: usize = 255;
/// The core gives every input its ticket.
const NO_TICKET: Ticket = 0;

const MESSAGE_ID: &str = "Nats-Msg-Id";
/// The header with the business key.
pub(crate) const KEY: &str = "Fermata-Key";
const CONTENT_TYPE: &str = "Content-Type";
const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";

/// What the stream tells of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) subject: &'a str,
    pub(super) headers: Option<&'a HeaderMap>,
    pub(super) body: &'a [u8],
    /// Its sequence in the stream.
    pub(super) sequence: u64,
    /// When the broker took it.
    pub(super) published: DateTime<Utc>,
}

/// The fields of a structured CloudEvent that mean something here.
#[derive(Deserialize)]
struct Structured {
    specversion: String,
    id: String,
    #[serde(rename = "type")]
    kind: String,
    source: String,
    subject: Option<String>,
    data: Option<Box<RawValue>>,
    data_base64: Option<String>,
}

/// What of it is the event.
struct Content {
    id: Option<String>,
    key: Option<String>,
    body: Payload,
}

impl Message<'_> {
    /// The id under which a receipt names it.
    pub(super) fn id(&self) -> String {
        self.header_id().unwrap_or_else(|| self.own_id())
    }

    /// The input that the core gets, with the id under which a receipt names it.
    pub(super) fn read(&self) -> (Input, String) {
        match self.content() {
            Ok(Content { id, key, body }) => {
                let id = id.unwrap_or_else(|| self.own_id());
                let arrival = Arrival {
                    ticket: NO_TICKET,
                    name: self.subject.to_owned(),
                    id: id.clone(),
                    source: self.source().to_owned(),
                    key,
                    body,
                    at: clock::of_broker(self.published),
                };
                (Input::Arrived(arrival), id)
            }
            Err(reason) => self.unreadable(reason),
        }
    }

    /// The same, for a message that cannot be read.
    pub(super) fn unreadable(&self, reason: String) -> (Input, String) {
        let id = self.id();
        let (body, is_base64) = text_or_base64(self.body);
        let unreadable = Unreadable {
            ticket: NO_TICKET,
            name: self.subject.chars().take(SUBJECT_BYTES_MAX).collect(),
            id: id.chars().take(ID_BYTES_MAX).collect(),
            body,
            is_base64,
            headers: self.kept_headers(),
            published_at: clock::of_broker(self.published),
            reason,
        };
        (Input::Unreadable(unreadable), id)
    }

    fn content(&self) -> Result<Content, String> {
        check("the subject", self.subject, SUBJECT_BYTES_MAX)?;
        if PAYLOAD_BYTES_MAX < self.body.len() {
            let bytes = self.body.len();
            return Err(format!("the body has {bytes} bytes, more than {PAYLOAD_BYTES_MAX}"));
        }
        let media = self.header(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
        let content = match media.split(';').next().unwrap_or_default().trim() {
            STRUCTURED => self.structured()?,
            BATCHED => return Err("batches of CloudEvents are not taken; send them singly".into()),
            _ => self.plain()?,
        };
        if let Some(id) = &content.id {
            check("the id", id, ID_BYTES_MAX)?;
        }
        if let Some(key) = &content.key {
            check("the key", key, KEY_BYTES_MAX)?;
        }
        Ok(content)
    }

    fn plain(&self) -> Result<Content, String> {
        let key = self.header(KEY).map(str::to_owned);
        let key = key.or_else(|| self.header("ce-subject").map(percent::decoded));
        Ok(Content { id: self.header_id(), key, body: json(self.body)? })
    }

    /// Headers win over the envelope, since a relay may set them.
    fn structured(&self) -> Result<Content, String> {
        let event: Structured = serde_json::from_slice(self.body)
            .map_err(|err| format!("the body is no CloudEvent: {err}"))?;
        if event.specversion != "1.0" {
            return Err(format!("CloudEvents {} is not known, 1.0 is", event.specversion));
        }
        if event.id.is_empty() || event.kind.is_empty() || event.source.is_empty() {
            return Err("id, type and source of a CloudEvent may not be empty".into());
        }
        let body = match (event.data, event.data_base64) {
            (Some(data), None) => json(data.get().as_bytes())?,
            (None, Some(data)) => {
                let data = BASE64.decode(data).map_err(|_| "data_base64 is no base64")?;
                json(&data)?
            }
            (None, None) => return Err("the CloudEvent has no data".into()),
            (Some(_), Some(_)) => return Err("the CloudEvent has data and data_base64".into()),
        };
        let key = self.header(KEY).map(str::to_owned).or(event.subject);
        Ok(Content { id: self.header_id().or(Some(event.id)), key, body })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers?.get(name).map(|it| it.as_str())
    }

    /// Those that this module looks at.
    fn kept_headers(&self) -> BTreeMap<String, String> {
        let known = [MESSAGE_ID, KEY, CONTENT_TYPE, "ce-id", "ce-subject"].into_iter();
        known.filter_map(|name| Some((name.to_owned(), self.header(name)?.to_owned()))).collect()
    }

    fn header_id(&self) -> Option<String> {
        let id = self.header(MESSAGE_ID).map(str::to_owned);
        id.or_else(|| self.header("ce-id").map(percent::decoded)).filter(|it| !it.is_empty())
    }

    /// Its sequence, and the nanosecond in which the broker took it: a stream that lost its end or
    /// its settings, or was put back from a copy, gives the same sequences again. Both are stored
    /// with the message.
    fn own_id(&self) -> String {
        let published_ns = self.published.timestamp_nanos_opt().unwrap_or_default();
        format!("{}-{published_ns}", self.sequence)
    }

    /// From whom, by the prefix for which only one user may publish.
    fn source(&self) -> &str {
        self.subject.split('.').next().unwrap_or_default()
    }
}

fn json(body: &[u8]) -> Result<Payload, String> {
    if is_too_deep(body) {
        return Err(format!("the body is nested deeper than {DEPTH_MAX} levels"));
    }
    let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8".to_owned())?;
    Payload::from_text(text).map_err(|err| format!("the body is not JSON: {err}"))
}

fn check(what: &str, text: &str, bytes_max: usize) -> Result<(), String> {
    if text.is_empty() || bytes_max < text.len() {
        return Err(format!("{what} has {} bytes; expected 1 to {bytes_max}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{what} holds control characters"));
    }
    Ok(())
}

fn text_or_base64(body: &[u8]) -> (String, bool) {
    match std::str::from_utf8(body) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (BASE64.encode(body), true),
    }
}

/// A message that was no event when it came, as the log keeps it.
pub(crate) struct Kept {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) is_base64: bool,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) published_at: Time,
}

impl Kept {
    /// Reads it again, as this build reads messages.
    pub(crate) fn reread(self) -> Result<Arrival, String> {
        let body = match self.is_base64 {
            true => BASE64.decode(&self.body).map_err(|_| "what was kept of it is no base64")?,
            false => self.body.into_bytes(),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.insert(name.as_str(), value.as_str());
        }
        let message = Message {
            subject: &self.name,
            headers: Some(&headers),
            body: &body,
            sequence: 0,
            published: DateTime::UNIX_EPOCH,
        };
        let Content { id, key, body } = message.content()?;
        let source = message.source().to_owned();
        let (ticket, id, at) = (NO_TICKET, id.unwrap_or(self.id), self.published_at);
        Ok(Arrival { ticket, name: self.name, id, source, key, body, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (*name, *value)).fold(
            HeaderMap::new(),
            |mut map, (name, value)| {
                map.insert(name, value);
                map
            },
        )
    }

    fn read(subject: &str, pairs: &[(&str, &str)], body: &[u8]) -> Input {
        let headers = headers(pairs);
        let message = Message {
            subject,
            headers: Some(&headers),
            body,
            sequence: 7,
            published: DateTime::from_timestamp_nanos(5_000_099),
        };
        message.read().0
    }

    fn event(pairs: &[(&str, &str)], body: &[u8]) -> Arrival {
        match read("payments.trigger.completed", pairs, body) {
            Input::Arrived(arrival) => arrival,
            other => panic!("no event: {other:?}"),
        }
    }

    fn reason(pairs: &[(&str, &str)], body: &[u8]) -> String {
        match read("payments.trigger.completed", pairs, body) {
            Input::Unreadable(unreadable) => unreadable.reason,
            other => panic!("an event: {other:?}"),
        }
    }

    #[test]
    fn the_id_is_that_of_nats_then_that_of_cloud_events_then_our_own() {
        let both = [("Nats-Msg-Id", "a"), ("ce-id", "b")];
        assert_eq!(event(&both, b"{}").id, "a");
        assert_eq!(event(&[("ce-id", "b%20c")], b"{}").id, "b c");
        assert_eq!(event(&[], b"{}").id, "7-5000099");
    }

    #[test]
    fn the_key_comes_from_a_header_and_the_source_from_the_subject() {
        let both = [("Fermata-Key", "k"), ("ce-subject", "s")];
        let arrival = event(&both, b"{}");
        assert_eq!((arrival.key.as_deref(), arrival.source.as_str()), (Some("k"), "payments"));
        assert_eq!(event(&[("ce-subject", "s")], b"{}").key.as_deref(), Some("s"));
        assert_eq!(event(&[], b"{}").key, None);
    }

    #[test]
    fn a_structured_cloud_event_gives_its_data_with_all_digits() {
        let body = br#"{"specversion":"1.0","id":"e1","type":"t","source":"s","subject":"k",
            "data":{"amount":1.10000000000000000001}}"#;
        let arrival = event(&[("content-type", "application/json")], body);
        assert!(arrival.body.text().contains("specversion"), "header names are case-sensitive");
        let arrival =
            event(&[("Content-Type", "application/CloudEvents+JSON; charset=utf-8")], body);
        assert_eq!((arrival.id.as_str(), arrival.key.as_deref()), ("e1", Some("k")));
        assert_eq!(arrival.body.text(), r#"{"amount":1.10000000000000000001}"#);
        let body =
            br#"{"specversion":"1.0","id":"e1","type":"t","source":"s","data_base64":"e30="}"#;
        assert_eq!(event(&[("Content-Type", STRUCTURED)], body).body.text(), "{}");
    }

    #[test]
    fn what_is_no_event_says_why_and_keeps_its_body() {
        assert!(reason(&[], b"{oops").contains("not JSON"));
        assert!(reason(&[], &[0xff, 0xfe]).contains("not UTF-8"));
        assert!(reason(&[("Content-Type", STRUCTURED)], b"{}").contains("no CloudEvent"));
        assert!(reason(&[("Content-Type", BATCHED)], b"[]").contains("singly"));
        assert!(reason(&[("Fermata-Key", "")], b"{}").contains("the key"));
        assert!(reason(&[("Nats-Msg-Id", &"x".repeat(300))], b"{}").contains("the id"));
        let large = vec![b' '; PAYLOAD_BYTES_MAX + 1];
        assert!(reason(&[], &large).contains("more than"));
        let Input::Unreadable(it) = read("a.trigger.b", &[], &[0xff]) else { panic!("read") };
        assert_eq!((it.body.as_str(), it.is_base64), ("/w==", true));
    }

    #[test]
    fn what_was_kept_of_a_message_reads_as_it_did() {
        let kept = |pairs: &[(&str, &str)], body: &[u8]| {
            let Input::Unreadable(it) = read("a.trigger.b", pairs, body) else {
                panic!("an event")
            };
            let Unreadable { name, id, body, is_base64, headers, published_at, .. } = it;
            Kept { name, id, body, is_base64, headers, published_at }
        };
        let pairs = [("Nats-Msg-Id", "m1"), ("Fermata-Key", ""), ("Traceparent", "x")];
        let mut dead = kept(&pairs, b"{}");
        assert_eq!(dead.headers.len(), 2, "only what says what an event is: {:?}", dead.headers);
        dead.headers.insert(KEY.to_owned(), "k1".to_owned());
        let again = dead.reread().unwrap();
        assert_eq!((again.id.as_str(), again.key.as_deref()), ("m1", Some("k1")));
        assert_eq!((again.source.as_str(), again.at), ("a", Time(5)));
        assert!(kept(&[], &[0xff]).reread().unwrap_err().contains("not UTF-8"));
        assert!(kept(&[], b"{oops").reread().unwrap_err().contains("not JSON"));
        let mut nameless = kept(&[("Fermata-Key", "")], b"{}");
        nameless.headers.clear();
        assert_eq!(
            nameless.reread().unwrap().id,
            "7-5000099",
            "under the id that its receipt named"
        );
    }
}
