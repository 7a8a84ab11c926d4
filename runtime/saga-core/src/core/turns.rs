//! From a fact to an entry of the journal, and to everything that follows from it.

use super::{
    Core, ENTRIES_OF_ONE,
    changes::gone,
    decide::decided_of,
    holders::Owner,
    limits::{refused, too_much_open},
    routes::KeptRow,
    search::Standing,
    wanted::wanted,
};
use crate::{
    codec::{StartKeyRow, encode},
    driver::Job,
    effect::{Effect, Note, Request},
    fold::{End, OpenWait, State, Touched, fold},
    head::Head,
    id::{Path, Position, SagaId, Time, short_hash},
    journal::{Entry, Fact, Hold, Start, Turn},
    replay::{Applied, ReplayError},
    store::{Store, StoreError, Table},
    text::cut,
    watch::{Culprit, Running},
};
use std::{borrow::Cow, collections::BTreeSet};

/// What of a state is found from outside, as far as an entry can change it; compared before and
/// after.
pub(super) struct Facets {
    /// None of a saga that has not started.
    stands: Option<Standing>,
    waits: Vec<OpenWait>,
    timers: Vec<(Time, Path)>,
    wanted: Vec<Effect>,
}

impl Facets {
    pub(super) fn of(state: &State, stands: Option<Standing>, touched: &Touched) -> Facets {
        let waits = state.waits.iter().filter(|it| touched.has(&it.step)).cloned().collect();
        let (timers, wanted) = (state.timers_of(touched), wanted(state, touched));
        Facets { stands, waits, timers, wanted }
    }
}

/// An open saga in memory.
#[derive(Clone, Default)]
pub(super) struct Folded {
    pub(super) state: State,
    /// That is not worked out again for the next entry.
    pub(super) stands: Option<Standing>,
}

impl Folded {
    pub(super) fn of(state: State) -> Folded {
        let stands = Head::row(&state, 0).map(|it| Standing::of(&it));
        Folded { state, stands }
    }
}

impl<S: Store> Core<S> {
    /// The state of an open saga; nothing when there is none of this id, or when it has ended.
    pub(super) fn state(&mut self, saga: SagaId) -> Result<Option<&State>, StoreError> {
        if self.states.get(&saga).is_none() {
            let is_open = self.txn.has(Table::Open, saga.as_bytes())?;
            if !is_open || self.aside.contains_key(&saga) {
                return Ok(None);
            }
            let journal = match self.txn.journal(saga) {
                Err(err) if err.is_damage() => {
                    self.set_aside(saga, &err)?;
                    return Ok(None);
                }
                read => read?,
            };
            self.states.insert(saga, Folded::of(fold(&journal)));
        }
        Ok(self.states.get(&saga).map(|it| &it.state))
    }

    /// Appends the fact with its turn. False when nothing is open that it could settle: then
    /// nothing is appended.
    pub(super) fn offer(
        &mut self,
        now: Time,
        saga: SagaId,
        fact: Fact,
    ) -> Result<bool, StoreError> {
        self.offer_at(now, saga, Position::MAX, fact)
    }

    /// The same, for what came at this position.
    pub(super) fn offer_at(
        &mut self,
        now: Time,
        saga: SagaId,
        came: Position,
        fact: Fact,
    ) -> Result<bool, StoreError> {
        self.give_out(now, saga)?;
        self.catch_up(now, saga, came)?;
        self.settle(now, saga, fact)
    }

    /// The same, for one who has looked that nothing goes before it.
    pub(super) fn settle(
        &mut self,
        now: Time,
        saga: SagaId,
        fact: Fact,
    ) -> Result<bool, StoreError> {
        let accepts = |it: &State| it.accepts(&fact);
        if !self.state(saga)?.is_some_and(accepts) {
            return Ok(false);
        }
        let folded = self.states.remove(&saga).unwrap_or_default();
        match self.take_turn(saga, now, fact, folded) {
            Err(err) if err.is_damage() => self.set_aside(saga, &err).map(|()| false),
            taken => taken.map(|()| true),
        }
    }

    /// Takes what a turn of the saga weighs from the room of the input.
    pub(super) fn weigh_turn(&mut self, saga: SagaId) -> Result<(), StoreError> {
        let entries = self.state(saga)?.map_or(0, |it| it.entries as usize);
        self.room = self.room.saturating_sub(1 + entries / ENTRIES_OF_ONE);
        Ok(())
    }

    /// Begins a saga. Its id must be new.
    pub(super) fn begin(
        &mut self,
        now: Time,
        start: Start,
        digest: Option<[u8; 32]>,
    ) -> Result<(), StoreError> {
        let (saga, position) = (start.saga, self.txn.next());
        if let Some(digest) = digest {
            let row = StartKeyRow { position, saga, digest: hex(&digest) };
            let key = short_hash(&[&start.definition, &start.key]);
            self.txn.put(Table::StartKey, &key, &row)?;
        }
        let key = key_of_saga(&start.key, saga);
        self.txn.put(Table::Key, &key, &KeptRow { position })?;
        self.note_live(&start, position)?;
        self.index_start(now, &start, position)?;
        self.effects.push(Effect::Note(Note::Started {
            saga,
            definition: start.definition.clone(),
            key: start.key.clone(),
        }));
        self.take_turn(saga, now, Fact::Started(start), Folded::default())
    }

    fn take_turn(
        &mut self,
        saga: SagaId,
        now: Time,
        fact: Fact,
        folded: Folded,
    ) -> Result<(), StoreError> {
        let at = now.max(folded.state.updated_at);
        let (fact, turn) = match self.turn(&folded.state, at, &fact)? {
            Ok(turn) => (fact, turn),
            Err(err) => settled(fact, &err, at),
        };
        self.append(saga, folded, Entry { position: self.txn.next(), at, fact, turn })
    }

    /// What the code, or the core in its place, decides on a fact that the state accepts.
    fn turn(
        &mut self,
        state: &State,
        at: Time,
        fact: &Fact,
    ) -> Result<Result<Turn, ReplayError>, StoreError> {
        if !fact.is_for_code() {
            return Ok(Ok(Turn::Done { at, decisions: state.decisions_of_core(fact) }));
        }
        if state.paused {
            return Ok(Ok(Turn::Held(Hold::Paused)));
        }
        if !state.held.is_empty() {
            return Ok(Ok(Turn::Held(Hold::Behind)));
        }
        let start = match fact {
            Fact::Started(start) => Some(start),
            _ => state.start.as_ref(),
        };
        let Some(start) = start else { return Ok(Ok(Turn::Held(Hold::Behind))) };
        if self.limits.entries_max <= state.entries {
            return Ok(Err(ReplayError::Full));
        }
        let applied = self.apply(start, state.entries, fact, at, at)?;
        Ok(applied.map(|applied| match applied {
            Applied::Decided(decisions) => Turn::Done { at, decisions },
            Applied::NotOpen => Turn::Done { at, decisions: Vec::new() },
        }))
    }

    /// Lets the driver make a turn.
    pub(super) fn apply(
        &mut self,
        start: &Start,
        seq: u32,
        fact: &Fact,
        at: Time,
        turn_at: Time,
    ) -> Result<Result<Applied, ReplayError>, StoreError> {
        let linked = self.registry.get(&start.definition);
        let Some(definition) = linked.filter(|it| it.version == start.version) else {
            let (definition, version) = (start.definition.clone(), start.version);
            return Ok(Err(ReplayError::NotLinked { definition, version }));
        };
        let (saga, code) = (start.saga, definition.code);
        let running = running(start, seq, fact);
        if let Some(err) = self.quarantined(&running) {
            return Ok(Err(err));
        }
        let job = Job { saga, running, code, fact, at, turn_at };
        let txn = &self.txn;
        let applied = self.driver.turn(&job, || txn.sized_journal(saga))?;
        let applied = match applied {
            Ok(Applied::Decided(decisions)) => match refused(definition, &decisions) {
                None => Ok(Applied::Decided(decisions)),
                Some(err) => {
                    self.driver.forget(saga);
                    Err(err)
                }
            },
            other => other,
        };
        self.came_back(&job.running)?;
        Ok(applied)
    }

    /// Writes the entry, and everything that follows from it.
    fn append(&mut self, saga: SagaId, folded: Folded, mut entry: Entry) -> Result<(), StoreError> {
        let Folded { mut state, stands } = folded;
        let touched = Touched::by(&entry, &state);
        let before = Facets::of(&state, stands, &touched);
        let (seq, was_over) = (state.entries, state.end.is_some());
        let reached: BTreeSet<(String, String)> = entry
            .lanes()
            .map(|(name, key)| (name.to_owned(), key.to_owned()))
            .filter(|it| !state.lanes.contains(it))
            .collect();
        let decided = decided_of(&state, &entry);
        state.append(seq, &entry);
        let (mut head, mut row) = row_of(&state, entry.position)?;
        if entry.fact.is_for_code()
            && let Some(err) = too_much_open(&state, row.len())
        {
            // As if the turn had not been made.
            (entry.turn, state) = (stuck(&err), fold(&self.txn.journal(saga)?));
            self.driver.forget(saga);
            state.append(seq, &entry);
            (head, row) = row_of(&state, entry.position)?;
        }
        if let Some(start) = &state.start {
            self.note_holds(Owner::of(start), |it| reached.contains(it), &entry)?;
        }
        self.index_abandoned(saga, state.start.as_ref().map_or(0, |it| it.epoch), &entry)?;
        let size = self.txn.put_entry(saga, seq, entry)?;
        self.driver.grew(saga, size);
        if let Some(row) = decided {
            self.note_decided(row, &state)?;
        }
        if !was_over {
            self.let_code_go(saga, &state)?;
        }
        if let Some(start) = state.start.as_ref().filter(|_| state.is_being_told()) {
            self.telling.insert(saga, &start.definition, self.opened.input());
        }
        let after = Facets::of(&state, head.as_ref().map(Standing::of), &touched);
        let Some(head) = head else { return Ok(()) };
        self.follow((&before, &after), state, &head, row)
    }

    /// What follows when the code of a saga is over.
    pub(super) fn let_code_go(&mut self, saga: SagaId, state: &State) -> Result<(), StoreError> {
        if matches!(state.end, Some(End::Completed(_) | End::Aborted(..))) {
            self.give_back_unseen(saga)?;
        }
        if state.end.is_some() {
            self.driver.forget(saga);
        }
        Ok(())
    }

    /// Brings rows, indexes and effects in line with the new state; `row` is its head.
    pub(super) fn follow(
        &mut self,
        (before, after): (&Facets, &Facets),
        state: State,
        head: &Head,
        row: Vec<u8>,
    ) -> Result<(), StoreError> {
        let saga = head.id;
        self.has_grown(saga, state.entries);
        self.follow_waits(head, before, after)?;
        fn place((due, step): &(Time, Path)) -> (Time, &str) {
            (*due, step.as_str())
        }
        for (due, step) in gone(&before.timers, &after.timers, place) {
            self.timers.remove(&(*due, saga, step.clone()));
        }
        for (due, step) in gone(&after.timers, &before.timers, place) {
            self.timers.insert((*due, saga, step.clone()));
        }
        self.follow_effects(before, after);
        let shown = |it: &Facets| it.stands.map(|it| (it.status, it.paused));
        if shown(before) != shown(after) {
            self.effects.push(Effect::Note(Note::Status {
                saga,
                definition: head.definition.clone(),
                status: head.status,
                reason: head.reason.clone(),
                took_ms: head.ended_at.map(|it| it.0.saturating_sub(head.started_at.0)),
            }));
        }
        self.index_standing(before.stands, head)?;
        if state.ended_at.is_some() {
            return self.end(head, &state);
        }
        self.txn.put_encoded(Table::Open, saga.as_bytes(), row);
        self.states.insert(saga, Folded { state, stands: after.stands });
        Ok(())
    }

    fn follow_waits(
        &mut self,
        head: &Head,
        before: &Facets,
        after: &Facets,
    ) -> Result<(), StoreError> {
        fn place(wait: &OpenWait) -> &str {
            wait.step.as_str()
        }
        for wait in gone(&before.waits, &after.waits, place) {
            self.waits.remove(&head.definition, wait);
            self.forget_hold(head, wait);
        }
        for wait in gone(&after.waits, &before.waits, place) {
            self.waits.insert(&head.definition, head.id, wait);
            self.note_hold(head, wait)?;
            // Where nothing is kept, and nothing can come back, there is nothing to look at.
            let looks = || {
                let family = self.families.name(&head.definition);
                self.keeps_for(&head.definition, wait) || self.is_busy(family)
            };
            if wait.ask.is_none() && looks() {
                self.opened.look(&head.definition, head.id, &wait.step);
            }
        }
        Ok(())
    }

    fn follow_effects(&mut self, before: &Facets, after: &Facets) {
        fn place(effect: &Effect) -> (bool, &str) {
            match effect {
                Effect::Send(Request { id, .. }) => (id.is_undo, id.step.as_str()),
                Effect::Publish { step, .. } => (false, step.as_str()),
                // Nothing else is owed.
                _ => (false, ""),
            }
        }
        for effect in gone(&before.wanted, &after.wanted, place) {
            match effect {
                Effect::Send(Request { id, .. }) if self.withheld.remove(id) => (),
                // What has not left yet need not be called back.
                Effect::Send(Request { id, .. }) if self.sends.remove(id) => {
                    let is_it = |it: &Effect| matches!(it, Effect::Send(it) if it.id == *id);
                    self.effects.retain(|it| !is_it(it));
                }
                Effect::Send(request) => self.effects.push(Effect::Forget(request.id.clone())),
                Effect::Publish { saga, step, .. } => {
                    self.effects.push(Effect::Withdraw { saga: *saga, step: step.clone() });
                }
                _ => (),
            }
        }
        for effect in gone(&after.wanted, &before.wanted, place) {
            if let Effect::Send(request) = effect {
                self.sends.insert(request.id.clone());
            }
            self.effects.push(effect.clone());
        }
    }
}

/// The head of an open saga, and its bytes; none of one that has not started.
pub(super) fn row_of(
    state: &State,
    position: Position,
) -> Result<(Option<Head>, Vec<u8>), StoreError> {
    let head = Head::row(state, position);
    let row = head.as_ref().map_or(Ok(Vec::new()), encode)?;
    Ok((head, row))
}

pub(super) fn running<'a>(start: &'a Start, seq: u32, fact: &'a Fact) -> Running<'a> {
    Running {
        // A late arm has an id that stays.
        culprit: match fact {
            Fact::Started(_) if start.origin.is_none() => Culprit::Start,
            _ => Culprit::Saga(start.saga),
        },
        saga: Some(start.saga),
        definition: Cow::Borrowed(&start.definition),
        key: Cow::Borrowed(&start.key),
        seq,
        step: Cow::Borrowed(fact.step()),
    }
}

/// The row by which a saga is found under its business key.
pub(super) fn key_of_saga(key: &str, saga: SagaId) -> Vec<u8> {
    [&short_hash(&[key])[..], &saga.as_bytes()[..]].concat()
}

/// What is recorded when no turn could be made of a fact: it is held; or, for an answer that its
/// code cannot read, the call has no answer yet, and a person has to look before it is asked again.
pub(super) fn settled(fact: Fact, error: &ReplayError, at: Time) -> (Fact, Turn) {
    match (fact, error) {
        (Fact::Replied { step, .. }, ReplayError::UselessAnswer { .. }) => {
            let useless = Fact::Exhausted { step, reason: shown(error), abort: false };
            (useless, Turn::Done { at, decisions: Vec::new() })
        }
        (fact, error) => (fact, stuck(error)),
    }
}

pub(super) fn stuck(error: &ReplayError) -> Turn {
    Turn::Held(Hold::Stuck { message: shown(error) })
}

/// A message is for a list: what an author's panic says may be of any length.
fn shown(error: &ReplayError) -> String {
    const CHARS_MAX: usize = 2000;
    cut(&error.to_string(), CHARS_MAX).into_owned()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|it| [it >> 4, it & 15]);
    digits.map(|it| char::from(DIGITS[usize::from(it)])).collect()
}
