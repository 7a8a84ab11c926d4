//! The outside world of development: Stripe and a courier, on the wire.
//!
//! The services call it as they would call the providers, and get its webhooks with real
//! signatures. It shares no code with them: what it knows, it knows from the providers' documents.
//! It does nothing by itself; `/sandbox/…` tells it when a customer pays or a parcel arrives.
//!
//! Reading order: [`config`], then `world` (what exists), `journal` (how it outlives a kill),
//! `office` (the one place where the world changes), `stripe`, `courier`, `control` and `dashboard`
//! (the doors), `webhook` (what it sends).
//!
//! What is absent: sessions do not expire by the clock, and a session that the services expire
//! themselves sends no webhook, as nothing happens here that nobody asked for.

pub mod config;
mod control;
mod courier;
mod dashboard;
mod journal;
mod office;
mod server;
mod signature;
mod stripe;
mod webhook;
mod world;

pub use server::{StartError, run};
