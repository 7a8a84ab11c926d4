//! Delivery: parcels, and what the courier says of them.
//!
//! - `parcels`: what is stored of a parcel, and how its status moves.
//! - `courier`: the courier's wire: its API, when there is one, and its webhooks' signatures.
//! - `hand_over`, `stop`: the procedures that need the courier.
//! - `hooks`: every webhook's verdict, and the event that it becomes.
//!
//! Absent: carriers with interfaces of their own. Each will be a translation into `courier`.

mod courier;
mod hand_over;
mod hooks;
mod parcels;
mod settings;
mod signature;
mod stop;

use proto_schemas::delivery::{DeliveryState, GetStatus};
use service_kit::{App, Outcome, Process, Rejection, Service, Tx, webhooks};
use std::sync::Arc;

pub use settings::Settings;

/// Who the process is.
pub const PROCESS: Process = Process {
    name: "delivery",
    title: "Delivery service",
    description: "Delivery: parcels, and what the courier says of them",
    port: 3004,
};

/// The procedures: what `$SRV.INFO` lists.
pub fn service(settings: &Settings) -> Service {
    let courier = settings.courier_base.clone().map(courier::Courier::new).map(Arc::new);
    Service::new(PROCESS.name, PROCESS.description)
        .effect(hand_over::HandOver::new(courier.clone()))
        .effect(stop::Stop::new(courier))
        .query(get_status)
}

/// The service with its routes.
pub fn app(settings: Settings) -> App {
    App::new(service(&settings))
        .routes(move |context| webhooks::routes(&context, hooks::Courier::new(&settings)))
}

fn get_status(tx: &Tx, asked: GetStatus) -> Outcome<DeliveryState> {
    let parcel = parcels::of_order(tx, &asked.order_id)?.ok_or_else(|| {
        let reason = format!("order {} has no parcel", asked.order_id);
        Rejection::new("unknown_parcel", reason).status(404)
    })?;
    Ok(DeliveryState {
        order_id: parcel.order_id,
        shipment_id: parcel.shipment_id,
        tracking_number: parcel.tracking_number,
        status: parcel.status,
    })
}

#[cfg(test)]
mod tests;
