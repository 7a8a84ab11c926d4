//! Requests that are too old to be sent again. They are for a person with the ticks that follow;
//! until then it may turn out that the clock was wrong.

use super::{Core, wanted::wanted};
use crate::{
    effect::{Effect, RequestId},
    fold::{State, Touched},
    id::{SagaId, Time},
    store::{Store, StoreError},
};
use std::collections::BTreeSet;

impl<S: Store> Core<S> {
    /// What became too old to be asked for while the saga was paused is not sent even once: it is
    /// for a person with the ticks that follow.
    pub(super) fn withhold(&mut self, now: Time, saga: SagaId) -> Result<(), StoreError> {
        let Some(state) = self.state(saga)? else { return Ok(()) };
        let over: BTreeSet<RequestId> = wanted(state, &Touched::All)
            .into_iter()
            .filter_map(|it| match it {
                Effect::Send(it) => Some(it.id),
                _ => None,
            })
            .filter(|id| is_too_old(state, id, now))
            .collect();
        if over.is_empty() {
            return Ok(());
        }
        self.sends.retain(|it| !over.contains(it));
        self.effects.retain(|it| !matches!(it, Effect::Send(it) if over.contains(&it.id)));
        self.withheld.extend(over);
        Ok(())
    }

    /// What was taken for too old, by a clock that was ahead, is asked for after all. Journals are
    /// read for that, so as many are looked at as there is room for, in turn.
    pub(super) fn send_withheld(&mut self, now: Time) -> Result<(), StoreError> {
        for _ in 0..self.withheld.len() {
            if self.room == 0 {
                break;
            }
            let Some(id) = self.withheld.pop_front() else { break };
            if self.must_sleep(id.saga) {
                self.withheld.push_back(id);
                continue;
            }
            self.weigh_turn(id.saga)?;
            let Some(state) = self.state(id.saga)? else { continue };
            let is_it = |it: &Effect| matches!(it, Effect::Send(request) if request.id == id);
            let of_step = wanted(state, &Touched::steps([id.step.clone()]));
            let Some(effect) = of_step.into_iter().find(is_it) else { continue };
            if is_too_old(state, &id, now) {
                self.withheld.push_back(id);
                continue;
            }
            self.sends.insert(id);
            self.effects.push(effect);
        }
        Ok(())
    }
}

/// Whether time ends the asking for it.
pub(super) fn is_too_old(state: &State, id: &RequestId, now: Time) -> bool {
    state.due(&id.step, now).is_some_and(|it| it.ends_asking())
}
