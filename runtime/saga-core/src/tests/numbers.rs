//! Numbers and texts keep what they say, whatever their length: in filters, keys and digests, live
//! and after a restart.

use super::fixtures::{DAY, Placed, shop};
use crate::{
    abort::Abort,
    codec::{IdentityRow, StartKeyRow, decode, encode},
    ctx::Ctx,
    effect::{Outcome, Reply, Verdict},
    exact::{Tree, Unreadable, Why},
    filter::Field,
    fold::Status,
    id::Time,
    input::{Arrival, Command},
    message::Event,
    payload::Payload,
    saga::{Declared, Saga, event, events},
    store::{Batch, Row, Scan, Store, Table},
    testing::{Desk, admin},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Money {
    amount: f64,
}
impl Event for Money {
    const SUBJECTS: &'static [&'static str] = &["bank.paid"];
    const KEY: &'static str = "/order";
}

/// Declares a saga that starts from a price, and holds for a payment that fits its filter.
macro_rules! priced {
    ($name:ident, $net:ident: $type:ty => $filter:expr) => {
        struct $name;
        impl Saga for $name {
            const NAME: &'static str = stringify!($name);
            type Input = $type;
            type Output = f64;
            type Settings = ();
            fn events() -> Vec<Declared> {
                events([event::<Money>()])
            }
            async fn run(ctx: Ctx, $net: $type) -> Result<f64, Abort> {
                Ok(ctx.when::<Money>("o1").filter($filter).forever().await?.amount)
            }
        }
    };
}

priced!(AtLeast, net: f64 => Field::at("/amount").at_least(&(net * 1.19)));
priced!(Exact, net: f64 => Field::at("/amount").eq(&(net * 1.19)));
priced!(Huge, iban: u128 => Field::at("/iban").eq(&iban));

fn outcomes(verdicts: Vec<Verdict>) -> Vec<Outcome> {
    verdicts.into_iter().map(|it| it.outcome).collect()
}

/// An event as its publisher wrote it, with its key in a header or in its body.
fn arrives(desk: &mut Desk, id: &str, name: &str, key: Option<&str>, body: &str) -> Vec<Verdict> {
    let (source, _) = name.split_once('.').unwrap();
    let arrival = Arrival {
        ticket: 0,
        name: name.to_owned(),
        id: id.to_owned(),
        source: source.to_owned(),
        key: key.map(str::to_owned),
        body: Payload::from_text(body).unwrap(),
        at: Time(1_000),
    };
    desk.arrive(arrival)
}

#[test]
fn a_filter_with_a_price_is_the_same_after_a_restart() {
    for net in [1.28, 0.1, 1e-7, 123_456_789.123_456_78, 5e300] {
        let mut desk = Desk::of::<AtLeast>(&());
        desk.start("AtLeast", "o1", json!(net));
        desk.restart();
        let paid = json!({ "order": "o1", "amount": net * 1.2 });
        assert_eq!(outcomes(desk.event("bank.paid", paid)), [Outcome::Consumed], "{net}");
        assert_eq!(desk.status(), Status::Completed, "{net}: {:?}", desk.head().reason);
    }
}

#[test]
fn a_filter_takes_the_same_events_before_and_after_a_restart() {
    for net in [1.28, 0.1, 3.3, 1e22, 123_456_789.123_456_78] {
        for is_restarted in [false, true] {
            let mut desk = Desk::of::<Exact>(&());
            desk.start("Exact", "o1", json!(net));
            if is_restarted {
                desk.restart();
            }
            let paid = json!({ "order": "o1", "amount": net * 1.19 });
            let paid = outcomes(desk.event("bank.paid", paid));
            assert_eq!(paid, [Outcome::Consumed], "{net} {is_restarted}");
        }
    }
}

#[test]
fn a_filter_compares_every_digit_of_a_number_longer_than_any_type() {
    let mut desk = Desk::of::<Huge>(&());
    let iban = 340_282_366_920_938_463_463_374_607_431_768_211_u128;
    let input = Payload::of(&iban).unwrap();
    let (definition, key) = ("Huge".to_owned(), Some("o1".to_owned()));
    desk.ask(admin(), Command::Start { definition, key, input }).unwrap();
    let body = |iban: u128| format!(r#"{{"order":"o1","amount":1,"iban":{iban}.0}}"#);
    let one = arrives(&mut desk, "e1", "bank.paid", None, &body(iban + 1));
    assert_eq!(outcomes(one), [Outcome::Kept]);
    desk.restart();
    let other = arrives(&mut desk, "e2", "bank.paid", None, &body(iban));
    assert_eq!(outcomes(other), [Outcome::Consumed]);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Numbered {}
impl Event for Numbered {
    const SUBJECTS: &'static [&'static str] = &["shop.numbered"];
    const KEY: &'static str = "/iccid";
}
struct ByNumber;
impl Saga for ByNumber {
    const NAME: &'static str = "ByNumber";
    type Input = Numbered;
    type Output = ();
    type Settings = ();
    fn events() -> Vec<Declared> {
        events([event::<Numbered>().starts().found_by("/found")])
    }
    async fn run(ctx: Ctx, _: Numbered) -> Result<(), Abort> {
        ctx.sleep(DAY).await
    }
}

/// The key of one order is not the key of another, and equal numbers are equal keys.
#[test]
fn a_number_is_a_key_by_its_value_with_all_of_its_digits() {
    let mut desk = Desk::of::<ByNumber>(&());
    let mut comes = |id: &str, iccid: &str| {
        let body = format!(r#"{{"iccid":{iccid}}}"#);
        let verdicts = arrives(&mut desk, id, "shop.numbered", None, &body);
        (verdicts[0].outcome, desk.head().key)
    };
    let started = |key: &str| (Outcome::Started, key.to_owned());
    let long = "89014103211118510720";
    assert_eq!(comes("e1", long), started(long));
    assert_eq!(comes("e2", "89014103211118510721"), started("89014103211118510721"));
    assert_eq!(comes("e3", "890141032111185107205"), started("890141032111185107205"));
    assert_eq!(comes("e4", "8901410321111851072e1").0, Outcome::DuplicateStart, "the first");
    assert_eq!(comes("e5", "5.0"), started("5"));
    assert_eq!(comes("e6", "-0.050"), started("-0.05"));
}

/// A payment with half of an emoji in a field that nobody reads is shown, with its place.
#[test]
fn a_body_that_no_tree_can_hold_is_a_dead_letter_with_its_place() {
    let mut desk = Desk::new(shop());
    desk.start("order", "o1", json!({ "order": "o1" }));
    desk.reply("stock.reserve", json!(null));
    desk.reply("mail.send", json!(null));
    desk.reply("pay.open", json!({ "session": "s1" }));
    let body = r#"{"order":"o1","session":"s1","note":"thank you \ud83d"}"#;
    let verdicts = arrives(&mut desk, "e1", "pay.completed", Some("o1"), body);
    let detail = verdicts[0].detail.clone().unwrap();
    assert_eq!(verdicts[0].outcome, Outcome::DeadLetter);
    let place = "the body cannot be read at /note (line 1 column 48): half of a character";
    assert!(detail.starts_with(place), "{detail}");
    // Mended and sent under another id, it is the payment.
    let mended = r#"{"order":"o1","session":"s1","note":"thank you \ud83d\ude00"}"#;
    let verdicts = arrives(&mut desk, "e2", "pay.completed", Some("o1"), mended);
    assert_eq!(outcomes(verdicts), [Outcome::Consumed]);
}

#[test]
fn two_bodies_that_no_tree_can_hold_are_two_bodies() {
    let mut desk = Desk::new(shop());
    let mut comes = |session: &str| {
        let body = format!(r#"{{"session":"{session}","note":"\ud83d"}}"#);
        outcomes(arrives(&mut desk, "e1", "pay.completed", Some("o1"), &body))
    };
    assert_eq!(comes("s1"), [Outcome::DeadLetter]);
    assert_eq!(comes("s1"), [Outcome::Duplicate]);
    assert_eq!(comes("s2"), [Outcome::Conflict]);
}

/// A start by hand is refused at once.
#[test]
fn an_input_that_no_tree_can_hold_starts_nothing() {
    let mut desk = Desk::new(shop());
    let input = Payload::from_text(r#"{"order":"o1","note":"\ud83d"}"#).unwrap();
    let (definition, key) = ("order".to_owned(), Some("o1".to_owned()));
    let refusal = desk.ask(admin(), Command::Start { definition, key, input }).unwrap_err();
    assert!(refusal.detail.contains("at /note"), "{}", refusal.detail);
}

/// Rows of builds that worked digests out otherwise: a repeat is still one.
#[test]
fn a_repeat_is_known_by_its_body_where_an_older_build_wrote_the_digest() {
    let mut desk = Desk::new(shop());
    let placed = json!({ "order": "o1", "weight": 5.0 });
    assert_eq!(outcomes(desk.event_again("e1", "shop.placed", placed.clone())), [Outcome::Started]);
    let saga = desk.saga();
    desk.change_store(|store| {
        let rows = |table| {
            let (prefix, limit) = (&[][..], usize::MAX);
            store.rows(&Scan { table, prefix, beyond: None, is_backward: false, limit }).unwrap()
        };
        let (key, value) = rows(Table::Identity).remove(0);
        let mut row: IdentityRow = decode(&value).unwrap();
        row.digest = "0".repeat(64);
        let identity = Row { table: Table::Identity, key, value: Some(encode(&row).unwrap()) };
        let (key, value) = rows(Table::StartKey).remove(0);
        let mut row: StartKeyRow = decode(&value).unwrap();
        row.digest = "0".repeat(64);
        let start = Row { table: Table::StartKey, key, value: Some(encode(&row).unwrap()) };
        store.append(Batch { records: Vec::new(), rows: vec![identity, start] }).unwrap();
    });
    let again = outcomes(desk.event_again("e1", "shop.placed", placed.clone()));
    assert_eq!(again, [Outcome::Duplicate]);
    let other = json!({ "order": "o1", "weight": 6.0 });
    assert_eq!(outcomes(desk.event_again("e1", "shop.placed", other)), [Outcome::Conflict]);
    let renamed = outcomes(desk.event_again("e2", "shop.placed", placed.clone()));
    assert_eq!(renamed, [Outcome::DuplicateStart]);
    let (definition, key) = ("order".to_owned(), Some("o1".to_owned()));
    let command = Command::Start { definition, key, input: Payload::of(&placed).unwrap() };
    assert_eq!(desk.ask(admin(), command), Ok(Reply::Same(saga)));
    let placed = Placed { order: "o1".to_owned(), risky: true };
    let (definition, key) = ("order".to_owned(), Some("o1".to_owned()));
    let command = Command::Start { definition, key, input: Payload::of(&placed).unwrap() };
    desk.ask(admin(), command).unwrap_err();
}

#[test]
fn numbers_compare_by_value_and_have_one_form() {
    let number = |text: &'static str| match Tree::read(text) {
        Ok(Tree::Number(it)) => it,
        other => panic!("{text}: {other:?}"),
    };
    let ascending = [
        "-1e400",
        "-20",
        "-10.5",
        "-1e-400",
        "0",
        "1e-400",
        "0.05",
        "0.1",
        "1",
        "1.0000000000000001",
        "9.99",
        "10",
        "99",
        "100",
        "9007199254740992",
        "9007199254740993",
        "1e22",
        "1e400",
    ];
    for (at, one) in ascending.iter().enumerate() {
        for (other_at, other) in ascending.iter().enumerate() {
            assert_eq!(number(one).cmp(&number(other)), at.cmp(&other_at), "{one} {other}");
        }
    }
    let same = [
        ["0", "-0", "0.00", "0e9", "-0.0e-7"],
        ["5", "5.0", "50e-1", "0.5E+1", "5.00e0"],
        ["-1200", "-1.2e3", "-1200.0", "-12e2", "-0.0012e6"],
        ["0.05", "5e-2", "0.050", "0.5e-1", "50.0e-3"],
    ];
    for forms in same {
        for form in forms {
            assert_eq!(number(form), number(forms[0]));
            assert_eq!(number(form).to_string(), number(forms[0]).to_string());
            assert_eq!(number(form).plain(), number(forms[0]).plain());
        }
    }
    let plain = |text| number(text).plain();
    assert_eq!(
        ["-0", "1e3", "-1.50", "1e-3", "12.5e1"].map(plain),
        ["0", "1000", "-1.5", "0.001", "125"]
    );
    assert_eq!(plain("1e999999999"), "1e999999999", "nobody writes this out");
    assert_eq!(plain("1e-999999999"), "1e-999999999");
}

#[test]
fn a_text_that_is_no_tree_is_refused_at_its_place() {
    let deep = "[".repeat(128) + &"]".repeat(128);
    let table = [
        ("", Why::NoJson, "", 1, 1),
        ("{", Why::NoJson, "", 1, 2),
        ("[1 2]", Why::NoJson, "", 1, 4),
        ("{\"a\":[1,\n 01]}", Why::NoJson, "/a", 2, 3),
        ("{\"a\":1,}", Why::NoJson, "", 1, 8),
        ("[1.]", Why::NoJson, "/0", 1, 4),
        ("[-]", Why::NoJson, "/0", 1, 3),
        ("nul", Why::NoJson, "", 1, 1),
        ("\"a\tb\"", Why::NoJson, "", 1, 3),
        ("\"\\x\"", Why::NoJson, "", 1, 4),
        ("\"\\u12g4\"", Why::NoJson, "", 1, 4),
        ("1 1", Why::NoJson, "", 1, 3),
        ("{\"a/b\":{\"~\":\"x\\ud83d\"}}", Why::HalfCharacter, "/a~1b/~0", 1, 15),
        ("[\"\\ude00\"]", Why::HalfCharacter, "/0", 1, 3),
        ("[\"\\ud83d\\ud83d\"]", Why::HalfCharacter, "/0", 1, 3),
        ("{\"a\":1,\"b\":2,\"a\":3}", Why::TwiceNamed, "/a", 1, 14),
        ("[1e99999999999999999999]", Why::NoNumber, "/0", 1, 2),
    ];
    for (text, why, pointer, line, column) in table {
        let pointer = pointer.to_owned();
        assert_eq!(Tree::read(text), Err(Unreadable { pointer, line, column, why }), "{text}");
    }
    assert_eq!(Tree::read(&deep).unwrap_err().why, Why::TooDeep);
    assert!(Tree::read(&deep[1..255]).is_ok(), "one level less");
}

#[test]
fn one_thing_said_in_two_ways_has_one_form() {
    let form = |text: &str| Tree::read(text).unwrap().canonical();
    assert_eq!(
        form(" { \"b\" : [ 1.0 , \"\\u0041\\/\\ud83d\\ude00\\n\" ], \"a\" : {\"\":null} } "),
        "{\"a\":{\"\":null},\"b\":[1,\"A/😀\\u000a\"]}"
    );
    for text in ["[]", "{}", "[[],{}]", "true", "false", "null", "-1.5", "\"\\\"\\\\\""] {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let again: serde_json::Value = serde_json::from_str(&form(text)).unwrap();
        assert_eq!(value, again, "{text}");
    }
}
