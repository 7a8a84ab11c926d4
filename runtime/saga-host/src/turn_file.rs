//! Which author code runs now, in a file beside the store: what is left of a process that code has
//! ended. The next one reads it before it runs any code.
//!
//! The file is advisory. It is never synced, so a power cut may leave an older state of it; a
//! culprit is quarantined only after two deaths, and a turn that comes back clears it of one.
//!
//! ```text
//! <data dir>/TURN   state (1: idle, running or blocked) ‖ process (u64) ‖ seq (u32)
//!                   ‖ definition, key, step, saga, kind of culprit; of an event: name, source, id
//!                   each: length (u32) ‖ bytes; numbers are big-endian
//! ```
//!
//! It is mapped: a turn costs some hundred bytes copied more, and no system call.

use memmap2::MmapMut;
use saga_core::{
    id::{SagaId, Time},
    watch::{Culprit, Interrupted, Running, Watch},
};
use std::{
    borrow::Cow,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use uuid::Uuid;

const NAME: &str = "TURN";
/// Longer than any name that a broker or the API takes.
const BYTES_MAX: usize = 16 << 10;
const IDLE: u8 = b'-';
const RUNNING: u8 = b'r';
/// The process was ended because the code did not come back.
const BLOCKED: u8 = b'b';

/// What the file holds.
struct Written {
    process: u64,
    blocked: bool,
    running: Running<'static>,
}

/// The writing half: the engine's thread tells it what it is about to run.
#[derive(Debug)]
pub(crate) struct TurnFile {
    map: MmapMut,
    process: u64,
    turns: Arc<AtomicU64>,
}

/// The reading half: for the thread that watches.
#[derive(Debug)]
pub(crate) struct Sight {
    file: File,
    turns: Arc<AtomicU64>,
}

/// Opens the file. Gives what the last process was at when it ended, if it was at anything.
///
/// # Errors
/// The file can be neither opened nor made.
pub(crate) fn open(dir: &Path, now: Time) -> io::Result<(TurnFile, Sight, Option<Interrupted>)> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(dir.join(NAME))?;
    let interrupted = read(&file)?.map(|it| {
        let Written { process, blocked, running } = it;
        Interrupted { process, running, blocked, at: now }
    });
    let length = file.metadata()?.len();
    if length < BYTES_MAX as u64 {
        // Blocks of its own, so that a disk that is full later does not matter.
        let rest = usize::try_from(length).map_or(0, |length| BYTES_MAX - length);
        file.write_all_at(&vec![b'\n'; rest], length)?;
    }
    let map = map(&file)?;
    let turns = Arc::new(AtomicU64::new(0));
    let sight = Sight { file: file.try_clone()?, turns: turns.clone() };
    Ok((TurnFile { map, process: rand::random(), turns }, sight, interrupted))
}

#[expect(
    unsafe_code,
    reason = "a file that somebody else cuts short would fault when it is written"
)]
fn map(file: &File) -> io::Result<MmapMut> {
    // SAFETY: the file is in the store's directory, which this process has locked; nobody else
    // writes it or changes its length, and the other handle of ours never reads it as a slice.
    unsafe { memmap2::MmapOptions::new().len(BYTES_MAX).map_mut(file) }
}

/// What cannot be read was not written whole, or by another build: it accuses nobody.
fn read(file: &File) -> io::Result<Option<Written>> {
    let mut bytes = vec![0; BYTES_MAX];
    let mut length = 0;
    while length < BYTES_MAX {
        match file.read_at(&mut bytes[length..], length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(decode(&bytes[..length]))
}

fn decode(mut bytes: &[u8]) -> Option<Written> {
    let blocked = match take::<1>(&mut bytes)? {
        [RUNNING] => false,
        [BLOCKED] => true,
        _ => return None,
    };
    let process = u64::from_be_bytes(take(&mut bytes)?);
    let seq = u32::from_be_bytes(take(&mut bytes)?);
    let (definition, key, step) = (text(&mut bytes)?, text(&mut bytes)?, text(&mut bytes)?);
    let saga = match piece(&mut bytes)? {
        [] => None,
        id => Some(SagaId(Uuid::from_slice(id).ok()?)),
    };
    let culprit = match text(&mut bytes)?.as_ref() {
        "saga" => Culprit::Saga(saga?),
        "start" => Culprit::Start,
        "event" => {
            let (name, source, id) = (text(&mut bytes)?, text(&mut bytes)?, text(&mut bytes)?);
            Culprit::Event { name, source, id }
        }
        _ => return None,
    };
    Some(Written {
        process,
        blocked,
        running: Running { culprit, saga, definition, key, seq, step },
    })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

fn piece<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(take(bytes)?);
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}

fn text(bytes: &mut &[u8]) -> Option<Cow<'static, str>> {
    Some(Cow::Owned(String::from_utf8(piece(bytes)?.to_vec()).ok()?))
}

/// Writes everything but the state. Nothing when there is no room for it.
fn encode(room: &mut [u8], process: u64, running: &Running<'_>) -> Option<()> {
    let mut room = Room(room);
    room.put(&process.to_be_bytes())?;
    room.put(&running.seq.to_be_bytes())?;
    for text in [&running.definition, &running.key, &running.step] {
        room.put_text(text.as_bytes())?;
    }
    room.put_text(running.saga.as_ref().map_or(&[][..], |it| it.as_bytes()))?;
    match &running.culprit {
        Culprit::Saga(_) => room.put_text(b"saga"),
        Culprit::Start => room.put_text(b"start"),
        Culprit::Event { name, source, id } => {
            room.put_text(b"event")?;
            [name, source, id].into_iter().try_for_each(|it| room.put_text(it.as_bytes()))
        }
    }
}

struct Room<'a>(&'a mut [u8]);

impl Room<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let room = std::mem::take(&mut self.0);
        let (taken, rest) = room.split_at_mut_checked(bytes.len())?;
        taken.copy_from_slice(bytes);
        self.0 = rest;
        Some(())
    }

    fn put_text(&mut self, text: &[u8]) -> Option<()> {
        self.put(&u32::try_from(text.len()).ok()?.to_be_bytes())?;
        self.put(text)
    }
}

impl Watch for TurnFile {
    fn enters(&mut self, running: &Running<'_>) {
        self.map[0] = IDLE; // Half a name accuses nobody.
        if encode(&mut self.map[1..], self.process, running).is_some() {
            self.map[0] = RUNNING;
        }
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    fn goes_on(&mut self) {
        self.turns.fetch_add(2, Ordering::Relaxed);
    }

    fn leaves(&mut self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.map[0] = IDLE;
    }
}

impl Sight {
    /// Counts turns: odd while author code runs.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Which code runs, as far as the file could be written.
    pub(crate) fn running(&self) -> Option<Running<'static>> {
        Some(read(&self.file).ok()??.running)
    }

    /// Says that the process ends because of the code that runs.
    pub(crate) fn accuse(&self) -> io::Result<()> {
        match read(&self.file)? {
            Some(_) => self.file.write_all_at(&[BLOCKED], 0),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use saga_core::watch::Culprit;
    use std::borrow::Cow;

    fn running(key: &str) -> Running<'_> {
        let (definition, step) = (Cow::Borrowed("demo"), Cow::Borrowed("1.0"));
        let key = Cow::Borrowed(key);
        Running { culprit: Culprit::Start, saga: None, definition, key, seq: 3, step }
    }

    #[test]
    fn what_ran_when_a_process_ended_is_read_by_the_next_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let again = || open(dir.path(), Time(5)).expect("it opens");
        let (mut file, _, interrupted) = again();
        assert_eq!(interrupted, None, "a new directory");
        file.enters(&running("a long key, \"quoted\", of\ntwo lines"));
        file.leaves();
        assert_eq!(again().2, None, "it came back");
        file.enters(&running("k\"1"));
        let interrupted = again().2.expect("it did not come back");
        assert_eq!(interrupted.running, running("k\"1"));
        assert_eq!((interrupted.blocked, interrupted.at), (false, Time(5)));
        assert_eq!(again().2.map(|it| it.process), Some(interrupted.process), "one death");
    }

    #[test]
    fn who_watches_counts_and_accuses() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut file, sight, _) = open(dir.path(), Time(5)).expect("it opens");
        assert_eq!(sight.running(), None);
        file.enters(&running("k1"));
        assert_eq!(sight.turns() % 2, 1);
        file.goes_on();
        assert_eq!(sight.turns(), 3, "another turn, not the same one still");
        sight.accuse().expect("it is written");
        let (_, _, interrupted) = open(dir.path(), Time(6)).expect("it opens");
        assert!(interrupted.is_some_and(|it| it.blocked && it.running == running("k1")));
        file.leaves();
        assert_eq!((sight.turns() % 2, sight.running()), (0, None));
    }

    #[test]
    fn a_name_that_has_no_room_accuses_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut file, sight, _) = open(dir.path(), Time(5)).expect("it opens");
        for length in [BYTES_MAX, 2 * BYTES_MAX] {
            file.enters(&running(&"k".repeat(length)));
            assert_eq!(sight.running(), None);
            file.leaves();
        }
    }

    #[test]
    fn what_is_torn_or_foreign_accuses_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut file, ..) = open(dir.path(), Time(5)).expect("it opens");
        file.enters(&running("k1"));
        let path = dir.path().join(NAME);
        let whole = std::fs::read(&path).expect("it is read");
        let end = 1 + 8 + 4 + (4 + 4) + (4 + 2) + (4 + 3) + 4 + (4 + 5);
        assert_eq!(&whole[end - 5..end], b"start");
        for length in 0..end {
            std::fs::write(&path, &whole[..length]).expect("it is written");
            let (_, _, interrupted) = open(dir.path(), Time(5)).expect("it opens");
            assert_eq!(interrupted, None, "{length} of {end} bytes");
        }
        std::fs::write(&path, &whole[..end]).expect("it is written");
        assert!(open(dir.path(), Time(5)).expect("it opens").2.is_some());
    }
}
