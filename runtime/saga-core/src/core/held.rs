//! Facts that were held are shown to the code of their saga, when nothing holds that up any more:
//! one turn each, in order, and as many at once as there is room for.

use super::{
    Core,
    holders::Owner,
    limits::too_much_open,
    search::Standing,
    turns::{Facets, Folded, row_of, settled, stuck},
};
use crate::{
    codec::encoded_bytes,
    fold::{State, Touched, fold},
    id::{SagaId, Time},
    journal::{Entry, Fact, Turn},
    replay::Applied,
    store::{Store, StoreError},
};

impl<S: Store> Core<S> {
    /// Goes on with those whose code has not been shown all that was held.
    pub(super) fn tell_on(&mut self, now: Time) -> Result<(), StoreError> {
        while 0 < self.room
            && let Some(saga) = self.telling.first().copied()
            && !self.must_sleep(saga)
        {
            match self.state(saga)?.is_some_and(State::is_being_told) {
                true => self.tell(now, saga)?,
                // It was paused, or has ended.
                false => _ = self.telling.remove(&saga),
            }
        }
        Ok(())
    }

    /// Shows the code of a saga what was held, as much as there is room for.
    pub(super) fn tell(&mut self, now: Time, saga: SagaId) -> Result<(), StoreError> {
        self.room = self.room.saturating_sub(1);
        match self.apply_held(now, saga) {
            Err(err) if err.is_damage() => self.set_aside(saga, &err)?,
            applied => applied?,
        }
        if self.state(saga)?.is_some_and(State::is_being_told) {
            self.telling.insert(saga);
        } else {
            self.telling.remove(&saga);
        }
        Ok(())
    }

    /// Applies the facts that were held, one turn each, in order, until one cannot be applied or
    /// there is no room left.
    fn apply_held(&mut self, now: Time, saga: SagaId) -> Result<(), StoreError> {
        /// What may be decided before it is weighed again what is open: that folds the journal.
        const UNWEIGHED_BYTES_MAX: usize = 256 << 10;
        self.give_out(now, saga)?;
        self.state(saga)?;
        let Some(Folded { state, stands }) = self.states.get(&saga) else { return Ok(()) };
        let (state, stands) = (state.clone(), *stands);
        let Some(start) = state.start.clone() else { return Ok(()) };
        let before = Facets::of(&state, stands, &Touched::All);
        let mut journal = self.txn.journal(saga)?;
        let mut unweighed = 0;
        for seq in &state.held {
            let at = *seq as usize;
            let Some(entry) = journal.get_mut(at) else { break };
            let applied = match &entry.fact {
                // The state's copy of a start leaves its bodies out.
                Fact::Started(start) => {
                    self.apply(&start.clone(), *seq, &entry.fact, entry.at, now)?
                }
                fact => self.apply(&start, *seq, fact, entry.at, now)?,
            };
            let is_unseen = applied == Ok(Applied::NotOpen);
            entry.turn = match applied {
                Ok(Applied::Decided(decisions)) => {
                    unweighed += encoded_bytes(&decisions);
                    Turn::Done { at: now, decisions }
                }
                Ok(Applied::NotOpen) => Turn::Done { at: now, decisions: Vec::new() },
                Err(err) => {
                    let (fact, turn) = settled(entry.fact.clone(), &err, now);
                    entry.fact = fact;
                    turn
                }
            };
            entry.position = self.txn.next();
            let is_last = self.room == 0 || state.held.last() == Some(seq);
            if UNWEIGHED_BYTES_MAX < unweighed || is_last {
                unweighed = 0;
                self.weigh(saga, &mut journal, at)?;
            }
            let Some(entry) = journal.get(at).cloned() else { break };
            self.index_abandoned(saga, start.epoch, &entry)?;
            self.note_holds(Owner::of(&start), |it| !state.lanes.contains(it), &entry)?;
            let size = self.txn.put_entry(saga, *seq, entry.clone())?;
            self.driver.grew(saga, size);
            if is_unseen {
                self.give_back(&start, &journal, &entry.fact)?;
            }
            let is_stuck = matches!(entry.turn, Turn::Held(_));
            if is_stuck || is_last {
                break;
            }
            self.room -= 1;
        }
        let state = fold(&journal);
        let (Some(head), row) = row_of(&state, self.txn.next() - 1)? else { return Ok(()) };
        let after = Facets::of(&state, Some(Standing::of(&head)), &Touched::All);
        self.follow((&before, &after), state, &head, row)
    }

    /// Takes back a turn with which too much is open.
    fn weigh(&mut self, saga: SagaId, journal: &mut [Entry], at: usize) -> Result<(), StoreError> {
        let state = fold(journal);
        let (_, row) = row_of(&state, 0)?;
        if let (Some(err), Some(entry)) = (too_much_open(&state, row.len()), journal.get_mut(at)) {
            entry.turn = stuck(&err);
            self.driver.forget(saga);
        }
        Ok(())
    }
}
