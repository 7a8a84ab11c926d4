//! The order saga in a world of services, and everything that can go wrong there, one thing at a
//! time. What must hold is said once, and holds at every end.

use super::fixtures::shop;
use crate::{
    fold::Status,
    testing::{Outcome, Scenario, Services},
};
use serde_json::{Value, json};

fn services() -> Services {
    Services::new().on("pay.open", |_| Ok(json!({ "session": "s1" })))
}

fn paid() -> Value {
    json!({ "order": "o1", "session": "s1" })
}

fn scenario(risky: bool) -> Scenario {
    Scenario::new(shop(), "order", "o1", json!({ "order": "o1", "risky": risky }))
        .services(services)
        .clean(is_clean)
}

/// Stock is released or shipped, money that came is refunded or earned, and whoever has no order
/// in the end is told so once.
fn is_clean(it: &Outcome) {
    if it.status == Status::Terminated {
        return;
    }
    let succeeded = it.status == Status::Completed;
    let shipped = it.count("stock.ship") - it.count("stock.take-back");
    assert_eq!(shipped, usize::from(succeeded), "goods leave when an order succeeds");
    assert_eq!(it.count("stock.reserve"), it.count("stock.release") + shipped);
    assert_eq!(it.count("courier.book"), it.count("courier.cancel") + shipped);
    assert_eq!(it.count("order.cancel"), usize::from(!succeeded));
    let earned = usize::from(succeeded);
    assert_eq!(it.came("pay.completed"), it.count("pay.refund") + earned, "no money is lost");
}

#[test]
fn an_order_that_is_delivered() {
    let delivered = json!({ "order": "o1", "status": "delivered" });
    let runs = scenario(true)
        .decision("shop.approved", true)
        .event("pay.completed", paid())
        .event("courier.status", delivered)
        .stray("pay.completed", paid())
        .try_all();
    println!("{runs} runs");
}

#[test]
fn an_order_whose_delivery_is_overdue() {
    scenario(false).event("pay.completed", paid()).try_all();
}

#[test]
fn an_order_that_nobody_approves() {
    scenario(true).stray("pay.completed", paid()).ends(Status::Cancelled).try_all();
}

#[test]
fn an_order_that_is_refused() {
    scenario(true).decision("shop.approved", false).ends(Status::Cancelled).try_all();
}

#[test]
fn an_order_that_nobody_pays() {
    scenario(false).stray("pay.completed", paid()).ends(Status::Cancelled).try_all();
}

#[test]
fn an_order_whose_payment_fails() {
    scenario(false)
        .event("pay.failed", paid())
        .stray("pay.completed", paid())
        .ends(Status::Cancelled)
        .try_all();
}

#[test]
fn an_order_that_is_out_of_stock() {
    scenario(false)
        .services(|| services().on("stock.reserve", |_| Err("out_of_stock")))
        .ends(Status::Cancelled)
        .try_all();
}
