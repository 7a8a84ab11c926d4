//! Comparisons of what was done with what is seen. Each one gives its faults, and none when all is
//! well.

use super::evidence::{Event, Evidence, Hook, Order, Sender, Shelf};
use crate::scenarios::{LATE, PROCESS_ORDER, Told, Way};
use std::collections::{BTreeMap, BTreeSet};

/// The saga that writes a refund on its order.
const RECORD_REFUND: &str = "record-refund";
/// Minor units of a piece's price.
const PIECE_MINOR: u64 = 5_000;
/// Where a saga stands that has not ended.
const OPEN: [&str; 4] = ["running", "waiting", "compensating", "attention"];
/// What may become of an event of ours; all else means that something went wrong.
const OUTCOMES: [&str; 4] = ["consumed", "started", "late", "ignored"];
/// The verdict on a webhook that became an event.
const PUBLISHED: &str = "published";

/// Every check.
pub fn all(seen: &Evidence, shelf: Shelf, ways: &[Way]) -> Vec<String> {
    let checks = [sagas, parcels, payments, refunds, mails, webhooks, events];
    let mut faults = goods(seen, shelf, ways);
    faults.extend(checks.into_iter().flat_map(|check| check(seen, ways)));
    faults
}

/// Every order has one saga that ended as it should, every late payment its arm, every refund the
/// saga that records it; nothing else was started, and nothing is open.
pub fn sagas(seen: &Evidence, ways: &[Way]) -> Vec<String> {
    let mut wanted: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut faults = Vec::new();
    for way in ways {
        let (order_status, saga_status) = way.scenario.ends();
        wanted.insert((PROCESS_ORDER, &way.order_id), saga_status);
        if way.is_late {
            wanted.insert((LATE, &way.order_id), "completed");
        }
        let order = order(seen, way);
        if order.status != order_status {
            faults.push(fault(way, &format!("the order is {}, not {order_status}", order.status)));
        }
    }
    for refund in seen.orders.values().flat_map(|it| &it.refunds) {
        wanted.insert((RECORD_REFUND, refund), "completed");
    }
    for saga in &seen.sagas {
        let (id, definition, key, status) = (&saga.id, &saga.definition, &saga.key, &saga.status);
        if OPEN.contains(&status.as_str()) {
            faults.push(format!("saga {id}, {definition} of {key}, is open: {status}"));
        }
        match wanted.remove(&(definition.as_str(), key.as_str())) {
            Some(expected) if expected == status => (),
            Some(expected) => faults
                .push(format!("saga {id}, {definition} of {key}, is {status}, not {expected}")),
            None => faults.push(format!("saga {id}, {definition} of {key}, is one too many")),
        }
    }
    let missing = |(definition, key)| format!("there is no saga {definition} of {key}");
    faults.extend(wanted.into_keys().map(missing));
    faults
}

/// No piece appears or vanishes, none stays reserved, and what left is what was to leave.
pub fn goods(seen: &Evidence, before: Shelf, ways: &[Way]) -> Vec<String> {
    let shipping = ways.iter().filter(|it| it.scenario.ships());
    let pieces: u64 = shipping.map(|it| u64::from(it.scenario.pieces())).sum();
    let expected = (before.0.saturating_sub(pieces), before.1, before.2 + pieces);
    let mut faults = sum(before, seen.shelf);
    if seen.shelf != expected {
        let after = seen.shelf;
        faults.push(format!("the shelf held {before:?}, should hold {expected:?}, has {after:?}"));
    }
    faults
}

/// Stock, reserved and shipped together are the same at any time.
pub fn sum(before: Shelf, after: Shelf) -> Vec<String> {
    let sum = |it: Shelf| it.0 + it.1 + it.2;
    let is_constant = sum(before) == sum(after);
    let fault = || format!("pieces appeared or vanished: from {before:?} to {after:?}");
    if is_constant { Vec::new() } else { vec![fault()] }
}

/// Nothing is shipped twice, or shipped and paid back; what is to leave has left.
pub fn parcels(seen: &Evidence, ways: &[Way]) -> Vec<String> {
    per_order(seen, ways, |way, order| {
        let parcels = order.parcels;
        if parcels > 1 {
            return Some(format!("shipped {parcels} times"));
        }
        if parcels > 0 && order.refunds_made > 0 {
            return Some("shipped and paid back".to_owned());
        }
        let is_right = parcels == u64::from(way.scenario.ships());
        (!is_right).then(|| format!("{parcels} parcels are on their way"))
    })
}

/// Every paid order is shipped or paid back, and no other one is either.
pub fn payments(seen: &Evidence, ways: &[Way]) -> Vec<String> {
    per_order(seen, ways, |way, order| {
        let Order { sessions, sessions_paid, refunds_made, parcels, .. } = *order;
        if sessions > 1 || sessions_paid > sessions {
            return Some(format!("{sessions} payment sessions, {sessions_paid} paid"));
        }
        let is_settled = parcels > 0 || refunds_made > 0;
        if sessions_paid > 0 && !is_settled {
            return Some("paid, and neither shipped nor paid back".to_owned());
        }
        if sessions_paid == 0 && is_settled {
            return Some("shipped or paid back without a payment".to_owned());
        }
        let expected = way.scenario.ships() || way.scenario.refunds() > 0;
        let is_right = (sessions_paid > 0) == expected;
        (!is_right).then(|| format!("{sessions_paid} sessions were paid"))
    })
}

/// Every refund was made once, over the whole sum, and stands on the order.
pub fn refunds(seen: &Evidence, ways: &[Way]) -> Vec<String> {
    per_order(seen, ways, |way, order| {
        let expected = way.scenario.refunds();
        let owed_minor = if expected > 0 { minor(way) } else { 0 };
        let shown: BTreeSet<_> = order.refunds.iter().collect();
        let is_right = order.refunds_made == expected as u64
            && order.refunded_minor == owed_minor
            && order.refunds.len() == expected
            && shown.len() == expected;
        let fault = || {
            let Order { refunds_made, refunded_minor, refunds, .. } = order;
            format!(
                "{refunds_made} refunds over {refunded_minor} were made and {refunds:?} shown; \
                 expected {expected} over {owed_minor}"
            )
        };
        (!is_right).then(fault)
    })
}

/// Each mail stands in the spool once for its reason, and no other.
pub fn mails(seen: &Evidence, ways: &[Way]) -> Vec<String> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (kind, order_id) in &seen.mails {
        found.entry(order_id).or_default().push(kind);
    }
    let mut faults = Vec::new();
    for way in ways {
        let mut kinds = found.remove(way.order_id.as_str()).unwrap_or_default();
        kinds.sort_unstable();
        let expected = way.scenario.mails();
        if kinds != expected {
            faults.push(fault(way, &format!("mails {kinds:?}, not {expected:?}")));
        }
    }
    let of_nobody = |(order_id, kinds)| format!("mails {kinds:?} of no order: {order_id}");
    faults.extend(found.into_iter().map(of_nobody));
    faults
}

/// Every webhook that was acknowledged has one verdict, and if it became an event, the runtime has
/// that event once.
pub fn webhooks(seen: &Evidence, ways: &[Way]) -> Vec<String> {
    let mut faults = Vec::new();
    if seen.hooks_open > 0 {
        faults.push(format!("{} webhooks are not acknowledged", seen.hooks_open));
    }
    faults.extend(repeated("verdicts on webhook", seen.hooks.iter().map(|it| (it.sender, &it.id))));
    let mut events: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &seen.events {
        *events.entry(&event.id).or_default() += 1;
    }
    let mut told: BTreeMap<(&str, Told), usize> = BTreeMap::new();
    for way in ways {
        for it in &way.told {
            *told.entry((way.order_id.as_str(), it.clone())).or_default() += 1;
        }
    }
    let mut published: BTreeMap<(&str, Told), usize> = BTreeMap::new();
    for hook in &seen.hooks {
        let name = (hook.order_id.as_str(), told_by(hook));
        if !told.contains_key(&name) {
            faults.push(format!("nobody sent the webhook {hook:?}"));
        }
        let is_published = hook.verdict == PUBLISHED;
        *published.entry(name).or_default() += usize::from(is_published);
        let count = events.get(event_of(hook).as_str()).copied().unwrap_or_default();
        if count != usize::from(is_published) {
            faults.push(format!("the runtime has {count} events of the webhook {hook:?}"));
        }
    }
    for (name, times) in &told {
        match (published.get(name), &name.1) {
            (None, _) => faults.push(format!("there is no verdict on the webhook {name:?}")),
            // The courier's word has another id at each sending, and counts once for each time
            // that the parcel came to that status.
            (Some(count), Told::Parcel(_)) if count != times => {
                faults.push(format!("the webhook {name:?} became {count} events"));
            }
            (Some(_), _) => (),
        }
    }
    faults
}

/// Every event is there once, with one verdict for each definition, and none went astray.
pub fn events(seen: &Evidence, ways: &[Way]) -> Vec<String> {
    let mut faults: Vec<_> =
        repeated("events", seen.events.iter().map(|it| (&it.name, &it.id))).collect();
    for event in &seen.events {
        let definitions: BTreeSet<_> = event.verdicts.iter().map(|it| &it.0).collect();
        let is_one = !event.verdicts.is_empty() && definitions.len() == event.verdicts.len();
        let is_known = event.verdicts.iter().all(|it| OUTCOMES.contains(&it.1.as_str()));
        if !is_one || !is_known || event.conflicts > 0 {
            faults.push(format!("wrong verdicts: {event:?}"));
        }
    }
    for way in ways {
        let id = format!("{}/created", way.order_id);
        let starts = |it: &&Event| it.id == id && it.verdicts.iter().any(|it| it.1 == "started");
        let count = seen.events.iter().filter(starts).count();
        if count != 1 {
            faults.push(fault(way, &format!("{count} events have started it")));
        }
    }
    faults
}

fn order(seen: &Evidence, way: &Way) -> Order {
    seen.orders.get(&way.order_id).cloned().unwrap_or_default()
}

fn per_order(
    seen: &Evidence,
    ways: &[Way],
    check: impl Fn(&Way, &Order) -> Option<String>,
) -> Vec<String> {
    let found = ways.iter().filter_map(|way| Some(fault(way, &check(way, &order(seen, way))?)));
    found.collect()
}

fn fault(way: &Way, what: &str) -> String {
    format!("{} {}: {what}", way.scenario.name(), way.order_id)
}

fn minor(way: &Way) -> u64 {
    u64::from(way.scenario.pieces()) * PIECE_MINOR
}

fn told_by(hook: &Hook) -> Told {
    match hook.sender {
        Sender::Payment => Told::Payment(hook.id.clone()),
        Sender::Courier => Told::Parcel(hook.status.clone()),
    }
}

/// The id of the event that a webhook becomes.
fn event_of(hook: &Hook) -> String {
    match hook.sender {
        Sender::Payment => hook.id.clone(),
        Sender::Courier => format!("courier-{}", hook.id),
    }
}

fn repeated<K: Ord + std::fmt::Debug>(
    what: &'static str,
    keys: impl Iterator<Item = K>,
) -> impl Iterator<Item = String> {
    let mut counts: BTreeMap<K, usize> = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    let more = counts.into_iter().filter(|(_, count)| *count > 1);
    more.map(move |(key, count)| format!("{count} {what} {key:?}"))
}

#[cfg(test)]
mod tests;
