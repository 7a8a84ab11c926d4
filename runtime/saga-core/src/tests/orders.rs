//! The order saga: golden journals, and everything that can go wrong, one thing at a time.

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
        .clean(clean)
}

/// Stock is released or shipped, money that came is refunded or earned, and whoever has no order
/// in the end is told so once.
fn clean(it: &Outcome) {
    if it.status == Status::Terminated {
        return;
    }
    let succeeded = matches!(it.status, Status::Completed | Status::Attention);
    let shipped = it.count("stock.ship") - it.count("stock.take-back");
    assert_eq!(it.count("stock.reserve"), it.count("stock.release") + shipped);
    assert!(it.count("courier.book") == it.count("courier.cancel") + shipped);
    assert_eq!(it.count("order.cancel"), usize::from(!succeeded));
    assert!(shipped == 0 || it.count("pay.refund") == 0 || succeeded);
}

#[test]
fn an_order_survives_whatever_goes_wrong_once() {
    let delivered = json!({ "order": "o1", "status": "delivered" });
    let runs = scenario(true)
        .decision("shop.approved", true)
        .event("pay.completed", paid())
        .event("courier.status", delivered)
        .stray("pay.completed", paid())
        .try_all();
    println!("{runs} runs");
}
