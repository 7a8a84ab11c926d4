//! What went wrong last with something that is tried again: for whoever asks, and for the log.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Longest text of a failure: whoever wrote it, people have to read it.
const REASON_CHARS_MAX: usize = 200;
/// What is told of something that has waited for its turn.
pub(super) const OUT_OF_TOUCH: &str = "the broker was away when it was to leave";
/// What is told of a subject that is not ours to publish on.
pub(super) const NOT_PERMITTED: &str =
    "the broker does not permit this subject: see this user's permissions";
/// A subject that fails is told of this often, however much waits for it.
const TOLD_EVERY: Duration = Duration::from_secs(30);
/// Subjects of which it is known when they were told of last.
const SUBJECTS_MAX: usize = 1024;

/// The last failure of one request or event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) at: Instant,
    /// In the words of whoever refused it.
    pub(super) reason: String,
    /// How often it has failed, in whatever way.
    pub(super) times: u32,
}

impl Failure {
    /// One more failure.
    pub(super) fn again(before: Option<&Failure>, reason: &str, at: Instant) -> Failure {
        let is_odd = |it: char| it.is_control();
        let reason =
            reason.chars().take(REASON_CHARS_MAX).map(|it| if is_odd(it) { ' ' } else { it });
        let times = before.map_or(0, |it| it.times).saturating_add(1);
        Failure { at, reason: reason.collect(), times }
    }
}

/// Decides which failures the log tells of: not each of a thousand that wait for one service.
#[derive(Debug, Default)]
pub(super) struct Teller(BTreeMap<String, (Instant, u64)>);

impl Teller {
    /// How many failures of the subject were not told of before this one; nothing when it is too
    /// soon to tell again.
    pub(super) fn tells(&mut self, subject: &str, now: Instant) -> Option<u64> {
        if SUBJECTS_MAX <= self.0.len() {
            self.0.clear();
        }
        let (told_at, untold) = self.0.entry(subject.to_owned()).or_insert((now, 0));
        let is_first = *told_at == now && *untold == 0;
        if is_first || TOLD_EVERY <= now.saturating_duration_since(*told_at) {
            let told = *untold;
            (*told_at, *untold) = (now, 0);
            return Some(told);
        }
        *untold += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_told_of_now_and_then_and_what_is_left_out_is_counted() {
        let (mut teller, start) = (Teller::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(teller.tells("a", at(0)), Some(0));
        assert_eq!((1..10).filter_map(|it| teller.tells("a", at(it))).count(), 0);
        assert_eq!(teller.tells("b", at(9)), Some(0), "another one is news");
        assert_eq!(teller.tells("a", at(30)), Some(9));
        assert_eq!(teller.tells("a", at(31)), None);
    }

    #[test]
    fn a_failure_counts_and_its_text_is_one_line_that_people_read() {
        let now = Instant::now();
        let first = Failure::again(None, "no\r\nmore", now);
        assert_eq!((first.times, first.reason.as_str()), (1, "no  more"));
        let second = Failure::again(Some(&first), &"x".repeat(1000), now);
        assert_eq!((second.times, second.reason.len()), (2, REASON_CHARS_MAX));
    }
}
