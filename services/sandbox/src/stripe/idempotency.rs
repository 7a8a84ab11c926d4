//! `Idempotency-Key`: the first answer of a key is the answer of every repetition.

use super::{StripeError, form::Params};
use crate::{
    office::Office,
    world::{Answer, Record, World},
};
use axum::{
    Json,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// As long as Stripe takes them.
const KEY_CHARS_MAX: usize = 255;

/// Says that an answer is a repetition.
static REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The key of a request, and what it was used for.
pub(super) struct Keyed {
    key: Option<String>,
    fingerprint: String,
}

impl Keyed {
    pub(super) fn read(
        headers: &HeaderMap,
        path: &str,
        params: &Params,
    ) -> Result<Self, StripeError> {
        let key = headers.get("Idempotency-Key").map(|value| value.to_str().unwrap_or_default());
        if key.is_some_and(|key| key.is_empty() || key.len() > KEY_CHARS_MAX) {
            let message =
                format!("Idempotency keys have 1 to {KEY_CHARS_MAX} printable characters.");
            return Err(StripeError::invalid(message));
        }
        let used_for = format!("{path}\n{}", params.canonical());
        let fingerprint = hex::encode(Sha256::digest(used_for));
        Ok(Self { key: key.map(str::to_owned), fingerprint })
    }

    /// Acts once per key. What was carried out is kept with its answer, in one change; what was
    /// refused beforehand is not.
    pub(super) fn act(
        self,
        office: &Office,
        act: impl FnOnce(&World) -> Result<(Value, Vec<Record>), StripeError>,
    ) -> Result<Response, StripeError> {
        office.change(|world| {
            if let Some(answer) = self.key.as_deref().and_then(|key| world.answer(key)) {
                return match answer.fingerprint == self.fingerprint {
                    true => Ok((replayed(answer), Vec::new())),
                    false => Err(StripeError::key_reused(&answer.key)),
                };
            }
            let (status, body, mut records) = match act(world) {
                Ok((body, records)) => (StatusCode::OK, body, records),
                Err(error) if error.executed => (error.status, error.body(), Vec::new()),
                Err(error) => return Err(error),
            };
            let response = (status, Json(&body)).into_response();
            if let Self { key: Some(key), fingerprint } = self {
                let status = status.as_u16();
                records.push(Record::Answer(Answer { key, fingerprint, status, body }));
            }
            Ok((response, records))
        })
    }
}

fn replayed(answer: &Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let header = (REPLAYED.clone(), HeaderValue::from_static("true"));
    (status, [header], Json(&answer.body)).into_response()
}
