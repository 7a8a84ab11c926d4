//! Runs the scenarios of the order saga side by side against a running system, prints each journal
//! as it grows, and ends non-zero when one ends otherwise than it should.
//!
//! The addresses and tokens come from the environment, in the names of `deploy/dev.env`.
#![allow(clippy::print_stdout, reason = "a demonstration is there to be read")]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    time::{Duration, Instant},
};
use system_tests::{
    Failure,
    client::{Api, text},
    scenarios::{Pace, Scenario},
};
use tokio::{sync::watch, task::JoinSet};

/// How often the journals are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> ExitCode {
    let env: BTreeMap<String, String> = std::env::vars().collect();
    let api = match Api::of(&env) {
        Ok(api) => api,
        Err(why) => {
            println!(
                "demo: {why}: run it through deploy/up --demo, or set what deploy/dev.env sets"
            );
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let mut runs = JoinSet::new();
    for scenario in Scenario::ALL {
        let api = api.clone();
        runs.spawn(async move { (scenario, run(&api, scenario, began).await) });
    }
    let mut failed = BTreeSet::new();
    while let Some(run) = runs.join_next().await {
        match run {
            Ok((scenario, Ok(()))) => say(began, scenario, "ended as it should"),
            Ok((scenario, Err(why))) => {
                say(began, scenario, &format!("FAILED: {why}"));
                failed.insert(scenario.name());
            }
            Err(panic) => {
                println!("a scenario broke off: {panic}");
                failed.insert("a scenario that broke off");
            }
        }
    }
    let (seconds, count) = (began.elapsed().as_secs(), Scenario::ALL.len() - failed.len());
    println!(
        "demo: {count} of {} scenarios ended as they should, {seconds} s",
        Scenario::ALL.len()
    );
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("demo: failed: {}", failed.into_iter().collect::<Vec<_>>().join(", "));
    ExitCode::FAILURE
}

fn say(began: Instant, scenario: Scenario, what: &str) {
    println!("{:6.1}s [{}] {what}", began.elapsed().as_secs_f64(), scenario.name());
}

async fn run(api: &Api, scenario: Scenario, began: Instant) -> Result<(), Failure> {
    let order_id = scenario.place(api).await?;
    say(began, scenario, &format!("order {order_id} placed"));
    let (over, is_over) = watch::channel(false);
    let printer = tokio::spawn(print(api.clone(), scenario, order_id.clone(), began, is_over));
    let res = scenario.play(api, &order_id, &mut Pace::at_once()).await;
    // The printer may be gone already, if it could not go on.
    let _ = over.send(true);
    printer.await.map_err(|err| format!("its journal could not be printed: {err}"))?;
    res.map(|_| ())
}

/// Prints what is new in the journals of this order, until the scenario is over and all is printed.
async fn print(
    api: Api,
    scenario: Scenario,
    order_id: String,
    began: Instant,
    is_over: watch::Receiver<bool>,
) {
    let mut printed: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        let is_last = *is_over.borrow();
        for saga in api.sagas_of(&order_id).await.unwrap_or_default() {
            let Ok(id) = text(&saga, "/id") else { continue };
            let journal = api.journal(&id).await.unwrap_or_default();
            let seen = printed.entry(id).or_default();
            for record in journal.iter().skip(*seen) {
                let definition = saga["definition"].as_str().unwrap_or_default();
                say(began, scenario, &format!("{definition}: {}", line(record)));
            }
            *seen = journal.len().max(*seen);
        }
        if is_last {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A record of a journal in one line.
fn line(record: &Value) -> String {
    let part = |name: &str| match &record[name] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let names =
        ["step", "kind", "subject", "event", "events", "scope", "reason", "until", "output"];
    names.iter().filter_map(|it| part(it)).collect::<Vec<_>>().join(" ")
}
