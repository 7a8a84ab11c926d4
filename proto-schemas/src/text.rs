//! Texts with a meaning: order ids, stock keeping units, and what belongs to a person.

use email_address::EmailAddress;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{borrow::Cow, fmt, net::IpAddr, ops::Deref, str::FromStr};
use validator::{ValidateEmail, ValidateLength, ValidationError};

/// Characters of an order id: room for a UUID, an ULID or a shop's own number, and short enough for
/// a NATS header, a store key and a provider's reference field.
pub const ORDER_ID_CHARS_MAX: usize = 64;

/// The id of an order: 1 to [`ORDER_ID_CHARS_MAX`] of `A-Z a-z 0-9 _ -`. It becomes a token of a
/// NATS subject, a part of an HTTP path and a file name, so nothing else is taken.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct OrderId(String);

/// The text is no order id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {ORDER_ID_CHARS_MAX} of A-Z, a-z, 0-9, _ and -")]
pub struct BadOrderId;

impl OrderId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OrderId {
    type Err = BadOrderId;

    fn from_str(text: &str) -> Result<OrderId, BadOrderId> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let is_fit = (1..=ORDER_ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_allowed);
        if is_fit { Ok(OrderId(text.to_owned())) } else { Err(BadOrderId) }
    }
}

impl From<OrderId> for String {
    fn from(id: OrderId) -> String {
        id.0
    }
}

impl From<&OrderId> for String {
    fn from(id: &OrderId) -> String {
        id.0.clone()
    }
}

impl AsRef<str> for OrderId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for OrderId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OrderId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for OrderId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "OrderId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "order-id",
            "pattern": "^[A-Za-z0-9_-]{1,64}$",
            "description": "The id of an order.",
        })
    }
}

/// A text that belongs to a person: its `Debug` does not show it, and its schema says
/// `x-personal`, so that it can be found and kept out of logs and search keys.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Personal(String);

impl Personal {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Personal {
    fn from(text: T) -> Personal {
        Personal(text.into())
    }
}

impl Deref for Personal {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Personal {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[personal]")
    }
}

impl ValidateLength<u64> for Personal {
    fn length(&self) -> Option<u64> {
        self.0.length()
    }
}

impl JsonSchema for Personal {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Personal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "x-personal": true })
    }
}

/// Bytes of a mail address, and of what stands before its `@`: RFC 5321, 4.5.3.1.
const MAIL_BYTES_MAX: usize = 254;
const MAIL_USER_BYTES_MAX: usize = 64;

/// A mail address as a mailer writes it: its domain in ASCII. None for what cannot be written to:
/// not every mail server takes other letters before the `@`, quoted ones, or an IP address behind.
pub fn written_address(text: &str) -> Option<String> {
    if !text.validate_email() {
        return None;
    }
    let (user, domain) = text.rsplit_once('@')?;
    let domain = idna::domain_to_ascii(domain).ok()?;
    let is_writable = user.len() <= MAIL_USER_BYTES_MAX
        && EmailAddress::is_valid_local_part(user)
        && EmailAddress::is_valid_domain(&domain)
        && !domain.starts_with('[')
        && domain.parse::<IpAddr>().is_err();
    let address = format!("{user}@{domain}");
    (is_writable && address.len() <= MAIL_BYTES_MAX).then_some(address)
}

pub(crate) fn mail(text: impl AsRef<str>) -> Result<(), ValidationError> {
    match written_address(text.as_ref()) {
        Some(_) => Ok(()),
        None => Err(ValidationError::new("email").with_message("must be a mail address".into())),
    }
}

/// A line of text for people: not blank, and without control characters, which have no place in a
/// mail header, a label or a log.
pub(crate) fn line(text: impl AsRef<str>) -> Result<(), ValidationError> {
    if text.as_ref().trim().is_empty() {
        return Err(ValidationError::new("blank").with_message("must not be empty".into()));
    }
    if text.as_ref().chars().any(char::is_control) {
        let message = "must not contain control characters";
        return Err(ValidationError::new("control").with_message(message.into()));
    }
    Ok(())
}

/// Characters of a stock keeping unit.
const SKU_CHARS_MAX: usize = 64;

/// Whether a text can name a stock keeping unit: 1 to 64 of `A-Z a-z 0-9 . _ -`, and not only dots.
/// It becomes a part of an HTTP path and of store keys.
pub fn is_sku(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    // `.` and `..` mean something else in a path.
    text.len() <= SKU_CHARS_MAX
        && text.bytes().all(is_allowed)
        && text.bytes().any(|byte| byte != b'.')
}

pub(crate) fn sku(text: &str) -> Result<(), ValidationError> {
    if is_sku(text) {
        return Ok(());
    }
    let message = "must be of A-Z, a-z, 0-9, dot, _ and -";
    Err(ValidationError::new("sku").with_message(message.into()))
}
