//! The message traits: what a definition asks of services, and what the world publishes.

use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// A request to a service. The type fixes its subject, its reply and how it is retried.
///
/// `PartialEq` and `DeserializeOwned` let a recorded request be compared as today's type: a field
/// that was added with a default, or removed, is no divergence; a changed value is.
pub trait Request: Serialize + DeserializeOwned + PartialEq + 'static {
    /// The NATS subject on which the service answers.
    const SUBJECT: &'static str;
    /// How long and how often the runtime asks again while there is no answer.
    const RETRY: Retry = Retry::DEFAULT;
    /// The body of a successful answer.
    type Reply: Serialize + DeserializeOwned + 'static;
}

/// Something that the world publishes, on one subject or several.
pub trait Event: DeserializeOwned + 'static {
    /// The subjects on which it comes.
    const SUBJECTS: &'static [&'static str];
    /// JSON pointer to the business key in the body, for publishers that send no `Fermata-Key`.
    const KEY: &'static str;
    /// A decision of a person: only the runtime makes such events, after it has authenticated who
    /// decided. From the outside it is refused.
    const DECISION: bool = false;

    /// Reads a body. An event of several subjects is an enum whose variant the subject chooses.
    ///
    /// # Errors
    /// The body is not of this type: it is refused at the door with this error as the reason.
    fn decode(subject: &str, body: &str) -> serde_json::Result<Self> {
        let _ = subject;
        serde_json::from_str(body)
    }
}

/// How a call is asked again: exponential back-off with full jitter, until a limit that counts from
/// the moment when the call was decided, so that a restart neither resets nor shortens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The longest pause before the second attempt; it doubles with each attempt.
    pub first: Duration,
    /// The longest pause between any two attempts.
    pub pause_max: Duration,
    /// After this time without an answer the call is exhausted.
    pub limit: Duration,
    /// What follows when the call is exhausted.
    pub on_exhausted: OnExhausted,
}

/// What follows when a call had no answer within its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExhausted {
    /// The saga waits for a person, who retries or cancels.
    Attention,
    /// The saga aborts, unwinds and ends `failed`.
    Abort,
}

impl Retry {
    /// From half a second to a minute between attempts, for three days, and then a person.
    pub const DEFAULT: Retry = Retry {
        first: Duration::from_millis(500),
        pause_max: Duration::from_secs(60),
        limit: Duration::from_secs(3 * 24 * 3600),
        on_exhausted: OnExhausted::Attention,
    };
}
