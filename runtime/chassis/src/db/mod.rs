//! sled 0.34.7, guarded: what this module returns as committed survives a power cut.
//!
//! sled alone does not promise that, though its documentation says so. Measured, and answered here:
//!
//! | what sled does | what this module does |
//! |---|---|
//! | `flush` on Linux ends in `sync_file_range`, which is no fsync | [`Db::commit`] fsyncs sled's file after each flush |
//! | nodes over a quarter of a segment go to blob files that are never synced | values over [`INLINE_BYTES_MAX`] are cut into chunks, and segments are [`SEGMENT_BYTES`] |
//! | after a crash it may open empty, or with its tail lost, without an error | a sidecar file names the instance and the last position; a store below it is refused |
//! | a kill while it opens leaves a half-written snapshot, which it takes for a damaged one | such files are removed before it opens |
//! | opening may panic | it is opened on a thread of its own, whose panic is an error |
//! | the flusher thread is the only garbage collector | it stays on |
//! | a cache of 1 GiB in every process | its size is an option with a small default |
//!
//! One thread writes: it gathers a group of changes in a [`WriteBatch`], usually through a [`Tx`]
//! that reads its own writes, and gives it to [`Db::commit`]. When that returns, everything in it
//! is durable, and only then may anything leave the process that rests on it. Other threads read
//! the same `Db`; they see only what is durable, since a read waits for a commit under way.
//!
//! A commit that fails poisons the `Db` for ever, because after a failed fsync nobody knows what
//! the disk holds; so does a read at which sled fails or panics. The process then has to end
//! ([`EXIT_POISONED`]); the next start finds out.
//!
//! ```text
//! <dir>/LOCK       the process that has the store open, and its pid as text
//! <dir>/sidecar    two slots of 4 KiB: instance, epoch, position, commits, crc32
//! <dir>/store/     sled's own files
//! ```
//!
//! Keys that begin with [`RESERVED`] belong to this module.

mod batch;
mod error;
mod faults;
mod lock;
mod meta;
mod open;
mod sidecar;
mod tx;
mod values;

pub use batch::WriteBatch;
pub use error::{DbError, OpenError};
pub use faults::{Fault, Faults};
pub use tx::{Savepoint, Tx};

use meta::Meta;
use sidecar::Sidecar;
use std::{
    fs::File,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};
use uuid::Uuid;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Keys that begin with this byte belong to the `Db` itself.
pub const RESERVED: u8 = 0;
/// No key of a caller comes before this one.
const FIRST: &[u8] = &[RESERVED + 1];
/// Longer values are stored in chunks of this size: sixteen of them, a full leaf, stay well below a
/// quarter of a segment, where sled would turn to files that it never syncs.
pub const INLINE_BYTES_MAX: usize = CHUNK_BYTES as usize;
const CHUNK_BYTES: u32 = 16 << 10;
/// sled's segments: the smallest size that fits the chunks; at 16 MiB its garbage collector does
/// not keep up.
pub const SEGMENT_BYTES: usize = 2 << 20;
/// The longest value: some payloads of 768 KiB in one row, and an end to mistakes.
pub const VALUE_BYTES_MAX: usize = 8 << 20;
/// The longest key: keys share their leaf with the values.
pub const KEY_BYTES_MAX: usize = 1 << 10;
/// sled's cache when the options do not say otherwise; the process holds about half as much again.
pub const CACHE_BYTES: u64 = 64 << 20;
/// The exit status of a process that stops because its store is poisoned (`EX_IOERR`).
pub const EXIT_POISONED: u8 = 74;

/// How to open a [`Db`].
#[derive(Clone, Debug)]
pub struct DbOptions {
    /// sled's cache in bytes.
    pub cache_bytes: u64,
    /// Failures that a test plans; none by default.
    pub faults: Faults,
}

impl Default for DbOptions {
    fn default() -> Self {
        DbOptions { cache_bytes: CACHE_BYTES, faults: Faults::default() }
    }
}

/// An open store. Clones share it; it closes with the last of them.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    /// sled's default tree; everything is in it, so that one batch is atomic.
    tree: sled::Db,
    /// The same file that sled writes, for the fsync that sled leaves out.
    file: File,
    /// Written by `commit` alone.
    sidecar: Mutex<Sidecar>,
    /// Held for writing from the change in memory until it is durable, so that readers see nothing
    /// that a crash could take back.
    gate: RwLock<()>,
    /// The last durable position; written by `commit`.
    position: AtomicU64,
    /// Whether there may be chunked values, so that overwriting looks for old chunks.
    chunked: AtomicBool,
    /// Set once by the first failure, never cleared.
    poisoned: AtomicBool,
    instance: Uuid,
    /// Written by `begin_epoch`.
    epoch: AtomicU64,
    /// The epoch that it was opened in.
    opened_in: u64,
    /// The position that it was opened at.
    opened_at: u64,
    /// When the last commit before the opening was, by the clock of then.
    last_commit: Option<SystemTime>,
    dir: PathBuf,
    faults: Faults,
    /// Released last: the fields drop in order.
    _lock: lock::LockFile,
}

impl Db {
    /// Opens the store in `dir`, or creates it there when the directory is empty or absent.
    ///
    /// # Errors
    /// Another process has it open; it is of another format; it is damaged, or older than what it
    /// has acknowledged (see [`OpenError`]).
    pub fn open(dir: &Path, options: DbOptions) -> Result<Db, OpenError> {
        open::open(dir, options).map(|inner| Db { inner: Arc::new(inner) })
    }

    /// The identity that the store got when it was created.
    pub fn instance(&self) -> Uuid {
        self.inner.instance
    }

    /// Counts the times that this store was found to have lost what others know of it, as after a
    /// restore from a backup; 0 in a store that never was.
    pub fn epoch(&self) -> u64 {
        self.inner.epoch.load(Ordering::Acquire)
    }

    /// Begins this epoch, for good: what was known of the store beyond the position at which it was
    /// opened counts for nothing any more. Does nothing when the store is in it, or in a later one.
    ///
    /// # Errors
    /// As for [`Db::commit`]: any error has poisoned the store.
    pub fn begin_epoch(&self, epoch: u64) -> Result<(), DbError> {
        let mut sidecar = lock_mutex(&self.inner.sidecar);
        self.check()?;
        if epoch <= self.epoch() {
            return Ok(());
        }
        let meta = Meta { epoch, ..Inner::meta_after(sidecar.said(), self.position()) };
        self.guarded(&mut sidecar, WriteBatch::new(), meta)?;
        self.inner.epoch.store(epoch, Ordering::Release);
        Ok(())
    }

    /// The epoch in which it was opened. Positions are comparable within one epoch only: each later
    /// one is a branch of the log, which began somewhere in an older one.
    pub fn opened_in(&self) -> u64 {
        self.inner.opened_in
    }

    /// The position at which it was opened: what was acknowledged before lies at or below it.
    pub fn opened_at(&self) -> u64 {
        self.inner.opened_at
    }

    /// When the last commit before the opening was, by the clock of then.
    pub fn last_commit(&self) -> Option<SystemTime> {
        self.inner.last_commit
    }

    /// The last durable position; 0 in a new store.
    pub fn position(&self) -> u64 {
        self.inner.position.load(Ordering::Acquire)
    }

    /// The directory that it was opened in.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Whether a commit has failed: the process has to end.
    pub fn is_poisoned(&self) -> bool {
        self.inner.poisoned.load(Ordering::Acquire)
    }

    /// How long ago the last commit before this start was, for people.
    pub fn age(&self) -> String {
        let Some(last) = self.inner.last_commit else { return "unknown".to_owned() };
        // A clock that was ahead then counts as now.
        let seconds = last.elapsed().unwrap_or_default().as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => format!("{seconds} s"),
            (0, 0, _) => format!("{minutes} min"),
            (0, _, _) => format!("{hours} h {minutes} min"),
            _ => format!("{days} d {hours} h"),
        }
    }

    /// How many keys begin with `prefix`, up to `limit`.
    ///
    /// # Errors
    /// As for [`Db::get`].
    pub fn count(&self, prefix: &[u8], limit: usize) -> Result<usize, DbError> {
        self.read(|tree| {
            let counted = tree.scan_prefix(prefix).keys().take(limit);
            Ok(counted.collect::<Result<Vec<_>, _>>()?.len())
        })
    }

    /// Bytes that the store takes on disk.
    ///
    /// # Errors
    /// The directory cannot be read, or the store is poisoned.
    pub fn disk_bytes(&self) -> Result<u64, DbError> {
        self.read(|tree| tree.size_on_disk().map_err(DbError::from))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The store is poisoned, damaged, or its disk does not read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        self.read(|tree| values::get(tree, key))
    }

    /// Up to `limit` rows whose keys begin with `prefix` and come after `after`, in ascending
    /// order.
    ///
    /// # Errors
    /// As for [`Db::get`].
    pub fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, DbError> {
        // Rows of the store itself come first, and never show.
        let start = prefix.max(FIRST);
        let from = match after.filter(|after| *after >= start) {
            Some(after) => Bound::Excluded(after.to_vec()),
            None => Bound::Included(start.to_vec()),
        };
        self.read(|tree| {
            let rows = tree.range((from, Bound::<Vec<u8>>::Unbounded));
            values::collect(tree, rows, prefix, limit)
        })
    }

    /// Up to `limit` rows whose keys begin with `prefix` and come before `before`, in descending
    /// order.
    ///
    /// # Errors
    /// As for [`Db::get`].
    pub fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, DbError> {
        let end = prefix_end(prefix);
        let to = match (before, end) {
            (Some(before), Some(end)) => Bound::Excluded(end.min(before.to_vec())),
            (Some(before), None) => Bound::Excluded(before.to_vec()),
            (None, Some(end)) => Bound::Excluded(end),
            (None, None) => Bound::Unbounded,
        };
        // sled panics on a range that ends before it begins.
        let from = prefix.max(FIRST).to_vec();
        if matches!(&to, Bound::Excluded(to) if *to <= from) {
            return self.read(|_| Ok(Vec::new()));
        }
        self.read(|tree| {
            let rows = tree.range((Bound::Included(from), to)).rev();
            values::collect(tree, rows, prefix, limit)
        })
    }

    /// Writes a batch, all or nothing. When this returns the batch is flushed, fsynced and attested
    /// in the sidecar. One thread calls this. `position` may not be below the last one.
    ///
    /// # Errors
    /// [`DbError::Refused`] when the batch or the position cannot be taken: nothing has happened.
    /// Any other error has poisoned the store: nobody knows whether the batch is on disk, and the
    /// process has to end.
    pub fn commit(&self, batch: WriteBatch, position: u64) -> Result<(), DbError> {
        let inner = &*self.inner;
        let mut sidecar = lock_mutex(&inner.sidecar);
        self.check()?;
        let last = self.position();
        if position < last {
            let why = format!("position {position} is below the last one, {last}");
            return Err(DbError::Refused(why));
        }
        batch.check()?;
        if batch.is_empty() && position == last {
            return Ok(());
        }
        let meta = Inner::meta_after(sidecar.said(), position);
        self.guarded(&mut sidecar, batch, meta)
    }

    /// Writes beside no reader; whatever goes wrong poisons the store.
    fn guarded(&self, sidecar: &mut Sidecar, batch: WriteBatch, meta: Meta) -> Result<(), DbError> {
        let inner = &*self.inner;
        let _gate = inner.gate.write().unwrap_or_else(PoisonError::into_inner);
        let written = catch_unwind(AssertUnwindSafe(|| inner.write(sidecar, batch, meta)));
        let failure = match written {
            Ok(Ok(())) => {
                inner.position.store(meta.position, Ordering::Release);
                return Ok(());
            }
            Ok(Err(failure)) => failure,
            Err(_panic) => DbError::Panicked,
        };
        inner.poison(&failure);
        Err(failure)
    }

    /// Reads beside no commit, so that only durable rows are seen.
    fn read<T>(&self, read: impl FnOnce(&sled::Db) -> Result<T, DbError>) -> Result<T, DbError> {
        let _gate = self.inner.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        let found = catch_unwind(AssertUnwindSafe(|| read(&self.inner.tree)))
            .unwrap_or(Err(DbError::Panicked));
        if let Err(failure) = found.as_ref()
            && failure.is_fatal()
        {
            self.inner.poison(failure);
        }
        found
    }

    fn check(&self) -> Result<(), DbError> {
        if self.is_poisoned() { Err(DbError::Poisoned) } else { Ok(()) }
    }
}

impl Inner {
    fn poison(&self, failure: &DbError) {
        self.poisoned.store(true, Ordering::Release);
        tracing::error!(dir = %self.dir.display(), %failure, "store is poisoned");
    }

    /// What the store says of itself after one more commit.
    fn meta_after(said: Meta, position: u64) -> Meta {
        Meta { position, commits: said.commits + 1, ..said }
    }

    /// Apply, flush, fsync, sidecar: in this order, so that the sidecar never claims what the store
    /// does not hold.
    fn write(&self, sidecar: &mut Sidecar, batch: WriteBatch, meta: Meta) -> Result<(), DbError> {
        let mut encoded = values::encode(&self.tree, &self.chunked, batch)?;
        encoded.insert(meta::KEY, meta.encode());
        self.faults.check(Fault::Apply)?;
        self.tree.apply_batch(encoded)?;
        self.faults.check(Fault::Flush)?;
        self.tree.flush()?;
        self.faults.check(Fault::Sync)?;
        self.file.sync_all().map_err(DbError::Sync)?;
        self.faults.check(Fault::Sidecar)?;
        sidecar.attest(meta).map_err(DbError::Sidecar)
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db")
            .field("dir", &self.inner.dir)
            .field("instance", &self.inner.instance)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

/// The first key after all that begin with `prefix`; none when there is no such key.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

/// A panic inside a commit poisons the store itself; the mutex has nothing to add.
fn lock_mutex<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
