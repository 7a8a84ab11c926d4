//! The documents that stand beside this crate, made from the table: JSON Schemas, AsyncAPI, and a
//! list of subjects. A test compares the files with this.

use crate::{
    schema,
    table::{Kind, MESSAGES, Message},
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

/// Every document: path below the crate's folder, and text.
pub fn documents() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for message in MESSAGES {
        files.insert(format!("schemas/{}.json", message.subject), text(&(message.schema)()));
        if let Kind::Request { reply_schema, .. } = message.kind {
            let path = format!("schemas/{}.reply.json", message.subject);
            files.insert(path, text(&reply_schema()));
        }
    }
    files.insert("asyncapi.json".to_owned(), text(&asyncapi()));
    files.insert("SUBJECTS.md".to_owned(), subjects());
    files
}

/// The schemas of a request on this subject and of its reply, without references.
pub fn procedure(subject: &str) -> Option<(Value, Value)> {
    let message = MESSAGES.iter().find(|message| message.subject == subject)?;
    let Kind::Request { reply_schema, .. } = message.kind else { return None };
    Some((schema::inlined((message.schema)()), schema::inlined(reply_schema())))
}

fn text(value: &Value) -> String {
    format!("{:#}\n", sorted(value))
}

/// The fields by name: whether serde_json keeps their order depends on what else is built.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> =
                fields.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(values) => values.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// The page of AsyncAPI 3.0.
fn asyncapi() -> Value {
    let channels = MESSAGES.iter().flat_map(channels_of).collect::<Map<_, _>>();
    let operations = MESSAGES.iter().map(operation_of).collect::<Map<_, _>>();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Fermata: the messages of the order system",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Requests go over core NATS with a reply subject and are sent \
                again with the same Idempotency-Key until they are answered. Events go to the \
                JetStream stream TRIGGERS.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
    })
}

fn channels_of(message: &Message) -> Vec<(String, Value)> {
    let Message { name, subject, .. } = message;
    let headers = match message.kind {
        Kind::Request { .. } => request_headers(),
        Kind::Event | Kind::Decision => event_headers(),
    };
    let payload = schema::inlined((message.schema)());
    let body = json!({ "title": name, "headers": headers, "payload": payload });
    let channel = json!({ "address": subject, "messages": { *name: body } });
    let mut channels = vec![((*subject).to_owned(), channel)];
    if let Kind::Request { reply, reply_schema } = message.kind {
        let payload = schema::inlined(reply_schema());
        let body = json!({ "title": reply, "headers": reply_headers(), "payload": payload });
        // The subject of an answer is known to the request alone.
        let channel = json!({ "address": null, "messages": { reply: body } });
        channels.push((format!("{subject}.reply"), channel));
    }
    channels
}

/// Operations are told from the side of whoever implements them: a service receives its requests
/// and sends its events, the runtime sends announcements.
fn operation_of(message: &Message) -> (String, Value) {
    let Message { name, subject, .. } = message;
    let of = |channel: &str| json!({ "$ref": format!("#/channels/{channel}") });
    let body = |channel: &str, name: &str| {
        let place = format!("#/channels/{channel}/messages/{name}");
        json!([{ "$ref": place }])
    };
    let mut operation = json!({
        "action": "send",
        "channel": of(subject),
        "messages": body(subject, name),
    });
    match message.kind {
        Kind::Request { reply, .. } => {
            let channel = format!("{subject}.reply");
            operation["action"] = json!("receive");
            operation["reply"] = json!({
                "address": {
                    "description": "The reply subject of the NATS message.",
                    "location": "$message.header#/reply",
                },
                "channel": of(&channel),
                "messages": body(&channel, reply),
            });
        }
        Kind::Event => {}
        Kind::Decision => {
            operation["description"] = json!("Announced by the runtime; refused from elsewhere.");
        }
    }
    ((*subject).to_owned(), operation)
}

fn request_headers() -> Value {
    headers(
        &["Idempotency-Key"],
        &[
            (
                "Idempotency-Key",
                "<alias>/<epoch>/<path>; an undo's ends with /undo. Acted on once.",
            ),
            (
                "Undo-Of",
                "Undo: the key of the call that it undoes; absent when it is bound to a fact.",
            ),
            ("Abort-Kind", "Undo: rejected, deadline, failed, cancelled or lost."),
            ("Abort-Reason", "Undo: why, percent-encoded UTF-8."),
            ("Attempt-Class", "A whole number, after an operator's retry; absent means 1."),
            ("Saga", "The id of the saga that asks, for logs: a key does not tell it."),
            ("Saga-Began", "When it began, RFC 3339: what it did may be forgotten some time."),
        ],
    )
}

fn reply_headers() -> Value {
    headers(
        &["Fermata-Outcome"],
        &[
            ("Fermata-Outcome", "ok, rejected (final) or failed (it is asked again)."),
            ("Nats-Service-Error-Code", "400 to 499 with a rejection, 500 with a failure."),
            ("Nats-Service-Error", "Why it was rejected or failed."),
        ],
    )
}

fn event_headers() -> Value {
    headers(
        &[],
        &[
            ("Nats-Msg-Id", "The id of the event; without it ce-id counts."),
            ("ce-id", "CloudEvents (binary mode): the id of the event."),
            (
                "Fermata-Key",
                "The business key; without it ce-subject counts, then a field of the body: \
                 /orderId, or /refundId of a refund.",
            ),
            (
                "Fermata-Receipt",
                "The subject on which the runtime confirms that the event is durable.",
            ),
        ],
    )
}

fn headers(required: &[&str], all: &[(&str, &str)]) -> Value {
    let text = |(name, what): &(&str, &str)| {
        ((*name).to_owned(), json!({ "type": "string", "description": what }))
    };
    let properties = all.iter().map(text).collect::<Map<_, _>>();
    json!({ "type": "object", "required": required, "properties": properties })
}

/// The list of subjects, for people.
fn subjects() -> String {
    let mut page = String::from(
        "# Subjects\n\nMade from `src/table.rs`; `?` marks what may be absent. The shapes in full \
        are in `schemas/` and `asyncapi.json`.\n\n\
        ## Requests\n\n| subject | body | answer |\n|---|---|---|\n",
    );
    for message in MESSAGES {
        if let Kind::Request { reply, reply_schema } = message.kind {
            let (body, answer) = (fields(&(message.schema)()), fields(&reply_schema()));
            let Message { name, subject, .. } = message;
            line(&mut page, format_args!("| `{subject}` | {name} {body} | {reply} {answer} |"));
        }
    }
    page.push_str("\n## Events\n\n| subject | body | who publishes it |\n|---|---|---|\n");
    for message in MESSAGES {
        let who = match message.kind {
            Kind::Request { .. } => continue,
            Kind::Event => "a service, or whoever is permitted",
            Kind::Decision => "the runtime alone",
        };
        let Message { name, subject, .. } = message;
        let body = fields(&(message.schema)());
        line(&mut page, format_args!("| `{subject}` | {name} {body} | {who} |"));
    }
    page
}

fn line(page: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "{line}");
}

/// What must be given in the order of the type, then what may be absent.
fn fields(schema: &Value) -> String {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let required: Vec<_> = required.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let all = schema["properties"].as_object().into_iter().flat_map(Map::keys);
    let all: BTreeSet<_> = all.collect();
    let optional = all.into_iter().filter(|name| !required.contains(name));
    let optional = optional.map(|name| format!("{name}?"));
    let names: Vec<_> = required.iter().cloned().chain(optional).collect();
    format!("`{{{}}}`", names.join(", "))
}
