//! Webhook events.

use super::session::{reference, text};
use proto_schemas::{Currency, OrderId};
use service_kit::legible;

/// What we read of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HookEvent {
    /// `evt_…`.
    pub(crate) id: String,
    /// Stripe's name of what happened.
    pub(crate) kind: String,
    /// The id of the object that it happened to.
    pub(crate) object_id: Option<String>,
    /// `client_reference_id`, else `metadata.order_id`.
    pub(crate) order_id: Option<OrderId>,
    pub(crate) payment_id: Option<String>,
    pub(crate) amount_minor: Option<u64>,
    pub(crate) currency: Option<Currency>,
    pub(crate) meaning: Meaning,
}

/// What an event says of a session's money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Paid, or nothing was to be paid.
    Completed,
    /// The payment failed, or the session closed without one.
    Failed(&'static str),
    /// The customer is through, the money is on its way.
    Processing,
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
        let currency = text(&object["currency"]).map(|it| it.to_ascii_uppercase());
        Some(HookEvent {
            id: text(&event["id"])?,
            object_id: text(&object["id"]),
            order_id: order.and_then(|it| it.parse().ok()),
            payment_id: reference(&object["payment_intent"]),
            amount_minor: object["amount_total"].as_u64(),
            currency: currency.and_then(|it| it.parse().ok()),
            meaning: meaning(&kind, object["payment_status"].as_str()),
            kind,
        })
    }
}

fn meaning(kind: &str, payment_status: Option<&str>) -> Meaning {
    let is_paid = matches!(payment_status, Some("paid" | "no_payment_required"));
    match kind {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" if is_paid => {
            Meaning::Completed
        }
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
            Meaning::Processing
        }
        "checkout.session.expired" => Meaning::Failed("the payment session expired"),
        "checkout.session.async_payment_failed" => Meaning::Failed("the payment failed"),
        _ => Meaning::Other,
    }
}
