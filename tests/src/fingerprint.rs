//! A hash over every store of a running system, to show that a request left nothing behind.
//!
//! The processes hold their stores, so their files are read beside them: what is on the disk is
//! all that is durable. A look takes the sidecar, which every commit writes, with sizes and times
//! of all files, which every write changes. Where a look differs, a copy of the store is opened and
//! all its rows are hashed, because sled moves its pages now and then by itself; so a difference is
//! told by its keys. Logs and the broker's files are none of the stores.

use crate::{Failure, stack::Stack, until};
use chassis::db::{Db, DbOptions};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// The processes that have a store.
pub const STORES: [&str; 6] =
    ["fermata", "order", "payment", "warehouse", "delivery", "notification"];

/// How long a system may take to come to rest.
const REST_WITHIN: Duration = Duration::from_secs(30);
/// Looks in a row, one after each pause of [`until`], that must be equal for a system at rest.
const LOOKS_AT_REST: u32 = 8;
/// Copies of a store that is being written meanwhile, until one is whole.
const COPIES_MAX: u32 = 50;
/// Names the process that has a store open, and is no part of it.
/// What a process writes though nobody asks it for anything: its lock, its time, whose code runs.
const RESTLESS: [&str; 4] = ["LOCK", "CLOCK", "CLOCK.new", "TURN"];
/// Two slots that each commit writes in turn.
const SIDECAR: &str = "sidecar";
const PAGE_ROWS: usize = 10_000;

/// What the stores hold, and since when nothing was allowed to change.
pub struct Fingerprint {
    stores: BTreeMap<&'static str, Held>,
}

/// One store, as it was seen last.
struct Held {
    dir: PathBuf,
    look: u64,
    rows: Rows,
}

/// The hash of each row's value.
type Rows = BTreeMap<Vec<u8>, u64>;

/// A row that was added, removed or written over.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The process whose store it is in.
    pub store: &'static str,
    /// The row's key.
    pub key: Vec<u8>,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.store, self.key.escape_ascii())
    }
}

impl Fingerprint {
    /// Waits until no store changes any more, and takes its hashes.
    ///
    /// # Errors
    /// The stores do not come to rest, or cannot be read.
    pub async fn at_rest(stack: &Stack) -> Result<Fingerprint, Failure> {
        let mut dirs = BTreeMap::new();
        for store in STORES {
            let name = format!("{}_DATA_DIR", store.to_uppercase());
            let dir = stack.env().get(&name).ok_or_else(|| format!("{name} is not set"))?;
            dirs.insert(store, PathBuf::from(dir));
        }
        rest(&dirs).await?;
        let mut stores = BTreeMap::new();
        for (store, dir) in dirs {
            let (look, rows) = rows_of(&dir)?;
            stores.insert(store, Held { dir, look, rows });
        }
        Ok(Fingerprint { stores })
    }

    /// One number for all rows of all stores.
    pub fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (store, held) in &self.stores {
            (store, &held.rows).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// What was written since the last time; cheap when nothing was.
    ///
    /// # Errors
    /// A store cannot be read.
    pub fn changes(&mut self) -> Result<Vec<Change>, Failure> {
        self.changes_beside(&[])
    }

    /// As [`Fingerprint::changes`], of all stores but these, whose changes stay to be seen.
    ///
    /// # Errors
    /// A store cannot be read.
    pub fn changes_beside(&mut self, others: &[&str]) -> Result<Vec<Change>, Failure> {
        let mut changes = Vec::new();
        for (store, held) in self.stores.iter_mut().filter(|it| !others.contains(it.0)) {
            if look_at(&held.dir)? != held.look {
                changes.extend(held.renew(store)?);
            }
        }
        Ok(changes)
    }

    /// As [`Fingerprint::changes`], once the stores have come to rest, over all rows whatever their
    /// files look like.
    ///
    /// # Errors
    /// They do not, or one cannot be read.
    pub async fn changes_at_rest(&mut self) -> Result<Vec<Change>, Failure> {
        let dirs = self.stores.iter().map(|(store, held)| (*store, held.dir.clone())).collect();
        rest(&dirs).await?;
        let changes = self.stores.iter_mut().map(|(store, held)| held.renew(store));
        Ok(changes.collect::<Result<Vec<_>, _>>()?.concat())
    }
}

impl Held {
    /// Hashes all rows again, and gives those that differ.
    fn renew(&mut self, store: &'static str) -> Result<Vec<Change>, Failure> {
        let (look, rows) = rows_of(&self.dir)?;
        let keys: BTreeSet<&Vec<u8>> = self.rows.keys().chain(rows.keys()).collect();
        let changed = keys.into_iter().filter(|key| self.rows.get(*key) != rows.get(*key));
        let changes = changed.map(|key| Change { store, key: key.clone() }).collect();
        (self.look, self.rows) = (look, rows);
        Ok(changes)
    }
}

async fn rest(dirs: &BTreeMap<&'static str, PathBuf>) -> Result<(), Failure> {
    let (mut last, mut looks) = (None, 0);
    until("the stores are at rest", REST_WITHIN, || {
        let seen: Result<Vec<u64>, Failure> = dirs.values().map(|dir| look_at(dir)).collect();
        let is_same = seen.is_ok() && last.as_ref() == seen.as_ref().ok();
        looks = if is_same { looks + 1 } else { 0 };
        last = seen.clone().ok();
        let at_rest = seen.and_then(|_| match looks {
            LOOKS_AT_REST.. => Ok(()),
            _ => Err("a store is being written".to_owned()),
        });
        std::future::ready(at_rest)
    })
    .await
}

fn look_at(dir: &Path) -> Result<u64, Failure> {
    let mut hasher = DefaultHasher::new();
    let sidecar = dir.join(SIDECAR);
    fs::read(&sidecar).map_err(|err| unreadable(&sidecar, &err))?.hash(&mut hasher);
    for file in files_of(dir).map_err(|err| unreadable(dir, &err))? {
        let meta = match fs::metadata(&file) {
            // A snapshot that sled has just replaced.
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            read => read.map_err(|err| unreadable(&file, &err))?,
        };
        let modified = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        (file, meta.len(), meta.ino(), modified).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// All files below, in order, but the lock.
fn files_of(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_of(&path)?);
        } else if path.file_name().is_some_and(|it| RESTLESS.iter().all(|name| it != *name)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The rows of a copy that no write has touched while it was made, with the look of the original.
fn rows_of(dir: &Path) -> Result<(u64, Rows), Failure> {
    for _ in 0..COPIES_MAX {
        let copy = tempfile::tempdir().map_err(|err| format!("no temporary directory: {err}"))?;
        let before = look_at(dir)?;
        let copied = copy_all(dir, copy.path());
        if before != look_at(dir)? {
            continue;
        }
        copied.map_err(|err| unreadable(dir, &err))?;
        return Ok((before, rows_in(copy.path())?));
    }
    Err(format!("{} was written all the time", dir.display()))
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    for file in files_of(from)? {
        let target = to.join(file.strip_prefix(from).map_err(io::Error::other)?);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(file, target)?;
    }
    Ok(())
}

fn rows_in(dir: &Path) -> Result<Rows, Failure> {
    let db = Db::open(dir, DbOptions::default()).map_err(|err| format!("a copy: {err}"))?;
    let mut rows = Rows::new();
    loop {
        let after = rows.last_key_value().map(|(key, _)| key.clone());
        let page = db.scan(&[], after.as_deref(), PAGE_ROWS);
        let page = page.map_err(|err| format!("a copy: {err}"))?;
        if page.is_empty() {
            return Ok(rows);
        }
        for (key, value) in page {
            let mut hasher = DefaultHasher::new();
            value.hash(&mut hasher);
            rows.insert(key, hasher.finish());
        }
    }
}

fn unreadable(path: &Path, err: &io::Error) -> Failure {
    format!("failed to read {}: {err}", path.display())
}
