//! The runtime as one call: [`run`].

use crate::{
    clock,
    config::Config,
    engine::{self, Engine, EngineError, Outlets, Oversight},
    feed,
    http::{self, App},
    nats_bus::{self, Bus, BusError, Parts},
    search_key::SearchKeyError,
    sled_store::SledStore,
    telemetry::Telemetry,
    turn_file,
    watchdog::{self, Watchdog},
};
use chassis::{
    clock::{Care, Clock},
    db::{Db, DbOptions, EXIT_POISONED, OpenError},
    http::{Door, Health, Metrics, serve},
    nats::{Nats, NatsError},
    shutdown::Shutdown,
};
use std::{io, net::SocketAddr, path::PathBuf, time::Duration};
use tokio::{net::TcpListener, sync::mpsc};

/// For the engine's last batch when the process goes down.
const ENGINE_DRAIN: Duration = Duration::from_secs(5);
/// Exit status of a start that cannot succeed as things are set up (`EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;
/// Exit status of a defect of ours (`EX_SOFTWARE`).
const EXIT_DEFECT: u8 = 70;
const EXIT_OTHER: u8 = 1;

/// Why the runtime does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {addr}: {source}; stop what listens there, or set FERMATA_HTTP_ADDR")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The search key beside the store cannot be used.
    #[error(transparent)]
    SearchKey(#[from] SearchKeyError),
    /// What author code does cannot be watched.
    #[error("cannot watch over author code in {dir}: {source}")]
    Watch {
        /// The directory of the store.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The engine has stopped by itself.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The broker cannot be used as it is.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A task of ours failed.
    #[error("a part of the runtime failed: {0}")]
    Task(String),
}

impl From<NatsError> for ServeError {
    fn from(error: NatsError) -> ServeError {
        ServeError::Bus(error.into())
    }
}

impl ServeError {
    /// What the process tells its parent.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            ServeError::Engine(EngineError::Store(_)) => EXIT_POISONED,
            ServeError::Engine(EngineError::Panicked)
            | ServeError::Bus(BusError::Panicked(_) | BusError::Nats(NatsError::Closed))
            | ServeError::Task(_) => EXIT_DEFECT,
            ServeError::Engine(EngineError::Open(_)) | ServeError::Bus(_) => EXIT_CONFIG,
            ServeError::Listen { .. }
            | ServeError::Store(_)
            | ServeError::SearchKey(_)
            | ServeError::Watch { .. }
            | ServeError::Engine(_) => EXIT_OTHER,
        }
    }
}

/// Runs until `shutdown` is asked, and then: not ready, no more events, the batch that is under way
/// made durable and acknowledged, everything flushed. At most some 20 s after the asking.
///
/// # Errors
/// It cannot start, or can no longer promise anything: the process must end with
/// [`ServeError::exit_code`].
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), ServeError> {
    let addr = config.http_addr;
    let listener =
        TcpListener::bind(addr).await.map_err(|source| ServeError::Listen { addr, source })?;
    serve_on(listener, config, shutdown).await
}

/// As [`run`], on a socket that listens already: for tests, which let the system choose the port.
///
/// # Errors
/// As for [`run`].
pub async fn serve_on(
    listener: TcpListener,
    config: Config,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let (health, metrics) = (Health::new(), Metrics::new());
    let telemetry = Telemetry::new(&metrics);
    let db = open_db(&config).await?;
    let (requests, owed) = mpsc::unbounded_channel();
    let (published, publications) = mpsc::unbounded_channel();
    let (feed, readers, herald) = feed::feed(shutdown.clone(), &metrics);
    tokio::spawn(herald);
    let outlets = Outlets { requests, publications: published, telemetry: telemetry.clone(), feed };
    let store = SledStore::new(db.clone())?;
    let clock = start_clock(&config, &health, &metrics, &shutdown);
    let (mut engine, _watchdog) = start_engine(&config, &clock, store, outlets).await?;
    watch_pulse(&engine, &health, &shutdown);
    health.gate("store").open();
    let nats = Nats::connect(&config.nats, &health, &metrics).await?;
    let parts = Parts {
        nats: nats.clone(),
        clock: clock.clone(),
        db: db.clone(),
        engine: engine.handle.clone(),
        stream: config.stream,
        tokens: config.tokens.clone(),
        owed,
        publications,
        telemetry,
        health: health.clone(),
        metrics: metrics.clone(),
    };
    let mut bus = Bus::start(parts).await?;
    let app = App::new(db.instance(), &engine.handle, &bus.under_way, readers, clock);
    let door = Door {
        title: "Fermata",
        description: "Runs sagas: what they wait for, what they did, and what people decide.",
        limits: config.limits.clone(),
        tokens: config.tokens,
        health: health.clone(),
        metrics,
    };
    let router = door.router_with(http::routes(app), &[nats_bus::procedure()]);
    if let Ok(addr) = listener.local_addr() {
        tracing::info!(%addr, "serving");
    }
    let serving = serve(listener, router, config.limits, health, shutdown.clone());
    let serving = tokio::spawn(serving);
    tokio::select! {
        () = shutdown.asked() => (),
        ended = &mut engine.ended => return Err(engine_ended(ended)),
        Some(error) = bus.failed.recv() => return Err(error.into()),
        () = nats.closed() => return Err(NatsError::Closed.into()),
    }
    bus.stop_intake();
    tokio::select! {
        ended = &mut engine.ended => return Err(engine_ended(ended)),
        served = serving => served.map_err(|error| ServeError::Task(error.to_string()))?,
    }
    engine.handle.stop().await;
    match tokio::time::timeout(ENGINE_DRAIN, engine.ended).await {
        Ok(Ok(ended)) => ended?,
        Ok(Err(_)) => return Err(EngineError::Panicked.into()),
        Err(_) => tracing::warn!("the engine did not end in time; nothing durable is lost"),
    }
    bus.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// The clock of this store, looked at every second.
fn start_clock(config: &Config, health: &Health, metrics: &Metrics, shutdown: &Shutdown) -> Clock {
    let clock = Clock::open(&config.data_dir, &config.clock);
    let help = "1 while the wall clock is not believed";
    let (gate, suspect) = (health.gate("clock"), metrics.gauge("clock_suspect", help));
    let way_out =
        "deadlines are held; set it right, or, if it is right, say `fermata clock accept`";
    let care = Care::Person { gate, way_out: way_out.to_owned() };
    tokio::spawn(clock.clone().watch(suspect, care, shutdown.clone()));
    clock
}

/// Lets `/readyz` ask the engine.
fn watch_pulse(engine: &Engine, health: &Health, shutdown: &Shutdown) {
    let gate = health.gate("engine");
    tokio::spawn(engine::watch_pulse(engine.handle.clone(), gate, shutdown.clone()));
}

/// The engine, and who watches over the author code that it runs.
async fn start_engine(
    config: &Config,
    clock: &Clock,
    store: SledStore,
    outlets: Outlets,
) -> Result<(Engine, Watchdog), ServeError> {
    let dir = &config.data_dir;
    let failed = |source| ServeError::Watch { dir: dir.clone(), source };
    let (turn_file, sight, interrupted) =
        turn_file::open(dir, clock::believed(clock)).map_err(failed)?;
    let watchdog = watchdog::start(sight, config.turn_time_max).map_err(failed)?;
    let (clock, watch) = (clock.clone(), Box::new(turn_file));
    let oversight = Oversight { clock, watch, interrupted };
    let (registry, limits) = (config.registry.clone(), config.core_limits);
    let engine = engine::start(store, registry, limits, outlets, oversight).await?;
    Ok((engine, watchdog))
}

/// Opening scans the store's files: not a matter for the threads that serve.
async fn open_db(config: &Config) -> Result<Db, ServeError> {
    let options = DbOptions { cache_bytes: config.cache_bytes, ..DbOptions::default() };
    let dir = config.data_dir.clone();
    let opening = tokio::task::spawn_blocking(move || Db::open(&dir, options));
    let opened = opening.await.map_err(|error| ServeError::Task(error.to_string()))?;
    Ok(opened?)
}

type EngineEnded = Result<Result<(), EngineError>, tokio::sync::oneshot::error::RecvError>;

fn engine_ended(ended: EngineEnded) -> ServeError {
    match ended {
        Ok(Err(error)) => error.into(),
        Ok(Ok(())) | Err(_) => EngineError::Panicked.into(),
    }
}
