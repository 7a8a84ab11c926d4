//! The settings file: `KEY=value` lines, `#` comments, nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Fault, secret::BYTE_ORDER_MARK};

const EXPECTED: &str = "a readable file of KEY=value lines";

/// Reads the file; lines that are none of ours are noted as faults, without their content, since
/// a secret may stand there.
pub(super) fn read(path: &Path, faults: &mut Vec<Fault>) -> BTreeMap<String, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, &path.display().to_string(), faults),
        Err(error) => {
            let found = format!("cannot read {}: {error}", path.display());
            faults.push(fault(super::FILE_VARIABLE.into(), found));
            BTreeMap::new()
        }
    }
}

fn parse(text: &str, path: &str, faults: &mut Vec<Fault>) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let text = text.trim_start_matches(BYTE_ORDER_MARK);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = format!("{path}:{}", index + 1);
        match line.split_once('=') {
            Some((key, value)) if is_name(key.trim()) => {
                let value = unquote(value.trim()).to_owned();
                if settings.insert(key.trim().to_owned(), value).is_some() {
                    faults.push(fault(place, format!("{} is set twice", key.trim())));
                }
            }
            _ => faults.push(fault(place, "the line is not KEY=value".into())),
        }
    }
    settings
}

fn fault(name: String, found: String) -> Fault {
    Fault { name, found, expected: EXPECTED.into() }
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Takes one pair of equal quotes off, as a shell that sources the same file would.
fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    value
}
