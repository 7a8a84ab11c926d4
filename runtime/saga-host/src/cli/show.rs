//! One saga: found by its id or by its business key, and shown with its journal.

use super::{
    client::{Client, Items, Query, read},
    commands::Asker,
    model::{Record, Saga},
    problem::CliError,
    records::Journal,
    screen::{complain, print, print_json},
    text,
};
use chrono::Utc;
use serde::Serialize;
use serde_json::value::RawValue;

/// Sagas that are looked at for one business key.
const SAGAS_OF_KEY_MAX: usize = 200;

/// A saga as the API gave it, and as people read it.
pub(super) struct Found {
    pub(super) raw: Box<RawValue>,
    pub(super) saga: Saga,
}

impl Found {
    pub(super) fn of(raw: Box<RawValue>) -> Result<Found, CliError> {
        let saga = read(raw.get())?;
        Ok(Found { raw, saga })
    }
}

/// The saga, and all that happened to it.
#[derive(Serialize)]
struct Shown<'a> {
    saga: &'a RawValue,
    journal: &'a [Box<RawValue>],
}

/// Prints a saga with its journal.
pub(super) async fn show(asker: &Asker, client: &Client, saga: &str) -> Result<(), CliError> {
    let Found { raw, saga } = newest(asker, client, saga).await?;
    let path = ["sagas", &saga.id, "journal"];
    let journal = client.list(&path, &Query::new(), usize::MAX, |_| false).await?.items;
    if asker.options.json {
        let shown = serde_json::to_string(&Shown { saga: &raw, journal: &journal });
        return print_json(&shown.map_err(|_| CliError::not_json())?);
    }
    let mut lines = Journal::new(&saga.started_at, asker.screen.columns());
    let mut text = text::saga(&saga, &asker.program, Utc::now()) + "\n";
    for record in &journal {
        text += &lines.line(&read::<Record>(record.get())?);
    }
    print(&text)
}

/// By its id, else the newest with this business key.
pub(super) async fn newest(asker: &Asker, client: &Client, saga: &str) -> Result<Found, CliError> {
    if let Some(found) = by_id(client, saga).await? {
        return Ok(found);
    }
    let mut all = by_key(asker, client, saga).await?;
    if all.len() > 1 {
        let others = all.len() - 1;
        complain(&asker.program, &format!("the newest; {others} more with the key {saga}"));
    }
    Ok(all.swap_remove(0))
}

/// By its id, else the one with this business key that has not ended: a move must not hit another
/// saga than the one that is meant.
pub(super) async fn the_one(asker: &Asker, client: &Client, saga: &str) -> Result<Found, CliError> {
    if let Some(found) = by_id(client, saga).await? {
        return Ok(found);
    }
    let mut all = by_key(asker, client, saga).await?;
    let is_open: Vec<bool> = all.iter().map(|it| !it.saga.has_ended()).collect();
    match is_open.iter().filter(|it| **it).count() {
        // The runtime says why an ended saga cannot be moved.
        0 => Ok(all.swap_remove(0)),
        1 => Ok(all.swap_remove(is_open.iter().position(|it| *it).unwrap_or_default())),
        many => {
            let open = all.iter().filter(|it| !it.saga.has_ended());
            let lines = open.map(|it| format!("\n  {}  {}", it.saga.id, it.saga.definition));
            let lines: String = lines.collect();
            let what = format!("{many} open sagas have the key {saga}: name one by its id{lines}");
            Err(CliError::Usage(what))
        }
    }
}

async fn by_id(client: &Client, saga: &str) -> Result<Option<Found>, CliError> {
    let is_id = saga.len() == 36 && saga.bytes().all(|it| it.is_ascii_hexdigit() || it == b'-');
    if !is_id {
        return Ok(None);
    }
    match client.get(&["sagas", saga]).await {
        Ok(raw) => Found::of(raw).map(Some),
        // A UUID makes a business key, too.
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The newest first; at least one.
async fn by_key(asker: &Asker, client: &Client, key: &str) -> Result<Vec<Found>, CliError> {
    let query: Query = vec![("key", key.to_owned())];
    let Items { items, .. } = client.list(&["sagas"], &query, SAGAS_OF_KEY_MAX, |_| false).await?;
    if items.is_empty() {
        let program = &asker.program;
        let what = format!("no saga has the id or the key {key}; `{program} sagas` lists them");
        return Err(CliError::NotFound(what));
    }
    items.into_iter().map(Found::of).collect()
}
