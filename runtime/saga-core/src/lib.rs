//! The pure heart of Fermata: journals, replay, waits, undos, lanes.

pub mod abort;
pub mod ctx;
pub mod effect;
mod engine;
pub mod filter;
pub mod fold;
pub mod id;
pub mod input;
pub mod journal;
pub mod message;
pub mod payload;
pub mod replay;
pub mod saga;
pub mod scope;
pub mod store;
pub mod wait;
