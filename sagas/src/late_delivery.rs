//! A courier's word that comes when its order has ended: after the last failed attempt a parcel can
//! still arrive, or come back.

use crate::process_order::{Outcome, Output};
use proto_schemas::{
    delivery::{DeliveryState, DeliveryStatus, DeliveryUpdated, GetStatus},
    orders::{OrderStatus, Shipment, UpdateStatus},
};
use saga_core::{
    abort::{Abort, Rejection},
    ctx::Ctx,
    saga::{Declared, LateInput, Saga},
};

/// The late arm of [`process_order`](crate::process_order) for its parcel.
pub struct LateDelivery;

impl Saga for LateDelivery {
    const NAME: &'static str = "process-order.late-delivery";
    type Input = LateInput;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        Vec::new()
    }

    async fn run(ctx: Ctx, late: LateInput) -> Result<(), Abort> {
        let said: DeliveryUpdated = match late.event.body.decode() {
            Ok(said) => said,
            Err(err) => {
                ctx.commit();
                return Err(Abort::failed(format!(
                    "the courier's late word cannot be read: {err}"
                )));
            }
        };
        let has_arrived = said.status == DeliveryStatus::Delivered;
        let ended = late.ended;
        let output: Option<Output> = ended.output.and_then(|it| it.decode().ok());
        let is_known = output.is_some_and(|it| it.outcome == Outcome::Delivered);
        if is_known || !(has_arrived || said.status == DeliveryStatus::Returned) {
            return Ok(());
        }
        // An order that was undone stays cancelled, whatever became of its parcel.
        if ended.committed {
            let parcel: Result<DeliveryState, Rejection> =
                ctx.call(GetStatus { order_id: said.order_id.clone() }).await;
            let shipment = parcel.ok().map(|it| Shipment {
                shipment_id: it.shipment_id,
                tracking_number: it.tracking_number,
                status: said.status.into(),
            });
            let status = has_arrived.then_some(OrderStatus::Completed);
            ctx.call(UpdateStatus { status, shipment, ..UpdateStatus::on(&said.order_id) }).await?;
        }
        if !has_arrived {
            return Ok(());
        }
        // Nobody but a person can close a ticket, or ask for money that went back.
        ctx.commit();
        let DeliveryUpdated { order_id, .. } = said;
        Err(Abort::failed(format!(
            "order {order_id} was delivered after {} had ended: see to its ticket, or to money \
             that went back",
            ended.id
        )))
    }
}
