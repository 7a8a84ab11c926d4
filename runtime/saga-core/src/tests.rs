//! The rules of the engine, each with the tests that try to break it.

mod agenda;
mod answers;
mod aside;
mod bounds;
mod claims;
mod clocks;
mod counting;
mod decisions;
mod fixtures;
mod growth;
mod lanes;
mod limits;
mod moves;
mod mutations;
mod numbers;
mod offers;
mod orders;
mod owed;
mod quarantine;
mod reads;
mod replays;
mod routing;
mod rows;
mod scopes;
mod search;
mod words;
