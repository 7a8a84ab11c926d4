//! `payments.refund`: money goes back once per session, however often and under whatever key it is
//! asked for.
//!
//! `refund/<session id>` holds the round and, at the end, the refund. All who ask in one round use
//! one key at the provider, made of session and round, so that two of them make one refund. What
//! the provider refuses opens the next round: its key memory would only repeat the refusal. Before
//! any call that may not be the first, the provider is asked what it has paid back already, since
//! it forgets keys after 24 h.

use crate::{
    ledger,
    stripe::{Client, ProviderRefund},
};
use chassis::crash;
use proto_schemas::payments::{
    PaymentRefunded, Refund, RefundPayment, RefundStatus, SessionStatus,
};
use proto_schemas::{Amount, Currency};
use serde::{Deserialize, Serialize};
use service_kit::{
    Attempt, Begun, Call, Effect, NewEvent, Outcome, Refusal, Rejection, Tx, WorkError, publish,
};
use std::sync::Arc;

/// Stripe's reasons are three; this one fits whatever ended the order.
const REASON: &str = "requested_by_customer";
/// The id of a refund of nothing.
const NOTHING: &str = "none";

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
    /// Counts the refusals before.
    round: u32,
    /// Whether somebody has asked in this round before.
    is_repeat: bool,
}

/// What became of the refund of a session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefundRow {
    /// Counts refusals.
    round: u32,
    /// Whether the provider may have been asked in this round.
    asked: bool,
    /// Present once the money is on its way.
    refund: Option<Refund>,
}

/// What the provider did, and which payment it was.
pub(crate) struct Done {
    refund: ProviderRefund,
    payment_id: String,
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

    /// A refund of this payment that stands and is what was asked for: a smaller one was made by
    /// somebody else for some other reason.
    async fn standing(
        &self,
        payment_id: &str,
        amount_minor: u64,
    ) -> Result<Option<ProviderRefund>, WorkError> {
        let refunds = self.stripe.refunds(payment_id).await?;
        let is_whole = |it: &ProviderRefund| it.stands() && it.amount_minor >= amount_minor;
        Ok(refunds.into_iter().find(is_whole))
    }
}

impl Effect for PayBack {
    type Request = RefundPayment;
    type Intent = Intent;
    type Done = Done;

    fn begin(&self, tx: &mut Tx, call: &Call<RefundPayment>) -> Outcome<Begun<Intent, Refund>> {
        let RefundPayment { order_id, session_id, payment_id, amount, currency } = &call.body;
        let row = row(tx, session_id)?;
        if let Some(refund) = row.refund {
            return Ok(Begun::Done(refund));
        }
        let amount_minor = ledger::units(*amount, *currency)?;
        if amount_minor == 0 {
            return Ok(Begun::Done(nothing(*amount, *currency)));
        }
        let session = ledger::session(tx, session_id)?;
        if session.as_ref().is_some_and(|session| session.order_id != *order_id) {
            let reason = format!("session {session_id} is not of order {order_id}");
            return Err(Refusal::rejected("other_order", reason));
        }
        let known = session.and_then(|session| session.payment_id);
        tx.put_json(row_key(session_id), &RefundRow { asked: true, ..row.clone() })?;
        Ok(Begun::Work(Intent {
            order_id: order_id.to_string(),
            session_id: session_id.clone(),
            payment_id: payment_id.clone().or(known),
            amount_minor,
            round: row.round,
            is_repeat: row.asked,
        }))
    }

    async fn work(&self, intent: Intent, attempt: Attempt) -> Result<Done, WorkError> {
        let payment_id = self.payment_id(&intent).await?;
        let is_first = !attempt.may_have_happened && !intent.is_repeat && intent.round == 0;
        if !is_first && let Some(refund) = self.standing(&payment_id, intent.amount_minor).await? {
            return Ok(Done { refund, payment_id });
        }
        let form = vec![
            ("payment_intent".to_owned(), payment_id.clone()),
            ("amount".to_owned(), intent.amount_minor.to_string()),
            ("reason".to_owned(), REASON.to_owned()),
            ("metadata[order_id]".to_owned(), intent.order_id.clone()),
        ];
        let key = format!("refund/{}/{}.{}", intent.session_id, intent.round, attempt.class);
        match self.stripe.refund(&form, &key).await {
            Ok(refund) => {
                crash::point("refund.before-finish");
                Ok(Done { refund, payment_id })
            }
            // Another one may have paid it back: by hand, or before a crash.
            Err(failure) if failure.is_refused() => {
                match self.standing(&payment_id, intent.amount_minor).await? {
                    Some(refund) => Ok(Done { refund, payment_id }),
                    None => Err(failure.into()),
                }
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn finish(
        &self,
        tx: &mut Tx,
        call: &Call<RefundPayment>,
        intent: Intent,
        done: Result<Done, Rejection>,
    ) -> Outcome<Refund> {
        let row = row(tx, &intent.session_id)?;
        if let Some(refund) = row.refund {
            return Ok(refund);
        }
        let Done { refund, payment_id } = match done {
            Ok(done) => done,
            Err(rejection) => {
                let next = RefundRow { round: intent.round + 1, ..RefundRow::default() };
                tx.put_json(row_key(&intent.session_id), &next)?;
                return Err(rejection.into());
            }
        };
        let currency = call.body.currency;
        let amount = ledger::amount(refund.amount_minor, currency)?;
        let refund = Refund { refund_id: refund.id, amount, currency, status: refund.status };
        let row = RefundRow { refund: Some(refund.clone()), ..row };
        tx.put_json(row_key(&intent.session_id), &row)?;
        tell(tx, call, &refund)?;
        tracing::info!(
            session_id = intent.session_id,
            payment_id,
            refund_id = refund.refund_id,
            "refunded"
        );
        Ok(refund)
    }
}

/// The order shows its refunds, whoever asked for them.
fn tell(tx: &mut Tx, call: &Call<RefundPayment>, refund: &Refund) -> Outcome<()> {
    let Refund { refund_id, amount, currency, status } = refund.clone();
    let RefundPayment { order_id, session_id, .. } = call.body.clone();
    let (id, key) = (format!("refunded/{refund_id}"), refund_id.clone());
    let body = PaymentRefunded { order_id, session_id, refund_id, amount, currency, status };
    let subject = PaymentRefunded::SUBJECT.to_owned();
    publish(tx, NewEvent { id, subject, key, body: &body, at: call.at })?;
    Ok(())
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
