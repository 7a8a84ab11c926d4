//! `payments.process`: asks the provider now what became of an order's session, for when a webhook
//! is missed. What is final becomes the event that the webhook would have become. Of a session that
//! is paid the ledger tells what stays of that, and whether the customer's bank holds some of it. A
//! store that was put back from a backup may have forgotten the session: then it is looked for.

use crate::{
    ledger::{
        self, Said, SessionRow, Settled,
        view::{self, Standing},
    },
    stripe::{Client, ProviderSession},
    void::{event_id, of_order},
};
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

/// Without a tag, as older releases wrote the first of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(crate) enum Intent {
    /// What became of this session.
    Known { session_id: String },
    /// What became of those of this order that the provider has.
    Unknown { order_id: OrderId },
}

impl LookUp {
    pub(crate) fn new(stripe: Arc<Client>) -> LookUp {
        LookUp { stripe }
    }
}

impl Effect for LookUp {
    type Request = ProcessPayment;
    type Intent = Intent;
    /// Nothing when the order has none.
    type Done = Option<ProviderSession>;

    fn begin(
        &self,
        tx: &mut Tx,
        call: &Call<ProcessPayment>,
    ) -> Outcome<Begun<Intent, PaymentState>> {
        match ledger::of_order(tx, &call.body.order_id)? {
            Some(row) if row.status == SessionStatus::Paid => Ok(Begun::Done(state(tx, row)?)),
            Some(row) => Ok(Begun::Work(Intent::Known { session_id: row.session_id })),
            None => Ok(Begun::Work(Intent::Unknown { order_id: call.body.order_id.clone() })),
        }
    }

    async fn work(&self, intent: Intent, _: Attempt) -> Result<Self::Done, WorkError> {
        let ids = match intent {
            Intent::Known { session_id } => vec![session_id],
            Intent::Unknown { order_id } => of_order(&self.stripe, &order_id).await?,
        };
        let mut found = None::<ProviderSession>;
        for id in ids {
            // That one of them was paid is what counts.
            if found.as_ref().is_none_or(|it| it.status != SessionStatus::Paid) {
                found = Some(self.stripe.session(&id).await?);
            }
        }
        Ok(found)
    }

    fn finish(
        &self,
        tx: &mut Tx,
        call: &Call<ProcessPayment>,
        _: Intent,
        done: Result<Self::Done, Rejection>,
    ) -> Outcome<PaymentState> {
        let Some(session) = done? else { return Err(unknown(call).into()) };
        let ProviderSession { id: session_id, status, payment_id: paid_by, .. } = session.clone();
        let said = Said {
            event_id: event_id(&session_id, session.status),
            session_id: session_id.clone(),
            order_id: call.body.order_id.clone(),
            status: session.status,
            payment_id: session.payment_id,
            money: session.money,
            reason: (session.status == SessionStatus::Expired)
                .then_some("the payment session expired"),
        };
        if ledger::settle(tx, said, call.at)? == Settled::Unreadable {
            return Err(ledger::unreadable(&session_id).into());
        }
        match ledger::session(tx, &session_id)? {
            Some(row) => state(tx, row),
            None => state_of(tx, call.body.order_id.clone(), session_id, status, paid_by),
        }
    }
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
    let Standing { stays, disputed } = known.unwrap_or_default();
    Ok(PaymentState { order_id, session_id, status, payment_id, stays, disputed })
}

fn unknown(call: &Call<ProcessPayment>) -> Rejection {
    let reason = format!("order {} has no payment session", call.body.order_id);
    Rejection::new("unknown_session", reason).status(404)
}
