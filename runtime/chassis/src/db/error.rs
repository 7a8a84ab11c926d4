use std::{io, path::PathBuf};
use uuid::Uuid;

/// Why a store does not open. Nothing has been changed in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be made, read or synced.
    #[error("failed to use the store's directory {dir}: {source}")]
    Io {
        /// The store's directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has the store open.
    #[error(
        "the store in {dir} is in use by process {pid}: stop that process, or give this one a \
         directory of its own"
    )]
    Locked {
        /// The store's directory.
        dir: PathBuf,
        /// The process that holds it, as it wrote it into `LOCK`.
        pid: String,
    },
    /// The store was written by another release.
    #[error(
        "the store in {dir} has format {found}, this program reads format {expected}: use the \
         release that wrote it"
    )]
    Format {
        /// The store's directory.
        dir: PathBuf,
        /// The format of the store.
        found: u32,
        /// The format of this program.
        expected: u32,
    },
    /// The store opened without rows, although it has been in use.
    #[error(
        "the store in {dir} is empty, but its sidecar says that position {sidecar} was \
         acknowledged: its files are lost or damaged; restore it from a backup, or move the \
         directory away to begin anew"
    )]
    Empty {
        /// The store's directory.
        dir: PathBuf,
        /// The position that the sidecar attests.
        sidecar: u64,
    },
    /// The end of the store is lost.
    #[error(
        "the store in {dir} ends at position {store} (commit {store_commits}), but position \
         {sidecar} (commit {sidecar_commits}) was acknowledged: its tail is lost, most likely in a \
         power cut or by copying files of a running process; restore it from a backup, or move the \
         directory away to begin anew"
    )]
    Behind {
        /// The store's directory.
        dir: PathBuf,
        /// The last position of the store.
        store: u64,
        /// The position that the sidecar attests.
        sidecar: u64,
        /// The last commit of the store.
        store_commits: u64,
        /// The commit that the sidecar attests.
        sidecar_commits: u64,
    },
    /// Store and sidecar come from different places.
    #[error(
        "the store in {dir} is instance {store}, its sidecar belongs to instance {sidecar}: files \
         of two stores are mixed; restore the whole directory from one backup"
    )]
    Instance {
        /// The store's directory.
        dir: PathBuf,
        /// The identity in the store.
        store: Uuid,
        /// The identity in the sidecar.
        sidecar: Uuid,
    },
    /// Neither slot of the sidecar can be read, or there is none beside a store in use.
    #[error(
        "the sidecar of the store in {dir} is {state}: nobody can tell whether the store is whole; \
         restore the whole directory from a backup"
    )]
    Sidecar {
        /// The store's directory.
        dir: PathBuf,
        /// `missing` or `damaged`.
        state: &'static str,
    },
    /// sled does not open its files.
    #[error(
        "the store in {dir} does not open: {reason}; restore it from a backup, or move the \
         directory away to begin anew"
    )]
    Damaged {
        /// The store's directory.
        dir: PathBuf,
        /// What sled says, or said when it panicked.
        reason: String,
    },
}

/// Why a read or a commit failed.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The batch or its position cannot be taken; nothing has happened.
    #[error("failed to take the batch: {0}")]
    Refused(String),
    /// An earlier commit failed.
    #[error("the store is poisoned by an earlier failure: the process has to end")]
    Poisoned,
    /// sled failed.
    #[error("the store failed: {}", plain(.0))]
    Store(#[from] sled::Error),
    /// The fsync failed.
    #[error("failed to sync the store: {}", plain_io(.0))]
    Sync(io::Error),
    /// The sidecar could not be written or synced.
    #[error("failed to write the sidecar: {}", plain_io(.0))]
    Sidecar(io::Error),
    /// sled panicked.
    #[error("the store panicked")]
    Panicked,
    /// A row does not read back.
    #[error("the row of key {key:?} is damaged: {reason}")]
    Damaged {
        /// The key, as text where it is text.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A value that should become a row has no JSON form.
    #[error("failed to encode the row of key {key:?}: {source}")]
    Encode {
        /// The key, as text where it is text.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// sled shows what the system said as Rust writes it; the likeliest of it in words.
fn plain(error: &sled::Error) -> String {
    match error {
        sled::Error::Io(io) if is_full(io) => plain_io(io),
        other => other.to_string(),
    }
}

/// A disk may be full in the write, or only in the sync; a quota is as full as a disk.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn plain_io(error: &io::Error) -> String {
    match is_full(error) {
        true => "its disk is full; make room, and start the process again".to_owned(),
        false => error.to_string(),
    }
}

impl DbError {
    /// Whether the process has to end, because nobody knows what the disk holds.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, DbError::Refused(_) | DbError::Encode { .. } | DbError::Damaged { .. })
    }

    pub(super) fn damaged(key: &[u8], reason: impl Into<String>) -> Self {
        let key = String::from_utf8_lossy(key).into_owned();
        DbError::Damaged { key, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_said_wherever_it_shows() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let full = || io::Error::from(kind);
            for error in [
                DbError::Store(sled::Error::Io(full())),
                DbError::Sync(full()),
                DbError::Sidecar(full()),
            ] {
                let said = error.to_string();
                let way_out = "its disk is full; make room, and start the process again";
                assert!(said.ends_with(way_out), "{said}");
            }
        }
    }
}
