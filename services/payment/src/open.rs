//! `payments.create-session`.
//!
//! A repeat within Stripe's 24 h of key memory gets the same session. A later one may open a
//! second, which is harmless: the first has expired by then, and nobody was ever sent to it,
//! because its address was never told.
//!
//! When a session ends is Stripe's affair, which counts 24 h by its own clock: a time that ours has
//! made would be refused when the two are apart.

use crate::{
    ledger::{self, SessionRow},
    settings::{self, Settings},
    stripe::{Client, Failure, ProviderSession},
};
use chrono::{DateTime, Utc};
use proto_schemas::payments::{CreateSession, Session, SessionStatus};
use serde::{Deserialize, Serialize};
use service_kit::{Attempt, Begun, Call, Effect, Outcome, Rejection, Tx, WorkError};
use std::sync::Arc;

/// Refusals that are about what the shop sells, and so an answer. Every other one is about how we
/// ask, which no customer can mend.
const BUSINESS_CODES: [&str; 2] = ["amount_too_large", "amount_too_small"];
/// The card, or the account behind it.
const PAYMENT_REQUIRED: u16 = 402;

pub(crate) struct OpenSession {
    stripe: Arc<Client>,
    success_url: String,
    cancel_url: String,
}

/// Everything that Stripe is told, fixed before the first attempt: a key stands for its parameters.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Intent {
    session: CreateSession,
    amount_minor: u64,
    /// Set by former releases, which told Stripe when the session ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
}

impl OpenSession {
    pub(crate) fn new(stripe: Arc<Client>, settings: &Settings) -> OpenSession {
        let Settings { success_url, cancel_url, .. } = settings.clone();
        OpenSession { stripe, success_url, cancel_url }
    }

    fn form(&self, intent: &Intent) -> Vec<(String, String)> {
        let CreateSession { order_id, currency, .. } = &intent.session;
        let item = |name: &str| format!("line_items[0]{name}");
        let mut fields = vec![
            ("mode".into(), "payment".into()),
            ("client_reference_id".into(), order_id.to_string()),
            ("metadata[order_id]".into(), order_id.to_string()),
            // Stripe does not copy the session's metadata to the payment.
            ("payment_intent_data[metadata][order_id]".into(), order_id.to_string()),
            (item("[quantity]"), "1".into()),
            (item("[price_data][currency]"), currency.code().to_ascii_lowercase()),
            (item("[price_data][unit_amount]"), intent.amount_minor.to_string()),
            (item("[price_data][product_data][name]"), format!("Order {order_id}")),
            ("success_url".into(), settings::page(&self.success_url, order_id)),
            ("cancel_url".into(), settings::page(&self.cancel_url, order_id)),
        ];
        fields
            .extend(intent.expires_at.map(|at| ("expires_at".into(), at.timestamp().to_string())));
        fields
    }
}

impl Effect for OpenSession {
    type Request = CreateSession;
    type Intent = Intent;
    type Done = ProviderSession;

    fn begin(&self, tx: &mut Tx, call: &Call<CreateSession>) -> Outcome<Begun<Intent, Session>> {
        let CreateSession { order_id, amount, currency } = &call.body;
        // A customer with two open sessions could pay twice.
        let open = ledger::of_order(tx, order_id)?.filter(|row| {
            row.status == SessionStatus::Open
                && (row.amount, row.currency) == (*amount, *currency)
                && row.expires_at.is_some_and(|at| at > call.at)
        });
        if let Some(row) = open {
            return Ok(Begun::Done(reply(row)));
        }
        let amount_minor = ledger::units(*amount, *currency)?;
        let session = call.body.clone();
        Ok(Begun::Work(Intent { session, amount_minor, expires_at: None }))
    }

    async fn work(&self, intent: Intent, attempt: Attempt) -> Result<ProviderSession, WorkError> {
        let opened = self.stripe.create_session(&self.form(&intent), &attempt.key).await;
        opened.map_err(answer_of)
    }

    fn finish(
        &self,
        tx: &mut Tx,
        call: &Call<CreateSession>,
        intent: Intent,
        done: Result<ProviderSession, Rejection>,
    ) -> Outcome<Session> {
        let opened = done?;
        let CreateSession { order_id, amount, currency } = call.body.clone();
        let row = SessionRow {
            session_id: opened.id,
            order_id,
            amount,
            currency,
            status: opened.status,
            url: opened.url,
            expires_at: opened.expires_at.or(intent.expires_at),
            payment_id: opened.payment_id,
        };
        ledger::insert(tx, row.clone())?;
        Ok(reply(row))
    }
}

/// A refusal of our parameters is a failure: it is tried again, and a person sees it. Taken for an
/// answer it would cancel every order.
fn answer_of(failure: Failure) -> WorkError {
    match failure {
        Failure::Refused { status, code, message }
            if status != PAYMENT_REQUIRED && !BUSINESS_CODES.contains(&code.as_str()) =>
        {
            WorkError::Failed(format!(
                "the provider refused how we ask ({status}, {code}): {message}"
            ))
        }
        other => other.into(),
    }
}

fn reply(row: SessionRow) -> Session {
    Session { session_id: row.session_id, url: row.url, expires_at: row.expires_at }
}
