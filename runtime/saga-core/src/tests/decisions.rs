//! Rule 15: a decision is a command of somebody who is known, never an event from outside.

use super::fixtures::{Approved, DAY, Mail, Paid, Tracked, poll_once, saga, started};
use crate::{
    effect::{Effect, Outcome, Refusal, RefusalKind, Reply},
    filter::Field,
    fold::Status,
    id::TaskId,
    input::{Action, Actor, Command, Decide, Role, Target},
    journal::Fact,
    message::Event,
    testing::{Desk, admin},
};
use serde::Deserialize;
use serde_json::{Value, json};

saga!(Asks(ctx) -> String {
    let facts = json!({ "total": 5000 });
    match ctx.when::<Approved>("o1").ask("approve order o1", &facts).within(DAY).await? {
        Some(it) => Ok(format!("{} by {} {:?}", it.approved, it.by, it.reason)),
        None => Ok("nobody".to_owned()),
    }
});

fn decide(desk: &mut Desk, target: Target, approved: bool) -> Result<Reply, Refusal> {
    let reason = Some("because".to_owned());
    desk.ask(admin(), Command::Decide(Decide { target, approved, reason, seen: None }))
}

fn by_event(key: &str) -> Target {
    Target::Event { name: "shop.approved".to_owned(), key: key.to_owned() }
}

fn task(desk: &Desk) -> Target {
    Target::Task(TaskId { saga: desk.saga(), step: "0".parse().unwrap() })
}

#[test]
fn a_decision_is_a_fact_with_its_actor_and_is_announced_once() {
    let mut desk = started::<Asks>();
    let saga = desk.saga();
    assert_eq!(decide(&mut desk, by_event("o1"), true), Ok(Reply::Accepted(saga)));
    assert_eq!(desk.last(), r#"> complete "true by ann Some(\"because\")""#);
    let Effect::Publish { id, subject, key, body, step, .. } = desk.publishes().remove(0) else {
        panic!("a publish")
    };
    assert_eq!((subject.as_str(), key.as_str()), ("shop.approved", "o1"));
    let expected = json!({ "order": "o1", "approved": true, "by": "ann", "reason": "because" });
    assert_eq!((id.clone(), body.to_value()), (format!("{saga}/0/0"), expected.clone()));
    assert_eq!(desk.status(), Status::Running, "its end waits for the announcement");
    desk.broker_has(saga, step);
    assert_eq!(desk.status(), Status::Completed);
    let verdict = desk.event_again(&id, "shop.approved", expected).remove(0);
    assert_eq!((verdict.outcome, verdict.saga), (Outcome::Announced, Some(saga)));
}

#[test]
fn a_reason_is_counted_in_characters_whatever_its_alphabet() {
    for letter in ["a", "ä", "文", "😀"] {
        let mut desk = started::<Asks>();
        let saga = desk.saga();
        let refusal = desk.decide(false, &letter.repeat(1001)).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Invalid { pointer: "/reason" });
        assert_eq!(desk.decide(false, &letter.repeat(1000)), Ok(Reply::Accepted(saga)), "{letter}");
    }
}

#[test]
fn the_same_again_is_the_same_and_the_opposite_is_a_conflict_by_every_name() {
    for restart in [false, true] {
        for target in [0, 1] {
            let mut desk = started::<Asks>();
            let saga = desk.saga();
            let target = if target == 0 { task(&desk) } else { by_event("o1") };
            assert_eq!(decide(&mut desk, target.clone(), false), Ok(Reply::Accepted(saga)));
            for target in [task(&desk), by_event("o1")] {
                if restart {
                    desk.publish_all();
                    desk.restart();
                }
                assert_eq!(decide(&mut desk, target.clone(), false), Ok(Reply::Same(saga)));
                let refusal = decide(&mut desk, target, true).unwrap_err();
                assert_eq!(refusal.kind, RefusalKind::Conflict);
                assert_eq!(refusal.detail, "it was rejected by ann");
            }
            assert_eq!(desk.text().matches("received").count(), 1);
        }
    }
}

#[test]
fn who_may_decide_and_what_is_asked() {
    let mut desk = started::<Asks>();
    let saga = desk.saga();
    let seen = {
        let ask = desk.waits().remove(0).ask.unwrap();
        ask.facts.digest().iter().map(|it| format!("{it:02x}")).collect::<String>()
    };
    let mut ask = |role, target, approved, reason: Option<&str>, seen: Option<&str>| {
        let (reason, seen) = (reason.map(str::to_owned), seen.map(str::to_owned));
        let actor = Actor { name: "bob".to_owned(), role };
        let reply = desk.ask(actor, Command::Decide(Decide { target, approved, reason, seen }));
        reply.map_err(|it| it.kind)
    };
    let invalid = Err(RefusalKind::Invalid { pointer: "/reason" });
    let other_task = Target::Task(TaskId { saga, step: "1".parse().unwrap() });
    assert_eq!(ask(Role::Viewer, by_event("o1"), true, None, None), Err(RefusalKind::Forbidden));
    assert_eq!(ask(Role::Approver, by_event("o2"), true, None, None), Err(RefusalKind::NotFound));
    assert_eq!(ask(Role::Approver, other_task, true, None, None), Err(RefusalKind::NotFound));
    assert_eq!(ask(Role::Approver, by_event("o1"), false, None, None), invalid, "a no needs why");
    assert_eq!(ask(Role::Approver, by_event("o1"), false, Some(" "), None), invalid);
    let long = "x".repeat(2001);
    assert_eq!(ask(Role::Approver, by_event("o1"), true, Some(&long), None), invalid);
    let stale = ask(Role::Approver, by_event("o1"), true, None, Some("other"));
    assert_eq!(stale, Err(RefusalKind::Conflict));
    let fresh = ask(Role::Approver, by_event("o1"), true, None, Some(&seen));
    assert_eq!(fresh, Ok(Reply::Accepted(saga)));
    assert_eq!(desk.audits().len(), 9, "the start and each of them");
}

#[test]
fn a_decision_comes_neither_early_nor_late_nor_from_outside() {
    let mut desk = started::<Asks>();
    let forged = json!({ "order": "o1", "approved": true, "by": "the boss" });
    let verdict = desk.event("shop.approved", forged.clone()).remove(0);
    assert_eq!(verdict.outcome, Outcome::Refused);
    assert_eq!(desk.status(), Status::Waiting);
    let saga = desk.saga();
    let named = desk.event_again(&format!("{saga}/0/0"), "shop.approved", forged).remove(0);
    assert_eq!(named.outcome, Outcome::Refused, "not before it is decided");
    desk.wait_s(86_400);
    assert_eq!(desk.last(), r#"> complete "nobody""#);
    assert_eq!(decide(&mut desk, by_event("o1"), true).unwrap_err().kind, RefusalKind::NotFound);
    let task = task(&desk);
    assert_eq!(decide(&mut desk, task, true).unwrap_err().kind, RefusalKind::NotFound);
}

#[test]
fn a_decision_during_a_pause_holds_against_the_deadline() {
    let mut desk = started::<Asks>();
    desk.moved(Action::Pause);
    let target = task(&desk);
    assert!(decide(&mut desk, target, true).is_ok());
    assert_eq!(desk.publishes().len(), 0, "a paused saga tells nobody");
    desk.wait_s(2 * 86_400);
    desk.moved(Action::Resume);
    assert!(desk.last().contains("true by ann") || desk.text().contains("true by ann"));
    assert_eq!(desk.publishes().len(), 1);
}

saga!(
    /// Asks twice for one key, one after the other.
    AsksTwice(ctx) -> Vec<bool> {
        let mut answers = Vec::new();
        for _ in 0..2 {
            answers.push(ctx.when::<Approved>("o1").ask("again?", &()).forever().await?.approved);
        }
        Ok(answers)
    }
);

#[test]
fn a_second_question_is_not_answered_by_the_first_decision() {
    let mut desk = started::<AsksTwice>();
    assert!(decide(&mut desk, by_event("o1"), true).is_ok());
    assert_eq!(desk.status(), Status::Waiting);
    assert!(decide(&mut desk, by_event("o1"), false).is_ok());
    assert!(desk.text().contains("> complete [true,false]"));
    desk.publish_all();
    assert_eq!(desk.status(), Status::Completed);
}

/// A decision whose key lies deeper, and that only some may make.
#[derive(Debug, Deserialize)]
struct Nested {
    order: NestedOrder,
    approved: bool,
}
#[derive(Debug, Deserialize)]
struct NestedOrder {
    id: String,
}
impl Event for Nested {
    const SUBJECTS: &'static [&'static str] = &["shop.nested"];
    const KEY: &'static str = "/order/id";
    const DECISION: bool = true;
}
struct AsksNested;
impl crate::saga::Saga for AsksNested {
    const NAME: &'static str = "AsksNested";
    type Input = ();
    type Output = String;
    type Settings = ();
    fn events() -> Vec<crate::saga::Declared> {
        crate::saga::events([crate::saga::event::<Nested>()])
    }
    async fn run(ctx: crate::ctx::Ctx, (): ()) -> Result<String, crate::abort::Abort> {
        let ask = ctx.when::<Nested>("o1").ask("deep?", &()).filter(Field::at("/by").eq(&"ann"));
        let it = ask.forever().await?;
        Ok(format!("{} {}", it.order.id, it.approved))
    }
}

#[test]
fn the_key_stands_where_its_declaration_says_and_the_filter_says_who_may() {
    let mut desk = started::<AsksNested>();
    let target = Target::Event { name: "shop.nested".to_owned(), key: "o1".to_owned() };
    let bob = Actor { name: "bob".to_owned(), role: Role::Admin };
    let command = Decide { target: target.clone(), approved: true, reason: None, seen: None };
    let refusal = desk.ask(bob, Command::Decide(command)).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::NotFound);
    assert!(decide(&mut desk, target, true).is_ok());
    assert_eq!(desk.last(), r#"> complete "o1 true""#);
}

#[test]
fn tasks_are_listed_newest_first_with_what_is_shown() {
    let mut desk = started::<Asks>();
    desk.start("Asks", "o2", Value::Null);
    let tasks = desk.core().tasks(None, 10).unwrap().tasks;
    assert_eq!(tasks.len(), 2);
    assert!(tasks[0].0.id > tasks[1].0.id);
    let ask = tasks[0].1.ask.as_ref().unwrap();
    assert_eq!((ask.title.as_str(), ask.facts.text()), ("approve order o1", r#"{"total":5000}"#));
    let newest = TaskId { saga: tasks[0].0.id, step: tasks[0].1.step.clone() };
    let older = desk.core().tasks(Some(&newest), 10).unwrap().tasks;
    assert_eq!(older, tasks[1..]);
    assert!(decide(&mut desk, by_event("o1"), true).is_ok(), "the oldest question is answered");
    assert_eq!(desk.core().tasks(None, 10).unwrap().tasks[0].0.key, "o2");
}

saga!(
    /// A question beside something else.
    AsksBeside(ctx) -> bool {
        let mut ask = ctx.when::<Approved>("o1").ask("now?", &()).forever();
        poll_once(&mut ask).await;
        ctx.join(ctx.when::<Tracked>("o1").forever(), ctx.when::<Paid>("o1").forever()).await?;
        ctx.call(Mail::of("o1")).await?;
        Ok(ask.await?.approved)
    }
);

#[test]
fn a_decision_counts_though_the_code_looks_later() {
    let mut desk = started::<AsksBeside>();
    assert!(decide(&mut desk, by_event("o1"), true).is_ok());
    assert!(matches!(&desk.journal()[1].fact, Fact::Received { event_at: 0, .. }));
    desk.event("courier.status", json!({ "order": "o1", "status": "sent" }));
    desk.event("pay.completed", json!({ "order": "o1", "session": "s" }));
    desk.reply("mail.send", Value::Null);
    assert_eq!(desk.last(), "> complete true");
}
