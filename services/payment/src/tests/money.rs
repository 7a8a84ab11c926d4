//! What webhooks tell of money beside the payment itself: refunds of every origin, disputes, and
//! payments that are not what was to be paid.

use super::store;
use crate::{
    hooks::{Stripe, Verdict},
    ledger::view,
};
use axum::http::HeaderMap;
use chassis::db::Db;
use chrono::Utc;
use serde_json::{Value, json};
use service_kit::{
    Tx,
    conformance::door::events,
    webhooks::{self, Provider as _},
};
use std::collections::BTreeMap;

const REFUNDED: &str = "payments.trigger.refunded";
const DISPUTED: &str = "payments.trigger.disputed";

/// A service's store, and the webhooks that came.
struct Ledger {
    db: Db,
    came: u32,
    _dir: tempfile::TempDir,
}

impl Ledger {
    fn new() -> Ledger {
        let (db, dir) = store();
        Ledger { db, came: 0, _dir: dir }
    }

    /// A ledger with one payment of 149.99 USD.
    fn paid() -> Ledger {
        let mut ledger = Ledger::new();
        assert_eq!(ledger.take(&completed()), Verdict::Published);
        ledger
    }

    fn take(&mut self, (kind, object): &(&str, Value)) -> Verdict {
        self.came += 1;
        let id = format!("evt_{}", self.came);
        let body =
            json!({ "id": id, "object": "event", "type": kind, "data": { "object": object } });
        self.take_body(&body.to_string())
    }

    fn take_body(&mut self, body: &str) -> Verdict {
        let mut tx = Tx::over(&self.db);
        let came = Stripe::read(&HeaderMap::new(), body.as_bytes());
        let verdict = webhooks::take::<Stripe>(&mut tx, came, Utc::now()).unwrap().verdict;
        self.db.commit(tx.into_batch(), self.db.position() + 1).unwrap();
        verdict
    }

    /// The bodies of the events on this subject.
    fn told(&self, subject: &str) -> Vec<Value> {
        let events = events(&self.db).into_iter().filter(|it| it["subject"] == subject);
        events.map(|it| it["body"].clone()).collect()
    }

    /// The ledger of the order as people see it.
    fn seen(&self) -> Value {
        let order_id = "o-1".parse().unwrap();
        let seen = view::of(&Tx::over(&self.db), &order_id).unwrap();
        serde_json::to_value(seen).unwrap()
    }

    /// The refunds as the order shows them in the end: id, amount and status.
    fn shown(&self) -> Vec<(String, String, String)> {
        let mut shown = BTreeMap::new();
        for told in self.told(REFUNDED) {
            let text = |name: &str| told[name].as_str().unwrap().to_owned();
            shown.insert(text("refundId"), (text("amount"), text("status")));
        }
        let shown = shown.into_iter().filter(|(_, (amount, _))| amount != "0.00");
        shown.map(|(id, (amount, status))| (id, amount, status)).collect()
    }
}

type Hook = (&'static str, Value);

fn completed() -> Hook {
    (
        "checkout.session.completed",
        json!({
            "id": "cs_1", "object": "checkout.session", "client_reference_id": "o-1",
            "payment_intent": "pi_1", "payment_status": "paid", "amount_total": 14_999,
            "currency": "usd",
        }),
    )
}

fn refund(kind: &'static str, id: &str, minor: u64, status: &str) -> Hook {
    (
        kind,
        json!({
            "id": id, "object": "refund", "amount": minor, "currency": "usd", "charge": "ch_1",
            "payment_intent": "pi_1", "status": status,
        }),
    )
}

fn charge_refunded(minor: u64) -> Hook {
    (
        "charge.refunded",
        json!({
            "id": "ch_1", "object": "charge", "amount": 14_999, "amount_refunded": minor,
            "currency": "usd", "payment_intent": "pi_1",
        }),
    )
}

fn dispute(kind: &'static str, status: &str) -> Hook {
    (
        kind,
        json!({
            "id": "du_1", "object": "dispute", "amount": 14_999, "charge": "ch_1",
            "currency": "usd", "payment_intent": "pi_1", "reason": "fraudulent", "status": status,
        }),
    )
}

fn one(id: &str, amount: &str, status: &str) -> Vec<(String, String, String)> {
    vec![(id.to_owned(), amount.to_owned(), status.to_owned())]
}

#[test]
fn a_refund_of_any_origin_is_told_with_each_of_its_states_once() {
    use Verdict::{Duplicate, Published};
    let mut ledger = Ledger::paid();
    for (hook, verdict) in [
        (refund("refund.created", "re_1", 4_000, "pending"), Published),
        (refund("refund.created", "re_1", 4_000, "pending"), Duplicate),
        (refund("charge.refund.updated", "re_1", 4_000, "succeeded"), Published),
        (refund("refund.updated", "re_1", 4_000, "succeeded"), Duplicate),
        (refund("refund.failed", "re_1", 4_000, "failed"), Published),
        (refund("refund.updated", "re_1", 4_000, "failed"), Duplicate),
        (refund("refund.created", "re_1", 4_000, "pending"), Duplicate),
    ] {
        assert_eq!(ledger.take(&hook), verdict, "{hook:?}");
    }
    let told = ledger.told(REFUNDED);
    let states: Vec<_> = told.iter().map(|it| it["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["pending", "succeeded", "failed"]);
    let body = json!({
        "orderId": "o-1", "sessionId": "cs_1", "refundId": "re_1",
        "amount": "40.00", "currency": "USD", "status": "pending",
    });
    assert_eq!(told[0], body);
    let keys: Vec<_> = events(&ledger.db).into_iter().map(|it| it["key"].clone()).collect();
    assert_eq!(keys, ["o-1", "re_1", "re_1/succeeded", "re_1/failed"]);
}

#[test]
fn a_refund_whose_failure_says_nothing_else_has_failed() {
    let mut ledger = Ledger::paid();
    let mut hook = refund("refund.failed", "re_1", 4_000, "pending");
    hook.1.as_object_mut().unwrap().remove("status");
    ledger.take(&hook);
    assert_eq!(ledger.shown(), one("re_1", "40.00", "failed"));
}

#[test]
fn what_a_charge_was_refunded_in_all_is_shown_until_each_refund_is_named() {
    let mut ledger = Ledger::paid();
    assert_eq!(ledger.take(&charge_refunded(4_000)), Verdict::Published);
    assert_eq!(ledger.take(&charge_refunded(4_000)), Verdict::Duplicate);
    assert_eq!(ledger.shown(), one("ch_1-1", "40.00", "succeeded"));
    ledger.take(&charge_refunded(5_000));
    assert_eq!(ledger.shown(), one("ch_1-2", "50.00", "succeeded"));
    ledger.take(&refund("refund.created", "re_1", 4_000, "succeeded"));
    let both = [one("ch_1-3", "10.00", "succeeded"), one("re_1", "40.00", "succeeded")].concat();
    assert_eq!(ledger.shown(), both);
    ledger.take(&refund("refund.created", "re_2", 1_000, "succeeded"));
    let both = [one("re_1", "40.00", "succeeded"), one("re_2", "10.00", "succeeded")].concat();
    assert_eq!(ledger.shown(), both);
    // Once it is named, its sum says nothing new, also when it fails.
    ledger.take(&refund("refund.failed", "re_2", 1_000, "failed"));
    assert_eq!(ledger.take(&charge_refunded(4_000)), Verdict::Duplicate);
    assert_eq!(ledger.shown()[1], one("re_2", "10.00", "failed")[0]);
}

#[test]
fn a_charge_that_lists_its_refunds_names_them() {
    let mut ledger = Ledger::paid();
    let (kind, mut charge) = charge_refunded(4_000);
    let (_, named) = refund("", "re_1", 4_000, "succeeded");
    charge["refunds"] = json!({ "object": "list", "data": [named] });
    assert_eq!(ledger.take(&(kind, charge)), Verdict::Published);
    assert_eq!(ledger.shown(), one("re_1", "40.00", "succeeded"));
}

#[test]
fn a_dispute_is_told_with_each_of_its_states_once_and_the_first_says_so() {
    use Verdict::{Duplicate, Published};
    let mut ledger = Ledger::paid();
    for (hook, verdict) in [
        (dispute("charge.dispute.created", "needs_response"), Published),
        (dispute("charge.dispute.funds_withdrawn", "needs_response"), Duplicate),
        (dispute("charge.dispute.updated", "under_review"), Published),
        (dispute("charge.dispute.closed", "lost"), Published),
        (dispute("charge.dispute.created", "needs_response"), Duplicate),
    ] {
        assert_eq!(ledger.take(&hook), verdict, "{hook:?}");
    }
    let told = ledger.told(DISPUTED);
    let states = told.iter().map(|it| (it["status"].as_str().unwrap(), it["isNew"] == true));
    let wanted = [("needs_response", true), ("under_review", false), ("lost", false)];
    assert_eq!(states.collect::<Vec<_>>(), wanted);
    let body = json!({
        "orderId": "o-1", "sessionId": "cs_1", "disputeId": "du_1", "amount": "149.99",
        "currency": "USD", "status": "needs_response", "reason": "fraudulent", "isNew": true,
    });
    assert_eq!(told[0], body);
}

#[test]
fn in_whatever_order_webhooks_come_the_order_shows_the_same() {
    let hooks = [
        completed(),
        refund("refund.created", "re_1", 4_000, "pending"),
        refund("refund.failed", "re_1", 4_000, "failed"),
        charge_refunded(4_000),
        dispute("charge.dispute.created", "needs_response"),
    ];
    let mut orders = vec![vec![]];
    for _ in &hooks {
        let longer = |order: Vec<usize>| {
            let left = (0..hooks.len()).filter({
                let order = order.clone();
                move |it| !order.contains(it)
            });
            left.map(move |it| [&order[..], &[it]].concat())
        };
        orders = orders.into_iter().flat_map(longer).collect();
    }
    assert_eq!(orders.len(), 120);
    for order in orders {
        let mut ledger = Ledger::new();
        for twice in [false, true] {
            for at in &order {
                let verdict = ledger.take(&hooks[*at]);
                assert!(!twice || verdict == Verdict::Duplicate, "{order:?}: {verdict:?}");
            }
        }
        assert_eq!(ledger.shown(), one("re_1", "40.00", "failed"), "{order:?}");
        let disputes = ledger.told(DISPUTED);
        assert_eq!((disputes.len(), &disputes[0]["isNew"]), (1, &json!(true)), "{order:?}");
        assert_eq!(ledger.told("payments.trigger.completed").len(), 1, "{order:?}");
    }
}

#[test]
fn what_is_told_of_a_payment_that_nobody_knows_is_held_and_breaks_nothing() {
    let mut ledger = Ledger::new();
    for hook in [
        refund("refund.created", "re_1", 4_000, "pending"),
        charge_refunded(4_000),
        dispute("charge.dispute.created", "needs_response"),
    ] {
        assert_eq!(ledger.take(&hook), Verdict::Held, "{hook:?}");
        let nameless = |field: &str, value: Value| {
            let mut hook = hook.clone();
            hook.1[field] = value;
            hook
        };
        // A refund is found by its own id.
        let verdict = if hook.0 == "refund.created" { Verdict::Held } else { Verdict::NoOrder };
        let strange = json!("../v1/refunds");
        assert_eq!(ledger.take(&nameless("payment_intent", strange)), verdict, "{hook:?}");
        assert_eq!(ledger.take(&nameless("currency", json!("no such"))), Verdict::NoAmount);
    }
    assert_eq!(events(&ledger.db), [] as [Value; 0]);
    for kind in ["refund.created", "refund.failed", "charge.refunded", "charge.dispute.created"] {
        for object in [json!(null), json!([]), json!({}), json!({ "payment_intent": "pi_1" })] {
            let verdict = ledger.take(&(kind, object.clone()));
            let is_calm =
                matches!(verdict, Verdict::Ignored | Verdict::NoOrder | Verdict::NoAmount);
            assert!(is_calm, "{kind} {object}: {verdict:?}");
        }
    }
}

#[test]
fn a_refund_is_found_by_its_id_when_its_payment_is_not_named() {
    let mut ledger = Ledger::paid();
    ledger.take(&refund("refund.created", "re_1", 4_000, "pending"));
    let (kind, mut failed) = refund("refund.failed", "re_1", 4_000, "failed");
    failed["payment_intent"] = Value::Null;
    assert_eq!(ledger.take(&(kind, failed)), Verdict::Published);
}

#[test]
fn a_payment_is_told_as_it_was_made_and_another_one_of_its_session_contradicts() {
    let mut ledger = Ledger::new();
    let (kind, mut object) = completed();
    (object["amount_total"], object["currency"]) = (json!(9_000), json!("eur"));
    assert_eq!(ledger.take(&(kind, object.clone())), Verdict::Published);
    let told = &ledger.told("payments.trigger.completed")[0];
    assert_eq!((&told["amount"], &told["currency"]), (&json!("90.00"), &json!("EUR")));
    assert_eq!(ledger.take(&(kind, object.clone())), Verdict::Duplicate);
    for (field, value) in [
        ("amount_total", json!(9_001)),
        ("currency", json!("usd")),
        ("payment_intent", json!("pi_2")),
    ] {
        let mut other = object.clone();
        other[field] = value;
        assert_eq!(ledger.take(&(kind, other)), Verdict::Contradicts, "{field}");
    }
    assert_eq!(ledger.told("payments.trigger.completed").len(), 1);
    let seen = ledger.seen();
    let contradictions = seen["contradictions"].as_array().unwrap();
    let amounts: Vec<_> = contradictions.iter().map(|it| &it["amount"]).collect();
    assert_eq!(amounts, ["90.01", "90.00", "90.00"]);
    assert_eq!(contradictions[2]["paymentId"], "pi_2");
    for more in 0..20 {
        object["amount_total"] = json!(1_000 + more);
        assert_eq!(ledger.take(&(kind, object.clone())), Verdict::Contradicts);
    }
    assert_eq!(ledger.seen()["contradictions"].as_array().unwrap().len(), 16);
}

#[test]
fn the_ledger_of_an_order_shows_all_of_its_money_and_adds_up() {
    let mut ledger = Ledger::paid();
    let whole = |ledger: &Ledger| {
        let payment = ledger.seen()["payments"][0].clone();
        ["captured", "goesBack", "stays"].map(|it| payment[it].as_str().unwrap().to_owned())
    };
    assert_eq!(whole(&ledger), ["149.99", "0.00", "149.99"]);
    ledger.take(&refund("refund.created", "re_1", 4_000, "pending"));
    ledger.take(&refund("refund.created", "re_2", 6_000, "succeeded"));
    assert_eq!(whole(&ledger), ["149.99", "100.00", "49.99"]);
    // One comes to nothing, and a sum tells of one that nobody has named.
    ledger.take(&refund("refund.failed", "re_1", 4_000, "failed"));
    assert_eq!(whole(&ledger), ["149.99", "60.00", "89.99"]);
    ledger.take(&charge_refunded(11_000));
    assert_eq!(whole(&ledger), ["149.99", "70.00", "79.99"]);
    ledger.take(&dispute("charge.dispute.created", "needs_response"));
    let seen = ledger.seen();
    assert_eq!(seen["payments"][0]["refunds"].as_array().unwrap().len(), 3, "{seen}");
    assert_eq!(seen["payments"][0]["disputes"][0]["status"], "needs_response", "{seen}");
    assert_eq!(seen["contradictions"], json!([]));
    assert!(Ledger::new().seen().is_null(), "nothing is known of it");
}

/// An older release kept the payment with its session, and its one refund beside that.
#[test]
fn a_refund_that_an_older_release_made_is_known_and_its_failure_is_told() {
    let mut ledger = Ledger::new();
    let mut tx = Tx::over(&ledger.db);
    let session = json!({
        "sessionId": "cs_1", "orderId": "o-1", "amount": "149.99", "currency": "USD",
        "status": "paid", "url": null, "expiresAt": null, "paymentId": "pi_1",
    });
    let refund_row = json!({ "round": 1, "asked": true, "refund": {
        "refundId": "re_1", "amount": "149.99", "currency": "USD", "status": "pending",
    } });
    tx.put("order/o-1", "cs_1");
    tx.put("told/cs_1/completed", "evt_0");
    tx.put_json("session/cs_1", &session).unwrap();
    tx.put_json("refund/cs_1", &refund_row).unwrap();
    ledger.db.commit(tx.into_batch(), ledger.db.position() + 1).unwrap();
    assert_eq!(ledger.take(&completed()), Verdict::Duplicate);
    let (kind, mut object) = refund("refund.updated", "re_1", 14_999, "pending");
    object["metadata"] = json!({ "order_id": "o-1" });
    assert_eq!(ledger.take(&(kind, object.clone())), Verdict::Duplicate);
    object["status"] = json!("failed");
    assert_eq!(ledger.take(&("refund.failed", object)), Verdict::Published);
    assert_eq!(ledger.shown(), one("re_1", "149.99", "failed"));
    let begun = json!({
        "orderId": "o-1", "sessionId": "cs_1", "paymentId": "pi_1", "amountMinor": 14_999,
        "round": 0, "isRepeat": false,
    });
    serde_json::from_value::<crate::refund::Intent>(begun).unwrap();
}
