//! How a procedure ends when it does not end well.

use chassis::db::DbError;
use proto_schemas::{Fault, Refusal as Unreadable};
use serde_json::{Value, json};

/// What a procedure returns: its reply, or why there is none.
pub type Outcome<T> = Result<T, Refusal>;

/// Why a procedure has no reply. Whatever it wrote is taken back.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A business "never": final, remembered under the key of a call, and told to the definition.
    #[error("rejected: {0}")]
    Rejected(Rejection),
    /// Something is out of order that may mend: not remembered, asked again by the caller.
    #[error("failed: {0}")]
    Failed(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] DbError),
}

/// A business "never", for a program (`code`) and for people (`reason`).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{reason} ({code})")]
pub struct Rejection {
    code: String,
    reason: String,
    status: u16,
    /// More fields of the body beside `code` and `reason`.
    details: Vec<(&'static str, Value)>,
    /// Whether a repeat under the same key gets this answer without being looked at.
    pub(crate) is_remembered: bool,
}

/// A conflict with the state of things, as most rejections are.
const STATUS_DEFAULT: u16 = 409;

impl Rejection {
    /// A rejection with a code in `snake_case` and a reason without personal data.
    pub fn new(code: impl Into<String>, reason: impl Into<String>) -> Rejection {
        Rejection {
            code: code.into(),
            reason: reason.into(),
            status: STATUS_DEFAULT,
            details: Vec::new(),
            is_remembered: true,
        }
    }

    /// Sets another `Nats-Service-Error-Code` than 409; it stays within 400 to 499.
    #[must_use]
    pub fn status(mut self, status: u16) -> Rejection {
        self.status = status.clamp(400, 499);
        self
    }

    /// Adds a field to the body.
    #[must_use]
    pub fn detail(mut self, name: &'static str, value: impl Into<Value>) -> Rejection {
        self.details.push((name, value.into()));
        self
    }

    /// The code for a program.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The reason for people.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn status_code(&self) -> u16 {
        self.status
    }

    /// `{"code":…,"reason":…}` and the details.
    pub(crate) fn body(&self) -> String {
        let mut body = json!({ "code": self.code, "reason": self.reason });
        for (name, value) in &self.details {
            body[*name] = value.clone();
        }
        body.to_string()
    }

    /// The kit's own rejections judge the request alone, so they bind nobody later.
    pub(crate) fn of_request(code: &str, reason: impl Into<String>) -> Rejection {
        Rejection { is_remembered: false, ..Rejection::new(code, reason) }.status(400)
    }

    pub(crate) fn unreadable(refusal: Unreadable) -> Rejection {
        let reason = refusal.to_string();
        let faults = match refusal {
            Unreadable::NotJson(why) => vec![Fault::at("", why)],
            Unreadable::Faults(faults) => faults,
        };
        let errors: Vec<Value> = faults
            .into_iter()
            .map(|fault| json!({ "pointer": fault.pointer, "detail": fault.detail }))
            .collect();
        Rejection::of_request("invalid", reason).detail("errors", errors)
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Refusal {
        Refusal::Rejected(rejection)
    }
}

impl Refusal {
    /// Short for a [`Rejection`] with this code and reason.
    pub fn rejected(code: impl Into<String>, reason: impl Into<String>) -> Refusal {
        Refusal::Rejected(Rejection::new(code, reason))
    }

    /// Short for [`Refusal::Failed`].
    pub fn failed(why: impl Into<String>) -> Refusal {
        Refusal::Failed(why.into())
    }
}
