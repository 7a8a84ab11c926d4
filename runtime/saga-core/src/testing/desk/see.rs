//! What can be seen from the desk.

use super::Desk;
use crate::{
    codec::{AuditRecord, NoteRecord, decode},
    core::{Core, Limits, Seen},
    effect::{Effect, Request},
    fold::{OpenWait, State, Status, fold},
    head::Head,
    id::{Path, SagaId, Time},
    input::Input,
    journal::Entry,
    render::render,
    replay::{Live, ReplayError},
    saga::Registry,
    store::{Kind, MemoryStore, Slot, Store},
};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

impl Desk {
    /// Turns to another saga.
    pub fn look_at(&mut self, saga: SagaId) {
        self.looks_at = Some(saga);
    }

    /// The saga that the desk looks at.
    pub fn saga(&self) -> SagaId {
        self.looks_at.expect("a saga was started")
    }

    /// What its journal leads to.
    pub fn state(&self) -> State {
        fold(&self.journal())
    }

    /// Its head row.
    pub fn head(&self) -> Head {
        self.head_of(self.saga()).expect("a saga has a head")
    }

    /// The head row of any saga.
    pub fn head_of(&self, saga: SagaId) -> Option<Head> {
        self.cores[0].head(saga).expect("a memory store can be read")
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        self.head().status
    }

    /// The waits that are open.
    pub fn waits(&self) -> Vec<OpenWait> {
        self.head().waits
    }

    /// Its journal.
    pub fn journal(&self) -> Vec<Entry> {
        self.cores[0].journal(self.saga()).expect("a memory store can be read")
    }

    /// Its journal as text.
    pub fn text(&self) -> String {
        self.looks_at.map(|_| render(&self.journal())).unwrap_or_default()
    }

    /// The last line of its journal.
    pub fn last(&self) -> String {
        self.text().lines().last().unwrap_or_default().trim().to_owned()
    }

    /// Its journal must read exactly so.
    pub fn reads(&self, expected: &str) {
        let actual = self.text();
        assert_eq!(actual.trim(), expected.trim(), "\n{actual}\n");
    }

    /// What is asked of services for it now: `step subject`, with `undo` and the reason before it
    /// for an undo.
    pub fn owed(&self) -> Vec<String> {
        let saga = self.saga();
        let asked = self.asked.values().filter(|it| it.id.saga == saga);
        let shown = asked.map(|it| match &it.undo {
            Some(undo) => {
                format!("{} undo {} ({})", it.id.step, it.subject, undo.abort.kind.as_str())
            }
            None => format!("{} {}", it.id.step, it.subject),
        });
        shown.collect()
    }

    /// The requests under way, of all sagas.
    pub fn requests(&self) -> Vec<Request> {
        self.asked.values().cloned().collect()
    }

    /// The publishes under way, of all sagas.
    pub fn publishes(&self) -> Vec<Effect> {
        self.published.values().cloned().collect()
    }

    /// What the last input gave out.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// Every event in the log with its verdicts, in order of arrival.
    pub fn events(&self) -> Vec<Seen> {
        let records = self.store().read(1, usize::MAX).expect("a memory store can be read");
        let events = records.iter().filter(|it| !matches!(it.slot, Slot::Entry { .. }));
        let seen = events.map(|it| self.cores[0].event(it.position));
        seen.filter_map(|it| it.expect("a memory store can be read")).collect()
    }

    /// Who did what, in order.
    pub fn audits(&self) -> Vec<AuditRecord> {
        self.records(Kind::Audit)
    }

    /// What is recorded beside sagas, in order.
    pub fn notes(&self) -> Vec<NoteRecord> {
        self.records(Kind::Note)
    }

    fn records<T: DeserializeOwned>(&self, kind: Kind) -> Vec<T> {
        let records = self.store().read(1, usize::MAX).expect("a memory store can be read");
        let records = records.iter().filter(|it| it.slot == Slot::At(kind));
        records.map(|it| decode(&it.bytes).expect("a record can be read")).collect()
    }

    /// Everything that came in, with its time.
    pub fn inputs(&self) -> &[(Time, Input)] {
        &self.inputs
    }

    /// The store of the warm core.
    pub fn store(&self) -> &MemoryStore {
        self.cores[0].store()
    }

    /// The warm core, for its reads.
    pub fn core(&self) -> &Core<MemoryStore> {
        &self.cores[0]
    }

    /// The clock.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The definitions.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The bounds.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Waits that took an event at which the saga's code has not looked, if its code can say it.
    pub fn unseen(&self, saga: SagaId, journal: &[Entry]) -> BTreeSet<Path> {
        let replayed = self.replay(saga, journal).and_then(Result::ok);
        replayed.map(|it| it.unseen().into_iter().collect()).unwrap_or_default()
    }

    /// A replay of a journal; nothing when its code is not linked.
    pub(in crate::testing) fn replay(
        &self,
        saga: SagaId,
        journal: &[Entry],
    ) -> Option<Result<Live, ReplayError>> {
        let head = self.head_of(saga)?;
        let definition = self.registry.get(&head.definition)?;
        let fits = definition.version == head.version;
        fits.then(|| Live::replay(definition.code, journal))
    }
}
