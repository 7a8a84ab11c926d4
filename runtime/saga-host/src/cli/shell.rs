//! What belongs to the shell: completions and manual pages, under the name of the binary.

use super::{
    args::{Cli, named},
    problem::CliError,
    screen::print,
};
use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::Path;

/// Prints the script that makes a shell complete the commands.
pub(super) fn completions(program: &str, shell: Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut named(Cli::command(), program), program, &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Prints the page of a command, or of the whole.
pub(super) fn manual(program: &str, command: Option<&str>) -> Result<(), CliError> {
    let mut whole = whole(program);
    let page = match command {
        None => &whole,
        Some(name) => whole
            .find_subcommand_mut(name)
            .map(|it| &*it)
            .ok_or_else(|| CliError::Usage(format!("{program} has no command {name}")))?,
    };
    let mut text = Vec::new();
    page_of(page, program)
        .render(&mut text)
        .map_err(|error| CliError::Other(format!("no manual page: {error}")))?;
    print(&String::from_utf8_lossy(&text))
}

/// Writes the page of the whole and that of each command.
pub(super) fn manuals(program: &str, folder: &Path) -> Result<(), CliError> {
    let failed = |error| {
        CliError::Other(format!("cannot write manual pages to {}: {error}", folder.display()))
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let whole = whole(program);
    for command in std::iter::once(&whole).chain(whole.get_subcommands()) {
        page_of(command, program).generate_to(folder).map_err(failed)?;
    }
    Ok(())
}

/// The commands, with their full names.
fn whole(program: &str) -> clap::Command {
    let mut whole = named(Cli::command(), program).disable_help_subcommand(true);
    whole.build();
    whole
}

fn page_of(command: &clap::Command, program: &str) -> Man {
    let source = format!("{program} {}", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).source(source).manual(format!("{program} manual"))
}
