//! The five services: how they answer, and what their state is after what they did.

use saga_core::testing::{Act, Ledger, Services};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Pieces that the only order takes.
pub(super) const PIECES: u64 = 2;
/// Pieces on the shelf before it.
const STOCK: u64 = 10;
/// The session that the payment service opens.
pub(super) const SESSION: &str = "cs_1";

/// All five, with this risk score for every order.
pub(super) fn services(risk_score: u8) -> Services {
    let moved = |_: &Value| Ok(json!({ "orderId": "o1", "items": [] }));
    Services::new()
        .on("orders.calculate-risk", move |_| {
            Ok(json!({ "score": risk_score, "reasons": ["new customer"] }))
        })
        .on("orders.update-status", |it| {
            let status = it.get("status").cloned().unwrap_or_else(|| json!("shipped"));
            Ok(json!({ "orderId": it["orderId"], "status": status }))
        })
        .on("orders.open-ticket", |_| Ok(json!({ "ticketId": "t1" })))
        .on("payments.create-session", |_| Ok(json!({ "sessionId": SESSION })))
        .on("payments.process", |_| Ok(session("open")))
        .on("payments.void-session", |_| Ok(json!({ "orderId": "o1" })))
        .on("payments.refund", |it| {
            let (amount, currency) = (&it["amount"], &it["currency"]);
            let id = format!("re_{}", it["sessionId"].as_str().unwrap());
            Ok(json!({
                "refundId": id, "amount": amount, "currency": currency, "status": "pending"
            }))
        })
        .on("inventory.reserve", moved)
        .on("inventory.release", moved)
        .on("inventory.ship", moved)
        .on("delivery.create-shipment", |_| {
            Ok(json!({ "shipmentId": "sh_1", "trackingNumber": "TRACK-1" }))
        })
        .on("delivery.get-status", |_| {
            Ok(json!({
                "orderId": "o1", "shipmentId": "sh_1", "trackingNumber": "TRACK-1",
                "status": "delivered"
            }))
        })
        .on("delivery.cancel-shipment", |_| Ok(json!({ "orderId": "o1" })))
        .on("notifications.send", |_| Ok(json!({ "messageId": "<1@shop>" })))
}

/// What the payment service knows of the session.
pub(super) fn session(status: &str) -> Value {
    json!({ "orderId": "o1", "sessionId": SESSION, "status": status })
}

/// What the services' stores hold after what they did.
#[derive(Debug)]
pub(super) struct Shop {
    /// Pieces that nobody holds.
    pub(super) available: u64,
    /// Pieces held for the order.
    pub(super) reserved: u64,
    /// Pieces that left the house.
    pub(super) shipped: u64,
    /// Whether the payment service has an open session.
    pub(super) has_session: bool,
    /// How often each session's refund was asked for; the provider pays once for each session.
    pub(super) refunds: BTreeMap<String, usize>,
    /// Whether the courier has a parcel.
    pub(super) has_parcel: bool,
    /// Every status of the order, oldest first.
    pub(super) history: Vec<String>,
    /// Why it was cancelled.
    pub(super) cancelled_because: Option<String>,
    /// What stands beside the status.
    pub(super) beside: BTreeMap<String, Value>,
    /// How many mails of each kind were sent.
    pub(super) mails: BTreeMap<String, usize>,
    /// Tickets at the support.
    pub(super) tickets: usize,
    /// Ids of refunds that the order shows.
    pub(super) refunds_shown: BTreeSet<String>,
}

impl Shop {
    /// The state after these acts. An act that a real service would refuse is a fault of the saga.
    pub(super) fn after(ledger: &Ledger) -> Shop {
        let mut shop = Shop {
            available: STOCK,
            reserved: 0,
            shipped: 0,
            has_session: false,
            refunds: BTreeMap::new(),
            has_parcel: false,
            history: vec!["pending".to_owned()],
            cancelled_because: None,
            beside: BTreeMap::new(),
            mails: BTreeMap::new(),
            tickets: 0,
            refunds_shown: BTreeSet::new(),
        };
        for act in &ledger.0 {
            shop.act(act);
            assert_eq!(shop.available + shop.reserved + shop.shipped, STOCK, "stock is constant");
        }
        shop
    }

    /// Where the order stands.
    pub(super) fn status(&self) -> &str {
        self.history.last().map_or("", String::as_str)
    }

    /// How many mails of this kind were sent.
    pub(super) fn mails(&self, kind: &str) -> usize {
        self.mails.get(kind).copied().unwrap_or_default()
    }

    fn act(&mut self, act: &Act) {
        let body = &act.body;
        match act.subject.as_str() {
            "orders.calculate-risk" | "payments.process" | "delivery.get-status" => (),
            "orders.update-status" => self.update(act),
            "orders.open-ticket" => self.tickets += 1,
            "payments.create-session" => self.has_session = true,
            "payments.void-session" => self.has_session = false,
            "payments.refund" => {
                *self.refunds.entry(text(&body["sessionId"])).or_default() += 1;
            }
            "inventory.reserve" => {
                assert_eq!((self.reserved, self.shipped), (0, 0), "nothing is reserved twice");
                let pieces = |it: &Value| it["quantity"].as_u64().unwrap();
                let pieces: u64 = body["items"].as_array().unwrap().iter().map(pieces).sum();
                self.available -= pieces;
                self.reserved += pieces;
            }
            "inventory.release" => {
                self.available += self.reserved + self.shipped;
                (self.reserved, self.shipped) = (0, 0);
            }
            "inventory.ship" => {
                assert!(0 < self.reserved, "nothing is shipped that was not reserved");
                self.shipped += self.reserved;
                self.reserved = 0;
            }
            "delivery.create-shipment" => {
                assert!(!self.has_parcel, "no second parcel");
                self.has_parcel = true;
            }
            "delivery.cancel-shipment" => {
                assert_eq!(self.shipped, 0, "no parcel is stopped before its pieces are back");
                self.has_parcel = false;
            }
            "notifications.send" => {
                *self.mails.entry(text(&body["kind"])).or_default() += 1;
            }
            other => panic!("nobody serves {other}"),
        }
    }

    fn update(&mut self, act: &Act) {
        let Value::Object(body) = &act.body else { panic!("an object") };
        for (name, value) in body {
            match name.as_str() {
                "orderId" | "status" | "reason" => (),
                "refund" => drop(self.refunds_shown.insert(text(&value["refundId"]))),
                _ => drop(self.beside.insert(name.clone(), value.clone())),
            }
        }
        let Some(to) = body.get("status").map(text) else { return };
        if to == self.status() {
            return;
        }
        if self.status() == "cancelled" {
            return; // What is asked late, for it was on its way during the cancel, moves nothing.
        }
        let goes_on = rank(self.status()) <= rank(&to) && self.status() != "completed";
        assert!(goes_on, "an order that is {} does not become {to}", self.status());
        if to == "cancelled" {
            self.cancelled_because = act.why.clone();
        }
        self.history.push(to);
    }
}

/// How far on its way: the order service's rule.
fn rank(status: &str) -> u8 {
    match status {
        "pending" => 0,
        "awaiting_approval" => 1,
        "awaiting_payment" => 2,
        "paid" => 3,
        "shipped" | "delivery_failed" => 4,
        "completed" | "cancelled" => 5,
        other => panic!("no order is {other}"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
