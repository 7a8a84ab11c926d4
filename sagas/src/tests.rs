//! The definitions, in a world of models.
//!
//! - `shop`: the five services as rules, and what must hold of what they did.
//! - `world`: a desk with the shop behind it; one line of a test is one thing that happens.
//! - `paths`: every way through the sagas, by name.
//! - `goldens`: each way as text; the diff is the review.
//! - `replays`: of every journal: the same decisions follow, and other code is found.
//! - `money`: a payment at every moment at which it may come is earned or refunded, once.
//! - `mishaps`: everything that can go wrong, one thing at a time.
//! - `claims`: what the definitions promise beside that.
//! - `acceptance`: the lines of the acceptance that take days.
//!
//! Each input goes to a core that keeps futures between turns and to one that keeps none, and the
//! desk compares what they write: so every test here runs with a future cache of zero as well.

mod acceptance;
mod claims;
mod goldens;
mod mishaps;
mod money;
mod paths;
mod replays;
mod shop;
mod world;
