//! What is there, held and gone: the rows, and the moves between them.
//!
//! | key | value |
//! |---|---|
//! | `s` sku | the counts of a stock keeping unit |
//! | `o` order id | what an order holds or has taken along |
//!
//! Each move takes pieces from one count of a unit and adds them to another, so that
//! available + reserved + shipped of a unit never changes. One thread makes the moves, one after
//! the other, so that two orders never get the same piece. A released order leaves no row; one that
//! was shipped keeps its row, which is what makes a second shipment impossible.

use chassis::db::{Db, DbError, Tx};
use proto_schemas::{
    OrderId,
    inventory::{Availability, Available, Held, Moved, Pieces, Stock},
};
use serde::{Deserialize, Serialize};
use service_kit::{Outcome, Refusal, Rejection};
use std::collections::BTreeMap;

const STOCK: u8 = b's';
const ORDER: u8 = b'o';

/// The counts of one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    available: u64,
    reserved: u64,
    shipped: u64,
}

/// What an order has of the stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holding {
    state: State,
    items: Vec<Held>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Reserved,
    Shipped,
}

/// Holds all the pieces for the order, or none. The same again is fine; other pieces for an order
/// that holds some are not.
pub(crate) fn reserve(tx: &mut Tx, order_id: &OrderId, wanted: &[Pieces]) -> Outcome<Moved> {
    let items = merged(wanted);
    match holding(tx, order_id)? {
        Some(Holding { state: State::Reserved, items: held }) if held == items => {
            return Ok(Moved { order_id: order_id.clone(), items });
        }
        Some(Holding { state: State::Reserved, .. }) => {
            let reason = "the order holds other pieces already; release them first";
            return Err(Refusal::rejected("already_reserved", reason));
        }
        Some(Holding { state: State::Shipped, .. }) => {
            return Err(Refusal::rejected("already_shipped", "the order was shipped already"));
        }
        None => (),
    }
    for Held { sku, quantity } in &items {
        let counts = counts(tx, sku)?.ok_or_else(|| unknown(sku))?;
        let available = counts.available.checked_sub(*quantity);
        let available = available.ok_or_else(|| short(sku, *quantity, counts.available))?;
        let reserved = plus(sku, counts.reserved, *quantity)?;
        put_counts(tx, sku, Counts { available, reserved, ..counts })?;
    }
    put_holding(tx, order_id, State::Reserved, &items)?;
    Ok(Moved { order_id: order_id.clone(), items })
}

/// Puts back what the order holds; holding nothing is fine.
///
/// What has been shipped comes back only when a saga takes it back before its pivot, by which time
/// it has stopped the parcel; a shipment whose answer was lost must not leave pieces missing.
pub(crate) fn release(tx: &mut Tx, order_id: &OrderId, is_undo: bool) -> Outcome<Moved> {
    let Some(Holding { state, items }) = holding(tx, order_id)? else {
        return Ok(Moved { order_id: order_id.clone(), items: Vec::new() });
    };
    if state == State::Shipped && !is_undo {
        return Err(Refusal::rejected("already_shipped", "the order was shipped already"));
    }
    for Held { sku, quantity } in &items {
        let mut counts = counts_of_holding(tx, sku)?;
        let from = match state {
            State::Reserved => &mut counts.reserved,
            State::Shipped => &mut counts.shipped,
        };
        *from = minus(sku, *from, *quantity)?;
        counts.available = plus(sku, counts.available, *quantity)?;
        put_counts(tx, sku, counts)?;
    }
    tx.delete(order_key(order_id));
    Ok(Moved { order_id: order_id.clone(), items })
}

/// Lets go what the order holds. Again is fine; an order that holds nothing cannot ship.
pub(crate) fn ship(tx: &mut Tx, order_id: &OrderId) -> Outcome<Moved> {
    let Some(Holding { state, items }) = holding(tx, order_id)? else {
        return Err(Refusal::rejected("not_reserved", "nothing is reserved for the order"));
    };
    if state == State::Reserved {
        for Held { sku, quantity } in &items {
            let counts = counts_of_holding(tx, sku)?;
            let reserved = minus(sku, counts.reserved, *quantity)?;
            let shipped = plus(sku, counts.shipped, *quantity)?;
            put_counts(tx, sku, Counts { reserved, shipped, ..counts })?;
        }
        put_holding(tx, order_id, State::Shipped, &items)?;
    }
    Ok(Moved { order_id: order_id.clone(), items })
}

/// Whether all these pieces are there now.
pub(crate) fn availability(tx: &Tx, wanted: &[Pieces]) -> Outcome<Availability> {
    let mut items = Vec::new();
    for Held { sku, quantity: requested } in merged(wanted) {
        let available = counts(tx, &sku)?.unwrap_or_default().available;
        items.push(Available { sku, requested, available });
    }
    let available = items.iter().all(|item| item.requested <= item.available);
    Ok(Availability { available, items })
}

/// The stock of one unit.
pub(crate) fn of_sku(db: &Db, sku: &str) -> Result<Option<Stock>, DbError> {
    let counts: Option<Counts> = Tx::over(db).get_json(&stock_key(sku))?;
    Ok(counts.map(|counts| stock(sku.to_owned(), counts)))
}

/// The stock of up to `limit` units by name, those behind `after`.
pub(crate) fn list(db: &Db, after: Option<&str>, limit: usize) -> Result<Vec<Stock>, DbError> {
    let tx = Tx::over(db);
    let rows = db.scan(&[STOCK], after.map(stock_key).as_deref(), limit)?;
    let mut list = Vec::new();
    for (key, _) in rows {
        let sku = String::from_utf8_lossy(&key[1..]).into_owned();
        list.extend(tx.get_json(&key)?.map(|counts| stock(sku, counts)));
    }
    Ok(list)
}

/// Whether there is no unit at all.
pub(crate) fn is_empty(tx: &Tx) -> Result<bool, DbError> {
    Ok(tx.scan(&[STOCK], None, 1)?.is_empty())
}

/// Puts the first pieces of a unit on the shelf.
pub(crate) fn open(tx: &mut Tx, sku: &str, available: u64) -> Result<(), DbError> {
    tx.put_json(stock_key(sku), &Counts { available, ..Counts::default() })
}

fn stock(sku: String, counts: Counts) -> Stock {
    let Counts { available, reserved, shipped } = counts;
    Stock { sku, available, reserved, shipped }
}

/// Each unit once, ordered by name. The sum fits: lines and pieces of a line are bounded.
fn merged(wanted: &[Pieces]) -> Vec<Held> {
    let mut items = BTreeMap::<&str, u64>::new();
    for Pieces { sku, quantity } in wanted {
        *items.entry(sku).or_default() += u64::from(*quantity);
    }
    items.into_iter().map(|(sku, quantity)| Held { sku: sku.to_owned(), quantity }).collect()
}

fn counts(tx: &Tx, sku: &str) -> Result<Option<Counts>, DbError> {
    tx.get_json(&stock_key(sku))
}

/// The counts of a unit of which an order holds pieces, so that there must be a row.
fn counts_of_holding(tx: &Tx, sku: &str) -> Outcome<Counts> {
    counts(tx, sku)?.ok_or_else(|| inconsistent(sku))
}

fn put_counts(tx: &mut Tx, sku: &str, counts: Counts) -> Result<(), DbError> {
    tx.put_json(stock_key(sku), &counts)
}

fn holding(tx: &Tx, order_id: &OrderId) -> Result<Option<Holding>, DbError> {
    tx.get_json(&order_key(order_id))
}

fn put_holding(
    tx: &mut Tx,
    order_id: &OrderId,
    state: State,
    items: &[Held],
) -> Result<(), DbError> {
    tx.put_json(order_key(order_id), &Holding { state, items: items.to_vec() })
}

fn stock_key(sku: &str) -> Vec<u8> {
    [&[STOCK], sku.as_bytes()].concat()
}

fn order_key(order_id: &OrderId) -> Vec<u8> {
    [&[ORDER], order_id.as_str().as_bytes()].concat()
}

fn plus(sku: &str, count: u64, quantity: u64) -> Outcome<u64> {
    count.checked_add(quantity).ok_or_else(|| inconsistent(sku))
}

fn minus(sku: &str, count: u64, quantity: u64) -> Outcome<u64> {
    count.checked_sub(quantity).ok_or_else(|| inconsistent(sku))
}

fn unknown(sku: &str) -> Refusal {
    let rejection = Rejection::new("unknown_sku", format!("there is no unit {sku}"));
    rejection.detail("sku", sku).into()
}

fn short(sku: &str, wanted: u64, available: u64) -> Refusal {
    let reason = format!("{wanted} of {sku} are wanted and {available} are available");
    let rejection = Rejection::new("out_of_stock", reason).detail("sku", sku);
    rejection.detail("wanted", wanted).detail("available", available).into()
}

/// A damaged store: a person has to look, so nothing is guessed.
fn inconsistent(sku: &str) -> Refusal {
    Refusal::failed(format!("the counts of {sku} do not cover what orders hold; restore the store"))
}

#[cfg(test)]
mod tests;
