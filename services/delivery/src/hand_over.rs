//! `delivery.create-shipment`.

use crate::{
    courier::{Courier, CourierParcel},
    hooks,
    parcels::{self, Parcel},
};
use proto_schemas::delivery::{CreateShipment, ShipmentCreated, ShipmentStatus};
use service_kit::{Attempt, Begun, Call, Effect, Outcome, Rejection, Tx, WorkError};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Bytes of the hash in an id: 64 bits tell the parcels of a shop apart.
const ID_HASH_BYTES: usize = 8;

pub(crate) struct HandOver {
    courier: Option<Arc<Courier>>,
}

impl HandOver {
    pub(crate) fn new(courier: Option<Arc<Courier>>) -> HandOver {
        HandOver { courier }
    }
}

impl Effect for HandOver {
    type Request = CreateShipment;
    type Intent = CreateShipment;
    type Done = CourierParcel;

    fn begin(
        &self,
        tx: &mut Tx,
        call: &Call<CreateShipment>,
    ) -> Outcome<Begun<CreateShipment, ShipmentCreated>> {
        // An order has one parcel at a time, whoever asks for it.
        let known = parcels::of_order(tx, &call.body.order_id)?;
        if let Some(parcel) = known.filter(Parcel::is_there) {
            return Ok(Begun::Done(reply(parcel)));
        }
        if self.courier.is_some() {
            return Ok(Begun::Work(call.body.clone()));
        }
        let tracking_number = format!("FER{}", id_of(call).to_ascii_uppercase());
        let parcel = written(call, tracking_number, None);
        hooks::handed_over(tx, parcel.clone(), call.at)?;
        Ok(Begun::Done(reply(parcel)))
    }

    async fn work(
        &self,
        intent: CreateShipment,
        attempt: Attempt,
    ) -> Result<CourierParcel, WorkError> {
        let Some(courier) = &self.courier else {
            return Err(WorkError::Failed("COURIER_API_BASE is not set any more".into()));
        };
        if attempt.may_have_happened
            && let Some(parcel) = courier.of_order(intent.order_id.as_str()).await?
        {
            return Ok(parcel);
        }
        courier.create(&intent, &attempt.key).await
    }

    fn finish(
        &self,
        tx: &mut Tx,
        call: &Call<CreateShipment>,
        _: CreateShipment,
        done: Result<CourierParcel, Rejection>,
    ) -> Outcome<ShipmentCreated> {
        let at_courier = done?;
        let parcel = written(call, at_courier.tracking_number, Some(at_courier.shipment_id));
        hooks::handed_over(tx, parcel.clone(), call.at)?;
        Ok(reply(parcel))
    }
}

fn written(
    call: &Call<CreateShipment>,
    tracking_number: String,
    courier_id: Option<String>,
) -> Parcel {
    Parcel {
        shipment_id: format!("S-{}", id_of(call)),
        order_id: call.body.order_id.clone(),
        tracking_number,
        status: ShipmentStatus::Created,
        courier_id,
        created_at: call.at,
        stopped: false,
    }
}

/// The same for each repeat of the call.
fn id_of(call: &Call<CreateShipment>) -> String {
    let hash = Sha256::digest(format!("{}\n{}", call.body.order_id, call.key));
    hex::encode(&hash[..ID_HASH_BYTES])
}

fn reply(parcel: Parcel) -> ShipmentCreated {
    let Parcel { shipment_id, tracking_number, .. } = parcel;
    ShipmentCreated { shipment_id, tracking_number }
}
