//! JSON Schemas of the messages (draft 2020-12).

use schemars::{
    JsonSchema, Schema,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform},
};
use serde_json::Value;

/// The schema of a request's body: strict, since the door refuses unknown fields.
pub fn request<T: JsonSchema>() -> Value {
    let strict = |schema: &mut Schema| {
        if schema.get("properties").is_some() {
            schema.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
    };
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    RecursiveTransform(strict).transform(&mut schema);
    schema.to_value()
}

/// The schema of an event's body: what is not named is ignored, so that services may add fields.
pub fn event<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema without references: definitions stand where they are used, for pages that hold many
/// schemas.
pub(crate) fn inlined(mut schema: Value) -> Value {
    let definitions = schema.as_object_mut().and_then(|fields| fields.remove("$defs"));
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$schema");
    }
    inline(&mut schema, &definitions.unwrap_or(Value::Null));
    schema
}

fn inline(schema: &mut Value, definitions: &Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.remove("$ref") {
                let name = reference.rsplit('/').next().unwrap_or_default();
                let target = definitions[name].as_object().cloned().unwrap_or_default();
                // What is said beside a reference is nearer to the reader than the definition.
                let beside = std::mem::replace(fields, target);
                fields.extend(beside);
            }
            fields.values_mut().for_each(|value| inline(value, definitions));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| inline(value, definitions)),
        _ => (),
    }
}

/// The schema of a reply's body, as it is written.
pub fn reply<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<T>().to_value()
}
