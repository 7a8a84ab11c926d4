//! The messages of the order system: one type for each subject, with its reply, its checks and its
//! schema.
//!
//! Read `table` first: one line for each message. The shapes are in [`orders`], [`payments`],
//! [`inventory`], [`delivery`] and [`notifications`]; each request has an `of` that builds it from
//! what a saga has at hand. [`Amount`] and [`Currency`] are money without floats.
//!
//! Two ways to read a body:
//! - [`read`] is the door: what strangers send (HTTP bodies, requests on NATS) is checked strictly,
//!   with all faults at once as JSON pointers, unknown fields included.
//! - `serde` alone reads what was recorded and what the world publishes: unknown fields are
//!   ignored, so that a field can be added to an event, or removed from a request that stands in a
//!   journal.
//!
//! What is personal is of type [`Personal`], whose `Debug` shows nothing.
//!
//! Absent: HTTP, NATS, headers, clocks. A reason of an undo comes in the header `Abort-Reason`, so
//! no body has it.

mod amount;
mod charge;
mod check;
mod currency;
pub mod delivery;
mod documents;
pub mod inventory;
pub mod notifications;
pub mod orders;
pub mod payments;
#[doc(hidden)]
pub mod schema;
mod table;
mod text;
mod walk;

pub use amount::{AMOUNT_DIGITS_MAX, Amount, AmountError, sum_minor};
pub use charge::ChargeError;
pub use check::{Body, FAULTS_MAX, Fault, Refusal, read};
pub use currency::{Currency, UnknownCurrency};
pub use documents::{documents, procedure};
#[doc(hidden)]
pub use serde_json::Value;
pub use table::{Kind, MESSAGES, Message};
pub use text::{BadOrderId, ORDER_ID_CHARS_MAX, OrderId, Personal, is_sku, written_address};
