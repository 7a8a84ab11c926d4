//! Definitions that may start sagas of each other, as late arms, are one family: what comes for one
//! of them may change who will hold for something in another one.

use crate::saga::{Late, Registry};
use std::collections::{BTreeMap, BTreeSet};

/// Each family goes by the name of one of its definitions.
#[derive(Debug, Default)]
pub(super) struct Families {
    /// Of those that are not alone.
    names: BTreeMap<String, String>,
    members: BTreeMap<String, BTreeSet<String>>,
}

impl Families {
    pub(super) fn of(registry: &Registry) -> Families {
        let mut families = Families::default();
        for definition in registry.all() {
            for it in &definition.events {
                if let Late::Run(arm) = it.late {
                    families.join(definition.name, arm);
                }
            }
        }
        families
    }

    fn join(&mut self, one: &str, other: &str) {
        let [name, joins] = [one, other].map(|it| self.name(it).to_owned());
        let mut members = self.members.remove(&joins).unwrap_or_else(|| [joins].into());
        members.extend(self.members.remove(&name).unwrap_or_else(|| [name.clone()].into()));
        self.names.extend(members.iter().map(|it| (it.clone(), name.clone())));
        self.members.insert(name, members);
    }

    /// The family of a definition.
    pub(super) fn name<'a>(&'a self, definition: &'a str) -> &'a str {
        self.names.get(definition).map_or(definition, String::as_str)
    }

    /// The definitions of a family.
    pub(super) fn members(&self, family: &str) -> Vec<String> {
        let members = self.members.get(family);
        members.map_or_else(|| vec![family.to_owned()], |it| it.iter().cloned().collect())
    }

    /// Whether this is so of one of them.
    pub(super) fn has_any(&self, family: &str, is_it: impl Fn(&str) -> bool) -> bool {
        match self.members.get(family) {
            Some(members) => members.iter().any(|it| is_it(it)),
            None => is_it(family),
        }
    }
}
