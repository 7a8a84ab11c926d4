//! The outside world on the wire: what it answers, what it sends, and that it outlives a restart.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};
use support::{COURIER_SECRET, Receiver, Sandbox, session_form};

struct World {
    _dir: tempfile::TempDir,
    receiver: Receiver,
    sandbox: Sandbox,
}

async fn world(first_answers: &[u16]) -> World {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(first_answers).await;
    let sandbox = Sandbox::start(dir.path(), receiver.address).await;
    World { _dir: dir, receiver, sandbox }
}

fn id(session: &Value) -> &str {
    session["id"].as_str().unwrap()
}

async fn act(sandbox: &Sandbox, session: &Value, action: &str, manner: Value) -> (u16, Value) {
    sandbox.post(&format!("/sandbox/sessions/{}/{action}", id(session)), None, manner).await
}

#[tokio::test]
async fn a_paid_session_is_complete_and_its_webhook_names_it() {
    let World { mut receiver, sandbox, .. } = world(&[]).await;
    let session = sandbox.session("ORD-1").await;
    let (status, answer) = act(&sandbox, &session, "pay", json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let event = receiver.next().await.json();
    assert_eq!(event["type"], "checkout.session.completed");
    let told = &event["data"]["object"];
    assert_eq!(told["id"], session["id"]);
    assert_eq!(told["client_reference_id"], "ORD-1");
    assert_eq!((&told["payment_status"], &told["status"]), (&json!("paid"), &json!("complete")));
    assert_eq!(told["amount_total"], 2100);
    assert!(told["payment_intent"].as_str().unwrap().starts_with("pi_"));
    assert_eq!(sandbox.get(&format!("/v1/checkout/sessions/{}", id(&session))).await.1, *told);

    assert_eq!(act(&sandbox, &session, "pay", json!({})).await.0, 409);
    let (status, error) =
        sandbox.stripe(&format!("/v1/checkout/sessions/{}/expire", id(&session)), None, &[]).await;
    assert_eq!(status, 400);
    assert!(error["error"]["message"].as_str().unwrap().ends_with("a status of `complete`."));
}

#[tokio::test]
async fn a_failed_session_completes_unpaid_first_and_cannot_be_refunded() {
    let World { mut receiver, sandbox, .. } = world(&[]).await;
    let session = sandbox.session("ORD-1").await;
    act(&sandbox, &session, "fail", json!({})).await;
    let (first, second) = (receiver.next().await.json(), receiver.next().await.json());
    assert_eq!(first["type"], "checkout.session.completed");
    assert_eq!(first["data"]["object"]["payment_status"], "unpaid");
    assert_eq!(second["type"], "checkout.session.async_payment_failed");
    let payment = second["data"]["object"]["payment_intent"].as_str().unwrap().to_owned();
    let (status, error) =
        sandbox.stripe("/v1/refunds", None, &[("payment_intent", &payment)]).await;
    assert_eq!(status, 400, "{error}");
}

#[tokio::test]
async fn webhooks_are_repeated_and_reversed_on_demand() {
    let World { mut receiver, sandbox, .. } = world(&[]).await;
    let session = sandbox.session("ORD-1").await;
    act(&sandbox, &session, "fail", json!({ "repeat": 1, "reorder": true })).await;
    let mut kinds = Vec::new();
    for _ in 0..4 {
        kinds.push(receiver.next().await.json()["type"].as_str().unwrap().to_owned());
    }
    let failed = "checkout.session.async_payment_failed";
    let completed = "checkout.session.completed";
    assert_eq!(kinds, [failed, failed, completed, completed]);
}

#[tokio::test]
async fn a_single_webhook_is_overtaken_by_the_next_one_of_its_sender() {
    let World { mut receiver, sandbox, .. } = world(&[]).await;
    sandbox.post("/sandbox/orders/ORD-1/in_transit", None, json!({ "reorder": true })).await;
    sandbox.post("/sandbox/orders/ORD-1/delivered", None, json!({})).await;
    assert_eq!(receiver.next().await.json()["status"], "delivered");
    assert_eq!(receiver.next().await.json()["status"], "in_transit");
}

#[tokio::test]
async fn a_delay_holds_the_webhook_and_not_what_it_tells() {
    let World { mut receiver, sandbox, .. } = world(&[]).await;
    let session = sandbox.session("ORD-1").await;
    let started = std::time::Instant::now();
    let (_, answer) = act(&sandbox, &session, "pay", json!({ "delayMs": 300 })).await;
    assert_eq!(answer["session"]["payment_status"], "paid");
    receiver.next().await;
    assert!(started.elapsed().as_millis() >= 300);
}

#[tokio::test]
async fn a_webhook_is_sent_until_it_is_taken_with_a_new_signature_each_time() {
    let World { mut receiver, sandbox, .. } = world(&[503, 400]).await;
    let session = sandbox.session("ORD-1").await;
    act(&sandbox, &session, "pay", json!({})).await;
    let bodies =
        [receiver.next().await.body, receiver.next().await.body, receiver.next().await.body];
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    loop {
        let (_, effects) = sandbox.get("/sandbox/effects").await;
        if effects["webhooksPending"] == 0 {
            assert_eq!(effects["webhooksDelivered"], 1);
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(receiver.is_empty());
}

#[tokio::test]
async fn the_courier_signs_time_and_raw_body() {
    let World { mut receiver, sandbox, .. } = world(&[]).await;
    let parcel = json!({ "orderId": "ORD-1", "address": { "city": "Ulm" } });
    let (status, shipment) = sandbox.post("/courier/shipments", Some("k"), parcel).await;
    assert_eq!(status, 201);
    sandbox.post("/sandbox/orders/ORD-1/delivered", None, json!({})).await;
    let webhook = receiver.next().await;
    let timestamp = webhook.header("x-timestamp");
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(now_s.abs_diff(timestamp.parse().unwrap()) < 60);
    let mut mac = Hmac::<Sha256>::new_from_slice(COURIER_SECRET.as_bytes()).unwrap();
    mac.update(format!("{timestamp}.{}", webhook.body).as_bytes());
    let expected = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    assert_eq!(webhook.header("x-signature"), expected);
    let told = webhook.json();
    assert_eq!((&told["orderId"], &told["status"]), (&json!("ORD-1"), &json!("delivered")));
    assert_eq!(told["trackingNumber"], shipment["trackingNumber"]);
}

#[tokio::test]
async fn a_parcel_is_made_once_per_key_and_cancelled_until_it_moves() {
    let World { mut receiver, sandbox, .. } = world(&[]).await;
    let parcel = json!({ "orderId": "ORD-1" });
    let (status, made) = sandbox.post("/courier/shipments", Some("k"), parcel.clone()).await;
    assert_eq!((status, &made["status"]), (201, &json!("created")));
    assert_eq!(
        sandbox.post("/courier/shipments", Some("k"), parcel.clone()).await,
        (200, made.clone())
    );
    let other = json!({ "orderId": "ORD-2" });
    assert_eq!(sandbox.post("/courier/shipments", Some("k"), other).await.0, 409);
    assert_eq!(sandbox.post("/courier/shipments", None, json!({})).await.0, 422);

    let cancel = format!("/courier/shipments/{}/cancel", made["shipmentId"].as_str().unwrap());
    for _ in 0..2 {
        let (status, cancelled) = sandbox.post(&cancel, None, json!({})).await;
        assert_eq!((status, &cancelled["status"]), (200, &json!("cancelled")));
    }
    assert_eq!(sandbox.post("/courier/shipments/shp_none/cancel", None, json!({})).await.0, 404);

    let (_, made) = sandbox.post("/courier/shipments", None, parcel).await;
    let (_, listed) = sandbox.get("/courier/shipments?orderId=ORD-1").await;
    assert_eq!(listed["items"], json!([made]));
    sandbox.post("/sandbox/orders/ORD-1/picked_up", None, json!({})).await;
    receiver.next().await;
    let cancel = format!("/courier/shipments/{}/cancel", made["shipmentId"].as_str().unwrap());
    assert_eq!(sandbox.post(&cancel, None, json!({})).await.0, 409);
    let (_, effects) = sandbox.get("/sandbox/effects?orderId=ORD-1").await;
    assert_eq!((&effects["shipments"], &effects["shipmentsCancelled"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn a_refund_is_taken_up_to_what_was_paid() {
    let World { mut receiver, sandbox, .. } = world(&[]).await;
    let session = sandbox.session("ORD-1").await;
    act(&sandbox, &session, "pay", json!({})).await;
    let event = receiver.next().await.json();
    let payment = event["data"]["object"]["payment_intent"].as_str().unwrap();
    let refund = async |key: &str, amount: &str| {
        let form = [("payment_intent", payment), ("amount", amount)];
        sandbox.stripe("/v1/refunds", Some(key), &form).await
    };
    let (status, first) = refund("a", "100").await;
    assert_eq!(status, 200);
    assert_eq!(refund("a", "100").await, (200, first));
    assert_eq!(refund("a", "200").await.1["error"]["type"], "idempotency_error");
    assert_eq!(refund("b", "2001").await.1["error"]["param"], "amount");
    assert_eq!(refund("c", "2000").await.0, 200);
    let (status, error) = refund("d", "1").await;
    assert_eq!((status, &error["error"]["code"]), (400, &json!("charge_already_refunded")));
    assert_eq!(refund("d", "1").await, (status, error), "what was carried out is repeated");
    let (_, list) = sandbox.get(&format!("/v1/refunds?payment_intent={payment}&limit=1")).await;
    assert_eq!((&list["data"][0]["amount"], &list["has_more"]), (&json!(2000), &json!(true)));
    let (_, effects) = sandbox.get("/sandbox/effects?orderId=ORD-1").await;
    assert_eq!((&effects["refunds"], &effects["refundedMinor"]), (&json!(2), &json!(2100)));
}

#[tokio::test]
async fn open_sessions_are_listed_in_pages() {
    let World { sandbox, .. } = world(&[]).await;
    let mut open = std::collections::BTreeSet::new();
    for order_id in ["ORD-1", "ORD-2", "ORD-3"] {
        let session = sandbox.session(order_id).await;
        open.insert(session["id"].as_str().unwrap().to_owned());
    }
    let expired = open.pop_first().unwrap();
    let expire = format!("/v1/checkout/sessions/{expired}/expire");
    assert_eq!(sandbox.stripe(&expire, None, &[]).await.0, 200);
    let all = "/v1/checkout/sessions?status=open&limit=1";
    let (_, first) = sandbox.get(all).await;
    let last = first["data"][0]["id"].as_str().unwrap();
    let (_, second) = sandbox.get(&format!("{all}&starting_after={last}")).await;
    assert_eq!((&first["has_more"], &second["has_more"]), (&json!(true), &json!(false)));
    let listed = [&first, &second].map(|it| it["data"][0]["id"].as_str().unwrap().to_owned());
    assert_eq!(open, listed.into());
    let created_s = first["data"][0]["created"].as_u64().unwrap();
    for (since_s, count) in [(created_s - 60, 2), (created_s + 60, 0)] {
        let since = format!("/v1/checkout/sessions?status=open&created[gte]={since_s}");
        let (_, listed) = sandbox.get(&since).await;
        assert_eq!(listed["data"].as_array().unwrap().len(), count, "since {since_s}");
    }
}

#[tokio::test]
async fn what_is_done_at_the_providers_pages_is_told_and_counts() {
    let World { mut receiver, sandbox, .. } = world(&[]).await;
    let session = sandbox.session("ORD-1").await;
    let other = json!({ "amountMinor": 1900, "currency": "EUR" });
    act(&sandbox, &session, "pay", other).await;
    let paid = receiver.next().await.json()["data"]["object"].clone();
    assert_eq!((&paid["amount_total"], &paid["currency"]), (&json!(1900), &json!("eur")));
    let payment = paid["payment_intent"].as_str().unwrap();
    let by_hand = format!("/sandbox/payments/{payment}/refund");
    let (status, made) = sandbox.post(&by_hand, None, json!({ "amountMinor": 400 })).await;
    assert_eq!(status, 200, "{made}");
    let (created, charge) = (receiver.next().await.json(), receiver.next().await.json());
    assert_eq!(
        (&created["type"], &charge["type"]),
        (&json!("refund.created"), &json!("charge.refunded"))
    );
    assert_eq!(created["data"]["object"], made["object"]);
    assert_eq!(charge["data"]["object"]["amount_refunded"], 400);
    let refund = [("payment_intent", payment), ("amount", "1900")];
    assert_eq!(sandbox.stripe("/v1/refunds", None, &refund).await.1["error"]["param"], "amount");

    let fail = format!("/sandbox/refunds/{}/fail", made["object"]["id"].as_str().unwrap());
    assert_eq!(sandbox.post(&fail, None, json!({})).await.1["object"]["status"], "failed");
    let (failed, updated) = (receiver.next().await.json(), receiver.next().await.json());
    assert_eq!(
        (&failed["type"], &updated["type"]),
        (&json!("refund.failed"), &json!("charge.refund.updated"))
    );
    assert_eq!(sandbox.stripe("/v1/refunds", None, &refund).await.0, 200, "all is left again");
    assert_eq!(sandbox.post(&by_hand, None, json!({})).await.0, 409, "nothing is left");
    let (_, effects) = sandbox.get("/sandbox/effects?orderId=ORD-1").await;
    assert_eq!((&effects["refunds"], &effects["refundedMinor"]), (&json!(1), &json!(1900)));

    for (status, kind) in [("needs_response", "created"), ("lost", "closed")] {
        let path = format!("/sandbox/payments/{payment}/dispute/{status}");
        assert_eq!(sandbox.post(&path, None, json!({})).await.0, 200);
        let told = receiver.next().await.json();
        assert_eq!(told["type"], format!("charge.dispute.{kind}"));
        assert_eq!(told["data"]["object"]["status"], status);
    }
    for path in ["payments/pi_x/refund", "refunds/re_x/fail", "payments/pi_x/dispute/lost"] {
        assert_eq!(
            sandbox.post(&format!("/sandbox/{path}"), None, json!({})).await.0,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_the_customers_bank_has_taken_cannot_be_paid_back() {
    let World { mut receiver, sandbox, .. } = world(&[]).await;
    let session = sandbox.session("ORD-1").await;
    act(&sandbox, &session, "pay", json!({})).await;
    let paid = receiver.next().await.json();
    let payment = paid["data"]["object"]["payment_intent"].as_str().unwrap();
    let refund = async |amount: &str| {
        let form = [("payment_intent", payment), ("amount", amount)];
        let (status, answer) = sandbox.stripe("/v1/refunds", None, &form).await;
        if status == 200 { Value::Null } else { answer["error"]["code"].clone() }
    };
    // An inquiry takes nothing, and becomes a chargeback under its id.
    for (status, kind, minor, tries) in [
        ("warning_needs_response", "created", 2100, &[("100", Value::Null)][..]),
        ("needs_response", "updated", 2000, &[("1", json!("charge_disputed"))]),
        ("won", "closed", 2000, &[("100", Value::Null)]),
        ("lost", "closed", 500, &[("1401", json!("charge_disputed")), ("1400", Value::Null)]),
    ] {
        let path = format!("/sandbox/payments/{payment}/dispute/{status}");
        let (answer, told) = sandbox.post(&path, None, json!({ "amountMinor": minor })).await;
        assert_eq!(answer, 200, "{told}");
        let event = receiver.next().await.json();
        assert_eq!(event["type"], format!("charge.dispute.{kind}"));
        let (_, list) = sandbox.get(&format!("/v1/disputes?payment_intent={payment}")).await;
        assert_eq!(list["data"], json!([event["data"]["object"]]));
        assert_eq!(
            (&list["data"][0]["status"], &list["data"][0]["amount"]),
            (&json!(status), &json!(minor))
        );
        for (amount, code) in tries {
            assert_eq!(refund(amount).await, *code, "{amount} while {status}");
        }
    }
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let World { sandbox, .. } = world(&[]).await;
    let path = "/v1/checkout/sessions";
    let mut form = session_form("ORD-1").to_vec();
    form[0].1 = "subscription";
    assert_eq!(sandbox.stripe(path, Some("k"), &form).await.0, 400);
    form[0].1 = "payment";
    assert_eq!(sandbox.stripe(path, Some("k"), &form).await.0, 200);
    assert_eq!(sandbox.get("/sandbox/effects").await.1["sessions"], 1);
}

#[tokio::test]
async fn a_restart_forgets_nothing_and_sends_what_was_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let sandbox = Sandbox::start(dir.path(), receiver.address).await;
    let form = session_form("ORD-1");
    let path = "/v1/checkout/sessions";
    let (_, session) = sandbox.stripe(path, Some("k"), &form).await;
    act(&sandbox, &session, "pay", json!({})).await;
    receiver.next().await;
    let refund = [("payment_intent", "pi_unseen"), ("amount", "5")];
    let (_, refunded) = sandbox.stripe("/v1/refunds", Some("r"), &refund).await;
    let (_, parcel) =
        sandbox.post("/courier/shipments", Some("s"), json!({"orderId": "ORD-1"})).await;
    // This process will not live to send it.
    let later = json!({ "delayMs": 3_600_000 });
    sandbox.post("/sandbox/orders/ORD-1/delivered", None, later).await;
    sandbox.kill().await;

    let journal = dir.path().join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let now = text.lines().map(|line| due_now(line) + "\n").collect::<String>();
    std::fs::write(&journal, now).unwrap();
    let sandbox = Sandbox::start(dir.path(), receiver.address).await;
    assert_eq!(receiver.next().await.json()["status"], "delivered");
    assert_eq!(sandbox.stripe(path, Some("k"), &form).await.1, session);
    assert_eq!(sandbox.stripe("/v1/refunds", Some("r"), &refund).await.1, refunded);
    let (_, effects) = sandbox.get("/sandbox/effects").await;
    for (name, count) in [("sessions", 1), ("sessionsPaid", 1), ("refunds", 1), ("shipments", 1)] {
        assert_eq!(effects[name], count, "{name}: {effects}");
    }
    let tracked = format!("/courier/shipments/{}", parcel["shipmentId"].as_str().unwrap());
    assert_eq!(sandbox.get(&tracked).await.1["status"], "delivered");
}

/// The same line with every webhook due at once.
fn due_now(line: &str) -> String {
    let mut records: Vec<Value> = serde_json::from_str(line).unwrap();
    for webhook in records.iter_mut().filter_map(|it| it.get_mut("webhook_queued")) {
        webhook["not_before_ms"] = json!(0);
    }
    json!(records).to_string()
}

#[tokio::test]
async fn strangers_and_wrong_requests_get_stripes_errors() {
    let World { sandbox, .. } = world(&[]).await;
    let url = format!("{}/v1/refunds", sandbox.base);
    let client = reqwest::Client::new();
    let anonymous = client.post(&url).send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
    let json_body = client.post(&url).bearer_auth(support::API_KEY).json(&json!({}));
    assert_eq!(json_body.send().await.unwrap().status(), 400);
    let (status, error) = sandbox.get("/v1/nothing").await;
    assert_eq!((status, &error["error"]["type"]), (404, &json!("invalid_request_error")));
    let (status, error) = sandbox.stripe("/v1/refunds", None, &[("payment_intent", "x")]).await;
    assert_eq!((status, &error["error"]["code"]), (400, &json!("resource_missing")));
    let session = sandbox.session("ORD-1").await;
    assert_eq!(act(&sandbox, &session, "pay", json!({ "reapeat": 1 })).await.0, 422);
    assert_eq!(act(&sandbox, &session, "steal", json!({})).await.0, 404);
    assert_eq!(sandbox.post("/sandbox/sessions/cs_none/pay", None, json!({})).await.0, 404);
}
