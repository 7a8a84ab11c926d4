//! A service against a real nats-server: what callers see, and what becomes of events.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod events;
mod procedures;
mod process;
mod server;
