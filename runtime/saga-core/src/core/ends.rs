//! What happens to the lanes of a saga when it ends, and to what comes later.

use super::{
    Core, Leaving,
    holders::{Owner, holder_key},
    routes::{Fate, Routed},
};
use crate::{
    codec::{ClaimRow, LeavingRow},
    effect::Outcome,
    fold::State,
    head::Head,
    id::{Alias, Lane, SagaId, Time, short_hash},
    payload::Payload,
    saga::{Definition, Ended, Late, LateEvent, LateInput},
    store::{Store, StoreError, Table},
    watch::{saga_key, start_key},
};
use std::collections::{BTreeSet, VecDeque};

impl<S: Store> Core<S> {
    /// Moves the saga out of everything that is open. What becomes of its lanes is decided with
    /// what its definition declares: where that is not in this binary, it is decided when the
    /// definition is back.
    pub(super) fn end(&mut self, head: &Head, state: &State) -> Result<(), StoreError> {
        let saga = head.id;
        self.driver.forget(saga);
        self.states.remove(&saga);
        self.long.remove(&saga);
        if !self.struck.is_empty() {
            self.lift(&[saga_key(saga), start_key(&head.definition, &head.key)]);
        }
        self.txn.delete(Table::Open, saga.as_bytes());
        self.txn.put(Table::Ended, saga.as_bytes(), head)?;
        // With its end, as the process may die before the next batch.
        let row = LeavingRow { position: head.position, only: None };
        self.txn.put(Table::Leaving, &leaving_key(&head.definition, saga), &row)?;
        if let Some(leaving) = self.leaving_of(head, &state.lanes, None) {
            self.hand_over_later(&head.definition, leaving);
        }
        Ok(())
    }

    /// Those on which it ever held, and those of its key for which its definition says what late
    /// means, or in which something is kept; of these events alone, where it has handed over the
    /// others.
    pub(super) fn leaving_of(
        &self,
        head: &Head,
        held_on: &BTreeSet<(String, String)>,
        only: Option<&BTreeSet<String>>,
    ) -> Option<Leaving> {
        let definition = self.registry.get(&head.definition)?;
        let mut lanes: BTreeSet<(String, String)> = held_on.clone();
        let keeps =
            |name: &str| self.kept.contains_key(&Lane::of(definition.name, name, &head.key));
        let linked = definition.events.iter();
        let linked = linked.filter(|it| it.late != Late::Unclaimed || keeps(it.name));
        let former = self.missing.get(definition.name).into_iter().flat_map(|it| &it.events);
        let former = former.map(|it| it.name.as_str()).filter(|it| keeps(it));
        let of_key = linked.map(|it| it.name).chain(former);
        lanes.extend(of_key.map(|it| (it.to_owned(), head.key.clone())));
        lanes.retain(|it| only.is_none_or(|only| only.contains(&it.0)));
        let (now, later): (VecDeque<_>, VecDeque<_>) =
            lanes.into_iter().partition(|it| !self.is_former(definition, &it.0));
        let later = later.into_iter().map(|it| it.0).collect();
        Some(Leaving { saga: head.id, lanes: now, later })
    }

    pub(super) fn hand_over_later(&mut self, definition: &str, leaving: Leaving) {
        match self.leaving.get_mut(definition) {
            Some(others) => others.push_back(leaving),
            None => _ = self.leaving.insert(definition.to_owned(), [leaving].into()),
        }
    }

    /// The one of the definition that has ended first.
    fn next_leaving(&mut self, definition: &str) -> Option<Leaving> {
        let all = self.leaving.get_mut(definition)?;
        let first = all.pop_front();
        if all.is_empty() {
            self.leaving.remove(definition);
        }
        first
    }

    /// Hands over the lanes of sagas that have ended, as many as there is room for.
    pub(super) fn hand_over_lanes(&mut self, definition: &str) -> Result<(), StoreError> {
        while 0 < self.room
            && let Some(mut leaving) = self.next_leaving(definition)
        {
            let head = self.txn.get::<Head>(Table::Ended, leaving.saga.as_bytes());
            let Some(head) = self.shown(leaving.saga, head)? else { continue };
            while 0 < self.room
                && let Some((name, key)) = leaving.lanes.pop_front()
            {
                self.room -= 1;
                self.hand_over_lane(&head, name, key)?;
            }
            if leaving.lanes.is_empty() && self.forget_holds(leaving.saga)? {
                self.has_left(&head, leaving.later)?;
            } else {
                let others = self.leaving.entry(definition.to_owned()).or_default();
                others.push_front(leaving);
            }
        }
        Ok(())
    }

    /// From here on the saga answers for the lane as one that has ended. What the lane keeps goes
    /// to its late arm as soon as no live saga may want it.
    fn hand_over_lane(&mut self, head: &Head, name: String, key: String) -> Result<(), StoreError> {
        let (lane, owner) = (Lane::of(&head.definition, &name, &key), Owner::of_head(head));
        let is_alone = owner.is_alone_on(&key);
        if !is_alone {
            self.txn.delete(Table::Holder, &holder_key(&lane, head.id));
        }
        let (position, saga) = (head.position, head.id);
        let ended_at = head.ended_at.unwrap_or(head.updated_at);
        self.txn.put(Table::Claim, &lane.0, &ClaimRow { position, saga, ended_at })?;
        if self.kept.contains_key(&lane) && !self.has_owner(&head.definition, &lane, &key)? {
            self.sweep_later(&head.definition, name, key, is_alone)?;
        }
        Ok(())
    }

    /// What an older version declared, and the linked one does not, is decided when it is back.
    fn has_left(&mut self, head: &Head, later: BTreeSet<String>) -> Result<(), StoreError> {
        let key = leaving_key(&head.definition, head.id);
        if later.is_empty() {
            self.txn.take_back(Table::Leaving, &key);
        } else {
            let row = LeavingRow { position: head.position, only: Some(later) };
            self.txn.put(Table::Leaving, &key, &row)?;
        }
        self.forget_live(Owner::of_head(head))?;
        self.look_at_sweeps(&head.definition);
        Ok(())
    }

    /// An event on arrival, in a lane that an ended saga answers for.
    pub(super) fn late_by_claim(
        &mut self,
        now: Time,
        definition: &Definition,
        routed: &Routed<'_>,
    ) -> Result<Option<Fate>, StoreError> {
        let claim = self.txn.get::<ClaimRow>(Table::Claim, &routed.lane.0)?;
        let claimed = match claim {
            Some(claim) => Some(claim.saga),
            // A start key is used for ever: no saga can hold on a lane of it any more.
            None => self.started_by(definition.name, &routed.key)?,
        };
        let Some(saga) = claimed else { return Ok(None) };
        if self.has_owner(definition.name, &routed.lane, &routed.key)? {
            return Ok(None);
        }
        let head = self.txn.get::<Head>(Table::Ended, saga.as_bytes());
        let Some(head) = self.shown(saga, head)? else {
            return Ok(Some((Outcome::Unclaimed, Some(saga), None)));
        };
        let is_alone = Owner::of_head(&head).is_alone_on(&routed.key);
        if !is_alone && self.oldest_live(definition.name)?.is_some() {
            // One of those that live may still come to hold on it.
            let fate = self.keep_unless_full(routed)?;
            let name = routed.event.name.clone();
            self.sweep_later(definition.name, name, routed.key.clone(), false)?;
            return Ok(Some(fate));
        }
        self.late(now, now, definition, &head, routed).map(Some)
    }

    /// What an event means that came at this time, when this saga answers for its lane.
    pub(super) fn late(
        &mut self,
        now: Time,
        came_at: Time,
        definition: &Definition,
        ended: &Head,
        routed: &Routed<'_>,
    ) -> Result<Fate, StoreError> {
        let ended_at = ended.ended_at.unwrap_or(ended.updated_at);
        if ended_at.after_ms(self.limits.late_for_ms) < came_at {
            return Ok((Outcome::Unclaimed, Some(ended.id), None));
        }
        let late = definition.declared(&routed.event.name).map(|it| it.late);
        match late {
            Some(Late::Run(arm)) => self.run_arm(now, arm, ended, routed),
            Some(Late::Ignore) => Ok((Outcome::Ignored, Some(ended.id), None)),
            Some(Late::Unclaimed) | None => Ok((Outcome::Unclaimed, Some(ended.id), None)),
        }
    }

    /// The arm's id depends on the ended saga, the event and the epoch of the store alone, so that
    /// it runs once; what a restore has lost begins under another id, as any saga.
    fn run_arm(
        &mut self,
        now: Time,
        arm: &str,
        ended: &Head,
        routed: &Routed<'_>,
    ) -> Result<Fate, StoreError> {
        let event = routed.event;
        let of = |epoch: u64| match epoch {
            0 => SagaId::derived(ended.id, &format!("{}/{}", event.name, event.id)),
            _ => SagaId::derived(ended.id, &format!("{}/{}/{epoch}", event.name, event.id)),
        };
        let epoch = self.txn.store().epoch();
        for saga in (0..=epoch).map(of) {
            if self.is_known(saga)? {
                return Ok((Outcome::Late, Some(saga), None));
            }
        }
        let saga = of(epoch);
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
        let input =
            Payload::of(&input).map_err(|err| StoreError::failed("encode for", err.to_string()))?;
        let mut start = self.start_of(now, &definition, &ended.key, input);
        (start.saga, start.origin) = (saga, Some(ended.id));
        start.alias = Some(Alias::of_late(ended.acts_as(), &event.name, &event.id));
        self.begin(now, start, None)?;
        Ok((Outcome::Late, Some(saga), None))
    }

    pub(super) fn is_known(&self, saga: SagaId) -> Result<bool, StoreError> {
        let is_open = self.txn.has(Table::Open, saga.as_bytes())?;
        Ok(is_open || self.txn.has(Table::Ended, saga.as_bytes())?)
    }
}

fn leaving_key(definition: &str, saga: SagaId) -> Vec<u8> {
    [&short_hash(&[definition])[..], &saga.as_bytes()[..]].concat()
}
