//! What we read of Stripe's objects. They are read leniently: new fields and values appear.

use crate::ledger::HowMuch;
use chrono::{DateTime, Utc};
use proto_schemas::payments::{RefundStatus, SessionStatus};
use serde_json::Value;

/// A checkout session, as the provider shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProviderSession {
    pub(crate) id: String,
    /// Where the customer pays; only while it is open.
    pub(crate) url: Option<String>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) status: SessionStatus,
    pub(crate) payment_id: Option<String>,
    pub(crate) money: HowMuch,
}

/// A refund, as the provider shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProviderRefund {
    pub(crate) id: String,
    pub(crate) amount_minor: u64,
    /// As Stripe writes it, in lower case.
    pub(crate) currency: Option<String>,
    pub(crate) status: RefundStatus,
}

impl ProviderSession {
    /// Reads a `checkout.session` object; nothing when it has no id.
    pub(crate) fn read(object: &Value) -> Option<ProviderSession> {
        let seconds = object["expires_at"].as_i64();
        Some(ProviderSession {
            id: text(&object["id"])?,
            url: text(&object["url"]),
            expires_at: seconds.and_then(|at| DateTime::from_timestamp(at, 0)),
            status: status(object),
            payment_id: reference(&object["payment_intent"]),
            money: HowMuch::read(&object["amount_total"], &object["currency"]),
        })
    }
}

impl ProviderRefund {
    /// Reads a `refund` object; nothing when it has no id, or no amount that can be read.
    pub(crate) fn read(object: &Value) -> Option<ProviderRefund> {
        Some(ProviderRefund {
            id: text(&object["id"])?,
            amount_minor: object["amount"].as_u64()?,
            currency: match &object["currency"] {
                Value::Null => None,
                code => Some(text(code)?),
            },
            status: match object["status"].as_str() {
                Some("succeeded") => RefundStatus::Succeeded,
                Some("failed") => RefundStatus::Failed,
                Some("canceled") => RefundStatus::Canceled,
                Some("requires_action") => RefundStatus::RequiresAction,
                _ => RefundStatus::Pending,
            },
        })
    }

    /// Whether money goes or went back.
    pub(crate) fn stands(&self) -> bool {
        self.status.stands()
    }
}

/// `payment_status` says whether the money is there, `status` whether the customer is through.
fn status(object: &Value) -> SessionStatus {
    let is_paid = matches!(object["payment_status"].as_str(), Some("paid" | "no_payment_required"));
    match object["status"].as_str() {
        Some("expired") => SessionStatus::Expired,
        Some("complete") if is_paid => SessionStatus::Paid,
        Some("complete") => SessionStatus::Processing,
        _ => SessionStatus::Open,
    }
}

pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// An id, or an object that was expanded in its place.
pub(super) fn reference(value: &Value) -> Option<String> {
    text(value).or_else(|| text(&value["id"]))
}
