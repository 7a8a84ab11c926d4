//! Runs sagas: the engine thread, the sled store, NATS, HTTP and the command line.
//!
//! ```text
//!  HTTP  NATS  clock                                        NATS  HTTP  acks
//!   └────┴─────┴──▶ Input ──▶ engine (one thread, saga-core) ──▶ Effect ──┴────┘
//!                                    │ one flush and fsync a batch
//!                                sled_store
//! ```
//!
//! Read [`engine`] first, then `nats_bus`, `http` and [`cli`]. What decides anything about a saga
//! is in `saga-core`; what guards sled, HTTP and NATS is in `chassis`; here is what ties them
//! together: when things are read, made durable and released, and what is owed when the process
//! comes back.
//!
//! Absent: rules of sagas, and any second way to the store. Nothing here is sent, acknowledged or
//! answered before the batch that it rests on is durable.

pub mod cli;
mod clock;
pub mod config;
mod door;
pub mod engine;
mod feed;
mod groups;
mod http;
mod lines;
mod names;
pub mod nats_bus;
mod search_key;
pub mod server;
mod sled_store;
mod telemetry;
mod turn_file;
mod watchdog;
