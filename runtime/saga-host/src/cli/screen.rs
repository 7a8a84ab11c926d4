//! Where answers go: a terminal that somebody looks at, or a pipe that a program reads.

use super::problem::CliError;
use std::{
    future::pending,
    io::{self, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
};
use tokio::{io::Interest, net::unix::pipe::Sender};

/// What standard output can show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    /// Columns and rows of the terminal; nothing when it is none.
    pub(super) size: Option<(usize, usize)>,
    pub(super) has_colours: bool,
}

impl Screen {
    /// A pipe or a file: nothing is cut, nothing is coloured.
    #[cfg(test)]
    pub(super) const PIPE: Screen = Screen { size: None, has_colours: false };

    pub(super) fn of_stdout() -> Screen {
        if !io::stdout().is_terminal() {
            return Screen { size: None, has_colours: false };
        }
        let size = terminal_size::terminal_size_of(io::stdout());
        // See https://no-color.org: any value that is not empty.
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|it| !it.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|it| it == "dumb");
        Screen {
            size: size.map(|(columns, rows)| (columns.0.into(), rows.0.into())),
            has_colours: !is_set("NO_COLOR") && !is_dumb,
        }
    }

    /// Columns of the terminal.
    pub(super) fn columns(&self) -> Option<usize> {
        self.size.map(|it| it.0)
    }
}

/// Writes to standard output, at once.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(CliError::Unread),
        written => written.map_err(|error| CliError::Other(format!("cannot print: {error}"))),
    }
}

/// Says something beside the answer.
pub(super) fn complain(program: &str, text: &str) {
    // Nowhere is left to say that standard error is closed.
    let _closed = writeln!(io::stderr().lock(), "{program}: {}", plain(text));
}

/// Goes on until Ctrl-C, or until nobody reads any more: a saga may hold for months, and a `head`
/// that has its lines is not told by the next one.
pub(super) async fn while_watched(
    work: impl Future<Output = Result<(), CliError>>,
) -> Result<(), CliError> {
    tokio::select! {
        biased;
        Ok(()) = tokio::signal::ctrl_c() => Err(CliError::Interrupted),
        () = unread() => Err(CliError::Unread),
        done = work => done,
    }
}

/// Comes back when the other end of standard output is closed; never where that cannot be known, as
/// with a file. The descriptor is shared with who started us, so it is left as it is: it is asked
/// for errors alone, and never written through this.
async fn unread() {
    let out = io::stdout().as_fd().try_clone_to_owned();
    match out.and_then(Sender::from_owned_fd_unchecked) {
        Ok(out) => {
            let _closed = out.ready(Interest::ERROR).await;
        }
        Err(_) => pending().await,
    }
}

/// The text with its control characters made visible: what a stranger sent must not move the
/// cursor of whoever looks at it. Line breaks stay.
pub(super) fn plain(text: &str) -> String {
    let is_harmless = |it: char| !it.is_control() || it == '\n';
    if text.chars().all(is_harmless) {
        return text.to_owned();
    }
    let shown = |it: char| match is_harmless(it) {
        true => it.to_string(),
        false => it.escape_default().to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_stranger_sent_moves_the_cursor() {
        assert_eq!(plain("a\u{1b}[2J\u{9b}b\nc\r\u{7}"), "a\\u{1b}[2J\\u{9b}b\nc\\r\\u{7}");
        assert_eq!(plain("Größe 包裹"), "Größe 包裹");
    }
}
