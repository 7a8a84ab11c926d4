//! Text that must not be shown.

use std::fmt;

/// The mark of a value that stands in the development file: a word of its own within it.
const DEVELOPMENT_MARK: &str = "dev";
/// Some editors begin a file with it.
pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// Text that must not reach logs, errors or stores: neither `Debug` nor anything else prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    #[must_use]
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Without what stands around it: white space, and a byte order mark.
    pub(crate) fn trimmed(&self) -> Secret {
        let is_around = |c: char| c.is_whitespace() || c == BYTE_ORDER_MARK;
        Secret(self.0.trim_matches(is_around).to_owned())
    }

    /// Whether it carries the mark of the development set-up. Of a URL only the user and the
    /// password are looked at: a host may be called `dev-1`.
    pub(crate) fn is_for_development(&self) -> bool {
        let text = self.0.as_str();
        let secret_part = match text.split_once("://") {
            Some((_, rest)) => {
                let authority = rest.split('/').next().unwrap_or_default();
                authority.rsplit_once('@').map_or("", |(user, _)| user)
            }
            None => text,
        };
        secret_part.split(|c: char| !c.is_ascii_alphanumeric()).any(|it| it == DEVELOPMENT_MARK)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}
