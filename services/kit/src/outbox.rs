//! Events on their way: in the same commit as the change that they tell of, and kept until the
//! runtime has receipted them.

use crate::{
    outcome::{Outcome, Refusal},
    rows,
    wire::PAYLOAD_BYTES_MAX,
};
use chassis::db::{DbError, Tx};
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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
    pub(crate) epoch: u64,
    pub(crate) position: u64,
}

/// What the runtime sends after its fsync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// Ids of events that it holds; none in a notice that a store was restored.
    #[serde(default)]
    pub(crate) ids: Vec<String>,
    pub(crate) epoch: u64,
    pub(crate) position: u64,
}

/// What a receipt changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Receipts {
    /// Numbers of events that are now receipted.
    pub(crate) receipted: Vec<u64>,
    /// The runtime was restored: events receipted after this position in an older epoch are owed
    /// again.
    pub(crate) restored: Option<Receipt>,
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

/// Takes a receipt: its events are settled, and a new epoch shows that others no longer are.
pub(crate) fn receipt(
    tx: &mut Tx,
    receipt: &Receipt,
    now: DateTime<Utc>,
) -> Result<Receipts, DbError> {
    let mut changed = Receipts::default();
    let newest: Option<u64> = tx.get(rows::NEWEST)?.map(|bytes| number(Some(bytes)));
    if newest.is_none_or(|newest| receipt.epoch > newest) {
        tx.put(rows::NEWEST, receipt.epoch.to_be_bytes());
        // A store that has never had a receipt has nothing to send again.
        changed.restored = newest.map(|_| restored(receipt));
        if let Some(restored) = &changed.restored {
            let row = rows::numbered(rows::RESTORED, restored.epoch);
            tx.put(row, restored.position.to_be_bytes());
        }
    }
    // An instance that was superseded by a restore may still be talking: its word counts for
    // nothing.
    if newest.is_some_and(|newest| receipt.epoch < newest) {
        tracing::warn!(epoch = receipt.epoch, ?newest, "a receipt of an older epoch is ignored");
        return Ok(changed);
    }
    let settled = Receipted { at: now, epoch: receipt.epoch, position: receipt.position };
    for id in &receipt.ids {
        let Some(number) = tx.get(&rows::id(id))?.map(|bytes| number(Some(bytes))) else {
            continue;
        };
        let from = rows::numbered(rows::OUTSTANDING, number);
        let Some(mut row) = tx.get_json::<EventRow>(&from)? else { continue };
        row.receipted = Some(settled);
        tx.delete(from);
        tx.put_json(rows::numbered(rows::RECEIPTED, number), &row)?;
        changed.receipted.push(number);
    }
    Ok(changed)
}

/// A notice says to which position the runtime was restored. A receipt of a new epoch, when the
/// notice was missed, has a later one: then everything of older epochs is owed, which costs time
/// and nothing else.
fn restored(receipt: &Receipt) -> Receipt {
    let position = if receipt.ids.is_empty() { receipt.position } else { 0 };
    Receipt { ids: Vec::new(), position, ..*receipt }
}

/// Owes again what was receipted in an epoch before `restored.epoch` after `restored.position`.
/// Works in steps: returns the numbers that are owed again, and where to go on. What is cut off
/// between two steps is among the [`unfinished`], and begins again.
pub(crate) fn resend(
    tx: &mut Tx,
    restored: &Receipt,
    after: Option<&[u8]>,
) -> Result<(Vec<u64>, Option<Vec<u8>>), DbError> {
    let step = tx.scan(rows::RECEIPTED, after, STEP_ROWS_MAX)?;
    let next = (step.len() == STEP_ROWS_MAX).then(|| step.last().map(|(key, _)| key.clone()));
    let mut owed = Vec::new();
    for (from, value) in &step {
        let mut row: EventRow = decode(from, value)?;
        let lost = row.receipted.is_some_and(|receipted| {
            receipted.epoch < restored.epoch && receipted.position > restored.position
        });
        let Some(number) = rows::number_of(rows::RECEIPTED, from).filter(|_| lost) else {
            continue;
        };
        row.receipted = None;
        tx.delete(from.as_slice());
        tx.put_json(rows::numbered(rows::OUTSTANDING, number), &row)?;
        owed.push(number);
    }
    if next.is_none() {
        tx.delete(rows::numbered(rows::RESTORED, restored.epoch));
    }
    Ok((owed, next.flatten()))
}

/// Restores of the runtime whose events a process that died has not all owed again.
pub(crate) fn unfinished(tx: &Tx) -> Result<Vec<Receipt>, DbError> {
    let rows = tx.scan(rows::RESTORED, None, STEP_ROWS_MAX)?;
    let restored = rows.into_iter().filter_map(|(row, position)| {
        let epoch = rows::number_of(rows::RESTORED, &row)?;
        Some(Receipt { ids: Vec::new(), epoch, position: number(Some(position)) })
    });
    Ok(restored.collect())
}

/// Forgets what was receipted long ago. Says whether there is more.
pub(crate) fn sweep(tx: &mut Tx, now: DateTime<Utc>) -> Result<bool, DbError> {
    let rows = tx.scan(rows::RECEIPTED, None, STEP_ROWS_MAX)?;
    let mut swept = 0;
    for (key, value) in &rows {
        let row: EventRow = decode(key, value)?;
        let kept_until = |it: Receipted| it.at + Duration::days(RECEIPTED_DAYS);
        // Events are receipted nearly in their order, so the rest is younger.
        if row.receipted.is_none_or(|it| kept_until(it) > now) {
            break;
        }
        tx.delete(key.as_slice());
        tx.delete(rows::id(&row.id));
        swept += 1;
    }
    Ok(swept == STEP_ROWS_MAX)
}

pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<EventRow, DbError> {
    serde_json::from_slice(value).map_err(|error| DbError::Damaged {
        key: String::from_utf8_lossy(key).into_owned(),
        reason: error.to_string(),
    })
}

fn number(bytes: Option<Vec<u8>>) -> u64 {
    bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
}
