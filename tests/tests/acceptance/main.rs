//! What the order system does, line by line, over real processes: `tests/ACCEPTANCE.md` says which
//! line is which test.
//!
//! - [`services`]: who there is, and what can be asked.
//! - [`orders`]: from the click to the reservation, with and without a manager.
//! - [`money`]: payments and their webhooks.
//! - [`currencies`]: amounts in each currency, as the provider counts them.
//! - [`parcels`]: the courier, and how an order ends.
//! - [`pauses`]: what outlives a restart, what waiting costs, and when it is over.
//! - [`mishaps`]: services that refuse, answer rubbish or are away.
//! - [`messages`]: everything on the wire against the committed schemas.
//! - [`curl`]: the three scenarios as a person types them.

mod curl;
mod currencies;
mod messages;
mod mishaps;
mod money;
mod orders;
mod parcels;
mod pauses;
mod services;

use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path};
use system_tests::{
    Failure,
    client::{Api, order_of, text},
    scenarios::PROCESS_ORDER,
    until,
};
use tokio::sync::Mutex;

/// A shelf on which only tests with exact counts work, one order at a time.
const COUNTED_SKU: &str = "GADGET-002";

/// Who counts pieces is alone at the shelf.
static SHELF: Mutex<()> = Mutex::const_new(());

/// The order, of what is on the counted shelf.
fn counted(mut order: Value) -> Value {
    order["items"][0]["sku"] = json!(COUNTED_SKU);
    order
}

/// An order of one thing at this price.
fn order_at(price: &str, is_new_customer: bool) -> Value {
    let mut order = order_of(1, is_new_customer, "bob");
    order["items"][0]["price"] = json!(price);
    order["total"] = json!(price);
    order
}

/// A low-risk order that holds for its money: its id and its session.
async fn awaiting_payment(api: &Api) -> Result<(String, String), Failure> {
    let order_id = api.place(&order_of(2, false, "bob")).await?;
    let session = session_of(api, &order_id).await?;
    Ok((order_id, session))
}

async fn session_of(api: &Api, order_id: &str) -> Result<String, Failure> {
    let order = api.order_is(order_id, "awaiting_payment").await?;
    api.saga_is(PROCESS_ORDER, order_id, "waiting").await?;
    text(&order, "/paymentSessionId")
}

/// An order that a manager has to decide.
async fn awaiting_approval(api: &Api) -> Result<String, Failure> {
    let order_id = api.place(&order_of(1000, true, "ann")).await?;
    api.order_is(&order_id, "awaiting_approval").await?;
    api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
    Ok(order_id)
}

/// An order that holds for the courier.
async fn shipped(api: &Api) -> Result<String, Failure> {
    let (order_id, session) = awaiting_payment(api).await?;
    api.customer(&session, "pay", json!({})).await?;
    api.order_is(&order_id, "shipped").await?;
    api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
    Ok(order_id)
}

/// The journal of the saga of an order.
async fn journal(api: &Api, order_id: &str) -> Result<Vec<Value>, Failure> {
    let saga = api.saga(PROCESS_ORDER, order_id).await?;
    api.journal(&text(&saga, "/id")?).await
}

/// The events of an order with this verdict, newest first.
async fn events(api: &Api, verdict: &str, order_id: &str) -> Result<Vec<Value>, Failure> {
    let url = format!("{}/api/events", api.urls().runtime);
    let mut events = Vec::new();
    for event in api.list(&url, &format!("?verdict={verdict}")).await? {
        let event = api.get(&format!("{url}/{}", event["position"])).await?;
        if event["body"]["orderId"] == order_id {
            events.push(event);
        }
    }
    Ok(events)
}

/// The support's tickets about an order.
async fn tickets(api: &Api, order_id: &str) -> Result<Vec<Value>, Failure> {
    let url = format!("{}/api/tickets", api.urls().order);
    api.list(&url, &format!("?orderId={order_id}")).await
}

/// The texts of a field in the entries of this kind, oldest first.
fn of_kind(journal: &[Value], kind: &str, field: &str) -> Vec<String> {
    let entries = journal.iter().filter(|it| it["kind"] == kind);
    entries.filter_map(|it| it[field].as_str().map(str::to_owned)).collect()
}

/// Every status that the order had, oldest first.
fn history(order: &Value) -> Vec<String> {
    let history = order["history"].as_array().into_iter().flatten();
    history.filter_map(|it| it["status"].as_str().map(str::to_owned)).collect()
}

/// The mails of an order that stand in the spool, by kind, with their texts.
fn mails(spool: &Path, order_id: &str) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let mut mails: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in fs::read_dir(spool).map_err(|err| err.to_string())? {
        let file = file.map_err(|err| err.to_string())?;
        let name = file.file_name().to_string_lossy().into_owned();
        // What begins with a dot is still being written.
        let about = name.split_once('@').filter(|_| !name.starts_with('.'));
        let about = about.and_then(|(id, _)| id.split_once('.')).filter(|it| it.1 == order_id);
        if let Some((kind, _)) = about {
            let text = fs::read_to_string(file.path()).map_err(|err| err.to_string())?;
            mails.entry(kind.to_owned()).or_default().push(text);
        }
    }
    Ok(mails)
}

/// Waits until the mails of an order are these, by kind, each once.
async fn mails_are(
    api: &Api,
    spool: &Path,
    order_id: &str,
    kinds: &[&str],
) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    until(&format!("the mails of {order_id} are {kinds:?}"), api.patience(), || async {
        let mails = mails(spool, order_id)?;
        let is_so = mails.keys().map(String::as_str).eq(kinds.iter().copied())
            && mails.values().all(|it| it.len() == 1);
        if is_so { Ok(mails) } else { Err(format!("there are {:?}", mails.keys())) }
    })
    .await
}
