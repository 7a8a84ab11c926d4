//! What the payment provider can charge, and how it counts an amount.
//!
//! Stripe counts in units of its own. Mostly they are the minor units of ISO 4217, but not for all
//! currencies: 1000 ISK are 100000 units, and 1000.00 MGA are 1000. The table is Stripe's list of
//! currencies with its zero-decimal, three-decimal and special ones, as its documentation had it
//! in 2026. An account can have fewer currencies, and other minimums where it is paid out in
//! another currency: what is refused for that is refused by the provider.

use crate::{
    amount::{Amount, AmountError},
    currency::Currency,
};

/// Currencies of two decimals at Stripe, and here.
const OF_HUNDREDTHS: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD \
    BWP BYN BZD CAD CDF CHF CNY COP CRC CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD \
    GTQ GYD HKD HNL HTG HUF IDR ILS INR JMD KES KGS KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD \
    MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON \
    RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD SZL THB TJS TOP TRY TTD TWD TZS UAH USD UYU UZS \
    WST XCD XCG YER ZAR ZMW";
/// Stripe takes no part of these, and counts the whole.
const WHOLE: &str = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF";
/// Stripe takes no part of these either, but has counted hundredths before and still does.
const WHOLE_IN_HUNDREDTHS: &str = "ISK UGX";
/// The last of three decimals is always 0: banks between do not know it.
const OF_THOUSANDTHS: &str = "BHD JOD KWD OMR TND";

/// The least that a charge can be, in units. Others have none of their own.
const MINIMUMS: &[(u64, &str)] = &[
    (30, "GBP"),
    (50, "ARS AUD BRL CAD CHF COP EUR IDR ILS INR JPY KRW NZD PHP RUB SGD USD ZAR"),
    (200, "AED MYR PLN RON"),
    (250, "DKK"),
    (300, "NOK SEK"),
    (400, "HKD"),
    (1_000, "MXN THB"),
    (1_500, "CZK"),
    (17_500, "HUF"),
];
/// The most that every way to pay can take: eight digits of units. Cards may take more, but a
/// session offers whatever the account has switched on.
const UNITS_MAX: u64 = 99_999_999;
/// More digits where the unit is small.
const MAXIMUMS: &[(u64, &str)] =
    &[(999_999_999, "INR"), (9_999_999_999, "COP"), (999_999_999_999, "IDR")];

/// Why an amount cannot be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChargeError {
    /// The provider does not know the currency.
    #[error("must be a currency in which the payment provider charges, and {0} is none")]
    Currency(Currency),
    /// The currency has no such amount at all.
    #[error("{0}")]
    Amount(#[from] AmountError),
    /// The provider takes no part of the smallest step.
    #[error("must be a multiple of {step} in {currency}, which the payment provider asks for")]
    Step {
        /// The smallest step.
        step: Amount,
        /// The currency.
        currency: Currency,
    },
    /// Less, or more, than the provider takes at once.
    #[error("must be {min} to {max} in {currency}, which is what the payment provider takes")]
    Range {
        /// The least.
        min: Amount,
        /// The most.
        max: Amount,
        /// The currency.
        currency: Currency,
    },
}

/// How the provider counts a currency.
#[derive(Clone, Copy)]
struct Units {
    /// Units of one whole: a power of ten.
    decimals: u8,
    /// Amounts are multiples of so many units.
    step: u64,
}

impl Currency {
    /// An amount in the provider's units.
    ///
    /// # Errors
    /// The provider does not know the currency, or the amount is between two steps.
    pub fn to_units(self, amount: Amount) -> Result<u64, ChargeError> {
        let Units { decimals, step } = self.units()?;
        amount.minor(self)?;
        let units = amount.scaled(decimals).filter(|units| units.is_multiple_of(step));
        match units {
            Some(units) => Ok(units),
            None => Err(ChargeError::Step { step: self.of_units(step)?, currency: self }),
        }
    }

    /// The amount of so many of the provider's units.
    ///
    /// # Errors
    /// The provider does not know the currency, or the currency has no such part.
    pub fn of_units(self, units: u64) -> Result<Amount, ChargeError> {
        let Units { decimals, .. } = self.units()?;
        let amount = Amount::of_scaled(units, decimals)?;
        // What the provider counts finer than the currency has decimals ends in zeros.
        Ok(amount.trimmed(self.decimals()).in_currency(self)?)
    }

    /// Whether a customer can be asked for this amount.
    ///
    /// # Errors
    /// The provider would refuse it, and why.
    pub fn check_charge(self, amount: Amount) -> Result<(), ChargeError> {
        let units = self.to_units(amount)?;
        let Units { step, .. } = self.units()?;
        let (min, max) = (of(MINIMUMS, self).unwrap_or(step), of(MAXIMUMS, self));
        let max = max.unwrap_or(UNITS_MAX) / step * step;
        if (min..=max).contains(&units) {
            return Ok(());
        }
        let (min, max) = (self.of_units(min)?, self.of_units(max)?);
        Err(ChargeError::Range { min, max, currency: self })
    }

    fn units(self) -> Result<Units, ChargeError> {
        let is_in = |list: &str| list.split_whitespace().any(|code| code == self.code());
        match () {
            () if is_in(OF_HUNDREDTHS) => Ok(Units { decimals: 2, step: 1 }),
            () if is_in(WHOLE) => Ok(Units { decimals: 0, step: 1 }),
            () if is_in(WHOLE_IN_HUNDREDTHS) => Ok(Units { decimals: 2, step: 100 }),
            () if is_in(OF_THOUSANDTHS) => Ok(Units { decimals: 3, step: 10 }),
            () => Err(ChargeError::Currency(self)),
        }
    }
}

fn of(table: &[(u64, &str)], currency: Currency) -> Option<u64> {
    let has = |list: &str| list.split_whitespace().any(|code| code == currency.code());
    table.iter().find(|(_, list)| has(list)).map(|(units, _)| *units)
}
