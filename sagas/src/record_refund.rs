//! The order shows what was paid back. A refund is an undo, whose answer no definition sees; the
//! payment service tells of it by an event, and of each change of it by another one.
//!
//! Money that did not go back after all is for a person: the saga gives up after its commit, so
//! that it stands among those that need attention until somebody has seen to the customer's money
//! and ends it, with a reason. So it does when the order service refuses to show it, as it knows no
//! such order: a restored backup, or a checkout of somebody else's in the same account.

use proto_schemas::{
    orders::{OrderRefund, UpdateStatus},
    payments::{PaymentRefunded, RefundStatus},
};
use saga_core::{
    abort::{Abort, Rejection},
    ctx::Ctx,
    saga::{Declared, Saga, event, events},
};

/// Marks the runs that tell the order the currency, and a person what has failed.
const WHOSE_MONEY: &str = "refunds that fail are for a person";

/// One for each status of each refund.
pub struct RecordRefund;

impl Saga for RecordRefund {
    const NAME: &'static str = "record-refund";
    type Input = PaymentRefunded;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<PaymentRefunded>().starts().found_by("/orderId")])
    }

    async fn run(ctx: Ctx, refunded: PaymentRefunded) -> Result<(), Abort> {
        let PaymentRefunded { order_id, refund_id, amount, currency, status, .. } = refunded;
        let is_new = ctx.patched(WHOSE_MONEY);
        let refund = OrderRefund {
            refund_id: refund_id.clone(),
            amount,
            currency: is_new.then_some(currency),
            status,
        };
        let refund = Some(refund);
        let shown = ctx.call(UpdateStatus { refund, ..UpdateStatus::on(&order_id) }).await;
        let what = match status {
            RefundStatus::Failed => "has failed",
            RefundStatus::Canceled => "was cancelled",
            RefundStatus::Pending | RefundStatus::RequiresAction | RefundStatus::Succeeded => {
                shown?;
                return Ok(());
            }
        };
        // Nothing is what a refund comes to that was told before it had an id.
        if !is_new || amount.is_zero() {
            shown?;
            return Ok(());
        }
        let aside = not_shown(&ctx, shown)?;
        ctx.commit();
        Err(Abort::failed(format!(
            "refund {refund_id} of {amount} {currency} for order {order_id} {what}: the customer \
             does not have the money, so give it back at the provider or otherwise{aside}"
        )))
    }
}

/// Marks the runs in which a person hears of it though the order service refuses to show it.
const NOT_SHOWN: &str = "what an order does not show is for a person too";

/// What a person is told beside the rest when the order does not show it.
pub(crate) fn not_shown<T>(ctx: &Ctx, shown: Result<T, Rejection>) -> Result<String, Abort> {
    match shown {
        Ok(_) => Ok(String::new()),
        Err(refused) if ctx.patched(NOT_SHOWN) => {
            Ok(format!("; the order does not show it: {refused}"))
        }
        Err(refused) => Err(refused.into()),
    }
}
