//! The warehouse: what is on the shelf, what is held for orders, what has left.
//!
//! [`app`] is the whole service: the procedures `inventory.*` over the moves of `stock`, the stock
//! over HTTP, and the first fill of an empty store. The kit makes each call act once per key,
//! orders an undo behind its call, and writes with one thread; so nothing here is concurrent.

mod api;
mod fill;
mod stock;

pub use fill::{Fill, Settings};

use proto_schemas::inventory::{CheckAvailability, Release, Reserve, Ship};
use service_kit::{App, Process, Service};

/// Who this process is.
pub const PROCESS: Process = Process {
    name: "warehouse",
    title: "Warehouse",
    description: "Holds stock for orders and lets it go; never sells a piece twice.",
    port: 3003,
};

/// The service, ready for [`service_kit::run`].
pub fn app(settings: Settings) -> App {
    App::new(service())
        .first(move |tx, _| fill::fill_empty(tx, settings.fill))
        .routes(|context| api::routes(context.handle))
}

fn service() -> Service {
    Service::new(PROCESS.name, PROCESS.description)
        .query(|tx, ask: CheckAvailability| stock::availability(tx, &ask.items))
        .procedure::<Reserve>(|tx, call| stock::reserve(tx, &call.body.order_id, &call.body.items))
        .procedure::<Release>(|tx, call| {
            stock::release(tx, &call.body.order_id, call.undo.is_some())
        })
        .procedure::<Ship>(|tx, call| stock::ship(tx, &call.body.order_id))
}

#[cfg(test)]
mod tests;
