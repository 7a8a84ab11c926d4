//! The connection to the broker: named, confined to its user's inbox, never given up, and honest
//! about its state.
//!
//! What async-nats reports only as an asynchronous event becomes a gate of `/readyz`, a counter
//! and a log line here: a lost connection, a slow consumer (core messages were dropped), a
//! refused subject (the publisher itself only sees a time-out).

mod connection;
mod echo;
mod link;
mod pulse;
mod streams;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use connection::{CONNECT_WITHIN, RECONNECT_MS_MAX};
pub use connection::{Nats, NatsConfig, NatsError, Refusals};
pub(crate) use pulse::DEAD_AFTER;
pub use streams::{
    STORES, TRIGGERS, apply_stream, store_subject, stores_stream, trigger_subjects, triggers_stream,
};

/// Re-exported so that processes and this crate agree on the version.
pub use async_nats;
