//! Every webhook's verdict: what it was, and what became of it.
//!
//! | key | value |
//! |---|---|
//! | `hook/<received, ms>/<id>` | [`Hook`] |
//! | `hook-id/<id>` | the key of the hook: repeats change nothing |
//! | `hook-order/<order id>/<received, ms>/<id>` | the key of the hook |
//!
//! The courier gives its webhooks no id, so it is a hash of timestamp and body: what is signed.

use crate::parcels;
use chassis::db::{Db, DbError};
use chrono::{DateTime, Utc};
use proto_schemas::OrderId;
use proto_schemas::delivery::{DeliveryStatus, DeliveryUpdated};
use saga_core::message::Event as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_kit::{NewEvent, Outcome, Tx, publish};
use sha2::{Digest as _, Sha256};

/// Longest status or tracking number that is kept.
const TEXT_CHARS_MAX: usize = 100;

/// What became of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It became an event for the runtime.
    Published,
    /// The parcel was there or further already.
    Outdated,
    /// The courier's status is none that we know.
    UnknownStatus,
    /// Names no order.
    NoOrder,
    /// Signed, but no JSON object.
    Unreadable,
}

/// A webhook as it is remembered and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hook {
    /// A hash of its timestamp and body.
    pub(crate) id: String,
    /// The order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) order_id: Option<OrderId>,
    /// The status in the courier's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    /// When it came first.
    pub(crate) received_at: DateTime<Utc>,
    /// What became of it.
    pub(crate) verdict: Verdict,
}

/// What we read of a body, leniently.
struct Said {
    order_id: Option<OrderId>,
    text: Option<String>,
    status: Option<DeliveryStatus>,
    tracking_number: Option<String>,
}

/// Takes a genuine webhook, once: its verdict, the parcel's new status and the event are one
/// commit. A repeat gives what was known.
pub(crate) fn take(tx: &mut Tx, timestamp: &str, body: &[u8], at: DateTime<Utc>) -> Outcome<Hook> {
    let mut hash = Sha256::new();
    hash.update(timestamp);
    hash.update(b".");
    hash.update(body);
    let id = hex::encode(hash.finalize());
    let by_id = format!("hook-id/{id}");
    if let Some(key) = tx.get(by_id.as_bytes())?
        && let Some(known) = tx.get_json(&key)?
    {
        return Ok(known);
    }
    let said = read(body);
    let verdict = match &said {
        Some(said) => act(tx, said, &id, at)?,
        None => Verdict::Unreadable,
    };
    let (order_id, status) = said.map_or((None, None), |said| (said.order_id, said.text));
    let hook = Hook { id, order_id, status, received_at: at, verdict };
    let place = format!("{:013}/{}", at.timestamp_millis(), hook.id);
    let key = format!("{ALL}{place}");
    tx.put(by_id, key.as_bytes());
    if let Some(order_id) = &hook.order_id {
        tx.put(format!("{}{place}", of_order(order_id.as_str())), key.as_bytes());
    }
    tx.put_json(key, &hook)?;
    Ok(hook)
}

fn act(tx: &mut Tx, said: &Said, id: &str, at: DateTime<Utc>) -> Outcome<Verdict> {
    let Some(order_id) = said.order_id.clone() else { return Ok(Verdict::NoOrder) };
    let Some(status) = said.status else { return Ok(Verdict::UnknownStatus) };
    if !parcels::say(tx, &order_id, status.into())? {
        return Ok(Verdict::Outdated);
    }
    let key = order_id.to_string();
    let tracking_number = said.tracking_number.clone();
    let body = DeliveryUpdated { order_id, status, tracking_number };
    let subject = DeliveryUpdated::SUBJECTS[0].to_owned();
    publish(tx, NewEvent { id: format!("courier-{id}"), subject, key, body, at })?;
    Ok(Verdict::Published)
}

fn read(body: &[u8]) -> Option<Said> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let body = body.as_object()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let is_line = |text: &&str| {
        let is_short = (1..=TEXT_CHARS_MAX).contains(&text.chars().count());
        is_short && !text.contains(char::is_control)
    };
    let status = body.get("status").cloned().unwrap_or(Value::Null);
    Some(Said {
        order_id: text("orderId").and_then(|id| id.parse().ok()),
        text: text("status").filter(is_line).map(str::to_owned),
        status: serde_json::from_value(status).ok(),
        tracking_number: text("trackingNumber").filter(is_line).map(str::to_owned),
    })
}

/// Webhooks, newest first, of one order or all, before a cursor. With each comes its own cursor.
pub(crate) fn list(
    db: &Db,
    order_id: Option<&str>,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, Hook)>, DbError> {
    let prefix = order_id.map_or_else(|| ALL.to_owned(), of_order);
    let before = before.map(|cursor| format!("{prefix}{cursor}").into_bytes());
    let rows = db.scan_back(prefix.as_bytes(), before.as_deref(), limit)?;
    let tx = Tx::over(db);
    let mut hooks = Vec::new();
    for (key, value) in rows {
        let cursor = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
        let of = if order_id.is_some() { value } else { key };
        hooks.extend(tx.get_json(&of)?.map(|hook| (cursor, hook)));
    }
    Ok(hooks)
}

const ALL: &str = "hook/";

fn of_order(order_id: &str) -> String {
    format!("hook-order/{order_id}/")
}
