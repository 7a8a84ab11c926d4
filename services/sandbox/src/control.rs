//! The strings behind the scene: tells the outside world what happens next.

use crate::{
    courier::{Refused, moved},
    office::{Office, new_id, now_ms},
    stripe, webhook,
    world::{Payment, PaymentStatus, Record, Sender, Session, SessionStatus, Webhook},
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// More deliveries of one webhook than this show nothing new.
const REPEAT_MAX: u32 = 100;
/// A test that waits longer than this waits for the wrong thing.
const DELAY_MS_MAX: u64 = 60 * 60 * 1000;
/// No status of a courier is longer.
const STATUS_CHARS_MAX: usize = 40;

/// Everything under `/sandbox`.
pub(crate) fn router() -> Router<Arc<Office>> {
    Router::new()
        .route("/sessions/{id}/{action}", post(session))
        .route("/orders/{order_id}/{status}", post(parcel))
        .route("/effects", get(effects))
}

/// How the webhooks of an action are sent.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Manner {
    /// Deliveries beyond the first.
    repeat: u32,
    /// What was told happens at once; the webhook leaves after this time.
    delay_ms: u64,
    /// Those of one action go in the reverse order; a single one lets the next webhook of its
    /// sender overtake it, or goes after two seconds.
    reorder: bool,
    /// What is paid, or paid back, where that is not all of it; in minor units.
    pub(crate) amount_minor: Option<i64>,
    /// What is paid, where that is not what the session was opened over.
    currency: Option<String>,
}

impl Manner {
    pub(crate) fn read(body: &Bytes) -> Result<Self, Refused> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let manner: Self = serde_json::from_slice(body)
            .map_err(|fault| Refused(StatusCode::UNPROCESSABLE_ENTITY, format!("body: {fault}")))?;
        if manner.repeat > REPEAT_MAX || manner.delay_ms > DELAY_MS_MAX {
            let limits = format!("repeat is at most {REPEAT_MAX}, delayMs at most {DELAY_MS_MAX}");
            return Err(Refused(StatusCode::UNPROCESSABLE_ENTITY, limits));
        }
        Ok(manner)
    }

    /// The session, over what the customer pays: somebody may have changed it at the provider.
    fn paid(&self, session: &Session, action: &str) -> Result<Session, Refused> {
        let is_other = self.amount_minor.is_some() || self.currency.is_some();
        if action != "pay" && is_other {
            let reason = format!("amountMinor and currency are for pay, not for {action}");
            return Err(Refused(StatusCode::UNPROCESSABLE_ENTITY, reason));
        }
        let currency = self.currency.as_ref().map(|it| it.to_lowercase());
        Ok(Session {
            amount_total: self.amount_minor.unwrap_or(session.amount_total),
            currency: currency.unwrap_or_else(|| session.currency.clone()),
            ..session.clone()
        })
    }

    /// The webhooks of one action, in the order in which they leave.
    pub(crate) fn webhooks(
        &self,
        sender: Sender,
        mut events: Vec<(String, String)>,
    ) -> Vec<Webhook> {
        if self.reorder {
            events.reverse();
        }
        let (queued_ms, alone) = (now_ms(), events.len() == 1);
        let webhook = |(id, body)| Webhook {
            id,
            sender,
            body,
            deliveries: self.repeat + 1,
            not_before_ms: queued_ms + self.delay_ms,
            queued_ms,
            overtaken: self.reorder && alone,
        };
        events.into_iter().map(webhook).collect()
    }
}

/// `pay`, `fail` or `expire` an open session.
async fn session(
    State(office): State<Arc<Office>>,
    Path((id, action)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let manner = Manner::read(&body)?;
    let (answer, webhooks) = office.change(|world| {
        let session = world
            .session(&id)
            .ok_or_else(|| Refused(StatusCode::NOT_FOUND, format!("there is no session {id}")))?;
        let (session, payment, kinds) = acted(&manner.paid(session, &action)?, &action)?;
        let event = |(kind, seen): &(&str, Session)| stripe::event(kind, &stripe::rendered(seen));
        let events: Vec<_> = kinds.iter().map(event).collect();
        let webhooks = manner.webhooks(Sender::Stripe, events);
        let answer = json!({ "session": stripe::rendered(&session), "webhooks": ids(&webhooks) });
        let mut records = vec![Record::Session(session)];
        records.extend(payment.map(Record::Payment));
        records.extend(webhooks.iter().cloned().map(Record::WebhookQueued));
        Ok::<_, Refused>(((answer, webhooks), records))
    })?;
    webhook::send(office, webhooks);
    Ok(Json(answer))
}

type Kinds = Vec<(&'static str, Session)>;

/// The session after the customer did this, the payment that came of it, and what is told, each
/// with the session as it was at that moment.
fn acted(session: &Session, action: &str) -> Result<(Session, Option<Payment>, Kinds), Refused> {
    if session.status != SessionStatus::Open {
        let status = stripe::rendered(session)["status"].clone();
        let reason = format!("session {} is {status}: only an open one can {action}", session.id);
        return Err(Refused(StatusCode::CONFLICT, reason));
    }
    let complete = Session {
        status: SessionStatus::Complete,
        payment_intent: Some(new_id("pi_", 24)),
        ..session.clone()
    };
    match action {
        "pay" if session.amount_total == 0 => {
            let payment_status = PaymentStatus::NoPaymentRequired;
            let free = Session { payment_status, payment_intent: None, ..complete };
            Ok((free.clone(), None, vec![("checkout.session.completed", free)]))
        }
        "pay" => {
            let paid = Session { payment_status: PaymentStatus::Paid, ..complete };
            let payment = payment_of(&paid, true);
            Ok((paid.clone(), payment, vec![("checkout.session.completed", paid)]))
        }
        // A method that takes its time, such as a debit: the session is complete, then it fails.
        "fail" => {
            let payment = payment_of(&complete, false);
            let told = ["checkout.session.completed", "checkout.session.async_payment_failed"];
            Ok((complete.clone(), payment, told.map(|kind| (kind, complete.clone())).to_vec()))
        }
        "expire" => {
            let expired = Session { status: SessionStatus::Expired, ..session.clone() };
            Ok((expired.clone(), None, vec![("checkout.session.expired", expired)]))
        }
        other => {
            let reason = format!("{other} is none of pay, fail, expire");
            Err(Refused(StatusCode::NOT_FOUND, reason))
        }
    }
}

fn payment_of(session: &Session, succeeded: bool) -> Option<Payment> {
    Some(Payment {
        id: session.payment_intent.clone()?,
        charge: new_id("ch_", 24),
        order_id: session.client_reference_id.clone(),
        currency: session.currency.clone(),
        captured: if succeeded { session.amount_total } else { 0 },
        succeeded,
    })
}

/// The courier tells a status of this order, also of one that it has no parcel of.
async fn parcel(
    State(office): State<Arc<Office>>,
    Path((order_id, status)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let manner = Manner::read(&body)?;
    if status.len() > STATUS_CHARS_MAX {
        let reason = format!("a status has at most {STATUS_CHARS_MAX} characters");
        return Err(Refused(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    let (answer, webhooks) = office.change(|world| {
        let shipment = world.shipment_of(&order_id);
        let mut told = json!({ "orderId": order_id, "status": status });
        if let Some(shipment) = shipment {
            told["trackingNumber"] = json!(shipment.tracking_number);
        }
        let id = new_id("trk_", 24);
        // What is said twice within a second is two statements, unless it is a repeat.
        told["statementId"] = json!(id);
        let event = (id, told.to_string());
        let webhooks = manner.webhooks(Sender::Courier, vec![event]);
        let moved = shipment.and_then(|shipment| moved(shipment, &status));
        let mut records: Vec<_> = moved.into_iter().map(Record::Shipment).collect();
        records.extend(webhooks.iter().cloned().map(Record::WebhookQueued));
        let answer = json!({ "told": told, "webhooks": ids(&webhooks) });
        Ok::<_, Refused>(((answer, webhooks), records))
    })?;
    webhook::send(office, webhooks);
    Ok(Json(answer))
}

pub(crate) fn ids(webhooks: &[Webhook]) -> Vec<&str> {
    webhooks.iter().map(|webhook| webhook.id.as_str()).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfOrder {
    order_id: Option<String>,
}

async fn effects(State(office): State<Arc<Office>>, Query(of): Query<OfOrder>) -> Json<Value> {
    Json(office.look(|world| world.effects(of.order_id.as_deref())))
}
