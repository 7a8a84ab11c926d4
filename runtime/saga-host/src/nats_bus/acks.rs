//! Events until they are acknowledged. The broker is told of those that take long that somebody is
//! at them: otherwise it would give all of them again. Those that are durable are receipted to
//! whoever asked for it.

use super::{owner::Voice, tide::Flow};
use async_nats::jetstream::{AckKind, message::Acker};
use chassis::{crash, http::Gate, nats::Nats};
use futures::{StreamExt as _, stream::FuturesUnordered};
use prometheus_client::metrics::counter::Counter;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

/// Acknowledgements that wait for the broker's word at once: as many as it lets be open.
const ACKS_MAX: usize = 512;
/// Ids of one receipt: far below the largest message.
const RECEIPT_IDS_MAX: usize = 256;

/// Well within the time after which the broker gives an event again.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// One slice of them after the other, so that requests that leave meanwhile do not stand behind a
/// word for each of thousands.
const SLICES: u32 = 50;
/// An event that the engine got and that is not durable by then is lost: it may come again.
const UNDER_WAY_MAX: Duration = Duration::from_secs(120);

/// An acknowledgement that was not confirmed says nothing any more after this time: what is not
/// acknowledged has come again by then.
const DOUBT_MAX: Duration = Duration::from_secs(15);

/// What happens to events.
pub(super) enum Told {
    /// One was delivered.
    Came(Box<Delivery>),
    /// The engine got one.
    Given {
        /// The number of its delivery.
        number: u64,
    },
    /// One is dealt with.
    Over {
        /// The number of its delivery.
        number: u64,
        end: End,
    },
}

/// How an event was dealt with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It is durable.
    Durable,
    /// It is durable that nobody can use it: the broker need not give it again.
    Dead,
    /// It was not looked at: the broker gives it again at once, or the next session does.
    NotTaken,
}

/// An event that the broker delivered.
pub(super) struct Delivery {
    /// Counts the deliveries of this process.
    pub(super) number: u64,
    pub(super) came: Instant,
    /// When the engine got it; until then it waits in its line, for as long as that is.
    pub(super) given: Option<Instant>,
    pub(super) acker: Acker,
    pub(super) receipt: Option<Receipt>,
    /// Its sequence in the stream.
    pub(super) sequence: u64,
    pub(super) session: Session,
}

/// One connection's pull. After it the stream and its consumer may be others, of the same numbers,
/// and belong to another process: what is known of its deliveries is said in it or not at all, as
/// it would arrive late, too. What is not acknowledged comes again.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) connection: u64,
    /// Cancelled when it ends.
    pub(super) over: CancellationToken,
}

impl Session {
    fn goes_on(&self, nats: &Nats) -> bool {
        !self.over.is_cancelled() && nats.is_on(self.connection)
    }
}

/// Who wants to know that it is durable.
pub(super) struct Receipt {
    pub(super) subject: String,
    pub(super) id: String,
}

/// Acknowledges and receipts until the engine and the intake are gone.
pub(super) struct Acks {
    pub(super) nats: Nats,
    /// Says in receipts which store this is.
    pub(super) voice: Voice,
    pub(super) flow: UnboundedSender<Flow>,
    pub(super) failures: Counter,
    /// Closed while the broker does not confirm what it is told.
    pub(super) confirmed: Gate,
}

impl Acks {
    pub(super) async fn run(self, mut told: UnboundedReceiver<Told>) {
        let mut under_way = UnderWay::new();
        let mut failed: Option<Instant> = None;
        self.confirmed.open();
        let mut acks = FuturesUnordered::new();
        let mut looks = tokio::time::interval(PROGRESS_EVERY / SLICES);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_open = true;
        while is_open || !acks.is_empty() {
            let has_room = is_open && acks.len() < ACKS_MAX;
            tokio::select! {
                first = told.recv(), if has_room => match first {
                    None => is_open = false,
                    Some(first) => {
                        // One commit settles many: they are receipted together.
                        let mut receipts = Receipts::default();
                        let rest = std::iter::from_fn(|| told.try_recv().ok());
                        for it in std::iter::once(first).chain(rest.take(RECEIPT_IDS_MAX - 1)) {
                            let over = hear(it, &mut under_way);
                            let Some((delivery, end)) = over else { continue };
                            let Delivery { acker, receipt, sequence, session, .. } = *delivery;
                            if !session.goes_on(&self.nats) {
                                continue;
                            }
                            if end != End::NotTaken {
                                // The clock that reads it may have ended.
                                let _gone = self.flow.send(Flow::Durable { sequence });
                                receipts.add(receipt);
                            }
                            acks.push(acknowledge(self.nats.clone(), session, acker, end));
                        }
                        if !receipts.0.is_empty() {
                            crash::point("acks.before-receipt");
                            self.send(receipts).await;
                        }
                        if !acks.is_empty() {
                            crash::point("acks.before-ack");
                        }
                    }
                },
                _ = looks.tick(), if failed.is_some() || !under_way.is_empty() => {
                    if failed.is_some_and(|it| DOUBT_MAX < it.elapsed()) {
                        failed = None;
                        self.confirmed.open();
                    }
                    self.say_progress(&mut under_way).await;
                }
                Some(done) = acks.next(), if !acks.is_empty() => match done {
                    Ok(false) => (),
                    Ok(true) => {
                        failed = None;
                        self.confirmed.open();
                    }
                    Err(error) => {
                        failed = Some(Instant::now());
                        self.failures.inc();
                        self.confirmed.close(format!("the broker confirms no event: {error}"));
                        tracing::debug!(error, "an event is not acknowledged; it comes again");
                    }
                }
            }
        }
    }

    /// Tells the broker that somebody is at the events that take long.
    async fn say_progress(&self, under_way: &mut UnderWay<Box<Delivery>>) {
        let is_lost = |it: &Delivery| it.given.is_some_and(|it| UNDER_WAY_MAX <= it.elapsed());
        let slice = under_way.next_slice(|it| !is_lost(it));
        let is_told =
            |it: &Delivery| PROGRESS_EVERY <= it.came.elapsed() && it.session.goes_on(&self.nats);
        for it in slice.filter(|it| is_told(it)) {
            if it.acker.ack_with(AckKind::Progress).await.is_err() {
                return;
            }
        }
    }

    async fn send(&self, receipts: Receipts) {
        for (subject, ids) in receipts.0 {
            if !self.nats.is_up() {
                return;
            }
            let body = self.voice.receipt(&ids);
            if let Err(error) = self.nats.client().publish(subject, body.into()).await {
                tracing::debug!(%error, "a receipt did not leave; its event comes again");
            }
        }
    }
}

/// What is under way, by the number of its delivery, in slices that are looked at in turn. A look
/// costs what its slice holds, however much the others do.
struct UnderWay<T> {
    slices: Vec<BTreeMap<u64, T>>,
    /// The one that is looked at next.
    next: usize,
}

impl<T> UnderWay<T> {
    fn new() -> UnderWay<T> {
        UnderWay { slices: (0..SLICES).map(|_| BTreeMap::new()).collect(), next: 0 }
    }

    fn slice(&mut self, number: u64) -> &mut BTreeMap<u64, T> {
        let slice = usize::try_from(number % u64::from(SLICES)).unwrap_or_default();
        &mut self.slices[slice]
    }

    fn is_empty(&self) -> bool {
        self.slices.iter().all(BTreeMap::is_empty)
    }

    /// Of the slice whose turn it is what stays there; the rest is forgotten.
    fn next_slice(&mut self, mut stays: impl FnMut(&T) -> bool) -> impl Iterator<Item = &T> {
        let turn = self.next;
        self.next = (turn + 1) % self.slices.len();
        let slice = &mut self.slices[turn];
        slice.retain(|_, it| stays(it));
        slice.values()
    }
}

/// Gives the event that is dealt with, if it is one that is under way.
fn hear(told: Told, under_way: &mut UnderWay<Box<Delivery>>) -> Option<(Box<Delivery>, End)> {
    match told {
        Told::Came(delivery) => {
            under_way.slice(delivery.number).insert(delivery.number, delivery);
            None
        }
        Told::Given { number } => {
            let now = Some(Instant::now());
            under_way.slice(number).entry(number).and_modify(|it| it.given = now);
            None
        }
        Told::Over { number, end } => Some((under_way.slice(number).remove(&number)?, end)),
    }
}

#[derive(Default)]
struct Receipts(BTreeMap<String, Vec<String>>);

impl Receipts {
    fn add(&mut self, receipt: Option<Receipt>) {
        if let Some(Receipt { subject, id }) = receipt {
            self.0.entry(subject).or_default().push(id);
        }
    }
}

/// Waits for the broker's word, so that an acknowledgement that got lost is known.
/// Says whether the broker was told. It may have waited behind others: what came on a connection
/// that is no more comes again.
async fn acknowledge(nats: Nats, session: Session, acker: Acker, end: End) -> Result<bool, String> {
    if !session.goes_on(&nats) {
        return Ok(false);
    }
    let kind = match end {
        End::Durable => AckKind::Ack,
        End::Dead => AckKind::Term,
        End::NotTaken => {
            let given_back = acker.ack_with(AckKind::Nak(None)).await;
            // It has left; the broker says nothing to that.
            return given_back.map(|()| false).map_err(|error| error.to_string());
        }
    };
    acker.double_ack_with(kind).await.map(|()| true).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delivery_is_looked_at_once_in_a_round_and_few_of_many_at_once() {
        const MANY: u32 = 20_000;
        let mut under_way = UnderWay::new();
        (0..u64::from(MANY)).for_each(|it| {
            under_way.slice(it).insert(it, it);
        });
        let mut seen = Vec::new();
        for _ in 0..SLICES {
            let slice: Vec<u64> = under_way.next_slice(|_| true).copied().collect();
            assert_eq!(Some(slice.len()), usize::try_from(MANY / SLICES).ok());
            seen.extend(slice);
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..u64::from(MANY)));
    }

    #[test]
    fn what_is_lost_is_forgotten_when_its_slice_has_its_turn() {
        let mut under_way = UnderWay::new();
        (0..u64::from(SLICES) * 2).for_each(|it| {
            under_way.slice(it).insert(it, it);
        });
        assert_eq!(under_way.next_slice(|it| *it != 0).count(), 1);
        for _ in 1..SLICES {
            assert_eq!(under_way.next_slice(|_| false).count(), 0);
        }
        assert!(!under_way.is_empty(), "one is left");
        assert_eq!(under_way.next_slice(|_| false).count(), 0);
        assert!(under_way.is_empty());
    }
}
