//! Rule 3: who gets an event; rule 7: who gets one that comes late; rule 34: what a full lane does.
//!
//! A row of the table is a script of `steps → verdicts | who has what`. Steps: `A1 500` starts a
//! saga of definition A that holds for order 1, an amount of at least 500; `paid 1 700` is an
//! event. Each verdict reads `definition outcome saga`, sagas in the order of their starts.

use crate::{
    abort::Abort,
    codec::IdentityRow,
    core::{KEY_BYTES_MAX, Limits, PAYLOAD_BYTES_MAX},
    ctx::Ctx,
    effect::{Outcome, Verdict},
    filter::Field,
    id::{SagaId, Time},
    input::{Arrival, Unreadable},
    message::Event,
    payload::Payload,
    saga::{Declared, Late, LateInput, Registry, RegistryError, Saga, event, events},
    testing::Desk,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Money {
    order: String,
    amount: u64,
}
impl Event for Money {
    const SUBJECTS: &'static [&'static str] = &["bank.paid"];
    const KEY: &'static str = "/order";
}
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Begun {
    order: String,
}
impl Event for Begun {
    const SUBJECTS: &'static [&'static str] = &["bank.begun"];
    const KEY: &'static str = "/order";
}
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Closed {}
impl Event for Closed {
    const SUBJECTS: &'static [&'static str] = &["bank.closed"];
    const KEY: &'static str = "/order";
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Wants {
    order: String,
    least: u64,
    #[serde(default)]
    times: u32,
}

/// Holds for payments of at least an amount, some number of times.
async fn hold(ctx: Ctx, it: Wants) -> Result<Vec<u64>, Abort> {
    let mut amounts = Vec::new();
    for _ in 0..it.times.max(1) {
        let paid = ctx.when::<Money>(&it.order).filter(Field::at("/amount").at_least(&it.least));
        amounts.push(paid.forever().await?.amount);
    }
    Ok(amounts)
}

/// Declares a definition over payments.
macro_rules! holds {
    ($name:ident, $input:ty, $events:expr, $run:expr) => {
        struct $name;
        impl Saga for $name {
            const NAME: &'static str = stringify!($name);
            type Input = $input;
            type Output = Vec<u64>;
            type Settings = ();
            fn events() -> Vec<Declared> {
                events($events)
            }
            async fn run(ctx: Ctx, input: $input) -> Result<Vec<u64>, Abort> {
                $run(ctx, input).await
            }
        }
    };
}
holds!(A, Wants, [event::<Money>()], hold);
holds!(B, Wants, [event::<Money>().late(Late::Ignore)], hold);
holds!(C, Wants, [event::<Money>().late(Late::Run("Arm"))], hold);
holds!(Each, Wants, [event::<Money>().each()], hold);
// Started by an event, and holds for one.
holds!(Begins, Begun, [event::<Begun>().starts(), event::<Money>()], |ctx, it: Begun| {
    hold(ctx, Wants { order: it.order, least: 0, times: 1 })
});
// Started by the event for which it also holds.
holds!(Both, Money, [event::<Money>().starts()], |ctx: Ctx, it: Money| async move {
    let again = ctx.when::<Money>(&it.order).forever().await?;
    Ok(vec![it.amount, again.amount])
});
holds!(Arm, LateInput, [event::<Closed>()], |_, it: LateInput| async move {
    let money: Money = it.event.body.decode().map_err(Abort::failed)?;
    Ok(vec![money.amount])
});

/// Plays one script, and gives its lines with what came of them.
struct Table {
    desk: Desk,
    sagas: Vec<SagaId>,
    events: u64,
}

impl Table {
    fn of(definitions: &str) -> Table {
        Table::with(definitions, Limits::default())
    }

    fn with(definitions: &str, limits: Limits) -> Table {
        let desk = Desk::with_limits(registry(definitions), limits);
        Table { desk, sagas: Vec::new(), events: 0 }
    }

    fn play(&mut self, script: &str) -> String {
        script.split(';').map(|step| self.step(step.trim())).collect::<Vec<_>>().join("; ")
    }

    /// `paid ORDER AMOUNT`, `again N ORDER AMOUNT` (with the id of event N), `begun ORDER`, or
    /// `DEFINITION ORDER LEAST [TIMES]`.
    fn step(&mut self, step: &str) -> String {
        let words: Vec<&str> = step.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "paid" => {
                self.events += 1;
                self.paid(self.events, words[1], number(2))
            }
            "again" => self.paid(number(1), words[2], number(3)),
            "begun" => {
                let verdicts = self.desk.event("bank.begun", json!({ "order": words[1] }));
                self.find_sagas();
                self.show(&verdicts)
            }
            definition => {
                let times = words.get(3).map_or(1, |it| it.parse().unwrap());
                let wants = Wants { order: words[1].to_owned(), least: number(2), times };
                let input = serde_json::to_value(wants).unwrap();
                let key = format!("start{}", self.sagas.len());
                self.desk.start(definition, &key, input);
                self.find_sagas();
                String::new()
            }
        }
    }

    fn paid(&mut self, id: u64, order: &str, amount: u64) -> String {
        let body = json!({ "order": order, "amount": amount });
        let verdicts = self.desk.event_again(&format!("p{id}"), "bank.paid", body);
        self.find_sagas();
        self.show(&verdicts)
    }

    fn find_sagas(&mut self) {
        let query = crate::core::HeadQuery { limit: 99, ..Default::default() };
        let mut heads = self.desk.core().heads(&query).unwrap();
        heads.sort_by_key(|it| it.position);
        for head in heads {
            if !self.sagas.contains(&head.id) {
                self.sagas.push(head.id);
            }
        }
    }

    fn show(&self, verdicts: &[Verdict]) -> String {
        let name = |saga: SagaId| {
            self.sagas.iter().position(|it| *it == saga).map_or("?".to_owned(), |it| it.to_string())
        };
        let shown = verdicts.iter().map(|it| {
            let definition = it.definition.as_deref().unwrap_or("all");
            let saga = it.saga.map_or(String::new(), |it| format!(" {}", name(it)));
            format!("{definition} {:?}{saga}", it.outcome)
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// The verdicts of each payment, as they stand now.
    fn standing(&self) -> String {
        let seen = self.desk.events().into_iter().filter(|it| it.event.name == "bank.paid");
        let lines = seen.map(|it| {
            let verdicts = it.identity.map(|it| it.verdicts).unwrap_or_default();
            format!("{} {}", it.event.id, self.show(&verdicts))
        });
        lines.collect::<Vec<_>>().join("; ")
    }
}

fn registry(definitions: &str) -> Registry {
    let mut registry = Registry::new("test");
    for name in definitions.split(' ').filter(|it| !it.is_empty()) {
        match name {
            "A" => registry.register::<A>(&()),
            "B" => registry.register::<B>(&()),
            "C" => registry.register::<C>(&()).and_then(|()| registry.register::<Arm>(&())),
            "Each" => registry.register::<Each>(&()),
            "Begins" => registry.register::<Begins>(&()),
            "Both" => registry.register::<Both>(&()),
            other => panic!("no definition {other}"),
        }
        .unwrap();
    }
    registry
}

#[test]
fn the_table_of_routes_is_this_one() {
    let table = [
        // What is asked, definitions, script → verdict on each step | verdicts in the end.
        ("nobody holds: it is kept", "A", "paid 1 5", "A Kept", "p1 A Kept"),
        ("it came first", "A", "paid 1 5; A 1 0", "A Kept; ", "p1 A Consumed 0"),
        ("the hold came first", "A", "A 1 0; paid 1 5", "; A Consumed 0", "p1 A Consumed 0"),
        ("another key", "A", "A 1 0; paid 2 5", "; A Kept", "p1 A Kept"),
        (
            "a failing filter leaves it for any later hold",
            "A",
            "A 1 9; paid 1 5; A 1 0",
            "; A Kept; ",
            "p1 A Consumed 1",
        ),
        (
            "the oldest hold whose filter lets it through",
            "A",
            "A 1 9; A 1 0; A 1 0; paid 1 5; paid 1 9; paid 1 5",
            "; ; ; A Consumed 1; A Consumed 0; A Consumed 2",
            "p1 A Consumed 1; p2 A Consumed 0; p3 A Consumed 2",
        ),
        (
            "a later hold scans the lane, the oldest first",
            "A",
            "paid 1 5; paid 1 9; paid 1 9; A 1 9 3; A 1 0 2",
            "A Kept; A Kept; A Kept; ; ",
            "p1 A Consumed 1; p2 A Consumed 0; p3 A Consumed 0",
        ),
        (
            "what is left in the lane of a saga that ends is nobody's",
            "A",
            "paid 1 5; paid 1 9; A 1 9; A 1 0",
            "A Kept; A Kept; ; ",
            "p1 A Unclaimed 0; p2 A Consumed 0",
        ),
        (
            "hold, consume, hold",
            "A",
            "paid 1 1; A 1 0 3; paid 1 2; paid 1 3; paid 1 4",
            "A Kept; ; A Consumed 0; A Consumed 0; A Unclaimed 0",
            "p1 A Consumed 0; p2 A Consumed 0; p3 A Consumed 0; p4 A Unclaimed 0",
        ),
        (
            "each definition gets it once",
            "A B",
            "A 1 0; B 1 9; paid 1 5; paid 1 9",
            "; ; A Consumed 0, B Kept; A Unclaimed 0, B Consumed 1",
            "p1 A Consumed 0, B Ignored 1; p2 A Unclaimed 0, B Consumed 1",
        ),
        (
            "every hold takes a copy, and nothing is kept",
            "Each",
            "paid 1 5; Each 1 0; Each 1 9; Each 1 0; paid 1 5",
            "Each Unclaimed; ; ; ; Each Consumed 0",
            "p1 Each Unclaimed; p2 Each Consumed 0",
        ),
        (
            "a name starts one saga for a key",
            "Begins",
            "begun 1; begun 2; begun 1",
            "Begins Started 0; Begins Started 1; Begins DuplicateStart 0",
            "",
        ),
        (
            "a hold goes before a start, and a second start is told from a conflict",
            "Both",
            "paid 1 5; paid 1 6; paid 1 5; paid 1 7",
            "Both Started 0; Both Consumed 0; Both DuplicateStart 0; Both ConflictingStart 0",
            "p1 Both Started 0; p2 Both Consumed 0; p3 Both DuplicateStart 0; \
             p4 Both ConflictingStart 0",
        ),
        (
            "what starts one definition is taken by another",
            "A Both",
            "A 1 0; paid 1 5",
            "; A Consumed 0, Both Started 1",
            "p1 A Consumed 0, Both Started 1",
        ),
        (
            "the same again changes nothing, the same id with another body is a conflict",
            "A",
            "A 1 9; paid 1 5; again 1 1 5; again 1 1 6; again 1 1 9; A 1 0",
            "; A Kept; all Duplicate; all Conflict; all Conflict; ",
            "p1 A Consumed 1; p1 ; p1 ",
        ),
        (
            "what comes after the end goes to the arm",
            "C",
            "C 1 0; paid 1 5; paid 1 6",
            "; C Consumed 0; C Late 1",
            "p1 C Consumed 0; p2 C Late 1",
        ),
        (
            "what a later hold takes is taken, though its saga ends on it",
            "C",
            "paid 1 5; paid 1 6; C 1 0; paid 1 7",
            "C Kept; C Kept; ; C Late 2",
            "p1 C Consumed 0; p2 C Late 1; p3 C Late 2",
        ),
        (
            "what nobody took before the end goes to the arm as well",
            "C",
            "C 1 9; paid 1 5; paid 1 6; paid 1 9",
            "; C Kept; C Kept; C Consumed 0",
            "p1 C Late 1; p2 C Late 2; p3 C Consumed 0",
        ),
        (
            "a live saga of the lane goes first",
            "C",
            "C 1 0; C 1 9; paid 1 5; paid 1 6; C 1 0; paid 1 9; paid 1 9",
            "; ; C Consumed 0; C Kept; ; C Consumed 1; C Late 3",
            "p1 C Consumed 0; p2 C Consumed 2; p3 C Consumed 1; p4 C Late 3",
        ),
        (
            "nobody declares it",
            "",
            "paid 1 5; again 1 1 5",
            "all Unrouted; all Duplicate",
            "p1 all Unrouted",
        ),
    ];
    for (what, definitions, script, expected, standing) in table {
        let mut table = Table::of(definitions);
        assert_eq!(table.play(script), expected, "{what}");
        assert_eq!(table.standing(), standing, "{what}");
    }
}

#[test]
fn both_orders_of_holds_and_events_match_alike() {
    let holds = ["A 1 9 3", "A 1 0 3", "A 2 5 2"];
    let events = ["paid 1 5", "paid 1 9", "paid 2 9", "paid 1 5", "paid 2 1", "paid 1 9"];
    let standing = |script: &[&str]| {
        let mut table = Table::of("A");
        table.play(&script.join("; "));
        table.standing()
    };
    let expected = "p1 A Consumed 1; p2 A Consumed 0; p3 A Consumed 2; p4 A Consumed 1; \
                    p5 A Kept; p6 A Consumed 0";
    assert_eq!(standing(&[&holds[..], &events[..]].concat()), expected);
    assert_eq!(standing(&[&events[..], &holds[..]].concat()), expected);
}

#[test]
fn an_unrouted_event_is_offered_when_a_definition_registers_its_name() {
    let mut table = Table::of("B");
    table.desk.deploy(Registry::new("empty"));
    table.play("paid 1 5; paid 1 6");
    table.desk.deploy(registry("A"));
    assert_eq!(table.standing(), "p1 A Kept; p2 A Kept");
    table.play("A 1 0");
    assert_eq!(table.standing(), "p1 A Consumed 0; p2 A Unclaimed 0");

    let mut table = Table::of("");
    table.desk.event("bank.begun", json!({ "order": "1" }));
    table.play("paid 1 5");
    table.desk.deploy(registry("Begins"));
    table.find_sagas();
    assert_eq!(table.standing(), "p1 Begins Consumed 0", "a start and a hold out of the drawer");
}

#[test]
fn a_saga_whose_definition_was_away_gets_what_came_meanwhile() {
    let mut table = Table::of("A B");
    table.play("A 1 9; B 1 0; paid 1 5");
    assert_eq!(table.standing(), "p1 A Kept, B Consumed 1");
    table.play("B 1 6");
    table.desk.deploy(registry("A"));
    assert_eq!(table.play("paid 1 7; paid 2 8"), "A Kept, B Consumed 2; A Kept");
    table.desk.restart();
    table.desk.deploy(registry("A B"));
    let standing = "p1 A Kept, B Consumed 1; p2 A Kept, B Consumed 2; p3 A Kept, B Kept";
    assert_eq!(table.standing(), standing);
    table.desk.restart();
    assert_eq!(table.standing(), standing, "offered once");
    assert_eq!(table.play("again 2 1 7; A 1 0"), "all Duplicate; ");
}

#[test]
fn events_come_once_over_restarts() {
    let mut table = Table::of("A C");
    table.play("C 1 9; paid 1 5; A 2 0");
    table.desk.restart();
    assert_eq!(table.play("again 1 1 5; paid 1 9"), "all Duplicate; A Kept, C Consumed 0");
    table.desk.restart();
    assert_eq!(table.standing(), "p1 A Kept, C Late 2; p2 A Kept, C Consumed 0");
    assert_eq!(table.play("paid 1 7; again 3 1 7"), "A Kept, C Late 3; all Duplicate");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Prepare {}
impl crate::message::Request for Prepare {
    const SUBJECT: &'static str = "bank.prepare";
    type Reply = ();
}
// Asks somebody before it holds.
holds!(
    Slow,
    Begun,
    [event::<Begun>().starts(), event::<Money>().late(Late::Run("Arm"))],
    |ctx: Ctx, it: Begun| async move {
        ctx.call(Prepare {}).await?;
        hold(ctx, Wants { order: it.order, least: 0, times: 1 }).await
    }
);

#[test]
fn a_live_saga_of_the_key_goes_before_the_arm_of_an_ended_one_though_it_does_not_hold_yet() {
    let mut registry = Registry::new("test");
    registry.register::<Slow>(&()).unwrap();
    registry.register::<Arm>(&()).unwrap();
    let mut desk = Desk::new(registry);
    desk.start("Slow", "by hand", json!({ "order": "1" }));
    desk.reply("bank.prepare", Value::Null);
    let paid = |amount: u64| json!({ "order": "1", "amount": amount });
    desk.event("bank.paid", paid(1));
    assert_eq!(desk.last(), "> complete [1]");
    assert_eq!(desk.event("bank.paid", paid(2))[0].outcome, Outcome::Late);
    desk.event("bank.begun", json!({ "order": "1" }));
    assert_eq!(desk.event("bank.paid", paid(3))[0].outcome, Outcome::Kept);
    desk.reply("bank.prepare", Value::Null);
    assert_eq!(desk.last(), "> complete [3]");
}

#[test]
fn what_comes_very_late_is_unclaimed() {
    let mut table = Table::of("C");
    table.play("C 1 0; paid 1 5");
    table.desk.wait_s(120 * 86_400);
    assert_eq!(table.play("paid 1 6"), "C Late 1");
    table.desk.wait_ms(1);
    assert_eq!(table.play("paid 1 7"), "C Unclaimed 0");
}

#[test]
fn a_late_saga_tells_where_it_comes_from_and_its_id_depends_on_the_event_alone() {
    let mut table = Table::of("C");
    table.play("C 1 0; paid 1 5; paid 1 6");
    let (ended, arm) = (table.sagas[0], table.sagas[1]);
    assert_eq!(arm, SagaId::derived(ended, "bank.paid/p2"));
    table.desk.look_at(arm);
    assert_eq!(table.desk.head().origin, Some(ended));
    assert!(
        table.desk.text().starts_with(&format!("0 +0s < started Arm v1 start0, late for {ended}"))
    );
    assert_eq!(table.desk.last(), "> complete [6]");
    let journal = table.desk.journal();
    let crate::journal::Fact::Started(start) = &journal[0].fact else { panic!() };
    let input: LateInput = start.input.decode().unwrap();
    assert_eq!((input.ended.outcome.as_str(), input.event.id.as_str()), ("completed", "p2"));
    assert_eq!(input.ended.output.unwrap().text(), "[5]");
}

#[test]
fn a_full_lane_refuses_and_the_others_do_not() {
    let mut table = Table::with("A", Limits { lane_events_max: 2, ..Limits::default() });
    assert_eq!(
        table.play("paid 1 1; paid 1 2; paid 1 3; paid 2 1; A 1 0; paid 1 4"),
        "A Kept; A Kept; A DeadLetter; A Kept; ; A Unclaimed 0"
    );
    let full = &table.desk.events()[2];
    let verdict = &full.identity.as_ref().unwrap().verdicts[0];
    assert_eq!(verdict.detail.as_deref(), Some("the lane of key 1 is full with 2 events"));
    assert_eq!(full.event.body.to_value()["amount"], 3, "its body is kept");
}

#[test]
fn what_is_no_such_event_is_a_dead_letter_with_its_reason() {
    let mut desk = Desk::new(registry("A"));
    let long = "x".repeat(257);
    let table = [
        (json!({ "order": "1", "amount": "five" }), "invalid type: string \"…\""),
        (json!({ "amount": 5 }), "no key: no header Fermata-Key, and no /order"),
        (json!({ "order": null, "amount": 5 }), "no key: no header Fermata-Key, and no /order"),
        (json!({ "order": "", "amount": 5 }), "a key of 0 bytes; from 1 to 256 are allowed"),
        (json!({ "order": long, "amount": 5 }), "a key of 257 bytes; from 1 to 256 are allowed"),
        (json!({ "order": "1\n2", "amount": 5 }), "a key with control characters; a line of text"),
    ];
    for (body, why) in table {
        let verdict = desk.event("bank.paid", body).remove(0);
        assert_eq!(verdict.outcome, Outcome::DeadLetter);
        assert!(verdict.detail.as_ref().unwrap().starts_with(why), "{verdict:?}");
    }
}

#[test]
fn the_header_names_the_key_and_else_the_body_does() {
    let mut desk = Desk::new(registry("A"));
    desk.start("A", "s", json!({ "order": "1", "least": 0 }));
    let arrival = |id: &str, key: Option<&str>, body: Value| Arrival {
        ticket: 0,
        name: "bank.paid".to_owned(),
        id: id.to_owned(),
        source: "bank".to_owned(),
        key: key.map(str::to_owned),
        body: Payload::of(&body).unwrap(),
        at: Time(0),
    };
    let other = desk.arrive(arrival("a", Some("2"), json!({ "order": "1", "amount": 1 })));
    assert_eq!(other[0].outcome, Outcome::Kept);
    let ours = desk.arrive(arrival("b", Some("1"), json!({ "order": "2", "amount": 1 })));
    assert_eq!(ours[0].outcome, Outcome::Consumed);
    let source = Arrival { source: "till".to_owned(), ..arrival("a", None, json!({})) };
    assert_eq!(desk.arrive(source)[0].outcome, Outcome::DeadLetter, "not the same, not a repeat");
}

#[test]
fn a_message_that_is_no_event_is_kept_with_its_reason() {
    let mut desk = Desk::new(registry("A"));
    let (name, id) = ("bank.paid".to_owned(), "x".to_owned());
    let (body, reason) = ("{".to_owned(), "no JSON".to_owned());
    let unreadable = Unreadable {
        ticket: 9,
        name,
        id,
        body,
        is_base64: false,
        headers: [("Fermata-Key".to_owned(), "k".to_owned())].into(),
        published_at: Time(5),
        reason,
    };
    desk.input(crate::input::Input::Unreadable(unreadable));
    let note = desk.notes().remove(0);
    let crate::codec::NoteRecord::DeadLetter { body, reason, headers, published_at, .. } = note
    else {
        panic!("a dead letter")
    };
    assert_eq!((headers["Fermata-Key"].as_str(), published_at), ("k", Some(Time(5))));
    assert_eq!((body.as_str(), reason.as_str()), ("{", "no JSON"));
}

#[test]
fn a_message_that_is_no_event_and_comes_again_is_a_duplicate() {
    let mut desk = Desk::new(registry("A"));
    let message = |id: &str, body: &str| {
        crate::input::Input::Unreadable(Unreadable {
            ticket: 9,
            name: "bank.paid".to_owned(),
            id: id.to_owned(),
            body: body.to_owned(),
            is_base64: false,
            headers: [].into(),
            published_at: Time(5),
            reason: "no JSON".to_owned(),
        })
    };
    desk.input(message("x", "{"));
    desk.restart();
    // Its acknowledgement got lost, or a crash came first.
    desk.input(message("x", "{"));
    assert_eq!(desk.notes().len(), 1);
    desk.input(message("x", "["));
    desk.input(message("y", "{"));
    assert_eq!(desk.notes().len(), 3, "another message is another dead letter");
    let mended = Arrival {
        ticket: 9,
        name: "bank.paid".to_owned(),
        id: "x".to_owned(),
        source: "bank".to_owned(),
        key: None,
        body: Payload::of(&json!({ "order": "1", "amount": 1 })).unwrap(),
        at: Time(6),
    };
    assert_eq!(desk.arrive(mended)[0].outcome, Outcome::Kept, "mended, under its id");
}

/// A broker may be set to take messages of 8 MiB, and each byte of some takes six as JSON.
#[test]
fn a_message_that_is_larger_than_a_row_is_a_dead_letter_and_ends_nothing() {
    let mut desk = Desk::new(registry("A"));
    let message = |body: String, is_base64: bool| {
        let long = |c: &str| c.repeat(8 << 20);
        crate::input::Input::Unreadable(Unreadable {
            ticket: 1,
            name: "bank.paid".to_owned(),
            id: "x".to_owned(),
            body,
            is_base64,
            headers: ["Fermata-Key", "Content-Type"].map(|it| (it.to_owned(), long("é"))).into(),
            published_at: Time(1),
            reason: long("?"),
        })
    };
    let bodies = [("x", false), ("\u{1}", false), ("€", false), ("//8A", true)];
    for (at, (part, is_base64)) in bodies.into_iter().enumerate() {
        let body = part.repeat((8 << 20) / part.len());
        desk.input(message(body.clone(), is_base64));
        let crate::codec::NoteRecord::DeadLetter { body: kept, reason, headers, .. } =
            desk.notes().remove(at)
        else {
            panic!("a dead letter")
        };
        assert!(body.starts_with(&kept));
        let bytes = if is_base64 { kept.len() / 4 * 3 } else { kept.len() };
        assert!(PAYLOAD_BYTES_MAX < bytes && bytes < PAYLOAD_BYTES_MAX + 8, "{part:?}: {bytes}");
        assert!(reason.ends_with(&format!("the first {} are kept", kept.len())));
        assert!(headers.values().all(|it| KEY_BYTES_MAX < it.len() && it.len() <= 1 << 10));
    }
    desk.restart();
    desk.input(message("x".repeat(8 << 20), false));
    assert_eq!(desk.notes().len(), 4, "it is known by all that it was");
}

#[test]
fn a_conflict_keeps_both_bodies_up_to_a_limit() {
    let mut table = Table::of("A");
    table.play("paid 1 0");
    for amount in 1..20 {
        assert_eq!(table.play(&format!("again 1 1 {amount}")), "all Conflict");
    }
    let events = table.desk.events();
    assert_eq!(events.len(), 9, "the first and eight others");
    let row: &IdentityRow = events[0].identity.as_ref().unwrap();
    assert_eq!(row.conflicts.len(), 8);
    table.play("A 1 0");
    assert!(table.standing().starts_with("p1 A Consumed 0"), "the first stays in force");
}

#[test]
fn a_registry_that_does_not_hold_together_is_refused() {
    let mut registry = Registry::new("test");
    registry.register::<C>(&()).unwrap();
    let no_arm = RegistryError::NoArm { name: "C", event: "bank.paid", arm: "Arm" };
    assert_eq!(registry.check(), Err(no_arm));
    assert_eq!(registry.register::<C>(&()), Err(RegistryError::Twice { name: "C" }));

    holds!(TwiceDeclared, Wants, [event::<Money>(), event::<Money>()], hold);
    let twice = RegistryError::DeclaredTwice { name: "TwiceDeclared", event: "bank.paid" };
    assert_eq!(registry.register::<TwiceDeclared>(&()), Err(twice));
}

#[test]
fn an_event_taken_but_never_seen_goes_back_to_whoever_holds_for_it() {
    let mut table = Table::of("A");
    table.play("A 1 0; A 1 0");
    table.desk.look_at(table.sagas[0]);
    table.desk.moved(crate::input::Action::Pause);
    assert_eq!(table.play("paid 1 5; paid 1 6; paid 1 7"), "A Consumed 0; A Consumed 1; A Kept");
    table.play("A 2 9");
    table.desk.look_at(table.sagas[0]);
    table.desk.moved(crate::input::Action::Terminate);
    let kept = "p1 A Kept; p2 A Consumed 1; p3 A Kept";
    assert_eq!(table.standing(), kept, "the third saga is as old, and may come to hold for them");
    table.desk.look_at(table.sagas[2]);
    table.desk.moved(crate::input::Action::Terminate);
    assert_eq!(table.standing(), "p1 A Unclaimed 0; p2 A Consumed 1; p3 A Unclaimed 0");

    let mut table = Table::of("A");
    table.play("A 1 0; A 1 6");
    table.desk.look_at(table.sagas[0]);
    table.desk.moved(crate::input::Action::Pause);
    table.play("paid 1 6");
    table.desk.moved(crate::input::Action::Cancel);
    assert_eq!(table.standing(), "p1 A Consumed 1", "the other one holds for it");

    let mut table = Table::of("A");
    table.play("A 1 0; A 1 6");
    table.desk.look_at(table.sagas[0]);
    table.desk.moved(crate::input::Action::Pause);
    assert_eq!(table.play("paid 1 5"), "A Consumed 0");
    table.desk.moved(crate::input::Action::Cancel);
    assert_eq!(table.standing(), "p1 A Kept", "the other one may want it later");
}
