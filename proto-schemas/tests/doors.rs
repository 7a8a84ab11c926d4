//! What the door says to good and bad bodies.

use proto_schemas::{
    Fault, Refusal,
    orders::{Approve, CreateOrder},
    read,
};
use serde_json::{Value, json};

fn order() -> Value {
    json!({
        "items": [
            { "sku": "WIDGET-001", "quantity": 2, "price": 25 },
            { "sku": "GADGET-002", "quantity": 1, "price": "50.00" },
        ],
        "total": 100,
        "customer": { "name": "Ada Lovelace", "email": "ada@example.com" },
        "shippingAddress":
            { "street": "1 Main St", "city": "Springfield", "zip": "12345", "country": "US" },
    })
}

fn faults_of(body: &str) -> Vec<(String, String)> {
    match read::<CreateOrder>(body.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(Refusal::NotJson(why)) => vec![("not json".to_owned(), why)],
        Err(Refusal::Faults(faults)) => {
            faults.into_iter().map(|Fault { pointer, detail }| (pointer, detail)).collect()
        }
    }
}

/// Changes one place of a good order and tells the faults.
#[track_caller]
fn check(pointer: &str, value: Value, expected: &[(&str, &str)]) {
    let mut body = order();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    match body.pointer_mut(parent).expect("the parent is there") {
        Value::Object(fields) => drop(fields.insert(name.to_owned(), value)),
        Value::Array(items) => items[name.parse::<usize>().expect("an index")] = value,
        other => panic!("{other} has no places"),
    }
    let found = faults_of(&body.to_string());
    let found: Vec<_> = found.iter().map(|(at, why)| (at.as_str(), why.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_good_order_is_taken() {
    let read = read::<CreateOrder>(order().to_string().as_bytes()).expect("it is good");
    assert_eq!(read.total.to_string(), "100");
    assert!(!read.new_customer);
    assert_eq!(read.currency.code(), "USD");
}

#[test]
fn each_fault_names_its_place() {
    check("/items", json!([]), &[("/items", "must not be empty")]);
    check("/items/0/quantity", json!(-1), &[("/items/0/quantity", "must be at least 1")]);
    check("/items/0/quantity", json!(0), &[("/items/0/quantity", "must be at least 1")]);
    check("/items/0/quantity", json!("2"), &[("/items/0/quantity", "must be of type integer")]);
    check("/items/0/quantity", json!(1.5), &[("/items/0/quantity", "must be of type integer")]);
    check(
        "/items/0/price",
        json!("25.001"),
        &[("/items/0/price", "must have at most 2 decimals in USD")],
    );
    check("/items/0/price", json!(-25), &[("/items/0/price", "must not be negative")]);
    check("/total", json!("99.99"), &[("/total", "must be the sum of the items, 100.00")]);
    check(
        "/currency",
        json!("usd"),
        &[("/currency", "must be an upper-case ISO 4217 code of a currency, like USD")],
    );
    check("/coupon", json!("X"), &[("/coupon", "is not a known field")]);
    check("/items/1/color", json!("red"), &[("/items/1/color", "is not a known field")]);
    check("/customer/email", json!("nobody"), &[("/customer/email", "must be a mail address")]);
    check(
        "/customer/name",
        json!("A\r\nBcc: b@c.de"),
        &[("/customer/name", "must not contain control characters")],
    );
    check(
        "/shippingAddress/street",
        json!(""),
        &[("/shippingAddress/street", "must not be empty")],
    );
    check("/shippingAddress/city", json!("  "), &[("/shippingAddress/city", "must not be empty")]);
    check("/shippingAddress", json!("here"), &[("/shippingAddress", "must be of type object")]);
    check("/newCustomer", json!("yes"), &[("/newCustomer", "must be of type boolean")]);
}

#[test]
fn all_faults_come_at_once() {
    let body = json!({
        "items": [{ "sku": "A/B", "quantity": -3, "price": "1e3", "note": 1 }],
        "total": true,
        "currency": "XAU",
        "customer": { "email": "nobody" },
        "shippingAddress": { "street": "", "city": 7, "zip": "1", "country": "x".repeat(101) },
    });
    let places: Vec<_> = faults_of(&body.to_string()).into_iter().map(|(at, _)| at).collect();
    assert_eq!(
        places,
        [
            "/currency",
            "/customer/email",
            "/customer/name",
            "/items/0/note",
            "/items/0/price",
            "/items/0/quantity",
            "/items/0/sku",
            "/shippingAddress/city",
            "/shippingAddress/country",
            "/shippingAddress/street",
            "/total",
        ]
    );
}

#[test]
fn a_rejection_needs_a_reason() {
    let faults = |body: Value| match read::<Approve>(body.to_string().as_bytes()) {
        Err(Refusal::Faults(faults)) => faults.into_iter().map(|it| it.pointer).collect(),
        Err(Refusal::NotJson(why)) => vec![why],
        Ok(_) => Vec::new(),
    };
    assert_eq!(faults(json!({ "orderId": "o-1", "approved": true })), [""; 0]);
    assert_eq!(faults(json!({ "orderId": "o-1", "approved": false })), ["/reason"]);
    assert_eq!(faults(json!({ "orderId": "o-1", "approved": false, "reason": " " })), ["/reason"]);
    assert_eq!(faults(json!({ "orderId": "o.1", "approved": true })), ["/orderId"]);
}
