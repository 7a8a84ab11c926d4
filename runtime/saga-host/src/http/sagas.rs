//! Sagas: to look at, to move, to start.

use super::{App, LOOKED_FOR_MAX, cursor, internal, view::SagaView};
use crate::{
    door::{actor_of, busy, say},
    names::StatusName,
};
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chassis::http::{
    Accepted, Json, Operator, Page, Path, Problem, Query, Viewer, page_items_default,
};
use chrono::{DateTime, Utc};
use saga_core::{
    core::HeadQuery,
    effect::RequestId,
    fold::Status,
    head::Head,
    id::{NotAPath, SagaId, Time},
    input::{Action, Command},
    payload::Payload,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Instant;
use uuid::Uuid;
use validator::Validate;

/// Longest text of a filter: a business key has at most as many bytes.
const FILTER_CHARS_MAX: u64 = 256;

/// Which sagas.
#[derive(Clone, Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SagasQuery {
    /// Only those that stand here.
    status: Option<StatusName>,
    /// Only those of this definition.
    #[validate(length(max = "FILTER_CHARS_MAX", message = "must have at most 256 characters"))]
    definition: Option<String>,
    /// Only those with this business key.
    #[validate(length(max = "FILTER_CHARS_MAX", message = "must have at most 256 characters"))]
    key: Option<String>,
    /// Only the saga with this id, those with this business key, or those of the customer with this
    /// mail address.
    #[validate(length(
        min = 1,
        max = "FILTER_CHARS_MAX",
        message = "must have 1 to 256 characters"
    ))]
    #[schemars(length(min = 1, max = "FILTER_CHARS_MAX"))]
    q: Option<String>,
    /// Only those that started at this time or later.
    started_after: Option<DateTime<Utc>>,
    /// Only those that started before this time.
    started_before: Option<DateTime<Utc>>,
    /// Most items of the page; with a filter that few fit there may be fewer, and a next page.
    #[serde(default = "page_items_default")]
    #[validate(range(min = 1, max = 200, message = "must be 1 to 200"))]
    #[schemars(range(min = 1, max = 200))]
    limit: u16,
    /// The `next` of the page before.
    cursor: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(super) struct SagaPath {
    /// The saga's id.
    id: Uuid,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(super) struct MovePath {
    /// The saga's id.
    id: Uuid,
    /// What is to be done.
    action: ActionName,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ActionName {
    Pause,
    Resume,
    Cancel,
    Terminate,
    Retry,
    Waive,
}

/// Why a saga is moved.
#[derive(Clone, Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct MoveBody {
    /// For the journal and the audit.
    #[validate(length(min = 1, max = 1000, message = "must have 1 to 1000 characters"))]
    #[schemars(length(min = 1, max = 1000))]
    reason: String,
    /// Of `waive`: the step of the undo, where more than one needs a person.
    #[validate(length(min = 1, max = 200, message = "must have 1 to 200 characters"))]
    #[schemars(length(min = 1, max = 200))]
    step: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub(super) struct DefinitionPath {
    /// The definition's name.
    name: String,
}

/// A saga to be started by hand.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct StartBody {
    /// The business key; read from the input when it is absent.
    key: Option<String>,
    /// What the saga is about: the body of its start event.
    #[schemars(with = "serde_json::Value")]
    input: Box<RawValue>,
}

pub(super) async fn list(
    State(app): State<App>,
    _: Viewer,
    Query(query): Query<SagasQuery>,
) -> Result<Json<Page<SagaView>>, Problem> {
    let limit = usize::from(query.limit);
    let query = HeadQuery {
        status: query.status.map(status),
        definition: query.definition,
        key: query.key,
        search: query.q,
        started_from: query.started_after.map(time),
        started_before: query.started_before.map(time),
        before: cursor(query.cursor.as_deref())?,
        limit: limit + 1,
        ..HeadQuery::default()
    };
    let (heads, next) = look_until(&app, query, limit).await?;
    let next = next.map(|it| it.to_string());
    Ok(Json(Page { items: views(&app, &heads).await, next }))
}

pub(super) async fn one(
    State(app): State<App>,
    _: Viewer,
    Path(SagaPath { id }): Path<SagaPath>,
) -> Result<Json<SagaView>, Problem> {
    view_of(&app, SagaId(id)).await.map(Json)
}

/// Looks until the page is full, or for as long as is decent; the engine goes on between two looks.
async fn look_until(
    app: &App,
    mut query: HeadQuery,
    limit: usize,
) -> Result<(Vec<Head>, Option<SagaId>), Problem> {
    let (began, mut heads) = (Instant::now(), Vec::new());
    loop {
        // One more than asked for tells whether there is a next page.
        query.limit = limit + 1 - heads.len();
        let look = query.clone();
        let page = app.engine.read(move |core| core.page(&look)).await.map_err(busy)?;
        let page = page.map_err(|error| internal(&error))?;
        heads.extend(page.heads);
        if limit < heads.len() {
            heads.truncate(limit);
            let next = heads.last().map(|it: &Head| it.id);
            return Ok((heads, next));
        }
        query.before = page.next;
        if query.before.is_none() || LOOKED_FOR_MAX <= began.elapsed() {
            return Ok((heads, query.before));
        }
    }
}

/// Before 1970 nothing started.
fn time(at: DateTime<Utc>) -> Time {
    Time(at.timestamp_millis().try_into().unwrap_or_default())
}

/// 202 when it has an effect from now on, 200 when it had it already.
pub(super) async fn make_move(
    State(app): State<App>,
    Operator(caller): Operator,
    Path(MovePath { id, action }): Path<MovePath>,
    Json(body): Json<MoveBody>,
) -> Result<Response, Problem> {
    let action = match action {
        ActionName::Pause => Action::Pause,
        ActionName::Resume => Action::Resume,
        ActionName::Cancel => Action::Cancel,
        ActionName::Terminate => Action::Terminate,
        ActionName::Retry => Action::Retry,
        ActionName::Waive => Action::Waive,
    };
    let (saga, reason) = (SagaId(id), body.reason);
    let command = match (action, body.step) {
        (Action::Waive, step) => {
            let step = step.map(|it| it.parse()).transpose();
            let step = step.map_err(|error: NotAPath| wrong_step(error.to_string()))?;
            Command::Waive { saga, step, reason }
        }
        (_, Some(_)) => return Err(wrong_step("only `waive` is about a step")),
        (action, None) => Command::Move { saga, action, reason },
    };
    let (is_new, saga) = say(app.engine.ask(actor_of(&caller), command).await)?;
    let view = view_of(&app, saga).await?;
    Ok(if is_new { Accepted(view).into_response() } else { Json(view).into_response() })
}

fn wrong_step(detail: impl Into<String>) -> Problem {
    Problem::unprocessable("the request has a field that cannot be used").field("/step", detail)
}

/// 201 when it starts, 200 when this key has started with the same input already.
pub(super) async fn start(
    State(app): State<App>,
    Operator(caller): Operator,
    Path(DefinitionPath { name }): Path<DefinitionPath>,
    Json(body): Json<StartBody>,
) -> Result<Response, Problem> {
    let input = Payload::from_text(body.input.get())
        .map_err(|_| Problem::bad_request("the input is not JSON"))?;
    let command = Command::Start { definition: name, key: body.key, input };
    let (is_new, saga) = say(app.engine.ask(actor_of(&caller), command).await)?;
    let body = view_of(&app, saga).await?;
    let location = format!("/api/sagas/{saga}");
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(header::LOCATION, location)], Json(body)).into_response())
}

async fn view_of(app: &App, saga: SagaId) -> Result<SagaView, Problem> {
    let head = app.engine.read(move |core| core.head(saga)).await.map_err(busy)?;
    let head = head.map_err(|error| internal(&error))?.ok_or_else(|| unknown(saga))?;
    let view = views(app, std::slice::from_ref(&head)).await.pop();
    view.ok_or_else(|| unknown(saga))
}

async fn views(app: &App, heads: &[Head]) -> Vec<SagaView> {
    let calling = heads.iter().filter(|it| !it.calls.is_empty());
    let calling: Vec<SagaId> = calling.map(|it| it.id).collect();
    let told = match calling.is_empty() {
        true => Default::default(),
        false => app.under_way.told(calling).await,
    };
    let view = |head: &Head| {
        let saga = head.id;
        SagaView::of(head, &|call| {
            let id = RequestId { saga, step: call.step.clone(), is_undo: call.is_undo };
            told.get(&id).cloned().unwrap_or_default()
        })
    };
    heads.iter().map(view).collect()
}

fn status(name: StatusName) -> Status {
    match name {
        StatusName::Running => Status::Running,
        StatusName::Waiting => Status::Waiting,
        StatusName::Compensating => Status::Compensating,
        StatusName::Attention => Status::Attention,
        StatusName::Completed => Status::Completed,
        StatusName::Cancelled => Status::Cancelled,
        StatusName::Failed => Status::Failed,
        StatusName::Terminated => Status::Terminated,
    }
}

pub(super) fn unknown(saga: SagaId) -> Problem {
    Problem::not_found(format!("there is no saga {saga}"))
}
