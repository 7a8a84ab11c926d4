//! `POST /api/orders/approve`: hands a decision to the runtime, with the caller's own token.
//!
//! The runtime knows what asks, checks the token itself, and answers once the decision is durable.
//! So this service needs no trust, and without the runtime there is no decision.

use super::{Shared, read_body};
use axum::{extract::State, http::StatusCode};
use chassis::http::{Approver, Bearer, Json, Problem, RawJson};
use proto_schemas::orders::{Approve, Approved, OrderApproved};
use saga_core::message::Event as _;
use serde::{Deserialize, Serialize};
use service_kit::Context;
use std::time::Duration;

const SUBJECT: &str = "tasks.decide";
/// A decision is durable within milliseconds; a runtime that takes longer is away.
const PATIENCE: Duration = Duration::from_secs(3);
/// What dies is back within 10 s, mostly much sooner.
const RETRY_AFTER_S: u64 = 2;

#[derive(Serialize)]
struct Decide<'a> {
    name: &'static str,
    key: &'a str,
    approved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<&'a str>,
    token: &'a str,
}

#[derive(Deserialize)]
struct Decided {
    status: u16,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<Blamed>,
}

/// A field that the runtime blames. Its names are ours, but for the business key.
#[derive(Deserialize)]
struct Blamed {
    pointer: String,
    detail: String,
}

pub(super) async fn approve(
    _: Approver,
    bearer: Bearer,
    State(context): Shared,
    body: RawJson<Approve>,
) -> Result<(StatusCode, Json<Approved>), Problem> {
    let asked: Approve = read_body(&body.bytes)?;
    let request = Decide {
        name: OrderApproved::SUBJECTS[0],
        key: asked.order_id.as_str(),
        approved: asked.approved,
        reason: asked.reason.as_deref(),
        seen: asked.seen.as_deref(),
        token: bearer.0.expose(),
    };
    let Decided { status, detail, errors } = decide(&context, &request).await?;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    match status {
        StatusCode::OK | StatusCode::ACCEPTED => {
            let Approve { order_id, approved, .. } = asked;
            Ok((status, Json(Approved { order_id, approved })))
        }
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::CONFLICT
        | StatusCode::UNPROCESSABLE_ENTITY => Err(errors.into_iter().fold(
            Problem::new(status, detail),
            |it, Blamed { pointer, detail }| {
                it.field(if pointer == "/key" { "/orderId".to_owned() } else { pointer }, detail)
            },
        )),
        _ => Err(away("the runtime did not take the decision")),
    }
}

async fn decide(context: &Context, request: &Decide<'_>) -> Result<Decided, Problem> {
    let body = serde_json::to_vec(request).map_err(|_| Problem::internal())?;
    let asking = context.nats.client().request(SUBJECT, body.into());
    let answer = match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the runtime was not reached for a decision");
            return Err(away("the runtime is away; nothing was decided"));
        }
        Err(_) => return Err(away("the runtime did not answer; ask again to see what it decided")),
    };
    serde_json::from_slice(&answer.payload).map_err(|error| {
        tracing::error!(%error, "the runtime answered a decision with something else");
        away("the runtime's answer could not be read")
    })
}

fn away(detail: &str) -> Problem {
    Problem::unavailable(detail, RETRY_AFTER_S)
}
