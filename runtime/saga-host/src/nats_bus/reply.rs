//! Answers of services: whose they are, and of which class.

use async_nats::{HeaderMap, StatusCode};
use chassis::{
    json::{DEPTH_MAX, is_too_deep},
    percent,
};
use saga_core::{
    core::PAYLOAD_BYTES_MAX,
    effect::{Request, RequestId},
    id::{Path, SagaId},
    input::Answer,
    payload::Payload,
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

/// All answers come here; one subscription takes them, also those to requests of a process that
/// has died.
pub(super) const REPLIES: &str = "fermata.reply.>";
const PREFIX: &str = "fermata.reply.";
const UNDO: &str = "undo";
const OUTCOME: &str = "Fermata-Outcome";
const ERROR_CODE: &str = "Nats-Service-Error-Code";
const ERROR: &str = "Nats-Service-Error";
/// A service knows the key with another body: nobody can say what it did.
const KEY_REUSED: &str = "key_reused";
/// What the services' kit answers when its reply does not fit into a message.
const TOO_LARGE: &str = "reply too large";

/// Answers that are compared with what comes after them: a repeat follows soon, if at all.
const ANSWERS_REMEMBERED: usize = 4096;

/// What an answer is.
#[derive(Debug)]
pub(super) enum Class {
    /// For the core.
    Answer(Answer),
    /// Ask again.
    Failed(String),
}

/// The step's own subject for answers: the same for every attempt, so a late answer counts.
pub(super) fn subject(request: &Request) -> String {
    let RequestId { saga, step, is_undo } = &request.id;
    let undo = if *is_undo { ".undo" } else { "" };
    format!("{PREFIX}{saga}.{}.{}{undo}", request.epoch, step.as_str())
}

/// The step to which a subject belongs.
pub(super) fn step_of(subject: &str) -> Option<(RequestId, u32)> {
    let rest = subject.strip_prefix(PREFIX)?;
    let (saga, rest) = rest.split_once('.')?;
    let (epoch, path) = rest.split_once('.')?;
    let (path, is_undo) = match path.strip_suffix(UNDO).and_then(|it| it.strip_suffix('.')) {
        Some(path) => (path, true),
        None => (path, false),
    };
    let saga: SagaId = saga.parse().ok()?;
    let step: Path = path.parse().ok().filter(|it: &Path| *it != Path::root())?;
    Some((RequestId { saga, step, is_undo }, epoch.parse().ok()?))
}

#[derive(Deserialize)]
struct Rejection {
    code: Option<String>,
    reason: Option<String>,
}

/// Reads an answer: the header `Fermata-Outcome` decides, and where it is absent the error code.
pub(super) fn classify(
    status: Option<StatusCode>,
    headers: Option<&HeaderMap>,
    body: &[u8],
) -> Class {
    if let Some(status) = status.filter(|it| *it != StatusCode::OK) {
        let nobody = "nobody listens on the subject";
        let is_nobody = status == StatusCode::NO_RESPONDERS;
        return Class::Failed(if is_nobody { nobody.into() } else { format!("status {status}") });
    }
    let header = |name| headers.and_then(|it| it.get(name)).map(|it| it.as_str());
    let code = header(ERROR_CODE);
    let is_refusal =
        code.and_then(|it| it.parse().ok()).is_some_and(|it: u16| (400..500).contains(&it));
    let error = || percent::decoded(header(ERROR).unwrap_or("no reason given"));
    match (header(OUTCOME), code) {
        (Some("ok"), _) | (None, None) => ok(body),
        (Some("rejected"), _) => rejected(code, error(), body),
        (None, Some(_)) if is_refusal => rejected(code, error(), body),
        (Some("failed"), _) | (None, Some(_)) if error() == TOO_LARGE => useless(TOO_LARGE.into()),
        (Some("failed"), _) | (None, Some(_)) => Class::Failed(error()),
        (Some(other), _) => useless(format!("the answer has the unknown outcome `{other}`")),
    }
}

fn ok(body: &[u8]) -> Class {
    if PAYLOAD_BYTES_MAX < body.len() {
        return useless(format!("the answer has {} bytes, too many", body.len()));
    }
    if is_too_deep(body) {
        return useless(format!("the answer is nested deeper than {DEPTH_MAX} levels"));
    }
    // A service that has nothing to say may send nothing.
    let body = if body.is_empty() { b"null" } else { body };
    let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8".to_owned());
    let payload = text.and_then(|it| Payload::from_text(it).map_err(|err| err.to_string()));
    match payload.and_then(whole) {
        Ok(payload) => Class::Answer(Answer::Ok(payload)),
        Err(why) => useless(format!("the answer cannot be read: {why}")),
    }
}

/// What no tree can hold nobody can show or compare: it is no answer, also where its type does not
/// look.
fn whole(payload: Payload) -> Result<Payload, String> {
    let read = payload.tree().map(drop);
    read.map(|()| payload).map_err(|err| err.to_string())
}

fn rejected(status: Option<&str>, error: String, body: &[u8]) -> Class {
    let told: Option<Rejection> = serde_json::from_slice(body).ok();
    let (code, reason) = told.map_or((None, None), |it| (it.code, it.reason));
    let code = code.or(status.map(str::to_owned)).unwrap_or_else(|| "rejected".into());
    let reason = reason.unwrap_or(error);
    if code == KEY_REUSED {
        return useless(format!("the service knows the key with another body: {reason}"));
    }
    Class::Answer(Answer::Rejected { code, reason })
}

fn useless(reason: String) -> Class {
    Class::Answer(Answer::Useless { reason })
}

/// The latest answers, as hashes: a service that answers a request a second time, and not as
/// before, does not keep to its keys.
#[derive(Debug, Default)]
pub(super) struct Answers {
    hashes: BTreeMap<RequestId, u64>,
    /// By age.
    order: VecDeque<RequestId>,
}

impl Answers {
    /// Whether the call was answered otherwise before. The first answer stays in force. What was of
    /// no use, and a refused undo, may be asked again and then answered better.
    pub(super) fn is_other(&mut self, id: &RequestId, answer: &Answer) -> bool {
        let Some(hash) = hash_of(answer).filter(|_| !id.is_undo) else { return false };
        if let Some(first) = self.hashes.get(id) {
            return *first != hash;
        }
        self.hashes.insert(id.clone(), hash);
        self.order.push_back(id.clone());
        if ANSWERS_REMEMBERED < self.order.len()
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
        false
    }
}

fn hash_of(answer: &Answer) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    match answer {
        Answer::Ok(body) => ("ok", body.text()).hash(&mut hasher),
        Answer::Rejected { code, .. } => ("rejected", code).hash(&mut hasher),
        Answer::Useless { .. } => return None,
    }
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(pairs: &[(&str, &str)], body: &str) -> String {
        let mut headers = HeaderMap::new();
        pairs.iter().for_each(|(name, value)| headers.insert(*name, *value));
        match classify(None, Some(&headers), body.as_bytes()) {
            Class::Answer(Answer::Ok(body)) => format!("ok {}", body.text()),
            Class::Answer(Answer::Rejected { code, reason }) => format!("rejected {code} {reason}"),
            Class::Answer(Answer::Useless { .. }) => "useless".into(),
            Class::Failed(why) => format!("failed {why}"),
        }
    }

    #[test]
    fn each_answer_has_its_class() {
        let (outcome, code, error) = ("Fermata-Outcome", ERROR_CODE, ERROR);
        let out = r#"{"code":"out_of_stock","reason":"none left"}"#;
        let reused = r#"{"code":"key_reused","reason":"x"}"#;
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
        let cases: &[Case<'_>] = &[
            (&[], r#"{"a":1.0}"#, r#"ok {"a":1.0}"#),
            (&[(outcome, "ok")], "", "ok null"),
            (&[(outcome, "ok"), (code, "409")], "{}", "ok {}"),
            (
                &[(outcome, "rejected"), (code, "409"), (error, "e")],
                out,
                "rejected out_of_stock none left",
            ),
            (&[(outcome, "rejected"), (code, "409"), (error, "e")], "oops", "rejected 409 e"),
            (&[(code, "404"), (error, "gone")], "", "rejected 404 gone"),
            (&[(outcome, "rejected")], "", "rejected rejected no reason given"),
            (&[(code, "500"), (error, "boom")], "", "failed boom"),
            (&[(code, "300")], "", "failed no reason given"),
            (&[(outcome, "failed"), (code, "404"), (error, "later")], "", "failed later"),
            (&[(outcome, "failed"), (error, TOO_LARGE)], "", "useless"),
            (&[(outcome, "rejected")], reused, "useless"),
            (&[(outcome, "maybe")], "{}", "useless"),
            (&[], "{oops", "useless"),
            (&[], r#"{"note":"\ud83d"}"#, "useless"),
        ];
        for (headers, body, expected) in cases {
            assert_eq!(class(headers, body), *expected, "{headers:?} {body}");
        }
        let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
        assert_eq!(class(&[], &deep), "useless");
        let nobody = classify(Some(StatusCode::NO_RESPONDERS), None, b"");
        assert!(matches!(nobody, Class::Failed(why) if why.contains("nobody")));
    }

    #[test]
    fn a_second_answer_is_compared_with_the_first_as_long_as_that_is_remembered() {
        let id = |number| RequestId {
            saga: SagaId(uuid::Uuid::nil()),
            step: Path::root().child(number),
            is_undo: false,
        };
        let ok = |text| Answer::Ok(Payload::from_text(text).expect("JSON"));
        let mut answers = Answers::default();
        let heard = ["1", "1", "2", "1"].map(|it| answers.is_other(&id(0), &ok(it)));
        assert_eq!(heard, [false, false, true, false]);
        let no = Answer::Rejected { code: "no".into(), reason: "no".into() };
        assert!(answers.is_other(&id(0), &no));
        let many = u32::try_from(ANSWERS_REMEMBERED).expect("it fits");
        (1..=many).for_each(|it| assert!(!answers.is_other(&id(it), &no)));
        assert_eq!(answers.hashes.len(), ANSWERS_REMEMBERED);
        assert!(!answers.is_other(&id(0), &no), "it is forgotten");
    }

    #[test]
    fn a_subject_names_its_step_and_nothing_else_does() {
        let saga = "01890000-0000-7000-8000-000000000001";
        let (id, epoch) = step_of(&format!("fermata.reply.{saga}.2.3.1.0.undo")).expect("a step");
        assert_eq!((id.step.as_str(), epoch, id.is_undo), ("3.1.0", 2, true));
        let (id, _) = step_of(&format!("fermata.reply.{saga}.0.7")).expect("a step");
        assert_eq!((id.step.as_str(), id.is_undo), ("7", false));
        for bad in ["fermata.reply.x.0.1", "fermata.reply.", "other", "fermata.reply.0.0.undo"] {
            assert!(step_of(bad).is_none(), "{bad}");
        }
        assert!(step_of(&format!("fermata.reply.{saga}.0.")).is_none());
        assert!(step_of(&format!("fermata.reply.{saga}.0.undo")).is_none());
    }
}
