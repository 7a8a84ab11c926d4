//! Who gets an event. A lane is (definition, name, key), first in, first out by arrival.

use super::{Core, KEY_BYTES_MAX, KeptLane, copies::nobody_holds, events::identity_of, turns::hex};
use crate::{
    codec::{EventRecord, IdentityRow, NoteRecord, StartKeyRow},
    effect::{Outcome, Verdict},
    exact::{Tree, Unreadable},
    id::{Alias, Lane, Path, Place, Position, SagaId, Time, short_hash},
    journal::{EventRef, Fact, Start},
    lanes::WaitRef,
    payload::Payload,
    saga::{Declared, Definition, Route},
    store::{Kind, Store, StoreError, Table},
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, cell::OnceCell};

/// An event on its way to a definition.
pub(super) struct Routed<'a> {
    pub(super) position: Position,
    pub(super) event: &'a EventRecord,
    pub(super) key: String,
    pub(super) lane: Lane,
    /// Its body, read when somebody compares something in it.
    tree: OnceCell<Option<Tree<'a>>>,
}

impl<'a> Routed<'a> {
    pub(super) fn of(
        position: Position,
        event: &'a EventRecord,
        key: String,
        lane: Lane,
    ) -> Routed<'a> {
        Routed { position, event, key, lane, tree: OnceCell::new() }
    }

    fn tree(&self) -> Option<&Tree<'a>> {
        self.tree.get_or_init(|| self.event.body.tree().ok()).as_ref()
    }
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
    /// before have received it. Of those that are missing, sagas that hold for it do; else it is
    /// offered again when their definition is linked.
    pub(super) fn route_all(
        &mut self,
        now: Time,
        position: Position,
        event: &EventRecord,
        ruled: &[Verdict],
    ) -> Result<Vec<Verdict>, StoreError> {
        let has_ruled = |it: &str| ruled.iter().any(|by| by.definition.as_deref() == Some(it));
        let mut hearing = self.hearing(&event.name);
        hearing.retain(|it| !has_ruled(it.name));
        let mut verdicts = Vec::with_capacity(hearing.len());
        for definition in &hearing {
            let (outcome, saga, detail) = self.route(now, definition, position, event)?;
            let definition = Some(definition.name.to_owned());
            verdicts.push(Verdict { definition, outcome, saga, detail });
        }
        verdicts.extend(self.give_to_missing(now, position, event, ruled)?);
        let ruled: Vec<Verdict> = ruled.iter().chain(&verdicts).cloned().collect();
        let is_unrouted = ruled.iter().all(|it| it.definition.is_none());
        if is_unrouted || self.is_missed(&event.name, &ruled) {
            let key = unrouted_key(&event.name, position);
            self.txn.put(Table::Unrouted, &key, &KeptRow { position })?;
        }
        if is_unrouted {
            let outcome = Outcome::Unrouted;
            return Ok(vec![Verdict { definition: None, outcome, saga: None, detail: None }]);
        }
        Ok(verdicts)
    }

    /// The definitions that hear of an event: whoever asks a person for it does not, but is told
    /// what the person decided.
    pub(super) fn hearing(&self, name: &str) -> Vec<Definition> {
        let is_decision = |it: &Definition| it.declared(name).is_some_and(|it| it.is_decision);
        let declaring = self.registry.declaring(name).into_iter();
        declaring.filter(|it| !is_decision(it)).cloned().collect()
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
        let routed = Routed::of(position, event, key, lane);
        let is_kept = declared.route == Route::Oldest && !declared.starts;
        if is_kept && self.goes_behind(&routed)? {
            return self.keep_behind(&routed);
        }
        let may_wait = !declared.starts;
        if let Some(fate) = self.give(now, definition.name, &routed, declared.route, may_wait)? {
            return Ok(fate);
        }
        if self.held_aside(&routed, (Position::MAX, 0)).is_some() {
            // What is meant for a saga that is set aside is kept for it.
            return self.keep_unless_full(&routed);
        }
        if declared.starts {
            return self.start_by_event(now, definition, &routed);
        }
        if declared.route == Route::Each {
            return Ok(nobody_holds());
        }
        match self.late_by_claim(now, definition, &routed)? {
            Some(fate) => Ok(fate),
            None => self.keep_unless_full(&routed),
        }
    }

    /// Gives an event to whoever holds for it, and says what became of it. A saga that is set aside
    /// takes nothing, or one that goes on meanwhile: the next one may.
    pub(super) fn give(
        &mut self,
        now: Time,
        definition: &str,
        routed: &Routed<'_>,
        route: Route,
        may_wait: bool,
    ) -> Result<Option<Fate>, StoreError> {
        if route == Route::Each {
            return self.give_each(now, definition, routed, may_wait);
        }
        let mut last = None;
        while let Some((opened, taker)) = self.next_taker(routed, (0, 0)) {
            if last == Some(opened) {
                break;
            }
            last = Some(opened);
            let is_taken = self.offer(now, taker.saga, received(routed, taker.step))?;
            let family = self.families.name(definition).to_owned();
            self.match_opened(now, &family)?;
            if is_taken {
                return Ok(Some((Outcome::Consumed, Some(taker.saga), None)));
            }
        }
        Ok(None)
    }

    /// The oldest wait that was opened behind this place and takes the event.
    pub(super) fn next_taker(
        &self,
        routed: &Routed<'_>,
        behind: Place,
    ) -> Option<(Place, WaitRef)> {
        let may_take = |it: &WaitRef| !it.asks && !self.aside.contains_key(&it.saga);
        let next = self.waits.next(&routed.lane, behind, || routed.tree(), may_take);
        next.map(|(place, wait)| (place, wait.clone()))
    }

    /// A saga that is set aside and would take the event, by a wait that was opened before this
    /// place.
    pub(super) fn held_aside(&self, routed: &Routed<'_>, until: Place) -> Option<SagaId> {
        if self.aside.is_empty() {
            return None; // Nearly always.
        }
        let is_aside = |it: &WaitRef| !it.asks && self.aside.contains_key(&it.saga);
        let next = self.waits.next(&routed.lane, (0, 0), || routed.tree(), is_aside);
        next.filter(|it| it.0 < until).map(|it| it.1.saga)
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
            let is_same = self.started_with(&row, &digest, &event.body)?;
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

    /// Whether the saga that has a start key began with this body. An older build may have worked
    /// out its digest otherwise.
    pub(super) fn started_with(
        &self,
        row: &StartKeyRow,
        digest: &[u8; 32],
        body: &Payload,
    ) -> Result<bool, StoreError> {
        if row.digest == hex(digest) {
            return Ok(true);
        }
        let first = self.txn.first(row.saga)?;
        Ok(matches!(first.map(|it| it.fact), Some(Fact::Started(start)) if start.input == *body))
    }

    pub(super) fn start_of(
        &self,
        now: Time,
        definition: &Definition,
        key: &str,
        input: Payload,
    ) -> Start {
        let store = self.txn.store();
        Start {
            saga: SagaId::at(now, store.instance(), store.epoch(), self.txn.next()),
            definition: definition.name.to_owned(),
            version: definition.version,
            build: self.registry.build().to_owned(),
            key: key.to_owned(),
            epoch: 0,
            input,
            settings: definition.settings.clone(),
            origin: None,
            event: None,
            patience: self.limits.patience,
            alias: Some(Alias::of_start(definition.name, key)),
        }
    }

    /// A full lane keeps no more.
    pub(super) fn keep_unless_full(&mut self, routed: &Routed<'_>) -> Result<Fate, StoreError> {
        self.keep_up_to(self.limits.lane_events_max, routed)
    }

    pub(super) fn keep_up_to(
        &mut self,
        events_max: u32,
        routed: &Routed<'_>,
    ) -> Result<Fate, StoreError> {
        let count = self.kept.get(&routed.lane).map_or(0, |it| it.count);
        if events_max <= count {
            let why = format!("the lane of key {} is full with {count} events", routed.key);
            return Ok((Outcome::DeadLetter, None, Some(why)));
        }
        self.keep(routed)
    }

    /// Kept for a wait that opens later.
    pub(super) fn keep(&mut self, routed: &Routed<'_>) -> Result<Fate, StoreError> {
        self.count_as_kept(routed.lane, routed.position);
        let row = KeptRow { position: routed.position };
        self.txn.put(Table::Kept, &kept_key(&routed.lane, routed.position), &row)?;
        Ok((Outcome::Kept, None, None))
    }

    pub(super) fn take_kept(&mut self, lane: &Lane, position: Position) {
        self.txn.delete(Table::Kept, &kept_key(lane, position));
        if let Some(kept) = self.kept.get_mut(lane) {
            kept.count = kept.count.saturating_sub(1);
            if kept.first == position {
                kept.first = position + 1;
            }
            if kept.count == 0 {
                self.kept.remove(lane);
            }
        }
    }

    pub(super) fn count_as_kept(&mut self, lane: Lane, position: Position) {
        let kept = self.kept.entry(lane).or_insert(KeptLane { count: 0, first: position });
        kept.count += 1;
        kept.first = kept.first.min(position);
    }

    /// Writes what became of an event for a definition.
    pub(super) fn rule(
        &mut self,
        definition: &str,
        event: &EventRecord,
        (outcome, saga, detail): Fate,
    ) -> Result<(), StoreError> {
        let key = identity_of(event);
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
    key_at(event, declared.key)
}

/// The same, where its body has it at this pointer.
pub(super) fn key_at(event: &EventRecord, pointer: &str) -> Result<String, String> {
    let key = match &event.key {
        Some(key) => key.clone(),
        None => {
            let tree = event.body.tree().map_err(|err| unreadable(&err))?;
            let key = tree.at(pointer).and_then(Tree::key).map(Cow::into_owned);
            key.ok_or_else(|| format!("no key: no header Fermata-Key, and no {pointer}"))?
        }
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

pub(super) fn unreadable(err: &Unreadable) -> String {
    format!("the body cannot be read {err}")
}

pub(super) fn unrouted_key(name: &str, position: Position) -> Vec<u8> {
    [&short_hash(&[name])[..], &position.to_be_bytes()[..]].concat()
}

/// The lane of such a row, and the place of its event.
pub(super) fn lane_of_kept(key: &[u8]) -> Option<(Lane, Position)> {
    let (lane, position) = key.split_first_chunk::<16>()?;
    Some((Lane(*lane), u64::from_be_bytes(position.try_into().ok()?)))
}

pub(super) fn kept_key(lane: &Lane, position: Position) -> Vec<u8> {
    [&lane.0[..], &position.to_be_bytes()[..]].concat()
}

pub(super) fn received(routed: &Routed<'_>, step: Path) -> Fact {
    let EventRecord { name, id, body, .. } = routed.event;
    let (event, event_id, body) = (name.clone(), id.clone(), body.clone());
    Fact::Received { step, event, event_id, event_at: routed.position, body }
}
