//! Why an order's money is not to be counted on, and what a manager has not seen of that.

use crate::process_order::Limits;
use proto_schemas::payments::{PaymentDetails, PaymentState};
use saga_core::ctx::Ctx;

/// Marks the runs in which money that the customer's bank holds is a manager's matter as well.
const DISPUTED: &str = "disputed money sends no goods";
/// Marks the runs in which a manager's yes is to the disputes that were shown, and to no others.
const EACH_DISPUTE: &str = "each dispute sends no goods";

/// Why an order's money is not to be counted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// All of it went back.
    Gone,
    /// The customer's bank holds it, or a part of it, by these disputes, as far as they are named.
    Disputed(Vec<String>),
}

/// What a manager has not seen of a doubt.
pub(crate) struct News {
    /// What became of the money.
    pub(crate) what: &'static str,
    pub(crate) is_gone: bool,
    /// The disputes that are new to somebody who has seen others.
    pub(crate) disputes: Vec<String>,
}

impl Doubt {
    pub(crate) fn of(
        ctx: &Ctx<Limits>,
        paid: &PaymentDetails,
        known: PaymentState,
    ) -> Option<Doubt> {
        if paid.amount.is_zero() || known.session_id != paid.session_id {
            return None;
        }
        match known.stays {
            Some(stays) if stays.is_zero() => Some(Doubt::Gone),
            _ => {
                (known.disputed && ctx.patched(DISPUTED)).then_some(Doubt::Disputed(known.disputes))
            }
        }
    }

    /// What is new of it to a manager who has `seen` so much; nothing when nothing is. That the
    /// bank gives one dispute up says nothing of another that opens behind it.
    pub(crate) fn since(&self, ctx: &Ctx<Limits>, seen: Option<&Doubt>) -> Option<News> {
        let (what, is_gone, disputes) = match (self, seen) {
            (Doubt::Gone, Some(Doubt::Gone)) => return None,
            (Doubt::Gone, _) => ("went back", true, Vec::new()),
            (Doubt::Disputed(now), Some(Doubt::Disputed(seen))) => {
                let new: Vec<_> = now.iter().filter(|it| !seen.contains(it)).cloned().collect();
                if new.is_empty() || !ctx.patched(EACH_DISPUTE) {
                    return None;
                }
                ("is disputed at the bank once more", false, new)
            }
            (Doubt::Disputed(_), _) => ("is disputed at the bank", false, Vec::new()),
        };
        Some(News { what, is_gone, disputes })
    }
}
