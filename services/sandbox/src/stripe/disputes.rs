//! Disputes, as Stripe lists them.

use super::StripeError;
use crate::{office::Office, world::Dispute};
use axum::{
    Json,
    extract::{Query, State},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    payment_intent: Option<String>,
}

/// A payment has one at most here, so there are no pages.
pub(super) async fn list(
    State(office): State<Arc<Office>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Value>, StripeError> {
    let Some(payment_intent) = query.payment_intent else {
        return Err(StripeError::invalid("The sandbox lists disputes by payment_intent only."));
    };
    let data: Vec<Value> =
        office.look(|world| world.dispute_of(&payment_intent).into_iter().map(rendered).collect());
    Ok(Json(json!({ "object": "list", "data": data, "has_more": false, "url": "/v1/disputes" })))
}

/// The dispute as Stripe shows it.
pub(crate) fn rendered(dispute: &Dispute) -> Value {
    json!({
        "id": dispute.id,
        "object": "dispute",
        "amount": dispute.amount,
        "charge": dispute.charge,
        "created": dispute.created_s,
        "currency": dispute.currency,
        "livemode": false,
        "metadata": {},
        "payment_intent": dispute.payment_intent,
        "reason": "fraudulent",
        "status": dispute.status,
    })
}
