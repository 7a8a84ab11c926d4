//! Runs sagas: the engine thread, the sled store, NATS, HTTP and the command line.

#[allow(dead_code, reason = "used by the engine")]
mod sled_store;
