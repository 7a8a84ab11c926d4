//! What the door says to good and bad bodies.

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest},
};
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

/// JSON texts of every kind, hostile numbers among them.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|it| it.to_string()),
        any::<i64>().prop_map(|it| it.to_string()),
        any::<f64>()
            .prop_filter("JSON has no such number", |it| it.is_finite())
            .prop_map(|it| it.to_string()),
        "-?[0-9]{1,3}([eE][+-]?[0-9]{1,3})?".prop_filter("JSON has no leading zeros", |it| {
            serde_json::from_str::<&serde_json::value::RawValue>(it).is_ok()
        }),
        any::<String>().prop_map(|it| json!(it).to_string()),
        Just("\"US\"".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|them| format!("[{}]", them.join(","))),
            vec(("[a-z]{1,5}", inner), 0..3).prop_map(|fields| {
                let fields: Vec<_> =
                    fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

const PLACES: [&str; 14] = [
    "/items",
    "/items/0",
    "/items/0/sku",
    "/items/0/quantity",
    "/items/0/price",
    "/total",
    "/currency",
    "/newCustomer",
    "/customer",
    "/customer/email",
    "/customer/phone",
    "/shippingAddress",
    "/shippingAddress/state",
    "/more",
];

proptest! {
    /// The schema finds whatever the type refuses, so a fault always has a place.
    #[test]
    fn a_fault_always_has_a_place(at in 0..PLACES.len(), value in any_json()) {
        let mut body = order();
        let mark = json!("the place that is changed");
        let (parent, name) = PLACES[at].rsplit_once('/').expect("a pointer");
        match body.pointer_mut(parent).expect("the parent is there") {
            Value::Object(fields) => drop(fields.insert(name.to_owned(), mark.clone())),
            Value::Array(items) => items[0] = mark.clone(),
            other => panic!("{other} has no places"),
        }
        let body = body.to_string().replace(&mark.to_string(), &value);
        for (pointer, detail) in faults_of(&body) {
            let is_near = pointer.starts_with(PLACES[at]) || pointer == "/total";
            prop_assert!(is_near && !detail.is_empty(), "{pointer} {detail} in {body}");
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let _ = read::<CreateOrder>(&bytes);
    }
}

#[test]
fn hostile_bodies_are_refused_with_a_short_answer() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let many_fields: String = (0..10_000).map(|n| format!("\"f{n}\":1,")).collect();
    let bodies = [
        format!("{{\"items\":{deep}}}"),
        format!("{{\"more\":{deep}}}"),
        format!("{{{many_fields}\"{}\":1}}", "x".repeat(100_000)),
        format!("{{\"items\":[{}{{}}]}}", "{},".repeat(10_000)),
        "{\"total\":1e99999}".to_owned(),
        format!("{{\"total\":{}}}", "9".repeat(100_000)),
        "{\"total\":1,\"total\":2}".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "{\"items\":[".to_owned(),
        "\u{feff}{}".to_owned(),
    ];
    for body in bodies {
        let refusal = read::<CreateOrder>(body.as_bytes()).expect_err("hostile");
        assert!(refusal.to_string().len() < 10_000);
    }
}

#[test]
fn a_repeated_field_is_a_fault() {
    let twice = order().to_string().replacen('{', "{\"total\":\"1.00\",", 1);
    assert_eq!(faults_of(&twice), [("/total".to_owned(), "must be given once".to_owned())]);
}
