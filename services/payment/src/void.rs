//! `payments.void-session`: the undo of `payments.create-session`.
//!
//! It ends well whatever the session is: expired now, expired before, paid, or never there. Money
//! that was paid is told to the world like any payment, and goes back by `payments.refund`. Only
//! money that cannot be read is for a person: the void is refused.

use crate::{
    ledger::{self, Said, Settled},
    stripe::{Client, ProviderSession},
};
use proto_schemas::payments::{SessionStatus, SessionVoided, VoidSession};
use serde::{Deserialize, Serialize};
use service_kit::{Attempt, Begun, Call, Effect, Outcome, Rejection, Tx, WorkError};
use std::sync::Arc;

pub(crate) struct CloseSession {
    stripe: Arc<Client>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Intent {
    session_id: String,
}

impl CloseSession {
    pub(crate) fn new(stripe: Arc<Client>) -> CloseSession {
        CloseSession { stripe }
    }
}

impl Effect for CloseSession {
    type Request = VoidSession;
    type Intent = Intent;
    /// Nothing when the provider does not know the session.
    type Done = Option<ProviderSession>;

    fn begin(
        &self,
        tx: &mut Tx,
        call: &Call<VoidSession>,
    ) -> Outcome<Begun<Intent, SessionVoided>> {
        let order_id = call.body.order_id.clone();
        let Some(row) = ledger::of_order(tx, &order_id)? else {
            return Ok(Begun::Done(SessionVoided { order_id, status: None }));
        };
        let is_unreadable = ledger::is_unreadable(tx, &row.session_id)?;
        match row.status {
            SessionStatus::Open | SessionStatus::Processing => {
                Ok(Begun::Work(Intent { session_id: row.session_id }))
            }
            // Money may have come after the failure: the provider knows.
            _ if is_unreadable => Ok(Begun::Work(Intent { session_id: row.session_id })),
            status @ (SessionStatus::Paid | SessionStatus::Failed | SessionStatus::Expired) => {
                Ok(Begun::Done(SessionVoided { order_id, status: Some(status) }))
            }
        }
    }

    async fn work(&self, intent: Intent, attempt: Attempt) -> Result<Self::Done, WorkError> {
        let expired = self.stripe.expire_session(&intent.session_id, &attempt.key).await;
        let found = match expired {
            Ok(session) => return Ok(Some(session)),
            // It is not open any more: what is it?
            Err(failure) if failure.is_refused() => self.stripe.session(&intent.session_id).await,
            Err(failure) => return Err(failure.into()),
        };
        match found {
            Ok(session) if session.status == SessionStatus::Open => {
                Err(WorkError::Failed("the provider does not expire an open session".into()))
            }
            Ok(session) => Ok(Some(session)),
            Err(failure) if failure.is_missing() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    fn finish(
        &self,
        tx: &mut Tx,
        call: &Call<VoidSession>,
        intent: Intent,
        done: Result<Self::Done, Rejection>,
    ) -> Outcome<SessionVoided> {
        let order_id = call.body.order_id.clone();
        let Some(session) = done? else {
            return Ok(SessionVoided { order_id, status: None });
        };
        let Intent { session_id } = intent;
        if session.status == SessionStatus::Paid {
            let said = Said {
                event_id: event_id(&session_id, session.status),
                session_id: session_id.clone(),
                order_id: order_id.clone(),
                status: session.status,
                payment_id: session.payment_id,
                money: session.money,
                reason: None,
            };
            if ledger::settle(tx, said, call.at)? == Settled::Unreadable {
                return Err(ledger::unreadable(&session_id).into());
            }
        } else {
            // Whoever asked for this knows that nothing was paid.
            ledger::note(tx, &session_id, session.status)?;
        }
        let status = ledger::session(tx, &session_id)?.map(|row| row.status);
        Ok(SessionVoided { order_id, status })
    }
}

/// The id of an event that no webhook gave rise to.
pub(crate) fn event_id(session_id: &str, status: SessionStatus) -> String {
    let what = if status == SessionStatus::Paid { "completed" } else { "failed" };
    format!("{session_id}/{what}")
}
