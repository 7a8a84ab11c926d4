//! Events that a saga has taken, but that its code never sees, go back to their lanes.

use super::{Core, events::identity_of, routes::Routed, turns::running};
use crate::{
    codec::{EventRecord, IdentityRow},
    effect::Outcome,
    id::{Lane, Path, SagaId},
    journal::{Decision, Entry, Fact, Start, Turn},
    store::{Kind, Store, StoreError, Table},
};
use std::collections::BTreeMap;

impl<S: Store> Core<S> {
    /// Events that were taken, but never seen by the code, go back to their places in their lanes,
    /// and whoever holds for them now may have them.
    pub(super) fn give_back(
        &mut self,
        start: &Start,
        journal: &[Entry],
        facts: &[Fact],
    ) -> Result<(), StoreError> {
        let takes = |it: &&Fact| matches!(it, Fact::Received { .. });
        if !facts.iter().any(|it| takes(&it)) {
            return Ok(());
        }
        let keys = keys_of_waits(journal);
        for fact in facts {
            if let Fact::Received { step, event, event_at, .. } = fact
                && let Some(key) = keys.get(step)
                && let Some(record) = self.txn.record::<EventRecord>(Kind::Event, *event_at)?
                && !self.declared(&start.definition, event).is_some_and(|it| it.is_copied)
                && self.has_consumed(start, &record)?
            {
                let lane = Lane::of(&start.definition, event, key);
                let routed = Routed::of(*event_at, &record, (*key).to_owned(), lane);
                self.look_again(&routed, Some(start.saga));
                let fate = self.keep(&routed)?;
                self.rule(&start.definition, &record, fate)?;
            }
        }
        Ok(())
    }

    /// Whether the saga has the event still: an older version gave back without a word in the
    /// journal, and whoever has it now keeps it.
    fn has_consumed(&self, start: &Start, event: &EventRecord) -> Result<bool, StoreError> {
        let row = self.txn.get::<IdentityRow>(Table::Identity, &identity_of(event))?;
        let mut verdicts = row.into_iter().flat_map(|it| it.verdicts);
        Ok(verdicts.any(|it| {
            it.definition.as_deref() == Some(&*start.definition)
                && (it.outcome, it.saga) == (Outcome::Consumed, Some(start.saga))
        }))
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
        let facts = journal.iter().map(|it| &it.fact);
        let is_unseen = |it: &&Fact| unseen.iter().any(|step| it.settles() == Some(step));
        let facts: Vec<Fact> = facts.filter(is_unseen).cloned().collect();
        self.give_back(start, &journal, &facts)
    }
}

/// The keys of all waits, by step.
fn keys_of_waits(journal: &[Entry]) -> BTreeMap<&Path, &str> {
    let decisions = journal.iter().flat_map(|it| match &it.turn {
        Turn::Done { decisions, .. } => decisions.as_slice(),
        Turn::Held(_) => &[],
    });
    let waits = decisions.filter_map(|it| match it {
        Decision::Wait { step, key, .. } => Some((step, key.as_str())),
        _ => None,
    });
    waits.collect()
}
