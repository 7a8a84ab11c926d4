//! The order shows what the customer's bank takes back. Nobody but a person can answer a bank, so a
//! dispute that is new or lost ends the saga's code after its commit: it stands among those that
//! need attention until somebody has seen to it and ends it, with a reason, also when the order
//! service refuses to show it.

use crate::record_refund::not_shown;
use proto_schemas::{
    orders::{OrderDispute, UpdateStatus},
    payments::{DisputeStatus, PaymentDisputed},
};
use saga_core::{
    abort::Abort,
    ctx::Ctx,
    saga::{Declared, Saga, event, events},
};

/// One for each change of each dispute.
pub struct RecordDispute;

impl Saga for RecordDispute {
    const NAME: &'static str = "record-dispute";
    type Input = PaymentDisputed;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<PaymentDisputed>().starts().found_by("/orderId")])
    }

    async fn run(ctx: Ctx, disputed: PaymentDisputed) -> Result<(), Abort> {
        let PaymentDisputed {
            order_id,
            dispute_id,
            amount,
            currency,
            status,
            reason,
            is_new,
            revision,
            ..
        } = disputed;
        let dispute = Some(OrderDispute {
            dispute_id: dispute_id.clone(),
            amount,
            currency: Some(currency),
            status,
            reason: reason.clone(),
            revision,
        });
        let shown = ctx.call(UpdateStatus { dispute, ..UpdateStatus::on(&order_id) }).await;
        let what = match status {
            DisputeStatus::Lost => "is lost: the money is gone",
            DisputeStatus::NeedsResponse | DisputeStatus::UnderReview if is_new => {
                "is open: answer it at the provider before its deadline"
            }
            _ => {
                shown?;
                return Ok(());
            }
        };
        let why = reason.map(|it| format!(" ({it})")).unwrap_or_default();
        let aside = not_shown(&ctx, shown)?;
        ctx.commit();
        Err(Abort::failed(format!(
            "dispute {dispute_id}{why} over {amount} {currency} of order {order_id} {what}{aside}"
        )))
    }
}
