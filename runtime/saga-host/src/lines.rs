//! Several lines in front of one place, taken in turn: who comes into a short line does not wait
//! for a long one. Within a line the order is that of arrival.

use std::collections::{BTreeMap, VecDeque};

/// What waits, by line.
#[derive(Debug)]
pub(crate) struct Lines<K, T> {
    /// Never an empty one.
    lines: BTreeMap<K, VecDeque<T>>,
    /// Each line once, the one whose turn it is first.
    round: VecDeque<K>,
}

impl<K, T> Default for Lines<K, T> {
    fn default() -> Lines<K, T> {
        Lines { lines: BTreeMap::new(), round: VecDeque::new() }
    }
}

impl<K: Copy + Ord, T> Lines<K, T> {
    /// To the end of this line. A line that was empty has its turn after one of each other.
    pub(crate) fn push(&mut self, line: K, it: T) {
        let waiting = self.lines.entry(line).or_default();
        if waiting.is_empty() {
            self.round.push_back(line);
        }
        waiting.push_back(it);
    }

    /// The first of the line whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.pop_from().map(|it| it.1)
    }

    /// The same, and which line that is.
    pub(crate) fn pop_from(&mut self) -> Option<(K, T)> {
        let line = self.round.pop_front()?;
        let waiting = self.lines.get_mut(&line)?;
        let it = waiting.pop_front()?;
        match waiting.is_empty() {
            true => drop(self.lines.remove(&line)),
            false => self.round.push_back(line),
        }
        Some((line, it))
    }

    /// The lines in which something waits.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.lines.keys()
    }

    /// Whether something waits in this line.
    pub(crate) fn waits(&self, line: K) -> bool {
        self.lines.contains_key(&line)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.round.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lines: &mut Lines<char, u32>, count: usize) -> Vec<u32> {
        std::iter::from_fn(|| lines.pop()).take(count).collect()
    }

    #[test]
    fn lines_are_taken_in_turn_and_each_in_its_order() {
        let mut lines = Lines::default();
        (0..5).for_each(|it| lines.push('a', it));
        (10..12).for_each(|it| lines.push('b', it));
        assert_eq!(taken(&mut lines, 7), [0, 10, 1, 11, 2, 3, 4]);
        assert!(lines.is_empty() && lines.pop().is_none() && lines.lines.is_empty());
    }

    #[test]
    fn whoever_comes_to_an_empty_line_waits_for_one_of_each_other() {
        let mut lines = Lines::default();
        (0..1000).for_each(|it| lines.push('a', it));
        (1000..2000).for_each(|it| lines.push('b', it));
        taken(&mut lines, 101);
        for late in 3000..3100 {
            lines.push('c', late);
            let before = std::iter::from_fn(|| lines.pop()).take_while(|it| *it != late).count();
            assert!(before <= 2, "{before} went before {late}");
        }
    }
}
