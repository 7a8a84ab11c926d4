//! The stock over HTTP, for viewers.

use crate::stock;
use aide::axum::{ApiRouter, routing::get_with};
use axum::extract::State;
use chassis::{
    db::DbError,
    http::{Json, Page, PageQuery, Path, Problem, Query, Viewer},
};
use proto_schemas::inventory::Stock;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::Handle;

/// The path of one unit.
#[derive(Debug, Deserialize, JsonSchema)]
struct OfUnit {
    /// The stock keeping unit.
    sku: String,
}

pub(crate) fn routes(handle: Handle) -> ApiRouter {
    ApiRouter::new()
        .api_route("/api/stock", get_with(list, |op| op.summary("The stock of all units, by name")))
        .api_route("/api/stock/{sku}", get_with(one, |op| op.summary("The stock of one unit")))
        .with_state(handle)
}

async fn list(
    _: Viewer,
    State(handle): State<Handle>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Stock>>, Problem> {
    let limit = usize::from(page.limit);
    let mut items = stock::list(handle.db(), page.cursor.as_deref(), limit + 1).map_err(broken)?;
    let has_more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| has_more).map(|last| last.sku.clone());
    Ok(Json(Page { items, next }))
}

async fn one(
    _: Viewer,
    State(handle): State<Handle>,
    Path(OfUnit { sku }): Path<OfUnit>,
) -> Result<Json<Stock>, Problem> {
    let stock = stock::of_sku(handle.db(), &sku).map_err(broken)?;
    stock.map(Json).ok_or_else(|| Problem::not_found("the warehouse has no unit of this name"))
}

fn broken(error: DbError) -> Problem {
    tracing::error!(%error, "the stock cannot be read");
    Problem::internal()
}
