//! What services and the broker do. They keep their promises: a service acts once for each key.

use super::{World, choose};
use crate::blame::checked;
use saga_core::{
    effect::{Effect, Request},
    fold::fold,
    input::Answer,
};

/// What the broker says when it says why it does not take an event.
pub(crate) const REFUSAL: &str = "no stream takes this subject";

impl World {
    /// The requests that somebody may answer now.
    pub(super) fn answerable(&self) -> Vec<Request> {
        let mut requests = self.desk.requests();
        requests.retain(|it| !self.silent.contains(&it.subject));
        requests
    }

    fn chosen(&self, which: u8) -> Option<Request> {
        choose(&self.answerable(), which).cloned()
    }

    pub(super) fn serve(&mut self, which: u8) {
        if let Some(request) = self.chosen(which) {
            self.answer(&request);
        }
    }

    pub(super) fn answer(&mut self, request: &Request) {
        let answer = self.services.ask(request);
        self.desk.answer(&request.id, answer);
    }

    pub(super) fn lose(&mut self, which: u8) {
        if let Some(request) = self.chosen(which) {
            self.services.ask(&request);
        }
    }

    /// A refused call stays refused, a refused undo leaves no trace.
    pub(super) fn refuse(&mut self, which: u8) {
        let Some(request) = self.chosen(which) else { return };
        let answer = match self.services.knows(&request) {
            true => self.services.ask(&request),
            false if request.undo.is_none() => self.services.refuse(&request, "no"),
            false => Answer::Rejected { code: "no".to_owned(), reason: "no".to_owned() },
        };
        self.desk.answer(&request.id, answer);
    }

    pub(super) fn answers_uselessly(&mut self, which: u8) {
        if let Some(request) = self.chosen(which) {
            self.services.ask(&request);
            self.desk.answer(&request.id, Answer::Useless { reason: "too large".to_owned() });
        }
    }

    pub(super) fn arrives_again(&mut self, which: u8) {
        let Some(request) = choose(&self.seen, which).cloned() else { return };
        if !self.silent.contains(&request.subject) {
            self.answer(&request);
        }
    }

    pub(super) fn silence(&mut self, which: u8) {
        let subjects: Vec<String> = self.seen.iter().map(|it| it.subject.clone()).collect();
        let Some(subject) = choose(&subjects, which).cloned() else { return };
        if !self.silent.remove(&subject) {
            self.silent.insert(subject);
        }
    }

    /// What the broker takes comes back to us, as all that is in the stream. Whether it took any.
    pub(super) fn publish(&mut self) -> bool {
        let mut is_any = false;
        for effect in self.desk.publishes() {
            let Effect::Publish { saga, step, id, subject, body, .. } = effect else { continue };
            if let Some(says_so) = self.refused.get(&subject) {
                if *says_so {
                    self.desk.broker_refuses(saga, step, REFUSAL);
                }
                continue;
            }
            is_any = true;
            self.taken.push((saga, step.clone()));
            self.desk.broker_has(saga, step);
            self.desk.event_again(&id, &subject, body.to_value());
        }
        is_any
    }

    /// The broker does not take a subject from now on, and says so or is silent, or takes it again.
    pub(super) fn refuse_subject(&mut self, which: u8) {
        let subjects = self.desk.publishes().into_iter().filter_map(|it| match it {
            Effect::Publish { subject, .. } => Some(subject),
            _ => None,
        });
        let Some(subject) = choose(&subjects.collect::<Vec<_>>(), which).cloned() else { return };
        if self.refused.remove(&subject).is_none() {
            self.refused.insert(subject, which.is_multiple_of(2));
        }
    }

    /// An operator gives up an undo that needs a person.
    pub(super) fn waive(&mut self, which: u8) {
        let mut waivable = Vec::new();
        for head in self.heads().into_iter().filter(|it| !it.status.is_ended()) {
            let state = fold(&self.journal(head.id));
            let undos = state.waivable().map(|it| (head.id, it.step.clone(), it.command.clone()));
            waivable.extend(undos);
        }
        let Some((saga, step, command)) = choose(&waivable, which).cloned() else { return };
        self.desk.look_at(saga);
        checked("an_undo_that_needs_a_person_can_be_waived", || {
            let reply = self.desk.waive(Some(&step.to_string()));
            assert!(reply.is_ok(), "{step} of {saga}: {reply:?}");
            let asked = self
                .desk
                .requests()
                .into_iter()
                .find(|it| it.id.saga == saga && it.id.step == step && it.undo.is_some());
            assert_eq!(asked, None, "it was given up, and is asked on");
        });
        self.waived.push(command);
    }
}
