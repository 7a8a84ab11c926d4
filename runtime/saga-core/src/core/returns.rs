//! Events that a saga has taken, but that its code never sees, go back to their lanes.

use super::{Core, routes::Routed, turns::running};
use crate::{
    codec::EventRecord,
    id::{Lane, Path, SagaId},
    journal::{Decision, Entry, Fact, Start, Turn},
    store::{Kind, Store, StoreError},
};

impl<S: Store> Core<S> {
    /// An event that was taken, but never seen by the code, goes back to its place in its lane, and
    /// whoever holds for it now may have it.
    pub(super) fn give_back(
        &mut self,
        start: &Start,
        journal: &[Entry],
        fact: &Fact,
    ) -> Result<(), StoreError> {
        let Fact::Received { step, event: name, event_at: position, .. } = fact else {
            return Ok(());
        };
        let Some(event) = self.txn.record::<EventRecord>(Kind::Event, *position)? else {
            return Ok(());
        };
        let Some(key) = key_of_wait(journal, step) else { return Ok(()) };
        if self.declared(&start.definition, name).is_some_and(|it| it.is_copied) {
            return Ok(());
        }
        let (definition, key) = (start.definition.as_str(), key.to_owned());
        let lane = Lane::of(definition, name, &key);
        let routed = Routed::of(*position, &event, key, lane);
        self.look_again(&routed);
        let fate = self.keep(&routed)?;
        self.rule(definition, &event, fate)
    }

    /// The events that a saga's waits took, and at which its code had not looked when it ended. Of
    /// code that cannot be run nobody knows at what it has looked: nothing goes back.
    pub(super) fn give_back_unseen(&mut self, saga: SagaId) -> Result<(), StoreError> {
        let known = self.driver.unseen(saga);
        if known.as_ref().is_some_and(Vec::is_empty) {
            return Ok(()); // Nearly always.
        }
        let journal = self.txn.journal(saga)?;
        let took = journal.iter().any(|it| matches!(it.fact, Fact::Received { .. }));
        let Some(start) = journal.first().and_then(Entry::start).filter(|_| took) else {
            return Ok(());
        };
        let linked = self.registry.get(&start.definition);
        let Some(definition) = linked.filter(|it| it.version == start.version) else {
            return Ok(());
        };
        let (code, seq) = (definition.code, u32::try_from(journal.len()).unwrap_or(u32::MAX));
        let Some(last) = journal.last() else { return Ok(()) };
        let running = running(start, seq, &last.fact);
        let unseen = match known {
            Some(known) => known,
            None if self.quarantined(&running).is_some() => return Ok(()),
            None => self.driver.unseen_in(&running, code, &journal).unwrap_or_default(),
        };
        for entry in &journal {
            if unseen.iter().any(|it| entry.fact.settles() == Some(it)) {
                self.give_back(start, &journal, &entry.fact)?;
            }
        }
        Ok(())
    }

    /// The facts that a saga's code will never see: its events go back to their lanes.
    pub(super) fn give_back_held(&mut self, saga: SagaId) -> Result<(), StoreError> {
        let journal = self.txn.journal(saga)?;
        let Some(start) = journal.first().and_then(Entry::start).cloned() else { return Ok(()) };
        for entry in &journal {
            if matches!(entry.turn, Turn::Held(_)) {
                self.give_back(&start, &journal, &entry.fact)?;
            }
        }
        Ok(())
    }
}

/// The key of the wait with this step.
fn key_of_wait<'a>(journal: &'a [Entry], of: &Path) -> Option<&'a str> {
    let decisions = journal.iter().flat_map(|it| match &it.turn {
        Turn::Done { decisions, .. } => decisions.as_slice(),
        Turn::Held(_) => &[],
    });
    let mut waits = decisions.filter_map(|it| match it {
        Decision::Wait { step, key, .. } if step == of => Some(key.as_str()),
        _ => None,
    });
    waits.next()
}
