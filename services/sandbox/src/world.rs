//! What exists outside: sessions, payments, refunds, shipments, and what is still to be sent.

use crate::stripe::shown;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

/// A checkout session as Stripe keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) created_s: u64,
    pub(crate) expires_s: u64,
    pub(crate) amount_total: i64,
    pub(crate) currency: String,
    pub(crate) client_reference_id: Option<String>,
    pub(crate) customer_email: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) success_url: String,
    pub(crate) cancel_url: Option<String>,
    pub(crate) status: SessionStatus,
    pub(crate) payment_status: PaymentStatus,
    /// There is none until the customer pays, or tries to.
    pub(crate) payment_intent: Option<String>,
}

/// Stripe's `status` of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionStatus {
    Open,
    Complete,
    Expired,
}

/// Stripe's `payment_status` of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PaymentStatus {
    Unpaid,
    Paid,
    NoPaymentRequired,
}

/// A payment intent and its one charge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Payment {
    pub(crate) id: String,
    pub(crate) charge: String,
    pub(crate) order_id: Option<String>,
    pub(crate) currency: String,
    /// What was captured; nothing after a failed attempt.
    pub(crate) captured: i64,
    pub(crate) succeeded: bool,
}

/// A refund as Stripe keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Refund {
    pub(crate) id: String,
    pub(crate) created_s: u64,
    pub(crate) payment_intent: String,
    pub(crate) charge: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) reason: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// The customer's bank has sent it back.
    #[serde(default)]
    pub(crate) failed: bool,
}

/// What the customer's bank has to say of a payment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Dispute {
    pub(crate) id: String,
    pub(crate) created_s: u64,
    pub(crate) payment_intent: String,
    pub(crate) charge: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    /// In Stripe's words.
    pub(crate) status: String,
}

/// A parcel of the courier.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shipment {
    pub(crate) shipment_id: String,
    pub(crate) order_id: String,
    pub(crate) tracking_number: String,
    pub(crate) status: String,
}

/// The stored answer of an idempotency key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) key: String,
    /// Of the address and the parameters of the request that it answers.
    pub(crate) fingerprint: String,
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// Whose webhook it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sender {
    Stripe,
    Courier,
}

/// A webhook that is to be delivered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Webhook {
    pub(crate) id: String,
    pub(crate) sender: Sender,
    /// The very bytes that are signed and sent.
    pub(crate) body: String,
    /// How often it is to be taken by the receiver.
    pub(crate) deliveries: u32,
    pub(crate) not_before_ms: u64,
    pub(crate) queued_ms: u64,
    /// Waits until another webhook of the same sender has overtaken it.
    pub(crate) overtaken: bool,
}

/// One change of the world; a line of the journal is a list of them, applied as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    Session(Session),
    Payment(Payment),
    Refund(Refund),
    Dispute(Dispute),
    Shipment(Shipment),
    Answer(Answer),
    WebhookQueued(Webhook),
    WebhookDelivered { id: String },
    WebhookAbandoned { id: String },
}

/// All that exists. It changes by [`World::apply`] alone, live and after a restart.
#[derive(Default)]
pub(crate) struct World {
    sessions: HashMap<String, Session>,
    payments: HashMap<String, Payment>,
    /// By payment intent, oldest first.
    refunds: BTreeMap<String, Vec<Refund>>,
    /// By payment intent: one for each.
    disputes: HashMap<String, Dispute>,
    shipments: BTreeMap<String, Shipment>,
    shipments_of_order: HashMap<String, Vec<String>>,
    answers: HashMap<String, Answer>,
    webhooks: BTreeMap<String, Webhook>,
    webhooks_delivered: u64,
    webhooks_abandoned: u64,
}

impl World {
    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            Record::Session(session) => drop(self.sessions.insert(session.id.clone(), session)),
            Record::Payment(payment) => drop(self.payments.insert(payment.id.clone(), payment)),
            Record::Refund(refund) => {
                let of_payment = self.refunds.entry(refund.payment_intent.clone()).or_default();
                match of_payment.iter_mut().find(|it| it.id == refund.id) {
                    Some(known) => *known = refund,
                    None => of_payment.push(refund),
                }
            }
            Record::Dispute(dispute) => {
                self.disputes.insert(dispute.payment_intent.clone(), dispute);
            }
            Record::Shipment(shipment) => self.apply_shipment(shipment),
            Record::Answer(answer) => drop(self.answers.insert(answer.key.clone(), answer)),
            Record::WebhookQueued(webhook) => {
                self.webhooks.insert(webhook.id.clone(), webhook);
            }
            Record::WebhookDelivered { id } => {
                self.webhooks_delivered += u64::from(self.webhooks.remove(&id).is_some());
            }
            Record::WebhookAbandoned { id } => {
                self.webhooks_abandoned += u64::from(self.webhooks.remove(&id).is_some());
            }
        }
    }

    fn apply_shipment(&mut self, shipment: Shipment) {
        let of_order = self.shipments_of_order.entry(shipment.order_id.clone()).or_default();
        if !of_order.contains(&shipment.shipment_id) {
            of_order.push(shipment.shipment_id.clone());
        }
        self.shipments.insert(shipment.shipment_id.clone(), shipment);
    }

    pub(crate) fn session(&self, id: &str) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// Newest first.
    pub(crate) fn sessions(&self) -> Vec<&Session> {
        let mut sessions: Vec<_> = self.sessions.values().collect();
        sessions.sort_by_key(|it| Reverse((it.created_s, &it.id)));
        sessions
    }

    pub(crate) fn payment(&self, id: &str) -> Option<&Payment> {
        self.payments.get(id)
    }

    /// Newest first, as Stripe lists.
    pub(crate) fn refunds_of(&self, payment_intent: &str) -> impl Iterator<Item = &Refund> {
        self.refunds.get(payment_intent).into_iter().flatten().rev()
    }

    /// What went back and stayed there.
    pub(crate) fn refunded(&self, payment_intent: &str) -> i64 {
        let standing = self.refunds_of(payment_intent).filter(|refund| !refund.failed);
        standing.map(|refund| refund.amount).sum()
    }

    pub(crate) fn dispute_of(&self, payment_intent: &str) -> Option<&Dispute> {
        self.disputes.get(payment_intent)
    }

    /// What the customer's bank holds, or has taken for good. An inquiry takes nothing.
    pub(crate) fn charged_back(&self, payment_intent: &str) -> i64 {
        let holds =
            |it: &&Dispute| matches!(&*it.status, "needs_response" | "under_review" | "lost");
        self.dispute_of(payment_intent).filter(holds).map_or(0, |it| it.amount)
    }

    pub(crate) fn refund(&self, id: &str) -> Option<&Refund> {
        self.refunds.values().flatten().find(|refund| refund.id == id)
    }

    fn order_of_payment(&self, payment_intent: &str) -> Option<&str> {
        self.payment(payment_intent)?.order_id.as_deref()
    }

    pub(crate) fn shipment(&self, id: &str) -> Option<&Shipment> {
        self.shipments.get(id)
    }

    /// The newest parcel of this order.
    pub(crate) fn shipment_of(&self, order_id: &str) -> Option<&Shipment> {
        self.shipment(self.shipments_of_order.get(order_id)?.last()?)
    }

    pub(crate) fn answer(&self, key: &str) -> Option<&Answer> {
        self.answers.get(key)
    }

    pub(crate) fn webhooks_pending(&self) -> Vec<Webhook> {
        self.webhooks.values().cloned().collect()
    }

    /// How often each thing happened, in all or for one order.
    pub(crate) fn effects(&self, order_id: Option<&str>) -> Value {
        let of = |it: Option<&str>| order_id.is_none_or(|wanted| it == Some(wanted));
        let sessions = || self.sessions.values().filter(|it| of(it.client_reference_id.as_deref()));
        let paid = || sessions().filter(|it| it.payment_status == PaymentStatus::Paid);
        let expired = || sessions().filter(|it| it.status == SessionStatus::Expired);
        let refunded = || self.refunds.iter().filter(|(id, _)| of(self.order_of_payment(id)));
        let standing = |refund: &&Refund| !refund.failed;
        let refunds = || refunded().flat_map(|(_, refunds)| refunds).filter(standing);
        let shipments = || self.shipments.values().filter(|it| of(Some(&it.order_id)));
        json!({
            "sessions": sessions().count(),
            "sessionsPaid": paid().count(),
            "paid": paid().map(|it| shown(it.amount_total, &it.currency)).collect::<Vec<_>>(),
            "sessionsExpired": expired().count(),
            "refunds": refunds().count(),
            "refunded": refunds().map(|it| shown(it.amount, &it.currency)).collect::<Vec<_>>(),
            "refundedMinor": refunds().map(|it| it.amount).sum::<i64>(),
            "paymentsRefunded": refunded().count(),
            "shipments": shipments().count(),
            "shipmentsCancelled": shipments().filter(|it| it.status == "cancelled").count(),
            "webhooksDelivered": self.webhooks_delivered,
            "webhooksPending": self.webhooks.len(),
            "webhooksAbandoned": self.webhooks_abandoned,
        })
    }
}
