//! Stripe's own client, from PyPI, takes the sandbox for Stripe.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use serde_json::json;
use std::{
    io::Write,
    process::{Output, Stdio},
};
use support::{API_KEY, Receiver, STRIPE_SECRETS, Sandbox, python};

#[tokio::test(flavor = "multi_thread")]
async fn stripes_client_creates_expires_and_refunds() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(&[]).await;
    let sandbox = Sandbox::start(dir.path(), receiver.address).await;
    let mut command = python("stripe_client.py");
    command.args(["client", &sandbox.base, API_KEY]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_clean(&output);
    assert!(receiver.is_empty(), "nothing happens that nobody asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn stripes_client_verifies_the_webhooks_with_each_secret() {
    let dir = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let sandbox = Sandbox::start(dir.path(), receiver.address).await;
    let mut webhooks = String::new();
    for (action, count) in [("pay", 1), ("fail", 2), ("expire", 1)] {
        let session = sandbox.session("ORD-é-1").await;
        let path = format!("/sandbox/sessions/{}/{action}", session["id"].as_str().unwrap());
        assert_eq!(sandbox.post(&path, None, json!({})).await.0, 200);
        for _ in 0..count {
            let it = receiver.next().await;
            let line = json!({ "payload": it.body, "header": it.header("stripe-signature") });
            webhooks += &format!("{line}\n");
        }
    }
    let mut command = python("stripe_client.py");
    command.arg("verify").args(STRIPE_SECRETS);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(webhooks.as_bytes()).unwrap();
    assert_clean(&child.wait_with_output().unwrap());
}

fn assert_clean(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
