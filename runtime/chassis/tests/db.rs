//! The guards of the store, each by what it is there for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use chassis::db::{
    Db, DbError, DbOptions, Fault, Faults, INLINE_BYTES_MAX, KEY_BYTES_MAX, OpenError, RESERVED,
    SEGMENT_BYTES, Tx, VALUE_BYTES_MAX, WriteBatch,
};
use proptest::{collection, prelude::*};
use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    os::unix::fs::FileExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

fn open(dir: &Path) -> Result<Db, OpenError> {
    Db::open(dir, DbOptions::default())
}

fn put(db: &Db, key: &str, value: &str) {
    let mut batch = WriteBatch::new();
    batch.put(key, value);
    db.commit(batch, db.position() + 1).unwrap();
}

/// A store in which `commits` keys have been written, one each.
fn written(commits: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).unwrap();
    for n in 1..=commits {
        put(&db, &format!("k{n:04}"), "value");
    }
    dir
}

/// The same files without the guards.
fn open_raw(dir: &Path) -> sled::Db {
    sled::Config::new().path(dir.join("store")).segment_size(SEGMENT_BYTES).open().unwrap()
}

fn byte(n: impl TryInto<u64>) -> u8 {
    u8::try_from(n.try_into().ok().unwrap() % 251).unwrap()
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn refusal(dir: &Path) -> OpenError {
    match open(dir) {
        Err(refusal) => refusal,
        Ok(_) => panic!("the store opened"),
    }
}

#[test]
fn what_is_committed_is_there_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let (instance, position) = {
        let db = open(dir.path()).unwrap();
        assert_eq!((db.position(), db.epoch()), (0, 0));
        put(&db, "a", "1");
        put(&db, "b", "2");
        (db.instance(), db.position())
    };
    let db = open(dir.path()).unwrap();
    assert_eq!((db.instance(), db.position()), (instance, position));
    assert_eq!(db.get(b"a").unwrap().unwrap(), b"1");
    assert_eq!(db.get(b"c").unwrap(), None);
}

#[test]
fn scans_go_both_ways_and_stay_within_their_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).unwrap();
    for key in ["a1", "b1", "b2", "b3", "c1"] {
        put(&db, key, "v");
    }
    let keys = |rows: Vec<(Vec<u8>, Vec<u8>)>| -> Vec<String> {
        rows.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
    };
    assert_eq!(keys(db.scan(b"b", None, 9).unwrap()), ["b1", "b2", "b3"]);
    assert_eq!(keys(db.scan(b"b", Some(b"b1"), 1).unwrap()), ["b2"]);
    assert_eq!(keys(db.scan_back(b"b", None, 9).unwrap()), ["b3", "b2", "b1"]);
    assert_eq!(keys(db.scan_back(b"b", Some(b"b3"), 1).unwrap()), ["b2"]);
    assert_eq!(keys(db.scan_back(b"b", Some(b"a"), 9).unwrap()), [""; 0]);
    // The store's own rows never show, wherever a scan begins.
    let mut long = WriteBatch::new();
    long.put("c2", vec![1; 3 * INLINE_BYTES_MAX]);
    db.commit(long, db.position() + 1).unwrap();
    for hidden in [&[][..], &[RESERVED], &[RESERVED, b'c', 0, 2, b'c'], &[RESERVED, b'm']] {
        assert_eq!(db.scan(b"", Some(hidden), 1).unwrap()[0].0, b"a1");
        assert_eq!(db.scan_back(b"", Some(hidden), 9).unwrap(), []);
        if !hidden.is_empty() {
            assert_eq!(db.scan(hidden, None, 9).unwrap(), []);
            assert_eq!(db.scan_back(hidden, None, 9).unwrap(), []);
            assert_eq!(db.get(hidden).unwrap(), None);
        }
    }
    let mut short = WriteBatch::new();
    short.delete("c2");
    db.commit(short, db.position() + 1).unwrap();
    assert_eq!(keys(db.scan(b"", None, 9).unwrap()), ["a1", "b1", "b2", "b3", "c1"]);
    assert_eq!(keys(db.scan_back(b"", None, 1).unwrap()), ["c1"]);
    assert_eq!(db.scan(b"", None, 9).unwrap().len(), db.scan_back(b"", None, 9).unwrap().len());
}

#[test]
fn long_values_are_cut_into_chunks_and_leave_none_behind() {
    let dir = tempfile::tempdir().unwrap();
    let long = |bytes: usize| -> Vec<u8> { (0..bytes).map(byte).collect() };
    let sizes = [INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 5 * INLINE_BYTES_MAX, 0, 700_000, 20_000];
    for size in sizes {
        let db = open(dir.path()).unwrap();
        let mut batch = WriteBatch::new();
        batch.put("long", long(size));
        batch.put("other", long(INLINE_BYTES_MAX + size));
        db.commit(batch, db.position()).unwrap();
        assert_eq!(db.get(b"long").unwrap().unwrap(), long(size));
        assert_eq!(db.scan(b"long", None, 2).unwrap().len(), 1);
    }
    let db = open(dir.path()).unwrap();
    let mut batch = WriteBatch::new();
    batch.delete("long");
    batch.delete("other");
    db.commit(batch, 1).unwrap();
    drop(db);
    let tree = open_raw(dir.path());
    let left: Vec<_> = tree.iter().keys().map(Result::unwrap).collect();
    assert_eq!(left, [[RESERVED, b'm']]);
}

#[test]
fn the_longest_values_of_all_fit_side_by_side_and_scan_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).unwrap();
    let mut batch = WriteBatch::new();
    let longest_key = vec![b'k'; KEY_BYTES_MAX];
    for n in 0..3_u8 {
        batch.put([b"v", [n].as_slice()].concat(), vec![n; VALUE_BYTES_MAX]);
    }
    batch.put(longest_key.clone(), vec![9; VALUE_BYTES_MAX]);
    // A key that another one begins with, and whose chunks lie next to the other's.
    batch.put("v", vec![7; INLINE_BYTES_MAX + 1]);
    db.commit(batch, 1).unwrap();
    drop(db);
    let db = open(dir.path()).unwrap();
    assert_eq!(db.get(&longest_key).unwrap().unwrap(), vec![9; VALUE_BYTES_MAX]);
    let up = db.scan(b"v", None, usize::MAX).unwrap();
    let mut down = db.scan_back(b"v", None, usize::MAX).unwrap();
    down.reverse();
    assert!(up == down);
    let shape: Vec<_> = up.iter().map(|(_, value)| (value[0], value.len())).collect();
    let longest = VALUE_BYTES_MAX;
    assert_eq!(shape, [(7, INLINE_BYTES_MAX + 1), (0, longest), (1, longest), (2, longest)]);
    assert_eq!(fs::read_dir(dir.path().join("store/blobs")).map_or(0, Iterator::count), 0);
}

#[test]
fn sled_never_writes_a_blob_file() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).unwrap();
    for n in 0..40_u32 {
        let mut batch = WriteBatch::new();
        batch.put(n.to_be_bytes().to_vec().repeat(2), vec![7; INLINE_BYTES_MAX]);
        batch.put([b"big", n.to_be_bytes().as_slice()].concat(), vec![8; 300_000]);
        // The first key begins with the reserved byte.
        assert!(matches!(db.commit(batch.clone(), 0), Err(DbError::Refused(_))));
        let mut shifted = WriteBatch::new();
        shifted.put([b"k", n.to_be_bytes().as_slice()].concat(), vec![7; INLINE_BYTES_MAX]);
        shifted.put([b"big", n.to_be_bytes().as_slice()].concat(), vec![8; 300_000]);
        db.commit(shifted, db.position() + 1).unwrap();
    }
    drop(db);
    let blobs = dir.path().join("store/blobs");
    assert_eq!(fs::read_dir(blobs).map_or(0, Iterator::count), 0);
}

#[test]
fn a_batch_that_cannot_be_taken_is_refused_and_poisons_nothing() {
    let dir = written(2);
    let db = open(dir.path()).unwrap();
    let refused = |key: Vec<u8>, value: Vec<u8>, position| {
        let mut batch = WriteBatch::new();
        batch.put(key, value);
        let error = db.commit(batch, position).unwrap_err();
        assert!(!error.is_fatal());
        error.to_string()
    };
    assert!(refused(vec![], vec![], 3).contains("a key is empty"));
    assert!(refused(vec![RESERVED, 1], vec![], 3).contains("belong to the store"));
    assert!(refused(vec![9; KEY_BYTES_MAX + 1], vec![], 3).contains("more than 1024"));
    assert!(refused(vec![9], vec![0; VALUE_BYTES_MAX + 1], 3).contains("8388609 bytes"));
    assert!(refused(vec![9], vec![], 1).contains("below the last one, 2"));
    assert!(!db.is_poisoned());
    put(&db, "k", "v");
}

#[test]
fn a_second_process_is_told_who_has_the_store() {
    let dir = written(1);
    let db = open(dir.path()).unwrap();
    let refused = refusal(dir.path());
    let text = refused.to_string();
    assert!(matches!(refused, OpenError::Locked { .. }));
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    drop(db);
    open(dir.path()).unwrap();
}

#[test]
fn the_lock_of_a_process_that_is_gone_locks_nobody_out() {
    let dir = written(1);
    fs::write(dir.path().join("LOCK"), "4194304\nand more, of another release\n").unwrap();
    let _db = open(dir.path()).unwrap();
    let pid = fs::read_to_string(dir.path().join("LOCK")).unwrap();
    assert_eq!(pid, format!("{}\n", std::process::id()));
}

#[test]
fn a_read_that_finds_damage_below_it_is_an_error_and_poisons() {
    let dir = tempfile::tempdir().unwrap();
    let options = || DbOptions { cache_bytes: 256 << 10, ..DbOptions::default() };
    let db = Db::open(dir.path(), options()).unwrap();
    for first in (0..8_000).step_by(500) {
        let mut batch = WriteBatch::new();
        for n in first..first + 500 {
            batch.put(format!("k{n:05}"), vec![byte(n as u64); 2_000]);
        }
        db.commit(batch, db.position() + 1).unwrap();
    }
    drop(db);
    let db = Db::open(dir.path(), options()).unwrap();
    let path = dir.path().join("store/db");
    let bytes = fs::metadata(&path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for at in (8192..bytes - 4096).step_by(4096) {
        file.write_all_at(&[0xab; 64], at).unwrap();
    }
    let found = db.scan(b"k", None, usize::MAX);
    assert!(found.unwrap_err().is_fatal());
    assert!(db.is_poisoned());
    let mut batch = WriteBatch::new();
    batch.put("more", "on top of damage");
    assert!(matches!(db.commit(batch, 99), Err(DbError::Poisoned)));
}

#[test]
fn a_store_of_another_format_is_refused() {
    let dir = written(1);
    let tree = open_raw(dir.path());
    let mut meta = tree.get([RESERVED, b'm']).unwrap().unwrap().to_vec();
    meta[..4].copy_from_slice(&7_u32.to_be_bytes());
    tree.insert([RESERVED, b'm'], meta).unwrap();
    drop(tree);
    assert!(matches!(refusal(dir.path()), OpenError::Format { found: 7, expected: 1, .. }));
}

#[test]
fn a_store_that_lost_its_tail_is_refused() {
    for (kept, lost) in [(1, 1), (3, 1), (2, 5)] {
        let dir = written(kept);
        let old = tempfile::tempdir().unwrap();
        copy_dir(&dir.path().join("store"), old.path());
        let db = open(dir.path()).unwrap();
        for n in 0..lost {
            put(&db, &format!("late{n}"), "value");
        }
        drop(db);
        fs::remove_dir_all(dir.path().join("store")).unwrap();
        copy_dir(old.path(), &dir.path().join("store"));
        match refusal(dir.path()) {
            OpenError::Behind { store, sidecar, .. } => {
                assert_eq!((store, sidecar), (kept, kept + lost));
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_lost_commit_that_kept_its_position_is_noticed_too() {
    let dir = written(1);
    let old = tempfile::tempdir().unwrap();
    copy_dir(&dir.path().join("store"), old.path());
    let db = open(dir.path()).unwrap();
    let mut batch = WriteBatch::new();
    batch.put("same position", "value");
    db.commit(batch, db.position()).unwrap();
    drop(db);
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    copy_dir(old.path(), &dir.path().join("store"));
    assert!(matches!(refusal(dir.path()), OpenError::Behind { .. }));
}

#[test]
fn a_store_that_opens_empty_is_refused() {
    let gone = written(3);
    fs::remove_dir_all(gone.path().join("store")).unwrap();
    assert!(matches!(refusal(gone.path()), OpenError::Empty { sidecar: 3, .. }));

    let empty = written(3);
    fs::remove_dir_all(empty.path().join("store")).unwrap();
    fs::create_dir(empty.path().join("store")).unwrap();
    let text = refusal(empty.path()).to_string();
    assert!(text.contains("position 3 was acknowledged"), "{text}");
    assert!(text.contains("restore it from a backup"), "{text}");
}

#[test]
fn files_of_two_stores_are_refused() {
    let (one, other) = (written(3), written(3));
    fs::copy(other.path().join("sidecar"), one.path().join("sidecar")).unwrap();
    assert!(matches!(refusal(one.path()), OpenError::Instance { .. }));
}

#[test]
fn a_store_ahead_of_its_sidecar_is_fine() {
    let dir = written(3);
    let old = fs::read(dir.path().join("sidecar")).unwrap();
    let db = open(dir.path()).unwrap();
    put(&db, "between", "store and sidecar");
    drop(db);
    fs::write(dir.path().join("sidecar"), old).unwrap();
    let db = open(dir.path()).unwrap();
    assert_eq!(db.position(), 4);
    put(&db, "and", "on");
    drop(db);
    assert_eq!(open(dir.path()).unwrap().position(), 5);
}

#[test]
fn one_torn_slot_is_fine_and_two_are_refused() {
    for commits in [0, 1, 2, 5] {
        for torn in [0, 1] {
            let dir = written(commits);
            tear(dir.path(), torn);
            let db = open(dir.path()).unwrap();
            assert_eq!(db.position(), commits);
            put(&db, "next", "value");
            drop(db);
            assert_eq!(open(dir.path()).unwrap().position(), commits + 1);
        }
    }
    let dir = written(5);
    tear(dir.path(), 0);
    tear(dir.path(), 1);
    assert!(matches!(refusal(dir.path()), OpenError::Sidecar { state: "damaged", .. }));
    fs::remove_file(dir.path().join("sidecar")).unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::Sidecar { state: "missing", .. }));
}

/// The last slot that a commit wrote.
fn newest_slot(before: &[u8], after: &[u8]) -> u64 {
    if before[..4096] == after[..4096] { 1 } else { 0 }
}

#[test]
fn power_cuts_in_a_row_that_each_tear_the_slot_being_written_never_refuse_a_whole_store() {
    let dir = written(3);
    let sidecar = dir.path().join("sidecar");
    for n in 0..6 {
        let before = fs::read(&sidecar).unwrap();
        let db = open(dir.path()).unwrap();
        put(&db, &format!("more{n}"), "value");
        drop(db);
        tear(dir.path(), newest_slot(&before, &fs::read(&sidecar).unwrap()));
    }
    assert_eq!(open(dir.path()).unwrap().position(), 9);
}

#[test]
fn what_an_open_shows_is_attested_from_then_on() {
    let dir = written(3);
    let old = fs::read(dir.path().join("sidecar")).unwrap();
    put(&open(dir.path()).unwrap(), "in the store", "when the process was killed");
    fs::write(dir.path().join("sidecar"), old).unwrap();
    // The next process may answer for what it finds, so that this must not be lost later.
    let shown = open(dir.path()).unwrap();
    assert!(shown.get(b"in the store").unwrap().is_some());
    drop(shown);
    let behind = written(0);
    fs::remove_dir_all(behind.path().join("store")).unwrap();
    fs::copy(dir.path().join("sidecar"), behind.path().join("sidecar")).unwrap();
    assert!(matches!(refusal(behind.path()), OpenError::Empty { sidecar: 4, .. }));
}

#[test]
fn a_start_that_was_killed_while_sled_wrote_its_snapshot_does_not_refuse_the_store() {
    let dir = written(20);
    let store = dir.path().join("store");
    let snapshot = fs::read_dir(&store).unwrap().map(|it| it.unwrap().path());
    let snapshot = snapshot
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap."))
        .max()
        .unwrap();
    let whole = fs::read(&snapshot).unwrap();
    let lsn = "snap.00000000FFFFFFFF.generating";
    for kept in [0, 5, whole.len() / 2, whole.len() - 1] {
        fs::write(store.join(lsn), &whole[..kept]).unwrap();
        let alone = sled::Config::new().path(&store).segment_size(SEGMENT_BYTES).open();
        assert!(alone.unwrap_err().to_string().to_lowercase().contains("corrupt"));
        assert_eq!(open(dir.path()).unwrap().position(), 20);
        assert!(!store.join(lsn).exists());
    }
}

fn tear(dir: &Path, slot: u64) {
    let file = fs::OpenOptions::new().write(true).open(dir.join("sidecar")).unwrap();
    file.write_all_at(&[0xff; 7], slot * 4096 + 20).unwrap();
}

#[test]
fn a_first_start_that_was_cut_off_begins_again() {
    // Cut before the store was in place.
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("store.new")).unwrap();
    fs::write(dir.path().join("store.new/db"), [1; 100]).unwrap();
    open(dir.path()).unwrap();
    // Cut before the sidecar was.
    let dir = written(0);
    fs::remove_file(dir.path().join("sidecar")).unwrap();
    put(&open(dir.path()).unwrap(), "k", "v");
    assert_eq!(open(dir.path()).unwrap().position(), 1);
}

#[test]
fn damage_that_makes_sled_panic_is_an_error_that_names_the_directory() {
    let dir = written(50);
    let path = dir.path().join("store/db");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xab; 4096], 0).unwrap();
    for entry in fs::read_dir(dir.path().join("store")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap") {
            fs::remove_file(path).unwrap();
        }
    }
    fs::write(dir.path().join("store/conf"), "nonsense").unwrap();
    let text = refusal(dir.path()).to_string();
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
}

#[test]
fn any_failure_in_a_commit_poisons_the_store_for_ever() {
    for fault in [Fault::Apply, Fault::Flush, Fault::Sync, Fault::Sidecar] {
        let dir = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let options = DbOptions { faults: faults.clone(), ..DbOptions::default() };
        let db = Db::open(dir.path(), options).unwrap();
        faults.plan(fault, 2);
        put(&db, "a", "1");
        put(&db, "b", "2");
        let mut batch = WriteBatch::new();
        batch.put("c", "3");
        assert!(db.commit(batch.clone(), 3).unwrap_err().is_fatal());
        assert!(db.is_poisoned());
        assert!(matches!(db.commit(batch, 3), Err(DbError::Poisoned)));
        assert!(matches!(db.get(b"a"), Err(DbError::Poisoned)));
        assert!(matches!(db.scan(b"a", None, 1), Err(DbError::Poisoned)));
        drop(db);
        // The next start finds out what the disk holds: all that was acknowledged, perhaps more.
        let db = open(dir.path()).unwrap();
        assert!(db.position() >= 2);
        assert_eq!(db.get(b"b").unwrap().unwrap(), b"2");
    }
}

#[test]
fn readers_on_other_threads_see_whole_commits_only() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).unwrap();
    let reader = db.clone();
    let reads = thread::spawn(move || {
        loop {
            let rows = reader.scan(b"pair", None, 2).unwrap();
            let values: Vec<_> = rows.iter().map(|(_, value)| value.clone()).collect();
            assert!(values.windows(2).all(|pair| pair[0] == pair[1]));
            if values.first().is_some_and(|value| value.as_slice() == b"199") {
                return;
            }
        }
    });
    for n in 0..200 {
        let mut batch = WriteBatch::new();
        batch.put("pair a", n.to_string());
        batch.put("pair b", n.to_string());
        db.commit(batch, n).unwrap();
    }
    reads.join().unwrap();
}

const CHILD_DIR: &str = "CHASSIS_TEST_CHILD_DIR";

/// Not a test of its own: the process that the tests below kill or starve.
#[test]
fn child_commits_until_it_cannot() {
    let Some(dir) = env::var_os(CHILD_DIR) else { return };
    let db = open(Path::new(&dir)).unwrap();
    loop {
        let position = db.position() + 1;
        let mut batch = WriteBatch::new();
        batch.put(format!("row{position:08}"), position.to_string().repeat(40));
        batch.put("last", position.to_string());
        batch.put(format!("long{}", position % 7), vec![byte(position); 40_000]);
        if let Err(error) = db.commit(batch, position) {
            println!("\nfailed fatal={} poisoned={}", error.is_fatal(), db.is_poisoned());
            std::process::exit(0);
        }
        println!("\nacked {position}");
    }
}

fn child(dir: &Path, shell: &str) -> Child {
    let this = env::current_exe().unwrap();
    Command::new("sh")
        .arg("-c")
        .arg(format!("{shell} exec \"$0\" --exact child_commits_until_it_cannot --nocapture"))
        .arg(this)
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn acked(line: &str) -> Option<u64> {
    line.strip_prefix("acked ")?.parse().ok()
}

fn check_all_there(dir: &Path, acked: u64) -> u64 {
    let db = open(dir).unwrap();
    let position = db.position();
    assert!(position >= acked, "position {position} of {acked} acknowledged");
    let rows = db.scan(b"row", None, usize::MAX).unwrap();
    assert_eq!(rows.len() as u64, position, "a batch is torn or lost");
    for ((key, value), n) in rows.into_iter().zip(1_u64..) {
        assert_eq!(key, format!("row{n:08}").into_bytes());
        assert_eq!(value, n.to_string().repeat(40).into_bytes());
    }
    if position > 0 {
        assert_eq!(db.get(b"last").unwrap().unwrap(), position.to_string().into_bytes());
        let long = db.get(format!("long{}", position % 7).as_bytes()).unwrap().unwrap();
        assert_eq!(long, vec![byte(position); 40_000]);
    }
    position
}

#[test]
fn every_acknowledged_commit_survives_a_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let mut position = 0;
    for kill_after in [1, 7, 40, 2, 90, 13, 33, 5, 60, 21] {
        let mut child = child(dir.path(), "");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = position;
        while last < position + kill_after {
            last = acked(&lines.next().unwrap().unwrap()).unwrap_or(last);
        }
        child.kill().unwrap();
        last = lines.filter_map(|line| acked(&line.ok()?)).max().unwrap_or(last);
        child.wait().unwrap();
        position = check_all_there(dir.path(), last);
    }
    assert!(position > 200);
}

#[test]
fn a_full_disk_poisons_and_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    // Writes over 8 MiB into a file fail, as on a full disk, instead of killing the process.
    let mut child = child(dir.path(), "trap '' XFSZ; ulimit -f 16384;");
    let lines: Vec<String> =
        BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    child.wait().unwrap();
    let last = lines.iter().filter_map(|line| acked(line)).max().unwrap();
    let failures: Vec<_> = lines.iter().filter(|line| line.starts_with("failed")).collect();
    assert_eq!(failures, ["failed fatal=true poisoned=true"]);
    check_all_there(dir.path(), last);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Commit,
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..20_u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        3 => (0..20_u8).prop_map(Step::Delete),
        1 => Just(Step::Commit),
        1 => Just(Step::Forget),
    ];
    collection::vec(step, 1..60)
}

fn key(n: u8) -> Vec<u8> {
    // Three prefixes side by side.
    vec![b'a' + n % 3, n]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_tx_reads_its_own_writes_as_a_map_would(steps in steps(), limit in 1..8_usize) {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path()).unwrap();
        let mut tx = Tx::over(&db);
        let mut model = BTreeMap::new();
        let mut saved = (tx.savepoint(), model.clone());
        for step in steps {
            match step {
                Step::Put(n, value) => {
                    tx.put(key(n), vec![value]);
                    model.insert(key(n), vec![value]);
                }
                Step::Delete(n) => {
                    tx.delete(key(n));
                    model.remove(&key(n));
                }
                Step::Commit => {
                    db.commit(tx.into_batch(), db.position() + 1).unwrap();
                    tx = Tx::over(&db);
                    saved = (tx.savepoint(), model.clone());
                }
                Step::Forget => {
                    tx.roll_back(saved.0);
                    model = saved.1.clone();
                }
            }
            for prefix in [b"".as_slice(), b"a", b"b", b"c"] {
                for edge in (0..20).map(key).map(Some).chain([None]) {
                    let edge = edge.as_deref();
                    let inside = model.iter().filter(|(key, _)| key.starts_with(prefix));
                    let row = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
                    let up = inside.clone()
                        .filter(|(key, _)| edge.is_none_or(|edge| key.as_slice() > edge));
                    let up: Vec<_> = up.take(limit).map(row).collect();
                    let down = inside.rev()
                        .filter(|(key, _)| edge.is_none_or(|edge| key.as_slice() < edge));
                    let down: Vec<_> = down.take(limit).map(row).collect();
                    prop_assert_eq!(tx.scan(prefix, edge, limit).unwrap(), up);
                    prop_assert_eq!(tx.scan_back(prefix, edge, limit).unwrap(), down);
                }
            }
        }
    }
}

#[test]
fn an_epoch_that_has_begun_stays_and_ends_what_was_known_of_later_positions() {
    let dir = written(10);
    let backup = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), backup.path());
    {
        let db = open(dir.path()).unwrap();
        (11..=20).for_each(|n| put(&db, &format!("k{n:04}"), "acknowledged"));
        assert_eq!((db.epoch(), db.opened_at(), db.position()), (0, 10, 20));
    }
    fs::remove_dir_all(dir.path()).unwrap();
    copy_dir(backup.path(), dir.path());
    {
        // The directory agrees with itself: only who knows of position 20 can tell.
        let db = open(dir.path()).unwrap();
        assert_eq!((db.epoch(), db.opened_at()), (0, 10));
        db.begin_epoch(3).unwrap();
        db.begin_epoch(2).unwrap();
        assert_eq!((db.epoch(), db.position()), (3, 10));
        put(&db, "k0011", "anew");
    }
    let db = open(dir.path()).unwrap();
    assert_eq!((db.epoch(), db.opened_at(), db.position()), (3, 11, 11));
    assert!(db.last_commit().unwrap().elapsed().unwrap() < Duration::from_secs(60));
    assert!(db.age().ends_with(" s"), "{}", db.age());
}

#[test]
fn a_failure_while_an_epoch_begins_poisons_the_store_and_the_next_start_is_in_one_of_the_two() {
    for fault in [Fault::Apply, Fault::Flush, Fault::Sync, Fault::Sidecar] {
        let dir = written(5);
        let faults = Faults::default();
        let options = DbOptions { faults: faults.clone(), ..DbOptions::default() };
        let db = Db::open(dir.path(), options).unwrap();
        faults.plan(fault, 0);
        db.begin_epoch(1).unwrap_err();
        assert!(db.is_poisoned() && db.epoch() == 0, "{fault:?}");
        drop(db);
        let db = open(dir.path()).unwrap();
        assert!(db.epoch() <= 1 && db.position() == 5, "{fault:?}");
    }
}
