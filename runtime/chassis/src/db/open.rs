//! Opening: refuse whatever may have lost an acknowledged commit, and say what to do.

use super::{
    DbOptions, Inner, OpenError, SEGMENT_BYTES,
    lock::LockFile,
    meta::{FORMAT, KEY, Meta},
    sidecar::{Found, Sidecar},
    values::CHUNKS,
};
use std::{
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64},
    },
    thread,
    time::{Duration, Instant},
};
use uuid::Builder;

/// How long a store that the same process has just closed may take to let go of its files.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
const CLOSE_POLL: Duration = Duration::from_millis(5);

pub(super) fn open(dir: &Path, options: DbOptions) -> Result<Inner, OpenError> {
    let io = |source| OpenError::Io { dir: dir.to_owned(), source };
    create_dir(dir).map_err(io)?;
    let lock = LockFile::take(dir)?;
    let store = dir.join("store");
    let sidecar = Sidecar::read(dir).map_err(io)?;
    if !store.try_exists().map_err(io)? {
        match &sidecar {
            Ok(said) => return Err(empty(dir, said)),
            Err(Found::Damaged) => return Err(lost_sidecar(dir, "damaged")),
            Err(Found::Missing) => create(dir, &store, options.cache_bytes)?,
        }
    }
    let tree = open_sled(dir, &store, options.cache_bytes)?;
    let (meta, has_chunks) = guarded(dir, || {
        let row = tree.get(KEY).map_err(|error| unusable(dir, error))?;
        Ok((read_meta(dir, row)?, tree.scan_prefix(CHUNKS).next().is_some()))
    })?;
    // What a killed process wrote may lie in the page cache alone, and is about to be shown.
    sync_dir(&store).map_err(io)?;
    let sidecar = match (sidecar, meta) {
        (Ok(said), None) => return Err(empty(dir, &said)),
        (Ok(mut said), Some(meta)) => {
            if is_behind(dir, said.said(), meta)? {
                said.attest(meta).map_err(io)?;
            }
            said
        }
        (Err(Found::Damaged), _) => return Err(lost_sidecar(dir, "damaged")),
        // A start was cut off before its last act; nothing has been acknowledged yet.
        (Err(Found::Missing), Some(meta)) if meta.commits == 0 => {
            Sidecar::create(dir, meta).map_err(io)?
        }
        (Err(Found::Missing), _) => return Err(lost_sidecar(dir, "missing")),
    };
    let said = sidecar.said();
    Ok(Inner {
        chunked: AtomicBool::new(has_chunks),
        tree,
        file: File::open(store.join("db")).map_err(io)?,
        position: AtomicU64::new(said.position),
        instance: said.instance,
        epoch: AtomicU64::new(said.epoch),
        opened_in: said.epoch,
        opened_at: said.position,
        last_commit: sidecar.written_at(),
        sidecar: Mutex::new(sidecar),
        gate: RwLock::new(()),
        poisoned: AtomicBool::new(false),
        dir: dir.to_owned(),
        faults: options.faults,
        _lock: lock,
    })
}

/// Makes the directory, and sees to it that its name survives a power cut with what it holds:
/// otherwise the next start would find nothing at all, and begin anew.
fn create_dir(dir: &Path) -> io::Result<()> {
    let dir = std::path::absolute(dir)?;
    let there = dir.ancestors().take_while(|dir| !dir.is_dir()).count();
    fs::create_dir_all(&dir)?;
    // An earlier start may have been killed after it made the directory.
    for parent in dir.ancestors().skip(1).take(there.max(1)) {
        match File::open(parent).and_then(|parent| parent.sync_all()) {
            Err(error) if there == 0 && error.kind() == io::ErrorKind::PermissionDenied => (),
            synced => synced?,
        }
    }
    Ok(())
}

/// Makes the store aside and moves it into place when it is whole, so that a cut leaves either
/// nothing or a store that opens.
fn create(dir: &Path, store: &Path, cache_bytes: u64) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { dir: dir.to_owned(), source };
    let aside = dir.join("store.new");
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => (),
    }
    let tree = open_sled(dir, &aside, cache_bytes)?;
    let meta = Meta::of(Builder::from_random_bytes(rand::random()).into_uuid(), 0, 0, 0);
    guarded(dir, || {
        let written = tree.insert(KEY, meta.encode()).and_then(|_| tree.flush());
        written.map_err(|error| unusable(dir, error))
    })?;
    drop(tree);
    sync_dir(&aside).map_err(io)?;
    fs::rename(&aside, store).map_err(io)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
}

/// sled writes a snapshot each time it opens, under this suffix until it is whole. One that a kill
/// left half-written sorts last, so that sled would read it, and refuse the store as corrupt.
const UNFINISHED: &str = ".generating";

fn remove_unfinished(store: &Path) -> io::Result<()> {
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(UNFINISHED) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Opens on a thread of its own, because sled panics on some damage.
fn open_sled(dir: &Path, store: &Path, cache_bytes: u64) -> Result<sled::Db, OpenError> {
    if store.is_dir() {
        let io = |source| OpenError::Io { dir: dir.to_owned(), source };
        remove_unfinished(store).map_err(io)?;
    }
    let config =
        sled::Config::new().path(store).cache_capacity(cache_bytes).segment_size(SEGMENT_BYTES);
    let until = Instant::now() + CLOSE_WAIT;
    loop {
        let attempt = config.clone();
        let opened = thread::Builder::new()
            .name("open store".to_owned())
            .spawn(move || attempt.open())
            .map_err(|source| OpenError::Io { dir: dir.to_owned(), source })?
            .join();
        match opened {
            Ok(Ok(tree)) => return Ok(tree),
            // We hold the directory's lock, so this is our own store on its way out.
            Ok(Err(error)) if is_held(&error) && Instant::now() < until => {
                thread::sleep(CLOSE_POLL);
            }
            Ok(Err(error)) => return Err(unusable(dir, error)),
            Err(panic) => return Err(damaged(dir, panic_text(panic.as_ref()))),
        }
    }
}

fn is_held(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    format!("sled panicked: {}", text.unwrap_or("without a message"))
}

/// sled reads pages when they are asked for, and panics on damage then too.
fn guarded<T>(dir: &Path, read: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|panic| Err(damaged(dir, panic_text(panic.as_ref()))))
}

/// Nothing when the store has no row of its own, that is: when it opened empty.
fn read_meta(dir: &Path, row: Option<sled::IVec>) -> Result<Option<Meta>, OpenError> {
    let Some(row) = row else { return Ok(None) };
    match Meta::format(&row) {
        Some(FORMAT) => (),
        Some(found) => {
            return Err(OpenError::Format { dir: dir.to_owned(), found, expected: FORMAT });
        }
        None => return Err(damaged(dir, "its own row is too short".to_owned())),
    }
    match Meta::decode(&row) {
        Some(meta) => Ok(Some(meta)),
        None => Err(damaged(dir, "its own row does not read".to_owned())),
    }
}

/// Whether the store came further than the sidecar, by a crash between the two; an error when it is
/// the other way round.
fn is_behind(dir: &Path, said: Meta, meta: Meta) -> Result<bool, OpenError> {
    if meta.instance != said.instance {
        return Err(OpenError::Instance {
            dir: dir.to_owned(),
            store: meta.instance,
            sidecar: said.instance,
        });
    }
    if meta.epoch < said.epoch || meta.position < said.position || meta.commits < said.commits {
        return Err(OpenError::Behind {
            dir: dir.to_owned(),
            store: meta.position,
            sidecar: said.position,
            store_commits: meta.commits,
            sidecar_commits: said.commits,
        });
    }
    Ok(meta != said)
}

/// sled syncs neither its small files nor the directory.
fn sync_dir(store: &Path) -> io::Result<()> {
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        // A snapshot that is being replaced may be gone by now.
        match File::open(&path) {
            Ok(file) if path.is_file() => file.sync_all()?,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => (),
        }
    }
    File::open(store)?.sync_all()
}

fn empty(dir: &Path, sidecar: &Sidecar) -> OpenError {
    OpenError::Empty { dir: dir.to_owned(), sidecar: sidecar.said().position }
}

fn lost_sidecar(dir: &Path, state: &'static str) -> OpenError {
    OpenError::Sidecar { dir: dir.to_owned(), state }
}

/// A disk that is full or fails is not a store that is damaged.
fn unusable(dir: &Path, error: sled::Error) -> OpenError {
    match error {
        sled::Error::Io(source) => OpenError::Io { dir: dir.to_owned(), source },
        other => damaged(dir, other.to_string()),
    }
}

fn damaged(dir: &Path, reason: String) -> OpenError {
    OpenError::Damaged { dir: dir.to_owned(), reason }
}
