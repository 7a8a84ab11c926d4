//! Whether a reader keeps up.

use std::time::Duration;
use tokio::time::Instant;

/// Messages that a reader may be behind; it comes back and goes on where it stood.
const BEHIND_MAX: u64 = 256;
/// Between two looks at a reader that does not take the next message. Shorter waits are the
/// scheduler's doing, and do not count.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A reader that takes nothing for so long has gone, or never reads.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Why a reader is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooSlow {
    /// The journal grows faster than the reader reads.
    #[error("the reader is more than {BEHIND_MAX} messages behind")]
    Behind,
    /// It takes nothing.
    #[error("the reader has taken nothing for {} s", STALLED_AFTER.as_secs())]
    Stalled,
}

/// One reader's pace: while it takes what was new at one moment, not much more may become new.
///
/// Of a long journal a reader is behind by thousands of messages when it comes, and none of them is
/// held against it: it falls behind only when more are added, while it is waited for, than it had
/// to take, and more than [`BEHIND_MAX`].
pub(super) struct Pace {
    look_at: Instant,
    taken_at: Instant,
    /// What the journal had grown to at the first look.
    grown: Option<u64>,
    behind_max: u64,
}

impl Pace {
    /// So many messages are to be taken from now on.
    pub(super) fn of(messages: usize, now: Instant) -> Pace {
        let behind_max = u64::try_from(messages).unwrap_or(u64::MAX).max(BEHIND_MAX);
        Pace { look_at: now + LOOK_EVERY, taken_at: now, grown: None, behind_max }
    }

    /// When it is time to look at a reader that has not taken the next message.
    pub(super) fn look_at(&self) -> Instant {
        self.look_at
    }

    /// A message was taken.
    pub(super) fn took(&mut self, now: Instant) {
        self.taken_at = now;
    }

    /// Looks at a reader that is waited for, and at how far the journal has grown.
    pub(super) fn look(&mut self, grown: u64, now: Instant) -> Result<(), TooSlow> {
        self.look_at = now + LOOK_EVERY;
        let first = *self.grown.get_or_insert(grown);
        if self.behind_max < grown.saturating_sub(first) {
            return Err(TooSlow::Behind);
        }
        if STALLED_AFTER <= now - self.taken_at {
            return Err(TooSlow::Stalled);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_reader_is_behind_when_more_than_so_many_messages_come_while_it_is_waited_for() {
        let now = Instant::now();
        let mut pace = Pace::of(3, now);
        assert_eq!(pace.look(1_000, now), Ok(()), "what came before counts for nothing");
        assert_eq!(pace.look(1_000 + BEHIND_MAX, now), Ok(()));
        assert_eq!(pace.look(1_001 + BEHIND_MAX, now), Err(TooSlow::Behind));
    }

    #[test]
    fn a_reader_of_a_long_journal_may_be_as_far_behind_as_it_was_when_it_came() {
        let now = Instant::now();
        let mut pace = Pace::of(20_000, now);
        assert_eq!(pace.look(0, now), Ok(()));
        assert_eq!(pace.look(20_000, now), Ok(()));
        assert_eq!(pace.look(20_001, now), Err(TooSlow::Behind));
    }

    #[test]
    fn a_reader_that_takes_one_message_now_and_then_is_not_stalled_but_may_be_behind() {
        let mut now = Instant::now();
        let mut pace = Pace::of(1, now);
        for grown in 0..=BEHIND_MAX {
            now += STALLED_AFTER - SECOND;
            pace.took(now);
            now += SECOND;
            assert_eq!(pace.look(grown, now), Ok(()));
            assert!(now < pace.look_at());
        }
        assert_eq!(pace.look(BEHIND_MAX + 1, now), Err(TooSlow::Behind));
    }

    #[test]
    fn a_reader_that_takes_nothing_is_stalled_though_nothing_comes() {
        let now = Instant::now();
        let mut pace = Pace::of(20_000, now);
        assert_eq!(pace.look(0, now + STALLED_AFTER - SECOND), Ok(()));
        assert_eq!(pace.look(0, now + STALLED_AFTER), Err(TooSlow::Stalled));
    }
}
