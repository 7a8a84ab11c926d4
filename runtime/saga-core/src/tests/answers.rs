//! Rule 2: calls without an answer, and their undos. Rule 9: what is tried again. Rule 20: what
//! services say. Rule 1 and 18: who wins.

use super::{
    counting::Counting,
    fixtures::{
        CancelOrder, DAY, Mail, OpenSession, Refund, Release, Reserve, Tracked, VoidSession,
        poll_once, saga, started,
    },
};
use crate::{
    abort::AbortKind,
    codec::NoteRecord,
    core::{Core, Limits, PAYLOAD_BYTES_MAX},
    effect::{Effect, Note, UndoOf},
    fold::Status,
    input::{Action, Answer, Answered, Input},
    journal::RESEND_MAX,
    message::{OnExhausted, Request, Retry},
    payload::Payload,
    saga::Registry,
    testing::Desk,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, future::IntoFuture, time::Duration};

fn ok() -> Answer {
    Answer::Ok(Payload::null())
}

saga!(Plain(ctx) -> () {
    ctx.undo(CancelOrder::of("o1"));
    ctx.call(Mail::of("o1")).await?;
    ctx.call(Reserve::of("o1")).undo(Release::of("o1")).await?;
    Ok(())
});

fn late_answers(desk: &Desk) -> Vec<String> {
    let late = desk.notes().into_iter().filter_map(|it| match it {
        NoteRecord::LateAnswer { step, outcome, .. } => Some(format!("{step} {outcome}")),
        NoteRecord::DeadLetter { .. } | NoteRecord::Ruled { .. } => None,
    });
    late.collect()
}

fn notes(desk: &Desk) -> Vec<&Note> {
    let notes = desk.effects().iter().filter_map(|it| match it {
        Effect::Note(note @ Note::StaleAnswer { .. }) => Some(note),
        _ => None,
    });
    notes.collect()
}

#[test]
fn an_abandoned_call_is_undone_by_its_key_and_its_late_answer_stands_beside_the_saga() {
    let mut desk = started::<Plain>();
    desk.reply("mail.send", Value::Null);
    let (alias, call) = (desk.head().acts_as(), desk.find("stock.reserve", false));
    desk.moved(Action::Cancel);
    let undo = desk.requests().remove(0);
    assert_eq!(undo.key, format!("{alias}/0/2/undo"));
    let UndoOf { call_key, abort } = undo.undo.unwrap();
    assert_eq!(call_key, Some(format!("{alias}/0/2")));
    assert_eq!((abort.kind, abort.reason.as_str()), (AbortKind::Cancelled, "cancel please (ann)"));

    desk.answer(&call, ok());
    assert_eq!((late_answers(&desk), notes(&desk).len()), (vec!["2 ok".to_owned()], 0));
    desk.undone("stock.release");
    let bound_to_a_fact = desk.requests().remove(0).undo.unwrap();
    assert_eq!(bound_to_a_fact.call_key, None);
    desk.undone("order.cancel");
    assert_eq!(desk.status(), Status::Cancelled);
    desk.answer(&call, Answer::Rejected { code: "undone".to_owned(), reason: String::new() });
    assert_eq!(late_answers(&desk), ["2 ok", "2 undone"], "also after the end");
    desk.answer(&call, ok());
    (0..100).for_each(|it| {
        let code = format!("no {it}");
        desk.answer(&call, Answer::Rejected { code, reason: String::new() });
    });
    let of_many = ["2 ok", "2 undone", "2 no 0", "2 no 1"];
    assert_eq!(late_answers(&desk), of_many, "each once, and not without end");
    let facts = desk.text().lines().filter(|it| it.contains("< 2 ")).count();
    assert_eq!(facts, 1, "its undo alone is a fact");
}

#[test]
fn an_abandoned_call_without_an_undo_is_silent() {
    let mut desk = started::<Plain>();
    let call = desk.find("mail.send", false);
    desk.moved(Action::Cancel);
    assert_eq!(desk.owed(), ["0 undo order.cancel (cancelled)"]);
    desk.answer(&call, ok());
    assert_eq!(late_answers(&desk), ["1 ok"]);
}

#[test]
fn the_first_answer_wins_and_any_other_is_stale() {
    let mut desk = started::<Plain>();
    let call = desk.find("mail.send", false);
    desk.answer(&call, ok());
    let (saga, step) = (desk.saga(), call.step.clone());
    let other = Answer::Ok(Payload::of(&1).unwrap());
    let refused = Answer::Rejected { code: "no".to_owned(), reason: "no".to_owned() };
    for again in [ok(), other, refused] {
        desk.answer(&call, again);
        assert_eq!(notes(&desk), [&Note::StaleAnswer { saga, step: step.clone() }]);
    }
    assert_eq!(desk.journal().len(), 2);
}

saga!(AsksOften(ctx) -> () {
    for _ in 0..100 {
        ctx.call(Mail::of("o1")).await?;
    }
    Ok(())
});

#[test]
fn a_repeated_answer_costs_a_look_at_a_row_however_long_the_journal_is() {
    let mut desk = started::<AsksOften>();
    let first = desk.find("mail.send", false);
    for _ in 0..50 {
        desk.reply("mail.send", Value::Null);
    }
    let answered = |answer| Answered {
        saga: first.saga,
        epoch: 0,
        step: first.step.clone(),
        is_undo: false,
        answer,
    };
    let store = Counting::over(desk.store().clone());
    // It keeps no states, so whatever it wants to know it has to read.
    let limits = Limits { states_max: 0, ..Limits::default() };
    let mut core = Core::open(store, desk.registry().clone(), limits, desk.now()).unwrap();
    core.commit().unwrap();
    core.store().forget_reads();
    for _ in 0..10 {
        core.handle(desk.now(), Input::Answered(answered(ok()))).unwrap();
        core.commit().unwrap();
    }
    let store = core.store();
    assert_eq!((store.journals_read(), store.rows_read()), (0, 20), "of the saga and of the call");
}

#[test]
fn an_answer_of_another_epoch_or_to_nobody_is_stale() {
    let mut desk = started::<Plain>();
    let call = desk.find("mail.send", false);
    let answered = |saga, epoch| {
        let (step, answer) = (call.step.clone(), ok());
        Input::Answered(Answered { saga, epoch, step, is_undo: false, answer })
    };
    desk.input(answered(call.saga, 1));
    assert_eq!(notes(&desk).len(), 1);
    desk.input(answered(crate::id::SagaId::derived(call.saga, "other"), 0));
    assert_eq!(notes(&desk).len(), 1);
    assert_eq!(desk.journal().len(), 1);
}

#[test]
fn an_answer_of_no_use_is_for_a_person_whose_retry_has_a_class_of_its_own() {
    let mut desk = started::<Plain>();
    let call = desk.find("mail.send", false);
    desk.answer(&call, Answer::Useless { reason: "reply too large".to_owned() });
    assert_eq!((desk.status(), desk.owed().len()), (Status::Attention, 0));
    assert_eq!(
        desk.head().reason.as_deref(),
        Some("call mail.send: reply too large; retry or cancel")
    );
    desk.answer(&call, Answer::Useless { reason: "reply too large".to_owned() });
    assert_eq!(desk.journal().len(), 2, "it is not recorded twice");
    desk.moved(Action::Retry);
    let again = desk.requests().remove(0);
    let alias = desk.head().acts_as();
    assert_eq!((again.attempt_class, again.key.as_str()), (2, &*format!("{alias}/0/1")));
    desk.reply("mail.send", Value::Null);
    assert_eq!(desk.last(), r#"> 2 call stock.reserve {"order":"o1"}, undo stock.release"#);
}

#[test]
fn a_refused_undo_is_a_state_with_a_button_that_works() {
    let mut desk = started::<Plain>();
    desk.reply("mail.send", Value::Null);
    desk.reject("stock.reserve", "out_of_stock");
    desk.undo_rejected("order.cancel", "not_now");
    assert_eq!((desk.status(), desk.owed().len()), (Status::Attention, 0));
    for class in 2..4 {
        desk.moved(Action::Retry);
        let undo = desk.requests().remove(0);
        assert_eq!((undo.attempt_class, undo.key.ends_with("/0/0/undo")), (class, true));
        desk.undo_rejected("order.cancel", "not_now");
    }
    desk.moved(Action::Retry);
    desk.undone("order.cancel");
    assert_eq!(desk.status(), Status::Cancelled);
}

#[test]
fn an_undo_that_was_refused_and_then_done_is_done() {
    let mut desk = started::<Plain>();
    desk.reject("mail.send", "no_address");
    let undo = desk.find("order.cancel", true);
    desk.undo_rejected("order.cancel", "not_now");
    desk.answer(&undo, ok());
    assert_eq!(desk.status(), Status::Cancelled);
}

#[test]
fn limits_count_from_the_decision_over_restarts() {
    let mut desk = started::<Plain>();
    for _ in 0..2 {
        desk.skip(Duration::from_secs(24 * 3600));
        desk.restart();
        desk.tick();
        assert_eq!(desk.owed(), ["1 mail.send"]);
    }
    desk.wait_ms(24 * 3600 * 1000 - 1);
    assert_eq!(desk.status(), Status::Running);
    desk.wait_ms(1);
    assert_eq!((desk.status(), desk.owed().len()), (Status::Attention, 0));
    assert_eq!(desk.last(), "1 +259200s < 1 exhausted: no answer for 259200 s");
    desk.moved(Action::Retry);
    desk.wait_s(3 * 24 * 3600 - 1);
    assert_eq!(desk.owed(), ["1 mail.send"], "a retry has its full time");
    desk.reply("mail.send", Value::Null);
    assert_eq!(desk.status(), Status::Running);
}

#[test]
fn an_answer_after_the_limit_still_counts() {
    let mut desk = started::<Plain>();
    let call = desk.find("mail.send", false);
    desk.wait_s(3 * 24 * 3600);
    assert_eq!(desk.status(), Status::Attention);
    desk.answer(&call, ok());
    assert_eq!(desk.status(), Status::Running);
}

#[test]
fn what_is_too_old_is_not_sent_once_more_after_a_pause_or_a_long_night() {
    let mut desk = started::<Plain>();
    desk.moved(Action::Pause);
    desk.wait_s(31 * 24 * 3600);
    assert_eq!(desk.status(), Status::Running, "what is not sent while paused is not missed");
    desk.moved(Action::Resume);
    assert!(!desk.effects().iter().any(|it| matches!(it, Effect::Send(_))), "nothing is sent");
    desk.tick();
    assert_eq!((desk.status(), desk.owed().len()), (Status::Attention, 0));

    let mut desk = started::<Plain>();
    desk.skip(Duration::from_secs(31 * 24 * 3600));
    desk.restart();
    assert_eq!(desk.owed(), [""; 0]);
    desk.tick();
    assert_eq!(desk.status(), Status::Attention);

    let mut desk = started::<Plain>();
    desk.moved(Action::Cancel);
    desk.skip(RESEND_MAX);
    desk.restart();
    desk.tick();
    assert_eq!((desk.status(), desk.owed().len()), (Status::Attention, 0));
    desk.moved(Action::Retry);
    desk.tick();
    assert_eq!(desk.owed(), ["0 undo order.cancel (cancelled)"], "a retry has its full time");
    desk.undone("order.cancel");
    assert_eq!(desk.status(), Status::Cancelled);
}

#[test]
fn a_pause_is_no_silence_of_a_service_that_was_not_asked() {
    let mut desk = started::<Asks>();
    desk.wait_s(1);
    desk.moved(Action::Pause);
    desk.wait_s(29 * 24 * 3600);
    desk.moved(Action::Resume);
    assert_eq!(desk.owed(), ["1 some.patient"], "it has its full time again");
    desk.moved(Action::Pause);
    desk.wait_s(2 * 24 * 3600);
    desk.moved(Action::Resume);
    assert_eq!(desk.owed(), [""; 0], "too old to be sent, and not missed");
    desk.tick();
    assert_eq!(desk.status(), Status::Attention);
    desk.moved(Action::Retry);
    assert_eq!(desk.owed(), ["1 some.patient"]);
}

#[test]
fn an_undo_has_its_time_from_when_its_turn_comes() {
    let mut desk = started::<Plain>();
    desk.reply("mail.send", Value::Null);
    desk.moved(Action::Cancel);
    desk.undo_rejected("stock.release", "not_now");
    desk.wait_s(40 * 24 * 3600);
    desk.moved(Action::Retry);
    desk.undone("stock.release");
    assert_eq!(desk.owed(), ["0 undo order.cancel (cancelled)"]);
    desk.tick();
    assert_eq!(desk.owed(), ["0 undo order.cancel (cancelled)"]);
}

/// Asked a hundred days long, as its author thinks.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Patient {}
impl Request for Patient {
    const SUBJECT: &'static str = "some.patient";
    const RETRY: Retry = Retry {
        limit: Duration::from_secs(100 * 24 * 3600),
        on_exhausted: OnExhausted::Abort,
        ..Retry::DEFAULT
    };
    type Reply = ();
}

saga!(Asks(ctx) -> () {
    ctx.undo(CancelOrder::of("o1"));
    Ok(ctx.call(Patient {}).await?)
});

#[test]
fn no_call_is_resent_for_more_than_thirty_days_and_a_definition_may_choose_to_abort() {
    let mut desk = started::<Asks>();
    desk.wait_s(30 * 24 * 3600 - 1);
    assert_eq!(desk.status(), Status::Running);
    desk.wait_s(1);
    assert!(desk.text().contains("> abort, failed: some.patient: no answer for 2592000 s"));
    assert_eq!(desk.owed(), ["0 undo order.cancel (failed)"]);
    desk.undone("order.cancel");
    assert_eq!(desk.status(), Status::Failed, "an end that the engine had to choose");
}

saga!(Opens(ctx) -> String {
    match ctx.call(OpenSession::of("o1")).undo(VoidSession::of("o1")).await {
        Ok(session) => Ok(session.session),
        Err(rejection) if rejection.code == "closed" => Ok("closed".to_owned()),
        Err(rejection) => Err(rejection.into()),
    }
});

#[test]
fn a_rejection_reaches_the_author_with_its_code() {
    let mut desk = started::<Opens>();
    desk.reject("pay.open", "closed");
    assert_eq!(
        (desk.last().as_str(), desk.status()),
        (r#"> complete "closed""#, Status::Completed)
    );
    let mut desk = started::<Opens>();
    desk.reject("pay.open", "broken");
    assert_eq!(desk.last(), "> abort, rejected: pay.open rejected: broken");
}

/// Its map has keys that are no strings.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Odd(BTreeMap<(u8, u8), u8>);
impl Request for Odd {
    const SUBJECT: &'static str = "odd.ask";
    type Reply = ();
}
saga!(AsksOddly(ctx) -> () {
    ctx.call(Odd(BTreeMap::from([((1, 2), 3)]))).await?;
    Ok(())
});

#[test]
fn a_request_without_a_json_form_is_named_and_for_a_person() {
    let desk = started::<AsksOddly>();
    let held = "= held: the request odd.ask has no JSON form: key must be a string; \
                retry with a binary that writes it, or end the saga";
    assert_eq!((desk.last().as_str(), desk.owed().len()), (held, 0));
}

#[test]
fn an_answer_that_the_code_cannot_read_is_none_and_a_retry_asks_again() {
    let mut desk = started::<Opens>();
    for class in 2..4 {
        desk.reply("pay.open", json!({ "id": 5 }));
        let reason = "call pay.open: its answer cannot be read: missing field `session` at line 1 \
                      column 8; retry or cancel";
        assert_eq!(
            (desk.status(), desk.head().reason.as_deref()),
            (Status::Attention, Some(reason))
        );
        assert_eq!(desk.owed(), [""; 0], "the same answer would come again");
        desk.moved(Action::Retry);
        let again = desk.requests().remove(0);
        assert_eq!((again.subject.as_str(), again.attempt_class), ("pay.open", class));
    }
    desk.reply("pay.open", json!({ "session": "s1" }));
    assert_eq!(desk.last(), r#"> complete "s1""#);
}

#[test]
fn an_answer_that_the_code_cannot_read_can_be_cancelled_and_its_call_undone() {
    let mut desk = started::<Opens>();
    desk.reply("pay.open", json!({ "id": 5 }));
    desk.moved(Action::Cancel);
    desk.undone("pay.void");
    assert_eq!(desk.status(), Status::Cancelled);
}

#[test]
fn an_answer_that_came_while_nobody_could_read_it_is_judged_when_somebody_can() {
    let mut desk = started::<Opens>();
    let call = desk.find("pay.open", false);
    desk.moved(Action::Pause);
    desk.answer(&call, Answer::Ok(Payload::of(&json!({ "id": 5 })).unwrap()));
    assert_eq!(desk.last(), "= held: paused");
    desk.moved(Action::Resume);
    assert_eq!((desk.status(), desk.owed().len()), (Status::Attention, 0));
    desk.moved(Action::Retry);
    assert_eq!(desk.owed(), ["0 pay.open"]);

    // Without its code nothing can be told of the answer; with it a retry asks again at once.
    let whole = desk.registry().clone();
    desk.deploy(Registry::new("without"));
    desk.reply("pay.open", json!({ "id": 5 }));
    assert_eq!(desk.status(), Status::Attention);
    desk.deploy(whole);
    desk.moved(Action::Retry);
    assert_eq!(desk.owed(), ["0 pay.open"]);
    desk.reply("pay.open", json!({ "session": "s1" }));
    assert_eq!(desk.status(), Status::Completed);
}

saga!(
    /// Looks at the answer only after another one, and has passed its pivot.
    LooksAtAnswerLater(ctx) -> String {
        ctx.commit();
        let mut open = ctx.call(OpenSession::of("o1")).into_future();
        poll_once(&mut open).await;
        ctx.call(Mail::of("o1")).await?;
        Ok(open.await?.session)
    }
);

#[test]
fn an_answer_is_judged_when_it_comes_not_when_the_code_looks_and_the_advice_is_possible() {
    let mut desk = started::<LooksAtAnswerLater>();
    desk.reply("pay.open", json!({ "id": 5 }));
    let reason = desk.head().reason.unwrap();
    assert!(reason.ends_with("retry or terminate"), "{reason}");
    desk.moved(Action::Retry);
    desk.reply("pay.open", json!({ "session": "s1" }));
    desk.reply("mail.send", Value::Null);
    assert_eq!(desk.status(), Status::Completed);
}

saga!(TooBig(ctx) -> () {
    ctx.call(Reserve::of("o1")).undo(Release::of("o1")).await?;
    Ok(ctx.call(Mail::of(&"x".repeat(PAYLOAD_BYTES_MAX))).await?)
});

#[test]
fn a_body_that_no_message_can_carry_is_found_in_the_turn() {
    const HELP: &str = "; retry with a binary that asks for less, or cancel the saga";
    let mut desk = started::<TooBig>();
    desk.reply("stock.reserve", Value::Null);
    let size = PAYLOAD_BYTES_MAX + r#"{"order":""}"#.len();
    let expected =
        format!("= held: bytes of the body for mail.send: {size}, and 786432 are allowed{HELP}");
    assert_eq!((desk.last(), desk.status()), (expected, Status::Attention));
    desk.moved(Action::Retry);
    assert_eq!((desk.journal().len(), desk.status()), (3, Status::Attention), "the same again");
    desk.moved(Action::Cancel);
    desk.undone("stock.release");
    assert_eq!(desk.status(), Status::Cancelled);
}

saga!(
    /// Looks at its wait only after a call has answered.
    LooksLater(ctx) -> bool {
        let mut wait = ctx.when::<Tracked>("o1").within(DAY);
        poll_once(&mut wait).await;
        ctx.call(Refund::of("o1")).await?;
        Ok(wait.await?.is_some())
    }
);

#[test]
fn the_first_fact_of_a_wait_wins_whenever_the_code_looks() {
    let tracked = json!({ "order": "o1", "status": "sent" });
    let mut desk = started::<LooksLater>();
    desk.wait_s(86_400);
    desk.event("courier.status", tracked.clone());
    desk.reply("pay.refund", Value::Null);
    assert_eq!(desk.last(), "> complete false");

    let mut desk = started::<LooksLater>();
    desk.event("courier.status", tracked);
    desk.wait_s(86_400);
    desk.reply("pay.refund", Value::Null);
    assert_eq!(desk.last(), "> complete true");
    assert!(!desk.text().contains("time over"));
}

saga!(Holds(ctx) -> bool {
    Ok(ctx.when::<Tracked>("o1").within(DAY).await?.is_some())
});

#[test]
fn a_deadline_is_held_while_intake_is_behind_and_the_event_that_was_published_first_wins() {
    let mut desk = started::<Holds>();
    desk.intake_is_behind(true);
    desk.wait_s(2 * 86_400);
    assert_eq!(desk.status(), Status::Waiting);
    assert_eq!(desk.core().timers_held(desk.now(), crate::id::Time(0)), 1);
    desk.event("courier.status", json!({ "order": "o1", "status": "sent" }));
    assert_eq!(desk.last(), "> complete true");

    let mut desk = started::<Holds>();
    desk.intake_is_behind(true);
    desk.wait_s(2 * 86_400);
    desk.restart();
    desk.tick();
    assert_eq!(desk.status(), Status::Waiting, "a restart fires nothing either");
    desk.intake_is_behind(false);
    desk.tick();
    assert_eq!(desk.last(), "> complete false");
    assert_eq!(desk.core().timers_held(desk.now(), desk.now()), 0);
}

#[test]
fn a_deadline_fires_when_intake_has_passed_it_and_not_a_millisecond_before() {
    let mut desk = started::<Holds>();
    let due = desk.head().waits[0].due.unwrap();
    desk.skip(Duration::from_millis(due.0 - desk.now().0 - 1));
    desk.input(Input::tick(crate::id::Time(due.0 + 1)));
    assert_eq!(desk.status(), Status::Waiting, "intake may be ahead of the clock");
    desk.skip(Duration::from_secs(3 * 86_400));
    desk.input(Input::tick(crate::id::Time(due.0 - 1)));
    assert_eq!(desk.status(), Status::Waiting);
    desk.input(Input::tick(due));
    assert_eq!(desk.last(), "> complete false");
    assert_eq!(desk.journal()[1].at, desk.now());
}

#[test]
fn time_that_goes_backward_does_not_do_so_in_a_journal() {
    let mut desk = started::<LooksLater>();
    let first = desk.journal()[0].at;
    desk.clock_steps_back(5_000);
    desk.reply("pay.refund", Value::Null);
    assert_eq!(desk.journal()[1].at, first);
}

saga!(
    /// Publishes, and waits for nobody.
    Tells(ctx) -> String {
        let id = ctx.new_id();
        ctx.publish("shop.told", "o1", &json!({ "id": id, "at": ctx.now().0 }));
        ctx.call(Mail::of("o1")).await?;
        Ok(ctx.new_id().to_string())
    }
);

#[test]
fn a_publish_is_owed_until_the_broker_has_it_and_the_end_waits_for_it() {
    let mut desk = started::<Tells>();
    let Effect::Publish { saga, step, id, subject, key, body } = desk.publishes().remove(0) else {
        panic!("a publish")
    };
    assert_eq!(id, format!("{}/0/{step}", desk.head().acts_as()));
    assert_eq!((subject.as_str(), key.as_str()), ("shop.told", "o1"));
    assert_eq!(body.to_value()["at"], desk.head().started_at.0);
    desk.reply("mail.send", Value::Null);
    assert_eq!(desk.status(), Status::Running, "its end waits");
    desk.restart();
    assert_eq!(desk.publishes().len(), 1, "and it is owed over a restart");
    desk.broker_has(saga, step.clone());
    assert_eq!(desk.status(), Status::Completed);
    desk.broker_has(saga, step);
    assert_eq!(desk.journal().len(), 3, "told twice, recorded once");
}

#[test]
fn ids_and_times_are_the_same_whenever_a_step_is_replayed() {
    let mut desk = started::<Tells>();
    let first = desk.text();
    desk.wait_s(5);
    desk.restart();
    desk.reply("mail.send", Value::Null);
    assert!(desk.text().starts_with(&first));
    let mut other = started::<Tells>();
    other.wait_s(5);
    other.reply("mail.send", Value::Null);
    assert_eq!(desk.text(), other.text());
    let ids: Vec<String> =
        desk.text().split('"').filter(|it| it.len() == 36).map(str::to_owned).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}
