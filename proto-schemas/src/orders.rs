//! Orders: the order itself, its requests and its events.

mod approved;
mod checks;

pub use approved::OrderApproved;
pub(crate) use checks::{check_amounts, check_charge, check_created, check_reason};

use crate::{
    amount::{Amount, AmountError},
    currency::Currency,
    delivery::ShipmentStatus,
    payments::{DisputeStatus, RefundStatus, is_zero},
    text::{OrderId, Personal, line, mail, sku},
};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

/// Lines of an order: more than any shop's basket, few enough for one request of the warehouse.
pub const ITEMS_MAX: u64 = 200;
/// Pieces in a line: far more than any stock, so that "out of stock" is the warehouse's answer.
pub const QUANTITY_MAX: u32 = 1_000_000_000;
/// Characters of a reason that a person gives.
pub const REASON_CHARS_MAX: u64 = 1000;
/// Characters of what a task gives as `seen`: a hash, with room for a longer one.
pub const SEEN_CHARS_MAX: u64 = 64;

/// One line of an order, with the price of one piece.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The stock keeping unit.
    #[validate(length(min = 1, max = 64), custom(function = "sku"))]
    #[schemars(extend("format" = "sku"))]
    pub sku: String,
    /// Pieces.
    #[validate(range(min = 1, max = QUANTITY_MAX))]
    pub quantity: u32,
    /// The price of one piece.
    pub price: Amount,
}

/// Who ordered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct Customer {
    /// How the customer is addressed.
    #[validate(length(min = 1, max = 200), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub name: Personal,
    /// The mail address.
    #[validate(length(min = 3, max = 254), custom(function = "mail"))]
    #[schemars(extend("format" = "email"))]
    pub email: Personal,
    /// The telephone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 40), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub phone: Option<Personal>,
}

/// Where the goods go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Street and number.
    #[validate(length(min = 1, max = 200), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub street: Personal,
    /// City.
    #[validate(length(min = 1, max = 100), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub city: Personal,
    /// State or province, where the country has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 100), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub state: Option<Personal>,
    /// Postal code.
    #[validate(length(min = 1, max = 20), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub zip: Personal,
    /// Country, by name or code.
    #[validate(length(min = 1, max = 100), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub country: String,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Placed, nothing is decided.
    Pending,
    /// A manager is asked.
    AwaitingApproval,
    /// Reserved; the payment is awaited.
    AwaitingPayment,
    /// Paid.
    Paid,
    /// With the courier.
    Shipped,
    /// The courier could not deliver, or is overdue.
    DeliveryFailed,
    /// Delivered.
    Completed,
    /// Ended without goods; what was paid is refunded.
    Cancelled,
}

/// One step of an order's way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusChange {
    /// The status from then on.
    pub status: OrderStatus,
    /// When the order service recorded it.
    pub at: DateTime<Utc>,
    /// Why, where somebody or something gave a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The parcel of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct Shipment {
    /// The delivery service's id.
    #[validate(length(min = 1, max = 100), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub shipment_id: String,
    /// The courier's number.
    #[validate(length(min = 1, max = 100), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub tracking_number: String,
    /// What the courier last said.
    pub status: ShipmentStatus,
}

/// Money that goes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct OrderRefund {
    /// The provider's id.
    #[validate(length(min = 1, max = 255), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub refund_id: String,
    /// How much.
    pub amount: Amount,
    /// The currency of the amount, when it is not that of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// What the provider says of it.
    pub status: RefundStatus,
}

/// Money that the customer's bank takes back, or wants to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct OrderDispute {
    /// The provider's id.
    #[validate(length(min = 1, max = 255), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub dispute_id: String,
    /// How much.
    pub amount: Amount,
    /// The currency of the amount, when it is not that of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// Where it stands.
    pub status: DisputeStatus,
    /// Why, in the provider's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = REASON_CHARS_MAX))]
    pub reason: Option<String>,
    /// Counts what was told of the dispute: the highest is the newest. Older releases have none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: u32,
}

/// An order, as it is shown and as `orders.trigger.created` carries it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The id.
    pub order_id: OrderId,
    /// Where it stands.
    pub status: OrderStatus,
    /// How it came there, oldest first.
    pub history: Vec<StatusChange>,
    /// What was ordered.
    pub items: Vec<Item>,
    /// The sum of the items.
    pub total: Amount,
    /// The currency of all amounts.
    pub currency: Currency,
    /// Who ordered.
    pub customer: Customer,
    /// Whether the shop sees this customer for the first time.
    pub new_customer: bool,
    /// Where the goods go.
    pub shipping_address: Address,
    /// The risk score, once it is calculated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_score: Option<u8>,
    /// The provider's id of the payment session, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_session_id: Option<String>,
    /// The parcel, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipment: Option<Shipment>,
    /// What was paid back.
    pub refunds: Vec<OrderRefund>,
    /// What the customer's bank takes back, or wants to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disputes: Vec<OrderDispute>,
}

/// `orders.create`: place an order. Amounts come as numbers or strings; the total is the sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct CreateOrder {
    /// What is ordered.
    #[validate(length(min = 1, max = ITEMS_MAX), nested)]
    pub items: Vec<Item>,
    /// The sum of the items.
    pub total: Amount,
    /// The currency of all amounts.
    #[serde(default)]
    pub currency: Currency,
    /// Who orders.
    #[validate(nested)]
    pub customer: Customer,
    /// Whether the shop sees this customer for the first time.
    #[serde(default)]
    pub new_customer: bool,
    /// Where the goods go.
    #[validate(nested)]
    pub shipping_address: Address,
}

impl CreateOrder {
    /// The order that this request places, with all amounts in the decimals of the currency.
    ///
    /// # Errors
    /// An amount does not fit the currency: the request was not checked.
    pub fn placed(self, order_id: OrderId, at: DateTime<Utc>) -> Result<Order, AmountError> {
        let currency = self.currency;
        let in_currency =
            |item: Item| Ok(Item { price: item.price.in_currency(currency)?, ..item });
        Ok(Order {
            order_id,
            status: OrderStatus::Pending,
            history: vec![StatusChange { status: OrderStatus::Pending, at, reason: None }],
            items: self.items.into_iter().map(in_currency).collect::<Result<_, AmountError>>()?,
            total: self.total.in_currency(currency)?,
            currency,
            customer: self.customer,
            new_customer: self.new_customer,
            shipping_address: self.shipping_address,
            risk_score: None,
            payment_session_id: None,
            shipment: None,
            refunds: Vec::new(),
            disputes: Vec::new(),
        })
    }
}

/// `orders.calculate-risk`: how risky an order is, by its own fields alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct CalculateRisk {
    /// The order.
    pub order_id: OrderId,
    /// What was ordered.
    #[validate(length(min = 1, max = ITEMS_MAX), nested)]
    pub items: Vec<Item>,
    /// The sum of the items.
    pub total: Amount,
    /// The currency of all amounts.
    pub currency: Currency,
    /// Whether the shop sees this customer for the first time.
    pub new_customer: bool,
    /// Where the goods go: the country alone, so that no more of a person travels than needed.
    #[validate(length(min = 1, max = 100), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub country: String,
}

impl CalculateRisk {
    /// The risk of this order.
    pub fn of(order: &OrderCreated) -> CalculateRisk {
        CalculateRisk {
            order_id: order.order_id.clone(),
            items: order.items.clone(),
            total: order.total,
            currency: order.currency,
            new_customer: order.new_customer,
            country: order.shipping_address.country.clone(),
        }
    }
}

/// Answer of `orders.calculate-risk`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Risk {
    /// From 0, no risk, to 100.
    pub score: u8,
    /// What made the score, in words for a manager.
    #[serde(default)]
    pub reasons: Vec<String>,
}

/// `orders.update-status`: record where an order stands, and what came with it.
///
/// As an undo it carries no reason: that comes in the header `Abort-Reason`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStatus {
    /// The order.
    pub order_id: OrderId,
    /// Where it stands now; unchanged when only something is added to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<OrderStatus>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(max = REASON_CHARS_MAX))]
    pub reason: Option<String>,
    /// The risk score, when it was just calculated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(max = 100))]
    pub risk_score: Option<u8>,
    /// The provider's id of the payment session, when it was just created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 255), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub payment_session_id: Option<String>,
    /// The parcel, when it is new or the courier said something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub shipment: Option<Shipment>,
    /// A refund, when there is a new one or the provider said something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub refund: Option<OrderRefund>,
    /// A dispute, when there is a new one or the provider said something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(nested)]
    pub dispute: Option<OrderDispute>,
}

impl UpdateStatus {
    /// The order stands at `status` from now on; what came with it is set on the value.
    pub fn of(order: &OrderCreated, status: OrderStatus) -> UpdateStatus {
        UpdateStatus { status: Some(status), ..UpdateStatus::on(&order.order_id) }
    }

    /// Nothing yet about this order: set what is to be recorded.
    pub fn on(order_id: &OrderId) -> UpdateStatus {
        UpdateStatus {
            order_id: order_id.clone(),
            status: None,
            reason: None,
            risk_score: None,
            payment_session_id: None,
            shipment: None,
            refund: None,
            dispute: None,
        }
    }
}

/// Answer of `orders.update-status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusUpdated {
    /// The order.
    pub order_id: OrderId,
    /// Where it stands now.
    pub status: OrderStatus,
}

/// `orders.approve`: a manager's decision, handed on to the runtime with the caller's own token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct Approve {
    /// The order.
    pub order_id: OrderId,
    /// Whether it goes on.
    pub approved: bool,
    /// Why; a rejection needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = REASON_CHARS_MAX))]
    pub reason: Option<String>,
    /// What the task gave as `seen`: the decision is then about what it showed, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = SEEN_CHARS_MAX))]
    pub seen: Option<String>,
}

/// Answer of `orders.approve`: the decision that is durable now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approved {
    /// The order.
    pub order_id: OrderId,
    /// Whether it goes on.
    pub approved: bool,
}

/// `orders.open-ticket`: ask the support to look after an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct OpenTicket {
    /// The order.
    pub order_id: OrderId,
    /// What is wrong.
    #[validate(length(min = 1, max = REASON_CHARS_MAX))]
    pub reason: String,
    /// The courier's number, when there is a parcel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(length(min = 1, max = 100), custom(function = "line"))]
    #[schemars(extend("format" = "line"))]
    pub tracking_number: Option<String>,
}

impl OpenTicket {
    /// A ticket for this order.
    pub fn of(order: &OrderCreated, reason: impl Into<String>) -> OpenTicket {
        OpenTicket {
            order_id: order.order_id.clone(),
            reason: reason.into(),
            tracking_number: None,
        }
    }
}

/// Answer of `orders.open-ticket`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// The ticket's id.
    pub ticket_id: String,
}

/// `orders.trigger.created`: an order was placed. The body is the order; what is not named here is
/// for others. It is checked like the request that placed it, since strangers may publish it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct OrderCreated {
    /// The order.
    pub order_id: OrderId,
    /// What was ordered.
    #[validate(length(min = 1, max = ITEMS_MAX), nested)]
    pub items: Vec<Item>,
    /// The sum of the items.
    pub total: Amount,
    /// The currency of all amounts.
    #[serde(default)]
    pub currency: Currency,
    /// Who ordered.
    #[validate(nested)]
    pub customer: Customer,
    /// Whether the shop sees this customer for the first time.
    #[serde(default)]
    pub new_customer: bool,
    /// Where the goods go.
    #[validate(nested)]
    pub shipping_address: Address,
}

impl From<&Order> for OrderCreated {
    fn from(order: &Order) -> OrderCreated {
        OrderCreated {
            order_id: order.order_id.clone(),
            items: order.items.clone(),
            total: order.total,
            currency: order.currency,
            customer: order.customer.clone(),
            new_customer: order.new_customer,
            shipping_address: order.shipping_address.clone(),
        }
    }
}
