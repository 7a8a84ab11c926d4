//! The HTTP routes.

mod courier;
mod hooks;

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
            "/webhooks/courier",
            post_with(courier::take, |op| {
                let op = header(op, "X-Signature", "sha256=<hex HMAC-SHA256 of timestamp.body>");
                let op = header(op, "X-Timestamp", "unix seconds");
                problems(op.summary("A webhook of the courier, signed by it"), &[400])
                    .response::<200, Json<courier::Taken>>()
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
