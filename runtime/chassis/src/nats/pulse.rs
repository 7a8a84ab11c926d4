//! Whether this process is in touch with the broker in this moment, or may have been replaced.
//!
//! Others take one that does not answer for dead and replace it, while its connection looks well
//! and what was sent to it lies in a socket: it was stopped, its machine slept, or its network
//! stood still. So it sends itself an echo four times a second. What came back is a lease from
//! when it was sent: whoever asked for this process later than that waits longer than the lease
//! runs. When it has run out, the connection has a new number, as if it had been lost, and this
//! process is not ready until an echo is back.

use super::{
    echo::Echo,
    link::{Link, Links},
};
use crate::{
    clock::since_boot,
    http::{Gate, Metrics},
};
use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use prometheus_client::metrics::counter::Counter;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

/// One that is asked is taken for dead when it has not answered within this time, beyond what an
/// answer takes on its way.
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(2);
const BEAT_EVERY: Duration = Duration::from_millis(250);

/// An echo that is back.
#[derive(Clone, Copy, Debug, Default)]
struct Beat {
    /// The number of its connection; 0 before the first one.
    connection: u64,
    /// In ms since the boot of the machine: that counts on while it sleeps.
    sent: u64,
}

impl Beat {
    fn holds(self) -> bool {
        u128::from(since_boot().saturating_sub(self.sent)) < DEAD_AFTER.as_millis()
    }
}

/// Knows the last beat. It beats until the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    last: watch::Receiver<Beat>,
    _beating: Arc<JoinSet<()>>,
}

impl Pulse {
    pub(super) fn start(
        echo: Echo,
        links: Links,
        link: watch::Receiver<Link>,
        gate: Gate,
        metrics: &Metrics,
    ) -> Pulse {
        gate.close("no echo is back yet");
        let help = "Times this process was out of touch for so long that it may have been replaced";
        let lapses = metrics.counter("nats_lapses", help);
        let (beats, last) = watch::channel(Beat::default());
        let mut beating = JoinSet::new();
        beating.spawn(Heart { echo, links, link, beats, gate, lapses }.run());
        Pulse { last, _beating: Arc::new(beating) }
    }

    /// Whether it is in touch on the connection of this number.
    pub(super) fn is_steady(&self, connection: u64) -> bool {
        let last = *self.last.borrow();
        last.connection == connection && last.holds()
    }

    /// Waits until it is.
    pub(super) async fn steady(&self, connection: u64) {
        let mut last = self.last.clone();
        // It beats as long as there is a connection.
        let _ended = last.wait_for(|it| it.connection == connection && it.holds()).await;
    }
}

struct Heart {
    echo: Echo,
    links: Links,
    link: watch::Receiver<Link>,
    beats: watch::Sender<Beat>,
    gate: Gate,
    lapses: Counter,
}

impl Heart {
    async fn run(mut self) {
        let mut echoes = FuturesUnordered::new();
        let mut ticks = interval(BEAT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(Ok(beat)) = echoes.next(), if !echoes.is_empty() => self.beat(beat),
                changed = self.link.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.look_anew();
                    ticks.reset_immediately();
                }
                _ = ticks.tick() => {
                    let Link::Up(connection) = *self.link.borrow() else { continue };
                    if self.has_lapsed(connection) {
                        self.lapse();
                        continue;
                    }
                    let (echo, beat) = (self.echo.clone(), Beat { connection, sent: since_boot() });
                    let back = async move { timeout(DEAD_AFTER, echo.is_back()).await };
                    echoes.push(back.map(move |back| back.map(|()| beat)));
                }
            }
        }
    }

    /// Nothing is known of a new connection.
    fn look_anew(&self) {
        if *self.link.borrow() != Link::Up(self.beats.borrow().connection) {
            self.gate.close("no echo is back yet");
        }
    }

    fn has_lapsed(&self, connection: u64) -> bool {
        let last = *self.beats.borrow();
        last.connection == connection && !last.holds()
    }

    /// One that comes when the lease has run out is too late: whoever asked meanwhile may have
    /// waited for as long. On a new connection there is no lease that could have run out.
    fn beat(&self, beat: Beat) {
        if !self.links.is(&Link::Up(beat.connection)) {
            return;
        }
        if self.has_lapsed(beat.connection) {
            return self.lapse();
        }
        let last = *self.beats.borrow();
        self.beats.send_replace(Beat { sent: beat.sent.max(last.sent), ..beat });
        if last.connection != beat.connection {
            self.gate.open();
        }
    }

    /// The connection has its new number before the next beat: who sees this one sees that.
    fn lapse(&self) {
        let out_of_touch_ms = since_boot().saturating_sub(self.beats.borrow().sent);
        tracing::warn!(
            out_of_touch_ms,
            "this process is out of touch with NATS: another may take its place"
        );
        self.lapses.inc();
        self.links.renumber();
    }
}
