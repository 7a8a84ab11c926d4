//! The stream of events, and settings that are what they should be.

use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, ErrorCode};
use serde_json::Value;

use super::connection::NatsError;

/// The stream that holds every event until the runtime has it.
pub const TRIGGERS: &str = "TRIGGERS";
/// The stream that holds one record for the store of each process.
pub const STORES: &str = "STORES";
/// A record is far shorter.
const RECORD_BYTES_MAX: i32 = 4 << 10;
/// Prefixes of the services that come with the product.
const PREFIXES: [&str; 5] = ["orders", "payments", "inventory", "delivery", "notifications"];
/// The smallest that the server takes. Within the window it swallows a message whose id it has
/// seen even when the content or the subject differ, so identity is the runtime's own affair.
const DUPLICATE_WINDOW: Duration = Duration::from_millis(100);
/// JetStream writes "no limit" as -1.
const NO_LIMIT: i64 = -1;

/// The subjects of the stream: `<prefix>.trigger.>` for our services and for each configured
/// prefix. They are listed because the server refuses a leading wildcard.
///
/// # Errors
/// When a prefix is not one plain subject token, or there already.
pub fn trigger_subjects(configured: &[String]) -> Result<Vec<String>, NatsError> {
    let mut prefixes: Vec<&str> = PREFIXES.to_vec();
    for prefix in configured {
        let refuse = |reason| NatsError::Prefix { prefix: prefix.clone(), reason };
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if prefix.is_empty() || !prefix.bytes().all(plain) {
            return Err(refuse("it must be one name of letters, digits, - and _"));
        }
        if prefixes.contains(&prefix.as_str()) {
            return Err(refuse("it is listed already"));
        }
        prefixes.push(prefix);
    }
    Ok(prefixes.iter().map(|prefix| format!("{prefix}.trigger.>")).collect())
}

/// The settings of `TRIGGERS`. A work queue: what the runtime has acknowledged is gone, what it
/// has not stays for ever, and a full stream refuses publishers instead of dropping.
#[must_use]
pub fn triggers_stream(subjects: Vec<String>, bytes_max: i64, replicas: usize) -> Config {
    Config {
        name: TRIGGERS.into(),
        subjects,
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: replicas,
        max_bytes: bytes_max,
        max_messages: NO_LIMIT,
        max_messages_per_subject: NO_LIMIT,
        max_consumers: -1,
        max_message_size: -1,
        max_age: Duration::ZERO,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    }
}

/// The settings of `STORES`: the last record of each subject, for good.
#[must_use]
pub fn stores_stream(replicas: usize) -> Config {
    Config {
        name: STORES.into(),
        subjects: vec![store_subject("*")],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: replicas,
        max_bytes: NO_LIMIT,
        max_messages: NO_LIMIT,
        max_messages_per_subject: 1,
        max_consumers: -1,
        max_message_size: RECORD_BYTES_MAX,
        max_age: Duration::ZERO,
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
        deny_delete: true,
        deny_purge: true,
        ..Config::default()
    }
}

/// Where the record of the store of a process lies.
#[must_use]
pub fn store_subject(process: &str) -> String {
    format!("fermata.store.{process}")
}

/// Creates the stream or brings it up to date, and compares what the server applied with what
/// was asked for: older servers drop settings that they do not know without a word.
///
/// # Errors
/// When the server refuses, or applied something else.
pub async fn apply_stream(
    jetstream: &jetstream::Context,
    wanted: &Config,
) -> Result<jetstream::stream::Info, NatsError> {
    let failed = |reason: String| NatsError::Stream { name: wanted.name.clone(), reason };
    let info = match jetstream.get_stream(&wanted.name).await {
        Ok(stream) if differences(wanted, &stream.cached_info().config).is_empty() => {
            return Ok(stream.cached_info().clone());
        }
        Ok(_) => jetstream.update_stream(wanted).await.map_err(|it| failed(it.to_string()))?,
        Err(error) if is_absent(&error.kind()) => {
            let stream = jetstream.create_stream(wanted).await;
            stream.map_err(|it| failed(it.to_string()))?.cached_info().clone()
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    let differences = differences(wanted, &info.config);
    if differences.is_empty() {
        return Ok(info);
    }
    Err(NatsError::StreamDiffers { name: wanted.name.clone(), differences })
}

fn is_absent(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// One line for each setting of `wanted` that `applied` has otherwise.
pub(super) fn differences(wanted: &Config, applied: &Config) -> Vec<String> {
    let (Ok(Value::Object(wanted)), Ok(applied)) =
        (serde_json::to_value(wanted), serde_json::to_value(applied))
    else {
        return vec!["the settings cannot be compared".into()];
    };
    let differing = wanted.iter().filter_map(|(name, want)| {
        let have = applied.get(name).unwrap_or(&Value::Null);
        (have != want).then(|| format!("{name}: asked for {want}, is {have}"))
    });
    differing.collect()
}
