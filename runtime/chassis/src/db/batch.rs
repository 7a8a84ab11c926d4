use super::{DbError, KEY_BYTES_MAX, RESERVED, VALUE_BYTES_MAX};
use std::collections::BTreeMap;

/// Changes that are written together or not at all. The last change of a key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    /// `None` deletes.
    pub(super) changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> Self {
        WriteBatch::default()
    }

    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.insert(key.into(), Some(value.into()));
    }

    /// Removes a key, if it is there.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.changes.insert(key.into(), None);
    }

    /// How many keys it changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What can be known to be wrong before anything is written.
    pub(super) fn check(&self) -> Result<(), DbError> {
        self.changes.iter().try_for_each(|(key, value)| check(key, value.as_deref()))
    }
}

/// Whether a change can be written at all.
pub(super) fn check(key: &[u8], value: Option<&[u8]>) -> Result<(), DbError> {
    check_key(key)?;
    let bytes = value.map_or(0, <[u8]>::len);
    if bytes <= VALUE_BYTES_MAX {
        return Ok(());
    }
    let key = String::from_utf8_lossy(key);
    let fault = format!("the value of key {key:?} has {bytes} bytes, more than {VALUE_BYTES_MAX}");
    Err(DbError::Refused(fault))
}

fn check_key(key: &[u8]) -> Result<(), DbError> {
    let fault = match key.first() {
        None => "a key is empty".to_owned(),
        Some(&RESERVED) => format!("keys that begin with byte {RESERVED} belong to the store"),
        _ if key.len() > KEY_BYTES_MAX => {
            format!("a key has {} bytes, more than {KEY_BYTES_MAX}", key.len())
        }
        _ => return Ok(()),
    };
    Err(DbError::Refused(fault))
}
