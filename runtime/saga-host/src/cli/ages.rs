//! Times as people read them: how long ago, how long still.

use chrono::{DateTime, Utc};

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 60 * MINUTE_S;
const DAY_S: i64 = 24 * HOUR_S;

/// A time of the API; nothing when it is none.
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|it| it.to_utc())
}

/// How long ago: `12s`, `3m`, `2h`, `5d`.
pub(super) fn age(at: &str, now: DateTime<Utc>) -> String {
    time(at).map(|it| short((now - it).num_seconds())).unwrap_or_default()
}

/// How long still: `in 12s`, or `due` when it is over.
pub(super) fn left(at: &str, now: DateTime<Utc>) -> String {
    match time(at).map(|it| (it - now).num_seconds()) {
        Some(seconds) if seconds > 0 => format!("in {}", short(seconds)),
        Some(_) => "due".to_owned(),
        None => String::new(),
    }
}

/// The time itself, and how long ago it was.
pub(super) fn since(at: &str, now: DateTime<Utc>) -> String {
    format!("{} ({} ago)", moment(at), age(at, now))
}

/// The time itself, and how long it is until then.
pub(super) fn until(at: &str, now: DateTime<Utc>) -> String {
    format!("{} ({})", moment(at), left(at, now))
}

/// In UTC, without the milliseconds and the letter between date and time.
pub(super) fn moment(at: &str) -> String {
    time(at).map_or_else(|| at.to_owned(), |it| it.format("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// From one time to another, as precisely as a journal is read: `0.4s`, `12s`, `3m20s`, `2h05m`.
pub(super) fn between(from: &str, to: &str) -> String {
    let Some(span) = time(from).zip(time(to)).map(|(from, to)| to - from) else {
        return String::new();
    };
    let ms = span.num_milliseconds().max(0);
    match ms / 1000 {
        0..10 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        seconds if seconds < MINUTE_S => format!("{seconds}s"),
        seconds if seconds < HOUR_S => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds if seconds < DAY_S => {
            format!("{}h{:02}m", seconds / HOUR_S, seconds % HOUR_S / 60)
        }
        seconds => format!("{}d{:02}h", seconds / DAY_S, seconds % DAY_S / HOUR_S),
    }
}

/// In the unit that says enough: `119s` is two minutes to anybody who looks at a list.
fn short(seconds: i64) -> String {
    match seconds.max(0) {
        it if it < MINUTE_S => format!("{it}s"),
        it if it < HOUR_S => format!("{}m", it / MINUTE_S),
        it if it < 2 * DAY_S => format!("{}h", it / HOUR_S),
        it => format!("{}d", it / DAY_S),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_as_long_as_a_word() {
        let now = time("2026-01-10T00:00:00Z").expect("a time");
        for (at, expected) in [
            ("2026-01-09T23:59:18.400Z", "41s"),
            ("2026-01-09T23:51:00Z", "9m"),
            ("2026-01-08T01:00:00Z", "47h"),
            ("2026-01-01T00:00:00Z", "9d"),
            ("2026-01-10T00:00:05Z", "0s"),
            ("soon", ""),
        ] {
            assert_eq!(age(at, now), expected, "{at}");
        }
        assert_eq!(left("2026-01-10T03:00:00Z", now), "in 3h");
        assert_eq!(left("2026-01-09T03:00:00Z", now), "due");
        assert_eq!(since("2026-01-09T23:51:00.5Z", now), "2026-01-09 23:51:00Z (8m ago)");
    }

    #[test]
    fn spans_say_what_a_journal_needs() {
        let began = "2026-01-01T00:00:00Z";
        for (at, expected) in [
            ("2026-01-01T00:00:00.449Z", "0.4s"),
            ("2026-01-01T00:00:12Z", "12s"),
            ("2026-01-01T00:03:20Z", "3m20s"),
            ("2026-01-01T02:05:59Z", "2h05m"),
            ("2026-01-03T01:00:00Z", "2d01h"),
        ] {
            assert_eq!(between(began, at), expected, "{at}");
        }
    }
}
