//! Amounts: exact decimals on the wire, minor units in integers inside, and no float anywhere.

use crate::currency::Currency;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{json, value::RawValue};
use std::{borrow::Cow, cmp::Ordering, fmt};

/// Digits of an amount together: every such number fits an `i64`, a `u64` and a JSON store.
pub const AMOUNT_DIGITS_MAX: usize = 18;

/// An amount as it stands on the wire, before its currency is known: never negative, exact.
///
/// It is read from the raw text of a JSON number or string, so that no digit passes through a
/// float, and is written as a string. The grammar is `0|[1-9][0-9]*` with an optional `.[0-9]+`:
/// no sign, no exponent, no leading zeros, at most [`AMOUNT_DIGITS_MAX`] digits. Amounts compare by
/// value: `100` equals `100.00`.
#[derive(Clone, Copy)]
pub struct Amount {
    /// The number without its point.
    digits: u64,
    /// How many of the digits stand behind the point.
    decimals: u8,
}

/// Why a text is no amount, or an amount does not fit a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not of the grammar.
    #[error("must be a plain decimal like 100.00, without sign, exponent or leading zeros")]
    NotDecimal,
    /// A minus sign before digits.
    #[error("must not be negative")]
    Negative,
    /// More than [`AMOUNT_DIGITS_MAX`] digits.
    #[error("must have at most {AMOUNT_DIGITS_MAX} digits")]
    TooManyDigits,
    /// More decimals than the currency has.
    #[error("must have at most {max} decimals in {currency}")]
    TooManyDecimals {
        /// Decimals of the currency.
        max: u8,
        /// The currency.
        currency: Currency,
    },
    /// The number of minor units, a product or a sum is larger than we count.
    #[error("is larger than the largest amount")]
    TooLarge,
}

impl Amount {
    /// The largest number of minor units: the largest whole number of [`AMOUNT_DIGITS_MAX`] digits.
    pub const MINOR_MAX: u64 = 999_999_999_999_999_999;

    /// Reads the text of an amount.
    ///
    /// # Errors
    /// The text is not of the grammar, negative, or too long.
    pub fn parse(text: &str) -> Result<Amount, AmountError> {
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(AmountError::NotDecimal),
            Some((whole, fraction)) => (whole, fraction),
            None => (text, ""),
        };
        let is_negative = whole.strip_prefix('-').is_some_and(is_digits);
        if !is_digits(whole) || (!fraction.is_empty() && !is_digits(fraction)) {
            let is_negative = is_negative && (fraction.is_empty() || is_digits(fraction));
            return Err(if is_negative { AmountError::Negative } else { AmountError::NotDecimal });
        }
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(AmountError::NotDecimal);
        }
        if whole.len() + fraction.len() > AMOUNT_DIGITS_MAX {
            return Err(AmountError::TooManyDigits);
        }
        let number = |digits: u64, byte: u8| digits * 10 + u64::from(byte - b'0');
        let digits = whole.bytes().chain(fraction.bytes()).fold(0, number);
        let decimals = u8::try_from(fraction.len()).map_err(|_| AmountError::TooManyDigits)?;
        Ok(Amount { digits, decimals })
    }

    /// Reads an amount from the raw text of a JSON value: a number, or a string without escapes.
    ///
    /// # Errors
    /// As [`Amount::parse`]; another JSON type is not a decimal either.
    pub fn from_json(raw: &str) -> Result<Amount, AmountError> {
        let quoted = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        Amount::parse(quoted.unwrap_or(raw))
    }

    /// The amount of so many minor units, with all decimals of the currency.
    ///
    /// # Errors
    /// More minor units than [`Amount::MINOR_MAX`].
    pub fn of_minor(minor: u64, currency: Currency) -> Result<Amount, AmountError> {
        Amount::of_scaled(minor, currency.decimals())
    }

    /// Nothing, in whatever currency.
    pub const ZERO: Amount = Amount { digits: 0, decimals: 0 };

    /// Whether it is nothing, in whatever currency.
    pub fn is_zero(self) -> bool {
        self.digits == 0
    }

    /// The amount in minor units of the currency: cents for `USD`, yen for `JPY`.
    ///
    /// # Errors
    /// More decimals than the currency has, or more minor units than [`Amount::MINOR_MAX`].
    pub fn minor(self, currency: Currency) -> Result<u64, AmountError> {
        let max = currency.decimals();
        if max < self.decimals {
            return Err(AmountError::TooManyDecimals { max, currency });
        }
        self.scaled(max).filter(|minor| *minor <= Amount::MINOR_MAX).ok_or(AmountError::TooLarge)
    }

    /// The amount in steps of so many decimals, when it is a whole number of them.
    pub(crate) fn scaled(self, decimals: u8) -> Option<u64> {
        let trimmed = self.trimmed(decimals);
        let missing = decimals.checked_sub(trimmed.decimals)?;
        10_u64.checked_pow(missing.into()).and_then(|by| trimmed.digits.checked_mul(by))
    }

    /// The amount of so many steps of so many decimals.
    pub(crate) fn of_scaled(digits: u64, decimals: u8) -> Result<Amount, AmountError> {
        if digits > Amount::MINOR_MAX {
            return Err(AmountError::TooLarge);
        }
        Ok(Amount { digits, decimals })
    }

    /// The same amount without the zeros that stand behind so many decimals.
    pub(crate) fn trimmed(mut self, decimals: u8) -> Amount {
        while self.decimals > decimals && self.digits.is_multiple_of(10) {
            self.digits /= 10;
            self.decimals -= 1;
        }
        self
    }

    /// The same amount with all decimals of the currency, as it goes out: `100` becomes `100.00`.
    ///
    /// # Errors
    /// As [`Amount::minor`].
    pub fn in_currency(self, currency: Currency) -> Result<Amount, AmountError> {
        Amount::of_minor(self.minor(currency)?, currency)
    }
}

/// The sum of `quantity × price` in minor units.
///
/// # Errors
/// A price does not fit the currency, or the sum is larger than [`Amount::MINOR_MAX`].
pub fn sum_minor(
    lines: impl IntoIterator<Item = (u32, Amount)>,
    currency: Currency,
) -> Result<u64, AmountError> {
    lines.into_iter().try_fold(0_u64, |sum, (quantity, price)| {
        let line = price.minor(currency)?.checked_mul(u64::from(quantity));
        let sum = line.and_then(|line| sum.checked_add(line)).ok_or(AmountError::TooLarge)?;
        if sum > Amount::MINOR_MAX { Err(AmountError::TooLarge) } else { Ok(sum) }
    })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = usize::from(self.decimals);
        let text = format!("{:0>width$}", self.digits, width = decimals + 1);
        let (whole, fraction) = text.split_at(text.len() - decimals);
        let point = if decimals == 0 { "" } else { "." };
        write!(f, "{whole}{point}{fraction}")
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Amount) -> Ordering {
        let decimals = self.decimals.max(other.decimals);
        // 18 digits times 10^18 fit 128 bits.
        let scaled =
            |it: &Amount| u128::from(it.digits) * 10_u128.pow((decimals - it.decimals).into());
        scaled(self).cmp(&scaled(other))
    }
}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Amount) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Amount) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Amount {}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Amount::from_json(raw.get()).map_err(de::Error::custom)
    }
}

impl JsonSchema for Amount {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let is_read = generator.contract().is_deserialize();
        let types = if is_read { json!(["string", "number"]) } else { json!("string") };
        json_schema!({
            "type": types,
            "format": "amount",
            "pattern": r"^(0|[1-9][0-9]*)(\.[0-9]+)?$",
            "description":
                "An exact decimal, never negative, at most 18 digits; written as a string.",
        })
    }
}
