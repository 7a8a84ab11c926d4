//! Money goes back in parts, by our hand and by others: in the end exactly what was paid has gone
//! back.

use super::effects::{Play, pay_back};
use crate::refund::PayBack;
use serde_json::json;
use service_kit::Refusal;
use std::sync::Arc;

/// What the only session is over, in cents.
const PAID: u64 = 14_999;

/// Who pays a part back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hand {
    /// Somebody at the provider, before we are asked.
    Before,
    /// Somebody at the provider, between our look and our refund.
    Meanwhile,
    /// We do.
    Ours,
}

async fn paid() -> (Play, String) {
    let play = Play::new();
    let session = play.session().await.session_id;
    play.provider.pay(&session);
    (play, session)
}

/// Every way to split the payment into two and three parts of these sizes.
fn splits() -> Vec<Vec<u64>> {
    let sizes = [1, 6_000];
    let two = sizes.into_iter().map(|first| vec![first, PAID - first]);
    let three = sizes.into_iter().flat_map(|first| {
        sizes.into_iter().map(move |second| vec![first, second, PAID - first - second])
    });
    two.chain(three).collect()
}

/// Who pays which part back: hands in the order of time, ours last or not at all.
fn hands(parts: usize) -> Vec<Vec<Hand>> {
    use Hand::{Before, Meanwhile, Ours};
    let mut all = vec![Vec::new()];
    for _ in 0..parts {
        let longer =
            |hands: Vec<Hand>| [Before, Meanwhile, Ours].map(|it| [&hands[..], &[it]].concat());
        all = all.into_iter().flat_map(longer).collect();
    }
    let in_order = |hands: &Vec<Hand>| {
        let times = hands.iter().map(|it| *it as u8);
        times.clone().is_sorted() && times.filter(|it| *it == Ours as u8).count() <= 1
    };
    all.into_iter().filter(in_order).collect()
}

#[tokio::test]
async fn whoever_pays_back_which_part_exactly_what_was_paid_goes_back() {
    for parts in splits() {
        for hands in hands(parts.len()) {
            for (lost, crashes, forgets) in
                [(0, 0, false), (1, 0, false), (0, 1, true), (2, 1, false), (1, 2, true)]
            {
                let what = format!("{parts:?} by {hands:?}, {lost} lost, {crashes} crashes");
                let (play, session) = paid().await;
                let by = |hand| {
                    let parts = parts.iter().zip(&hands).filter(move |(_, by)| **by == hand);
                    parts.map(|(part, _)| *part)
                };
                for part in by(Hand::Before) {
                    play.provider.pay_back_by_hand(&session, part);
                }
                play.provider.with(|world| {
                    world.meanwhile.extend(by(Hand::Meanwhile));
                    (world.lose_answers, world.forget_keys) = (lost, forgets);
                });
                let effect = PayBack::new(Arc::clone(&play.stripe));
                let call = play.call("undo", 1, pay_back(&session));
                play.run(&effect, call, crashes).await.expect(&what);
                assert_eq!(play.provider.refunded().iter().sum::<u64>(), PAID, "{what}");
                // Asked again, under whatever key, there is nothing to do.
                let known = play.provider.refunded();
                play.refund("late/saga", 1, &session).await.expect(&what);
                assert_eq!(play.provider.refunded(), known, "{what}");
                // The order hears of each part.
                let events = play.events();
                let told = events.iter().filter(|it| it["subject"] == "payments.trigger.refunded");
                assert_eq!(told.count(), known.len(), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_refund_that_fails_later_is_made_again_and_one_that_is_on_its_way_is_not() {
    let (play, session) = paid().await;
    play.provider.pay_back_by_hand(&session, 4_000);
    play.refund("a", 1, &session).await.unwrap();
    play.refund("b", 1, &session).await.unwrap();
    assert_eq!(play.provider.refunded(), [4_000, 10_999]);
    play.provider.fail_refund("re_2");
    let again = play.refund("c", 1, &session).await.unwrap();
    assert_eq!((again.refund_id.as_str(), again.amount.to_string().as_str()), ("re_3", "109.99"));
    assert_eq!(play.provider.refunded(), [4_000, 10_999]);
    let events = play.events();
    let of = |id: &str| {
        let bodies = events.iter().map(|it| &it["body"]);
        let bodies = bodies.filter(|it| it["refundId"] == id);
        bodies.map(|it| it["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!([of("re_1"), of("re_3")], [["succeeded"], ["pending"]]);
    assert_eq!(of("re_2"), ["pending", "failed"]);
}

#[tokio::test]
async fn a_refund_that_fails_at_once_is_refused_and_made_after_a_retry() {
    let (play, session) = paid().await;
    play.provider.with(|world| world.fail_refunds = 1);
    let refused = play.refund("a", 1, &session).await.unwrap_err();
    assert!(matches!(refused, Refusal::Rejected(it) if it.code() == "refund_failed"));
    assert_eq!(play.provider.refunded(), [0; 0]);
    assert_eq!(play.events()[0]["body"]["status"], "failed", "the order shows it");
    play.refund("a", 2, &session).await.unwrap();
    assert_eq!(play.provider.refunded(), [PAID]);
}

#[tokio::test]
async fn a_refusal_says_how_much_goes_back_so_far_and_a_retry_asks_for_the_rest() {
    let (play, session) = paid().await;
    play.provider.pay_back_by_hand(&session, 4_000);
    play.provider.with(|world| world.refuse_refunds = 1);
    let refused = play.refund("a", 1, &session).await.unwrap_err();
    let Refusal::Rejected(refused) = refused else { panic!("{refused}") };
    assert_eq!(refused.code(), "balance_insufficient");
    assert!(refused.reason().contains("40.00 USD of 149.99 USD"), "{}", refused.reason());
    play.refund("a", 2, &session).await.unwrap();
    assert_eq!(play.provider.refunded(), [4_000, 10_999]);
}

#[tokio::test]
async fn many_small_refunds_are_added_up_over_all_pages() {
    let (play, session) = paid().await;
    for _ in 0..250 {
        play.provider.pay_back_by_hand(&session, 10);
    }
    play.refund("a", 1, &session).await.unwrap();
    assert_eq!(play.provider.refunded().iter().sum::<u64>(), PAID);
    assert_eq!(play.provider.refunded().last(), Some(&12_499));
}

#[tokio::test]
async fn money_of_another_currency_is_not_added_up() {
    let (play, session) = paid().await;
    play.provider.pay_back_by_hand(&session, 4_000);
    let body = json!({
        "orderId": "o-1", "sessionId": session, "amount": "149.99", "currency": "EUR",
    });
    let effect = PayBack::new(Arc::clone(&play.stripe));
    let call = play.call("a", 1, serde_json::from_value(body).unwrap());
    let refused = play.run(&effect, call, 0).await.unwrap_err();
    assert!(matches!(refused, Refusal::Rejected(it) if it.code() == "other_currency"));
    assert_eq!(play.provider.refunded(), [4_000]);
}

#[tokio::test]
async fn what_the_customers_bank_has_taken_does_not_go_back_again() {
    for (taken, back) in [(PAID, &[][..]), (5_000, &[9_999])] {
        let (play, session) = paid().await;
        play.provider.dispute(&session, taken, "lost");
        let told = play.refund("a", 1, &session).await.unwrap();
        assert_eq!(play.provider.refunded(), back);
        let amount = if taken == PAID { "0" } else { "99.99" };
        assert_eq!(told.amount.to_string(), amount);
    }
}

#[tokio::test]
async fn while_the_bank_holds_the_money_a_person_decides_and_after_that_it_goes_back() {
    let (play, session) = paid().await;
    play.provider.dispute(&session, PAID, "needs_response");
    let refused = play.refund("a", 1, &session).await.unwrap_err();
    let Refusal::Rejected(refused) = refused else { panic!("{refused}") };
    assert_eq!(refused.code(), "charge_disputed");
    assert!(refused.reason().contains("149.99 USD"), "{}", refused.reason());
    assert_eq!(play.provider.refunded(), [0; 0]);
    play.provider.dispute(&session, PAID, "won");
    play.refund("a", 2, &session).await.unwrap();
    assert_eq!(play.provider.refunded(), [PAID]);
}

#[tokio::test]
async fn an_inquiry_holds_no_money() {
    let (play, session) = paid().await;
    play.provider.dispute(&session, PAID, "warning_needs_response");
    play.refund("a", 1, &session).await.unwrap();
    assert_eq!(play.provider.refunded(), [PAID]);
}
