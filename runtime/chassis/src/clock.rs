//! The time that a process believes in, see [`Guard`]. Whoever lets deadlines pass or forgets what
//! is old asks here, and never the system.
//!
//! ```text
//! <data dir>/CLOCK   what was believed last, for the next process
//! ```
//!
//! The file is written every few seconds and never synced: an older one doubts less, not more.

pub use trust::clock::{Doubt, Guard, Left, Reading};

use crate::{
    config::{Environment, Source},
    http::Gate,
    shutdown::Shutdown,
};
use chrono::{DateTime, SecondsFormat, Utc};
use prometheus_client::metrics::gauge::Gauge;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const NAME: &str = "CLOCK";
/// A jump is found within this time; one that is undone sooner has done nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How far behind the file may be.
const LOOKS_A_FILE: u32 = 10;

/// How long a service doubts.
const PATIENCE: Duration = Duration::from_secs(24 * 3_600);

/// What becomes of a suspect clock that is not set right.
#[derive(Debug)]
pub enum Care {
    /// A person has to say what is right: what is done by the wrong time cannot be undone.
    Person {
        /// Closed while the clock is suspect.
        gate: Gate,
        /// Tells people what to do.
        way_out: String,
    },
    /// Only what is old is at stake: it is believed after a day, in which a person may see
    /// `clock_suspect`.
    Patience,
}

/// What can be set.
#[derive(Clone, Debug, Default)]
pub struct ClockConfig {
    /// `<PREFIX>_CLOCK_AHEAD_FILE`: a file with the seconds by which the wall clock of this process
    /// is to be wrong, read again every second. Refused in production.
    ahead_file: Option<PathBuf>,
}

impl ClockConfig {
    /// Reads the settings of a process.
    pub fn read(source: &mut Source, prefix: &str) -> Option<ClockConfig> {
        let name = format!("{prefix}_CLOCK_AHEAD_FILE");
        let path: String = source.or(&name, String::new(), "the path of a file")?;
        if path.is_empty() {
            return Some(ClockConfig::default());
        }
        if source.environment() == Environment::Production {
            let found = "found a clock that is made wrong".to_owned();
            return source.fault(&name, found, "nothing, or FERMATA_ENV=development");
        }
        Some(ClockConfig { ahead_file: Some(path.into()) })
    }
}

/// The clock of a process; clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    guard: Mutex<Guard>,
    /// Where the next process finds what this one believed.
    file: Option<PathBuf>,
    /// Names this run of the machine.
    boot: String,
    ahead_file: Option<PathBuf>,
    /// Read from the file by [`Clock::look`].
    ahead_ms: AtomicI64,
}

impl Clock {
    /// The clock of the process whose store is in this directory, which nobody else uses.
    #[must_use]
    pub fn open(dir: &Path, config: &ClockConfig) -> Clock {
        let file = dir.join(NAME);
        let left = fs::read(&file).ok().and_then(|it| serde_json::from_slice::<Left>(&it).ok());
        Clock::begin(left.as_ref(), Some(file), config.ahead_file.clone())
    }

    /// A clock that remembers nothing: for tests and tools.
    #[must_use]
    pub fn of_machine() -> Clock {
        Clock::begin(None, None, None)
    }

    fn begin(left: Option<&Left>, file: Option<PathBuf>, ahead_file: Option<PathBuf>) -> Clock {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = boot.trim().to_owned();
        let ahead_ms = ahead_of(ahead_file.as_deref());
        let guard = Mutex::new(Guard::begin(left, &boot, read(ahead_ms)));
        let ahead_ms = AtomicI64::new(ahead_ms);
        let clock = Clock(Arc::new(Inner { guard, file, boot, ahead_file, ahead_ms }));
        if let Some(why) = clock.suspicion() {
            tracing::error!(why, "the clock is suspect");
        }
        clock
    }

    /// The time that is believed, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let reading = self.reading();
        self.lock().look(reading)
    }

    /// The time that is believed.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        date(self.now_ms())
    }

    /// What the wall clock says, believed or not: for what others compare with theirs.
    #[must_use]
    pub fn wall(&self) -> DateTime<Utc> {
        date(self.reading().wall)
    }

    /// Whether the wall clock is not believed. What is due is held, and what is old is kept.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.lock().doubt().is_some()
    }

    /// Why the wall clock is not believed, if it is not.
    #[must_use]
    pub fn suspicion(&self) -> Option<String> {
        let guard = self.lock();
        let (wall, believed) = (text(guard.wall()), text(guard.believed()));
        Some(match guard.doubt()? {
            _ if guard.agrees_again() => {
                format!("it was wrong, says {wall} as it should, and is believed after a minute")
            }
            Doubt::Jumped => format!("it says {wall}, and {believed} was expected"),
            Doubt::Behind => format!("it says {wall}, and {believed} was seen before"),
            Doubt::FarAhead => format!("it says {wall}, too far after {believed}"),
        })
    }

    /// Looks at the clocks, also at how wrong a test wants the wall clock to be.
    pub fn look(&self) {
        let ahead_ms = ahead_of(self.0.ahead_file.as_deref());
        self.0.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        self.lock().look(read(ahead_ms));
    }

    /// A person says that the wall clock is right.
    pub fn accept(&self) {
        let reading = self.reading();
        self.lock().accept(reading);
        self.leave();
    }

    /// Looks every second, says in `suspect` what it sees, and leaves it for the next process. What
    /// becomes of a suspect clock is said by `care`.
    pub async fn watch(self, suspect: Gauge, care: Care, shutdown: Shutdown) {
        let (mut looks, mut was_suspect, mut suspect_s) = (0_u32, false, 0_u64);
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = shutdown.asked() => break,
                _ = ticks.tick() => (),
            }
            self.look();
            let suspicion = self.suspicion();
            let is_suspect = suspicion.is_some();
            suspect.set(i64::from(is_suspect));
            if let Some(why) = suspicion.as_deref().filter(|_| !was_suspect) {
                tracing::error!(why, "the clock is suspect");
            }
            suspect_s = if is_suspect { suspect_s + LOOK_EVERY.as_secs() } else { 0 };
            match (&care, suspicion) {
                (Care::Person { gate, .. }, None) => gate.open(),
                (Care::Person { gate, way_out }, Some(why)) => {
                    gate.close(format!("suspect: {why}; {way_out}"));
                }
                (Care::Patience, _) if PATIENCE.as_secs() <= suspect_s => self.accept(),
                (Care::Patience, _) => (),
            }
            if was_suspect && !is_suspect {
                tracing::info!("the clock is believed again");
            }
            if looks.is_multiple_of(LOOKS_A_FILE) || was_suspect != is_suspect {
                self.leave();
            }
            (looks, was_suspect) = (looks.wrapping_add(1), is_suspect);
        }
        self.leave();
    }

    fn leave(&self) {
        let Some(file) = &self.0.file else { return };
        let left = self.lock().left(&self.0.boot);
        if let Err(error) = write(file, &left) {
            tracing::debug!(%error, "cannot leave the time for the next process");
        }
    }

    fn reading(&self) -> Reading {
        read(self.0.ahead_ms.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Guard> {
        // Nothing panics while it holds the lock, and the guard is whole at any point.
        self.0.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(ahead_ms: i64) -> Reading {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX).saturating_add_signed(ahead_ms);
    Reading { wall, since_boot: since_boot() }
}

/// In milliseconds. It counts on while the machine sleeps, and nobody can set it.
pub(crate) fn since_boot() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (s, ns) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    s.unwrap_or_default() * 1_000 + ns.unwrap_or_default() / 1_000_000
}

/// By how much a test wants the clock to be wrong.
fn ahead_of(file: Option<&Path>) -> i64 {
    let text = file.and_then(|it| fs::read_to_string(it).ok()).unwrap_or_default();
    text.trim().parse::<i64>().unwrap_or_default().saturating_mul(1_000)
}

/// Whole or not at all; what was lost with the power does not matter.
fn write(file: &Path, left: &Left) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, serde_json::to_vec(left)?)?;
    fs::rename(new, file)
}

fn date(ms: u64) -> DateTime<Utc> {
    let date = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis);
    date.unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn text(ms: u64) -> String {
    date(ms).to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong_by(dir: &Path, seconds: i64) -> Clock {
        let ahead_file = dir.join("ahead");
        fs::write(&ahead_file, seconds.to_string()).expect("it is written");
        Clock::open(dir, &ClockConfig { ahead_file: Some(ahead_file) })
    }

    #[test]
    fn the_next_process_doubts_a_clock_that_was_set_and_a_person_settles_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = wrong_by(dir.path(), 0);
        let noon = clock.now_ms();
        clock.leave();
        let clock = wrong_by(dir.path(), 365 * 24 * 3_600);
        let why = clock.suspicion().expect("a year is no trifle");
        assert!(why.contains(" was expected"), "{why}");
        assert!(clock.now_ms().abs_diff(noon) < 60_000, "time goes on from there");
        clock.leave();
        let clock = wrong_by(dir.path(), 365 * 24 * 3_600);
        assert!(clock.is_suspect(), "another start makes it no better");
        let clock = wrong_by(dir.path(), 0);
        let why = clock.suspicion().expect("it is not believed at once");
        assert!(why.contains("as it should, and is believed after a minute"), "{why}");
        clock.leave();
        let clock = wrong_by(dir.path(), 365 * 24 * 3_600);
        clock.accept();
        assert!(!clock.is_suspect() && noon + 300 * 24 * 3_600_000 < clock.now_ms());
        assert!(!wrong_by(dir.path(), 365 * 24 * 3_600).is_suspect(), "for the next one as well");
    }

    #[test]
    fn what_cannot_be_read_accuses_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        for left in ["", "{", "[]", "{\"believed\":1}"] {
            fs::write(dir.path().join(NAME), left).expect("it is written");
            assert!(!Clock::open(dir.path(), &ClockConfig::default()).is_suspect(), "{left}");
        }
    }

    /// The build before did not say how wrong it was.
    #[test]
    fn what_an_older_build_has_left_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let now = read(0).wall;
        let left = |wall: u64| {
            let left = serde_json::json!({ "believed": now - 1, "wall": wall, "sinceBoot": 9,
                "boot": "another one", "suspect": true });
            fs::write(dir.path().join(NAME), left.to_string()).expect("it is written");
        };
        left(now + 3_600_000);
        let clock = wrong_by(dir.path(), 3_600);
        let why = clock.suspicion().expect("it is as wrong as before");
        assert!(why.contains("too far after"), "{why}");
        left(now + 3_600_000);
        assert!(!wrong_by(dir.path(), 0).is_suspect(), "it was set right");
    }

    #[test]
    fn production_takes_no_clock_that_is_made_wrong() {
        let read = |environment: &str| {
            let pairs = [("FERMATA_ENV", environment), ("X_CLOCK_AHEAD_FILE", "/tmp/ahead")];
            let mut source = Source::from_pairs(pairs);
            let config = ClockConfig::read(&mut source, "X");
            source.finish(|| config).map_err(|error| error.to_string())
        };
        assert!(read("development").is_ok());
        let error = read("production").expect_err("it is refused");
        assert!(error.contains("X_CLOCK_AHEAD_FILE"), "{error}");
    }
}
