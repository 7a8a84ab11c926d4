//! A payment at every moment at which it may come is earned or refunded, once.

use super::{
    shop::{SESSION, services},
    world::{PAID, PLACED, UNPAID, World, order, payment},
};
use crate::late_payment::Settled;
use saga_core::{
    effect::{Outcome, Verdict},
    fold::{Problem, Status},
    head::Head,
    input::Action,
    journal::Fact,
};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Brings an order to the moment in which its undos begin, before any money came.
type End = (&'static str, fn() -> World);

const BAD_ENDS: &[End] = &[
    ("rejected", || {
        let mut world = World::awaiting_approval();
        world.desk.decide(false, "too risky").unwrap();
        world
    }),
    ("nobody approved", || {
        let mut world = World::awaiting_approval();
        world.desk.wait_s(DAY.as_secs());
        world
    }),
    ("out of stock", || {
        let mut world = World::new(services(10));
        world.desk.event(PLACED, order());
        world.settle_without("inventory.reserve");
        world.desk.reject("inventory.reserve", "out_of_stock");
        world
    }),
    ("session refused", || {
        let mut world = World::new(services(10));
        world.desk.event(PLACED, order());
        world.settle_without("payments.create-session");
        world.desk.reject("payments.create-session", "bad_amount");
        world
    }),
    ("payment failed", || {
        let mut world = World::awaiting_payment();
        world.desk.event(UNPAID, payment(SESSION));
        world
    }),
    ("nobody paid", || {
        let mut world = World::awaiting_payment();
        world.desk.wait_s(DAY.as_secs());
        world
    }),
    ("cancelled at approval", || {
        let mut world = World::awaiting_approval();
        world.make(Action::Cancel).unwrap();
        world
    }),
    ("cancelled at payment", || {
        let mut world = World::awaiting_payment();
        world.make(Action::Cancel).unwrap();
        world
    }),
];

/// The same, after the money was taken.
const BAD_ENDS_AFTER_PAYMENT: &[End] = &[
    ("shipment refused", || {
        let mut world = paid_until("delivery.create-shipment");
        world.desk.reject("delivery.create-shipment", "no_carrier");
        world
    }),
    ("shipping refused", || {
        let mut world = paid_until("inventory.ship");
        world.desk.reject("inventory.ship", "nothing_reserved");
        world
    }),
    ("status refused", || {
        let mut world = paid_until("orders.update-status");
        world.desk.reject("orders.update-status", "unknown_order");
        world
    }),
    ("cancelled while shipping", || {
        let mut world = paid_until("inventory.ship");
        world.make(Action::Cancel).unwrap();
        world
    }),
];

/// The session was paid, and everything was served until this was asked.
fn paid_until(subject: &str) -> World {
    let mut world = World::awaiting_payment();
    world.desk.event_again("paid", PAID, payment(SESSION));
    world.settle_without(subject);
    world.look_at_order();
    world
}

fn once(session: &str) -> BTreeMap<String, usize> {
    BTreeMap::from([(session.to_owned(), 1)])
}

/// Goes to each moment of each unwinding, with and without a restart there, and does the test.
fn at_each_moment(ends: &[End], mut test: impl FnMut(&str, &mut World)) {
    let mut moments = 0;
    for (name, end) in ends {
        for reopened in [false, true] {
            let mut undos = 0;
            loop {
                let mut world = end();
                let served = (0..undos).filter(|_| world.serve_one()).count();
                if served < undos {
                    break;
                }
                if reopened {
                    world.desk.restart();
                }
                test(&format!("{name}, {undos} undos done, reopened {reopened}"), &mut world);
                undos += 1;
                moments += 1;
            }
        }
    }
    assert!(ends.len() * 6 <= moments, "only {moments} moments");
}

fn outcome(verdicts: &[Verdict]) -> Outcome {
    let [verdict] = verdicts else { panic!("one verdict: {verdicts:?}") };
    verdict.outcome
}

#[test]
fn money_that_comes_while_an_order_unwinds_or_has_ended_is_refunded_once() {
    at_each_moment(BAD_ENDS, |what, world| {
        let came = outcome(&world.pay_as("paid", SESSION));
        assert!(matches!(came, Outcome::Kept | Outcome::Late), "{what}: {came:?}");
        let shop = world.ends(Status::Cancelled);
        assert_eq!(shop.refunds, once(SESSION), "{what}\n{}", world.text());
        let [arm] = &world.late_arms()[..] else { panic!("{what}: one late arm") };
        assert_eq!((arm.status, arm.origin), (Status::Completed, Some(world.order().id)), "{what}");

        for restarts in [false, true] {
            if restarts {
                world.desk.restart();
            }
            assert_eq!(outcome(&world.pay_as("paid", SESSION)), Outcome::Duplicate, "{what}");
            assert_eq!(world.shop().refunds, once(SESSION), "{what}, told again");
        }
    });
}

#[test]
fn money_that_was_taken_before_it_went_wrong_is_refunded_once() {
    at_each_moment(BAD_ENDS_AFTER_PAYMENT, |what, world| {
        assert_eq!(outcome(&world.pay_as("paid", SESSION)), Outcome::Duplicate, "{what}");
        let shop = world.ends(Status::Cancelled);
        assert_eq!(shop.refunds, once(SESSION), "{what}\n{}", world.text());
        assert_eq!(world.late_arms().len(), 0, "{what}");
    });
}

/// Nobody told the saga that the other event is the same payment. The payment service knows: it
/// refunds a session once, under whatever key it is asked.
#[test]
fn a_refunded_payment_that_is_told_under_another_id_asks_for_the_refund_of_the_same_session() {
    at_each_moment(BAD_ENDS_AFTER_PAYMENT, |what, world| {
        world.pay_as("told again", SESSION);
        let shop = world.ends(Status::Cancelled);
        assert_eq!(shop.refunds.keys().collect::<Vec<_>>(), [SESSION], "{what}");
        assert_eq!(world.late_arms().len(), 1, "{what}");
    });
}

#[test]
fn money_of_a_second_session_is_refunded_once_whatever_became_of_the_first() {
    at_each_moment(BAD_ENDS_AFTER_PAYMENT, |what, world| {
        world.pay_as("second", "cs_other");
        world.pay_as("second", "cs_other");
        let shop = world.ends(Status::Cancelled);
        let both = BTreeMap::from([("cs_other".to_owned(), 1), (SESSION.to_owned(), 1)]);
        assert_eq!(shop.refunds, both, "{what}");
    });
}

#[test]
fn money_that_comes_in_the_turn_of_the_deadline_buys_the_goods_if_it_came_first() {
    let mut world = World::awaiting_payment();
    world.desk.skip(DAY);
    assert_eq!(outcome(&world.pay(SESSION)), Outcome::Consumed);
    world.desk.tick();
    let shop = world.tracked("delivered").ends(Status::Completed);
    assert_eq!((shop.shipped, shop.refunds.len()), (2, 0));
}

#[test]
fn money_that_comes_in_the_turn_of_the_deadline_goes_back_if_the_deadline_came_first() {
    let mut world = World::awaiting_payment();
    world.desk.wait_s(DAY.as_secs());
    assert_eq!(outcome(&world.pay(SESSION)), Outcome::Kept);
    let shop = world.ends(Status::Cancelled);
    assert_eq!((shop.shipped, shop.refunds), (0, once(SESSION)));
}

#[test]
fn money_that_the_broker_took_in_time_buys_the_goods_however_late_we_look() {
    let mut world = World::awaiting_payment();
    world.desk.intake_is_behind(true);
    world.desk.wait_s(2 * DAY.as_secs());
    assert_eq!(world.order().status, Status::Waiting, "the deadline is held");
    world.pay(SESSION);
    world.desk.intake_is_behind(false);
    world.desk.tick();
    let shop = world.tracked("delivered").ends(Status::Completed);
    assert_eq!((shop.shipped, shop.refunds.len()), (2, 0));
}

#[test]
fn money_of_a_completed_order_is_known_and_that_of_another_session_goes_back() {
    let mut world = World::awaiting_delivery().tracked("delivered");
    for reopened in [false, true] {
        if reopened {
            world.desk.restart();
        }
        assert_eq!(outcome(&world.pay_as("told again", SESSION)), outcome_of(reopened));
        assert_eq!(outcome(&world.pay_as("another", "cs_other")), outcome_of(reopened));
        let shop = world.ends(Status::Completed);
        assert_eq!(shop.refunds, once("cs_other"));
    }
    let settled = world.late_arms().into_iter().map(|it| it.output.unwrap().decode().unwrap());
    assert_eq!(settled.collect::<Vec<Settled>>(), [Settled::KnownAlready, Settled::Refunded]);
}

fn outcome_of(is_repeat: bool) -> Outcome {
    if is_repeat { Outcome::Duplicate } else { Outcome::Late }
}

#[test]
fn a_payment_that_fails_when_the_order_has_ended_means_nothing() {
    let mut world = World::awaiting_payment().cancelled();
    assert_eq!(outcome(&world.desk.event(UNPAID, payment(SESSION))), Outcome::Ignored);
    let mut world = World::awaiting_delivery();
    assert_eq!(outcome(&world.desk.event(UNPAID, payment(SESSION))), Outcome::Kept);
    let world = world.tracked("delivered");
    assert_eq!(world.ends(Status::Completed).refunds.len(), 0);
    assert_eq!(world.late_arms().len(), 0);
}

#[test]
fn money_is_refunded_for_120_days_and_shown_as_unclaimed_after_that() {
    let mut world = World::awaiting_payment().cancelled();
    world.desk.wait_s(120 * DAY.as_secs());
    assert_eq!(outcome(&world.pay(SESSION)), Outcome::Late);
    world.desk.wait_s(1);
    assert_eq!(outcome(&world.pay("cs_other")), Outcome::Unclaimed);
    assert_eq!(world.shop().refunds, once(SESSION));
}

/// Captured money is never silent: what cannot be refunded is for a person, who can have it tried
/// again.
#[test]
fn a_refund_that_is_refused_is_owed_until_a_person_has_it_tried_again() {
    let refusing = || services(10).on("payments.refund", |_| Err("insufficient_balance"));
    let late = World::new(refusing()).placed().cancelled().paid();
    let mut undone = World::new(refusing()).placed();
    undone.desk.event(PAID, payment(SESSION));
    undone.settle_without("inventory.ship");
    undone.make(Action::Cancel).unwrap();
    undone.settle();
    for mut world in [late, undone] {
        let owing = |it: &Head| it.status == Status::Attention;
        let saga = world.sagas().into_iter().find(owing).unwrap();
        let attention = saga.attention.unwrap();
        assert_eq!(attention.problem, Problem::UndoFailed);
        assert!(attention.message.contains("insufficient balance"), "{}", attention.message);
        world.services = std::mem::take(&mut world.services)
            .on("payments.refund", |_| Ok(json!({ "refundId": "re_1" })));
        world.desk.look_at(saga.id);
        world.desk.moved(Action::Retry);
        world.settle();
        assert_eq!(world.ends(Status::Cancelled).refunds, once(SESSION));
    }
}

/// The door lets no such event in; but if one gets through, it is seen.
#[test]
fn a_late_payment_that_cannot_be_read_is_for_a_person() {
    let mut world = World::awaiting_payment().cancelled().paid();
    let start = world.journal(world.late_arms()[0].id).remove(0).fact;
    let Fact::Started(start) = start else { panic!("a start") };
    let mut input = start.input.to_value();
    *input.pointer_mut("/event/body/p").unwrap() = json!({ "orderId": "o1" });
    let arm = world.desk.start("process-order.late", "o1", input);
    let attention = world.desk.head_of(arm).unwrap().attention.unwrap();
    assert_eq!(attention.problem, Problem::FailedAfterCommit);
    assert!(attention.message.contains("cannot be read"), "{}", attention.message);
}
