//! All that is known of a payment: some of it is shown, and all of it is counted.

use super::{
    DisputeRow, Paid, PaymentRow, RefundRow, SHOWN_MAX, SeenDispute, SeenRefund, disputes_of, line,
    minor, refunds_of, row,
};
use proto_schemas::Currency;
use proto_schemas::payments::{DisputeStatus, RefundStatus};
use serde::de::DeserializeOwned;
use service_kit::{Outcome, Tx};

/// Rows that are read at a time.
const STEP: usize = 250;

/// What is known of a payment.
pub(in crate::ledger) struct Known {
    pub(in crate::ledger) paid: Paid,
    /// With what stands for those that have no id yet.
    pub(in crate::ledger) refunds: Vec<SeenRefund>,
    pub(in crate::ledger) disputes: Vec<SeenDispute>,
    /// Whether there are more than these.
    pub(in crate::ledger) has_more: bool,
    pub(in crate::ledger) counted: Counted,
}

/// What all of it comes to, in the payment's currency.
pub(in crate::ledger) struct Counted {
    /// What is with the customer again, or on its way there.
    pub(in crate::ledger) goes_back_minor: u64,
    /// What was lost to the customer's bank.
    pub(in crate::ledger) lost_minor: u64,
    /// Whether that is all that is gone: none of it is in another currency, cannot be read, or may
    /// be forgotten.
    pub(in crate::ledger) is_all: bool,
    /// Whether the customer's bank holds money, and may give it back.
    pub(in crate::ledger) is_held: bool,
}

impl Counted {
    fn refund(&mut self, refund: &SeenRefund, currency: Currency) -> Outcome<()> {
        if refund.money.currency != currency {
            self.is_all = false;
        } else if refund.status.stands() {
            self.goes_back_minor = self.goes_back_minor.saturating_add(minor(&refund.money)?);
        }
        Ok(())
    }

    fn dispute(&mut self, dispute: &SeenDispute, currency: Currency) -> Outcome<()> {
        self.is_held |= dispute.holds_money();
        if dispute.status != DisputeStatus::Lost {
            return Ok(());
        }
        if dispute.money.currency == currency {
            self.lost_minor = self.lost_minor.saturating_add(minor(&dispute.money)?);
        } else {
            self.is_all = false;
        }
        Ok(())
    }
}

/// Nothing while nobody says whose payment it is.
pub(in crate::ledger) fn known(tx: &Tx, payment_id: &str) -> Outcome<Option<Known>> {
    let payment = row(tx, payment_id)?;
    let is_all = !payment.may_lack(tx);
    let PaymentRow { paid: Some(paid), charge, unnamed, .. } = payment else { return Ok(None) };
    let currency = paid.money.currency;
    let mut counted = Counted { goes_back_minor: 0, lost_minor: 0, is_all, is_held: false };
    let (mut refunds, mut disputes, mut has_more) = (Vec::new(), Vec::new(), false);
    each(tx, &refunds_of(payment_id), |row: RefundRow| {
        counted.refund(&row.refund, currency)?;
        has_more |= show(&mut refunds, row.refund);
        Ok(())
    })?;
    each(tx, &disputes_of(payment_id), |row: DisputeRow| {
        counted.dispute(&row.dispute, currency)?;
        has_more |= show(&mut disputes, row.dispute);
        Ok(())
    })?;
    if let (Some(charge), Some(unnamed)) = (charge, unnamed) {
        let refund = line(charge.refunded.currency, &unnamed, RefundStatus::Succeeded)?;
        counted.refund(&refund, currency)?;
        refunds.push(refund);
    }
    Ok(Some(Known { paid, refunds, disputes, has_more, counted }))
}

/// Adds one to those that are shown. Says whether it is one too many.
fn show<T>(shown: &mut Vec<T>, one: T) -> bool {
    let is_more = SHOWN_MAX <= shown.len();
    if !is_more {
        shown.push(one);
    }
    is_more
}

/// Does something for each row below a prefix, however many there are.
fn each<T: DeserializeOwned>(
    tx: &Tx,
    prefix: &str,
    mut act: impl FnMut(T) -> Outcome<()>,
) -> Outcome<()> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let step = tx.scan(prefix.as_bytes(), after.as_deref(), STEP)?;
        for (key, _) in &step {
            if let Some(row) = tx.get_json(key)? {
                act(row)?;
            }
        }
        match step.into_iter().last() {
            Some((key, _)) => after = Some(key),
            None => return Ok(()),
        }
    }
}
