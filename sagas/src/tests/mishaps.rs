//! Everything that can go wrong, one thing at a time: each call refused, unanswered, exhausted and
//! repeated, each undo repeated and refused, every move and a restart at every step, every order of
//! replies, and stray events at every step. Whatever happened, the shop is clean in the end.

use super::{
    shop::{PIECES, SESSION, Shop, services},
    world::{PAID, TRACKED, UNPAID, order, payment, registry, tracked},
};
use saga_core::{
    fold::Status,
    head::Head,
    testing::{Mishap, Outcome, Pick, Scenario, Services, Unanswered},
};
use serde_json::json;

const APPROVED: &str = "orders.trigger.approved";

fn scenario(make: impl Fn() -> Services + 'static) -> Scenario {
    Scenario::new(registry(), "process-order", "o1", order()).services(make).clean(clean)
}

/// Asked about, approved, paid, sent and delivered.
fn long_way() -> Scenario {
    scenario(|| services(70))
        .decision(APPROVED, true)
        .event(PAID, payment(SESSION))
        .event(TRACKED, tracked("in_transit"))
        .event(TRACKED, tracked("delivered"))
}

/// What holds at every end.
fn clean(outcome: &Outcome) {
    let shop = Shop::after(&outcome.ledger);
    for kind in ["order_confirmed", "order_completed", "order_cancelled"] {
        assert!(shop.mails(kind) <= 1, "one {kind} mail");
    }
    let late_arms = outcome.heads.iter().filter(|it| it.definition == "process-order.late");
    let late_arms: Vec<&Head> = late_arms.collect();
    assert!(late_arms.iter().all(|it| it.status == Status::Completed), "late money is settled");
    // A cancel after the first telling and one late arm for each further one may all ask for it:
    // the payment service pays a session back once.
    let asked = |session: &str| shop.refunds.get(session).copied().unwrap_or_default();
    assert!(asked("cs_other") <= 1, "money of the other session goes back once");
    assert!(asked(SESSION) <= late_arms.len() + 1);
    let has_gone = match outcome.status {
        Status::Completed => {
            let is_delivered = shop.status() == "completed";
            assert!(is_delivered || shop.status() == "delivery_failed", "{}", shop.status());
            assert!(is_delivered || 1 <= shop.tickets, "the support knows");
            assert!(shop.tickets <= 2, "once of the first failure, and once of the end");
            true
        }
        // The order service refused to record what happened when the goods had gone.
        Status::Attention => true,
        Status::Cancelled | Status::Failed => false,
        // An operator took it over as it was.
        Status::Terminated => return,
        other => panic!("{other:?} is no end"),
    };
    if has_gone {
        assert_eq!((shop.reserved, shop.shipped), (0, PIECES), "paid and sent");
        assert!(shop.has_parcel);
        assert_eq!(asked(SESSION), 0, "nothing is both shipped and refunded");
        assert_eq!(shop.mails("order_cancelled"), 0);
    } else {
        assert_eq!((shop.reserved, shop.shipped), (0, 0), "everything is on the shelf");
        assert!(!shop.has_session && !shop.has_parcel);
        let came = format!("received {PAID}");
        if outcome.text.contains(&came) {
            assert!(1 <= asked(SESSION), "who gets no goods gets the money");
        }
        assert_eq!((shop.mails("order_cancelled"), shop.mails("order_completed")), (1, 0));
        assert_eq!((shop.status(), shop.tickets), ("cancelled", 0));
        assert!(shop.cancelled_because.is_some(), "and the reason");
    }
}

/// Each call refused, lost and answered for nobody, with what is under way taken in other orders:
/// the join is lost each way.
#[test]
fn an_order_survives_what_goes_wrong_in_any_order() {
    let scenario = long_way();
    let calls = scenario.run(Mishap::None).calls;
    assert_eq!(calls.len(), 14, "{calls:?}");
    for call in calls {
        for pick in [Pick::Last, Pick::Seed(1), Pick::Seed(2), Pick::Seed(3)] {
            scenario.run_with(Mishap::Refused(call.clone()), pick);
            for lost in [Unanswered::NeverArrived, Unanswered::ReplyLost] {
                scenario.run_with(Mishap::Unanswered(call.clone(), lost), pick);
            }
        }
    }
}

fn try_all(scenario: &Scenario) {
    println!("{} runs", scenario.try_all());
}

#[test]
fn an_order_that_a_manager_approves_survives_whatever_goes_wrong() {
    try_all(&long_way());
}

#[test]
fn an_order_that_is_not_delivered_survives_whatever_goes_wrong() {
    let paid = scenario(|| services(10)).event(PAID, payment(SESSION));
    let failed = paid.event(TRACKED, tracked("failed"));
    try_all(&failed.event(TRACKED, tracked("returned")));
}

#[test]
fn an_order_that_is_overdue_survives_whatever_goes_wrong() {
    try_all(&scenario(|| services(10)).event(PAID, payment(SESSION)));
}

#[test]
fn an_order_that_is_rejected_survives_whatever_goes_wrong() {
    try_all(&scenario(|| services(70)).decision(APPROVED, false).ends(Status::Cancelled));
}

#[test]
fn an_order_that_nobody_approves_survives_whatever_goes_wrong() {
    try_all(&scenario(|| services(70)).ends(Status::Cancelled));
}

#[test]
fn an_order_that_nobody_pays_survives_whatever_goes_wrong() {
    try_all(&scenario(|| services(10)).ends(Status::Cancelled));
}

#[test]
fn an_order_whose_payment_fails_survives_whatever_goes_wrong() {
    let failed = scenario(|| services(10)).event(UNPAID, payment(SESSION));
    try_all(&failed.ends(Status::Cancelled));
}

#[test]
fn an_order_that_a_service_refuses_survives_whatever_goes_wrong() {
    for subject in ["payments.create-session", "inventory.ship"] {
        let refused = scenario(move || services(10).on(subject, |_| Err("never")));
        try_all(&refused.event(PAID, payment(SESSION)).ends(Status::Cancelled));
    }
}

#[test]
fn a_late_payment_survives_whatever_goes_wrong() {
    let input = json!({
        "ended": {
            "id": "019b76da-a800-7000-8000-000000000000", "key": "o1", "outcome": "cancelled",
            "endedAt": 1_767_225_600_000_u64, "output": null, "reason": "nobody paid"
        },
        "event": { "name": PAID, "id": "e1", "body": { "k": 0, "p": payment(SESSION) } }
    });
    let late = Scenario::new(registry(), "process-order.late", "o1", input)
        .services(|| services(10))
        .clean(|it| {
            let refunds = Shop::after(&it.ledger).refunds.values().sum::<usize>();
            // Refused for good, it is asked for once more as an undo.
            assert!(refunds <= 1 && (refunds == 1 || it.status != Status::Completed));
        });
    try_all(&late);
}

#[test]
fn the_record_of_a_refund_survives_whatever_goes_wrong() {
    let refunded = json!({
        "orderId": "o1", "sessionId": SESSION, "refundId": "re_1",
        "amount": "100.00", "currency": "USD", "status": "pending"
    });
    let record = Scenario::new(registry(), "record-refund", "re_1", refunded)
        .services(|| services(10))
        .clean(|it| {
            let shown = Shop::after(&it.ledger).refunds_shown.len();
            assert!(shown == 1 || it.status != Status::Completed);
        });
    try_all(&record);
}

/// At each step, and once more after the end: the saga that is not cancelled is paid by it or knows
/// it, and the one that is cancelled gives it back.
#[test]
fn the_payment_may_be_told_at_any_step_and_under_another_id() {
    let scenario = long_way().stray(PAID, payment(SESSION));
    each_stray(&scenario, |outcome, shop| {
        let refunds = shop.refunds.get(SESSION).copied().unwrap_or_default();
        match outcome.status {
            Status::Completed => assert_eq!(refunds, 0),
            _ => assert!((1..=2).contains(&refunds), "{refunds} refunds"),
        }
    });
}

#[test]
fn a_payment_of_another_session_may_come_at_any_step_and_goes_back_once() {
    let scenario = long_way().stray(PAID, payment("cs_other"));
    each_stray(&scenario, |_, shop| assert_eq!(shop.refunds.get("cs_other"), Some(&1)));
}

#[test]
fn the_courier_may_speak_at_any_step() {
    let scenario = long_way().stray(TRACKED, tracked("delivered"));
    each_stray(&scenario, |outcome, shop| match outcome.status {
        Status::Completed => assert_eq!(shop.status(), "completed"),
        _ => assert_eq!(shop.status(), "cancelled"),
    });
}

#[test]
fn a_failed_payment_may_come_at_any_step() {
    let scenario = long_way().stray(UNPAID, payment(SESSION));
    each_stray(&scenario, |outcome, shop| {
        // The payment that was told first decides; money that came after all goes back.
        let is_paid = outcome.text.contains(&format!("received {PAID}"));
        let refunds = shop.refunds.get(SESSION).copied().unwrap_or_default();
        let is_refunded = is_paid && outcome.status != Status::Completed;
        assert_eq!(refunds, usize::from(is_refunded));
    });
}

/// The stray at each step, alone and behind a cancel, and again after the end.
fn each_stray(scenario: &Scenario, check: impl Fn(&Outcome, &Shop)) {
    let steps = scenario.run(Mishap::None).steps;
    assert!(15 < steps, "a way of {steps} steps");
    for step in 0..=steps {
        for mishap in [Mishap::StrayAt(step, 0), Mishap::CancelAndStrayAt(step, 0)] {
            let outcome = scenario.run(mishap);
            check(&outcome, &Shop::after(&outcome.ledger));
        }
    }
}
