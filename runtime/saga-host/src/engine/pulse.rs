//! Whether the engine's thread lives, as `/readyz` tells it.

use super::Handle;
use chassis::{http::Gate, shutdown::Shutdown};
use std::time::Duration;
use tokio::time::Instant;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longer than any batch takes, and shorter than a process that is blocked lives on.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// Opens the gate while the engine does anything, and closes it when it has done nothing for a
/// while, though it was asked to.
pub(crate) async fn watch_pulse(engine: Handle, gate: Gate, shutdown: Shutdown) {
    let (mut beats, mut since) = (engine.beats(), Instant::now());
    gate.open();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.asked() => return,
            _ = looks.tick() => (),
        }
        let now = engine.beats();
        if now != beats {
            (beats, since) = (now, Instant::now());
            gate.open();
        } else if SILENCE_MAX <= since.elapsed() {
            let silent_s = since.elapsed().as_secs();
            gate.close(format!("the engine has not answered for {silent_s} s"));
        }
    }
}
