//! Payments: sessions at Stripe, what became of them, and money that goes back.
//!
//! - `stripe`: the provider's wire: its API as we use it, and its webhooks' signatures.
//! - `ledger`: what is stored of a session, the one place where its state changes, and where the
//!   outcome of a session becomes an event, once; `ledger::payments` the same of what goes back.
//! - `open`, `void`, `process`, `refund`: the procedures, each in three parts around its call to
//!   the provider.
//! - `went_back`: what the provider itself says of a payment's refunds and disputes.
//! - `hooks`: what each webhook says, and what becomes of it.
//! - `api`: the ledger of an order, for people.
//!
//! A session's money is known three ways: by webhook, by `payments.process`, and by voiding a
//! session that turns out to be paid. All three go through `ledger::settle`, so that a payment is
//! told to the world once, whichever comes first and however often.
//!
//! Absent: anything that knows what a payment is for, and any card data.

mod api;
mod hooks;
mod ledger;
mod open;
mod process;
mod refund;
mod settings;
mod stripe;
mod void;
mod went_back;

use service_kit::{App, Process, Service, webhooks};
use std::sync::Arc;

pub use settings::Settings;

/// Who the process is.
pub const PROCESS: Process = Process {
    name: "payment",
    title: "Payment service",
    description: "Payments: sessions at the provider, their outcome, and refunds",
    port: 3002,
};

/// The procedures: what `$SRV.INFO` lists.
pub fn service(settings: &Settings) -> Service {
    service_over(settings, Arc::new(stripe::Client::new(settings)))
}

fn service_over(settings: &Settings, stripe: Arc<stripe::Client>) -> Service {
    Service::new(PROCESS.name, PROCESS.description)
        .effect(open::OpenSession::new(Arc::clone(&stripe), settings))
        .effect(void::CloseSession::new(Arc::clone(&stripe)))
        .effect(process::LookUp::new(Arc::clone(&stripe)))
        .effect(refund::PayBack::new(stripe))
}

/// The service with its routes.
pub fn app(settings: Settings) -> App {
    let stripe = Arc::new(stripe::Client::new(&settings));
    let service = service_over(&settings, Arc::clone(&stripe));
    App::new(service).routes(move |context| {
        let hooks = webhooks::routes(&context, hooks::Stripe::new(&settings, stripe));
        hooks.merge(api::routes(context.handle))
    })
}

#[cfg(test)]
mod tests;
