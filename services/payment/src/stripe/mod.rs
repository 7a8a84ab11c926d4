//! Stripe on the wire: `docs.stripe.com/api`, version 2026-10-28, and its webhooks.

mod client;
mod dispute;
mod event;
mod session;
mod signature;

pub(crate) use client::{Client, Failure};
pub(crate) use dispute::{ProviderDispute, Standing};
pub(crate) use event::{HookEvent, Meaning};
pub(crate) use session::{ProviderRefund, ProviderSession};
pub(crate) use signature::{BadSignature, SIGNATURE_HEADER, verify};
