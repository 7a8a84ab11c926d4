//! Which clock and which store a process believes in: the rules alone, so that they can be tested,
//! and played in random worlds. Nothing here reads a clock, a file or a wire: `chassis` does, and
//! asks here.

pub mod clock;
pub mod store;
