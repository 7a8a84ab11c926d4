//! What went back of a payment by the provider's own word: asked for where the ledger may not know
//! all of it. What is new becomes known as if webhooks had told it, which were missed or forgotten.

use crate::{
    ledger::{
        self,
        payments::{self, SeenDispute},
    },
    refund,
    stripe::{Client, Failure, ProviderDispute, ProviderRefund},
};
use chrono::{DateTime, Utc};
use proto_schemas::{Currency, OrderId, payments::DisputeStatus};
use service_kit::{Outcome, Tx, WorkError};

/// What the provider lists of a payment.
pub(crate) struct WentBack {
    payment_id: String,
    /// Nothing when it does not list it.
    listed: Option<Listed>,
}

struct Listed {
    /// Newest first.
    refunds: Vec<ProviderRefund>,
    disputes: Vec<ProviderDispute>,
    /// When, by the provider's clock.
    said_s: i64,
}

/// Asks the provider.
pub(crate) async fn ask(stripe: &Client, payment_id: String) -> Result<WentBack, WorkError> {
    match list(stripe, &payment_id).await {
        Ok(listed) => Ok(WentBack { payment_id, listed: Some(listed) }),
        Err(Failure::Unclear(why)) => Err(WorkError::Failed(why)),
        // No repeat would change it, and what became of the session can be told all the same.
        Err(failure @ (Failure::Refused { .. } | Failure::TooMany(_))) => {
            tracing::warn!(payment_id, ?failure, "what went back of a payment is not known");
            Ok(WentBack { payment_id, listed: None })
        }
    }
}

async fn list(stripe: &Client, payment_id: &str) -> Result<Listed, Failure> {
    let refunds = stripe.refunds(payment_id).await?;
    // Any change that comes meanwhile is told with a later time.
    let said_s = stripe.time_s(Utc::now().timestamp());
    let disputes = stripe.disputes(payment_id).await?;
    Ok(Listed { refunds, disputes, said_s })
}

/// Takes it into the ledger. It was asked for when so much could not be read. Says whether the
/// customer's bank holds money that cannot be read.
pub(crate) fn take(
    tx: &mut Tx,
    order_id: &OrderId,
    went_back: WentBack,
    unreadable_count: u64,
    at: DateTime<Utc>,
) -> Outcome<bool> {
    let WentBack { payment_id, listed } = went_back;
    refund::remember(tx, &payment_id, order_id, at)?;
    let Some(paid) = payments::whose(tx, &payment_id)? else { return Ok(false) };
    let Some(Listed { refunds, disputes, said_s }) = listed else {
        payments::unreadable(tx, &payment_id)?;
        return Ok(false);
    };
    let (currency, mut is_whole, mut is_held) = (paid.money.currency, true, false);
    for it in refunds.iter().rev() {
        match refund::seen_in(it, currency) {
            Some(seen) => {
                payments::refund(tx, &payment_id, seen, Some(said_s), at)?;
            }
            None => is_whole &= !it.stands(),
        }
    }
    for it in disputes {
        let standing = it.standing;
        match seen_in(it, currency, said_s) {
            Some(seen) => {
                payments::dispute(tx, &payment_id, seen, at)?;
            }
            None => {
                is_held |= standing.holds_money();
                is_whole &= standing.status != DisputeStatus::Lost && !standing.holds_money();
            }
        }
    }
    if is_whole {
        payments::asked(tx, &payment_id, unreadable_count)?;
    } else {
        payments::unreadable(tx, &payment_id)?;
    }
    Ok(is_held)
}

/// A dispute as the ledger takes it; nothing when it has no id or no amount that can be kept.
fn seen_in(dispute: ProviderDispute, currency: Currency, said_s: i64) -> Option<SeenDispute> {
    let ProviderDispute { id, amount_minor, currency: code, standing, reason } = dispute;
    let code = code.as_deref().unwrap_or_else(|| currency.code());
    Some(SeenDispute {
        dispute_id: Some(id).filter(|id| ledger::is_plain(id))?,
        money: ledger::money(Some(amount_minor), Some(code))?,
        status: standing.status,
        reason,
        is_inquiry: standing.is_inquiry,
        said_s: Some(said_s),
    })
}
