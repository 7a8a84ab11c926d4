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
//!
//! Help, messages, completions and man pages carry the name under which the binary was run.
//!
//! | module | what is there |
//! |---|---|
//! | `args` | what can be typed |
//! | `serve` | the runtime as a process, and which store it may use |
//! | `commands` | which command does what |
//! | `lists`, `watch` | tables of sagas, tasks, events and definitions, once or until Ctrl-C |
//! | `show`, `follow` | one saga, and its journal as it grows |
//! | `changes` | what changes something: moves, starts, decisions, offers |
//! | `shell` | completions and man pages |
//! | `client`, `token`, `problem` | the HTTP API, whose token, what went wrong and what to do |
//! | `model`, `text`, `records`, `table`, `ages`, `screen` | answers, as people read them |

mod ages;
mod args;
mod changes;
mod client;
mod commands;
mod follow;
mod lists;
mod model;
mod problem;
mod records;
mod screen;
mod serve;
mod shell;
mod show;
mod table;
mod text;
mod token;
mod watch;

use crate::config::Settings;
use args::{Cli, Command};
use clap::{CommandFactory as _, FromArgMatches as _};
use commands::Asker;
use problem::CliError;
use saga_core::saga::{Registry, RegistryError};
use screen::Screen;
use std::{ffi::OsString, path::Path, process::ExitCode};

/// What the binary is called when nothing says how it was run.
const NAME: &str = "fermata";

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
    let args: Vec<OsString> = args.into_iter().collect();
    let program = name_of(args.first());
    let parsed = args::named(Cli::command(), &program).try_get_matches_from(args);
    let Cli { command, options } = match parsed.and_then(|it| Cli::from_arg_matches(&it)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads any more, or no standard error: nothing is left to say it.
            let _closed = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(problem::EXIT_USAGE);
        }
    };
    match &command {
        Command::Serve => return serve::serve(&program, registry),
        Command::TakeOver { from, reason } => return serve::take_over(&program, *from, reason),
        _ => (),
    }
    let asked = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Other(format!("no runtime for the client: {error}")));
    let asker = Asker { program, options, screen: Screen::of_stdout() };
    match asked.and_then(|runtime| runtime.block_on(asker.run(command))) {
        Ok(()) => 0,
        Err(error) => {
            if let Some(text) = error.told(&asker.program) {
                screen::complain(&asker.program, &text);
            }
            error.exit_code()
        }
    }
}

/// The file's name, without the folder that it was found in.
fn name_of(first: Option<&OsString>) -> String {
    let name = first.and_then(|it| Path::new(it).file_name()).and_then(|it| it.to_str());
    name.filter(|it| !it.is_empty()).unwrap_or(NAME).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_that_of_the_file_that_was_run() {
        let name = |it: &str| name_of(Some(&OsString::from(it)));
        assert_eq!(name("/opt/own/bin/own-saga"), "own-saga");
        assert_eq!(name("fermata"), "fermata");
        assert_eq!(name(""), NAME);
        assert_eq!(name_of(None), NAME);
    }
}
