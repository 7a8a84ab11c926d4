//! Why a command did nothing: what happened, to what, and what to do about it.

use reqwest::StatusCode;
use serde::Deserialize;

const EXIT_FAILED: u8 = 1;
/// What the reader of the arguments ends with, too.
pub(super) const EXIT_USAGE: u8 = 2;
const EXIT_UNREACHABLE: u8 = 3;
const EXIT_NOT_ALLOWED: u8 = 4;
const EXIT_NOT_FOUND: u8 = 5;
const EXIT_CONFLICT: u8 = 6;
/// What a shell shows of a program that SIGINT ended.
const EXIT_INTERRUPTED: u8 = 130;

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// An argument that can be read and not used.
    #[error("{0}")]
    Usage(String),
    #[error("cannot reach the runtime at {url}: {why}; is it serving there? (--url, FERMATA_URL)")]
    Unreachable { url: String, why: String },
    #[error(
        "no token: set FERMATA_TOKEN or FERMATA_TOKEN_FILE, or FERMATA_{}_TOKEN as deploy/dev.env \
         does",
        role.to_uppercase()
    )]
    NoToken { role: &'static str },
    #[error("{0}")]
    TokenUnusable(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{detail}{}{advice}", fields(errors))]
    Refused { status: StatusCode, detail: String, errors: Vec<Field>, advice: String },
    /// The saga that was followed has ended, and not as it was meant to; its end is printed.
    #[error("the saga did not complete")]
    EndedOtherwise,
    /// Whoever reads has seen enough.
    #[error("nobody reads any more")]
    Unread,
    #[error("interrupted")]
    Interrupted,
    #[error("{0}")]
    Other(String),
}

/// A field that the runtime blames.
#[derive(Debug, Deserialize)]
pub(super) struct Field {
    pointer: String,
    detail: String,
}

/// An error as the API tells it (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: String,
    #[serde(default)]
    errors: Vec<Field>,
}

impl CliError {
    /// What the runtime answered in the place of what was asked for.
    pub(super) fn of_answer(status: StatusCode, body: &str) -> CliError {
        let problem: Option<Problem> = serde_json::from_str(body).ok();
        let (detail, errors, advice) = match problem {
            Some(problem) => (problem.detail, problem.errors, ""),
            None => (format!("the runtime answers {status}"), Vec::new(), "; is it one? (--url)"),
        };
        CliError::Refused { status, detail, errors, advice: advice.to_owned() }
    }

    pub(super) fn not_json() -> CliError {
        CliError::Other(
            "the answer is not that of a runtime: is one at this address? (--url)".into(),
        )
    }

    /// With what to do, when it was refused with this status.
    pub(super) fn advise(self, on: StatusCode, what: impl FnOnce() -> String) -> CliError {
        match self {
            CliError::Refused { status, detail, errors, .. } if status == on => {
                CliError::Refused { status, detail, errors, advice: format!("; {}", what()) }
            }
            other => other,
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            CliError::Unread => 0,
            CliError::Usage(_) => EXIT_USAGE,
            CliError::Unreachable { .. } => EXIT_UNREACHABLE,
            CliError::NoToken { .. } | CliError::TokenUnusable(_) => EXIT_NOT_ALLOWED,
            CliError::NotFound(_) => EXIT_NOT_FOUND,
            CliError::EndedOtherwise | CliError::Other(_) => EXIT_FAILED,
            CliError::Interrupted => EXIT_INTERRUPTED,
            CliError::Refused { status, .. } => match *status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => EXIT_NOT_ALLOWED,
                StatusCode::NOT_FOUND => EXIT_NOT_FOUND,
                StatusCode::CONFLICT => EXIT_CONFLICT,
                _ => EXIT_FAILED,
            },
        }
    }

    /// What is said of it; nothing where there is nothing to say.
    pub(super) fn told(&self, program: &str) -> Option<String> {
        match self {
            CliError::Unread | CliError::Interrupted | CliError::EndedOtherwise => None,
            // As the reader of the arguments ends what it says.
            CliError::Usage(text) => Some(format!("{text}\nFor more, try '{program} --help'.")),
            other => Some(other.to_string()),
        }
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.is_refused_with(StatusCode::NOT_FOUND)
    }

    /// It may pass: whoever watches goes on.
    pub(super) fn is_for_now(&self) -> bool {
        match self {
            CliError::Unreachable { .. } => true,
            CliError::Refused { status, .. } => {
                *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
            }
            _ => false,
        }
    }

    fn is_refused_with(&self, wanted: StatusCode) -> bool {
        matches!(self, CliError::Refused { status, .. } if *status == wanted)
    }
}

fn fields(errors: &[Field]) -> String {
    errors.iter().map(|it| format!("\n  {}: {}", it.pointer, it.detail)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_a_no_says_why_and_has_its_exit_code() {
        for (status, exit_code) in [(401, 4), (403, 4), (404, 5), (409, 6), (422, 1), (503, 1)] {
            let status = StatusCode::from_u16(status).expect("a status");
            let body = r#"{"detail":"no","errors":[{"pointer":"/key","detail":"too long"}]}"#;
            let error = CliError::of_answer(status, body);
            assert_eq!(error.exit_code(), exit_code, "{status}");
            assert_eq!(error.to_string(), "no\n  /key: too long");
        }
        let error = CliError::of_answer(StatusCode::BAD_GATEWAY, "<html>");
        assert!(error.is_for_now() && error.to_string().contains("502 Bad Gateway"), "{error}");
    }

    #[test]
    fn advice_is_for_its_status_alone() {
        let advised = |status| {
            CliError::of_answer(status, r#"{"detail":"no such thing"}"#)
                .advise(StatusCode::NOT_FOUND, || "look again".into())
                .to_string()
        };
        assert_eq!(advised(StatusCode::NOT_FOUND), "no such thing; look again");
        assert_eq!(advised(StatusCode::CONFLICT), "no such thing");
    }
}
