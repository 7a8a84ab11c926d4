//! When each unanswered request is sent again: a pure structure, driven by the courier.
//!
//! The longest pause doubles with each attempt. After a failure the pause is a random part of it
//! (full jitter). After silence it is at least half of it: a service that is slow because it has
//! much to do is not given more to do. Requests of one subject share a bounded number of places in
//! flight: a service that comes back after a night is asked in order, not flooded. A place is given
//! back when an answer comes, or when the request is due again.

use saga_core::{
    effect::{Request, RequestId},
    id::SagaId,
    journal::RetryMs,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// Requests of one subject that may be unanswered at once.
const IN_FLIGHT_MAX: usize = 256;
/// Far longer than the core takes for an answer; one that it could not use must not be the last.
const ANSWERED_PAUSE: Duration = Duration::from_secs(10);
/// Nothing that has failed is asked again sooner.
const PAUSE_MS_MIN: u64 = 100;

/// All requests without an answer.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    open: BTreeMap<RequestId, Open>,
    /// What is due, by time.
    due: BTreeSet<(Instant, RequestId)>,
    lines: BTreeMap<String, Line>,
    /// Lines in which something may be sent.
    moving: BTreeSet<String>,
}

#[derive(Debug)]
struct Open {
    request: Arc<Request>,
    attempts: u32,
    /// Its entry in `due`; nothing while it waits in its line.
    next_at: Option<Instant>,
    is_in_flight: bool,
}

/// The requests of one subject.
#[derive(Debug, Default)]
struct Line {
    in_flight: usize,
    /// Due, but without a place. May name requests that are gone.
    waiting: VecDeque<RequestId>,
}

/// What can be told of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempts {
    /// How often it was sent.
    pub(crate) attempts: u32,
    /// When it is sent again; nothing while it waits for a place.
    pub(crate) next_at: Option<Instant>,
}

impl Schedule {
    /// Adds a request, or puts a new form in the place of an old one.
    pub(super) fn add(&mut self, request: Request, at: Instant) {
        self.forget(&request.id);
        let id = request.id.clone();
        self.due.insert((at, id.clone()));
        let open = Open {
            request: Arc::new(request),
            attempts: 0,
            next_at: Some(at),
            is_in_flight: false,
        };
        self.open.insert(id, open);
    }

    pub(super) fn forget(&mut self, id: &RequestId) {
        let Some(open) = self.open.remove(id) else { return };
        if let Some(at) = open.next_at {
            self.due.remove(&(at, id.clone()));
        }
        if open.is_in_flight {
            self.leave(&open.request.subject);
        }
        self.tidy(&open.request.subject);
    }

    /// The service has answered that it could not, or there is none.
    pub(super) fn failed(&mut self, id: &RequestId, now: Instant, random: impl FnOnce(u64) -> u64) {
        let Some(open) = self.open.get_mut(id).filter(|it| it.is_in_flight) else { return };
        open.is_in_flight = false;
        let longest_ms = longest_ms(&open.request.retry, open.attempts);
        let pause_ms = random(longest_ms).max(PAUSE_MS_MIN.min(longest_ms));
        Self::put_off(&mut self.due, open, now + Duration::from_millis(pause_ms));
        let subject = open.request.subject.clone();
        self.leave(&subject);
    }

    /// An answer is on its way to the core, which then wants the request no more. Should it want it
    /// still, it is asked again.
    pub(super) fn answered(&mut self, id: &RequestId, now: Instant) {
        let Some(open) = self.open.get_mut(id) else { return };
        Self::put_off(&mut self.due, open, now + ANSWERED_PAUSE);
        if std::mem::take(&mut open.is_in_flight) {
            let subject = open.request.subject.clone();
            self.leave(&subject);
        }
    }

    fn put_off(due: &mut BTreeSet<(Instant, RequestId)>, open: &mut Open, at: Instant) {
        let id = &open.request.id;
        if let Some(old) = open.next_at.replace(at) {
            due.remove(&(old, id.clone()));
        }
        due.insert((at, id.clone()));
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
                let at = now + Duration::from_millis(pause_ms);
                open.next_at = Some(at);
                self.due.insert((at, id));
                sends.push((open.request.clone(), open.attempts));
            }
            self.tidy(&subject);
        }
        sends
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
        let is_ours = move |it: &(&RequestId, &Open)| it.0.saga == saga;
        let first = RequestId { saga, step: saga_core::id::Path::root(), is_undo: false };
        self.open.range(first..).take_while(is_ours).map(|(id, open)| {
            (id.clone(), Attempts { attempts: open.attempts, next_at: open.next_at })
        })
    }

    /// Moves what is due into its line; one that was in flight until now gives back its place.
    fn queue(&mut self, now: Instant) {
        while let Some((at, id)) = self.due.first().cloned().filter(|it| it.0 <= now) {
            self.due.remove(&(at, id.clone()));
            let Some(open) = self.open.get_mut(&id) else { continue };
            open.next_at = None;
            let subject = open.request.subject.clone();
            if std::mem::take(&mut open.is_in_flight) {
                self.leave(&subject);
            }
            self.lines.entry(subject.clone()).or_default().waiting.push_back(id);
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
        let is_empty = |it: &Line| it.in_flight == 0 && it.waiting.is_empty();
        if self.lines.get(subject).is_some_and(is_empty) {
            self.lines.remove(subject);
        }
    }
}

impl Line {
    /// Takes a place for the next in line.
    fn next(&mut self) -> Option<RequestId> {
        let id = if self.in_flight < IN_FLIGHT_MAX { self.waiting.pop_front() } else { None };
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
mod tests {
    use super::*;
    use saga_core::{
        id::{Path, Time},
        message::Retry,
        payload::Payload,
    };
    use uuid::Uuid;

    const MS: Duration = Duration::from_millis(1);

    fn request(number: u32, subject: &str) -> Request {
        let saga = SagaId(Uuid::nil());
        Request {
            id: RequestId { saga, step: Path::root().child(number), is_undo: false },
            epoch: 0,
            subject: subject.into(),
            key: number.to_string(),
            body: Payload::null(),
            undo: None,
            attempt_class: 1,
            since: Time(0),
            retry: Retry::DEFAULT.into(),
            saga_key: "k".into(),
        }
    }

    fn keys(sends: &[(Arc<Request>, u32)]) -> Vec<String> {
        sends.iter().map(|it| it.0.key.clone()).collect()
    }

    #[test]
    fn pauses_double_up_to_their_bound() {
        let (start, mut schedule) = (Instant::now(), Schedule::default());
        schedule.add(request(0, "a"), start);
        let mut pauses = Vec::new();
        let mut at = start;
        for _ in 0..10 {
            assert_eq!(schedule.ready(at, |max| max).len(), 1);
            let next = schedule.next().expect("it is due again");
            pauses.push((next - at).as_millis());
            at = next;
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        schedule.ready(at, |_| 0);
        assert_eq!(schedule.next(), Some(at + 30_000 * MS), "silence is borne for half of it");
    }

    #[test]
    fn what_has_failed_is_asked_again_soon_but_not_at_once() {
        let (now, mut schedule) = (Instant::now(), Schedule::default());
        schedule.add(request(0, "a"), now);
        schedule.ready(now, |max| max);
        schedule.failed(&request(0, "a").id, now, |_| 0);
        assert_eq!(schedule.next(), Some(now + 100 * MS));
        assert!(schedule.ready(now, |max| max).is_empty());
        assert_eq!(schedule.ready(now + 100 * MS, |max| max).len(), 1);
        assert_eq!(schedule.due.len(), 1);
    }

    #[test]
    fn a_subject_has_so_many_places_and_gives_them_in_order() {
        let (now, mut schedule) = (Instant::now(), Schedule::default());
        let many = u32::try_from(IN_FLIGHT_MAX).expect("it fits") + 2;
        (0..many).for_each(|it| schedule.add(request(it, "a"), now));
        schedule.add(request(many, "b"), now);
        assert_eq!(schedule.ready(now, |max| max).len(), IN_FLIGHT_MAX + 1, "b is not held up");
        schedule.failed(&request(0, "a").id, now, |max| max);
        assert_eq!(keys(&schedule.ready(now, |max| max)), ["256"]);
        schedule.forget(&request(1, "a").id);
        assert_eq!(keys(&schedule.ready(now, |max| max)), ["257"]);
    }

    #[test]
    fn an_answer_that_is_on_its_way_gives_its_place_back_and_is_waited_for() {
        let (now, mut schedule) = (Instant::now(), Schedule::default());
        schedule.add(request(0, "a"), now);
        schedule.ready(now, |max| max);
        schedule.answered(&request(0, "a").id, now);
        assert_eq!(schedule.next(), Some(now + ANSWERED_PAUSE));
        assert_eq!(schedule.lines.get("a").map(|it| it.in_flight), Some(0));
        assert_eq!(schedule.ready(now + ANSWERED_PAUSE, |max| max).len(), 1);
    }

    #[test]
    fn what_is_forgotten_is_never_sent_and_leaves_nothing_behind() {
        let (now, mut schedule) = (Instant::now(), Schedule::default());
        (0..3).for_each(|it| schedule.add(request(it, "a"), now));
        schedule.forget(&request(1, "a").id);
        assert_eq!(keys(&schedule.ready(now, |max| max)), ["0", "2"]);
        schedule.forget(&request(0, "a").id);
        schedule.forget(&request(2, "a").id);
        assert!(schedule.ready(now + 1000 * MS, |max| max).is_empty());
        assert!(schedule.open.is_empty() && schedule.due.is_empty() && schedule.lines.is_empty());
    }

    #[test]
    fn a_new_form_of_a_request_begins_anew() {
        let (now, mut schedule) = (Instant::now(), Schedule::default());
        schedule.add(request(0, "a"), now);
        schedule.ready(now, |max| max);
        schedule.add(request(0, "b"), now);
        let sends = schedule.ready(now, |max| max);
        assert_eq!((sends[0].0.subject.as_str(), sends[0].1), ("b", 1));
        let told: Vec<_> = schedule.attempts(SagaId(Uuid::nil())).collect();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].1.attempts, 1);
    }
}
