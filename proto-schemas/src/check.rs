//! Reading a body at the door: all its faults at once, each with its place.

use crate::walk::Walk;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::{Value, value::RawValue};
use std::fmt;
use validator::{Validate, ValidationErrors, ValidationErrorsKind};

/// Faults that one answer names: enough to mend a body in one go, and an answer stays small
/// whatever was sent.
pub const FAULTS_MAX: usize = 50;

/// One thing that is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// JSON pointer (RFC 6901) to the place; empty for the body as a whole.
    pub pointer: String,
    /// What is expected there. Never repeats what was sent.
    pub detail: String,
}

impl Fault {
    /// A fault at this place.
    pub fn at(pointer: impl Into<String>, detail: impl fmt::Display) -> Fault {
        Fault { pointer: pointer.into(), detail: detail.to_string() }
    }
}

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no JSON (HTTP 400); says where.
    NotJson(String),
    /// It is JSON with these faults (HTTP 422), ordered by place.
    Faults(Vec<Fault>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotJson(why) => write!(f, "the body is not JSON: {why}"),
            Refusal::Faults(faults) => {
                let text = |fault: &Fault| format!("{} {}", fault.pointer, fault.detail);
                write!(f, "{}", faults.iter().map(text).collect::<Vec<_>>().join("; "))
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// A body that strangers send to us. [`crate::body!`] implements it.
pub trait Body: DeserializeOwned + Validate {
    /// The JSON Schema of the body as it is read, built once.
    fn schema() -> &'static Value;

    /// What the fields alone cannot say: called when each field has its type.
    fn check(&self, faults: &mut Vec<Fault>) {
        let _ = faults;
    }

    /// Adds what the derived checks and [`Body::check`] find.
    #[doc(hidden)]
    fn find(&self, faults: &mut Vec<Fault>) {
        if let Err(errors) = self.validate() {
            collect_at("", &errors, faults);
        }
        self.check(faults);
    }
}

/// Reads and checks a body. A request is read strictly: unknown fields are faults as well.
///
/// The types themselves ignore unknown fields, because a request that was recorded by an older
/// build must still be read after a field was removed; strangers are told at this door.
///
/// # Errors
/// The body is no JSON, or has faults. Those that concern several fields (the total and the sum)
/// come once each field has its type.
pub fn read<B: Body>(bytes: &[u8]) -> Result<B, Refusal> {
    let raw: &RawValue =
        serde_json::from_slice(bytes).map_err(|error| Refusal::NotJson(error.to_string()))?;
    let mut faults = Walk::faults(B::schema(), raw);
    match serde_json::from_str::<B>(raw.get()) {
        Ok(body) => {
            body.find(&mut faults);
            if faults.is_empty() {
                return Ok(body);
            }
        }
        Err(_) if !faults.is_empty() => (),
        // The schema and the type disagree, which a test looks for. The error may repeat what was
        // sent, so it is not shown.
        Err(_) => faults.push(Fault::at("", "is not of the expected shape")),
    }
    Err(Refusal::Faults(in_order(faults)))
}

/// Reads and checks the body of an event, which may have fields that we do not know. The place of
/// each fault is looked for only when there is one: events are read at each replay.
///
/// # Errors
/// As [`read`], as the reason of a dead letter.
pub(crate) fn read_event<B: Body>(body: &str) -> serde_json::Result<B> {
    let read_fast = serde_json::from_str::<B>(body).ok().filter(|read| {
        let mut faults = Vec::new();
        read.find(&mut faults);
        faults.is_empty()
    });
    match read_fast {
        Some(read) => Ok(read),
        None => read(body.as_bytes()).map_err(serde_json::Error::custom),
    }
}

/// One fault for each place, the first that was found there, ordered by place.
fn in_order(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    faults.dedup_by(|b, a| a.pointer == b.pointer);
    faults.truncate(FAULTS_MAX);
    faults
}

fn collect_at(base: &str, errors: &ValidationErrors, faults: &mut Vec<Fault>) {
    for (field, kind) in errors.errors() {
        let pointer = format!("{base}/{}", camel_case(field));
        match kind {
            ValidationErrorsKind::Struct(inner) => collect_at(&pointer, inner, faults),
            ValidationErrorsKind::List(list) => {
                for (index, inner) in list {
                    collect_at(&format!("{pointer}/{index}"), inner, faults);
                }
            }
            ValidationErrorsKind::Field(errors) => {
                let details = errors.iter().map(detail_of);
                faults.extend(details.map(|detail| Fault::at(pointer.clone(), detail)));
            }
        }
    }
}

fn detail_of(error: &validator::ValidationError) -> String {
    let limit = |name: &str| error.params.get(name).map(Value::to_string);
    match (&error.message, limit("min"), limit("max")) {
        (Some(message), ..) => message.to_string(),
        (None, Some(min), Some(max)) => format!("must be of {} {min} to {max}", error.code),
        (None, None, Some(max)) => format!("must be of {} at most {max}", error.code),
        (None, Some(min), None) => format!("must be of {} at least {min}", error.code),
        (None, None, None) => format!("is no {}", error.code),
    }
}

/// `shipping_address` is `shippingAddress` on the wire.
fn camel_case(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        text + &head.to_ascii_uppercase() + tail
    })
}

/// Implements [`Body`] for types that derive `Deserialize`, `JsonSchema` and `Validate`. A
/// `request` refuses unknown fields, an `event` ignores them; after `check` comes a function for
/// what the fields alone cannot say.
#[macro_export]
macro_rules! body {
    ($kind:ident $type:ty $(, check $check:path)?) => {
        impl $crate::Body for $type {
            fn schema() -> &'static $crate::Value {
                static SCHEMA: std::sync::LazyLock<$crate::Value> =
                    std::sync::LazyLock::new($crate::schema::$kind::<$type>);
                &SCHEMA
            }
            $(fn check(&self, faults: &mut Vec<$crate::Fault>) {
                $check(self, faults);
            })?
        }
    };
}
