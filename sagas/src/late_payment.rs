//! Money that comes when its order has ended: it goes back, unless it is what the order was paid
//! with.

use crate::process_order::Output;
use proto_schemas::payments::{PaymentDetails, RefundPayment};
use saga_core::{
    abort::Abort,
    ctx::Ctx,
    saga::{Declared, LateInput, Saga},
};
use serde::{Deserialize, Serialize};

/// The late arm of [`process_order`](crate::process_order).
pub struct LatePayment;

/// What was done with the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// It goes back to the customer.
    Refunded,
    /// It had paid for the goods: the provider only told it again.
    KnownAlready,
}

impl Saga for LatePayment {
    const NAME: &'static str = "process-order.late";
    type Input = LateInput;
    type Output = Settled;
    type Settings = ();

    fn events() -> Vec<Declared> {
        Vec::new()
    }

    async fn run(ctx: Ctx, late: LateInput) -> Result<Settled, Abort> {
        let paid: PaymentDetails = match late.event.body.decode() {
            Ok(paid) => paid,
            Err(err) => {
                // Money is never silent: after a commit a failure is for a person.
                ctx.commit();
                return Err(Abort::failed(format!("the late payment cannot be read: {err}")));
            }
        };
        let output: Option<Output> = late.ended.output.and_then(|it| it.decode().ok());
        if output.as_ref().is_some_and(|it| it.session_id == paid.session_id) {
            return Ok(Settled::KnownAlready);
        }
        if output.is_none() && late.ended.committed {
            // Goods have left, and nobody knows what they were paid with.
            ctx.commit();
            let ended = late.ended.id;
            return Err(Abort::failed(format!(
                "paid after {ended} had shipped and was ended by hand"
            )));
        }
        match ctx.call(RefundPayment::of(&paid)).await {
            Ok(_) => Ok(Settled::Refunded),
            Err(refused) => {
                // An undo that is refused stays owed: a person can have it tried again.
                ctx.undo(RefundPayment::of(&paid));
                Err(refused.into())
            }
        }
    }
}
