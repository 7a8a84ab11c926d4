//! For how long keys are kept.

use super::*;
use chassis::{
    clock::{Clock, ClockConfig},
    config::Source,
};

/// A clock that a test sets, as a process has it.
fn set_clock(dir: &TempDir) -> (Clock, impl Fn(i64) + use<>) {
    let file = dir.path().join("ahead");
    let path = file.to_string_lossy().into_owned();
    let pairs = [("FERMATA_ENV", "development".to_owned()), ("KIT_CLOCK_AHEAD_FILE", path)];
    let config = ClockConfig::read(&mut Source::from_pairs(pairs), "KIT").unwrap();
    let clock = Clock::open(dir.path(), &config);
    let set = clock.clone();
    let ahead = move |seconds: i64| {
        std::fs::write(&file, seconds.to_string()).unwrap();
        set.look();
    };
    (clock, ahead)
}

#[test]
fn a_clock_that_is_a_year_ahead_for_one_sweep_forgets_no_key() {
    let mut it = Driven::new();
    let (clock, ahead) = set_clock(&it.dir);
    it.now = clock.now();
    assert_eq!(it.told(call("k", 1)).0, "ok");
    ahead(365 * 24 * 3_600);
    it.now = clock.now();
    it.feed(Input::Sweep);
    ahead(0);
    it.now = clock.now();
    assert_eq!(it.told(call("k", 1)).0, "ok");
    assert_eq!(it.row("acted"), 1, "the same key acts once");
}

#[test]
fn keys_are_kept_for_ninety_days_after_their_last_change() {
    let mut it = Driven::new();
    it.told(call("a", 1));
    it.told(call("b", 1));
    it.now = at(80);
    it.told(Request { attempt_class: 2, ..undo("b") });
    it.now = at(91);
    it.feed(Input::Sweep);
    // Of `a` nothing is left; `b` is undone since day 80, and its undo recorded.
    assert_eq!(it.key_rows(), 4);
    assert_eq!(code(&it.told(call("b", 1))), ("rejected", "undone"));
    it.now = at(171);
    it.feed(Input::Sweep);
    assert_eq!(it.key_rows(), 2, "it was asked for again on day 91");
    it.now = at(182);
    it.feed(Input::Sweep);
    assert_eq!(it.key_rows(), 0);
}

#[test]
fn a_key_that_cannot_be_read_keeps_no_other_for_ever() {
    let mut it = Driven::new();
    it.told(call("a", 1));
    it.told(call("b", 1));
    let mut tx = Tx::over(&it.db);
    tx.put(crate::rows::key(Space::Nats, "a"), b"{".to_vec());
    it.db.commit(tx.into_batch(), it.db.position() + 1).unwrap();
    it.now = at(91);
    it.feed(Input::Sweep);
    assert_eq!(it.key_rows(), 0);
}

#[test]
fn a_saga_that_has_begun_again_finds_its_calls_for_as_long_as_any_other() {
    let mut it = Driven::new();
    let of = |day: i64, request: Request| Request { began: Some(at(day)), ..request };
    it.told(of(0, call("a", 1)));
    // Its runtime was restored, and it has begun again from the same event.
    it.now = at(5);
    it.told(of(5, call("a", 1)));
    let rows = it.key_rows();
    it.told(of(5, call("a", 1)));
    assert_eq!(it.key_rows(), rows, "a repeat of the same day writes nothing");
    it.now = at(94);
    it.feed(Input::Sweep);
    assert_eq!(it.told(of(5, Request { attempt_class: 2, ..undo("a") })).0, "ok");
    assert_eq!(it.row("asked"), 1, "it is undone, not taken for one that never was");
    // What says when its saga began needs no key that does.
    it.now = at(300);
    it.feed(Input::Sweep);
    let old = Request { attempt_class: 2, ..undo("b") };
    assert_eq!(it.told(of(205, old.clone())).0, "ok");
    assert_eq!(it.row("asked"), 2, "it may have been forgotten");
}
