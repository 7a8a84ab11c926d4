//! The courier's webhooks: what they were, and what became of them.
//!
//! The courier gives its webhooks no id, so it is a hash of timestamp and body: what is signed.

use crate::{
    parcels::{self, Parcel, Word},
    settings::Settings,
    signature::{BadSignature, SIGNATURE_HEADER, TIMESTAMP_HEADER, verify},
};
use axum::http::HeaderMap;
use chassis::config::Secret;
use chrono::{DateTime, Utc};
use proto_schemas::OrderId;
use proto_schemas::delivery::{DeliveryStatus, DeliveryUpdated};
use saga_core::message::Event as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_kit::{
    NewEvent, Outcome, Tx, legible, publish,
    webhooks::{self, Came, Provider},
};
use sha2::{Digest as _, Sha256};

/// Longest status or tracking number that is kept.
const TEXT_CHARS_MAX: usize = 100;

/// What became of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It became an event for the runtime.
    Published,
    /// It names a parcel, and its order has none yet, or none but one that was stopped: with the
    /// order's next it turns out whether it is that one, and what became of this.
    Kept,
    /// As `kept`, but as much of its order was kept already: with the parcel turns out how far all
    /// that is more had come by its number, and what of that is not the last stays so.
    TooMuch,
    /// The parcel was there or further already.
    Outdated,
    /// Of another parcel than the one that the order has now: nothing changes.
    OtherParcel,
    /// The courier's status is none that we know.
    UnknownStatus,
    /// Names no order.
    NoOrder,
    /// Signed, but no JSON object.
    Unreadable,
}

/// A webhook as it is remembered and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hook {
    /// A hash of its timestamp and body.
    pub(crate) id: String,
    /// The order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) order_id: Option<OrderId>,
    /// The status in the courier's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    /// When it came first.
    pub(crate) received_at: DateTime<Utc>,
    /// What became of it.
    pub(crate) verdict: Verdict,
}

/// What we read of a body, leniently.
pub(crate) struct Said {
    order_id: Option<OrderId>,
    text: Option<String>,
    status: Option<DeliveryStatus>,
    tracking_number: Option<String>,
}

/// The courier as the sender of webhooks.
pub(crate) struct Courier {
    secrets: Vec<Secret>,
}

impl Courier {
    pub(crate) fn new(settings: &Settings) -> Courier {
        Courier { secrets: settings.webhook_secrets.clone() }
    }
}

impl Provider for Courier {
    const PATH: &'static str = "/webhooks/courier";
    const SUMMARY: &'static str = "A webhook of the courier, signed by it";
    const HEADERS: &'static [(&'static str, &'static str)] = &[
        ("X-Signature", "sha256=<hex HMAC-SHA256 of timestamp.body>"),
        ("X-Timestamp", "unix seconds"),
    ];
    const UNREADABLE: Verdict = Verdict::Unreadable;
    type Said = Said;
    type Verdict = Verdict;
    type Hook = Hook;
    type Bad = BadSignature;

    fn check(&self, headers: &HeaderMap, body: &[u8], now_s: i64) -> Result<(), BadSignature> {
        let text = |name| webhooks::text(headers, name);
        verify(text(SIGNATURE_HEADER), text(TIMESTAMP_HEADER), body, &self.secrets, now_s)
    }

    fn read(headers: &HeaderMap, body: &[u8]) -> Came<Said> {
        let mut hash = Sha256::new();
        hash.update(webhooks::text(headers, TIMESTAMP_HEADER).unwrap_or_default());
        hash.update(b".");
        hash.update(body);
        Came { id: hex::encode(hash.finalize()), said: read(body) }
    }

    fn order_id(said: &Said) -> Option<&OrderId> {
        said.order_id.as_ref()
    }

    fn act(tx: &mut Tx, id: &str, said: &Said, at: DateTime<Utc>) -> Outcome<Verdict> {
        let Some(order_id) = said.order_id.clone() else { return Ok(Verdict::NoOrder) };
        let Some(status) = said.status else { return Ok(Verdict::UnknownStatus) };
        let tracking_number = said.tracking_number.clone();
        let word = Word { hook: id.to_owned(), status, tracking_number };
        parcels::forget(tx, &order_id)?;
        say(tx, order_id, word, at)
    }

    fn hook(came: Came<Said>, at: DateTime<Utc>, verdict: Verdict) -> Hook {
        let Came { id, said } = came;
        let (order_id, status) = said.map_or((None, None), |said| (said.order_id, said.text));
        Hook { id, order_id, status, received_at: at, verdict }
    }

    fn verdict(hook: &Hook) -> Verdict {
        hook.verdict
    }
}

/// Stores a parcel that is new, and tells what its courier has said of it before.
pub(crate) fn handed_over(tx: &mut Tx, parcel: Parcel, at: DateTime<Utc>) -> Outcome<()> {
    let order_id = parcel.order_id.clone();
    for word in parcels::insert(tx, parcel)? {
        let id = word.hook.clone();
        let verdict = say(tx, order_id.clone(), word, at)?;
        webhooks::change::<Courier>(tx, &id, |hook| hook.verdict = verdict)?;
    }
    Ok(())
}

fn say(tx: &mut Tx, order_id: OrderId, word: Word, at: DateTime<Utc>) -> Outcome<Verdict> {
    match parcels::say(tx, &order_id, word.clone())? {
        parcels::Said::News => (),
        parcels::Said::Old => return Ok(Verdict::Outdated),
        parcels::Said::OfAnother => return Ok(Verdict::OtherParcel),
        parcels::Said::Kept => return Ok(Verdict::Kept),
        parcels::Said::TooMuch => return Ok(Verdict::TooMuch),
    }
    let (id, key) = (format!("courier-{}", word.hook), order_id.to_string());
    let body =
        DeliveryUpdated { order_id, status: word.status, tracking_number: word.tracking_number };
    let subject = DeliveryUpdated::SUBJECTS[0].to_owned();
    publish(tx, NewEvent { id, subject, key, body, at })?;
    Ok(Verdict::Published)
}

fn read(body: &[u8]) -> Option<Said> {
    let body = legible::json(body)?;
    let body = body.as_object()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let is_line = |text: &&str| {
        let is_short = (1..=TEXT_CHARS_MAX).contains(&text.chars().count());
        is_short && !text.contains(char::is_control)
    };
    let status = body.get("status").cloned().unwrap_or(Value::Null);
    Some(Said {
        order_id: text("orderId").and_then(|id| id.parse().ok()),
        text: text("status").filter(is_line).map(str::to_owned),
        status: serde_json::from_value(status).ok(),
        tracking_number: text("trackingNumber").filter(is_line).map(str::to_owned),
    })
}
