//! A world in which all is well, and every fault that a check is there for, planted into it.

use super::*;
use crate::{audit::evidence::Saga, scenarios::Scenario};

const BEFORE: Shelf = (1_000_000, 0, 0);

/// One order of each way.
fn ways() -> Vec<Way> {
    let way = |(number, scenario): (usize, Scenario)| {
        let order_id = format!("o-{number}");
        let payment = |n: u32| Told::Payment(format!("evt-{number}-{n}"));
        let parcel = |status: &str| Told::Parcel(status.to_owned());
        let told = match scenario {
            Scenario::PaymentFailed => vec![payment(0), payment(1)],
            Scenario::PaidAfterCancel => vec![payment(0)],
            it if it.ships() => vec![payment(0), parcel("in_transit"), parcel("delivered")],
            _ => Vec::new(),
        };
        let is_late = scenario == Scenario::PaidAfterCancel;
        Way { order_id, scenario, is_late, told }
    };
    Scenario::ALL.into_iter().enumerate().map(way).collect()
}

fn saga(definition: &str, key: &str, status: &str) -> Saga {
    let id = format!("{definition} {key}");
    Saga { id, definition: definition.into(), key: key.into(), status: status.into() }
}

fn event(name: &str, id: String, outcome: &str) -> Event {
    let verdicts = vec![(Some(PROCESS_ORDER.to_owned()), outcome.to_owned())];
    Event { name: name.into(), id, verdicts, conflicts: 0 }
}

fn hook(way: &Way, told: &Told, verdict: &str) -> Hook {
    let (sender, id, status) = match told {
        Told::Payment(id) => (Sender::Payment, id.clone(), String::new()),
        Told::Parcel(status) => {
            (Sender::Courier, format!("{} {status}", way.order_id), status.clone())
        }
    };
    Hook { sender, id, order_id: way.order_id.clone(), status, verdict: verdict.into() }
}

/// What must be seen of these orders.
fn seen(ways: &[Way]) -> Evidence {
    let mut seen = Evidence { shelf: BEFORE, ..Evidence::default() };
    for way in ways {
        let (scenario, order_id) = (way.scenario, &way.order_id);
        let (order_status, saga_status) = scenario.ends();
        seen.sagas.push(saga(PROCESS_ORDER, order_id, saga_status));
        seen.events.push(event("orders", format!("{order_id}/created"), "started"));
        let is_paid = scenario.ships() || scenario.refunds() > 0;
        let refunds: Vec<_> = (0..scenario.refunds()).map(|_| format!("re-{order_id}")).collect();
        if way.is_late {
            seen.sagas.push(saga(LATE, order_id, "completed"));
        }
        for refund in &refunds {
            seen.sagas.push(saga(RECORD_REFUND, refund, "completed"));
        }
        let order = Order {
            status: order_status.to_owned(),
            sessions: u64::from(is_paid),
            sessions_paid: u64::from(is_paid),
            refunds_made: refunds.len() as u64,
            refunded_minor: refunds.len() as u64 * minor(way),
            parcels: u64::from(scenario.ships()),
            refunds,
        };
        seen.orders.insert(order_id.clone(), order);
        let mails = scenario.mails().iter().map(|kind| ((*kind).to_owned(), order_id.clone()));
        seen.mails.extend(mails);
        for (number, told) in way.told.iter().enumerate() {
            let is_first_of_two = scenario == Scenario::PaymentFailed && number == 0;
            let verdict = if is_first_of_two { "processing" } else { PUBLISHED };
            let hook = hook(way, told, verdict);
            if verdict == PUBLISHED {
                seen.events.push(event("told", event_of(&hook), "consumed"));
            }
            seen.hooks.push(hook);
        }
        if scenario.ships() {
            let pieces = u64::from(scenario.pieces());
            seen.shelf = (seen.shelf.0 - pieces, seen.shelf.1, seen.shelf.2 + pieces);
        }
    }
    seen
}

/// The order of this way.
fn of(seen: &mut Evidence, scenario: Scenario) -> &mut Order {
    let id = ways().into_iter().find(|it| it.scenario == scenario).unwrap().order_id;
    seen.orders.get_mut(&id).unwrap()
}

#[track_caller]
fn finds(
    check: fn(&Evidence, &[Way]) -> Vec<String>,
    plant: impl FnOnce(&mut Evidence),
    fault: &str,
) {
    let ways = ways();
    let mut seen = seen(&ways);
    assert_eq!(check(&seen, &ways), Vec::<String>::new(), "before the fault");
    plant(&mut seen);
    let faults = check(&seen, &ways);
    assert!(faults.iter().any(|it| it.contains(fault)), "expected {fault:?} in {faults:?}");
    assert!(!all(&seen, BEFORE, &ways).is_empty(), "every check is among all of them");
}

#[test]
fn a_world_in_which_all_is_well_has_no_faults() {
    let ways = ways();
    assert_eq!(all(&seen(&ways), BEFORE, &ways), Vec::<String>::new());
}

#[test]
fn a_saga_that_is_open_lost_doubled_or_ended_otherwise_is_found() {
    for status in OPEN {
        finds(sagas, |seen| seen.sagas[0].status = status.to_owned(), "is open");
    }
    finds(sagas, |seen| seen.sagas[0].status = "cancelled".into(), "is cancelled, not completed");
    finds(sagas, |seen| drop(seen.sagas.remove(0)), "there is no saga process-order");
    finds(sagas, |seen| seen.sagas.push(seen.sagas[0].clone()), "one too many");
    finds(sagas, |seen| seen.sagas.push(saga(LATE, "o-0", "completed")), "one too many");
    let late = |it: &Saga| it.definition == LATE;
    finds(sagas, |seen| seen.sagas.retain(|it| !late(it)), "there is no saga process-order.late");
    let records = |it: &Saga| it.definition == RECORD_REFUND;
    finds(sagas, |seen| seen.sagas.retain(|it| !records(it)), "there is no saga record-refund");
    finds(
        sagas,
        |seen| of(seen, Scenario::Normal).status = "shipped".into(),
        "the order is shipped, not completed",
    );
}

#[test]
fn pieces_that_appear_vanish_or_stay_reserved_are_found() {
    fn check(seen: &Evidence, ways: &[Way]) -> Vec<String> {
        goods(seen, BEFORE, ways)
    }
    finds(check, |seen| seen.shelf.2 += 2, "appeared or vanished");
    finds(check, |seen| seen.shelf.0 -= 2, "appeared or vanished");
    let reserved = |seen: &mut Evidence| {
        seen.shelf.0 -= 2;
        seen.shelf.1 += 2;
    };
    finds(check, reserved, "should hold");
    assert_eq!(sum((10, 0, 0), (7, 2, 1)), Vec::<String>::new());
}

#[test]
fn what_is_shipped_twice_or_shipped_and_paid_back_is_found() {
    finds(parcels, |seen| of(seen, Scenario::Normal).parcels = 2, "shipped 2 times");
    let paid_back = |seen: &mut Evidence| of(seen, Scenario::Normal).refunds_made = 1;
    finds(parcels, paid_back, "shipped and paid back");
    finds(parcels, |seen| of(seen, Scenario::Normal).parcels = 0, "0 parcels");
    finds(parcels, |seen| of(seen, Scenario::Rejected).parcels = 1, "1 parcels");
}

#[test]
fn a_paid_order_that_is_neither_shipped_nor_paid_back_is_found() {
    finds(payments, |seen| of(seen, Scenario::Normal).parcels = 0, "neither shipped nor paid back");
    let kept = |seen: &mut Evidence| of(seen, Scenario::PaidAfterCancel).refunds_made = 0;
    finds(payments, kept, "neither shipped nor paid back");
    finds(payments, |seen| of(seen, Scenario::Rejected).parcels = 1, "without a payment");
    finds(payments, |seen| of(seen, Scenario::Normal).sessions = 2, "2 payment sessions");
    let never = |seen: &mut Evidence| *of(seen, Scenario::Normal) = Order::default();
    finds(payments, never, "0 sessions were paid");
}

#[test]
fn a_refund_that_is_doubled_partial_lost_or_not_shown_is_found() {
    let late = Scenario::PaidAfterCancel;
    finds(refunds, |seen| of(seen, late).refunds_made = 2, "2 refunds");
    finds(refunds, |seen| of(seen, late).refunds_made = 0, "0 refunds");
    finds(refunds, |seen| of(seen, late).refunded_minor -= 1, "over 9999");
    finds(refunds, |seen| of(seen, late).refunds.clear(), "[] shown");
    let twice = |seen: &mut Evidence| {
        let shown = &mut of(seen, late).refunds;
        shown.push("another".to_owned());
    };
    finds(refunds, twice, "another");
    finds(refunds, |seen| of(seen, Scenario::Rejected).refunds_made = 1, "1 refunds");
}

#[test]
fn a_mail_that_is_lost_doubled_or_of_nobody_is_found() {
    finds(mails, |seen| drop(seen.mails.remove(0)), "normal order");
    finds(mails, |seen| seen.mails.push(seen.mails[0].clone()), "normal order");
    let stranger = ("order_confirmed".to_owned(), "o-99".to_owned());
    finds(mails, |seen| seen.mails.push(stranger), "of no order: o-99");
}

#[test]
fn a_webhook_without_its_one_verdict_is_found() {
    finds(webhooks, |seen| seen.hooks_open = 1, "not acknowledged");
    finds(webhooks, |seen| drop(seen.hooks.remove(0)), "there is no verdict");
    finds(webhooks, |seen| seen.hooks.push(seen.hooks[0].clone()), "2 verdicts on webhook");
    let unsent = |seen: &mut Evidence| seen.hooks[0].id = "evt-99".to_owned();
    finds(webhooks, unsent, "nobody sent");
}

#[test]
fn a_webhook_whose_event_is_lost_or_doubled_is_found() {
    let told = |it: &Event| it.name == "told";
    let lost = |seen: &mut Evidence| seen.events.retain(|it| !told(it));
    finds(webhooks, lost, "the runtime has 0 events");
    let twice = |seen: &mut Evidence| {
        let event = seen.events.iter().find(|it| told(it)).cloned().unwrap();
        seen.events.push(event);
    };
    finds(webhooks, twice, "the runtime has 2 events");
    let unpublished = |seen: &mut Evidence| seen.hooks[0].verdict = "duplicate".to_owned();
    finds(webhooks, unpublished, "the runtime has 1 events");
    // The same word of the courier under another id, told and published again.
    let again = |seen: &mut Evidence| {
        let word = |it: &&Hook| it.sender == Sender::Courier;
        let hook = seen.hooks.iter().find(word).cloned().unwrap();
        let hook = Hook { id: "again".to_owned(), ..hook };
        seen.events.push(event("told", event_of(&hook), "consumed"));
        seen.hooks.push(hook);
    };
    finds(webhooks, again, "became 2 events");
}

#[test]
fn an_event_with_a_wrong_verdict_or_none_is_found() {
    for outcome in ["refused", "dead_letter", "unclaimed", "unrouted", "kept", "duplicate_start"] {
        let plant = |seen: &mut Evidence| seen.events[0].verdicts[0].1 = outcome.to_owned();
        finds(events, plant, "wrong verdicts");
    }
    finds(events, |seen| seen.events[0].verdicts.clear(), "wrong verdicts");
    finds(events, |seen| seen.events[0].conflicts = 1, "wrong verdicts");
    let twice = |seen: &mut Evidence| {
        let verdict = seen.events[0].verdicts[0].clone();
        seen.events[0].verdicts.push(verdict);
    };
    finds(events, twice, "wrong verdicts");
    finds(events, |seen| seen.events.push(seen.events[0].clone()), "2 events");
    finds(events, |seen| drop(seen.events.remove(0)), "0 events have started it");
}
