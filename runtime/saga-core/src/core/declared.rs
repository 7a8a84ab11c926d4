//! What definitions declare, kept beside them: a definition that is not in this binary may be back,
//! and until then it is owed what comes for it, and what was decided for it must fit it.

use super::{
    Core,
    routes::{KeptRow, unrouted_key},
    search::ROWS_AT_ONCE,
};
use crate::{
    codec::{DeclaredEvent, DeclaredRow, EventRecord, IdentityRow, NoteRecord, decode},
    effect::{Outcome, Verdict},
    id::{Position, Time, short_hash},
    saga::{Definition, Route},
    store::{Kind, Store, StoreError, Table},
};
use std::collections::{BTreeMap, BTreeSet};

impl DeclaredRow {
    fn of(definition: &Definition) -> DeclaredRow {
        let events = definition.events.iter().map(|it| DeclaredEvent {
            name: it.name.to_owned(),
            key: Some(it.key.to_owned()),
            is_decision: it.is_decision,
            is_copied: it.route == Route::Each,
        });
        let (definition, events) = (definition.name.to_owned(), events.collect());
        DeclaredRow { definition, events, missing_since: None }
    }
}

impl<S: Store> Core<S> {
    /// Compares what is linked with what was linked before. Gives the names under which events may
    /// have come that a definition has not seen.
    pub(super) fn find_missing(&mut self, now: Time) -> Result<BTreeSet<String>, StoreError> {
        let mut names = BTreeSet::new();
        let mut known: BTreeSet<String> = BTreeSet::new();
        for (key, value) in self.txn.some(Table::Declared, &[], None, usize::MAX)? {
            let mut row: DeclaredRow = decode(&value)?;
            known.insert(row.definition.clone());
            let of_row = row.events.iter().map(|it| it.name.clone());
            if let Some(definition) = self.registry.get(&row.definition) {
                if row != DeclaredRow::of(definition) {
                    names.extend(definition.events.iter().map(|it| it.name.to_owned()));
                }
                continue;
            }
            let since = row.missing_since.unwrap_or(now);
            let is_over = since.after_ms(self.limits.late_for_ms) < now;
            if is_over && self.oldest_live(&row.definition)?.is_none() {
                // Nothing is owed to it any more; what was put aside for it alone can go.
                names.extend(of_row);
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
        names.extend(new.flat_map(|it| it.events.iter().map(|it| it.name.to_owned())));
        Ok(names)
    }

    /// Writes what is declared now, once everything was offered that was put aside.
    pub(super) fn note_declared(&mut self) -> Result<(), StoreError> {
        for row in self.registry.all().map(DeclaredRow::of).collect::<Vec<_>>() {
            let key = short_hash(&[&row.definition]);
            if self.txn.get::<DeclaredRow>(Table::Declared, &key)?.as_ref() != Some(&row) {
                self.txn.put(Table::Declared, &key, &row)?;
            }
        }
        Ok(())
    }

    /// The declarations of this name by definitions that are missing.
    pub(super) fn missing_declared(&self, name: &str) -> impl Iterator<Item = &DeclaredEvent> {
        self.missing.values().flat_map(|it| &it.events).filter(move |it| it.name == name)
    }

    /// What a definition says of an event, also while it is missing.
    pub(super) fn declared(&self, definition: &str, name: &str) -> Option<DeclaredEvent> {
        let row = match self.registry.get(definition) {
            Some(definition) => DeclaredRow::of(definition),
            None => self.missing.get(definition)?.clone(),
        };
        row.events.into_iter().find(|it| it.name == name)
    }

    /// Whether a definition is missing that has not ruled on an event of this name.
    pub(super) fn is_missed(&self, name: &str, ruled: &[Verdict]) -> bool {
        let is_ruled = |it: &str| ruled.iter().any(|by| by.definition.as_deref() == Some(it));
        let declares = |it: &DeclaredRow| {
            it.events.iter().any(|event| event.name == name && !event.is_decision)
        };
        self.missing.values().any(|it| declares(it) && !is_ruled(&it.definition))
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
        let key = super::events::identity_key(&event.name, &event.source, &event.id);
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
