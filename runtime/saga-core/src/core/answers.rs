//! What services answer: the first answer for an open step wins.

use super::Core;
use crate::{
    codec::NoteRecord,
    effect::{Effect, Note},
    fold::{State, fold},
    id::{Path, SagaId, Time},
    input::{Answer, Answered},
    journal::{Entry, Fact},
    store::{Kind, Store, StoreError},
};

impl<S: Store> Core<S> {
    pub(super) fn answered(&mut self, now: Time, answered: Answered) -> Result<(), StoreError> {
        let Answered { saga, epoch, step, is_undo, answer } = answered;
        let fact = fact_of(step.clone(), is_undo, answer);
        let is_open = self.state(saga)?.is_some_and(|state| is_of_epoch(state, epoch));
        if is_open && self.offer(now, saga, fact.clone())? {
            return Ok(());
        }
        self.answered_beside(now, saga, epoch, &step, &fact)
    }

    /// One for an abandoned call is recorded beside the saga, also when the saga has ended, and
    /// told to nobody. Any other is a repeat, or, what should never be, another answer to what is
    /// answered.
    fn answered_beside(
        &mut self,
        now: Time,
        saga: SagaId,
        epoch: u32,
        step: &Path,
        fact: &Fact,
    ) -> Result<(), StoreError> {
        let journal = self.txn.journal(saga)?;
        let state = fold(&journal);
        if is_of_epoch(&state, epoch)
            && state.abandoned.contains(step)
            && let Some(outcome) = outcome_of_call(fact)
        {
            let (at, step, outcome) = (now, step.clone(), outcome.to_owned());
            self.txn.put_record(Kind::Note, &NoteRecord::LateAnswer { at, saga, step, outcome })?;
            return Ok(());
        }
        let is_other = journal.iter().any(|it| contradicts(it, fact));
        let step = step.clone();
        self.effects.push(Effect::Note(match is_other {
            true => Note::InconsistentAnswer { saga, step },
            false => Note::StaleAnswer { saga, step },
        }));
        Ok(())
    }
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

/// Whether the entry holds another answer to the same call.
fn contradicts(entry: &Entry, fact: &Fact) -> bool {
    match (&entry.fact, fact) {
        (Fact::Replied { step, body }, Fact::Replied { step: it, body: other }) => {
            step == it && body != other
        }
        (Fact::Rejected { step, code, .. }, Fact::Rejected { step: it, code: other, .. }) => {
            step == it && code != other
        }
        (Fact::Replied { step, .. }, Fact::Rejected { step: it, .. })
        | (Fact::Rejected { step, .. }, Fact::Replied { step: it, .. }) => step == it,
        _ => false,
    }
}

fn fact_of(step: Path, is_undo: bool, answer: Answer) -> Fact {
    match (is_undo, answer) {
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
