//! Logs: structured, to stderr, as text for people or JSON for machines.
//!
//! Secrets and personal data never get here: types that hold them have a redacted `Debug`, and
//! messages name ids.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

use crate::config::Source;

const LEVELS_EXPECTED: &str = "levels such as info or info,async_nats=warn";
/// The NATS client and the HTTP stack are quiet unless asked: what matters of them is counted.
const LEVELS_DEFAULT: &str = "info,async_nats=error,hyper=warn,sled=warn";

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line per entry.
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<LogFormat, ()> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(()),
        }
    }
}

/// What is logged and how: `FERMATA_LOG` (levels) and `FERMATA_LOG_FORMAT` (`text` or `json`;
/// text on a terminal, else JSON).
#[derive(Clone, Debug)]
pub struct LogConfig {
    format: LogFormat,
    levels: String,
}

impl LogConfig {
    /// Reads the two settings.
    pub fn read(source: &mut Source) -> Option<LogConfig> {
        let by_place =
            if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
        let format = source.or("FERMATA_LOG_FORMAT", by_place, "text or json");
        let levels = source.or("FERMATA_LOG", LEVELS_DEFAULT.to_owned(), LEVELS_EXPECTED)?;
        if EnvFilter::try_new(&levels).is_err() {
            return source.fault("FERMATA_LOG", format!("found {levels:?}"), LEVELS_EXPECTED);
        }
        Some(LogConfig { format: format?, levels })
    }

    /// Installs the process's subscriber; a second call changes nothing.
    pub fn init(&self) {
        let filter = EnvFilter::try_new(&self.levels).unwrap_or_default();
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            // It would say on stderr that stderr cannot be written, and panic as it cannot: a log
            // on a full disk must not stop what works.
            .log_internal_errors(false)
            .with_ansi(self.format == LogFormat::Text && std::io::stderr().is_terminal());
        // Only a test that starts two servers in one process gets here twice.
        let _already = match self.format {
            LogFormat::Text => builder.try_init(),
            LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).try_init(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_level_or_format_is_a_fault() {
        let pairs = [("FERMATA_LOG", "info,=="), ("FERMATA_LOG_FORMAT", "xml")];
        let mut source = Source::from_pairs(pairs);
        assert!(LogConfig::read(&mut source).is_none());
        let faults = source.finish(|| Some(())).expect_err("two faults").faults;
        assert_eq!(faults.len(), 2);
    }
}
