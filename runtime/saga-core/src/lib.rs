//! The pure heart of Fermata: what a saga is, and everything that has to be decided about it.
//!
//! A saga is an `async fn` over a [`ctx::Ctx`]. It asks services, holds for the world, and may stop
//! for months. What the world tells it is a *fact*, what its code asks for on a fact is a list of
//! *decisions*; both together are an entry of its [`journal`], appended whole. The journal is the
//! only truth. Three pure functions carry the rest:
//!
//! - [`replay`]: journal + code → decisions. Code that asks for anything else in a stored turn is
//!   found, named and held.
//! - [`fold`](mod@fold): journal → what is open, what is owed, how it ended. It needs no author
//!   code, so a saga whose code is broken can still be shown, paused, and undone.
//! - [`fold::unwind`]: journal → the undos that are owed, newest first.
//!
//! [`core::Core`] is the sequencer around them. It takes [`input::Input`]s, orders the one log,
//! matches events with waits, lets the driver run turns, and gives out [`effect::Effect`]s once the
//! batch that asked for them is durable in a [`store::Store`]. Whoever drives it gives it its
//! inputs by way of a [`line::Line`], where those wait whose saga has to be read first.
//!
//! Reading order: [`message`], [`saga`], [`ctx`], [`wait`], [`scope`] (what an author sees);
//! [`journal`], [`mod@fold`], [`replay`] (what a saga is); [`core`] (what orders them).
//!
//! Absent, and held absent by the manifest and the crate's `clippy.toml`: clocks, randomness,
//! threads, files, sockets, maps without order. Time is an argument, ids are derived from the
//! log, and whoever calls decides when to wait.

pub mod abort;
pub mod codec;
pub mod core;
pub mod ctx;
mod differ;
mod driver;
pub mod effect;
mod engine;
pub mod exact;
pub mod filter;
pub mod fold;
pub mod head;
pub mod id;
pub mod input;
pub mod journal;
mod lanes;
pub mod line;
pub mod message;
pub mod moves;
pub mod payload;
pub mod render;
pub mod replay;
pub mod saga;
pub mod scope;
pub mod search;
pub mod store;
mod subject;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod text;
mod txn;
pub mod wait;
pub mod watch;
