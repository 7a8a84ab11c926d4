//! What begins again in a later epoch, or in another store, acts under the same names: the services
//! know what they have done.

use super::fixtures::{Mail, saga, shop};
use crate::{
    effect::{Effect, Outcome},
    id::Alias,
    journal::Fact,
    testing::Desk,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// An hour's work: an order that is paid and shipped, and one that is paid too late. Gives every
/// key under which anything was asked for.
fn hour(desk: &mut Desk) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut note = |desk: &Desk| {
        let requests = desk.requests().into_iter();
        keys.extend(requests.map(|it| format!("{} {}", it.subject, it.key)));
    };
    let placed = |order: &str| json!({ "order": order });
    let started = desk.event_again("p1", "shop.placed", placed("o1")).remove(0);
    desk.look_at(started.saga.expect("it starts"));
    note(desk);
    desk.reply("stock.reserve", Value::Null);
    note(desk);
    desk.reply("mail.send", Value::Null);
    desk.reply("pay.open", json!({ "session": "s1" }));
    let paid = json!({ "order": "o1", "session": "s1" });
    desk.event_again("m1", "pay.completed", paid);
    note(desk);
    desk.reply("courier.book", Value::Null);
    note(desk);
    desk.reply("stock.ship", Value::Null);

    let started = desk.event_again("p2", "shop.placed", placed("o2")).remove(0);
    desk.look_at(started.saga.expect("it starts"));
    note(desk);
    desk.reject("stock.reserve", "sold_out");
    for undo in ["mail.send", "order.cancel"] {
        note(desk);
        desk.undone(undo);
    }
    let paid = json!({ "order": "o2", "session": "s2" });
    let late = desk.event_again("m2", "pay.completed", paid).remove(0);
    assert_eq!(late.outcome, Outcome::Late);
    note(desk);
    desk.look_at(late.saga.expect("an arm"));
    desk.reply("pay.refund", Value::Null);
    keys
}

#[test]
fn what_a_restore_has_lost_is_asked_for_again_under_the_same_keys() {
    let mut desk = Desk::new(shop());
    let backup = desk.store().clone();
    let first = hour(&mut desk);
    assert_eq!(first.len(), 9, "{first:?}");
    desk.change_store(|store| *store = backup);
    // Other work comes before it now, and it is later.
    desk.wait_s(3600);
    desk.event_again("p3", "shop.placed", json!({ "order": "o3" }));
    let again = hour(&mut desk);
    assert!(first.is_subset(&again), "{:?}", first.difference(&again));
    assert_eq!(again.len(), first.len() + 1, "and one of the third order");
}

#[test]
fn an_event_that_starts_a_saga_in_another_store_starts_it_under_the_same_name() {
    let mut alias = BTreeSet::new();
    for instance in 0..2 {
        let mut desk = Desk::new(shop());
        desk.wait_s(instance);
        let placed = json!({ "order": "o1" });
        let started = desk.event_again(&format!("other {instance}"), "shop.placed", placed);
        desk.look_at(started[0].saga.expect("it starts"));
        alias.insert(desk.head().acts_as());
    }
    // By hand too: a definition starts one saga for a key, however it is told to.
    let mut desk = Desk::new(shop());
    desk.start("order", "o1", json!({ "order": "o1" }));
    alias.insert(desk.head().acts_as());
    assert_eq!(alias.len(), 1);
    let others = [Alias::of_start("order", "o2"), Alias::of_start("orde", "ro1")];
    assert!(others.iter().all(|it| !alias.contains(it)));
}

saga!(
    /// Names what it asks for.
    Names(ctx) -> () {
        let id = ctx.new_id();
        ctx.publish("shop.told", "o1", &json!({ "id": id }));
        ctx.call(Mail::of(&ctx.new_id().to_string())).await?;
        Ok(())
    }
);

#[test]
fn what_code_makes_ids_of_and_tells_the_world_is_the_same_when_it_begins_again() {
    let mut desk = Desk::of::<Names>(&());
    let backup = desk.store().clone();
    let told = |desk: &mut Desk| {
        desk.start("Names", "o1", Value::Null);
        let ids = |it| match it {
            Effect::Publish { id, body, .. } => (id, body),
            other => panic!("{other:?}"),
        };
        (ids(desk.publishes().remove(0)), desk.requests().remove(0).body)
    };
    let first = told(&mut desk);
    desk.change_store(|store| *store = backup);
    desk.wait_s(3600);
    assert_eq!(told(&mut desk), first);
}

#[test]
fn a_saga_of_before_there_were_names_keeps_its_id_as_one() {
    let mut desk = Desk::of::<Names>(&());
    let saga = desk.start("Names", "o1", Value::Null);
    let mut first = desk.journal().remove(0);
    let Fact::Started(start) = &mut first.fact else { panic!("it begins") };
    let text = serde_json::to_string(start).expect("JSON");
    assert_eq!(start.acts_as(), Alias::of_start("Names", "o1"));
    let named = format!(r#","alias":"{}""#, start.acts_as());
    *start = serde_json::from_str(&text.replace(&named, "")).expect("it reads");
    assert_eq!(start.acts_as(), Alias::of_id(saga));
}
