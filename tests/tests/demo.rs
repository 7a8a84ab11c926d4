//! The demonstration sees what is wrong.

use std::process::Command;
use system_tests::{
    Failure,
    stack::{Stack, binary},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_badly_and_names_the_scenario_when_a_service_is_broken() -> Result<(), Failure> {
    let mut stack = Stack::start(&[]).await?;
    // Orders are taken and paid, and nobody ships them.
    stack.kill("delivery")?;
    let mut command = Command::new(binary("demo")?);
    command.envs(stack.env()).env("SCENARIO_PATIENCE_S", "10");
    let run = command.output().map_err(|err| format!("failed to run the demo: {err}"))?;
    let said = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("demo: failed: ") && last.contains("normal order"), "{last}");
    assert!(!last.contains("payment failed"), "what does not need the courier is well: {last}");
    Ok(())
}
