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

/// Prints JSON as the API gave it, in one line: stored bodies have line breaks, too. What moves a
/// cursor can only stand inside a string, where an escape says the same.
pub(super) fn print_json(json: &str) -> Result<(), CliError> {
    print(&(json_line(json) + "\n"))
}

/// As [`print_json`] has it.
pub(super) fn json_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for it in json.chars() {
        match it {
            '\n' | '\r' | '\t' => line.push(' '),
            it if moves(it) => line += &format!("\\u{:04x}", u32::from(it)),
            it => line.push(it),
        }
    }
    line
}

/// The text with its control characters made visible: what a stranger sent must not move the
/// cursor of whoever looks at it. Line breaks stay.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            it if it != '\n' && moves(it) => plain.extend(it.escape_default()),
            it => plain.push(it),
        }
    }
    plain
}

/// As [`plain`], in one line.
pub(super) fn plain_line(text: &str) -> String {
    plain(text).replace('\n', " ")
}

/// Whether a terminal does something else with it than to show it where it stands: control
/// characters, breaks of lines and paragraphs, and what turns the direction of what follows.
fn moves(it: char) -> bool {
    it.is_control() || matches!(it, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_stranger_sent_moves_the_cursor() {
        assert_eq!(plain("a\u{1b}[2J\u{9b}b\nc\r\u{7}"), "a\\u{1b}[2J\\u{9b}b\nc\\r\\u{7}");
        assert_eq!(plain("Größe 包裹"), "Größe 包裹");
        assert_eq!(plain("a\u{202e}b\u{2028}c\u{2069}"), "a\\u{202e}b\\u{2028}c\\u{2069}");
    }

    #[test]
    fn json_is_one_line_that_says_the_same_and_moves_no_cursor() {
        let json = "{\r\n\t\"a\": \"\u{7f}\u{9b}2J\u{85}\u{2029}\u{202e}ß\",\n\"b\": 1.10}\n";
        let line = json_line(json);
        assert_eq!(line, "{   \"a\": \"\\u007f\\u009b2J\\u0085\\u2029\\u202eß\", \"b\": 1.10} ");
        let read = |it: &str| serde_json::from_str::<serde_json::Value>(it).expect("JSON");
        assert_eq!(read(&line), read(json));
    }
}
