//! Facts that were held are shown to the code of their saga, when nothing holds that up any more:
//! one turn each, in order, and as many at once as there is room for. When the code is over, those
//! behind go back, as many at once as well; only then the saga has ended.

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
    journal::{Entry, Fact, Hold, Turn},
    replay::Applied,
    store::{Store, StoreError},
};

impl<S: Store> Core<S> {
    /// Goes on with those of a family whose code has not been shown all that was held.
    pub(super) fn tell_on(
        &mut self,
        now: Time,
        family: &str,
        definitions: &[String],
    ) -> Result<(), StoreError> {
        while 0 < self.room
            && let Some((saga, input)) = self.telling.first_of(definitions)
        {
            if self.is_asleep(saga) {
                self.stops_family(family, saga);
                break;
            }
            match self.state(saga)?.is_some_and(State::is_being_told) {
                true => {
                    let other = self.opened.go_on_with(input);
                    self.tell(now, saga)?;
                    self.opened.go_on_with(other);
                }
                // It was paused, or has ended meanwhile.
                false => self.telling.remove(saga),
            }
        }
        Ok(())
    }

    /// Shows the code of a saga what was held, or gives it back, as much as there is room for.
    pub(super) fn tell(&mut self, now: Time, saga: SagaId) -> Result<(), StoreError> {
        self.room = self.room.saturating_sub(1);
        self.give_out(now, saga)?;
        let told = match self.state(saga)?.map(|it| it.end.is_some()) {
            None => Ok(()),
            Some(true) => self.give_back_held(saga),
            Some(false) => self.apply_held(now, saga),
        };
        match told {
            Err(err) if err.is_damage() => self.set_aside(saga, &err)?,
            told => told?,
        }
        let told =
            self.state(saga)?.filter(|it| it.is_being_told()).and_then(|it| it.start.as_ref());
        match told.map(|it| it.definition.clone()) {
            Some(definition) => self.telling.insert(saga, &definition, self.opened.input()),
            None => self.telling.remove(saga),
        }
        Ok(())
    }

    /// Applies the facts that were held, one turn each, in order, until one cannot be applied, the
    /// code is over, or there is no room left.
    fn apply_held(&mut self, now: Time, saga: SagaId) -> Result<(), StoreError> {
        /// What may be decided before it is weighed again what is open: that folds the journal.
        const UNWEIGHED_BYTES_MAX: usize = 256 << 10;
        let Some(Folded { state, stands }) = self.states.get(&saga) else { return Ok(()) };
        let (state, stands) = (state.clone(), *stands);
        let Some(start) = state.start.clone() else { return Ok(()) };
        let before = Facets::of(&state, stands, &Touched::All);
        let mut journal = self.txn.journal(saga)?;
        let (mut unweighed, mut unseen) = (0, Vec::new());
        for seq in &state.held {
            let at = *seq as usize;
            let Some(entry) = journal.get_mut(at) else { break };
            // Later than its fact, however fast: by that it is known that the entry has moved.
            let now = now.max(entry.at.after_ms(1));
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
            let is_last = self.room == 0 || state.held.last() == Some(seq) || entry.turn.is_final();
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
                unseen.push(entry.fact);
            }
            let is_stuck = matches!(entry.turn, Turn::Held(_));
            if is_stuck || is_last {
                break;
            }
            self.room -= 1;
        }
        self.give_back(&start, &journal, &unseen)?;
        let state = fold(&journal);
        self.let_code_go(saga, &state)?;
        self.follow_told(&before, state)
    }

    /// The code of the saga is over, and will never be shown what was held: its events go back.
    fn give_back_held(&mut self, saga: SagaId) -> Result<(), StoreError> {
        let Some(Folded { state, stands }) = self.states.get(&saga) else { return Ok(()) };
        let Some(start) = state.start.clone() else { return Ok(()) };
        let before = Facets::of(state, *stands, &Touched::All);
        let held: Vec<u32> = state.held.iter().copied().take(self.room.saturating_add(1)).collect();
        let (mut journal, mut unseen) = (self.txn.journal(saga)?, Vec::new());
        self.room = self.room.saturating_sub(held.len());
        for seq in held {
            let Some(entry) = journal.get_mut(seq as usize) else { break };
            (entry.turn, entry.position) = (Turn::Held(Hold::GivenBack), self.txn.next());
            self.txn.put_entry(saga, seq, entry.clone())?;
            unseen.push(entry.fact.clone());
        }
        self.give_back(&start, &journal, &unseen)?;
        self.follow_told(&before, fold(&journal))
    }

    fn follow_told(&mut self, before: &Facets, state: State) -> Result<(), StoreError> {
        let (Some(head), row) = row_of(&state, self.txn.next() - 1)? else { return Ok(()) };
        let after = Facets::of(&state, Some(Standing::of(&head)), &Touched::All);
        self.follow((before, &after), state, &head, row)
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
