//! The connection and the claims, against a real nats-server.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod claims;
mod connection;
mod lost;
mod presence;
mod server;
mod ways;
