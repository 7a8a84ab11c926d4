//! Named points, in a process of their own: the test's binary starts itself as the child.

use chassis::crash::point;
use std::{
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitStatus},
};

const CHILD: &str = "CHASSIS_TEST_CRASH_CHILD";
const SIGKILL: i32 = 9;

/// Does nothing unless it was started as the child: then it passes two points three times.
#[test]
fn child_passes_points() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    for _ in 0..3 {
        point("first");
        point("second");
    }
}

fn child(environment: &str, plan: &str) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().expect("the test's own path"));
    command.args(["child_passes_points", "--exact"]).env(CHILD, "yes");
    command.env("FERMATA_ENV", environment).env("FERMATA_CRASH_AT", plan);
    command.output().expect("the child runs").status
}

#[test]
fn a_process_dies_at_the_point_that_was_asked_for() {
    assert_eq!(child("development", "second:3").signal(), Some(SIGKILL));
}

#[test]
fn a_point_that_is_not_passed_so_often_hurts_nobody() {
    assert!(child("development", "second:4").success());
    assert!(child("development", "third:1").success());
    assert!(child("development", "what is no plan").success());
}

#[test]
fn nothing_dies_in_production() {
    assert!(child("production", "second:1").success());
    assert!(child("", "second:1").success());
}
