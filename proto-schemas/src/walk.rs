//! Compares a body with its schema, place by place, so that all faults are found, not the first.
//!
//! Only what our own types generate is understood: `$ref`, `type`, `properties`, `required`,
//! `additionalProperties`, `items`, `anyOf` with null, `oneOf` and `enum` of texts, limits, and our
//! formats; the rest is left to the type itself. The raw text is read, so that no number passes
//! through a float.

use crate::{
    amount::Amount,
    check::{FAULTS_MAX, Fault},
    currency::Currency,
    text::{OrderId, line, mail, sku},
};
use serde::{
    Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use std::{collections::BTreeSet, fmt};
use validator::ValidationError;

/// Characters of an unknown field's name that an answer repeats.
const NAME_CHARS_MAX: usize = 64;

/// One comparison of a body with the schema of its type.
pub(crate) struct Walk<'s> {
    root: &'s Value,
    faults: Vec<Fault>,
}

impl<'s> Walk<'s> {
    /// All faults that the schema can tell.
    pub(crate) fn faults(schema: &'s Value, raw: &RawValue) -> Vec<Fault> {
        let mut walk = Walk { root: schema, faults: Vec::new() };
        walk.value(schema, raw, "");
        walk.faults
    }

    fn value(&mut self, schema: &'s Value, raw: &RawValue, pointer: &str) {
        if self.faults.len() >= FAULTS_MAX {
            return;
        }
        let text = raw.get();
        let schema = self.resolve(schema, text);
        let types = types_of(schema);
        if !types.is_empty() && !types.iter().any(|wanted| is_of(wanted, text)) {
            let expected = types.join(" or ");
            return self.fault(pointer, format_args!("must be of type {expected}"));
        }
        match text.as_bytes().first() {
            Some(b'{') => self.object(schema, text, pointer),
            Some(b'[') => self.array(schema, text, pointer),
            Some(b'"') => self.scalar(string(schema, text), pointer),
            Some(b't' | b'f' | b'n') | None => (),
            Some(_) => self.scalar(number(schema, text), pointer),
        }
    }

    /// Follows `$ref`, and for what may be null takes the alternative that is not.
    fn resolve(&self, schema: &'s Value, text: &str) -> &'s Value {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let target = self.root.pointer(name.trim_start_matches('#'));
            return target.map_or(schema, |target| self.resolve(target, text));
        }
        let is_null = |it: &&Value| it.get("type").is_some_and(|kind| kind == "null");
        let wanted = list(schema, "anyOf").iter().find(|it| is_null(it) == (text == "null"));
        wanted.map_or(schema, |wanted| self.resolve(wanted, text))
    }

    fn object(&mut self, schema: &'s Value, text: &str, pointer: &str) {
        let Ok(fields) = fields_of(text) else {
            return self.fault(pointer, "must be an object");
        };
        let mut seen = BTreeSet::new();
        for (name, value) in &fields {
            let place = format!("{pointer}/{}", escaped(name));
            match schema.get("properties").and_then(|known| known.get(name)) {
                _ if !seen.insert(name.as_str()) => self.fault(&place, "must be given once"),
                Some(schema) => self.value(schema, value, &place),
                None => match schema.get("additionalProperties") {
                    Some(Value::Bool(false)) => self.fault(&place, "is not a known field"),
                    Some(schema) => self.value(schema, value, &place),
                    None => (),
                },
            }
        }
        let required = list(schema, "required").iter().filter_map(Value::as_str);
        for name in required.filter(|name| !seen.contains(name)) {
            self.fault(&format!("{pointer}/{name}"), "must be given");
        }
    }

    fn array(&mut self, schema: &'s Value, text: &str, pointer: &str) {
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text) else {
            return self.fault(pointer, "must be an array");
        };
        self.scalar(within(schema, "Items", items.len(), "entries"), pointer);
        let Some(schema) = schema.get("items") else { return };
        for (index, item) in items.into_iter().enumerate() {
            self.value(schema, item, &format!("{pointer}/{index}"));
        }
    }

    fn scalar(&mut self, checked: Result<(), String>, pointer: &str) {
        if let Err(detail) = checked {
            self.fault(pointer, detail);
        }
    }

    fn fault(&mut self, pointer: &str, detail: impl fmt::Display) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault::at(pointer, detail));
        }
    }
}

/// The types that a schema allows; none: all of them.
fn types_of(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        Some(one) => one.as_str().into_iter().collect(),
        None if !choices_of(schema).is_empty() => vec!["string"],
        None => Vec::new(),
    }
}

fn list<'a>(schema: &'a Value, name: &str) -> &'a [Value] {
    schema.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn is_of(wanted: &str, text: &str) -> bool {
    let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    match wanted {
        "object" => text.starts_with('{'),
        "array" => text.starts_with('['),
        "string" => text.starts_with('"'),
        "boolean" => text == "true" || text == "false",
        "null" => text == "null",
        "integer" => is_number && !text.contains(['.', 'e', 'E']),
        "number" => is_number,
        _ => false,
    }
}

fn string(schema: &Value, raw: &str) -> Result<(), String> {
    let text: String = serde_json::from_str(raw).map_err(|_| "must be a string".to_owned())?;
    within(schema, "Length", text.chars().count(), "characters")?;
    let said = |checked: Result<(), ValidationError>| {
        checked.map_err(|error| error.message.unwrap_or(error.code).into_owned())
    };
    match schema.get("format").and_then(Value::as_str) {
        Some("amount") => Amount::parse(&text).map(drop).map_err(|error| error.to_string()),
        Some("iso-4217") => text.parse::<Currency>().map(drop).map_err(|error| error.to_string()),
        Some("order-id") => text.parse::<OrderId>().map(drop).map_err(|error| error.to_string()),
        Some("line") => said(line(&text)),
        Some("sku") => said(sku(&text)),
        Some("email") => said(mail(&text)),
        Some(_) | None => one_of(schema, &text),
    }
}

fn one_of(schema: &Value, text: &str) -> Result<(), String> {
    let choices = choices_of(schema);
    if choices.is_empty() || choices.contains(&text) {
        return Ok(());
    }
    Err(format!("must be one of {}", choices.join(", ")))
}

/// A choice of texts is `enum`, or `oneOf` of `const` or `enum` where the choices are described.
fn choices_of(schema: &Value) -> Vec<&str> {
    let mut choices = Vec::new();
    for schema in list(schema, "oneOf").iter().chain([schema]) {
        choices.extend(schema.get("const").and_then(Value::as_str));
        choices.extend(list(schema, "enum").iter().filter_map(Value::as_str));
    }
    choices
}

fn number(schema: &Value, text: &str) -> Result<(), String> {
    if schema.get("format").is_some_and(|format| format == "amount") {
        return Amount::parse(text).map(drop).map_err(|error| error.to_string());
    }
    // What does not fit 128 bits is beyond every limit that we set.
    let too_large = if text.starts_with('-') { i128::MIN } else { i128::MAX };
    let number = text.parse::<i128>().unwrap_or(too_large);
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64).map(whole);
    match (limit("minimum"), limit("maximum")) {
        (Some(min), _) if number < min => Err(format!("must be at least {min}")),
        (_, Some(max)) if number > max => Err(format!("must be at most {max}")),
        _ => Ok(()),
    }
}

/// Limits of integers are whole, but schemas may write them as `1.0`.
#[allow(clippy::cast_possible_truncation, reason = "limits of schemas are small whole numbers")]
fn whole(limit: f64) -> i128 {
    limit as i128
}

fn within(schema: &Value, of: &str, count: usize, unit: &str) -> Result<(), String> {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    let limit = |name: String| schema.get(name).and_then(Value::as_u64);
    match (limit(format!("min{of}")), limit(format!("max{of}"))) {
        (Some(_), _) if count == 0 => Err("must not be empty".to_owned()),
        (Some(min), _) if count < min => Err(format!("must have at least {min} {unit}")),
        (_, Some(max)) if count > max => Err(format!("must have at most {max} {unit}")),
        _ => Ok(()),
    }
}

fn escaped(name: &str) -> String {
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    name.replace('~', "~0").replace('/', "~1")
}

/// The fields in order, repeated ones included.
fn fields_of(text: &str) -> serde_json::Result<Vec<(String, Box<RawValue>)>> {
    struct Fields;

    impl<'de> Visitor<'de> for Fields {
        type Value = Vec<(String, Box<RawValue>)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::new();
            while let Some(field) = map.next_entry()? {
                fields.push(field);
            }
            Ok(fields)
        }
    }

    serde_json::Deserializer::from_str(text).deserialize_map(Fields)
}
