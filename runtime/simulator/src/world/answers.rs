//! What services and the broker do. They keep their promises: a service acts once for each key.

use super::{World, choose};
use saga_core::{
    effect::{Effect, Request},
    input::Answer,
};

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
            if self.refused.contains(&subject) {
                continue;
            }
            is_any = true;
            self.desk.broker_has(saga, step);
            self.desk.event_again(&id, &subject, body.to_value());
        }
        is_any
    }

    /// The broker does not take a subject from now on, or takes it again.
    pub(super) fn refuse_subject(&mut self, which: u8) {
        let subjects = self.desk.publishes().into_iter().filter_map(|it| match it {
            Effect::Publish { subject, .. } => Some(subject),
            _ => None,
        });
        let Some(subject) = choose(&subjects.collect::<Vec<_>>(), which).cloned() else { return };
        if !self.refused.remove(&subject) {
            self.refused.insert(subject);
        }
    }
}
