//! The HTTP routes.

mod hooks;
mod stripe;

use crate::{hooks::Hook, settings::Settings};
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use chassis::http::{Json, Page, header, problems};
use prometheus_client::metrics::counter::Counter;
use service_kit::{Context, Handle};
use std::sync::Arc;

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    handle: Handle,
    settings: Arc<Settings>,
    /// Webhooks that were not taken for genuine.
    refused: Counter,
}

/// All routes.
pub(crate) fn routes(context: Context, settings: Settings) -> ApiRouter {
    let refused =
        context.metrics.counter("webhooks_refused", "Webhooks that were not taken for genuine");
    let shared = Shared { handle: context.handle, settings: Arc::new(settings), refused };
    ApiRouter::new()
        .api_route(
            "/webhooks/stripe",
            post_with(stripe::take, |op| {
                let op = header(op, "Stripe-Signature", "t=<unix seconds>,v1=<hex HMAC-SHA256>");
                problems(op.summary("A webhook of Stripe, signed by it"), &[400])
                    .response::<200, Json<stripe::Taken>>()
            }),
        )
        .api_route(
            "/api/webhooks",
            get_with(hooks::list, |op| {
                op.summary("What became of each webhook, newest first")
                    .response::<200, Json<Page<Hook>>>()
            }),
        )
        .with_state(shared)
}
