//! The warehouse: what is there, what is held for an order, what has left.

use crate::{
    orders::{ITEMS_MAX, OrderCreated, QUANTITY_MAX},
    text::{OrderId, sku},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

/// So many pieces of a stock keeping unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct Pieces {
    /// The stock keeping unit.
    #[validate(length(min = 1, max = 64), custom(function = "sku"))]
    #[schemars(extend("format" = "sku"))]
    pub sku: String,
    /// Pieces.
    #[validate(range(min = 1, max = QUANTITY_MAX))]
    pub quantity: u32,
}

impl Pieces {
    /// What an order takes from the shelf, line by line.
    pub fn of(order: &OrderCreated) -> Vec<Pieces> {
        let pieces =
            |item: &crate::orders::Item| Pieces { sku: item.sku.clone(), quantity: item.quantity };
        order.items.iter().map(pieces).collect()
    }
}

/// `inventory.check-availability`: would these pieces be there now? Nothing is held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct CheckAvailability {
    /// What is asked for.
    #[validate(length(min = 1, max = ITEMS_MAX), nested)]
    pub items: Vec<Pieces>,
}

impl CheckAvailability {
    /// The pieces of this order.
    pub fn of(order: &OrderCreated) -> CheckAvailability {
        CheckAvailability { items: Pieces::of(order) }
    }
}

/// Answer of `inventory.check-availability`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Availability {
    /// Whether all of it is there.
    pub available: bool,
    /// Each stock keeping unit once, with what is there.
    pub items: Vec<Available>,
}

/// What is there of one stock keeping unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Available {
    /// The stock keeping unit.
    pub sku: String,
    /// Pieces asked for.
    pub requested: u64,
    /// Pieces that nobody holds; 0 for a unit that the warehouse does not know.
    pub available: u64,
}

/// `inventory.reserve`: hold all these pieces for an order, or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct Reserve {
    /// The order.
    pub order_id: OrderId,
    /// What to hold.
    #[validate(length(min = 1, max = ITEMS_MAX), nested)]
    pub items: Vec<Pieces>,
}

impl Reserve {
    /// Hold what this order needs.
    pub fn of(order: &OrderCreated) -> Reserve {
        Reserve { order_id: order.order_id.clone(), items: Pieces::of(order) }
    }
}

/// `inventory.release`: put back what is held for an order. Nothing held is fine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The order.
    pub order_id: OrderId,
}

impl Release {
    /// Put back what this order holds.
    pub fn of(order: &OrderCreated) -> Release {
        Release { order_id: order.order_id.clone() }
    }
}

/// `inventory.ship`: what is held for an order leaves the house.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct Ship {
    /// The order.
    pub order_id: OrderId,
}

impl Ship {
    /// Let go what this order holds.
    pub fn of(order: &OrderCreated) -> Ship {
        Ship { order_id: order.order_id.clone() }
    }
}

/// Answer of `inventory.reserve`, `inventory.release` and `inventory.ship`: what was moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// The order.
    pub order_id: OrderId,
    /// Each stock keeping unit once; none when there was nothing to move.
    pub items: Vec<Held>,
}

/// All pieces of one stock keeping unit that an order holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The stock keeping unit.
    pub sku: String,
    /// Pieces, the order's lines together.
    pub quantity: u64,
}

/// The stock of one unit, as `GET /api/stock/{sku}` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stock {
    /// The stock keeping unit.
    pub sku: String,
    /// Pieces that nobody holds.
    pub available: u64,
    /// Pieces held for orders.
    pub reserved: u64,
    /// Pieces that left the house.
    pub shipped: u64,
}
