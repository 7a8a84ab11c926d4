use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, Serialize, Validate, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Order {
    #[validate(length(min = 1, message = "must not be empty"), nested)]
    items: Vec<Item>,
    #[serde(default)]
    new_customer: bool,
}

#[derive(Debug, Deserialize, Serialize, Validate, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Item {
    #[validate(range(min = 1, message = "must be at least 1"))]
    unit_quantity: i64,
}

#[track_caller]
fn check(body: &str, status: u16, pointer: &str) {
    let problem = parse_json::<Order>(body.as_bytes()).expect_err(body);
    assert_eq!(problem.status().as_u16(), status, "{body}: {problem:?}");
    let pointers: Vec<_> = problem.errors().iter().map(|it| it.pointer.as_str()).collect();
    let wanted: Vec<_> = if pointer == "-" { vec![] } else { vec![pointer] };
    assert_eq!(pointers, wanted, "{body}: {problem:?}");
}

#[test]
fn what_is_not_json_is_400() {
    for body in ["", "{", "nonsense", "{\"items\":[]} x", "{\"items\":}", "\u{feff}{}"] {
        check(body, 400, "-");
    }
    let bad_utf8 = parse_json::<Order>(b"{\"items\":\"\xff\"}").expect_err("not UTF-8");
    assert_eq!(bad_utf8.status().as_u16(), 400);
    check(&"[".repeat(100_000), 400, "-");
    check("{\"newCustomer\":5, \"items\":[", 400, "-");
}

#[test]
fn a_wrong_field_is_422_with_its_pointer() {
    check("{\"items\":[{\"unitQuantity\":\"two\"}]}", 422, "/items/0/unitQuantity");
    check("{\"items\":[{\"unitQuantity\":1},{}]}", 422, "/items/1/unitQuantity");
    check("{\"items\":[{\"unitQuantity\":1}],\"coupon\":1}", 422, "/coupon");
    check("{\"newCustomer\":1,\"items\":[]}", 422, "/newCustomer");
    check("{\"items\":[],\"items\":[]}", 422, "/items");
    check("[]", 422, "");
    check("5", 422, "");
}

#[test]
fn a_value_that_is_not_allowed_is_422_with_its_pointer_as_on_the_wire() {
    check("{\"items\":[]}", 422, "/items");
    check("{\"items\":[{\"unitQuantity\":1},{\"unitQuantity\":-1}]}", 422, "/items/1/unitQuantity");
}

#[test]
fn names_on_the_wire_are_camel_case_and_pointers_are_escaped() {
    assert_eq!(camel_case("shipping_address"), "shippingAddress");
    let mut pointer = String::new();
    push_segment(&mut pointer, "a/b~c");
    assert_eq!(pointer, "/a~1b~0c");
}
