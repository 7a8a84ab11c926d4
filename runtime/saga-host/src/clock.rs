//! The time: what the process believes, for the core; what the wall clock says, for texts.

use chassis::clock::Clock;
use chrono::{DateTime, SecondsFormat, Utc};
use saga_core::id::Time;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time that the process believes in: the core is told no other.
pub(crate) fn believed(clock: &Clock) -> Time {
    Time(clock.now_ms())
}

/// Milliseconds since the Unix epoch; 0 for a clock that stands before it.
pub(crate) fn now() -> Time {
    of(SystemTime::now())
}

fn of(time: SystemTime) -> Time {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The time at which the broker took a message.
pub(crate) fn of_broker(at: DateTime<Utc>) -> Time {
    Time(u64::try_from(at.timestamp_millis()).unwrap_or_default())
}

/// The last millisecond of the year 9999: RFC 3339 has four digits for a year.
const SHOWN_MS_MAX: u64 = 253_402_300_799_999;

/// RFC 3339 in UTC with milliseconds, as the wire has it. What is later than it can say is never,
/// and is shown as the last time that there is.
pub(crate) fn rfc3339(at: Time) -> String {
    let ms = i64::try_from(at.0.min(SHOWN_MS_MAX)).unwrap_or(i64::MAX);
    let at = DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or(DateTime::<Utc>::MAX_UTC);
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// How long from one to the other; zero when it has passed.
pub(crate) fn between(now: Time, at: Time) -> Duration {
    Duration::from_millis(at.0.saturating_sub(now.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_and_never_fail() {
        assert_eq!(rfc3339(Time(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
        for ms in [SHOWN_MS_MAX, SHOWN_MS_MAX + 1, u64::MAX] {
            let shown = rfc3339(Time(ms));
            assert_eq!(shown, "9999-12-31T23:59:59.999Z");
            assert!(DateTime::parse_from_rfc3339(&shown).is_ok());
        }
    }
}
