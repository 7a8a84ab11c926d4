//! Every webhook's verdict: what it was, and what became of it.
//!
//! | key | value |
//! |---|---|
//! | `hook/<received, ms>/<event id>` | [`Hook`] |
//! | `hook-id/<event id>` | the key of the hook: repeats change nothing |
//! | `hook-order/<order id>/<received, ms>/<event id>` | the key of the hook |
//!
//! The bodies are not kept: they hold names and addresses.

use crate::{
    ledger::{self, Said, Settled},
    stripe::{HookEvent, Meaning},
};
use chassis::db::{Db, DbError};
use chrono::{DateTime, Utc};
use proto_schemas::OrderId;
use proto_schemas::payments::SessionStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service_kit::{Outcome, Tx};
use sha2::{Digest as _, Sha256};

/// Longest event id that is kept as it is; Stripe's have some 30 characters.
const ID_CHARS_MAX: usize = 128;

/// What became of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It became an event for the runtime.
    Published,
    /// The same was known already, by another webhook or a look-up.
    Duplicate,
    /// The money is still on its way.
    Processing,
    /// Of a type that concerns nobody here.
    Ignored,
    /// Names no order, or no session.
    NoOrder,
    /// Does not say how much.
    NoAmount,
    /// Signed, but no event.
    Unreadable,
}

/// A webhook as it is remembered and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hook {
    /// The provider's id of the event; of one without, a hash of its body.
    pub(crate) id: String,
    /// The provider's name of what happened.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// The order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) order_id: Option<OrderId>,
    /// The payment session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session_id: Option<String>,
    /// When it came first.
    pub(crate) received_at: DateTime<Utc>,
    /// What became of it.
    pub(crate) verdict: Verdict,
}

/// Takes a genuine webhook, once: its verdict, its session's new state and its event are one
/// commit. A repeat gives what was known.
pub(crate) fn take(tx: &mut Tx, body: &[u8], at: DateTime<Utc>) -> Outcome<Hook> {
    let event = HookEvent::read(body);
    let id = match &event {
        Some(event) if is_plain(&event.id) => event.id.clone(),
        _ => format!("body-{}", hex::encode(Sha256::digest(body))),
    };
    let by_id = format!("hook-id/{id}");
    if let Some(key) = tx.get(by_id.as_bytes())?
        && let Some(known) = tx.get_json(&key)?
    {
        return Ok(known);
    }
    let verdict = match &event {
        Some(event) => act(tx, event, &id, at)?,
        None => Verdict::Unreadable,
    };
    let (kind, order_id, session_id) =
        event.map(|it| (Some(it.kind), it.order_id, it.object_id)).unwrap_or_default();
    let hook = Hook { id, kind, order_id, session_id, received_at: at, verdict };
    let place = format!("{:013}/{}", at.timestamp_millis(), hook.id);
    let key = format!("{ALL}{place}");
    tx.put(by_id, key.as_bytes());
    if let Some(order_id) = &hook.order_id {
        tx.put(format!("{}{place}", of_order(order_id.as_str())), key.as_bytes());
    }
    tx.put_json(key, &hook)?;
    Ok(hook)
}

fn act(tx: &mut Tx, event: &HookEvent, id: &str, at: DateTime<Utc>) -> Outcome<Verdict> {
    let (status, reason) = match event.meaning {
        Meaning::Completed => (SessionStatus::Paid, None),
        Meaning::Failed(reason) if event.kind.ends_with("expired") => {
            (SessionStatus::Expired, Some(reason))
        }
        Meaning::Failed(reason) => (SessionStatus::Failed, Some(reason)),
        Meaning::Processing => (SessionStatus::Processing, None),
        Meaning::Other => return Ok(Verdict::Ignored),
    };
    let (Some(order_id), Some(session_id)) = (event.order_id.clone(), event.object_id.clone())
    else {
        return Ok(Verdict::NoOrder);
    };
    let amount = match (event.amount_minor, event.currency) {
        (Some(minor), Some(currency)) => {
            ledger::amount(minor, currency).ok().map(|amount| (amount, currency))
        }
        _ => None,
    };
    let payment_id = event.payment_id.clone();
    let event_id = id.to_owned();
    let said = Said { session_id, order_id, status, payment_id, amount, reason, event_id };
    Ok(match ledger::settle(tx, said, at)? {
        Settled::Told => Verdict::Published,
        Settled::Known => Verdict::Duplicate,
        Settled::Noted => Verdict::Processing,
        Settled::NoAmount => Verdict::NoAmount,
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

/// One webhook by the provider's id.
pub(crate) fn by_id(db: &Db, id: &str) -> Result<Option<Hook>, DbError> {
    match db.get(format!("hook-id/{id}").as_bytes())? {
        Some(key) => Tx::over(db).get_json(&key),
        None => Ok(None),
    }
}

const ALL: &str = "hook/";

fn of_order(order_id: &str) -> String {
    format!("hook-order/{order_id}/")
}

/// Fit to be part of a key and a cursor.
fn is_plain(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    id.len() <= ID_CHARS_MAX && id.bytes().all(plain)
}
