//! What somebody does at Stripe's own pages, and what the customer's bank does: refunds by hand,
//! refunds that fail, disputes.

use crate::{
    control::{Manner, ids},
    courier::Refused,
    office::{Office, now_s},
    stripe::{self, StripeError, disputes, refunds},
    webhook,
    world::{Dispute, Payment, Record, Refund, Sender, World},
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// An inquiry's begin with `warning_`; it becomes a chargeback under the same id.
const DISPUTE_STATUSES: [&str; 7] = [
    "warning_needs_response",
    "warning_under_review",
    "warning_closed",
    "needs_response",
    "under_review",
    "won",
    "lost",
];

/// Beside `/sandbox/sessions` and `/sandbox/orders`.
pub(crate) fn router() -> Router<Arc<Office>> {
    Router::new()
        .route("/payments/{id}/refund", post(refund))
        .route("/payments/{id}/dispute/{status}", post(dispute))
        .route("/refunds/{id}/fail", post(fail))
}

/// Somebody pays back by hand: `amountMinor`, or what is left.
async fn refund(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let manner = over_something(&body)?;
    act(office, &manner, |world| {
        let payment = known(world, &id)?;
        let (payment, amount) =
            refunds::refundable(world, payment, manner.amount_minor).map_err(refused)?;
        let refund = refunds::made(&payment, amount);
        let refunded = world.refunded(&id) + amount;
        let events = vec![
            ("refund.created", refunds::rendered(&refund)),
            ("charge.refunded", charge(&payment, refunded)),
        ];
        Ok((refunds::rendered(&refund), vec![Record::Refund(refund)], events))
    })
}

/// The customer's bank sends a refund back.
async fn fail(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let manner = Manner::read(&body)?;
    act(office, &manner, |world| {
        let refund = world.refund(&id).cloned();
        let refund = refund.ok_or_else(|| missing(&format!("refund {id}")))?;
        let refund = Refund { failed: true, ..refund };
        let shown = refunds::rendered(&refund);
        let events =
            vec![("refund.failed", shown.clone()), ("charge.refund.updated", shown.clone())];
        Ok((shown, vec![Record::Refund(refund)], events))
    })
}

/// The customer's bank takes the money back, or wants to: a status in Stripe's words, over
/// `amountMinor`, or what was captured.
async fn dispute(
    State(office): State<Arc<Office>>,
    Path((id, status)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let manner = over_something(&body)?;
    act(office, &manner, |world| {
        let payment = known(world, &id)?;
        if !DISPUTE_STATUSES.contains(&status.as_str()) {
            let reason = format!("{status} is none of {}", DISPUTE_STATUSES.join(", "));
            return Err(Refused(StatusCode::NOT_FOUND, reason));
        }
        let before = world.dispute_of(&id);
        let kind = match status.as_str() {
            "won" | "lost" | "warning_closed" => "charge.dispute.closed",
            _ if before.is_none() => "charge.dispute.created",
            _ => "charge.dispute.updated",
        };
        let known = before.map(|it| (it.created_s, it.amount));
        let (created_s, amount) = known.unwrap_or((now_s(), payment.captured));
        let dispute = Dispute {
            // One for each payment.
            id: format!("du_{}", id.trim_start_matches("pi_")),
            created_s,
            payment_intent: payment.id.clone(),
            charge: payment.charge.clone(),
            amount: manner.amount_minor.unwrap_or(amount),
            currency: payment.currency.clone(),
            status,
        };
        let shown = disputes::rendered(&dispute);
        Ok((shown.clone(), vec![Record::Dispute(dispute)], vec![(kind, shown)]))
    })
}

fn over_something(body: &Bytes) -> Result<Manner, Refused> {
    let manner = Manner::read(body)?;
    if manner.amount_minor.is_some_and(|amount| amount < 1) {
        let reason = "amountMinor is at least 1".to_owned();
        return Err(Refused(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    Ok(manner)
}

/// What is shown, what changes, and what is told.
type Act = (Value, Vec<Record>, Vec<(&'static str, Value)>);

fn act(
    office: Arc<Office>,
    manner: &Manner,
    decide: impl FnOnce(&World) -> Result<Act, Refused>,
) -> Result<Json<Value>, Refused> {
    let (answer, webhooks) = office.change(|world| {
        let (shown, mut records, events) = decide(world)?;
        let events = events.iter().map(|(kind, object)| stripe::event(kind, object)).collect();
        let webhooks = manner.webhooks(Sender::Stripe, events);
        records.extend(webhooks.iter().cloned().map(Record::WebhookQueued));
        let answer = json!({ "object": shown, "webhooks": ids(&webhooks) });
        Ok::<_, Refused>(((answer, webhooks), records))
    })?;
    webhook::send(office, webhooks);
    Ok(Json(answer))
}

/// The charge of a payment as Stripe shows it: its refunds are not listed, since 2022-11-15.
fn charge(payment: &Payment, refunded: i64) -> Value {
    json!({
        "id": payment.charge,
        "object": "charge",
        "amount": payment.captured,
        "amount_captured": payment.captured,
        "amount_refunded": refunded,
        "captured": true,
        "currency": payment.currency,
        "livemode": false,
        "metadata": payment.order_id.as_ref().map_or(json!({}), |id| json!({ "order_id": id })),
        "payment_intent": payment.id,
        "refunded": refunded == payment.captured,
        "status": "succeeded",
    })
}

fn known<'w>(world: &'w World, id: &str) -> Result<&'w Payment, Refused> {
    world.payment(id).ok_or_else(|| missing(&format!("payment {id}")))
}

fn missing(what: &str) -> Refused {
    Refused(StatusCode::NOT_FOUND, format!("there is no {what}"))
}

fn refused(error: StripeError) -> Refused {
    Refused(StatusCode::CONFLICT, error.message().to_owned())
}
