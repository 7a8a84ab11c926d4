//! What is stored.
//!
//! | key | value |
//! |---|---|
//! | `order/<id>` | the order, as it is shown |
//! | `all/<placed, ms>/<id>` | nothing: all orders in the order of their placing |
//! | `status/<status>/<placed, ms>/<id>` | nothing: those that stand there now |
//! | `ticket/<order id>/<opened, ms>/<ticket id>` | the ticket |
//! | `ticket-id/<ticket id>` | the key of the ticket |
//!
//! Times are 13 digits, so that text order is time order until the year 2286.

use chassis::db::DbError;
use proto_schemas::OrderId;
use proto_schemas::orders::{Order, OrderStatus};
use service_kit::{Outcome, Rejection, Tx};

pub(crate) const ALL: &str = "all/";

/// The prefix of the index of one status.
pub(crate) fn of_status(status: OrderStatus) -> String {
    format!("status/{}/", name(status))
}

/// The name on the wire.
pub(crate) fn name(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Pending => "pending",
        OrderStatus::AwaitingApproval => "awaiting_approval",
        OrderStatus::AwaitingPayment => "awaiting_payment",
        OrderStatus::Paid => "paid",
        OrderStatus::Shipped => "shipped",
        OrderStatus::DeliveryFailed => "delivery_failed",
        OrderStatus::Completed => "completed",
        OrderStatus::Cancelled => "cancelled",
    }
}

pub(crate) fn order_key(id: &str) -> String {
    format!("order/{id}")
}

/// Reads an order.
pub(crate) fn order(tx: &Tx, id: &OrderId) -> Result<Option<Order>, DbError> {
    tx.get_json(order_key(id.as_str()).as_bytes())
}

/// Reads an order that has to be there.
pub(crate) fn known_order(tx: &Tx, id: &OrderId) -> Outcome<Order> {
    order(tx, id)?.ok_or_else(|| unknown(id).into())
}

pub(crate) fn unknown(id: &OrderId) -> Rejection {
    Rejection::new("unknown_order", format!("there is no order {id}")).status(404)
}

/// Stores an order that is new.
pub(crate) fn insert(tx: &mut Tx, order: &Order) -> Outcome<()> {
    tx.put(format!("{ALL}{}", place_in_lists(order)), []);
    tx.put(format!("{}{}", of_status(order.status), place_in_lists(order)), []);
    Ok(tx.put_json(order_key(order.order_id.as_str()), order)?)
}

/// Stores an order that stood at `before` until now.
pub(crate) fn update(tx: &mut Tx, order: &Order, before: OrderStatus) -> Outcome<()> {
    if order.status != before {
        tx.delete(format!("{}{}", of_status(before), place_in_lists(order)));
        tx.put(format!("{}{}", of_status(order.status), place_in_lists(order)), []);
    }
    Ok(tx.put_json(order_key(order.order_id.as_str()), order)?)
}

/// The end of the order's key in each index: also the cursor of a list.
fn place_in_lists(order: &Order) -> String {
    let placed = order.history.first().map_or(0, |first| first.at.timestamp_millis());
    format!("{placed:013}/{}", order.order_id)
}
