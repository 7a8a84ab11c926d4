//! An operator's word that a store is given up for another: a file beside the one that stays.

use serde::{Deserialize, Serialize};
use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};
use uuid::Uuid;

const FILE: &str = "take-over";

/// Why such a word cannot be given, or not be read.
#[derive(Debug, thiserror::Error)]
pub enum WordError {
    /// There is nothing that could take over.
    #[error("there is no store in {0}: start its process once, which makes it")]
    NoStore(PathBuf),
    /// The file cannot be used.
    #[error("failed to use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file was written by somebody else.
    #[error("line {line} of {path} cannot be read: remove it, and say `take-over` again")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Word {
    /// The instance that is given up.
    pub(super) from: Uuid,
    pub(super) reason: String,
    /// When it was said, in seconds since 1970.
    pub(super) at: u64,
}

/// Says that the store in `dir` may take the place of that instance. It holds for that one alone,
/// and from the next start on.
///
/// # Errors
/// There is no store in `dir`, or its directory cannot be written.
pub fn take_over(dir: &Path, from: Uuid, reason: &str) -> Result<(), WordError> {
    if !dir.join("store").is_dir() {
        return Err(WordError::NoStore(dir.to_owned()));
    }
    let path = dir.join(FILE);
    let written = write(&path, from, reason).and_then(|()| File::open(dir)?.sync_all());
    written.map_err(|source| WordError::Io { path, source })
}

fn write(path: &Path, from: Uuid, reason: &str) -> io::Result<()> {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let line = serde_json::to_string(&Word { from, reason: reason.to_owned(), at })?;
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{line}")?;
    file.sync_all()
}

/// All that was said of the store in `dir`.
pub(super) fn given(dir: &Path) -> Result<Vec<Word>, WordError> {
    let path = dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(WordError::Io { path, source }),
        Ok(text) => text,
    };
    let read = |(line, text)| {
        let malformed = |_| WordError::Malformed { path: path.clone(), line };
        serde_json::from_str(text).map_err(malformed)
    };
    (1..).zip(text.lines()).map(read).collect()
}

/// How this process was run, for a command that can be typed.
pub(super) fn program(process: &str) -> String {
    let path = env::args_os().next().map(PathBuf::from);
    let name = path.and_then(|it| Some(it.file_name()?.to_string_lossy().into_owned()));
    name.unwrap_or_else(|| process.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_beside_the_store_and_name_one_instance_each() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(matches!(take_over(dir.path(), one, "why"), Err(WordError::NoStore(_))));
        assert_eq!(given(dir.path()).expect("nothing was said"), []);
        fs::create_dir(dir.path().join("store")).expect("a store");
        take_over(dir.path(), one, "a \"disk\"\nis lost").expect("it is said");
        take_over(dir.path(), other, "another").expect("it is said");
        let words = given(dir.path()).expect("they read");
        assert_eq!(words.iter().map(|it| it.from).collect::<Vec<_>>(), [one, other]);
        assert_eq!(words[0].reason, "a \"disk\"\nis lost");
        fs::write(dir.path().join(FILE), "{}\n").expect("written");
        assert!(matches!(given(dir.path()), Err(WordError::Malformed { line: 1, .. })));
    }
}
