//! The ledger: what is stored of payment sessions and of their payments, and how their outcome
//! becomes known.
//!
//! | key | value |
//! |---|---|
//! | `session/<session id>` | [`SessionRow`] |
//! | `order/<order id>` | the id of the order's newest session |
//! | `told/<session id>/completed` and `…/failed` | the id of the event that told it |
//! | `paid/<session id>` | [`PaidRow`]: what was told to be paid |
//! | `contradiction/<order id>/<event id>` | [`Contradiction`] |
//! | `payment…`, `refund-of/…` | payments, refunds and disputes (see `payments`) |
//! | `refund/<session id>` | the rounds of our own refund (see `refund`) |
//! | `hook/…` | webhooks (see `hooks`) |
//!
//! A session's status only goes forward: open, processing, then failed or expired, then paid,
//! since money that comes after a failure is money.
//!
//! What is told to be paid is what the provider says was paid, also when that is not what the
//! session was opened over: whoever holds for the money compares it with what it costs.

pub(crate) mod payments;
pub(crate) mod view;

use chrono::{DateTime, Utc};
use proto_schemas::payments::{Payment, PaymentDetails, SessionStatus};
use proto_schemas::{Amount, ChargeError, Currency, OrderId};
use schemars::JsonSchema;
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

/// How much, of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Money {
    pub(crate) amount: Amount,
    pub(crate) currency: Currency,
}

/// What was told to be paid in a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PaidRow {
    payment_id: Option<String>,
    money: Money,
}

/// What was told of a session whose payment was told otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Contradiction {
    /// The provider's event that says so.
    event_id: String,
    session_id: String,
    /// The payment of which it speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payment_id: Option<String>,
    /// What was paid by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    currency: Option<Currency>,
    /// When it came.
    at: DateTime<Utc>,
}

/// What somebody says of a session's money.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) session_id: String,
    pub(crate) order_id: OrderId,
    pub(crate) status: SessionStatus,
    pub(crate) payment_id: Option<String>,
    /// What was paid, or would have been; without it, what the session was opened over.
    pub(crate) money: Option<Money>,
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
    /// The world knows of another payment of this session, or of another amount: for a person.
    Contradicts,
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
        return if what == COMPLETED { paid_again(tx, &said, at) } else { Ok(Settled::Known) };
    }
    let opened_over = row.map(|row| Money { amount: row.amount, currency: row.currency });
    let Some(money) = said.money.or(opened_over) else {
        return Ok(Settled::NoAmount);
    };
    tx.put(told, said.event_id.as_bytes());
    if what == COMPLETED {
        if opened_over.is_some_and(|opened_over| opened_over != money) {
            let session_id = said.session_id.as_str();
            tracing::warn!(session_id, ?money, ?opened_over, "paid is not what was to be paid");
        }
        let row = PaidRow { payment_id: said.payment_id.clone(), money };
        tx.put_json(paid_key(&said.session_id), &row)?;
        book(tx, &said, money, at)?;
    }
    let body = PaymentDetails {
        order_id: said.order_id,
        session_id: said.session_id,
        payment_id: said.payment_id,
        amount: money.amount,
        currency: money.currency,
        reason: said.reason.map(str::to_owned),
    };
    let key = body.order_id.to_string();
    publish(tx, NewEvent { id: said.event_id, subject: subject.to_owned(), key, body, at })?;
    Ok(Settled::Told)
}

/// A payment that was told is told again. The first word stands; one that says something else is
/// seen.
fn paid_again(tx: &mut Tx, said: &Said, at: DateTime<Utc>) -> Outcome<Settled> {
    let Some(first) = tx.get_json::<PaidRow>(paid_key(&said.session_id).as_bytes())? else {
        return Ok(Settled::Known);
    };
    let is_other = said.money.is_some_and(|money| money != first.money)
        || first.payment_id.is_some()
            && said.payment_id.is_some()
            && first.payment_id != said.payment_id;
    if is_other {
        let session_id = said.session_id.as_str();
        tracing::error!(session_id, ?said, ?first, "two payments are told of one session");
        note_contradiction(tx, said, at)?;
        return Ok(Settled::Contradicts);
    }
    book(tx, said, first.money, at)?;
    Ok(Settled::Known)
}

/// Keeps it for whoever looks at the ledger of the order whose session it is.
fn note_contradiction(tx: &mut Tx, said: &Said, at: DateTime<Utc>) -> Outcome<()> {
    let order_id = match session(tx, &said.session_id)? {
        Some(row) => row.order_id,
        None => said.order_id.clone(),
    };
    let of_order = contradictions_of(&order_id);
    if CONTRADICTIONS_MAX <= tx.scan(of_order.as_bytes(), None, CONTRADICTIONS_MAX)?.len() {
        return Ok(());
    }
    let row = Contradiction {
        event_id: said.event_id.clone(),
        session_id: said.session_id.clone(),
        payment_id: said.payment_id.clone(),
        amount: said.money.map(|it| it.amount),
        currency: said.money.map(|it| it.currency),
        at,
    };
    Ok(tx.put_json(format!("{of_order}{}", said.event_id), &row)?)
}

/// What does not fit together in the money of an order.
fn contradictions(tx: &Tx, order_id: &OrderId) -> Outcome<Vec<Contradiction>> {
    let of_order = contradictions_of(order_id);
    let mut all = Vec::new();
    for (key, _) in tx.scan(of_order.as_bytes(), None, CONTRADICTIONS_MAX)? {
        all.extend(tx.get_json(&key)?);
    }
    Ok(all)
}

/// Notes whose payment it is, so that refunds and disputes of it find their order.
fn book(tx: &mut Tx, said: &Said, money: Money, at: DateTime<Utc>) -> Outcome<()> {
    let Some(payment_id) = &said.payment_id else { return Ok(()) };
    let (order_id, session_id) = (said.order_id.clone(), said.session_id.clone());
    payments::paid(tx, payment_id, payments::Paid { order_id, session_id, money }, at)
}

/// Money as the provider writes it: in its own units, and a code in lower case. Nothing when it
/// says neither, or no such money exists.
pub(crate) fn money(units: Option<u64>, currency: Option<&str>) -> Option<Money> {
    let currency: Currency = currency?.to_ascii_uppercase().parse().ok()?;
    let amount = currency.of_units(units?).ok()?;
    Some(Money { amount, currency })
}

/// An amount as the provider counts it. One that it cannot count is refused for good: no repeat
/// would change it.
pub(crate) fn units(amount: Amount, currency: Currency) -> Outcome<u64> {
    let refused = |error: ChargeError| Refusal::rejected("not_chargeable", error.to_string());
    currency.to_units(amount).map_err(refused)
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

/// Fit to be part of a key and of a cursor.
pub(crate) fn is_plain(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    id.len() <= ID_CHARS_MAX && id.bytes().all(plain)
}

/// Longest id of the provider that is kept as it is; Stripe's have some 30 characters, those of
/// sessions 66.
const ID_CHARS_MAX: usize = 128;
/// More contradictions of one order than this are in the log alone: a person looks at the provider
/// after the first.
const CONTRADICTIONS_MAX: usize = 16;
const COMPLETED: &str = "completed";
const FAILED: &str = "failed";

fn session_key(id: &str) -> String {
    format!("session/{id}")
}

fn order_key(id: &OrderId) -> String {
    format!("order/{id}")
}

fn contradictions_of(id: &OrderId) -> String {
    format!("contradiction/{id}/")
}

fn paid_key(session_id: &str) -> String {
    format!("paid/{session_id}")
}

fn told_key(session_id: &str, what: &str) -> String {
    format!("told/{session_id}/{what}")
}
