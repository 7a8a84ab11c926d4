//! A process around a service: settings, logs, store, broker, HTTP, and a stop in the right order.

use crate::{
    arguments::{self, Arguments},
    handle::Handle,
    outcome::{Outcome, Refusal},
    rows,
    service::{Ground, Service},
};
use aide::axum::ApiRouter;
use chassis::{
    claim::{Claim, ClaimError, Keeper},
    clock::{Care, Clock, ClockConfig},
    config::{ConfigError, Source},
    db::{Db, DbOptions, EXIT_POISONED, OpenError, Tx},
    http::{Door, Gate, Health, Limits, Metrics, Tokens, before_opening, serve},
    log::LogConfig,
    nats::{Nats, NatsConfig, NatsError},
    shutdown::Shutdown,
};
use chrono::{DateTime, Utc};
use futures::future::{Either, select};
use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    pin::pin,
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch};

/// How long the broker's connection gets to close.
const CLOSE: Duration = Duration::from_secs(2);
/// Rows are counted this far for the line of a start: more take longer than anybody reads it for.
const COUNTED_MAX: usize = 10_000;
/// The exit status for settings that cannot be used (`EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;

/// Who a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Lower case: the name of the service; in upper case the prefix of its settings.
    pub name: &'static str,
    /// For people, in the OpenAPI document.
    pub title: &'static str,
    /// One sentence, in the same place and on the broker.
    pub description: &'static str,
    /// The port on 127.0.0.1 unless the settings say otherwise.
    pub port: u16,
}

/// The settings that every service has.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens: `<NAME>_HTTP_ADDR`.
    pub http_addr: SocketAddr,
    /// Where its store is: `<NAME>_DATA_DIR`.
    pub data_dir: PathBuf,
    /// Its clock: `<NAME>_CLOCK_AHEAD_FILE`, in development.
    pub clock: ClockConfig,
    /// The broker: `<NAME>_NATS_URL`.
    pub nats: NatsConfig,
    /// How much callers may ask for.
    pub limits: Limits,
    /// Who may call what.
    pub tokens: Tokens,
}

/// What routes and tasks of a service work with.
#[derive(Clone)]
pub struct Context {
    /// The way into the service's state.
    pub handle: Handle,
    /// The broker, to ask others.
    pub nats: Nats,
    /// To count more than the kit does.
    pub metrics: Metrics,
    /// The time that the process believes in.
    pub clock: Clock,
    /// Asked when the process stops: background tasks end then.
    pub shutdown: Shutdown,
}

type First = Box<dyn FnOnce(&mut Tx, DateTime<Utc>) -> Outcome<()> + Send>;
type Routes = Box<dyn FnOnce(Context) -> ApiRouter + Send>;

/// A service with what a process adds to it.
pub struct App {
    service: Service,
    first: First,
    routes: Routes,
}

/// Why a process does not run, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store is not the one that is known as this service's.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The broker cannot be used.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// It cannot listen.
    #[error("cannot listen on {addr}: {source}; stop what listens there, or set {setting}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// What sets it.
        setting: String,
        /// What the system says.
        source: io::Error,
    },
    /// The system refused a thread or a signal handler.
    #[error("failed to start: {0}")]
    Start(#[from] io::Error),
    /// The first transaction was refused.
    #[error("failed to prepare the store: {0}")]
    First(#[from] Refusal),
    /// A commit failed: what the disk holds is found out by the next start.
    #[error("the store has failed, so the process ends")]
    Poisoned,
}

impl Config {
    /// Reads the settings of a process.
    pub fn read(source: &mut Source, process: &Process) -> Option<Config> {
        let prefix = process.name.to_ascii_uppercase();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, process.port));
        let http_addr = source.listen_addr(&format!("{prefix}_HTTP_ADDR"), addr);
        let data_dir = source.directory(&format!("{prefix}_DATA_DIR"));
        let clock = ClockConfig::read(source, &prefix);
        let nats = NatsConfig::read(source, &prefix);
        let limits = Limits::read(source);
        let tokens = Tokens::read(source);
        Some(Config {
            http_addr: http_addr?,
            data_dir: data_dir?,
            clock: clock?,
            nats: nats?,
            limits: limits?,
            tokens: tokens?,
        })
    }
}

impl App {
    /// A service without routes of its own.
    pub fn new(service: Service) -> App {
        App { service, first: Box::new(|_, _| Ok(())), routes: Box::new(|_| ApiRouter::new()) }
    }

    /// A transaction at each start, before anything is served: to fill an empty store, say.
    #[must_use]
    pub fn first(
        self,
        first: impl FnOnce(&mut Tx, DateTime<Utc>) -> Outcome<()> + Send + 'static,
    ) -> App {
        App { first: Box::new(first), ..self }
    }

    /// The HTTP routes. The standard ones (`/livez` and so on) are added to them.
    #[must_use]
    pub fn routes(self, routes: impl FnOnce(Context) -> ApiRouter + Send + 'static) -> App {
        App { routes: Box::new(routes), ..self }
    }
}

/// Runs a service until `shutdown` is asked; then it takes no more, answers what is here, commits
/// and leaves, within some 15 s.
///
/// # Errors
/// It could not start, or its store has failed.
pub async fn run(
    process: Process,
    config: Config,
    app: App,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let addr = config.http_addr;
    let setting = format!("{}_HTTP_ADDR", process.name.to_ascii_uppercase());
    let listen = |source| RunError::Listen { addr, setting: setting.clone(), source };
    let listener = TcpListener::bind(addr).await.map_err(listen)?;
    let (health, metrics) = (Health::new(), Metrics::new());
    let db = Db::open(&config.data_dir, DbOptions::default())?;
    describe(&db)?;
    let claimed = health.gate("claim");
    let clock = watched_clock(&config, &metrics, &shutdown);
    let nats = Nats::connect(&config.nats, &health, &metrics).await?;
    let door = door(&process, &config, &health, &metrics);
    tracing::info!(address = %listener.local_addr().map_err(listen)?, "listening");
    let open = Arc::new(OnceLock::new());
    let router = before_opening(&door, Arc::clone(&open));
    let serving = serve(listener, router, config.limits, health.clone(), shutdown.clone());
    let serving = pin!(serving);
    let mut claim = Claim::new(nats.clone(), db.clone(), process.name);
    // A new store does nothing before it is known to be the right one.
    let mut serving = match db.position() {
        0 => match select(serving, pin!(claim.settle())).await {
            Either::Left(((), _)) => return Ok(()),
            Either::Right((settled, serving)) => settled.map(|()| serving)?,
        },
        _ => serving,
    };
    first(&db, app.first, clock.now())?;
    let (allow, allowed) = watch::channel(0);
    tokio::spawn(opened(allowed.clone(), claimed));
    let (keeper, mut lost) = Keeper::start(claim.settled(), allow, health.gate("broker"));
    let ground = Ground::new(db, nats.behind(allowed), health.clone(), metrics.clone());
    let ground = Ground { clock: told_by(&clock), ..ground };
    let procedures = app.service.documented();
    let running = app.service.start(ground)?;
    let handle = running.handle();
    let context = Context { handle, nats: nats.clone(), metrics, clock, shutdown };
    open.get_or_init(|| door.router_with((app.routes)(context), &procedures));
    tokio::select! {
        () = running.broken() => {
            health.drain();
            return Err(RunError::Poisoned);
        }
        () = nats.closed() => {
            health.drain();
            return Err(NatsError::Closed.into());
        }
        Ok(error) = &mut lost => {
            // Another process has its place: what it would take now nobody looks at.
            running.refuse();
            health.drain();
            let _late = tokio::time::timeout(CLOSE, running.end()).await;
            return Err(error.into());
        }
        () = &mut serving => (),
    }
    running.drain().await;
    keeper.end().await;
    nats.close(CLOSE).await;
    tracing::info!("stopped");
    Ok(())
}

fn door(process: &Process, config: &Config, health: &Health, metrics: &Metrics) -> Door {
    Door {
        title: process.title,
        description: process.description,
        limits: config.limits.clone(),
        tokens: config.tokens.clone(),
        health: health.clone(),
        metrics: metrics.clone(),
    }
}

/// What the owner's thread asks for the time.
fn told_by(clock: &Clock) -> Arc<dyn Fn() -> DateTime<Utc> + Send + Sync> {
    let clock = clock.clone();
    Arc::new(move || clock.now())
}

/// The clock of the process: while it is suspect nothing is forgotten for being old.
fn watched_clock(config: &Config, metrics: &Metrics, shutdown: &Shutdown) -> Clock {
    let clock = Clock::open(&config.data_dir, &config.clock);
    let help = "1 while the wall clock is not believed";
    let suspect = metrics.gauge("clock_suspect", help);
    tokio::spawn(clock.clone().watch(suspect, Care::Patience, shutdown.clone()));
    clock
}

/// Opens the gate when the claim is made.
async fn opened(mut allowed: watch::Receiver<u64>, gate: Gate) {
    gate.close("the store is compared with what the broker knows of it");
    if allowed.wait_for(|it| 0 < *it).await.is_ok() {
        gate.open();
    }
}

/// Which store this is, in one line: a wrong one is seen at once.
fn describe(db: &Db) -> Result<(), RunError> {
    let count = |rows| db.count(rows, COUNTED_MAX).map_err(Refusal::from);
    tracing::info!(
        dir = %db.dir().display(), instance = %db.instance(), epoch = db.epoch(),
        position = db.position(), last_commit_ago = db.age(),
        events_owed = count(rows::OUTSTANDING)?, calls_pending = count(rows::PENDING)?,
        "the store is open"
    );
    Ok(())
}

/// Nothing else uses the store yet. One that was claimed is none at position 0 from here on, and so
/// may serve while the broker is away; any other one, which may be the wrong one, is not written
/// where there is nothing to do.
fn first(db: &Db, first: First, now: DateTime<Utc>) -> Outcome<()> {
    let mut tx = Tx::over(db);
    first(&mut tx, now)?;
    if db.position() == 0 || !tx.is_empty() {
        db.commit(tx.into_batch(), db.position() + 1)?;
    }
    Ok(())
}

/// The whole of a `main`: reads the settings, those of the service with `read`, and runs what
/// `build` makes of them until SIGINT or SIGTERM. With `take-over --from INSTANCE --reason WHY` it
/// writes down an operator's word that its store takes the place of that one, and ends.
pub fn launch<C>(
    process: Process,
    read: impl FnOnce(&mut Source) -> Option<C>,
    build: impl FnOnce(C) -> App,
) -> ExitCode {
    match Arguments::read(process.name, std::env::args_os()) {
        Ok(Arguments::Serve) => (),
        Ok(Arguments::TakeOver { from, reason }) => {
            return arguments::take_over(&process, from, &reason);
        }
        Err(usage) => {
            let _unheard = writeln!(io::stderr(), "{usage}");
            return ExitCode::from(arguments::EXIT_USAGE);
        }
    }
    // It fails when a test has installed it already.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let (config, own) = match settings(process, read) {
        Ok(settings) => settings,
        Err(error) => {
            // The log's own settings may be among the faults.
            let _unheard = writeln!(io::stderr(), "{}: {error}", process.name);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(RunError::from)
        .and_then(|runtime| {
            let ended = runtime.block_on(async {
                run(process, config, build(own), Shutdown::on_signals()?).await
            });
            // Outside work goes on after the next start; nothing waits for it now.
            runtime.shutdown_background();
            ended
        });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "{} ends", process.name);
            match error {
                // The last clone of a poisoned store must not be given the time to write.
                RunError::Poisoned => std::process::exit(EXIT_POISONED.into()),
                RunError::Claim(_) => ExitCode::from(EXIT_CONFIG),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn settings<C>(
    process: Process,
    read: impl FnOnce(&mut Source) -> Option<C>,
) -> Result<(Config, C), ConfigError> {
    let mut source = Source::from_process();
    let log = LogConfig::read(&mut source);
    let config = Config::read(&mut source, &process);
    let own = read(&mut source);
    source.finish(|| {
        log?.init();
        Some((config?, own?))
    })
}
