//! Disputes of a payment: what is said of each, and what of it is news for its order.

use super::{News, Paid, PaymentRow, disputes_of, row, was_restored};
use crate::ledger::Money;
use chrono::{DateTime, Utc};
use proto_schemas::payments::{DisputeStatus, PaymentDisputed};
use serde::{Deserialize, Serialize};
use service_kit::{NewEvent, Outcome, Tx, publish};

/// A dispute, as it was last seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SeenDispute {
    pub(crate) dispute_id: String,
    pub(crate) money: Money,
    pub(crate) status: DisputeStatus,
    /// The provider's own words.
    pub(crate) reason: Option<String>,
    /// The bank only asks, and has taken no money.
    #[serde(default)]
    pub(crate) is_inquiry: bool,
    /// When the provider said so, in its seconds; absent in what an older release stored.
    #[serde(default)]
    pub(crate) said_s: Option<i64>,
}

impl SeenDispute {
    /// The bank has the money, and may give it back.
    pub(crate) fn holds_money(&self) -> bool {
        !self.is_inquiry && self.status.is_open()
    }

    /// Whether this is said after what is known. Within a second the later state counts, and a
    /// chargeback is never followed by an inquiry.
    fn follows(&self, known: &SeenDispute) -> bool {
        match (known.said_s, self.said_s) {
            (Some(before), Some(now)) if before != now => before < now,
            (None, Some(_)) => true,
            _ if known.is_inquiry != self.is_inquiry => known.is_inquiry,
            _ => known.status.later(self.status) == self.status,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DisputeRow {
    pub(super) dispute: SeenDispute,
    told: Option<DisputeStatus>,
    /// Whether that was of an inquiry; absent in what an older release stored.
    #[serde(default)]
    told_of_inquiry: Option<bool>,
    /// Counts what was told.
    #[serde(default)]
    revision: u32,
}

/// Takes what is said of a dispute.
pub(crate) fn dispute(
    tx: &mut Tx,
    payment_id: &str,
    seen: SeenDispute,
    at: DateTime<Utc>,
) -> Outcome<News> {
    let key = format!("{}{}", disputes_of(payment_id), seen.dispute_id);
    let mut dispute = match tx.get_json::<DisputeRow>(key.as_bytes())? {
        Some(mut known) => {
            if seen.follows(&known.dispute) {
                let reason = seen.reason.clone().or(known.dispute.reason);
                known.dispute = SeenDispute { reason, ..seen };
            }
            known
        }
        None => DisputeRow { dispute: seen, told: None, told_of_inquiry: None, revision: 0 },
    };
    let payment = row(tx, payment_id)?;
    let news = tell(tx, &payment, &mut dispute, at)?;
    tx.put_json(key, &dispute)?;
    Ok(news)
}

/// Tells a dispute, if there is anything new in it, once it is known whose payment it is.
pub(super) fn tell(
    tx: &mut Tx,
    payment: &PaymentRow,
    row: &mut DisputeRow,
    at: DateTime<Utc>,
) -> Outcome<News> {
    let Some(paid) = &payment.paid else { return Ok(News::Held) };
    let SeenDispute { dispute_id, money, status, reason, is_inquiry, .. } = row.dispute.clone();
    let Money { amount, currency } = money;
    let has_escalated = row.told_of_inquiry == Some(true) && !is_inquiry;
    if row.told == Some(status) && !has_escalated {
        return Ok(News::Known);
    }
    let (counted, was_restored) = (row.revision.saturating_add(1), was_restored(tx));
    // By the provider's seconds what is said later comes after all that was counted.
    let said_s = row.dispute.said_s.and_then(|it| u32::try_from(it).ok());
    let revision = if was_restored { counted.max(said_s.unwrap_or_default()) } else { counted };
    let key = match row.told {
        None if !was_restored => dispute_id.clone(),
        _ => format!("{dispute_id}/{revision}.{}", status.name()),
    };
    let opens = |told: DisputeStatus| status.is_open() && (has_escalated || !told.is_open());
    let is_new = row.told.is_none_or(opens);
    let Paid { order_id, session_id, .. } = paid.clone();
    let id = format!("disputed/{key}");
    let body = PaymentDisputed {
        order_id,
        session_id,
        dispute_id,
        amount,
        currency,
        status,
        reason,
        is_new,
        revision,
    };
    publish(tx, NewEvent { id, subject: PaymentDisputed::SUBJECT.to_owned(), key, body, at })?;
    (row.told, row.told_of_inquiry, row.revision) = (Some(status), Some(is_inquiry), revision);
    Ok(News::Told)
}
