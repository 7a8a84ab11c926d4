//! `delivery.cancel-shipment`: the undo of `delivery.create-shipment`.
//!
//! None at all is fine, and so is one that was stopped or came back. One that was delivered cannot
//! be stopped, and one on its way only if the courier lets it: a person has to see to these.
//!
//! That no row tells of a parcel is no proof: a store that was put back from a backup has forgotten
//! what was handed over since. The courier knows, and is asked by the order.

use crate::{
    courier::{Courier, Stopped},
    parcels::{self, Parcel},
};
use proto_schemas::{
    OrderId,
    delivery::{CancelShipment, ShipmentCancelled, ShipmentStatus},
};
use serde::{Deserialize, Serialize};
use service_kit::{Attempt, Begun, Call, Effect, Outcome, Rejection, Tx, WorkError};
use std::sync::Arc;

pub(crate) struct Stop {
    courier: Option<Arc<Courier>>,
}

/// Without a tag, as older releases wrote the first of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(crate) enum Intent {
    /// Stop this parcel.
    Known { courier_id: String },
    /// Stop what the courier has of this order.
    Unknown { order_id: OrderId },
}

impl Stop {
    pub(crate) fn new(courier: Option<Arc<Courier>>) -> Stop {
        Stop { courier }
    }
}

impl Effect for Stop {
    type Request = CancelShipment;
    type Intent = Intent;
    type Done = Stopped;

    fn begin(
        &self,
        tx: &mut Tx,
        call: &Call<CancelShipment>,
    ) -> Outcome<Begun<Intent, ShipmentCancelled>> {
        let order_id = call.body.order_id.clone();
        let known = parcels::of_order(tx, &order_id)?;
        // Another may have been handed over after one that was stopped.
        let is_there = known.as_ref().is_some_and(Parcel::is_there);
        if !is_there && self.courier.is_some() {
            return Ok(Begun::Work(Intent::Unknown { order_id }));
        }
        let Some(parcel) = known else {
            return Ok(Begun::Done(ShipmentCancelled { order_id, shipment_id: None }));
        };
        match (parcel.status, &parcel.courier_id) {
            (ShipmentStatus::Delivered, _) => Err(delivered(&parcel).into()),
            (ShipmentStatus::Cancelled | ShipmentStatus::Returned, _) => {
                Ok(Begun::Done(reply(parcel)))
            }
            (_, Some(id)) => Ok(Begun::Work(Intent::Known { courier_id: id.clone() })),
            (_, None) => stopped(tx, parcel).map(Begun::Done),
        }
    }

    async fn work(&self, intent: Intent, attempt: Attempt) -> Result<Stopped, WorkError> {
        let Some(courier) = &self.courier else {
            return Err(WorkError::Failed("COURIER_API_BASE is not set any more".into()));
        };
        let courier_id = match intent {
            Intent::Known { courier_id } => courier_id,
            Intent::Unknown { order_id } => match courier.of_order(order_id.as_str()).await? {
                Some(parcel) => parcel.shipment_id,
                None => return Ok(Stopped::Unknown),
            },
        };
        courier.cancel(&courier_id, &attempt.key).await
    }

    fn finish(
        &self,
        tx: &mut Tx,
        call: &Call<CancelShipment>,
        _: Intent,
        done: Result<Stopped, Rejection>,
    ) -> Outcome<ShipmentCancelled> {
        let order_id = call.body.order_id.clone();
        match (done?, parcels::of_order(tx, &order_id)?) {
            (Stopped::Yes | Stopped::Unknown, Some(parcel)) => stopped(tx, parcel),
            (_, None) => Ok(ShipmentCancelled { order_id, shipment_id: None }),
        }
    }
}

fn stopped(tx: &mut Tx, mut parcel: Parcel) -> Outcome<ShipmentCancelled> {
    if parcel.status == ShipmentStatus::Delivered {
        // It arrived while the courier was asked.
        return Err(delivered(&parcel).into());
    }
    parcel.stopped = true;
    // What came back is not stopped any more.
    if parcels::moves(parcel.status, ShipmentStatus::Cancelled) {
        parcel.status = ShipmentStatus::Cancelled;
    }
    parcels::put(tx, &parcel)?;
    Ok(reply(parcel))
}

fn delivered(parcel: &Parcel) -> Rejection {
    let reason = format!("shipment {} of {} was delivered", parcel.shipment_id, parcel.order_id);
    Rejection::new("already_delivered", reason)
}

fn reply(parcel: Parcel) -> ShipmentCancelled {
    ShipmentCancelled { order_id: parcel.order_id, shipment_id: Some(parcel.shipment_id) }
}
