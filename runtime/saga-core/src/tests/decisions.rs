//! Rule 15: a decision is a command of somebody who is known, never an event from outside.

use super::fixtures::{Approved, DAY, Mail, Paid, Tracked, poll_once, saga, started};
use crate::{
    abort::Abort,
    codec::encoded_bytes,
    ctx::Ctx,
    effect::{Effect, Outcome, Refusal, RefusalKind, Reply},
    filter::Field,
    fold::Status,
    id::{SagaId, TaskId},
    input::{Action, Actor, Command, Decide, Role, Target},
    journal::Fact,
    message::Event,
    saga::{Declared, Registry, Saga, event, events},
    scope::Either,
    testing::{Desk, admin},
};
use serde::{Deserialize, Serialize};
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

fn task(saga: SagaId) -> Target {
    Target::Task(TaskId { saga, step: "0".parse().unwrap() })
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
    assert_eq!(
        (id.clone(), body.to_value()),
        (format!("{}/0/0", desk.head().acts_as()), expected.clone())
    );
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
            let target = if target == 0 { task(desk.saga()) } else { by_event("o1") };
            assert_eq!(decide(&mut desk, target.clone(), false), Ok(Reply::Accepted(saga)));
            for target in [task(desk.saga()), by_event("o1")] {
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
    let seen = seen(&desk);
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
    let stale = ask(Role::Approver, task(saga), true, None, Some("other"));
    assert_eq!(stale, Err(RefusalKind::Conflict));
    let unknown = ask(Role::Approver, by_event("o1"), true, None, Some("other"));
    assert_eq!(unknown, Err(RefusalKind::Conflict), "a question is open, and this is another");
    let fresh = ask(Role::Approver, by_event("o1"), true, None, Some(&seen));
    assert_eq!(fresh, Ok(Reply::Accepted(saga)));
    assert_eq!(desk.audits().len(), 10, "the start and each of them");
}

#[test]
fn a_decision_comes_neither_early_nor_late_nor_from_outside() {
    let mut desk = started::<Asks>();
    let forged = json!({ "order": "o1", "approved": true, "by": "the boss" });
    let verdict = desk.event("shop.approved", forged.clone()).remove(0);
    assert_eq!(verdict.outcome, Outcome::Refused);
    assert_eq!(desk.status(), Status::Waiting);
    let id = format!("{}/0/0", desk.head().acts_as());
    let named = desk.event_again(&id, "shop.approved", forged).remove(0);
    assert_eq!(named.outcome, Outcome::Refused, "not before it is decided");
    desk.wait_s(86_400);
    assert_eq!(desk.last(), r#"> complete "nobody""#);
    assert_eq!(decide(&mut desk, by_event("o1"), true).unwrap_err().kind, RefusalKind::NotFound);
    let task = task(desk.saga());
    assert_eq!(decide(&mut desk, task, true).unwrap_err().kind, RefusalKind::NotFound);
}

#[test]
fn a_decision_during_a_pause_holds_against_the_deadline() {
    let mut desk = started::<Asks>();
    desk.moved(Action::Pause);
    let target = task(desk.saga());
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
    // The answer got lost, and the same comes again; or somebody means the second one. Neither is
    // taken for the other, and both hear how to answer it.
    let (saga, seen) = (desk.saga(), seen(&desk));
    for approved in [true, false] {
        let unclear = decide(&mut desk, by_event("o1"), approved).unwrap_err();
        assert_eq!(unclear.kind, RefusalKind::Conflict);
        let told = format!(
            "it was approved by ann; the question that is open now is \"again?\": look at it, and \
             answer it with `seen` {seen}"
        );
        assert_eq!(unclear.detail, told);
    }
    assert!(decide_seen(&mut desk, false, &seen).is_ok());
    assert!(desk.text().contains("> complete [true,false]"));
    desk.publish_all();
    assert_eq!(desk.status(), Status::Completed);
    assert_eq!(decide_seen(&mut desk, false, &seen), Ok(Reply::Same(saga)));
    let late = decide_seen(&mut desk, true, &seen).unwrap_err();
    assert_eq!(late.detail, "it was rejected by ann");
    let shown: Vec<_> = desk.audits().iter().filter_map(|it| it.shown).collect();
    assert_eq!(shown, [false, false, false, true, true, true]);
}

fn seen(desk: &Desk) -> String {
    let head = desk.head();
    head.seen(head.waits.iter().find(|it| it.ask.is_some()).unwrap()).unwrap()
}

fn decide_seen(desk: &mut Desk, approved: bool, seen: &str) -> Result<Reply, Refusal> {
    let (target, seen) = (by_event("o1"), Some(seen.to_owned()));
    let reason = Some("because".to_owned());
    desk.ask(admin(), Command::Decide(Decide { target, approved, reason, seen }))
}

/// Both questions show the same, and what was seen of the first one answers the first one alone.
#[test]
fn a_decision_names_the_question_that_was_seen() {
    let mut desk = started::<AsksTwice>();
    let saga = desk.saga();
    let first = seen(&desk);
    assert_eq!(decide_seen(&mut desk, true, &first), Ok(Reply::Accepted(saga)));
    let second = seen(&desk);
    assert_ne!(first, second);
    assert_eq!(decide_seen(&mut desk, true, &first), Ok(Reply::Same(saga)));
    assert_eq!(decide_seen(&mut desk, false, &first).unwrap_err().kind, RefusalKind::Conflict);
    assert_eq!(desk.text().matches("received").count(), 1);
    assert_eq!(decide_seen(&mut desk, false, &second), Ok(Reply::Accepted(saga)));
    let stale = decide_seen(&mut desk, true, &first).unwrap_err();
    assert_eq!(stale.detail, "the task shows other facts now: look again", "nothing is open");
}

saga!(
    /// Asks again, about more, when nobody answers in time.
    AsksForMore(ctx) -> String {
        let small = json!({ "total": 100 });
        match ctx.when::<Approved>("o1").ask("approve", &small).within(DAY).await? {
            Some(_) => Ok("small".to_owned()),
            None => {
                let large = json!({ "total": 900 });
                ctx.when::<Approved>("o1").ask("approve", &large).forever().await?;
                Ok("large".to_owned())
            }
        }
    }
);

#[test]
fn a_decision_that_names_nothing_answers_no_question_that_took_the_place_of_another() {
    let mut desk = started::<AsksForMore>();
    let first = seen(&desk);
    desk.wait_s(86_400);
    let unnamed = decide(&mut desk, by_event("o1"), true).unwrap_err();
    let second = seen(&desk);
    let told = format!("is \"approve\": look at it, and answer it with `seen` {second}");
    assert!(unnamed.detail.starts_with("another question was open before; "), "{unnamed:?}");
    assert!(unnamed.detail.ends_with(&told), "{unnamed:?}");
    for other in [first.as_str(), "no question at all", ""] {
        let refused = decide_seen(&mut desk, true, other).unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Conflict, "{other}: {refused:?}");
        assert!(refused.detail.ends_with(&told), "{other}: {refused:?}");
    }
    assert!(decide_seen(&mut desk, true, &second).is_ok());
    assert!(desk.last().contains("large"));
}

saga!(
    /// Two people have to agree, on the same facts.
    FourEyes(ctx) -> () {
        let ask = || ctx.when::<Approved>("o1").ask("agree", &()).forever();
        ctx.join(ask(), ask()).await?;
        Ok(())
    }
);

#[test]
fn of_several_open_questions_a_decision_says_which() {
    let mut desk = started::<FourEyes>();
    let unnamed = decide(&mut desk, by_event("o1"), true).unwrap_err();
    assert_eq!(unnamed.detail, "more than one question is open: say which one was seen");
    let other = decide_seen(&mut desk, true, "another one").unwrap_err();
    assert_eq!(other.kind, RefusalKind::Conflict, "{other:?}");
    assert!(other.detail.contains("2 questions are open"), "{other:?}");
    for _ in 0..2 {
        let seen = seen(&desk);
        assert!(decide_seen(&mut desk, true, &seen).is_ok());
    }
    assert!(desk.text().contains("> complete null"));
}

saga!(
    /// Asks until the day is over.
    AsksAgainstTime(ctx) -> String {
        let ask = ctx.when::<Approved>("o1").ask("approve", &()).forever();
        match ctx.race(ask, ctx.sleep(DAY)).await? {
            Either::First(it) => Ok(format!("approved {}", it.approved)),
            Either::Second(()) => Ok("nobody approved".to_owned()),
        }
    }
);

#[test]
fn what_is_told_of_a_decision_is_what_the_code_sees() {
    // The day is over while it is paused: the code will see that first.
    let mut desk = started::<AsksAgainstTime>();
    desk.moved(Action::Pause);
    desk.wait_s(86_400);
    let refusal = decide(&mut desk, by_event("o1"), true).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Conflict);
    desk.moved(Action::Resume);
    assert!(desk.text().contains("nobody approved") && desk.publishes().is_empty());
    // Somebody approves first, and then the day is over.
    let mut desk = started::<AsksAgainstTime>();
    desk.moved(Action::Pause);
    assert!(decide(&mut desk, by_event("o1"), true).is_ok());
    desk.wait_s(86_400);
    desk.moved(Action::Resume);
    assert!(desk.text().contains("approved true"), "{}", desk.text());
    assert_eq!(desk.publishes().len(), 1);
}

fn other() -> Registry {
    let mut registry = Registry::new("other");
    registry.register::<AsksTwice>(&()).unwrap();
    registry
}

#[test]
fn a_decision_made_while_the_definition_is_missing_can_be_read_when_it_is_back() {
    for by_task in [true, false] {
        let mut desk = started::<Asks>();
        let saga = desk.saga();
        desk.deploy(other());
        desk.look_at(saga);
        let target = if by_task { task(desk.saga()) } else { by_event("o1") };
        assert_eq!(decide(&mut desk, target.clone(), true), Ok(Reply::Accepted(saga)));
        let Effect::Publish { id, subject, body, .. } = desk.publishes().remove(0) else {
            panic!()
        };
        let expected = json!({ "order": "o1", "approved": true, "by": "ann", "reason": "because" });
        assert_eq!(body.to_value(), expected);
        let announced = desk.event_again(&id, &subject, expected).remove(0);
        assert_eq!(
            announced.outcome,
            Outcome::Announced,
            "also while nobody linked declares it so"
        );
        let forged = json!({ "order": "o2", "approved": true, "by": "me" });
        assert_eq!(desk.event(&subject, forged).remove(0).outcome, Outcome::Refused);
        // What happened before, and no code has seen, may close another question.
        assert_eq!(decide(&mut desk, target, true), Ok(Reply::Same(saga)));
        let mut registry = Registry::new("back");
        registry.register::<Asks>(&()).unwrap();
        desk.deploy(registry);
        desk.look_at(saga);
        desk.moved(Action::Retry);
        assert!(desk.text().contains("true by ann"), "{}", desk.text());
    }
}

/// Hears of what was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Heard {
    order: String,
}
impl Event for Heard {
    const SUBJECTS: &'static [&'static str] = &["shop.approved"];
    const KEY: &'static str = "/order";
}
macro_rules! hears {
    ($type:ident, $name:literal) => {
        struct $type;
        impl crate::saga::Saga for $type {
            const NAME: &'static str = $name;
            type Input = Heard;
            type Output = ();
            type Settings = ();
            fn events() -> Vec<Declared> {
                crate::saga::events([crate::saga::event::<Heard>().starts()])
            }
            async fn run(ctx: crate::ctx::Ctx, _: Heard) -> Result<(), crate::abort::Abort> {
                ctx.sleep(DAY).await
            }
        }
    };
}
hears!(HearsFirst, "AAA");
hears!(HearsLast, "zzz");

#[test]
fn whoever_declares_an_announcement_hears_it_and_a_forged_one_is_heard_by_nobody() {
    for is_first in [true, false] {
        let mut registry = Registry::new("test");
        registry.register::<Asks>(&()).unwrap();
        match is_first {
            true => registry.register::<HearsFirst>(&()).unwrap(),
            false => registry.register::<HearsLast>(&()).unwrap(),
        }
        let mut desk = Desk::new(registry.clone());
        let saga = desk.start("Asks", "o1", Value::Null);
        assert!(decide(&mut desk, by_event("o1"), true).is_ok());
        let Effect::Publish { id, subject, body, .. } = desk.publishes().remove(0) else {
            panic!()
        };
        let forged = json!({ "order": "o2", "approved": true, "by": "ann" });
        let outcomes = |verdicts: Vec<crate::effect::Verdict>| -> Vec<Outcome> {
            verdicts.into_iter().map(|it| it.outcome).collect()
        };
        let named = desk.event_again(&id, &subject, forged.clone());
        assert_eq!(outcomes(named), [Outcome::Refused], "its id, and another body");
        desk.deploy(registry);
        assert_eq!(outcomes(desk.event(&subject, forged)), [Outcome::Refused]);
        // The forged one has its id by now, as the broker's would: ours comes from another source.
        let ours = crate::input::Arrival {
            ticket: 0,
            name: subject,
            id,
            source: "fermata".to_owned(),
            key: None,
            body,
            at: desk.now(),
        };
        let heard = desk.arrive(ours.clone());
        assert_eq!(outcomes(heard), [Outcome::Announced, Outcome::Started]);
        assert_ne!(desk.saga(), saga, "it has started a saga");
        assert_eq!(outcomes(desk.arrive(ours)), [Outcome::Duplicate]);
    }
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
impl Saga for AsksNested {
    const NAME: &'static str = "AsksNested";
    type Input = ();
    type Output = String;
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Nested>()])
    }
    async fn run(ctx: Ctx, (): ()) -> Result<String, Abort> {
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
    let unclear = decide(&mut desk, by_event("o1"), true).unwrap_err();
    assert_eq!(unclear.kind, RefusalKind::Conflict, "it may mean either of them");
    let first = tasks.iter().find(|it| it.0.key == "o1").unwrap();
    let first = TaskId { saga: first.0.id, step: first.1.step.clone() };
    assert!(decide(&mut desk, Target::Task(first), true).is_ok());
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

/// Asks under the key that it is given.
struct AsksTeam;
impl Saga for AsksTeam {
    const NAME: &'static str = "asks-team";
    type Input = Vec<String>;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Approved>()])
    }
    async fn run(ctx: Ctx, keys: Vec<String>) -> Result<(), Abort> {
        for key in keys {
            ctx.when::<Approved>(key).ask("approve", &()).forever().await?;
        }
        Ok(())
    }
}

/// It may be a repeat, whose answer got lost: only who has seen what this one asks answers it.
#[test]
fn what_another_saga_was_told_under_a_key_answers_no_other_question() {
    for approved in [true, false] {
        let mut desk = Desk::of::<AsksTeam>(&());
        let first = desk.start("asks-team", "first", json!(["team"]));
        assert_eq!(decide(&mut desk, by_event("team"), true), Ok(Reply::Accepted(first)));
        desk.publish_all();
        let second = desk.start("asks-team", "second", json!(["team"]));
        let refused = decide(&mut desk, by_event("team"), approved).unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Conflict);
        let head = desk.head();
        let seen = head.seen(&head.waits[0]).unwrap();
        assert!(refused.detail.contains(&seen), "it says how: {}", refused.detail);
        let (target, seen) = (by_event("team"), Some(seen));
        let reason = Some("because".to_owned());
        let decide = Decide { target, approved, reason, seen };
        let reply = desk.ask(admin(), Command::Decide(decide));
        assert_eq!(reply, Ok(Reply::Accepted(second)));
        desk.publish_all();
        assert_eq!(desk.status(), Status::Completed);
    }
}

#[test]
fn the_head_of_a_saga_that_asks_again_and_again_stops_growing() {
    let bytes = |asks: usize| {
        let mut desk = Desk::of::<AsksTeam>(&());
        let keys: Vec<String> = (0..=asks).map(|it| format!("o{it:03}")).collect();
        desk.start("asks-team", "k", json!(keys));
        for key in &keys[..asks] {
            decide(&mut desk, by_event(key), true).unwrap();
            desk.publish_all();
        }
        encoded_bytes(&desk.head())
    };
    let (few, many) = (bytes(35), bytes(3 * 35));
    assert!(many < few + few / 2, "{few} bytes after 35 answers, {many} after three times as many");
}
