//! What the definitions promise beside the text of their journals.

use super::{
    paths::WAYS,
    shop::{SESSION, Shop, services},
    world::{PAID, PLACED, World, order, payment, registry_with},
};
use crate::{Settings, process_order::Limits};
use saga_core::{
    core::HeadQuery,
    effect::{Outcome, RefusalKind},
    fold::Status,
    input::Action,
    saga::Registry,
    testing::Desk,
};
use serde_json::{Value, json};

#[test]
fn a_manager_is_asked_from_a_score_of_70_and_never_below() {
    let asks = |score| {
        let world = World::new(services(score)).placed();
        let waits = world.order().waits;
        waits.iter().filter(|it| it.ask.is_some()).count()
    };
    assert_eq!([0, 69, 70, 100].map(asks), [0, 0, 1, 1]);
}

#[test]
fn what_a_manager_is_shown_tells_nothing_of_the_person() {
    let world = World::awaiting_approval();
    let ask = world.order().waits[0].ask.clone().unwrap();
    let shown = format!("{} {}", ask.title, ask.facts.text());
    for personal in ["Ada", "Lovelace", "ada@example.com", "James", "London", "SW1Y"] {
        assert!(!shown.contains(personal), "{personal} in {shown}");
    }
    assert_eq!(
        ask.facts.to_value(),
        json!({
            "orderId": "o1", "total": "100.00", "currency": "USD", "pieces": 2,
            "newCustomer": false, "country": "GB", "riskScore": 70, "reasons": ["new customer"]
        })
    );
}

#[test]
fn the_order_tells_for_what_it_waits_before_it_does() {
    let shows = |world: &World, status: &str, beside: Value| {
        let (head, shop) = (world.order(), world.shop());
        assert_eq!((head.status, head.calls.len()), (Status::Waiting, 0));
        assert_eq!(shop.status(), status);
        assert_eq!(json!(shop.beside), beside);
    };
    let world = World::awaiting_approval();
    shows(&world, "awaiting_approval", json!({ "riskScore": 70 }));
    let world = world.decided(true);
    let paying = json!({ "riskScore": 70, "paymentSessionId": SESSION });
    shows(&world, "awaiting_payment", paying);
    let parcel = |status: &str| {
        json!({
            "riskScore": 70, "paymentSessionId": SESSION,
            "shipment": {
                "shipmentId": "sh_1", "trackingNumber": "TRACK-1", "status": status
            }
        })
    };
    let world = world.paid();
    shows(&world, "shipped", parcel("created"));
    let world = world.tracked("in_transit");
    shows(&world, "shipped", parcel("in_transit"));
    let shop = world.tracked("delivered").ends(Status::Completed);
    assert_eq!(json!(shop.beside), parcel("delivered"));
    assert_eq!(
        shop.history,
        ["pending", "awaiting_approval", "awaiting_payment", "paid", "shipped", "completed"]
    );
}

#[test]
fn the_order_shows_its_risk_also_when_nobody_was_asked() {
    let beside = World::awaiting_payment().shop().beside;
    assert_eq!(json!(beside), json!({ "riskScore": 10, "paymentSessionId": SESSION }));
}

#[test]
fn only_the_payment_of_its_own_session_pays_an_order() {
    let mut world = World::awaiting_payment();
    world.pay("cs_other");
    assert_eq!(
        (world.order().status, world.shop().status()),
        (Status::Waiting, "awaiting_payment")
    );
    assert_eq!(world.paid().shop().status(), "shipped");
}

#[test]
fn a_mailbox_that_refuses_mail_holds_no_order_up() {
    let services = services(10).on("notifications.send", |_| Err("no_such_mailbox"));
    let world = World::new(services).placed().paid().tracked("delivered");
    let shop = world.ends(Status::Completed);
    assert_eq!((shop.status(), shop.mails.len()), ("completed", 0));
}

/// The ways to end badly, and the mail and the status in the end.
#[test]
fn whoever_gets_no_goods_is_told_once_and_why() {
    let out_of_stock = services(10).on("inventory.reserve", |_| Err("out_of_stock"));
    let no_carrier = services(10).on("delivery.create-shipment", |_| Err("no_carrier"));
    let mut failed = World::awaiting_payment();
    let mut body = payment(SESSION);
    body["reason"] = json!("card declined");
    failed.desk.event("payments.trigger.failed", body);
    failed.settle();
    for (world, why) in [
        (World::awaiting_approval().decided(false), "rejected: rejected by ann: as I see fit"),
        (World::new(out_of_stock).placed(), "rejected: inventory.reserve rejected: out of stock"),
        (
            World::new(no_carrier).placed().paid(),
            "rejected: delivery.create-shipment rejected: no carrier",
        ),
        (World::awaiting_approval().waited_h(24), "deadline: nobody approved the order in time"),
        (World::awaiting_payment().waited_h(24), "deadline: the payment did not come in time"),
        (failed, "failed: the payment failed: card declined"),
        (World::awaiting_payment().cancelled(), "cancelled: cancel please (ann)"),
    ] {
        is_cancelled(&world.ends(Status::Cancelled), why);
        let mail = world.services.ledger().0.last().cloned().unwrap();
        let kind = (mail.subject.as_str(), &mail.body["kind"], mail.why.as_deref());
        assert_eq!(kind, ("notifications.send", &json!("order_cancelled"), Some(why)));
    }
}

fn is_cancelled(shop: &Shop, why: &str) {
    assert_eq!((shop.status(), shop.cancelled_because.as_deref()), ("cancelled", Some(why)));
    assert_eq!((shop.mails("order_cancelled"), shop.mails("order_completed")), (1, 0));
    assert_eq!((shop.reserved, shop.shipped, shop.tickets), (0, 0, 0));
    assert!(!shop.has_session && !shop.has_parcel);
}

#[test]
fn an_order_whose_definition_is_gone_is_still_undone() {
    let mut world = World::awaiting_payment();
    world.desk.deploy(Registry::new("without it"));
    let world = world.cancelled();
    is_cancelled(&world.ends(Status::Cancelled), "cancelled: cancel please (ann)");
}

#[test]
fn a_cancel_is_refused_once_the_goods_have_left() {
    let mut world = World::awaiting_delivery();
    let refusal = world.make(Action::Cancel).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Conflict, "{}", refusal.detail);
    let shop = world.tracked("delivered").ends(Status::Completed);
    assert_eq!((shop.shipped, shop.mails("order_cancelled")), (2, 0));
}

#[test]
fn deadlines_are_those_with_which_the_order_was_placed() {
    let seconds = |it| Settings {
        process_order: Limits {
            approval_ms: it,
            payment_ms: it,
            delivery_ms: it,
            ..Limits::default()
        },
    };
    let mut world =
        World { desk: Desk::new(registry_with(&seconds(5_000))), services: services(70) };
    world.desk.event(PLACED, order());
    world.settle();
    world.desk.deploy(registry_with(&seconds(500_000)));
    world.desk.wait_ms(4_999);
    assert_eq!(world.order().status, Status::Waiting);
    let world = world.decided(true);
    let due = world.order().waits[0].due.unwrap();
    assert_eq!(due.0 - world.desk.now().0, 5_000, "of the payment");
    let mut world = world.paid();
    world.desk.wait_ms(4_999);
    assert_eq!(world.order().status, Status::Waiting);
    world.desk.wait_ms(1);
    world.settle();
    let shop = world.ends(Status::Completed);
    assert_eq!((shop.status(), shop.tickets), ("delivery_failed", 1));
}

/// The goods are with the courier from the moment when the warehouse lets them go, whatever the
/// order service does meanwhile.
#[test]
fn the_time_of_the_courier_begins_when_the_goods_leave() {
    let mut world = World::awaiting_payment();
    world.desk.event(PAID, payment(SESSION));
    world.settle_without("inventory.ship");
    world.serve_one();
    let left = world.desk.now();
    world.desk.wait_s(3600);
    world.settle();
    assert_eq!(world.order().waits[0].due, Some(left.after_ms(14 * 24 * 3600 * 1000)));
}

/// The saga has ended, its parcel has not.
#[test]
fn a_parcel_that_arrives_after_its_order_has_ended_is_shown_and_for_a_person() {
    let failed = || ["failed"; 3].into_iter().fold(World::awaiting_delivery(), World::tracked);
    let for_people = |world: &World| {
        let heads = world.sagas().into_iter().filter(|it| it.status == Status::Attention);
        heads.map(|it| it.attention.unwrap().message).collect::<Vec<_>>()
    };
    let world = failed().tracked("out_for_delivery").tracked("delivered");
    let (shop, people) = (world.shop(), for_people(&world));
    assert_eq!((shop.status(), people.len()), ("completed", 1), "{people:?}");
    assert!(people[0].contains("order o1 was delivered"), "{people:?}");
    let shipment = json!({
        "shipmentId": "sh_1", "trackingNumber": "TRACK-1", "status": "delivered"
    });
    assert_eq!(shop.beside["shipment"], shipment);
    // It came back, as the ticket says already.
    let world = failed().tracked("returned");
    let shop = world.shop();
    assert_eq!((shop.status(), for_people(&world).len()), ("delivery_failed", 0));
    assert_eq!(shop.beside["shipment"]["status"], "returned");
    // The courier only says it again.
    let world = World::awaiting_delivery().tracked("delivered").tracked("delivered");
    assert_eq!(for_people(&world).len(), 0);
    // What nobody was to have any more.
    let world = World::awaiting_payment().cancelled().tracked("delivered");
    assert_eq!((world.shop().status(), for_people(&world).len()), ("cancelled", 1));
}

#[test]
fn an_order_placed_twice_is_one_order() {
    let mut world = World::awaiting_payment();
    let outcome = |world: &mut World, body: Value| world.desk.event(PLACED, body)[0].outcome;
    assert_eq!(outcome(&mut world, order()), Outcome::DuplicateStart);
    let other = json!({ "total": "50.00", "items": [
        { "sku": "WIDGET-001", "quantity": 1, "price": "50.00" }
    ]});
    let mut changed = order();
    for (name, value) in other.as_object().unwrap() {
        changed[name] = value.clone();
    }
    assert_eq!(outcome(&mut world, changed), Outcome::ConflictingStart);
    assert_eq!(world.sagas().len(), 1);
}

#[test]
fn an_order_takes_only_what_is_for_it() {
    let mut world = World::awaiting_payment();
    let mut second = order();
    second["orderId"] = json!("o2");
    world.desk.event(PLACED, second);
    world.settle();
    let second = world.desk.saga();
    let mut body = payment(SESSION); // Its session has the same id in this world.
    body["orderId"] = json!("o2");
    world.desk.event(PAID, body);
    assert_eq!(world.desk.head_of(second).unwrap().waits.len(), 0, "it goes on");
    assert_eq!(world.order().status, Status::Waiting, "and the first one waits");
}

#[test]
fn an_approval_from_the_street_is_refused() {
    let mut world = World::awaiting_approval();
    let forged = json!({ "orderId": "o1", "approved": true, "by": "mallory" });
    let verdicts = world.desk.event("orders.trigger.approved", forged);
    assert_eq!(verdicts[0].outcome, Outcome::Refused);
    assert_eq!(world.order().status, Status::Waiting);
}

#[test]
fn each_refund_is_recorded_once() {
    let mut world = World::awaiting_payment().cancelled().paid();
    let refunded = json!({
        "orderId": "o1", "sessionId": SESSION, "refundId": "re_1",
        "amount": "100.00", "currency": "USD", "status": "pending"
    });
    for _ in 0..2 {
        world.desk.event_again("re_1", "payments.trigger.refunded", refunded.clone());
        world.desk.event("payments.trigger.refunded", refunded.clone());
        world.settle();
    }
    let shop = world.ends(Status::Cancelled);
    assert_eq!(shop.refunds_shown.into_iter().collect::<Vec<_>>(), ["re_1"]);
    let shown = world.services.ledger().bodies("orders.update-status");
    assert_eq!(shown.iter().filter(|it| it.get("refund").is_some()).count(), 1);
    assert_eq!(shop.history.last().unwrap(), "cancelled", "the status does not move");
}

/// Their keys are the provider's: whoever has an order in hand finds what was told of its money.
#[test]
fn refunds_and_disputes_are_found_by_their_order() {
    let world = World::awaiting_delivery().refunded("re_1", "failed").disputed("du_1", "lost");
    let query = HeadQuery { search: Some("o1".to_owned()), limit: 100, ..HeadQuery::default() };
    let found = world.desk.core().heads(&query).unwrap();
    let mut found: Vec<_> = found.into_iter().map(|it| it.definition).collect();
    found.sort();
    assert_eq!(found, ["process-order", "record-dispute", "record-refund"]);
}

#[test]
fn on_every_way_the_customer_is_found_by_mail_and_no_key_of_the_store_tells_who() {
    for (name, way) in WAYS {
        let world = way();
        let search = Some(" Ada@EXAMPLE.com".to_owned());
        let query = HeadQuery { search, limit: 100, ..HeadQuery::default() };
        let found = world.desk.core().heads(&query).unwrap();
        let sagas = world.sagas();
        let of_customer = sagas.iter().filter(|it| it.definition.starts_with("process-order"));
        assert_eq!(found.len(), of_customer.count(), "{name}: late arms as well");
        for ((table, key), _) in world.desk.store().all_rows() {
            let key = String::from_utf8_lossy(key).to_lowercase();
            let tells = ["ada@", "lovelace", "example", "james"].iter().any(|it| key.contains(it));
            assert!(!tells, "{name}: a key of {table:?} tells who: {key}");
        }
    }
}
