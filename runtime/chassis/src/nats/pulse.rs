//! Whether this process runs, or has just stood still: it was stopped, or its machine slept.
//!
//! Others take one that does not answer for dead and replace it, while its connection looks well
//! and what was sent to it lies in its socket. So a task beats, and who finds that no beat came
//! for so long waits until the connection has a new number, as if it had been lost.

use super::link::Links;
use crate::{clock::since_boot, http::Metrics};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval};

/// One that is asked and does not answer within this time is taken for dead.
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(1);
pub(super) const BEAT_EVERY: Duration = Duration::from_millis(250);

/// When the process was last seen running. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Beats as long as somebody looks at the connection.
    pub(super) fn start(links: Links, metrics: &Metrics) -> Pulse {
        let help = "Times this process stood still for so long that it could have been replaced";
        let stood_still = metrics.counter("stood_still", help);
        let pulse = Pulse(Arc::new(AtomicU64::new(since_boot())));
        let beating = pulse.clone();
        tokio::spawn(async move {
            let mut beats = interval(BEAT_EVERY);
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = links.unseen() => return,
                    _ = beats.tick() => if !beating.beat(&links) {
                        stood_still.inc();
                    },
                }
            }
        });
        pulse
    }

    /// Whether it could have answered until now.
    pub(super) fn is_steady(&self) -> bool {
        is_steady(self.0.load(Ordering::Acquire), since_boot())
    }

    /// Says whether it had been steady. The new number is there before the beat: who sees this one
    /// sees that.
    fn beat(&self, links: &Links) -> bool {
        let (last, now) = (self.0.load(Ordering::Acquire), since_boot());
        let was_steady = is_steady(last, now);
        if !was_steady {
            let stood_ms = now.saturating_sub(last);
            tracing::warn!(stood_ms, "this process stood still: another may have its place");
            links.renumber();
        }
        self.0.store(now, Ordering::Release);
        was_steady
    }
}

fn is_steady(last: u64, now: u64) -> bool {
    u128::from(now.saturating_sub(last)) < DEAD_AFTER.as_millis()
}
