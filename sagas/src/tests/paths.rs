//! Every way through the sagas, by name.

use super::{
    shop::{SESSION, services},
    world::{PAID, PLACED, TRACKED, UNPAID, World, order, payment, tracked},
};
use saga_core::input::Action;
use serde_json::json;

/// One way: its name, and how to go it.
pub(super) type Way = (&'static str, fn() -> World);

/// Each has its golden file.
pub(super) const WAYS: &[Way] = &[
    ("low_risk_delivered", low_risk_delivered),
    ("approved", approved),
    ("rejected", rejected),
    ("approval_deadline", approval_deadline),
    ("payment_failed", payment_failed),
    ("payment_deadline", payment_deadline),
    ("paid_in_time_told_late", paid_in_time_told_late),
    ("paid_slowly", paid_slowly),
    ("paid_too_slowly", paid_too_slowly),
    ("out_of_stock", out_of_stock),
    ("session_rejected", session_rejected),
    ("session_rejected_before_mail", session_rejected_before_mail),
    ("session_rejected_mail_silent", session_rejected_mail_silent),
    ("confirmation_refused", confirmation_refused),
    ("shipment_rejected", shipment_rejected),
    ("ship_rejected", ship_rejected),
    ("ship_unanswered_cancelled", ship_unanswered_cancelled),
    ("cancelled_at_approval", cancelled_at_approval),
    ("cancelled_at_payment", cancelled_at_payment),
    ("cancelled_while_reserving", cancelled_while_reserving),
    ("cancel_refused_at_delivery", cancel_refused_at_delivery),
    ("statuses_on_the_way", statuses_on_the_way),
    ("delivery_failed", delivery_failed),
    ("delivered_at_last", delivered_at_last),
    ("returned_at_last", returned_at_last),
    ("returned", returned),
    ("delivered_after_the_last_failure", delivered_after_the_last_failure),
    ("overdue", overdue),
    ("early_payment", early_payment),
    ("early_delivery", early_delivery),
    ("other_session_stays", other_session_stays),
    ("other_money_accepted", other_money_accepted),
    ("other_money_given_back", other_money_given_back),
    ("other_money_left_lying", other_money_left_lying),
    ("money_back_shipped", money_back_shipped),
    ("money_back_kept", money_back_kept),
    ("money_back_left_lying", money_back_left_lying),
    ("disputed_shipped", disputed_shipped),
    ("disputed_kept", disputed_kept),
    ("disputed_again_shipped", disputed_again_shipped),
    ("disputed_left_lying", disputed_left_lying),
    ("disputed_shipped_while_it_goes_back", disputed_shipped_while_it_goes_back),
    ("shipped_slowly", shipped_slowly),
    ("shipped_slowly_and_kept", shipped_slowly_and_kept),
    ("shipped_slowly_and_disputed", shipped_slowly_and_disputed),
    ("paid_while_unwinding", paid_while_unwinding),
    ("paid_while_paused_then_cancelled", paid_while_paused_then_cancelled),
    ("cancelled_then_paid", cancelled_then_paid),
    ("terminated_then_paid", terminated_then_paid),
    ("terminated_on_the_way_then_told_again", terminated_on_the_way_then_told_again),
    ("completed_then_told_again", completed_then_told_again),
    ("completed_then_paid_by_another", completed_then_paid_by_another),
    ("late_refund_refused", late_refund_refused),
    ("refund_recorded", refund_recorded),
    ("refund_failed", refund_failed),
    ("disputed_and_lost", disputed_and_lost),
];

fn low_risk_delivered() -> World {
    World::awaiting_delivery().tracked("delivered")
}

fn approved() -> World {
    World::awaiting_approval().decided(true).paid().tracked("delivered")
}

fn rejected() -> World {
    World::awaiting_approval().decided(false)
}

fn approval_deadline() -> World {
    World::awaiting_approval().waited_h(24)
}

fn payment_failed() -> World {
    let mut world = World::awaiting_payment();
    let mut body = payment(SESSION);
    body["reason"] = json!("card declined");
    world.desk.event(UNPAID, body);
    world.settle();
    world
}

fn payment_deadline() -> World {
    World::awaiting_payment().waited_h(24)
}

/// The provider's word is lost, and the payment service hears of the payment when it asks.
fn paid_in_time_told_late() -> World {
    let mut world = World::awaiting_payment().provider_says("paid").waited_h(24);
    world.pay(SESSION);
    world.tracked("delivered")
}

/// By a method that takes days.
fn paid_slowly() -> World {
    let mut world = World::awaiting_payment().provider_says("processing").waited_h(24);
    world.desk.wait_s(4 * 24 * 3600);
    world.pay(SESSION);
    world.tracked("delivered")
}

fn paid_too_slowly() -> World {
    let mut world = World::awaiting_payment().provider_says("processing").waited_h(24);
    world.desk.wait_s(14 * 24 * 3600);
    world.settle();
    world
}

fn out_of_stock() -> World {
    World::new(services(10).on("inventory.reserve", |_| Err("out_of_stock"))).placed()
}

fn session_rejected() -> World {
    World::new(services(10).on("payments.create-session", |_| Err("bad_amount"))).placed()
}

fn session_rejected_before_mail() -> World {
    let mut world = World::new(services(10).on("payments.create-session", |_| Err("bad_amount")));
    world.desk.event(PLACED, order());
    world.settle_without("notifications.send");
    world.settle();
    world
}

fn session_rejected_mail_silent() -> World {
    let mut world = World::new(services(10).on("payments.create-session", |_| Err("bad_amount")));
    world.desk.event(PLACED, order());
    world.settle_without("notifications.send");
    world.desk.wait_s(30);
    world.settle();
    world
}

fn confirmation_refused() -> World {
    let services = services(10).on("notifications.send", |it| match it["kind"].as_str() {
        Some("order_confirmed") => Err("no_such_mailbox"),
        _ => Ok(json!({ "messageId": "<1@shop>" })),
    });
    World::new(services).placed().paid().tracked("delivered")
}

fn shipment_rejected() -> World {
    World::new(services(10).on("delivery.create-shipment", |_| Err("no_carrier"))).placed().paid()
}

fn ship_rejected() -> World {
    World::new(services(10).on("inventory.ship", |_| Err("nothing_reserved"))).placed().paid()
}

/// The warehouse has sent the goods, but nobody knows.
fn ship_unanswered_cancelled() -> World {
    let mut world = World::awaiting_payment();
    world.desk.event(PAID, payment(SESSION));
    world.settle_without("inventory.ship");
    let ship = world.desk.requests().remove(0);
    world.services.ask(&ship);
    world.cancelled()
}

fn cancelled_at_approval() -> World {
    World::awaiting_approval().cancelled()
}

fn cancelled_at_payment() -> World {
    World::awaiting_payment().cancelled()
}

/// The warehouse hears of the cancel first.
fn cancelled_while_reserving() -> World {
    let mut world = World::new(services(10));
    world.desk.event(PLACED, order());
    world.settle_without("inventory.reserve");
    let reserve = world.desk.requests().remove(0);
    let mut world = world.cancelled();
    let answer = world.services.ask(&reserve);
    world.desk.answer(&reserve.id, answer);
    world
}

fn cancel_refused_at_delivery() -> World {
    let mut world = World::awaiting_delivery();
    assert!(world.make(Action::Cancel).is_err());
    world.tracked("delivered")
}

fn statuses_on_the_way() -> World {
    ["picked_up", "in_transit", "out_for_delivery", "delivered"]
        .into_iter()
        .fold(World::awaiting_delivery(), World::tracked)
}

/// The courier tries three times, and then no more.
fn delivery_failed() -> World {
    ["failed", "in_transit", "failed", "failed"]
        .into_iter()
        .fold(World::awaiting_delivery(), World::tracked)
}

fn delivered_at_last() -> World {
    ["failed", "out_for_delivery", "delivered"]
        .into_iter()
        .fold(World::awaiting_delivery(), World::tracked)
}

fn delivered_after_the_last_failure() -> World {
    delivery_failed().tracked("out_for_delivery").tracked("delivered")
}

fn returned_at_last() -> World {
    World::awaiting_delivery().tracked("failed").tracked("returned")
}

fn returned() -> World {
    World::awaiting_delivery().tracked("returned")
}

/// A courier who says something on the way has no more time for it.
fn overdue() -> World {
    World::awaiting_delivery().waited_h(13 * 24).tracked("picked_up").waited_h(24)
}

/// The customer pays before the saga holds for it.
fn early_payment() -> World {
    let mut world = World::new(services(10));
    world.desk.event(PLACED, order());
    world.settle_without("orders.update-status");
    world.desk.event(PAID, payment(SESSION));
    world.settle();
    world.tracked("delivered")
}

/// The courier is faster than the warehouse.
fn early_delivery() -> World {
    let mut world = World::awaiting_payment();
    world.desk.event(PAID, payment(SESSION));
    world.settle_without("inventory.ship");
    world.desk.event(TRACKED, tracked("picked_up"));
    world.desk.event(TRACKED, tracked("delivered"));
    world.settle();
    world
}

fn other_session_stays() -> World {
    let mut world = World::awaiting_payment();
    world.pay("cs_other");
    world.paid().tracked("delivered")
}

fn other_money_accepted() -> World {
    World::holding_other_money("90.00", "USD").decided(true).tracked("delivered")
}

fn other_money_given_back() -> World {
    World::holding_other_money("100.00", "EUR").decided(false)
}

fn other_money_left_lying() -> World {
    World::holding_other_money("10000", "JPY").waited_h(24)
}

fn money_back_shipped() -> World {
    World::paid_and_left("0.00").decided(true).tracked("delivered")
}

fn money_back_kept() -> World {
    World::paid_and_left("0.00").decided(false)
}

fn money_back_left_lying() -> World {
    World::paid_and_left("0.00").waited_h(24)
}

fn disputed_shipped() -> World {
    World::paid_and_disputed().decided(true).tracked("delivered")
}

fn disputed_kept() -> World {
    World::paid_and_disputed().decided(false)
}

/// Another dispute opens while a manager thinks about the first.
fn disputed_again_shipped() -> World {
    let world = World::awaiting_payment().ledger_names(&["du_1"]).paid();
    world.ledger_names(&["du_2"]).decided(true).decided(true).tracked("delivered")
}

fn disputed_left_lying() -> World {
    World::paid_and_disputed().waited_h(24)
}

/// A manager has it sent though it is disputed, and the bank decides while the warehouse is silent.
fn disputed_shipped_while_it_goes_back() -> World {
    let mut world = World::paid_and_disputed();
    world.look_at_order();
    world.desk.decide(true, "as I see fit").unwrap();
    world.settle_without("inventory.ship");
    world.desk.wait_s(60);
    world.ledger_says("0.00", false).settled().decided(true).tracked("delivered")
}

fn shipped_slowly() -> World {
    World::shipping_slowly().settled().tracked("delivered")
}

fn shipped_slowly_and_kept() -> World {
    World::shipping_slowly().ledger_says("0.00", false).settled().decided(false)
}

fn shipped_slowly_and_disputed() -> World {
    World::shipping_slowly()
        .ledger_says("100.00", true)
        .settled()
        .decided(true)
        .tracked("delivered")
}

fn paid_while_unwinding() -> World {
    let mut world = World::awaiting_payment();
    world.make(Action::Cancel).unwrap();
    world.serve_one();
    world.desk.event(PAID, payment(SESSION));
    world.settle();
    world
}

fn paid_while_paused_then_cancelled() -> World {
    let mut world = World::awaiting_payment();
    world.make(Action::Pause).unwrap();
    world.desk.event(PAID, payment(SESSION));
    world.make(Action::Cancel).unwrap();
    world.make(Action::Resume).unwrap();
    world.settle();
    world
}

fn cancelled_then_paid() -> World {
    World::awaiting_payment().cancelled().paid()
}

fn terminated_then_paid() -> World {
    let mut world = World::awaiting_payment();
    world.make(Action::Terminate).unwrap();
    world.paid()
}

/// The goods have left: nobody may pay them back in silence.
fn terminated_on_the_way_then_told_again() -> World {
    let mut world = World::awaiting_delivery();
    world.make(Action::Terminate).unwrap();
    world.paid()
}

fn completed_then_told_again() -> World {
    low_risk_delivered().paid()
}

fn completed_then_paid_by_another() -> World {
    let mut world = low_risk_delivered();
    world.pay("cs_other");
    world
}

/// The provider pays back when it is asked again.
fn late_refund_refused() -> World {
    let services = services(10).on("payments.refund", |_| Err("insufficient_balance"));
    let mut world = World::new(services).placed().cancelled().paid();
    world.services = std::mem::take(&mut world.services)
        .on("payments.refund", |_| Ok(json!({ "refundId": "re_1" })));
    world.desk.moved(Action::Retry);
    world.settle();
    world
}

fn refund_recorded() -> World {
    cancelled_then_paid().refunded("re_1", "succeeded")
}

/// The customer's bank sends it back.
fn refund_failed() -> World {
    refund_recorded().refunded("re_1/failed", "failed")
}

fn disputed_and_lost() -> World {
    let world = low_risk_delivered().disputed("du_1", "needs_response");
    world.disputed("du_1/under_review", "under_review").disputed("du_1/lost", "lost")
}
