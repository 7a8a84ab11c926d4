//! People who decide.

use super::{World, choose};
use crate::blame::checked;
use saga_core::{
    effect::Reply,
    fold::OpenWait,
    id::{Path, SagaId, TaskId},
    input::{Actor, Command, Decide, Role, Target},
};

/// A decision that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decided {
    pub(crate) saga: SagaId,
    /// The question.
    pub(crate) step: Path,
    /// Who decided: each decision is made by somebody else.
    pub(crate) by: String,
}

impl World {
    fn questions(&self) -> Vec<(SagaId, OpenWait)> {
        let heads = self.heads().into_iter();
        let of = |head: saga_core::head::Head| {
            let asks = head.waits.into_iter().filter(|it| it.ask.is_some());
            asks.map(move |it| (head.id, it)).collect::<Vec<_>>()
        };
        heads.flat_map(of).collect()
    }

    pub(super) fn decide(&mut self, which: u8, approved: bool, how: u8) {
        let questions = self.questions();
        let Some((saga, wait)) = choose(&questions, which).cloned() else { return };
        let seen = self.desk.head_of(saga).and_then(|it| it.seen(&wait));
        let target = match how % 2 {
            0 => Target::Task(TaskId { saga, step: wait.step }),
            _ => Target::Event { name: wait.events[0].clone(), key: wait.key },
        };
        // Most say what they were shown, some nothing, and some something else.
        let seen = match how / 2 % 4 {
            0 => None,
            1 => Some("something else".to_owned()),
            _ => seen,
        };
        let reason = Some("because".to_owned());
        let decide = Decide { target, approved, reason, seen };
        let is_accepted = self.decides(decide.clone());
        self.sent = Some((decide, is_accepted));
    }

    /// What was accepted once answers nothing else now.
    pub(super) fn decide_again(&mut self) {
        let Some((decide, was_accepted)) = self.sent.clone() else { return };
        let is_accepted = self.decides(decide.clone());
        checked("a_repeated_decision_answers_nothing_else", || {
            assert!(!(was_accepted && is_accepted), "{decide:?} was accepted twice");
        });
        self.sent = Some((decide, was_accepted || is_accepted));
    }

    /// Whether it was accepted.
    pub(super) fn decides(&mut self, decide: Decide) -> bool {
        let by = format!("person {}", self.desk.audits().len());
        let actor = Actor { name: by.clone(), role: Role::Approver };
        let before = self.questions();
        let reply = self.desk.ask(actor, Command::Decide(decide.clone()));
        let Ok(Reply::Accepted(saga)) = reply else { return false };
        let after = self.questions();
        let answered: Vec<_> = before.into_iter().filter(|it| !after.contains(it)).collect();
        checked("a_decision_answers_one_question", || {
            let [(of, wait)] = &answered[..] else { panic!("{decide:?} answered {answered:?}") };
            assert_eq!(*of, saga, "{decide:?}");
            self.decided.push(Decided { saga, step: wait.step.clone(), by });
        });
        true
    }
}
