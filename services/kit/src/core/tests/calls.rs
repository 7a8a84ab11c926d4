//! Calls: each acts once under its key, and what failed did not happen.

use super::*;
use crate::{Attempt, Begun, Effect};
use proto_schemas::inventory::Ship;
use std::panic::catch_unwind;

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
fn two_procedures_of_one_subject_are_a_mistake_of_the_author() {
    let ship = |_: &mut Tx, call: Call<Ship>| {
        Ok(Moved { order_id: call.body.order_id, items: Vec::new() })
    };
    let twice = catch_unwind(|| {
        drop(Service::new("test", "for tests").procedure(ship).procedure(ship));
    });
    assert!(twice.is_err());
}
