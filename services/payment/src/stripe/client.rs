//! Calls to Stripe's API: form-encoded, with a bearer key, each `POST` with an `Idempotency-Key`.
//!
//! One call is one attempt: repeating is the kit's affair, which keeps the key over restarts.
//! Stripe repeats the first result of a key for at least 24 h, stored errors included.

use super::{ProviderDispute, ProviderRefund, ProviderSession};
use crate::settings::Settings;
use chassis::{config::Secret, is_loopback, with_causes};
use chrono::DateTime;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header::DATE, redirect::Policy};
use serde_json::Value;
use service_kit::{Rejection, WorkError, legible};
use sha2::{Digest as _, Sha256};
use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Stripe answers within a few seconds; beyond that the call is repeated with its key.
const TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers are some KiB; anything larger is no answer of Stripe's.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Characters that we keep of a provider's message.
const MESSAGE_CHARS_MAX: usize = 300;
/// Refunds on one page of a look-up: Stripe's largest.
const PAGE_LEN: &str = "100";
/// Pages that a look-up reads. Nobody pays back in more than a thousand parts.
const PAGES_MAX: usize = 10;
/// Pages of sessions that are looked through.
const SESSION_PAGES_MAX: usize = 50;
/// Sessions are looked for as far back as Stripe keeps events. None is open for longer than a day.
const SESSIONS_SINCE_S: i64 = 30 * 24 * 3_600;

/// Longest `Idempotency-Key` that Stripe takes.
const KEY_CHARS_MAX: usize = 255;

/// Form fields.
pub(crate) type Form = Vec<(String, String)>;

/// Stripe as we use it.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    key: Secret,
    /// The provider's clock, at its last answer.
    clock: Mutex<Option<(i64, Instant)>>,
}

/// Why a call had no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Stripe refused it: its status, its code and its message.
    Refused { status: u16, code: String, message: String },
    /// No answer, or none that one can read: try again.
    Unclear(String),
    /// There is more than is read: as long as that is so, a repeat changes nothing.
    TooMany(String),
}

impl Failure {
    /// Whether the named object does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Failure::Refused { status: 404, .. })
    }

    /// Whether the request was refused for what it asks.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, Failure::Refused { .. })
    }
}

impl From<Failure> for WorkError {
    fn from(failure: Failure) -> WorkError {
        match failure {
            Failure::Refused { code, message, .. } => Rejection::new(code, message).into(),
            Failure::Unclear(why) | Failure::TooMany(why) => WorkError::Failed(why),
        }
    }
}

impl Client {
    pub(crate) fn new(settings: &Settings) -> Client {
        let mut http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would carry the key elsewhere, and so would a proxy before the sandbox.
            .redirect(Policy::none());
        if is_loopback(&settings.api_base) {
            http = http.no_proxy();
        }
        let http = http.build().expect("a client without certificates of its own can be built");
        let (base, key) = (settings.api_base.clone(), settings.api_key.clone());
        Client { http, base, key, clock: Mutex::new(None) }
    }

    /// `POST /v1/checkout/sessions`.
    pub(crate) async fn create_session(
        &self,
        form: &Form,
        key: &str,
    ) -> Result<ProviderSession, Failure> {
        let answer = self.post("/v1/checkout/sessions", form, key).await?;
        ProviderSession::read(&answer).ok_or_else(unreadable)
    }

    /// `GET /v1/checkout/sessions/{id}`.
    pub(crate) async fn session(&self, id: &str) -> Result<ProviderSession, Failure> {
        let answer = self.get(&format!("/v1/checkout/sessions/{}", plain(id)?), &[]).await?;
        ProviderSession::read(&answer).ok_or_else(unreadable)
    }

    /// The ids of the sessions of an order that are open, or that its customer went through within
    /// the last 30 days. The provider cannot be asked for them by the order. Nothing when there are
    /// too many sessions to look through.
    pub(crate) async fn sessions_of(&self, order_id: &str) -> Result<Option<Vec<String>>, Failure> {
        let since_s = self.time_s(chrono::Utc::now().timestamp()) - SESSIONS_SINCE_S;
        let mut all = Vec::new();
        // One that is completed meanwhile is in the first list or in the second.
        for status in ["open", "complete"] {
            let Some(found) = self.sessions_at(order_id, status, since_s).await? else {
                return Ok(None);
            };
            all.extend(found);
        }
        Ok(Some(all))
    }

    /// `GET /v1/checkout/sessions?status=…`, newest first.
    async fn sessions_at(
        &self,
        order_id: &str,
        status: &str,
        since_s: i64,
    ) -> Result<Option<Vec<String>>, Failure> {
        let (mut found, mut last, since) = (Vec::new(), None::<String>, since_s.to_string());
        for _ in 0..SESSION_PAGES_MAX {
            let mut query = vec![("status", status), ("limit", PAGE_LEN), ("created[gte]", &since)];
            query.extend(last.as_deref().map(|last| ("starting_after", last)));
            let answer = self.get("/v1/checkout/sessions", &query).await?;
            let page = answer["data"].as_array().ok_or_else(unreadable)?;
            for session in page {
                let id = session["id"].as_str().ok_or_else(unreadable)?;
                if session["client_reference_id"] == order_id {
                    found.push(id.to_owned());
                }
                last = Some(id.to_owned());
            }
            if page.is_empty() || answer["has_more"] != true {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// `POST /v1/checkout/sessions/{id}/expire`.
    pub(crate) async fn expire_session(
        &self,
        id: &str,
        key: &str,
    ) -> Result<ProviderSession, Failure> {
        let path = format!("/v1/checkout/sessions/{}/expire", plain(id)?);
        let answer = self.post(&path, &Form::new(), key).await?;
        ProviderSession::read(&answer).ok_or_else(unreadable)
    }

    /// `POST /v1/refunds`.
    pub(crate) async fn refund(&self, form: &Form, key: &str) -> Result<ProviderRefund, Failure> {
        let answer = self.post("/v1/refunds", form, key).await?;
        ProviderRefund::read(&answer).ok_or_else(unreadable)
    }

    /// `GET /v1/refunds?payment_intent=…`, newest first: all of them, as they are added up.
    pub(crate) async fn refunds(&self, payment_id: &str) -> Result<Vec<ProviderRefund>, Failure> {
        let mut refunds: Vec<ProviderRefund> = Vec::new();
        for _ in 0..PAGES_MAX {
            let mut query = vec![("payment_intent", payment_id), ("limit", PAGE_LEN)];
            query.extend(refunds.last().map(|last| ("starting_after", last.id.as_str())));
            let answer = self.get("/v1/refunds", &query).await?;
            let page = answer["data"].as_array().ok_or_else(unreadable)?;
            for refund in page {
                refunds.push(ProviderRefund::read(refund).ok_or_else(unreadable)?);
            }
            if page.is_empty() || answer["has_more"] != true {
                return Ok(refunds);
            }
        }
        Err(Failure::TooMany(format!("{payment_id} has too many refunds to add them up")))
    }

    /// `GET /v1/disputes?payment_intent=…`: a payment has one, seldom some.
    pub(crate) async fn disputes(&self, payment_id: &str) -> Result<Vec<ProviderDispute>, Failure> {
        let query = [("payment_intent", payment_id), ("limit", PAGE_LEN)];
        let answer = self.get("/v1/disputes", &query).await?;
        let page = answer["data"].as_array().ok_or_else(unreadable)?;
        if answer["has_more"] == true {
            return Err(Failure::TooMany(format!("{payment_id} has too many disputes")));
        }
        page.iter().map(|it| ProviderDispute::read(it).ok_or_else(unreadable)).collect()
    }

    /// What the provider's clock says, as far as it has told; else what ours says. Its webhooks
    /// carry its time: a clock of ours that is wrong must not make them untimely.
    pub(crate) fn time_s(&self, ours_s: i64) -> i64 {
        let told = *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        told.map_or(ours_s, |(then_s, at)| {
            then_s.saturating_add(i64::try_from(at.elapsed().as_secs()).unwrap_or(i64::MAX))
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value, Failure> {
        // Errors of the client name the address, which has no secret in it.
        let unclear = |error: reqwest::Error| Failure::Unclear(with_causes(&error.without_url()));
        let response = request.send().await.map_err(unclear)?;
        let date = response.headers().get(DATE).and_then(|it| it.to_str().ok());
        let date = date.and_then(|it| DateTime::parse_from_rfc2822(it).ok());
        let answer = read(response).await;
        // What is unclear may be the word of a proxy, whose clock is nobody's.
        if let (Some(date), Ok(_) | Err(Failure::Refused { .. })) = (date, &answer) {
            self.hear_time(date.timestamp());
        }
        answer
    }

    /// Takes the provider's time.
    pub(crate) fn hear_time(&self, then_s: i64) {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        *clock = Some((then_s, Instant::now()));
    }

    async fn post(&self, path: &str, form: &Form, key: &str) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path).header("Idempotency-Key", &*fit(key));
        self.send(request.form(form)).await
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.send(self.request(Method::GET, path).query(query)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.http.request(method, url).bearer_auth(self.key.expose())
    }
}

async fn read(mut response: Response) -> Result<Value, Failure> {
    let unclear = |error: reqwest::Error| Failure::Unclear(with_causes(&error.without_url()));
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unclear)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(Failure::Unclear("the provider's answer is too large".into()));
        }
    }
    let value = legible::json(&body).unwrap_or_default();
    if status.is_success() && value.is_object() {
        return Ok(value);
    }
    Err(failure(status, &value["error"]))
}

/// 401 and 403 are our configuration, 409 and 429 are a matter of time, 5xx is theirs: all of these
/// are tried again. What else is refused is refused for what it asks.
fn failure(status: StatusCode, error: &Value) -> Failure {
    let is_refusal = matches!(status.as_u16(), 400 | 402 | 404) && error.is_object();
    let text = |name: &str| error[name].as_str();
    let code = text("code").or(text("type")).unwrap_or("unknown").to_owned();
    // A key that was used for something else is our fault, and no answer to what was asked.
    if !is_refusal || text("type") == Some("idempotency_error") {
        return Failure::Unclear(format!("the provider answered {status} ({code})"));
    }
    let message = text("message").unwrap_or("refused by the payment provider");
    let message = message.chars().take(MESSAGE_CHARS_MAX).collect();
    Failure::Refused { status: status.as_u16(), code, message }
}

fn unreadable() -> Failure {
    Failure::Unclear("the provider's answer has another shape".into())
}

/// Stripe takes keys of 255 characters; ours are shorter unless a session's id is very long.
fn fit(key: &str) -> Cow<'_, str> {
    if key.len() <= KEY_CHARS_MAX {
        return Cow::Borrowed(key);
    }
    Cow::Owned(format!("sha256-{}", hex::encode(Sha256::digest(key))))
}

/// An id becomes part of a path, so it may hold nothing that a path gives a meaning to.
fn plain(id: &str) -> Result<&str, Failure> {
    if !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Ok(id);
    }
    let message = "the session's id is none of the provider's".to_owned();
    Err(Failure::Refused { status: 404, code: "resource_missing".into(), message })
}
