//! `GET /api/webhooks`: the verdicts.

use super::Shared;
use crate::hooks::{self, Hook};
use axum::extract::State;
use chassis::http::{Json, Page, Problem, Query, Viewer, page_items_default};
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::Refusal;
use validator::Validate;

#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HooksQuery {
    /// Only those about this order.
    order_id: Option<String>,
    /// Most items of the page.
    #[serde(default = "page_items_default")]
    #[validate(range(min = 1, max = 200, message = "must be 1 to 200"))]
    limit: u16,
    /// The `next` of the page before.
    cursor: Option<String>,
}

pub(super) async fn list(
    _: Viewer,
    State(shared): State<Shared>,
    Query(query): Query<HooksQuery>,
) -> Result<Json<Page<Hook>>, Problem> {
    let db = shared.handle.db();
    let limit = usize::from(query.limit);
    let (order_id, cursor) = (query.order_id.as_deref(), query.cursor.as_deref());
    if [order_id, cursor].iter().flatten().any(|text| text.len() > TEXT_CHARS_MAX) {
        return Err(Problem::unprocessable("a parameter is too long"));
    }
    let mut found = hooks::list(db, order_id, cursor, limit + 1).map_err(Refusal::from)?;
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|(cursor, _)| cursor.clone());
    Ok(Json(Page { items: found.into_iter().map(|(_, hook)| hook).collect(), next }))
}

/// Longer than any order id or cursor, shorter than a key may be.
const TEXT_CHARS_MAX: usize = 200;
