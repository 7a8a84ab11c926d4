//! Reads: one order, orders, tickets.

use super::Shared;
use crate::{
    rows,
    tickets::{self, OpenedTicket},
};
use axum::extract::State;
use chassis::http::{Json, Page, Path, Problem, Query, Viewer, page_items_default};
use proto_schemas::orders::{Order, OrderStatus};
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::{Refusal, Tx};
use validator::Validate;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct OfOrder {
    /// The order's id.
    id: String,
}

#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct OrdersQuery {
    /// Only orders that stand here now.
    status: Option<OrderStatus>,
    /// Most items of the page.
    #[serde(default = "page_items_default")]
    #[validate(range(min = 1, max = 200, message = "must be 1 to 200"))]
    limit: u16,
    /// The `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TicketsQuery {
    /// The order that the tickets are about.
    order_id: String,
    /// Most items of the page.
    #[serde(default = "page_items_default")]
    #[validate(range(min = 1, max = 200, message = "must be 1 to 200"))]
    limit: u16,
    /// The `next` of the page before.
    cursor: Option<String>,
}

pub(super) async fn one(
    _: Viewer,
    State(context): Shared,
    Path(OfOrder { id }): Path<OfOrder>,
) -> Result<Json<Order>, Problem> {
    let tx = Tx::over(context.handle.db());
    let order = tx.get_json(rows::order_key(&id).as_bytes()).map_err(Refusal::from)?;
    order.map(shown).map(Json).ok_or_else(|| Problem::not_found("there is no such order"))
}

pub(super) async fn list(
    _: Viewer,
    State(context): Shared,
    Query(query): Query<OrdersQuery>,
) -> Result<Json<Page<Order>>, Problem> {
    let db = context.handle.db();
    let prefix = query.status.map_or_else(|| rows::ALL.to_owned(), rows::of_status);
    let before = match &query.cursor {
        Some(cursor) => Some(format!("{prefix}{}", checked(cursor)?).into_bytes()),
        None => None,
    };
    let limit = usize::from(query.limit);
    let index = db.scan_back(prefix.as_bytes(), before.as_deref(), limit + 1);
    let index = index.map_err(Refusal::from)?;
    let places: Vec<String> =
        index.iter().map(|(key, _)| text_after(key, prefix.len())).take(limit).collect();
    let next = (index.len() > limit).then(|| places.last().cloned()).flatten();
    let tx = Tx::over(db);
    let mut items = Vec::new();
    for place in &places {
        let id = place.split_once('/').map_or("", |(_, id)| id);
        let order = tx.get_json(rows::order_key(id).as_bytes()).map_err(Refusal::from)?;
        items.extend(order.map(shown));
    }
    Ok(Json(Page { items, next }))
}

pub(super) async fn tickets(
    _: Viewer,
    State(context): Shared,
    Query(query): Query<TicketsQuery>,
) -> Result<Json<Page<OpenedTicket>>, Problem> {
    if query.order_id.contains('/') {
        return Ok(Json(Page { items: Vec::new(), next: None }));
    }
    let cursor = query.cursor.as_deref().map(checked).transpose()?;
    let limit = usize::from(query.limit);
    let mut found = tickets::list(context.handle.db(), &query.order_id, cursor, limit + 1)
        .map_err(Refusal::from)?;
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|(cursor, _)| cursor.clone());
    let items = found.into_iter().map(|(_, ticket)| ticket).collect();
    Ok(Json(Page { items, next }))
}

/// The order as it is shown: without refunds that were told before they had an id, and are known by
/// it now.
fn shown(mut order: Order) -> Order {
    order.refunds.retain(|refund| !refund.amount.is_zero());
    order
}

/// A cursor is the end of a key: 13 digits, a slash, an id.
fn checked(cursor: &str) -> Result<&str, Problem> {
    let fits = cursor.split_once('/').is_some_and(|(time, id)| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        time.len() == 13 && time.bytes().all(|b| b.is_ascii_digit()) && id.bytes().all(plain)
    });
    let wrong = || {
        Problem::unprocessable("the cursor is none of this list")
            .field("/cursor", "must be the next of the page before")
    };
    if fits { Ok(cursor) } else { Err(wrong()) }
}

fn text_after(key: &[u8], at: usize) -> String {
    String::from_utf8_lossy(key.get(at..).unwrap_or_default()).into_owned()
}
