//! The webhook's door, with signatures made by Python's own `hmac`.

use super::{SECRET, settings, store};
use crate::{
    PROCESS, app,
    hooks::{self, Courier, Verdict},
    parcels::{self, Parcel},
    signature::TIMESTAMP_HEADER,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chassis::config::Secret;
use chassis::db::Db;
use chrono::Utc;
use proto_schemas::delivery::ShipmentStatus;
use serde_json::{Value, json};
use service_kit::{
    Tx,
    conformance::door::{Door, events, python},
    webhooks::{self, Provider as _},
};

async fn open() -> Door {
    Door::open(PROCESS, app(settings(None))).await
}

async fn post(door: &Door, signature: &str, timestamp: &str, body: &str) -> (u16, Value) {
    let headers = [("X-Signature", signature), ("X-Timestamp", timestamp)];
    let answer = door.post("/webhooks/courier", &headers, body).await;
    (answer.status, answer.body)
}

async fn verdicts(door: &Door, query: &str) -> Value {
    let (status, page) = door.get(&format!("/api/webhooks{query}")).await;
    assert_eq!(status, 200, "{page}");
    page
}

/// The signature that a courier's Python makes for this body.
fn signed(body: &str, secret: &str, timestamp: &str) -> String {
    const PROGRAM: &str = "import hashlib, hmac, sys\n\
        body = sys.argv[2].encode() + b'.' + sys.stdin.buffer.read()\n\
        digest = hmac.new(sys.argv[1].encode(), body, hashlib.sha256).hexdigest()\n\
        sys.stdout.write('sha256=' + digest)";
    python(PROGRAM, &[secret, timestamp], body)
}

#[tokio::test]
async fn a_webhook_signed_by_the_courier_becomes_an_event_once() {
    let door = open().await;
    let time = Utc::now().timestamp().to_string();
    let body = "{ \"orderId\": \"o-1\", \"status\": \"picked_up\",\n \"hub\": \"Zürich\" }";
    let signature = signed(body, SECRET, &time);
    for _ in 0..3 {
        let (status, answer) = post(&door, &signature, &time, body).await;
        assert_eq!((status, &answer["verdict"]), (200, &json!("published")), "{answer}");
    }
    let page = verdicts(&door, "?orderId=o-1").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!(page["items"][0]["status"], "picked_up");
    let events = door.close().await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["subject"], "delivery.trigger.status-updated");
    assert_eq!(events[0]["key"], "o-1");
    let body = json!({ "orderId": "o-1", "status": "picked_up" });
    assert_eq!(events[0]["body"], body);
}

#[tokio::test]
async fn a_webhook_that_is_not_genuine_or_not_timely_is_refused_and_leaves_nothing() {
    let door = open().await;
    let now_s = Utc::now().timestamp();
    let (time, old, early) =
        (now_s.to_string(), (now_s - 400).to_string(), (now_s + 400).to_string());
    let body = "{\"orderId\":\"o-1\",\"status\":\"delivered\"}";
    let good = signed(body, SECRET, &time);
    let foreign = signed(body, "another", &time);
    let (late, ahead) = (signed(body, SECRET, &old), signed(body, SECRET, &early));
    for (signature, time, body) in [
        (foreign.as_str(), &time, body),
        (&late, &old, body),
        (&ahead, &early, body),
        (&good, &old, body),
        (&good, &time, "{\"orderId\":\"o-1\",\"status\":\"returned\"}"),
        ("", &time, body),
        (good.trim_start_matches("sha256="), &time, body),
    ] {
        let (status, problem) = post(&door, signature, time, body).await;
        assert_eq!((status, &problem["status"]), (400, &json!(400)), "{signature}: {problem}");
    }
    assert_eq!(verdicts(&door, "").await, json!({ "items": [], "next": null }));
    assert_eq!(door.close().await, [] as [Value; 0]);
}

/// Takes webhooks one after the other, each a second later; gives verdicts and published statuses.
#[track_caller]
fn play(bodies: &[&str]) -> (Vec<Verdict>, Vec<String>) {
    play_with(None, bodies)
}

/// The same when the order has this parcel.
#[track_caller]
fn play_with(parcel: Option<Parcel>, bodies: &[&str]) -> (Vec<Verdict>, Vec<String>) {
    let (db, _dir) = store();
    let mut tx = Tx::over(&db);
    if let Some(parcel) = parcel {
        hooks::handed_over(&mut tx, parcel, Utc::now()).unwrap();
    }
    let verdicts = take(&mut tx, bodies);
    db.commit(tx.into_batch(), 1).unwrap();
    (verdicts, statuses(&db))
}

#[track_caller]
fn take(tx: &mut Tx, bodies: &[&str]) -> Vec<Verdict> {
    let take = |(time_s, body): (usize, &&str)| {
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static(TIMESTAMP_HEADER),
            HeaderValue::from_str(&time_s.to_string()).unwrap(),
        )]);
        let came = Courier::read(&headers, body.as_bytes());
        webhooks::take::<Courier>(tx, came, Utc::now()).expect("a genuine webhook is taken").verdict
    };
    bodies.iter().enumerate().map(take).collect()
}

/// What was published.
fn statuses(db: &Db) -> Vec<String> {
    let status = |event: Value| event["body"]["status"].as_str().unwrap().to_owned();
    events(db).into_iter().map(status).collect()
}

#[test]
fn each_kind_of_webhook_has_its_verdict() {
    use Verdict::*;
    for (body, verdict) in [
        ("{\"orderId\":\"o-1\",\"status\":\"in_transit\",\"new\":[1]}", Published),
        ("{\"orderId\":\"o-1\",\"status\":\"lost_in_space\"}", UnknownStatus),
        ("{\"orderId\":\"o-1\",\"status\":5}", UnknownStatus),
        ("{\"orderId\":\"o-1\"}", UnknownStatus),
        ("{\"status\":\"delivered\"}", NoOrder),
        ("{\"orderId\":\"a b\",\"status\":\"delivered\"}", NoOrder),
        ("{\"orderId\":7,\"status\":\"delivered\"}", NoOrder),
        ("[]", Unreadable),
        ("", Unreadable),
    ] {
        assert_eq!(play(&[body]).0, [verdict], "{body}");
    }
}

fn parcel(courier_id: Option<&str>) -> Parcel {
    Parcel {
        shipment_id: "S-1".to_owned(),
        order_id: "o-1".parse().unwrap(),
        tracking_number: "TRK-0001".to_owned(),
        status: ShipmentStatus::Created,
        courier_id: courier_id.map(str::to_owned),
        created_at: Utc::now(),
        stopped: false,
    }
}

#[test]
fn what_is_said_of_another_parcel_is_not_said_of_the_orders() {
    use Verdict::*;
    let said = [
        "{\"orderId\":\"o-1\",\"status\":\"delivered\",\"trackingNumber\":\"SOMEBODY-ELSES\"}",
        "{\"orderId\":\"o-1\",\"status\":\"returned\",\"trackingNumber\":\"OLD-LABEL\"}",
        "{\"orderId\":\"o-1\",\"status\":\"picked_up\"}",
        "{\"orderId\":\"o-1\",\"status\":\"in_transit\",\"trackingNumber\":\"trk 0001\"}",
        "{\"orderId\":\"o-1\",\"status\":\"delivered\",\"trackingNumber\":\"TRK-0001\"}",
    ];
    let (verdicts, told) = play_with(Some(parcel(Some("shp_1"))), &said);
    assert_eq!(verdicts, [OtherParcel, OtherParcel, Published, Published, Published]);
    assert_eq!(told, ["picked_up", "in_transit", "delivered"]);
    // No courier has given us the number: what it calls the parcel cannot be known.
    assert_eq!(play_with(Some(parcel(None)), &said[..1]).0, [Published]);
}

/// The courier is faster than what it answers, and it speaks of parcels of others too.
#[test]
fn what_is_said_before_there_is_a_parcel_turns_out_with_it() {
    use Verdict::*;
    let said = [
        "{\"orderId\":\"o-1\",\"status\":\"delivered\",\"trackingNumber\":\"SOMEBODY-ELSES\"}",
        "{\"orderId\":\"o-1\",\"status\":\"in_transit\",\"trackingNumber\":\"trk 0001\"}",
        "{\"orderId\":\"o-1\",\"status\":\"picked_up\",\"trackingNumber\":\"TRK-0001\"}",
        "{\"orderId\":\"o-1\",\"status\":\"out_for_delivery\"}",
        "{\"orderId\":\"o-1\",\"status\":\"failed\",\"trackingNumber\":\"TRK-0001\"}",
    ];
    let (db, _dir) = store();
    let mut tx = Tx::over(&db);
    assert_eq!(take(&mut tx, &said), [Kept, Kept, Kept, Published, Kept]);
    db.commit(tx.into_batch(), 1).unwrap();
    assert_eq!(statuses(&db), ["out_for_delivery"], "what names no parcel is of the order's");
    let mut tx = Tx::over(&db);
    assert_eq!(take(&mut tx, &said[..1]), [Kept], "a repeat is known");
    hooks::handed_over(&mut tx, parcel(Some("shp_1")), Utc::now()).unwrap();
    let known = [OtherParcel, Outdated, Outdated, Published, Published];
    assert_eq!(take(&mut tx, &said), known, "by now it is known what became of each");
    let of_order = parcels::of_order(&tx, &"o-1".parse().unwrap()).unwrap().unwrap();
    assert_eq!(of_order.status, ShipmentStatus::Failed);
    db.commit(tx.into_batch(), 2).unwrap();
    assert_eq!(statuses(&db), ["out_for_delivery", "failed"]);
}

/// Nobody knows what a courier calls a parcel whose number we have made up ourselves.
#[test]
fn what_is_said_before_a_parcel_without_a_couriers_number_is_said_of_it() {
    let (db, _dir) = store();
    let mut tx = Tx::over(&db);
    let said = "{\"orderId\":\"o-1\",\"status\":\"delivered\",\"trackingNumber\":\"C-9\"}";
    assert_eq!(take(&mut tx, &[said]), [Verdict::Kept]);
    hooks::handed_over(&mut tx, parcel(None), Utc::now()).unwrap();
    db.commit(tx.into_batch(), 1).unwrap();
    assert_eq!(statuses(&db), ["delivered"]);
}

/// An older release told everything at once, and kept how far the parcel is.
#[test]
fn what_an_older_release_was_told_before_there_was_a_parcel_is_read() {
    let (db, _dir) = store();
    let mut tx = Tx::over(&db);
    tx.put_json("said/o-1", &"in_transit").unwrap();
    let said = ["in_transit", "out_for_delivery"].map(|status| {
        let number = "TRK-0001";
        json!({ "orderId": "o-1", "status": status, "trackingNumber": number }).to_string()
    });
    assert_eq!(take(&mut tx, &[&said[0], &said[1]]), [Verdict::Kept; 2]);
    hooks::handed_over(&mut tx, parcel(Some("shp_1")), Utc::now()).unwrap();
    assert_eq!(take(&mut tx, &[&said[0], &said[1]]), [Verdict::Outdated, Verdict::Published]);
    db.commit(tx.into_batch(), 1).unwrap();
    assert_eq!(statuses(&db), ["out_for_delivery"]);
}

/// The parcel of an order that was sent in the time that is lost never comes.
#[test]
fn a_store_that_may_have_forgotten_a_parcel_tells_what_is_said_of_it() {
    let said = "{\"orderId\":\"o-1\",\"status\":\"delivered\",\"trackingNumber\":\"TRK-0001\"}";
    let (db, _dir) = store();
    db.begin_epoch(1).unwrap();
    assert_eq!(take(&mut Tx::over(&db), &[said]), [Verdict::Published], "put back from a copy");
    let stopped = Parcel { status: ShipmentStatus::Cancelled, ..parcel(Some("shp_0")) };
    let mut tx = Tx::over(&db);
    parcels::put(&mut tx, &Parcel { tracking_number: "TRK-0000".to_owned(), ..stopped }).unwrap();
    assert_eq!(take(&mut tx, &[said]), [Verdict::Published], "and one before it was stopped");
    let (db, dir) = store();
    std::fs::write(dir.path().join("take-over"), "an operator's word").unwrap();
    assert_eq!(take(&mut Tx::over(&db), &[said]), [Verdict::Published], "in another's place");
}

/// So many words before there is a parcel, each of a number of its own.
fn of_numbers(count: usize) -> Vec<String> {
    let body = |at| {
        let number = format!("N-{at}");
        json!({ "orderId": "o-1", "status": "failed", "trackingNumber": number }).to_string()
    };
    (0..count).map(body).collect()
}

/// So many words of one number.
fn of_number(number: &str, count: usize) -> Vec<String> {
    let body = |at| {
        let status = ["failed", "in_transit"][at % 2];
        json!({ "orderId": "o-1", "status": status, "trackingNumber": number }).to_string()
    };
    (0..count).map(body).collect()
}

fn texts(bodies: &[String]) -> Vec<&str> {
    bodies.iter().map(String::as_str).collect()
}

/// A courier whose webhooks are refused stops to send any.
#[test]
fn a_flood_of_words_before_there_is_a_parcel_is_taken_and_kept_whole_up_to_a_limit() {
    for (bodies, kept) in [(of_numbers(200), 100), (of_number("N-1", 200), 25)] {
        let (db, _dir) = store();
        let mut tx = Tx::over(&db);
        let taken = take(&mut tx, &texts(&bodies));
        assert!(taken[..kept].iter().all(|it| *it == Verdict::Kept), "{taken:?}");
        assert!(taken[kept..].iter().all(|it| *it == Verdict::TooMuch), "{taken:?}");
        db.commit(tx.into_batch(), 1).unwrap();
        assert_eq!(statuses(&db), [""; 0]);
        let said = db.get(b"said/o-1").unwrap().unwrap();
        assert!(said.len() < 30_000, "{} bytes are read and written with each", said.len());
    }
}

#[tokio::test]
async fn a_genuine_webhook_that_says_more_than_is_kept_is_answered_200() {
    let (time_s, secret) = (Utc::now().timestamp(), Secret::new(SECRET.to_owned()));
    let door = open().await;
    let mut last = Value::Null;
    for body in of_numbers(101) {
        let (signature, time) = crate::signature::signed(&secret, body.as_bytes(), time_s);
        let (status, answer) = post(&door, &signature, &time, &body).await;
        assert_eq!(status, 200, "{answer}");
        last = answer;
    }
    assert_eq!(last["verdict"], "too_much");
    assert_eq!(door.close().await, [] as [Value; 0]);
}

/// However the number is written.
#[test]
fn a_flood_of_words_of_one_other_parcel_leaves_room_for_the_orders_own() {
    let (db, _dir) = store();
    let mut tx = Tx::over(&db);
    let flood = [of_number("TRK-0002", 60), of_number("trk 0002", 60)].concat();
    take(&mut tx, &texts(&flood));
    let own = "{\"orderId\":\"o-1\",\"status\":\"delivered\",\"trackingNumber\":\"TRK-0001\"}";
    assert_eq!(take(&mut tx, &[own]), [Verdict::Kept]);
    hooks::handed_over(&mut tx, parcel(Some("shp_1")), Utc::now()).unwrap();
    db.commit(tx.into_batch(), 1).unwrap();
    assert_eq!(statuses(&db), ["delivered"]);
}

/// An older release kept as much of one number.
#[test]
fn a_parcel_is_handed_over_however_much_was_kept_of_its_number() {
    let (db, _dir) = store();
    let mut tx = Tx::over(&db);
    let word = |at| json!({ "hook": format!("h-{at}"), "status": "failed", "trackingNumber": "N" });
    let kept: Vec<Value> = (0..100).map(word).collect();
    tx.put_json("said/o-1", &json!({ "told": "cancelled", "kept": kept })).unwrap();
    hooks::handed_over(&mut tx, parcel(Some("shp_1")), Utc::now()).unwrap();
    assert!(parcels::of_order(&tx, &"o-1".parse().unwrap()).unwrap().is_some());
}

#[test]
fn out_of_order_only_news_is_told() {
    use Verdict::*;
    let (verdicts, told) = play(&[
        "{\"orderId\":\"o-1\",\"status\":\"in_transit\"}",
        "{\"orderId\":\"o-1\",\"status\":\"picked_up\"}",
        "{\"orderId\":\"o-1\",\"status\":\"in_transit\"}",
        "{\"orderId\":\"o-1\",\"status\":\"failed\"}",
        "{\"orderId\":\"o-1\",\"status\":\"out_for_delivery\"}",
        "{\"orderId\":\"o-1\",\"status\":\"delivered\"}",
        "{\"orderId\":\"o-1\",\"status\":\"out_for_delivery\"}",
        "{\"orderId\":\"o-2\",\"status\":\"delivered\"}",
    ]);
    let wanted =
        [Published, Outdated, Outdated, Published, Published, Published, Outdated, Published];
    assert_eq!(verdicts, wanted);
    assert_eq!(told, ["in_transit", "failed", "out_for_delivery", "delivered", "delivered"]);
}

/// An order whose first parcel was stopped has room for another: what its courier says of that one
/// before it is written down turns out with it, as with the first.
#[test]
fn what_is_said_before_a_second_parcel_is_there_turns_out_with_it() {
    let (db, _dir) = store();
    let mut tx = Tx::over(&db);
    let stopped = Parcel { status: ShipmentStatus::Cancelled, ..parcel(Some("shp_1")) };
    parcels::put(&mut tx, &stopped).unwrap();
    let said = |status: &str, number: &str| {
        json!({ "orderId": "o-1", "status": status, "trackingNumber": number }).to_string()
    };
    let bodies = [
        said("delivered", "TRK-0002"),
        said("in_transit", "TRK-0001"),
        said("returned", "TRK-0003"),
    ];
    let early = take(&mut tx, &texts(&bodies));
    assert_eq!(early, [Verdict::Kept, Verdict::Outdated, Verdict::Kept]);
    let second = Parcel {
        shipment_id: "S-2".to_owned(),
        tracking_number: "TRK-0002".to_owned(),
        ..parcel(Some("shp_2"))
    };
    hooks::handed_over(&mut tx, second, Utc::now()).unwrap();
    let verdicts = take(&mut tx, &texts(&bodies));
    assert_eq!(verdicts, [Verdict::Published, Verdict::Outdated, Verdict::OtherParcel]);
    let of_order = parcels::of_order(&tx, &"o-1".parse().unwrap()).unwrap().unwrap();
    assert_eq!(of_order.status, ShipmentStatus::Delivered);
    db.commit(tx.into_batch(), 1).unwrap();
    assert_eq!(statuses(&db), ["delivered"]);
}

/// What stopped one does of its own is told: it was not stopped after all.
#[test]
fn a_stopped_parcel_that_arrives_all_the_same_is_told() {
    let stopped = Parcel { status: ShipmentStatus::Cancelled, ..parcel(Some("shp_1")) };
    let (db, _dir) = store();
    let mut tx = Tx::over(&db);
    parcels::put(&mut tx, &stopped).unwrap();
    let said = "{\"orderId\":\"o-1\",\"status\":\"delivered\",\"trackingNumber\":\"trk 0001\"}";
    assert_eq!(take(&mut tx, &[said]), [Verdict::Published]);
}

/// A flood about other parcels does not drown the word of the order's own: how far each is is kept,
/// and turns out with the parcel.
#[test]
fn a_flood_of_words_of_other_parcels_does_not_lose_the_word_of_the_orders_own() {
    use Verdict::*;
    let own = |status: &str| {
        json!({ "orderId": "o-1", "status": status, "trackingNumber": "TRK-0001" }).to_string()
    };
    let (before, after) = (of_numbers(100), of_numbers(250));
    let own = ["in_transit", "failed", "out_for_delivery", "picked_up"].map(own);
    let bodies = [&before[..], &own, &after[100..]].concat();
    let (db, _dir) = store();
    let mut tx = Tx::over(&db);
    let early = take(&mut tx, &texts(&bodies));
    assert!(early[100..].iter().all(|it| *it == TooMuch), "{early:?}");
    hooks::handed_over(&mut tx, parcel(Some("shp_1")), Utc::now()).unwrap();
    let known = take(&mut tx, &texts(&bodies));
    assert_eq!(
        (known[0], &known[100..104]),
        (OtherParcel, &[TooMuch, TooMuch, Published, TooMuch][..])
    );
    let of_order = parcels::of_order(&tx, &"o-1".parse().unwrap()).unwrap().unwrap();
    assert_eq!(of_order.status, ShipmentStatus::OutForDelivery);
    db.commit(tx.into_batch(), 1).unwrap();
    assert_eq!(statuses(&db), ["out_for_delivery"]);
}

/// The newest words are what counts, also where one number had its room.
#[test]
fn a_flood_of_words_of_the_orders_own_parcel_ends_where_the_last_one_leaves_it() {
    let own = "{\"orderId\":\"o-1\",\"status\":\"delivered\",\"trackingNumber\":\"trk0001\"}";
    let flood = of_number("TRK-0001", 60);
    for courier_id in [Some("shp_1"), None] {
        let (db, _dir) = store();
        let mut tx = Tx::over(&db);
        take(&mut tx, &texts(&flood));
        assert_eq!(take(&mut tx, &[own]), [Verdict::TooMuch]);
        hooks::handed_over(&mut tx, parcel(courier_id), Utc::now()).unwrap();
        assert_eq!(take(&mut tx, &[own]), [Verdict::Published]);
        let of_order = parcels::of_order(&tx, &"o-1".parse().unwrap()).unwrap().unwrap();
        assert_eq!(of_order.status, ShipmentStatus::Delivered);
    }
}

/// It may be of the next, and an order whose parcel was stopped has room for that one.
#[test]
fn a_word_without_a_number_after_a_parcel_was_stopped_is_not_said_of_that_one() {
    for courier_id in [Some("shp_1"), None] {
        let (db, _dir) = store();
        let mut tx = Tx::over(&db);
        let stopped = Parcel { status: ShipmentStatus::Cancelled, ..parcel(courier_id) };
        parcels::put(&mut tx, &stopped).unwrap();
        let said = "{\"orderId\":\"o-1\",\"status\":\"delivered\"}";
        assert_eq!(take(&mut tx, &[said]), [Verdict::Published], "whichever it is of, it is told");
        let of_order = |tx: &Tx| parcels::of_order(tx, &"o-1".parse().unwrap()).unwrap().unwrap();
        assert_eq!(of_order(&tx).status, ShipmentStatus::Cancelled);
        let second = Parcel { shipment_id: "S-2".to_owned(), ..parcel(courier_id) };
        hooks::handed_over(&mut tx, second, Utc::now()).unwrap();
        assert_eq!(of_order(&tx).status, ShipmentStatus::Delivered);
        db.commit(tx.into_batch(), 1).unwrap();
        assert_eq!(statuses(&db), ["delivered"], "once");
    }
}

fn of_order(tx: &Tx) -> Parcel {
    parcels::of_order(tx, &"o-1".parse().unwrap()).unwrap().expect("the order has a parcel")
}

fn stop(tx: &mut Tx) {
    let stopped = Parcel { status: ShipmentStatus::Cancelled, stopped: true, ..of_order(tx) };
    parcels::put(tx, &stopped).unwrap();
}

/// The second parcel of the order, and its number.
fn second(courier_id: Option<&str>, number: &str) -> Parcel {
    let (shipment_id, tracking_number) = ("S-2".to_owned(), number.to_owned());
    Parcel { shipment_id, tracking_number, ..parcel(courier_id) }
}

fn word(status: &str, number: &str) -> String {
    json!({ "orderId": "o-1", "status": status, "trackingNumber": number }).to_string()
}

/// With the first it turned out: it was of that one or of somebody else's.
#[test]
fn what_was_said_before_a_first_parcel_is_not_said_of_the_second_however_much_it_was() {
    let (of_courier, made_up) = (Some("shp_1"), None);
    for (words, first, next) in [
        (20, of_courier, second(None, "FER-2")),
        (60, of_courier, second(None, "FER-2")),
        (60, of_courier, second(Some("shp_2"), "N-1")),
        (60, made_up, second(None, "FER-2")),
        (60, made_up, second(Some("shp_2"), "N-1")),
    ] {
        let (db, _dir) = store();
        let mut tx = Tx::over(&db);
        let flood = [of_number("N-1", words), vec![word("out_for_delivery", "N-1")]].concat();
        take(&mut tx, &texts(&flood));
        hooks::handed_over(&mut tx, parcel(first), Utc::now()).unwrap();
        stop(&mut tx);
        db.commit(tx.into_batch(), 1).unwrap();
        let before = statuses(&db);
        let mut tx = Tx::over(&db);
        let case = format!("{words} words, {first:?}, {next:?}");
        hooks::handed_over(&mut tx, next, Utc::now()).unwrap();
        assert_eq!(of_order(&tx).status, ShipmentStatus::Created, "{case}");
        db.commit(tx.into_batch(), 2).unwrap();
        assert_eq!(statuses(&db), before, "{case}");
    }
}

#[test]
fn what_is_said_after_a_parcel_was_stopped_turns_out_with_the_next_however_much_it_is() {
    let cases = [(Some("shp_2"), false), (None, false), (Some("shp_2"), true), (None, true)];
    for (courier_id, first_arrives) in cases {
        let (db, _dir) = store();
        let mut tx = Tx::over(&db);
        let flood = |last| [of_number("TRK-0002", 60), vec![word(last, "TRK-0002")]].concat();
        take(&mut tx, &texts(&flood("returned")));
        hooks::handed_over(&mut tx, parcel(Some("shp_1")), Utc::now()).unwrap();
        stop(&mut tx);
        // They are not the webhooks that came before: each comes at its own second.
        let later = [vec![word("failed", "TRK-0001"); 100], flood("delivered")].concat();
        assert_eq!(take(&mut tx, &texts(&later)).last(), Some(&Verdict::TooMuch));
        if first_arrives {
            // The courier is being asked for the second meanwhile.
            let said = ["returned", "in_transit"].map(|status| word(status, "TRK-0001"));
            assert_eq!(take(&mut tx, &texts(&said)), [Verdict::Published, Verdict::Outdated]);
        }
        hooks::handed_over(&mut tx, second(courier_id, "TRK-0002"), Utc::now()).unwrap();
        let case = format!("{courier_id:?}, {first_arrives}");
        assert_eq!(of_order(&tx).status, ShipmentStatus::Delivered, "{case}");
    }
}

/// However many there are, no commit has more than a piece of them to take away.
#[test]
fn rows_of_words_that_a_parcel_has_outdated_go_in_pieces_and_count_for_no_other() {
    let rows = |tx: &Tx| tx.scan(b"said-last/o-1/", None, usize::MAX).unwrap().len();
    let (db, _dir) = store();
    let mut tx = Tx::over(&db);
    take(&mut tx, &texts(&of_numbers(1_300)));
    assert_eq!(rows(&tx), 1_201, "one for each number, one for all");
    tx.put("said-last/o-10/all", b"of another order");
    hooks::handed_over(&mut tx, parcel(Some("shp_1")), Utc::now()).unwrap();
    assert_eq!(rows(&tx), 701);
    stop(&mut tx);
    hooks::handed_over(&mut tx, second(None, "FER-2"), Utc::now()).unwrap();
    assert_eq!((of_order(&tx).status, rows(&tx)), (ShipmentStatus::Created, 201));
    take(&mut tx, &[&word("in_transit", "N-1")]);
    assert_eq!(rows(&tx), 0, "whatever its courier says next");
    assert!(tx.get(b"said-last/o-10/all").unwrap().is_some());
}

/// The courier is being asked for the second; the first arrives though it was stopped.
#[test]
fn what_is_said_of_a_next_parcel_counts_though_the_stopped_one_moves_on() {
    let mut wrong = Vec::new();
    for first_moves in [false, true] {
        let (db, _dir) = store();
        let mut tx = Tx::over(&db);
        hooks::handed_over(&mut tx, parcel(Some("shp_1")), Utc::now()).unwrap();
        stop(&mut tx);
        if first_moves {
            take(&mut tx, &[&word("returned", "TRK-0001")]);
        }
        let verdicts = take(&mut tx, &[&word("delivered", "TRK-0002")]);
        hooks::handed_over(&mut tx, second(Some("shp_2"), "TRK-0002"), Utc::now()).unwrap();
        let status = of_order(&tx).status;
        if status != ShipmentStatus::Delivered {
            wrong.push(format!("first moves {first_moves}: {verdicts:?}, {status:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
