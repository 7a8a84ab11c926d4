//! What definitions declare, kept beside them: a definition that is not in this binary may be back,
//! and until then it is owed what comes for it, and what was decided for it must fit it.

use super::{
    Core,
    reads::saga_of,
    routes::{KeptRow, Routed, key_at, unrouted_key},
    search::ROWS_AT_ONCE,
};
use crate::{
    codec::{DeclaredEvent, DeclaredRow, EventRecord, IdentityRow, NoteRecord, decode},
    effect::{Outcome, Verdict},
    fold::Problem,
    head::Head,
    id::{Lane, Position, Time, short_hash},
    saga::{Definition, Route},
    store::{Kind, Store, StoreError, Table},
};
use std::collections::{BTreeMap, BTreeSet};

/// What definitions have missed that are linked now.
#[derive(Default)]
pub(super) struct Missed {
    /// Names under which events may have come that one of them has not seen.
    pub(super) names: BTreeSet<String>,
    /// Those that were missing.
    pub(super) back: BTreeSet<String>,
}

impl DeclaredRow {
    fn of(definition: &Definition) -> DeclaredRow {
        let events = definition.events.iter().map(|it| DeclaredEvent {
            name: it.name.to_owned(),
            key: Some(it.key.to_owned()),
            is_decision: it.is_decision,
            is_copied: it.route == Route::Each,
            starts: Some(it.starts),
            former_since: None,
        });
        let (definition, events) = (definition.name.to_owned(), events.collect());
        DeclaredRow { definition, events, missing_since: None }
    }
}

impl<S: Store> Core<S> {
    /// Compares what is linked with what was linked before.
    pub(super) fn find_missing(&mut self, now: Time) -> Result<Missed, StoreError> {
        let mut missed = Missed::default();
        let mut known: BTreeSet<String> = BTreeSet::new();
        for (key, value) in self.txn.some(Table::Declared, &[], None, usize::MAX)? {
            let mut row: DeclaredRow = decode(&value)?;
            known.insert(row.definition.clone());
            let of_row = row.events.iter().map(|it| it.name.clone());
            if let Some(definition) = self.registry.get(&row.definition).cloned() {
                self.find_former(now, &definition, row, &mut missed)?;
                continue;
            }
            let since = row.missing_since.unwrap_or(now);
            let is_over = since.after_ms(self.limits.late_for_ms) < now;
            if is_over && self.oldest_live(&row.definition)?.is_none() {
                // Nothing is owed to it any more; what was put aside for it alone can go.
                missed.names.extend(of_row);
                self.txn.delete(Table::Declared, &key);
                continue;
            }
            if row.missing_since.is_none() {
                row.missing_since = Some(now);
                self.txn.put(Table::Declared, &key, &row)?;
            }
            self.missing.insert(row.definition.clone(), row);
        }
        let new = self.registry.all().filter(|it| !known.contains(it.name));
        missed.names.extend(new.flat_map(|it| it.events.iter().map(|it| it.name.to_owned())));
        Ok(missed)
    }

    /// Compares a definition that is linked with what it declared before. What older versions
    /// declared, and it does not, is missing like what is not linked at all.
    fn find_former(
        &mut self,
        now: Time,
        definition: &Definition,
        mut row: DeclaredRow,
        missed: &mut Missed,
    ) -> Result<(), StoreError> {
        let linked = DeclaredRow::of(definition);
        let events = std::mem::take(&mut row.events);
        let is_back = |it: &DeclaredEvent| {
            it.former_since.is_some() && definition.declared(&it.name).is_some()
        };
        if row.missing_since.is_some() || events.iter().any(is_back) {
            missed.back.insert(definition.name.to_owned());
        }
        row.events.extend(events.iter().filter(|it| it.former_since.is_none()).cloned());
        if row != linked {
            missed.names.extend(linked.events.into_iter().map(|it| it.name));
        }
        let is_alive = self.oldest_live(definition.name)?.is_some();
        let mut former = Vec::new();
        for event in events.into_iter().filter(|it| definition.declared(&it.name).is_none()) {
            let since = event.former_since.unwrap_or(now);
            if is_alive || now <= since.after_ms(self.limits.late_for_ms) {
                former.push(DeclaredEvent { former_since: Some(since), ..event });
            } else {
                missed.names.insert(event.name);
            }
        }
        if !former.is_empty() {
            let name = definition.name.to_owned();
            let (definition, events, missing_since) = (name.clone(), former, None);
            self.missing.insert(name, DeclaredRow { definition, events, missing_since });
        }
        Ok(())
    }

    /// Lets the code see what its sagas were told while it was not linked.
    pub(super) fn tell_those_back(
        &mut self,
        now: Time,
        back: &BTreeSet<String>,
    ) -> Result<(), StoreError> {
        if back.is_empty() {
            return Ok(());
        }
        let told = self.each(Table::Open, |core, (key, value)| {
            let Some(saga) = saga_of(&key) else { return Ok(()) };
            let Some(head) = core.shown(saga, decode::<Head>(&value).map(Some))? else {
                return Ok(());
            };
            let is_stuck = head.attention.is_some_and(|it| it.problem == Problem::Stuck);
            if !is_stuck || head.paused || !back.contains(&head.definition) {
                return Ok(());
            }
            core.room = core.limits.work_at_once;
            core.tell(now, saga)?;
            core.go_on(now)
        });
        told.map(drop)
    }

    /// Writes what is declared now, once everything was offered that was put aside.
    pub(super) fn note_declared(&mut self) -> Result<(), StoreError> {
        for mut row in self.registry.all().map(DeclaredRow::of).collect::<Vec<_>>() {
            let former = self.missing.get(&row.definition).into_iter();
            row.events.extend(former.flat_map(|it| it.events.clone()));
            let key = short_hash(&[&row.definition]);
            if self.txn.get::<DeclaredRow>(Table::Declared, &key)?.as_ref() != Some(&row) {
                self.txn.put(Table::Declared, &key, &row)?;
            }
        }
        Ok(())
    }

    /// Each definition with the events that it declares: those that are linked, and what is
    /// missing, which may name one that is linked again.
    pub fn declarations(&self) -> impl Iterator<Item = (String, Vec<String>)> + '_ {
        let linked = self.registry.all().map(DeclaredRow::of);
        let rows = linked.chain(self.missing.values().cloned());
        rows.map(|it| (it.definition, it.events.into_iter().map(|it| it.name).collect()))
    }

    /// The declarations of this name by definitions that are missing.
    pub(super) fn missing_declared(&self, name: &str) -> impl Iterator<Item = &DeclaredEvent> {
        self.missing.values().flat_map(|it| &it.events).filter(move |it| it.name == name)
    }

    /// What a definition says of an event, also while it is missing.
    pub(super) fn declared(&self, definition: &str, name: &str) -> Option<DeclaredEvent> {
        let linked = self.registry.get(definition).map(DeclaredRow::of);
        let rows = linked.iter().chain(self.missing.get(definition));
        rows.flat_map(|it| &it.events).find(|it| it.name == name).cloned()
    }

    /// Whether an older version of the definition declared an event that the linked one does not.
    pub(super) fn is_former(&self, definition: &Definition, name: &str) -> bool {
        let former = self.missing.get(definition.name).into_iter().flat_map(|it| &it.events);
        definition.declared(name).is_none() && former.into_iter().any(|it| it.name == name)
    }

    /// Whether a definition is missing that has not ruled on an event of this name.
    pub(super) fn is_missed(&self, name: &str, ruled: &[Verdict]) -> bool {
        let is_ruled = |it: &str| ruled.iter().any(|by| by.definition.as_deref() == Some(it));
        let declares = |it: &DeclaredRow| {
            it.events.iter().any(|event| event.name == name && !event.is_decision)
        };
        self.missing.values().any(|it| declares(it) && !is_ruled(&it.definition))
    }

    /// Gives an event to sagas that hold for it, and whose definition is missing. Their deadlines
    /// pass as well meanwhile, and what came in time has to come first. Their code sees it when it
    /// is back.
    pub(super) fn give_to_missing(
        &mut self,
        now: Time,
        position: Position,
        event: &EventRecord,
        ruled: &[Verdict],
    ) -> Result<Vec<Verdict>, StoreError> {
        let is_ruled = |it: &str| ruled.iter().any(|by| by.definition.as_deref() == Some(it));
        let hears = |it: &DeclaredRow| {
            let mut events = it.events.iter().filter(|it| !it.is_decision);
            let declared = events.find(|it| it.name == event.name)?;
            Some((it.definition.clone(), declared.clone()))
        };
        let missing = self.missing.values().filter(|it| !is_ruled(&it.definition));
        let missing: Vec<(String, DeclaredEvent)> = missing.filter_map(hears).collect();
        let mut verdicts = Vec::new();
        for (definition, declared) in missing {
            let key = match (&declared.key, &event.key) {
                (None, None) => continue, // An older build knew the name alone.
                (pointer, _) => key_at(event, pointer.as_deref().unwrap_or_default()),
            };
            let (Ok(key), Ok(_)) = (key, event.body.tree()) else { continue };
            let lane = Lane::of(&definition, &event.name, &key);
            let routed = Routed::of(position, event, key, lane);
            let has_taker = self.next_taker(&routed, (0, 0)).is_some();
            let waits = self.goes_behind(&routed)? || !has_taker && self.is_looked_at(&lane);
            // Copies wait by themselves.
            if waits && !declared.is_copied {
                if declared.starts == Some(false) {
                    let (outcome, saga, detail) = self.keep_behind(&routed)?;
                    let definition = Some(definition);
                    verdicts.push(Verdict { definition, outcome, saga, detail });
                }
                continue;
            }
            let route = if declared.is_copied { Route::Each } else { Route::Oldest };
            // Nobody comes to hold for it before the code is back.
            if let Some(fate) = self.give(now, &definition, &routed, route, false)? {
                let (definition, (outcome, saga, detail)) = (Some(definition), fate);
                verdicts.push(Verdict { definition, outcome, saga, detail });
            }
        }
        Ok(verdicts)
    }

    /// Offers what came under these names to those who have not seen it, in the order in which it
    /// came: a wait may take several names, and the oldest event is the first.
    pub(super) fn offer_unrouted(
        &mut self,
        now: Time,
        names: &BTreeSet<String>,
    ) -> Result<(), StoreError> {
        // The oldest of each name.
        let mut oldest: BTreeMap<Position, Vec<u8>> = BTreeMap::new();
        for name in names {
            oldest.extend(self.next_unrouted(&short_hash(&[name]), None)?);
        }
        for count in 1.. {
            let Some((position, key)) = oldest.pop_first() else { break };
            let name = key.get(..16).unwrap_or_default();
            oldest.extend(self.next_unrouted(name, Some(&key))?);
            self.route_again(now, position, &key)?;
            if count % ROWS_AT_ONCE == 0 {
                self.txn.commit()?;
            }
        }
        self.txn.commit()
    }

    /// The oldest event of a name behind that of this row.
    fn next_unrouted(
        &self,
        name: &[u8],
        beyond: Option<&[u8]>,
    ) -> Result<Option<(Position, Vec<u8>)>, StoreError> {
        let rows = self.txn.some(Table::Unrouted, name, beyond, 1)?;
        let next = rows.into_iter().next();
        next.map(|(key, value)| Ok((decode::<KeptRow>(&value)?.position, key))).transpose()
    }

    fn route_again(
        &mut self,
        now: Time,
        position: Position,
        unrouted: &[u8],
    ) -> Result<(), StoreError> {
        let Some(event) = self.txn.record::<EventRecord>(Kind::Event, position)? else {
            self.txn.delete(Table::Unrouted, unrouted);
            return Ok(());
        };
        let key = super::events::identity_of(&event);
        let known = self.txn.get::<IdentityRow>(Table::Identity, &key)?;
        let ruled = known.map(|it| it.verdicts).unwrap_or_default();
        let has_ruled =
            |it: &Definition| ruled.iter().any(|by| by.definition.as_deref() == Some(it.name));
        // Nobody knew, when it came, that a person decides it.
        let forged = self.decision_from_outside(&event)?;
        if let Some(verdict) = forged.filter(|it| it.outcome == Outcome::Refused) {
            self.txn.delete(Table::Unrouted, unrouted);
            let (event, note) = (position, verdict.clone());
            self.txn.put_record(Kind::Note, &NoteRecord::Ruled { event, verdict: note })?;
            if let Some(mut row) = self.txn.get::<IdentityRow>(Table::Identity, &key)? {
                row.verdicts = vec![verdict];
                self.txn.put(Table::Identity, &key, &row)?;
            }
            return Ok(());
        }
        let is_new = self.hearing(&event.name).iter().any(|it| !has_ruled(it));
        let is_ruled = ruled.iter().any(|it| it.definition.is_some());
        if !is_new {
            // What nobody declares waits for whoever does, the rest for those who are missing.
            if is_ruled && !self.is_missed(&event.name, &ruled) {
                self.txn.delete(Table::Unrouted, unrouted);
            }
            return Ok(());
        }
        self.txn.delete(Table::Unrouted, &unrouted_key(&event.name, position));
        let verdicts = self.route_all(now, position, &event, &ruled)?;
        for verdict in verdicts.iter().cloned() {
            self.txn.put_record(Kind::Note, &NoteRecord::Ruled { event: position, verdict })?;
        }
        // Routing may have ruled anew on an event that was kept.
        if let Some(mut row) = self.txn.get::<IdentityRow>(Table::Identity, &key)? {
            row.verdicts.retain(|it| it.definition.is_some());
            row.verdicts.extend(verdicts);
            row.verdicts.sort_by(|a, b| a.definition.cmp(&b.definition));
            self.txn.put(Table::Identity, &key, &row)?;
        }
        self.room = self.limits.work_at_once;
        self.go_on(now)
    }
}
