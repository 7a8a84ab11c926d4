use crate::wire::{AbortKind, Request};
use chrono::{DateTime, Utc};

/// One call, as a procedure sees it.
#[derive(Clone, Debug)]
pub struct Call<R> {
    /// The request, decoded and checked.
    pub body: R,
    /// The idempotency key: the kit has made sure that this call has not been acted on yet.
    pub key: String,
    /// The time to write into rows, the same for everything that this call writes.
    pub at: DateTime<Utc>,
    /// Present when a saga takes something back.
    pub undo: Option<Undo>,
    /// 1, or more after an operator's retry: then look up at the provider before acting.
    pub attempt_class: u32,
}

/// Why a saga takes something back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// The key of the call that is undone, known to have been done unless it may be forgotten (see
    /// the crate's page); absent for an undo that a fact gave rise to (an order placed, a payment
    /// received) and no call.
    pub of: Option<String>,
    /// What ended the saga.
    pub kind: Option<AbortKind>,
    /// The same in words.
    pub reason: Option<String>,
}

impl<R> Call<R> {
    pub(crate) fn new(body: R, request: &Request, at: DateTime<Utc>) -> Call<R> {
        let undo = request.is_undo().then(|| Undo {
            of: request.undo_of.clone(),
            kind: request.abort_kind,
            reason: request.abort_reason.clone(),
        });
        let key = request.key.clone().unwrap_or_default();
        Call { body, key, at, undo, attempt_class: request.attempt_class }
    }

    /// The key to give to a provider: the same for every attempt, another one after an operator's
    /// retry, since providers repeat a stored refusal under a known key.
    pub fn provider_key(&self) -> String {
        provider_key(&self.key, self.attempt_class)
    }
}

pub(crate) fn provider_key(key: &str, attempt_class: u32) -> String {
    match attempt_class {
        0 | 1 => key.to_owned(),
        class => format!("{key}.{class}"),
    }
}
