//! Rule 6: `join` and `race` leave nothing open behind them. Rule 8: names do not depend on the
//! order of replies.

use super::fixtures::{
    Approved, BookCourier, CancelCourier, DAY, Mail, OpenSession, Paid, Refund, Release, Reserve,
    ShipStock, TakeBack, Tracked, VoidSession, poll_once, saga, started,
};
use crate::{abort::Abort, fold::Status, input::Answer, scope::Either, testing::Desk};
use serde_json::{Value, json};
use std::{future::IntoFuture, time::Duration};

fn null(desk: &mut Desk, calls: &[&str]) {
    calls.iter().for_each(|it| desk.reply(it, Value::Null));
}

saga!(JoinWait(ctx) -> () {
    let reserve = ctx.call(Reserve::of("o1")).undo(Release::of("o1"));
    ctx.join(reserve, ctx.when::<Tracked>("o1").within(DAY)).await?;
    Ok(())
});

#[test]
fn an_error_in_a_join_closes_the_siblings_wait_in_the_same_turn() {
    let mut desk = started::<JoinWait>();
    desk.reject("stock.reserve", "out_of_stock");
    desk.reads(
        r#"
0 +0s < started JoinWait v1 o1
  > 0.0.0 call stock.reserve {"order":"o1"}, undo stock.release
  > 0.1.0 wait courier.status of o1, 86400 s
1 +0s < 0.0.0 rejected out_of_stock: out of stock
  > close 0.1, calls settle within 30 s
  > abort, rejected: stock.reserve rejected: out of stock
"#,
    );
    assert_eq!(desk.status(), Status::Cancelled);
}

saga!(CommitsBeside(ctx) -> () {
    let reserve = ctx.call(Reserve::of("o1")).undo(Release::of("o1"));
    let commits = async {
        ctx.call(Mail::of("o1")).await?;
        ctx.commit();
        Ok::<(), Abort>(())
    };
    ctx.race(commits, reserve).await?;
    Ok(())
});

#[test]
fn what_loses_to_an_arm_with_the_commit_is_undone() {
    let mut desk = started::<CommitsBeside>();
    null(&mut desk, &["mail.send"]);
    assert_eq!(desk.owed(), ["0.1.0 undo stock.release (lost)"]);
}

saga!(JoinCalls(ctx) -> () {
    let second = async {
        ctx.call(Reserve::of("o1")).undo(Release::of("o1")).await?;
        ctx.call(Mail::of("o1")).await
    };
    ctx.join(ctx.call(BookCourier::of("o1")), second).await?;
    Ok(())
});

#[test]
fn a_siblings_call_may_settle_but_not_go_on() {
    let mut desk = started::<JoinCalls>();
    desk.reject("courier.book", "no_courier");
    assert_eq!(desk.last(), "> close 0.1, calls settle within 30 s");
    null(&mut desk, &["stock.reserve"]);
    assert_eq!(desk.last(), "> abort, rejected: courier.book rejected: no courier");
    assert_eq!(desk.owed(), ["0.1.0 undo stock.release (rejected)"]);
}

#[test]
fn a_siblings_call_that_does_not_settle_is_abandoned_with_its_undo() {
    let mut desk = started::<JoinCalls>();
    desk.reject("courier.book", "no_courier");
    desk.wait_ms(29_999);
    assert_eq!((desk.owed().len(), desk.status()), (1, Status::Running));
    desk.wait_ms(1);
    desk.reads(
        r#"
0 +0s < started JoinCalls v1 o1
  > 0.0.0 call courier.book {"order":"o1"}
  > 0.1.0 call stock.reserve {"order":"o1"}, undo stock.release
1 +0s < 0.0.0 rejected no_courier: no courier
  > close 0.1, calls settle within 30 s
2 +30s < 0.1 time over
  > abandoned 0.1.0
  > abort, rejected: courier.book rejected: no courier
"#,
    );
    assert_eq!(desk.owed(), ["0.1.0 undo stock.release (lost)"]);
    desk.undone("stock.release");
    assert_eq!(desk.status(), Status::Cancelled);
}

#[test]
fn a_sibling_that_is_rejected_while_it_settles_owes_no_undo() {
    let mut desk = started::<JoinCalls>();
    desk.reject("courier.book", "no_courier");
    desk.reject("stock.reserve", "out_of_stock");
    assert_eq!(desk.last(), "> abort, rejected: courier.book rejected: no courier");
    assert_eq!(desk.status(), Status::Cancelled);
}

#[test]
fn an_answer_of_no_use_while_it_settles_asks_for_no_person() {
    let mut desk = started::<JoinCalls>();
    let call = desk.find("stock.reserve", false);
    desk.reject("courier.book", "no_courier");
    desk.answer(&call, Answer::Useless { reason: "reply too large".to_owned() });
    assert_eq!(desk.status(), Status::Running);
    desk.wait_s(30);
    assert_eq!(desk.owed(), ["0.1.0 undo stock.release (lost)"]);
}

saga!(ShortLimit(ctx) -> () {
    let retry = crate::message::Retry {
        limit: Duration::from_secs(5),
        on_exhausted: crate::message::OnExhausted::Abort,
        ..crate::message::Retry::DEFAULT
    };
    let slow = ctx.call(Reserve::of("o1")).undo(Release::of("o1")).retry(retry);
    ctx.join(ctx.call(BookCourier::of("o1")), slow).await?;
    Ok(())
});

#[test]
fn a_calls_own_limit_does_not_count_while_its_scope_settles() {
    let mut desk = started::<ShortLimit>();
    desk.reject("courier.book", "no_courier");
    desk.wait_s(29);
    assert_eq!(desk.last(), "> close 0.1, calls settle within 30 s");
    null(&mut desk, &["stock.reserve"]);
    assert_eq!(desk.last(), "> abort, rejected: courier.book rejected: no courier");
}

saga!(/// An arm of two steps with undos, against a wait.
Race(ctx) -> bool {
    let arm = async {
        ctx.call(Reserve::of("o1")).undo(Release::of("o1")).await?;
        ctx.call(BookCourier::of("o1")).undo(CancelCourier::of("o1")).await
    };
    let is_first = match ctx.race(arm, ctx.when::<Tracked>("o1").within(DAY)).await? {
        Either::First(()) => true,
        Either::Second(_) => false,
    };
    ctx.call(Mail::of("o1")).await?;
    Ok(is_first)
});

#[test]
fn the_loser_of_a_race_is_undone_behind_the_saga() {
    let mut desk = started::<Race>();
    null(&mut desk, &["0.0.0"]);
    let late = desk.find("courier.book", false);
    desk.wait_s(86_400);
    desk.reads(
        r#"
0 +0s < started Race v1 o1
  > 0.0.0 call stock.reserve {"order":"o1"}, undo stock.release
  > 0.1.0 wait courier.status of o1, 86400 s
1 +0s < 0.0.0 replied null
  > 0.0.1 call courier.book {"order":"o1"}, undo courier.cancel
2 +86400s < 0.1.0 time over
  > close 0.0, lost
  > abandoned 0.0.1
  > 1 call mail.send {"order":"o1"}
"#,
    );
    assert_eq!(desk.owed(), ["0.0.1 undo courier.cancel (lost)", "1 mail.send"]);
    desk.answer(&late, Answer::Ok(crate::payload::Payload::null()));
    null(&mut desk, &["mail.send"]);
    assert_eq!(desk.last(), "> complete false");
    assert_eq!(desk.status(), Status::Running, "it ends when the loser is undone");
    desk.undone("courier.cancel");
    assert_eq!(desk.owed(), ["0.0.0 undo stock.release (lost)"]);
    desk.undone("stock.release");
    assert_eq!(desk.status(), Status::Completed);
}

#[test]
fn the_wait_that_loses_a_race_is_closed() {
    let mut desk = started::<Race>();
    null(&mut desk, &["0.0.0", "0.0.1"]);
    assert!(desk.text().ends_with("> close 0.1, lost\n  > 1 call mail.send {\"order\":\"o1\"}"));
    assert_eq!(desk.waits(), []);
    desk.event("courier.status", json!({ "order": "o1", "status": "sent" }));
    assert_eq!(
        desk.events()[0].identity.as_ref().unwrap().verdicts[0].outcome,
        crate::effect::Outcome::Kept
    );
}

#[test]
fn what_won_a_race_is_undone_with_the_saga_and_what_lost_is_not_undone_twice() {
    let mut desk = started::<Race>();
    null(&mut desk, &["0.0.0", "0.0.1"]);
    desk.reject("mail.send", "no_address");
    assert_eq!(desk.owed(), ["0.0.1 undo courier.cancel (rejected)"]);
    desk.undone("courier.cancel");
    desk.undone("stock.release");
    assert_eq!(desk.status(), Status::Cancelled);

    let mut desk = started::<Race>();
    null(&mut desk, &["0.0.0"]);
    desk.event("courier.status", json!({ "order": "o1", "status": "sent" }));
    desk.reject("mail.send", "no_address");
    assert_eq!(desk.owed(), ["0.0.1 undo courier.cancel (lost)"]);
    desk.undone("courier.cancel");
    desk.undone("stock.release");
    assert_eq!((desk.owed().len(), desk.status()), (0, Status::Cancelled));
}

#[test]
fn a_loser_that_cannot_be_undone_asks_for_a_person_and_the_saga_can_be_cancelled() {
    let mut desk = started::<Race>();
    desk.event("courier.status", json!({ "order": "o1", "status": "sent" }));
    desk.undo_rejected("stock.release", "gone");
    assert_eq!(desk.status(), Status::Attention);
    desk.moved(crate::input::Action::Cancel);
    assert_eq!(desk.last(), "> abandoned 1");
    desk.moved(crate::input::Action::Retry);
    desk.undone("stock.release");
    assert_eq!(desk.status(), Status::Cancelled);
}

saga!(TwoArms(ctx) -> String {
    let first = async {
        ctx.call(Reserve::of("o1")).await?;
        ctx.call(ShipStock::of("o1")).await
    };
    let second = async {
        let session = ctx.call(OpenSession::of("o1")).await?;
        ctx.call(Mail::of(&session.session)).await
    };
    ctx.join(first, second).await?;
    ctx.call(BookCourier::of("o1")).await?;
    Ok("done".to_owned())
});

#[test]
fn both_orders_of_replies_give_the_same_names() {
    let names = |order: [&str; 4]| {
        let mut desk = started::<TwoArms>();
        for step in order {
            let is_session = desk.asked_for(step) == "pay.open";
            desk.reply(step, if is_session { json!({ "session": "s" }) } else { Value::Null });
        }
        let mut calls: Vec<String> =
            desk.text().lines().filter(|it| it.contains(" call ")).map(str::to_owned).collect();
        calls.sort();
        calls
    };
    let one = names(["0.0.0", "0.0.1", "0.1.0", "0.1.1"]);
    assert_eq!(one.len(), 5);
    for order in [
        ["0.1.0", "0.1.1", "0.0.0", "0.0.1"],
        ["0.1.0", "0.0.0", "0.1.1", "0.0.1"],
        ["0.0.0", "0.1.0", "0.1.1", "0.0.1"],
    ] {
        assert_eq!(names(order), one);
    }
}

saga!(Many(ctx) -> Vec<String> {
    let open = |it: &'static str| ctx.call(OpenSession::of(it)).undo(VoidSession::of(it));
    let sessions = ctx.join_all(["a", "b", "c"].map(open)).await?;
    Ok(sessions.into_iter().map(|it| it.session).collect())
});

#[test]
fn join_all_gives_all_in_order_whatever_the_order_of_replies() {
    let mut desk = started::<Many>();
    for arm in [2, 0, 1] {
        desk.reply(&format!("0.{arm}.0"), json!({ "session": format!("s{arm}") }));
    }
    assert_eq!(desk.last(), r#"> complete ["s0","s1","s2"]"#);
}

#[test]
fn join_all_settles_every_sibling_of_an_error() {
    let mut desk = started::<Many>();
    desk.reject("0.1.0", "no");
    desk.reply("0.0.0", json!({ "session": "s0" }));
    assert_eq!(desk.owed(), ["0.2.0 pay.open"]);
    desk.wait_s(30);
    let both = ["0.0.0 undo pay.void (rejected)", "0.2.0 undo pay.void (lost)"];
    assert_eq!(desk.owed(), both, "siblings do not wait for each other");
    desk.undone("0.2.0");
    assert_eq!(desk.owed(), both[..1]);
}

saga!(FirstOf(ctx) -> usize {
    let ask = |it: &'static str| ctx.call(OpenSession::of(it)).undo(VoidSession::of(it));
    Ok(ctx.race_all(["a", "b", "c"].map(ask)).await?.0)
});

#[test]
fn race_all_names_its_winner_and_undoes_the_others() {
    let mut desk = started::<FirstOf>();
    desk.reply("0.1.0", json!({ "session": "s" }));
    assert!(desk.text().contains("> complete 1"));
    desk.undone("0.0.0");
    desk.undone("0.2.0");
    assert_eq!(desk.status(), Status::Completed);
}

saga!(NoArms(ctx) -> usize {
    ctx.join_all(Vec::<crate::ctx::Step<()>>::new()).await?;
    Ok(ctx.race_all(Vec::<crate::ctx::Step<()>>::new()).await?.0)
});

#[test]
fn a_race_of_nobody_stalls_where_it_can_be_seen() {
    let desk = started::<NoArms>();
    assert_eq!(desk.status(), Status::Attention);
    assert_eq!(desk.last(), "= held: stalled: it awaits something, nothing is open");
}

saga!(/// Forgets a call, a wait and a sleep.
Forgets(ctx) -> () {
    ctx.call(BookCourier::of("o1")).undo(CancelCourier::of("o1")).await?;
    poll_once(&mut ctx.call(Reserve::of("o1")).undo(Release::of("o1")).into_future()).await;
    poll_once(&mut ctx.when::<Paid>("o1").forever()).await;
    poll_once(&mut ctx.sleep(DAY)).await;
    Ok(())
});

#[test]
fn a_saga_that_completes_leaves_nothing_open() {
    let mut desk = started::<Forgets>();
    null(&mut desk, &["courier.book"]);
    assert!(desk.text().ends_with("> complete null\n  > abandoned 1"));
    let state = desk.state();
    assert!(state.waits.is_empty() && state.sleeps.is_empty());
    assert_eq!(desk.owed(), ["1 undo stock.release (lost)"], "what was answered stands");
    assert_eq!(desk.status(), Status::Running);
    desk.undone("stock.release");
    assert_eq!(desk.status(), Status::Completed);
}

saga!(/// A race within a join within a race.
Nested(ctx) -> u32 {
    let inner = async {
        let race = ctx.race(
            ctx.call(Reserve::of("o1")).undo(Release::of("o1")),
            ctx.when::<Approved>("o1").ask("now?", &()).within(DAY),
        );
        ctx.join(race, ctx.call(ShipStock::of("o1")).undo(TakeBack::of("o1"))).await?;
        Ok::<_, Abort>(())
    };
    let outer = ctx.race(inner, ctx.when::<Paid>("o1").forever()).await?;
    ctx.call(Refund::of("o1")).await?;
    Ok(match outer { Either::First(()) => 1, Either::Second(_) => 2 })
});

#[test]
fn a_scope_that_loses_takes_all_scopes_in_it_along() {
    let mut desk = started::<Nested>();
    desk.event("pay.failed", json!({ "order": "o1", "session": "s" }));
    assert_eq!(desk.waits(), []);
    assert_eq!(
        desk.owed(),
        [
            "0.0.0.0.0.0.0 undo stock.release (lost)",
            "0.0.0.1.0 undo stock.take-back (lost)",
            "1 pay.refund"
        ],
        "the arms of its join at once"
    );
    desk.undone("stock.take-back");
    desk.undone("stock.release");
    desk.reply("pay.refund", Value::Null);
    assert_eq!(desk.status(), Status::Completed);
}

saga!(
    /// An arm settles when its race is lost, or its saga is cancelled.
    SettlesInRace(ctx) -> bool {
        let arm = async {
            ctx.join(
                ctx.call(BookCourier::of("o1")),
                ctx.call(Reserve::of("o1")).undo(Release::of("o1")),
            ).await?;
            Ok::<_, Abort>(())
        };
        let first = ctx.race(arm, ctx.when::<Tracked>("o1").forever()).await?;
        ctx.when::<Paid>("o1").forever().await?;
        Ok(matches!(first, Either::First(())))
    }
);

#[test]
fn an_arm_that_settles_stops_when_its_own_scope_is_closed() {
    let mut desk = started::<SettlesInRace>();
    desk.reject("courier.book", "no_courier");
    desk.event("courier.status", json!({ "order": "o1", "status": "sent" }));
    assert_eq!(desk.owed(), ["0.0.0.1.0 undo stock.release (lost)"]);
    desk.undone("stock.release");
    desk.wait_s(60);
    assert!(!desk.text().contains("time over"), "nobody waits for it to settle any more");
    assert_eq!(desk.state().closing, []);

    let mut desk = started::<SettlesInRace>();
    desk.reject("courier.book", "no_courier");
    desk.moved(crate::input::Action::Cancel);
    desk.wait_s(60);
    assert!(!desk.text().contains("time over"));
    desk.undone("stock.release");
    assert_eq!(desk.status(), Status::Cancelled);
}

saga!(
    /// Goes on after a join that failed, to nowhere.
    GoesNowhere(ctx) -> () {
        let arms = (ctx.call(BookCourier::of("o1")), ctx.call(Reserve::of("o1")));
        let Err(_) = ctx.join(arms.0, arms.1).await else { return Ok(()) };
        std::future::pending().await
    }
);

#[test]
fn a_scope_that_has_settled_is_nothing_that_could_wake_its_saga() {
    let mut desk = started::<GoesNowhere>();
    desk.reject("courier.book", "no_courier");
    desk.wait_s(30);
    assert_eq!(desk.last(), "= held: stalled: it awaits something, nothing is open");
}

saga!(
    /// Both arms of a join fail, and it is in an arm of another join that fails.
    FailsTwice(ctx) -> () {
        let inner = async {
            let arms = ["a", "b"].map(|it| ctx.call(OpenSession::of(it)).undo(VoidSession::of(it)));
            ctx.join_all(arms).await?;
            Ok::<_, Abort>(())
        };
        ctx.join(inner, ctx.call(Mail::of("o1"))).await?;
        Ok(())
    }
);

#[test]
fn a_second_error_while_settling_changes_nothing() {
    let mut desk = started::<FailsTwice>();
    desk.reject("0.0.0.0.0", "first");
    desk.reject("0.1.0", "second");
    assert_eq!(desk.last(), "> close 0.0, calls settle within 30 s");
    desk.wait_s(29);
    desk.reject("0.0.0.1.0", "third");
    assert_eq!(desk.last(), "> abort, rejected: mail.send rejected: second");
    assert_eq!(desk.status(), Status::Cancelled);
}
