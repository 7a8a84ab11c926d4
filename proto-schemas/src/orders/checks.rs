//! What the fields of a body alone cannot say.

use super::{Approve, CreateOrder, Item, OrderCreated};
use crate::{
    amount::{Amount, sum_minor},
    charge::ChargeError,
    check::Fault,
    currency::Currency,
};

/// Each price fits the currency, the total is the sum, and the customer can be asked for it.
pub(crate) fn check_amounts(order: &CreateOrder, faults: &mut Vec<Fault>) {
    check_sum(&order.items, order.total, order.currency, faults);
    if faults.is_empty() {
        check_charge("/total", order.total, order.currency, faults);
    }
}

/// The payment provider can charge it.
pub(crate) fn check_charge(
    pointer: &str,
    amount: Amount,
    currency: Currency,
    faults: &mut Vec<Fault>,
) {
    match currency.check_charge(amount) {
        Ok(()) => (),
        Err(error @ ChargeError::Currency(_)) => faults.push(Fault::at("/currency", error)),
        Err(error) => faults.push(Fault::at(pointer, error)),
    }
}

/// As the request that placed it, but for what can be charged: an order that is under way stays
/// one when the provider's rules change.
pub(crate) fn check_created(order: &OrderCreated, faults: &mut Vec<Fault>) {
    check_sum(&order.items, order.total, order.currency, faults);
}

fn check_sum(items: &[Item], total: Amount, currency: Currency, faults: &mut Vec<Fault>) {
    for (index, item) in items.iter().enumerate() {
        if let Err(error) = item.price.minor(currency) {
            faults.push(Fault::at(format!("/items/{index}/price"), error));
        }
    }
    let total = match total.minor(currency) {
        Ok(total) => total,
        Err(error) => return faults.push(Fault::at("/total", error)),
    };
    if !faults.is_empty() {
        return; // A sum over wrong lines would tell nothing.
    }
    let lines = items.iter().map(|item| (item.quantity, item.price));
    match sum_minor(lines, currency).and_then(|sum| Ok((sum, Amount::of_minor(sum, currency)?))) {
        Ok((0, _)) => faults.push(Fault::at("/total", "must be more than zero")),
        Ok((sum, _)) if sum == total => (),
        Ok((_, sum)) => {
            faults.push(Fault::at("/total", format!("must be the sum of the items, {sum}")));
        }
        Err(error) => faults.push(Fault::at("/total", format!("the sum of the items {error}"))),
    }
}

/// A rejection needs a reason that one can read.
pub(crate) fn check_reason(decision: &Approve, faults: &mut Vec<Fault>) {
    let is_given = decision.reason.as_ref().is_some_and(|reason| !reason.trim().is_empty());
    if !decision.approved && !is_given {
        faults.push(Fault::at("/reason", "must say why the order is rejected"));
    }
}
