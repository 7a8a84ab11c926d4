//! A thread that looks whether the engine's thread comes back from author code. Rust cannot stop a
//! thread, so when it does not, the process ends; the next one knows why, see
//! [`turn_file`](crate::turn_file).

use crate::turn_file::Sight;
use std::{
    io,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

/// For how long author code may run in one go, unless the settings say otherwise: a thousand times
/// as long as a turn takes, and soon enough for the sagas that wait behind it.
pub(crate) const TURN_SECONDS_MAX: u64 = 5;
/// Exit status of a process whose engine author code has blocked (`EX_TEMPFAIL`): start it again.
pub(crate) const EXIT_BLOCKED: u8 = 75;
/// Looks count, not the time between them: a process that was stopped, or a machine that slept, has
/// not looked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Ends the watch when it is dropped.
#[derive(Debug)]
pub(crate) struct Watchdog(
    #[expect(dead_code, reason = "only its drop is of interest")] SyncSender<()>,
);

/// Starts the watch.
///
/// # Errors
/// The thread cannot be made.
pub(crate) fn start(sight: Sight, turn_time_max: Duration) -> io::Result<Watchdog> {
    let (watchdog, ended) = sync_channel(0);
    thread::Builder::new().name("watchdog".into()).spawn(move || {
        let mut patience = Patience::of(turn_time_max);
        while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            if patience.is_over(sight.turns()) {
                end_process(&sight, turn_time_max);
            }
        }
    })?;
    Ok(Watchdog(watchdog))
}

/// How often one and the same turn was seen.
struct Patience {
    turns: u64,
    looks: u128,
    looks_max: u128,
}

impl Patience {
    fn of(turn_time_max: Duration) -> Patience {
        let looks_max = turn_time_max.as_millis().div_ceil(LOOK_EVERY.as_millis());
        Patience { turns: 0, looks: 0, looks_max }
    }

    fn is_over(&mut self, turns: u64) -> bool {
        let is_same = turns == self.turns && turns % 2 == 1;
        self.looks = if is_same { self.looks + 1 } else { 0 };
        self.turns = turns;
        self.looks_max <= self.looks
    }
}

fn end_process(sight: &Sight, turn_time_max: Duration) -> ! {
    let seconds = turn_time_max.as_secs_f64();
    match sight.running() {
        Some(it) => {
            let saga = it.saga.map(|it| it.to_string()).unwrap_or_default();
            let (definition, key) = (it.definition.as_ref(), it.key.as_ref());
            tracing::error!(
                saga,
                definition,
                key,
                seq = it.seq,
                seconds,
                "author code blocks the engine, and with it every saga: the process ends"
            );
        }
        None => tracing::error!(seconds, "author code blocks the engine: the process ends"),
    }
    if let Err(error) = sight.accuse() {
        tracing::warn!(%error, "the next process will not know that it was blocked");
    }
    std::process::exit(EXIT_BLOCKED.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_when_one_turn_is_seen_too_often() {
        let mut patience = Patience::of(Duration::from_millis(300));
        let mut look = |turns| patience.is_over(turns);
        assert_eq!([look(1), look(1), look(1)], [false; 3]);
        assert!(look(1), "three looks after the first");
        assert_eq!([look(3), look(3), look(5), look(5)], [false; 4], "it goes on");
        assert_eq!([look(6), look(6), look(6), look(6), look(6)], [false; 5], "idle");
    }
}
