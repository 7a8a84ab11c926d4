//! Bodies that the core carries without looking inside: exact JSON text.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, de::Error as _,
};
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt, sync::Arc};

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

    /// The body as a tree, for filters and pointers. Digits beyond f64 are lost in it.
    pub fn to_value(&self) -> Value {
        // Raw text was checked when it was taken; only nesting beyond the limit fails here.
        serde_json::from_str(self.text()).unwrap_or(Value::Null)
    }

    /// SHA-256 over the canonical form (sorted names, no white space): tells a repeat from a
    /// conflict.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.canonical().as_bytes()).into()
    }

    /// Behind the tree stand the numbers whose digits it may have lost.
    fn canonical(&self) -> String {
        let mut canonical = String::with_capacity(self.text().len());
        sort_into(&mut canonical, &self.to_value());
        let mut long = long_numbers(self.text());
        long.sort_unstable();
        long.iter().for_each(|number| canonical.extend(["\n", number]));
        canonical
    }
}

/// JSON text whose names are in order, whatever order the build's maps keep.
fn sort_into(text: &mut String, value: &Value) {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<&String, &Value> = fields.iter().collect();
            text.push('{');
            for (number, (name, it)) in fields.into_iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                sort_into(text, it);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (number, it) in items.iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                sort_into(text, it);
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// Any number of so many digits survives a trip through f64.
const DIGITS_EXACT: usize = 15;

/// The numbers of a JSON text that are longer than what every number type keeps.
fn long_numbers(text: &str) -> Vec<&str> {
    let mut is_escaped = false;
    // Every other part is a string: what an escaped quote cuts in two stays one.
    let parts = text.split(|it| {
        let is_quote = it == '"' && !is_escaped;
        is_escaped = it == '\\' && !is_escaped;
        is_quote
    });
    let outside = parts.step_by(2).flat_map(|it| it.split([',', ':', '[', ']', '{', '}']));
    outside.map(str::trim).filter(|it| DIGITS_EXACT < it.len()).collect()
}

impl PartialEq for Payload {
    fn eq(&self, other: &Payload) -> bool {
        self.text() == other.text() || self.canonical() == other.canonical()
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
