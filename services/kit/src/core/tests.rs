mod calls;
mod keeping;
mod orders;
mod receipts;
mod undos;

use super::*;
use crate::{Call, NewEvent, Outcome, Service, publish};
use chassis::db::{Db, DbOptions};
use proto_schemas::inventory::{
    Availability, Available, CheckAvailability, Moved, Pieces, Release, Reserve,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A service that is driven by hand.
struct Driven {
    dir: TempDir,
    db: Db,
    core: Core,
    now: DateTime<Utc>,
    /// What the last input owed beside answers.
    owed: Vec<Output>,
}

fn at(day: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::Duration::days(20_000 + day)
}

/// Rejects more than 9 pieces, panics at 13, fails at 14, replies with too much at 15, writes what
/// no store takes at 16 and 17, rejects with too many words at 18.
fn reserve(tx: &mut Tx, call: Call<Reserve>) -> Outcome<Moved> {
    let pieces = call.body.items[0].quantity;
    let acted: u32 = tx.get_json(b"acted")?.unwrap_or(0);
    tx.put_json("acted", &(acted + 1))?;
    match pieces {
        0..=9 => (),
        13 => panic!("thirteen"),
        14 => return Err(Refusal::failed("the shelf is on fire")),
        15 => {
            let sku = "x".repeat(PAYLOAD_BYTES_MAX);
            let items = vec![proto_schemas::inventory::Held { sku, quantity: 1 }];
            return Ok(Moved { order_id: call.body.order_id, items });
        }
        16 => tx.put(vec![0, b'm'], "not mine"),
        17 => tx.put("long", vec![0; chassis::db::VALUE_BYTES_MAX + 1]),
        18 => return Err(Refusal::rejected("no", "x".repeat(PAYLOAD_BYTES_MAX))),
        _ if call.attempt_class > 1 => (),
        _ => {
            let no = Rejection::new("out_of_stock", "not so many").detail("left", 9);
            return Err(no.into());
        }
    }
    let event = NewEvent {
        id: format!("{}/reserved", call.body.order_id),
        subject: "inventory.trigger.reserved".to_owned(),
        key: call.body.order_id.to_string(),
        body: json!({ "class": call.attempt_class }),
        at: call.at,
    };
    publish(tx, event)?;
    Ok(Moved { order_id: call.body.order_id, items: Vec::new() })
}

/// Rejects until an operator retries.
fn release(tx: &mut Tx, call: Call<Release>) -> Outcome<Moved> {
    let asked: u32 = tx.get_json(b"asked")?.unwrap_or(0);
    tx.put_json("asked", &(asked + 1))?;
    if call.attempt_class < 2 {
        return Err(Refusal::rejected("stuck", "the shelf is stuck"));
    }
    assert_eq!(call.provider_key(), format!("{}.2", call.key));
    tx.put_json("released", &call.undo.and_then(|undo| undo.reason))?;
    Ok(Moved { order_id: call.body.order_id, items: Vec::new() })
}

fn check(_: &Tx, asked: CheckAvailability) -> Outcome<Availability> {
    let of = |pieces: Pieces| Available {
        requested: pieces.quantity.into(),
        sku: pieces.sku,
        available: 9,
    };
    Ok(Availability { available: true, items: asked.items.into_iter().map(of).collect() })
}

fn service() -> Service {
    Service::new("test", "for tests").procedure(reserve).procedure(release).query(check)
}

impl Driven {
    fn new() -> Driven {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), DbOptions::default()).unwrap();
        let core = service().into_core();
        let mut it = Driven { db, dir, core, now: at(0), owed: Vec::new() };
        it.feed(Input::Resume);
        it
    }

    fn reopened(self) -> Driven {
        let Driven { dir, db, now, .. } = self;
        drop(db);
        let db = Db::open(dir.path(), DbOptions::default()).unwrap();
        Driven { db, dir, core: service().into_core(), now, owed: Vec::new() }
    }

    fn feed(&mut self, input: Input) {
        let mut tx = Tx::over(&self.db);
        let mut outputs = Vec::new();
        self.core.handle(&mut tx, input, self.now, &mut outputs).unwrap();
        self.db.commit(tx.into_batch(), self.db.position() + 1).unwrap();
        for output in outputs {
            match output {
                Output::Answer { reply, answer, .. } => drop(reply.send(answer)),
                other => self.owed.push(other),
            }
        }
    }

    fn ask(&mut self, request: Request) -> Answer {
        let (reply, mut answer) = oneshot::channel();
        self.feed(Input::Request { request, reply });
        answer.try_recv().unwrap()
    }

    /// The answer as `class` and body, or reason where there is no body.
    fn told(&mut self, request: Request) -> (&'static str, Value) {
        let answer = self.ask(request);
        let class = answer.class();
        let body = match answer {
            Answer::Ok { body } | Answer::Rejected { body, .. } => {
                serde_json::from_str(&body).unwrap()
            }
            Answer::Failed { why } => why.into(),
        };
        (class, body)
    }

    fn row(&self, key: &str) -> Value {
        let value = self.db.get(key.as_bytes()).unwrap();
        value.map_or(Value::Null, |value| serde_json::from_slice(&value).unwrap())
    }

    fn events(&self) -> usize {
        self.db.scan(crate::rows::OUTSTANDING, None, 99).unwrap().len()
    }

    /// Rows of the key table and its indexes.
    fn key_rows(&self) -> usize {
        let rows = self.db.scan(&[crate::KIT_PREFIX], None, 99).unwrap();
        rows.iter().filter(|(key, _)| [b'k', b'x', b'p'].contains(&key[1])).count()
    }
}

fn call(key: &str, quantity: u32) -> Request {
    let items = vec![Pieces { sku: "A-1".to_owned(), quantity }];
    let body = Reserve { order_id: "ORD-1".parse().unwrap(), items };
    request("inventory.reserve", &serde_json::to_string(&body).unwrap(), Some(key))
}

fn undo(of: &str) -> Request {
    let body = Release { order_id: "ORD-1".parse().unwrap() };
    let body = serde_json::to_string(&body).unwrap();
    let request = request("inventory.release", &body, Some(&format!("{of}/undo")));
    Request { undo_of: Some(of.to_owned()), abort_reason: Some("too late".to_owned()), ..request }
}

fn request(subject: &str, body: &str, key: Option<&str>) -> Request {
    Request {
        subject: subject.to_owned(),
        body: body.to_owned(),
        key: key.map(str::to_owned),
        undo_of: None,
        abort_kind: None,
        abort_reason: None,
        attempt_class: 1,
        began: None,
    }
}

fn code<'a>(told: &'a (&'static str, Value)) -> (&'a str, &'a str) {
    (told.0, told.1["code"].as_str().unwrap_or_default())
}
