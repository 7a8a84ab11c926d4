//! The part of Stripe's API that the payment service speaks: form-encoded requests, bearer key,
//! idempotency keys, and errors in Stripe's shape.

pub(crate) mod disputes;
mod error;
mod events;
mod form;
mod idempotency;
mod money;
pub(crate) mod refunds;
mod sessions;

pub(crate) use error::StripeError;
pub(crate) use events::event;
pub(crate) use money::shown;
pub(crate) use sessions::rendered;

use crate::office::Office;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, Method, Uri, header::AUTHORIZATION},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::{get, post},
};
use std::sync::Arc;

/// Everything under `/v1`; each request must show the key.
pub(crate) fn router(office: Arc<Office>) -> Router<Arc<Office>> {
    Router::new()
        .route("/v1/checkout/sessions", post(sessions::create).get(sessions::list))
        .route("/v1/checkout/sessions/{id}", get(sessions::retrieve))
        .route("/v1/checkout/sessions/{id}/expire", post(sessions::expire))
        .route("/v1/refunds", post(refunds::create).get(refunds::list))
        .route("/v1/disputes", get(disputes::list))
        .route_layer(from_fn_with_state(office, authenticated))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
}

async fn authenticated(
    State(office): State<Arc<Office>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Result<Response, StripeError> {
    let shown =
        headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    match shown {
        None => Err(StripeError::no_key()),
        Some(key) if key != office.config.stripe_api_key => Err(StripeError::wrong_key(key)),
        Some(_) => Ok(next.run(request).await),
    }
}

async fn unknown(method: Method, uri: Uri) -> StripeError {
    StripeError::unknown_url(&method, uri.path())
}
