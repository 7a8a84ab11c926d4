//! What somebody does at Stripe's own pages, and what the customer's bank does: refunds by hand,
//! refunds that fail, disputes.

use crate::{
    control::{Manner, ids},
    courier::Refused,
    office::{Office, now_s},
    stripe::{self, StripeError, refunds},
    webhook,
    world::{Payment, Record, Refund, Sender, World},
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
    let manner = Manner::read(&body)?;
    if manner.amount_minor.is_some_and(|amount| amount < 1) {
        let reason = "amountMinor is at least 1".to_owned();
        return Err(Refused(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
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

/// The customer's bank takes the money back, or wants to: a status in Stripe's words.
async fn dispute(
    State(office): State<Arc<Office>>,
    Path((id, status)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let manner = Manner::read(&body)?;
    act(office, &manner, |world| {
        let payment = known(world, &id)?;
        let kind = match status.as_str() {
            "needs_response" => "charge.dispute.created",
            "under_review" => "charge.dispute.updated",
            "won" | "lost" => "charge.dispute.closed",
            other => {
                let reason = format!("{other} is none of needs_response, under_review, won, lost");
                return Err(Refused(StatusCode::NOT_FOUND, reason));
            }
        };
        let shown = json!({
            // One for each payment, so that nothing of it needs to be kept.
            "id": format!("du_{}", id.trim_start_matches("pi_")),
            "object": "dispute",
            "amount": payment.captured,
            "charge": payment.charge,
            "created": now_s(),
            "currency": payment.currency,
            "livemode": false,
            "metadata": {},
            "payment_intent": payment.id,
            "reason": "fraudulent",
            "status": status,
        });
        Ok((shown.clone(), Vec::new(), vec![(kind, shown)]))
    })
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
