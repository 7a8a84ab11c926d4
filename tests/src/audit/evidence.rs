//! What the public APIs show of orders, sagas, goods, money, mails, webhooks and events.

use crate::{
    Failure,
    audit::SKU,
    client::{Api, text},
    scenarios::Way,
};
use serde_json::Value;
use std::{collections::BTreeMap, fs::read_dir, path::Path};

/// Available, reserved and shipped pieces.
pub type Shelf = (u64, u64, u64);

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Every saga.
    pub sagas: Vec<Saga>,
    /// By order id: those that were asked for.
    pub orders: BTreeMap<String, Order>,
    /// What stands on the shelf.
    pub shelf: Shelf,
    /// Kind and order of each mail.
    pub mails: Vec<(String, String)>,
    /// Every webhook that a service has a verdict of.
    pub hooks: Vec<Hook>,
    /// Webhooks that no service has acknowledged.
    pub hooks_open: u64,
    /// Every event that the runtime has a verdict of.
    pub events: Vec<Event>,
}

/// A saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saga {
    /// Its id.
    pub id: String,
    /// Its definition's name.
    pub definition: String,
    /// Its business key.
    pub key: String,
    /// Where it stands.
    pub status: String,
}

/// An order, with what the world outside did for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Where it stands.
    pub status: String,
    /// The ids of the refunds that it shows.
    pub refunds: Vec<String>,
    /// Payment sessions that the provider opened.
    pub sessions: u64,
    /// Those of them that the customer paid.
    pub sessions_paid: u64,
    /// Refunds that the provider made.
    pub refunds_made: u64,
    /// What it paid back, in minor units.
    pub refunded_minor: u64,
    /// Parcels that the courier has, without those that were stopped.
    pub parcels: u64,
}

/// A webhook, as the service that took it shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Who sent it.
    pub sender: Sender,
    /// The provider's id, or what the service made of it.
    pub id: String,
    /// The order.
    pub order_id: String,
    /// The courier's word; empty for a payment.
    pub status: String,
    /// What became of it.
    pub verdict: String,
}

/// A provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    /// The one of payments.
    Payment,
    /// The courier.
    Courier,
}

/// An event, as the runtime shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its subject.
    pub name: String,
    /// Its id.
    pub id: String,
    /// What became of it: the definition, or nothing when it speaks for all, and the outcome.
    pub verdicts: Vec<(Option<String>, String)>,
    /// How often the same id came with another body.
    pub conflicts: usize,
}

/// Reads it all.
///
/// # Errors
/// A process did not say.
pub async fn gather(api: &Api, spool: &Path, ways: &[Way]) -> Result<Evidence, Failure> {
    let urls = api.urls();
    let sagas = api.list(&format!("{}/api/sagas", urls.runtime), "").await?;
    let events = api.list(&format!("{}/api/events", urls.runtime), "").await?;
    let mut hooks = Vec::new();
    for (sender, url) in [(Sender::Payment, &urls.payment), (Sender::Courier, &urls.delivery)] {
        let list = api.list(&format!("{url}/api/webhooks"), "").await?;
        hooks.extend(list.iter().map(|it| hook(sender, it)));
    }
    let mut orders = BTreeMap::new();
    for way in ways {
        orders.insert(way.order_id.clone(), order(api, &way.order_id).await?);
    }
    let all = api.get(&format!("{}/sandbox/effects", urls.sandbox)).await?;
    Ok(Evidence {
        sagas: sagas.iter().map(saga).collect::<Result<_, _>>()?,
        orders,
        shelf: api.stock(SKU).await?,
        mails: mails(spool)?,
        hooks,
        hooks_open: number(&all, "webhooksPending") + number(&all, "webhooksAbandoned"),
        events: events.iter().map(event).collect::<Result<_, _>>()?,
    })
}

async fn order(api: &Api, order_id: &str) -> Result<Order, Failure> {
    let shown = api.order(order_id).await?;
    let effects = api.effects(order_id).await?;
    let refunds = shown["refunds"].as_array().into_iter().flatten();
    Ok(Order {
        status: text(&shown, "/status")?,
        refunds: refunds.map(|it| text(it, "/refundId")).collect::<Result<_, _>>()?,
        sessions: number(&effects, "sessions"),
        sessions_paid: number(&effects, "sessionsPaid"),
        refunds_made: number(&effects, "refunds"),
        refunded_minor: number(&effects, "refundedMinor"),
        parcels: number(&effects, "shipments") - number(&effects, "shipmentsCancelled"),
    })
}

fn number(body: &Value, name: &str) -> u64 {
    body[name].as_u64().unwrap_or_default()
}

fn saga(body: &Value) -> Result<Saga, Failure> {
    Ok(Saga {
        id: text(body, "/id")?,
        definition: text(body, "/definition")?,
        key: text(body, "/key")?,
        status: text(body, "/status")?,
    })
}

fn hook(sender: Sender, body: &Value) -> Hook {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let (id, order_id, verdict) = (text("id"), text("orderId"), text("verdict"));
    Hook { sender, id, order_id, status: text("status"), verdict }
}

fn event(body: &Value) -> Result<Event, Failure> {
    let verdicts = body["verdicts"].as_array().into_iter().flatten();
    let verdict = |it: &Value| {
        let definition = it["definition"].as_str().map(str::to_owned);
        Ok((definition, text(it, "/outcome")?))
    };
    Ok(Event {
        name: text(body, "/name")?,
        id: text(body, "/id")?,
        verdicts: verdicts.map(verdict).collect::<Result<_, Failure>>()?,
        conflicts: body["conflicts"].as_array().map_or(0, Vec::len),
    })
}

/// A mail is a file of the spool, named after kind and order.
fn mails(spool: &Path) -> Result<Vec<(String, String)>, Failure> {
    let failed = |err: std::io::Error| format!("failed to read {}: {err}", spool.display());
    let mut mails = Vec::new();
    for file in read_dir(spool).map_err(failed)? {
        let name = file.map_err(failed)?.file_name().to_string_lossy().into_owned();
        // What a crash left aside is no mail.
        let about = name.split_once('@').filter(|_| !name.starts_with('.'));
        if let Some((kind, order_id)) = about.and_then(|(id, _)| id.split_once('.')) {
            mails.push((kind.to_owned(), order_id.to_owned()));
        }
    }
    Ok(mails)
}
