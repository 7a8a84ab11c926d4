//! Bad input gets a clear answer at the door, changes nothing and loses nothing.

use reqwest::Method;
use serde_json::{Value, json};
use std::process::Command;
use system_tests::{
    Failure,
    client::{Api, As, order_of, text},
    scenarios::PROCESS_ORDER,
    stack::{Stack, python},
};

/// One request, and what must come of it.
struct Row {
    name: &'static str,
    who: As,
    method: Method,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: String,
    status: u16,
    /// What the problem must name: a JSON pointer, or a part of the detail.
    names: &'static str,
}

fn row(
    name: &'static str,
    url: String,
    body: impl ToString,
    status: u16,
    names: &'static str,
) -> Row {
    let (who, method, headers) = (As::Anyone, Method::POST, Vec::new());
    Row { name, who, method, url, headers, body: body.to_string(), status, names }
}

impl Row {
    fn by(mut self, who: As) -> Row {
        self.who = who;
        self
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Row {
        self.headers.push((name, value.to_string()));
        self
    }

    fn get(mut self) -> Row {
        self.method = Method::GET;
        self
    }

    async fn check(&self, api: &Api) -> Result<(), Failure> {
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer =
            api.raw(self.who, self.method.clone(), &self.url, &headers, &self.body).await?;
        let problem = answer.to_string();
        let is_right = answer.status.as_u16() == self.status
            && answer.body["status"] == self.status
            && answer.body["title"].is_string()
            && problem.contains(self.names);
        if is_right {
            return Ok(());
        }
        Err(format!("{}: expected {} naming {}, got {problem}", self.name, self.status, self.names))
    }
}

/// An order with one field changed.
fn changed(pointer: &str, value: Value) -> Value {
    let mut order = order_of(2, false, "bob");
    match order.pointer_mut(pointer) {
        Some(field) => *field = value,
        None => order[pointer.trim_start_matches('/')] = value,
    }
    order
}

fn orders(api: &Api) -> Vec<Row> {
    let url = || format!("{}/api/orders", api.urls().order);
    let bad = |name, body: Value, names| row(name, url(), body, 422, names);
    vec![
        bad("a wrong type", changed("/items/0/quantity", json!("two")), "/items/0/quantity"),
        bad("an unknown field", changed("/coupon", json!("X")), "/coupon"),
        bad("a negative quantity", changed("/items/0/quantity", json!(-1)), "/items/0/quantity"),
        bad("no items", changed("/items", json!([])), "/items"),
        bad("three decimals", changed("/items/0/price", json!("50.001")), "/items/0/price"),
        bad("a total that is not the sum", changed("/total", json!("99.00")), "/total"),
        bad("no mail address", changed("/customer/email", json!("bob")), "/customer/email"),
        row("a body over the limit", url(), "x".repeat(2 << 20), 413, "limit"),
        row("no JSON", url(), "{\"items\":", 400, "JSON"),
        row("no JSON by its type", url(), "items=1", 415, "application/json")
            .with("Content-Type", "text/plain"),
        row("an unknown path", format!("{}s", url()), "{}", 404, "404"),
    ]
}

fn people(api: &Api, order_id: &str, saga_id: &str) -> Vec<Row> {
    let approve = || format!("{}/api/orders/approve", api.urls().order);
    let order = |id: &str| format!("{}/api/orders/{id}", api.urls().order);
    let cancel = || format!("{}/api/sagas/{saga_id}/cancel", api.urls().runtime);
    let yes = |id: &str| json!({ "orderId": id, "approved": true });
    let why = json!({ "reason": "test" });
    vec![
        row("an unknown order", order("ORD-none"), "", 404, "404").get().by(As::Viewer),
        row("a look without a token", order(order_id), "", 401, "401").get(),
        row("a decision without a token", approve(), yes(order_id), 401, "401"),
        row("a decision by a viewer", approve(), yes(order_id), 403, "approver").by(As::Viewer),
        row("a decision that nothing asks for", approve(), yes(order_id), 404, "404")
            .by(As::Approver),
        row("a decision on an unknown order", approve(), yes("ORD-none"), 404, "404")
            .by(As::Approver),
        row(
            "a rejection without a reason",
            approve(),
            json!({ "orderId": order_id, "approved": false }),
            422,
            "/reason",
        )
        .by(As::Approver),
        row("a cancel by a manager", cancel(), &why, 403, "operator").by(As::Approver),
        row("a cancel without a reason", cancel(), json!({ "reason": "" }), 422, "/reason")
            .by(As::Operator),
        row("a move that is none", cancel().replace("/cancel", "/explode"), &why, 404, "404")
            .by(As::Operator),
        row(
            "a saga that is none",
            cancel().replace(saga_id, &uuid::Uuid::now_v7().to_string()),
            &why,
            404,
            "404",
        )
        .by(As::Operator),
    ]
}

fn webhooks(
    api: &Api,
    signed: impl Fn(&str, i64) -> Result<String, Failure>,
) -> Result<Vec<Row>, Failure> {
    let stripe = || format!("{}/webhooks/stripe", api.urls().payment);
    let courier = || format!("{}/webhooks/courier", api.urls().delivery);
    let body = r#"{"id":"evt_1","object":"event","type":"checkout.session.completed"}"#;
    let bad = |name, signature: String, names| {
        row(name, stripe(), body, 400, names).with("Stripe-Signature", signature)
    };
    let now = chrono::Utc::now().timestamp();
    let status = r#"{"orderId":"ORD-none","status":"delivered"}"#;
    Ok(vec![
        bad("a signature that is none", "nonsense".to_owned(), "malformed"),
        bad("a signature of somebody else", format!("t={now},v1={}", "0".repeat(64)), "signature"),
        bad("a signature of long ago", signed(body, -301)?, "timestamp"),
        // It comes nearer until it is sent; the exact border is tested where time is an argument.
        bad("a signature of the future", signed(body, 360)?, "timestamp"),
        row("no signature", stripe(), body, 400, "ignature"),
        row("a courier without a signature", courier(), status, 400, "ignature"),
        row("a courier of somebody else", courier(), status, 400, "ignature")
            .with("X-Timestamp", now)
            .with("X-Signature", format!("sha256={}", "0".repeat(64))),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_input_gets_its_answer_and_changes_nothing() -> Result<(), Failure> {
    let stack = Stack::start(&[]).await?;
    let api = stack.api();
    let order_id = api.place(&order_of(2, false, "bob")).await?;
    let order = api.order_is(&order_id, "awaiting_payment").await?;
    let saga = api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
    let secret = stack.env()["STRIPE_WEBHOOK_SECRET"].clone();
    let signed = |body: &str, seconds: i64| stripe_signature(&secret, body, seconds);
    let saga_id = text(&saga, "/id")?;
    let rows = [orders(api), people(api, &order_id, &saga_id), webhooks(api, signed)?];
    let mut wrong = Vec::new();
    for row in rows.iter().flatten() {
        wrong.extend(row.check(api).await.err());
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(api.order(&order_id).await?, order, "nothing changed");
    let journal = api.journal(&saga_id).await?.len();
    api.customer(&text(&order, "/paymentSessionId")?, "pay", json!({})).await?;
    api.order_is(&order_id, "shipped").await?;
    assert!(journal < api.journal(&saga_id).await?.len(), "and the order goes on");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_and_different_decision_comes_too_late() -> Result<(), Failure> {
    let stack = Stack::start(&[]).await?;
    let api = stack.api();
    let order_id = api.place(&order_of(1000, true, "ann")).await?;
    api.order_is(&order_id, "awaiting_approval").await?;
    let saga = api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
    let task =
        format!("{}/api/tasks/{}/decision", api.urls().runtime, text(&saga, "/waits/0/taskId")?);
    api.approve(&order_id, true).await?.expect(202)?;
    api.approve(&order_id, true).await?.expect(200)?;
    api.approve(&order_id, false).await?.expect(409)?;
    let decision = |approved| json!({ "approved": approved, "reason": "looked at it" });
    api.post(As::Approver, &task, &decision(true)).await?.expect(200)?;
    api.post(As::Approver, &task, &decision(false)).await?.expect(409)?;
    api.order_is(&order_id, "awaiting_payment").await?;
    Ok(())
}

/// A header made by Stripe's own package.
fn stripe_signature(secret: &str, body: &str, seconds: i64) -> Result<String, Failure> {
    let code = "import sys, stripe\n\
                secret, body, at = sys.argv[1:]\n\
                make = stripe.WebhookSignature.generate_signature_header\n\
                print(make(body, secret, timestamp=int(at)), end='')";
    let at = (chrono::Utc::now().timestamp() + seconds).to_string();
    let made = Command::new(python()?).args(["-c", code, secret, body, &at]).output();
    let made = made.map_err(|err| format!("failed to run python: {err}"))?;
    if made.status.success() {
        return String::from_utf8(made.stdout).map_err(|err| err.to_string());
    }
    Err(format!("stripe's package failed: {}", String::from_utf8_lossy(&made.stderr)))
}
