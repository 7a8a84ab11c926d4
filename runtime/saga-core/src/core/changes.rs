//! What of a list is no longer so in another one. A saga may have thousands of things open, and
//! each turn changes a few of them.

use std::collections::BTreeMap;

/// Those of a list that the other one does not have, or has otherwise. Each has a key of its own in
/// its list.
pub(super) fn gone<'a, T: PartialEq, K: Ord>(
    of: &'a [T],
    other: &'a [T],
    key: impl Fn(&'a T) -> K,
) -> Vec<&'a T> {
    let (of, other) = middle(of, other);
    let others: BTreeMap<K, &T> = other.iter().map(|it| (key(it), it)).collect();
    of.iter().filter(|it| others.get(&key(it)).is_none_or(|other| other != it)).collect()
}

/// Without what both begin and end with: most often that is nearly all.
fn middle<'a, T: PartialEq>(mut a: &'a [T], mut b: &'a [T]) -> (&'a [T], &'a [T]) {
    while let ([first, rest @ ..], [other, others @ ..]) = (a, b)
        && first == other
    {
        (a, b) = (rest, others);
    }
    while let ([rest @ .., last], [others @ .., other]) = (a, b)
        && last == other
    {
        (a, b) = (rest, others);
    }
    (a, b)
}

#[cfg(test)]
mod tests {
    use super::gone;
    use std::{
        cell::Cell,
        cmp::Ordering::{self, Equal},
    };

    #[test]
    fn what_is_gone_is_found_wherever_it_was() {
        let of = |of: &[(u8, u8)], other: &[(u8, u8)]| -> Vec<(u8, u8)> {
            gone(of, other, |it| it.0).into_iter().copied().collect()
        };
        let all = [(1, 0), (2, 0), (3, 0), (4, 0)];
        assert_eq!(of(&all, &all), []);
        assert_eq!(of(&all, &[]), all);
        assert_eq!(of(&[], &all), []);
        assert_eq!(of(&all, &[(1, 0), (3, 0), (4, 0)]), [(2, 0)]);
        assert_eq!(of(&all, &[(4, 0), (3, 0), (1, 0)]), [(2, 0)], "in any order");
        assert_eq!(of(&all, &[(2, 0), (3, 1), (4, 0), (5, 0)]), [(1, 0), (3, 0)]);
    }

    thread_local!(static COMPARED: Cell<usize> = const { Cell::new(0) });

    /// A number that counts how often it is compared.
    #[derive(Clone, Copy, Debug, Eq)]
    struct Counted(usize);
    impl Ord for Counted {
        fn cmp(&self, other: &Counted) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }
    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Counted) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }
    impl PartialEq for Counted {
        fn eq(&self, other: &Counted) -> bool {
            self.cmp(other) == Equal
        }
    }

    /// A thousand calls that are answered one by one are looked at a thousand times.
    #[test]
    fn a_look_at_many_costs_about_as_much_as_there_are() {
        const MANY: usize = 1_000;
        let all: Vec<Counted> = (0..MANY).map(Counted).collect();
        let without = |at: usize| [&all[..at], &all[at + 1..]].concat();
        let backwards: Vec<Counted> = all.iter().rev().copied().collect();
        for (other, lost) in [
            (all.clone(), 0),
            (without(0), 1),
            (without(MANY / 2), 1),
            (without(MANY - 1), 1),
            (Vec::new(), MANY),
            (backwards, 0),
        ] {
            COMPARED.set(0);
            assert_eq!(gone(&all, &other, |it| it).len(), lost);
            let (compared, lost) = (COMPARED.get(), gone(&other, &all, |it| it).len());
            assert_eq!(lost, 0, "nothing is new");
            assert!(compared <= 6 * MANY * 10, "{compared}, and 10 is the logarithm of {MANY}");
        }
    }
}
