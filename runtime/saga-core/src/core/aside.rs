//! Sagas whose rows cannot be read. Such a one is set aside: lists show it with the reason, nothing
//! more happens to it, what is meant for it is kept, and all others go on. A broken place of the
//! log, or a row that several sagas share, is another matter: nobody could say whose money it was,
//! so the process ends.

use super::Core;
use crate::{
    codec::decode,
    effect::{Effect, Note},
    fold::{Attention, Problem, State, Status, fold},
    head::Head,
    id::{Position, SagaId, Time},
    journal::{Entry, Fact, Patience, Start, Turn},
    payload::Payload,
    store::{Store, StoreError, Table},
};

/// Stands where a definition and a business key would.
const UNREADABLE: &str = "unreadable";

impl<S: Store> Core<S> {
    /// From here on nothing happens to the saga, until a person wants it to be tried again.
    pub(super) fn set_aside(&mut self, saga: SagaId, err: &StoreError) -> Result<(), StoreError> {
        self.driver.forget(saga);
        self.states.remove(&saga);
        self.has_changed(saga);
        let is_open = self.txn.has(Table::Open, saga.as_bytes())?;
        if !is_open || self.aside.contains_key(&saga) {
            return Ok(());
        }
        let head = self.txn.get::<Head>(Table::Open, saga.as_bytes());
        let head = head.ok().flatten().map(|it| shown_aside(it, err));
        let Some(head) = head.or_else(|| self.guessed(saga, err)) else { return Ok(()) };
        self.write_head(&head)?;
        self.aside.insert(saga, head.reason.clone().unwrap_or_default());
        self.effects.push(Effect::Note(Note::Status {
            saga,
            definition: head.definition,
            status: head.status,
            reason: head.reason,
            took_ms: None,
        }));
        Ok(())
    }

    /// A person wants the saga to be tried again: what is known of it from outside comes back, if
    /// it can be read now.
    pub(super) fn take_back(&mut self, now: Time, saga: SagaId) -> Result<(), StoreError> {
        if self.aside.remove(&saga).is_none() {
            return Ok(());
        }
        let Some(state) = self.state(saga)?.cloned() else { return Ok(()) };
        let Some(start) = &state.start else { return Ok(()) };
        if let Some(head) = Head::row(&state, self.txn.next() - 1) {
            self.write_head(&head)?;
        }
        for wait in &state.waits {
            self.waits.insert(&start.definition, saga, wait);
            if wait.ask.is_none() {
                self.opened.look(&start.definition, saga, &wait.step);
            }
        }
        // As at a start: it may have owed something for long, or been in the middle of something.
        self.owing.insert(saga);
        if state.is_being_told() {
            self.telling.insert(saga, &start.definition, self.opened.input());
        }
        self.give_out(now, saga)?;
        self.copy_to_those_back(&start.definition)
    }

    /// The head of an open saga at the start. One that cannot be read is made anew from the
    /// journal.
    pub(super) fn head_at_start(&mut self, saga: SagaId, value: &[u8]) -> Result<Head, StoreError> {
        let read = match decode::<Head>(value) {
            Err(err) if err.is_damage() => Err(err),
            Ok(head) if is_aside(&head) => Ok(head),
            read => return read,
        };
        if let Some(head) = self.of_journal(saga, Head::row) {
            self.write_head(&head)?;
            return Ok(head);
        }
        let err = match read {
            Ok(head) => {
                self.aside.insert(saga, head.reason.clone().unwrap_or_default());
                return Ok(head);
            }
            Err(err) => err,
        };
        self.set_aside(saga, &err)?;
        self.guessed(saga, &err).ok_or(err)
    }

    /// Writes a head in the place of one that may not be readable.
    fn write_head(&mut self, head: &Head) -> Result<(), StoreError> {
        self.index_standing_anew(head)?;
        self.txn.put(Table::Open, head.id.as_bytes(), head)?;
        Ok(())
    }

    /// A head for whoever only looks; one that cannot be read is made from the journal, or says why
    /// not.
    pub(super) fn shown(
        &self,
        saga: SagaId,
        read: Result<Option<Head>, StoreError>,
    ) -> Result<Option<Head>, StoreError> {
        match read {
            Err(err) if err.is_damage() => {
                Ok(self.of_journal(saga, Head::of).or_else(|| self.guessed(saga, &err)))
            }
            read => read,
        }
    }

    pub(super) fn of_journal(
        &self,
        saga: SagaId,
        head: impl FnOnce(&State, Position) -> Option<Head>,
    ) -> Option<Head> {
        let journal = self.txn.journal(saga).ok()?;
        head(&fold(&journal), journal.last()?.position)
    }

    /// What can be said of a saga without its head: how it began, if that can be read.
    fn guessed(&self, saga: SagaId, err: &StoreError) -> Option<Head> {
        let first = self.txn.first(saga).ok().flatten();
        let began = first.filter(|it| matches!(it.fact, Fact::Started(_)));
        let began = began.unwrap_or_else(|| unreadable_start(saga));
        let head = Head::of(&fold(std::slice::from_ref(&began)), began.position)?;
        // Whether any of this is still open nobody knows.
        let (waits, sleeps, calls, timers) = Default::default();
        Some(shown_aside(Head { waits, sleeps, calls, timers, owes: false, ..head }, err))
    }
}

fn unreadable_start(saga: SagaId) -> Entry {
    let at = saga.time();
    let start = Start {
        saga,
        definition: UNREADABLE.to_owned(),
        version: 0,
        build: String::new(),
        key: UNREADABLE.to_owned(),
        epoch: 0,
        input: Payload::null(),
        settings: Payload::null(),
        origin: None,
        event: None,
        patience: Patience::default(),
        alias: None,
    };
    let turn = Turn::Done { at, decisions: Vec::new() };
    Entry { position: 0, at, fact: Fact::Started(start), turn }
}

fn is_aside(head: &Head) -> bool {
    head.attention.as_ref().is_some_and(|it| it.problem == Problem::SetAside)
}

fn shown_aside(head: Head, err: &StoreError) -> Head {
    let message = format!(
        "set aside: {}; retry with a build that reads it, or restore the store from a backup",
        err.reason
    );
    let since = head.updated_at;
    let attention = Attention { problem: Problem::SetAside, message: message.clone(), since };
    let (status, reason, attention) = (Status::Attention, Some(message), Some(attention));
    Head { status, reason, attention, ..head }
}
