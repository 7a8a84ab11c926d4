//! When each unanswered request is sent again: a pure structure, driven by the courier.
//!
//! The longest pause doubles with each attempt. After a failure the pause is a random part of it
//! (full jitter). After silence it is at least half of it: a service that is slow because it has
//! much to do is not given more to do. Requests of one subject share a bounded number of places in
//! flight: a service that comes back after a night is asked in order, not flooded, and each group
//! of definitions in its turn. A place is given back when an answer comes, or when the request is
//! due again. A service that answers again wakes some of what waits for it, and each of these
//! answers wakes some more.

use super::failure::Failure;
use crate::{groups::Group, lines::Lines};
use saga_core::{
    effect::{Request, RequestId},
    id::SagaId,
    journal::RetryMs,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// Requests of one subject that may be unanswered at once.
const IN_FLIGHT_MAX: usize = 256;
/// Far longer than the core takes for an answer; one that it could not use must not be the last.
const ANSWERED_PAUSE: Duration = Duration::from_secs(10);
/// Nothing that has failed is asked again sooner.
const PAUSE_MS_MIN: u64 = 100;

/// What is told of silence.
pub(super) const NO_ANSWER: &str = "no answer in time";

/// An answer wakes so many that have failed or were not answered.
const WAKES: usize = 16;
/// Failures that are remembered of requests that are sent no more: a person looks at them.
const PAST_MAX: usize = 4096;

/// All requests without an answer.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    open: BTreeMap<RequestId, Open>,
    /// What is due, by time.
    due: BTreeSet<(Instant, RequestId)>,
    lines: BTreeMap<String, Line>,
    /// Lines in which something may be sent.
    moving: BTreeSet<String>,
    /// The last failures of requests that are sent no more without an answer.
    past: BTreeMap<RequestId, Failure>,
    /// What was not answered in time since somebody last asked, with its subject.
    silent: Vec<(RequestId, String)>,
}

#[derive(Debug)]
struct Open {
    group: Group,
    request: Arc<Request>,
    attempts: u32,
    /// Its entry in `due`; nothing while it waits in its line.
    next_at: Option<Instant>,
    is_in_flight: bool,
    failure: Option<Failure>,
    wake: Wake,
}

/// Whether what has failed may be woken: once, and again when it has waited to the end since. One
/// that fails for reasons of its own would be sent with every answer to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    May,
    Woken,
    Spent,
}

/// The requests of one subject.
#[derive(Debug, Default)]
struct Line {
    in_flight: usize,
    /// Due, but without a place. May name requests that are gone.
    waiting: Lines<Group, RequestId>,
    /// What has failed, or was not answered, and may be woken.
    resting: BTreeSet<(Instant, RequestId)>,
}

/// What can be told of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempts {
    /// How often it was sent.
    pub(crate) attempts: u32,
    /// When it is sent again; nothing while it waits for a place, or is sent no more.
    pub(crate) next_at: Option<Instant>,
    /// What went wrong last.
    pub(crate) failure: Option<Failure>,
}

impl Schedule {
    /// Adds a request, or puts a new form in the place of an old one.
    pub(super) fn add(&mut self, group: Group, request: Request, at: Instant) {
        self.forget(&request.id);
        let id = request.id.clone();
        self.due.insert((at, id.clone()));
        let open = Open {
            group,
            request: Arc::new(request),
            attempts: 0,
            next_at: Some(at),
            is_in_flight: false,
            failure: self.past.remove(&id),
            wake: Wake::May,
        };
        self.open.insert(id, open);
    }

    pub(super) fn forget(&mut self, id: &RequestId) {
        self.unrest(id);
        let Some(open) = self.open.remove(id) else { return };
        if let Some(failure) = open.failure {
            if PAST_MAX <= self.past.len() {
                self.past.clear();
            }
            self.past.insert(id.clone(), failure);
        }
        if open.is_in_flight {
            self.leave(&open.request.subject);
        }
        self.tidy(&open.request.subject);
    }

    /// The service has answered that it could not, or there is none. Gives where it was sent.
    pub(super) fn failed(
        &mut self,
        id: &RequestId,
        reason: &str,
        now: Instant,
        random: impl FnOnce(u64) -> u64,
    ) -> Option<String> {
        let open = self.open.get_mut(id).filter(|it| it.is_in_flight)?;
        open.is_in_flight = false;
        open.failure = Some(Failure::again(open.failure.as_ref(), reason, now));
        let longest_ms = longest_ms(&open.request.retry, open.attempts);
        let pause_ms = random(longest_ms).max(PAUSE_MS_MIN.min(longest_ms));
        let subject = open.request.subject.clone();
        self.rest(id, now + Duration::from_millis(pause_ms));
        self.leave(&subject);
        Some(subject)
    }

    /// An answer is on its way to the core, which then wants the request no more. Should it want it
    /// still, it is asked again. One of no use says why. The service is awake: so wakes what waits
    /// for it.
    pub(super) fn answered(&mut self, id: &RequestId, useless: Option<&str>, now: Instant) {
        let Some(open) = self.open.get_mut(id) else { return };
        open.failure = useless.map(|it| Failure::again(open.failure.as_ref(), it, now));
        let (subject, was_in_flight) = (open.request.subject.clone(), open.is_in_flight);
        open.is_in_flight = false;
        self.put_off(id, now + ANSWERED_PAUSE);
        if was_in_flight {
            self.leave(&subject);
        }
        let resting = self.lines.get(&subject).map(|it| it.resting.iter().take(WAKES).cloned());
        for (_, id) in resting.into_iter().flatten().collect::<Vec<_>>() {
            self.wake(&id, now);
        }
    }

    /// An operator wants what waits to be sent again for a saga sent now.
    pub(super) fn hurry(&mut self, saga: SagaId, now: Instant) {
        let ids: Vec<RequestId> = self.attempts(saga).map(|it| it.0).collect();
        for id in ids {
            if self.open.get(&id).is_some_and(|it| it.next_at.is_some()) {
                self.wake(&id, now);
            }
        }
    }

    fn wake(&mut self, id: &RequestId, now: Instant) {
        self.unrest(id);
        self.open.entry(id.clone()).and_modify(|it| it.wake = Wake::Woken);
        self.put_off(id, now);
    }

    /// Waits until then, and may be woken before.
    fn rest(&mut self, id: &RequestId, until: Instant) {
        self.put_off(id, until);
        let Some(open) = self.open.get(id).filter(|it| it.wake == Wake::May) else { return };
        let line = self.lines.entry(open.request.subject.clone()).or_default();
        line.resting.insert((until, id.clone()));
    }

    fn put_off(&mut self, id: &RequestId, at: Instant) {
        self.unrest(id);
        let Some(open) = self.open.get_mut(id) else { return };
        open.next_at = Some(at);
        self.due.insert((at, id.clone()));
    }

    fn unrest(&mut self, id: &RequestId) {
        let Some(open) = self.open.get_mut(id) else { return };
        let Some(at) = open.next_at.take() else { return };
        self.due.remove(&(at, id.clone()));
        if let Some(line) = self.lines.get_mut(&open.request.subject) {
            line.resting.remove(&(at, id.clone()));
        }
    }

    /// What is to be sent now. `random` gives numbers from 0 up to its argument.
    pub(super) fn ready(
        &mut self,
        now: Instant,
        mut random: impl FnMut(u64) -> u64,
    ) -> Vec<(Arc<Request>, u32)> {
        self.queue(now);
        let mut sends = Vec::new();
        for subject in std::mem::take(&mut self.moving) {
            while let Some(id) = self.lines.get_mut(&subject).and_then(Line::next) {
                let Some(open) = self.open.get_mut(&id).filter(|it| it.next_at.is_none()) else {
                    self.leave(&subject);
                    continue;
                };
                open.attempts = open.attempts.saturating_add(1);
                open.is_in_flight = true;
                let longest_ms = longest_ms(&open.request.retry, open.attempts);
                let pause_ms = longest_ms - longest_ms / 2 + random(longest_ms / 2);
                sends.push((open.request.clone(), open.attempts));
                let (at, is_silent) = (now + Duration::from_millis(pause_ms), open.attempts > 1);
                match is_silent && open.failure.is_some() {
                    true => self.rest(&id, at),
                    false => self.put_off(&id, at),
                }
            }
            self.tidy(&subject);
        }
        sends
    }

    /// What was not answered in time since this was asked last, with its subject.
    pub(super) fn silent(&mut self) -> Vec<(RequestId, String)> {
        std::mem::take(&mut self.silent)
    }

    /// What was sent on a subject and is not answered.
    pub(super) fn in_flight(&self, subject: &str) -> Vec<RequestId> {
        let is_there = |it: &Open| it.is_in_flight && it.request.subject == subject;
        self.open.iter().filter(|it| is_there(it.1)).map(|it| it.0.clone()).collect()
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|it| it.0)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// What can be told of the requests of a saga.
    pub(super) fn attempts(
        &self,
        saga: SagaId,
    ) -> impl Iterator<Item = (RequestId, Attempts)> + '_ {
        let first = RequestId { saga, step: saga_core::id::Path::root(), is_undo: false };
        let open = self.open.range(first.clone()..).take_while(move |it| it.0.saga == saga);
        let open = open.map(|(id, it)| {
            let (attempts, next_at) = (it.attempts, it.next_at);
            (id.clone(), Attempts { attempts, next_at, failure: it.failure.clone() })
        });
        let past = self.past.range(first..).take_while(move |it| it.0.saga == saga);
        let past = past.map(|(id, it)| {
            (id.clone(), Attempts { attempts: 0, next_at: None, failure: Some(it.clone()) })
        });
        open.chain(past)
    }

    /// Moves what is due into its line; one that was in flight until now gives back its place.
    fn queue(&mut self, now: Instant) {
        while let Some((_, id)) = self.due.first().cloned().filter(|it| it.0 <= now) {
            self.unrest(&id);
            let Some(open) = self.open.get_mut(&id) else { continue };
            let was_woken = open.wake == Wake::Woken;
            open.wake = if was_woken { Wake::Spent } else { Wake::May };
            let (group, subject) = (open.group, open.request.subject.clone());
            if std::mem::take(&mut open.is_in_flight) {
                if !was_woken {
                    open.failure = Some(Failure::again(open.failure.as_ref(), NO_ANSWER, now));
                    self.silent.push((id.clone(), subject.clone()));
                }
                self.leave(&subject);
            }
            self.lines.entry(subject.clone()).or_default().waiting.push(group, id);
            self.moving.insert(subject);
        }
    }

    fn leave(&mut self, subject: &str) {
        if let Some(line) = self.lines.get_mut(subject) {
            line.in_flight = line.in_flight.saturating_sub(1);
            self.moving.insert(subject.to_owned());
        }
    }

    fn tidy(&mut self, subject: &str) {
        let is_empty =
            |it: &Line| it.in_flight == 0 && it.waiting.is_empty() && it.resting.is_empty();
        if self.lines.get(subject).is_some_and(is_empty) {
            self.lines.remove(subject);
        }
    }
}

impl Line {
    /// Takes a place for the next in line.
    fn next(&mut self) -> Option<RequestId> {
        let id = if self.in_flight < IN_FLIGHT_MAX { self.waiting.pop() } else { None };
        self.in_flight += usize::from(id.is_some());
        id
    }
}

/// The longest pause after so many attempts.
fn longest_ms(retry: &RetryMs, attempts: u32) -> u64 {
    let doubled = retry.first_ms.saturating_mul(1 << attempts.saturating_sub(1).min(32));
    doubled.min(retry.pause_ms_max).max(1)
}

#[cfg(test)]
mod tests;
