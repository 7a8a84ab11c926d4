//! The runtime's stores, as operators handle them: a copy of a stopped one is put back later, and
//! one of another instance has its place for a while.

use super::{
    World, choose,
    outbox::{Outbox, Receipt},
};
use saga_core::{
    id::SagaId,
    journal::Fact,
    store::{MemoryStore, Store},
};
use std::collections::BTreeMap;
use trust::store::{Standing, next_epoch};
use uuid::Uuid;

/// The instance of the other store.
const OTHER: Uuid = Uuid::from_u128(8);

/// The stores that are not in their place, and what is remembered outside of all.
#[derive(Default)]
pub(crate) struct Stores {
    copy: Option<MemoryStore>,
    /// The other one, or the first one while the other one has its place.
    away: Option<MemoryStore>,
    pub(crate) outbox: Outbox,
    /// How each saga began that there has ever been.
    pub(crate) begun: BTreeMap<SagaId, Fact>,
    /// The store has not always been the same.
    pub(crate) were_changed: bool,
}

fn standing(store: &MemoryStore) -> Standing {
    Standing { epoch: store.epoch(), position: store.position() }
}

impl World {
    /// An event comes from its publisher, for the first time or again.
    pub(super) fn arrives(&mut self, id: &str) {
        let (subject, body) = self.stores.outbox.get(id);
        self.desk.event_again(id, &subject, body);
        let store = self.desk.store();
        let (epoch, position) = (store.epoch(), store.position());
        let receipt = Receipt { store: store.instance(), epoch, position };
        self.stores.outbox.is_receipted(id, receipt);
    }

    pub(super) fn resend(&mut self, which: u8) {
        if let Some(id) = choose(&self.stores.outbox.owed(), which) {
            self.arrives(id);
        }
    }

    pub(super) fn resend_all(&mut self) -> bool {
        let owed = self.stores.outbox.owed();
        owed.iter().for_each(|it| self.arrives(it));
        !owed.is_empty()
    }

    fn has_the_other_store(&self) -> bool {
        self.desk.store().instance() == OTHER
    }

    pub(super) fn copy_store(&mut self) {
        if !self.has_the_other_store() {
            self.stores.copy = Some(self.desk.store().clone());
        }
    }

    /// The copy takes the place of what has become of its store. The broker knows how far that was.
    pub(super) fn restore_copy(&mut self) {
        let Some(copy) = self.stores.copy.clone() else { return };
        if self.has_the_other_store() {
            return;
        }
        let (opened, known) = (standing(&copy), standing(self.desk.store()));
        let epoch = next_epoch(opened, known).unwrap_or(opened.epoch);
        self.opens(copy.in_epoch(epoch), opened);
    }

    /// The other store takes the place of the first one, as an operator has said, or the first one
    /// comes back.
    pub(super) fn other_store(&mut self) {
        if !self.has_the_other_store() && !self.stores.outbox.knows(self.desk.store().instance()) {
            // Who has receipted nothing is nobody's first store.
            return;
        }
        let away = self.stores.away.take().unwrap_or_else(|| MemoryStore::new(OTHER));
        self.stores.away = Some(self.desk.store().clone());
        let opened = standing(&away);
        self.opens(away, opened);
    }

    pub(super) fn first_store_comes_back(&mut self) {
        if self.has_the_other_store() {
            self.other_store();
        }
    }

    fn opens(&mut self, store: MemoryStore, opened: Standing) {
        let (instance, epoch) = (store.instance(), store.epoch());
        self.stores.were_changed = true;
        self.note_sagas();
        self.desk.change_store(|it| *it = store);
        self.stores.outbox.hear(instance, epoch, opened);
    }

    fn note_sagas(&mut self) {
        for head in self.heads() {
            let first = self.journal(head.id).swap_remove(0).fact;
            self.stores.begun.entry(head.id).or_insert(first);
        }
    }
}
