//! Sales: what was paid was earned or went back, once; what was done stands or was undone, once.

use crate::{
    definitions::{messages::Sold, sales::TAX},
    world::World,
};
use saga_core::{
    core::Seen,
    effect::Outcome,
    fold::Problem,
    head::Head,
    id::Path,
    journal::Fact,
    saga::{LateInput, Registry},
};
use std::collections::BTreeMap;

fn has_sales(world: &World) -> bool {
    let whole: Registry = (world.kind.registries)().swap_remove(0);
    whole.get("sale").is_some()
}

fn sales(world: &World) -> Vec<Head> {
    world.heads().into_iter().filter(|it| it.definition == "sale").collect()
}

/// Each payment was taken by one sale that completed, or went back once; or the bank refused that,
/// and a person knows; or no sale of its customer has ever held for money, and it still waits for
/// one.
pub(crate) fn adds_up(world: &World) {
    // What the other store had earned, and what a restored one has lost, is nowhere.
    if !has_sales(world) || world.stores.were_changed {
        return;
    }
    let mut paid: BTreeMap<String, &'static str> = BTreeMap::new();
    for seen in world.desk.events() {
        let Some(identity) = seen.identity.filter(|_| seen.event.name == "bank.money") else {
            continue;
        };
        let payment = seen.event.body.to_value()["payment"].as_str().map(str::to_owned);
        let payment = payment.expect("money has a payment");
        let of_sale = identity.verdicts.iter().find(|it| it.definition.as_deref() == Some("sale"));
        let is_kept = of_sale.is_some_and(|it| it.outcome == Outcome::Kept);
        let end = if is_kept { "kept" } else { "settled" };
        paid.insert(payment, end);
    }
    let heads = sales(world);
    let ledger = world.services.ledger();
    for (payment, end) in paid {
        // It has failed nevertheless when a person has given an undo of it up.
        let is_of = |it: &&Head| it.output.as_ref().is_some_and(|it| it.to_value() == payment);
        let earned = heads.iter().filter(is_of).count();
        let bodies = ledger.bodies("bank.pay-back").into_iter();
        let back = bodies.filter(|it| it["payment"] == payment.as_str()).count();
        let refused = world.heads().iter().filter(|it| holds_refused(world, it, &payment)).count();
        let expected = if end == "kept" { 0 } else { 1 };
        let ways = earned + back + refused;
        let ends = format!("earned {earned}, back {back}, refused {refused}");
        if is_waived(world, "bank.pay-back", "payment", &payment) {
            assert!(ways <= expected, "{payment} is {end}: {ends}");
        } else {
            assert_eq!(ways, expected, "{payment} is {end}: {ends}");
        }
    }
}

/// A person has given this undo up; its service may have done it nevertheless.
fn is_waived(world: &World, subject: &str, field: &str, value: &str) -> bool {
    world.waived.iter().any(|it| it.subject == subject && it.body.to_value()[field] == value)
}

/// It is to pay this back, and cannot: a person knows.
fn holds_refused(world: &World, head: &Head, payment: &str) -> bool {
    let problem = head.attention.as_ref().map(|it| it.problem);
    if head.definition != "pay back" || problem != Some(Problem::FailedAfterCommit) {
        return false;
    }
    let journal = world.journal(head.id);
    let Fact::Started(start) = &journal[0].fact else { panic!("a start comes first") };
    let late: LateInput = start.input.decode().expect("a late arm starts from late input");
    late.event.body.to_value()["payment"] == payment
}

/// A sale for which nobody paid in time had no money in time: what came for it before its deadline,
/// and was enough, was taken, whoever else waits on the lane of its customer.
pub(crate) fn in_time_is_taken(world: &World) {
    // While it is missing, a definition takes nothing.
    if !has_sales(world) || world.was_cut || world.stores.were_changed {
        return;
    }
    for head in sales(world).iter().filter(|it| it.reason.as_deref() == Some("nobody paid")) {
        let journal = world.journal(head.id);
        let Fact::Started(start) = &journal[0].fact else { panic!("a start comes first") };
        let sold: Sold = start.input.decode().expect("a sale starts from one");
        let ended = journal.iter().find(|it| ends_the_wait(&it.fact)).map(|it| it.position);
        let in_time = journal[0].position..ended.expect("its wait is over");
        let enough = sold.price * TAX;
        let is_for_it = |it: &Seen| {
            let body = it.event.body.to_value();
            it.event.name == "bank.money"
                && in_time.contains(&it.position)
                && it.identity.is_some()
                && body["sale"] == sold.sale.as_str()
                && body["customer"] == sold.customer.as_str()
                && body["amount"].as_f64().is_some_and(|it| enough <= it)
        };
        let missed = world.desk.events().into_iter().find(is_for_it).map(|it| it.event.id);
        assert_eq!(missed, None, "sale {} has not got it", sold.sale);
    }
}

/// The wait for money is step 3.
fn ends_the_wait(fact: &Fact) -> bool {
    matches!(fact, Fact::TimerFired { step } if *step == Path::root().child(3))
}

/// Each call that acted for a sale was undone once if the sale did not complete; no call acted
/// twice, and no undo did.
pub(crate) fn what_was_done(world: &World) {
    if !has_sales(world) || world.stores.were_changed {
        return;
    }
    const PAIRS: [(&str, &str); 2] =
        [("stock.reserve", "stock.release"), ("stock.ship", "stock.take-back")];
    let ledger = world.services.ledger();
    for head in sales(world) {
        for (call, undo) in PAIRS {
            let count = |subject: &str| {
                let bodies = ledger.bodies(subject).into_iter();
                bodies.filter(|it| it["about"] == head.key.as_str()).count()
            };
            let (done, undone) = (count(call), count(undo));
            let stands = match head.output {
                Some(_) => (1, 0),
                _ if is_waived(world, undo, "about", &head.key) => (done.min(1), undone.min(1)),
                _ => (done.min(1), done.min(1)),
            };
            assert_eq!((done, undone), stands, "{call} and {undo} for {}", head.key);
        }
    }
}
