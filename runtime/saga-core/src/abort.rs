//! Why a saga stops going forward, and what a service's refusal looks like to its author.

use crate::text::{REASON_CHARS_MAX, cut};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a saga gives up. `?` on a rejected call gives one; every undo carries it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Abort {
    /// What kind of reason it is.
    pub kind: AbortKind,
    /// In words, for the customer's mail and the operator.
    pub reason: String,
}

/// The kinds of reasons, as services see them in the header `Abort-Kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbortKind {
    /// A person or a service said no.
    Rejected,
    /// What was awaited did not come in time.
    Deadline,
    /// Something went wrong in the world.
    Failed,
    /// An operator asked for it.
    Cancelled,
    /// Not an abort of the saga: what is undone lost a race, or was left open at the end.
    Lost,
}

impl Abort {
    /// A person or a service said no.
    pub fn rejected(reason: impl fmt::Display) -> Abort {
        AbortKind::Rejected.because(reason)
    }

    /// What was awaited did not come in time.
    pub fn deadline(reason: impl fmt::Display) -> Abort {
        AbortKind::Deadline.because(reason)
    }

    /// Something went wrong in the world.
    pub fn failed(reason: impl fmt::Display) -> Abort {
        AbortKind::Failed.because(reason)
    }
}

impl Abort {
    /// With no more words than an undo has room for.
    pub(crate) fn cut(&self) -> Abort {
        Abort { kind: self.kind, reason: cut(&self.reason, REASON_CHARS_MAX).into_owned() }
    }
}

impl AbortKind {
    /// As the header `Abort-Kind` carries it.
    pub fn as_str(self) -> &'static str {
        match self {
            AbortKind::Rejected => "rejected",
            AbortKind::Deadline => "deadline",
            AbortKind::Failed => "failed",
            AbortKind::Cancelled => "cancelled",
            AbortKind::Lost => "lost",
        }
    }

    pub(crate) fn because(self, reason: impl fmt::Display) -> Abort {
        Abort { kind: self, reason: reason.to_string() }.cut()
    }
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.reason)
    }
}

/// A service's business "never". The author may look at the code; `?` turns it into an abort.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{subject} rejected: {reason}")]
pub struct Rejection {
    /// The subject that was asked.
    pub subject: String,
    /// The service's code, such as `out_of_stock`.
    pub code: String,
    /// The service's words.
    pub reason: String,
}

impl From<Rejection> for Abort {
    fn from(rejection: Rejection) -> Abort {
        Abort::rejected(rejection)
    }
}
