//! Verdicts stand in rows, and follow from the log alone.

use super::events::is_copied;
use crate::world::World;
use saga_core::{
    codec::{EventRecord, NoteRecord, decode, decode_entry},
    effect::{Outcome, Verdict},
    id::{Position, SagaId},
    journal::Fact,
    store::{Kind, Record, Slot, Store, Table},
};
use std::collections::{BTreeMap, BTreeSet};

type Verdicts = BTreeMap<Position, Vec<Verdict>>;

pub(crate) fn follow_from_the_log(world: &World) {
    let records = world.desk.store().read(1, usize::MAX).expect("a memory store can be read");
    let mut verdicts = Verdicts::new();
    for record in records {
        learn(world, &mut verdicts, &record);
    }
    for seen in world.desk.events() {
        if let Some(identity) = seen.identity {
            assert_eq!(Some(&identity.verdicts), verdicts.get(&seen.position));
        }
    }
}

fn learn(world: &World, verdicts: &mut Verdicts, record: &Record) {
    const READABLE: &str = "a record can be read";
    match record.slot {
        Slot::At(Kind::Event) => {
            let event: EventRecord = decode(&record.bytes).expect(READABLE);
            verdicts.insert(record.position, event.verdicts);
        }
        Slot::At(Kind::Note) => {
            if let NoteRecord::Ruled { event, verdict } = decode(&record.bytes).expect(READABLE) {
                rule(verdicts, event, verdict);
            }
        }
        Slot::At(Kind::Audit) => (),
        Slot::Entry { saga, seq } => taken(world, verdicts, saga, seq),
    }
}

fn taken(world: &World, verdicts: &mut Verdicts, saga: SagaId, seq: u32) {
    let stored = world.desk.store().entry(saga, seq).expect("a memory store can be read");
    let entry = decode_entry(&stored.expect("it was just seen")).expect("an entry can be read");
    let Fact::Received { event, event_at, .. } = entry.fact else { return };
    let definition = world.desk.head_of(saga).expect("a saga has a head").definition;
    // A copy is not ruled on again: the first taker is named on arrival.
    if event_at > 0 && !is_copied(world, &definition, &event) {
        let (definition, outcome) = (Some(definition), Outcome::Consumed);
        rule(verdicts, event_at, Verdict { definition, outcome, saga: Some(saga), detail: None });
    }
}

fn rule(verdicts: &mut Verdicts, event: Position, new: Verdict) {
    let all = verdicts.entry(event).or_default();
    all.retain(|it| it.definition.is_some() && it.definition != new.definition);
    all.push(new);
    all.sort_by(|a, b| a.definition.cmp(&b.definition));
}

/// A verdict says that an event is kept exactly as long as a lane keeps it, or as it is owed to
/// those who hold for copies.
pub(crate) fn kept_is_kept(world: &World) {
    let rows = |table: Table| {
        let rows = world.desk.store().all_rows().filter(move |it| it.0.0 == table);
        rows.map(|it| it.0.1.last_chunk().copied().map_or(0, u64::from_be_bytes))
    };
    let owed: BTreeSet<Position> = rows(Table::Copy).collect();
    let mut kept: Vec<Position> = rows(Table::Kept).collect();
    let mut said = Vec::new();
    for seen in world.desk.events() {
        let verdicts = seen.identity.iter().flat_map(|it| &it.verdicts);
        for verdict in verdicts.filter(|it| it.outcome == Outcome::Kept) {
            let definition = verdict.definition.as_deref().unwrap_or_default();
            if is_copied(world, definition, &seen.event.name) {
                assert!(owed.contains(&seen.position), "{verdict:?}");
            } else {
                said.push(seen.position);
            }
        }
    }
    kept.sort_unstable();
    said.sort_unstable();
    assert_eq!(said, kept);
}
