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
/// held against it: it falls behind only when more are added, while it is waited for, than it had to
/// take, and more than [`BEHIND_MAX`].
pub(super) struct Pace {
    look_at: Instant,
    taken_at: Instant,
    /// What the journal had grown to at the first look.
    grown: Option<u64>,
    behind_max: u64,
}

impl Pace {
    pub(super) fn new(messages: usize) -> Pace {
        let now = Instant::now();
        let mut pace = Pace { look_at: now, taken_at: now, grown: None, behind_max: 0 };
        pace.begin(messages);
        pace
    }

    /// So many messages are to be taken now.
    pub(super) fn begin(&mut self, messages: usize) {
        let now = Instant::now();
        (self.look_at, self.taken_at) = (now + LOOK_EVERY, now);
        self.grown = None;
        self.behind_max = u64::try_from(messages).unwrap_or(u64::MAX).max(BEHIND_MAX);
    }

    /// When it is time to look at a reader that has not taken the next message.
    pub(super) fn look_at(&self) -> Instant {
        self.look_at
    }

    /// A message was taken.
    pub(super) fn took(&mut self) {
        self.taken_at = Instant::now();
    }

    /// Looks at a reader that is waited for, and at how far the journal has grown.
    pub(super) fn look(&mut self, grown: u64) -> Result<(), TooSlow> {
        let now = Instant::now();
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
