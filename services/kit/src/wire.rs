//! Requests and answers as they lie on NATS.

use crate::outcome::Rejection;
use async_nats::{HeaderMap, service::NATS_SERVICE_ERROR, service::NATS_SERVICE_ERROR_CODE};
use chassis::{json, percent};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The largest body of a request, a reply or an event: the broker's limit of 1 MiB without headers
/// and with room for what the runtime adds when it stores them.
pub const PAYLOAD_BYTES_MAX: usize = 768 << 10;
/// Longer idempotency keys are refused; the runtime's have some 60 bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// What a header shows of a reason; the body has all of it.
const REASON_CHARS_MAX: usize = 256;

/// Says which request this is: equal for every repeat of it.
pub(crate) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The key of the call that this request undoes.
pub(crate) const UNDO_OF: &str = "Undo-Of";
/// Why the saga undoes: see [`AbortKind`].
pub(crate) const ABORT_KIND: &str = "Abort-Kind";
/// The reason in words, percent-encoded UTF-8.
pub(crate) const ABORT_REASON: &str = "Abort-Reason";
/// When the saga began that asks, RFC 3339.
pub(crate) const SAGA_BEGAN: &str = "Saga-Began";
/// Counts an operator's retries of one call, from 1.
pub(crate) const ATTEMPT_CLASS: &str = "Attempt-Class";
/// The class of an answer: `ok`, `rejected` or `failed`.
pub(crate) const OUTCOME: &str = "Fermata-Outcome";

/// Why a saga undoes what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbortKind {
    /// Somebody, or a service, said no.
    Rejected,
    /// Something did not come in time.
    Deadline,
    /// Something failed, and the engine had to end the saga.
    Failed,
    /// An operator cancelled it.
    Cancelled,
    /// Another arm of a race has won.
    Lost,
}

impl FromStr for AbortKind {
    type Err = ();

    fn from_str(text: &str) -> Result<AbortKind, ()> {
        match text {
            "rejected" => Ok(AbortKind::Rejected),
            "deadline" => Ok(AbortKind::Deadline),
            "failed" => Ok(AbortKind::Failed),
            "cancelled" => Ok(AbortKind::Cancelled),
            "lost" => Ok(AbortKind::Lost),
            _ => Err(()),
        }
    }
}

/// A request with its headers read; also stored while its outside work is pending. Without `Debug`,
/// because bodies hold personal data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) subject: String,
    /// JSON, as it was sent.
    pub(crate) body: String,
    pub(crate) key: Option<String>,
    pub(crate) undo_of: Option<String>,
    pub(crate) abort_kind: Option<AbortKind>,
    pub(crate) abort_reason: Option<String>,
    pub(crate) attempt_class: u32,
    /// When its saga began; older runtimes do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) began: Option<DateTime<Utc>>,
}

impl Request {
    /// Reads the headers.
    pub(crate) fn read(
        subject: &str,
        body: &[u8],
        headers: Option<&HeaderMap>,
    ) -> Result<Request, Rejection> {
        let header = |name: &str| single(headers, name);
        let body = std::str::from_utf8(body).map_err(|_| malformed("the body is not UTF-8"))?;
        if json::is_too_deep(body.as_bytes()) {
            let levels = json::DEPTH_MAX;
            return Err(malformed(&format!("the body is nested deeper than {levels} levels")));
        }
        let class = match header(ATTEMPT_CLASS)? {
            None => Ok(1),
            Some(text) => text.parse().map_err(|_| malformed("Attempt-Class is no number")),
        };
        Ok(Request {
            subject: subject.to_owned(),
            body: body.to_owned(),
            key: header(IDEMPOTENCY_KEY)?.map(key_of).transpose()?,
            undo_of: header(UNDO_OF)?.map(key_of).transpose()?,
            abort_kind: header(ABORT_KIND)?.and_then(|text| text.parse().ok()),
            abort_reason: header(ABORT_REASON)?.map(percent::decoded),
            attempt_class: class?,
            began: header(SAGA_BEGAN)?.and_then(|text| text.parse().ok()),
        })
    }

    /// Undos bound to a fact name no call; their kind or the form of their key shows what they are.
    pub(crate) fn is_undo(&self) -> bool {
        self.undo_of.is_some()
            || self.abort_kind.is_some()
            || self.key.as_ref().is_some_and(|key| key.ends_with("/undo"))
    }
}

/// The only header of this name. Of two, a reader elsewhere may take the other one.
fn single<'h>(headers: Option<&'h HeaderMap>, name: &str) -> Result<Option<&'h str>, Rejection> {
    let mut values = headers.into_iter().flat_map(|headers| headers.get_all(name));
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(|it| it.as_str())),
        _ => Err(malformed(&format!("the header {name} stands there twice"))),
    }
}

fn key_of(text: &str) -> Result<String, Rejection> {
    if text.is_empty() || text.len() > KEY_BYTES_MAX {
        return Err(malformed(&format!("a key has 1 to {KEY_BYTES_MAX} bytes")));
    }
    Ok(text.to_owned())
}

fn malformed(reason: &str) -> Rejection {
    Rejection::of_request("invalid", reason)
}

/// What is sent back. Without `Debug`, like the request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Ok { body: String },
    Rejected { status: u16, reason: String, body: String },
    Failed { why: String },
}

impl Answer {
    pub(crate) fn rejected(rejection: &Rejection) -> Answer {
        Answer::Rejected {
            status: rejection.status_code(),
            reason: rejection.reason().to_owned(),
            body: rejection.body(),
        }
    }

    pub(crate) fn failed(why: impl Into<String>) -> Answer {
        Answer::Failed { why: why.into() }
    }

    /// The value of the header [`OUTCOME`].
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Answer::Ok { .. } => "ok",
            Answer::Rejected { .. } => "rejected",
            Answer::Failed { .. } => "failed",
        }
    }

    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(OUTCOME, self.class());
        let error = match self {
            Answer::Ok { .. } => None,
            Answer::Rejected { status, reason, .. } => Some((*status, reason)),
            Answer::Failed { why } => Some((500, why)),
        };
        if let Some((status, reason)) = error {
            headers.insert(NATS_SERVICE_ERROR_CODE, status.to_string().as_str());
            headers.insert(NATS_SERVICE_ERROR, one_line(reason).as_str());
        }
        headers
    }
}

/// A header takes no line breaks.
pub(crate) fn one_line(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(REASON_CHARS_MAX).map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_decoded_where_they_are_well_formed() {
        let cases = [
            ("paid%20late", "paid late"),
            ("zu%20sp%C3%A4t", "zu spät"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%FF", "%FF"),
            ("", ""),
        ];
        for (sent, read) in cases {
            assert_eq!(percent::decoded(sent), read);
        }
    }

    #[test]
    fn attributes_are_encoded_as_cloud_events_asks() {
        // The example of its NATS protocol binding.
        assert_eq!(percent::encoded("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(percent::encoded("50%\"a/b\""), "50%25%22a/b%22");
    }

    #[test]
    fn headers_are_read_and_bounded() {
        let mut headers = HeaderMap::new();
        headers.insert(IDEMPOTENCY_KEY, "s/0/3/undo");
        headers.insert(UNDO_OF, "s/0/3");
        headers.insert(ABORT_KIND, "lost");
        headers.insert(ATTEMPT_CLASS, "2");
        let request = Request::read("a.b", b"{}", Some(&headers)).unwrap();
        assert_eq!(request.undo_of.as_deref(), Some("s/0/3"));
        assert_eq!(request.abort_kind, Some(AbortKind::Lost));
        assert_eq!(request.attempt_class, 2);
        assert!(request.is_undo());

        headers.insert(ATTEMPT_CLASS, "two");
        assert!(Request::read("a.b", b"{}", Some(&headers)).is_err());
        headers.insert(ATTEMPT_CLASS, "2");
        headers.insert(IDEMPOTENCY_KEY, "k".repeat(KEY_BYTES_MAX + 1).as_str());
        assert!(Request::read("a.b", b"{}", Some(&headers)).is_err());
        assert!(Request::read("a.b", &[0xff], None).is_err());
        for name in [IDEMPOTENCY_KEY, UNDO_OF, ABORT_KIND, ABORT_REASON, ATTEMPT_CLASS] {
            let mut twice = HeaderMap::new();
            twice.insert(name, "2");
            assert!(Request::read("a.b", b"{}", Some(&twice)).is_ok(), "{name}");
            twice.append(name, "2");
            assert!(Request::read("a.b", b"{}", Some(&twice)).is_err(), "{name} twice");
        }
        assert!(Request::read("a.b", "[".repeat(100_000).as_bytes(), None).is_err());
        assert_eq!(Request::read("a.b", b"", None).unwrap().attempt_class, 1);
    }

    #[test]
    fn a_reason_cannot_break_out_of_its_header() {
        let answer = Answer::failed("a\r\nNats-Service-Error-Code: 400");
        let text = answer.headers().get(NATS_SERVICE_ERROR).unwrap().as_str().to_owned();
        assert_eq!(text, "a  Nats-Service-Error-Code: 400");
    }
}
