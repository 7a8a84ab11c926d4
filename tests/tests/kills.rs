//! Sixty orders of all ways, while processes are killed as by a power cut: the short form of
//! `deploy/kills`.

use std::sync::Arc;
use system_tests::{Failure, kills::Run};

/// Another one would do as well; this one is planned alike in every run.
const SEED: u64 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_end_as_they_should_while_everything_is_killed() -> Result<(), Failure> {
    let parent = std::env::temp_dir();
    Run::short(SEED).run(&parent, Arc::new(|line: &str| println!("{line}"))).await
}
