//! Currencies of ISO 4217 and their decimals.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr};

/// A currency of ISO 4217 that has minor units, by its upper-case code; `USD` unless told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Currency(iso_currency::Currency);

/// The text is no code of a currency that one can pay in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an upper-case ISO 4217 code of a currency, like USD")]
pub struct UnknownCurrency;

impl Currency {
    /// The dollar of the United States.
    pub const USD: Currency = Currency(iso_currency::Currency::USD);
    /// The euro.
    pub const EUR: Currency = Currency(iso_currency::Currency::EUR);
    /// The yen, which has no decimals.
    pub const JPY: Currency = Currency(iso_currency::Currency::JPY);

    /// The three letters.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimals an amount has: the exponent of ISO 4217.
    pub fn decimals(self) -> u8 {
        decimals(self.0).unwrap_or(0)
    }
}

/// Codes for gold, funds and tests have no exponent: nobody pays in them.
fn decimals(currency: iso_currency::Currency) -> Option<u8> {
    currency.exponent().and_then(|exponent| u8::try_from(exponent).ok())
}

impl Default for Currency {
    fn default() -> Currency {
        Currency::USD
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Currency, UnknownCurrency> {
        let known = iso_currency::Currency::from_code(code).filter(|it| it.code() == code);
        known.filter(|it| decimals(*it).is_some()).map(Currency).ok_or(UnknownCurrency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Currency, D::Error> {
        let code = String::deserialize(deserializer)?;
        code.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Currency {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "iso-4217",
            "pattern": "^[A-Z]{3}$",
            "description": "Code of a currency (ISO 4217).",
        })
    }
}
