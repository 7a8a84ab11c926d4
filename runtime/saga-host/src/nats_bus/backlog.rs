//! Events that the broker does not have yet, and when each is given to it: a pure structure, driven
//! by the publisher.
//!
//! Events of one saga on one subject and key go one after the other, in the order of its journal;
//! nothing else waits for them. What was refused, and whatever has a subject on which something was
//! refused, has places of its own: so events that nobody takes hold up no others, however many they
//! are. An event that is refused rests for a while, longer each time, and is in nobody's way then.

use super::failure::Failure;
use crate::{engine::Publication, groups::Group, lines::Lines};
use saga_core::id::{Path, SagaId};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// Events under way at once on subjects that the broker takes.
const PLACES: usize = 48;
/// Events under way at once that the broker may refuse: each can hold its place until a time-out.
const PLACES_DOUBTFUL: usize = 16;
/// The first pause after a refusal: the stream may be full, or the broker just back.
const PAUSE_MS_MIN: u64 = 100;
/// The longest pause.
const PAUSE_MS_MAX: u64 = 30_000;
/// The longest pause after a broker that was away, beyond the first one.
const AWAY_MS_MAX: u64 = 2_000;
/// When the broker takes a subject again, so many of those that rest are tried at once; each that
/// it takes wakes as many.
const WAKES: usize = 16;
/// From so many refusals on, and for so long, somebody should know: a broker that starts anew
/// refuses for some seconds.
const REFUSALS_TOLD: u32 = 3;
const REFUSED_TOLD: Duration = Duration::from_secs(15);

/// An event by the step that publishes it.
pub(super) type EventId = (SagaId, Path);

/// Events that go one after the other: those of a saga on a subject and a key.
type Line = (SagaId, String, String);

/// All events that the broker does not have.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    open: BTreeMap<EventId, Open>,
    lines: BTreeMap<Line, VecDeque<EventId>>,
    subjects: BTreeMap<String, Subject>,
    /// What rests, by time.
    due: BTreeSet<(Instant, EventId)>,
    /// What may leave, as soon as there is a place.
    sure: Queue,
    doubtful: Queue,
}

#[derive(Debug)]
struct Open {
    publication: Arc<Publication>,
    attempts: u32,
    /// Its entry in `due`.
    next_at: Option<Instant>,
    /// Whose place it has.
    place: Option<Place>,
    failure: Option<Failure>,
    refused_since: Option<Instant>,
    wake: Wake,
    is_told: bool,
    /// The broker has it, and the core has not withdrawn it yet.
    is_taken: bool,
}

/// Whether what rests may be woken: once, and again when it has rested to the end since. One that
/// is refused for reasons of its own would be tried with every event that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    May,
    Woken,
    Spent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Sure,
    Doubtful,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Lines<Group, EventId>,
    under_way: usize,
}

/// What is known of a subject while there are events for it.
#[derive(Debug, Default)]
struct Subject {
    events: usize,
    is_refused: bool,
    /// What rests of it and may be woken.
    resting: BTreeSet<(Instant, EventId)>,
}

/// What can be told of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) attempts: u32,
    pub(super) next_at: Option<Instant>,
    pub(super) failure: Option<Failure>,
}

impl Backlog {
    /// Adds an event; one that is there already stays as it is.
    pub(super) fn add(&mut self, publication: Publication) {
        let id = id_of(&publication);
        if self.open.contains_key(&id) {
            return;
        }
        let line = self.lines.entry(line_of(&publication)).or_default();
        line.push_back(id.clone());
        let is_first = line.len() == 1;
        self.subjects.entry(publication.subject.clone()).or_default().events += 1;
        let open = Open {
            publication: Arc::new(publication),
            attempts: 0,
            next_at: None,
            place: None,
            failure: None,
            refused_since: None,
            wake: Wake::May,
            is_told: false,
            is_taken: false,
        };
        self.open.insert(id.clone(), open);
        if is_first {
            self.queue(id);
        }
    }

    /// Forgets an event, and lets the next one of its line leave.
    pub(super) fn forget(&mut self, id: &EventId) {
        self.unrest(id);
        self.give_back(id);
        let Some(open) = self.open.remove(id) else { return };
        let subject = &open.publication.subject;
        if let Some(known) = self.subjects.get_mut(subject) {
            known.events -= 1;
            if known.events == 0 {
                self.subjects.remove(subject);
            }
        }
        let key = line_of(&open.publication);
        let Some(line) = self.lines.get_mut(&key) else { return };
        let was_first = line.front() == Some(id);
        line.retain(|it| it != id);
        match line.front().cloned() {
            None => drop(self.lines.remove(&key)),
            Some(next) if was_first => self.queue(next),
            Some(_) => (),
        }
    }

    /// The broker has it: the core is told, and withdraws it. The subject is taken again.
    pub(super) fn taken(&mut self, id: &EventId, now: Instant) {
        self.give_back(id);
        let Some(open) = self.open.get_mut(id) else { return };
        (open.failure, open.is_taken) = (None, true);
        let subject = open.publication.subject.clone();
        let Some(known) = self.subjects.get_mut(&subject) else { return };
        known.is_refused = false;
        let woken: Vec<EventId> = known.resting.iter().take(WAKES).map(|it| it.1.clone()).collect();
        for id in woken {
            self.unrest(&id);
            self.open.entry(id.clone()).and_modify(|it| it.wake = Wake::Woken);
            self.rest(&id, now);
        }
    }

    /// The broker was away when it was to leave: it leaves when that is back.
    pub(super) fn away(&mut self, id: &EventId, now: Instant, random: impl FnOnce(u64) -> u64) {
        self.give_back(id);
        let Some(open) = self.open.get_mut(id) else { return };
        open.attempts = open.attempts.saturating_sub(1);
        // Not all at once: what fills the way puts the process out of touch anew.
        self.rest(id, now + Duration::from_millis(PAUSE_MS_MIN + random(AWAY_MS_MAX)));
    }

    /// The broker did not take it. Gives the event when somebody should be told of it.
    pub(super) fn refused(
        &mut self,
        id: &EventId,
        reason: &str,
        now: Instant,
        random: impl FnOnce(u64) -> u64,
    ) -> Option<Arc<Publication>> {
        self.give_back(id);
        let open = self.open.get_mut(id)?;
        let failure = Failure::again(open.failure.as_ref(), reason, now);
        let since = *open.refused_since.get_or_insert(now);
        let is_long = REFUSED_TOLD <= now.saturating_duration_since(since);
        let tells = REFUSALS_TOLD <= failure.times && is_long && !open.is_told;
        open.is_told |= tells;
        let doubled = PAUSE_MS_MIN.saturating_mul(1 << open.attempts.saturating_sub(1).min(32));
        let longest_ms = doubled.min(PAUSE_MS_MAX);
        let pause_ms = longest_ms - longest_ms / 2 + random(longest_ms / 2);
        let mut next = now + Duration::from_millis(pause_ms);
        if !is_long && REFUSALS_TOLD <= failure.times {
            // Somebody is told in time, and not after the long pause that begins before.
            next = next.min(since + REFUSED_TOLD);
        }
        open.failure = Some(failure);
        let publication = open.publication.clone();
        if let Some(known) = self.subjects.get_mut(&publication.subject) {
            known.is_refused = true;
        }
        self.rest(id, next);
        tells.then_some(publication)
    }

    /// An operator wants what rests of a saga tried now, and told of anew.
    pub(super) fn hurry(&mut self, saga: SagaId, now: Instant) {
        for id in self.ids_of(saga) {
            let Some(open) = self.open.get_mut(&id) else { continue };
            (open.refused_since, open.is_told) = (None, false);
            if open.next_at.is_some() {
                self.rest(&id, now);
            }
        }
    }

    /// What leaves now.
    pub(super) fn ready(&mut self, now: Instant) -> Vec<(EventId, Arc<Publication>)> {
        while let Some((_, id)) = self.due.first().cloned().filter(|it| it.0 <= now) {
            self.unrest(&id);
            self.open.entry(id.clone()).and_modify(|it| {
                it.wake = if it.wake == Wake::Woken { Wake::Spent } else { Wake::May };
            });
            self.queue(id);
        }
        let mut leaving = Vec::new();
        for (place, places) in [(Place::Sure, PLACES), (Place::Doubtful, PLACES_DOUBTFUL)] {
            while self.queue_of(place).under_way < places {
                let Some(id) = self.queue_of(place).waiting.pop() else { break };
                // It may be gone, wait elsewhere by now, or wait behind another one.
                let Some(open) = self.open.get_mut(&id).filter(|it| it.waits()) else { continue };
                let line = self.lines.get(&line_of(&open.publication));
                if line.and_then(VecDeque::front) != Some(&id) {
                    continue;
                }
                // Its subject may have been refused since it was queued.
                let known = self.subjects.get(&open.publication.subject);
                if place == Place::Sure && known.is_some_and(|it| it.is_refused) {
                    self.doubtful.waiting.push(open.publication.group, id);
                    continue;
                }
                open.attempts = open.attempts.saturating_add(1);
                open.place = Some(place);
                leaving.push((id, open.publication.clone()));
                self.queue_of(place).under_way += 1;
            }
        }
        leaving
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// When something has rested long enough.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|it| it.0)
    }

    /// Where an event goes.
    pub(super) fn subject(&self, id: &EventId) -> Option<String> {
        self.open.get(id).map(|it| it.publication.subject.clone())
    }

    /// What can be told of the events of a saga.
    pub(super) fn known(&self, saga: SagaId) -> Vec<(EventId, Known)> {
        let known = |id: EventId| {
            let open = self.open.get(&id)?;
            let (attempts, next_at) = (open.attempts, open.next_at);
            Some((id, Known { attempts, next_at, failure: open.failure.clone() }))
        };
        self.ids_of(saga).into_iter().filter_map(known).collect()
    }

    fn ids_of(&self, saga: SagaId) -> Vec<EventId> {
        let of_saga = self.open.range((saga, Path::root())..);
        of_saga.take_while(|it| it.0.0 == saga).map(|it| it.0.clone()).collect()
    }

    fn queue(&mut self, id: EventId) {
        let Some(open) = self.open.get(&id) else { return };
        let known = self.subjects.get(&open.publication.subject);
        let is_doubtful = open.failure.is_some() || known.is_some_and(|it| it.is_refused);
        let place = if is_doubtful { Place::Doubtful } else { Place::Sure };
        let group = open.publication.group;
        self.queue_of(place).waiting.push(group, id);
    }

    fn queue_of(&mut self, place: Place) -> &mut Queue {
        match place {
            Place::Sure => &mut self.sure,
            Place::Doubtful => &mut self.doubtful,
        }
    }

    fn give_back(&mut self, id: &EventId) {
        if let Some(place) = self.open.get_mut(id).and_then(|it| it.place.take()) {
            self.queue_of(place).under_way -= 1;
        }
    }

    fn rest(&mut self, id: &EventId, until: Instant) {
        self.unrest(id);
        let Some(open) = self.open.get_mut(id) else { return };
        open.next_at = Some(until);
        self.due.insert((until, id.clone()));
        if open.wake == Wake::May
            && let Some(known) = self.subjects.get_mut(&open.publication.subject)
        {
            known.resting.insert((until, id.clone()));
        }
    }

    fn unrest(&mut self, id: &EventId) {
        let Some(open) = self.open.get_mut(id) else { return };
        let Some(at) = open.next_at.take() else { return };
        self.due.remove(&(at, id.clone()));
        if let Some(known) = self.subjects.get_mut(&open.publication.subject) {
            known.resting.remove(&(at, id.clone()));
        }
    }
}

impl Open {
    fn waits(&self) -> bool {
        self.place.is_none() && self.next_at.is_none() && !self.is_taken
    }
}

fn id_of(it: &Publication) -> EventId {
    (it.saga, it.step.clone())
}

fn line_of(it: &Publication) -> Line {
    (it.saga, it.subject.clone(), it.key.clone())
}

#[cfg(test)]
mod tests;
