//! `payments.refund`: gives back the rest of a payment, however often and under whatever key it is
//! asked for.
//!
//! Others pay back too: somebody at the provider's own pages, a process before it died. So what is
//! owed is what was paid less what goes back already, and the provider is asked for that before
//! each attempt. A refund that is on its way counts, one that has failed does not. When the
//! provider refuses, somebody may have been faster: it is looked up again, and as long as there is
//! less to give back than before, the rest is asked for.
//!
//! What the customer's bank has taken by a dispute that is lost counts as given back. While it
//! holds the money and may return it, nobody knows what is owed: a person decides.
//!
//! The provider repeats its first answer to a key for 24 hours, refusals included, and takes no
//! other amount under it. So the key is made of what was seen (how many refunds, how much is owed):
//! two who see the same make one refund, and after each change the key is another. What was
//! refused opens the next round, so that a retry is not told the old refusal.
//!
//! `refund/<session id>` counts the rounds. What goes back stands in the ledger (`payments`), and
//! the order hears of it from there.

use crate::{
    ledger::{
        self, Money, SessionRow,
        payments::{self, Paid, SeenRefund},
    },
    stripe::{Client, Failure, ProviderDispute, ProviderRefund},
};
use chassis::crash;
use chrono::{DateTime, Utc};
use proto_schemas::payments::{DisputeStatus, Refund, RefundPayment, RefundStatus, SessionStatus};
use proto_schemas::{Amount, Currency, OrderId};
use serde::{Deserialize, Serialize};
use service_kit::{Attempt, Begun, Call, Effect, Outcome, Refusal, Rejection, Tx, WorkError};
use std::sync::Arc;

/// Stripe's reasons are three; this one fits whatever ended the order.
const REASON: &str = "requested_by_customer";
/// The id of a refund of nothing.
const NOTHING: &str = "none";
/// How often one attempt looks up what is owed. Somebody who pays back by hand is slower.
const LOOKS_MAX: u32 = 5;

pub(crate) struct PayBack {
    stripe: Arc<Client>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Intent {
    order_id: String,
    session_id: String,
    payment_id: Option<String>,
    amount_minor: u64,
    /// Absent in what an older release began.
    #[serde(default)]
    currency: Option<Currency>,
    /// Counts the refusals before.
    round: u32,
}

/// The rounds of a session's refund.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefundRow {
    /// Counts refusals.
    round: u32,
    /// The one refund that an older release knew of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refund: Option<Refund>,
}

/// What goes back of a payment, and why that is not all of it.
pub(crate) struct Done {
    payment_id: String,
    /// As the provider lists them, newest first.
    refunds: Vec<ProviderRefund>,
    /// When it did so, by its clock.
    said_s: i64,
    refused: Option<Rejection>,
}

impl PayBack {
    pub(crate) fn new(stripe: Arc<Client>) -> PayBack {
        PayBack { stripe }
    }

    /// The payment of a session, asked of the provider when nobody has told.
    async fn payment_id(&self, intent: &Intent) -> Result<String, WorkError> {
        if let Some(id) = &intent.payment_id {
            return Ok(id.clone());
        }
        let session = match self.stripe.session(&intent.session_id).await {
            Ok(session) => session,
            Err(failure) if failure.is_missing() => {
                let reason = format!("the provider has no session {}", intent.session_id);
                return Err(Rejection::new("unknown_session", reason).status(404).into());
            }
            Err(failure) => return Err(failure.into()),
        };
        match session.payment_id {
            Some(id) if session.status == SessionStatus::Paid => Ok(id),
            _ => {
                let reason = format!("session {} was not paid", intent.session_id);
                Err(Rejection::new("not_paid", reason).into())
            }
        }
    }

    /// Asks for so much, after so many refunds.
    async fn ask(
        &self,
        intent: &Intent,
        attempt: &Attempt,
        payment_id: &str,
        (owed, seen): (u64, usize),
    ) -> Result<ProviderRefund, Failure> {
        let form = vec![
            ("payment_intent".to_owned(), payment_id.to_owned()),
            ("amount".to_owned(), owed.to_string()),
            ("reason".to_owned(), REASON.to_owned()),
            ("metadata[order_id]".to_owned(), intent.order_id.clone()),
        ];
        let (round, class) = (intent.round, attempt.class);
        let key = format!("refund/{payment_id}/{seen}.{owed}/{round}.{class}");
        self.stripe.refund(&form, &key).await
    }
}

impl Effect for PayBack {
    type Request = RefundPayment;
    type Intent = Intent;
    type Done = Done;

    fn begin(&self, tx: &mut Tx, call: &Call<RefundPayment>) -> Outcome<Begun<Intent, Refund>> {
        let RefundPayment { order_id, session_id, payment_id, amount, currency } = &call.body;
        let amount_minor = ledger::units(*amount, *currency)?;
        if amount_minor == 0 {
            return Ok(Begun::Done(nothing(*amount, *currency)));
        }
        let session = ledger::session(tx, session_id)?;
        let known = session.as_ref().and_then(|session| session.payment_id.clone());
        let payment_id = payment_id.clone().or(known).filter(|id| ledger::is_plain(id));
        let paid = match &payment_id {
            Some(id) => payments::whose(tx, id)?,
            None => None,
        };
        let of_session = session.is_none_or(|session| session.order_id == *order_id);
        if !of_session || paid.is_some_and(|paid| paid.order_id != *order_id) {
            let reason = format!("session {session_id} is not of order {order_id}");
            return Err(Refusal::rejected("other_order", reason));
        }
        Ok(Begun::Work(Intent {
            order_id: order_id.to_string(),
            session_id: session_id.clone(),
            payment_id,
            amount_minor,
            currency: Some(*currency),
            round: row(tx, session_id)?.round,
        }))
    }

    async fn work(&self, intent: Intent, attempt: Attempt) -> Result<Done, WorkError> {
        let payment_id = self.payment_id(&intent).await?;
        let mut refused: Option<(u64, Rejection)> = None;
        for _ in 0..LOOKS_MAX {
            let mut refunds = self.stripe.refunds(&payment_id).await?;
            let said_s = self.stripe.time_s(Utc::now().timestamp());
            let disputes = self.stripe.disputes(&payment_id).await?;
            one_currency(&intent, &refunds, &disputes)?;
            let gone = going_back(&refunds).saturating_add(taken_back(&disputes));
            let owed = intent.amount_minor.saturating_sub(gone);
            if owed == 0 {
                return Ok(Done { payment_id, refunds, said_s, refused: None });
            }
            if let Some(open) = disputes.iter().find(|it| it.standing.holds_money()) {
                let refused = Some(in_all(is_disputed(&intent, open), &intent, gone));
                return Ok(Done { payment_id, refunds, said_s, refused });
            }
            if let Some((before, why)) = refused.take()
                && before == owed
            {
                let refused = Some(in_all(why, &intent, gone));
                return Ok(Done { payment_id, refunds, said_s, refused });
            }
            match self.ask(&intent, &attempt, &payment_id, (owed, refunds.len())).await {
                Ok(refund) => {
                    crash::point("refund.before-finish");
                    let failed = (!refund.stands()).then(|| has_failed(&refund));
                    refunds.insert(0, refund);
                    let said_s = self.stripe.time_s(Utc::now().timestamp());
                    let refused = one_currency(&intent, &refunds, &[]).err().or(failed);
                    return Ok(Done { payment_id, refunds, said_s, refused });
                }
                Err(Failure::Refused { code, message, .. }) => {
                    refused = Some((owed, Rejection::new(code, message)));
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(WorkError::Failed(format!("others pay {payment_id} back at the same time")))
    }

    fn finish(
        &self,
        tx: &mut Tx,
        call: &Call<RefundPayment>,
        intent: Intent,
        done: Result<Done, Rejection>,
    ) -> Outcome<Refund> {
        let RefundPayment { order_id, session_id, amount, currency, .. } = call.body.clone();
        let (listed, refused) = match done {
            Ok(Done { payment_id, refunds, said_s, refused }) => {
                remember(tx, &payment_id, &order_id, call.at)?;
                let money = Money { amount, currency };
                let paid = Paid { order_id, session_id: session_id.clone(), money };
                payments::paid(tx, &payment_id, paid, call.at)?;
                for refund in refunds.iter().rev().filter_map(|it| seen_in(it, currency)) {
                    payments::refund(tx, &payment_id, refund, Some(said_s), call.at)?;
                }
                (refunds, refused)
            }
            Err(rejection) => (Vec::new(), Some(rejection)),
        };
        if let Some(rejection) = refused {
            let row = row(tx, &session_id)?;
            tx.put_json(row_key(&session_id), &RefundRow { round: intent.round + 1, ..row })?;
            return Err(rejection.into());
        }
        let mut standing = listed.iter().filter(|it| it.stands()).peekable();
        if standing.peek().is_none() {
            tracing::info!(session_id, "nothing to refund: the customer's bank has taken it back");
            return Ok(nothing(Amount::ZERO, currency));
        }
        let Some(SeenRefund { refund_id, money, status }) =
            standing.find_map(|it| seen_in(it, currency))
        else {
            return Err(Refusal::failed("the refund cannot be read"));
        };
        tracing::info!(session_id, refund_id, "refunded");
        Ok(Refund { refund_id, amount: money.amount, currency: money.currency, status })
    }
}

/// A refund as the ledger takes it; nothing when it has no id or no amount that can be kept.
pub(crate) fn seen(refund: &ProviderRefund) -> Option<SeenRefund> {
    let money = ledger::money(Some(refund.amount_minor), refund.currency.as_deref())?;
    let refund_id = Some(refund.id.clone()).filter(|id| ledger::is_plain(id))?;
    Some(SeenRefund { refund_id, money, status: refund.status })
}

/// The same of one whose currency is known without its word.
pub(crate) fn seen_in(refund: &ProviderRefund, currency: Currency) -> Option<SeenRefund> {
    let code = refund.currency.clone().unwrap_or_else(|| currency.code().to_owned());
    seen(&ProviderRefund { currency: Some(code), ..refund.clone() })
}

/// Finds whose payment it is by the order that the provider has noted on it. An older release kept
/// the payment with its session alone, and the refund that it had made beside that.
pub(crate) fn remember(
    tx: &mut Tx,
    payment_id: &str,
    order_id: &OrderId,
    at: DateTime<Utc>,
) -> Outcome<()> {
    if payments::whose(tx, payment_id)?.is_some() {
        return Ok(());
    }
    let session = ledger::of_order(tx, order_id)?;
    let is_its = |it: &SessionRow| {
        it.status == SessionStatus::Paid && it.payment_id.as_deref() == Some(payment_id)
    };
    let Some(session) = session.filter(is_its) else {
        return Ok(());
    };
    if let Some(Refund { refund_id, amount, currency, status }) =
        row(tx, &session.session_id)?.refund
    {
        let money = Money { amount, currency };
        payments::refund_told_before(tx, payment_id, SeenRefund { refund_id, money, status })?;
    }
    let money = Money { amount: session.amount, currency: session.currency };
    let paid = Paid { order_id: session.order_id, session_id: session.session_id, money };
    payments::paid(tx, payment_id, paid, at)
}

/// What goes back already, in the provider's units.
fn going_back(refunds: &[ProviderRefund]) -> u64 {
    let standing = refunds.iter().filter(|it| it.stands());
    standing.fold(0, |sum, it| sum.saturating_add(it.amount_minor))
}

/// What the customer's bank has taken for good.
fn taken_back(disputes: &[ProviderDispute]) -> u64 {
    let lost = disputes.iter().filter(|it| it.standing.status == DisputeStatus::Lost);
    lost.fold(0, |sum, it| sum.saturating_add(it.amount_minor))
}

/// Amounts of two currencies cannot be added up.
fn one_currency(
    intent: &Intent,
    refunds: &[ProviderRefund],
    disputes: &[ProviderDispute],
) -> Result<(), Rejection> {
    let Some(asked) = intent.currency else { return Ok(()) };
    let is_other = |it: &&str| !it.eq_ignore_ascii_case(asked.code());
    let refunds = refunds.iter().filter_map(|it| it.currency.as_deref());
    let mut all = refunds.chain(disputes.iter().filter_map(|it| it.currency.as_deref()));
    match all.find(is_other) {
        Some(other) => {
            let other = other.to_ascii_uppercase();
            let reason = format!("{asked} is to be paid back, but the payment is in {other}");
            Err(Rejection::new("other_currency", reason))
        }
        None => Ok(()),
    }
}

fn has_failed(refund: &ProviderRefund) -> Rejection {
    let reason = format!("the provider took refund {} and failed it", refund.id);
    Rejection::new("refund_failed", reason)
}

/// Stripe's own code, which it would answer with.
fn is_disputed(intent: &Intent, open: &ProviderDispute) -> Rejection {
    let (id, held) = (&open.id, money(intent, open.amount_minor));
    let reason = format!(
        "the customer's bank holds {held} by dispute {id}: when it is over, have the refund tried \
         again"
    );
    Rejection::new("charge_disputed", reason)
}

fn money(intent: &Intent, units: u64) -> String {
    match intent.currency {
        Some(currency) => currency
            .of_units(units)
            .map_or_else(|error| error.to_string(), |amount| format!("{amount} {currency}")),
        None => format!("{units} of the provider's units"),
    }
}

/// The refusal with what a person needs to know beside it.
fn in_all(why: Rejection, intent: &Intent, gone: u64) -> Rejection {
    let (back, all) = (money(intent, gone), money(intent, intent.amount_minor));
    let reason = format!("{}; {back} of {all} go back so far", why.reason());
    Rejection::new(why.code(), reason)
}

fn nothing(amount: Amount, currency: Currency) -> Refund {
    let refund_id = NOTHING.to_owned();
    Refund { refund_id, amount, currency, status: RefundStatus::Succeeded }
}

fn row(tx: &Tx, session_id: &str) -> Outcome<RefundRow> {
    Ok(tx.get_json(row_key(session_id).as_bytes())?.unwrap_or_default())
}

fn row_key(session_id: &str) -> String {
    format!("refund/{session_id}")
}
