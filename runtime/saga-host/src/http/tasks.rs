//! What waits for people.

use super::{App, LOOKED_FOR_MAX, cursor, internal, view::TaskView};
use crate::{
    door::{actor_of, busy, say},
    sled_store::SledStore,
};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use chassis::http::{Accepted, Approver, Json, Page, PageQuery, Path, Problem, Query, Viewer};
use saga_core::{
    core::Core,
    id::TaskId,
    input::{Command, Decide, Target},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Instant;
use validator::Validate;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub(super) struct TaskPath {
    /// The task's id, as lists give it.
    id: String,
}

/// A decision.
#[derive(Clone, Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct DecisionBody {
    /// Yes or no.
    approved: bool,
    /// Why; a no needs it.
    #[validate(length(max = 1000, message = "must have at most 1000 characters"))]
    #[schemars(length(max = 1000))]
    reason: Option<String>,
    /// What the task gave as `seen`: the decision is then about what it showed, and nothing else.
    #[validate(length(min = 1, max = 64, message = "must have 1 to 64 characters"))]
    #[schemars(length(min = 1, max = 64))]
    seen: Option<String>,
}

/// A decision that is durable.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DecidedView {
    task_id: String,
    saga_id: String,
    approved: bool,
}

pub(super) async fn list(
    State(app): State<App>,
    _: Viewer,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<TaskView>>, Problem> {
    let limit = usize::from(query.limit);
    let mut behind: Option<TaskId> = cursor(query.cursor.as_deref())?;
    let (began, mut tasks) = (Instant::now(), Vec::new());
    let next = loop {
        let from = behind.clone();
        let look = move |core: &Core<SledStore>| core.tasks(from.as_ref(), limit + 1);
        let page = app.engine.read(look).await.map_err(busy)?;
        let page = page.map_err(|error| internal(&error))?;
        tasks.extend(page.tasks.iter().filter_map(|(head, wait)| TaskView::of(head, wait)));
        if limit < tasks.len() {
            tasks.truncate(limit);
            break tasks.last().map(TaskView::id);
        }
        behind = page.next;
        if behind.is_none() || LOOKED_FOR_MAX <= began.elapsed() {
            break behind.map(|it| it.to_string());
        }
    };
    Ok(Json(Page { items: tasks, next }))
}

/// 202 when it is decided now, 200 when it was decided so already.
pub(super) async fn decide(
    State(app): State<App>,
    Approver(caller): Approver,
    Path(TaskPath { id }): Path<TaskPath>,
    Json(body): Json<DecisionBody>,
) -> Result<Response, Problem> {
    let unknown = |_| Problem::not_found(format!("there is no task {id}"));
    let task: TaskId = id.parse().map_err(unknown)?;
    let decide = Decide {
        target: Target::Task(task),
        approved: body.approved,
        reason: body.reason,
        seen: body.seen,
    };
    let answer = app.engine.ask(actor_of(&caller), Command::Decide(decide)).await;
    let (is_new, saga) = say(answer)?;
    let view = DecidedView { task_id: id, saga_id: saga.to_string(), approved: body.approved };
    Ok(if is_new { Accepted(view).into_response() } else { Json(view).into_response() })
}
