//! Signals, in a process of their own: the test's binary starts itself as the child.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use chassis::shutdown::Shutdown;

const CHILD: &str = "CHASSIS_TEST_SHUTDOWN_CHILD";

/// Does nothing unless it was started as the child: then it stops at the first signal, or hangs
/// there and leaves the rest to the second.
#[tokio::test]
async fn child_waits_for_signals() {
    let Ok(kind) = std::env::var(CHILD) else { return };
    let shutdown = Shutdown::on_signals().expect("handlers are installed");
    println!("ready");
    shutdown.asked().await;
    println!("asked");
    if kind == "hangs" {
        std::future::pending::<()>().await;
    }
}

fn start(kind: &str) -> (Child, impl FnMut(&str)) {
    let mut child = Command::new(std::env::current_exe().expect("the test's own path"))
        .args(["child_waits_for_signals", "--exact", "--nocapture"])
        .env(CHILD, kind)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let wait_for = move |wanted: &str| {
        let is_wanted = |line: std::io::Result<String>| line.expect("text").ends_with(wanted);
        assert!(lines.any(is_wanted), "the child ended before it said {wanted}");
    };
    (child, wait_for)
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

#[test]
fn the_first_signal_asks_for_the_stop() {
    for name in ["-TERM", "-INT"] {
        let (mut child, mut wait_for) = start("stops");
        wait_for("ready");
        signal(&child, name);
        wait_for("asked");
        assert_eq!(child.wait().expect("ends").code(), Some(0), "{name}");
    }
}

#[test]
fn the_second_signal_ends_the_process_at_once() {
    let (mut child, mut wait_for) = start("hangs");
    wait_for("ready");
    signal(&child, "-INT");
    wait_for("asked");
    signal(&child, "-TERM");
    assert_eq!(child.wait().expect("ends").code(), Some(130));
}
