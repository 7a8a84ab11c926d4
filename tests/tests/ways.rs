//! Every way of an order through real processes, side by side.

use std::time::Duration;
use system_tests::{
    Failure,
    audit::{SKU, check},
    scenarios::play_all,
    stack::Stack,
};

/// Deadlines that a scenario can wait for, and that none misses on a busy machine.
const SETTINGS: [(&str, &str); 3] = [
    ("PROCESS_ORDER_APPROVAL_MS", "20000"),
    ("PROCESS_ORDER_PAYMENT_MS", "25000"),
    ("PROCESS_ORDER_DELIVERY_MS", "60000"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_an_order_ends_as_it_should() -> Result<(), Failure> {
    let mut stack = Stack::start(&SETTINGS).await?;
    let stock = stack.api().stock(SKU).await?;
    let ways = play_all(stack.api()).await?;
    assert!(ways.iter().any(|it| it.is_late), "the late arm has run");
    check(stack.api(), &stack.spool(), stock, &ways).await?;
    for process in system_tests::stack::PROCESSES.into_iter().rev() {
        stack.signal(process, libc::SIGTERM)?;
        let ended = tokio::time::timeout(Duration::from_secs(20), stack.ended(process)).await;
        let code = ended.map_err(|_| format!("{process} does not stop within 20 s"))??;
        let expected = if process == "nats-server" { [Some(0), Some(1)] } else { [Some(0); 2] };
        assert!(expected.contains(&code), "{process} ended with {code:?}");
    }
    Ok(())
}
