//! Everything that can be set: from the environment over an optional file, all faults at once.

use crate::watchdog::TURN_SECONDS_MAX;
use chassis::{
    clock::ClockConfig,
    config::{ConfigError, Source},
    db::CACHE_BYTES,
    http::{Limits, Tokens},
    log::LogConfig,
    nats::{NatsConfig, trigger_subjects},
};
use saga_core::{
    journal::Patience,
    saga::{Registry, RegistryError},
};
use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
    time::Duration,
};

const PORT: u16 = 3000;
/// Room for some hundred thousand events while the runtime is away; then publishers wait.
const STREAM_BYTES_MAX: i64 = 1 << 30;
/// The least that the server takes as more than one block.
const STREAM_BYTES_MIN: i64 = 1 << 20;
/// JetStream knows 1, 3 and 5.
const REPLICAS_MAX: usize = 5;

/// How the runtime runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the store is: `FERMATA_DATA_DIR`.
    pub(crate) data_dir: PathBuf,
    /// sled's cache: `FERMATA_CACHE_BYTES`.
    pub(crate) cache_bytes: u64,
    /// Bounds of the core, among them how many live sagas stay in memory.
    pub(crate) core_limits: saga_core::core::Limits,
    /// For how long author code may run in one go: `FERMATA_TURN_SECONDS_MAX`.
    pub(crate) turn_time_max: Duration,
    /// Where HTTP is served: `FERMATA_HTTP_ADDR`.
    pub(crate) http_addr: SocketAddr,
    /// How much a caller may ask for.
    pub(crate) limits: Limits,
    /// Who may ask: `FERMATA_{VIEWER,APPROVER,OPERATOR,ADMIN}_TOKEN`.
    pub(crate) tokens: Tokens,
    /// What is logged.
    pub(crate) log: LogConfig,
    /// The broker: `FERMATA_NATS_URL`, `FERMATA_NATS_CA_FILE`.
    pub(crate) nats: NatsConfig,
    /// The clock: `FERMATA_CLOCK_AHEAD_FILE`, in development.
    pub(crate) clock: ClockConfig,
    /// The stream of events.
    pub(crate) stream: StreamConfig,
    /// The definitions, with their settings.
    pub(crate) registry: Registry,
}

/// The stream of events.
#[derive(Clone, Debug)]
pub(crate) struct StreamConfig {
    /// The subjects of our services, and `<prefix>.trigger.>` for each of
    /// `FERMATA_EVENT_PREFIXES`, which a comma separates.
    pub(crate) subjects: Vec<String>,
    /// `FERMATA_STREAM_BYTES_MAX`.
    pub(crate) bytes_max: i64,
    /// `FERMATA_STREAM_REPLICAS`.
    pub(crate) replicas: usize,
}

impl Config {
    /// Reads all settings, those of the definitions too.
    ///
    /// # Errors
    /// All faults that were found.
    pub fn read(
        mut source: Source,
        registry: impl FnOnce(&mut Settings<'_>) -> Result<Registry, RegistryError>,
    ) -> Result<Config, ConfigError> {
        let config = read_all(&mut source, registry);
        source.finish(|| config)
    }
}

fn read_all(
    source: &mut Source,
    registry: impl FnOnce(&mut Settings<'_>) -> Result<Registry, RegistryError>,
) -> Option<Config> {
    let http_addr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT));
    let data_dir = source.directory("FERMATA_DATA_DIR");
    let cache_bytes = source.or("FERMATA_CACHE_BYTES", CACHE_BYTES, "a number of bytes");
    let core_limits = read_core_limits(source);
    let turn_time_max = read_turn_time_max(source);
    let http_addr = source.listen_addr("FERMATA_HTTP_ADDR", http_addr);
    let limits = Limits::read(source);
    let tokens = Tokens::read(source);
    let log = LogConfig::read(source);
    let nats = NatsConfig::read(source, "FERMATA");
    let clock = ClockConfig::read(source, "FERMATA");
    let stream = StreamConfig::read(source);
    let registry = read_registry(source, registry);
    Some(Config {
        data_dir: data_dir?,
        cache_bytes: cache_bytes?,
        core_limits: core_limits?,
        turn_time_max: turn_time_max?,
        http_addr: http_addr?,
        limits: limits?,
        tokens: tokens?,
        log: log?,
        nats: nats?,
        clock: clock?,
        stream: stream?,
        registry: registry?,
    })
}

fn read_core_limits(source: &mut Source) -> Option<saga_core::core::Limits> {
    let default = saga_core::core::Limits::default();
    let expected = "how many live sagas stay in memory; 0 replays each turn";
    let futures_max = source.or("FERMATA_FUTURES_MAX", default.futures_max, expected);
    let mut patience = |name: &str, default_ms: u64| {
        let read = source.milliseconds(name, Duration::from_millis(default_ms))?;
        u64::try_from(read.as_millis()).ok()
    };
    let Patience { undo_ms, publish_ms } = default.patience;
    let undo_ms = patience("FERMATA_UNDO_PATIENCE_MS", undo_ms);
    let publish_ms = patience("FERMATA_PUBLISH_PATIENCE_MS", publish_ms);
    let patience = Patience { undo_ms: undo_ms?, publish_ms: publish_ms? };
    Some(saga_core::core::Limits { futures_max: futures_max?, patience, ..default })
}

fn read_turn_time_max(source: &mut Source) -> Option<Duration> {
    const NAME: &str = "FERMATA_TURN_SECONDS_MAX";
    let expected = "a number of seconds, at least 1";
    match source.or(NAME, TURN_SECONDS_MAX, expected)? {
        0 => source.fault(NAME, "found 0".into(), expected),
        seconds => Some(Duration::from_secs(seconds)),
    }
}

fn read_registry(
    source: &mut Source,
    registry: impl FnOnce(&mut Settings<'_>) -> Result<Registry, RegistryError>,
) -> Option<Registry> {
    let checked = registry(&mut Settings { source }).and_then(|it| it.check().map(|()| it));
    match checked {
        Ok(registry) => Some(registry),
        Err(error) => {
            source.fault("definitions", error.to_string(), "definitions that fit each other")
        }
    }
}

impl StreamConfig {
    fn read(source: &mut Source) -> Option<StreamConfig> {
        const PREFIXES: &str = "FERMATA_EVENT_PREFIXES";
        let expected = "names such as shop, separated by commas";
        let bytes = "a number of bytes, at least 1048576";
        let bytes_max = source.or("FERMATA_STREAM_BYTES_MAX", STREAM_BYTES_MAX, bytes);
        let replicas = source.or("FERMATA_STREAM_REPLICAS", 1, "1, 3 or 5");
        let prefixes: String = source.or(PREFIXES, String::new(), expected)?;
        let prefixes = prefixes.split(',').map(str::trim).filter(|it| !it.is_empty());
        let prefixes: Vec<String> = prefixes.map(str::to_owned).collect();
        let subjects = match trigger_subjects(&prefixes) {
            Ok(subjects) => Some(subjects),
            Err(error) => source.fault(PREFIXES, error.to_string(), expected),
        };
        let (bytes_max, replicas) = (bytes_max?, replicas?);
        if bytes_max < STREAM_BYTES_MIN {
            return source.fault("FERMATA_STREAM_BYTES_MAX", format!("found {bytes_max}"), bytes);
        }
        if replicas % 2 == 0 || replicas > REPLICAS_MAX {
            return source.fault(
                "FERMATA_STREAM_REPLICAS",
                format!("found {replicas}"),
                "1, 3 or 5",
            );
        }
        Some(StreamConfig { subjects: subjects?, bytes_max, replicas })
    }
}

/// What definitions may read when they are registered; a saga records it when it starts.
///
/// What cannot be read is noted and reported with all other faults, before anything runs; until
/// then the default stands in.
#[derive(Debug)]
pub struct Settings<'a> {
    source: &'a mut Source,
}

impl Settings<'_> {
    /// A length of time in milliseconds, at least 1.
    pub fn milliseconds(&mut self, name: &str, default_ms: u64) -> u64 {
        let read = self.source.milliseconds(name, Duration::from_millis(default_ms));
        read.and_then(|it| u64::try_from(it.as_millis()).ok()).unwrap_or(default_ms)
    }

    /// Any value that can be read from text; `expected` says what would be right.
    pub fn value<T: std::str::FromStr + Clone>(
        &mut self,
        name: &str,
        default: T,
        expected: &str,
    ) -> T {
        self.source.or(name, default.clone(), expected).unwrap_or(default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let registry = |settings: &mut Settings<'_>| {
            settings.milliseconds("DEMO_MS", 1_000);
            Ok(Registry::new("test"))
        };
        let source = Source::from_pairs(pairs.iter().copied());
        Config::read(source, registry).map_err(|error| error.to_string())
    }

    #[test]
    fn all_faults_are_listed_at_once_those_of_definitions_too() {
        let pairs = [
            ("FERMATA_HTTP_ADDR", "nowhere"),
            ("FERMATA_EVENT_PREFIXES", "orders"),
            ("FERMATA_STREAM_REPLICAS", "2"),
            ("DEMO_MS", "soon"),
        ];
        let error = read(&pairs).expect_err("there are faults");
        let names = ["FERMATA_DATA_DIR", "FERMATA_HTTP_ADDR", "FERMATA_NATS_URL", "DEMO_MS"];
        for name in names.iter().chain(&["FERMATA_EVENT_PREFIXES", "FERMATA_STREAM_REPLICAS"]) {
            assert!(error.contains(name), "{name} is not in: {error}");
        }
    }

    #[test]
    fn what_is_set_is_read_and_prefixes_extend_the_stream() {
        let pairs = [
            ("FERMATA_DATA_DIR", "/tmp/x"),
            ("FERMATA_NATS_URL", "nats://fermata:secret@127.0.0.1:4222"),
            ("FERMATA_EVENT_PREFIXES", "shop, depot"),
        ];
        let config = read(&pairs).expect("it is complete");
        let subjects = &config.stream.subjects;
        assert!(subjects.contains(&"shop.trigger.>".to_owned()), "{subjects:?}");
        assert!(subjects.contains(&"depot.trigger.>".to_owned()), "{subjects:?}");
        assert_eq!(config.http_addr.port(), PORT);
    }
}
