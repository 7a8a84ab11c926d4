//! `POST /webhooks/courier`: checked over the raw body, durable before the 200.

use super::Shared;
use crate::{
    hooks::{self, Verdict},
    signature::{SIGNATURE_HEADER, TIMESTAMP_HEADER, verify},
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
    let text = |name| headers.get(name).and_then(|it| it.to_str().ok());
    let (signature, timestamp) = (text(SIGNATURE_HEADER), text(TIMESTAMP_HEADER));
    let secrets = &shared.settings.webhook_secrets;
    let now_s = Utc::now().timestamp();
    verify(signature, timestamp, &body, secrets, now_s).map_err(|bad| {
        shared.refused.inc();
        tracing::warn!(reason = %bad, "a webhook was refused");
        Problem::bad_request(bad.to_string())
    })?;
    let timestamp = timestamp.unwrap_or_default().to_owned();
    let write = move |tx: &mut _, at| hooks::take(tx, &timestamp, &body, at);
    let hook = shared.handle.write(write).await?;
    let (id, verdict) = (&hook.id, hook.verdict);
    tracing::info!(id, ?verdict, "webhook taken");
    Ok(Json(Taken { received: true, verdict }))
}
