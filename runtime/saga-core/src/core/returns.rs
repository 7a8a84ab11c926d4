//! Events that a saga has taken, but that its code never sees, go back to their lanes.

use super::{Core, routes::Routed};
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
