//! The command line: the runtime itself, and what an operator asks of one that runs.
//!
//! A binary with definitions of its own is this:
//!
//! ```no_run
//! use saga_core::saga::{Registry, RegistryError};
//! use saga_host::config::Settings;
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     saga_host::cli::main(registry)
//! }
//!
//! fn registry(settings: &mut Settings<'_>) -> Result<Registry, RegistryError> {
//!     let patience_ms = settings.milliseconds("HELLO_MS", 60_000);
//!     let registry = Registry::new(concat!("hello ", env!("CARGO_PKG_VERSION")));
//!     // registry.register::<Hello>(&Limits { patience_ms })?;
//!     # let _ = patience_ms;
//!     Ok(registry)
//! }
//! ```

mod client;
mod commands;
mod text;

use crate::{
    config::{Config, Settings},
    server,
};
use chassis::{config::Source, shutdown::Shutdown};
use clap::{Args, Parser, Subcommand};
use client::CliError;
use saga_core::saga::{Registry, RegistryError};
use std::{
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

/// Exit status of a start with settings that cannot be used (`EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;
const EXIT_FAILED: u8 = 1;

const AFTER_HELP: &str = "\
Exit status: 0 done, 1 failed, 2 wrong usage, 3 the runtime cannot be reached,
4 the token is missing or its role too low, 5 no such thing, 6 its state does not allow it.

`serve` is set up by the environment, and by the file that FERMATA_CONFIG names. The other commands
talk to a running runtime, with the token of FERMATA_TOKEN, else with that of the role that the
command takes: FERMATA_VIEWER_TOKEN, FERMATA_APPROVER_TOKEN, and so on.";

/// Runs sagas, and asks a running runtime about them.
#[derive(Debug, Parser)]
#[command(name = "fermata", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

/// What every question to a runtime takes.
#[derive(Debug, Args)]
struct Options {
    /// Where the runtime listens.
    #[arg(long, global = true, env = "FERMATA_URL", default_value = "http://127.0.0.1:3000")]
    url: String,
    /// Print JSON, as the API gives it.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the runtime until SIGINT or SIGTERM.
    ///
    /// Needs FERMATA_DATA_DIR (the store) and FERMATA_NATS_URL (nats://user:password@host:4222).
    /// May have FERMATA_HTTP_ADDR (127.0.0.1:3000), the tokens FERMATA_VIEWER_TOKEN,
    /// FERMATA_APPROVER_TOKEN, FERMATA_OPERATOR_TOKEN and FERMATA_ADMIN_TOKEN,
    /// FERMATA_NATS_CA_FILE, FERMATA_EVENT_PREFIXES (shop,depot), FERMATA_STREAM_BYTES_MAX,
    /// FERMATA_STREAM_REPLICAS, FERMATA_CACHE_BYTES, FERMATA_LOG, FERMATA_LOG_FORMAT,
    /// FERMATA_HTTP_BODY_BYTES_MAX, FERMATA_HTTP_REQUESTS_PER_S, FERMATA_HTTP_TIMEOUT_MS, and
    /// FERMATA_ENV=development where it is no production.
    Serve,
    /// List sagas, newest first.
    Sagas(commands::Sagas),
    /// Show a saga: what it waits for, how to unblock it, and its journal.
    Show {
        /// Its id; or its business key, which shows the newest saga with that key.
        saga: String,
    },
    /// List what waits for people.
    Tasks {
        /// Tasks at most.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
        limit: u16,
    },
    /// Say yes to a task.
    Approve {
        /// The task's id, as `tasks` gives it.
        task: String,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Say no to a task.
    Reject {
        /// The task's id, as `tasks` gives it.
        task: String,
        /// Why; it goes into the journal.
        #[arg(long)]
        reason: String,
    },
}

/// All that the `main` of a binary with definitions does. `registry` links the definitions; what it
/// reads from the settings is what their new sagas record.
pub fn main(
    registry: impl FnOnce(&mut Settings<'_>) -> Result<Registry, RegistryError>,
) -> ExitCode {
    ExitCode::from(run(std::env::args_os(), registry))
}

/// As [`main`], with these arguments, of which the first names the program; gives the exit status.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    registry: impl FnOnce(&mut Settings<'_>) -> Result<Registry, RegistryError>,
) -> u8 {
    // Only a binary that has installed a provider itself gets an error, and then that one serves.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse_from(args);
    match cli.command {
        Command::Serve => serve(registry),
        command => ask(command, &cli.options),
    }
}

fn serve(registry: impl FnOnce(&mut Settings<'_>) -> Result<Registry, RegistryError>) -> u8 {
    let config = match Config::read(Source::from_process(), registry) {
        Ok(config) => config,
        Err(error) => {
            complain(&error.to_string());
            return EXIT_CONFIG;
        }
    };
    config.log.init();
    log_panics();
    let served = tokio::runtime::Builder::new_multi_thread().enable_all().build().map(|runtime| {
        runtime.block_on(async {
            let shutdown = Shutdown::on_signals().map_err(|error| {
                server::ServeError::Task(format!("cannot listen for signals: {error}"))
            })?;
            server::run(config, shutdown).await
        })
    });
    match served {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            tracing::error!(%error, "the runtime stops");
            error.exit_code()
        }
        Err(error) => {
            tracing::error!(%error, "no threads for the runtime");
            EXIT_FAILED
        }
    }
}

/// Where it happened goes to the log; what it said may hold anything, so it does not.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let current = std::thread::current();
        let thread = current.name().unwrap_or_default();
        tracing::error!(place, thread, "a panic was caught");
    }));
}

fn ask(command: Command, options: &Options) -> u8 {
    let asked = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Other(format!("no runtime for the client: {error}")))
        .and_then(|runtime| runtime.block_on(commands::run(command, options)));
    match asked.and_then(|text| print(&text)) {
        Ok(()) => 0,
        Err(error) => {
            complain(&error.to_string());
            error.exit_code()
        }
    }
}

fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| CliError::Other(format!("cannot print: {error}"))),
    }
}

fn complain(text: &str) {
    // Nowhere is left to say that standard error is closed.
    let _closed = writeln!(io::stderr().lock(), "fermata: {text}");
}
