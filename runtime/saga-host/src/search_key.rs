//! The key of the search index: 32 random bytes in a file beside the store, for its owner alone.
//!
//! It is not in the store, so that whoever gets hold of the store's files, or of a backup of them,
//! cannot try out addresses on the index. Whoever loses it loses nothing: the core makes the index
//! anew with the next one.

use saga_core::search::{SEARCH_KEY_BYTES, SearchKey};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// The file's name in the data directory.
const FILE: &str = "search.key";
/// Until it is whole.
const UNFINISHED: &str = "search.key.new";
/// Its owner may read and write it, nobody else.
const MODE: u32 = 0o600;

/// Why there is no search key.
#[derive(Debug, thiserror::Error)]
pub enum SearchKeyError {
    /// The disk.
    #[error("failed to read or make the search key {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody has changed it.
    #[error(
        "the search key {path} has {bytes} bytes instead of {SEARCH_KEY_BYTES}: put the right one \
         back, or remove it, and the next start makes another one and the search index anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How long it is.
        bytes: usize,
    },
}

/// The key beside this store; a new one when there is none. The store is locked meanwhile.
pub(crate) fn read_or_make(dir: &Path) -> Result<SearchKey, SearchKeyError> {
    let path = dir.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(dir).map_err(|source| SearchKeyError::Io { path: path.clone(), source })?
        }
        Err(source) => return Err(SearchKeyError::Io { path, source }),
    };
    close_to_others(&path).map_err(|source| SearchKeyError::Io { path: path.clone(), source })?;
    match <[u8; SEARCH_KEY_BYTES]>::try_from(bytes) {
        Ok(bytes) => Ok(SearchKey::new(bytes)),
        Err(bytes) => Err(SearchKeyError::Damaged { path, bytes: bytes.len() }),
    }
}

/// A volume that was mounted for a group, or a copy, may have opened it: that is mended and said.
fn close_to_others(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        let (path, mode) = (path.display(), format!("{mode:o}"));
        tracing::warn!(
            %path, mode,
            "others could read the search key: it is closed again; remove it for a new one"
        );
    }
    Ok(())
}

/// Durable before anything is hashed with it; a cut leaves either no key or a whole one.
fn make(dir: &Path) -> io::Result<Vec<u8>> {
    let (aside, bytes) = (dir.join(UNFINISHED), rand::random::<[u8; SEARCH_KEY_BYTES]>());
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&aside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&aside, dir.join(FILE))?;
    File::open(dir)?.sync_all()?;
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_for_its_owner_alone_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(UNFINISHED), b"a start was cut off").unwrap();
        let key = read_or_make(dir.path()).unwrap();
        assert!(read_or_make(dir.path()).unwrap() == key, "it stays");
        let path = dir.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert!(!dir.path().join(UNFINISHED).exists());
        fs::remove_file(&path).unwrap();
        assert!(read_or_make(dir.path()).unwrap() != key, "a lost key is not made again");
    }

    #[test]
    fn a_damaged_key_is_refused_and_one_that_others_may_read_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let key = read_or_make(dir.path()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
        assert!(read_or_make(dir.path()).unwrap() == key);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        fs::write(&path, b"short").unwrap();
        let refused = read_or_make(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("5 bytes instead of 32"), "{refused}");
    }
}
