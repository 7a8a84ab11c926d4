//! The table is complete, and its types read what they must and hide what they must.

use proto_schemas::{
    Amount, Body, Currency, Kind, MESSAGES, OrderId, Refusal,
    delivery::{
        CancelShipment, CreateShipment, DeliveryStatus, DeliveryUpdated, GetStatus, ShipmentStatus,
    },
    inventory::{CheckAvailability, Release, Reserve, Ship},
    notifications::{NotificationKind, SendNotification},
    orders::{
        CalculateRisk, CreateOrder, OpenTicket, Order, OrderApproved, OrderCreated, OrderStatus,
        UpdateStatus,
    },
    payments::{
        CreateSession, Payment, PaymentDisputed, PaymentRefunded, ProcessPayment, RefundPayment,
        VoidSession,
    },
    read,
};
use saga_core::message::{Event, Request};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt::Debug};

const CREATED: &str = "orders.trigger.created";

fn created() -> Value {
    json!({
        "orderId": "o-1",
        "status": "pending",
        "history": [],
        "items": [{ "sku": "WIDGET-001", "quantity": 2, "price": 50, "color": "red" }],
        "total": "100",
        "customer": { "name": "Ada Lovelace", "email": "ada@example.com", "phone": "+1 555" },
        "shippingAddress":
            { "street": "1 Main St", "city": "Springfield", "zip": "12345", "country": "US" },
    })
}

fn order() -> OrderCreated {
    OrderCreated::decode(CREATED, &created().to_string()).expect("unknown fields are ignored")
}

fn paid() -> Value {
    json!({
        "orderId": "o-1", "sessionId": "cs_1", "paymentId": "pi_1",
        "amount": "100.00", "currency": "USD", "livemode": false,
    })
}

#[test]
fn the_table_has_each_subject_once() {
    let subjects: Vec<_> = MESSAGES.iter().map(|message| message.subject).collect();
    assert_eq!(subjects.iter().collect::<BTreeSet<_>>().len(), subjects.len());
    for message in MESSAGES {
        let is_trigger = message.subject.contains(".trigger.");
        assert_eq!(
            is_trigger,
            !matches!(message.kind, Kind::Request { .. }),
            "{}",
            message.subject
        );
    }
    assert_eq!(MESSAGES.len(), 17 + 7);
}

#[test]
fn each_event_has_its_key_and_its_subjects() {
    let of = |subjects: &[&str]| subjects.iter().copied().map(str::to_owned).collect::<Vec<_>>();
    let events = [
        of(OrderCreated::SUBJECTS),
        of(OrderApproved::SUBJECTS),
        of(Payment::SUBJECTS),
        of(PaymentRefunded::SUBJECTS),
        of(PaymentDisputed::SUBJECTS),
        of(DeliveryUpdated::SUBJECTS),
    ];
    let table = MESSAGES.iter().filter(|it| !matches!(it.kind, Kind::Request { .. }));
    let table: BTreeSet<_> = table.map(|it| it.subject.to_owned()).collect();
    assert_eq!(events.concat().into_iter().collect::<BTreeSet<_>>(), table);
    let keys = [
        (OrderCreated::KEY, OrderCreated::DECISION),
        (OrderApproved::KEY, OrderApproved::DECISION),
        (Payment::KEY, Payment::DECISION),
        (PaymentRefunded::KEY, PaymentRefunded::DECISION),
        (PaymentDisputed::KEY, PaymentDisputed::DECISION),
        (DeliveryUpdated::KEY, DeliveryUpdated::DECISION),
    ];
    // A refund and a dispute are found by themselves: an order may have several.
    let places = ["/orderId", "/orderId", "/orderId", "/refundId", "/disputeId", "/orderId"];
    assert_eq!(keys.map(|(key, _)| key), places);
    assert_eq!(keys.map(|(_, decision)| decision), [false, true, false, false, false, false]);
}

/// What a saga builds from an order passes the door, and is the same when it is read again, also
/// with a field that a later build has removed.
#[track_caller]
fn check<R: Request + Body + Debug>(request: &R) {
    let text = serde_json::to_string(request).expect("a body");
    assert_eq!(read::<R>(text.as_bytes()).as_ref(), Ok(request));
    let mut more: Value = serde_json::from_str(&text).expect("JSON");
    more["removedField"] = json!({ "deep": [1] });
    assert!(matches!(read::<R>(more.to_string().as_bytes()), Err(Refusal::Faults(faults))
        if faults[0].pointer == "/removedField"));
    assert_eq!(
        &serde_json::from_value::<R>(more).expect("recorded requests stay readable"),
        request
    );
}

#[test]
fn what_a_saga_builds_passes_the_door() {
    let order = order();
    check(&CalculateRisk::of(&order));
    check(&UpdateStatus::of(&order, OrderStatus::AwaitingPayment));
    check(&OpenTicket::of(&order, "delivery failed"));
    check(&CreateSession::of(&order));
    check(&ProcessPayment::of(&order));
    check(&VoidSession::of(&order));
    check(&CheckAvailability::of(&order));
    check(&Reserve::of(&order));
    check(&Release::of(&order));
    check(&Ship::of(&order));
    check(&CreateShipment::of(&order));
    check(&CancelShipment::of(&order));
    check(&GetStatus::of(&order));
    check(&SendNotification::of(&order, NotificationKind::OrderConfirmed));
    let payment = Payment::decode(Payment::COMPLETED, &paid().to_string()).expect("a payment");
    check(&RefundPayment::of(payment.details()));
}

#[test]
fn one_payment_type_has_two_subjects() {
    let body = paid().to_string();
    let is = |subject: &str| Payment::decode(subject, &body);
    assert!(
        matches!(is(Payment::COMPLETED), Ok(Payment::Completed(it)) if it.session_id == "cs_1")
    );
    assert!(matches!(is(Payment::FAILED), Ok(Payment::Failed(_))));
    assert!(is("payments.trigger.other").is_err());
}

#[test]
fn events_that_strangers_publish_are_checked_with_reasons() {
    let mut body = created();
    body["items"] = json!([{ "sku": "WIDGET-001", "quantity": -2, "price": "50.001" }]);
    body["orderId"] = json!("o.>");
    let refused = OrderCreated::decode(CREATED, &body.to_string()).expect_err("a bad order");
    assert_eq!(
        refused.to_string(),
        "/items/0/quantity must be at least 1; \
         /orderId must be 1 to 64 of A-Z, a-z, 0-9, _ and -"
    );
    let mut body = created();
    body["total"] = json!("100.01");
    let refused = OrderCreated::decode(CREATED, &body.to_string()).expect_err("a bad sum");
    assert_eq!(refused.to_string(), "/total must be the sum of the items, 100.00");
    let body = json!({ "orderId": "o-1", "status": "teleported" }).to_string();
    let refused = DeliveryUpdated::decode("delivery.trigger.status-updated", &body);
    assert!(
        refused.expect_err("unknown").to_string().starts_with("/status must be one of picked_up")
    );
}

#[test]
fn debug_shows_nothing_personal() {
    let shown = format!("{:?}", order())
        + &format!("{:?}", CreateShipment::of(&order()))
        + &format!("{:?}", SendNotification::of(&order(), NotificationKind::OrderCancelled));
    for secret in ["Ada", "example.com", "555", "Main", "Springfield", "12345"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("o-1") && shown.contains("[personal]"));
}

#[test]
fn a_refusal_repeats_nothing_that_was_sent() {
    let mut body = created();
    body["customer"] = json!({ "name": "Ada\u{1}", "email": "ada-without-at", "phone": 5551234 });
    body["currency"] = json!("ADA");
    let refused = OrderCreated::decode(CREATED, &body.to_string()).expect_err("a bad order");
    for sent in ["Ada", "ada", "5551234", "ADA"] {
        assert!(!refused.to_string().contains(sent), "{sent} in {refused}");
    }
}

#[test]
fn order_ids_are_tokens() {
    for good in ["o-1", "018f3c5e-7b1a-7000-8000-0123456789ab", "A_b", &"x".repeat(64)] {
        assert_eq!(good.parse::<OrderId>().map(String::from).as_deref(), Ok(good));
    }
    for bad in ["", "a.b", "a b", "a*", ">", "a/b", "ä", "a\n", "..", &"x".repeat(65)] {
        assert!(bad.parse::<OrderId>().is_err(), "{bad}");
        assert!(serde_json::from_value::<OrderId>(json!(bad)).is_err(), "{bad}");
    }
}

#[test]
fn a_placed_order_has_the_decimals_of_its_currency() {
    let mut body = created();
    body["items"][0].as_object_mut().expect("an item").remove("color");
    let fields = body.as_object_mut().expect("an object");
    for field in ["orderId", "status", "history"] {
        fields.remove(field);
    }
    let request = read::<CreateOrder>(body.to_string().as_bytes()).expect("a good order");
    let id = "o-1".parse().expect("an id");
    let order = request.placed(id, chrono::DateTime::UNIX_EPOCH).expect("it was checked");
    let shown = serde_json::to_value(&order).expect("JSON");
    assert_eq!(shown["total"], "100.00");
    assert_eq!(shown["items"][0]["price"], "50.00");
    assert_eq!(shown["currency"], "USD");
    assert_eq!(shown["newCustomer"], false);
    assert_eq!(shown["refunds"], json!([]));
    assert_eq!(shown["history"], json!([{ "status": "pending", "at": "1970-01-01T00:00:00Z" }]));
    assert_eq!(
        OrderCreated::from(&order),
        OrderCreated::decode(CREATED, &shown.to_string()).unwrap()
    );
    again::<Order>(&shown);
}

#[track_caller]
fn again<T: DeserializeOwned + Serialize>(shown: &Value) {
    let read: T = serde_json::from_value(shown.clone()).expect("what was written is read");
    assert_eq!(&serde_json::to_value(read).expect("JSON"), shown);
}

#[test]
fn statuses_have_their_names_on_the_wire() {
    use OrderStatus::{
        AwaitingApproval, AwaitingPayment, Cancelled, Completed, DeliveryFailed, Paid, Pending,
        Shipped,
    };
    let all = [
        Pending,
        AwaitingApproval,
        AwaitingPayment,
        Paid,
        Shipped,
        DeliveryFailed,
        Completed,
        Cancelled,
    ];
    assert_eq!(
        serde_json::to_value(all).expect("JSON"),
        json!([
            "pending",
            "awaiting_approval",
            "awaiting_payment",
            "paid",
            "shipped",
            "delivery_failed",
            "completed",
            "cancelled"
        ])
    );
    let courier =
        ["picked_up", "in_transit", "out_for_delivery", "delivered", "failed", "returned"];
    for name in courier {
        let status: DeliveryStatus = serde_json::from_value(json!(name)).expect("a status");
        let shown = serde_json::to_value(ShipmentStatus::from(status)).expect("JSON");
        assert_eq!(shown, json!(name));
    }
    for kind in [
        NotificationKind::OrderConfirmed,
        NotificationKind::OrderCompleted,
        NotificationKind::OrderCancelled,
    ] {
        assert_eq!(serde_json::to_value(kind).expect("JSON"), json!(kind.name()));
    }
    assert_eq!(
        Amount::parse("1").and_then(|it| it.in_currency(Currency::JPY)).map(|it| it.to_string()),
        Ok("1".to_owned())
    );
}

/// The door reads schemas by itself, so a type may not use what it does not know.
#[test]
fn schemas_say_only_what_the_door_understands() {
    for message in MESSAGES {
        understood(&(message.schema)(), message.name);
    }
}

fn understood(schema: &Value, place: &str) {
    const KEYWORDS: [&str; 20] = [
        "$schema",
        "$ref",
        "title",
        "description",
        "default",
        "type",
        "required",
        "additionalProperties",
        "const",
        "enum",
        "format",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "x-personal",
        "items",
    ];
    const FORMATS: [&str; 8] =
        ["amount", "iso-4217", "order-id", "line", "sku", "email", "uint8", "uint32"];
    let fields = schema.as_object().unwrap_or_else(|| panic!("{place}: {schema} is no object"));
    for (keyword, value) in fields {
        let place = format!("{place}/{keyword}");
        match keyword.as_str() {
            "properties" | "$defs" => {
                let named = value.as_object().expect("schemas by name");
                named.iter().for_each(|(name, it)| understood(it, &format!("{place}/{name}")));
            }
            "anyOf" | "oneOf" => {
                value.as_array().expect("schemas").iter().for_each(|it| understood(it, &place));
            }
            "items" => understood(value, &place),
            "format" => assert!(FORMATS.iter().any(|it| value == it), "{place}: {value}"),
            "pattern" => assert!(fields.contains_key("format"), "{place} has no format"),
            other => assert!(KEYWORDS.contains(&other), "{place} is not understood"),
        }
    }
}
