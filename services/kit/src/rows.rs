//! The kit's own rows, beside those of the service in the same store.
//!
//! | key | value |
//! |---|---|
//! | `k` space key | what became of a call |
//! | `x` due_ms space key | nothing: when the row of the key is to be swept |
//! | `p` key | nothing: its outside work is pending |
//! | `n` | the last number of an event |
//! | `o` number | an event without a receipt |
//! | `r` number | an event with one |
//! | `i` id | the number of the event with this id |
//! | `e` | the store of the runtime's newest receipt |
//! | `h` instance | how far that store of the runtime had come |
//! | `w` | since when the table of keys is whole, in which epoch of the store |
//! | `u` receipts | nothing: these are lost to the runtime, and not all of them owed again yet |

use chassis::db::DbError;

/// Keys that begin with this byte belong to the kit; services use any other above 0.
pub const KIT_PREFIX: u8 = 1;

pub(crate) const PENDING: &[u8] = &[KIT_PREFIX, b'p'];
pub(crate) const EXPIRY: &[u8] = &[KIT_PREFIX, b'x'];
pub(crate) const LAST_NUMBER: &[u8] = &[KIT_PREFIX, b'n'];
pub(crate) const OUTSTANDING: &[u8] = &[KIT_PREFIX, b'o'];
pub(crate) const RECEIPTED: &[u8] = &[KIT_PREFIX, b'r'];
pub(crate) const NEWEST: &[u8] = &[KIT_PREFIX, b'e'];
pub(crate) const RESTORED: &[u8] = &[KIT_PREFIX, b'u'];
pub(crate) const WHOLE: &[u8] = &[KIT_PREFIX, b'w'];
const KNOWN: &[u8] = &[KIT_PREFIX, b'h'];
const KEYS: &[u8] = &[KIT_PREFIX, b'k'];
const IDS: &[u8] = &[KIT_PREFIX, b'i'];

/// Whose keys: callers must not be able to name each other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Nats,
    Http,
}

impl Space {
    fn byte(self) -> u8 {
        match self {
            Space::Nats => b'n',
            Space::Http => b'h',
        }
    }
}

pub(crate) fn key(space: Space, key: &str) -> Vec<u8> {
    [KEYS, &[space.byte()], key.as_bytes()].concat()
}

pub(crate) fn expiry(due_ms: u64, row: &[u8]) -> Vec<u8> {
    [EXPIRY, &due_ms.to_be_bytes(), &row[KEYS.len()..]].concat()
}

/// The due time and the key row that an expiry row names.
pub(crate) fn of_expiry(row: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (due_ms, key) = row.strip_prefix(EXPIRY)?.split_first_chunk()?;
    Some((u64::from_be_bytes(*due_ms), [KEYS, key].concat()))
}

/// The pending row that belongs to a key row.
pub(crate) fn pending_of(row: &[u8]) -> Vec<u8> {
    [PENDING, row.get(KEYS.len() + 1..).unwrap_or_default()].concat()
}

pub(crate) fn pending(key: &str) -> Vec<u8> {
    [PENDING, key.as_bytes()].concat()
}

pub(crate) fn known(instance: &[u8; 16]) -> Vec<u8> {
    [KNOWN, instance].concat()
}

pub(crate) fn id(id: &str) -> Vec<u8> {
    [IDS, id.as_bytes()].concat()
}

pub(crate) fn numbered(prefix: &[u8], number: u64) -> Vec<u8> {
    [prefix, &number.to_be_bytes()].concat()
}

pub(crate) fn number_of(prefix: &[u8], row: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(row.strip_prefix(prefix)?.try_into().ok()?))
}

/// One row of many. When it cannot be read that is this row's affair: it is logged and left out,
/// and the others go on.
pub(crate) fn one_of_many<T>(read: Result<T, DbError>) -> Result<Option<T>, DbError> {
    match read {
        Ok(row) => Ok(Some(row)),
        Err(error) if error.is_fatal() => Err(error),
        Err(error) => {
            tracing::error!(%error, "a row cannot be read: the others go on without it");
            Ok(None)
        }
    }
}
