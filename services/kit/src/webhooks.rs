//! A provider's webhooks, taken once: the raw body is checked by the service, its verdict, what it
//! changes and its event are one commit, and the 200 leaves when that is durable. Nothing else is
//! on this path: no look-up at the provider, no waiting for the runtime.
//!
//! | key | value |
//! |---|---|
//! | `hook/<received, ms>/<id>` | the [`Provider::Hook`] |
//! | `hook-id/<id>` | the key of the hook: repeats change nothing |
//! | `hook-order/<order id>/<received, ms>/<id>` | the key of the hook |
//!
//! The bodies are not kept: they hold names and addresses.

use crate::{
    handle::Handle,
    outcome::{Outcome, Refusal},
    rows,
    run::Context,
};
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::{extract::State, http::HeaderMap};
use bytes::Bytes;
use chassis::{
    clock::Clock,
    db::{Db, DbError, Tx},
    http::{
        Json, Page, Problem, Query, Repeated, Viewer, any_body, header, page_items_default,
        problems, single,
    },
};
use chrono::{DateTime, Utc};
use prometheus_client::metrics::counter::Counter;
use proto_schemas::OrderId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};
use validator::Validate;

const ALL: &str = "hook/";
const BY_ID: &str = "hook-id/";
/// A refusal is logged at most so often: forgeries must not fill the disk.
const TOLD_EVERY_S: u64 = 10;

/// A genuine webhook that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came<S> {
    /// The same for each repeat; letters, digits, `-` and `_`, fit to be part of a key and of a
    /// cursor.
    pub id: String,
    /// What it says; nothing when it cannot be read.
    pub said: Option<S>,
}

/// A provider that sends webhooks.
pub trait Provider: Send + Sync + 'static {
    /// Where they come.
    const PATH: &'static str;
    /// The route in a few words.
    const SUMMARY: &'static str;
    /// The headers that a webhook must have, each once, with what stands in them.
    const HEADERS: &'static [(&'static str, &'static str)];
    /// The verdict of one that cannot be read.
    const UNREADABLE: Self::Verdict;
    /// What a webhook says.
    type Said: Send + 'static;
    /// What becomes of it.
    type Verdict: Copy + Debug + Serialize + JsonSchema + Send + 'static;
    /// A webhook as it is remembered and shown.
    type Hook: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
    /// Why one is not taken for genuine. It is told to the sender.
    type Bad: std::error::Error;

    /// Checks signature and time over the body as it came, at `now_s`.
    ///
    /// # Errors
    /// It is not genuine.
    fn check(&self, headers: &HeaderMap, body: &[u8], now_s: i64) -> Result<(), Self::Bad>;

    /// Reads a genuine one, leniently.
    fn read(headers: &HeaderMap, body: &[u8]) -> Came<Self::Said>;

    /// The order that it is about.
    fn order_id(said: &Self::Said) -> Option<&OrderId>;

    /// Does what it says. Runs once for each id.
    ///
    /// # Errors
    /// As for any transaction.
    fn act(tx: &mut Tx, id: &str, said: &Self::Said, at: DateTime<Utc>) -> Outcome<Self::Verdict>;

    /// What is remembered of it.
    fn hook(came: Came<Self::Said>, at: DateTime<Utc>, verdict: Self::Verdict) -> Self::Hook;

    /// What became of it.
    fn verdict(hook: &Self::Hook) -> Self::Verdict;
}

/// The text of a header, if it is there and is text.
pub fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|it| it.to_str().ok())
}

/// The provider's door, and `GET /api/webhooks`, which shows what became of each.
pub fn routes<P: Provider>(context: &Context, provider: P) -> ApiRouter {
    let refused =
        context.metrics.counter("webhooks_refused", "Webhooks that were not taken for genuine");
    let handle = context.handle.clone();
    let unreadable =
        context.metrics.counter("webhooks_unreadable", "Genuine webhooks that could not be read");
    let (clock, told_s) = (context.clock.clone(), AtomicI64::new(0));
    let shared = Arc::new(Shared { handle, provider, refused, unreadable, clock, told_s });
    ApiRouter::new()
        .api_route(
            P::PATH,
            post_with(receive::<P>, |op| {
                let op =
                    any_body(op.summary(P::SUMMARY), "What it tells, as its provider writes it");
                let op = problems(op, &[400]);
                let op = P::HEADERS.iter().fold(op, |op, (name, about)| header(op, name, about));
                op.response::<200, Json<Taken<P::Verdict>>>()
            }),
        )
        .api_route(
            "/api/webhooks",
            get_with(list::<P>, |op| {
                op.summary("What became of each webhook, newest first")
                    .response::<200, Json<Page<P::Hook>>>()
            }),
        )
        .with_state(shared)
}

/// Takes a genuine webhook, once. A repeat gives what was known.
///
/// # Errors
/// As for any transaction.
pub fn take<P: Provider>(tx: &mut Tx, came: Came<P::Said>, at: DateTime<Utc>) -> Outcome<P::Hook> {
    let by_id = format!("{BY_ID}{}", came.id);
    if let Some(key) = tx.get(by_id.as_bytes())?
        && let Some(known) = tx.get_json(&key)?
    {
        return Ok(known);
    }
    let verdict = match &came.said {
        Some(said) => P::act(tx, &came.id, said, at)?,
        None => P::UNREADABLE,
    };
    let place = format!("{:013}/{}", at.timestamp_millis(), came.id);
    let key = format!("{ALL}{place}");
    tx.put(by_id, key.as_bytes());
    if let Some(order_id) = came.said.as_ref().and_then(P::order_id) {
        tx.put(format!("{}{place}", of_order(order_id.as_str())), key.as_bytes());
    }
    let hook = P::hook(came, at, verdict);
    tx.put_json(key, &hook)?;
    Ok(hook)
}

/// Changes what is remembered of one that was taken. Does nothing when it is not remembered.
///
/// # Errors
/// As for any transaction.
pub fn change<P: Provider>(
    tx: &mut Tx,
    id: &str,
    change: impl FnOnce(&mut P::Hook),
) -> Outcome<()> {
    let Some(key) = tx.get(format!("{BY_ID}{id}").as_bytes())? else { return Ok(()) };
    if let Some(mut hook) = tx.get_json::<P::Hook>(&key)? {
        change(&mut hook);
        tx.put_json(key, &hook)?;
    }
    Ok(())
}

struct Shared<P> {
    handle: Handle,
    provider: P,
    refused: Counter,
    unreadable: Counter,
    clock: Clock,
    /// When a refusal was last logged, in unix seconds; written by [`Shared::refuse`].
    told_s: AtomicI64,
}

impl<P> Shared<P> {
    /// Counts each, logs some, and tells the sender.
    fn refuse(&self, bad: &impl std::error::Error, now_s: i64) -> Problem {
        self.refused.inc();
        let last_s = self.told_s.load(Ordering::Relaxed);
        if now_s.abs_diff(last_s) >= TOLD_EVERY_S
            && self
                .told_s
                .compare_exchange(last_s, now_s, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            tracing::warn!(reason = %bad, "a webhook was refused; webhooks_refused counts all");
        }
        Problem::bad_request(bad.to_string())
    }
}

/// The answer to a genuine webhook.
#[derive(Debug, Serialize, JsonSchema)]
struct Taken<V> {
    /// Always true.
    received: bool,
    /// What became of it, when it came first.
    verdict: V,
}

async fn receive<P: Provider>(
    State(shared): State<Arc<Shared<P>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Taken<P::Verdict>>, Problem> {
    let now_s = shared.clock.wall().timestamp();
    each_once::<P>(&headers).map_err(|bad| shared.refuse(&bad, now_s))?;
    shared.provider.check(&headers, &body, now_s).map_err(|bad| shared.refuse(&bad, now_s))?;
    let came = P::read(&headers, &body);
    let id = came.id.clone();
    if came.said.is_none() {
        shared.unreadable.inc();
        tracing::warn!(id, bytes = body.len(), "a genuine webhook cannot be read");
    }
    let hook = shared.handle.write(move |tx, at| take::<P>(tx, came, at)).await?;
    let verdict = P::verdict(&hook);
    tracing::info!(id, ?verdict, "webhook taken");
    Ok(Json(Taken { received: true, verdict }))
}

/// Providers' libraries are given one text for each header: of two, it would be for chance to say
/// which one they check.
fn each_once<P: Provider>(headers: &HeaderMap) -> Result<(), Repeated> {
    P::HEADERS.iter().try_for_each(|(name, _)| single(headers, name).map(|_| ()))
}

/// Longer than any id or cursor, shorter than a key may be.
const TEXT_CHARS_MAX: u64 = 200;

#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HooksQuery {
    /// Only the one with this id.
    #[validate(length(max = TEXT_CHARS_MAX, message = "is too long"))]
    id: Option<String>,
    /// Only those about this order.
    #[validate(length(max = TEXT_CHARS_MAX, message = "is too long"))]
    order_id: Option<String>,
    /// Most items of the page.
    #[serde(default = "page_items_default")]
    #[validate(range(min = 1, max = 200, message = "must be 1 to 200"))]
    #[schemars(range(min = 1, max = 200))]
    limit: u16,
    /// The `next` of the page before.
    #[validate(length(max = TEXT_CHARS_MAX, message = "is too long"))]
    cursor: Option<String>,
}

async fn list<P: Provider>(
    _: Viewer,
    State(shared): State<Arc<Shared<P>>>,
    Query(query): Query<HooksQuery>,
) -> Result<Json<Page<P::Hook>>, Problem> {
    let db = shared.handle.db();
    if let Some(id) = &query.id {
        let items = by_id(db, id).map_err(Refusal::from)?.into_iter().collect();
        return Ok(Json(Page { items, next: None }));
    }
    let limit = usize::from(query.limit);
    let (order_id, cursor) = (query.order_id.as_deref(), query.cursor.as_deref());
    let mut found = page(db, order_id, cursor, limit + 1).map_err(Refusal::from)?;
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|(cursor, _)| cursor.clone());
    Ok(Json(Page { items: found.into_iter().map(|(_, hook)| hook).collect(), next }))
}

/// Webhooks, newest first, of one order or all, before a cursor. With each comes its own cursor.
fn page<H: DeserializeOwned>(
    db: &Db,
    order_id: Option<&str>,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, H)>, DbError> {
    let prefix = order_id.map_or_else(|| ALL.to_owned(), of_order);
    let before = before.map(|cursor| format!("{prefix}{cursor}").into_bytes());
    let step = db.scan_back(prefix.as_bytes(), before.as_deref(), limit)?;
    let tx = Tx::over(db);
    let mut hooks = Vec::new();
    for (key, value) in step {
        let cursor = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
        let of = if order_id.is_some() { value } else { key };
        let hook = rows::one_of_many(tx.get_json(&of))?.flatten();
        hooks.extend(hook.map(|hook| (cursor, hook)));
    }
    Ok(hooks)
}

fn by_id<H: DeserializeOwned>(db: &Db, id: &str) -> Result<Option<H>, DbError> {
    match db.get(format!("{BY_ID}{id}").as_bytes())? {
        Some(key) => Tx::over(db).get_json(&key),
        None => Ok(None),
    }
}

fn of_order(order_id: &str) -> String {
    format!("hook-order/{order_id}/")
}
