//! The rules of the engine, each with the tests that try to break it.

mod answers;
mod bounds;
mod claims;
mod clocks;
mod counting;
mod decisions;
mod fixtures;
mod moves;
mod mutations;
mod offers;
mod orders;
mod quarantine;
mod reads;
mod replays;
mod routing;
mod rows;
mod scopes;
mod search;
mod words;
