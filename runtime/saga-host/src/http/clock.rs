//! The time that the runtime believes in, and the word of a person when it does not know.

use super::App;
use crate::{
    clock::{believed, rfc3339},
    door::{actor_of, say_taken},
};
use axum::extract::State;
use chassis::{
    clock::Clock,
    http::{Json, Operator, Problem, Viewer},
};
use saga_core::input::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

/// The clock.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClockView {
    /// What is believed now.
    now: String,
    /// Why the wall clock is not believed; absent when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    suspect: Option<String>,
}

impl ClockView {
    fn of(clock: &Clock) -> ClockView {
        ClockView { now: rfc3339(believed(clock)), suspect: clock.suspicion() }
    }
}

/// Why the wall clock is right.
#[derive(Clone, Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceptBody {
    /// For the audit.
    #[validate(length(min = 1, max = 1000, message = "must have 1 to 1000 characters"))]
    #[schemars(length(min = 1, max = 1000))]
    reason: String,
}

pub(super) async fn show(State(app): State<App>, _: Viewer) -> Json<ClockView> {
    Json(ClockView::of(&app.clock))
}

/// The audit is durable before the clock is believed.
pub(super) async fn accept(
    State(app): State<App>,
    Operator(caller): Operator,
    Json(body): Json<AcceptBody>,
) -> Result<Json<ClockView>, Problem> {
    let Some(was) = app.clock.suspicion() else {
        return Err(Problem::conflict("the clock is not suspect: nothing is to be accepted"));
    };
    let command = Command::AcceptClock { was, reason: body.reason };
    say_taken(app.engine.ask(actor_of(&caller), command).await)?;
    app.clock.accept();
    tracing::warn!(by = caller.actor, "a suspect clock was accepted");
    Ok(Json(ClockView::of(&app.clock)))
}
