//! Errors as `application/problem+json` (RFC 9457).

use aide::OperationOutput;
use aide::generate::GenContext;
use aide::openapi::{
    MediaType, Operation, Response as ApiResponse, SchemaObject, StatusCode as ApiStatus,
};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::answer_header;

/// The media type of every error answer.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// One field of the request that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) of the field in the body; of a query parameter, `/name`.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

/// An error answer. `type` is `about:blank`: the status says all that a program needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// A URI for the kind of problem.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened here and what to do about it.
    detail: String,
    /// The fields that are wrong; empty when none is to blame.
    errors: Vec<FieldError>,
    /// Sent as `Retry-After`, in seconds.
    #[serde(skip)]
    #[schemars(skip)]
    retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem with this status and explanation.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or("Error").into(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    /// Blames one more field.
    #[must_use]
    pub fn field(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Problem {
        self.errors.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        self
    }

    /// Says when it is worth trying again.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: u64) -> Problem {
        self.retry_after_s = Some(seconds);
        self
    }

    /// 400: the request cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: no token, or an unknown one.
    pub fn unauthorized(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403: the caller may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404: there is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: it was decided otherwise, or is in a state that does not allow this.
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }

    /// 422: the request is understood but a field of it is wrong.
    pub fn unprocessable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 429: too many requests.
    pub fn too_many_requests(retry_after_s: u64) -> Problem {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many requests from this address")
            .retry_after_s(retry_after_s)
    }

    /// 500: our own fault. The detail is for the caller: causes belong into the log.
    #[must_use]
    pub fn internal() -> Problem {
        let detail = "an error on our side; the log names it by the request id";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    /// 503: not now, try again.
    pub fn unavailable(detail: impl Into<String>, retry_after_s: u64) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after_s(retry_after_s)
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The explanation.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The fields that are wrong.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The answer's shape for OpenAPI.
    pub(crate) fn api_response(ctx: &mut GenContext, status: StatusCode) -> ApiResponse {
        let json_schema = ctx.schema.subschema_for::<Problem>();
        let schema = SchemaObject { json_schema, example: None, external_docs: None };
        let media = MediaType { schema: Some(schema), ..MediaType::default() };
        let header = match status {
            StatusCode::UNAUTHORIZED => {
                Some(("WWW-Authenticate", answer_header::<String>(ctx, "Always `Bearer`.")))
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Some(("Retry-After", answer_header::<u64>(ctx, "Seconds to wait.")))
            }
            _ => None,
        };
        ApiResponse {
            description: status.canonical_reason().unwrap_or("Error").into(),
            content: [(PROBLEM_JSON.to_owned(), media)].into_iter().collect(),
            headers: header.into_iter().map(|(name, it)| (name.to_owned(), it)).collect(),
            ..ApiResponse::default()
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A handler's own problems are documented with [`crate::http::problems`]: the type alone does
/// not say which statuses it takes.
impl OperationOutput for Problem {
    type Inner = Problem;

    fn operation_response(_: &mut GenContext, _: &mut Operation) -> Option<ApiResponse> {
        None
    }

    fn inferred_responses(
        _: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        Vec::new()
    }
}
