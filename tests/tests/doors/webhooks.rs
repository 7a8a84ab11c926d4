//! Webhooks: forged ones, which are refused and leave nothing, and genuine ones with odd contents,
//! which are taken, have a verdict, and change nothing else.

use super::table::{Row, row};
use chrono::Utc;
use serde_json::{Value, json};
use std::process::Command;
use system_tests::{
    Failure,
    stack::{Stack, python},
};

const STRIPE: &str = "payment POST /webhooks/stripe";
const COURIER: &str = "delivery POST /webhooks/courier";

/// Of two headers a proxy in front may look at the other one, also where both are equal today.
const TWICE: &str = "twice";

/// Stripe's event of a type that means nothing here.
const EVENT: &str = r#"{"id":"evt_1","object":"event","type":"customer.created"}"#;
const PARCEL: &str = r#"{"orderId":"ORD-none","status":"delivered"}"#;

/// Signs all texts of standard input at once: those for Stripe with its own package.
const SIGN: &str = r"import hashlib, hmac, json, sys, stripe
def sign(scheme, secret, body, at):
    if scheme == 'stripe':
        return stripe.WebhookSignature.generate_signature_header(body, secret, timestamp=at)
    signed = hmac.new(secret.encode(), f'{at}.{body}'.encode(), hashlib.sha256)
    return 'sha256=' + signed.hexdigest()
print(json.dumps([sign(*one) for one in json.load(sys.stdin)]))";

/// Whom a webhook comes from.
#[derive(Clone, Copy)]
enum From {
    Stripe,
    Courier,
}

/// A body that somebody signs.
struct ToSign {
    from: From,
    secret: String,
    body: String,
    at_s: i64,
}

/// A genuine webhook, and the verdict that it must get.
pub(crate) struct Odd {
    pub(crate) what: &'static str,
    /// Complete, with its signature; its status is 200.
    pub(crate) row: Row,
    pub(crate) verdict: &'static str,
}

/// What is odd, the body, and the verdict; of Stripe.
const ODD_EVENTS: &[(&str, &str, &str)] = &[
    ("nothing", "", "unreadable"),
    ("no JSON", "hello", "unreadable"),
    ("half an object", "{\"id\":", "unreadable"),
    ("a list", "[]", "unreadable"),
    ("null", "null", "unreadable"),
    ("an id that is a number", r#"{"id":5,"type":"x"}"#, "unreadable"),
    ("no type", r#"{"id":"evt_no_type"}"#, "unreadable"),
    ("100,000 brackets", "[{100000}", "unreadable"),
    ("an unknown type", r#"{"id":"evt_odd_1","type":"some.thing"}"#, "ignored"),
    ("an id that is a path", r#"{"id":"../../hook/1","type":"some.thing"}"#, "ignored"),
    ("an id of 10,000 letters", r#"{"type":"some.thing","id":"e{10000}"}"#, "ignored"),
    ("an id with NUL", r#"{"id":"evt\u0000","type":"some.thing"}"#, "ignored"),
    ("no object", r#"{"id":"evt_odd_2","type":"checkout.session.expired"}"#, "no_order"),
    (
        "an object that is a list",
        r#"{"id":"evt_odd_3","type":"checkout.session.expired","data":{"object":[]}}"#,
        "no_order",
    ),
    (
        "an order that is a path",
        r#"{"id":"evt_odd_4","type":"checkout.session.expired",
            "data":{"object":{"id":"cs_odd","client_reference_id":"../x"}}}"#,
        "no_order",
    ),
    (
        "an order but no session",
        r#"{"id":"evt_odd_5","type":"checkout.session.expired",
            "data":{"object":{"client_reference_id":"ORD-none"}}}"#,
        "no_order",
    ),
];

/// As [`ODD_EVENTS`], of the courier.
const ODD_PARCELS: &[(&str, &str, &str)] = &[
    ("nothing", "", "unreadable"),
    ("no JSON", "hello", "unreadable"),
    ("a list", "[]", "unreadable"),
    ("100,000 brackets", "[{100000}", "unreadable"),
    ("no order", r#"{"status":"delivered"}"#, "no_order"),
    ("an order that is a number", r#"{"orderId":5,"status":"delivered"}"#, "no_order"),
    ("an order that is a path", r#"{"orderId":"../x","status":"delivered"}"#, "no_order"),
    ("no status", r#"{"orderId":"ORD-none"}"#, "unknown_status"),
    ("an unknown status", r#"{"orderId":"ORD-none","status":"lost"}"#, "unknown_status"),
    ("a status that is a list", r#"{"orderId":"ORD-none","status":[]}"#, "unknown_status"),
    ("a status with NUL", r#"{"orderId":"ORD-none","status":"\u0000"}"#, "unknown_status"),
    ("10,000 letters", r#"{"orderId":"ORD-none","status":"s{10000}"}"#, "unknown_status"),
];

fn sign(of: &[ToSign]) -> Result<Vec<String>, Failure> {
    let scheme = |from| match from {
        From::Stripe => "stripe",
        From::Courier => "courier",
    };
    let all: Vec<Value> =
        of.iter().map(|it| json!([scheme(it.from), it.secret, it.body, it.at_s])).collect();
    let file = tempfile(&Value::from(all).to_string())?;
    let made = Command::new(python()?).args(["-c", SIGN]).stdin(file).output();
    let made = made.map_err(|err| format!("failed to run python: {err}"))?;
    serde_json::from_slice(&made.stdout).map_err(|err| {
        format!("nothing was signed: {err} {}", String::from_utf8_lossy(&made.stderr))
    })
}

fn tempfile(text: &str) -> Result<std::fs::File, Failure> {
    use std::io::{Seek as _, Write as _};
    let write = || -> std::io::Result<std::fs::File> {
        let mut file = tempfile::tempfile()?;
        file.write_all(text.as_bytes())?;
        file.rewind()?;
        Ok(file)
    };
    write().map_err(|err| format!("no temporary file: {err}"))
}

fn secret(stack: &Stack, from: From) -> String {
    let name = match from {
        From::Stripe => "STRIPE_WEBHOOK_SECRET",
        From::Courier => "COURIER_WEBHOOK_SECRET",
    };
    stack.env()[name].clone()
}

/// Forged ones: all are 400.
pub(crate) fn forged(stack: &Stack) -> Result<Vec<Row>, Failure> {
    let now = Utc::now().timestamp();
    let to_sign = |from, secret: String, body: &str, at_s| ToSign {
        from,
        secret,
        body: body.to_owned(),
        at_s,
    };
    let (s, c) = (secret(stack, From::Stripe), secret(stack, From::Courier));
    // It comes nearer until it is sent; the exact border is tested where time is an argument.
    let (old, future) = (now - 310, now + 900);
    let signed = sign(&[
        to_sign(From::Stripe, s.clone(), EVENT, now),
        to_sign(From::Stripe, s.clone(), EVENT, old),
        to_sign(From::Stripe, s.clone(), EVENT, future),
        to_sign(From::Stripe, "whsec_of_somebody_else".to_owned(), EVENT, now),
        to_sign(From::Stripe, String::new(), EVENT, now),
        to_sign(From::Courier, c.clone(), PARCEL, now),
        to_sign(From::Courier, c.clone(), PARCEL, old),
        to_sign(From::Courier, c, PARCEL, future),
        to_sign(From::Courier, "somebody else".to_owned(), PARCEL, now),
        to_sign(From::Courier, s, PARCEL, now),
    ])?;
    let mut rows = stripe(now, &signed[..5]);
    rows.extend(courier(now, [old, future], &signed[5..]));
    Ok(rows)
}

fn stripe(now: i64, signed: &[String]) -> Vec<Row> {
    let [good, old, future, other, empty] = signed else { return Vec::new() };
    let (time, v1) = good.split_once(',').unwrap_or_default();
    let at = |what: &str| row(what, STRIPE, 400).body(EVENT);
    let with = |what: &str, header: &str| at(what).with("Stripe-Signature", header);
    let hex = "0".repeat(64);
    let zeros = format!("{time},v1={hex}");
    let malformed = [
        ("an empty signature", String::new()),
        ("a signature that is none", "nonsense".to_owned()),
        ("a time alone", time.to_owned()),
        ("a signature without its time", v1.to_owned()),
        ("two times", format!("{time},{good}")),
        ("two times that differ", format!("t={},{good}", now - 1)),
        ("a negative time", format!("t=-5,{v1}")),
        ("a time with a fraction", format!("{time}.5,{v1}")),
        ("a time beyond 64 bits", format!("t=99999999999999999999,{v1}")),
        ("a signature of 63 digits", format!("{time},v1={}", &hex[1..])),
        ("a signature that is not hexadecimal", format!("{time},v1={}", "g".repeat(64))),
        ("another scheme alone", format!("{time},v0={hex}")),
        ("a thousand signatures", format!("{time}{}", format!(",v1={hex}").repeat(800))),
        ("a time of a thousand digits", format!("t={},{v1}", "1".repeat(1_000))),
        ("letters of no language", "\u{fffd}\u{fffd}".to_owned()),
    ];
    let mut rows: Vec<Row> =
        malformed.iter().map(|(what, header)| with(what, header).says("malformed")).collect();
    rows.extend([
        at("no signature").says("malformed"),
        with("a signature of zeros", &zeros).says("fits the body"),
        with("a signature of somebody else", other).says("fits the body"),
        with("a signature with no secret", empty).says("fits the body"),
        with("a signature of long ago", old).says("timestamp"),
        with("a signature of the future", future).says("timestamp"),
        with("a time that was not signed", &format!("t={},{v1}", now - 1)).says("fits the body"),
        with("another body", good).body(EVENT.replace("evt_1", "evt_2")).says("fits the body"),
        with("one blank more", good).body(format!("{EVENT} ")).says("fits the body"),
        with("no body", good).body("").says("fits the body"),
        with("a signature of zeros beside a good one", good)
            .with("Stripe-Signature", &zeros)
            .says(TWICE),
        with("a good signature beside one of zeros", &zeros)
            .with("Stripe-Signature", good)
            .says(TWICE),
        with("a good signature twice", good).with("stripe-signature", good).says(TWICE),
        row("a body over the limit", STRIPE, 413)
            .with("Stripe-Signature", good)
            .body("x".repeat(2 << 20)),
    ]);
    rows
}

fn courier(now: i64, [old, future]: [i64; 2], signed: &[String]) -> Vec<Row> {
    let [good, of_old, of_future, other, of_stripe] = signed else { return Vec::new() };
    let at = |what: &str| row(what, COURIER, 400).body(PARCEL);
    let with = |what: &str, time: &str, signature: &str| {
        at(what).with("X-Timestamp", time).with("X-Signature", signature)
    };
    let time = now.to_string();
    let hex = good.trim_start_matches("sha256=");
    let zeros = format!("sha256={}", "0".repeat(64));
    let malformed = [
        ("an empty time", "", good.as_str()),
        ("a time in words", "now", good),
        ("a negative time", "-5", good),
        ("a time with a sign", "+5", good),
        ("a time with a fraction", "1795147738.5", good),
        ("a time beyond 64 bits", "99999999999999999999", good),
        ("an empty signature", &time, ""),
        ("a signature without its scheme", &time, hex),
        ("another scheme", &time, &format!("sha1={hex}")),
        ("half a signature", &time, &good[..40]),
        ("a signature that is not hexadecimal", &time, &format!("sha256={}", "g".repeat(64))),
    ]
    .map(|(what, time, signature)| with(what, time, signature).says("malformed"));
    let mut rows = malformed.to_vec();
    rows.extend([
        at("no signature").says("malformed"),
        at("no time").with("X-Signature", good).says("malformed"),
        at("a time alone").with("X-Timestamp", &time).says("malformed"),
        with("a signature of zeros", &time, &zeros).says("fit"),
        with("a signature of somebody else", &time, other).says("fit"),
        with("a signature with Stripe's secret", &time, of_stripe).says("fit"),
        with("a signature of long ago", &old.to_string(), of_old).says("timestamp"),
        with("a signature of the future", &future.to_string(), of_future).says("timestamp"),
        with("a time that was not signed", &(now - 1).to_string(), good).says("fit"),
        with("another body", &time, good).body(PARCEL.replace("none", "some")).says("fit"),
        with("no body", &time, good).body("").says("fit"),
        with("zeros beside a good signature", &time, good).with("X-Signature", &zeros).says(TWICE),
        with("a good signature beside zeros", &time, &zeros).with("X-Signature", good).says(TWICE),
        with("a good signature twice", &time, good).with("x-signature", good).says(TWICE),
        with("another time beside a good one", &time, good).with("X-Timestamp", old).says(TWICE),
        with("a good time beside another", &old.to_string(), good)
            .with("X-Timestamp", &time)
            .says(TWICE),
        with("a good time twice", &time, good).with("x-timestamp", &time).says(TWICE),
        with("a body over the limit", &time, good).body("x".repeat(2 << 20)).is(413),
    ]);
    rows
}

/// Genuine ones: all are 200.
pub(crate) fn odd(stack: &Stack) -> Result<Vec<Odd>, Failure> {
    let at_s = Utc::now().timestamp();
    let events = ODD_EVENTS.iter().map(|it| (From::Stripe, it));
    let odd: Vec<_> = events.chain(ODD_PARCELS.iter().map(|it| (From::Courier, it))).collect();
    let to_sign = |(from, (_, body, _)): &(From, &(&str, &str, &str))| {
        let body = super::orders::written_out(body);
        ToSign { from: *from, secret: secret(stack, *from), body, at_s }
    };
    let to_sign: Vec<ToSign> = odd.iter().map(to_sign).collect();
    let signed = sign(&to_sign)?;
    let all = odd.into_iter().zip(to_sign).zip(signed);
    Ok(all
        .map(|(((from, (what, _, verdict)), signed), signature)| {
            let row = match from {
                From::Stripe => row(*what, STRIPE, 200).with("Stripe-Signature", signature),
                From::Courier => row(*what, COURIER, 200)
                    .with("X-Timestamp", at_s)
                    .with("X-Signature", signature),
            };
            Odd { what, row: row.body(signed.body), verdict }
        })
        .collect())
}
