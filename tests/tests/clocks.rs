//! Processes whose clock is wrong.

use reqwest::Method;
use serde_json::json;
use std::{fs, time::Duration};
use system_tests::{
    Failure,
    client::{As, order_of, text},
    scenarios::{PROCESS_ORDER, Pace, Scenario},
    stack::Stack,
    until,
};
use tempfile::TempDir;

const YEAR_S: i64 = 365 * 24 * 3_600;

/// A file by which a process's clock is set.
struct Ahead(TempDir);

impl Ahead {
    fn by(seconds: i64) -> Result<Ahead, Failure> {
        let dir = tempfile::tempdir().map_err(|err| err.to_string())?;
        let ahead = Ahead(dir);
        ahead.set(seconds)?;
        Ok(ahead)
    }

    fn set(&self, seconds: i64) -> Result<(), Failure> {
        fs::write(self.path(), seconds.to_string()).map_err(|err| err.to_string())
    }

    fn path(&self) -> String {
        self.0.path().join("ahead").to_string_lossy().into_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_clock_that_is_twenty_minutes_ahead_cancels_no_order() -> Result<(), Failure> {
    let ahead = Ahead::by(20 * 60)?;
    let stack = Stack::start(&[("PAYMENT_CLOCK_AHEAD_FILE", &ahead.path())]).await?;
    let api = stack.api();
    let mut orders = Vec::new();
    for _ in 0..3 {
        orders.push(Scenario::Normal.place(api).await?);
    }
    for order_id in &orders {
        Scenario::Normal.play(api, order_id, &mut Pace::at_once()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_due_by_a_clock_that_jumps_until_a_person_says_that_it_is_right()
-> Result<(), Failure> {
    let ahead = Ahead::by(0)?;
    let stack = Stack::start(&[("FERMATA_CLOCK_AHEAD_FILE", &ahead.path())]).await?;
    let api = stack.api();
    let place = || async { api.place(&order_of(2, false, "bob")).await };
    let (paid, unpaid) = (place().await?, place().await?);
    let order = api.order_is(&paid, "awaiting_payment").await?;
    api.order_is(&unpaid, "awaiting_payment").await?;
    api.saga_is(PROCESS_ORDER, &unpaid, "waiting").await?;
    ahead.set(YEAR_S)?;
    let url = api.urls().runtime.clone();
    until("the clock is suspect", Duration::from_secs(20), || async {
        let ready = api.ask(As::Anyone, Method::GET, &format!("{url}/readyz"), None).await?;
        let says = ready.body["errors"].to_string();
        let is_so = ready.status == 503 && says.contains("/checks/clock");
        if is_so && says.contains("fermata clock accept") { Ok(()) } else { Err(says) }
    })
    .await?;
    let clock = api.get(&format!("{url}/api/clock")).await?;
    assert!(text(&clock, "/suspect")?.contains("was expected"), "{clock}");
    // Everything but what time brings goes on.
    api.customer(&text(&order, "/paymentSessionId")?, "pay", json!({})).await?;
    api.order_is(&paid, "shipped").await?;
    assert_eq!(api.order(&unpaid).await?["status"], "awaiting_payment", "nothing is due");
    let accept = format!("{url}/api/clock/accept");
    let why = json!({ "reason": "the machine was off" });
    api.post(As::Viewer, &accept, &why).await?.expect(403)?;
    api.post(As::Operator, &accept, &json!({})).await?.expect(422)?;
    api.post(As::Operator, &accept, &why).await?.expect(200)?;
    api.order_is(&unpaid, "cancelled").await?;
    api.post(As::Operator, &accept, &why).await?.expect(409)?;
    Ok(())
}
