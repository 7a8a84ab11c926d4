//! Whether a store is an older copy of what a witness knows of it.

/// How far a store has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How often it was found to be an older copy.
    pub epoch: u64,
    /// Where its log ends.
    pub position: u64,
}

/// The epoch that a store begins which was opened here, when a witness knows it to have been there:
/// none, unless it had come further.
pub fn next_epoch(opened: Standing, known: Standing) -> Option<u64> {
    let is_behind = opened.epoch < known.epoch
        || (opened.epoch == known.epoch && opened.position < known.position);
    is_behind.then(|| known.epoch.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_had_come_further_begins_an_epoch_of_its_own() {
        let at = |epoch, position| Standing { epoch, position };
        for (opened, known, next) in [
            (at(0, 5), at(0, 5), None),
            (at(0, 5), at(0, 4), None),
            (at(0, 5), at(0, 6), Some(1)),
            (at(0, 5), at(2, 1), Some(3)),
            (at(2, 5), at(0, 9), None),
            (at(2, 5), at(2, 9), Some(3)),
        ] {
            assert_eq!(next_epoch(opened, known), next, "{opened:?} {known:?}");
        }
    }
}
