//! Brings rows of an older build up to date when a store is opened, once.

use super::{
    Core,
    holders::{Owner, holder_key, live_key},
    routes::{KeptRow, lane_of_kept},
};
use crate::{
    codec::{ClaimRow, DeclaredEvent, DeclaredRow, EventRecord, decode},
    head::Head,
    id::{Lane, Time, short_hash},
    store::{Kind, Store, StoreError, Table},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Says that the rows below are there.
#[derive(Serialize, Deserialize)]
struct DoneRow {}

const DONE: &[u8] = b"lanes";

/// Heads once told every (event, key) on which their saga had ever held.
#[derive(Deserialize)]
struct OldHead {
    #[serde(default)]
    lanes: Vec<(String, String)>,
}

impl<S: Store> Core<S> {
    /// Whose lane it is was once told by the heads, and counted in memory.
    pub(super) fn upgrade_lanes(&mut self, now: Time) -> Result<(), StoreError> {
        if self.txn.has(Table::Index, DONE)? {
            return Ok(());
        }
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        self.each(Table::Open, |core, (key, value)| {
            // One that cannot be read is set aside, not brought up to date.
            let (Ok(head), Ok(old)) = (decode::<Head>(&value), decode::<OldHead>(&value)) else {
                return Ok(());
            };
            if core.registry.get(&head.definition).is_none() {
                let of_definition = names.entry(head.definition.clone()).or_default();
                of_definition.extend(old.lanes.iter().map(|it| it.0.clone()));
            }
            core.upgrade_open(&head, &old)?;
            core.txn.put(Table::Open, &key, &head).map(drop)
        })?;
        for (definition, names) in names {
            let event = |name| DeclaredEvent {
                name,
                key: None,
                is_decision: false,
                is_copied: false,
                starts: None,
                former_since: None,
            };
            let (key, events) = (short_hash(&[&definition]), names.into_iter().map(event));
            let (events, missing_since) = (events.collect(), Some(now));
            self.txn.put(
                Table::Declared,
                &key,
                &DeclaredRow { definition, events, missing_since },
            )?;
        }
        self.each(Table::Kept, |core, (key, _)| core.upgrade_kept(&key))?;
        self.txn.put(Table::Index, DONE, &DoneRow {})?;
        self.txn.commit()
    }

    fn upgrade_open(&mut self, head: &Head, old: &OldHead) -> Result<(), StoreError> {
        let owner = Owner::of_head(head);
        let at = match self.started_at(owner)? {
            Some(at) => at,
            None => self.txn.first(head.id)?.map_or(head.position, |it| it.position),
        };
        let row = KeptRow { position: at };
        self.txn.put(Table::Live, &live_key(&head.definition, at, head.id), &row)?;
        for (name, key) in old.lanes.iter().filter(|it| !owner.is_alone_on(&it.1)) {
            let lane = Lane::of(&head.definition, name, key);
            self.txn.put(Table::Holder, &holder_key(&lane, head.id), &row)?;
        }
        Ok(())
    }

    /// An older build left events in lanes whose sagas had ended while their code was missing.
    fn upgrade_kept(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let Some((lane, position)) = lane_of_kept(key) else { return Ok(()) };
        let Some(claim) = self.txn.get::<ClaimRow>(Table::Claim, &lane.0)? else { return Ok(()) };
        let saga = claim.saga.as_bytes();
        let (Ok(Some(head)), Ok(Some(old)), Some(event)) = (
            self.txn.get::<Head>(Table::Ended, saga),
            self.txn.get::<OldHead>(Table::Ended, saga),
            self.txn.record::<EventRecord>(Kind::Event, position)?,
        ) else {
            return Ok(());
        };
        let is_of = |key: &str| Lane::of(&head.definition, &event.name, key) == lane;
        let keys = old.lanes.into_iter().map(|it| it.1).chain([head.key.clone()]);
        let Some(key) = keys.into_iter().find(|it| is_of(it)) else { return Ok(()) };
        if self.has_owner(&head.definition, &lane, &key)? {
            return Ok(()); // It sweeps the lane when it ends.
        }
        let is_alone = Owner::of_head(&head).is_alone_on(&key);
        self.sweep_later(&head.definition, event.name, key, is_alone)
    }
}
