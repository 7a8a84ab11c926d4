//! Bodies that the core carries without looking inside: exact JSON text.

use crate::exact::{self, Tree, Unreadable};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, de::Error as _,
};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::{fmt, sync::Arc};

/// A body as exact JSON text: numbers keep their digits, and a clone costs a counter.
///
/// Stored in an envelope `{"k": key id, "p": body}`. Key id 0 means plain, so that bodies can be
/// encrypted per subject later without a new format. `Debug` shows the size only.
#[derive(Clone)]
pub struct Payload(Arc<RawValue>);

/// What stands in a stored envelope.
#[derive(Deserialize)]
struct Envelope {
    k: u32,
    p: Box<RawValue>,
}

#[derive(Serialize)]
struct EnvelopeRef<'a> {
    k: u32,
    p: &'a RawValue,
}

const PLAIN: u32 = 0;

impl Payload {
    /// Takes JSON text as it is.
    ///
    /// # Errors
    /// The text is not one JSON value.
    pub fn from_text(text: &str) -> serde_json::Result<Payload> {
        serde_json::from_str::<Box<RawValue>>(text).map(|raw| Payload(Arc::from(raw)))
    }

    /// The JSON form of a value.
    ///
    /// # Errors
    /// The value has no JSON form, such as a map whose keys are not strings.
    pub fn of(value: &impl Serialize) -> serde_json::Result<Payload> {
        serde_json::value::to_raw_value(value).map(|raw| Payload(Arc::from(raw)))
    }

    pub(crate) fn from_raw(raw: Arc<RawValue>) -> Payload {
        Payload(raw)
    }

    /// JSON `null`.
    pub fn null() -> Payload {
        Payload(Arc::from(RawValue::NULL.to_owned()))
    }

    /// The JSON text.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Reads the body as a type.
    ///
    /// # Errors
    /// The body is not of that type.
    pub fn decode<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.text())
    }

    /// The body as a tree, for filters, keys and pointers.
    ///
    /// # Errors
    /// No tree can hold it.
    pub fn tree(&self) -> Result<Tree<'_>, Unreadable> {
        Tree::read(self.text())
    }

    /// The body as other libraries see it, for tests: digits beyond f64 are lost in it.
    #[cfg(any(test, feature = "testing"))]
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).unwrap_or_default()
    }

    /// SHA-256 over the canonical form: tells a repeat from a conflict.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(exact::canonical(self.text()).as_bytes()).into()
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Payload) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || self.text() == other.text()
            || exact::canonical(self.text()) == exact::canonical(other.text())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.text().len())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        EnvelopeRef { k: PLAIN, p: &self.0 }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Payload, D::Error> {
        let Envelope { k, p } = Envelope::deserialize(deserializer)?;
        if k != PLAIN {
            return Err(D::Error::custom(format!("the body is sealed with key {k}")));
        }
        Ok(Payload(Arc::from(p)))
    }
}

/// Equality of a recorded and an asked body, as the type that the code has today.
pub(crate) type Same = fn(&Payload, &Payload) -> bool;

/// Fields that were added with a default, or removed, pass; a changed value does not.
pub(crate) fn same<T: DeserializeOwned + PartialEq>(recorded: &Payload, asked: &Payload) -> bool {
    if recorded.text() == asked.text() {
        return true;
    }
    match (recorded.decode::<T>(), asked.decode::<T>()) {
        (Ok(recorded), Ok(asked)) => recorded == asked,
        _ => false,
    }
}
