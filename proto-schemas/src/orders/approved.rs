//! What a person decided on an order.

use crate::text::OrderId;
use saga_core::filter::Field;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

/// `orders.trigger.approved`: a manager decided. Only the runtime announces it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct OrderApproved {
    /// The order.
    pub order_id: OrderId,
    /// Whether it goes on.
    pub approved: bool,
    /// Who decided.
    pub by: String,
    /// Why; a rejection has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl OrderApproved {
    /// Whether the order goes on.
    pub fn approved() -> Field<OrderApproved, bool> {
        Field::at("/approved")
    }
}
