//! Settings: raw text first, then typed values, then all faults at once.
//!
//! A [`Source`] gathers raw text from the environment and, under it, from the file that
//! `FERMATA_CONFIG` names (`KEY=value` lines). A process asks it for each of its settings; each
//! answer is an `Option` that is `None` only after a fault was noted. [`Source::finish`] then
//! either builds the configuration or reports every fault, so that a person mends them in one go.
//!
//! A secret `X` may also be given as `X_FILE`, the path of a file that holds it. White space around
//! a secret, and the mark that some editors put at the begin of a file, are no part of it; a line
//! break within is a fault, since no header, URL or password of ours has one.
//!
//! Production is the default. It refuses every secret that carries the mark of the development
//! set-up: the word `dev` between characters that are no letters or digits (`viewer-dev-x`,
//! `whsec_dev_x`). All secrets of the checked-in development file carry it, and a test looks.

mod file;
mod secret;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub use secret::Secret;

/// Names the optional file that stands under the environment.
const FILE_VARIABLE: &str = "FERMATA_CONFIG";
/// Says which [`Environment`] the process is for.
const ENVIRONMENT_VARIABLE: &str = "FERMATA_ENV";
/// Longest value that a fault repeats: enough to recognise it, too short to flood a terminal.
const FOUND_CHARS_MAX: usize = 80;

/// What a process is for: decides which values are refused at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Real money and real people; the default.
    Production,
    /// A developer's own machine, and tests.
    Development,
}

/// One setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The variable's name.
    pub name: String,
    /// What was found; never a secret's value.
    pub found: String,
    /// What would have been right.
    pub expected: String,
}

/// Every setting that cannot be used, in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// At least one fault.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use {} of the settings:", self.faults.len())?;
        for Fault { name, found, expected } in &self.faults {
            write!(f, "\n  {name}: {found}; expected {expected}")?;
        }
        Ok(())
    }
}

/// Raw settings and the faults found in them so far.
#[derive(Debug)]
pub struct Source {
    /// Written at creation only.
    raw: BTreeMap<String, Secret>,
    /// Grows with each setting that cannot be used.
    faults: Vec<Fault>,
    /// Read from the raw settings at creation.
    environment: Environment,
}

impl Source {
    /// Reads the process environment, and the file named by `FERMATA_CONFIG` under it.
    #[must_use]
    pub fn from_process() -> Source {
        let mut faults = Vec::new();
        let mut process = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            // An unreadable value stays out of sight unless a setting of that name is asked for.
            process.insert(name, value.to_string_lossy().into_owned());
        }
        let mut raw = match process.get(FILE_VARIABLE) {
            Some(path) => file::read(path.as_ref(), &mut faults),
            None => BTreeMap::new(),
        };
        raw.extend(process);
        Source::build(raw, faults)
    }

    /// Takes settings as given: for tests, and for processes that start others.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Source {
        let raw = pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Source::build(raw, Vec::new())
    }

    fn build(raw: BTreeMap<String, String>, faults: Vec<Fault>) -> Source {
        let raw = raw.into_iter().map(|(k, v)| (k, Secret::new(v))).collect();
        let mut source = Source { raw, faults, environment: Environment::Production };
        source.environment = match source.raw_text(ENVIRONMENT_VARIABLE).as_deref() {
            None | Some("production") => Environment::Production,
            Some("development") => Environment::Development,
            Some(other) => {
                let found = found_text(other);
                source.fault::<()>(ENVIRONMENT_VARIABLE, found, "production or development");
                Environment::Production
            }
        };
        source
    }

    /// What the process is for.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// A value that must be set.
    pub fn required<T: FromStr>(&mut self, name: &str, expected: &str) -> Option<T> {
        match self.raw_text(name) {
            Some(text) => self.parse(name, &text, expected),
            None => self.fault(name, "not set".into(), expected),
        }
    }

    /// A value with a default; `None` only when what was set cannot be used.
    pub fn or<T: FromStr>(&mut self, name: &str, default: T, expected: &str) -> Option<T> {
        match self.raw_text(name) {
            Some(text) => self.parse(name, &text, expected),
            None => Some(default),
        }
    }

    /// A value that may be absent: `Some(None)` when it is not set.
    pub fn optional<T: FromStr>(&mut self, name: &str, expected: &str) -> Option<Option<T>> {
        match self.raw_text(name) {
            Some(text) => self.parse(name, &text, expected).map(Some),
            None => Some(None),
        }
    }

    /// The address on which a server listens.
    pub fn listen_addr(&mut self, name: &str, default: SocketAddr) -> Option<SocketAddr> {
        self.or(name, default, "an address and a port such as 127.0.0.1:3001")
    }

    /// A directory; it need not exist yet.
    pub fn directory(&mut self, name: &str) -> Option<PathBuf> {
        self.required(name, "the path of a directory")
    }

    /// A duration in milliseconds, at least 1.
    pub fn milliseconds(&mut self, name: &str, default: Duration) -> Option<Duration> {
        let expected = "a number of milliseconds, at least 1";
        let default_ms = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        match self.or(name, default_ms, expected)? {
            0 => self.fault(name, "found 0".into(), expected),
            ms => Some(Duration::from_millis(ms)),
        }
    }

    /// A secret that must be set, as `name` or in the file `name_FILE`.
    pub fn secret(&mut self, name: &str, expected: &str) -> Option<Secret> {
        match self.optional_secret(name, expected)? {
            Some(secret) => Some(secret),
            None => self.fault(name, "not set".into(), expected),
        }
    }

    /// A secret that may be absent: `Some(None)` when neither `name` nor `name_FILE` is set.
    pub fn optional_secret(&mut self, name: &str, expected: &str) -> Option<Option<Secret>> {
        let Some(secret) = self.raw_secret(name, expected)? else { return Some(None) };
        let secret = secret.trimmed();
        if secret.expose().is_empty() {
            return self.fault(name, "found nothing but white space".into(), expected);
        }
        if secret.expose().contains(char::is_control) {
            let found = "found a line break or another control character within it (hidden)";
            return self.fault(name, found.into(), expected);
        }
        if self.environment == Environment::Production && secret.is_for_development() {
            let found = "found a value of the development set-up (hidden)".into();
            return self.fault(name, found, "a secret of your own, or FERMATA_ENV=development");
        }
        Some(Some(secret))
    }

    /// A comma-separated list of at least one secret, as during a rotation.
    pub fn secrets(&mut self, name: &str, expected: &str) -> Option<Vec<Secret>> {
        let all = self.secret(name, expected)?;
        let parts = all.expose().split(',').map(str::trim);
        let list: Vec<_> = parts.map(|part| Secret::new(part.to_owned())).collect();
        if list.iter().any(|part| part.expose().is_empty()) {
            return self.fault(name, "found an empty entry in the list".into(), expected);
        }
        Some(list)
    }

    /// Notes a fault that the caller found; the answer is always `None`.
    pub fn fault<T>(&mut self, name: &str, found: String, expected: &str) -> Option<T> {
        self.faults.push(Fault { name: name.into(), found, expected: expected.into() });
        None
    }

    /// Builds the configuration, or says all that is wrong.
    ///
    /// # Errors
    /// Every fault that was noted.
    pub fn finish<T>(mut self, build: impl FnOnce() -> Option<T>) -> Result<T, ConfigError> {
        if self.faults.is_empty() {
            if let Some(config) = build() {
                return Ok(config);
            }
            let found = "a value is missing though no fault was noted".into();
            self.fault::<T>("configuration", found, "a fault for each missing value");
        }
        Err(ConfigError { faults: self.faults })
    }

    fn raw_text(&self, name: &str) -> Option<String> {
        let text = self.raw.get(name)?.expose().trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn raw_secret(&mut self, name: &str, expected: &str) -> Option<Option<Secret>> {
        let file_name = format!("{name}_FILE");
        let direct = self.raw.get(name).filter(|it| !it.expose().is_empty()).cloned();
        match (direct, self.raw_text(&file_name)) {
            (Some(_), Some(_)) => {
                let found = format!("set both here and in {file_name}");
                self.fault(name, found, "one of the two")
            }
            (Some(secret), None) => Some(Some(secret)),
            (None, None) => Some(None),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => Some(Some(Secret::new(text))),
                Err(error) => {
                    let found = format!("cannot read {}: {error}", found_text(&path));
                    self.fault(&file_name, found, &format!("a file that holds {expected}"))
                }
            },
        }
    }

    fn parse<T: FromStr>(&mut self, name: &str, text: &str, expected: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(_) => self.fault(name, found_text(text), expected),
        }
    }
}

/// Quotes what was found, shortened, with its control characters made visible.
fn found_text(text: &str) -> String {
    let short: String = text.chars().take(FOUND_CHARS_MAX).collect();
    let rest = if short.len() < text.len() { "…" } else { "" };
    format!("found {short:?}{rest}")
}

#[cfg(test)]
mod tests;
