//! `POST /webhooks/stripe`: checked over the raw body, durable before the 200, and nothing else on
//! this path: no look-up at the provider, no waiting for the runtime.

use super::Shared;
use crate::{
    hooks::{self, Verdict},
    stripe::{SIGNATURE_HEADER, verify},
};
use axum::{extract::State, http::HeaderMap};
use bytes::Bytes;
use chassis::http::{Json, Problem};
use chrono::Utc;
use schemars::JsonSchema;
use serde::Serialize;

/// The answer to a genuine webhook.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Taken {
    /// Always true.
    received: bool,
    /// What became of it, when it came first.
    verdict: Verdict,
}

pub(super) async fn take(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Taken>, Problem> {
    let header = headers.get(SIGNATURE_HEADER).and_then(|it| it.to_str().ok());
    let secrets = &shared.settings.webhook_secrets;
    verify(header, &body, secrets, Utc::now().timestamp()).map_err(|bad| {
        shared.refused.inc();
        tracing::warn!(reason = %bad, "a webhook was refused");
        Problem::bad_request(bad.to_string())
    })?;
    let hook = shared.handle.write(move |tx, at| hooks::take(tx, &body, at)).await?;
    let (id, verdict) = (&hook.id, hook.verdict);
    tracing::info!(id, kind = hook.kind, ?verdict, "webhook taken");
    Ok(Json(Taken { received: true, verdict }))
}
