//! What the engine lets out, and to whom.

use crate::{feed::Feed, groups::Group, telemetry::Telemetry};
use saga_core::{
    effect::{Request, RequestId},
    id::{Path, SagaId},
};
use tokio::sync::mpsc;

/// What the courier is told.
#[derive(Debug)]
pub(crate) enum Owed {
    /// What a restart left open: these leave one by one.
    Recovered(Group, Request),
    /// Ask until it answers.
    Send(Group, Request),
    /// Ask no more.
    Forget(RequestId),
    /// Ask now what waits to be asked again for this saga.
    Hurry(SagaId),
}

/// What the publisher is told.
#[derive(Debug)]
pub(crate) enum OwedEvent {
    /// Give it to the broker until it has it.
    Publish(Publication),
    /// No more.
    Withdraw(SagaId, Path),
    /// Try now what rests of this saga.
    Hurry(SagaId),
}

/// An event for the broker.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) saga: SagaId,
    /// That of its saga.
    pub(crate) group: Group,
    pub(crate) step: Path,
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) key: String,
    pub(crate) body: String,
}

/// Where effects go.
pub(crate) struct Outlets {
    pub(crate) requests: mpsc::UnboundedSender<Owed>,
    pub(crate) publications: mpsc::UnboundedSender<OwedEvent>,
    pub(crate) telemetry: Telemetry,
    /// Who watches journals.
    pub(crate) feed: Feed,
}
