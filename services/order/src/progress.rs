//! `orders.update-status`: where an order stands, and what came with it.
//!
//! An order only goes forward: placed, asked about, to be paid, paid, with the courier, completed.
//! Between `shipped` and `delivery_failed` it may go back and forth, as couriers try again. It can
//! be cancelled from anywhere but `completed`. `completed` and `cancelled` are final: what still
//! comes for such an order (a refund, mostly) is recorded beside the status and does not move it.
//! A status that the order has already changes nothing; one that it has passed is rejected.
//!
//! As an undo it cancels with the reason that the saga ended for.

use crate::rows;
use chrono::{DateTime, Utc};
use proto_schemas::orders::{
    Order, OrderDispute, OrderRefund, OrderStatus, StatusChange, StatusUpdated, UpdateStatus,
};
use service_kit::{Call, Outcome, Rejection, Tx};
use std::cmp::Ordering;

/// What a change of status comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// The order stands there from now on.
    Go,
    /// It stands there already, or is at its end: only what came with it counts.
    Stay,
    /// It has passed this.
    Refuse,
}

/// `orders.update-status`.
pub(crate) fn update_status(tx: &mut Tx, call: Call<UpdateStatus>) -> Outcome<StatusUpdated> {
    let Call { body, undo, at, .. } = call;
    let Some(mut order) = rows::order(tx, &body.order_id)? else {
        // An undo of what never was is done.
        return match undo {
            Some(_) => {
                let status = body.status.unwrap_or(OrderStatus::Cancelled);
                Ok(StatusUpdated { order_id: body.order_id, status })
            }
            None => Err(rows::unknown(&body.order_id).into()),
        };
    };
    let before = order.status;
    let is_more = record(&mut order, &body);
    let status = body.status.unwrap_or(before);
    match decide(before, status, undo.is_some() || is_more) {
        Move::Go => {
            let reason = undo.and_then(|undo| undo.reason).or(body.reason);
            go(&mut order, status, at, reason);
        }
        Move::Stay => (),
        Move::Refuse => return Err(passed(&order, status).into()),
    }
    rows::update(tx, &order, before)?;
    Ok(StatusUpdated { order_id: order.order_id, status: order.status })
}

fn go(order: &mut Order, status: OrderStatus, at: DateTime<Utc>, reason: Option<String>) {
    order.status = status;
    order.history.push(StatusChange { status, at, reason });
}

/// `is_lenient`: an undo is never refused, nor is a request that had more to record.
fn decide(from: OrderStatus, to: OrderStatus, is_lenient: bool) -> Move {
    if from == to {
        return Move::Stay;
    }
    let is_final = matches!(from, OrderStatus::Completed | OrderStatus::Cancelled);
    if !is_final && (to == OrderStatus::Cancelled || rank(to) >= rank(from)) {
        return Move::Go;
    }
    if is_lenient { Move::Stay } else { Move::Refuse }
}

/// How far on its way; equal for what may alternate.
fn rank(status: OrderStatus) -> u8 {
    match status {
        OrderStatus::Pending => 0,
        OrderStatus::AwaitingApproval => 1,
        OrderStatus::AwaitingPayment => 2,
        OrderStatus::Paid => 3,
        OrderStatus::Shipped | OrderStatus::DeliveryFailed => 4,
        OrderStatus::Completed | OrderStatus::Cancelled => 5,
    }
}

/// Records what came beside the status. Says whether there was any of it.
fn record(order: &mut Order, body: &UpdateStatus) -> bool {
    let UpdateStatus { risk_score, payment_session_id, shipment, refund, dispute, .. } = body;
    order.risk_score = risk_score.or(order.risk_score);
    if payment_session_id.is_some() {
        order.payment_session_id.clone_from(payment_session_id);
    }
    if shipment.is_some() {
        order.shipment.clone_from(shipment);
    }
    refund.clone().into_iter().for_each(|refund| record_refund(order, refund));
    dispute.clone().into_iter().for_each(|dispute| record_dispute(order, dispute));
    let money = refund.is_some() || dispute.is_some();
    money || risk_score.is_some() || payment_session_id.is_some() || shipment.is_some()
}

/// News of one refund come in any order: the later status stands. What an amount of zero takes back
/// stays here, so that older news cannot bring it back, and is not shown.
fn record_refund(order: &mut Order, refund: OrderRefund) {
    let currency = refund.currency.filter(|it| *it != order.currency);
    let refund = OrderRefund { currency, ..refund };
    match order.refunds.iter_mut().find(|it| it.refund_id == refund.refund_id) {
        Some(known) if known.status.later(refund.status) == refund.status => *known = refund,
        Some(_) => (),
        None => order.refunds.push(refund),
    }
}

/// News of one dispute come in any order too: its revisions say which is the newest.
fn record_dispute(order: &mut Order, dispute: OrderDispute) {
    let currency = dispute.currency.filter(|it| *it != order.currency);
    let dispute = OrderDispute { currency, ..dispute };
    let follows = |known: &OrderDispute| match dispute.revision.cmp(&known.revision) {
        Ordering::Less => false,
        Ordering::Equal => known.status.later(dispute.status) == dispute.status,
        Ordering::Greater => true,
    };
    match order.disputes.iter_mut().find(|it| it.dispute_id == dispute.dispute_id) {
        Some(known) if follows(known) => *known = dispute,
        Some(_) => (),
        None => order.disputes.push(dispute),
    }
}

fn passed(order: &Order, status: OrderStatus) -> Rejection {
    let (id, now, asked) = (&order.order_id, rows::name(order.status), rows::name(status));
    Rejection::new("status_passed", format!("order {id} is {now} and cannot become {asked}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAY: [OrderStatus; 8] = [
        OrderStatus::Pending,
        OrderStatus::AwaitingApproval,
        OrderStatus::AwaitingPayment,
        OrderStatus::Paid,
        OrderStatus::Shipped,
        OrderStatus::DeliveryFailed,
        OrderStatus::Completed,
        OrderStatus::Cancelled,
    ];

    /// One letter for each pair, rows from, columns to: Go, stay (.), refuse (x).
    #[test]
    fn the_table_of_moves() {
        let table = WAY.map(|from| {
            WAY.map(|to| match decide(from, to, false) {
                Move::Go => 'G',
                Move::Stay => '.',
                Move::Refuse => 'x',
            })
            .iter()
            .collect::<String>()
        });
        let wanted = [
            ".GGGGGGG", // pending
            "x.GGGGGG", // awaiting_approval
            "xx.GGGGG", // awaiting_payment
            "xxx.GGGG", // paid
            "xxxx.GGG", // shipped
            "xxxxG.GG", // delivery_failed
            "xxxxxx.x", // completed
            "xxxxxxx.", // cancelled
        ];
        assert_eq!(table, wanted);
    }

    #[test]
    fn a_lenient_move_is_never_refused_and_never_leaves_an_end() {
        for from in WAY {
            for to in WAY {
                let strict = decide(from, to, false);
                let lenient = decide(from, to, true);
                assert_ne!(lenient, Move::Refuse);
                assert_eq!(lenient == Move::Go, strict == Move::Go, "{from:?} to {to:?}");
            }
        }
    }
}
