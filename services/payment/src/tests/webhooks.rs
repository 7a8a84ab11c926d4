//! The webhook's door, with signatures made by Stripe's own library.

use super::{OLD_WEBHOOK_SECRET, WEBHOOK_SECRET, settings, store};
use crate::{
    PROCESS, app,
    hooks::{Stripe, Verdict},
    stripe::Client,
};
use axum::http::HeaderMap;
use chrono::Utc;
use serde_json::{Value, json};
use service_kit::{
    Tx,
    conformance::door::{Door, events, python},
    webhooks::{self, Provider as _},
};
use std::sync::Arc;

async fn open() -> Door {
    Door::open(PROCESS, app(settings("http://127.0.0.1:1"))).await
}

async fn post(door: &Door, signature: Option<&str>, body: &str) -> (u16, Value) {
    let headers: Vec<_> = signature.map(|it| ("Stripe-Signature", it)).into_iter().collect();
    let answer = door.post("/webhooks/stripe", &headers, body).await;
    (answer.status, answer.body)
}

async fn verdicts(door: &Door, query: &str) -> Value {
    let (status, page) = door.get(&format!("/api/webhooks{query}")).await;
    assert_eq!(status, 200, "{page}");
    page
}

/// The header that Stripe's own library makes for this body.
fn signed_by_stripe(body: &str, secret: &str, time_s: i64) -> String {
    const PROGRAM: &str = "import sys, stripe\n\
        body = sys.stdin.buffer.read().decode()\n\
        make = stripe.WebhookSignature.generate_signature_header\n\
        sys.stdout.write(make(body, sys.argv[1], int(sys.argv[2])))";
    python(PROGRAM, &[secret, &time_s.to_string()], body)
}

fn event(id: &str, kind: &str, order_id: &str, payment_status: &str) -> String {
    let object = json!({
        "id": "cs_test_1",
        "object": "checkout.session",
        "client_reference_id": order_id,
        "payment_intent": "pi_1",
        "payment_status": payment_status,
        "amount_total": 14_999,
        "currency": "usd",
        "customer_details": { "email": "someone@example.com", "name": "Zoë" },
        "something_new": { "of": ["Stripe's"] },
    });
    // Pretty-printed as Stripe does: only the raw body fits the signature.
    let event = json!({ "id": id, "object": "event", "type": kind, "data": { "object": object } });
    format!("{event:#}")
}

#[tokio::test]
async fn a_webhook_signed_by_stripes_library_becomes_an_event_once() {
    let door = open().await;
    let now_s = Utc::now().timestamp();
    let body = event("evt_1", "checkout.session.completed", "o-1", "paid");
    let header = signed_by_stripe(&body, WEBHOOK_SECRET, now_s);
    for _ in 0..3 {
        let (status, answer) = post(&door, Some(&header), &body).await;
        assert_eq!((status, &answer["verdict"]), (200, &json!("published")), "{answer}");
    }
    // The same news under another id, signed with the secret that is being replaced.
    let again = event("evt_2", "checkout.session.completed", "o-1", "paid");
    let header = signed_by_stripe(&again, OLD_WEBHOOK_SECRET, now_s);
    let (status, answer) = post(&door, Some(&header), &again).await;
    assert_eq!((status, &answer["verdict"]), (200, &json!("duplicate")), "{answer}");
    let page = verdicts(&door, "?orderId=o-1").await;
    let ids: Vec<_> = page["items"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, ["evt_2", "evt_1"]);
    let one = verdicts(&door, "?id=evt_1").await;
    assert_eq!(one["items"][0]["sessionId"], "cs_test_1");
    assert!(!page.to_string().contains("someone@example.com"));
    let first = verdicts(&door, "?limit=1").await;
    let next = first["next"].as_str().unwrap();
    assert_eq!(
        verdicts(&door, &format!("?limit=1&cursor={next}")).await["items"][0]["id"],
        "evt_1"
    );
    let events = door.close().await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["id"], "evt_1");
    assert_eq!(events[0]["key"], "o-1");
    assert_eq!(events[0]["subject"], "payments.trigger.completed");
    let body = json!({
        "orderId": "o-1", "sessionId": "cs_test_1", "paymentId": "pi_1",
        "amount": "149.99", "currency": "USD",
    });
    assert_eq!(events[0]["body"], body);
}

/// Whatever is named in it: a provider does not know how long a key of ours may be.
#[tokio::test]
async fn a_genuine_webhook_is_answered_200_however_long_what_it_names_is() {
    let door = open().await;
    let long = "x".repeat(2_000);
    for (kind, path, verdict) in [
        ("checkout.session.completed", "/id", "no_order"),
        ("checkout.session.completed", "/payment_intent", "published"),
        ("checkout.session.expired", "/id", "no_order"),
        ("checkout.session.completed", "/client_reference_id", "no_order"),
        ("refund.updated", "/id", "no_amount"),
        ("refund.updated", "/payment_intent", "no_order"),
        ("charge.refunded", "/id", "no_amount"),
        ("charge.dispute.created", "/id", "no_amount"),
    ] {
        let body = event("", kind, "o-1", "paid");
        let mut body: Value = serde_json::from_str(&body).unwrap();
        let object = &mut body["data"]["object"];
        (object["amount"], object["amount_refunded"]) = (json!(1), json!(1));
        *object.pointer_mut(path).unwrap() = json!(long);
        body["id"] = json!(format!("evt_{kind}{path}").replace(['.', '/'], "_"));
        let body = body.to_string();
        let header = signed_by_stripe(&body, WEBHOOK_SECRET, Utc::now().timestamp());
        let (status, answer) = post(&door, Some(&header), &body).await;
        assert_eq!((status, &answer["verdict"]), (200, &json!(verdict)), "{kind} {path}: {answer}");
    }
    door.close().await;
}

/// It is read behind the words "the payment failed".
#[tokio::test]
async fn the_reason_of_a_failed_payment_does_not_say_again_that_it_failed() {
    for kind in ["expired", "async_payment_failed"] {
        let door = open().await;
        let body = event("evt_1", &format!("checkout.session.{kind}"), "o-1", "unpaid");
        let header = signed_by_stripe(&body, WEBHOOK_SECRET, Utc::now().timestamp());
        let (status, answer) = post(&door, Some(&header), &body).await;
        assert_eq!((status, &answer["verdict"]), (200, &json!("published")), "{answer}");
        let events = door.close().await;
        let reason = events[0]["body"]["reason"].as_str().unwrap();
        assert!(!reason.contains("the payment failed"), "{kind}: {reason}");
    }
}

#[tokio::test]
async fn a_webhook_that_is_not_genuine_or_not_timely_is_refused_and_leaves_nothing() {
    let door = open().await;
    let now_s = Utc::now().timestamp();
    let body = event("evt_1", "checkout.session.completed", "o-1", "paid");
    let good = signed_by_stripe(&body, WEBHOOK_SECRET, now_s);
    let compact = serde_json::from_str::<Value>(&body).unwrap().to_string();
    let old = signed_by_stripe(&body, WEBHOOK_SECRET, now_s - 400);
    let early = signed_by_stripe(&body, WEBHOOK_SECRET, now_s + 400);
    let foreign = signed_by_stripe(&body, "whsec_of_somebody", now_s);
    let v0 = good.replace("v1=", "v0=");
    for (header, body) in [
        (None, &body),
        (Some("nonsense"), &body),
        (Some(old.as_str()), &body),
        (Some(&early), &body),
        (Some(&foreign), &body),
        (Some(&v0), &body),
        (Some(&good), &compact),
    ] {
        let (status, problem) = post(&door, header, body).await;
        assert_eq!((status, &problem["status"]), (400, &json!(400)), "{header:?}: {problem}");
    }
    assert_eq!(verdicts(&door, "").await, json!({ "items": [], "next": null }));
    let metrics = door.client.get(format!("{}/metrics", door.base)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("fermata_webhooks_refused_total 7"), "{metrics}");
    assert_eq!(door.close().await, [] as [Value; 0]);
}

#[test]
fn a_webhook_is_timely_by_the_providers_clock_or_by_ours() {
    let settings = settings("http://127.0.0.1:1");
    let client = Arc::new(Client::new(&settings));
    let stripe = Stripe::new(&settings, Arc::clone(&client));
    let body = event("evt_1", "checkout.session.completed", "o-1", "paid");
    let now_s = Utc::now().timestamp();
    let check = |made_s| {
        let header = signed_by_stripe(&body, WEBHOOK_SECRET, made_s);
        let headers = [("stripe-signature".parse().unwrap(), header.parse().unwrap())];
        stripe.check(&HeaderMap::from_iter(headers), body.as_bytes(), now_s).is_ok()
    };
    assert_eq!((check(now_s), check(now_s + 3_600)), (true, false), "ours alone");
    client.hear_time(now_s + 3_600);
    assert!(check(now_s + 3_600), "ours is an hour behind");
    assert!(check(now_s), "the provider's has stood still, or was a stranger's");
    assert!(!check(now_s + 1_800));
}

#[tokio::test]
async fn a_webhook_over_the_limit_is_a_413() {
    let door = open().await;
    let (status, problem) = post(&door, None, &"x".repeat(2 << 20)).await;
    assert_eq!((status, &problem["status"]), (413, &json!(413)));
    door.close().await;
}

/// Takes webhooks one after the other; gives their verdicts and the subjects of the events.
#[track_caller]
fn play(bodies: &[String]) -> (Vec<Verdict>, Vec<String>) {
    let (db, _dir) = store();
    let mut tx = Tx::over(&db);
    let take = |body: &String| {
        let came = Stripe::read(&HeaderMap::new(), body.as_bytes());
        webhooks::take::<Stripe>(&mut tx, came, Utc::now()).unwrap().verdict
    };
    let verdicts = bodies.iter().map(take).collect();
    db.commit(tx.into_batch(), 1).unwrap();
    let subjects = events(&db).into_iter().map(|it| it["subject"].as_str().unwrap().to_owned());
    (verdicts, subjects.collect())
}

/// Half of an emoji in a name hides neither the payment nor the order.
#[tokio::test]
async fn a_signed_webhook_with_half_of_a_character_is_taken_and_found_by_its_order() {
    let door = open().await;
    let whole = event("evt_1", "checkout.session.completed", "ORD-half", "paid");
    let body = whole.replace("Zo\u{eb}", "Zo\\ud83d");
    let signature = signed_by_stripe(&body, WEBHOOK_SECRET, Utc::now().timestamp());
    let (status, answer) = post(&door, Some(&signature), &body).await;
    assert_eq!((status, &answer["verdict"]), (200, &json!("published")), "{answer}");
    let found = verdicts(&door, "?orderId=ORD-half").await;
    assert_eq!(found["items"][0]["id"], "evt_1", "{found}");
    assert_eq!(door.close().await.len(), 1, "and its event is told");
}

#[test]
fn each_kind_of_webhook_has_its_verdict() {
    use Verdict::*;
    const PAID: &str = "payments.trigger.completed";
    const FAILED: &str = "payments.trigger.failed";
    let one = |kind: &str, payment_status: &str| {
        play(&[event("evt_1", &format!("checkout.session.{kind}"), "o-1", payment_status)])
    };
    let told = |verdict, subject: &str| (vec![verdict], vec![subject.to_owned()]);
    let silent = |verdict| (vec![verdict], Vec::<String>::new());
    assert_eq!(one("completed", "paid"), told(Published, PAID));
    assert_eq!(one("completed", "no_payment_required"), told(Published, PAID));
    assert_eq!(one("completed", "unpaid"), silent(Processing));
    assert_eq!(one("async_payment_succeeded", "paid"), told(Published, PAID));
    assert_eq!(one("async_payment_failed", "unpaid"), told(Published, FAILED));
    assert_eq!(one("expired", "unpaid"), told(Published, FAILED));
    assert_eq!(one("something_new", "unpaid"), silent(Ignored));
    let other = event("evt_1", "payment_intent.succeeded", "o-1", "paid");
    assert_eq!(play(&[other]), silent(Ignored));
    let nobody = event("evt_1", "checkout.session.completed", "no such id!", "paid");
    assert_eq!(play(&[nobody]), silent(NoOrder));
    for text in ["", "null", "[]", "5", "{}", "{\"id\":5}", "not json"] {
        assert_eq!(play(&[text.to_owned()]), silent(Unreadable), "{text}");
    }
    let body = event("evt_1", "checkout.session.completed", "o-1", "paid");
    let cut = body.replace("Zo\u{eb}", "Zo\\ud83d");
    assert_ne!(cut, body);
    assert_eq!(play(&[cut]), told(Published, PAID), "a name that was cut inside an emoji");
    let unsaid = body.replace("14999", "null").replace("\"usd\"", "null");
    assert_eq!(play(&[unsaid]), silent(NoAmount));
    for strange in ["null", "-1", "149.99", "\"14999\""] {
        let body = body.replace("14999", strange);
        assert_eq!(play(&[body]), silent(UnreadableAmount), "{strange}");
    }
}

#[test]
fn out_of_order_a_payment_is_told_once_and_a_failure_never_after_it() {
    use Verdict::*;
    let of = |id: &str, kind: &str, paid: &str| {
        event(id, &format!("checkout.session.{kind}"), "o-1", paid)
    };
    let (verdicts, subjects) = play(&[
        of("evt_2", "async_payment_succeeded", "paid"),
        of("evt_1", "completed", "unpaid"),
        of("evt_3", "completed", "paid"),
        of("evt_4", "expired", "unpaid"),
    ]);
    assert_eq!(verdicts, [Published, Processing, Duplicate, Duplicate]);
    assert_eq!(subjects, ["payments.trigger.completed"]);
    // Money that comes after a failure is money.
    let (verdicts, subjects) = play(&[
        of("evt_1", "async_payment_failed", "unpaid"),
        of("evt_2", "async_payment_succeeded", "paid"),
    ]);
    assert_eq!(verdicts, [Published, Published]);
    assert_eq!(subjects, ["payments.trigger.failed", "payments.trigger.completed"]);
}
