//! The benchmark itself: that it runs, and that programs can read what it says. Its figures are
//! asserted nowhere.

use serde_json::Value;
use std::{
    fs::read_to_string,
    process::{Command, Output, Stdio},
    time::Duration,
};
use system_tests::{Failure, until};

const WITHIN: Duration = Duration::from_secs(60);

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).args(args).output().expect("the benchmark starts")
}

#[test]
fn a_brief_run_prints_one_json_object_with_every_figure() {
    let output = bench(&["--json", "--brief"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "it failed: {said}");
    // Nothing but one object: a second value, or a line of text, would be refused here.
    let figures: Value = serde_json::from_slice(&output.stdout).expect("stdout is one JSON value");
    for figure in [
        "/w1/c200/sagas_per_s",
        "/w1/c200/p50_ms",
        "/w1/c200/p99_ms",
        "/w1/c200/floor_p50_ms",
        "/w1/c200/fsyncs_per_saga",
        "/w1/c200/rows_per_saga",
        "/w1/c500/sagas_per_s",
        "/w1/latency50/p50_ms",
        "/w1/latency50/p99_ms",
        "/w1/latency50/floor_p50_ms",
        "/w1/latency50/floor_p99_ms",
        "/w1/latency50_evicted/p50_ms",
        "/w1/latency50_evicted/p99_ms",
        "/w2/sagas",
        "/w2/disk_bytes_per_saga",
        "/w2/memory_bytes_per_saga",
        "/w2/first_resume_s",
        "/w3/steps_per_s",
        "/process_order/orders_per_s",
        "/flood/alone/p99_ms",
        "/flood/paced/sent/p99_ratio",
        "/flood/paced/handled_s",
        "/flood/burst/sent_s",
    ] {
        let number = figures.pointer(figure).and_then(Value::as_f64);
        assert!(number.is_some_and(|it| it >= 0.0), "{figure} is {number:?} in {figures}");
    }
    assert!(figures["w1"]["c200"]["sagas_per_s"].as_f64() > Some(0.0), "{figures}");
    assert!(figures["profile"].is_string() && figures["fileSystem"].is_string(), "{figures}");
    assert!(said.contains("fdatasync"), "what is for people goes to stderr: {said}");
}

#[test]
fn what_it_does_not_know_is_named_and_nothing_runs() {
    for (args, why) in [
        (&["w9"][..], "there is no load w9: w1, w2, w3, orders, flood, budget"),
        (&["w2", "--parked", "many"], "--parked needs a number of sagas, such as 100000"),
    ] {
        let output = bench(args);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        assert_eq!(String::from_utf8_lossy(&output.stderr).trim(), format!("bench: {why}"));
    }
}

#[tokio::test]
async fn a_run_that_is_stopped_leaves_no_process() -> Result<(), Failure> {
    let bench = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["w2", "--parked", "100000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut bench = bench.map_err(|err| err.to_string())?;
    let started: Vec<String> = until("its broker and runtime run", WITHIN, || async {
        let tasks = format!("/proc/{}/task", bench.id());
        let tasks = std::fs::read_dir(tasks).map_err(|err| err.to_string())?;
        let of_task = |it: std::fs::DirEntry| read_to_string(it.path().join("children")).ok();
        let pids: Vec<String> = tasks.flatten().filter_map(of_task).collect();
        let pids: Vec<String> =
            pids.iter().flat_map(|it| it.split_whitespace()).map(str::to_owned).collect();
        if pids.len() < 2 { Err(format!("{pids:?}")) } else { Ok(pids) }
    })
    .await?;
    let asked = Command::new("kill").args(["-TERM", &bench.id().to_string()]).status();
    assert!(asked.is_ok_and(|it| it.success()), "it was there to be stopped");
    let status = bench.wait().map_err(|err| err.to_string())?;
    assert_eq!(status.code(), Some(1));
    for pid in started {
        let stat = read_to_string(format!("/proc/{pid}/comm"));
        assert!(stat.is_err(), "process {pid} is left: {stat:?}");
    }
    Ok(())
}
