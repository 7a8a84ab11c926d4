//! Everything on the wire against the committed schemas.

use proto_schemas::{Kind, MESSAGES};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};
use system_tests::{
    Failure,
    client::{order_of, text},
    scenarios::play_all,
    stack::{Stack, python, root},
    until,
    wire::{Seen, Wire, Witness},
};

/// Longer than a message takes from the broker to a witness that a busy machine does not let run.
const HEARD_WITHIN: Duration = Duration::from_secs(20);

/// What the validator has to say, a line for each message that does not fit.
fn faults(messages: &[Seen]) -> Result<Vec<String>, Failure> {
    let failed = |err: std::io::Error| format!("failed to run the validator: {err}");
    let mut command = Command::new(python()?);
    command.arg(root().join("tests/python/validate.py"));
    command.arg(root().join("proto-schemas/schemas"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().map_err(failed)?;
    let lines: String = messages
        .iter()
        .map(|it| format!("{}\n", json!({ "schema": it.schema, "body": it.body })))
        .collect();
    let mut stdin = running.stdin.take().ok_or("no way to tell the validator")?;
    let telling = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let ended = running.wait_with_output().map_err(failed)?;
    telling.join().map_err(|_| "telling the validator has panicked")?.map_err(failed)?;
    let (said, why) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    if why.is_empty() {
        Ok(said.lines().map(str::to_owned).collect())
    } else {
        Err(why.into_owned())
    }
}

/// A witness at the broker sees every message of every way of an order, and a validator that others
/// wrote holds each one against its schema.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_21_every_request_answer_and_event_on_the_wire_fits_its_committed_schema()
-> Result<(), Failure> {
    let dir = tempfile::tempdir().map_err(|err| err.to_string())?;
    let conf = Witness::conf(dir.path())?.display().to_string();
    let settings = [
        ("NATS_CONF", conf.as_str()),
        ("PROCESS_ORDER_APPROVAL_MS", "15000"),
        ("PROCESS_ORDER_PAYMENT_MS", "20000"),
        ("PROCESS_ORDER_DELIVERY_MS", "60000"),
    ];
    let stack = Stack::start(&settings).await?;
    let witness = Witness::of(&stack).await?;
    let ways = play_all(stack.api()).await?;
    let paid = ways.iter().find(|it| it.scenario.ships()).ok_or("no order was shipped")?;
    asked_by_hand(&stack, &paid.order_id).await?;

    let seen = whole(&witness).await?;
    let (said_no, messages): (Vec<_>, Vec<_>) =
        seen.into_iter().partition(|it| it.schema.ends_with(".reply") && it.outcome != "ok");
    for no in &said_no {
        assert_eq!(no.outcome, "rejected", "no service has failed: {no:?}");
        assert!(no.body["code"].is_string() && no.body["reason"].is_string(), "{no:?}");
    }
    let kinds: BTreeSet<&str> = messages.iter().map(|it| it.schema.as_str()).collect();
    assert_eq!(faults(&messages)?, Vec::<String>::new());
    println!("{} messages of {} kinds fit their schemas", messages.len(), kinds.len());

    // The validator would say so: each kind with a field more, less, or of another type.
    let mut broken = Vec::new();
    for schema in kinds {
        let Some(good) = messages.iter().find(|it| it.schema == schema) else { continue };
        let Some(first) = good.body.as_object().and_then(|it| it.keys().next().cloned()) else {
            return Err(format!("{schema} is no object: {good:?}"));
        };
        let mut other = good.clone();
        other.body[&first] = json!({ "not": "this" });
        broken.push(other);
    }
    assert_eq!(faults(&broken)?.len(), broken.len(), "every broken message is found");
    Ok(())
}

/// What was seen, once each kind is in it: what one client has heard, another may hear later.
async fn whole(witness: &Witness) -> Result<Vec<Seen>, Failure> {
    let mut expected = BTreeSet::new();
    for message in MESSAGES {
        expected.insert(message.subject.to_owned());
        let answers = matches!(message.kind, Kind::Request { .. });
        // Nobody decides over NATS, so this one has no other answer than a refusal.
        if answers && message.subject != "orders.approve" {
            expected.insert(format!("{}.reply", message.subject));
        }
    }
    let is_good = |it: &&Seen| !it.schema.ends_with(".reply") || it.outcome == "ok";
    until("somebody has sent each kind", HEARD_WITHIN, || async {
        let seen = witness.seen();
        let kinds: BTreeSet<_> = seen.iter().filter(is_good).map(|it| &it.schema).collect();
        let unseen: Vec<_> = expected.iter().filter(|it| !kinds.contains(it)).collect();
        if unseen.is_empty() { Ok(seen) } else { Err(format!("nobody has sent {unseen:?}")) }
    })
    .await
}

/// What no way of an order asks for.
async fn asked_by_hand(stack: &Stack, order_id: &str) -> Result<(), Failure> {
    let wire = Wire::of(stack, "fermata").await?;
    let order = json!({ "orderId": order_id });
    let items = json!([{ "sku": "WIDGET-001", "quantity": 1 }]);
    let placed = wire.ask("orders.create", "hand/0", &order_of(2, false, "bob")).await?;
    let placed = json!({ "orderId": text(&placed.body, "/orderId")? });
    stack.api().order_is(&text(&placed, "/orderId")?, "awaiting_payment").await?;
    let address = order_of(1, false, "bob")["shippingAddress"].clone();
    let parcel = json!({
        "orderId": "ORD-by-hand", "name": "Bob", "shippingAddress": address, "items": items
    });
    let asked: [(&str, Value); 6] = [
        ("orders.approve", json!({ "orderId": order_id, "approved": true })),
        ("payments.process", placed),
        ("inventory.check-availability", json!({ "items": items })),
        ("delivery.create-shipment", parcel),
        ("delivery.get-status", json!({ "orderId": "ORD-by-hand" })),
        ("delivery.cancel-shipment", json!({ "orderId": "ORD-by-hand" })),
    ];
    for (number, (subject, body)) in asked.iter().enumerate() {
        wire.ask(subject, &format!("hand/{}", number + 1), body).await?;
    }
    drop(order);
    let api = stack.api();
    let disputed = format!("payments/{}/dispute/needs_response", api.payment_of(order_id).await?);
    api.at_the_provider(&disputed, json!({})).await?;
    Ok(())
}
