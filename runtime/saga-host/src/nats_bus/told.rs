//! What the courier and the publisher can tell of what is under way, to whoever looks at a saga.

use super::failure::Failure;
use saga_core::{
    effect::RequestId,
    id::{SagaId, Time},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// Questions of the HTTP door that wait.
const QUESTIONS_MAX: usize = 64;
/// Longer is no longer a look at a table.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(1);

/// What is known of open requests and events; a step has one or the other.
pub(crate) type Told = BTreeMap<RequestId, Attempts>;
type Question = (Vec<SagaId>, oneshot::Sender<Told>);
/// Where questions come in.
pub(super) type Inbox = mpsc::Receiver<Question>;

/// How it stands with one request or event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attempts {
    /// How often it was sent since this process started.
    pub(crate) attempts: u32,
    /// When it is sent again; nothing while it waits for its turn.
    pub(crate) next_at: Option<Time>,
    /// What went wrong last.
    pub(crate) failure: Option<LastFailure>,
}

/// The last failure of a request or an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastFailure {
    /// When.
    pub(crate) at: Time,
    /// In the words of whoever refused it.
    pub(crate) reason: String,
    /// How often it has failed since this process started.
    pub(crate) times: u32,
}

/// The way to ask; clones share it.
#[derive(Clone)]
pub(crate) struct UnderWay {
    requests: mpsc::Sender<Question>,
    events: mpsc::Sender<Question>,
}

impl UnderWay {
    /// With the inboxes of the courier and of the publisher.
    pub(super) fn new() -> (UnderWay, Inbox, Inbox) {
        let (requests, of_requests) = mpsc::channel(QUESTIONS_MAX);
        let (events, of_events) = mpsc::channel(QUESTIONS_MAX);
        (UnderWay { requests, events }, of_requests, of_events)
    }

    /// What is known of these sagas; less when who knows it is too busy to say.
    pub(crate) async fn told(&self, sagas: Vec<SagaId>) -> Told {
        let events = ask(&self.events, sagas.clone());
        let (mut told, of_events) = tokio::join!(ask(&self.requests, sagas), events);
        told.extend(of_events);
        told
    }
}

async fn ask(inbox: &mpsc::Sender<Question>, sagas: Vec<SagaId>) -> Told {
    let asked = async {
        let (answer, answered) = oneshot::channel();
        inbox.send((sagas, answer)).await.ok()?;
        answered.await.ok()
    };
    tokio::time::timeout(QUESTION_TIMEOUT, asked).await.ok().flatten().unwrap_or_default()
}

/// With the wall clock's times, as this moment has both.
pub(super) fn times(
    (instant, now): (Instant, Time),
    attempts: u32,
    next_at: Option<Instant>,
    failure: Option<&Failure>,
) -> Attempts {
    let next_at = next_at.map(|it| now.after(it.saturating_duration_since(instant)));
    let failure = failure.map(|it| {
        let ago = u64::try_from(instant.saturating_duration_since(it.at).as_millis());
        LastFailure {
            at: Time(now.0.saturating_sub(ago.unwrap_or_default())),
            reason: it.reason.clone(),
            times: it.times,
        }
    });
    Attempts { attempts, next_at, failure }
}
