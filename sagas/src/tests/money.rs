//! A payment at every moment at which it may come is earned or refunded, once.

use super::{
    shop::{PIECES, SESSION, services},
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
use serde_json::{Value, json};
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

/// What the saga of the order asked to be paid back.
fn asked_back(world: &World) -> Vec<Value> {
    let acts = world.services.ledger().0.iter();
    acts.filter(|it| it.subject == "payments.refund").map(|it| it.body.clone()).collect()
}

#[test]
fn money_that_is_not_what_the_order_costs_is_held_for_a_person() {
    for (amount, currency, is_held) in [
        ("100.00", "USD", false),
        ("100", "USD", false),
        ("99.99", "USD", true),
        ("100.01", "USD", true),
        ("0", "USD", true),
        ("1.00", "USD", true),
        ("100.00", "EUR", true),
        ("10000", "JPY", true),
        ("100.000", "KWD", true),
    ] {
        for reopened in [false, true] {
            let what = format!("{amount} {currency}, reopened {reopened}");
            let mut world = World::holding_other_money(amount, currency);
            if reopened {
                world.desk.restart();
            }
            let asks = world.order().waits.into_iter().filter_map(|it| it.ask);
            let asks: Vec<_> = asks.collect();
            assert_eq!((asks.len() == 1, world.shop().shipped == 0), (is_held, is_held), "{what}");
            let [ask] = &asks[..] else { continue };
            let facts = ask.facts.to_value();
            assert_eq!([&facts["total"], &facts["currency"]], ["100.00", "USD"], "{what}");
            assert_eq!([&facts["paid"], &facts["paidCurrency"]], [amount, currency], "{what}");
            assert!(ask.title.contains(&format!("{amount} {currency}")), "{what}: {}", ask.title);
            assert_eq!(world.shop().status(), "awaiting_payment", "{what}");
        }
    }
}

#[test]
fn other_money_buys_the_goods_if_a_person_accepts_it() {
    let world = World::holding_other_money("90.00", "USD").decided(true).tracked("delivered");
    let shop = world.ends(Status::Completed);
    assert_eq!((shop.shipped, shop.refunds.len()), (2, 0));
}

#[test]
fn other_money_goes_back_as_it_came_unless_a_person_accepts_it() {
    type Refused = fn(World) -> World;
    let ways: [(&str, Refused); 3] = [
        ("refused", |it| it.decided(false)),
        ("nobody decided", |it| it.waited_h(24)),
        ("cancelled", World::cancelled),
    ];
    for (what, refused) in ways {
        let world = refused(World::holding_other_money("90.00", "EUR"));
        let shop = world.ends(Status::Cancelled);
        assert_eq!((shop.available, shop.shipped), (10, 0), "{what}");
        let paid = json!({
            "orderId": "o1", "sessionId": SESSION, "paymentId": "pi_cs_1",
            "amount": "90.00", "currency": "EUR"
        });
        assert_eq!(asked_back(&world), [paid], "{what}");
    }
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

/// Whoever gave it back, and however: goods for which nobody has paid leave by a person's word.
#[test]
fn goods_whose_money_went_back_wait_for_a_person() {
    let held = World::paid_and_left("0.00");
    assert_eq!(held.order().status, Status::Waiting, "{}", held.text());
    assert_eq!((held.shop().shipped, held.shop().status()), (0, "paid"));
    let shop = held.decided(true).tracked("delivered").ends(Status::Completed);
    assert_eq!((shop.shipped, shop.refunds.len()), (PIECES, 0));

    for end in [|it: World| it.decided(false), |it: World| it.waited_h(24), World::cancelled] {
        let world = end(World::paid_and_left("0.00"));
        let shop = world.ends(Status::Cancelled);
        assert_eq!((shop.shipped, shop.reserved, shop.has_parcel), (0, 0, false));
        // What the payment service gives back is the rest of it, and there is none.
        assert_eq!(shop.refunds, once(SESSION), "{}", world.text());
    }
    // A part that was given back is between the customer and whoever did so.
    let shop = World::paid_and_left("0.01").tracked("delivered").ends(Status::Completed);
    assert_eq!(shop.shipped, PIECES);
}

#[test]
fn a_payment_service_that_knows_nothing_of_the_money_holds_no_goods_back() {
    let services = services(10).on("payments.process", |_| Err("unknown_session"));
    let world = World::new(services).placed().paid().tracked("delivered");
    assert_eq!(world.ends(Status::Completed).shipped, PIECES);
}

/// An order that was paid in time is not given up because nobody has heard of it.
#[test]
fn money_that_the_provider_has_at_the_deadline_buys_the_goods_when_its_word_comes() {
    let mut world = World::awaiting_payment().provider_says("paid").waited_h(24);
    assert_eq!(world.order().status, Status::Waiting, "{}", world.text());
    world.pay(SESSION);
    let shop = world.tracked("delivered").ends(Status::Completed);
    assert_eq!((shop.shipped, shop.refunds.len()), (PIECES, 0));

    // The word is not awaited for ever, and goes back when it comes in the end.
    let mut world = World::awaiting_payment().provider_says("paid").waited_h(24).waited_h(1);
    assert_eq!(world.order().status, Status::Cancelled, "{}", world.text());
    world.pay(SESSION);
    assert_eq!(world.ends(Status::Cancelled).refunds, once(SESSION));
}

#[test]
fn money_that_is_on_its_way_at_the_deadline_is_awaited_once_and_for_as_long_as_is_set() {
    let on_its_way = || World::awaiting_payment().provider_says("processing").waited_h(24);
    let mut world = on_its_way().waited_h(14 * 24 - 1);
    assert_eq!(world.order().status, Status::Waiting, "{}", world.text());
    world.pay(SESSION);
    assert_eq!(world.tracked("delivered").ends(Status::Completed).shipped, PIECES);

    // It is asked once more: the word of this may be late too.
    let mut world = on_its_way().provider_says("paid").waited_h(14 * 24);
    assert_eq!(world.order().status, Status::Waiting, "{}", world.text());
    world.pay(SESSION);
    assert_eq!(world.tracked("delivered").ends(Status::Completed).shipped, PIECES);

    for says in ["processing", "failed", "expired", "open"] {
        let shop = on_its_way().provider_says(says).waited_h(14 * 24).ends(Status::Cancelled);
        assert_eq!((shop.reserved, shop.has_session), (0, false), "{says}");
    }
    let mut world = on_its_way();
    world.desk.event(UNPAID, payment(SESSION));
    world.settle();
    world.ends(Status::Cancelled);
}

/// What another session of the order came to says nothing of this one.
#[test]
fn an_order_is_given_up_at_its_deadline_whatever_the_provider_says_of_another_session() {
    let services = services(10).on("payments.process", |_| {
        Ok(json!({ "orderId": "o1", "sessionId": "cs_other", "status": "paid" }))
    });
    World::new(services).placed().waited_h(24).ends(Status::Cancelled);
    let services = self::services(10).on("payments.process", |_| Err("unknown_session"));
    World::new(services).placed().waited_h(24).ends(Status::Cancelled);
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

/// The saga that a person has to look at, and why.
fn for_a_person(world: &World) -> Vec<(String, String)> {
    let heads = world.sagas().into_iter().filter(|it| it.status == Status::Attention);
    heads.map(|it| (it.key, it.attention.unwrap().message)).collect()
}

#[test]
fn a_refund_that_has_failed_is_shown_and_for_a_person() {
    let world = World::awaiting_payment().cancelled().paid();
    for status in ["pending", "requires_action", "succeeded"] {
        let world = World::awaiting_payment().refunded("re_1", status);
        assert_eq!(for_a_person(&world), [], "{status}");
    }
    let mut world = world.refunded("re_1", "pending").refunded("re_1/failed", "failed");
    let told = world.services.ledger().0.iter().filter(|it| !it.body["refund"].is_null());
    let told: Vec<_> = told.map(|it| it.body["refund"]["status"].clone()).collect();
    assert_eq!(told, ["pending", "failed"]);
    let [(key, why)] = &for_a_person(&world)[..] else { panic!("{}", world.text()) };
    assert_eq!(key, "re_1/failed");
    for said in ["re_1", "100.00 USD", "order o1", "has failed", "terminate"] {
        assert!(why.contains(said), "{said} in {why}");
    }
    let saga = world.sagas().into_iter().find(|it| it.key == *key).unwrap();
    world.desk.look_at(saga.id);
    world.desk.make(Action::Terminate).unwrap();
    assert_eq!(for_a_person(&world), []);
}

#[test]
fn a_dispute_is_shown_and_for_a_person_when_it_is_new_and_when_it_is_lost() {
    let delivered = || World::awaiting_delivery().tracked("delivered");
    for (states, wanted) in [
        (&["needs_response"][..], &["du_1"][..]),
        (&["under_review"], &["du_1"]),
        (&["needs_response", "under_review", "won"], &["du_1"]),
        (&["needs_response", "lost"], &["du_1", "du_1/lost"]),
        (&["lost"], &["du_1"]),
        (&["won"], &[]),
        (&["closed"], &[]),
    ] {
        let told = |world: World, (at, status): (usize, &&str)| {
            let key = if at == 0 { "du_1".to_owned() } else { format!("du_1/{status}") };
            world.disputed(&key, status)
        };
        let world = states.iter().enumerate().fold(delivered(), told);
        let people = for_a_person(&world);
        let keys: Vec<_> = people.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, wanted, "{states:?}");
        for (_, why) in &people {
            assert!(why.contains("fraudulent") && why.contains("100.00 USD of order o1"), "{why}");
        }
        let shop = world.shop();
        assert_eq!(shop.beside["dispute"]["status"], *states[states.len() - 1]);
        assert_eq!(shop.status(), "completed");
    }
}

/// A restored backup, or a checkout of somebody else's in the same account.
#[test]
fn what_a_person_has_to_see_to_reaches_one_though_the_order_service_refuses_to_show_it() {
    let unknown = || World::new(services(10).on("orders.update-status", |_| Err("unknown_order")));
    for (world, said) in [
        (unknown().refunded("re_1", "failed"), "refund re_1 of 100.00 USD for order o1 has failed"),
        (unknown().refunded("re_1", "canceled"), "was cancelled"),
        (unknown().disputed("du_1", "needs_response"), "answer it at the provider"),
        (unknown().disputed("du_1/lost", "lost"), "the money is gone"),
    ] {
        let [(_, why)] = &for_a_person(&world)[..] else { panic!("{}", world.text()) };
        for said in [said, "the order does not show it", "unknown order"] {
            assert!(why.contains(said), "{said} in {why}");
        }
    }
    for world in [unknown().refunded("re_1", "succeeded"), unknown().disputed("du_1", "won")] {
        assert_eq!(for_a_person(&world), [], "nobody has to do anything");
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

/// Whatever is said, and whenever the money went or was held, they leave only with a yes.
#[test]
fn goods_whose_money_is_not_to_be_counted_on_leave_only_when_a_person_says_so() {
    for (stays, disputed) in [("0.00", false), ("100.00", true), ("40.00", true), ("0.00", true)] {
        for is_slow in [false, true] {
            for yes in [Some(true), Some(false), None] {
                let what = format!("{stays} stays, disputed {disputed}, {is_slow}, {yes:?}");
                let world = match is_slow {
                    true => World::shipping_slowly().ledger_says(stays, disputed).settled(),
                    false => World::awaiting_payment().ledger_says(stays, disputed).paid(),
                };
                let shop = world.shop();
                assert_eq!(shop.status(), "paid", "{what}: it is asked");
                if let Some(false) | None = yes {
                    let world = match yes {
                        Some(_) => world.decided(false),
                        None => world.waited_h(24),
                    };
                    let shop = world.ends(Status::Cancelled);
                    assert_eq!((shop.shipped, shop.has_parcel), (0, false), "{what}");
                    assert_eq!(shop.refunds, once(SESSION), "{what}: what is left goes back");
                } else {
                    let shop = world.decided(true).tracked("delivered").ends(Status::Completed);
                    assert_eq!((shop.shipped, shop.refunds.len()), (PIECES, 0), "{what}");
                }
            }
        }
    }
}

/// What was answered at once is not looked at twice, and what is held up is, once.
#[test]
fn money_is_looked_for_again_when_the_goods_were_held_up_and_only_then() {
    let looks = |world: World| {
        let acts = world.services.ledger().0.iter();
        acts.filter(|it| it.subject == "payments.process").count()
    };
    assert_eq!(looks(World::awaiting_delivery()), 1);
    assert_eq!(looks(World::shipping_slowly().settled()), 2);
}

/// What a manager was asked about may have become another thing by the time of the answer: a look
/// of yesterday is not believed.
#[test]
fn money_that_goes_back_while_a_manager_thinks_about_a_dispute_is_asked_about() {
    let mut world = World::paid_and_disputed();
    world.desk.wait_s(20 * 3600);
    let world = world.ledger_says("0.00", false).decided(true);
    assert_eq!(world.shop().shipped, 0, "{}", world.text());
    assert_eq!(world.order().status, Status::Waiting, "{}", world.text());
}

/// A yes is to the disputes that were shown, not to whatever the bank takes next.
#[test]
fn a_second_dispute_that_opens_while_a_manager_thinks_about_the_first_is_asked_about() {
    let world = disputed_by(&["du_1"]).ledger_names(&["du_2"]).decided(true);
    assert_eq!(world.shop().shipped, 0, "{}", world.text());
    assert_eq!(world.order().status, Status::Waiting, "{}", world.text());
    let shop = world.decided(true).tracked("delivered").ends(Status::Completed);
    assert_eq!(shop.shipped, PIECES, "what was said twice is believed");
}

#[test]
fn a_second_dispute_that_opens_after_the_yes_to_the_first_is_asked_about() {
    let mut world = disputed_by(&["du_1"]);
    world.look_at_order();
    world.desk.decide(true, "as I see fit").unwrap();
    world.settle_without("inventory.ship");
    world.desk.wait_s(60);
    let world = world.ledger_names(&["du_1", "du_2"]).settled();
    assert_eq!(world.order().status, Status::Waiting, "{}", world.text());
    let shop = world.decided(false).ends(Status::Cancelled);
    assert_eq!((shop.shipped, shop.has_parcel), (0, false));
}

/// The order was paid, and by now the bank holds the money by these disputes.
fn disputed_by(disputes: &'static [&'static str]) -> World {
    World::awaiting_payment().ledger_names(disputes).paid()
}

/// Of two that a manager has seen one may close.
#[test]
fn a_dispute_that_closes_while_a_manager_thinks_is_not_asked_about() {
    let world = disputed_by(&["du_1", "du_2"]).ledger_names(&["du_2"]).decided(true);
    assert_eq!(world.shop().shipped, PIECES);
}
