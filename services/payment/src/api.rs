//! The ledger over HTTP, for viewers.

use crate::ledger::view::{self, OrderLedger};
use aide::axum::{ApiRouter, routing::get_with};
use axum::extract::State;
use chassis::http::{Json, Path, Problem, Viewer};
use proto_schemas::OrderId;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::{Handle, Tx};

/// The path of one ledger.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct OfOrder {
    /// The order.
    order_id: String,
}

pub(crate) fn routes(handle: Handle) -> ApiRouter {
    let summary = "What was paid for an order, what goes back, and what does not fit together";
    ApiRouter::new()
        .api_route("/api/ledgers/{orderId}", get_with(of_order, |op| op.summary(summary)))
        .with_state(handle)
}

async fn of_order(
    _: Viewer,
    State(handle): State<Handle>,
    Path(OfOrder { order_id }): Path<OfOrder>,
) -> Result<Json<OrderLedger>, Problem> {
    let unknown = || Problem::not_found("nothing is known of money for this order");
    let order_id: OrderId = order_id.parse().map_err(|_| unknown())?;
    let ledger = view::of(&Tx::over(handle.db()), &order_id).map_err(|error| {
        tracing::error!(%error, %order_id, "the ledger cannot be read");
        Problem::internal()
    })?;
    ledger.map(Json).ok_or_else(unknown)
}
