//! `payments.void-session`: the undo of `payments.create-session`.
//!
//! It ends well whatever the session is: expired now, expired before, paid, or never there. Money
//! that was paid is told to the world like any payment, and goes back by `payments.refund`. Only
//! money that cannot be read is for a person: the void is refused.
//!
//! That no row tells of a session is no proof: a store that was put back from a backup has
//! forgotten what was opened since. The provider is asked then.

use crate::{
    ledger::{self, Said, Settled},
    stripe::{Client, ProviderSession},
};
use chrono::{DateTime, Utc};
use proto_schemas::{
    OrderId,
    payments::{SessionStatus, SessionVoided, VoidSession},
};
use serde::{Deserialize, Serialize};
use service_kit::{Attempt, Begun, Call, Effect, Outcome, Rejection, Tx, WorkError};
use std::sync::Arc;

pub(crate) struct CloseSession {
    stripe: Arc<Client>,
}

/// Without a tag, as older releases wrote the first of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(crate) enum Intent {
    /// Close this session.
    Known { session_id: String },
    /// Close those of this order that the provider has, or see that they are paid.
    Unknown { order_id: OrderId },
}

impl CloseSession {
    pub(crate) fn new(stripe: Arc<Client>) -> CloseSession {
        CloseSession { stripe }
    }

    /// Nothing when the provider does not know the session.
    async fn close(
        &self,
        session_id: &str,
        attempt: &Attempt,
    ) -> Result<Option<ProviderSession>, WorkError> {
        let key = format!("{}/{session_id}", attempt.key);
        let expired = self.stripe.expire_session(session_id, &key).await;
        let found = match expired {
            Ok(session) => return Ok(Some(session)),
            // It is not open any more: what is it?
            Err(failure) if failure.is_refused() => self.stripe.session(session_id).await,
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
}

/// The sessions of an order of which no row tells.
pub(crate) async fn of_order(
    stripe: &Client,
    order_id: &OrderId,
) -> Result<Vec<String>, WorkError> {
    let found = stripe.sessions_of(order_id.as_str()).await?;
    Ok(found.ok_or_else(|| {
        let reason = format!(
            "there are too many sessions to find those of order {order_id}: look for them at the \
             provider, expire what is open there, and pay back what was paid"
        );
        Rejection::new("too_many_sessions", reason)
    })?)
}

impl Effect for CloseSession {
    type Request = VoidSession;
    type Intent = Intent;
    /// Those that the provider knows.
    type Done = Vec<ProviderSession>;

    fn begin(
        &self,
        tx: &mut Tx,
        call: &Call<VoidSession>,
    ) -> Outcome<Begun<Intent, SessionVoided>> {
        let order_id = call.body.order_id.clone();
        let Some(row) = ledger::of_order(tx, &order_id)? else {
            return Ok(Begun::Work(Intent::Unknown { order_id }));
        };
        let is_unreadable = ledger::is_unreadable(tx, &row.session_id)?;
        match row.status {
            SessionStatus::Open | SessionStatus::Processing => {
                Ok(Begun::Work(Intent::Known { session_id: row.session_id }))
            }
            // Money may have come after the failure: the provider knows.
            _ if is_unreadable => Ok(Begun::Work(Intent::Known { session_id: row.session_id })),
            status @ (SessionStatus::Paid | SessionStatus::Failed | SessionStatus::Expired) => {
                Ok(Begun::Done(SessionVoided { order_id, status: Some(status) }))
            }
        }
    }

    async fn work(&self, intent: Intent, attempt: Attempt) -> Result<Self::Done, WorkError> {
        let ids = match intent {
            Intent::Known { session_id } => vec![session_id],
            Intent::Unknown { order_id } => of_order(&self.stripe, &order_id).await?,
        };
        let mut closed = Vec::new();
        for id in ids {
            closed.extend(self.close(&id, &attempt).await?);
        }
        Ok(closed)
    }

    fn finish(
        &self,
        tx: &mut Tx,
        call: &Call<VoidSession>,
        _: Intent,
        done: Result<Self::Done, Rejection>,
    ) -> Outcome<SessionVoided> {
        let order_id = call.body.order_id.clone();
        let mut status = None;
        for session in done? {
            let now = closed(tx, &order_id, session, call.at)?;
            // That one of them was paid is what counts.
            status = status.filter(|it| *it == SessionStatus::Paid).or(Some(now));
        }
        Ok(SessionVoided { order_id, status })
    }
}

/// Writes down what became of a session, and gives what it is.
fn closed(
    tx: &mut Tx,
    order_id: &OrderId,
    session: ProviderSession,
    at: DateTime<Utc>,
) -> Outcome<SessionStatus> {
    let ProviderSession { id: session_id, status, payment_id, money, .. } = session;
    if status == SessionStatus::Paid {
        let said = Said {
            event_id: event_id(&session_id, status),
            session_id: session_id.clone(),
            order_id: order_id.clone(),
            status,
            payment_id,
            money,
            reason: None,
        };
        if ledger::settle(tx, said, at)? == Settled::Unreadable {
            return Err(ledger::unreadable(&session_id).into());
        }
    } else {
        // Whoever asked for this knows that nothing was paid.
        ledger::note(tx, &session_id, status)?;
    }
    Ok(ledger::session(tx, &session_id)?.map_or(status, |row| row.status))
}

/// The id of an event that no webhook gave rise to.
pub(crate) fn event_id(session_id: &str, status: SessionStatus) -> String {
    let what = if status == SessionStatus::Paid { "completed" } else { "failed" };
    format!("{session_id}/{what}")
}
