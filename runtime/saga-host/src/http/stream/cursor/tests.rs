//! Journals that grow, are held and let go on at random, and readers that come back anywhere.

use super::*;
use crate::{
    engine::{self, Engine, Outlets, Oversight},
    feed,
    sled_store::SledStore,
    telemetry::Telemetry,
};
use chassis::{
    db::{Db, DbOptions},
    http::Metrics,
    shutdown::Shutdown,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use saga_core::{
    core::{Core, Limits},
    id::Time,
    journal::{Decision, Fact, Hold},
    saga::Registry,
    store::{Batch, Kind, Record, Slot, Store as _},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, iter::repeat_n, time::Instant};
use tokio::sync::mpsc;
use uuid::Uuid;

const SAGA: SagaId = SagaId(Uuid::from_u128(7));
const OTHER: SagaId = SagaId(Uuid::from_u128(8));

/// A running engine, and a second hand on its store that writes what a core would.
struct Rig {
    engine: Engine,
    store: SledStore,
    /// The journal as it is now.
    journal: Vec<Entry>,
    /// Entries that are held.
    held: Vec<usize>,
    batch: Vec<Record>,
    db: Db,
    _dir: tempfile::TempDir,
}

async fn rig() -> Rig {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Db::open(dir.path(), DbOptions::default()).expect("the store opens");
    let outlets = Outlets {
        requests: mpsc::unbounded_channel().0,
        publications: mpsc::unbounded_channel().0,
        telemetry: Telemetry::new(&Metrics::new()),
        feed: feed::feed(Shutdown::new(), &Metrics::new()).0,
    };
    let store = || SledStore::new(db.clone()).expect("the store");
    let engine = engine::start(
        store(),
        Registry::new("test"),
        Limits::default(),
        outlets,
        Oversight::nobody(),
    )
    .await;
    Rig {
        engine: engine.expect("the engine starts"),
        store: store(),
        journal: Vec::new(),
        held: Vec::new(),
        batch: Vec::new(),
        db,
        _dir: dir,
    }
}

impl Rig {
    fn next(&self) -> Position {
        self.batch.last().map_or(self.store.position(), |it| it.position) + 1
    }

    fn write(&mut self, saga: SagaId, seq: usize, entry: &Entry) {
        let it = json!({ "at": entry.at, "fact": entry.fact, "turn": entry.turn });
        let bytes = serde_json::to_vec(&json!({ "v": 1, "it": it })).expect("JSON");
        let seq = u32::try_from(seq).expect("a short journal");
        let slot = Slot::Entry { saga, seq };
        self.batch.push(Record { position: entry.position, slot, bytes });
    }

    fn append(&mut self, turn: Turn) {
        let (by, reason) = ("oscar".into(), "x".repeat(self.journal.len() % 50));
        let fact = Fact::Retried { by, reason };
        let entry = Entry { position: self.next(), at: Time(5), fact, turn };
        self.write(SAGA, self.journal.len(), &entry);
        self.journal.push(entry);
    }

    fn append_done(&mut self, decisions: usize) {
        self.append(done(decisions));
    }

    fn append_held(&mut self) {
        self.held.push(self.journal.len());
        self.append(Turn::Held(Hold::Paused));
    }

    /// As an operator who lets the saga go on: a fact of its own, then all that were held; or all
    /// up to one that is held for another reason now.
    fn let_go_on(&mut self, until: usize) {
        self.append_done(0);
        for at in std::mem::take(&mut self.held) {
            if at > until {
                self.held.push(at);
                continue;
            }
            let turn = match at == until {
                true => Turn::Held(Hold::Stuck { message: "again".into() }),
                false => done_later(at % 4),
            };
            let entry = Entry { position: self.next(), turn, ..self.journal[at].clone() };
            self.write(SAGA, at, &entry);
            self.journal[at] = entry;
            if at == until {
                self.held.push(at);
            }
        }
        self.held.sort_unstable();
    }

    /// Makes positions that are none of the saga's.
    fn append_elsewhere(&mut self) {
        let slot = Slot::At(Kind::Note);
        self.batch.push(Record { position: self.next(), slot, bytes: b"{}".to_vec() });
    }

    fn commit(&mut self) {
        let records = std::mem::take(&mut self.batch);
        self.store.append(Batch { records, rows: Vec::new() }).expect("it is durable");
    }

    fn cursor(&self, saga: SagaId) -> Cursor {
        Cursor::new(self.engine.handle.clone(), Arc::new(Semaphore::new(1)), saga)
    }

    fn records(&self) -> Vec<Value> {
        let entries = (0..).zip(&self.journal);
        let records =
            entries.flat_map(|(number, entry)| records_of(Keys::unknown(SAGA), number, entry));
        let numbered = records.enumerate().map(|(seq, it)| it.numbered(seq));
        numbered.map(|it| serde_json::to_value(it).expect("JSON")).collect()
    }

    /// The number of the record at each place.
    fn seqs(&self) -> BTreeMap<Place, u64> {
        let places = self.journal.iter().flat_map(|entry| {
            (0..count_of(entry)).map(|index| Place { position: entry.position, index })
        });
        places.zip(0..).collect()
    }

    /// Looks at the journal while it grows between each two visits to the engine.
    async fn news_while_things_happen(&mut self, cursor: &mut Cursor, luck: &mut StdRng) -> News {
        // Whoever waits for the one place gets it before whoever has just given it back.
        let visits = Arc::clone(&cursor.visits);
        let happening = async {
            for _ in 0..luck.random_range(1..5) {
                let _place = visits.acquire().await.expect("it is open");
                self.happen(luck);
            }
        };
        let (news, ()) = tokio::join!(cursor.news(), happening);
        news.expect("it is read")
    }

    /// One batch of whatever can happen, often larger than a visit.
    fn happen(&mut self, luck: &mut StdRng) {
        for _ in 0..luck.random_range(1..4) {
            let many = if luck.random_bool(0.1) { 600 } else { 5 };
            for _ in 0..luck.random_range(1..many) {
                match luck.random_range(0..10) {
                    0..5 if self.held.is_empty() => self.append_done(luck.random_range(0..4)),
                    0 => self.append_done(0),
                    1..6 => self.append_elsewhere(),
                    6 if luck.random_bool(0.7) => {
                        let until = luck.random_range(0..2 * self.journal.len().max(1));
                        self.let_go_on(until);
                    }
                    _ => self.append_held(),
                }
            }
        }
        self.commit();
    }
}

/// A turn that was made at once, as [`Rig::append`] has the time of the fact.
fn done(decisions: usize) -> Turn {
    Turn::Done { at: Time(5), decisions: repeat_n(Decision::Commit, decisions).collect() }
}

/// A turn that was made of a fact which was held.
fn done_later(decisions: usize) -> Turn {
    Turn::Done { at: Time(6), decisions: repeat_n(Decision::Commit, decisions).collect() }
}

/// What a reader has seen.
#[derive(Clone, Default)]
struct Seen {
    places: Vec<Place>,
    /// The number that the record at each place had.
    seqs: Vec<u64>,
    /// By number of the entry: the last form of each.
    entries: BTreeMap<u64, (Position, Vec<Value>)>,
}

impl Seen {
    async fn read(&mut self, cursor: &mut Cursor, news: &mut News) {
        for Message { mark, record } in cursor.take(news).await.expect("it is read") {
            let place = mark.place;
            assert!(self.places.last().is_none_or(|it| *it < place), "{place} is out of order");
            self.places.push(place);
            let record = serde_json::to_value(record).expect("JSON");
            self.seqs.push(record["seq"].as_u64().expect("a number"));
            let entry = self.entries.entry(record["entry"].as_u64().expect("a number"));
            let (position, records) = entry.or_default();
            if std::mem::replace(position, place.position) != place.position {
                records.clear();
            }
            assert_eq!(records.len(), place.index);
            records.push(record);
        }
    }

    async fn read_all(&mut self, cursor: &mut Cursor, mut news: News) {
        loop {
            self.read(cursor, &mut news).await;
            if news.is_taken() {
                return;
            }
        }
    }

    /// What it has seen up to a place.
    fn up_to(&self, place: Place, all: &BTreeMap<Place, Value>) -> Seen {
        let mut seen = Seen::default();
        for place in self.places.iter().filter(|it| **it <= place) {
            let record = all[place].clone();
            let entry = seen.entries.entry(record["entry"].as_u64().expect("a number"));
            let (position, records) = entry.or_default();
            if std::mem::replace(position, place.position) != place.position {
                records.clear();
            }
            records.push(record);
            seen.places.push(*place);
        }
        seen
    }

    fn records(&self) -> Vec<Value> {
        let records = self.entries.values().flat_map(|it| it.1.clone());
        let without_seq = records.map(without_seq);
        without_seq.collect()
    }
}

fn without_seq(mut record: Value) -> Value {
    record.as_object_mut().expect("an object").remove("seq");
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_reader_comes_back_it_has_the_journal_in_the_end() {
    for seed in 0..12 {
        eprintln!("seed {seed}");
        let (mut luck, mut rig) = (StdRng::seed_from_u64(seed), rig().await);
        rig.append_elsewhere();
        rig.append_done(1);
        rig.commit();
        let (mut always, mut seen) = (rig.cursor(SAGA), Seen::default());
        let news = always.begin(None).await.expect("it is read").expect("a beginning");
        seen.read_all(&mut always, news).await;
        let mut all = BTreeMap::new();
        for _ in 0..luck.random_range(4..12) {
            rig.happen(&mut luck);
            if luck.random_bool(0.5) {
                let mut news = rig.news_while_things_happen(&mut always, &mut luck).await;
                seen.read(&mut always, &mut news).await;
                rig.happen(&mut luck);
                seen.read_all(&mut always, news).await;
            }
            let (quiet_from, now) = (seen.places.len(), rig.seqs());
            let news = always.news().await.expect("it is read");
            seen.read_all(&mut always, news).await;
            for (place, seq) in seen.places.iter().zip(&seen.seqs).skip(quiet_from) {
                assert_eq!(now.get(place), Some(seq), "the number of {place}");
            }
            for (number, (position, records)) in &seen.entries {
                for (index, record) in records.iter().enumerate() {
                    assert_eq!(record["entry"], *number);
                    all.insert(Place { position: *position, index }, record.clone());
                }
            }
            // Some forms were gone before the end of a round: a reader can only come back to what
            // it has seen.
            let known = |it: &&Place| all.contains_key(it);
            let places: Vec<Place> = seen.places.iter().filter(known).copied().collect();
            for _ in 0..3 {
                let place = *places.choose(&mut luck).expect("there are some");
                let mut back = rig.cursor(SAGA);
                let mark = Mark { epoch: 0, place };
                let news = back.begin(Some(mark)).await.expect("it is read");
                let news = news.unwrap_or_else(|| panic!("{place} was given"));
                let mut again = seen.clone();
                again.places.retain(known_in(&all));
                let mut again = again.up_to(place, &all);
                again.read_all(&mut back, news).await;
                let now: Vec<Value> = rig.records().into_iter().map(without_seq).collect();
                assert_eq!(again.records(), now, "after {place}");
            }
        }
        let now = rig.records();
        assert_eq!(seen.records(), now.iter().cloned().map(without_seq).collect::<Vec<_>>());
        let (mut late, mut fresh) = (rig.cursor(SAGA), Seen::default());
        let news = late.begin(None).await.expect("it is read").expect("a beginning");
        fresh.read_all(&mut late, news).await;
        let fresh: Vec<Value> = fresh.entries.into_values().flat_map(|it| it.1).collect();
        assert_eq!(fresh, now, "whoever comes late gets the numbers of the journal too");
    }
}

fn known_in(all: &BTreeMap<Place, Value>) -> impl Fn(&Place) -> bool {
    |it| all.contains_key(it)
}

#[tokio::test]
async fn what_was_never_given_is_told_from_what_was_written_again() {
    let mut rig = rig().await;
    rig.append_elsewhere();
    rig.append_done(2); // 2
    rig.append_elsewhere();
    rig.append_done(0); // 4
    rig.append_held(); // 5, later 9
    rig.append_elsewhere();
    rig.append_held(); // 7, later 10
    rig.let_go_on(usize::MAX); // 8
    rig.append_elsewhere(); // 11
    rig.append_done(1); // 12
    rig.commit();
    for text in ["2", "2.1", "2.2", "4", "5", "7", "8", "9", "10", "12", "12.1"] {
        let place = text.parse().expect("a place");
        let news = rig.cursor(SAGA).begin(Some(place)).await.expect("it is read");
        assert!(news.is_some(), "{text} was given");
    }
    for text in ["0", "1", "2.3", "3", "4.1", "5.1", "11", "12.2", "13"] {
        let place = text.parse().expect("a place");
        let news = rig.cursor(SAGA).begin(Some(place)).await.expect("it is read");
        assert!(news.is_none(), "{text} was never given");
    }
    for text in ["", "x", "+1", "01", "1.", ".1", "1.0", "1.01", "1.2.3", "-1", " 1"] {
        assert_eq!(text.parse::<Place>(), Err(NoPlace), "{text}");
    }
}

/// What a saga is told while its code is shown what was held stands behind that, and is shown or
/// goes back in its turn: no operator's entry says that it moved.
#[tokio::test]
async fn what_was_held_behind_others_was_given_also_when_nobody_let_it_go_on() {
    let stuck = Turn::Held(Hold::Stuck { message: "again".into() });
    for turn in [done_later(1), Turn::Held(Hold::GivenBack), stuck] {
        let mut rig = rig().await;
        rig.append_elsewhere();
        rig.append_done(1); // 2
        rig.append_held(); // 3, later 6
        rig.append_held(); // 4, later 8
        rig.let_go_on(1); // 5: the saga was resumed, and a first piece shows one.
        rig.held.clear();
        rig.append(Turn::Held(Hold::Behind)); // 7, later 9
        rig.commit();
        let last = "7".parse().expect("a place");
        for at in [2, 4] {
            let (position, turn) = (rig.next(), turn.clone());
            let entry = Entry { position, turn, ..rig.journal[at].clone() };
            rig.write(SAGA, at, &entry);
            rig.journal[at] = entry;
        }
        rig.commit();
        let news = rig.cursor(SAGA).begin(Some(last)).await.expect("it is read");
        assert!(news.is_some(), "{turn:?}");
        for text in ["1", "7.1", "10", "1000"] {
            let place = text.parse().expect("a place");
            let news = rig.cursor(SAGA).begin(Some(place)).await.expect("it is read");
            assert!(news.is_none(), "{text} was never given: {turn:?}");
        }
    }
}

/// What has a place now may be another record than the one that a restored store has lost.
#[tokio::test]
async fn a_reader_of_before_a_restore_begins_anew() {
    let mut rig = rig().await;
    rig.append_done(1);
    rig.commit();
    rig.db.begin_epoch(2).expect("it is begun");
    rig.append_done(1);
    rig.commit();
    let mut cursor = rig.cursor(SAGA);
    let mut news = cursor.begin(None).await.expect("it is read").expect("a beginning");
    let given = cursor.take(&mut news).await.expect("it is read");
    let given: Vec<String> = given.iter().map(|it| it.mark.to_string()).collect();
    assert_eq!(given, ["2-1", "2-1.1", "2-2", "2-2.1"]);
    for (text, is_known) in [("2-1.1", true), ("2-2", true), ("1", false), ("1-2", false)] {
        let mark = text.parse().expect("a mark");
        let news = rig.cursor(SAGA).begin(Some(mark)).await.expect("it is read");
        assert_eq!(news.is_some(), is_known, "{text}");
    }
    for text in ["0-1", "-1", "02-1", "2-", "2-01", "2-1-1", "+2-1"] {
        assert_eq!(text.parse::<Mark>(), Err(NoPlace), "{text}");
    }
}

#[tokio::test]
async fn a_saga_without_a_journal_is_seen_to_be_none() {
    let rig = rig().await;
    let mut cursor = rig.cursor(OTHER);
    cursor.begin(None).await.expect("it is read");
    assert!(!cursor.has_journal());
}

#[tokio::test]
async fn no_visit_reads_more_than_its_share_of_a_long_journal() {
    const ENTRIES: usize = 10_000;
    let mut rig = rig().await;
    for _ in 0..ENTRIES {
        rig.append_done(1);
    }
    rig.commit();
    let cursor = rig.cursor(SAGA);
    let mut from = 0;
    loop {
        let visit = cursor.visit(Vec::new(), Some(from)).await.expect("it is read");
        from += visit.entries.len();
        if visit.is_all {
            break;
        }
        assert_eq!(visit.entries.len(), VISIT_ENTRIES_MAX);
    }
    assert_eq!(from, ENTRIES);
    let timed = move |core: &Core<SledStore>| {
        let began = Instant::now();
        let entries = core.journal(SAGA).map(|it| it.len());
        (entries, began.elapsed())
    };
    let (entries, whole) = rig.engine.handle.read(timed).await.expect("it is read");
    assert_eq!(entries, Ok(ENTRIES));
    let timed = move |core: &Core<SledStore>| {
        let began = Instant::now();
        let visit = entries::read(core, SAGA, &[], Some(1_000));
        (visit.map(|it| it.entries.len()), began.elapsed())
    };
    let (entries, visit) = rig.engine.handle.read(timed).await.expect("it is read");
    assert_eq!(entries, Ok(VISIT_ENTRIES_MAX));
    eprintln!("{ENTRIES} entries at once keep the engine for {whole:?}, a visit for {visit:?}");
}

/// An operator retries a saga that is stuck, and it is stuck again: what was written again then has
/// been given as well, also when it was written once more.
#[tokio::test]
async fn what_was_stuck_twice_was_given_at_each_of_its_places() {
    let stuck = || Turn::Held(Hold::Stuck { message: "again".into() });
    let mut rig = rig().await;
    rig.append_done(1); // 1
    rig.append(stuck()); // 2, then 4, then 6
    rig.commit();
    for turn in [stuck(), done_later(1)] {
        rig.append_done(0); // 3, 5: an operator retries.
        let entry = Entry { position: rig.next(), turn, ..rig.journal[1].clone() };
        rig.write(SAGA, 1, &entry);
        rig.journal[1] = entry;
        rig.commit();
    }
    for text in ["1", "2", "3", "4", "5", "6"] {
        let place = text.parse().expect("a place");
        let news = rig.cursor(SAGA).begin(Some(place)).await.expect("it is read");
        assert!(news.is_some(), "{text} was given");
    }
}
