//! What is known of each payment: what was captured, what of it goes back, whoever sent it, and
//! what is disputed. Whatever is new for its order becomes an event.
//!
//! | key | value |
//! |---|---|
//! | `payment/<payment id>` | [`PaymentRow`] |
//! | `payment-refund/<payment id>/<refund id>` | [`RefundRow`] |
//! | `payment-dispute/<payment id>/<dispute id>` | [`DisputeRow`] |
//! | `refund-of/<refund id>` | the id of its payment |
//! | `payment-of/<order id>/<payment id>` | nothing: it is a payment of that order |
//!
//! Webhooks come in any order: what is told of a payment before anybody says whose it is stays here
//! untold until then. A refund is known by its id, with one exception: `charge.refunded` names a
//! sum, and what nobody has named by its id is shown as one refund of the charge, which goes as
//! soon as the real one is named.

use super::Money;
use chrono::{DateTime, Utc};
use proto_schemas::payments::{DisputeStatus, PaymentDisputed, PaymentRefunded, RefundStatus};
use proto_schemas::{Amount, Currency, OrderId};
use serde::{Deserialize, Serialize};
use service_kit::{NewEvent, Outcome, Refusal, Tx, publish};

/// Refunds or disputes that are told at once when it turns out whose payment it is. Nobody makes as
/// many before the payment itself is told.
const HELD_MAX: usize = 100;
/// Payments of an order, and refunds or disputes of a payment, that one look at a ledger shows.
const SHOWN_MAX: usize = 250;

/// A payment, as far as it is known.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PaymentRow {
    /// Absent while only refunds or disputes of it were told.
    paid: Option<Paid>,
    /// The sum of all refunds that are known by their ids, whatever became of them.
    named_minor: u64,
    /// The largest sum of refunds that a charge was told to have, and the charge.
    charge: Option<ChargeRow>,
    /// What stands for the refunds that have no id yet.
    unnamed: Option<Unnamed>,
    /// Counts those.
    unnamed_count: u32,
}

/// Whose payment it is, and what was captured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Paid {
    pub(crate) order_id: OrderId,
    pub(crate) session_id: String,
    pub(crate) money: Money,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChargeRow {
    charge_id: String,
    refunded: Money,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unnamed {
    refund_id: String,
    minor: u64,
}

/// A refund, as it was last seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SeenRefund {
    pub(crate) refund_id: String,
    pub(crate) money: Money,
    pub(crate) status: RefundStatus,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefundRow {
    refund: SeenRefund,
    /// What the order was last told of it.
    told: Option<RefundStatus>,
}

/// A dispute, as it was last seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SeenDispute {
    pub(crate) dispute_id: String,
    pub(crate) money: Money,
    pub(crate) status: DisputeStatus,
    /// The provider's own words.
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DisputeRow {
    dispute: SeenDispute,
    told: Option<DisputeStatus>,
}

/// What became of a piece of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The order hears of it.
    Told,
    /// It was known.
    Known,
    /// Nobody knows yet whose payment it is.
    Held,
}

impl News {
    /// What two pieces come to: what is told of either is told.
    pub(crate) fn or(self, other: News) -> News {
        if self == News::Known { other } else { self }
    }
}

/// Takes whose payment it is. The first word stands. What was held is told now.
pub(crate) fn paid(tx: &mut Tx, payment_id: &str, paid: Paid, at: DateTime<Utc>) -> Outcome<()> {
    let mut payment = row(tx, payment_id)?;
    if payment.paid.is_some() {
        return Ok(());
    }
    tx.put(format!("{}{payment_id}", payments_of(&paid.order_id)), Vec::new());
    payment.paid = Some(paid);
    for (key, _) in tx.scan(refunds_of(payment_id).as_bytes(), None, HELD_MAX)? {
        let Some(mut held) = tx.get_json::<RefundRow>(&key)? else { continue };
        tell_refund(tx, &payment, &mut held, at)?;
        tx.put_json(key, &held)?;
    }
    for (key, _) in tx.scan(disputes_of(payment_id).as_bytes(), None, HELD_MAX)? {
        let Some(mut held) = tx.get_json::<DisputeRow>(&key)? else { continue };
        tell_dispute(tx, &payment, &mut held, at)?;
        tx.put_json(key, &held)?;
    }
    tell_unnamed(tx, &mut payment, at)?;
    Ok(tx.put_json(payment_key(payment_id), &payment)?)
}

/// All that is known of a payment.
pub(super) struct Known {
    pub(super) paid: Paid,
    /// With what stands for those that have no id yet.
    pub(super) refunds: Vec<SeenRefund>,
    pub(super) disputes: Vec<SeenDispute>,
    pub(super) has_more: bool,
}

/// Nothing while nobody says whose payment it is.
pub(super) fn known(tx: &Tx, payment_id: &str) -> Outcome<Option<Known>> {
    let PaymentRow { paid: Some(paid), charge, unnamed, .. } = row(tx, payment_id)? else {
        return Ok(None);
    };
    let (mut refunds, mut disputes) = (Vec::new(), Vec::new());
    for (key, _) in tx.scan(refunds_of(payment_id).as_bytes(), None, SHOWN_MAX)? {
        refunds.extend(tx.get_json::<RefundRow>(&key)?.map(|it| it.refund));
    }
    for (key, _) in tx.scan(disputes_of(payment_id).as_bytes(), None, SHOWN_MAX)? {
        disputes.extend(tx.get_json::<DisputeRow>(&key)?.map(|it| it.dispute));
    }
    let has_more = SHOWN_MAX <= refunds.len().max(disputes.len());
    if let (Some(charge), Some(unnamed)) = (charge, unnamed) {
        refunds.push(line(charge.refunded.currency, &unnamed, RefundStatus::Succeeded)?);
    }
    Ok(Some(Known { paid, refunds, disputes, has_more }))
}

/// The payments of an order.
pub(super) fn of_order(tx: &Tx, order_id: &OrderId) -> Outcome<Vec<String>> {
    let of_order = payments_of(order_id);
    let rows = tx.scan(of_order.as_bytes(), None, SHOWN_MAX)?;
    let id =
        |key: &[u8]| Some(String::from_utf8_lossy(key.strip_prefix(of_order.as_bytes())?).into());
    Ok(rows.iter().filter_map(|(key, _)| id(key)).collect())
}

/// Whose payment it is, if that is known.
pub(crate) fn whose(tx: &Tx, payment_id: &str) -> Outcome<Option<Paid>> {
    Ok(row(tx, payment_id)?.paid)
}

/// The payment that a refund is of, if it was seen before.
pub(crate) fn payment_of(tx: &Tx, refund_id: &str) -> Outcome<Option<String>> {
    let id = tx.get(refund_key_of(refund_id).as_bytes())?;
    Ok(id.map(|id| String::from_utf8_lossy(&id).into_owned()))
}

/// Takes a refund that the order knows already, from what an older release stored.
pub(crate) fn refund_told_before(tx: &mut Tx, payment_id: &str, refund: SeenRefund) -> Outcome<()> {
    let told = Some(refund.status);
    if tx.get(refund_key(payment_id, &refund.refund_id).as_bytes())?.is_none() {
        name(tx, payment_id, RefundRow { refund, told })?;
    }
    Ok(())
}

/// Takes what is said of a refund.
pub(crate) fn refund(
    tx: &mut Tx,
    payment_id: &str,
    seen: SeenRefund,
    at: DateTime<Utc>,
) -> Outcome<News> {
    let key = refund_key(payment_id, &seen.refund_id);
    let mut refund = match tx.get_json::<RefundRow>(key.as_bytes())? {
        Some(mut known) => {
            known.refund.status = known.refund.status.later(seen.status);
            known
        }
        None => name(tx, payment_id, RefundRow { refund: seen, told: None })?,
    };
    let mut payment = row(tx, payment_id)?;
    let news = tell_refund(tx, &payment, &mut refund, at)?;
    tell_unnamed(tx, &mut payment, at)?;
    tx.put_json(payment_key(payment_id), &payment)?;
    tx.put_json(key, &refund)?;
    Ok(news)
}

/// Takes the sum of what went back of a charge, whoever sent it back.
pub(crate) fn refunded(
    tx: &mut Tx,
    payment_id: &str,
    charge_id: String,
    refunded: Money,
    at: DateTime<Utc>,
) -> Outcome<News> {
    let mut payment = row(tx, payment_id)?;
    let before = payment.charge.as_ref().map(|it| it.refunded);
    if before.is_none_or(|before| before.amount < refunded.amount) {
        payment.charge = Some(ChargeRow { charge_id, refunded });
    }
    let is_told = tell_unnamed(tx, &mut payment, at)?;
    tx.put_json(payment_key(payment_id), &payment)?;
    Ok(match (&payment.paid, is_told) {
        (None, _) => News::Held,
        (Some(_), true) => News::Told,
        (Some(_), false) => News::Known,
    })
}

/// Takes what is said of a dispute.
pub(crate) fn dispute(
    tx: &mut Tx,
    payment_id: &str,
    seen: SeenDispute,
    at: DateTime<Utc>,
) -> Outcome<News> {
    let key = format!("{}{}", disputes_of(payment_id), seen.dispute_id);
    let mut dispute = match tx.get_json::<DisputeRow>(key.as_bytes())? {
        Some(mut known) => {
            known.dispute.status = known.dispute.status.later(seen.status);
            known
        }
        None => DisputeRow { dispute: seen, told: None },
    };
    let payment = row(tx, payment_id)?;
    let news = tell_dispute(tx, &payment, &mut dispute, at)?;
    tx.put_json(key, &dispute)?;
    Ok(news)
}

/// Stores a refund that is known by its id from now on.
fn name(tx: &mut Tx, payment_id: &str, refund: RefundRow) -> Outcome<RefundRow> {
    let mut payment = row(tx, payment_id)?;
    payment.named_minor = payment.named_minor.saturating_add(minor(&refund.refund.money)?);
    tx.put_json(payment_key(payment_id), &payment)?;
    tx.put(refund_key_of(&refund.refund.refund_id), payment_id.as_bytes());
    tx.put_json(refund_key(payment_id, &refund.refund.refund_id), &refund)?;
    Ok(refund)
}

fn tell_refund(
    tx: &mut Tx,
    payment: &PaymentRow,
    refund: &mut RefundRow,
    at: DateTime<Utc>,
) -> Outcome<News> {
    let Some(paid) = &payment.paid else { return Ok(News::Held) };
    let status = refund.refund.status;
    if refund.told == Some(status) {
        return Ok(News::Known);
    }
    publish_refund(tx, paid, &refund.refund, refund.told.is_none(), at)?;
    refund.told = Some(status);
    Ok(News::Told)
}

/// Brings the refund without an id in line with what is missing among those that have one. Says
/// whether there was anything to tell.
fn tell_unnamed(tx: &mut Tx, payment: &mut PaymentRow, at: DateTime<Utc>) -> Outcome<bool> {
    let (Some(paid), Some(charge)) = (&payment.paid, &payment.charge) else { return Ok(false) };
    let missing = minor(&charge.refunded)?.saturating_sub(payment.named_minor);
    if missing == payment.unnamed.as_ref().map_or(0, |it| it.minor) {
        return Ok(false);
    }
    let currency = charge.refunded.currency;
    if let Some(old) = payment.unnamed.take() {
        let gone = line(currency, &Unnamed { minor: 0, ..old }, RefundStatus::Canceled)?;
        publish_refund(tx, paid, &gone, false, at)?;
    }
    if missing > 0 {
        payment.unnamed_count += 1;
        let refund_id = format!("{}-{}", charge.charge_id, payment.unnamed_count);
        let unnamed = Unnamed { refund_id, minor: missing };
        let new = line(currency, &unnamed, RefundStatus::Succeeded)?;
        publish_refund(tx, paid, &new, true, at)?;
        payment.unnamed = Some(unnamed);
    }
    Ok(true)
}

/// What stands for the refunds that have no id yet, as a refund.
fn line(currency: Currency, unnamed: &Unnamed, status: RefundStatus) -> Outcome<SeenRefund> {
    let amount = Amount::of_minor(unnamed.minor, currency);
    let amount = amount.map_err(|error| Refusal::failed(error.to_string()))?;
    let money = Money { amount, currency };
    Ok(SeenRefund { refund_id: unnamed.refund_id.clone(), money, status })
}

/// Each state of a refund is told once. The first has the refund's id as its key, a later one has
/// another, since it starts a saga of its own.
fn publish_refund(
    tx: &mut Tx,
    paid: &Paid,
    refund: &SeenRefund,
    is_first: bool,
    at: DateTime<Utc>,
) -> Outcome<()> {
    let SeenRefund { refund_id, money: Money { amount, currency }, status } = refund.clone();
    let Paid { order_id, session_id, .. } = paid.clone();
    let key = if is_first { refund_id.clone() } else { format!("{refund_id}/{}", status.name()) };
    let id = format!("refunded/{key}");
    let body = PaymentRefunded { order_id, session_id, refund_id, amount, currency, status };
    publish(tx, NewEvent { id, subject: PaymentRefunded::SUBJECT.to_owned(), key, body, at })?;
    Ok(())
}

fn tell_dispute(
    tx: &mut Tx,
    payment: &PaymentRow,
    row: &mut DisputeRow,
    at: DateTime<Utc>,
) -> Outcome<News> {
    let Some(paid) = &payment.paid else { return Ok(News::Held) };
    let SeenDispute { dispute_id, money: Money { amount, currency }, status, reason } =
        row.dispute.clone();
    if row.told == Some(status) {
        return Ok(News::Known);
    }
    let is_new = row.told.is_none();
    let key = if is_new { dispute_id.clone() } else { format!("{dispute_id}/{}", status.name()) };
    let Paid { order_id, session_id, .. } = paid.clone();
    let id = format!("disputed/{key}");
    let body = PaymentDisputed {
        order_id,
        session_id,
        dispute_id,
        amount,
        currency,
        status,
        reason,
        is_new,
    };
    publish(tx, NewEvent { id, subject: PaymentDisputed::SUBJECT.to_owned(), key, body, at })?;
    row.told = Some(status);
    Ok(News::Told)
}

fn row(tx: &Tx, payment_id: &str) -> Outcome<PaymentRow> {
    Ok(tx.get_json(payment_key(payment_id).as_bytes())?.unwrap_or_default())
}

pub(super) fn minor(money: &Money) -> Outcome<u64> {
    money.amount.minor(money.currency).map_err(|error| Refusal::failed(error.to_string()))
}

fn payments_of(order_id: &OrderId) -> String {
    format!("payment-of/{order_id}/")
}

fn payment_key(id: &str) -> String {
    format!("payment/{id}")
}

fn refunds_of(payment_id: &str) -> String {
    format!("payment-refund/{payment_id}/")
}

fn refund_key(payment_id: &str, refund_id: &str) -> String {
    format!("{}{refund_id}", refunds_of(payment_id))
}

fn disputes_of(payment_id: &str) -> String {
    format!("payment-dispute/{payment_id}/")
}

fn refund_key_of(refund_id: &str) -> String {
    format!("refund-of/{refund_id}")
}
