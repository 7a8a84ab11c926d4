//! Answers that wait for the engine, bounded by their number and by their bytes. What is beyond is
//! dropped: its request is sent again, and the service repeats its answer. If it were left with the
//! NATS client instead, that would keep it in memory, as long as it likes.

use saga_core::input::Input;
use std::collections::VecDeque;

/// Small answers are bounded by what each costs beside its body.
const ANSWERS_MAX: usize = 16_384;
/// Some eighty of the largest answers: the engine takes hundreds in a second.
const BYTES_MAX: usize = 64 << 20;

/// In order of arrival.
#[derive(Default)]
pub(super) struct Waiting {
    answers: VecDeque<(Input, usize)>,
    bytes: usize,
}

impl Waiting {
    /// Whether an answer of so many bytes may wait too.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.answers.len() < ANSWERS_MAX && self.bytes + bytes <= BYTES_MAX
    }

    pub(super) fn add(&mut self, answer: Input, bytes: usize) {
        self.bytes += bytes;
        self.answers.push_back((answer, bytes));
    }

    /// The size of the next one; nothing when none waits.
    pub(super) fn next_bytes(&self) -> Option<usize> {
        self.answers.front().map(|it| it.1)
    }

    pub(super) fn take(&mut self) -> Option<Input> {
        let (answer, bytes) = self.answers.pop_front()?;
        self.bytes -= bytes;
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use saga_core::id::Time;

    fn input() -> Input {
        Input::tick(Time(0))
    }

    #[test]
    fn answers_wait_within_a_number_and_within_bytes() {
        let mut waiting = Waiting::default();
        let large = BYTES_MAX / 4;
        for _ in 0..4 {
            assert!(waiting.has_room(large));
            waiting.add(input(), large);
        }
        assert!(!waiting.has_room(1) && waiting.has_room(0));
        assert_eq!(waiting.next_bytes(), Some(large));
        assert!(
            waiting.take().is_some() && waiting.has_room(large) && !waiting.has_room(large + 1)
        );
        while waiting.take().is_some() {}
        assert_eq!((waiting.bytes, waiting.next_bytes()), (0, None));
        for _ in 0..ANSWERS_MAX {
            assert!(waiting.has_room(0));
            waiting.add(input(), 0);
        }
        assert!(!waiting.has_room(0));
    }
}
