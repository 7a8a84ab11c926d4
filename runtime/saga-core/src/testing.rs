//! What a test of sagas needs: a host to play with, services to ask, and the tests that every saga
//! has to pass.
//!
//! - [`Desk`] plays the host over real [`Core`](crate::core::Core)s. One line of a test is one
//!   input; after each one it checks what must always hold.
//! - [`Services`] answer requests as services over the kit do: once for each key, with undos and
//!   calls put in order by it. Their [`Ledger`] says what they really did.
//! - [`Scenario`] is a definition with its input and the world around it. [`Scenario::try_all`]
//!   runs it straight, and then again and again with one thing going wrong each time.

mod check;
mod desk;
mod run;
mod scenario;
mod services;

pub use desk::{Desk, admin};
pub use run::{Mishap, Outcome, Pick, Unanswered};
pub use scenario::Scenario;
pub use services::{Act, Ledger, Services};
