//! The checks that every store passes. Call [`check`] from the tests of an implementation.

use super::{Batch, Kind, Position, Record, Row, Scan, Slot, Store, Table};
use crate::id::{SagaId, Time};
use uuid::Uuid;

/// Runs every check on an empty store; `reopen` closes it and opens it again, or does nothing for
/// one that lives in memory.
///
/// # Panics
/// The store does not conform.
pub fn check<S: Store>(store: S, reopen: impl Fn(S) -> S) {
    let (instance, search_key) = (store.instance(), store.search_key().clone());
    assert_eq!(store.position(), 0, "a new store is empty");
    let store = reopen(store);
    let store = reopen(records_are_found_again(store));
    let store = reopen(entries_are_replaced(store));
    let store = reopen(rows_are_scanned_in_order(store));
    let store = large_values_come_back(store);
    let position = store.position();
    let store = reopen(store);
    assert_eq!((store.instance(), store.position()), (instance, position), "what is durable stays");
    assert!(*store.search_key() == search_key, "the search key stays");
    large_values_are_there(&store);
}

fn saga(number: u64) -> SagaId {
    SagaId::at(Time(1_000 + number), Uuid::nil(), 0, number)
}

fn append<S: Store>(store: &mut S, slots: &[(Slot, &[u8])], rows: Vec<Row>) -> Vec<Position> {
    let positions: Vec<Position> = (store.position() + 1..).take(slots.len()).collect();
    let records = positions.iter().zip(slots);
    let records = records.map(|(position, (slot, bytes))| Record {
        position: *position,
        slot: *slot,
        bytes: bytes.to_vec(),
    });
    let batch = Batch { records: records.collect(), rows };
    store.append(batch).expect("a batch is appended");
    positions
}

fn records_are_found_again<S: Store>(mut store: S) -> S {
    let (a, b) = (saga(1), saga(2));
    let slots: [(Slot, &[u8]); 5] = [
        (Slot::Entry { saga: a, seq: 0 }, b"a0"),
        (Slot::At(Kind::Event), b"event"),
        (Slot::Entry { saga: b, seq: 0 }, b"b0"),
        (Slot::At(Kind::Note), b"note"),
        (Slot::Entry { saga: a, seq: 1 }, b"a1"),
    ];
    let at = append(&mut store, &slots, Vec::new());
    let journal = |store: &S, from| -> Vec<Vec<u8>> {
        store.slice(a, from, usize::MAX).expect("a slice").into_iter().map(|it| it.bytes).collect()
    };
    assert_eq!(journal(&store, 0), [b"a0", b"a1"], "a journal is its slice");
    assert_eq!(journal(&store, 1), [b"a1"], "a slice begins where it is asked to");
    assert_eq!(store.slice(a, 0, 1).expect("a slice").len(), 1, "and ends where it is asked to");
    let entry = |seq| store.entry(a, seq).expect("an entry").map(|it| it.bytes);
    assert_eq!(entry(1).as_deref(), Some(&b"a1"[..]), "an entry is found by its number");
    assert_eq!(entry(2), None, "no entry, nothing found");
    assert_eq!(store.slice(saga(9), 0, usize::MAX).expect("a slice"), [], "no journal, no slice");
    let read = store.read(at[1], 3).expect("records");
    let read: Vec<Position> = read.iter().map(|it| it.position).collect();
    assert_eq!(read, at[1..4], "the log is read in order");
    let event = store.record(Kind::Event, at[1]).expect("a record");
    assert_eq!(event.as_deref(), Some(&b"event"[..]));
    assert_eq!(store.record(Kind::Note, at[1]).expect("a record"), None, "of another kind");
    assert_eq!(store.position(), at[4]);
    store
}

fn entries_are_replaced<S: Store>(mut store: S) -> S {
    let saga = saga(3);
    let (first, second) = (Slot::Entry { saga, seq: 0 }, Slot::Entry { saga, seq: 1 });
    append(&mut store, &[(first, b"held"), (second, b"next")], Vec::new());
    let at = append(&mut store, &[(first, b"done")], Vec::new());
    let slice = store.slice(saga, 0, usize::MAX).expect("a slice");
    assert_eq!((slice[0].position, slice[0].bytes.as_slice()), (at[0], &b"done"[..]));
    assert_eq!(slice.len(), 2);
    store
}

fn rows_are_scanned_in_order<S: Store>(mut store: S) -> S {
    let put = |table, key: &[u8], value: &[u8]| Row {
        table,
        key: key.to_vec(),
        value: Some(value.to_vec()),
    };
    let rows = vec![
        put(Table::Kept, b"a2", b"2"),
        put(Table::Kept, b"a1", b"1"),
        put(Table::Kept, b"b1", b"3"),
        put(Table::Claim, b"a3", b"4"),
        put(Table::Open, b"a4", b"5"),
        Row { table: Table::Kept, key: b"never".to_vec(), value: None },
    ];
    append(&mut store, &[], rows);
    let keys = |store: &S, beyond: Option<&[u8]>, is_backward, limit| -> Vec<Vec<u8>> {
        let scan = Scan { table: Table::Kept, prefix: b"a", beyond, is_backward, limit };
        store.rows(&scan).expect("rows").into_iter().map(|it| it.0).collect()
    };
    assert_eq!(keys(&store, None, false, 9), [b"a1", b"a2"], "ascending, within the prefix");
    assert_eq!(keys(&store, None, true, 9), [b"a2", b"a1"], "descending");
    assert_eq!(keys(&store, Some(b"a1"), false, 9), [b"a2"], "beyond a key, upward");
    assert_eq!(keys(&store, Some(b"a2"), true, 9), [b"a1"], "beyond a key, downward");
    assert_eq!(keys(&store, None, false, 1), [b"a1"], "no more than the limit");
    let delete = Row { table: Table::Kept, key: b"a1".to_vec(), value: None };
    append(&mut store, &[], vec![delete, put(Table::Kept, b"a2", b"new")]);
    assert_eq!(store.row(Table::Kept, b"a1").expect("a row"), None, "a deleted row is gone");
    let new = store.row(Table::Kept, b"a2").expect("a row");
    assert_eq!(new.as_deref(), Some(&b"new"[..]), "the last value counts");
    store
}

/// Larger than any inline cap of a store, and not a multiple of one.
const LARGE_BYTES: usize = 700_001;

fn large_values_come_back<S: Store>(mut store: S) -> S {
    let large = large();
    let row = Row { table: Table::Claim, key: b"large".to_vec(), value: Some(large.clone()) };
    let slots: [(Slot, &[u8]); 2] =
        [(Slot::Entry { saga: saga(4), seq: 0 }, &large), (Slot::At(Kind::Event), &large)];
    append(&mut store, &slots, vec![row]);
    large_values_are_there(&store);
    store
}

fn large_values_are_there<S: Store>(store: &S) {
    let large = large();
    let row = store.row(Table::Claim, b"large").expect("a row");
    assert!(row.as_ref() == Some(&large), "a large row comes back whole");
    let slice = store.slice(saga(4), 0, usize::MAX).expect("a slice");
    assert!(slice.len() == 1 && slice[0].bytes == large, "a large entry comes back whole");
    let event = store.record(Kind::Event, slice[0].position + 1).expect("a record");
    assert!(event == Some(large), "a large record comes back whole");
}

fn large() -> Vec<u8> {
    (0..LARGE_BYTES).map(|it| u8::try_from(it % 251).unwrap_or_default()).collect()
}
