//! Orders with something wrong in them: the table of a public door.

use super::table::{Row, row};
use serde_json::Value;
use system_tests::client::order_of;

const DOOR: &str = "order POST /api/orders";

/// Where a value of each field goes, and which JSON types it may have.
const FIELDS: &[(&str, &[&str])] = &[
    ("/items", &["array"]),
    ("/items/0", &["object"]),
    ("/items/0/sku", &["string"]),
    ("/items/0/quantity", &["number"]),
    ("/items/0/price", &["number", "string"]),
    ("/total", &["number", "string"]),
    ("/currency", &["string"]),
    ("/customer", &["object"]),
    ("/customer/name", &["string"]),
    ("/customer/email", &["string"]),
    ("/customer/phone", &["string", "null"]),
    ("/newCustomer", &["boolean"]),
    ("/shippingAddress", &["object"]),
    ("/shippingAddress/street", &["string"]),
    ("/shippingAddress/city", &["string"]),
    ("/shippingAddress/state", &["string", "null"]),
    ("/shippingAddress/zip", &["string"]),
    ("/shippingAddress/country", &["string"]),
];

/// One value of each JSON type.
const TYPES: &[(&str, &str)] = &[
    ("null", "null"),
    ("boolean", "true"),
    ("number", "7"),
    ("string", "\"x\""),
    ("array", "[]"),
    ("object", "{}"),
];

/// Fields that an order cannot do without.
const NEEDED: &[&str] = &[
    "/items",
    "/items/0/sku",
    "/items/0/quantity",
    "/items/0/price",
    "/total",
    "/customer",
    "/customer/name",
    "/customer/email",
    "/shippingAddress",
    "/shippingAddress/street",
    "/shippingAddress/city",
    "/shippingAddress/zip",
    "/shippingAddress/country",
];

/// What is wrong, the field, the JSON text in its place, and the pointers that are blamed; `-` when
/// the whole is no JSON.
const VALUES: &[(&str, &str, &str, &str)] = &[
    ("no pieces", "/items/0/quantity", "0", "/items/0/quantity"),
    ("less than no pieces", "/items/0/quantity", "-1", "/items/0/quantity"),
    ("half a piece", "/items/0/quantity", "1.5", "/items/0/quantity"),
    ("an exponent for a count", "/items/0/quantity", "1e3", "/items/0/quantity"),
    ("one piece too many", "/items/0/quantity", "1000000001", "/items/0/quantity"),
    ("a count beyond 32 bits", "/items/0/quantity", "4294967297", "/items/0/quantity"),
    ("a count beyond 64 bits", "/items/0/quantity", "18446744073709551617", "/items/0/quantity"),
    ("a count beyond floats", "/items/0/quantity", "1e999", "/items/0/quantity"),
    ("a count in words", "/items/0/quantity", "\"two\"", "/items/0/quantity"),
    ("a count in quotes", "/items/0/quantity", "\"2\"", "/items/0/quantity"),
    ("NaN", "/items/0/quantity", "NaN", "-"),
    ("Infinity", "/items/0/quantity", "Infinity", "-"),
    ("minus Infinity", "/total", "-Infinity", "-"),
    ("a leading zero", "/items/0/quantity", "02", "-"),
    ("a plus sign", "/items/0/quantity", "+2", "-"),
    ("a hexadecimal number", "/items/0/quantity", "0x2", "-"),
    ("a number without its begin", "/total", ".5", "-"),
    ("a number without its end", "/total", "100.", "-"),
    ("a negative price", "/items/0/price", "-1", "/items/0/price"),
    ("a negative price in quotes", "/items/0/price", "\"-1.00\"", "/items/0/price"),
    ("three decimals", "/items/0/price", "\"50.001\"", "/items/0/price"),
    ("three decimals in a number", "/items/0/price", "50.001", "/items/0/price"),
    ("an exponent in a price", "/items/0/price", "5e1", "/items/0/price"),
    ("a price of 19 digits", "/items/0/price", "1234567890123456789", "/items/0/price"),
    ("a price of 400 digits", "/items/0/price", "\"9{400}\"", "/items/0/price"),
    ("a price with a comma", "/items/0/price", "\"50,00\"", "/items/0/price"),
    ("a price with a blank", "/items/0/price", "\" 50.00\"", "/items/0/price"),
    ("a price with a currency", "/items/0/price", "\"$50\"", "/items/0/price"),
    ("a price with leading zeros", "/items/0/price", "\"0050\"", "/items/0/price"),
    ("a price that is NaN", "/items/0/price", "\"NaN\"", "/items/0/price"),
    ("a price that is infinite", "/items/0/price", "\"Infinity\"", "/items/0/price"),
    ("a price of other digits", "/items/0/price", "\"\\uff15\\uff10\"", "/items/0/price"),
    ("an empty price", "/items/0/price", "\"\"", "/items/0/price"),
    ("a price without its end", "/items/0/price", "\"50.\"", "/items/0/price"),
    ("a total that is not the sum", "/total", "\"99.00\"", "/total"),
    ("a total of nothing", "/total", "\"0.00\"", "/total"),
    ("a sum beyond all counting", "/items/0/price", "9999999999999999.99", "/total"),
    ("a currency in small letters", "/currency", "\"usd\"", "/currency"),
    ("a currency of no country", "/currency", "\"QQQ\"", "/currency"),
    ("no currency", "/currency", "\"\"", "/currency"),
    ("a currency as a sign", "/currency", "\"$\"", "/currency"),
    ("cents in a currency without", "/currency", "\"JPY\"", "/items/0/price /total"),
    ("an empty unit", "/items/0/sku", "\"\"", "/items/0/sku"),
    ("a unit of 65 letters", "/items/0/sku", "\"A{65}\"", "/items/0/sku"),
    ("a unit with a blank", "/items/0/sku", "\"A B\"", "/items/0/sku"),
    ("a unit that is a path", "/items/0/sku", "\"../../etc\"", "/items/0/sku"),
    ("a unit of two dots", "/items/0/sku", "\"..\"", "/items/0/sku"),
    ("a unit with NUL", "/items/0/sku", "\"A\\u0000B\"", "/items/0/sku"),
    ("a unit of other letters", "/items/0/sku", "\"\\u00c4\"", "/items/0/sku"),
    ("half a surrogate pair in a unit", "/items/0/sku", "\"\\ud800\"", "/items/0/sku"),
    ("an empty name", "/customer/name", "\"\"", "/customer/name"),
    ("a blank name", "/customer/name", "\"  \\u2003 \"", "/customer/name"),
    ("a name of 201 letters", "/customer/name", "\"n{201}\"", "/customer/name"),
    ("a name of 500,000 letters", "/customer/name", "\"n{500000}\"", "/customer/name"),
    ("a name with NUL", "/customer/name", "\"Bob\\u0000\"", "/customer/name"),
    ("a name with an escape", "/customer/name", "\"\\u001b[31mBob\"", "/customer/name"),
    ("a name of two lines", "/customer/name", "\"Bob\\nBcc: x\"", "/customer/name"),
    ("a name with a bare line feed", "/customer/name", "\"Bob\nB\"", "-"),
    ("a name with a bare NUL", "/customer/name", "\"Bob\u{0}\"", "-"),
    ("half a surrogate pair in a name", "/customer/name", "\"\\udfff\"", "/customer/name"),
    ("surrogates in the wrong order", "/customer/name", "\"\\udc00\\ud800\"", "/customer/name"),
    ("an escape that is none", "/customer/name", "\"\\x41\"", "-"),
    ("half an escape", "/customer/name", "\"\\u12\"", "-"),
    ("an address without a place", "/customer/email", "\"bob\"", "/customer/email"),
    ("an address without a name", "/customer/email", "\"@example.com\"", "/customer/email"),
    ("an address without a domain", "/customer/email", "\"bob@\"", "/customer/email"),
    ("two at signs", "/customer/email", "\"a@b@example.com\"", "/customer/email"),
    ("an address with a blank", "/customer/email", "\"b ob@example.com\"", "/customer/email"),
    ("an address of 255 letters", "/customer/email", "\"b{243}@example.com\"", "/customer/email"),
    ("an address with a header", "/customer/email", "\"a@b.c\\r\\nBcc: d@e.f\"", "/customer/email"),
    ("two dots in an address", "/customer/email", "\"a..b@example.com\"", "/customer/email"),
    ("a quoted address", "/customer/email", "\"\\\"a b\\\"@example.com\"", "/customer/email"),
    ("an address at a number", "/customer/email", "\"a@127.0.0.1\"", "/customer/email"),
    ("an address with NUL", "/customer/email", "\"a\\u0000@b.c\"", "/customer/email"),
    ("an empty telephone", "/customer/phone", "\"\"", "/customer/phone"),
    ("a telephone of 41 digits", "/customer/phone", "\"1{41}\"", "/customer/phone"),
    ("a telephone that rings", "/customer/phone", "\"\\u0007\"", "/customer/phone"),
    ("a street of 201 letters", "/shippingAddress/street", "\"s{201}\"", "/shippingAddress/street"),
    ("no street", "/shippingAddress/street", "\"\"", "/shippingAddress/street"),
    ("a city of 101 letters", "/shippingAddress/city", "\"c{101}\"", "/shippingAddress/city"),
    ("a state of two lines", "/shippingAddress/state", "\"a\\nb\"", "/shippingAddress/state"),
    ("a code of 21 digits", "/shippingAddress/zip", "\"1{21}\"", "/shippingAddress/zip"),
    ("a blank country", "/shippingAddress/country", "\" \"", "/shippingAddress/country"),
    ("no items", "/items", "[]", "/items"),
    ("an item that is null", "/items", "[null]", "/items/0"),
    ("a truth that is a number", "/newCustomer", "1", "/newCustomer"),
    ("a truth in quotes", "/newCustomer", "\"true\"", "/newCustomer"),
];

/// Stands for the value while the order is written as text.
const PLACE: &str = "@place@";

/// An order with this JSON text in the place of a field.
pub(crate) fn with(pointer: &str, text: &str) -> String {
    let mut order = order_of(2, false, "bob");
    set(&mut order, pointer, Value::from(PLACE));
    order.to_string().replace(&format!("\"{PLACE}\""), text)
}

fn set(order: &mut Value, pointer: &str, value: Value) {
    if let Some(field) = order.pointer_mut(pointer) {
        *field = value;
        return;
    }
    let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
    if let Some(parent) = order.pointer_mut(parent) {
        parent[name] = value;
    }
}

/// `x{3}` is `xxx`: what is long shows its length.
pub(crate) fn written_out(text: &str) -> String {
    let long = |(at, _): (usize, &str)| {
        let (count, tail) = text[at + 1..].split_once('}')?;
        let count: usize = count.parse().ok()?;
        let last = text[..at].chars().next_back()?;
        let head = &text[..at - last.len_utf8()];
        Some(head.to_owned() + &last.to_string().repeat(count) + tail)
    };
    text.match_indices('{').find_map(long).unwrap_or_else(|| text.to_owned())
}

fn bad(what: impl Into<String>, body: impl AsRef<[u8]>, pointer: &str) -> Row {
    match pointer {
        "-" => row(what, DOOR, 400).body(body),
        pointer => row(what, DOOR, 422).body(body).blames(pointer),
    }
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (field, right) in FIELDS {
        for (kind, text) in TYPES.iter().filter(|it| !right.contains(&it.0)) {
            rows.push(bad(format!("{field} of type {kind}"), with(field, text), field));
        }
    }
    for field in NEEDED {
        let mut order = order_of(2, false, "bob");
        let (parent, name) = field.rsplit_once('/').unwrap_or_default();
        let parent = order.pointer_mut(parent).and_then(Value::as_object_mut);
        parent.and_then(|it| it.remove(name)).expect("a field that is needed is there");
        rows.push(bad(format!("no {field}"), order.to_string(), field));
    }
    for parent in ["", "/items/0", "/customer", "/shippingAddress"] {
        for name in ["coupon", "__proto__", "orderId", "Total"] {
            let field = format!("{parent}/{name}");
            rows.push(bad(format!("{field}, which is unknown"), with(&field, "1"), &field));
        }
    }
    let value = |(what, field, text, pointer): &(&str, &str, &str, &str)| {
        bad(*what, with(field, &written_out(text)), pointer)
    };
    rows.extend(VALUES.iter().map(value));
    rows.extend(counted());
    rows
}

/// Too many of something, or something twice.
fn counted() -> Vec<Row> {
    let item = r#"{"sku":"WIDGET-001","quantity":1,"price":"0.50"}"#;
    let items = |count: usize| format!("[{}]", vec![item; count].join(","));
    let good = order_of(2, false, "bob").to_string();
    let twice = good.replacen('{', r#"{"total":"100.00","#, 1);
    let inner = with("/customer", r#"{"name":"a","email":"a@b.de","name":"b"}"#);
    let many = format!("{{{}}}", vec![r#""x":1"#; 20_000].join(","));
    vec![
        bad("one item too many", with("/items", &items(201)), "/items"),
        bad("ten thousand items", with("/items", &items(10_000)), "/items"),
        bad("a field twice", twice, "/total"),
        bad("a field of a field twice", inner, "/customer/name"),
        bad("one unknown field 20,000 times", many, "/x"),
    ]
}
