//! Rule 30: what a turn writes. Rule 27: the store behind it. Rule 34: how bodies are stored.

use super::{counting::Counting, fixtures::shop};
use crate::{
    codec::{decode, decode_entry},
    core::{Core, Limits},
    effect::{Effect, RequestId},
    id::{SagaId, Time},
    input::{Actor, Answer, Answered, Arrival, Command, Input, Role},
    payload::Payload,
    store::{MemoryStore, Stored, conformance},
};
use serde_json::json;
use uuid::Uuid;

/// A core that tells what each input wrote.
struct Meter {
    core: Core<Counting>,
    now: Time,
    asked: Vec<RequestId>,
}

impl Meter {
    fn new() -> Meter {
        let store = Counting::over(MemoryStore::new(Uuid::from_u128(7)));
        let mut core = Core::open(store, shop(), Limits::default(), Time(0)).unwrap();
        core.commit().unwrap();
        Meter { core, now: Time(1_000), asked: Vec::new() }
    }

    /// Records, rows and bytes of one input.
    fn input(&mut self, what: &str, input: Input) -> (usize, usize) {
        self.core.handle(self.now, input).unwrap();
        for effect in self.core.commit().unwrap() {
            if let Effect::Send(request) = effect {
                self.asked.push(request.id);
            }
        }
        let store = self.core.store();
        let (records, rows) = (store.records, store.rows);
        println!("{what}: {records} records, {rows} rows, {} bytes", store.bytes);
        (records, rows)
    }

    fn reply(&mut self, body: &serde_json::Value) -> (usize, usize) {
        let RequestId { saga, step, is_undo } = self.asked.remove(0);
        let answer = Answer::Ok(Payload::of(body).unwrap());
        let answered = Answered { saga, epoch: 0, step, is_undo, answer };
        self.input("reply", Input::Answered(answered))
    }

    fn event(&mut self, name: &str, body: &serde_json::Value) -> (usize, usize) {
        let arrival = Arrival {
            ticket: 1,
            name: name.to_owned(),
            id: format!("{name} {body}"),
            source: "test".to_owned(),
            key: None,
            body: Payload::of(body).unwrap(),
            at: self.now,
        };
        self.input(name, Input::Arrived(arrival))
    }
}

#[test]
fn a_plain_turn_is_one_entry_and_one_row() {
    let null = json!(null);
    let mut meter = Meter::new();
    let started = meter.event("shop.placed", &json!({ "order": "o1" }));
    let expected = (2, 6);
    assert_eq!(started, expected, "event, entry; identity, head, start key, key, live, standing");
    for body in [&null, &null] {
        assert_eq!(meter.reply(body), (1, 1), "the entry and the head");
    }
    let waits = meter.reply(&json!({ "session": "s1" }));
    assert_eq!(waits, (1, 3), "the entry and the head; it stood otherwise before");
    let taken = meter.event("pay.completed", &json!({ "order": "o1", "session": "s1" }));
    assert_eq!(taken, (2, 4), "event and entry; identity and head, and how it stands");
    for rows in [1, 3] {
        assert_eq!(meter.reply(&null), (1, rows));
    }
    let pause = Command::Move {
        saga: SagaId::at(Time(1_000), Uuid::from_u128(7), 0, 2),
        action: crate::input::Action::Pause,
        reason: "why".to_owned(),
    };
    let actor = Actor { name: "ann".to_owned(), role: Role::Admin };
    let paused = meter.input("pause", Input::Asked { ticket: 1, actor, command: pause });
    assert_eq!(paused, (2, 1), "the entry and the audit; the head");
    meter.now = meter.now.after_ms(20 * 86_400_000);
    let tick = Input::tick(meter.now);
    assert_eq!(meter.input("deadline", tick), (1, 1));
    assert_eq!(meter.input("nothing", Input::tick(meter.now)), (1, 1), "as before");
}

#[test]
fn the_store_in_memory_conforms() {
    conformance::check(MemoryStore::new(Uuid::from_u128(1)), |store| store);
}

#[test]
fn a_body_is_stored_in_an_envelope_that_can_be_sealed_later() {
    let body = Payload::from_text(r#"{"amount": 10.10, "big": 12345678901234567890123}"#).unwrap();
    let stored = serde_json::to_string(&body).unwrap();
    let expected = r#"{"k":0,"p":{"amount": 10.10, "big": 12345678901234567890123}}"#;
    assert_eq!(stored, expected, "digits are kept");
    let read: Payload = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.text(), body.text());
    let sealed = serde_json::from_str::<Payload>(r#"{"k":3,"p":"…"}"#).unwrap_err();
    assert_eq!(sealed.to_string(), "the body is sealed with key 3");
    assert_eq!(format!("{body:?}"), "Payload(49 bytes)", "no log shows a body");
}

#[test]
fn a_digest_tells_a_repeat_from_a_conflict() {
    let digest = |text: &str| Payload::from_text(text).unwrap().digest();
    assert_eq!(digest(r#"{"a":1,"b":[2]}"#), digest(r#"{ "b": [2], "a": 1 }"#));
    assert_ne!(digest(r#"{"a":1}"#), digest(r#"{"a":"1"}"#));
    assert_ne!(digest(r#"{"a":[1,2]}"#), digest(r#"{"a":[2,1]}"#));
    assert!(Payload::from_text("{").is_err() && Payload::from_text("1 2").is_err());
    assert_ne!(
        digest(r#"{"n":0.10000000000000000001}"#),
        digest(r#"{"n":0.10000000000000000002}"#),
        "digits beyond f64 count"
    );
    assert_eq!(
        digest(r#"{"s":"a\"1234567890123456789,","n":1}"#),
        digest(r#"{"n":1, "s":"a\"1234567890123456789,"}"#),
        "a number in a string is none"
    );
    assert_ne!(
        digest(r#"{"n":12345678901234567890123}"#),
        digest(r#"{"n":12345678901234567890124}"#)
    );
}

#[test]
fn a_record_of_another_form_or_a_damaged_one_says_so() {
    let read = |text: &str| decode::<u8>(text.as_bytes()).map_err(|it| it.to_string());
    assert_eq!(read(r#"{"v":1,"it":5}"#), Ok(5));
    let newer = "failed to decode from the store: a record of form 2; this build reads form 1: \
                 use a newer one";
    assert_eq!(read(r#"{"v":2,"it":{"new":true}}"#), Err(newer.to_owned()));
    assert!(read(r#"{"v":1,"it":"#).unwrap_err().contains("a damaged record"));
    let stored = Stored { position: 1, bytes: b"{}".to_vec() };
    assert!(decode_entry(&stored).is_err());
}
