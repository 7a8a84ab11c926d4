//! The runtime as a process of its own, over a real nats-server and real sled.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]
#![allow(missing_docs, unreachable_pub, reason = "tests")]

mod calls;
mod chat;
mod commands;
mod decisions;
mod demo;
mod evil;
mod figures;
mod intake;
mod lines;
mod moves;
mod offers;
mod owed;
mod replaced;
mod restarts;
mod search;
mod stores;
mod stream;
mod world;

/// Not a test by itself: the others start it as a process.
#[test]
fn a_child_process_is_the_command_line_when_it_is_asked_to_be() {
    if let Some(args) = world::child_args() {
        std::process::exit(saga_host::cli::run(args, demo::registry).into());
    }
}
