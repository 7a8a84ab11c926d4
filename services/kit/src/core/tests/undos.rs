//! Undos: before their call, behind it, and when nobody knows of it any more.

use super::*;
use crate::{Attempt, Begun, Effect};

#[test]
fn an_undo_that_overtakes_its_call_stops_it() {
    let mut it = Driven::new();
    assert_eq!(it.told(undo("k")), ("ok", Value::Null));
    let mut it = it.reopened();
    assert_eq!(code(&it.told(call("k", 1))), ("rejected", "undone"));
    assert_eq!(it.told(undo("k")), ("ok", Value::Null));
    assert_eq!((it.row("acted"), it.row("asked")), (Value::Null, Value::Null));
}

#[test]
fn a_rejected_undo_is_tried_again_and_its_call_stays_done() {
    let mut it = Driven::new();
    assert_eq!(it.told(call("k", 1)).0, "ok");
    for _ in 0..2 {
        assert_eq!(code(&it.told(undo("k"))), ("rejected", "stuck"));
    }
    assert_eq!(it.told(call("k", 1)).0, "ok");
    let retried = Request { attempt_class: 2, ..undo("k") };
    assert_eq!(it.told(retried.clone()).0, "ok");
    assert_eq!(it.row("released"), "too late");
    // Now it is recorded, for either class.
    assert_eq!(it.told(retried).0, "ok");
    assert_eq!(it.told(undo("k")).0, "ok");
    assert_eq!(it.row("asked"), 1);
    assert_eq!(code(&it.told(call("k", 1))), ("rejected", "undone"));
}

#[test]
fn an_undo_of_a_rejected_call_does_nothing() {
    let mut it = Driven::new();
    assert_eq!(it.told(call("k", 10)).0, "rejected");
    assert_eq!(it.told(undo("k")), ("ok", Value::Null));
    assert_eq!(it.row("asked"), Value::Null);
    // An operator's retry of the call, overtaken by the undo, finds that it is too late.
    let retried = Request { attempt_class: 2, ..call("k", 10) };
    assert_eq!(code(&it.told(retried)), ("rejected", "undone"));
    assert_eq!(it.row("acted"), Value::Null);
}

#[test]
fn an_undo_that_a_fact_gave_rise_to_runs_and_its_rejection_is_forgotten() {
    let mut it = Driven::new();
    let bound = Request { undo_of: None, ..undo("s/0/0") };
    assert_eq!(code(&it.told(bound.clone())), ("rejected", "stuck"));
    assert_eq!(it.key_rows(), 0);
    assert_eq!(it.told(Request { attempt_class: 2, ..bound }).0, "ok");
}

#[test]
fn an_undo_that_comes_after_its_call_is_forgotten_still_undoes_it() {
    let mut it = Driven::new();
    let began = |day: i64| {
        let ms = u64::try_from(at(day).timestamp_millis()).unwrap();
        format!("{:08x}-{:04x}-7000-8000-000000000000/0/1", ms >> 16, ms & 0xffff)
    };
    it.told(call(&began(0), 1));
    it.now = at(95);
    it.feed(Input::Sweep);
    assert_eq!(it.key_rows(), 0);
    let undo_of = |key: &str| Request { attempt_class: 2, ..undo(key) };
    assert_eq!(it.told(undo_of(&began(0))).0, "ok");
    assert_eq!(it.row("asked"), 1);
    // Again, it is recorded; and a call that comes even later finds itself undone.
    assert_eq!(it.told(undo_of(&began(0))).0, "ok");
    assert_eq!(it.row("asked"), 1);
    assert_eq!(code(&it.told(call(&began(0), 1))), ("rejected", "undone"));
    // What cannot be forgotten yet has not happened.
    assert_eq!(it.told(undo_of(&began(70))), ("ok", Value::Null));
    assert_eq!(it.row("asked"), 1);
}

#[test]
fn an_undo_of_what_a_restored_store_has_forgotten_runs() {
    let mut it = Driven::new();
    let of = |day: i64, request: Request| Request { began: Some(at(day)), ..request };
    let retried = |key: &str| Request { attempt_class: 2, ..undo(key) };
    it.told(of(1, call("refused", 10)));
    it.now = at(5);
    assert_eq!(it.told(of(4, undo("before"))), ("ok", Value::Null), "nothing is lost");
    // As the broker's record shows at a start.
    it.db.begin_epoch(1).unwrap();
    let mut it = it.reopened();
    it.feed(Input::Resume);
    assert_eq!(code(&it.told(of(4, undo("lost")))), ("rejected", "stuck"));
    assert_eq!(it.told(of(4, retried("lost"))).0, "ok");
    assert_eq!(code(&it.told(of(4, call("lost", 1)))), ("rejected", "undone"));
    assert_eq!(it.told(of(1, retried("refused"))).0, "ok");
    assert_eq!(it.row("asked"), 2, "it may have been retried, and taken then");
    it.now = at(6);
    assert_eq!(it.told(of(6, undo("since"))), ("ok", Value::Null));
    assert_eq!(it.row("asked"), 2, "what was done since then is known");
}

/// Looks outside for what no row tells.
struct Search;

impl Effect for Search {
    type Request = Release;
    type Intent = ();
    type Done = ();

    fn begin(&self, _: &mut Tx, _: &Call<Release>) -> Outcome<Begun<(), Moved>> {
        Ok(Begun::Work(()))
    }

    async fn work(&self, (): (), _: Attempt) -> Result<(), WorkError> {
        Ok(())
    }

    fn finish(
        &self,
        _: &mut Tx,
        call: &Call<Release>,
        (): (),
        done: Result<(), Rejection>,
    ) -> Outcome<Moved> {
        done?;
        Ok(Moved { order_id: call.body.order_id.clone(), items: Vec::new() })
    }
}

#[test]
fn a_call_that_comes_while_its_undo_looks_for_it_is_not_acted_on() {
    let service = || Service::new("test", "for tests").procedure(reserve).effect(Search);
    let mut it = Driven::new();
    it.core = service().into_core();
    it.db.begin_epoch(1).unwrap();
    let of = |request: Request| Request { began: Some(at(-1)), ..request };
    for done in [Err(Rejection::new("left", "it has left").into()), Ok(Box::new(()) as Done)] {
        let is_over = done.is_ok();
        let (reply, mut answer) = oneshot::channel();
        it.feed(Input::Request { request: of(undo("k")), reply });
        assert!(matches!(it.owed.pop(), Some(Output::Work { .. })), "it looks, each time");
        assert_eq!(code(&it.told(of(call("k", 1)))), ("rejected", "undone"));
        it.feed(Input::Worked { key: "k/undo".to_owned(), done });
        assert_eq!(answer.try_recv().unwrap().class() == "ok", is_over);
    }
    assert_eq!((it.told(undo("k")).0, it.row("acted")), ("ok", Value::Null));
    assert_eq!(code(&it.told(call("k", 1))), ("rejected", "undone"));
}
