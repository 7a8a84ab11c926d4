//! Sixty orders of all ways, while processes are killed as by a power cut.

use std::time::Duration;
use system_tests::{
    Failure,
    audit::{SKU, check},
    client::Api,
    scenarios::{Pace, Scenario, Way},
    stack::Stack,
    until,
};
use tokio::task::JoinSet;

/// Long enough that no order misses a deadline because a process was just killed.
const SETTINGS: [(&str, &str); 3] = [
    ("PROCESS_ORDER_APPROVAL_MS", "30000"),
    ("PROCESS_ORDER_PAYMENT_MS", "45000"),
    ("PROCESS_ORDER_DELIVERY_MS", "600000"),
];

const ORDERS: usize = 60;

/// Who is killed, in order: the runtime ten times, all others twice.
const KILLS: [&str; 22] = [
    "fermata",
    "warehouse",
    "fermata",
    "payment",
    "nats-server",
    "fermata",
    "order",
    "fermata",
    "delivery",
    "fermata",
    "notification",
    "warehouse",
    "fermata",
    "payment",
    "fermata",
    "order",
    "nats-server",
    "fermata",
    "delivery",
    "notification",
    "fermata",
    "fermata",
];

/// Plays one order to its end.
async fn run(api: Api, scenario: Scenario) -> Result<Way, Failure> {
    let order_id = scenario.place(&api).await?;
    let res = scenario.play(&api, &order_id, &mut Pace::at_once()).await;
    res.map_err(|why| format!("{} {order_id}: {why}", scenario.name()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_end_as_they_should_while_everything_is_killed() -> Result<(), Failure> {
    let mut stack = Stack::start(&SETTINGS).await?;
    let stock = stack.api().stock(SKU).await?;
    let mut runs = JoinSet::new();
    let mut numbers = 0..ORDERS;
    for (at, process) in KILLS.into_iter().enumerate() {
        // Half of the orders begin before the first kill, and some more right before each one, so
        // that it comes in the middle of their work.
        for number in numbers.by_ref().take((ORDERS * (at + 1)).div_ceil(KILLS.len()) - runs.len())
        {
            let (api, scenario) =
                (stack.api().clone(), Scenario::ALL[number % Scenario::ALL.len()]);
            runs.spawn(run(api, scenario));
        }
        stack.kill(process)?;
        stack.spawn(process)?;
        stack.ready(process).await?;
    }
    let mut ways = Vec::new();
    while let Some(run) = runs.join_next().await {
        ways.push(run.map_err(|err| err.to_string())??);
    }
    until("goods, money and mails are as they should", Duration::from_secs(30), || async {
        check(stack.api(), &stack.spool(), stock, &ways).await
    })
    .await
}
