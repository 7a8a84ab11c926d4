//! What publishers have told, and keep until the runtime has receipted it, as services over the kit
//! do: what a store has receipted that is lost, or that another store has, is owed again.

use saga_core::id::Position;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use trust::store::Standing;
use uuid::Uuid;

/// One outbox for all publishers.
#[derive(Default)]
pub(crate) struct Outbox {
    told: BTreeMap<String, Told>,
    /// Stores that have receipted something.
    known: BTreeSet<Uuid>,
}

struct Told {
    subject: String,
    body: Value,
    receipt: Option<Receipt>,
}

/// Where the runtime has made an event durable.
#[derive(Clone, Copy)]
pub(crate) struct Receipt {
    pub(crate) store: Uuid,
    pub(crate) epoch: u64,
    pub(crate) position: Position,
}

impl Outbox {
    /// What was told first under this id is what is told.
    pub(crate) fn tell(&mut self, id: &str, subject: &str, body: Value) {
        let told = Told { subject: subject.to_owned(), body, receipt: None };
        self.told.entry(id.to_owned()).or_insert(told);
    }

    /// The event with this id.
    pub(crate) fn get(&self, id: &str) -> (String, Value) {
        let told = &self.told[id];
        (told.subject.clone(), told.body.clone())
    }

    /// Ids of all that was told.
    pub(crate) fn all(&self) -> impl Iterator<Item = &String> {
        self.told.keys()
    }

    /// Ids of what is still owed.
    pub(crate) fn owed(&self) -> Vec<String> {
        let owed = self.told.iter().filter(|it| it.1.receipt.is_none());
        owed.map(|it| it.0.clone()).collect()
    }

    pub(crate) fn knows(&self, store: Uuid) -> bool {
        self.known.contains(&store)
    }

    pub(crate) fn is_receipted(&mut self, id: &str, receipt: Receipt) {
        self.known.insert(receipt.store);
        self.told.entry(id.to_owned()).and_modify(|it| it.receipt = Some(receipt));
    }

    /// The runtime says which store it has, and where it was opened: there its epoch began, unless
    /// it was in that one before.
    pub(crate) fn hear(&mut self, store: Uuid, epoch: u64, opened: Standing) {
        let is_known = self.knows(store);
        let is_lost = |it: &Receipt| match it.store == store {
            true => {
                let is_held = it.epoch == opened.epoch && it.position <= opened.position;
                it.epoch < epoch && !is_held
            }
            // One that nobody has known takes nobody's place: the first one may come back.
            false => is_known,
        };
        for told in self.told.values_mut() {
            told.receipt = told.receipt.filter(|it| !is_lost(it));
        }
    }
}
