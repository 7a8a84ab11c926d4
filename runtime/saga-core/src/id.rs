//! Names of things: times, positions, sagas, steps, lanes.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{cmp::Ordering, fmt, str::FromStr, time::Duration};
use uuid::Uuid;

/// Milliseconds since the Unix epoch, UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// The end of time: what never comes.
    pub const NEVER: Time = Time(u64::MAX);

    /// This many milliseconds later; the end of time is not passed.
    pub fn after_ms(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms))
    }

    /// So much later; the end of time is not passed.
    pub fn after(self, by: Duration) -> Time {
        self.after_ms(millis(by))
    }
}

/// Whole milliseconds of a duration, at most `u64::MAX`.
pub(crate) fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// A place in the one log; the first record has 1.
pub type Position = u64;

/// Where something was decided: the position of its entry, and its number there.
pub type Place = (Position, u32);

/// The id of a saga: a UUID of version 7 (RFC 9562), so that new sagas sort last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SagaId(pub Uuid);

impl SagaId {
    /// An id for the saga that starts at this position of this store: unique, and made without
    /// randomness. A store that was restored has its positions twice, in two epochs.
    pub fn at(time: Time, instance: Uuid, epoch: u64, position: Position) -> SagaId {
        let digest = Sha256::new()
            .chain_update(instance.as_bytes())
            .chain_update(epoch.to_be_bytes())
            .chain_update(position.to_be_bytes())
            .finalize();
        SagaId(uuid_v7(time, &digest))
    }

    /// An id that depends on another saga and a salt alone: asked for twice, it is the same.
    pub fn derived(from: SagaId, salt: &str) -> SagaId {
        let digest =
            Sha256::new().chain_update(from.0.as_bytes()).chain_update(salt.as_bytes()).finalize();
        SagaId(uuid_v7(from.time(), &digest))
    }

    /// The least id that could have been made at this time: all earlier ones are below it.
    pub(crate) fn first_of(time: Time) -> SagaId {
        /// A UUID of version 7 has 48 bits for its time.
        const TIME_MAX: u64 = (1 << 48) - 1;
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&time.0.min(TIME_MAX).to_be_bytes()[2..]);
        SagaId(Uuid::from_bytes(bytes))
    }

    /// When the id was made.
    pub fn time(self) -> Time {
        let bytes = self.0.as_bytes();
        Time(bytes[..6].iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte)))
    }

    /// The bytes, as they stand in store keys.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

/// The name under which the world outside knows a saga, in every key of its requests and events. It
/// is made of what began the saga and of nothing else: whoever takes the same in again, as after a
/// restore from a backup, names the same effects, and they are not made twice.
///
/// A saga's id cannot be that name. It tells when the saga began, and lists rest on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Alias(Uuid);

impl Alias {
    /// Of the one saga that a definition starts for a business key.
    pub fn of_start(definition: &str, key: &str) -> Alias {
        Alias(hashed_uuid(&["start", definition, key]))
    }

    /// Of the late arm that an event starts after the end of another saga.
    pub fn of_late(ended: Alias, event: &str, id: &str) -> Alias {
        Alias(hashed_uuid(&["late", &ended.to_string(), event, id]))
    }

    /// Of a saga that began before there were aliases.
    pub fn of_id(saga: SagaId) -> Alias {
        Alias(saga.0)
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An id for author code: the same whenever this step is replayed.
pub(crate) fn derived_uuid(time: Time, salt: &str) -> Uuid {
    uuid_v7(time, &Sha256::digest(salt.as_bytes()))
}

/// A UUID of version 8, which is free for hashes: 122 bits, so that nobody finds other parts that
/// give the same.
pub(crate) fn hashed_uuid(parts: &[&str]) -> Uuid {
    uuid::Builder::from_custom_bytes(short_hash(parts)).into_uuid()
}

fn uuid_v7(time: Time, digest: &[u8]) -> Uuid {
    let mut random = [0; 10];
    random.copy_from_slice(&digest[..10]);
    uuid::Builder::from_unix_timestamp_millis(time.0, &random).into_uuid()
}

impl fmt::Display for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SagaId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<SagaId, uuid::Error> {
        text.parse().map(SagaId)
    }
}

/// A scope path: `2.0.1` is the second step in the first arm of the third step; the root is empty.
/// Steps are counted per arm, so a name does not depend on the order in which replies came.
/// Paths sort by number, so that step 9 comes before step 10.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Path(String);

impl Path {
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        // A path is only ever made of numbers.
        self.0.split('.').filter_map(|it| it.parse().ok())
    }
}

impl Ord for Path {
    fn cmp(&self, other: &Path) -> Ordering {
        // No number begins with a zero, so that the longer one is the larger one.
        fn numbers(path: &Path) -> impl Iterator<Item = (usize, &str)> {
            path.0.split('.').map(|it| (it.len(), it))
        }
        numbers(self).cmp(numbers(other))
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Path) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Path {
    /// The scope of the saga itself.
    pub fn root() -> Path {
        Path::default()
    }

    /// The step or arm with this number.
    pub fn child(&self, number: u32) -> Path {
        if self.0.is_empty() {
            Path(number.to_string())
        } else {
            Path(format!("{}.{number}", self.0))
        }
    }

    /// Whether the other is this path or lies in it.
    pub fn contains(&self, other: &Path) -> bool {
        let rest = other.0.strip_prefix(&self.0);
        self.0.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// The text, empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no scope path: numbers with dots between them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a step: expected numbers with dots between them")]
pub struct NotAPath(String);

impl FromStr for Path {
    type Err = NotAPath;

    fn from_str(text: &str) -> Result<Path, NotAPath> {
        let is_number = |part: &str| part.parse::<u32>().is_ok_and(|it| it.to_string() == part);
        if text.is_empty() || text.split('.').all(is_number) {
            Ok(Path(text.to_owned()))
        } else {
            Err(NotAPath(text.to_owned()))
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "root" } else { &self.0 })
    }
}

/// The idempotency key of a call: `<alias>/<epoch>/<path>`.
pub fn call_key(alias: Alias, epoch: u32, step: &Path) -> String {
    format!("{alias}/{epoch}/{step}")
}

/// The idempotency key of an undo: that of its step with `/undo` behind it.
pub fn undo_key(alias: Alias, epoch: u32, step: &Path) -> String {
    format!("{alias}/{epoch}/{step}/undo")
}

/// The id of a task: `<saga>.<path>` of the wait that asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskId {
    /// The saga that asks.
    pub saga: SagaId,
    /// Its wait.
    pub step: Path,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.saga, self.step)
    }
}

/// A text that is no task id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a task id: expected <saga id>.<step>")]
pub struct NotATask(String);

impl FromStr for TaskId {
    type Err = NotATask;

    fn from_str(text: &str) -> Result<TaskId, NotATask> {
        let parts = text.split_once('.').and_then(|(saga, step)| {
            Some(TaskId { saga: saga.parse().ok()?, step: step.parse().ok()? })
        });
        parts.ok_or_else(|| NotATask(text.to_owned()))
    }
}

/// The hash of (definition, event name, key): events of one lane are taken in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub [u8; 16]);

impl Lane {
    /// The lane of a definition for one name and key.
    pub fn of(definition: &str, name: &str, key: &str) -> Lane {
        Lane(short_hash(&[definition, name, key]))
    }
}

/// 128 bits of SHA-256 over the parts, with their lengths, so that no two lists of parts collide.
pub(crate) fn short_hash(parts: &[&str]) -> [u8; 16] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hasher.finalize()[..16]);
    short
}
