//! Who gets an event. A lane is (definition, name, key), first in, first out by arrival.

use super::{Core, KEY_BYTES_MAX, events::identity_key, turns::hex};
use crate::{
    codec::{EventRecord, IdentityRow, NoteRecord, StartKeyRow},
    effect::{Outcome, Verdict},
    fold::OpenWait,
    id::{Lane, Path, Position, SagaId, Time, short_hash},
    journal::{EventRef, Fact, Start},
    lanes::WaitRef,
    payload::Payload,
    saga::{Declared, Definition, Route},
    store::{Kind, Store, StoreError, Table},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::cell::OnceCell;

/// An event on its way to a definition.
pub(super) struct Routed<'a> {
    pub(super) position: Position,
    pub(super) event: &'a EventRecord,
    pub(super) key: String,
    pub(super) lane: Lane,
}

/// What became of it there.
pub(super) type Fate = (Outcome, Option<SagaId>, Option<String>);

/// What a kept or unrouted row says; the event itself is in the log.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptRow {
    pub(super) position: Position,
}

impl<S: Store> Core<S> {
    /// Every definition that declares the name receives the event once; those that ruled on it
    /// before have received it. It is offered again when a definition is linked that is missing.
    pub(super) fn route_all(
        &mut self,
        now: Time,
        position: Position,
        event: &EventRecord,
        ruled: &[Verdict],
    ) -> Result<Vec<Verdict>, StoreError> {
        let has_ruled = |it: &str| ruled.iter().any(|by| by.definition.as_deref() == Some(it));
        let declaring = self.registry.declaring(&event.name).into_iter();
        let declaring: Vec<Definition> =
            declaring.filter(|it| !has_ruled(it.name)).cloned().collect();
        let is_unrouted = declaring.is_empty() && ruled.iter().all(|it| it.definition.is_none());
        if is_unrouted || self.orphaned.contains(&event.name) {
            let key = unrouted_key(&event.name, position);
            self.txn.put(Table::Unrouted, &key, &KeptRow { position })?;
        }
        if is_unrouted {
            let outcome = Outcome::Unrouted;
            return Ok(vec![Verdict { definition: None, outcome, saga: None, detail: None }]);
        }
        let mut verdicts = Vec::with_capacity(declaring.len());
        for definition in &declaring {
            let (outcome, saga, detail) = self.route(now, definition, position, event)?;
            let definition = Some(definition.name.to_owned());
            verdicts.push(Verdict { definition, outcome, saga, detail });
        }
        Ok(verdicts)
    }

    pub(super) fn route(
        &mut self,
        now: Time,
        definition: &Definition,
        position: Position,
        event: &EventRecord,
    ) -> Result<Fate, StoreError> {
        let dead = |why: String| Ok((Outcome::DeadLetter, None, Some(why)));
        let Some(declared) = definition.declared(&event.name) else {
            return dead("the definition does not declare it".to_owned());
        };
        let key = match self.usable(definition, event)? {
            Ok(key) => key,
            Err(why) => return dead(why),
        };
        let lane = Lane::of(definition.name, &event.name, &key);
        let routed = Routed { position, event, key, lane };
        let takers = self.takers(&routed, declared.route);
        if let Some(first) = takers.first().map(|it| it.saga) {
            for taker in takers {
                self.offer(now, taker.saga, received(&routed, taker.step))?;
                self.match_opened(now)?;
            }
            return Ok((Outcome::Consumed, Some(first), None));
        }
        if declared.starts {
            return self.start_by_event(now, definition, &routed);
        }
        if declared.route == Route::Each {
            return Ok((Outcome::Unclaimed, None, Some("nobody holds for it".to_owned())));
        }
        match self.late_by_claim(now, definition, &routed)? {
            Some(fate) => Ok(fate),
            None => self.keep_unless_full(&routed),
        }
    }

    fn takers(&self, routed: &Routed<'_>, route: Route) -> Vec<WaitRef> {
        let body = OnceCell::new();
        let holds = |wait: &&WaitRef| {
            let body = || body.get_or_init(|| routed.event.body.to_value());
            !wait.asks && (wait.filter.0.is_empty() || wait.filter.holds(body()))
        };
        let holding = self.waits.of(&routed.lane).filter(holds).cloned();
        match route {
            Route::Oldest => holding.take(1).collect(),
            Route::Each => holding.collect(),
        }
    }

    /// A start key is unique for each definition as long as its row lives.
    fn start_by_event(
        &mut self,
        now: Time,
        definition: &Definition,
        routed: &Routed<'_>,
    ) -> Result<Fate, StoreError> {
        let (event, digest) = (routed.event, routed.event.body.digest());
        let start_key = short_hash(&[definition.name, &routed.key]);
        if let Some(row) = self.txn.get::<StartKeyRow>(Table::StartKey, &start_key)? {
            let is_same = row.digest == hex(&digest);
            let outcome = if is_same { Outcome::DuplicateStart } else { Outcome::ConflictingStart };
            return Ok((outcome, Some(row.saga), None));
        }
        let check = || (definition.check_input)(&event.body);
        if let Err(why) = self.reading(definition, event, check)? {
            return Ok((Outcome::DeadLetter, None, Some(why)));
        }
        let by = EventRef { name: event.name.clone(), id: event.id.clone() };
        let mut start = self.start_of(now, definition, &routed.key, event.body.clone());
        start.event = Some(by);
        let saga = start.saga;
        self.begin(now, start, Some(digest))?;
        Ok((Outcome::Started, Some(saga), None))
    }

    pub(super) fn start_of(
        &self,
        now: Time,
        definition: &Definition,
        key: &str,
        input: Payload,
    ) -> Start {
        Start {
            saga: SagaId::at(now, self.txn.store().instance(), self.txn.next()),
            definition: definition.name.to_owned(),
            version: definition.version,
            build: self.registry.build().to_owned(),
            key: key.to_owned(),
            epoch: 0,
            input,
            settings: definition.settings.clone(),
            origin: None,
            event: None,
        }
    }

    /// A full lane keeps no more.
    fn keep_unless_full(&mut self, routed: &Routed<'_>) -> Result<Fate, StoreError> {
        let count = self.kept.get(&routed.lane).copied().unwrap_or_default();
        if self.limits.lane_events_max <= count {
            let why = format!("the lane of key {} is full with {count} events", routed.key);
            return Ok((Outcome::DeadLetter, None, Some(why)));
        }
        self.keep(routed)
    }

    /// Kept for a wait that opens later.
    fn keep(&mut self, routed: &Routed<'_>) -> Result<Fate, StoreError> {
        *self.kept.entry(routed.lane).or_default() += 1;
        let row = KeptRow { position: routed.position };
        self.txn.put(Table::Kept, &kept_key(&routed.lane, routed.position), &row)?;
        Ok((Outcome::Kept, None, None))
    }

    pub(super) fn take_kept(&mut self, lane: &Lane, position: Position) {
        self.txn.delete(Table::Kept, &kept_key(lane, position));
        if let Some(count) = self.kept.get_mut(lane) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.kept.remove(lane);
            }
        }
    }

    /// Lets each wait that was just opened look at what its lanes keep, until nothing moves.
    pub(super) fn match_opened(&mut self, now: Time) -> Result<(), StoreError> {
        while let Some((saga, step)) = self.opened.pop_front() {
            let Some(state) = self.state(saga)? else { continue };
            let wait = state.waits.iter().find(|it| it.step == step).cloned();
            let definition = state.start.as_ref().map(|it| it.definition.clone());
            let (Some(wait), Some(definition)) = (wait, definition) else { continue };
            if let Some((lane, position)) = self.oldest_kept(&definition, &wait)? {
                self.hand_over(now, saga, &definition, &step, lane, position)?;
            }
        }
        Ok(())
    }

    fn hand_over(
        &mut self,
        now: Time,
        saga: SagaId,
        definition: &str,
        step: &Path,
        lane: Lane,
        position: Position,
    ) -> Result<(), StoreError> {
        let Some(event) = self.txn.record::<EventRecord>(Kind::Event, position)? else {
            return Ok(());
        };
        let routed = Routed { position, event: &event, key: String::new(), lane };
        // It leaves its lane first: the saga may end on it, and what is left then is swept away.
        self.take_kept(&lane, position);
        if self.offer(now, saga, received(&routed, step.clone()))? {
            return self.rule(definition, &event, (Outcome::Consumed, Some(saga), None));
        }
        self.keep(&routed).map(drop)
    }

    /// The oldest kept event that the wait takes, over all of its lanes.
    fn oldest_kept(
        &self,
        definition: &str,
        wait: &OpenWait,
    ) -> Result<Option<(Lane, Position)>, StoreError> {
        let mut oldest: Option<(Lane, Position)> = None;
        if self.kept.is_empty() {
            return Ok(oldest); // Most often; it saves the hashes of the lanes.
        }
        for name in &wait.events {
            let lane = Lane::of(definition, name, &wait.key);
            for position in self.kept_in(&lane)? {
                if oldest.is_some_and(|it| it.1 <= position) {
                    break;
                }
                let holds = wait.filter.0.is_empty()
                    || self
                        .txn
                        .record::<EventRecord>(Kind::Event, position)?
                        .is_some_and(|it| wait.filter.holds(&it.body.to_value()));
                if holds {
                    oldest = Some((lane, position));
                    break;
                }
            }
        }
        Ok(oldest)
    }

    /// Where the kept events of a lane are, the oldest first.
    pub(super) fn kept_in(&self, lane: &Lane) -> Result<Vec<Position>, StoreError> {
        if !self.kept.contains_key(lane) {
            return Ok(Vec::new());
        }
        let rows = self.txn.all(Table::Kept, &lane.0)?;
        rows.iter()
            .map(|(_, value)| crate::codec::decode(value))
            .map(|it| it.map(|row: KeptRow| row.position))
            .collect()
    }

    /// An event that was taken, but never seen by the code, goes back to its place in its lane, and
    /// whoever holds for it now may have it.
    pub(super) fn give_back(
        &mut self,
        definition: &str,
        key: &str,
        fact: &Fact,
    ) -> Result<(), StoreError> {
        let Fact::Received { event: name, event_at: position, .. } = fact else { return Ok(()) };
        let Some(event) = self.txn.record::<EventRecord>(Kind::Event, *position)? else {
            return Ok(());
        };
        let declared = self.registry.get(definition).and_then(|it| it.declared(name));
        if declared.is_some_and(|it| it.route == Route::Each) {
            return Ok(()); // It was a copy.
        }
        let key = declared.and_then(|it| key_of(&event, it).ok()).unwrap_or(key.to_owned());
        let lane = Lane::of(definition, name, &key);
        let routed = Routed { position: *position, event: &event, key, lane };
        let holding = self.waits.of(&lane).filter(|it| !it.asks);
        self.opened.extend(holding.map(|it| (it.saga, it.step.clone())));
        let fate = self.keep(&routed)?;
        self.rule(definition, &event, fate)
    }

    /// The facts that a saga's code will never see: its events go back to their lanes.
    pub(super) fn give_back_held(&mut self, saga: SagaId) -> Result<(), StoreError> {
        let journal = self.txn.journal(saga)?;
        let Some(Fact::Started(start)) = journal.first().map(|it| it.fact.clone()) else {
            return Ok(());
        };
        for entry in &journal {
            if matches!(entry.turn, crate::journal::Turn::Held(_)) {
                self.give_back(&start.definition, &start.key, &entry.fact)?;
            }
        }
        Ok(())
    }

    /// Writes what became of an event for a definition.
    pub(super) fn rule(
        &mut self,
        definition: &str,
        event: &EventRecord,
        (outcome, saga, detail): Fate,
    ) -> Result<(), StoreError> {
        let key = identity_key(&event.name, &event.source, &event.id);
        let Some(mut row) = self.txn.get::<IdentityRow>(Table::Identity, &key)? else {
            return Ok(());
        };
        let is_ours = |it: &&mut Verdict| it.definition.as_deref() == Some(definition);
        if let Some(verdict) = row.verdicts.iter_mut().find(is_ours) {
            (verdict.outcome, verdict.saga, verdict.detail) = (outcome, saga, detail);
            // Who consumed it says so in its journal.
            if outcome != Outcome::Consumed {
                let (event, verdict) = (row.position, verdict.clone());
                self.txn.put_record(Kind::Note, &NoteRecord::Ruled { event, verdict })?;
            }
        }
        self.txn.put(Table::Identity, &key, &row).map(drop)
    }
}

/// The business key of an event: as its publisher says, or as its body does.
pub(super) fn key_of(event: &EventRecord, declared: &Declared) -> Result<String, String> {
    let key = match &event.key {
        Some(key) => key.clone(),
        None => match event.body.to_value().pointer(declared.key) {
            Some(Value::String(key)) => key.clone(),
            Some(Value::Number(key)) => key.to_string(),
            _ => return Err(format!("no key: no header Fermata-Key, and no {}", declared.key)),
        },
    };
    checked_key(key)
}

/// What can be a business key: it is shown in lists, typed into commands and sent in headers.
pub(super) fn checked_key(key: String) -> Result<String, String> {
    match key.len() {
        1..=KEY_BYTES_MAX if key.chars().any(char::is_control) => {
            Err("a key with control characters; a line of text is allowed".to_owned())
        }
        1..=KEY_BYTES_MAX => Ok(key),
        size => Err(format!("a key of {size} bytes; from 1 to {KEY_BYTES_MAX} are allowed")),
    }
}

pub(super) fn unrouted_key(name: &str, position: Position) -> Vec<u8> {
    [&short_hash(&[name])[..], &position.to_be_bytes()[..]].concat()
}

fn kept_key(lane: &Lane, position: Position) -> Vec<u8> {
    [&lane.0[..], &position.to_be_bytes()[..]].concat()
}

fn received(routed: &Routed<'_>, step: Path) -> Fact {
    Fact::Received {
        step,
        event: routed.event.name.clone(),
        event_id: routed.event.id.clone(),
        event_at: routed.position,
        body: routed.event.body.clone(),
    }
}
