//! `payments.process`: asks the provider now what became of an order's session, for when a webhook
//! is missed. What is final becomes the event that the webhook would have become. Of a session that
//! is paid the ledger tells what stays of that.

use crate::{
    ledger::{self, Said, SessionRow, Settled, view},
    stripe::{Client, ProviderSession},
    void::event_id,
};
use proto_schemas::payments::{PaymentState, ProcessPayment, SessionStatus};
use serde::{Deserialize, Serialize};
use service_kit::{Attempt, Begun, Call, Effect, Outcome, Rejection, Tx, WorkError};
use std::sync::Arc;

pub(crate) struct LookUp {
    stripe: Arc<Client>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Intent {
    session_id: String,
}

impl LookUp {
    pub(crate) fn new(stripe: Arc<Client>) -> LookUp {
        LookUp { stripe }
    }
}

impl Effect for LookUp {
    type Request = ProcessPayment;
    type Intent = Intent;
    type Done = ProviderSession;

    fn begin(
        &self,
        tx: &mut Tx,
        call: &Call<ProcessPayment>,
    ) -> Outcome<Begun<Intent, PaymentState>> {
        match ledger::of_order(tx, &call.body.order_id)? {
            Some(row) if row.status == SessionStatus::Paid => Ok(Begun::Done(state(tx, row)?)),
            Some(row) => Ok(Begun::Work(Intent { session_id: row.session_id })),
            None => Err(unknown(call).into()),
        }
    }

    async fn work(&self, intent: Intent, _: Attempt) -> Result<ProviderSession, WorkError> {
        Ok(self.stripe.session(&intent.session_id).await?)
    }

    fn finish(
        &self,
        tx: &mut Tx,
        call: &Call<ProcessPayment>,
        intent: Intent,
        done: Result<ProviderSession, Rejection>,
    ) -> Outcome<PaymentState> {
        let session = done?;
        let said = Said {
            event_id: event_id(&intent.session_id, session.status),
            session_id: intent.session_id.clone(),
            order_id: call.body.order_id.clone(),
            status: session.status,
            payment_id: session.payment_id,
            money: session.money,
            reason: (session.status == SessionStatus::Expired)
                .then_some("the payment session expired"),
        };
        if ledger::settle(tx, said, call.at)? == Settled::Unreadable {
            return Err(ledger::unreadable(&intent.session_id).into());
        }
        let row = ledger::session(tx, &intent.session_id)?.ok_or_else(|| unknown(call))?;
        state(tx, row)
    }
}

fn state(tx: &Tx, row: SessionRow) -> Outcome<PaymentState> {
    let paid = row.payment_id.as_ref().filter(|_| row.status == SessionStatus::Paid);
    let stays = paid.map(|it| view::stays(tx, it)).transpose()?.flatten();
    Ok(PaymentState {
        order_id: row.order_id,
        session_id: row.session_id,
        status: row.status,
        payment_id: row.payment_id,
        stays,
    })
}

fn unknown(call: &Call<ProcessPayment>) -> Rejection {
    let reason = format!("order {} has no payment session", call.body.order_id);
    Rejection::new("unknown_session", reason).status(404)
}
