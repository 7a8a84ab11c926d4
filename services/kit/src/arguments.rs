//! What can be typed behind the name of a service.

use crate::run::Process;
use chassis::{claim, config::Source};
use std::{
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};
use uuid::Uuid;

/// The exit status for arguments that are none.
pub(crate) const EXIT_USAGE: u8 = 2;

/// What is wanted of the process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// To serve, which takes no arguments.
    Serve,
    /// To let its store take the place of another one.
    TakeOver { from: Uuid, reason: String },
}

impl Arguments {
    /// Reads what follows the name.
    ///
    /// # Errors
    /// How it is used.
    pub(crate) fn read(
        name: &str,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Arguments, String> {
        let words: Option<Vec<String>> =
            arguments.into_iter().skip(1).map(|it| it.into_string().ok()).collect();
        let words = words.unwrap_or_default();
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => Ok(Arguments::Serve),
            ["take-over", "--from", from, "--reason", reason] if !reason.trim().is_empty() => {
                let from = from.parse().map_err(|_| {
                    format!("{name}: {from:?} is no instance; the refused start names the one")
                })?;
                Ok(Arguments::TakeOver { from, reason: (*reason).to_owned() })
            }
            _ => Err(format!(
                "usage: {name}\n       {name} take-over --from INSTANCE --reason WHY\n\
                 The first serves, set up by the environment; the second lets the store of this \
                 service take the place of the one with that instance."
            )),
        }
    }
}

/// Writes the word down; needs the setting of the directory alone.
pub(crate) fn take_over(process: &Process, from: Uuid, reason: &str) -> ExitCode {
    let mut source = Source::from_process();
    let name = process.name;
    let dir = source.directory(&format!("{}_DATA_DIR", name.to_ascii_uppercase()));
    let said = source.finish(|| dir).map_err(|error| error.to_string()).and_then(|dir| {
        claim::take_over(&dir, from, reason).map_err(|error| error.to_string()).map(|()| dir)
    });
    let (code, text) = match said {
        Ok(dir) => (
            ExitCode::SUCCESS,
            format!(
                "the store in {} may take the place of {from} at the next start of {name}, within \
                 a day",
                dir.display()
            ),
        ),
        Err(error) => (ExitCode::FAILURE, format!("{name}: {error}")),
    };
    let _unheard = writeln!(io::stderr(), "{text}");
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str]) -> Result<Arguments, String> {
        Arguments::read("payment", ["payment"].iter().chain(line).map(OsString::from))
    }

    #[test]
    fn a_service_takes_no_arguments_but_an_operators_word() {
        let from = Uuid::from_u128(7);
        let text = from.to_string();
        assert_eq!(read(&[]), Ok(Arguments::Serve));
        let said = read(&["take-over", "--from", &text, "--reason", "the disk is lost"]);
        let reason = "the disk is lost".to_owned();
        assert_eq!(said, Ok(Arguments::TakeOver { from, reason }));
        for bad in [
            &["serve"][..],
            &["--help"],
            &["take-over"],
            &["take-over", "--from", &text],
            &["take-over", "--from", &text, "--reason", " "],
            &["take-over", "--from", "that one", "--reason", "why"],
        ] {
            let usage = read(bad).expect_err("it is refused");
            assert!(usage.contains("payment"), "{usage}");
        }
    }
}
