//! The rules of the engine, each with the tests that try to break it.

mod fixtures;
mod moves;
mod orders;
mod routing;
mod scopes;
