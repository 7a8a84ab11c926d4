//! Orders: placed by customers, moved on by sagas, shown to whoever may see them.
//!
//! - `rows`: what is stored, and how lists find it.
//! - `risk`: the rules of the risk score.
//! - `place`, `progress`, `tickets`: what the procedures do, in one transaction each.
//! - `api`: the HTTP routes. `POST /api/orders` is the one public write of the product.
//!
//! An approval is no write here: it is handed to the runtime with the caller's own token
//! (`api::approve`), because the runtime alone knows what asks and who may decide.
//!
//! Absent: any opinion on what happens next with an order. That is the saga's.

mod api;
mod place;
mod progress;
mod risk;
mod rows;
mod tickets;

use chassis::config::Source;
use proto_schemas::orders::{Approve, Approved, CalculateRisk, Risk};
use service_kit::{App, Outcome, Process, Rejection, Service, Tx};

pub use risk::{REVIEW_MIN, score};

/// Who the process is.
pub const PROCESS: Process = Process {
    name: "order",
    title: "Order service",
    description: "Orders: placed, scored, moved on, and shown",
    port: 3001,
};

/// The service has no settings of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings;

impl Settings {
    /// Reads nothing.
    pub fn read(_: &mut Source) -> Option<Settings> {
        Some(Settings)
    }
}

/// The procedures: what `$SRV.INFO` lists.
pub fn service() -> Service {
    Service::new(PROCESS.name, PROCESS.description)
        .procedure(place::create)
        .procedure(progress::update_status)
        .procedure(tickets::open)
        .query(calculate_risk)
        .query(approve)
}

/// The service with its routes.
pub fn app(_: Settings) -> App {
    App::new(service()).routes(api::routes)
}

/// Pure, so it needs no key: the same order has the same score.
fn calculate_risk(_: &Tx, asked: CalculateRisk) -> Outcome<Risk> {
    Ok(score(&asked))
}

/// Nobody on NATS can show whose decision it is, so it is never taken there.
fn approve(_: &Tx, asked: Approve) -> Outcome<Approved> {
    let reason = format!(
        "a decision on {} needs its maker's token: POST /api/orders/approve",
        asked.order_id
    );
    Err(Rejection::new("unauthorized", reason).status(401).into())
}

#[cfg(test)]
mod tests;
