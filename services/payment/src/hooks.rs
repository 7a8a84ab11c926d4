//! Stripe's webhooks: what they were, and what became of them.

use crate::{
    ledger::{
        self, HowMuch, Said, Settled,
        payments::{self, ChargeRow, News, SeenDispute},
    },
    refund,
    settings::Settings,
    stripe::{
        BadSignature, Client, HookEvent, Meaning, ProviderRefund, SIGNATURE_HEADER, Standing,
        verify,
    },
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

/// What became of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It became an event for the runtime.
    Published,
    /// The same was known already, by another webhook or a look-up.
    Duplicate,
    /// It says something else of a payment than what is known: look at the provider.
    Contradicts,
    /// Of a payment that nobody has told of yet: kept until somebody does.
    Held,
    /// The money is still on its way.
    Processing,
    /// Of a type that concerns nobody here.
    Ignored,
    /// Names no order, no session, or no payment.
    NoOrder,
    /// Does not say how much.
    NoAmount,
    /// Says how much in a way that cannot be read, and is told to nobody: look at the provider.
    UnreadableAmount,
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
        let header = webhooks::text(headers, SIGNATURE_HEADER);
        let at = |now_s| verify(header, body, &self.secrets, now_s);
        match at(self.client.time_s(now_s)) {
            // What we count since the provider's last word stands still while the machine sleeps.
            // Either clock will do, since a webhook that comes again changes nothing.
            Err(BadSignature::Untimely) => at(now_s),
            checked => checked,
        }
    }

    fn read(_: &HeaderMap, body: &[u8]) -> Came<HookEvent> {
        let said = HookEvent::read(body);
        let id = match &said {
            Some(event) if ledger::is_plain(&event.id) => event.id.clone(),
            _ => format!("body-{}", hex::encode(Sha256::digest(body))),
        };
        Came { id, said }
    }

    fn order_id(said: &HookEvent) -> Option<&OrderId> {
        said.order_id.as_ref()
    }

    fn act(tx: &mut Tx, id: &str, event: &HookEvent, at: DateTime<Utc>) -> Outcome<Verdict> {
        match &event.meaning {
            Meaning::Completed | Meaning::Failed(_) | Meaning::Processing => {
                of_session(tx, id, event, at)
            }
            Meaning::Refund(seen) => of_refund(tx, event, seen.as_ref(), at),
            Meaning::Refunded(named) => of_charge(tx, event, named, at),
            Meaning::Dispute { standing, reason } => {
                of_dispute(tx, event, *standing, reason.clone(), at)
            }
            Meaning::Other => Ok(Verdict::Ignored),
        }
    }

    fn hook(came: Came<HookEvent>, at: DateTime<Utc>, verdict: Verdict) -> Hook {
        let Came { id, said } = came;
        let session_id = said.as_ref().and_then(HookEvent::session_id).cloned();
        let (kind, order_id) = said.map(|it| (Some(it.kind), it.order_id)).unwrap_or_default();
        Hook { id, kind, order_id, session_id, received_at: at, verdict }
    }

    fn verdict(hook: &Hook) -> Verdict {
        hook.verdict
    }
}

/// What became of a session.
fn of_session(tx: &mut Tx, id: &str, event: &HookEvent, at: DateTime<Utc>) -> Outcome<Verdict> {
    let (status, reason) = match event.meaning {
        Meaning::Completed => (SessionStatus::Paid, None),
        Meaning::Failed(reason) if event.kind.ends_with("expired") => {
            (SessionStatus::Expired, Some(reason))
        }
        Meaning::Failed(reason) => (SessionStatus::Failed, Some(reason)),
        _ => (SessionStatus::Processing, None),
    };
    let session_id = event.object_id.clone().filter(|id| ledger::is_plain(id));
    let (Some(order_id), Some(session_id)) = (event.order_id.clone(), session_id) else {
        return Ok(Verdict::NoOrder);
    };
    let money = event.money.clone();
    let payment_id = event.payment_id.clone().filter(|id| ledger::is_plain(id));
    let event_id = id.to_owned();
    let said = Said { session_id, order_id, status, payment_id, money, reason, event_id };
    Ok(match ledger::settle(tx, said, at)? {
        Settled::Told => Verdict::Published,
        Settled::Known => Verdict::Duplicate,
        Settled::Noted => Verdict::Processing,
        Settled::NoAmount => Verdict::NoAmount,
        Settled::Unreadable => Verdict::UnreadableAmount,
        Settled::Contradicts => Verdict::Contradicts,
    })
}

/// A refund, whoever made it: it is new, or something became of it.
fn of_refund(
    tx: &mut Tx,
    event: &HookEvent,
    seen: Option<&ProviderRefund>,
    at: DateTime<Utc>,
) -> Outcome<Verdict> {
    let known = match event.object_id.as_deref().filter(|id| ledger::is_plain(id)) {
        Some(id) => payments::payment_of(tx, id)?,
        None => None,
    };
    let Some(payment_id) = payment(tx, event, known, at)? else { return Ok(Verdict::NoOrder) };
    match seen.and_then(refund::seen) {
        Some(seen) => Ok(verdict(payments::refund(tx, &payment_id, seen, event.created_s, at)?)),
        None => without_amount(tx, event, &payment_id),
    }
}

/// What was refunded of a charge in all.
fn of_charge(
    tx: &mut Tx,
    event: &HookEvent,
    named: &[ProviderRefund],
    at: DateTime<Utc>,
) -> Outcome<Verdict> {
    let Some(payment_id) = payment(tx, event, None, at)? else { return Ok(Verdict::NoOrder) };
    let mut news = News::Known;
    // The sum beside them holds none that has failed, so that was before it.
    let by_s = event.created_s.map(|it| it.saturating_sub(1));
    for seen in named.iter().filter_map(refund::seen) {
        news = news.or(payments::refund(tx, &payment_id, seen, by_s, at)?);
    }
    let charge_id = event.object_id.clone().filter(|id| ledger::is_plain(id));
    let total = event.money.money();
    let (Some(charge_id), Some(total)) = (charge_id, total) else {
        return without_amount(tx, event, &payment_id);
    };
    let sum = ChargeRow { charge_id, refunded: total, told_at_s: event.created_s };
    news = news.or(payments::refunded(tx, &payment_id, sum, at)?);
    Ok(verdict(news))
}

fn of_dispute(
    tx: &mut Tx,
    event: &HookEvent,
    standing: Standing,
    reason: Option<String>,
    at: DateTime<Utc>,
) -> Outcome<Verdict> {
    let Some(payment_id) = payment(tx, event, None, at)? else { return Ok(Verdict::NoOrder) };
    let dispute_id = event.object_id.clone().filter(|id| ledger::is_plain(id));
    let (Some(dispute_id), Some(money)) = (dispute_id, event.money.money()) else {
        return without_amount(tx, event, &payment_id);
    };
    let Standing { status, is_inquiry } = standing;
    let said_s = event.created_s;
    let seen = SeenDispute { dispute_id, money, status, reason, is_inquiry, said_s };
    Ok(verdict(payments::dispute(tx, &payment_id, seen, at)?))
}

/// What becomes of one that does not say what there is to tell. Of a payment of which that is said
/// nobody knows what stays, until the provider is asked.
fn without_amount(tx: &mut Tx, event: &HookEvent, payment_id: &str) -> Outcome<Verdict> {
    if event.money != HowMuch::Unreadable {
        return Ok(Verdict::NoAmount);
    }
    let HookEvent { id, kind, object_id, .. } = event;
    tracing::error!(id, kind, object_id, payment_id, "money cannot be read: look at the provider");
    payments::unreadable(tx, payment_id)?;
    Ok(Verdict::UnreadableAmount)
}

/// The payment that an event is about: the one that it names, else the one that is known.
fn payment(
    tx: &mut Tx,
    event: &HookEvent,
    known: Option<String>,
    at: DateTime<Utc>,
) -> Outcome<Option<String>> {
    let payment_id = event.payment_id.clone().filter(|id| ledger::is_plain(id)).or(known);
    if let (Some(payment_id), Some(order_id)) = (&payment_id, &event.order_id) {
        refund::remember(tx, payment_id, order_id, at)?;
    }
    Ok(payment_id)
}

fn verdict(news: News) -> Verdict {
    match news {
        News::Told => Verdict::Published,
        News::Known => Verdict::Duplicate,
        News::Held => Verdict::Held,
    }
}
