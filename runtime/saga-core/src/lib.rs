//! The pure heart of Fermata: journals, replay, waits, undos, lanes.

pub mod filter;
pub mod message;
