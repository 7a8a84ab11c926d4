//! Whose money: what was paid, what goes back and by whose hand, and what a person has to look at.
//! What somebody pays back between our look and our refund is tried in the payment service.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use system_tests::{
    Failure,
    client::{Api, As, order_of, text},
    scenarios::PROCESS_ORDER,
    shared::system,
    stack::Stack,
    until,
};

const RECORD_REFUND: &str = "record-refund";
const RECORD_DISPUTE: &str = "record-dispute";

/// An order over 100.00 USD for which this was paid, in cents of some currency; and its payment.
async fn paid(api: &Api, minor: u64, currency: &str) -> Result<(String, String), Failure> {
    paid_for(api, 2, minor, currency).await
}

/// The same of an order over so many pieces at 50.00.
async fn paid_for(
    api: &Api,
    pieces: u32,
    minor: u64,
    currency: &str,
) -> Result<(String, String), Failure> {
    let order_id = api.place(&order_of(pieces, false, "bob")).await?;
    let order = api.order_is(&order_id, "awaiting_payment").await?;
    let session = text(&order, "/paymentSessionId")?;
    let how = json!({ "amountMinor": minor, "currency": currency });
    api.customer(&session, "pay", how).await?;
    let payment_id = api.payment_of(&order_id).await?;
    Ok((order_id, payment_id))
}

/// An order that holds for a person, as what was paid is not what it costs.
async fn held(api: &Api, minor: u64, currency: &str) -> Result<(String, String), Failure> {
    held_for(api, 2, minor, currency).await
}

async fn held_for(
    api: &Api,
    pieces: u32,
    minor: u64,
    currency: &str,
) -> Result<(String, String), Failure> {
    let (order_id, payment_id) = paid_for(api, pieces, minor, currency).await?;
    until("a person is asked", api.patience(), || async {
        let saga = api.saga(PROCESS_ORDER, &order_id).await?;
        let is_asked =
            saga["waits"].as_array().into_iter().flatten().any(|it| it["taskId"].is_string());
        if is_asked { Ok(()) } else { Err(saga.to_string()) }
    })
    .await?;
    assert_eq!(api.order(&order_id).await?["status"], "awaiting_payment");
    Ok((order_id, payment_id))
}

async fn shows_refunds(
    api: &Api,
    order_id: &str,
    wanted: &[(&str, &str)],
) -> Result<Value, Failure> {
    until(&format!("{order_id} shows {wanted:?}"), api.patience(), || async {
        let order = api.order(order_id).await?;
        let refunds = order["refunds"].as_array().cloned().unwrap_or_default();
        let shown = |it: &Value| (text(it, "/amount").ok(), text(it, "/status").ok());
        let shown: BTreeSet<_> = refunds.iter().map(shown).collect();
        let some = |text: &str| Some(text.to_owned());
        let wanted: BTreeSet<_> = wanted.iter().map(|it| (some(it.0), some(it.1))).collect();
        if shown == wanted { Ok(order) } else { Err(order.to_string()) }
    })
    .await
}

async fn went_back(api: &Api, order_id: &str) -> Result<u64, Failure> {
    let effects = api.effects(order_id).await?;
    effects["refundedMinor"].as_u64().ok_or_else(|| effects.to_string())
}

#[tokio::test]
async fn a_cancel_gives_back_what_nobody_has_given_back_by_hand() -> Result<(), Failure> {
    let (_, api) = system().await?;
    for by_hand in [&[3_000][..], &[3_000, 1_000], &[3_000, 6_000]] {
        let (order_id, payment_id) = held(&api, 9_000, "usd").await?;
        for minor in by_hand {
            let how = json!({ "amountMinor": minor });
            api.at_the_provider(&format!("payments/{payment_id}/refund"), how).await?;
        }
        let saga = api.saga(PROCESS_ORDER, &order_id).await?;
        api.make_move(&text(&saga, "/id")?, "cancel").await?.expect(202)?;
        api.order_is(&order_id, "cancelled").await?;
        api.saga_is(PROCESS_ORDER, &order_id, "cancelled").await?;
        assert_eq!(went_back(&api, &order_id).await?, 9_000, "after {by_hand:?}");
        let whole: &[(&str, &str)] = match by_hand {
            [_] => &[("30.00", "succeeded"), ("60.00", "succeeded")],
            [_, 1_000] => &[("30.00", "succeeded"), ("10.00", "succeeded"), ("50.00", "succeeded")],
            _ => &[("30.00", "succeeded"), ("60.00", "succeeded")],
        };
        shows_refunds(&api, &order_id, whole).await?;
    }
    Ok(())
}

/// A payment of 100.00 that goes back in parts.
struct Parts {
    order_id: String,
    payment_id: String,
    /// By hand, before the order is cancelled, in cents.
    before: Vec<u64>,
    /// By hand, while nobody knows what has become of our refund.
    meanwhile: Vec<u64>,
}

impl Parts {
    async fn of(api: &Api, by_hand: &[u64], before: usize) -> Result<Parts, Failure> {
        let (order_id, payment_id) = held_for(api, 4, 10_000, "usd").await?;
        let (before, meanwhile) = by_hand.split_at(before);
        Ok(Parts { order_id, payment_id, before: before.into(), meanwhile: meanwhile.into() })
    }

    async fn by_hand(&self, api: &Api, minor: u64) -> Result<Value, Failure> {
        let does = format!("payments/{}/refund", self.payment_id);
        api.at_the_provider(&does, json!({ "amountMinor": minor })).await
    }

    /// Where the rest is for a person, its button finishes it.
    async fn is_over(&self, api: &Api) -> Result<(), Failure> {
        let saga = api.saga(PROCESS_ORDER, &self.order_id).await?;
        match saga["status"].as_str() {
            Some("cancelled") => Ok(()),
            Some("attention") => {
                let moved = api.make_move(&text(&saga, "/id")?, "retry").await?;
                Err(format!("retried: {moved}, as {}", saga["reason"]))
            }
            _ => Err(saga.to_string()),
        }
    }
}

/// Waits until the ledger of an order with one payment shows this much as paid, as on its way back
/// and as ours.
async fn adds_up(api: &Api, order_id: &str, wanted: [&str; 3]) -> Result<(), Failure> {
    let url = format!("{}/api/ledgers/{order_id}", api.urls().payment);
    until(&format!("its ledger shows {wanted:?}"), api.patience(), || async {
        let ledger = api.get(&url).await?;
        let payment = &ledger["payments"][0];
        let shown = ["captured", "goesBack", "stays"].map(|it| payment[it].clone());
        if shown == wanted { Ok(()) } else { Err(ledger.to_string()) }
    })
    .await
}

#[tokio::test]
async fn exactly_100_go_back_in_whichever_parts_with_the_answer_lost_at_each_point()
-> Result<(), Failure> {
    const SPLITS: [&[u64]; 8] = [
        &[4_000, 6_000],
        &[6_000, 4_000],
        &[2_000, 3_000, 5_000],
        &[2_000, 5_000, 3_000],
        &[3_000, 2_000, 5_000],
        &[3_000, 5_000, 2_000],
        &[5_000, 2_000, 3_000],
        &[5_000, 3_000, 2_000],
    ];
    let mut stack = Stack::start(&[]).await?;
    let api = stack.api().clone();
    // The refund is to be asked for; it was made, and nobody heard of it; it was heard of, and not
    // written down.
    for point in ["owner.after-commit:1", "refund.before-finish:1", "owner.before-finish:1"] {
        let mut all = Vec::new();
        for split in SPLITS {
            // The last part is ours, of the others so many were there first.
            let by_hand = &split[..split.len() - 1];
            for before in 0..=by_hand.len() {
                all.push(Parts::of(&api, by_hand, before).await?);
            }
        }
        for it in &all {
            for minor in &it.before {
                it.by_hand(&api, *minor).await?;
            }
        }
        stack.stop("payment").await?;
        for it in &all {
            let saga = api.saga(PROCESS_ORDER, &it.order_id).await?;
            api.make_move(&text(&saga, "/id")?, "cancel").await?.expect(202)?;
        }
        stack.spawn_with("payment", &[("FERMATA_CRASH_AT", point)])?;
        stack.ended("payment").await?;
        for it in &all {
            for minor in &it.meanwhile {
                // Of what has gone back already the provider gives nothing back a second time.
                if let Err(why) = it.by_hand(&api, *minor).await
                    && went_back(&api, &it.order_id).await? + minor <= 10_000
                {
                    return Err(why);
                }
            }
        }
        stack.spawn("payment")?;
        stack.ready("payment").await?;
        for it in &all {
            let what = format!("{} by hand, then {} at {point}", it.before.len(), it.order_id);
            until(&what, api.patience(), || it.is_over(&api)).await?;
            assert_eq!(went_back(&api, &it.order_id).await?, 10_000, "{what}");
            adds_up(&api, &it.order_id, ["100.00", "100.00", "0.00"]).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn other_money_is_held_until_a_person_accepts_it_or_has_it_paid_back() -> Result<(), Failure>
{
    let (_, api) = system().await?;
    let (accepted, _) = held(&api, 9_000, "usd").await?;
    api.approve(&accepted, true).await?.expect(202)?;
    api.order_is(&accepted, "shipped").await?;
    assert_eq!(went_back(&api, &accepted).await?, 0);

    let (refused, _) = held(&api, 10_000, "eur").await?;
    api.approve(&refused, false).await?.expect(202)?;
    let order = api.order_is(&refused, "cancelled").await?;
    let why = order["history"].to_string();
    assert!(why.contains("100.00 EUR was not accepted"), "{why}");
    let order = shows_refunds(&api, &refused, &[("100.00", "succeeded")]).await?;
    assert_eq!(order["refunds"][0]["currency"], "EUR", "{order}");
    assert_eq!(went_back(&api, &refused).await?, 10_000);
    Ok(())
}

/// By the shop's own door: the second question is not answered until it is named, and the refusal
/// says how.
#[tokio::test]
async fn goods_whose_money_went_back_by_hand_stay_until_a_person_has_seen_that()
-> Result<(), Failure> {
    let (_, api) = system().await?;
    for ships in [true, false] {
        let (order_id, payment_id) = held(&api, 9_000, "usd").await?;
        let how = json!({ "amountMinor": 9_000 });
        api.at_the_provider(&format!("payments/{payment_id}/refund"), how).await?;
        adds_up(&api, &order_id, ["90.00", "90.00", "0.00"]).await?;
        api.approve(&order_id, true).await?.expect(202)?;
        let told = asked_whether_to_ship(&api, &order_id, ships).await?;
        assert!(told.contains("went back: ship it all the same?"), "{told}");
        assert_eq!(api.order(&order_id).await?["status"], "paid");
        answer(&api, &order_id, &told, ships).await?;
        api.order_is(&order_id, if ships { "shipped" } else { "cancelled" }).await?;
        assert_eq!(went_back(&api, &order_id).await?, 9_000);
    }
    Ok(())
}

/// What an approver is told who decides once more, about whatever is asked.
async fn asked_whether_to_ship(api: &Api, order_id: &str, ships: bool) -> Result<String, Failure> {
    until("it is asked whether the goods leave", api.patience(), || async {
        let answer = api.approve(order_id, ships).await?;
        let told = answer.to_string();
        if told.contains("ship it all the same?") { Ok(told) } else { Err(told) }
    })
    .await
}

/// The one question that is open, with what was told of it.
async fn answer(api: &Api, order_id: &str, told: &str, ships: bool) -> Result<(), Failure> {
    let seen = told.split_once("`seen` ").and_then(|it| it.1.get(..32)).ok_or(told)?;
    let url = format!("{}/api/orders/approve", api.urls().order);
    let decision = json!({
        "orderId": order_id, "approved": ships, "seen": seen, "reason": "as I know why"
    });
    api.post(As::Approver, &url, &decision).await?.expect(202)?;
    Ok(())
}

/// The bank has the money, and may give it back: nobody can count on it.
#[tokio::test]
async fn goods_whose_money_the_customers_bank_holds_stay_until_a_person_has_seen_that()
-> Result<(), Failure> {
    let (_, api) = system().await?;
    for ships in [true, false] {
        let (order_id, payment_id) = held(&api, 9_000, "usd").await?;
        let dispute = format!("payments/{payment_id}/dispute/needs_response");
        let told = api.at_the_provider(&dispute, json!({})).await?;
        let id = text(&told, "/object/id")?;
        api.saga_is(RECORD_DISPUTE, &id, "attention").await?;
        api.approve(&order_id, true).await?.expect(202)?;
        let told = asked_whether_to_ship(&api, &order_id, ships).await?;
        assert!(told.contains("is disputed at the bank"), "{told}");
        assert_eq!(api.order(&order_id).await?["status"], "paid");
        answer(&api, &order_id, &told, ships).await?;
        if ships {
            api.order_is(&order_id, "shipped").await?;
        } else {
            // What the bank holds is not paid back beside it: that is a person's, too.
            let saga = api.saga_is(PROCESS_ORDER, &order_id, "attention").await?;
            let why = saga["reason"].to_string();
            assert!(why.contains("the customer's bank holds 90.00 USD"), "{saga}");
            let dispute = format!("payments/{payment_id}/dispute/won");
            api.at_the_provider(&dispute, json!({})).await?;
            api.make_move(&text(&saga, "/id")?, "retry").await?.expect(202)?;
            api.order_is(&order_id, "cancelled").await?;
            assert_eq!(went_back(&api, &order_id).await?, 9_000);
        }
    }
    // An inquiry takes no money.
    let (order_id, payment_id) = held(&api, 9_000, "usd").await?;
    let dispute = format!("payments/{payment_id}/dispute/warning_needs_response");
    let told = api.at_the_provider(&dispute, json!({})).await?;
    api.saga_is(RECORD_DISPUTE, &text(&told, "/object/id")?, "attention").await?;
    api.approve(&order_id, true).await?.expect(202)?;
    api.order_is(&order_id, "shipped").await?;
    Ok(())
}

#[tokio::test]
async fn a_refund_that_fails_is_shown_and_needs_a_person() -> Result<(), Failure> {
    let (_, api) = system().await?;
    let (order_id, _) = held(&api, 9_000, "usd").await?;
    api.approve(&order_id, false).await?.expect(202)?;
    let order = shows_refunds(&api, &order_id, &[("90.00", "succeeded")]).await?;
    let refund = text(&order, "/refunds/0/refundId")?;
    adds_up(&api, &order_id, ["90.00", "90.00", "0.00"]).await?;
    api.at_the_provider(&format!("refunds/{refund}/fail"), json!({ "repeat": 1 })).await?;
    adds_up(&api, &order_id, ["90.00", "0.00", "90.00"]).await?;
    shows_refunds(&api, &order_id, &[("90.00", "failed")]).await?;
    let key = format!("{refund}/failed");
    let saga = api.saga_is(RECORD_REFUND, &key, "attention").await?;
    let why = saga["reason"].to_string();
    assert!(why.contains("90.00 USD") && why.contains(&order_id), "{saga}");
    api.make_move(&text(&saga, "/id")?, "terminate").await?.expect(202)?;
    Ok(())
}

#[tokio::test]
async fn a_dispute_is_shown_and_needs_a_person() -> Result<(), Failure> {
    let (_, api) = system().await?;
    let (order_id, payment_id) = paid(&api, 10_000, "usd").await?;
    api.order_is(&order_id, "shipped").await?;
    let dispute = format!("payments/{payment_id}/dispute");
    let told = api.at_the_provider(&format!("{dispute}/warning_needs_response"), json!({})).await?;
    let id = text(&told, "/object/id")?;
    let inquiry = api.saga_is(RECORD_DISPUTE, &id, "attention").await?;
    assert!(inquiry["reason"].to_string().contains("fraudulent"), "{inquiry}");
    // The inquiry becomes a chargeback, with a deadline of its own.
    api.at_the_provider(&format!("{dispute}/needs_response"), json!({})).await?;
    let key = format!("{id}/2.needs_response");
    let chargeback = api.saga_is(RECORD_DISPUTE, &key, "attention").await?;
    api.at_the_provider(&format!("{dispute}/won"), json!({})).await?;
    until("the order shows how it ended", api.patience(), || async {
        let order = api.order(&order_id).await?;
        let wanted = json!([{
            "disputeId": id, "amount": "100.00", "status": "won", "reason": "fraudulent",
            "revision": 3
        }]);
        if order["disputes"] == wanted { Ok(()) } else { Err(order.to_string()) }
    })
    .await?;
    for saga in [inquiry, chargeback] {
        api.make_move(&text(&saga, "/id")?, "terminate").await?.expect(202)?;
    }
    Ok(())
}
