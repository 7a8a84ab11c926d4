//! Webhooks signed by packages that others wrote, as the providers sign them.

use crate::{
    Failure,
    client::{Answer, Api, As},
    stack::{Stack, python},
};
use reqwest::Method;
use serde_json::{Value, json};
use std::process::Command;

const STRIPE: &str = "import sys, stripe\n\
    secret, body, at = sys.argv[1:]\n\
    make = stripe.WebhookSignature.generate_signature_header\n\
    print(make(body, secret, timestamp=int(at)), end='')";
const COURIER: &str = "import hashlib, hmac, sys\n\
    secret, body, at = sys.argv[1:]\n\
    signed = hmac.new(secret.encode(), f'{at}.{body}'.encode(), hashlib.sha256)\n\
    print('sha256=' + signed.hexdigest(), end='')";

/// Stripe's event of this type about a session of an order over 100.00 USD.
pub fn stripe_event(kind: &str, order_id: &str, session: &str, is_paid: bool) -> Value {
    json!({
        "id": format!("evt_{}", uuid::Uuid::new_v4().simple()),
        "object": "event",
        "type": kind,
        "created": chrono::Utc::now().timestamp(),
        "data": { "object": {
            "id": session, "object": "checkout.session", "client_reference_id": order_id,
            "payment_status": if is_paid { "paid" } else { "unpaid" },
            "payment_intent": format!("pi_{}", uuid::Uuid::new_v4().simple()),
            "amount_total": 10_000, "currency": "usd",
        } },
    })
}

/// Sends an event to the payment service, signed by Stripe's own package `seconds` from now.
///
/// # Errors
/// It was not signed, or no answer came.
pub async fn stripe(
    stack: &Stack,
    api: &Api,
    event: &Value,
    seconds: i64,
) -> Result<Answer, Failure> {
    let (body, at) = (event.to_string(), chrono::Utc::now().timestamp() + seconds);
    let header = signature(STRIPE, &stack.env()["STRIPE_WEBHOOK_SECRET"], &body, at)?;
    let url = format!("{}/webhooks/stripe", api.urls().payment);
    api.raw(As::Anyone, Method::POST, &url, &[("Stripe-Signature", &header)], &body).await
}

/// Sends the courier's word to the delivery service, signed `seconds` from now.
///
/// # Errors
/// It was not signed, or no answer came.
pub async fn courier(
    stack: &Stack,
    api: &Api,
    order_id: &str,
    status: &str,
    seconds: i64,
) -> Result<Answer, Failure> {
    courier_says(stack, api, &json!({ "orderId": order_id, "status": status }), seconds).await
}

/// The same, in the courier's own words.
///
/// # Errors
/// It was not signed, or no answer came.
pub async fn courier_says(
    stack: &Stack,
    api: &Api,
    said: &Value,
    seconds: i64,
) -> Result<Answer, Failure> {
    let body = said.to_string();
    let at = chrono::Utc::now().timestamp() + seconds;
    let header = signature(COURIER, &stack.env()["COURIER_WEBHOOK_SECRET"], &body, at)?;
    let url = format!("{}/webhooks/courier", api.urls().delivery);
    let headers = [("X-Timestamp", &*at.to_string()), ("X-Signature", &*header)];
    api.raw(As::Anyone, Method::POST, &url, &headers, &body).await
}

fn signature(code: &str, secret: &str, body: &str, at: i64) -> Result<String, Failure> {
    let secret = secret.split(',').next().unwrap_or_default();
    let made = Command::new(python()?).args(["-c", code, secret, body, &at.to_string()]).output();
    let made = made.map_err(|err| format!("failed to run python: {err}"))?;
    if made.status.success() {
        return String::from_utf8(made.stdout).map_err(|err| err.to_string());
    }
    Err(format!("nothing was signed: {}", String::from_utf8_lossy(&made.stderr)))
}
