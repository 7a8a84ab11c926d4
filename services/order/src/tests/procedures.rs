use super::*;
use crate::{place, progress, tickets};
use chrono::{DateTime, Utc};
use proto_schemas::orders::{OpenTicket, Order, UpdateStatus};
use service_kit::{Call, Outcome, Refusal, Tx, Undo};

/// A store with one order, whose procedures are called by hand.
struct Play {
    db: Db,
    order: Order,
    _dir: TempDir,
}

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_147_738, 0).unwrap()
}

fn call<R>(body: R, undo: Option<Undo>) -> Call<R> {
    Call { body, key: "saga/1/0".to_owned(), at: at(), undo, attempt_class: 1 }
}

impl Play {
    fn new() -> Play {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), DbOptions::default()).unwrap();
        let mut tx = Tx::over(&db);
        let request = serde_json::from_value(order()).unwrap();
        let order = place::create(&mut tx, call(request, None)).unwrap();
        db.commit(tx.into_batch(), 1).unwrap();
        Play { db, order, _dir: dir }
    }

    fn write<T>(&self, act: impl FnOnce(&mut Tx) -> Outcome<T>) -> Outcome<T> {
        let mut tx = Tx::over(&self.db);
        let outcome = act(&mut tx)?;
        self.db.commit(tx.into_batch(), self.db.position() + 1).unwrap();
        Ok(outcome)
    }

    fn update(&self, body: Value, undo: Option<Undo>) -> Outcome<String> {
        let mut body = body;
        body["orderId"] = json!(self.order.order_id);
        let body: UpdateStatus = serde_json::from_value(body).unwrap();
        let updated = self.write(|tx| progress::update_status(tx, call(body, undo)))?;
        Ok(serde_json::to_value(updated.status).unwrap().as_str().unwrap().to_owned())
    }

    fn go(&self, status: &str) -> Outcome<String> {
        self.update(json!({ "status": status }), None)
    }

    fn shown(&self) -> Value {
        let key = format!("order/{}", self.order.order_id);
        serde_json::from_slice(&self.db.get(key.as_bytes()).unwrap().unwrap()).unwrap()
    }

    fn listed(&self, status: &str) -> usize {
        self.db.scan(format!("status/{status}/").as_bytes(), None, 10).unwrap().len()
    }
}

#[track_caller]
fn assert_rejected<T: std::fmt::Debug>(outcome: Outcome<T>, code: &str) {
    match outcome {
        Err(Refusal::Rejected(rejection)) => assert_eq!(rejection.code(), code),
        other => panic!("{other:?} is no rejection {code}"),
    }
}

fn undo(reason: &str) -> Option<Undo> {
    Some(Undo { of: None, kind: None, reason: Some(reason.to_owned()) })
}

#[test]
fn a_call_places_the_same_order_each_time() {
    assert_eq!(Play::new().order.order_id, Play::new().order.order_id);
}

#[test]
fn an_order_goes_its_way_and_shows_how_it_came_there() {
    let play = Play::new();
    let scored =
        json!({ "status": "awaiting_payment", "riskScore": 30, "paymentSessionId": "cs_1" });
    play.update(scored, None).unwrap();
    play.go("paid").unwrap();
    let parcel = |status| json!({ "shipmentId": "S-1", "trackingNumber": "T-1", "status": status });
    play.update(json!({ "status": "shipped", "shipment": parcel("created") }), None).unwrap();
    play.update(json!({ "status": "shipped", "shipment": parcel("in_transit") }), None).unwrap();
    play.go("delivery_failed").unwrap();
    play.go("shipped").unwrap();
    assert_eq!(play.listed("shipped"), 1);
    play.update(json!({ "status": "completed", "shipment": parcel("delivered") }), None).unwrap();
    let shown = play.shown();
    let history: Vec<_> =
        shown["history"].as_array().unwrap().iter().map(|it| it["status"].clone()).collect();
    let way = [
        "pending",
        "awaiting_payment",
        "paid",
        "shipped",
        "delivery_failed",
        "shipped",
        "completed",
    ];
    assert_eq!(history, way);
    assert_eq!(shown["riskScore"], 30);
    assert_eq!(shown["paymentSessionId"], "cs_1");
    assert_eq!(shown["shipment"], parcel("delivered"));
    for status in ["pending", "paid", "shipped"] {
        assert_eq!(play.listed(status), 0, "{status}");
    }
    assert_eq!(play.listed("completed"), 1);
}

#[test]
fn a_repeated_status_changes_nothing_and_a_passed_one_is_rejected() {
    let play = Play::new();
    play.go("paid").unwrap();
    let before = play.shown();
    assert_eq!(play.go("paid").unwrap(), "paid");
    assert_rejected(play.go("awaiting_approval"), "status_passed");
    assert_eq!(play.shown(), before);
}

#[test]
fn an_undo_cancels_with_the_reason_that_the_saga_ended_for() {
    let play = Play::new();
    play.go("awaiting_payment").unwrap();
    let cancel = || play.update(json!({ "status": "cancelled" }), undo("payment timed out"));
    assert_eq!(cancel().unwrap(), "cancelled");
    let shown = play.shown();
    assert_eq!(shown["history"][2]["reason"], "payment timed out");
    assert_eq!(cancel().unwrap(), "cancelled");
    assert_eq!(play.shown(), shown, "a repeat changes nothing");
}

#[test]
fn what_ended_takes_a_refund_and_nothing_else() {
    let play = Play::new();
    play.update(json!({ "status": "cancelled" }), undo("cancelled by an operator")).unwrap();
    assert_rejected(play.go("paid"), "status_passed");
    let refund = |status: &str| {
        let refund = json!({ "refundId": "re_1", "amount": "100.00", "status": status });
        play.update(json!({ "refund": refund }), None).unwrap()
    };
    assert_eq!(refund("pending"), "cancelled");
    assert_eq!(refund("succeeded"), "cancelled");
    let shown = play.shown();
    let wanted = json!([{ "refundId": "re_1", "amount": "100.00", "status": "succeeded" }]);
    assert_eq!(shown["refunds"], wanted);
    assert_eq!(shown["history"].as_array().unwrap().len(), 2);
    // Even together with a status that it cannot have any more, the money is recorded.
    let late = json!({ "refundId": "re_2", "amount": "1.00", "status": "succeeded" });
    let both = json!({ "status": "paid", "refund": late });
    assert_eq!(play.update(both, None).unwrap(), "cancelled");
    assert_eq!(play.shown()["refunds"].as_array().unwrap().len(), 2);
}

/// Each of them starts a saga of its own, and nothing orders those.
#[test]
fn news_of_a_refund_or_a_dispute_may_come_in_any_order() {
    let refund = |status: &str, amount: &str| {
        json!({ "refund": {
            "refundId": "re_1", "amount": amount, "currency": "USD", "status": status
        } })
    };
    let dispute = |status: &str| {
        json!({ "dispute": {
            "disputeId": "du_1", "amount": "100.00", "currency": "EUR", "status": status
        } })
    };
    let told = [refund("pending", "40.00"), refund("failed", "40.00"), dispute("lost")];
    let told = [&told[..], &[dispute("needs_response"), dispute("under_review")]].concat();
    for first in 0..told.len() {
        for backwards in [false, true] {
            let play = Play::new();
            let mut news = told.clone();
            news.rotate_left(first);
            if backwards {
                news.reverse();
            }
            for body in news {
                play.update(body, None).unwrap();
            }
            let shown = play.shown();
            let wanted = json!([{ "refundId": "re_1", "amount": "40.00", "status": "failed" }]);
            assert_eq!(shown["refunds"], wanted, "the currency is that of the order");
            let wanted = json!([{
                "disputeId": "du_1", "amount": "100.00", "currency": "EUR", "status": "lost"
            }]);
            assert_eq!(shown["disputes"], wanted);
        }
    }
    // What the provider said last is known by its revision, whatever it says.
    let said = |revision: u32, status: &str| {
        let mut body = dispute(status);
        body["dispute"]["revision"] = json!(revision);
        body
    };
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let news = [said(1, "under_review"), said(2, "won"), said(3, "needs_response")];
        let play = Play::new();
        for index in order {
            play.update(news[index].clone(), None).unwrap();
        }
        let shown = &play.shown()["disputes"][0];
        assert_eq!((&shown["status"], &shown["revision"]), (&json!("needs_response"), &json!(3)));
    }
    // What takes back a refund without an id is final.
    let play = Play::new();
    for body in [refund("canceled", "0.00"), refund("succeeded", "40.00")] {
        play.update(body, None).unwrap();
    }
    assert_eq!(play.shown()["refunds"][0]["amount"], "0.00");
}

#[test]
fn a_completed_order_stays_so_also_for_an_undo() {
    let play = Play::new();
    play.go("completed").unwrap();
    let undone = play.update(json!({ "status": "cancelled" }), undo("late"));
    assert_eq!(undone.unwrap(), "completed");
}

#[test]
fn an_unknown_order_is_rejected_and_its_undo_has_nothing_to_do() {
    let play = Play::new();
    let body = || -> UpdateStatus {
        serde_json::from_value(json!({ "orderId": "none", "status": "cancelled" })).unwrap()
    };
    let forward = play.write(|tx| progress::update_status(tx, call(body(), None)));
    assert_rejected(forward, "unknown_order");
    let undone = play.write(|tx| progress::update_status(tx, call(body(), undo("why"))));
    assert!(undone.is_ok());
}

#[test]
fn a_ticket_is_opened_once_for_each_reason() {
    let play = Play::new();
    let open = |order_id: &str, reason: &str| {
        let body = json!({ "orderId": order_id, "reason": reason, "trackingNumber": "T-1" });
        let body: OpenTicket = serde_json::from_value(body).unwrap();
        play.write(|tx| tickets::open(tx, call(body, None)))
    };
    let id = play.order.order_id.as_str();
    let first = open(id, "not delivered").unwrap();
    assert_eq!(open(id, "not delivered").unwrap(), first);
    let other = open(id, "overdue").unwrap();
    assert_ne!(other, first);
    assert_rejected(open("none", "overdue"), "unknown_order");
    let listed = tickets::list(&play.db, id, None, 10).unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|(_, it)| it.tracking_number.as_deref() == Some("T-1")));
    let (cursor, newest) = &listed[0];
    let rest = tickets::list(&play.db, id, Some(cursor), 10).unwrap();
    assert_eq!(rest.len(), 1);
    assert_ne!(&rest[0].1, newest);
}
