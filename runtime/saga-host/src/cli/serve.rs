//! The runtime as a process.

use super::{problem::EXIT_USAGE, screen::complain};
use crate::{
    config::{Config, Settings},
    server,
};
use chassis::{claim, config::Source, shutdown::Shutdown};
use saga_core::saga::{Registry, RegistryError};
use uuid::Uuid;

/// Exit status of a start with settings that cannot be used (`EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;
const EXIT_FAILED: u8 = 1;

/// Serves until a signal; gives the exit status.
pub(super) fn serve(
    program: &str,
    registry: impl FnOnce(&mut Settings<'_>) -> Result<Registry, RegistryError>,
) -> u8 {
    let config = match Config::read(Source::from_process(), registry) {
        Ok(config) => config,
        Err(error) => {
            complain(program, &error.to_string());
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

/// Writes down that the store takes the place of that one; needs its directory's setting alone.
pub(super) fn take_over(program: &str, from: Uuid, reason: &str) -> u8 {
    if reason.trim().is_empty() {
        complain(program, "a reason is missing: who looks at it later wants to know why");
        return EXIT_USAGE;
    }
    let mut source = Source::from_process();
    let dir = source.directory("FERMATA_DATA_DIR");
    let dir = match source.finish(|| dir) {
        Ok(dir) => dir,
        Err(error) => {
            complain(program, &error.to_string());
            return EXIT_CONFIG;
        }
    };
    match claim::take_over(&dir, from, reason) {
        Ok(()) => {
            let dir = dir.display();
            let said = format!(
                "the store in {dir} may take the place of {from} at its next start, within a day"
            );
            complain(program, &said);
            0
        }
        Err(error) => {
            complain(program, &error.to_string());
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
