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
//! | `payment-unreadable-count` | counts what was told of any payment and could not be read |
//!
//! Webhooks come in any order: what is told of a payment before anybody says whose it is stays here
//! untold until then. A refund is known by its id, with one exception: `charge.refunded` names a
//! sum, and what nobody has named by its id is shown as one refund of the charge, which goes as
//! soon as the real one is named. A sum holds no refund that had failed before it was told, which
//! the provider's clock decides: webhooks say when they were made, and come in any order.

mod disputes;
mod known;

pub(crate) use disputes::{SeenDispute, dispute};
pub(super) use known::{Counted, known};

use super::Money;
use chrono::{DateTime, Utc};
use disputes::DisputeRow;
use proto_schemas::payments::{PaymentRefunded, RefundStatus};
use proto_schemas::{Amount, Currency, OrderId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use service_kit::{NewEvent, Outcome, Refusal, Tx, publish};

/// Refunds or disputes that are read at a time when it turns out whose payment it is.
const HELD_STEP: usize = 100;
/// Payments of an order, and refunds or disputes of a payment, that one look at a ledger shows. All
/// of them are counted.
const SHOWN_MAX: usize = 250;

/// Failures since the last sum of a charge that are kept; more are not counted as gone, as if they
/// had come without a time.
const GONE_MAX: usize = 100;

/// A payment, as far as it is known.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PaymentRow {
    /// Absent while only refunds or disputes of it were told.
    paid: Option<Paid>,
    /// The sum of all refunds that are known by their ids, whatever became of them.
    named_minor: u64,
    /// The newest sum of refunds that a charge was told to have; without times, the largest.
    charge: Option<ChargeRow>,
    /// The part of `named_minor` that had failed before that sum was told.
    #[serde(default)]
    gone_minor: u64,
    /// What has failed since.
    #[serde(default)]
    gone: Vec<Gone>,
    /// What stands for the refunds that have no id yet.
    unnamed: Option<Unnamed>,
    /// Counts those.
    unnamed_count: u32,
    /// Something was told of money of it that could not be read, and nobody has asked since.
    #[serde(default)]
    unreadable: bool,
    /// The number of the last of that among all that could not be read; 0 in what an older release
    /// stored.
    #[serde(default)]
    unreadable_number: u64,
    /// The epoch of a store that may have forgotten, in which the provider was asked for all that
    /// went back.
    #[serde(default)]
    asked_in: Option<u64>,
    /// How often that store had taken the place of another one by then.
    #[serde(default)]
    asked_after: u64,
}

impl PaymentRow {
    /// Whether money may have gone back of which nothing is known here.
    fn may_lack(&self, tx: &Tx) -> bool {
        let was_asked = self.asked_in == Some(tx.epoch()) && self.asked_after == tx.take_overs();
        self.unreadable || tx.may_have_forgotten() && !was_asked
    }
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
pub(crate) struct ChargeRow {
    pub(crate) charge_id: String,
    pub(crate) refunded: Money,
    /// By the provider's clock, if it says.
    #[serde(default)]
    pub(crate) told_at_s: Option<i64>,
}

impl ChargeRow {
    fn is_after(&self, other: &ChargeRow) -> bool {
        match (self.told_at_s, other.told_at_s) {
            (Some(at_s), Some(other_s)) if at_s != other_s => other_s < at_s,
            _ => other.refunded.amount < self.refunded.amount,
        }
    }
}

/// A refund that failed or was cancelled, and when, by the provider's clock.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gone {
    at_s: i64,
    minor: u64,
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
    /// Whether the payment counts it among those that are gone.
    #[serde(default)]
    is_gone: bool,
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
    tell_held(tx, &refunds_of(payment_id), |tx, held: &mut RefundRow| {
        tell_refund(tx, &payment, held, at)
    })?;
    tell_held(tx, &disputes_of(payment_id), |tx, held: &mut DisputeRow| {
        disputes::tell(tx, &payment, held, at)
    })?;
    tell_unnamed(tx, &mut payment, at)?;
    Ok(tx.put_json(payment_key(payment_id), &payment)?)
}

/// Tells all that was held below a prefix. Nothing comes after it that would tell what is left out,
/// and each row was a webhook of its own, so all of it is one commit.
fn tell_held<T: Serialize + DeserializeOwned>(
    tx: &mut Tx,
    prefix: &str,
    mut tell: impl FnMut(&mut Tx, &mut T) -> Outcome<News>,
) -> Outcome<()> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let step = tx.scan(prefix.as_bytes(), after.as_deref(), HELD_STEP)?;
        for (key, _) in &step {
            let Some(mut held) = tx.get_json::<T>(key)? else { continue };
            tell(tx, &mut held)?;
            tx.put_json(key.as_slice(), &held)?;
        }
        match step.into_iter().last() {
            Some((key, _)) => after = Some(key),
            None => return Ok(()),
        }
    }
}

/// The payments of an order.
pub(super) fn of_order(tx: &Tx, order_id: &OrderId) -> Outcome<Vec<String>> {
    let of_order = payments_of(order_id);
    let rows = tx.scan(of_order.as_bytes(), None, SHOWN_MAX)?;
    let id =
        |key: &[u8]| Some(String::from_utf8_lossy(key.strip_prefix(of_order.as_bytes())?).into());
    Ok(rows.iter().filter_map(|(key, _)| id(key)).collect())
}

/// Whether money of it may have gone back of which nothing is known here: the provider knows.
pub(crate) fn may_lack(tx: &Tx, payment_id: &str) -> Outcome<bool> {
    Ok(row(tx, payment_id)?.may_lack(tx))
}

/// Notes that something was told of its money which cannot be read.
pub(crate) fn unreadable(tx: &mut Tx, payment_id: &str) -> Outcome<()> {
    let unreadable_number = unreadable_count(tx)?.saturating_add(1);
    tx.put_json(UNREADABLE_COUNT, &unreadable_number)?;
    let payment = PaymentRow { unreadable: true, unreadable_number, ..row(tx, payment_id)? };
    Ok(tx.put_json(payment_key(payment_id), &payment)?)
}

/// How much could not be read up to now, of any payment. Whoever asks the provider notes it before:
/// what comes behind it may not be in the answer.
pub(crate) fn unreadable_count(tx: &Tx) -> Outcome<u64> {
    Ok(tx.get_json(UNREADABLE_COUNT.as_bytes())?.unwrap_or_default())
}

/// Notes that all that the provider tells of its money has been taken. It was asked when so much
/// could not be read.
pub(crate) fn asked(tx: &mut Tx, payment_id: &str, unreadable_count: u64) -> Outcome<()> {
    let mut payment = row(tx, payment_id)?;
    payment.unreadable &= unreadable_count < payment.unreadable_number;
    payment.asked_in = tx.may_have_forgotten().then(|| tx.epoch());
    payment.asked_after = tx.take_overs();
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
        name(tx, payment_id, RefundRow { refund, told, is_gone: false })?;
    }
    Ok(())
}

/// Takes what is said of a refund, and by when it was so, by the provider's clock.
pub(crate) fn refund(
    tx: &mut Tx,
    payment_id: &str,
    seen: SeenRefund,
    by_s: Option<i64>,
    at: DateTime<Utc>,
) -> Outcome<News> {
    let (refund_id, has_gone) = (seen.refund_id.clone(), !seen.status.stands());
    let news = refund_seen(tx, payment_id, seen, at)?;
    match by_s.filter(|_| has_gone) {
        Some(by_s) => Ok(news.or(gone(tx, payment_id, &refund_id, by_s, at)?)),
        None => Ok(news),
    }
}

fn refund_seen(
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
        None => name(tx, payment_id, RefundRow { refund: seen, told: None, is_gone: false })?,
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
    sum: ChargeRow,
    at: DateTime<Utc>,
) -> Outcome<News> {
    let mut payment = row(tx, payment_id)?;
    if payment.charge.as_ref().is_none_or(|before| sum.is_after(before)) {
        payment.charge = Some(sum);
    }
    sums(tx, payment_id, payment, at)
}

/// Takes by when a refund that is known has failed or was cancelled, by the provider's clock.
fn gone(
    tx: &mut Tx,
    payment_id: &str,
    refund_id: &str,
    at_s: i64,
    at: DateTime<Utc>,
) -> Outcome<News> {
    let (key, mut payment) = (refund_key(payment_id, refund_id), row(tx, payment_id)?);
    let Some(mut refund) = tx.get_json::<RefundRow>(key.as_bytes())? else {
        return Ok(News::Known);
    };
    if refund.is_gone {
        return Ok(News::Known);
    }
    let minor = minor(&refund.refund.money)?;
    let is_full = payment.gone.len() == GONE_MAX;
    match payment.gone.iter_mut().find(|it| it.at_s == at_s) {
        // One answer of the provider may tell of any number.
        Some(same) => same.minor = same.minor.saturating_add(minor),
        None if is_full => return Ok(News::Known),
        None => payment.gone.push(Gone { at_s, minor }),
    }
    refund.is_gone = true;
    tx.put_json(key, &refund)?;
    sums(tx, payment_id, payment, at)
}

/// Stores a payment whose sums have changed, and tells what follows from that.
fn sums(
    tx: &mut Tx,
    payment_id: &str,
    mut payment: PaymentRow,
    at: DateTime<Utc>,
) -> Outcome<News> {
    if let Some(told_at_s) = payment.charge.as_ref().and_then(|it| it.told_at_s) {
        let (before, since) = payment.gone.drain(..).partition(|it| it.at_s < told_at_s);
        let before: Vec<Gone> = before;
        let before = before.iter().fold(0, |sum: u64, it| sum.saturating_add(it.minor));
        (payment.gone_minor, payment.gone) = (payment.gone_minor.saturating_add(before), since);
    }
    let is_told = tell_unnamed(tx, &mut payment, at)?;
    tx.put_json(payment_key(payment_id), &payment)?;
    Ok(match (&payment.paid, is_told) {
        (None, _) => News::Held,
        (Some(_), true) => News::Told,
        (Some(_), false) => News::Known,
    })
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
    let is_first = refund.told.is_none() && !was_restored(tx);
    let behind = Some(status.name()).filter(|_| !is_first);
    publish_refund(tx, paid, &refund.refund, behind, at)?;
    refund.told = Some(status);
    Ok(News::Told)
}

/// Brings the refund without an id in line with what is missing among those that have one. Says
/// whether there was anything to tell.
fn tell_unnamed(tx: &mut Tx, payment: &mut PaymentRow, at: DateTime<Utc>) -> Outcome<bool> {
    let (Some(paid), Some(charge)) = (&payment.paid, &payment.charge) else { return Ok(false) };
    let named = payment.named_minor.saturating_sub(payment.gone_minor);
    let missing = minor(&charge.refunded)?.saturating_sub(named);
    if missing == payment.unnamed.as_ref().map_or(0, |it| it.minor) {
        return Ok(false);
    }
    let currency = charge.refunded.currency;
    if let Some(old) = payment.unnamed.take() {
        let gone = line(currency, &Unnamed { minor: 0, ..old }, RefundStatus::Canceled)?;
        publish_refund(tx, paid, &gone, Some(RefundStatus::Canceled.name()), at)?;
    }
    if missing > 0 {
        payment.unnamed_count += 1;
        let refund_id = format!("{}-{}", charge.charge_id, payment.unnamed_count);
        let unnamed = Unnamed { refund_id, minor: missing };
        let new = line(currency, &unnamed, RefundStatus::Succeeded)?;
        // The count is lost with the store, and so says nothing alone.
        publish_refund(tx, paid, &new, Some(&missing.to_string()), at)?;
        payment.unnamed = Some(unnamed);
    }
    Ok(true)
}

/// What stands for the refunds that have no id yet, as a refund.
fn line(currency: Currency, unnamed: &Unnamed, status: RefundStatus) -> Outcome<SeenRefund> {
    let money = Money { amount: amount_of(unnamed.minor, currency)?, currency };
    Ok(SeenRefund { refund_id: unnamed.refund_id.clone(), money, status })
}

/// Each state of a refund is told once. The key of the first is the refund's id; that of any other
/// has something `behind` it, as it starts a saga of its own. What is told follows from its id, as
/// the runtime takes one body under each.
fn publish_refund(
    tx: &mut Tx,
    paid: &Paid,
    refund: &SeenRefund,
    behind: Option<&str>,
    at: DateTime<Utc>,
) -> Outcome<()> {
    let SeenRefund { refund_id, money: Money { amount, currency }, status } = refund.clone();
    let Paid { order_id, session_id, .. } = paid.clone();
    let key = behind.map_or_else(|| refund_id.clone(), |behind| format!("{refund_id}/{behind}"));
    let id = format!("refunded/{key}");
    let body = PaymentRefunded { order_id, session_id, refund_id, amount, currency, status };
    publish(tx, NewEvent { id, subject: PaymentRefunded::SUBJECT.to_owned(), key, body, at })?;
    Ok(())
}

/// Whether the store was put back from a copy, or is in the place of one that was lost: what was
/// told since the copy was made, or by the other, and how far it had counted, is not known to it.
fn was_restored(tx: &Tx) -> bool {
    tx.may_have_forgotten()
}

fn row(tx: &Tx, payment_id: &str) -> Outcome<PaymentRow> {
    Ok(tx.get_json(payment_key(payment_id).as_bytes())?.unwrap_or_default())
}

pub(super) fn minor(money: &Money) -> Outcome<u64> {
    money.amount.minor(money.currency).map_err(|error| Refusal::failed(error.to_string()))
}

pub(super) fn amount_of(minor: u64, currency: Currency) -> Outcome<Amount> {
    Amount::of_minor(minor, currency).map_err(|error| Refusal::failed(error.to_string()))
}

fn payments_of(order_id: &OrderId) -> String {
    format!("payment-of/{order_id}/")
}

const UNREADABLE_COUNT: &str = "payment-unreadable-count";

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
