//! An error as people need it.

use std::error::Error;

/// What an error says, and what each of its causes adds to that: clients say "error sending
/// request" of all that can keep them from an answer.
pub fn with_causes(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Some repeat their cause in their own words.
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        next = cause.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use thiserror::Error;

    #[derive(Debug, Error)]
    #[error("refused (111)")]
    struct Refused;

    #[derive(Debug, Error)]
    #[error("cannot connect: {0}")]
    struct Connecting(#[source] Refused);

    #[derive(Debug, Error)]
    #[error("error sending request")]
    struct Sending(#[source] Connecting);

    #[test]
    fn each_cause_is_told_once() {
        let error = Sending(Connecting(Refused));
        assert_eq!(with_causes(&error), "error sending request: cannot connect: refused (111)");
        assert_eq!(with_causes(&Refused), "refused (111)");
    }
}
