//! `orders.open-ticket`: the support is asked to look after an order, once for each reason.

use crate::rows;
use chassis::db::{Db, DbError};
use chrono::{DateTime, Utc};
use proto_schemas::OrderId;
use proto_schemas::orders::{OpenTicket, Ticket};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service_kit::{Call, Outcome, Tx};
use sha2::{Digest as _, Sha256};

/// Bytes of the hash in a ticket's id: 64 bits tell the tickets of one order apart.
const ID_HASH_BYTES: usize = 8;

/// A ticket as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OpenedTicket {
    /// The id.
    pub(crate) ticket_id: String,
    /// The order that it is about.
    pub(crate) order_id: OrderId,
    /// What is wrong.
    pub(crate) reason: String,
    /// The courier's number, when there is a parcel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tracking_number: Option<String>,
    /// When it was opened.
    pub(crate) opened_at: DateTime<Utc>,
}

/// `orders.open-ticket`.
pub(crate) fn open(tx: &mut Tx, call: Call<OpenTicket>) -> Outcome<Ticket> {
    let OpenTicket { order_id, reason, tracking_number } = call.body;
    rows::known_order(tx, &order_id)?;
    let ticket_id = id_of(&order_id, &reason);
    let by_id = format!("ticket-id/{ticket_id}");
    if tx.get(by_id.as_bytes())?.is_some() {
        return Ok(Ticket { ticket_id });
    }
    let opened_ms = call.at.timestamp_millis();
    let key = format!("{}{opened_ms:013}/{ticket_id}", of_order(order_id.as_str()));
    tx.put(by_id, key.clone());
    let opened_at = call.at;
    let ticket = OpenedTicket { ticket_id, order_id, reason, tracking_number, opened_at };
    tx.put_json(key, &ticket)?;
    Ok(Ticket { ticket_id: ticket.ticket_id })
}

/// The tickets of an order, newest first, from the one before `before` on. With each comes what
/// to give as `before` for the next ones.
pub(crate) fn list(
    db: &Db,
    order_id: &str,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, OpenedTicket)>, DbError> {
    let prefix = of_order(order_id);
    let before = before.map(|cursor| format!("{prefix}{cursor}").into_bytes());
    let rows = db.scan_back(prefix.as_bytes(), before.as_deref(), limit)?;
    let tx = Tx::over(db);
    let mut tickets = Vec::new();
    for (key, _) in rows {
        let cursor = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
        tickets.extend(tx.get_json(&key)?.map(|ticket| (cursor, ticket)));
    }
    Ok(tickets)
}

fn of_order(order_id: &str) -> String {
    format!("ticket/{order_id}/")
}

fn id_of(order_id: &OrderId, reason: &str) -> String {
    let hash = Sha256::digest(format!("{order_id}\n{reason}"));
    format!("T-{}", hex::encode(&hash[..ID_HASH_BYTES]))
}
