//! Definitions that share events. What comes for one group waits in a line of its own: its order is
//! that of the stream, whatever comes for others.
//!
//! Two definitions are in one group when both declare an event, or are connected by others that do.
//! So all that one saga can see stands in one line, and so do all events of one lane.

use std::collections::{BTreeMap, BTreeSet};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group(usize);

impl Group {
    /// What nobody declares, and what belongs to no saga that is known.
    pub(crate) const NOBODYS: Group = Group(0);
}

/// Which definition and which event belongs to which group.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    definitions: BTreeMap<String, Group>,
    events: BTreeMap<String, Group>,
}

impl Groups {
    /// Of definitions with the events that they declare; one may be named several times.
    pub(crate) fn of(declared: impl IntoIterator<Item = (String, Vec<String>)>) -> Groups {
        let mut groups = Groups::default();
        for (number, (definition, events)) in (1..).zip(declared) {
            let group = Group(number);
            let known = events.iter().filter_map(|it| groups.events.get(it));
            let known = known.chain(groups.definitions.get(&definition)).copied();
            let joined: Vec<Group> = known.collect();
            let all = groups.definitions.values_mut().chain(groups.events.values_mut());
            all.filter(|it| joined.contains(it)).for_each(|it| *it = group);
            groups.definitions.insert(definition, group);
            groups.events.extend(events.into_iter().map(|it| (it, group)));
        }
        groups
    }

    /// Each of them once, and that of what nobody declares.
    pub(crate) fn all(&self) -> BTreeSet<Group> {
        let known = self.definitions.values().chain(self.events.values()).copied();
        known.chain([Group::NOBODYS]).collect()
    }

    /// That of an event.
    pub(crate) fn of_event(&self, name: &str) -> Group {
        self.events.get(name).copied().unwrap_or(Group::NOBODYS)
    }

    /// That of a definition.
    pub(crate) fn of_definition(&self, name: &str) -> Group {
        self.definitions.get(name).copied().unwrap_or(Group::NOBODYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(declared: &[(&str, &[&str])]) -> Groups {
        let owned = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect();
        Groups::of(declared.iter().map(|(name, events)| ((*name).to_owned(), owned(events))))
    }

    #[test]
    fn definitions_are_together_that_are_connected_by_events_in_any_order() {
        let mut declared: Vec<(&str, &[&str])> =
            vec![("a", &["1", "2"]), ("b", &["3"]), ("c", &["2", "3"]), ("d", &["4"]), ("e", &[])];
        for _ in 0..declared.len() {
            declared.rotate_left(1);
            let groups = groups(&declared);
            let [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map(|it| groups.of_definition(it));
            assert!(a == b && b == c && d != a && e != a && e != d, "{declared:?}");
            let events = ["1", "2", "3", "4"].map(|it| groups.of_event(it));
            assert_eq!(events, [a, a, a, d]);
            assert_eq!(groups.all(), BTreeSet::from([Group::NOBODYS, a, d, e]));
        }
    }

    #[test]
    fn what_nobody_declares_has_a_line_of_its_own() {
        let groups = groups(&[("a", &["1"])]);
        assert_eq!(groups.of_event("2"), Group::NOBODYS);
        assert_eq!(groups.of_definition("b"), Group::NOBODYS);
        assert_ne!(groups.of_event("1"), Group::NOBODYS);
    }

    #[test]
    fn one_that_declares_more_than_it_did_stays_with_what_it_shared() {
        let groups = groups(&[("a", &["1"]), ("b", &["2"]), ("a", &["2"])]);
        assert_eq!(groups.of_event("1"), groups.of_event("2"));
        assert_eq!(groups.of_definition("a"), groups.of_definition("b"));
    }
}
