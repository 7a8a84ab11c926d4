//! The key table: what became of each call, so that repeats and undos in any order act once.

use crate::{
    rows::{self, Space},
    wire::{Answer, Request},
};
use chassis::db::{DbError, Tx};
use chrono::{DateTime, Duration, Utc};
use saga_core::exact;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Longer than the runtime ever sends a call again (30 days), and than a person takes to notice.
const KEPT_DAYS: i64 = 90;
const KEPT_S: i64 = KEPT_DAYS * 24 * 60 * 60;
/// Rows that one sweep looks at, so that it does not hold up the commands behind it.
const SWEEP_ROWS_MAX: usize = 500;
/// What the clocks of two machines may be apart, of which both are believed.
const APART_S: i64 = 60;

/// What became of a call.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum State {
    /// Its outside work is under way or will be.
    #[serde(rename = "pending")]
    Pending { request: Request, intent: Box<RawValue> },
    /// It was acted on, or refused for good.
    #[serde(rename = "answered")]
    Answered { answer: Answer, attempt_class: u32 },
    /// It was undone, or its undo came first: it is never acted on again.
    #[serde(rename = "undone")]
    Undone,
    /// Its undo is finding out whether there is anything to undo: it is never acted on again.
    #[serde(rename = "barred")]
    Barred,
}

/// Since when no key is lost.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    epoch: u64,
    since_ms: u64,
}

/// A row of the table.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeyRow {
    /// Of subject and body; absent when the undo came first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hash: Option<String>,
    pub(crate) state: State,
    /// When it is swept, in unix milliseconds.
    pub(crate) due_ms: u64,
}

pub(crate) fn get(tx: &Tx, space: Space, key: &str) -> Result<Option<KeyRow>, DbError> {
    tx.get_json(&rows::key(space, key))
}

/// Sets a row, to be kept from now on for its whole time.
pub(crate) fn put(
    tx: &mut Tx,
    space: Space,
    key: &str,
    hash: Option<RequestHash>,
    state: State,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let row = rows::key(space, key);
    if let Some(KeyRow { due_ms, .. }) = tx.get_json(&row)? {
        tx.delete(rows::expiry(due_ms, &row));
    }
    let due_ms = unix_ms(now + Duration::days(KEPT_DAYS));
    tx.put(rows::expiry(due_ms, &row), Vec::new());
    match &state {
        State::Pending { .. } => tx.put(rows::pending(key), Vec::new()),
        State::Answered { .. } | State::Undone | State::Barred => tx.delete(rows::pending(key)),
    }
    let hash = hash.map(|it| it.text);
    tx.put_json(row, &KeyRow { hash, state, due_ms })
}

/// Forgets a key, as if it had never been seen.
pub(crate) fn forget(tx: &mut Tx, space: Space, key: &str) -> Result<(), DbError> {
    let row = rows::key(space, key);
    if let Some(KeyRow { due_ms, .. }) = tx.get_json(&row)? {
        tx.delete(rows::expiry(due_ms, &row));
    }
    tx.delete(rows::pending(key));
    tx.delete(row);
    Ok(())
}

/// Whether what the saga that asks did under this key may be forgotten: it is so old, or is older
/// than the table.
pub(crate) fn may_be_forgotten(
    tx: &mut Tx,
    request: &Request,
    key: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let whole_since_s = i64::try_from(whole_since(tx, now)? / 1_000).unwrap_or(i64::MAX);
    let began_s = request.began.map(|it| it.timestamp()).or_else(|| began_by_key(key));
    Ok(began_s.is_some_and(|it| {
        it.saturating_add(KEPT_S) <= now.timestamp() || it < whole_since_s.saturating_add(APART_S)
    }))
}

/// Since when the table is whole, in unix milliseconds. What a store that was put back from a copy
/// did before that may be lost to it, and what one did that had the place of a new one. It is noted
/// at the start, or when somebody asks: later than it is true never tells less.
pub(crate) fn whole_since(tx: &mut Tx, now: DateTime<Utc>) -> Result<u64, DbError> {
    let epoch = tx.epoch();
    let known = rows::one_of_many(tx.get_json::<Whole>(rows::WHOLE))?.flatten();
    if let Some(whole) = known.filter(|it| it.epoch == epoch) {
        return Ok(whole.since_ms);
    }
    let since_ms = unix_ms(now);
    tx.put_json(rows::WHOLE, &Whole { epoch, since_ms })?;
    Ok(since_ms)
}

/// Keys of older runtimes begin with a UUIDv7, which tells when their saga began; others are those
/// of tests and tools.
fn began_by_key(key: &str) -> Option<i64> {
    let saga = key.split('/').next().and_then(|saga| Uuid::try_parse(saga).ok());
    let began = saga.filter(|saga| saga.get_version_num() == 7)?.get_timestamp()?;
    Some(i64::try_from(began.to_unix().0).unwrap_or(i64::MAX))
}

/// Keeps a row that was asked for again for its whole time: a saga that has begun again, as after a
/// restore of the runtime, needs it for as long as any other. At most once a day, since it is
/// written for it.
pub(crate) fn renew(
    tx: &mut Tx,
    space: Space,
    key: &str,
    row: KeyRow,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let (name, due) = (rows::key(space, key), now + Duration::days(KEPT_DAYS));
    if unix_ms(due - Duration::days(1)) <= row.due_ms {
        return Ok(());
    }
    tx.delete(rows::expiry(row.due_ms, &name));
    let due_ms = unix_ms(due);
    tx.put(rows::expiry(due_ms, &name), Vec::new());
    tx.put_json(name, &KeyRow { due_ms, ..row })
}

/// The keys whose outside work is pending.
pub(crate) fn pending(tx: &Tx) -> Result<Vec<String>, DbError> {
    let rows = tx.scan(rows::PENDING, None, usize::MAX)?;
    let key = |row: &[u8]| Some(String::from_utf8_lossy(row.strip_prefix(rows::PENDING)?).into());
    Ok(rows.iter().filter_map(|(row, _)| key(row)).collect())
}

/// Forgets what is due, except what is still pending. Says whether there is more.
pub(crate) fn sweep(tx: &mut Tx, now: DateTime<Utc>) -> Result<bool, DbError> {
    let due = tx.scan(rows::EXPIRY, None, SWEEP_ROWS_MAX)?;
    let now_ms = unix_ms(now);
    let mut swept = 0;
    for (expiry, _) in &due {
        let Some((due_ms, row)) = rows::of_expiry(expiry) else { continue };
        if due_ms > now_ms {
            break;
        }
        swept += 1;
        tx.delete(expiry.as_slice());
        let due_ms = unix_ms(now + Duration::days(KEPT_DAYS));
        match rows::one_of_many(tx.get_json::<KeyRow>(&row))?.flatten() {
            Some(KeyRow { hash, state: state @ State::Pending { .. }, .. }) => {
                tx.put(rows::expiry(due_ms, &row), Vec::new());
                tx.put_json(row, &KeyRow { hash, state, due_ms })?;
            }
            // Pending work that cannot be read is for a person.
            None if tx.get(&rows::pending_of(&row))?.is_some() => {
                tx.put(rows::expiry(due_ms, &row), Vec::new());
            }
            _ => tx.delete(row),
        }
    }
    Ok(swept == SWEEP_ROWS_MAX)
}

/// What tells one request from another under the same key. Blanks, the order of fields and the form
/// of a number do not.
#[derive(Clone)]
pub(crate) struct RequestHash {
    text: String,
    /// As older builds worked it out, for the rows that they wrote: digits beyond f64 do not count.
    older: String,
}

impl RequestHash {
    /// As no older build writes it.
    const FORM: &str = "2-";

    pub(crate) fn of(subject: &str, body: &str) -> RequestHash {
        let older = serde_json::from_str::<Value>(body).map(|value| value.to_string());
        let text = format!("{}{}", RequestHash::FORM, digest(subject, &exact::canonical(body)));
        RequestHash { text, older: digest(subject, older.as_deref().unwrap_or(body)) }
    }

    /// Whether a row has it.
    pub(crate) fn is(&self, known: &str) -> bool {
        known == if known.starts_with(RequestHash::FORM) { &self.text } else { &self.older }
    }
}

fn digest(subject: &str, body: &str) -> String {
    let digest = Sha256::new().chain_update(subject).chain_update([0]).chain_update(body);
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unix_ms(at: DateTime<Utc>) -> u64 {
    u64::try_from(at.timestamp_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::RequestHash;

    #[test]
    fn a_body_is_told_from_another_by_every_digit_and_older_rows_are_known() {
        let of = |body: &str| RequestHash::of("stock.reserve", body);
        let long = of(r#"{"n":12345678901234567890123,"m":5}"#);
        assert!(long.is(&of(r#"{"m":5.0, "n":12345678901234567890123}"#).text));
        assert!(!long.is(&of(r#"{"n":12345678901234567890124,"m":5}"#).text));
        assert!(
            !long
                .is(&RequestHash::of("stock.release", r#"{"n":12345678901234567890123,"m":5}"#)
                    .text)
        );
        // As the builds before wrote it for {"a":1}.
        assert!(of(r#"{"a":1}"#).is("47a6adb3015f20c339397c2307542f81"));
        assert!(!of(r#"{"a":2}"#).is("47a6adb3015f20c339397c2307542f81"));
    }
}
