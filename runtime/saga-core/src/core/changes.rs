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
}
