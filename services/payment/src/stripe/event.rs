//! Webhook events.

use super::{
    dispute::{self, Standing},
    session::{ProviderRefund, reference, text},
};
use crate::ledger::HowMuch;
use proto_schemas::OrderId;
use proto_schemas::payments::RefundStatus;
use serde_json::Value;
use service_kit::legible;

/// What we read of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HookEvent {
    /// `evt_…`.
    pub(crate) id: String,
    /// When Stripe made it, in Unix seconds: webhooks come in any order.
    pub(crate) created_s: Option<i64>,
    /// Stripe's name of what happened.
    pub(crate) kind: String,
    /// The id of the object that it happened to.
    pub(crate) object_id: Option<String>,
    /// `client_reference_id`, else `metadata.order_id`.
    pub(crate) order_id: Option<OrderId>,
    pub(crate) payment_id: Option<String>,
    /// What the event is about: what a session came to, what was refunded in all, what is disputed.
    pub(crate) money: HowMuch,
    pub(crate) meaning: Meaning,
}

/// What an event says of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The session was paid, or nothing was to be paid.
    Completed,
    /// The payment failed, or the session closed without one.
    Failed(&'static str),
    /// The customer is through, the money is on its way.
    Processing,
    /// A refund is new, or has another status; nothing when it cannot be read.
    Refund(Option<ProviderRefund>),
    /// Something of a charge was refunded; those that the event names.
    Refunded(Vec<ProviderRefund>),
    /// The customer's bank takes the money back, or wants to.
    Dispute { standing: Standing, reason: Option<String> },
    /// Nothing that concerns us.
    Other,
}

impl HookEvent {
    /// Reads the body of a webhook; nothing when it is no event.
    pub(crate) fn read(body: &[u8]) -> Option<HookEvent> {
        let event = legible::json(body)?;
        let object = &event["data"]["object"];
        let kind = text(&event["type"])?;
        let order = text(&object["client_reference_id"]);
        let order = order.or_else(|| text(&object["metadata"]["order_id"]));
        let amount = match kind.as_str() {
            "charge.refunded" => "amount_refunded",
            it if it.starts_with("charge.dispute.") || is_of_refund(it) => "amount",
            _ => "amount_total",
        };
        Some(HookEvent {
            id: text(&event["id"])?,
            created_s: event["created"].as_i64(),
            object_id: text(&object["id"]),
            order_id: order.and_then(|it| it.parse().ok()),
            payment_id: reference(&object["payment_intent"]),
            money: HowMuch::read(&object[amount], &object["currency"]),
            meaning: meaning(&kind, object),
            kind,
        })
    }

    /// The session that it happened to.
    pub(crate) fn session_id(&self) -> Option<&String> {
        self.object_id.as_ref().filter(|_| self.kind.starts_with("checkout.session."))
    }
}

/// Whether the event is about one refund.
fn is_of_refund(kind: &str) -> bool {
    matches!(kind, "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated")
}

fn meaning(kind: &str, object: &Value) -> Meaning {
    let is_paid = matches!(object["payment_status"].as_str(), Some("paid" | "no_payment_required"));
    match kind {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" if is_paid => {
            Meaning::Completed
        }
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
            Meaning::Processing
        }
        "checkout.session.expired" => Meaning::Failed("the payment session expired"),
        "checkout.session.async_payment_failed" => Meaning::Failed("the money did not arrive"),
        it if is_of_refund(it) => Meaning::Refund(ProviderRefund::read(object).map(|refund| {
            let has_failed = kind == "refund.failed";
            let status = if has_failed { RefundStatus::Failed } else { refund.status };
            ProviderRefund { status, ..refund }
        })),
        "charge.refunded" => {
            let named = object["refunds"]["data"].as_array().map_or(&[][..], Vec::as_slice);
            Meaning::Refunded(named.iter().filter_map(ProviderRefund::read).collect())
        }
        it if it.starts_with("charge.dispute.") => {
            Meaning::Dispute { standing: Standing::read(object), reason: dispute::reason(object) }
        }
        _ => Meaning::Other,
    }
}
