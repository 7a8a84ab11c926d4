//! Delivery: the parcel, and what the courier says of it.

use crate::{
    inventory::Pieces,
    orders::{Address, ITEMS_MAX, OrderCreated},
    text::{OrderId, Personal, line},
};
use saga_core::filter::Field;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

/// `delivery.create-shipment`: hand an order to the courier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct CreateShipment {
    /// The order.
    pub order_id: OrderId,
    /// Who gets it.
    #[validate(length(min = 1, max = 200), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub name: Personal,
    /// Where it goes.
    #[validate(nested)]
    pub shipping_address: Address,
    /// What is in it.
    #[validate(length(min = 1, max = ITEMS_MAX), nested)]
    pub items: Vec<Pieces>,
}

impl CreateShipment {
    /// The parcel of this order.
    pub fn of(order: &OrderCreated) -> CreateShipment {
        CreateShipment {
            order_id: order.order_id.clone(),
            name: order.customer.name.clone(),
            shipping_address: order.shipping_address.clone(),
            items: Pieces::of(order),
        }
    }
}

/// Answer of `delivery.create-shipment`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShipmentCreated {
    /// The delivery service's id.
    pub shipment_id: String,
    /// The courier's number.
    pub tracking_number: String,
}

/// `delivery.cancel-shipment`: stop the parcel of an order. None at all is fine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct CancelShipment {
    /// The order.
    pub order_id: OrderId,
}

impl CancelShipment {
    /// Stop the parcel of this order.
    pub fn of(order: &OrderCreated) -> CancelShipment {
        CancelShipment { order_id: order.order_id.clone() }
    }
}

/// Answer of `delivery.cancel-shipment`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShipmentCancelled {
    /// The order.
    pub order_id: OrderId,
    /// The shipment that was stopped; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipment_id: Option<String>,
}

/// `delivery.get-status`: where the parcel of an order is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct GetStatus {
    /// The order.
    pub order_id: OrderId,
}

impl GetStatus {
    /// The parcel of this order.
    pub fn of(order: &OrderCreated) -> GetStatus {
        GetStatus { order_id: order.order_id.clone() }
    }
}

/// Answer of `delivery.get-status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryState {
    /// The order.
    pub order_id: OrderId,
    /// The delivery service's id.
    pub shipment_id: String,
    /// The courier's number.
    pub tracking_number: String,
    /// What the courier last said.
    pub status: ShipmentStatus,
}

/// What a courier says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// The courier has it.
    PickedUp,
    /// On the road.
    InTransit,
    /// On the last mile.
    OutForDelivery,
    /// With the customer.
    Delivered,
    /// Could not be delivered.
    Failed,
    /// On its way back or back.
    Returned,
}

/// Where a parcel is: what a courier says, and what comes before and beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShipmentStatus {
    /// The courier knows of it.
    Created,
    /// The courier has it.
    PickedUp,
    /// On the road.
    InTransit,
    /// On the last mile.
    OutForDelivery,
    /// With the customer.
    Delivered,
    /// Could not be delivered.
    Failed,
    /// On its way back or back.
    Returned,
    /// Stopped before it left.
    Cancelled,
}

impl From<DeliveryStatus> for ShipmentStatus {
    fn from(status: DeliveryStatus) -> ShipmentStatus {
        match status {
            DeliveryStatus::PickedUp => ShipmentStatus::PickedUp,
            DeliveryStatus::InTransit => ShipmentStatus::InTransit,
            DeliveryStatus::OutForDelivery => ShipmentStatus::OutForDelivery,
            DeliveryStatus::Delivered => ShipmentStatus::Delivered,
            DeliveryStatus::Failed => ShipmentStatus::Failed,
            DeliveryStatus::Returned => ShipmentStatus::Returned,
        }
    }
}

/// `delivery.trigger.status-updated`: the courier said something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryUpdated {
    /// The order.
    pub order_id: OrderId,
    /// What the courier said.
    pub status: DeliveryStatus,
    /// The courier's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 100), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub tracking_number: Option<String>,
}

impl DeliveryUpdated {
    /// What the courier said.
    pub fn status() -> Field<DeliveryUpdated, DeliveryStatus> {
        Field::at("/status")
    }
}
