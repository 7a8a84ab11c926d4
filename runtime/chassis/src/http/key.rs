//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header).

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::{Operation, Response, StatusCode as ApiStatus};
use aide::operation::add_parameters;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use schemars::json_schema;

use super::document::{early, header_parameter};
use super::single::single;
use crate::problem::Problem;

/// The header's name.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// As people write it.
const NAME: &str = "Idempotency-Key";
/// Longest key: what payment providers take too.
const KEY_CHARS_MAX: usize = 255;

/// The caller's key for this write, if there is one: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match single(&parts.headers, NAME) {
            Ok(None) => Ok(IdempotencyKey(None)),
            Ok(Some(value)) => parse(value.as_bytes()).map(|key| IdempotencyKey(Some(key))),
            Err(repeated) => Err(refusal(&repeated.to_string())),
        }
    }
}

impl OperationInput for IdempotencyKey {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let description = "The same key and body get the same answer; 1 to 255 visible characters";
        let shape = json_schema!({
            "type": "string", "minLength": 1, "maxLength": KEY_CHARS_MAX, "pattern": "^[!-~]+$",
        });
        let parameter = header_parameter(NAME, description, shape, false);
        add_parameters(ctx, operation, [parameter]);
    }

    fn inferred_early_responses(
        ctx: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<ApiStatus>, Response)> {
        early(ctx, &[StatusCode::BAD_REQUEST])
    }
}

fn parse(value: &[u8]) -> Result<String, Problem> {
    // The draft's form is a quoted string; most clients send the bare text.
    let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let key = inner.unwrap_or(value);
    let fits = (1..=KEY_CHARS_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    match String::from_utf8(key.to_vec()) {
        Ok(key) if fits => Ok(key),
        _ => Err(refusal("an Idempotency-Key has 1 to 255 visible ASCII characters, no spaces")),
    }
}

fn refusal(detail: &str) -> Problem {
    Problem::bad_request(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_and_bounded() {
        assert_eq!(parse(b"order-1").expect("fits"), "order-1");
        assert_eq!(parse(b"\"order-1\"").expect("fits"), "order-1");
        assert!(parse("x".repeat(255).as_bytes()).is_ok());
        for bad in ["", "\"\"", "two words", "ümlaut", &"x".repeat(256)] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
