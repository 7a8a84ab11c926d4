//! Notifications: mail to the customer.

use crate::{
    amount::Amount,
    currency::Currency,
    orders::OrderCreated,
    text::{OrderId, Personal, line, mail},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

/// What a mail tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// The order is taken.
    OrderConfirmed,
    /// The order is delivered.
    OrderCompleted,
    /// The order ended without goods; the reason comes in the header `Abort-Reason`.
    OrderCancelled,
}

impl NotificationKind {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            NotificationKind::OrderConfirmed => "order_confirmed",
            NotificationKind::OrderCompleted => "order_completed",
            NotificationKind::OrderCancelled => "order_cancelled",
        }
    }
}

/// `notifications.send`: one mail of this kind to the customer of this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct SendNotification {
    /// The order.
    pub order_id: OrderId,
    /// What the mail tells.
    pub kind: NotificationKind,
    /// The mail address.
    #[validate(length(min = 3, max = 254), custom(function = "mail"))]
    #[schemars(extend("format" = "email"))]
    pub to: Personal,
    /// How the customer is addressed.
    #[validate(length(min = 1, max = 200), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub name: Personal,
    /// What the order costs.
    pub total: Amount,
    /// The currency of the total.
    pub currency: Currency,
    /// The courier's number, when there is a parcel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 100), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub tracking_number: Option<String>,
}

impl SendNotification {
    /// The mail of this kind about this order.
    pub fn of(order: &OrderCreated, kind: NotificationKind) -> SendNotification {
        SendNotification {
            order_id: order.order_id.clone(),
            kind,
            to: order.customer.email.clone(),
            name: order.customer.name.clone(),
            total: order.total,
            currency: order.currency,
            tracking_number: None,
        }
    }
}

/// Answer of `notifications.send`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationSent {
    /// The stable Message-ID of the mail.
    pub message_id: String,
}
