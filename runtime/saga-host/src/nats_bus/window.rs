//! Events that were pulled and wait for room in the engine, each group of definitions in a line of
//! its own. How far one group sees past the flood of another is how many events are held here; what
//! the broker has not delivered yet comes in the order of the stream.

use crate::{groups::Group, lines::Lines};

/// Events that are pulled and not acknowledged at most; the broker delivers no more. A flood of
/// twenty thousand has room in it, and then some.
pub(super) const UNACKED_MAX: i64 = 32_768;
/// Bytes that are held here, of bodies and of what each event costs beside its body. The last event
/// may go beyond it, and what the client of the broker has pulled already is not counted.
const BYTES_MAX: usize = 64 << 20;
/// Names, keys, and what it takes to acknowledge it.
const EVENT_BYTES: usize = 1 << 10;

/// What waits.
#[derive(Debug)]
pub(super) struct Window<T> {
    lines: Lines<Group, (T, usize)>,
    bytes: usize,
}

impl<T> Default for Window<T> {
    fn default() -> Window<T> {
        Window { lines: Lines::default(), bytes: 0 }
    }
}

impl<T> Window<T> {
    /// Whether one more may be pulled.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < BYTES_MAX
    }

    /// An event with a body of so many bytes.
    pub(super) fn add(&mut self, group: Group, it: T, bytes: usize) {
        let bytes = EVENT_BYTES + bytes;
        self.bytes += bytes;
        self.lines.push(group, (it, bytes));
    }

    /// Of each group in its turn, in the order in which they came.
    pub(super) fn take(&mut self) -> Option<T> {
        let (it, bytes) = self.lines.pop()?;
        self.bytes -= bytes;
        Some(it)
    }

    /// Whether something of this group waits.
    pub(super) fn waits(&self, group: Group) -> bool {
        self.lines.waits(group)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::Groups;

    #[test]
    fn whatever_one_group_has_an_event_of_another_is_among_the_next_two() {
        let declared = ["a", "b"].map(|it| (it.to_owned(), vec![format!("{it}.trigger")]));
        let groups = Groups::of(declared);
        let [a, b] = ["a.trigger", "b.trigger"].map(|it| groups.of_event(it));
        let mut window = Window::default();
        (0..10_000).for_each(|it| window.add(a, it, 100));
        assert_eq!([window.take(), window.take()], [Some(0), Some(1)]);
        window.add(b, 70_000, 100);
        window.add(b, 70_001, 100);
        let next: Vec<u32> = std::iter::from_fn(|| window.take()).take(4).collect();
        assert_eq!(next, [2, 70_000, 3, 70_001]);
    }

    #[test]
    fn what_is_held_is_bounded_by_bytes_and_small_events_weigh_too() {
        for bytes in [0, 700 << 10] {
            let mut window = Window::default();
            let mut held = 0;
            while window.has_room() {
                window.add(Group::NOBODYS, (), bytes);
                held += bytes + EVENT_BYTES;
            }
            assert!(held < BYTES_MAX + bytes + EVENT_BYTES, "{held}");
            window.take();
            assert!(window.has_room());
            while window.take().is_some() {}
            assert!(window.is_empty() && window.bytes == 0);
        }
    }
}
