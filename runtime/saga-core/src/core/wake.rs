//! Sagas with long journals. One that is not in memory would cost each input that is about it all
//! of its journal: so it is read in pieces first, behind others' turns. That changes nothing but
//! what is in memory. Inputs that are about it wait in a [`Line`]; what the core itself does in
//! pieces leaves a long saga alone until it is told that the saga was read.
//!
//! What is left alone depends on how long journals are, never on what is in memory: the log is a
//! function of the inputs.
//!
//! [`Line`]: crate::line::Line

use super::{Core, turns::Folded};
use crate::{
    fold::State,
    id::{SagaId, Time},
    replay::{Code, Live},
    store::{Store, StoreError},
    watch::{Culprit, Running},
};
use std::borrow::Cow;

/// A saga that is being read.
pub(super) struct Waking {
    saga: SagaId,
    part: Part,
}

/// How far it has come.
enum Part {
    /// What its journal leads to, up to here.
    State(Box<State>),
    /// All of that; and its future, of which so many entries and bytes are replayed.
    Code { folded: Box<Folded>, live: Live, from: usize, bytes: usize },
}

impl<S: Store> Core<S> {
    /// Whether inputs that are about the saga cost no long journal.
    pub fn is_awake(&self, saga: SagaId) -> bool {
        if !self.is_long(saga) || self.aside.contains_key(&saga) {
            return true;
        }
        let folded = self.states.get(&saga);
        folded.is_some_and(|it| self.driver.has(saga) || self.code_of(&it.state).is_none())
    }

    /// Reads one more piece of the journal of a saga: for its state, then for its code. True when
    /// it is in memory, which it is at least until the next commit.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn wake(&mut self, saga: SagaId) -> Result<bool, StoreError> {
        if self.is_awake(saga) {
            return Ok(true);
        }
        let part = match self.waking.take() {
            Some(waking) if waking.saga == saga => waking.part,
            other => {
                self.waking = other;
                self.stop_waking();
                self.begin_waking(saga)
            }
        };
        let woken = match part {
            Part::State(state) => self.wake_state(saga, state),
            Part::Code { folded, live, from, bytes } => {
                self.wake_code(saga, folded, live, (from, bytes))
            }
        };
        match woken {
            Err(err) if err.is_damage() => self.set_aside(saga, &err)?,
            woken => self.waking = woken?.map(|part| Waking { saga, part }),
        }
        Ok(self.is_awake(saga))
    }

    fn begin_waking(&self, saga: SagaId) -> Part {
        let folded = self.states.get(&saga);
        let known = folded.and_then(|it| Some((it, self.code_of(&it.state)?.0)));
        known.map_or_else(
            || Part::State(Box::default()),
            |(folded, code)| code_part(Box::new(folded.clone()), code),
        )
    }

    fn wake_state(
        &mut self,
        saga: SagaId,
        mut state: Box<State>,
    ) -> Result<Option<Part>, StoreError> {
        let limit = self.piece_max();
        let piece = self.txn.piece(saga, state.entries, limit)?;
        for (entry, _) in &piece {
            let seq = state.entries;
            state.append(seq, entry);
        }
        if limit <= piece.len() {
            return Ok(Some(Part::State(state)));
        }
        let folded = Folded::of(*state);
        match self.code_of(&folded.state) {
            Some((code, _)) if !self.driver.has(saga) => {
                Ok(Some(code_part(Box::new(folded), code)))
            }
            _ => {
                self.states.insert(saga, folded);
                Ok(None)
            }
        }
    }

    fn wake_code(
        &mut self,
        saga: SagaId,
        folded: Box<Folded>,
        live: Live,
        (from, bytes): (usize, usize),
    ) -> Result<Option<Part>, StoreError> {
        let limit = self.piece_max();
        let Some((_, running)) = self.code_of(&folded.state) else {
            self.driver.discard(saga, live);
            return Ok(None);
        };
        let seq = u32::try_from(from).unwrap_or(u32::MAX);
        let piece = match self.txn.piece(saga, seq, limit) {
            Ok(piece) => piece,
            Err(err) => {
                self.driver.discard(saga, live);
                return Err(err);
            }
        };
        let running = Running { seq, ..running };
        let bytes = bytes + piece.iter().map(|it| it.1).sum::<usize>();
        match self.driver.replay_piece(&running, live, from, &piece) {
            Ok(live) if limit <= piece.len() => {
                return Ok(Some(Part::Code { folded, live, from: from + limit, bytes }));
            }
            Ok(live) => self.driver.keep(saga, live, bytes),
            Err(misfit) => self.driver.keep_misfit(saga, misfit),
        }
        self.came_back(&running)?;
        if self.states.get(&saga).is_none() {
            self.states.insert(saga, *folded);
        }
        Ok(None)
    }

    /// The code that the next fact of the saga may be for, and how it is named while it is
    /// replayed.
    fn code_of(&self, state: &State) -> Option<(Code, Running<'static>)> {
        let start = state.start.as_ref()?;
        let is_for_code = state.end.is_none()
            && !state.paused
            && state.held.is_empty()
            && state.entries < self.limits.entries_max;
        let linked = self.registry.get(&start.definition);
        let linked = linked.filter(|it| is_for_code && it.version == start.version)?;
        let running = Running {
            culprit: Culprit::Saga(start.saga),
            saga: Some(start.saga),
            definition: Cow::Owned(start.definition.clone()),
            key: Cow::Owned(start.key.clone()),
            seq: 0,
            step: Cow::Borrowed("replay"),
        };
        let is_quarantined = self.quarantined(&running).is_some();
        (!is_quarantined).then_some((linked.code, running))
    }

    /// However few are read at once, it goes on.
    fn piece_max(&self) -> usize {
        self.limits.wake_at_once.max(1) as usize
    }

    /// Forgets what was read of a saga that is being read.
    fn stop_waking(&mut self) {
        let Some(Waking { saga, part }) = self.waking.take() else { return };
        if let Part::Code { live, .. } = part {
            self.driver.discard(saga, live);
        }
    }

    /// The journal of the saga has so many entries now.
    pub(super) fn has_grown(&mut self, saga: SagaId, entries: u32) {
        if self.limits.wake_at_once < entries {
            self.long.insert(saga);
            self.at_hand.insert(saga);
        }
        self.has_changed(saga);
    }

    /// What was read of the saga is no longer all.
    pub(super) fn has_changed(&mut self, saga: SagaId) {
        if self.waking.as_ref().is_some_and(|it| it.saga == saga) {
            self.stop_waking();
        }
    }

    pub(super) fn is_long(&self, saga: SagaId) -> bool {
        self.long.contains(&saga)
    }

    /// Whether work that is done in pieces has to leave the saga alone until it was read.
    pub(super) fn must_sleep(&mut self, saga: SagaId) -> bool {
        let must_sleep = self.is_asleep(saga);
        if must_sleep {
            self.sleepers.insert(saga);
        }
        must_sleep
    }

    /// Whether its journal is long, and the input being handled is not about it.
    pub(super) fn is_asleep(&self, saga: SagaId) -> bool {
        self.is_long(saga) && !self.at_hand.contains(&saga)
    }

    /// Sagas that work done in pieces has come to, and that have to be read: in order, those behind
    /// this place, each with its own. [`Input::Woken`] should follow for each when it is.
    pub fn sleepers(&self, behind: u64) -> impl Iterator<Item = (u64, SagaId)> + '_ {
        self.sleepers.behind(behind)
    }

    /// Goes on with a saga that was left alone. What ticks have left of it fires, up to this time.
    pub(super) fn woken(&mut self, now: Time, saga: SagaId, until: Time) -> Result<(), StoreError> {
        self.sleepers.remove(saga);
        self.at_hand.insert(saga);
        self.stopped.values_mut().for_each(|it| _ = it.remove(&saga));
        if let Some(family) = self.family_of(saga) {
            self.match_opened(now, &family)?;
        }
        self.fire_left_of(now, until.min(self.reached), saga)?;
        self.send_withheld_of(now, saga)
    }
}

fn code_part(folded: Box<Folded>, code: Code) -> Part {
    Part::Code { folded, live: Live::asleep(code), from: 0, bytes: 0 }
}
