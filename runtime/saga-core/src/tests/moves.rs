//! Rule 19: the table of moves, in full; and what the moves do.

use super::fixtures::{
    BookCourier, CancelCourier, CancelOrder, DAY, Mail, Paid, Refund, Release, Reserve, Tracked,
    saga, shop, started,
};
use crate::{
    abort::Abort,
    effect::{RefusalKind, Reply},
    fold::Status,
    id::{SagaId, Time},
    input::{Action, Actor, Command, Role},
    journal::Fact,
    moves::{Move, Phase, Stage, allowed, open_moves},
    testing::Desk,
};
use serde_json::{Value, json};

/// What can be tried now, what can be given up, and whether the saga is paused. An undo that can be
/// given up can also be tried.
const PHASES: [(bool, bool, bool); 6] = [
    (false, false, false),
    (false, false, true),
    (true, false, false),
    (true, false, true),
    (true, true, false),
    (true, true, true),
];

#[test]
fn the_table_of_moves_is_this_one() {
    let mut table =
        String::from("stage retries waives paused | pause resume cancel terminate retry waive\n");
    for stage in Stage::ALL {
        for (retries, waives, paused) in PHASES {
            let phase = Phase { stage, retries, waives };
            let cell = |action| match allowed(phase, paused, action) {
                Ok(Move::Do) => "do",
                Ok(Move::Already) => "already",
                Err(_) => "-",
            };
            let cells = Action::ALL.map(cell).join(" ");
            let marks = [retries, waives, paused].map(|it| if it { "yes" } else { "no" }).join(" ");
            table.push_str(&format!("{stage:?} {marks} | {cells}\n"));
        }
    }
    let expected = "\
stage retries waives paused | pause resume cancel terminate retry waive
Forward no no no | do already do do - -
Forward no no yes | already do do do - -
Forward yes no no | do already do do do -
Forward yes no yes | already do do do do -
Forward yes yes no | do already do do do do
Forward yes yes yes | already do do do do do
Committed no no no | do already - do - -
Committed no no yes | already do - do - -
Committed yes no no | do already - do do -
Committed yes no yes | already do - do do -
Committed yes yes no | do already - do do do
Committed yes yes yes | already do - do do do
FailedAfterCommit no no no | do already - do - -
FailedAfterCommit no no yes | already do - do - -
FailedAfterCommit yes no no | do already - do do -
FailedAfterCommit yes no yes | already do - do do -
FailedAfterCommit yes yes no | do already - do do do
FailedAfterCommit yes yes yes | already do - do do do
Compensating no no no | do already already do - -
Compensating no no yes | already do already do - -
Compensating yes no no | do already already do do -
Compensating yes no yes | already do already do do -
Compensating yes yes no | do already already do do do
Compensating yes yes yes | already do already do do do
Closing no no no | do already - do - -
Closing no no yes | already do - do - -
Closing yes no no | do already - do do -
Closing yes no yes | already do - do do -
Closing yes yes no | do already - do do do
Closing yes yes yes | already do - do do do
Ended no no no | - - - - - -
Ended no no yes | - - - - - -
Ended yes no no | - - - - - -
Ended yes no yes | - - - - - -
Ended yes yes no | - - - - - -
Ended yes yes yes | - - - - - -
";
    assert_eq!(table, expected, "\n{table}");
}

#[test]
fn a_refusal_names_the_moves_that_are_open_and_those_are_what_the_table_does() {
    for stage in Stage::ALL {
        for (retries, waives, paused) in PHASES {
            let phase = Phase { stage, retries, waives };
            let open: Vec<&str> = Action::ALL
                .into_iter()
                .filter(|it| allowed(phase, paused, *it) == Ok(Move::Do))
                .map(Action::as_str)
                .collect();
            assert_eq!(open_moves(phase, paused), open, "{phase:?} {paused}");
            for action in Action::ALL {
                let Err(refusal) = allowed(phase, paused, action) else { continue };
                assert_eq!(refusal.kind, RefusalKind::Conflict);
                let named = format!("open moves: {}", open.join(", "));
                assert!(open.is_empty() || refusal.detail.ends_with(&named), "{}", refusal.detail);
            }
        }
    }
}

#[test]
fn a_move_needs_an_operator_a_reason_and_a_saga() {
    let mut desk = started::<Steps>();
    let saga = desk.saga();
    let mut ask = |role, saga, reason: &str| {
        let actor = Actor { name: "bob".to_owned(), role };
        let reason = reason.to_owned();
        let reply = desk.ask(actor, Command::Move { saga, action: Action::Pause, reason });
        reply.map_err(|it| it.kind)
    };
    let unknown = SagaId::at(Time(1), uuid::Uuid::nil(), 0, 1);
    assert_eq!(ask(Role::Viewer, saga, "why"), Err(RefusalKind::Forbidden));
    assert_eq!(ask(Role::Approver, saga, "why"), Err(RefusalKind::Forbidden));
    let invalid = RefusalKind::Invalid { pointer: "/reason" };
    assert_eq!(ask(Role::Operator, saga, " "), Err(invalid.clone()));
    assert_eq!(ask(Role::Operator, saga, &"x".repeat(2001)), Err(invalid));
    assert_eq!(ask(Role::Operator, unknown, "why"), Err(RefusalKind::NotFound));
    assert_eq!(ask(Role::Operator, saga, "why"), Ok(Reply::Accepted(saga)));
    assert_eq!(ask(Role::Admin, saga, "why"), Ok(Reply::Same(saga)));
}

saga!(
    /// Waits beside a call, then commits.
    Steps(ctx) -> String {
        ctx.undo(CancelOrder::of("o1"));
        let reserve = ctx.call(Reserve::of("o1")).undo(Release::of("o1"));
        let tracked = ctx.when::<Tracked>("o1").within(DAY);
        let ((), tracked) = ctx.join(reserve, tracked).await?;
        ctx.commit();
        ctx.call(Mail::of("o1")).undo(Refund::of("o1")).await?;
        Ok(tracked.map_or("late".to_owned(), |it| it.status))
    }
);

fn tracked(desk: &mut Desk, status: &str) {
    desk.event("courier.status", json!({ "order": "o1", "status": status }));
}

#[test]
fn a_pause_stops_turns_and_sends_but_not_facts() {
    let mut desk = started::<Steps>();
    let call = desk.find("stock.reserve", false);
    desk.moved(Action::Pause);
    assert_eq!(desk.owed(), [""; 0]);
    tracked(&mut desk, "sent");
    desk.answer(&call, crate::input::Answer::Ok(crate::payload::Payload::null()));
    assert_eq!((desk.status(), desk.head().paused), (Status::Running, true));
    desk.moved(Action::Resume);
    desk.reads(
        r#"
0 +0s < started Steps v1 o1
  > 0 undo order.cancel {"order":"o1"}
  > 1.0.0 call stock.reserve {"order":"o1"}, undo stock.release
  > 1.1.0 wait courier.status of o1, 86400 s
1 +0s < paused by ann: pause please
2 +0s < 1.1.0 received courier.status {"order":"o1","status":"sent"}
3 +0s < 1.0.0 replied null
  > commit
  > 2 call mail.send {"order":"o1"}, undo pay.refund
4 +0s < resumed by ann: resume please
"#,
    );
}

#[test]
fn a_deadline_that_passes_while_paused_wins_over_a_later_event() {
    let mut desk = started::<Steps>();
    desk.moved(Action::Pause);
    desk.wait_s(86_400);
    tracked(&mut desk, "sent");
    assert!(desk.text().contains("1.1.0 time over\n  = held: paused"));
    desk.moved(Action::Resume);
    desk.reply("stock.reserve", Value::Null);
    desk.reply("mail.send", Value::Null);
    assert_eq!(desk.last(), r#"> complete "late""#);
}

#[test]
fn a_wait_that_is_opened_by_a_resume_has_its_full_time() {
    let mut desk = started::<LateWait>();
    let call = desk.find("stock.reserve", false);
    desk.moved(Action::Pause);
    desk.answer(&call, crate::input::Answer::Ok(crate::payload::Payload::null()));
    desk.wait_s(3 * 86_400);
    desk.moved(Action::Resume);
    desk.wait_ms(86_400_000 - 1);
    assert_eq!(desk.status(), Status::Waiting);
    desk.wait_ms(1);
    assert_eq!(desk.last(), "> complete false");
}

saga!(LateWait(ctx) -> bool {
    ctx.call(Reserve::of("o1")).await?;
    Ok(ctx.when::<Tracked>("o1").within(DAY).await?.is_some())
});

#[test]
fn a_cancel_undoes_with_its_reason_and_is_done_once() {
    let mut desk = started::<Steps>();
    desk.reply("stock.reserve", Value::Null);
    desk.moved(Action::Cancel);
    assert_eq!(desk.last(), "> abort, cancelled: cancel please (ann)");
    assert_eq!(desk.status(), Status::Compensating);
    assert_eq!(desk.make(Action::Cancel), Ok(Reply::Same(desk.saga())));
    assert_eq!(desk.owed(), ["1.0.0 undo stock.release (cancelled)"]);
    desk.undone("stock.release");
    assert_eq!(desk.owed(), ["0 undo order.cancel (cancelled)"]);
    desk.undone("order.cancel");
    assert_eq!(desk.status(), Status::Cancelled);
    let refusal = desk.make(Action::Cancel).unwrap_err();
    assert_eq!(refusal.detail, "it has ended");
}

#[test]
fn a_cancel_after_the_commit_is_refused_with_what_is_open() {
    let mut desk = started::<Steps>();
    desk.reply("stock.reserve", Value::Null);
    tracked(&mut desk, "sent");
    let refusal = desk.make(Action::Cancel).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Conflict);
    assert_eq!(refusal.detail, "it has passed its commit; open moves: pause, terminate, retry");
}

#[test]
fn a_cancel_of_a_paused_saga_sends_its_undos_after_the_resume() {
    let mut desk = started::<Steps>();
    let call = desk.find("stock.reserve", false);
    desk.moved(Action::Pause);
    desk.answer(&call, crate::input::Answer::Ok(crate::payload::Payload::null()));
    tracked(&mut desk, "sent");
    desk.moved(Action::Cancel);
    assert_eq!((desk.status(), desk.owed().len()), (Status::Compensating, 0));
    desk.moved(Action::Resume);
    desk.undone("stock.release");
    desk.undone("order.cancel");
    assert_eq!(desk.status(), Status::Cancelled);
}

#[test]
fn a_terminate_lists_the_undos_that_nobody_will_do() {
    let mut desk = started::<Steps>();
    desk.reply("stock.reserve", Value::Null);
    desk.moved(Action::Terminate);
    assert_eq!((desk.status(), desk.owed().len()), (Status::Terminated, 0));
    let Fact::Terminated { abandoned, .. } = desk.journal().pop().unwrap().fact else { panic!() };
    let abandoned: Vec<String> = abandoned.iter().map(ToString::to_string).collect();
    assert_eq!(abandoned, ["1.0.0", "0"], "the newest first");
}

saga!(
    /// Fails after its commit, with something to undo since.
    TooLate(ctx) -> () {
        ctx.call(Reserve::of("o1")).undo(Release::of("o1")).await?;
        ctx.commit();
        ctx.call(BookCourier::of("o1")).undo(CancelCourier::of("o1")).await?;
        ctx.when::<Paid>("o1").forever().await?;
        Err(Abort::failed("nobody knows"))
    }
);

#[test]
fn what_fails_after_its_commit_unwinds_nothing_and_asks_for_a_person() {
    let mut desk = started::<TooLate>();
    desk.reply("stock.reserve", Value::Null);
    desk.reply("courier.book", Value::Null);
    desk.event("pay.failed", json!({ "order": "o1", "session": "s" }));
    assert_eq!((desk.status(), desk.owed().len()), (Status::Attention, 0));
    assert_eq!(
        desk.head().reason.as_deref(),
        Some("gave up after its commit: failed: nobody knows; mend by hand, then terminate")
    );
    let refusal = desk.make(Action::Cancel).unwrap_err();
    assert_eq!(refusal.detail, "it has passed its commit; open moves: pause, terminate");
    desk.moved(Action::Terminate);
    assert_eq!(desk.status(), Status::Terminated);
    let Fact::Terminated { abandoned, .. } = desk.journal().pop().unwrap().fact else { panic!() };
    let abandoned: Vec<String> = abandoned.iter().map(ToString::to_string).collect();
    assert_eq!(abandoned, ["1"], "what was before the commit is not to be undone");
}

#[test]
fn every_move_is_audited_with_its_outcome_and_its_reason() {
    let mut desk = started::<Steps>();
    desk.moved(Action::Pause);
    desk.make(Action::Waive).unwrap_err();
    let audits: Vec<String> = desk
        .audits()
        .into_iter()
        .map(|it| format!("{} {} {:?}: {}", it.actor.name, it.action, it.reason, it.outcome))
        .collect();
    assert_eq!(
        audits,
        [
            "ann start None: accepted",
            r#"ann pause Some("pause please"): accepted"#,
            "ann waive Some(\"waive please\"): no undo of it fails, or is without an answer for \
             long; open moves: resume, cancel, terminate, retry",
        ]
    );
}

#[test]
fn a_saga_without_its_code_can_be_cancelled() {
    let mut desk = Desk::new(shop());
    desk.start("order", "o1", json!({ "order": "o1" }));
    desk.reply("stock.reserve", Value::Null);
    desk.reply("mail.send", Value::Null);
    desk.deploy(crate::saga::Registry::new("without"));
    desk.reply("pay.open", json!({ "session": "s1" }));
    assert_eq!(desk.last(), "= held: definition order version 1 is not in this binary");
    desk.moved(Action::Cancel);
    for undo in ["pay.void", "stock.release", "mail.send", "order.cancel"] {
        desk.undone(undo);
    }
    assert_eq!(desk.status(), Status::Cancelled);
}

saga!(
    /// The loser of its race is what it holds for next.
    RacesThenHolds(ctx) -> String {
        ctx.race(ctx.when::<Tracked>("o1").forever(), ctx.when::<Paid>("o1").forever()).await?;
        Ok(ctx.when::<Paid>("o1").forever().await?.session)
    }
);

#[test]
fn an_event_that_a_held_fact_leaves_without_its_wait_goes_to_the_next_one() {
    let mut desk = started::<RacesThenHolds>();
    desk.moved(Action::Pause);
    tracked(&mut desk, "sent");
    desk.event("pay.completed", json!({ "order": "o1", "session": "s1" }));
    desk.moved(Action::Resume);
    assert_eq!(desk.last(), r#"> complete "s1""#);
    assert_eq!(desk.text().matches("received pay.completed").count(), 2);
}

saga!(HoldsForEither(ctx) -> bool {
    Ok(ctx.when::<Paid>("o1").forever().await?.failed)
});

#[test]
fn a_wait_over_two_lanes_takes_what_came_first() {
    for (first, second) in [("pay.completed", "pay.failed"), ("pay.failed", "pay.completed")] {
        let mut desk = Desk::of::<HoldsForEither>(&());
        for name in [first, second] {
            desk.event(name, json!({ "order": "o1", "session": "s1" }));
        }
        desk.start("HoldsForEither", "o1", Value::Null);
        assert_eq!(desk.last(), format!("> complete {}", first == "pay.failed"));
    }
}
