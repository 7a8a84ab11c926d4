//! The clock: tells the core how far time and intake have come, when a timer is due.

use super::{
    stream::CONSUMER,
    tide::{Flow, Standing, Tide},
};
use crate::{
    clock,
    engine::{Busy, Handle, Ticked},
};
use async_nats::jetstream::consumer::PullConsumer;
use chassis::{
    clock::Clock,
    http::Gate,
    nats::{Nats, TRIGGERS},
};
use prometheus_client::metrics::gauge::Gauge;
use saga_core::id::Time;
use std::time::Duration;
use tokio::{
    sync::{mpsc::UnboundedReceiver, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// The wall clock may be set: it is looked at again at least this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two questions to the consumer while intake is behind.
const ASK_PAUSE: Duration = Duration::from_millis(50);
/// Between two counts of the timers that are held.
const COUNT_PAUSE: Duration = Duration::from_secs(1);
/// A timer that is overdue by less waits for a commit or a question that is under way.
const OVERDUE_NOTABLE_MS: u64 = 1_000;
/// A clock that is kept right by small steps is no news.
const CLOCK_STEP_NOTABLE_MS: u64 = 1_000;
/// What is asked of the broker takes well under a millisecond, or is asked again.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Owns the tide, and ticks.
pub(super) struct Timers {
    pub(super) nats: Nats,
    pub(super) engine: Handle,
    /// Open once intake has caught up with what the stream held when it began.
    pub(super) caught_up: Gate,
    /// Closed while timers are due but held.
    pub(super) free: Gate,
    pub(super) held: Gauge,
    pub(super) tide: Tide,
    /// When held timers were last counted.
    pub(super) counted: Option<Instant>,
    /// When the consumer was last asked.
    pub(super) asked: Option<Instant>,
    /// The time that is believed.
    pub(super) clock: Clock,
    /// The time at the last look.
    pub(super) seen: Time,
    /// The time was set back: what a start took for too old may not be.
    pub(super) fell: bool,
}

impl Timers {
    pub(super) async fn run(mut self, mut flow: UnboundedReceiver<Flow>, stop: CancellationToken) {
        let mut next_due = self.engine.next_due();
        self.free.open();
        self.caught_up.close("behind the stream of events");
        loop {
            let due = *next_due.borrow_and_update();
            let pause = match due.map(|due| clock::between(self.now(), due)) {
                // While it has not caught up the consumer is asked, timers or not.
                _ if !self.tide.is_caught_up() => ASK_PAUSE,
                Some(left) if left.is_zero() => ASK_PAUSE,
                Some(left) => left.min(LOOK_EVERY),
                None => LOOK_EVERY,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = next_due.changed() => if changed.is_err() { return },
                Some(it) = flow.recv() => {
                    self.tide.flow(it);
                    while let Ok(more) = flow.try_recv() {
                        self.tide.flow(more);
                    }
                }
                () = tokio::time::sleep(pause) => (),
            }
            if self.step(&mut next_due).await.is_err() {
                return;
            }
        }
    }

    async fn step(&mut self, next_due: &mut watch::Receiver<Option<Time>>) -> Result<(), Busy> {
        self.look_at_clock();
        let now = self.now();
        let due = next_due.borrow().filter(|due| *due <= now);
        let is_behind = |tide: &Tide| due.is_some_and(|due| tide.watermark() < Some(due));
        if !self.tide.is_caught_up() || is_behind(&self.tide) {
            self.ask().await;
        }
        if self.tide.is_caught_up() {
            self.caught_up.open();
        } else {
            self.caught_up.close("behind the stream of events");
        }
        if self.clock.is_suspect() {
            // By a clock that nobody believes nothing is due.
            return self.count(Time::default()).await;
        }
        match (due, self.tide.watermark()) {
            (due, Some(watermark)) if self.fell || due.is_some_and(|due| due <= watermark) => {
                self.fell = false;
                let Ticked { next_due, held } = self.engine.tick(watermark).await?;
                self.hold(if next_due.is_some_and(|it| is_notable(now, it)) { held } else { 0 });
            }
            (None, _) => self.hold(0),
            (Some(due), _) if !is_notable(now, due) => (),
            (Some(_), watermark) => self.count(watermark.unwrap_or_default()).await?,
        }
        Ok(())
    }

    fn now(&self) -> Time {
        clock::believed(&self.clock)
    }

    /// A clock that was ahead, and is set right, must not let deadlines fire before the events that
    /// are published ahead of them.
    fn look_at_clock(&mut self) {
        let now = self.now();
        let back_ms = self.seen.0.saturating_sub(now.0);
        self.seen = now;
        if back_ms > 0 {
            self.tide.fall(now);
            self.fell = true;
        }
        if back_ms >= CLOCK_STEP_NOTABLE_MS {
            tracing::warn!(back_ms, "the clock was set back: deadlines fire by what it says now");
        }
    }

    async fn ask(&mut self) {
        if !self.nats.is_up() || self.asked.is_some_and(|it| it.elapsed() < ASK_PAUSE) {
            return;
        }
        self.asked = Some(Instant::now());
        if let Some(standing) = self.standing().await {
            self.tide.standing(standing);
        }
    }

    /// One question settles an idle stream: it is a work queue, so an empty one has nothing that
    /// is not acknowledged. The consumer, which hears of new messages a little later than their
    /// publishers, is asked only where there are some.
    async fn standing(&self) -> Option<Standing> {
        let mut jetstream = self.nats.jetstream();
        jetstream.set_timeout(ASK_TIMEOUT);
        let asked_at = self.now();
        let stream = jetstream.get_stream(TRIGGERS).await.ok()?;
        if stream.cached_info().state.messages == 0 {
            return Some(Standing { asked_at, is_empty: true, floor: u64::MAX });
        }
        let consumer: PullConsumer =
            jetstream.get_consumer_from_stream(CONSUMER, TRIGGERS).await.ok()?;
        let floor = consumer.cached_info().ack_floor.consumer_sequence;
        Some(Standing { asked_at, is_empty: false, floor })
    }

    async fn count(&mut self, watermark: Time) -> Result<(), Busy> {
        if self.counted.is_some_and(|it| it.elapsed() < COUNT_PAUSE) {
            return Ok(());
        }
        self.counted = Some(Instant::now());
        let now = self.now();
        let held = self.engine.read(move |core| core.timers_held(now, watermark)).await;
        match held {
            Ok(held) => self.hold(held),
            Err(Busy::Full | Busy::Silent) => (),
            Err(Busy::Stopped) => return Err(Busy::Stopped),
        }
        Ok(())
    }

    fn hold(&mut self, held: usize) {
        self.held.set(i64::try_from(held).unwrap_or(i64::MAX));
        match held {
            0 => self.free.open(),
            _ => {
                let why =
                    if self.clock.is_suspect() { "the clock is suspect" } else { "intake behind" };
                self.free.close(format!("held: {why} ({held} timers are due)"));
            }
        }
    }
}

fn is_notable(now: Time, due: Time) -> bool {
    OVERDUE_NOTABLE_MS <= now.0.saturating_sub(due.0)
}
