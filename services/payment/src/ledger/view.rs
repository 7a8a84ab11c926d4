//! The ledger of one order, as people see it: what was paid, what goes back by whose hand, what is
//! disputed, and what does not fit together.

use super::{
    Contradiction, Money, contradictions, of_order,
    payments::{self, Counted},
};
use proto_schemas::payments::{DisputeStatus, RefundStatus, SessionStatus};
use proto_schemas::{Amount, Currency, OrderId};
use schemars::JsonSchema;
use serde::Serialize;
use service_kit::{Outcome, Tx};

/// What is known of an order's money.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderLedger {
    order_id: OrderId,
    /// The newest payment session.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionView>,
    /// Payments, by id.
    payments: Vec<PaymentView>,
    /// What the provider told that does not fit to what it had told before, or that cannot be read:
    /// somebody has to look there.
    contradictions: Vec<Contradiction>,
}

/// A session in which a customer pays.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SessionView {
    session_id: String,
    amount: Amount,
    currency: Currency,
    status: SessionStatus,
}

/// One payment.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PaymentView {
    payment_id: String,
    session_id: String,
    /// What was paid.
    captured: Amount,
    /// What is with the customer again, or on its way there.
    goes_back: Amount,
    /// What of the payment stays here: neither goes back, nor was lost to the customer's bank.
    /// Absent where money goes back or is lost in another currency, or cannot be read, and where
    /// this store may have forgotten some of it and the provider was not asked since; unless all of
    /// the payment is known to be gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    stays: Option<Amount>,
    /// Whether the customer's bank holds money of it by a dispute that is open: it may give that
    /// back.
    disputed: bool,
    currency: Currency,
    refunds: Vec<RefundView>,
    disputes: Vec<DisputeView>,
    /// Whether there are more refunds or disputes than are shown. All are counted.
    has_more: bool,
}

/// Money that goes back, whoever sent it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RefundView {
    refund_id: String,
    amount: Amount,
    currency: Currency,
    status: RefundStatus,
}

/// Money that the customer's bank asks back.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct DisputeView {
    dispute_id: String,
    amount: Amount,
    currency: Currency,
    status: DisputeStatus,
    /// The bank only asks, and has taken no money.
    is_inquiry: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Nothing, when no session was ever opened for the order and nothing was told of it.
pub(crate) fn of(tx: &Tx, order_id: &OrderId) -> Outcome<Option<OrderLedger>> {
    let session = of_order(tx, order_id)?;
    // An older release noted the payment with its session alone.
    let noted = session.as_ref().and_then(|it| it.payment_id.clone());
    let mut ids = payments::of_order(tx, order_id)?;
    ids.extend(noted);
    ids.sort_unstable();
    ids.dedup();
    let mut paid = Vec::with_capacity(ids.len());
    for id in ids {
        paid.extend(payment(tx, id)?);
    }
    let contradictions = contradictions(tx, order_id)?;
    if session.is_none() && paid.is_empty() && contradictions.is_empty() {
        return Ok(None);
    }
    let session = session.map(|it| SessionView {
        session_id: it.session_id,
        amount: it.amount,
        currency: it.currency,
        status: it.status,
    });
    Ok(Some(OrderLedger { order_id: order_id.clone(), session, payments: paid, contradictions }))
}

/// Disputes that are named with how much can be counted on.
const NAMED_MAX: usize = 20;

/// How much of a payment can be counted on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// What stays here. Nothing where it is not known, or cannot be added up.
    pub(crate) stays: Option<Amount>,
    /// Whether the customer's bank holds money of it, and may give that back.
    pub(crate) disputed: bool,
    /// The disputes by which it does: the first of them.
    pub(crate) disputes: Vec<String>,
}

pub(crate) fn standing(tx: &Tx, payment_id: &str) -> Outcome<Standing> {
    let Some(known) = payment(tx, payment_id.to_owned())? else { return Ok(Standing::default()) };
    let PaymentView { stays, disputed, disputes, .. } = known;
    let disputes = disputes.into_iter().filter(|it| it.status.is_open() && !it.is_inquiry);
    let disputes = disputes.take(NAMED_MAX).map(|it| it.dispute_id).collect();
    Ok(Standing { stays, disputed, disputes })
}

fn payment(tx: &Tx, payment_id: String) -> Outcome<Option<PaymentView>> {
    let Some(known) = payments::known(tx, &payment_id)? else { return Ok(None) };
    let Money { amount: captured, currency } = known.paid.money;
    let Counted { goes_back_minor, lost_minor, is_all, is_held } = known.counted;
    let left = payments::minor(&known.paid.money)?;
    let left = left.saturating_sub(goes_back_minor).saturating_sub(lost_minor);
    // What is not known can only take away from it.
    let stays = is_all || left == 0;
    let refund = |it: payments::SeenRefund| RefundView {
        refund_id: it.refund_id,
        amount: it.money.amount,
        currency: it.money.currency,
        status: it.status,
    };
    let dispute = |it: payments::SeenDispute| DisputeView {
        dispute_id: it.dispute_id,
        amount: it.money.amount,
        currency: it.money.currency,
        status: it.status,
        is_inquiry: it.is_inquiry,
        reason: it.reason,
    };
    Ok(Some(PaymentView {
        payment_id,
        session_id: known.paid.session_id,
        captured,
        goes_back: payments::amount_of(goes_back_minor, currency)?,
        stays: stays.then(|| payments::amount_of(left, currency)).transpose()?,
        disputed: is_held,
        currency,
        refunds: known.refunds.into_iter().map(refund).collect(),
        disputes: known.disputes.into_iter().map(dispute).collect(),
        has_more: known.has_more,
    }))
}
