//! The benchmark itself: that it runs, and that programs can read what it says. Its figures are
//! asserted nowhere.

use serde_json::Value;
use std::process::{Command, Output};

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
        (&["w9"][..], "there is no load w9: w1, w2, w3, orders, budget"),
        (&["w2", "--parked", "many"], "--parked needs a number of sagas, such as 100000"),
    ] {
        let output = bench(args);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        assert_eq!(String::from_utf8_lossy(&output.stderr).trim(), format!("bench: {why}"));
    }
}
