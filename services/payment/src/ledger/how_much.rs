//! How much somebody says, as a provider writes it.

use super::{Money, money};
use serde_json::Value;

/// What is said of an amount. What is said and cannot be read is something else than what is not
/// said: for the second the price may stand in, for the first nothing does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HowMuch {
    /// Neither an amount nor a currency.
    NotSaid,
    /// This much.
    Money(Money),
    /// Something that is no money of ours: half of it, no number, no such currency or part of it.
    Unreadable,
}

impl HowMuch {
    /// Reads an amount in the provider's units, and a currency's code.
    pub(crate) fn read(units: &Value, currency: &Value) -> HowMuch {
        if units.is_null() && currency.is_null() {
            return HowMuch::NotSaid;
        }
        money(units.as_u64(), currency.as_str()).map_or(HowMuch::Unreadable, HowMuch::Money)
    }

    /// The money, when there is any.
    pub(crate) fn money(&self) -> Option<Money> {
        match self {
            HowMuch::Money(money) => Some(*money),
            HowMuch::NotSaid | HowMuch::Unreadable => None,
        }
    }
}
