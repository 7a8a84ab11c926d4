//! From a fact to an entry of the journal, and to everything that follows from it.

use super::{
    Core, HEAD_BYTES_MAX, PAYLOAD_BYTES_MAX, TURN_BYTES_MAX, routes::KeptRow, wanted::wanted,
};
use crate::{
    codec::{DecidedRow, StartKeyRow, encoded_bytes},
    driver::Job,
    effect::{Effect, Note},
    fold::{OpenWait, State, Status, fold},
    head::Head,
    id::{Lane, Path, Position, SagaId, Time, call_key, short_hash},
    journal::{Command, Decision, Entry, Fact, Hold, Start, Turn},
    replay::{Applied, ReplayError},
    saga::Definition,
    store::{Store, StoreError, Table},
    watch::{Culprit, Running},
};
use std::borrow::Cow;

/// What of a state is found from outside; compared before and after an entry.
#[derive(Default)]
struct Facets {
    /// None of a saga that has not started.
    head: Option<Head>,
    wanted: Vec<Effect>,
}

impl Facets {
    fn of(state: &State, position: Position) -> Facets {
        Facets { head: Head::of(state, position), wanted: wanted(state) }
    }

    fn status(&self) -> Option<(Status, bool)> {
        self.head.as_ref().map(|it| (it.status, it.paused))
    }

    fn waits(&self) -> &[OpenWait] {
        self.head.as_ref().map_or(&[], |it| &it.waits)
    }

    fn timers(&self) -> &[(Time, Path)] {
        self.head.as_ref().map_or(&[], |it| &it.timers)
    }

    fn lanes(&self) -> &[(String, String)] {
        self.head.as_ref().map_or(&[], |it| &it.lanes)
    }
}

/// An open saga in memory, with what its last entry made of it: that is not worked out again when
/// the next one is compared with it.
#[derive(Default)]
pub(super) struct Folded {
    pub(super) state: State,
    facets: Facets,
    /// The size of its head row.
    head_bytes: usize,
}

impl<S: Store> Core<S> {
    /// The state of an open saga; nothing when there is none of this id, or when it has ended.
    pub(super) fn state(&mut self, saga: SagaId) -> Result<Option<&State>, StoreError> {
        if !self.states.contains_key(&saga) {
            let Some(head) = self.txn.get::<Head>(Table::Open, saga.as_bytes())? else {
                return Ok(None);
            };
            let head_bytes = crate::codec::encode(&head)?.len();
            let journal = self.txn.journal(saga)?;
            let (state, position) = (fold(&journal), journal.last().map_or(0, |it| it.position));
            let facets = Facets::of(&state, position);
            self.states.insert(saga, Folded { state, facets, head_bytes });
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
        let accepts = |it: &State| it.accepts(&fact);
        if !self.state(saga)?.is_some_and(accepts) {
            return Ok(false);
        }
        let folded = self.states.remove(&saga).unwrap_or_default();
        self.take_turn(saga, now, fact, folded)?;
        Ok(true)
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
        let (fact, turn) = match self.turn(&folded, at, &fact)? {
            Ok(turn) => (fact, turn),
            Err(err) => settled(fact, &err, at),
        };
        self.append(saga, folded, Entry { position: self.txn.next(), at, fact, turn })
    }

    /// What the code, or the core in its place, decides on a fact that the state accepts.
    fn turn(
        &mut self,
        folded: &Folded,
        at: Time,
        fact: &Fact,
    ) -> Result<Result<Turn, ReplayError>, StoreError> {
        let state = &folded.state;
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
        if HEAD_BYTES_MAX < folded.head_bytes {
            return Ok(Err(ReplayError::TooMuchOpen { bytes: folded.head_bytes }));
        }
        let applied = self.apply(start, state.entries, fact, at, at)?;
        Ok(applied.map(|applied| match applied {
            Applied::Decided(decisions) => Turn::Done { at, decisions },
            Applied::NotOpen => Turn::Done { at, decisions: Vec::new() },
        }))
    }

    /// Lets the driver make a turn.
    fn apply(
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
    fn append(&mut self, saga: SagaId, folded: Folded, entry: Entry) -> Result<(), StoreError> {
        let Folded { mut state, facets: before, .. } = folded;
        let (seq, had_held) = (state.entries, !state.held.is_empty());
        state.append(seq, &entry);
        let received = match &entry.fact {
            Fact::Received { step, .. } => Some(step.clone()),
            _ => None,
        };
        self.index_abandoned(saga, state.start.as_ref().map_or(0, |it| it.epoch), &entry)?;
        let size = self.txn.put_entry(saga, seq, entry)?;
        self.driver.grew(saga, size);
        if let Some(step) = received {
            self.note_decided(saga, &step, &state)?;
        }
        if had_held && state.held.is_empty() {
            self.give_back_held(saga)?;
        }
        if state.end.is_some() {
            self.driver.forget(saga);
        }
        self.follow(saga, &before, state)
    }

    /// Applies the facts that were held, one turn each, in order, until one cannot be applied.
    pub(super) fn apply_held(&mut self, now: Time, saga: SagaId) -> Result<(), StoreError> {
        let Some(state) = self.state(saga)?.cloned() else { return Ok(()) };
        let Some(start) = state.start.clone() else { return Ok(()) };
        let before = Facets::of(&state, 0);
        let mut journal = self.txn.journal(saga)?;
        for seq in state.held {
            let Some(entry) = journal.get_mut(seq as usize) else { break };
            let applied = match &entry.fact {
                // The state's copy of a start leaves its bodies out.
                Fact::Started(start) => {
                    self.apply(&start.clone(), seq, &entry.fact, entry.at, now)?
                }
                fact => self.apply(&start, seq, fact, entry.at, now)?,
            };
            let is_unseen = applied == Ok(Applied::NotOpen);
            entry.turn = match applied {
                Ok(Applied::Decided(decisions)) => Turn::Done { at: now, decisions },
                Ok(Applied::NotOpen) => Turn::Done { at: now, decisions: Vec::new() },
                Err(err) => {
                    let (fact, turn) = settled(entry.fact.clone(), &err, now);
                    entry.fact = fact;
                    turn
                }
            };
            let is_done = !matches!(entry.turn, Turn::Held(_));
            entry.position = self.txn.next();
            self.index_abandoned(saga, start.epoch, entry)?;
            let size = self.txn.put_entry(saga, seq, entry.clone())?;
            self.driver.grew(saga, size);
            if is_unseen {
                self.give_back(&start.definition, &start.key, &entry.fact)?;
            }
            if !is_done {
                break;
            }
        }
        self.follow(saga, &before, fold(&journal))
    }

    /// What became too old to be asked for while the saga was paused is for a person: it is not
    /// sent even once.
    pub(super) fn exhaust(&mut self, now: Time, saga: SagaId) -> Result<(), StoreError> {
        while let Some(fact) = self.state(saga)?.and_then(|it| it.exhausted_at(now)) {
            if !self.offer(now, saga, fact)? {
                break;
            }
        }
        Ok(())
    }

    /// Brings rows, indexes and effects in line with the new state.
    fn follow(&mut self, saga: SagaId, before: &Facets, state: State) -> Result<(), StoreError> {
        let position = self.txn.next() - 1;
        let after = Facets::of(&state, position);
        let Some(head) = &after.head else { return Ok(()) };
        self.follow_waits(head, before, &after);
        for timer in before.timers().iter().filter(|it| !after.timers().contains(it)) {
            self.timers.remove(&(timer.0, saga, timer.1.clone()));
        }
        for timer in after.timers().iter().filter(|it| !before.timers().contains(it)) {
            self.timers.insert((timer.0, saga, timer.1.clone()));
        }
        for lane in after.lanes().iter().filter(|it| !before.lanes().contains(it)) {
            *self.touched.entry(Lane::of(&head.definition, &lane.0, &lane.1)).or_default() += 1;
        }
        self.follow_effects(before, &after);
        if before.status() != after.status() {
            self.effects.push(Effect::Note(Note::Status {
                saga,
                definition: head.definition.clone(),
                status: head.status,
                reason: head.reason.clone(),
                started_at: head.started_at,
            }));
        }
        if state.ended_at.is_some() {
            return self.end(head);
        }
        let head_bytes = self.txn.put(Table::Open, saga.as_bytes(), head)?;
        self.states.insert(saga, Folded { state, facets: after, head_bytes });
        Ok(())
    }

    fn follow_waits(&mut self, head: &Head, before: &Facets, after: &Facets) {
        for wait in before.waits().iter().filter(|it| !after.waits().contains(it)) {
            self.waits.remove(&head.definition, wait);
        }
        for wait in after.waits().iter().filter(|it| !before.waits().contains(it)) {
            self.waits.insert(&head.definition, head.id, wait);
            if wait.ask.is_none() {
                self.opened.push_back((head.id, wait.step.clone()));
            }
        }
    }

    fn follow_effects(&mut self, before: &Facets, after: &Facets) {
        for effect in before.wanted.iter().filter(|it| !after.wanted.contains(it)) {
            match effect {
                // What has not left yet need not be called back.
                Effect::Send(request) if self.sends.remove(&request.id) => {
                    self.effects.retain(|it| it != effect);
                }
                Effect::Send(request) => self.effects.push(Effect::Forget(request.id.clone())),
                Effect::Publish { saga, step, .. } => {
                    self.effects.push(Effect::Withdraw { saga: *saga, step: step.clone() });
                }
                _ => (),
            }
        }
        for effect in after.wanted.iter().filter(|it| !before.wanted.contains(it)) {
            if let Effect::Send(request) = effect {
                self.sends.insert(request.id.clone());
            }
            self.effects.push(effect.clone());
        }
    }

    /// The answer to a question is found by the event and key under which services know it.
    fn note_decided(&mut self, saga: SagaId, step: &Path, state: &State) -> Result<(), StoreError> {
        let position = self.txn.next() - 1;
        let epoch = state.start.as_ref().map_or(0, |it| it.epoch);
        for asked in state.asked.iter().filter(|it| it.step == *step) {
            let Some(decided) = &asked.decided else { continue };
            let row = DecidedRow {
                position,
                saga,
                step: step.clone(),
                approved: decided.approved,
                by: decided.by.clone(),
                id: call_key(saga, epoch, step),
            };
            let key = short_hash(&[&asked.event, &asked.key]);
            self.txn.put(Table::Decided, &key, &row)?;
        }
        Ok(())
    }
}

fn running<'a>(start: &'a Start, seq: u32, fact: &'a Fact) -> Running<'a> {
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
fn settled(fact: Fact, error: &ReplayError, at: Time) -> (Fact, Turn) {
    match (fact, error) {
        (Fact::Replied { step, .. }, ReplayError::UselessAnswer { .. }) => {
            let useless = Fact::Exhausted { step, reason: error.to_string(), abort: false };
            (useless, Turn::Done { at, decisions: Vec::new() })
        }
        (fact, error) => (fact, Turn::Held(Hold::Stuck { message: error.to_string() })),
    }
}

/// What the code may not ask for: it could never come to an end.
fn refused(definition: &Definition, decisions: &[Decision]) -> Option<ReplayError> {
    let undeclared = decisions.iter().find_map(|it| undeclared(definition, it));
    let bad_subject = || commands(decisions).find_map(bad_subject);
    undeclared.or_else(bad_subject).or_else(|| too_large(decisions)).or_else(|| too_much(decisions))
}

fn undeclared(definition: &Definition, decision: &Decision) -> Option<ReplayError> {
    let Decision::Wait { events, ask, .. } = decision else { return None };
    events.iter().find_map(|event| {
        let message = match definition.declared(event) {
            None => {
                format!(
                    "waits for {event}, which its definition does not declare: add it to events()"
                )
            }
            Some(it) if it.is_decision && ask.is_none() => {
                format!("waits for {event}, which only a person decides: say .ask(…)")
            }
            Some(it) if !it.is_decision && ask.is_some() => {
                format!("asks for {event}, which is not declared as a decision")
            }
            Some(_) => return None,
        };
        Some(ReplayError::Undeclared { message })
    })
}

/// Everything that would be sent.
fn commands(decisions: &[Decision]) -> impl Iterator<Item = &Command> {
    let commands = decisions.iter().flat_map(|decision| match decision {
        Decision::Call { command, undo, .. } => [Some(command), undo.as_ref()],
        Decision::Publish { command, .. } | Decision::Undo { command, .. } => [Some(command), None],
        _ => [None, None],
    });
    commands.flatten()
}

fn bad_subject(command: &Command) -> Option<ReplayError> {
    let fault = crate::subject::fault(&command.subject)?;
    // Whoever reads the message needs the beginning of a long one.
    let subject = command.subject.chars().take(80).collect();
    Some(ReplayError::BadSubject { subject, fault })
}

fn too_large(decisions: &[Decision]) -> Option<ReplayError> {
    let is_too_large = |it: &&Command| PAYLOAD_BYTES_MAX < it.body.text().len();
    let command = commands(decisions).find(is_too_large)?;
    let (subject, bytes) = (command.subject.clone(), command.body.text().len());
    Some(ReplayError::TooLarge { subject, bytes })
}

fn too_much(decisions: &[Decision]) -> Option<ReplayError> {
    /// What the least decision adds to a head: the times and the names of its step.
    const DECISION_BYTES: usize = 128;
    let of_each = decisions.len().saturating_mul(DECISION_BYTES);
    let bytes = encoded_bytes(&decisions).saturating_add(of_each);
    (TURN_BYTES_MAX < bytes).then_some(ReplayError::TooMuch { bytes })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|it| [it >> 4, it & 15]);
    digits.map(|it| char::from(DIGITS[usize::from(it)])).collect()
}
