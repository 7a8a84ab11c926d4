mod orders;

use super::*;
use crate::{
    Attempt, Begun, Call, Effect, NewEvent, Outcome, Rejection, Service, WorkError, publish,
};
use chassis::{
    clock::{Clock, ClockConfig},
    config::Source,
    db::{Db, DbOptions},
};
use proto_schemas::inventory::{
    Availability, Available, CheckAvailability, Moved, Pieces, Release, Reserve, Ship,
};
use serde_json::{Value, json};
use std::panic::catch_unwind;
use tempfile::TempDir;

/// A service that is driven by hand.
struct Driven {
    dir: TempDir,
    db: Db,
    core: Core,
    now: DateTime<Utc>,
    /// What the last input owed beside answers.
    owed: Vec<Output>,
}

fn at(day: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::Duration::days(20_000 + day)
}

/// Rejects more than 9 pieces, panics at 13, fails at 14, replies with too much at 15, writes what
/// no store takes at 16 and 17, rejects with too many words at 18.
fn reserve(tx: &mut Tx, call: Call<Reserve>) -> Outcome<Moved> {
    let pieces = call.body.items[0].quantity;
    let acted: u32 = tx.get_json(b"acted")?.unwrap_or(0);
    tx.put_json("acted", &(acted + 1))?;
    match pieces {
        0..=9 => (),
        13 => panic!("thirteen"),
        14 => return Err(Refusal::failed("the shelf is on fire")),
        15 => {
            let sku = "x".repeat(PAYLOAD_BYTES_MAX);
            let items = vec![proto_schemas::inventory::Held { sku, quantity: 1 }];
            return Ok(Moved { order_id: call.body.order_id, items });
        }
        16 => tx.put(vec![0, b'm'], "not mine"),
        17 => tx.put("long", vec![0; chassis::db::VALUE_BYTES_MAX + 1]),
        18 => return Err(Refusal::rejected("no", "x".repeat(PAYLOAD_BYTES_MAX))),
        _ if call.attempt_class > 1 => (),
        _ => {
            let no = Rejection::new("out_of_stock", "not so many").detail("left", 9);
            return Err(no.into());
        }
    }
    let event = NewEvent {
        id: format!("{}/reserved", call.body.order_id),
        subject: "inventory.trigger.reserved".to_owned(),
        key: call.body.order_id.to_string(),
        body: json!({ "class": call.attempt_class }),
        at: call.at,
    };
    publish(tx, event)?;
    Ok(Moved { order_id: call.body.order_id, items: Vec::new() })
}

/// Rejects until an operator retries.
fn release(tx: &mut Tx, call: Call<Release>) -> Outcome<Moved> {
    let asked: u32 = tx.get_json(b"asked")?.unwrap_or(0);
    tx.put_json("asked", &(asked + 1))?;
    if call.attempt_class < 2 {
        return Err(Refusal::rejected("stuck", "the shelf is stuck"));
    }
    assert_eq!(call.provider_key(), format!("{}.2", call.key));
    tx.put_json("released", &call.undo.and_then(|undo| undo.reason))?;
    Ok(Moved { order_id: call.body.order_id, items: Vec::new() })
}

fn check(_: &Tx, asked: CheckAvailability) -> Outcome<Availability> {
    let of = |pieces: Pieces| Available {
        requested: pieces.quantity.into(),
        sku: pieces.sku,
        available: 9,
    };
    Ok(Availability { available: true, items: asked.items.into_iter().map(of).collect() })
}

fn service() -> Service {
    Service::new("test", "for tests").procedure(reserve).procedure(release).query(check)
}

impl Driven {
    fn new() -> Driven {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), DbOptions::default()).unwrap();
        let core = service().into_core();
        let mut it = Driven { db, dir, core, now: at(0), owed: Vec::new() };
        it.feed(Input::Resume);
        it
    }

    fn reopened(self) -> Driven {
        let Driven { dir, db, now, .. } = self;
        drop(db);
        let db = Db::open(dir.path(), DbOptions::default()).unwrap();
        Driven { db, dir, core: service().into_core(), now, owed: Vec::new() }
    }

    fn feed(&mut self, input: Input) {
        let mut tx = Tx::over(&self.db);
        let mut outputs = Vec::new();
        self.core.handle(&mut tx, input, self.now, &mut outputs).unwrap();
        self.db.commit(tx.into_batch(), self.db.position() + 1).unwrap();
        for output in outputs {
            match output {
                Output::Answer { reply, answer, .. } => drop(reply.send(answer)),
                other => self.owed.push(other),
            }
        }
    }

    fn ask(&mut self, request: Request) -> Answer {
        let (reply, mut answer) = oneshot::channel();
        self.feed(Input::Request { request, reply });
        answer.try_recv().unwrap()
    }

    /// The answer as `class` and body, or reason where there is no body.
    fn told(&mut self, request: Request) -> (&'static str, Value) {
        let answer = self.ask(request);
        let class = answer.class();
        let body = match answer {
            Answer::Ok { body } | Answer::Rejected { body, .. } => {
                serde_json::from_str(&body).unwrap()
            }
            Answer::Failed { why } => why.into(),
        };
        (class, body)
    }

    fn row(&self, key: &str) -> Value {
        let value = self.db.get(key.as_bytes()).unwrap();
        value.map_or(Value::Null, |value| serde_json::from_slice(&value).unwrap())
    }

    fn events(&self) -> usize {
        self.db.scan(crate::rows::OUTSTANDING, None, 99).unwrap().len()
    }

    /// Rows of the key table and its indexes.
    fn key_rows(&self) -> usize {
        let rows = self.db.scan(&[crate::KIT_PREFIX], None, 99).unwrap();
        rows.iter().filter(|(key, _)| [b'k', b'x', b'p'].contains(&key[1])).count()
    }
}

fn call(key: &str, quantity: u32) -> Request {
    let items = vec![Pieces { sku: "A-1".to_owned(), quantity }];
    let body = Reserve { order_id: "ORD-1".parse().unwrap(), items };
    request("inventory.reserve", &serde_json::to_string(&body).unwrap(), Some(key))
}

fn undo(of: &str) -> Request {
    let body = Release { order_id: "ORD-1".parse().unwrap() };
    let body = serde_json::to_string(&body).unwrap();
    let request = request("inventory.release", &body, Some(&format!("{of}/undo")));
    Request { undo_of: Some(of.to_owned()), abort_reason: Some("too late".to_owned()), ..request }
}

fn request(subject: &str, body: &str, key: Option<&str>) -> Request {
    Request {
        subject: subject.to_owned(),
        body: body.to_owned(),
        key: key.map(str::to_owned),
        undo_of: None,
        abort_kind: None,
        abort_reason: None,
        attempt_class: 1,
        began: None,
    }
}

fn code<'a>(told: &'a (&'static str, Value)) -> (&'a str, &'a str) {
    (told.0, told.1["code"].as_str().unwrap_or_default())
}

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
fn a_repeat_gets_the_recorded_reply_and_its_event_is_told_once() {
    let mut it = Driven::new();
    let first = it.told(call("k", 1));
    assert_eq!(first.0, "ok");
    assert_eq!(it.told(call("k", 1)), first);
    let mut it = it.reopened();
    assert_eq!(it.told(call("k", 1)), first);
    // Blanks are not another body.
    let Request { body, .. } = call("k", 1);
    assert_eq!(it.told(request("inventory.reserve", &format!(" {body} "), Some("k"))), first);
    assert_eq!(it.row("acted"), 1);
    assert_eq!(it.events(), 1);
}

#[test]
fn a_known_key_with_another_body_or_subject_is_refused() {
    let mut it = Driven::new();
    it.told(call("k", 1));
    assert_eq!(code(&it.told(call("k", 2))), ("rejected", "key_reused"));
    let release = Request { undo_of: None, ..undo("x") };
    let other = it.told(Request { key: Some("k".to_owned()), ..release });
    assert_eq!(code(&other), ("rejected", "key_reused"));
    assert_eq!(it.told(call("k", 1)).0, "ok");
}

#[test]
fn a_rejection_is_remembered_and_takes_back_what_was_written() {
    let mut it = Driven::new();
    let no = it.told(call("k", 10));
    let body = json!({ "code": "out_of_stock", "reason": "not so many", "left": 9 });
    assert_eq!(no, ("rejected", body));
    assert_eq!(it.told(call("k", 10)), no);
    assert_eq!(it.row("acted"), Value::Null);
    // An operator's retry is looked at anew.
    assert_eq!(it.told(Request { attempt_class: 2, ..call("k", 10) }).0, "ok");
    assert_eq!(it.told(call("k", 10)).0, "ok");
}

#[test]
fn what_failed_is_not_remembered() {
    let mut it = Driven::new();
    for (quantity, why) in
        [(13, "the procedure panicked"), (14, "the shelf is on fire"), (15, "reply too large")]
    {
        assert_eq!(it.told(call("k", quantity)), ("failed", why.into()));
        assert_eq!(it.row("acted"), Value::Null);
    }
    assert_eq!(it.key_rows(), 0);
    assert_eq!(it.told(call("k", 1)).0, "ok");
}

#[test]
fn what_the_store_or_the_broker_would_refuse_fails_its_own_call_only() {
    let mut it = Driven::new();
    let causes = [(16, "belong to the store"), (17, "8388609 bytes"), (18, "reply too large")];
    for (quantity, cause) in causes {
        let (class, why) = it.told(call("k", quantity));
        assert_eq!(class, "failed");
        assert!(why.as_str().unwrap().contains(cause), "{why}");
        assert_eq!(it.row("acted"), Value::Null);
    }
    assert_eq!(it.key_rows(), 0);
}

#[test]
fn a_malformed_body_is_refused_with_pointers_and_binds_nobody() {
    let mut it = Driven::new();
    let no = it.told(request("inventory.reserve", r#"{"orderId":7,"more":1}"#, Some("k")));
    assert_eq!(code(&no), ("rejected", "invalid"));
    let pointers: Vec<_> =
        no.1["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["/items", "/more", "/orderId"]);
    let no = it.told(request("inventory.reserve", "not json", Some("k")));
    assert_eq!(code(&no), ("rejected", "invalid"));
    assert_eq!(it.told(call("k", 1)).0, "ok");
}

#[test]
fn a_change_needs_a_key_and_a_query_does_not() {
    let mut it = Driven::new();
    let Request { body, .. } = call("k", 1);
    let no = it.told(request("inventory.reserve", &body, None));
    assert_eq!(code(&no), ("rejected", "key_missing"));
    let asked = r#"{"items":[{"sku":"A-1","quantity":2}]}"#;
    for key in [None, Some("k"), Some("k")] {
        let yes = it.told(request("inventory.check-availability", asked, key));
        assert_eq!((yes.0, &yes.1["items"][0]["requested"]), ("ok", &json!(2)));
    }
    assert_eq!(it.key_rows(), 0);
    assert_eq!(it.told(request("no.such", "{}", None)).0, "failed");
}

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

/// A courier who never answers.
struct Away;

impl Effect for Away {
    type Request = Ship;
    type Intent = ();
    type Done = ();

    fn begin(&self, _: &mut Tx, _: &Call<Ship>) -> Outcome<Begun<(), Moved>> {
        Ok(Begun::Work(()))
    }

    async fn work(&self, (): (), _: Attempt) -> Result<(), WorkError> {
        Err(WorkError::Failed("away".to_owned()))
    }

    fn finish(
        &self,
        _: &mut Tx,
        call: &Call<Ship>,
        (): (),
        done: Result<(), Rejection>,
    ) -> Outcome<Moved> {
        done?;
        Ok(Moved { order_id: call.body.order_id.clone(), items: Vec::new() })
    }
}

#[tokio::test]
async fn resends_in_an_outage_do_not_multiply_the_retries() {
    let mut it = Driven::new();
    it.core = Service::new("test", "for tests").effect(Away).into_core();
    let body = r#"{"orderId":"ORD-1"}"#;
    let mut pauses = 0;
    for _ in 0..50 {
        let (reply, mut answer) = oneshot::channel();
        let request = request("inventory.ship", body, Some("k"));
        it.feed(Input::Request { request, reply });
        while let Some(owed) = it.owed.pop() {
            match owed {
                Output::Work { key, working, .. } => {
                    let done = working.await;
                    it.feed(Input::Worked { key, done });
                }
                Output::RetryLater { .. } => pauses += 1,
                _ => panic!("nothing else is owed"),
            }
        }
        assert_eq!(answer.try_recv().unwrap().class(), "failed");
    }
    assert_eq!(pauses, 1);
    it.feed(Input::Retry { key: "k".to_owned() });
    let Some(Output::Work { key, working, .. }) = it.owed.pop() else { panic!("no work") };
    let done = working.await;
    it.feed(Input::Worked { key, done });
    assert!(matches!(it.owed.as_slice(), [Output::RetryLater { .. }]));
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

#[test]
fn a_receipt_settles_an_event_and_a_restore_owes_it_again() {
    let mut it = Driven::new();
    it.told(call("k", 1));
    let receipt = |epoch, position, ids: &[&str]| {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        heard(Receipt { ids, epoch, position, ..Receipt::default() })
    };
    it.feed(receipt(0, 50, &["ORD-1/reserved", "of another life"]));
    assert!(matches!(it.owed.as_slice(), [Output::Receipted(numbers)] if *numbers == [1]));
    assert_eq!(it.events(), 0);
    // The same again changes nothing.
    it.feed(receipt(0, 60, &["ORD-1/reserved"]));

    // Restored to a position after the receipt's: it is there.
    restored(&mut it, 1, 70);
    assert_eq!(it.events(), 0);
    // Restored to one before it: it is owed again.
    restored(&mut it, 2, 49);
    assert_eq!(it.events(), 1);
    // Whoever still lives in an older epoch cannot settle it.
    it.feed(receipt(1, 90, &["ORD-1/reserved"]));
    assert_eq!(it.events(), 1);
    it.feed(receipt(2, 51, &["ORD-1/reserved"]));
    assert_eq!(it.events(), 0);

    // It is forgotten after a week, with its id.
    it.now = at(6);
    it.feed(Input::Sweep);
    it.told(call("later", 1));
    assert_eq!(it.events(), 0);
    it.now = at(8);
    it.feed(Input::Sweep);
    it.told(call("much later", 1));
    assert_eq!(it.events(), 1);
}

fn heard(receipt: Receipt) -> Input {
    Input::Receipt { receipt, objection: None }
}

fn restored(it: &mut Driven, epoch: u64, position: u64) {
    it.owed.clear();
    it.feed(heard(Receipt { epoch, position, ..Receipt::default() }));
    let again = it.owed.drain(..).find_map(|output| match output {
        Output::Again(input) => Some(input),
        _ => None,
    });
    it.feed(again.unwrap());
}

#[test]
fn a_restore_owes_thousands_again_in_steps_and_a_restart_between_two_loses_none() {
    // How many steps are done when the process dies; after three nothing is left to do.
    for steps in 0..=3 {
        let mut it = Driven::new();
        let ids = told(&mut it, 1_200);
        it.feed(heard(Receipt { ids, position: 9, ..Receipt::default() }));
        it.owed.clear();
        it.feed(heard(Receipt { epoch: 1, position: 3, ..Receipt::default() }));
        assert_eq!(owed_again(&mut it, steps), 1_200.min(steps * 500), "{steps} steps");
        let mut it = it.reopened();
        it.feed(Input::Resume);
        let left = 1_200 - 1_200.min(steps * 500);
        assert_eq!(owed_again(&mut it, usize::MAX), left, "after {steps} steps");
        assert_eq!(it.db.scan(crate::rows::OUTSTANDING, None, 9_999).unwrap().len(), 1_200);

        // It is done once: the next start owes nothing.
        let mut it = it.reopened();
        it.feed(Input::Resume);
        assert!(it.owed.is_empty());
    }
}

/// The ids of so many events that the service has told of.
fn told(it: &mut Driven, events: u32) -> Vec<String> {
    let ids: Vec<_> = (0..events).map(|n| format!("event {n}")).collect();
    let told = ids.clone();
    let write = move |tx: &mut Tx, _| {
        for id in told {
            let (subject, key) = ("inventory.trigger.n".to_owned(), "k".to_owned());
            let event = NewEvent { id, subject, key, body: json!({}), at: at(0) };
            assert!(publish(tx, event).unwrap());
        }
        Box::new(|| ()) as Released
    };
    it.feed(Input::Write(Box::new(write)));
    ids
}

/// Takes so many steps of a resend at most, and counts what they owe.
fn owed_again(it: &mut Driven, steps: usize) -> usize {
    let (mut owed, mut left) = (0, steps);
    while let Some(output) = it.owed.pop() {
        match output {
            Output::Again(input) if left > 0 => {
                left -= 1;
                it.feed(input);
            }
            Output::Owed(numbers) => owed += numbers.len(),
            _ => (),
        }
    }
    owed
}

#[test]
fn two_procedures_of_one_subject_are_a_mistake_of_the_author() {
    let ship = |_: &mut Tx, call: Call<Ship>| {
        Ok(Moved { order_id: call.body.order_id, items: Vec::new() })
    };
    let twice = catch_unwind(|| {
        drop(Service::new("test", "for tests").procedure(ship).procedure(ship));
    });
    assert!(twice.is_err());
}
