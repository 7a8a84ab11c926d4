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

    /// Those of a family that are not alone in it.
    pub(super) fn members(&self, family: &str) -> Option<&BTreeSet<String>> {
        self.members.get(family)
    }
}
