//! `payments.process`: asks the provider now what became of an order's session, for when a webhook
//! is missed. What is final becomes the event that the webhook would have become. Of a session that
//! is paid the ledger tells what stays of that, and whether the customer's bank holds some of it.
//!
//! A store that was put back from a backup may have forgotten the session: then it is looked for.
//! It may have forgotten as well what went back, and with the webhook of the payment those of its
//! refunds may be missed: so the provider is asked for these too, unless the ledger has them all.

use crate::{
    ledger::{
        self, Said, SessionRow, Settled, payments,
        view::{self, Standing},
    },
    stripe::{Client, ProviderSession},
    void::{event_id, of_order},
    went_back::{self, WentBack},
};
use chrono::{DateTime, Utc};
use proto_schemas::{
    OrderId,
    payments::{PaymentState, ProcessPayment, SessionStatus},
};
use serde::{Deserialize, Serialize};
use service_kit::{Attempt, Begun, Call, Effect, Outcome, Rejection, Tx, WorkError};
use std::sync::Arc;

pub(crate) struct LookUp {
    stripe: Arc<Client>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Intent {
    #[serde(flatten)]
    pub(crate) about: About,
    /// How much of the ledger could not be read before the provider was asked. Absent in what an
    /// older release began: then nothing counts as asked about.
    #[serde(default)]
    unreadable_count: u64,
}

/// What there is to ask. Without a tag, as older releases wrote the first of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(crate) enum About {
    /// What went back of this payment. First, as each of the others would be read in its place.
    Paid { session_id: String, payment_id: String },
    /// What became of this session.
    Known { session_id: String },
    /// What became of those of this order that the provider has.
    Unknown { order_id: OrderId },
}

/// What the provider knows.
pub(crate) struct Found {
    /// Nothing when the order has none, or was not asked for.
    session: Option<ProviderSession>,
    /// Nothing when nothing was paid.
    went_back: Option<WentBack>,
}

impl LookUp {
    pub(crate) fn new(stripe: Arc<Client>) -> LookUp {
        LookUp { stripe }
    }

    async fn found(&self, ids: Vec<String>) -> Result<Option<ProviderSession>, WorkError> {
        let mut found = None::<ProviderSession>;
        for id in ids {
            // That one of them was paid is what counts.
            if found.as_ref().is_none_or(|it| it.status != SessionStatus::Paid) {
                found = Some(self.stripe.session(&id).await?);
            }
        }
        Ok(found)
    }
}

impl Effect for LookUp {
    type Request = ProcessPayment;
    type Intent = Intent;
    type Done = Found;

    fn begin(
        &self,
        tx: &mut Tx,
        call: &Call<ProcessPayment>,
    ) -> Outcome<Begun<Intent, PaymentState>> {
        let order_id = call.body.order_id.clone();
        let unreadable_count = payments::unreadable_count(tx)?;
        let ask = |about| Ok(Begun::Work(Intent { about, unreadable_count }));
        let Some(row) = ledger::of_order(tx, &order_id)? else {
            return ask(About::Unknown { order_id });
        };
        let session_id = row.session_id.clone();
        if row.status != SessionStatus::Paid {
            return ask(About::Known { session_id });
        }
        match row.payment_id.clone() {
            Some(payment_id) if payments::may_lack(tx, &payment_id)? => {
                ask(About::Paid { session_id, payment_id })
            }
            _ => Ok(Begun::Done(state(tx, row)?)),
        }
    }

    async fn work(&self, intent: Intent, _: Attempt) -> Result<Found, WorkError> {
        let session = match intent.about {
            About::Paid { payment_id, .. } => {
                let went_back = Some(went_back::ask(&self.stripe, payment_id).await?);
                return Ok(Found { session: None, went_back });
            }
            About::Known { session_id } => self.found(vec![session_id]).await?,
            About::Unknown { order_id } => {
                self.found(of_order(&self.stripe, &order_id).await?).await?
            }
        };
        let paid = session.as_ref().filter(|it| it.status == SessionStatus::Paid);
        let went_back = match paid.and_then(|it| it.payment_id.clone()) {
            Some(payment_id) => Some(went_back::ask(&self.stripe, payment_id).await?),
            None => None,
        };
        Ok(Found { session, went_back })
    }

    fn finish(
        &self,
        tx: &mut Tx,
        call: &Call<ProcessPayment>,
        intent: Intent,
        done: Result<Found, Rejection>,
    ) -> Outcome<PaymentState> {
        let (Found { session, went_back }, order_id) = (done?, &call.body.order_id);
        let Intent { about, unreadable_count } = intent;
        if let Some(session) = &session {
            settle(tx, order_id, session, call.at)?;
        }
        let is_held = match went_back {
            Some(went_back) => went_back::take(tx, order_id, went_back, unreadable_count, call.at)?,
            None => false,
        };
        let session_id = match (&session, &about) {
            (Some(session), _) => &session.id,
            (None, About::Paid { session_id, .. }) => session_id,
            (None, _) => return Err(unknown(call).into()),
        };
        let state = match (ledger::session(tx, session_id)?, session) {
            (Some(row), _) => state(tx, row)?,
            (None, Some(ProviderSession { id, status, payment_id, .. })) => {
                state_of(tx, order_id.clone(), id, status, payment_id)?
            }
            (None, None) => return Err(unknown(call).into()),
        };
        Ok(PaymentState { disputed: state.disputed || is_held, ..state })
    }
}

/// Takes what became of the session.
fn settle(
    tx: &mut Tx,
    order_id: &OrderId,
    session: &ProviderSession,
    at: DateTime<Utc>,
) -> Outcome<()> {
    let ProviderSession { id: session_id, status, payment_id, money, .. } = session.clone();
    let said = Said {
        event_id: event_id(&session_id, status),
        session_id,
        order_id: order_id.clone(),
        status,
        payment_id,
        money,
        reason: (status == SessionStatus::Expired).then_some("the payment session expired"),
    };
    if ledger::settle(tx, said, at)? == Settled::Unreadable {
        return Err(ledger::unreadable(&session.id).into());
    }
    Ok(())
}

fn state(tx: &Tx, row: SessionRow) -> Outcome<PaymentState> {
    state_of(tx, row.order_id, row.session_id, row.status, row.payment_id)
}

fn state_of(
    tx: &Tx,
    order_id: OrderId,
    session_id: String,
    status: SessionStatus,
    payment_id: Option<String>,
) -> Outcome<PaymentState> {
    let paid = payment_id.as_ref().filter(|_| status == SessionStatus::Paid);
    let known = paid.map(|it| view::standing(tx, it)).transpose()?;
    let Standing { stays, disputed, disputes } = known.unwrap_or_default();
    Ok(PaymentState { order_id, session_id, status, payment_id, stays, disputed, disputes })
}

fn unknown(call: &Call<ProcessPayment>) -> Rejection {
    let reason = format!("order {} has no payment session", call.body.order_id);
    Rejection::new("unknown_session", reason).status(404)
}
