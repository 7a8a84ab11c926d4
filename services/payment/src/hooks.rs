//! Stripe's webhooks: what they were, and what became of them.

use crate::{
    ledger::{self, Said, Settled},
    settings::Settings,
    stripe::{BadSignature, Client, HookEvent, Meaning, SIGNATURE_HEADER, verify},
};
use axum::http::HeaderMap;
use chassis::config::Secret;
use chrono::{DateTime, Utc};
use proto_schemas::OrderId;
use proto_schemas::payments::SessionStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service_kit::{
    Outcome, Tx,
    webhooks::{self, Came, Provider},
};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Longest event id that is kept as it is; Stripe's have some 30 characters.
const ID_CHARS_MAX: usize = 128;

/// What became of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It became an event for the runtime.
    Published,
    /// The same was known already, by another webhook or a look-up.
    Duplicate,
    /// The money is still on its way.
    Processing,
    /// Of a type that concerns nobody here.
    Ignored,
    /// Names no order, or no session.
    NoOrder,
    /// Does not say how much.
    NoAmount,
    /// Signed, but no event.
    Unreadable,
}

/// A webhook as it is remembered and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hook {
    /// The provider's id of the event; of one without, a hash of its body.
    pub(crate) id: String,
    /// The provider's name of what happened.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// The order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) order_id: Option<OrderId>,
    /// The payment session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session_id: Option<String>,
    /// When it came first.
    pub(crate) received_at: DateTime<Utc>,
    /// What became of it.
    pub(crate) verdict: Verdict,
}

/// Stripe as the sender of webhooks.
pub(crate) struct Stripe {
    secrets: Vec<Secret>,
    /// Knows the provider's time.
    client: Arc<Client>,
}

impl Stripe {
    pub(crate) fn new(settings: &Settings, client: Arc<Client>) -> Stripe {
        Stripe { secrets: settings.webhook_secrets.clone(), client }
    }
}

impl Provider for Stripe {
    const PATH: &'static str = "/webhooks/stripe";
    const SUMMARY: &'static str = "A webhook of Stripe, signed by it";
    const HEADERS: &'static [(&'static str, &'static str)] =
        &[("Stripe-Signature", "t=<unix seconds>,v1=<hex HMAC-SHA256>")];
    const UNREADABLE: Verdict = Verdict::Unreadable;
    type Said = HookEvent;
    type Verdict = Verdict;
    type Hook = Hook;
    type Bad = BadSignature;

    fn check(&self, headers: &HeaderMap, body: &[u8], now_s: i64) -> Result<(), BadSignature> {
        let now_s = self.client.time_s(now_s);
        verify(webhooks::text(headers, SIGNATURE_HEADER), body, &self.secrets, now_s)
    }

    fn read(_: &HeaderMap, body: &[u8]) -> Came<HookEvent> {
        let said = HookEvent::read(body);
        let id = match &said {
            Some(event) if is_plain(&event.id) => event.id.clone(),
            _ => format!("body-{}", hex::encode(Sha256::digest(body))),
        };
        Came { id, said }
    }

    fn order_id(said: &HookEvent) -> Option<&OrderId> {
        said.order_id.as_ref()
    }

    fn act(tx: &mut Tx, id: &str, event: &HookEvent, at: DateTime<Utc>) -> Outcome<Verdict> {
        let (status, reason) = match event.meaning {
            Meaning::Completed => (SessionStatus::Paid, None),
            Meaning::Failed(reason) if event.kind.ends_with("expired") => {
                (SessionStatus::Expired, Some(reason))
            }
            Meaning::Failed(reason) => (SessionStatus::Failed, Some(reason)),
            Meaning::Processing => (SessionStatus::Processing, None),
            Meaning::Other => return Ok(Verdict::Ignored),
        };
        let (Some(order_id), Some(session_id)) = (event.order_id.clone(), event.object_id.clone())
        else {
            return Ok(Verdict::NoOrder);
        };
        let amount = match (event.amount_minor, event.currency) {
            (Some(minor), Some(currency)) => {
                ledger::amount(minor, currency).ok().map(|amount| (amount, currency))
            }
            _ => None,
        };
        let payment_id = event.payment_id.clone();
        let event_id = id.to_owned();
        let said = Said { session_id, order_id, status, payment_id, amount, reason, event_id };
        Ok(match ledger::settle(tx, said, at)? {
            Settled::Told => Verdict::Published,
            Settled::Known => Verdict::Duplicate,
            Settled::Noted => Verdict::Processing,
            Settled::NoAmount => Verdict::NoAmount,
        })
    }

    fn hook(came: Came<HookEvent>, at: DateTime<Utc>, verdict: Verdict) -> Hook {
        let Came { id, said } = came;
        let (kind, order_id, session_id) =
            said.map(|it| (Some(it.kind), it.order_id, it.object_id)).unwrap_or_default();
        Hook { id, kind, order_id, session_id, received_at: at, verdict }
    }

    fn verdict(hook: &Hook) -> Verdict {
        hook.verdict
    }
}

/// Fit to be part of a key and a cursor.
fn is_plain(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    id.len() <= ID_CHARS_MAX && id.bytes().all(plain)
}
