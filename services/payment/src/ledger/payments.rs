//! What is known of each payment: what was captured, what of it goes back, whoever sent it, and
//! what is disputed. Whatever is new for its order becomes an event.
//!
//! | key | value |
//! |---|---|
//! | `payment/<payment id>` | [`PaymentRow`] |
//! | `payment-refund/<payment id>/<refund id>` | [`RefundRow`] |
//! | `payment-dispute/<payment id>/<dispute id>` | [`DisputeRow`] |
//! | `refund-of/<refund id>` | the id of its payment |
//!
//! Webhooks come in any order: what is told of a payment before anybody says whose it is stays here
//! untold until then. A refund is known by its id, with one exception: `charge.refunded` names a
//! sum, and what nobody has named by its id is shown as one refund of the charge, which goes as
//! soon as the real one is named.

use super::Money;
use chrono::{DateTime, Utc};
use proto_schemas::payments::{DisputeStatus, PaymentDisputed, PaymentRefunded, RefundStatus};
use proto_schemas::{Amount, OrderId};
use serde::{Deserialize, Serialize};
use service_kit::{NewEvent, Outcome, Refusal, Tx, publish};

/// Refunds or disputes that are told at once when it turns out whose payment it is. Nobody makes as
/// many before the payment itself is told.
const HELD_MAX: usize = 100;

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
    /// The bank only asks, and has taken no money.
    #[serde(default)]
    pub(crate) is_inquiry: bool,
    /// When the provider said so, in its seconds; absent in what an older release stored.
    #[serde(default)]
    pub(crate) said_s: Option<i64>,
}

impl SeenDispute {
    /// Whether this is said after what is known. Within a second the later state counts, and a
    /// chargeback is never followed by an inquiry.
    fn follows(&self, known: &SeenDispute) -> bool {
        match (known.said_s, self.said_s) {
            (Some(before), Some(now)) if before != now => before < now,
            (None, Some(_)) => true,
            _ if known.is_inquiry != self.is_inquiry => known.is_inquiry,
            _ => known.status.later(self.status) == self.status,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DisputeRow {
    dispute: SeenDispute,
    told: Option<DisputeStatus>,
    /// Whether that was of an inquiry; absent in what an older release stored.
    #[serde(default)]
    told_of_inquiry: Option<bool>,
    /// Counts what was told.
    #[serde(default)]
    revision: u32,
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
            if seen.follows(&known.dispute) {
                let reason = seen.reason.clone().or(known.dispute.reason);
                known.dispute = SeenDispute { reason, ..seen };
            }
            known
        }
        None => DisputeRow { dispute: seen, told: None, told_of_inquiry: None, revision: 0 },
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
    let line = |refund_id: &str, minor, status| -> Outcome<SeenRefund> {
        let amount = Amount::of_minor(minor, currency);
        let amount = amount.map_err(|error| Refusal::failed(error.to_string()))?;
        Ok(SeenRefund {
            refund_id: refund_id.to_owned(),
            money: Money { amount, currency },
            status,
        })
    };
    if let Some(old) = payment.unnamed.take() {
        let gone = line(&old.refund_id, 0, RefundStatus::Canceled)?;
        publish_refund(tx, paid, &gone, false, at)?;
    }
    if missing > 0 {
        payment.unnamed_count += 1;
        let refund_id = format!("{}-{}", charge.charge_id, payment.unnamed_count);
        let new = line(&refund_id, missing, RefundStatus::Succeeded)?;
        publish_refund(tx, paid, &new, true, at)?;
        payment.unnamed = Some(Unnamed { refund_id, minor: missing });
    }
    Ok(true)
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
    let SeenDispute { dispute_id, money, status, reason, is_inquiry, .. } = row.dispute.clone();
    let Money { amount, currency } = money;
    let has_escalated = row.told_of_inquiry == Some(true) && !is_inquiry;
    if row.told == Some(status) && !has_escalated {
        return Ok(News::Known);
    }
    let revision = row.revision + 1;
    let key = match row.told {
        None => dispute_id.clone(),
        Some(_) => format!("{dispute_id}/{revision}.{}", status.name()),
    };
    let opens = |told: DisputeStatus| status.is_open() && (has_escalated || !told.is_open());
    let is_new = row.told.is_none_or(opens);
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
        revision,
    };
    publish(tx, NewEvent { id, subject: PaymentDisputed::SUBJECT.to_owned(), key, body, at })?;
    (row.told, row.told_of_inquiry, row.revision) = (Some(status), Some(is_inquiry), revision);
    Ok(News::Told)
}

fn row(tx: &Tx, payment_id: &str) -> Outcome<PaymentRow> {
    Ok(tx.get_json(payment_key(payment_id).as_bytes())?.unwrap_or_default())
}

fn minor(money: &Money) -> Outcome<u64> {
    money.amount.minor(money.currency).map_err(|error| Refusal::failed(error.to_string()))
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
