//! Records and rows as bytes: JSON with an explicit version. An older form is brought up to date
//! here, and nowhere else.

use crate::{
    effect::Verdict,
    id::{Path, Place, Position, SagaId, Time},
    input::Actor,
    journal::{Entry, Fact, Turn},
    payload::Payload,
    store::{StoreError, Stored},
    text::masked,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

/// The form that this build writes.
const VERSION: u8 = 1;

#[derive(Serialize)]
struct Written<'a, T> {
    v: u8,
    it: &'a T,
}

#[derive(Deserialize)]
struct Read<T> {
    it: T,
}

#[derive(Deserialize)]
struct Version {
    v: u8,
}

/// Encodes a record or a row.
///
/// # Errors
/// It has no JSON form.
pub(crate) fn encode<T: Serialize>(it: &T) -> Result<Vec<u8>, StoreError> {
    /// Most rows and records fit, so that they need not be moved while they are written.
    const BYTES: usize = 1 << 10;
    let mut bytes = Vec::with_capacity(BYTES);
    serde_json::to_writer(&mut bytes, &Written { v: VERSION, it })
        .map_err(|err| StoreError::failed("encode for", err.to_string()))?;
    Ok(bytes)
}

/// How many bytes the JSON form of something has, without writing it anywhere; more than can be
/// stored when it has none.
pub(crate) fn encoded_bytes(it: &impl Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, it).map_or(usize::MAX, |()| count.0)
}

/// Decodes a record or a row.
///
/// # Errors
/// It is damaged, or of a form that this build does not know.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    let failed = |reason: String| StoreError::failed("decode from", reason);
    let it = serde_json::from_slice::<Read<T>>(bytes);
    it.map(|it| it.it).map_err(|err| match serde_json::from_slice::<Version>(bytes) {
        Ok(Version { v }) if v != VERSION => failed(format!(
            "a record of form {v}; this build reads form {VERSION}: use a newer one"
        )),
        // What an error of the decoder quotes may be anything.
        _ => StoreError::damaged(masked(&format!("a damaged record: {err}"))),
    })
}

/// An entry without its place.
#[derive(Serialize, Deserialize)]
struct StoredEntry {
    at: Time,
    fact: Fact,
    turn: Turn,
}

#[derive(Serialize)]
struct StoredEntryRef<'a> {
    at: Time,
    fact: &'a Fact,
    turn: &'a Turn,
}

pub(crate) fn encode_entry(entry: &Entry) -> Result<Vec<u8>, StoreError> {
    encode(&StoredEntryRef { at: entry.at, fact: &entry.fact, turn: &entry.turn })
}

/// Decodes an entry of a journal.
///
/// # Errors
/// It is damaged, or of a form that this build does not know.
pub fn decode_entry(stored: &Stored) -> Result<Entry, StoreError> {
    let StoredEntry { at, fact, turn } = decode(&stored.bytes)?;
    Ok(Entry { position: stored.position, at, fact, turn })
}

/// An event as it arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// When it was made durable.
    pub at: Time,
    /// Its subject.
    pub name: String,
    /// Its id.
    pub id: String,
    /// From whom.
    pub source: String,
    /// The business key that came with it, if one did.
    pub key: Option<String>,
    /// When the broker took it.
    pub published_at: Time,
    /// Its body.
    pub body: Payload,
    /// The dead letter from which it was made, when an operator offered that again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<Position>,
    /// What became of it when it came. What changes later is in the log behind it: the facts of the
    /// sagas that take it, and [`NoteRecord::Ruled`].
    pub verdicts: Vec<Verdict>,
}

/// What is known of an event's identity, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IdentityRow {
    /// Where the event is.
    pub position: Position,
    /// SHA-256 over its canonical body, in hexadecimal.
    pub digest: String,
    /// One line for each definition.
    pub verdicts: Vec<Verdict>,
    /// Events with the same id and another body, which did not count.
    pub conflicts: Vec<(Position, String)>,
}

/// The saga that has a start key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StartKeyRow {
    pub(crate) position: Position,
    pub(crate) saga: SagaId,
    /// SHA-256 over its canonical input, in hexadecimal.
    pub(crate) digest: String,
}

/// The ended saga that held for a lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClaimRow {
    pub(crate) position: Position,
    pub(crate) saga: SagaId,
    pub(crate) ended_at: Time,
}

/// A lane that ended sagas may have left something in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SweepRow {
    /// The event's name.
    pub(crate) name: String,
    /// The business key.
    pub(crate) key: String,
    /// What came later is another sweep's affair.
    pub(crate) until: Position,
}

/// An event of which not all who held for it have their copies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CopyRow {
    /// The event's name.
    pub(crate) name: String,
    /// The business key.
    pub(crate) key: String,
    /// Who was to have one had opened a wait before this.
    pub(crate) until: Position,
    /// The waits that were opened up to here have theirs.
    pub(crate) behind: Place,
    /// Nobody has one yet, and the event's verdict says that it is kept; older rows do not tell.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_kept: bool,
}

/// What a definition declared when it was last linked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeclaredRow {
    pub(crate) definition: String,
    pub(crate) events: Vec<DeclaredEvent>,
    /// When a binary was first opened without it, if it is missing.
    pub(crate) missing_since: Option<Time>,
}

/// A saga that has ended, and has not handed over all of its lanes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LeavingRow {
    pub(crate) position: Position,
    /// Those of these events alone: it has handed over the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) only: Option<BTreeSet<String>>,
}

/// One name of those.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeclaredEvent {
    pub(crate) name: String,
    /// JSON pointer to the key in the body; unknown where an older build knew the name alone.
    pub(crate) key: Option<String>,
    pub(crate) is_decision: bool,
    /// Every open wait takes a copy.
    pub(crate) is_copied: bool,
    /// It starts sagas; older rows do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) starts: Option<bool>,
    /// When a version was first linked that does not declare it any more, if one is: sagas of an
    /// older one may hold for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) former_since: Option<Time>,
}

/// The answer to a question that services know by event and key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DecidedRow {
    pub(crate) position: Position,
    pub(crate) saga: SagaId,
    pub(crate) step: Path,
    pub(crate) approved: bool,
    pub(crate) by: String,
    /// The id of the announcement.
    pub(crate) id: String,
    /// What the question was known by to those who had seen it; older rows do not say it.
    #[serde(default)]
    pub(crate) seen: Option<String>,
    /// The business key, and the digest of the announcement, in hexadecimal.
    #[serde(default)]
    pub(crate) announced: Option<(String, String)>,
}

/// A call that was abandoned, and what its service has said to it since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AbandonedRow {
    pub(crate) position: Position,
    pub(crate) epoch: u32,
    /// Those that are recorded beside the saga.
    pub(crate) outcomes: Vec<String>,
}

/// Something beside a saga.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteRecord {
    /// A service answered a call that was abandoned.
    LateAnswer {
        /// When.
        at: Time,
        /// The saga.
        saga: SagaId,
        /// The step.
        step: Path,
        /// `ok`, or the code of the rejection.
        outcome: String,
    },
    /// What became of an event that was kept, where no fact of a saga says it.
    Ruled {
        /// Where the event is.
        event: Position,
        /// What became of it.
        verdict: Verdict,
    },
    /// A message that is no event.
    DeadLetter {
        /// When.
        at: Time,
        /// Its subject.
        name: String,
        /// Its id.
        id: String,
        /// Its body, as text or base64.
        body: String,
        /// The body is in base64.
        #[serde(default)]
        is_base64: bool,
        /// The headers that say what an event is.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// When the broker took it; unknown in older stores.
        #[serde(default)]
        published_at: Option<Time>,
        /// Why.
        reason: String,
    },
}

/// Who offered an event or a dead letter again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfferedRow {
    /// The log position that wrote it.
    pub position: Position,
    /// When.
    pub at: Time,
    /// Who.
    pub by: String,
    /// In the operator's words.
    pub reason: String,
    /// The event that it became; for an event its own place.
    pub event: Position,
}

/// Who did what, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When.
    pub at: Time,
    /// Who.
    pub actor: Actor,
    /// What was wanted.
    pub action: String,
    /// Of what.
    pub target: String,
    /// In the actor's words.
    pub reason: Option<String>,
    /// `accepted`, `same`, or why not.
    pub outcome: String,
    /// Of a decision: whether it said which question its maker had seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<bool>,
}
