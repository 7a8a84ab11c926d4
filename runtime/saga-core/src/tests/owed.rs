//! Rule 2 and 9: what a saga owes the world is undone, published and asked for independently of
//! what does not answer, and a person has a button for each of it.

use super::fixtures::{
    CancelCourier, CancelOrder, DAY, Mail, OpenSession, Refund, Release, Reserve, Tracked,
    VoidSession, saga, started,
};
use crate::{
    effect::{Effect, RefusalKind, Reply},
    fold::Status,
    id::Path,
    input::Action,
    journal::Patience,
    testing::Desk,
};
use serde_json::{Value, json};
use std::time::Duration;

fn patience_s() -> u64 {
    Patience::default().undo_ms / 1000
}

saga!(RacesThenWorks(ctx) -> () {
    ctx.undo(CancelOrder::of("o1"));
    let risk = ctx.call(Mail::of("o1")).undo(Refund::of("o1"));
    let _ = ctx.race(risk, ctx.sleep(Duration::from_secs(5))).await?;
    ctx.call(Reserve::of("o1")).undo(Release::of("o1")).await?;
    ctx.when::<Tracked>("o1").forever().await?;
    Ok(())
});

/// The service of the call that lost its race is dead, and the saga is cancelled.
fn beside_a_dead_service() -> Desk {
    let mut desk = started::<RacesThenWorks>();
    desk.wait_s(5);
    desk.reply("stock.reserve", Value::Null);
    desk.moved(Action::Cancel);
    desk
}

#[test]
fn what_lost_a_race_to_a_dead_service_holds_up_no_unwinding() {
    let mut desk = beside_a_dead_service();
    let behind = "1.0.0 undo pay.refund (lost)";
    assert_eq!(desk.owed(), [behind, "2 undo stock.release (cancelled)"]);
    desk.undone("stock.release");
    assert_eq!(desk.owed(), ["0 undo order.cancel (cancelled)", behind], "newest first");
    desk.undone("order.cancel");
    assert_eq!((desk.status(), desk.owed()), (Status::Compensating, vec![behind.to_owned()]));
    desk.undone("pay.refund");
    assert_eq!(desk.status(), Status::Cancelled);
}

#[test]
fn an_undo_without_an_answer_is_for_a_person_within_the_hour_and_is_asked_on() {
    let mut desk = beside_a_dead_service();
    desk.wait_s(patience_s() - 6);
    assert_eq!(desk.status(), Status::Compensating);
    desk.wait_s(6);
    assert!(patience_s() <= 3600 && desk.status() == Status::Attention);
    let reason = "undo pay.refund: no answer for 1800 s; it is asked on; retry, waive or terminate";
    assert_eq!(desk.head().reason.as_deref(), Some(reason));
    assert_eq!(desk.owed().len(), 2, "all that is owed is asked on");
    desk.restart();
    assert_eq!(desk.owed().len(), 2, "also by the next process");
    desk.undone("pay.refund");
    desk.undone("stock.release");
    desk.undone("order.cancel");
    assert_eq!(desk.status(), Status::Cancelled, "a service that comes back needs nobody");
}

#[test]
fn silence_counts_from_the_first_request_a_resume_and_a_retry() {
    let mut desk = beside_a_dead_service();
    desk.moved(Action::Pause);
    desk.wait_s(2 * patience_s());
    desk.moved(Action::Resume);
    desk.wait_s(patience_s() - 1);
    assert_eq!(desk.status(), Status::Compensating, "what is not sent is not missed");
    desk.wait_s(1);
    assert_eq!(desk.status(), Status::Attention);
    desk.moved(Action::Retry);
    assert_eq!(desk.status(), Status::Compensating);
    assert!(desk.effects().contains(&Effect::Hurry(desk.saga())), "now, not with the next pause");
    let classes: Vec<u32> = desk.requests().iter().map(|it| it.attempt_class).collect();
    assert_eq!(classes, [2, 2], "a provider repeats its answer to the attempt before");
    desk.wait_s(patience_s() - 1);
    assert_eq!(desk.status(), Status::Compensating);
    desk.wait_s(1);
    assert_eq!(desk.status(), Status::Attention);
}

saga!(Joins(ctx) -> () {
    ctx.call(Mail::of("o1")).undo(CancelOrder::of("o1")).await?;
    let first = async {
        ctx.call(Reserve::of("a")).undo(Release::of("a")).await?;
        ctx.call(OpenSession::of("a")).undo(VoidSession::of("a")).await?;
        Ok::<_, crate::abort::Abort>(())
    };
    let second = ctx.call(Reserve::of("b")).undo(CancelCourier::of("b"));
    ctx.join(first, second).await?;
    ctx.call(Reserve::of("c")).undo(Refund::of("c")).await?;
    ctx.when::<Tracked>("o1").within(DAY).await?;
    Ok(())
});

#[test]
fn sibling_arms_are_undone_at_once_and_each_arm_newest_first() {
    let mut desk = started::<Joins>();
    desk.reply("mail.send", Value::Null);
    desk.reply("1.0.0", Value::Null);
    desk.reply("1.1.0", Value::Null);
    desk.reply("pay.open", json!({ "session": "s" }));
    desk.reply("2", Value::Null);
    desk.moved(Action::Cancel);
    let owed = |desk: &Desk| {
        let owed = desk.owed().into_iter();
        owed.map(|it| it.split(' ').nth(2).unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(owed(&desk), ["pay.refund"]);
    desk.undone("pay.refund");
    assert_eq!(owed(&desk), ["pay.void", "courier.cancel"]);
    desk.undone("courier.cancel");
    assert_eq!(owed(&desk), ["pay.void"]);
    desk.undone("pay.void");
    assert_eq!(owed(&desk), ["stock.release"]);
    desk.undone("stock.release");
    assert_eq!(owed(&desk), ["order.cancel"], "what came before the join waits for all of it");
    desk.undone("order.cancel");
    assert_eq!(desk.status(), Status::Cancelled);
}

#[test]
fn a_waived_undo_is_given_up_by_a_person_and_the_saga_goes_on_with_the_rest_and_fails() {
    let mut desk = beside_a_dead_service();
    let refusal = desk.waive(None).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Conflict);
    assert!(refusal.detail.starts_with("no undo of it fails"), "{}", refusal.detail);
    desk.undo_rejected("stock.release", "not_now");
    let why = "undo stock.release failed: not now; retry, waive or terminate";
    assert_eq!(desk.head().reason.as_deref(), Some(why));
    assert_eq!(desk.waive(Some("1.0.0")).unwrap_err().kind, RefusalKind::Conflict, "it is asked");
    assert_eq!(desk.waive(None), Ok(Reply::Accepted(desk.saga())));
    assert_eq!(desk.audits().last().map(|it| it.action.as_str()), Some("waive"));
    let waived = "< 2 undo waived stock.reserve by ann: settled by hand";
    assert!(desk.text().contains(waived), "{}", desk.text());
    assert!(desk.owed().contains(&"0 undo order.cancel (cancelled)".to_owned()));
    desk.undone("order.cancel");
    desk.undone("pay.refund");
    assert_eq!(desk.status(), Status::Failed);
    let reason = "cancel please (ann); undo stock.release was waived by ann: settled by hand";
    assert_eq!(desk.head().reason.as_deref(), Some(reason));
    assert_eq!(desk.waive(None).unwrap_err().detail, "it has ended");
}

#[test]
fn which_undo_is_waived_is_said_when_several_need_a_person() {
    let mut desk = beside_a_dead_service();
    desk.wait_s(patience_s());
    let refusal = desk.waive(None).unwrap_err();
    let shown = "say which undo: step 1.0.0 (pay.refund), or 2 (stock.release)";
    assert_eq!(refusal.detail, shown);
    assert!(desk.waive(Some("1.0.0")).is_ok());
    assert_eq!(desk.owed(), ["2 undo stock.release (cancelled)"]);
    assert!(desk.waive(Some("1.0.0")).is_err(), "a second press gives up nothing else");
    assert!(desk.waive(None).is_ok(), "only one is left");
}

saga!(
    /// Succeeds, while what lost its race is tidied up behind it.
    Succeeds(ctx) -> u8 {
        let risk = ctx.call(Mail::of("o1")).undo(Refund::of("o1"));
        let _ = ctx.race(risk, ctx.sleep(Duration::from_secs(5))).await?;
        Ok(5)
    }
);

#[test]
fn a_saga_whose_code_succeeded_fails_when_what_it_left_behind_is_given_up() {
    let mut desk = started::<Succeeds>();
    desk.wait_s(5 + patience_s());
    assert_eq!(desk.status(), Status::Attention);
    assert!(desk.waive(None).is_ok());
    let reason = "undo pay.refund was waived by ann: settled by hand";
    assert_eq!((desk.status(), desk.head().reason.as_deref()), (Status::Failed, Some(reason)));
    assert_eq!(desk.head().output.map(|it| it.to_value()), Some(json!(5)));
}

saga!(
    /// Tells the world, and holds on.
    Tells(ctx) -> () {
        ctx.publish("shop.told", "o1", &1);
        ctx.publish("shop.told", "o1", &2);
        ctx.when::<Tracked>("o1").forever().await?;
        Ok(())
    }
);

#[test]
fn an_event_that_the_broker_does_not_take_is_for_a_person_and_is_tried_on() {
    let mut desk = started::<Tells>();
    desk.wait_s(patience_s() - 1);
    assert_eq!(desk.status(), Status::Waiting);
    desk.wait_s(1);
    let reason = "publish shop.told: the broker has not taken it for 1800 s; it is tried on; mend \
                  the broker, or terminate";
    assert_eq!((desk.status(), desk.head().reason.as_deref()), (Status::Attention, Some(reason)));
    assert_eq!(desk.publishes().len(), 2, "it is tried on");
    desk.restart();
    assert_eq!(desk.publishes().len(), 2);
    desk.publish_all();
    assert_eq!(desk.status(), Status::Waiting, "nobody had to do anything");
}

#[test]
fn what_the_broker_says_against_an_event_is_shown_and_a_retry_tries_it_at_once() {
    let mut desk = started::<Tells>();
    let saga = desk.saga();
    let first = Path::root().child(0);
    desk.broker_refuses(saga, first.clone(), "no stream takes it");
    desk.broker_refuses(saga, first, "no stream takes it");
    assert_eq!(desk.journal().len(), 2, "it is recorded once");
    let reason = "publish shop.told: no stream takes it; it is tried on; mend the broker, or \
                  terminate";
    assert_eq!((desk.status(), desk.head().reason.as_deref()), (Status::Attention, Some(reason)));
    let shown: Vec<(bool, String)> =
        desk.head().calls.into_iter().map(|it| (it.is_publish, it.subject)).collect();
    assert_eq!(shown, [(true, "shop.told".to_owned()), (true, "shop.told".to_owned())]);
    desk.moved(Action::Retry);
    assert!(desk.effects().contains(&Effect::Hurry(saga)));
    assert_eq!(desk.status(), Status::Waiting);
}

#[test]
fn an_event_is_taken_back_from_the_broker_with_its_saga() {
    for action in [Action::Pause, Action::Terminate] {
        let mut desk = started::<Tells>();
        desk.moved(action);
        let withdrawn =
            desk.effects().iter().filter(|it| matches!(it, Effect::Withdraw { .. })).count();
        assert_eq!((withdrawn, desk.publishes().len()), (2, 0), "{action:?}");
    }
    let mut desk = started::<Tells>();
    desk.moved(Action::Pause);
    desk.moved(Action::Resume);
    assert_eq!(desk.publishes().len(), 2);
    desk.moved(Action::Cancel);
    assert_eq!(desk.publishes().len(), 2, "what was decided is told all the same");
    desk.publish_all();
    assert_eq!(desk.status(), Status::Cancelled);
}

saga!(Misspells(ctx) -> () {
    ctx.call(Reserve::of("o1")).undo(Release::of("o1")).await?;
    ctx.publish("shop..told", "o1", &1);
    ctx.when::<Tracked>("o1").forever().await?;
    Ok(())
});

#[test]
fn a_subject_that_is_none_is_found_in_the_turn_and_named() {
    let mut desk = started::<Misspells>();
    desk.reply("stock.reserve", Value::Null);
    let held = "= held: no message can go to the subject \"shop..told\": a part between its dots \
                is empty; mend the code";
    assert_eq!((desk.last().as_str(), desk.publishes().len()), (held, 0));
    desk.moved(Action::Cancel);
    desk.undone("stock.release");
    assert_eq!(desk.status(), Status::Cancelled);
}

#[test]
fn a_retry_hurries_a_call_that_waits_for_its_next_attempt() {
    let mut desk = started::<RacesThenWorks>();
    desk.wait_s(5);
    let call = desk.requests().into_iter().find(|it| it.undo.is_none()).unwrap();
    desk.moved(Action::Retry);
    assert!(desk.effects().contains(&Effect::Hurry(desk.saga())));
    let again = desk.requests().into_iter().find(|it| it.undo.is_none()).unwrap();
    assert_eq!(again, call, "the same request, with the same key and class");
}

#[test]
fn what_a_retry_asks_anew_is_not_hurried_as_well() {
    let mut desk = started::<RacesThenWorks>();
    let call = desk.find("mail.send", false);
    desk.answer(&call, crate::input::Answer::Useless { reason: "too large".to_owned() });
    desk.moved(Action::Retry);
    let hurry = desk.effects().iter().position(|it| matches!(it, Effect::Hurry(_)));
    let send = desk.effects().iter().position(|it| matches!(it, Effect::Send(_)));
    assert!(hurry < send && hurry.is_some(), "it would be sent twice: {:?}", desk.effects());
}

#[test]
fn no_text_advises_what_is_refused() {
    let mut desk = beside_a_dead_service();
    desk.wait_s(patience_s());
    let advised = desk.head().reason.unwrap();
    for action in [Action::Retry, Action::Waive, Action::Terminate] {
        assert!(advised.contains(action.as_str()), "{advised}");
    }
    assert!(desk.waive(Some("2")).is_ok() && desk.make(Action::Retry).is_ok());
    assert!(desk.make(Action::Terminate).is_ok());
}
