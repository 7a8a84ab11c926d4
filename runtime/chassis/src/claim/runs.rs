//! The runs that have had this directory: a record by any other is of a copy. Positions of two
//! directories that have gone on say nothing of each other, though both are in the same epoch.

use super::WordError;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};
use uuid::Uuid;

const FILE: &str = "runs";
/// While it is written anew.
const UNFINISHED: &str = "runs.new";
/// A record is by the last run that could write it; the ones before are for a broker that tells of
/// before.
const RUNS_MAX: usize = 256;

/// Whether this run has had the directory. Before runs were noted, each record is taken for ours.
pub(super) fn has(dir: &Path, run: Uuid) -> Result<bool, WordError> {
    Ok(noted(dir)?.is_none_or(|it| it.contains(&run)))
}

/// To be called before the first record of a run.
pub(super) fn note(dir: &Path, run: Uuid) -> Result<(), WordError> {
    let mut runs = noted(dir)?.unwrap_or_default();
    if runs.contains(&run) {
        return Ok(());
    }
    runs.push(run);
    let last = &runs[runs.len().saturating_sub(RUNS_MAX)..];
    write(dir, last).map_err(|source| WordError::Io { path: dir.join(FILE), source })
}

fn noted(dir: &Path) -> Result<Option<Vec<Uuid>>, WordError> {
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(WordError::Io { path, source }),
        Ok(text) => Ok(Some(text.lines().filter_map(|it| it.parse().ok()).collect())),
    }
}

/// Durable before it is used; a cut leaves the old file or the new one.
fn write(dir: &Path, runs: &[Uuid]) -> io::Result<()> {
    let unfinished = dir.join(UNFINISHED);
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&unfinished)?;
    for run in runs {
        writeln!(file, "{run}")?;
    }
    file.sync_all()?;
    fs::rename(&unfinished, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_runs_are_known_and_before_the_first_all_are() {
        let dir = tempfile::tempdir().expect("a directory");
        let run = |number: usize| Uuid::from_u128(number as u128);
        assert!(has(dir.path(), run(7)).expect("it reads"), "nothing was noted yet");
        (0..=RUNS_MAX).for_each(|it| note(dir.path(), run(it)).expect("it is noted"));
        note(dir.path(), run(1)).expect("it is there");
        let knows = |number| has(dir.path(), run(number)).expect("it reads");
        assert_eq!([0, 1, RUNS_MAX, RUNS_MAX + 1].map(knows), [false, true, true, false]);
    }
}
