//! Which receipts count, whose they are, and what the service says to who knows less.

use super::*;
use crate::{NewEvent, outbox, publish};
use chassis::db::{Db, DbOptions};
use tempfile::TempDir;

const A: Uuid = Uuid::from_u128(0xa);
const B: Uuid = Uuid::from_u128(0xb);

/// An outbox, and the runtimes that speak to it.
struct Outbox {
    _dir: TempDir,
    db: Db,
}

impl Outbox {
    /// With events `e1`, `e2` and so on.
    fn with(events: u32) -> Outbox {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), DbOptions::default()).unwrap();
        let it = Outbox { _dir: dir, db };
        it.change(|tx| {
            for n in 1..=events {
                let (subject, key) = ("inventory.trigger.n".to_owned(), "k".to_owned());
                let event = NewEvent { id: format!("e{n}"), subject, key, body: n, at: now() };
                publish(tx, event).unwrap();
            }
        });
        it
    }

    fn change<R>(&self, change: impl FnOnce(&mut Tx) -> R) -> R {
        let mut tx = Tx::over(&self.db);
        let changed = change(&mut tx);
        self.db.commit(tx.into_batch(), self.db.position() + 1).unwrap();
        changed
    }

    /// Hears it, owes again what is lost, and gives the objection.
    fn hears(&self, receipt: &Receipt) -> Option<Known> {
        self.change(|tx| {
            let heard = hear(tx, receipt, now()).unwrap();
            for lost in &heard.lost {
                assert!(unfinished(tx).unwrap().contains(lost), "a crash loses none");
                outbox::resend(tx, lost, None).unwrap();
            }
            heard.lost.iter().for_each(|it| it.is_done(tx).unwrap());
            heard.objection
        })
    }

    /// The numbers of the events that are owed.
    fn owed(&self) -> Vec<u64> {
        let rows = self.db.scan(rows::OUTSTANDING, None, 99).unwrap();
        rows.iter().filter_map(|(key, _)| rows::number_of(rows::OUTSTANDING, key)).collect()
    }
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

/// What a run of the runtime says, which opened its store at this position.
#[derive(Clone, Copy)]
struct Run {
    instance: Uuid,
    epoch: u64,
    run: u128,
    opened_in: Option<u64>,
    opened_at: u64,
    asks: bool,
}

fn run(instance: Uuid, run: u128, opened_at: u64) -> Run {
    Run { instance, epoch: 0, run, opened_in: Some(0), opened_at, asks: false }
}

impl Run {
    fn notice(self) -> Receipt {
        let Run { instance, epoch, run, opened_in, opened_at, asks } = self;
        // Where the epoch began, which only the run knows that has begun it.
        let position = if epoch > 0 { opened_at } else { 0 };
        let (ids, run) = (Vec::new(), Uuid::from_u128(run));
        Receipt { ids, instance, epoch, position, run, opened_in, opened_at, asks }
    }

    fn receipt(self, position: u64, ids: &[&str]) -> Receipt {
        let ids = ids.iter().map(|it| (*it).to_owned()).collect();
        Receipt { ids, position, ..self.notice() }
    }
}

#[test]
fn what_another_store_receipted_is_owed_again_when_the_first_one_speaks() {
    let it = Outbox::with(3);
    let (first, other) = (run(A, 1, 0), run(B, 2, 0));
    it.hears(&first.receipt(10, &["e1"]));
    assert_eq!(it.hears(&other.notice()), None, "an announcement takes nobody's place");
    it.hears(&other.receipt(1, &["e2"]));
    assert_eq!(it.owed(), [3], "what the first one has may be all that is left of it");
    let first = run(A, 3, 10);
    it.hears(&first.notice());
    assert_eq!(it.owed(), [2, 3]);
    it.hears(&first.receipt(12, &["e2", "e3"]));
    // And the other one, should it come back: it has had no more than its own.
    it.hears(&run(B, 4, 1).notice());
    assert_eq!(it.owed(), [2, 3], "e1 was receipted before its time");
}

#[test]
fn who_only_asks_hears_of_the_store_that_is_known_and_settles_nothing() {
    let it = Outbox::with(2);
    let fresh = Run { asks: true, ..run(B, 2, 0) };
    assert_eq!(it.hears(&fresh.notice()), None, "nobody is known yet");
    it.hears(&run(A, 1, 0).receipt(10, &["e1"]));
    let known = Some(Known { instance: A, epoch: 0, position: 10 });
    assert_eq!(it.hears(&fresh.notice()), known);
    assert_eq!(it.hears(&fresh.receipt(1, &["e2"])), known);
    assert_eq!(it.owed(), [2], "its word does not count");
    let mine = Run { asks: true, ..run(A, 3, 10) };
    assert_eq!(it.hears(&mine.notice()), None, "it is the known one");
}

#[test]
fn a_run_that_begins_below_what_was_receipted_is_told_so_until_it_begins_an_epoch() {
    let it = Outbox::with(4);
    it.hears(&run(A, 1, 0).receipt(10, &["e1"]));
    it.hears(&run(A, 1, 0).receipt(20, &["e2"]));
    assert_eq!(it.hears(&run(A, 2, 20).notice()), None, "a restart");
    let restored = run(A, 3, 15);
    let known = Some(Known { instance: A, epoch: 0, position: 20 });
    assert_eq!(it.hears(&restored.receipt(16, &["e3"])), known);
    assert_eq!(it.hears(&restored.receipt(30, &["e4"])).map(|it| it.epoch), Some(0), "still");
    assert_eq!(it.owed(), [] as [u64; 0]);
    let begun = Run { epoch: 1, ..restored };
    assert_eq!(it.hears(&begun.notice()), None);
    assert_eq!(it.owed(), [2, 3, 4], "all beyond position 15 of the epoch before");
    // The one that was restored from, should it still be there.
    let older = it.hears(&run(A, 1, 0).receipt(40, &["e2"]));
    assert_eq!(older.map(|it| it.epoch), Some(1));
    assert_eq!(it.owed(), [2, 3, 4]);
}

#[test]
fn a_store_that_comes_back_as_an_older_copy_gets_both() {
    let it = Outbox::with(3);
    it.hears(&run(A, 1, 0).receipt(10, &["e1"]));
    it.hears(&run(A, 1, 0).receipt(20, &["e2"]));
    it.hears(&run(B, 2, 0).receipt(1, &["e3"]));
    it.hears(&Run { epoch: 1, ..run(A, 3, 15) }.notice());
    assert_eq!(it.owed(), [2, 3]);
}

#[test]
fn rows_of_before_receipts_named_their_store_count_as_those_of_the_next_one() {
    let it = Outbox::with(2);
    it.change(|tx| {
        tx.put(rows::NEWEST, 3_u64.to_be_bytes());
        let unnamed = br#"{"at":"1970-01-01T00:00:00Z","epoch":3,"position":50}"#;
        let receipted: Receipted = serde_json::from_slice(unnamed).unwrap();
        settle(tx, &["e1".to_owned()], receipted).unwrap();
        tx.put(rows::numbered(rows::RESTORED, 3), 7_u64.to_be_bytes());
        let lost = Lost::Restored { instance: Uuid::nil(), epoch: 3, position: 7, opened_in: None };
        assert_eq!(unfinished(tx).unwrap(), [lost]);
        lost.is_done(tx).unwrap();
        assert_eq!(unfinished(tx).unwrap(), []);
    });
    let older = it.hears(&Run { epoch: 2, ..run(A, 1, 0) }.receipt(60, &["e2"]));
    assert_eq!(older.map(|it| it.epoch), Some(3), "the epoch is still known");
    assert_eq!(it.owed(), [2]);
    it.hears(&Run { epoch: 4, ..run(A, 1, 40) }.notice());
    assert_eq!(it.owed(), [1, 2]);
}

/// An outbox of three events, of which the second cannot be read.
fn damaged(prefix: &[u8]) -> Outbox {
    let it = Outbox::with(3);
    if prefix == rows::RECEIPTED {
        it.hears(&run(A, 1, 0).receipt(50, &["e1", "e2", "e3"]));
    }
    it.change(|tx| tx.put(rows::numbered(prefix, 2), b"{".to_vec()));
    it
}

#[test]
fn an_event_that_cannot_be_read_keeps_no_other_from_being_owed_again() {
    let it = damaged(rows::RECEIPTED);
    it.hears(&Run { epoch: 1, ..run(A, 2, 10) }.notice());
    assert_eq!(it.owed(), [1, 3]);
}

#[test]
fn an_event_that_cannot_be_read_keeps_no_other_from_being_receipted() {
    let it = damaged(rows::OUTSTANDING);
    it.hears(&run(A, 1, 0).receipt(50, &["e1", "e2", "e3"]));
    assert_eq!(it.owed(), [2]);
}

#[test]
fn an_event_that_cannot_be_read_is_forgotten_with_the_one_behind_it() {
    let it = damaged(rows::RECEIPTED);
    let left = |days| {
        it.change(|tx| outbox::sweep(tx, now() + chrono::Duration::days(days)).unwrap());
        it.db.scan(rows::RECEIPTED, None, 99).unwrap().len()
    };
    assert_eq!((left(6), left(8)), (3, 0));
}

/// Positions of two epochs lie on two branches of the log.
#[test]
fn what_an_epoch_receipted_is_owed_again_when_a_copy_of_before_it_is_restored() {
    let it = Outbox::with(3);
    let first = run(A, 1, 0);
    it.hears(&first.receipt(10, &["e1"]));
    // Backups of the first epoch: one at position 15, a later one at 30.
    it.hears(&first.receipt(30, &["e2"]));
    // The earlier one is restored, and goes on for a while.
    let second = Run { epoch: 1, ..run(A, 2, 15) };
    it.hears(&second.notice());
    assert_eq!(it.owed(), [2, 3]);
    it.hears(&second.receipt(20, &["e2", "e3"]));
    assert_eq!(it.owed(), [] as [u64; 0]);
    // Then somebody finds the later one, and restores that. It has never heard of e3.
    let third = Run { epoch: 2, ..run(A, 3, 30) };
    it.hears(&third.notice());
    assert_eq!(it.owed(), [2, 3], "they were receipted in the epoch between");
}

#[test]
fn what_the_epoch_of_the_copy_holds_stays_and_what_only_older_ones_receipted_is_owed_again() {
    let it = Outbox::with(4);
    it.hears(&run(A, 1, 0).receipt(10, &["e1"]));
    // The service hears nothing of the first epoch's notices, only of its end.
    it.hears(&run(A, 1, 0).receipt(20, &["e2"]));
    let second = Run { epoch: 1, ..run(A, 2, 15) };
    it.hears(&second.receipt(17, &["e3"]));
    it.hears(&second.receipt(40, &["e4"]));
    assert_eq!(it.owed(), [2]);
    let third = Run { epoch: 2, opened_in: Some(1), ..run(A, 3, 30) };
    it.hears(&third.notice());
    assert_eq!(it.owed(), [1, 2, 4], "e3 is in the copy; nobody knows whether e1 is");
}

#[test]
fn a_run_that_has_not_begun_the_epoch_itself_does_not_know_what_the_copy_held() {
    let it = Outbox::with(2);
    it.hears(&run(A, 1, 0).receipt(10, &["e1"]));
    let later = Run { epoch: 1, opened_in: Some(1), ..run(A, 3, 30) };
    it.hears(&later.receipt(40, &["e2"]));
    assert_eq!(it.owed(), [1]);
}

#[test]
fn a_notice_that_does_not_say_in_which_epoch_the_store_was_opened_is_believed_of_the_first_alone() {
    let it = Outbox::with(2);
    it.hears(&run(A, 1, 0).receipt(10, &["e1"]));
    it.hears(&run(A, 1, 0).receipt(20, &["e2"]));
    let second = Run { epoch: 1, opened_in: None, ..run(A, 2, 15) };
    it.hears(&second.notice());
    assert_eq!(it.owed(), [2]);
    let third = Run { epoch: 2, opened_in: None, ..run(A, 3, 30) };
    it.hears(&third.notice());
    assert_eq!(it.owed(), [1, 2]);
}

#[test]
fn two_copies_that_have_begun_the_same_epoch_are_told_apart() {
    let it = Outbox::with(2);
    it.hears(&run(A, 1, 0).receipt(10, &["e1"]));
    let one = Run { epoch: 1, ..run(A, 2, 15) };
    assert_eq!(it.hears(&one.receipt(20, &["e2"])), None);
    let other = Run { epoch: 1, ..run(A, 3, 30) };
    let known = Some(Known { instance: A, epoch: 1, position: 20 });
    assert_eq!(it.hears(&other.notice()), known, "though it was opened beyond position 20");
    let begun = Run { epoch: 2, ..other };
    assert_eq!(it.hears(&begun.notice()), None);
    assert_eq!(it.owed(), [2]);
    assert_eq!(it.hears(&other.receipt(31, &["e2"])), None, "said before it has begun that");
    assert_eq!(it.owed(), [2]);
}
