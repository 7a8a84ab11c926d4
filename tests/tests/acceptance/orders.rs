//! From the click to the reservation, with and without a manager.

use super::{
    COUNTED_SKU, SHELF, awaiting_approval, awaiting_payment, counted, history, journal, mails_are,
    of_kind, order_at, session_of,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use system_tests::{
    Failure,
    client::{Api, As, order_of, text},
    scenarios::PROCESS_ORDER,
    shared::system,
};

#[tokio::test]
async fn line_04_placing_an_order_starts_its_saga_once_and_a_refused_one_starts_none()
-> Result<(), Failure> {
    let (_, api) = system().await?;
    let url = format!("{}/api/orders", api.urls().order);
    let key = uuid::Uuid::new_v4().to_string();
    let body = order_of(2, false, "bob").to_string();
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let headers = [("Idempotency-Key", key.as_str())];
        let placed = api.raw(As::Anyone, Method::POST, &url, &headers, &body).await?;
        ids.insert(text(&placed.expect(201)?, "/orderId")?);
    }
    let [order_id] = &ids.into_iter().collect::<Vec<_>>()[..] else {
        return Err("one key is one order".to_owned());
    };
    api.order_is(order_id, "awaiting_payment").await?;
    let sagas = api.sagas_of(order_id).await?;
    assert_eq!(sagas.len(), 1, "nobody but the order itself has started it: {sagas:?}");
    let started = &journal(&api, order_id).await?[0];
    assert_eq!(
        (&started["kind"], &started["input"]["orderId"]),
        (&json!("started"), &json!(order_id))
    );

    let newest = |list: &Value| list["items"][0]["orderId"].clone();
    let mut wrong = order_of(2, false, "nobody-else-is-called-so");
    wrong["total"] = json!("99.00");
    api.post(As::Anyone, &url, &wrong).await?.expect(422)?;
    let orders = api.list(&url, "").await?;
    let is_there = |it: &&Value| it["customer"]["name"] == "nobody-else-is-called-so";
    assert!(orders.iter().find(is_there).is_none(), "{:?}", orders.first().map(newest));
    Ok(())
}

#[tokio::test]
async fn line_05_a_low_risk_goes_straight_on_and_a_high_one_pauses_before_anything_is_taken()
-> Result<(), Failure> {
    let (_, api) = system().await?;
    let low = api.place(&order_at("100.00", false)).await?;
    let order = api.order_is(&low, "awaiting_payment").await?;
    assert_eq!(order["riskScore"], 30, "{order}");

    let high = api.place(&order_at("50000.00", true)).await?;
    let order = api.order_is(&high, "awaiting_approval").await?;
    assert!(order["riskScore"].as_u64() > Some(70), "{order}");
    let saga = api.saga_is(PROCESS_ORDER, &high, "waiting").await?;
    assert_eq!(saga["waits"][0]["event"], "orders.trigger.approved", "{saga}");
    let asked = of_kind(&journal(&api, &high).await?, "call", "subject");
    assert_eq!(asked, ["orders.calculate-risk", "orders.update-status"], "nothing is taken yet");
    let effects = api.effects(&high).await?;
    assert_eq!((&effects["sessions"], &effects["shipments"]), (&json!(0), &json!(0)));
    Ok(())
}

#[tokio::test]
async fn line_06_a_risk_of_69_passes_and_70_and_71_need_approval() -> Result<(), Failure> {
    let (_, api) = system().await?;
    let orders = [
        ("3500.00", true, 69, "awaiting_payment"),
        ("3749.99", true, 69, "awaiting_payment"),
        ("9999.99", false, 69, "awaiting_payment"),
        ("3750.00", true, 70, "awaiting_approval"),
        ("10000.00", false, 70, "awaiting_approval"),
        ("4000.00", true, 71, "awaiting_approval"),
    ];
    for (total, is_new_customer, score, status) in orders {
        let order_id = api.place(&order_at(total, is_new_customer)).await?;
        let order = api.order_is(&order_id, status).await?;
        assert_eq!(order["riskScore"], score, "{order}");
        let saga = api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
        assert_eq!(saga["waits"][0]["taskId"].is_string(), 70 <= score, "a task of {saga}");
        let was_asked = history(&order).contains(&"awaiting_approval".to_owned());
        assert_eq!(was_asked, 70 <= score, "{order}");
    }
    Ok(())
}

#[tokio::test]
async fn line_07_a_low_risk_order_never_waits_for_an_approval() -> Result<(), Failure> {
    let (_, api) = system().await?;
    let (order_id, _) = awaiting_payment(&api).await?;
    let order = api.order(&order_id).await?;
    assert_eq!(history(&order), ["pending", "awaiting_payment"]);
    let journal = journal(&api, &order_id).await?;
    let waits: Vec<_> = journal.iter().filter(|it| it["kind"] == "wait").collect();
    let told = |it: &&&Value| it["events"].to_string().contains("orders.trigger.approved");
    assert!(!waits.is_empty() && !waits.iter().any(|it| told(&it)), "{waits:?}");
    api.approve(&order_id, true).await?.expect(404)?;
    api.approve(&order_id, false).await?.expect(404)?;
    api.order_is(&order_id, "awaiting_payment").await?;
    Ok(())
}

/// Every page of the list of tasks.
async fn tasks_of(api: &Api, order_id: &str) -> Result<Vec<Value>, Failure> {
    let tasks = api.list(&format!("{}/api/tasks", api.urls().runtime), "").await?;
    Ok(tasks.into_iter().filter(|it| it["key"] == order_id).collect())
}

#[tokio::test]
async fn line_09_what_waits_for_a_manager_is_listed_and_both_decisions_resume()
-> Result<(), Failure> {
    let (stack, api) = system().await?;
    let (yes, no) = (awaiting_approval(&api).await?, awaiting_approval(&api).await?);
    for order_id in [&yes, &no] {
        let [task] = &tasks_of(&api, order_id).await?[..] else {
            return Err("one task of each order".to_owned());
        };
        let facts = &task["facts"];
        assert_eq!((&facts["riskScore"], &facts["total"]), (&json!(100), &json!("50000.00")));
        assert!(text(task, "/title")?.contains(order_id.as_str()), "{task}");
    }
    let task = text(&tasks_of(&api, &no).await?[0], "/id")?;
    let url = format!("{}/api/tasks/{task}/decision", api.urls().runtime);
    let rejection = json!({ "approved": false, "reason": "looks like fraud" });
    api.post(As::Viewer, &url, &rejection).await?.expect(403)?;
    api.post(As::Approver, &url, &rejection).await?.expect(202)?;
    api.approve(&yes, true).await?.expect(202)?;

    session_of(&api, &yes).await?;
    let order = api.order_is(&no, "cancelled").await?;
    assert!(order["history"].to_string().contains("looks like fraud"), "{order}");
    api.saga_is(PROCESS_ORDER, &no, "cancelled").await?;
    mails_are(&api, &stack.spool(), &no, &["order_cancelled"]).await?;
    for order_id in [&yes, &no] {
        assert_eq!(tasks_of(&api, order_id).await?, Vec::<Value>::new(), "decided");
    }
    let effects = api.effects(&no).await?;
    assert_eq!(effects["sessions"], 0, "who is rejected is not asked for money");
    Ok(())
}

#[tokio::test]
async fn line_10_an_order_is_approved_by_its_id_and_yes_or_no() -> Result<(), Failure> {
    let (_, api) = system().await?;
    let order_id = awaiting_approval(&api).await?;
    let url = format!("{}/api/orders/approve", api.urls().order);
    let body = json!({ "orderId": order_id, "approved": true });
    api.post(As::Anyone, &url, &body).await?.expect(401)?;
    api.post(As::Viewer, &url, &body).await?.expect(403)?;
    let asks = api.saga(PROCESS_ORDER, &order_id).await?;
    assert_eq!(asks["status"], "waiting", "nobody has decided yet");
    let other = json!({ "orderId": order_id, "approved": true, "seen": "0".repeat(32) });
    let refused = api.post(As::Approver, &url, &other).await?.expect(409)?.to_string();
    let seen = text(&asks, "/waits/0/seen")?;
    assert!(refused.contains("the question that is open now is"), "{refused}");
    assert!(refused.contains(&seen), "it names the one that is open: {refused}");
    let answer = api.post(As::Approver, &url, &body).await?.expect(202)?;
    assert_eq!(answer, body);
    session_of(&api, &order_id).await?;
    Ok(())
}

#[tokio::test]
async fn line_11_pieces_are_reserved_and_an_order_without_them_is_cancelled_with_the_reason()
-> Result<(), Failure> {
    let (stack, api) = system().await?;
    let _alone = SHELF.lock().await;
    let (available, reserved, gone) = api.stock(COUNTED_SKU).await?;
    let order_id = api.place(&counted(order_of(3, false, "bob"))).await?;
    session_of(&api, &order_id).await?;
    assert_eq!(api.stock(COUNTED_SKU).await?, (available - 3, reserved + 3, gone));

    // More than there is, of which some are free: all or nothing.
    let many = u32::try_from(available).unwrap_or(u32::MAX);
    let mut order = counted(order_of(many, false, "bob"));
    order["items"][0]["price"] = json!("0.50");
    order["total"] = json!(format!("{}.{:02}", many / 2, many % 2 * 50));
    let order_id = api.place(&order).await?;
    api.order_is(&order_id, "awaiting_approval").await?;
    api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
    api.approve(&order_id, true).await?.expect(202)?;
    let order = api.order_is(&order_id, "cancelled").await?;
    assert!(order["history"].to_string().contains(COUNTED_SKU), "it says what is missing: {order}");
    api.saga_is(PROCESS_ORDER, &order_id, "cancelled").await?;
    assert_eq!(api.stock(COUNTED_SKU).await?, (available - 3, reserved + 3, gone));
    assert_eq!(api.effects(&order_id).await?["sessions"], 0, "no money is asked for");
    mails_are(&api, &stack.spool(), &order_id, &["order_cancelled"]).await?;
    Ok(())
}
