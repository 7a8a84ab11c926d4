//! What happens to the lanes of a saga when it ends, and to what comes later.

use super::{
    Core,
    routes::{Fate, Routed},
};
use crate::{
    codec::{ClaimRow, EventRecord},
    effect::Outcome,
    head::Head,
    id::{Lane, SagaId, Time},
    payload::Payload,
    saga::{Definition, Ended, Late, LateEvent, LateInput},
    store::{Kind, Store, StoreError, Table},
    watch::{saga_key, start_key},
};
use std::collections::BTreeSet;

impl<S: Store> Core<S> {
    /// Moves the saga out of everything that is open. Events that nobody took go to its late arm.
    pub(super) fn end(&mut self, head: &Head) -> Result<(), StoreError> {
        let saga = head.id;
        self.driver.forget(saga);
        self.states.remove(&saga);
        if !self.struck.is_empty() {
            self.lift(&[saga_key(saga), start_key(&head.definition, &head.key)]);
        }
        self.txn.delete(Table::Open, saga.as_bytes());
        self.txn.put(Table::Ended, saga.as_bytes(), head)?;
        let lanes = self.lanes_of(head).into_iter();
        let lanes: Vec<(Lane, (String, String))> =
            lanes.map(|it| (Lane::of(&head.definition, &it.0, &it.1), it)).collect();
        for (lane, _) in lanes.iter().filter(|it| head.lanes.contains(&it.1)) {
            if let Some(count) = self.touched.get_mut(lane) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.touched.remove(lane);
                }
            }
        }
        let (position, ended_at) = (head.position, head.ended_at.unwrap_or(head.updated_at));
        for (lane, (_, key)) in lanes {
            self.txn.put(Table::Claim, &lane.0, &ClaimRow { position, saga, ended_at })?;
            self.sweep(ended_at, head, &lane, &key)?;
        }
        Ok(())
    }

    /// Those on which it ever held, and those of its key for which it says what late means.
    fn lanes_of(&self, head: &Head) -> BTreeSet<(String, String)> {
        let mut lanes: BTreeSet<(String, String)> = head.lanes.iter().cloned().collect();
        if let Some(definition) = self.registry.get(&head.definition) {
            let says_late = definition.events.iter().filter(|it| it.late != Late::Unclaimed);
            lanes.extend(says_late.map(|it| (it.name.to_owned(), head.key.clone())));
        }
        lanes
    }

    fn sweep(&mut self, now: Time, head: &Head, lane: &Lane, key: &str) -> Result<(), StoreError> {
        // A live saga of the same lane goes first.
        if self.touched.contains_key(lane) {
            return Ok(());
        }
        let Some(definition) = self.registry.get(&head.definition).cloned() else {
            return Ok(());
        };
        for position in self.kept_in(lane)? {
            let Some(event) = self.txn.record::<EventRecord>(Kind::Event, position)? else {
                continue;
            };
            let routed = Routed { position, event: &event, key: key.to_owned(), lane: *lane };
            let fate = self.late(now, &definition, head, &routed)?;
            self.take_kept(lane, position);
            self.rule(&head.definition, &event, fate)?;
        }
        Ok(())
    }

    /// An event on arrival, in a lane that an ended saga answers for.
    pub(super) fn late_by_claim(
        &mut self,
        now: Time,
        definition: &Definition,
        routed: &Routed<'_>,
    ) -> Result<Option<Fate>, StoreError> {
        if self.touched.contains_key(&routed.lane) {
            return Ok(None);
        }
        let Some(claim) = self.txn.get::<ClaimRow>(Table::Claim, &routed.lane.0)? else {
            return Ok(None);
        };
        if self.has_live_of_key(definition.name, &routed.key)? {
            return Ok(None);
        }
        if claim.ended_at.after_ms(self.limits.late_for_ms) < now {
            return Ok(Some((Outcome::Unclaimed, Some(claim.saga), None)));
        }
        let head = self.txn.get::<Head>(Table::Ended, claim.saga.as_bytes());
        let Some(head) = self.shown(claim.saga, head)? else {
            return Ok(Some((Outcome::Unclaimed, Some(claim.saga), None)));
        };
        self.late(now, definition, &head, routed).map(Some)
    }

    /// A saga of this key that has not opened its wait yet.
    fn has_live_of_key(&self, definition: &str, key: &str) -> Result<bool, StoreError> {
        let start_key = crate::id::short_hash(&[definition, key]);
        let row = self.txn.get::<crate::codec::StartKeyRow>(Table::StartKey, &start_key)?;
        match row {
            Some(row) => self.txn.has(Table::Open, row.saga.as_bytes()),
            None => Ok(false),
        }
    }

    fn late(
        &mut self,
        now: Time,
        definition: &Definition,
        ended: &Head,
        routed: &Routed<'_>,
    ) -> Result<Fate, StoreError> {
        let late = definition.declared(&routed.event.name).map(|it| it.late);
        match late {
            Some(Late::Run(arm)) => self.run_arm(now, arm, ended, routed),
            Some(Late::Ignore) => Ok((Outcome::Ignored, Some(ended.id), None)),
            Some(Late::Unclaimed) | None => Ok((Outcome::Unclaimed, Some(ended.id), None)),
        }
    }

    /// The arm's id depends on the ended saga and the event alone, so it runs once.
    fn run_arm(
        &mut self,
        now: Time,
        arm: &str,
        ended: &Head,
        routed: &Routed<'_>,
    ) -> Result<Fate, StoreError> {
        let event = routed.event;
        let saga = SagaId::derived(ended.id, &format!("{}/{}", event.name, event.id));
        if self.is_known(saga)? {
            return Ok((Outcome::Late, Some(saga), None));
        }
        let Some(definition) = self.registry.get(arm).cloned() else {
            return Ok((Outcome::Unclaimed, Some(ended.id), Some(format!("no arm {arm}"))));
        };
        let input = LateInput {
            ended: Ended {
                id: ended.id,
                key: ended.key.clone(),
                outcome: ended.status.as_str().to_owned(),
                ended_at: ended.ended_at.unwrap_or(ended.updated_at),
                committed: ended.committed,
                output: ended.output.clone(),
                reason: ended.reason.clone(),
            },
            event: LateEvent {
                name: event.name.clone(),
                id: event.id.clone(),
                body: event.body.clone(),
            },
        };
        let input = Payload::of(&input)
            .map_err(|err| StoreError { action: "encode for", reason: err.to_string() })?;
        let mut start = self.start_of(now, &definition, &ended.key, input);
        (start.saga, start.origin) = (saga, Some(ended.id));
        self.begin(now, start, None)?;
        Ok((Outcome::Late, Some(saga), None))
    }

    pub(super) fn is_known(&self, saga: SagaId) -> Result<bool, StoreError> {
        let is_open = self.txn.has(Table::Open, saga.as_bytes())?;
        Ok(is_open || self.txn.has(Table::Ended, saga.as_bytes())?)
    }
}
