//! Placing an order.

use crate::rows;
use chrono::{DateTime, Utc};
use proto_schemas::OrderId;
use proto_schemas::orders::{CreateOrder, Order, OrderCreated};
use saga_core::message::Event as _;
use service_kit::{Call, NewEvent, Outcome, Refusal, Tx, publish};
use sha2::{Digest as _, Sha256};

/// `orders.create`.
pub(crate) fn create(tx: &mut Tx, call: Call<CreateOrder>) -> Outcome<Order> {
    let id = id_of_key(&call.key)?;
    place(tx, id, call.body, call.at)
}

/// Stores the order and the event that starts its saga, together.
pub(crate) fn place(
    tx: &mut Tx,
    id: OrderId,
    request: CreateOrder,
    at: DateTime<Utc>,
) -> Outcome<Order> {
    let order = request.placed(id, at).map_err(|error| Refusal::failed(error.to_string()))?;
    if rows::order(tx, &order.order_id)?.is_some() {
        return Err(Refusal::rejected("order_exists", format!("{} exists", order.order_id)));
    }
    rows::insert(tx, &order)?;
    publish(
        tx,
        NewEvent {
            id: format!("{}/created", order.order_id),
            subject: OrderCreated::SUBJECTS[0].to_owned(),
            key: order.order_id.to_string(),
            body: &order,
            at,
        },
    )?;
    Ok(order)
}

/// A new id: time first, so that ids of one day stand together, then 74 random bits.
pub(crate) fn new_id(at: DateTime<Utc>) -> Outcome<OrderId> {
    let ms = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    let random: [u8; 10] = rand::random();
    parse(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
}

/// The id of the order that a call with this key places: a procedure may not draw lots.
fn id_of_key(key: &str) -> Outcome<OrderId> {
    let hash = Sha256::digest(key);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    parse(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

fn parse(id: uuid::Uuid) -> Outcome<OrderId> {
    id.to_string().parse().map_err(|_| Refusal::failed("a UUID was no order id"))
}
