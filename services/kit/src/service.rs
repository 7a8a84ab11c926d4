use crate::{
    call::Call,
    core::{Core, Input},
    endpoints::Endpoints,
    handle::Handle,
    metrics::KitMetrics,
    outcome::Outcome,
    owner::{Clock, Inlet, Owner},
    procedure::{Effect, Local, Outside, Procedure, Query},
    relay::{Relay, RelayTimes},
};
use chassis::{
    db::{Db, Tx},
    http::{self, Gate, Health, Metrics},
    nats::{Nats, NatsError},
    shutdown::Shutdown,
};
use chrono::Utc;
use proto_schemas::Body;
use saga_core::message::Request;
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// When the endpoints could not be opened, the pause before the next attempt.
const OPEN_PAUSE: Duration = Duration::from_secs(1);

/// A service in the making: its name and its table of procedures.
pub struct Service {
    name: &'static str,
    description: &'static str,
    procedures: BTreeMap<&'static str, Arc<dyn Procedure>>,
}

/// What a service runs on. [`crate::run`] provides it; tests bring their own.
pub struct Ground {
    /// The service's own store.
    pub db: Db,
    /// The broker.
    pub nats: Nats,
    /// Where the kit's gates go.
    pub health: Health,
    /// Where the kit's counts go.
    pub metrics: Metrics,
    /// The time of commands.
    pub clock: Clock,
    /// When events are sent again.
    pub times: RelayTimes,
}

/// A service that runs, until it is drained.
pub struct Running {
    handle: Handle,
    inlet: Inlet,
    broken: Shutdown,
    /// Ends after the owner's thread.
    relay: JoinHandle<()>,
    /// Closes the endpoints.
    close: oneshot::Sender<oneshot::Sender<()>>,
}

impl Ground {
    /// The usual clock and times over these.
    pub fn new(db: Db, nats: Nats, health: Health, metrics: Metrics) -> Ground {
        let (clock, times): (Clock, _) = (Arc::new(Utc::now), RelayTimes::default());
        Ground { db, nats, health, metrics, clock, times }
    }
}

impl Service {
    /// Names the service: on the broker, in receipts, in logs. Letters, digits, `-` and `_`.
    pub fn new(name: &'static str, description: &'static str) -> Service {
        Service { name, description, procedures: BTreeMap::new() }
    }

    /// Adds a procedure that only reads: it needs no key and is not remembered.
    ///
    /// # Panics
    /// Another procedure has the subject.
    #[must_use]
    pub fn query<R: Request + Body>(
        self,
        handler: impl Fn(&Tx, R) -> Outcome<R::Reply> + Send + Sync + 'static,
    ) -> Service {
        self.add(R::SUBJECT, Query::new(handler))
    }

    /// Adds a procedure that changes rows in one transaction, once per key.
    ///
    /// # Panics
    /// Another procedure has the subject.
    #[must_use]
    pub fn procedure<R: Request + Body>(
        self,
        handler: impl Fn(&mut Tx, Call<R>) -> Outcome<R::Reply> + Send + Sync + 'static,
    ) -> Service {
        self.add(R::SUBJECT, Local::new(handler))
    }

    /// Adds a procedure that needs the outside world.
    ///
    /// # Panics
    /// Another procedure has the subject.
    #[must_use]
    pub fn effect<E: Effect>(self, effect: E) -> Service {
        self.add(E::Request::SUBJECT, Outside(effect))
    }

    fn add(mut self, subject: &'static str, procedure: impl Procedure + 'static) -> Service {
        let other = self.procedures.insert(subject, Arc::new(procedure));
        assert!(other.is_none(), "two procedures serve {subject}");
        self
    }

    /// The procedures whose shapes are known, for the process's document.
    pub(crate) fn documented(&self) -> Vec<http::Procedure> {
        let procedure = |subject: &&'static str| {
            let (request, reply) = proto_schemas::procedure(subject)?;
            Some(http::Procedure { subject: (*subject).to_owned(), request, reply })
        };
        self.procedures.keys().filter_map(procedure).collect()
    }

    pub(crate) fn into_core(self) -> Core {
        Core::new(self.procedures)
    }

    /// Starts the owner's thread, the relay and, as soon as the broker is there, the endpoints.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn start(self, ground: Ground) -> io::Result<Running> {
        let Ground { db, nats, health, metrics, clock, times } = ground;
        let metrics = KitMetrics::new(&metrics);
        let store = health.gate("store");
        let procedures = health.gate("procedures");
        let (name, description) = (self.name, self.description);
        let subjects: Vec<_> = self.procedures.keys().copied().collect();
        let (relay_notes, notes) = mpsc::unbounded_channel();
        let broken = Shutdown::new();
        let owner = Owner {
            db: db.clone(),
            core: self.into_core(),
            clock,
            metrics: metrics.clone(),
            relay: relay_notes,
            nats: Some(nats.clone()),
            broken: broken.clone(),
        };
        let inlet = owner.start()?;
        store.open();
        tokio::spawn(resume(nats.clone(), inlet.clone()));
        let taken = health.gate("events");
        let relay = Relay::new(name.into(), db.clone(), nats.clone(), times, metrics, taken);
        let relay = tokio::spawn(relay.run(notes));
        let (close, closing) = oneshot::channel();
        let opening = Opening { name, description, subjects, nats, inlet: inlet.clone() };
        tokio::spawn(opening.run(procedures, closing));
        let watched = broken.clone();
        tokio::spawn(async move {
            watched.asked().await;
            store.close("the store has failed");
        });
        let handle = Handle { db, inlet: inlet.clone() };
        Ok(Running { handle, inlet, broken, relay, close })
    }
}

impl Running {
    /// The way in for routes and tasks.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends when the store has failed: the process then has to end with
    /// [`EXIT_POISONED`](chassis::db::EXIT_POISONED).
    pub async fn broken(&self) {
        self.broken.asked().await;
    }

    /// Takes nothing more from now on.
    pub fn refuse(&self) {
        self.inlet.refuse();
    }

    /// Ends without an answer to whoever waits for one.
    pub async fn end(self) {
        self.relay.abort();
        self.inlet.stop().await;
    }

    /// Takes no more requests, answers those that are here, commits, and lets go of the store.
    /// Outside work that is under way goes on after the next start.
    pub async fn drain(self) {
        let (closed, endpoints_closed) = oneshot::channel();
        if self.close.send(closed).is_ok() {
            let _ended = endpoints_closed.await;
        }
        self.inlet.stop().await;
        // It is over when the thread is, in which it has nothing to say.
        let _ended = self.relay.await;
    }
}

/// Opens the endpoints once the broker is there, and closes them when asked.
struct Opening {
    name: &'static str,
    description: &'static str,
    subjects: Vec<&'static str>,
    nats: Nats,
    inlet: Inlet,
}

impl Opening {
    async fn run(self, gate: Gate, mut closing: oneshot::Receiver<oneshot::Sender<()>>) {
        gate.close("waiting for NATS");
        let (endpoints, closed) = tokio::select! {
            closed = &mut closing => (None, closed),
            endpoints = self.open(&gate) => {
                if endpoints.is_some() {
                    gate.open();
                }
                (endpoints, closing.await)
            }
        };
        gate.close("draining");
        if let Some(endpoints) = endpoints {
            endpoints.drain().await;
        }
        if let Ok(closed) = closed {
            let _unheard = closed.send(());
        }
    }

    /// Nothing when the connection is closed for good.
    async fn open(&self, gate: &Gate) -> Option<Endpoints> {
        loop {
            match self.nats.ready().await {
                Ok(()) => (),
                Err(error @ NatsError::Closed) => {
                    gate.close(error.to_string());
                    return None;
                }
                // A broker that is too old may be replaced by one that is not.
                Err(error) => {
                    gate.close(error.to_string());
                    tokio::time::sleep(OPEN_PAUSE).await;
                    continue;
                }
            }
            let subjects = self.subjects.iter().copied();
            let opening =
                Endpoints::open(self.name, self.description, subjects, &self.nats, &self.inlet);
            match opening.await {
                Ok(endpoints) => return Some(endpoints),
                Err(error) => tracing::warn!(%error, "the endpoints did not open"),
            }
            tokio::time::sleep(OPEN_PAUSE).await;
        }
    }
}

/// What was under way outside goes on when it is known that this is the right store.
async fn resume(nats: Nats, inlet: Inlet) {
    if nats.is_there().await {
        inlet.send(Input::Resume).await;
    }
}
