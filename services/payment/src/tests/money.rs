//! What webhooks tell of money beside the payment itself: refunds of every origin, disputes, and
//! payments that are not what was to be paid.

use super::store;
use crate::{
    hooks::{Stripe, Verdict},
    ledger::{self, SessionRow, view},
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

    /// A ledger with a session that was opened over so much.
    fn opened(amount: &str, currency: &str) -> Ledger {
        let ledger = Ledger::new();
        let row = json!({
            "sessionId": "cs_1", "orderId": "o-1", "amount": amount, "currency": currency,
            "status": "open", "url": null, "expiresAt": null, "paymentId": null,
        });
        let mut tx = Tx::over(&ledger.db);
        ledger::insert(&mut tx, serde_json::from_value::<SessionRow>(row).unwrap()).unwrap();
        ledger.db.commit(tx.into_batch(), ledger.db.position() + 1).unwrap();
        ledger
    }

    fn take(&mut self, hook: &Hook) -> Verdict {
        self.take_made(hook, None)
    }

    /// Takes a hook that was made at this second.
    fn take_at(&mut self, at_s: i64, hook: &Hook) -> Verdict {
        self.take_made(hook, Some(at_s))
    }

    fn take_made(&mut self, (kind, object): &Hook, at_s: Option<i64>) -> Verdict {
        self.came += 1;
        let id = format!("evt_{}", self.came);
        let body = json!({
            "id": id, "object": "event", "type": kind, "created": at_s,
            "data": { "object": object },
        });
        self.take_body(&body.to_string())
    }

    /// The same of an event that the provider made in this second.
    fn take_of(&mut self, created_s: i64, (kind, object): &(&str, Value)) -> Verdict {
        self.came += 1;
        let body = json!({
            "id": format!("evt_{}", self.came), "object": "event", "type": kind,
            "created": created_s, "data": { "object": object },
        });
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

/// One of them that has failed is no part of the sum beside it.
#[test]
fn a_failed_refund_that_a_charge_lists_does_not_hide_what_went_back_of_it() {
    let mut ledger = Ledger::paid();
    let (kind, mut charge) = charge_refunded(4_000);
    let (_, failed) = refund("", "re_1", 4_000, "failed");
    charge["refunds"] = json!({ "object": "list", "data": [failed] });
    assert_eq!(ledger.take_at(100, &(kind, charge)), Verdict::Published);
    assert_eq!(stays(&ledger).as_deref(), Some("109.99"));
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
        "revision": 1,
    });
    assert_eq!(told[0], body);
}

/// The dispute keeps its id throughout.
#[test]
fn an_inquiry_that_becomes_a_chargeback_and_a_dispute_that_opens_again_are_news() {
    use Verdict::{Duplicate, Published};
    let escalated = [
        (10, "warning_needs_response", Published),
        (20, "warning_under_review", Published),
        (30, "needs_response", Published),
        (20, "warning_under_review", Duplicate),
        (40, "won", Published),
        (50, "lost", Published),
        (40, "won", Duplicate),
    ];
    let reopened = [
        (10, "warning_needs_response", Published),
        (20, "warning_closed", Published),
        (30, "lost", Published),
        (40, "needs_response", Published),
    ];
    // Stripe's times are seconds.
    let at_once = [(10, "needs_response", Published), (10, "warning_under_review", Duplicate)];
    for (hooks, wanted) in [
        (&escalated[..], &[("needs_response", true), ("under_review", false)][..]),
        (&reopened, &[("needs_response", true), ("closed", false), ("lost", false)]),
        (&at_once, &[("needs_response", true)]),
    ] {
        let mut ledger = Ledger::paid();
        for (created_s, status, verdict) in hooks {
            let hook = dispute("charge.dispute.updated", status);
            assert_eq!(ledger.take_of(*created_s, &hook), *verdict, "{status} at {created_s}");
        }
        let rest: &[_] = match hooks.len() {
            7 => &[("needs_response", true), ("won", false), ("lost", false)],
            4 => &[("needs_response", true)],
            _ => &[],
        };
        let told = ledger.told(DISPUTED);
        let states = told.iter().map(|it| (it["status"].as_str().unwrap(), it["isNew"] == true));
        assert_eq!(states.collect::<Vec<_>>(), [wanted, rest].concat());
        let revisions: Vec<_> = told.iter().map(|it| it["revision"].as_u64().unwrap()).collect();
        assert_eq!(revisions, (1..=told.len() as u64).collect::<Vec<_>>());
        let keys = events(&ledger.db).into_iter().map(|it| it["key"].to_string());
        assert_eq!(keys.collect::<std::collections::BTreeSet<_>>().len(), told.len() + 1);
    }
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
    for order in orders_of(hooks.len()) {
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

/// All orders of so many things.
fn orders_of(count: usize) -> Vec<Vec<usize>> {
    (0..count).fold(vec![vec![]], |orders, _| {
        let longer = |order: Vec<usize>| {
            let left: Vec<_> = (0..count).filter(|it| !order.contains(it)).collect();
            left.into_iter().map(move |it| [&order[..], &[it]].concat())
        };
        orders.into_iter().flat_map(longer).collect()
    })
}

#[test]
fn a_refund_by_hand_after_one_that_failed_is_shown_though_only_its_sum_is_told() {
    // The sum of 1 holds the refund that fails at 2, that of 3 another one as large.
    let hooks = [
        (1, refund("refund.created", "re_1", 4_000, "pending")),
        (1, charge_refunded(4_000)),
        (2, refund("refund.failed", "re_1", 4_000, "failed")),
        (3, charge_refunded(4_000)),
    ];
    let failed = one("re_1", "40.00", "failed");
    for order in orders_of(4) {
        let mut ledger = Ledger::paid();
        for it in &order {
            ledger.take_at(hooks[*it].0, &hooks[*it].1);
        }
        let shown = ledger.shown();
        let by_hand: Vec<_> = shown.iter().filter(|it| it.2 == "succeeded").collect();
        assert_eq!((by_hand.len(), &by_hand[0].1[..]), (1, "40.00"), "{order:?}: {shown:?}");
        assert!(shown.contains(&failed[0]), "{order:?}: {shown:?}");
        // The one by hand gets its name.
        ledger.take_at(3, &refund("refund.created", "re_2", 4_000, "succeeded"));
        let both = [failed.clone(), one("re_2", "40.00", "succeeded")].concat();
        assert_eq!(ledger.shown(), both, "{order:?}");
    }
    for order in orders_of(3) {
        let mut ledger = Ledger::paid();
        for it in &order {
            ledger.take_at(hooks[*it].0, &hooks[*it].1);
        }
        assert_eq!(ledger.shown(), failed, "{order:?}: a failure is no refund by hand");
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
        let strange = nameless("currency", json!("no such"));
        assert_eq!(ledger.take(&strange), Verdict::UnreadableAmount, "{hook:?}");
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

/// No webhook of the payment may ever come again.
#[test]
fn all_that_was_held_of_a_payment_is_told_with_it_however_many_there_are() {
    let mut ledger = Ledger::new();
    for at in 0..220 {
        let id = format!("re_{at}");
        assert_eq!(ledger.take(&refund("refund.updated", &id, 1, "pending")), Verdict::Held);
    }
    for at in 0..220 {
        let (kind, mut object) = dispute("charge.dispute.created", "needs_response");
        object["id"] = json!(format!("du_{at}"));
        assert_eq!(ledger.take(&(kind, object)), Verdict::Held);
    }
    ledger.take(&completed());
    let count = |subject: &str| ledger.told(subject).len();
    assert_eq!(count("payments.trigger.refunded"), 220);
    assert_eq!(count("payments.trigger.disputed"), 220);
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

/// A hook whose amount and currency are these.
fn over((kind, mut object): Hook, field: &str, amount: &Value, currency: &Value) -> Hook {
    (object[field], object["currency"]) = (amount.clone(), currency.clone());
    (kind, object)
}

#[test]
fn a_payment_whose_money_cannot_be_read_is_told_as_no_other() {
    for (opened, amount, currency) in [
        (("149.99", "USD"), json!(1), json!("xts")),
        (("149.99", "USD"), json!(1), json!(7)),
        (("149.99", "USD"), json!(1), json!(null)),
        (("149.99", "USD"), json!(null), json!("usd")),
        (("149.99", "USD"), json!(-5), json!("usd")),
        (("149.99", "USD"), json!(1.0), json!("usd")),
        (("149.99", "USD"), json!("1"), json!("usd")),
        // There is no half of a króna.
        (("1000", "ISK"), json!(1_050), json!("isk")),
    ] {
        let mut ledger = Ledger::opened(opened.0, opened.1);
        let hook = over(completed(), "amount_total", &amount, &currency);
        assert_eq!(ledger.take(&hook), Verdict::UnreadableAmount, "{amount} {currency}");
        // What goes back of it is held, as nobody knows what it is a part of.
        let (kind, mut back) = refund("refund.created", "re_1", 1, "pending");
        back["metadata"] = json!({ "order_id": "o-1" });
        assert_eq!(ledger.take(&(kind, back)), Verdict::Held, "{amount} {currency}");
        assert_eq!(events(&ledger.db), [] as [Value; 0], "{amount} {currency}");
        let seen = ledger.seen();
        assert_eq!(seen["session"]["status"], "processing", "{seen}");
        assert_eq!(seen["contradictions"][0]["eventId"], "evt_1", "{seen}");
        // Once it can be read, it counts.
        assert_eq!(ledger.take(&completed()), Verdict::Published);
        assert_eq!(ledger.told("payments.trigger.completed")[0]["amount"], "149.99");
        assert_eq!(ledger.take(&hook), Verdict::UnreadableAmount, "{amount} {currency}");
    }
}

#[test]
fn a_payment_that_says_nothing_of_money_is_what_its_session_was_opened_over() {
    let mut ledger = Ledger::opened("149.99", "USD");
    let hook = over(completed(), "amount_total", &Value::Null, &Value::Null);
    assert_eq!(ledger.take(&hook), Verdict::Published);
    assert_eq!(ledger.told("payments.trigger.completed")[0]["amount"], "149.99");
}

#[test]
fn refunds_and_disputes_whose_money_cannot_be_read_are_seen_and_told_to_nobody() {
    for (hook, field) in [
        (refund("refund.created", "re_1", 1, "pending"), "amount"),
        (refund("refund.failed", "re_1", 1, "failed"), "amount"),
        (charge_refunded(1), "amount_refunded"),
        (dispute("charge.dispute.created", "needs_response"), "amount"),
    ] {
        for (amount, currency) in [
            (json!(1), json!("xts")),
            (json!(1), json!(null)),
            (json!(-5), json!("usd")),
            (json!("1"), json!("usd")),
        ] {
            let mut ledger = Ledger::paid();
            let hook = over(hook.clone(), field, &amount, &currency);
            assert_eq!(ledger.take(&hook), Verdict::UnreadableAmount, "{hook:?}");
            assert_eq!(events(&ledger.db).len(), 1, "{hook:?}");
        }
    }
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

/// What was told, by id.
fn told_by_id(ledger: &Ledger) -> Vec<(String, Value)> {
    let told = events(&ledger.db).into_iter();
    told.map(|it| (it["id"].as_str().unwrap().to_owned(), it["body"].clone())).collect()
}

/// Under one id the runtime takes one body: a second one is a conflict, and nobody hears of the
/// money.
#[test]
fn what_a_restored_service_tells_of_refunds_without_ids_has_not_been_told_otherwise_before() {
    let mut first = Ledger::paid();
    first.take(&charge_refunded(4_000));
    // What came after the backup is lost; then 20.00 more are paid back by hand.
    let mut restored = Ledger::paid();
    restored.take(&charge_refunded(6_000));
    let before = told_by_id(&first);
    for (id, body) in told_by_id(&restored) {
        let other = before.iter().find(|it| it.0 == id && it.1 != body);
        assert_eq!(other, None, "{id} has told something else before: {body} is a conflict");
    }
    // The order shows the one refund, as it was told last.
    assert_eq!(restored.shown(), one("ch_1-1", "60.00", "succeeded"));
    let mut again = Ledger::paid();
    again.take(&charge_refunded(4_000));
    assert_eq!(told_by_id(&again), before, "the same news has the same id");
}

#[test]
fn what_a_restored_service_tells_of_a_refund_or_dispute_has_not_been_told_otherwise_before() {
    let mut first = Ledger::paid();
    first.take_of(1_000, &refund("refund.created", "re_1", 4_000, "pending"));
    first.take_of(1_001, &dispute("charge.dispute.created", "needs_response"));
    first.take_of(1_002, &dispute("charge.dispute.updated", "under_review"));
    first.take_of(1_003, &dispute("charge.dispute.updated", "needs_response"));
    let before = told_by_id(&first);
    let known = first.told(DISPUTED).last().unwrap()["revision"].as_u64().unwrap();

    // Put back from a copy, or empty and told to take the place of the first one.
    for is_copy in [true, false] {
        let mut restored = Ledger::paid();
        if is_copy {
            restored.db.begin_epoch(1).unwrap();
        } else {
            std::fs::write(restored.db.dir().join("take-over"), "an operator's word").unwrap();
        }
        restored.take_of(1_004, &refund("refund.failed", "re_1", 4_000, "failed"));
        restored.take_of(1_005, &dispute("charge.dispute.closed", "lost"));
        for (id, body) in told_by_id(&restored) {
            let other = before.iter().find(|it| it.0 == id && it.1 != body);
            assert_eq!(other, None, "{id}: {body} is a conflict");
        }
        assert_eq!(restored.shown(), one("re_1", "40.00", "failed"));
        let told = restored.told(DISPUTED);
        assert!(known < told[0]["revision"].as_u64().unwrap(), "for the order it is the newest");
    }
}

/// However many pieces it went back in: those that are not shown count as well.
#[test]
fn money_that_went_back_in_very_many_pieces_does_not_stay() {
    let mut ledger = Ledger::paid();
    for number in 0..299 {
        ledger.take(&refund("refund.created", &format!("re_{number:03}"), 50, "succeeded"));
    }
    ledger.take(&refund("refund.created", "re_299", 49, "succeeded"));
    let stays = view::standing(&Tx::over(&ledger.db), "pi_1").unwrap().stays;
    assert_eq!(stays.map(|it| it.to_string()).as_deref(), Some("0.00"));
    let seen = ledger.seen()["payments"][0].clone();
    assert_eq!((&seen["goesBack"], &seen["stays"]), (&json!("149.99"), &json!("0.00")));
    let shown = seen["refunds"].as_array().unwrap().len();
    assert_eq!((shown, &seen["hasMore"]), (250, &json!(true)));
}

#[test]
fn money_that_is_disputed_in_very_many_pieces_counts_to_the_last() {
    let mut ledger = Ledger::paid();
    for number in 0..300 {
        let status = if number < 299 { "lost" } else { "needs_response" };
        let (kind, mut object) = dispute("charge.dispute.created", status);
        (object["id"], object["amount"]) = (json!(format!("du_{number:03}")), json!(10));
        ledger.take(&(kind, object));
    }
    let known = view::standing(&Tx::over(&ledger.db), "pi_1").unwrap();
    let stays = known.stays.map(|it| it.to_string());
    assert_eq!((stays.as_deref(), known.disputed), (Some("120.09"), true));
}

/// Nobody knows what is left then; of an inquiry or of a failed refund the look-up knows better.
#[test]
fn of_a_payment_of_which_unreadable_money_goes_back_nobody_says_what_stays() {
    for hook in [
        over(refund("refund.created", "re_1", 1, "pending"), "amount", &json!(1), &json!("xts")),
        over(charge_refunded(1), "amount_refunded", &json!(-5), &json!("usd")),
        over(dispute("charge.dispute.closed", "lost"), "amount", &json!("1"), &json!("usd")),
    ] {
        let mut ledger = Ledger::paid();
        assert_eq!(ledger.take(&hook), Verdict::UnreadableAmount);
        assert_eq!(view::standing(&Tx::over(&ledger.db), "pi_1").unwrap().stays, None, "{hook:?}");
    }
}

fn stays(ledger: &Ledger) -> Option<String> {
    let known = view::standing(&Tx::over(&ledger.db), "pi_1").unwrap();
    known.stays.map(|it| it.to_string())
}

/// Where all that was paid is known to be gone, nothing stays, whatever else is not known: more
/// cannot be here.
#[test]
fn of_a_payment_that_is_gone_nothing_stays_whatever_else_cannot_be_read() {
    for hook in [
        over(refund("refund.created", "re_2", 1, "pending"), "amount", &json!(1), &json!("xts")),
        over(charge_refunded(1), "amount_refunded", &json!(-5), &json!("usd")),
        over(dispute("charge.dispute.closed", "lost"), "amount", &json!("1"), &json!("usd")),
        over(dispute("charge.dispute.closed", "lost"), "amount", &json!(14_000), &json!("eur")),
    ] {
        let mut ledger = Ledger::paid();
        ledger.take(&refund("refund.created", "re_1", 14_999, "succeeded"));
        assert_eq!(stays(&ledger).as_deref(), Some("0.00"));
        ledger.take(&hook);
        assert_eq!(stays(&ledger).as_deref(), Some("0.00"), "{hook:?}");
    }
}
