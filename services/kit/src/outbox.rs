//! Events on their way: in the same commit as the change that they tell of, and kept until the
//! runtime has receipted them.

use crate::{
    outcome::{Outcome, Refusal},
    receipts::Lost,
    rows,
    wire::PAYLOAD_BYTES_MAX,
};
use chassis::db::{DbError, Tx};
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// Receipted events stay this long, to be sent again when the runtime is restored from a backup.
const RECEIPTED_DAYS: i64 = 7;
/// Rows that one sweep, receipt or resend changes in one commit.
pub(crate) const STEP_ROWS_MAX: usize = 500;
/// Ids and keys are headers, of which there are some: all of them have to fit beside the payload.
const HEADER_BYTES_MAX: usize = 256;

/// Something that happened here, to be told to the world.
#[derive(Clone, Debug)]
pub struct NewEvent<B> {
    /// Its identity: the same id is told once. Derive it from what happened (an order's id, a
    /// provider's event id), so that a repeat of the cause does not repeat the event.
    pub id: String,
    /// The subject, `<prefix>.trigger.<what>`.
    pub subject: String,
    /// The business key that routes it to a saga: an order id, say.
    pub key: String,
    /// The body, JSON when it is sent.
    pub body: B,
    /// When it happened.
    pub at: DateTime<Utc>,
}

/// A stored event.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct EventRow {
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) key: String,
    pub(crate) body: Box<RawValue>,
    pub(crate) at: DateTime<Utc>,
    /// Absent until the runtime has confirmed that it holds the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) receipted: Option<Receipted>,
}

/// Where in the runtime's log an event was made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipted {
    pub(crate) at: DateTime<Utc>,
    /// The runtime's store; nil in rows of before receipts named it.
    #[serde(default)]
    pub(crate) instance: Uuid,
    pub(crate) epoch: u64,
    pub(crate) position: u64,
    /// How many stores had been the runtime's, one after the other.
    #[serde(default)]
    pub(crate) reign: u64,
}

/// Puts an event into the outbox, as part of the transaction. Says whether it is new: the same id
/// is taken once.
///
/// # Errors
/// The event is too large or malformed; the store fails.
pub fn publish<B: Serialize>(tx: &mut Tx, event: NewEvent<B>) -> Outcome<bool> {
    let NewEvent { id, subject, key, body, at } = event;
    check_header("id", &id)?;
    check_header("key", &key)?;
    let by_id = rows::id(&id);
    if tx.get(&by_id)?.is_some() {
        return Ok(false);
    }
    let body = serde_json::value::to_raw_value(&body)
        .map_err(|error| Refusal::failed(format!("the event has no JSON form: {error}")))?;
    if body.get().len() > PAYLOAD_BYTES_MAX {
        let bytes = body.get().len();
        return Err(Refusal::failed(format!("the event has {bytes} of {PAYLOAD_BYTES_MAX} bytes")));
    }
    let number = last_number(tx)? + 1;
    tx.put(rows::LAST_NUMBER, number.to_be_bytes());
    tx.put(by_id, number.to_be_bytes());
    let row = EventRow { id, subject, key, body, at, receipted: None };
    tx.put_json(rows::numbered(rows::OUTSTANDING, number), &row)?;
    Ok(true)
}

/// An id or a key travels as a header, which ends at a line break and loses blanks at its ends.
fn check_header(name: &str, text: &str) -> Outcome<()> {
    let fits = (1..=HEADER_BYTES_MAX).contains(&text.len());
    if fits && text.trim() == text && !text.contains(char::is_control) {
        return Ok(());
    }
    let rule = "one line without blanks at its ends";
    Err(Refusal::failed(format!("an event's {name} has 1 to {HEADER_BYTES_MAX} bytes, {rule}")))
}

/// The number of the newest event; 0 when there is none.
pub(crate) fn last_number(tx: &Tx) -> Result<u64, DbError> {
    Ok(number(tx.get(rows::LAST_NUMBER)?))
}

/// Settles the events that a receipt names; gives their numbers.
pub(crate) fn settle(
    tx: &mut Tx,
    ids: &[String],
    receipted: Receipted,
) -> Result<Vec<u64>, DbError> {
    let mut settled = Vec::new();
    for id in ids {
        let Some(number) = tx.get(&rows::id(id))?.map(|bytes| number(Some(bytes))) else {
            continue;
        };
        let from = rows::numbered(rows::OUTSTANDING, number);
        let row = rows::one_of_many(tx.get_json::<EventRow>(&from))?.flatten();
        let Some(mut row) = row else { continue };
        row.receipted = Some(receipted);
        tx.delete(from);
        tx.put_json(rows::numbered(rows::RECEIPTED, number), &row)?;
        settled.push(number);
    }
    Ok(settled)
}

/// Owes again what was receipted and is lost. Works in steps: returns the numbers that are owed
/// again, and where to go on; the caller does so until there is nothing more.
pub(crate) fn resend(
    tx: &mut Tx,
    lost: &Lost,
    after: Option<&[u8]>,
) -> Result<(Vec<u64>, Option<Vec<u8>>), DbError> {
    let step = tx.scan(rows::RECEIPTED, after, STEP_ROWS_MAX)?;
    let next = (step.len() == STEP_ROWS_MAX).then(|| step.last().map(|(key, _)| key.clone()));
    let mut owed = Vec::new();
    for (from, value) in &step {
        let Some(mut row) = rows::one_of_many(decode(from, value))? else { continue };
        let is_lost = row.receipted.is_some_and(|it| lost.holds_for(&it));
        let Some(number) = rows::number_of(rows::RECEIPTED, from).filter(|_| is_lost) else {
            continue;
        };
        row.receipted = None;
        tx.delete(from.as_slice());
        tx.put_json(rows::numbered(rows::OUTSTANDING, number), &row)?;
        owed.push(number);
    }
    Ok((owed, next.flatten()))
}

/// Forgets what was receipted long ago. Says whether there is more.
pub(crate) fn sweep(tx: &mut Tx, now: DateTime<Utc>) -> Result<bool, DbError> {
    let step = tx.scan(rows::RECEIPTED, None, STEP_ROWS_MAX)?;
    let (mut swept, mut unread) = (0, Vec::new());
    for (key, value) in &step {
        // One that cannot be read goes with the next one that can: it is older.
        let Ok(row) = decode(key, value) else {
            unread.push(key);
            continue;
        };
        let kept_until = |it: Receipted| it.at + Duration::days(RECEIPTED_DAYS);
        // Events are receipted nearly in their order, so the rest is younger.
        if row.receipted.is_none_or(|it| kept_until(it) > now) {
            return Ok(false);
        }
        for key in unread.drain(..) {
            let number = rows::number_of(rows::RECEIPTED, key);
            tracing::warn!(number, "an old event that cannot be read is forgotten");
            tx.delete(key.as_slice());
        }
        tx.delete(key.as_slice());
        tx.delete(rows::id(&row.id));
        swept += 1;
    }
    Ok(swept > 0 && step.len() == STEP_ROWS_MAX)
}

pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<EventRow, DbError> {
    serde_json::from_slice(value).map_err(|error| DbError::Damaged {
        key: String::from_utf8_lossy(key).into_owned(),
        reason: error.to_string(),
    })
}

pub(crate) fn number(bytes: Option<Vec<u8>>) -> u64 {
    bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
}
