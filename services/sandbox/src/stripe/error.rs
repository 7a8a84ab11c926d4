//! Errors in Stripe's shape: `{"error":{"type","code?","message","param?"}}`.

use axum::{
    Json,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use std::io;

/// Characters of a wrong key that Stripe repeats before it masks the rest.
const KEY_CHARS_SHOWN: usize = 8;

/// An answer that is an error.
#[derive(Clone, Debug)]
pub(crate) struct StripeError {
    pub(crate) status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    message: String,
    param: Option<String>,
    /// The request was carried out and this came of it; such an answer belongs to its idempotency
    /// key. What was refused beforehand may be sent again with the same key.
    pub(crate) executed: bool,
}

impl StripeError {
    fn new(status: StatusCode, kind: &'static str, message: String) -> Self {
        Self { status, kind, code: None, message, param: None, executed: false }
    }

    /// The request itself is at fault.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message.into())
    }

    pub(crate) fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(crate) fn param(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    pub(crate) fn executed(self) -> Self {
        Self { executed: true, ..self }
    }

    /// What the address names does not exist.
    pub(crate) fn missing(kind: &str, id: &str, param: &str) -> Self {
        let error = Self::invalid(format!("No such {kind}: '{id}'"));
        Self { status: StatusCode::NOT_FOUND, ..error.code("resource_missing").param(param) }
    }

    pub(crate) fn no_key() -> Self {
        let message = "You did not provide an API key. You need to provide your API key in the \
                       Authorization header, using Bearer auth (e.g. 'Authorization: Bearer \
                       YOUR_SECRET_KEY').";
        Self { status: StatusCode::UNAUTHORIZED, ..Self::invalid(message) }
    }

    pub(crate) fn wrong_key(key: &str) -> Self {
        let shown: String = key.chars().take(KEY_CHARS_SHOWN).collect();
        let error = Self::invalid(format!("Invalid API Key provided: {shown}****"));
        Self { status: StatusCode::UNAUTHORIZED, ..error }
    }

    pub(crate) fn unknown_url(method: &Method, path: &str) -> Self {
        let error = Self::invalid(format!("Unrecognized request URL ({method}: {path})."));
        Self { status: StatusCode::NOT_FOUND, ..error }
    }

    /// The key was used before, for something else.
    pub(crate) fn key_reused(key: &str) -> Self {
        let message = format!(
            "Keys for idempotent requests can only be used with the same parameters they were \
             first used with. Try using a key other than '{key}' if you meant to execute a \
             different request."
        );
        Self::new(StatusCode::BAD_REQUEST, "idempotency_error", message)
    }

    /// What is at fault, in words.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> Value {
        let mut error = Map::new();
        error.insert("type".to_owned(), json!(self.kind));
        error.insert("message".to_owned(), json!(self.message));
        if let Some(code) = self.code {
            error.insert("code".to_owned(), json!(code));
            let page = format!("https://stripe.com/docs/error-codes/{}", code.replace('_', "-"));
            error.insert("doc_url".to_owned(), json!(page));
        }
        if let Some(param) = &self.param {
            error.insert("param".to_owned(), json!(param));
        }
        json!({ "error": error })
    }
}

impl From<io::Error> for StripeError {
    fn from(fault: io::Error) -> Self {
        tracing::error!("cannot write the journal: {fault}");
        let message = "Sorry, something went wrong on our side.".to_owned();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "api_error", message)
    }
}

impl IntoResponse for StripeError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body())).into_response()
    }
}
