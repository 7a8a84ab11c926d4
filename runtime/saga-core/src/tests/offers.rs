//! Rule 34: what was refused can be offered again, once, by an operator who says why.

use crate::{
    abort::Abort,
    core::Limits,
    ctx::Ctx,
    effect::{Outcome, Refusal, RefusalKind, Reply, Verdict},
    id::{Position, Time},
    input::{Actor, Arrival, Command, Input, Role, Unreadable},
    message::Event,
    payload::Payload,
    saga::{Declaration, Declared, Registry, Saga, event, events},
    testing::{Desk, admin},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Placed {
    order: String,
    total: u64,
}
impl Event for Placed {
    const SUBJECTS: &'static [&'static str] = &["shop.placed"];
    const KEY: &'static str = "/order";
}
/// As a later build reads it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct AnyPlaced {
    order: String,
}
impl Event for AnyPlaced {
    const SUBJECTS: &'static [&'static str] = &["shop.placed"];
    const KEY: &'static str = "/order";
}
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Paid {}
impl Event for Paid {
    const SUBJECTS: &'static [&'static str] = &["shop.paid"];
    const KEY: &'static str = "/order";
}
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct PaidByPerson {}
impl Event for PaidByPerson {
    const SUBJECTS: &'static [&'static str] = &["shop.paid"];
    const KEY: &'static str = "/order";
    const DECISION: bool = true;
}

/// Declares a definition that starts from an order and holds for its payment.
macro_rules! sells {
    ($name:ident, $called:literal, $input:ty, $events:expr) => {
        struct $name;
        impl Saga for $name {
            const NAME: &'static str = $called;
            type Input = $input;
            type Output = ();
            type Settings = ();
            fn events() -> Vec<Declared> {
                events($events)
            }
            async fn run(ctx: Ctx, it: $input) -> Result<(), Abort> {
                ctx.when::<Paid>(&it.order).forever().await?;
                Ok(())
            }
        }
    };
}

fn placed() -> Declaration {
    event::<Placed>().starts()
}
sells!(Sale, "Sale", Placed, [placed(), event::<Paid>()]);
sells!(LaxSale, "Sale", AnyPlaced, [event::<AnyPlaced>().starts(), event::<Paid>()]);
sells!(Copies, "Copies", Placed, [placed(), event::<Paid>().each()]);
sells!(Asks, "Sale", Placed, [placed(), event::<PaidByPerson>()]);

/// Takes ten payments.
struct Ten;
impl Saga for Ten {
    const NAME: &'static str = "Ten";
    type Input = Placed;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        Sale::events()
    }
    async fn run(ctx: Ctx, it: Placed) -> Result<(), Abort> {
        for _ in 0..10 {
            ctx.when::<Paid>(&it.order).forever().await?;
        }
        Ok(())
    }
}

fn registry<S: Saga<Settings = ()>>() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<S>(&()).unwrap();
    registry
}

fn offer(desk: &mut Desk, position: Position) -> Result<Reply, Refusal> {
    offer_read(desk, position, None)
}

fn offer_read(
    desk: &mut Desk,
    position: Position,
    reread: Option<Result<Arrival, String>>,
) -> Result<Reply, Refusal> {
    let (reason, reread) = ("the form was mended".to_owned(), reread.map(Box::new));
    desk.ask(admin(), Command::Offer { position, reason, reread })
}

fn verdict(desk: &Desk, position: Position) -> Verdict {
    let seen = desk.core().event(position).unwrap().unwrap();
    seen.identity.unwrap().verdicts.remove(0)
}

/// The place of the event that came last.
fn last(desk: &Desk) -> Position {
    desk.events().last().unwrap().position
}

#[test]
fn a_refused_body_starts_its_saga_once_the_code_takes_it() {
    let mut desk = Desk::new(registry::<Sale>());
    let body = json!({ "order": "o1", "total": "many" });
    assert_eq!(desk.event("shop.placed", body.clone())[0].outcome, Outcome::DeadLetter);
    let position = last(&desk);
    let refusal = offer(&mut desk, position).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Unusable);
    assert!(refusal.detail.contains("Sale: invalid type: string \"…\""), "{}", refusal.detail);
    assert_eq!(verdict(&desk, position).outcome, Outcome::DeadLetter, "as it was");
    assert_eq!(desk.core().offered(position).unwrap(), None);

    desk.deploy(registry::<LaxSale>());
    assert_eq!(offer(&mut desk, position), Ok(Reply::Taken(position)));
    let taken = verdict(&desk, position);
    assert_eq!((taken.outcome, taken.saga), (Outcome::Started, Some(desk.saga())));
    let row = desk.core().offered(position).unwrap().unwrap();
    assert_eq!((row.by.as_str(), row.reason.as_str()), ("ann", "the form was mended"));
    for _ in 0..2 {
        assert_eq!(offer(&mut desk, position), Ok(Reply::TakenBefore(position)));
        desk.restart();
    }
    assert_eq!(desk.core().heads(&query()).unwrap().len(), 1, "one saga");
    assert_eq!(desk.event_again("e1", "shop.placed", body)[0].outcome, Outcome::Duplicate);
    let audits = desk.audits();
    let audited: Vec<&str> = audits.iter().map(|it| it.outcome.as_str()).collect();
    assert_eq!(audited[1..], ["accepted", "same", "same"]);
    assert!(audited[0].contains("still cannot be used"), "what was refused is audited as well");
    let (action, target) = (audits[1].action.as_str(), audits[1].target.as_str());
    assert_eq!((action, target), ("offer", position.to_string().as_str()));
}

fn query() -> crate::core::HeadQuery {
    crate::core::HeadQuery { limit: 100, ..crate::core::HeadQuery::default() }
}

#[test]
fn every_refused_body_of_a_flooded_lane_comes_through_and_no_other_lane_notices() {
    let limits = Limits { lane_events_max: 3, ..Limits::default() };
    let mut desk = Desk::with_limits(registry::<Ten>(), limits);
    for number in 0..10 {
        desk.event("shop.paid", json!({ "order": "flooded", "number": number }));
    }
    let other = desk.event("shop.paid", json!({ "order": "o2" }));
    assert_eq!(other[0].outcome, Outcome::Kept, "the lane beside it is not full");
    let dead: Vec<Position> = (desk.events().into_iter())
        .filter(|it| it.identity.as_ref().unwrap().verdicts[0].outcome == Outcome::DeadLetter)
        .map(|it| it.position)
        .collect();
    assert_eq!(dead.len(), 7);
    let refusal = offer(&mut desk, dead[0]).unwrap_err();
    assert!(refusal.detail.contains("is full with 3 events"), "{}", refusal.detail);
    desk.start("Ten", "flooded", json!({ "order": "flooded", "total": 1 }));
    for position in &dead {
        assert_eq!(desk.head().ended_at, None, "it holds for ten payments");
        assert_eq!(offer(&mut desk, *position), Ok(Reply::Taken(*position)));
    }
    let taken: Vec<Outcome> = dead.iter().map(|it| verdict(&desk, *it).outcome).collect();
    assert_eq!(taken, [Outcome::Consumed; 7]);
    assert!(desk.head().ended_at.is_some(), "each payment was taken, and taken once");
}

#[test]
fn what_nobody_wanted_is_taken_when_somebody_holds_for_it() {
    let mut desk = Desk::new(registry::<Copies>());
    let unclaimed = desk.event("shop.paid", json!({ "order": "o1" }));
    assert_eq!(unclaimed[0].outcome, Outcome::Unclaimed);
    let position = last(&desk);
    let refusal = offer(&mut desk, position).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Unusable);
    assert!(refusal.detail.ends_with("Copies: nobody holds for it"), "{}", refusal.detail);
    let order = json!({ "order": "o1", "total": 1 });
    let sagas = ["a", "b"].map(|key| desk.start("Copies", key, order.clone()));
    assert_eq!(offer(&mut desk, position), Ok(Reply::Taken(position)));
    let taken = verdict(&desk, position);
    assert_eq!((taken.outcome, taken.saga), (Outcome::Consumed, Some(sagas[0])));
    assert!(sagas.iter().all(|it| desk.head_of(*it).unwrap().ended_at.is_some()), "a copy each");
    assert_eq!(offer(&mut desk, position), Ok(Reply::TakenBefore(position)));
}

#[test]
fn of_several_definitions_only_those_are_asked_again_that_could_not_use_it() {
    sells!(Strict, "Other", Placed, [placed()]);
    let strict = || {
        let mut registry = registry::<LaxSale>();
        registry.register::<Strict>(&()).unwrap();
        registry
    };
    let mut desk = Desk::new(strict());
    let verdicts = desk.event("shop.placed", json!({ "order": "o1", "total": "many" }));
    let outcomes = |it: &[Verdict]| it.iter().map(|it| it.outcome).collect::<Vec<_>>();
    assert_eq!(outcomes(&verdicts), [Outcome::DeadLetter, Outcome::Started]);
    let (position, sale) = (last(&desk), desk.saga());
    let refusal = offer(&mut desk, position).unwrap_err();
    assert!(refusal.detail.contains("Other: ") && !refusal.detail.contains("Sale"), "{refusal:?}");
    desk.deploy(registry::<LaxSale>());
    let refusal = offer(&mut desk, position).unwrap_err();
    assert!(refusal.detail.ends_with("Other: it is not in this binary"), "{}", refusal.detail);
    sells!(LaxOther, "Other", AnyPlaced, [event::<AnyPlaced>().starts(), event::<Paid>()]);
    let mut lax = registry::<LaxSale>();
    lax.register::<LaxOther>(&()).unwrap();
    desk.deploy(lax);
    assert_eq!(offer(&mut desk, position), Ok(Reply::Taken(position)));
    let identity = desk.core().event(position).unwrap().unwrap().identity.unwrap();
    assert_eq!(outcomes(&identity.verdicts), [Outcome::Started, Outcome::Started]);
    assert_eq!(identity.verdicts[1].saga, Some(sale), "the other verdict is as it was");
    assert_eq!(desk.core().heads(&query()).unwrap().len(), 2);
}

#[test]
fn only_what_is_dead_or_unclaimed_is_offered_and_only_by_an_operator_with_a_reason() {
    let mut desk = Desk::new(registry::<Sale>());
    desk.event("shop.placed", json!({ "order": "o1", "total": 1 }));
    let started = last(&desk);
    desk.event("shop.paid", json!({ "order": "o1" }));
    let consumed = last(&desk);
    desk.event("shop.paid", json!({ "order": "later" }));
    let kept = last(&desk);
    desk.event_again("e3", "shop.paid", json!({ "order": "other" }));
    let conflicting = last(&desk);
    desk.event("nobody.knows", json!({}));
    let unrouted = last(&desk);
    desk.event("shop.paid", json!({}));
    let dead = last(&desk);
    let kind = |it: Result<Reply, Refusal>| it.unwrap_err().kind;
    for position in [started, consumed, kept, conflicting, unrouted] {
        let refusal = offer(&mut desk, position).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Conflict, "{}", refusal.detail);
    }
    let refusal = offer(&mut desk, consumed).unwrap_err().detail;
    assert!(refusal.contains("this is consumed by saga"), "{refusal}");
    for position in [0, started + 1, 1_000, u64::MAX] {
        assert_eq!(kind(offer(&mut desk, position)), RefusalKind::NotFound);
    }
    let approver = Actor { name: "al".to_owned(), role: Role::Approver };
    let by =
        |reason: &str| Command::Offer { position: dead, reason: reason.to_owned(), reread: None };
    assert_eq!(kind(desk.ask(approver, by("why not"))), RefusalKind::Forbidden);
    for reason in ["", " \n"] {
        let refusal = desk.ask(admin(), by(reason)).unwrap_err().kind;
        assert_eq!(refusal, RefusalKind::Invalid { pointer: "/reason" }, "{reason:?}");
    }
    assert_eq!(kind(offer(&mut desk, dead)), RefusalKind::Unusable);
}

#[test]
fn nothing_that_only_a_person_decides_comes_in_by_an_offer() {
    let mut desk = Desk::new(registry::<Sale>());
    assert_eq!(desk.event("shop.paid", json!({}))[0].outcome, Outcome::DeadLetter);
    let position = last(&desk);
    desk.deploy(registry::<Asks>());
    let refusal = offer(&mut desk, position).unwrap_err();
    assert!(refusal.detail.contains("unsigned decision"), "{}", refusal.detail);
    let note = unreadable(&mut desk, "n1");
    let refusal = offer_read(&mut desk, note, Some(Ok(paid("n1", "o1")))).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Unusable);
    assert!(refusal.detail.contains("unsigned decision"), "{}", refusal.detail);
}

/// A message that was no event; gives its place.
fn unreadable(desk: &mut Desk, id: &str) -> Position {
    desk.input(Input::Unreadable(Unreadable {
        ticket: 1,
        name: "shop.paid".to_owned(),
        id: id.to_owned(),
        body: "{}".to_owned(),
        is_base64: false,
        headers: BTreeMap::new(),
        published_at: Time(5),
        reason: "an older build could not read it".to_owned(),
    }));
    crate::store::Store::position(desk.store())
}

fn paid(id: &str, order: &str) -> Arrival {
    let body: Value = json!({ "order": order });
    Arrival {
        ticket: 0,
        name: "shop.paid".to_owned(),
        id: id.to_owned(),
        source: "shop".to_owned(),
        key: None,
        body: Payload::of(&body).unwrap(),
        at: Time(5),
    }
}

#[test]
fn a_message_that_was_no_event_becomes_one_and_is_named_by_its_dead_letter() {
    let mut desk = Desk::new(registry::<Sale>());
    desk.start("Sale", "o1", json!({ "order": "o1", "total": 1 }));
    let note = unreadable(&mut desk, "n1");
    let refusal = offer_read(&mut desk, note, Some(Err("the body is not JSON".into())));
    assert_eq!(refusal.as_ref().unwrap_err().kind, RefusalKind::Unusable);
    assert!(refusal.unwrap_err().detail.ends_with("the body is not JSON"));
    assert_eq!(offer(&mut desk, note).unwrap_err().kind, RefusalKind::Unusable);
    // Readable, but of no use: nothing is written.
    let mut useless = paid("n1", "o1");
    useless.key = Some(String::new());
    let events = desk.events().len();
    assert_eq!(
        offer_read(&mut desk, note, Some(Ok(useless))).unwrap_err().kind,
        RefusalKind::Unusable
    );
    assert_eq!(desk.events().len(), events);

    let reply = offer_read(&mut desk, note, Some(Ok(paid("n1", "o1"))));
    assert_eq!(reply, Ok(Reply::Taken(note)));
    let row = desk.core().offered(note).unwrap().unwrap();
    assert_eq!(verdict(&desk, row.event).outcome, Outcome::Consumed);
    let event = desk.core().event(row.event).unwrap().unwrap().event;
    assert_eq!((event.made_from, event.published_at), (Some(note), Time(5)));
    desk.restart();
    let reply = offer_read(&mut desk, note, Some(Ok(paid("n1", "o1"))));
    assert_eq!(reply, Ok(Reply::TakenBefore(note)));
    assert_eq!(desk.arrive(paid("n1", "o1"))[0].outcome, Outcome::Duplicate, "it has its identity");
}

#[test]
fn a_dead_letter_whose_event_came_again_meanwhile_names_that_one() {
    let mut desk = Desk::new(registry::<Sale>());
    let (first, second) = (unreadable(&mut desk, "n1"), unreadable(&mut desk, "n2"));
    assert_eq!(desk.arrive(paid("n1", "o1"))[0].outcome, Outcome::Kept);
    let event = last(&desk);
    let reply = offer_read(&mut desk, first, Some(Ok(paid("n1", "o1"))));
    assert_eq!(reply, Ok(Reply::Taken(first)));
    assert_eq!(desk.core().offered(first).unwrap().unwrap().event, event);
    assert_eq!(desk.arrive(paid("n2", "o9"))[0].outcome, Outcome::Kept);
    let refusal = offer_read(&mut desk, second, Some(Ok(paid("n2", "o1")))).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Conflict, "another body is in force under its id");
}

#[test]
fn an_offer_whose_batch_is_lost_is_an_offer_that_was_not_made() {
    use crate::{core::Core, store::Store as _};
    let mut desk = Desk::new(registry::<Sale>());
    desk.event("shop.placed", json!({ "order": "o1", "total": "many" }));
    let position = last(&desk);
    desk.deploy(registry::<LaxSale>());
    let store = desk.store().clone();
    let offer = || Input::Asked {
        ticket: 1,
        actor: admin(),
        command: Command::Offer { position, reason: "why".to_owned(), reread: None },
    };
    let open =
        |store| Core::open(store, registry::<LaxSale>(), Limits::default(), desk.now()).unwrap();
    let mut dies = open(store.clone());
    dies.handle(desk.now(), offer()).unwrap();
    drop(dies);
    let mut core = open(store);
    // Twice in one batch: two operators at once.
    core.handle(desk.now(), offer()).unwrap();
    core.handle(desk.now(), offer()).unwrap();
    let effects = core.commit().unwrap();
    let replies = effects.iter().filter_map(|it| match it {
        crate::effect::Effect::Answer { reply, .. } => Some(reply.clone()),
        _ => None,
    });
    let expected = [Ok(Reply::Taken(position)), Ok(Reply::TakenBefore(position))];
    assert_eq!(replies.collect::<Vec<_>>(), expected);
    assert_eq!(core.heads(&query()).unwrap().len(), 1);
    assert!(core.store().position() > position);
}
