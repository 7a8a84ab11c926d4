//! Events in: pulled as far as the window is wide, given to the engine one by one when it has room,
//! each group of definitions in its turn, and of each in the order of the stream. The first few of
//! a group do not wait for room: the group has places of its own.

use super::{
    BusError,
    acks::{Delivery, End, Receipt, Session, Told},
    event::Message,
    illegible,
    stream::{self, Ready},
    tide::Flow,
    window::Window,
};
use crate::{
    clock,
    config::StreamConfig,
    engine::{Busy, Handle, Room},
    groups::Group,
};
use async_nats::jetstream::{
    self, AckKind,
    consumer::{Info, PullConsumer, pull::MessagesErrorKind},
};
use chassis::nats::Nats;
use futures::{FutureExt as _, StreamExt as _};
use saga_core::{
    effect::{Outcome, Verdict},
    input::Input,
};
use std::{
    collections::BTreeSet,
    pin::pin,
    time::{Duration, Instant},
};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

/// Messages that one pull asks for. While others publish much, the broker takes long to look at a
/// pull; if it were of few, events would stand behind all that is published meanwhile. While the
/// window has no room the client holds as many and half as many again; what stays there for longer
/// than the broker waits for it is delivered once more.
const PULL_MESSAGES: usize = 1_024;
/// Bytes that one pull asks for at least: of large messages the client holds no more than twice it.
/// What is asked for comes at once, and the echo by which a process knows that it is in touch
/// stands behind it: a slow way must carry it well within the two seconds that this may take.
const PULL_BYTES_MIN: usize = 1 << 20;
/// So many of the largest messages fit into a pull, since one that does not is never delivered.
const PULL_LARGEST_MIN: usize = 2;
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// Silence of twice this length is a warning; the consumer is then asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A consumer that somebody has removed says nothing by itself.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After a failure: a server that has just come back needs a moment.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(250);
/// After many: soon enough for an operator who waits for it.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Deliveries of one message after which an operator should know.
const DELIVERIES_NOTABLE: i64 = 5;
/// Why a session ends.
pub(super) const BROKEN: &str = "the connection was lost";
const RECEIPT: &str = "Fermata-Receipt";
/// Receipts go where services listen for them, and nowhere else.
const RECEIPT_PREFIX: &str = "fermata.receipt.";

/// Pulls events until it is told to stop.
pub(super) struct Intake {
    pub(super) nats: Nats,
    pub(super) config: StreamConfig,
    pub(super) engine: Handle,
    pub(super) flow: UnboundedSender<Flow>,
    pub(super) acks: UnboundedSender<Told>,
    /// Counts the messages that came.
    pub(super) came: u64,
    /// Sequences that came in this session, behind which not all is acknowledged.
    pub(super) taken: BTreeSet<u64>,
}

/// A message that waits for room in the engine, known to whoever tells the broker that somebody is
/// at it.
struct Waiting {
    /// The number of its delivery.
    number: u64,
    input: Input,
}

/// A message that came.
struct Came {
    group: Group,
    bytes: usize,
    waiting: Waiting,
}

impl Intake {
    /// Ends when it is told to, or with an error that trying again does not mend.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), BusError> {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let began = Instant::now();
            match self.session(&stop).await {
                Ok(()) | Err(BusError::Engine(_)) => return Ok(()),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => tracing::warn!(%error, "intake of events broke off; it begins anew"),
            }
            if began.elapsed() > RETRY_PAUSE_MAX {
                pause = RETRY_PAUSE_MIN;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => (),
            }
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// Ends well only when it is told to stop.
    async fn session(&mut self, stop: &CancellationToken) -> Result<(), BusError> {
        let mut window = Window::default();
        let ended = self.take_events(stop, &mut window).await;
        while let Some(Waiting { number, .. }) = window.take() {
            self.tell(Told::Over { number, end: End::NotTaken });
        }
        ended
    }

    async fn take_events(
        &mut self,
        stop: &CancellationToken,
        window: &mut Window<Waiting>,
    ) -> Result<(), BusError> {
        let (connection, ready, mut messages) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            begun = self.begin() => begun?,
        };
        let Ready { delivered, last, .. } = ready;
        self.flows(Flow::Began { delivered, last });
        tracing::info!(last, "taking events");
        let session = Session { connection, over: CancellationToken::new() };
        let over = session.over.clone().drop_guard();
        let nats = self.nats.clone();
        let mut broken = pin!(nats.broken(connection));
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let engine = self.engine.clone();
        let mut room = Box::pin(engine.room());
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                place = &mut room, if !window.is_empty() => {
                    let place = place?;
                    room = Box::pin(engine.room());
                    if let Some(it) = window.take() {
                        self.give(place, it);
                    }
                }
                message = messages.next(), if window.has_room() => match message {
                    // It came on a later connection, and `broken` was not looked at first.
                    Some(Ok(_)) if !self.nats.is_on(connection) => {
                        return Err(BusError::Pull(BROKEN.into()));
                    }
                    Some(Ok(message)) => {
                        if let Some(came) = self.take(&session, message) {
                            self.admit(came, window);
                        }
                    }
                    Some(Err(error)) if error.kind() == MessagesErrorKind::MissingHeartbeat => {
                        tracing::warn!("the consumer of events is silent");
                        looks.reset_immediately();
                    }
                    Some(Err(error)) => return Err(BusError::Pull(error.to_string())),
                    None => return Err(BusError::Pull("the stream of messages ended".into())),
                },
                () = &mut broken => return Err(BusError::Pull(BROKEN.into())),
                _ = looks.tick() => {
                    let info = stream::check(&ready.consumer).await?;
                    if let Some(info) = info {
                        let behind = info.ack_floor.stream_sequence + 1;
                        self.taken = self.taken.split_off(&behind);
                        if info.num_redelivered > 0 {
                            self.set_aside(connection, &info).await?;
                        }
                    }
                }
            }
        }
        give_back(&mut messages).await;
        // What the engine still has is acknowledged when it is durable.
        over.disarm();
        Ok(())
    }

    /// What was taken and not acknowledged, by an earlier process or session, comes again at once,
    /// and before all that is newer. What the engine still has of it is a duplicate then.
    async fn begin(&mut self) -> Result<(u64, Ready, jetstream::consumer::pull::Stream), BusError> {
        let connection = self.nats.connection().await?;
        self.taken.clear();
        let mut ready = stream::ensure(&self.nats, &self.config).await?;
        let info = ready.consumer.cached_info().clone();
        if info.num_ack_pending > 0 {
            self.set_aside(connection, &info).await?;
            // The consumer may be that of another runtime by now.
            if !self.nats.is_on(connection) {
                return Err(BusError::Pull(BROKEN.into()));
            }
            ready = stream::anew(&self.nats, &self.config).await?;
        }
        let largest = self.nats.client().server_info().max_payload;
        let messages = messages(&ready.consumer, largest).await?;
        Ok((connection, ready, messages))
    }

    /// An event that was given to somebody and not taken may be one that nobody can take.
    async fn set_aside(&self, connection: u64, info: &Info) -> Result<(), BusError> {
        let broker = (&self.nats, connection);
        illegible::set_aside(broker, &self.engine, info, &self.taken).await
    }

    /// From here on the broker is told that somebody is at it.
    fn take(&mut self, session: &Session, message: jetstream::Message) -> Option<Came> {
        let (sequence, delivery, published) = match message.info() {
            Ok(info) => {
                if info.delivered > DELIVERIES_NOTABLE {
                    let (subject, deliveries) = (message.subject.as_str(), info.delivered);
                    tracing::warn!(subject, deliveries, "an event comes again and again");
                }
                (info.stream_sequence, info.consumer_sequence, info.published)
            }
            Err(error) => {
                tracing::error!(%error, "a message without its place in the stream");
                return None;
            }
        };
        let at = clock::of_broker(published);
        self.flows(Flow::Came { sequence, delivery, published: at });
        self.taken.insert(sequence);
        self.came += 1;
        let number = self.came;
        let (message, acker) = message.split();
        let (input, id) = Message {
            subject: &message.subject,
            headers: message.headers.as_ref(),
            body: &message.payload,
            sequence,
            published,
        }
        .read();
        let receipt = receipt_subject(&message).map(|subject| Receipt { subject, id });
        let (came, given) = (Instant::now(), None);
        let session = session.clone();
        let delivery = Delivery { number, came, given, acker, receipt, sequence, session };
        self.tell(Told::Came(Box::new(delivery)));
        let group = self.engine.groups().of_event(&message.subject);
        let (bytes, waiting) = (message.payload.len(), Waiting { number, input });
        Some(Came { group, bytes, waiting })
    }

    /// At once to the engine, when nothing of its group waits and the group has a place there; to
    /// the end of its line otherwise.
    fn admit(&self, Came { group, bytes, waiting }: Came, window: &mut Window<Waiting>) {
        let is_first = !window.waits(group);
        match is_first.then(|| self.engine.own_room(group, bytes)).flatten() {
            Some(room) => self.give(room, waiting),
            None => window.add(group, waiting, bytes),
        }
    }

    fn give(&self, room: Room, Waiting { number, input }: Waiting) {
        let acks = self.acks.clone();
        self.tell(Told::Given { number });
        room.event(
            input,
            Box::new(move |verdicts| {
                let is_dead = !verdicts.is_empty() && verdicts.iter().all(is_dead_letter);
                let end = if is_dead { End::Dead } else { End::Durable };
                // Without anybody to acknowledge it the event comes again, and is a duplicate.
                let _gone = acks.send(Told::Over { number, end });
            }),
        );
    }

    fn tell(&self, told: Told) {
        // Without anybody to acknowledge it the event comes again.
        let _gone = self.acks.send(told);
    }

    fn flows(&self, flow: Flow) {
        // The clock that reads it ends first when the process does.
        let _gone = self.flow.send(flow);
    }
}

fn is_dead_letter(verdict: &Verdict) -> bool {
    verdict.outcome == Outcome::DeadLetter
}

fn receipt_subject(message: &async_nats::Message) -> Option<String> {
    let subject = message.headers.as_ref()?.get(RECEIPT)?.as_str();
    let name = subject.strip_prefix(RECEIPT_PREFIX)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (!name.is_empty() && name.bytes().all(is_plain)).then(|| subject.to_owned())
}

async fn messages(
    consumer: &PullConsumer,
    largest: usize,
) -> Result<jetstream::consumer::pull::Stream, BusError> {
    let bytes = PULL_BYTES_MIN.max(largest.saturating_mul(PULL_LARGEST_MIN));
    let stream = consumer.stream().max_messages_per_batch(PULL_MESSAGES);
    let stream = stream.max_bytes_per_batch(bytes).expires(PULL_EXPIRES);
    let messages = stream.heartbeat(HEARTBEAT).messages().await;
    messages.map_err(|error| BusError::Pull(error.to_string()))
}

/// What was delivered and not looked at goes to the next runtime at once, not after the time-out.
async fn give_back(messages: &mut jetstream::consumer::pull::Stream) {
    while let Some(Some(Ok(message))) = messages.next().now_or_never() {
        if message.ack_with(AckKind::Nak(None)).await.is_err() {
            return;
        }
    }
}

impl From<Busy> for BusError {
    fn from(busy: Busy) -> BusError {
        BusError::Engine(busy.to_string())
    }
}
