//! Everything between the core and NATS: events in, requests and events out, decisions.
//!
//! | part | what it does |
//! |---|---|
//! | `owner` | claims the stream for our store, before anything is taken or sent |
//! | `stream` | makes the stream and the consumer, and compares them with what was asked for |
//! | `intake`, `window`, `event` | pulls messages and reads them as events, for the core |
//! | `illegible` | makes dead letters of messages that the client cannot take |
//! | `acks` | acknowledges and receipts what is durable |
//! | `tide`, `timers` | how far intake has come; fires timers when it has passed them |
//! | `courier`, `schedule`, `reply` | requests until they are answered, and the answers |
//! | `publisher`, `backlog` | the core's own events, until the broker has them |
//! | `told`, `failure` | what can be told of both, and what the log tells of them |
//! | `decide` | decisions that services forward |
//!
//! Each part is a task that owns its state. Channels that the engine fills have no bounds (see
//! [`engine`](crate::engine)); into the engine everything waits its turn.

mod acks;
mod backlog;
mod courier;
mod decide;
mod event;
mod failure;
mod illegible;
mod intake;
mod owner;
mod publisher;
mod reply;
mod schedule;
mod stream;
mod tide;
mod timers;
mod told;
mod waiting;
mod window;

pub(crate) use decide::procedure;
pub(crate) use event::{KEY, Kept};
pub(crate) use told::{Attempts, UnderWay};

use crate::{
    config::StreamConfig,
    engine::{Handle, Owed, OwedEvent},
    telemetry::Telemetry,
};
use acks::Acks;
use chassis::{
    claim::{ClaimError, Keeper},
    clock::Clock,
    db::Db,
    http::{Health, Metrics, Tokens},
    nats::{Nats, NatsError},
};
use courier::{Courier, Replies};
use decide::Decisions;
use futures::FutureExt as _;
use intake::Intake;
use owner::Begun;
use publisher::Publisher;
use rand::Rng as _;
use saga_core::id::Time;
use std::{collections::BTreeSet, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};
use tide::Tide;
use timers::Timers;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// For the acknowledgements that are under way when the process goes down.
const ACKS_DRAIN: Duration = Duration::from_secs(3);
/// For the connection to take what is buffered.
const CLOSE: Duration = Duration::from_secs(2);

/// Why the bus does not work.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The connection or the stream.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// The store is not the one to which the stream belongs.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The consumer cannot be made.
    #[error("cannot set up the consumer of events: {0}")]
    Consumer(String),
    /// The server applied other settings than those asked for.
    #[error("the consumer of events has other settings than asked for: {0}")]
    ConsumerDiffers(String),
    /// A subject cannot be listened to.
    #[error("cannot subscribe: {0}")]
    Subscribe(String),
    /// Events cannot be pulled now.
    #[error("cannot pull events: {0}")]
    Pull(String),
    /// The engine takes nothing.
    #[error("{0}")]
    Engine(String),
    /// A defect of ours: without this part nothing can be promised.
    #[error("the part `{0}` of the bus panicked; the log names the place")]
    Panicked(&'static str),
}

impl BusError {
    /// Whether trying again cannot mend it: the server is old, or set up otherwise.
    fn is_final(&self) -> bool {
        matches!(
            self,
            BusError::ConsumerDiffers(_)
                | BusError::Nats(
                    NatsError::Version { .. }
                        | NatsError::StreamDiffers { .. }
                        | NatsError::Prefix { .. }
                )
        )
    }
}

/// What the bus is made of.
pub(crate) struct Parts {
    pub(crate) nats: Nats,
    pub(crate) clock: Clock,
    pub(crate) db: Db,
    pub(crate) engine: Handle,
    pub(crate) stream: StreamConfig,
    pub(crate) tokens: Tokens,
    pub(crate) owed: mpsc::UnboundedReceiver<Owed>,
    pub(crate) publications: mpsc::UnboundedReceiver<OwedEvent>,
    pub(crate) telemetry: Telemetry,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
}

/// A running bus.
pub(crate) struct Bus {
    nats: Nats,
    /// Told first: no more events, no more decisions.
    stop_intake: CancellationToken,
    /// Told when the engine has ended.
    stop: CancellationToken,
    /// The parts that end on either.
    tasks: Vec<JoinHandle<()>>,
    acks: JoinHandle<()>,
    keeper: Keeper,
    /// Tells of requests and events that are under way.
    pub(crate) under_way: UnderWay,
    /// Gives the error that ends the process.
    pub(crate) failed: mpsc::UnboundedReceiver<BusError>,
}

impl Bus {
    /// Starts all parts. Returns before there is a connection: the parts wait for it.
    ///
    /// # Errors
    /// The connection is closed already.
    pub(crate) async fn start(parts: Parts) -> Result<Bus, BusError> {
        let Parts { nats, db, engine, owed, publications, telemetry, health, metrics, .. } = parts;
        let (stop_intake, stop) = (CancellationToken::new(), CancellationToken::new());
        let (flow, flowing) = mpsc::unbounded_channel();
        let (told, telling) = mpsc::unbounded_channel();
        let (heard, hearing) = mpsc::unbounded_channel();
        let (under_way, of_requests, of_events) = UnderWay::new();
        let (fail, failed) = mpsc::unbounded_channel();
        // For all parts the broker is away until our store has its claim.
        let begun = owner::begin(nats, db, parts.stream.replicas, health.gate("broker"));
        let Begun { nats, voice, herald, keeper, lost } = begun;
        // Before the first request leaves, so that no answer comes to nobody.
        let subscriber = Replies::subscribe(&nats).await?;
        let acks = Acks {
            nats: nats.clone(),
            voice,
            flow: flow.clone(),
            failures: metrics.counter("ack_failures", "Events whose acknowledgement got lost"),
            confirmed: health.gate("acknowledgements"),
        };
        let intake = Intake {
            nats: nats.clone(),
            config: parts.stream,
            engine: engine.clone(),
            flow,
            acks: told,
            came: 0,
            taken: BTreeSet::new(),
        };
        let tokens = Arc::new(parts.tokens);
        let decisions = Decisions { nats: nats.clone(), engine: engine.clone(), tokens };
        let timers = Timers {
            nats: nats.clone(),
            engine: engine.clone(),
            caught_up: health.gate("intake"),
            free: health.gate("timers"),
            held: telemetry.timers_held.clone(),
            tide: Tide::default(),
            counted: None,
            asked: None,
            clock: parts.clock,
            seen: Time::default(),
            fell: false,
        };
        let (told, answered) = (telemetry.clone(), reply::Answers::default());
        let replies = Replies { engine: engine.clone(), heard, telemetry: told, answered };
        let sender = Courier::new(nats.clone(), owed, hearing, of_requests, telemetry.clone());
        let taken = health.gate("events");
        let publisher = Publisher::new(nats.clone(), engine, telemetry, of_events, taken);
        let spawn = |part, task: Task| tokio::spawn(watched(part, task, fail.clone()));
        let tasks = vec![
            spawn("herald", Box::pin(herald.run(stop.clone()))),
            spawn("claim", Box::pin(claimed(lost, stop.clone()))),
            spawn("intake", Box::pin(intake.run(stop_intake.clone()))),
            spawn("decisions", Box::pin(decisions.run(stop_intake.clone()))),
            spawn("timers", endless(timers.run(flowing, stop_intake.clone()))),
            spawn("replies", endless(replies.run(subscriber, stop.clone()))),
            spawn("courier", endless(sender.run(stop.clone()))),
            spawn("publisher", endless(publisher.run(publications, stop.clone()))),
        ];
        let acks = spawn("acks", endless(acks.run(telling)));
        Ok(Bus { nats, tasks, acks, keeper, stop_intake, stop, under_way, failed })
    }

    /// Takes no more events and decisions; what is under way goes on.
    pub(crate) fn stop_intake(&self) {
        self.stop_intake.cancel();
    }

    /// Acknowledges what the engine has finished, and leaves. The engine must have ended.
    pub(crate) async fn close(self) {
        self.stop_intake.cancel();
        if tokio::time::timeout(ACKS_DRAIN, self.acks).await.is_err() {
            tracing::warn!("left events unacknowledged; they come again and are duplicates");
        }
        self.stop.cancel();
        for task in self.tasks {
            // A part that panicked has said so.
            let _panicked = tokio::time::timeout(ACKS_DRAIN, task).await;
        }
        self.keeper.end().await;
        self.nats.close(CLOSE).await;
    }
}

type Task = Pin<Box<dyn Future<Output = Result<(), BusError>> + Send>>;

fn endless(task: impl Future<Output = ()> + Send + 'static) -> Task {
    Box::pin(async move {
        task.await;
        Ok(())
    })
}

/// Ends when there is a connection; never for one that is closed or of no use.
async fn up(nats: &Nats) {
    if nats.ready().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn random(max: u64) -> u64 {
    rand::rng().random_range(0..=max)
}

/// Fails when our store may be used no more.
async fn claimed(
    lost: oneshot::Receiver<ClaimError>,
    stop: CancellationToken,
) -> Result<(), BusError> {
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        Ok(error) = lost => Err(error.into()),
    }
}

/// A part that fails, or panics, ends the process: it would be missed in silence.
async fn watched(part: &'static str, task: Task, fail: mpsc::UnboundedSender<BusError>) {
    let ended = AssertUnwindSafe(task).catch_unwind().await;
    if let Err(error) = ended.unwrap_or(Err(BusError::Panicked(part))) {
        // The server may be going down already.
        let _gone = fail.send(error);
    }
}
