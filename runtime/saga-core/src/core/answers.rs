//! What services answer: the first answer for an open step wins.

use super::Core;
use crate::{
    codec::{AbandonedRow, NoteRecord},
    effect::{Effect, Note},
    fold::State,
    head::HeadCall,
    id::{Path, SagaId, Time},
    input::{Answer, Answered},
    journal::{Decision, Entry, Fact, Turn},
    store::{Kind, Store, StoreError, Table},
    text::{CODE_CHARS_MAX, REASON_CHARS_MAX, cut},
};

/// Outcomes of one abandoned call that are recorded: it was done, or refused, and then refused
/// because it has been undone. What a service makes up beyond that is not worth a record.
const LATE_OUTCOMES_MAX: usize = 4;

impl<S: Store> Core<S> {
    pub(super) fn answered(&mut self, now: Time, answered: Answered) -> Result<(), StoreError> {
        let Answered { saga, epoch, step, is_undo, answer } = answered;
        let fact = fact_of(step.clone(), is_undo, answer);
        if self.asks(saga, epoch, &step, is_undo)? && self.offer(now, saga, fact.clone())? {
            return Ok(());
        }
        self.answered_beside(now, saga, epoch, &step, &fact)
    }

    /// Whether the saga waits for this answer. A repeated one costs a look at the head row of a
    /// saga that is not in memory, not its journal.
    pub(super) fn asks(
        &self,
        saga: SagaId,
        epoch: u32,
        step: &Path,
        is_undo: bool,
    ) -> Result<bool, StoreError> {
        if let Some(folded) = self.states.get(&saga) {
            return Ok(is_of_epoch(&folded.state, epoch));
        }
        let head = self.shown(saga, self.txn.get(Table::Open, saga.as_bytes()))?;
        Ok(head.is_some_and(|head| {
            let is_it = |call: &HeadCall| call.step == *step && call.is_undo == is_undo;
            // What is not listed its state knows.
            head.epoch == epoch && (0 < head.unlisted || head.calls.iter().any(is_it))
        }))
    }

    /// One for an abandoned call is recorded beside the saga, also when the saga has ended, and
    /// told to nobody. Any other is a repeat.
    fn answered_beside(
        &mut self,
        now: Time,
        saga: SagaId,
        epoch: u32,
        step: &Path,
        fact: &Fact,
    ) -> Result<(), StoreError> {
        if !self.note_late(now, saga, epoch, step, fact)? {
            self.effects.push(Effect::Note(Note::StaleAnswer { saga, step: step.clone() }));
        }
        Ok(())
    }

    /// False for what is no answer to an abandoned call, and for one that is recorded already.
    fn note_late(
        &mut self,
        now: Time,
        saga: SagaId,
        epoch: u32,
        step: &Path,
        fact: &Fact,
    ) -> Result<bool, StoreError> {
        let Some(outcome) = outcome_of_call(fact).map(str::to_owned) else { return Ok(false) };
        let key = key_of_call(saga, step);
        let row = self.txn.get::<AbandonedRow>(Table::Abandoned, &key)?;
        let Some(mut row) = row.filter(|it| it.epoch == epoch) else { return Ok(false) };
        if LATE_OUTCOMES_MAX <= row.outcomes.len() || row.outcomes.contains(&outcome) {
            return Ok(false);
        }
        row.outcomes.push(outcome.clone());
        let (at, step) = (now, step.clone());
        let late = NoteRecord::LateAnswer { at, saga, step, outcome };
        row.position = self.txn.put_record(Kind::Note, &late)?;
        self.txn.put(Table::Abandoned, &key, &row)?;
        Ok(true)
    }

    /// Answers to what an entry abandons are found by a row of their own: they may come when the
    /// saga has ended long ago.
    pub(super) fn index_abandoned(
        &mut self,
        saga: SagaId,
        epoch: u32,
        entry: &Entry,
    ) -> Result<(), StoreError> {
        let Turn::Done { decisions, .. } = &entry.turn else { return Ok(()) };
        for decision in decisions {
            let Decision::Abandoned { step } = decision else { continue };
            let row = AbandonedRow { position: entry.position, epoch, outcomes: Vec::new() };
            self.txn.put(Table::Abandoned, &key_of_call(saga, step), &row)?;
        }
        Ok(())
    }
}

fn key_of_call(saga: SagaId, step: &Path) -> Vec<u8> {
    [&saga.as_bytes()[..], step.as_str().as_bytes()].concat()
}

fn is_of_epoch(state: &State, epoch: u32) -> bool {
    state.start.as_ref().is_some_and(|it| it.epoch == epoch)
}

/// What a service says to a call: `ok`, or why not. Nothing, for what it says to an undo.
fn outcome_of_call(fact: &Fact) -> Option<&str> {
    match fact {
        Fact::Replied { .. } => Some("ok"),
        Fact::Rejected { code, .. } => Some(code),
        Fact::Exhausted { reason, .. } => Some(reason),
        _ => None,
    }
}

/// The words of a service, as far as they are kept.
fn told(answer: Answer) -> Answer {
    let reason = |it: String| cut(&it, REASON_CHARS_MAX).into_owned();
    match answer {
        Answer::Ok(body) => Answer::Ok(body),
        Answer::Rejected { code, reason: why } => {
            let code = cut(&code, CODE_CHARS_MAX).into_owned();
            Answer::Rejected { code, reason: reason(why) }
        }
        Answer::Useless { reason: why } => Answer::Useless { reason: reason(why) },
    }
}

fn fact_of(step: Path, is_undo: bool, answer: Answer) -> Fact {
    match (is_undo, told(answer)) {
        (false, Answer::Ok(body)) => Fact::Replied { step, body },
        (false, Answer::Rejected { code, reason }) => Fact::Rejected { step, code, reason },
        (false, Answer::Useless { reason }) => Fact::Exhausted { step, reason, abort: false },
        (true, Answer::Ok(_)) => Fact::Undone { step },
        (true, Answer::Rejected { code, reason }) => Fact::UndoRejected { step, code, reason },
        (true, Answer::Useless { reason }) => {
            Fact::UndoRejected { step, code: "useless_answer".to_owned(), reason }
        }
    }
}
