//! The second witness of how far the store has come: a small file beside it, written and synced
//! after each commit. A store that opens below it has lost what it acknowledged.

use super::meta::Meta;
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use uuid::Uuid;

const MAGIC: &[u8; 8] = b"FERMSIDE";
/// A slot has a block of its own, so that a torn write of one leaves the other whole.
const SLOT_BYTES: usize = 4 << 10;
const ATTEST_BYTES: usize = 8 + 16 + 8 + 8 + 8;
/// Where a slot says when it was written, behind its checksum: stores of before have zeros there.
const WRITTEN_AT: usize = ATTEST_BYTES + 4;
const FILE: &str = "sidecar";

/// The open file and what its newer slot says.
pub(super) struct Sidecar {
    file: File,
    said: Meta,
    /// When that was written, by the clock of then; for people, nothing rests on it.
    written_at: Option<SystemTime>,
    /// The slot that says it. The next attest goes into the other one, whatever that holds: a write
    /// that is torn must never hit the only slot that is whole.
    slot: u64,
}

/// What is found in place of a sidecar.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Missing,
    Damaged,
}

impl Sidecar {
    /// Makes the file under another name first, so that it is whole as soon as it is there.
    pub(super) fn create(dir: &Path, said: Meta) -> io::Result<Sidecar> {
        let aside = dir.join("sidecar.new");
        let written_at = SystemTime::now();
        let slot = slot(&said, written_at);
        fs::write(&aside, [slot, slot].concat())?;
        File::open(&aside)?.sync_all()?;
        fs::rename(&aside, dir.join(FILE))?;
        File::open(dir)?.sync_all()?;
        Ok(Sidecar { file: open(dir)?, said, written_at: Some(written_at), slot: 0 })
    }

    /// Reads the newer of the slots that are whole.
    pub(super) fn read(dir: &Path) -> io::Result<Result<Sidecar, Found>> {
        let file = match open(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Err(Found::Missing));
            }
            other => other?,
        };
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut &file, &mut bytes)?;
        let slots = bytes.chunks_exact(SLOT_BYTES).map(read_slot).zip(0..);
        let whole = slots.filter_map(|(said, slot)| Some((said?, slot)));
        let newer = whole.max_by_key(|((said, _), _)| (said.epoch, said.commits));
        let sidecar = |((said, written_at), slot)| Sidecar { file, said, written_at, slot };
        Ok(newer.map(sidecar).ok_or(Found::Damaged))
    }

    /// Writes what the store holds into the slot that is not the newest, and syncs it.
    pub(super) fn attest(&mut self, said: Meta) -> io::Result<()> {
        let other = 1 - self.slot;
        let now = SystemTime::now();
        self.file.write_all_at(&slot(&said, now), other * SLOT_BYTES as u64)?;
        self.file.sync_data()?;
        (self.said, self.slot, self.written_at) = (said, other, Some(now));
        Ok(())
    }

    pub(super) fn written_at(&self) -> Option<SystemTime> {
        self.written_at
    }

    pub(super) fn said(&self) -> Meta {
        self.said
    }
}

fn open(dir: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(dir.join(FILE))
}

fn slot(said: &Meta, written_at: SystemTime) -> [u8; SLOT_BYTES] {
    let mut text = Vec::with_capacity(ATTEST_BYTES + 4);
    text.extend(MAGIC);
    text.extend(said.instance.as_bytes());
    text.extend(said.epoch.to_be_bytes());
    text.extend(said.position.to_be_bytes());
    text.extend(said.commits.to_be_bytes());
    text.extend(crc32fast::hash(&text).to_be_bytes());
    let since_1970 = written_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    text.extend(since_1970.as_secs().to_be_bytes());
    let mut slot = [0; SLOT_BYTES];
    slot[..text.len()].copy_from_slice(&text);
    slot
}

fn read_slot(slot: &[u8]) -> Option<(Meta, Option<SystemTime>)> {
    let written_s = u64::from_be_bytes(*slot.get(WRITTEN_AT..)?.first_chunk()?);
    let written_at = UNIX_EPOCH.checked_add(Duration::from_secs(written_s));
    let (text, rest) = slot.split_at_checked(ATTEST_BYTES)?;
    let crc = u32::from_be_bytes(*rest.first_chunk()?);
    if crc != crc32fast::hash(text) {
        return None;
    }
    let (instance, rest) = text.strip_prefix(MAGIC)?.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (position, rest) = rest.split_first_chunk()?;
    let said = Meta::of(
        Uuid::from_bytes(*instance),
        u64::from_be_bytes(*epoch),
        u64::from_be_bytes(*position),
        u64::from_be_bytes(rest.try_into().ok()?),
    );
    Some((said, written_at.filter(|_| written_s > 0)))
}
