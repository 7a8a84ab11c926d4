//! An operator's word that a store is given up for another: a file beside the one that stays.
//!
//! A word is for one taking over. The store that it gives up may come back in the same way, and
//! then the one beside which it lies is the wrong one. So the run that takes over marks it as its
//! own before it writes the record, and no other run goes by it; and it is too old after a day, as
//! nobody knows any more whether it was for this start, nor whether a backup has brought it back.
//! A broker that has lost its last minutes shows the record that was given up once more, or an
//! older one of its run: within that day the word holds for it, as whoever came back would have
//! another run.

use super::record::Record;
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
/// While it is written anew.
const UNFINISHED: &str = "take-over.new";
/// The stores for which a start of this one was refused.
const RIVALS: &str = "refused";
/// Those that are told to whoever names another one.
const RIVALS_MAX: usize = 8;
/// How old a word may be when it is used, by the clock of its own machine.
const HOLDS_S: u64 = 24 * 3_600;

/// Why such a word cannot be given, or not be read.
#[derive(Debug, thiserror::Error)]
pub enum WordError {
    /// There is nothing that could take over.
    #[error("there is no store in {0}: start its process once, which makes it")]
    NoStore(PathBuf),
    /// Nobody has ever held that instance against this store.
    #[error("{from} is no store that anybody knows in the place of the one in {dir}: {known}")]
    Unknown {
        /// The store that would take over.
        dir: PathBuf,
        /// What was said.
        from: Uuid,
        /// What could be said.
        known: String,
    },
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
    /// The run that has used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) used_by: Option<Uuid>,
    /// The record that was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) given_up: Option<Record>,
}

impl Word {
    /// Whether this run may go by it, against this record, if there is one.
    pub(super) fn holds_for(&self, run: Uuid, theirs: Option<Record>) -> bool {
        // One that was said by a clock which is ahead of today's is new.
        let is_new = now_s().saturating_sub(self.at) < HOLDS_S;
        let is_given_up =
            theirs.zip(self.given_up).is_some_and(|(it, given_up)| it.is_of_before(given_up));
        match self.used_by {
            Some(by) => by == run || is_new && is_given_up,
            None => is_new,
        }
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A store for which a start of another one was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Rival {
    instance: Uuid,
    /// Who knows it.
    witness: String,
}

/// Writes down for which store a start of the one in `dir` is refused: an operator's word can then
/// be compared while nothing runs.
pub(super) fn refused_for(dir: &Path, instance: Uuid, witness: &str) -> io::Result<()> {
    let rival = Rival { instance, witness: witness.to_owned() };
    if rivals(dir)?.contains(&rival) {
        return Ok(());
    }
    append(&refusals(dir), &rival)?;
    File::open(dir)?.sync_all()
}

/// Where it is written down for which stores that one was refused.
pub(super) fn refusals(dir: &Path) -> PathBuf {
    dir.join(RIVALS)
}

/// A line that cannot be read names nobody.
fn rivals(dir: &Path) -> io::Result<Vec<Rival>> {
    match fs::read_to_string(refusals(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        text => Ok(text?.lines().filter_map(|it| serde_json::from_str(it).ok()).collect()),
    }
}

/// That instance must be one for which the store in `dir` was refused: a word for any other would
/// be of no use, and nobody would notice before the next start is refused like the last one.
fn compare(dir: &Path, from: Uuid) -> Result<(), WordError> {
    let path = refusals(dir);
    let rivals = rivals(dir).map_err(|source| WordError::Io { path: path.clone(), source })?;
    if rivals.iter().any(|it| it.instance == from) {
        return Ok(());
    }
    let newest = rivals.iter().rev().take(RIVALS_MAX);
    let names: Vec<String> =
        newest.map(|it| format!("{} (which {} knows)", it.instance, it.witness)).collect();
    let known = if names.is_empty() {
        format!(
            "no refusal of a start of it is written down, as none was refused, or by an older \
             release alone: start it, and the refusal names the one, unless it says that this \
             cannot be written to {}",
            path.display()
        )
    } else {
        format!("its start was refused for {}", names.join(", and for "))
    };
    Err(WordError::Unknown { dir: dir.to_owned(), from, known })
}

/// Says that the store in `dir` may take the place of that instance. It holds for that one alone,
/// and for the next start that makes its claim within a day; in that day also for later ones,
/// against the very record that was given up.
///
/// # Errors
/// There is no store in `dir`, no start of it was refused for that instance, or its directory
/// cannot be written.
pub fn take_over(dir: &Path, from: Uuid, reason: &str) -> Result<(), WordError> {
    if !dir.join("store").is_dir() {
        return Err(WordError::NoStore(dir.to_owned()));
    }
    compare(dir, from)?;
    let path = dir.join(FILE);
    let word = Word { from, reason: reason.to_owned(), at: now_s(), used_by: None, given_up: None };
    let written = append(&path, &word).and_then(|()| File::open(dir)?.sync_all());
    written.map_err(|source| WordError::Io { path, source })
}

fn append(path: &Path, line: &impl Serialize) -> io::Result<()> {
    let line = serde_json::to_string(line)?;
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{line}")?;
    file.sync_all()
}

/// Whether the store in `dir` was ever told to take another's place. What cannot be looked at is
/// taken for a word.
pub(crate) fn was_told(dir: &Path) -> bool {
    dir.join(FILE).try_exists().unwrap_or(true)
}

/// How many such words a run has gone by. Words that cannot be read are none, and so other ones
/// than before.
pub(crate) fn times_used(dir: &Path) -> u64 {
    let used = |words: Vec<Word>| words.iter().filter(|it| it.used_by.is_some()).count();
    given(dir).map_or(0, used) as u64
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

/// Marks all that was said up to now as used by this run: no other one goes by it. The record that
/// is given up is this one.
pub(super) fn use_up(dir: &Path, run: Uuid, given_up: Option<Record>) -> Result<(), WordError> {
    let mut words = match given(dir) {
        // Nobody goes by a file that cannot be read.
        Err(WordError::Malformed { .. }) => return Ok(()),
        words => words?,
    };
    let mut is_new = false;
    // One that was overtaken when it made its claim looks again, and finds another record.
    for word in words.iter_mut().filter(|it| it.used_by.is_none_or(|by| by == run)) {
        word.used_by = Some(run);
        word.given_up = given_up.filter(|it| it.instance == word.from);
        is_new = true;
    }
    let path = dir.join(UNFINISHED);
    let written = if is_new { replace(dir, &path, &words) } else { Ok(()) };
    written.map_err(|source| WordError::Io { path, source })
}

fn replace(dir: &Path, unfinished: &Path, words: &[Word]) -> io::Result<()> {
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    for word in words {
        append(unfinished, word)?;
    }
    fs::rename(unfinished, dir.join(FILE))?;
    File::open(dir)?.sync_all()
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
        for instance in [one, other] {
            refused_for(dir.path(), instance, "the broker").expect("it is written down");
        }
        take_over(dir.path(), one, "a \"disk\"\nis lost").expect("it is said");
        take_over(dir.path(), other, "another").expect("it is said");
        let words = given(dir.path()).expect("they read");
        assert_eq!(words.iter().map(|it| it.from).collect::<Vec<_>>(), [one, other]);
        assert_eq!(words[0].reason, "a \"disk\"\nis lost");
        assert!(words[0].holds_for(other, None));
        fs::write(dir.path().join(FILE), "{}\n").expect("written");
        assert!(matches!(given(dir.path()), Err(WordError::Malformed { line: 1, .. })));
        use_up(dir.path(), one, None).expect("it lets nobody in");
    }

    #[test]
    fn a_word_for_a_store_that_nobody_knows_is_refused_with_those_that_are_known() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("store")).expect("a store");
        let [one, other, typo] = [1, 2, 3].map(Uuid::from_u128);
        let said = |from| take_over(dir.path(), from, "why").map_err(|it| it.to_string());
        let why = said(one).expect_err("nothing was refused");
        let refused = refusals(dir.path());
        assert!(why.contains("no refusal of a start of it is written down"), "{why}");
        assert!(why.ends_with(&format!("cannot be written to {}", refused.display())), "{why}");
        for (instance, witness) in [(one, "the broker"), (one, "the broker"), (other, "a service")]
        {
            refused_for(dir.path(), instance, witness).expect("it is written down");
        }
        let why = said(typo).expect_err("a typo");
        let known = format!(
            "{typo} is no store that anybody knows in the place of the one in {}: its start was \
             refused for {other} (which a service knows), and for {one} (which the broker knows)",
            dir.path().display()
        );
        assert_eq!(why, known);
        assert!(!was_told(dir.path()), "and nothing is left of it");
        said(one).expect("as the refusal says");
        said(other).expect("as the refusal says");
    }

    #[test]
    fn a_word_is_for_the_run_that_uses_it_first_and_for_a_day() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("store")).expect("a store");
        let [from, run, later, broker] = [1, 2, 3, 4].map(Uuid::from_u128);
        let (epoch, position, has_ended) = (1, 7, false);
        let theirs = Record { instance: from, epoch, position, run: later, has_ended, broker };
        use_up(dir.path(), run, None).expect("nothing was said");
        refused_for(dir.path(), from, "the broker").expect("it is written down");
        take_over(dir.path(), from, "the disk is lost").expect("it is said");
        use_up(dir.path(), run, Some(theirs)).expect("it is used");
        take_over(dir.path(), from, "once more").expect("it is said");
        let holds = |run| {
            let words = given(dir.path()).expect("they read");
            words.iter().map(|it| it.holds_for(run, None)).collect::<Vec<_>>()
        };
        assert_eq!((holds(run), holds(later)), (vec![true, true], vec![false, true]));
        assert_eq!(times_used(dir.path()), 1);
        use_up(dir.path(), later, None).expect("it is used");
        assert_eq!((holds(run), holds(later)), (vec![true, false], vec![false, true]));
        assert_eq!(times_used(dir.path()), 2);
        let word = given(dir.path()).expect("they read").remove(0);
        assert!(word.holds_for(later, Some(theirs)), "the record that was given up is shown again");
        let anew = Record { position: 8, ..theirs };
        assert!(!word.holds_for(later, Some(anew)), "it was written anew");
        let old = Word { at: now_s() - HOLDS_S, ..word };
        assert!(!old.holds_for(later, Some(theirs)), "a day later nobody knows");

        let said = |at| {
            let line = format!("{{\"from\":\"{from}\",\"reason\":\"of before\",\"at\":{at}}}\n");
            fs::write(dir.path().join(FILE), line).expect("written");
        };
        said(now_s() - HOLDS_S);
        assert_eq!(holds(run), [false], "as a backup may have it");
        said(now_s() + HOLDS_S);
        assert_eq!(holds(run), [true], "the clock was ahead then");
    }
}
