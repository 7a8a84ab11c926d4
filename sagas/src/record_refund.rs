//! The order shows what was paid back. A refund is an undo, whose answer no definition sees; the
//! payment service tells of it by an event.

use proto_schemas::{
    orders::{OrderRefund, UpdateStatus},
    payments::PaymentRefunded,
};
use saga_core::{
    abort::Abort,
    ctx::Ctx,
    saga::{Declared, Saga, event, events},
};

/// One for each refund.
pub struct RecordRefund;

impl Saga for RecordRefund {
    const NAME: &'static str = "record-refund";
    type Input = PaymentRefunded;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<PaymentRefunded>().starts()])
    }

    async fn run(ctx: Ctx, refunded: PaymentRefunded) -> Result<(), Abort> {
        let PaymentRefunded { order_id, refund_id, amount, status, .. } = refunded;
        let refund = Some(OrderRefund { refund_id, amount, status });
        ctx.call(UpdateStatus { refund, ..UpdateStatus::on(&order_id) }).await?;
        Ok(())
    }
}
