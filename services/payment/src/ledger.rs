//! What is stored of payment sessions, and how their outcome becomes known.
//!
//! | key | value |
//! |---|---|
//! | `session/<session id>` | [`SessionRow`] |
//! | `order/<order id>` | the id of the order's newest session |
//! | `told/<session id>/completed` and `…/failed` | the id of the event that told it |
//! | `refund/<session id>` | what became of its refund (see `refund`) |
//! | `hook/…` | webhooks (see `hooks`) |
//!
//! A session's status only goes forward: open, processing, then failed or expired, then paid,
//! since money that comes after a failure is money.

use chrono::{DateTime, Utc};
use proto_schemas::payments::{Payment, PaymentDetails, SessionStatus};
use proto_schemas::{Amount, ChargeError, Currency, OrderId};
use serde::{Deserialize, Serialize};
use service_kit::{NewEvent, Outcome, Refusal, Tx, publish};

/// A session that we have opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionRow {
    pub(crate) session_id: String,
    pub(crate) order_id: OrderId,
    pub(crate) amount: Amount,
    pub(crate) currency: Currency,
    pub(crate) status: SessionStatus,
    pub(crate) url: Option<String>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) payment_id: Option<String>,
}

/// What somebody says of a session's money.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) session_id: String,
    pub(crate) order_id: OrderId,
    pub(crate) status: SessionStatus,
    pub(crate) payment_id: Option<String>,
    /// What was paid, or would have been; without it, what the session was opened over.
    pub(crate) amount: Option<(Amount, Currency)>,
    pub(crate) reason: Option<&'static str>,
    /// The id of the event that tells it.
    pub(crate) event_id: String,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// An event tells it to the world.
    Told,
    /// The world knows it already.
    Known,
    /// It says nothing final.
    Noted,
    /// It cannot be told: nobody says how much.
    NoAmount,
}

pub(crate) fn session(tx: &Tx, id: &str) -> Outcome<Option<SessionRow>> {
    Ok(tx.get_json(session_key(id).as_bytes())?)
}

/// The newest session of an order.
pub(crate) fn of_order(tx: &Tx, order_id: &OrderId) -> Outcome<Option<SessionRow>> {
    match tx.get(order_key(order_id).as_bytes())? {
        Some(id) => session(tx, &String::from_utf8_lossy(&id)),
        None => Ok(None),
    }
}

/// Stores a session that was just opened. A webhook may have been faster: what it said stays.
pub(crate) fn insert(tx: &mut Tx, mut row: SessionRow) -> Outcome<()> {
    let was_told = |tx: &Tx, what: &str| tx.get(told_key(&row.session_id, what).as_bytes());
    if was_told(tx, COMPLETED)?.is_some() {
        row.status = SessionStatus::Paid;
    } else if was_told(tx, FAILED)?.is_some() {
        row.status = SessionStatus::Failed;
    }
    tx.put(order_key(&row.order_id), row.session_id.as_bytes());
    Ok(tx.put_json(session_key(&row.session_id), &row)?)
}

/// Notes where a session stands, and tells nobody.
pub(crate) fn note(tx: &mut Tx, id: &str, status: SessionStatus) -> Outcome<()> {
    let Some(mut row) = session(tx, id)? else { return Ok(()) };
    row.status = later(row.status, status);
    Ok(tx.put_json(session_key(id), &row)?)
}

/// Takes what is said of a session. What is final becomes an event, once for each outcome: a
/// payment by whichever way it is first known, a failure unless it was paid.
pub(crate) fn settle(tx: &mut Tx, said: Said, at: DateTime<Utc>) -> Outcome<Settled> {
    let row = session(tx, &said.session_id)?;
    if let Some(row) = &row {
        let mut row = row.clone();
        row.status = later(row.status, said.status);
        row.payment_id = row.payment_id.or_else(|| said.payment_id.clone());
        tx.put_json(session_key(&row.session_id), &row)?;
    }
    let (what, subject) = match said.status {
        SessionStatus::Paid => (COMPLETED, Payment::COMPLETED),
        SessionStatus::Failed | SessionStatus::Expired => (FAILED, Payment::FAILED),
        SessionStatus::Open | SessionStatus::Processing => return Ok(Settled::Noted),
    };
    let told = told_key(&said.session_id, what);
    let paid = told_key(&said.session_id, COMPLETED);
    if tx.get(told.as_bytes())?.is_some() || tx.get(paid.as_bytes())?.is_some() {
        return Ok(Settled::Known);
    }
    let opened_over = row.map(|row| (row.amount, row.currency));
    let Some((amount, currency)) = said.amount.or(opened_over) else {
        return Ok(Settled::NoAmount);
    };
    let body = PaymentDetails {
        order_id: said.order_id,
        session_id: said.session_id,
        payment_id: said.payment_id,
        amount,
        currency,
        reason: said.reason.map(str::to_owned),
    };
    tx.put(told, said.event_id.as_bytes());
    let key = body.order_id.to_string();
    publish(tx, NewEvent { id: said.event_id, subject: subject.to_owned(), key, body, at })?;
    Ok(Settled::Told)
}

/// An amount as the provider counts it. One that it cannot count is refused for good: no repeat
/// would change it.
pub(crate) fn units(amount: Amount, currency: Currency) -> Outcome<u64> {
    let refused = |error: ChargeError| Refusal::rejected("not_chargeable", error.to_string());
    currency.to_units(amount).map_err(refused)
}

/// An amount that the provider has counted.
pub(crate) fn amount(units: u64, currency: Currency) -> Outcome<Amount> {
    currency.of_units(units).map_err(|error| Refusal::failed(error.to_string()))
}

/// The later of two states.
pub(crate) fn later(now: SessionStatus, said: SessionStatus) -> SessionStatus {
    let rank = |status| match status {
        SessionStatus::Open => 0,
        SessionStatus::Processing => 1,
        SessionStatus::Expired | SessionStatus::Failed => 2,
        SessionStatus::Paid => 3,
    };
    if rank(said) > rank(now) { said } else { now }
}

const COMPLETED: &str = "completed";
const FAILED: &str = "failed";

fn session_key(id: &str) -> String {
    format!("session/{id}")
}

fn order_key(id: &OrderId) -> String {
    format!("order/{id}")
}

fn told_key(session_id: &str, what: &str) -> String {
    format!("told/{session_id}/{what}")
}
