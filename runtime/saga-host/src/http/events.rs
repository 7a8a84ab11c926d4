//! Every event, and what became of it.

use super::{App, LOOKED_FOR_MAX, cursor, entries::VISIT_BYTES_MAX, internal, view::EventView};
use crate::{
    door::{actor_of, busy, say_taken},
    names::{VerdictName, spelt},
    nats_bus::Kept,
    sled_store::SledStore,
};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use chassis::http::{
    Accepted, Json, Operator, Page, Path, Problem, Query, Viewer, page_items_default,
};
use saga_core::{
    codec::{NoteRecord, decode},
    core::Core,
    id::{Position, Time},
    input::Command,
    store::{Kind, Store as _, StoreError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Instant;
use validator::Validate;

/// Records that one look reads at most, as the engine waits meanwhile.
const LOOKED_AT_MAX: usize = 64;

/// Which events.
#[derive(Clone, Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Only those with this verdict.
    verdict: Option<VerdictName>,
    /// Most items of the page; with a verdict there may be fewer though there is a next page.
    #[serde(default = "page_items_default")]
    #[validate(range(min = 1, max = 200, message = "must be 1 to 200"))]
    #[schemars(range(min = 1, max = 200))]
    limit: u16,
    /// The `next` of the page before.
    cursor: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(super) struct EventPath {
    /// Its place in the log.
    position: Position,
}

/// Why an event is offered again.
#[derive(Clone, Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct OfferBody {
    /// For the audit.
    #[validate(length(min = 1, max = 1000, message = "must have 1 to 1000 characters"))]
    #[schemars(length(min = 1, max = 1000))]
    reason: String,
}

pub(super) async fn list(
    State(app): State<App>,
    _: Viewer,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Page<EventView>>, Problem> {
    let mut before: Option<Position> = cursor(query.cursor.as_deref())?;
    let limit = usize::from(query.limit);
    let verdict = query.verdict.map(spelt);
    let (began, mut items) = (Instant::now(), Vec::new());
    let next = loop {
        // One more than asked for tells whether there is a next page.
        let wanted = limit + 1 - items.len();
        let verdict = verdict.clone();
        let look = move |core: &Core<SledStore>| page(core, verdict.as_deref(), before, wanted);
        let (found, next) =
            app.engine.read(look).await.map_err(busy)?.map_err(|error| internal(&error))?;
        items.extend(found);
        if limit < items.len() {
            items.truncate(limit);
            break items.last().map(EventView::position);
        }
        before = next;
        if before.is_none() || LOOKED_FOR_MAX <= began.elapsed() {
            break before;
        }
    };
    Ok(Json(Page { items, next: next.map(|it| it.to_string()) }))
}

/// One event, with its body.
pub(super) async fn one(
    State(app): State<App>,
    _: Viewer,
    Path(EventPath { position }): Path<EventPath>,
) -> Result<Json<EventView>, Problem> {
    view_of(&app, position).await.map(Json)
}

async fn view_of(app: &App, position: Position) -> Result<EventView, Problem> {
    let look = move |core: &Core<SledStore>| match event(core, Kind::Event, position)? {
        Some(view) => Ok(Some(view)),
        None => event(core, Kind::Note, position),
    };
    let found: Result<_, StoreError> = app.engine.read(look).await.map_err(busy)?;
    let unknown = || Problem::not_found(format!("there is no event at position {position}"));
    found.map_err(|error| internal(&error))?.ok_or_else(unknown)
}

/// 202 when it was taken in now, 200 when it was before.
pub(super) async fn offer(
    State(app): State<App>,
    Operator(caller): Operator,
    Path(EventPath { position }): Path<EventPath>,
    Json(body): Json<OfferBody>,
) -> Result<Response, Problem> {
    let kept = app.engine.read(move |core| dead_letter(core, position)).await.map_err(busy)?;
    let kept = kept.map_err(|error| internal(&error))?;
    let reread = kept.map(|it| Box::new(it.0.reread()));
    let command = Command::Offer { position, reason: body.reason, reread };
    let is_new = say_taken(app.engine.ask(actor_of(&caller), command).await)?;
    let view = view_of(&app, position).await?;
    Ok(if is_new { Accepted(view).into_response() } else { Json(view).into_response() })
}

type Found = (Vec<EventView>, Option<Position>);

fn page(
    core: &Core<SledStore>,
    verdict: Option<&str>,
    before: Option<Position>,
    limit: usize,
) -> Result<Found, StoreError> {
    let mut items = Vec::new();
    let positions = core.store().records_before(before, LOOKED_AT_MAX)?;
    let was_cut = positions.len() == LOOKED_AT_MAX;
    let last = positions.last().map(|it| it.1);
    let mut bytes = 0;
    for (kind, position) in positions {
        let Some(view) = event(core, kind, position)? else { continue };
        bytes += view.body_bytes();
        if verdict.is_none_or(|it| view.has(it)) {
            items.push(view.without_body());
            if items.len() == limit {
                return Ok((items, Some(position)));
            }
        }
        if VISIT_BYTES_MAX < bytes {
            return Ok((items, Some(position)));
        }
    }
    Ok((items, last.filter(|_| was_cut)))
}

/// The event or dead letter at this place, with what became of it when it was offered again.
fn event(
    core: &Core<SledStore>,
    kind: Kind,
    position: Position,
) -> Result<Option<EventView>, StoreError> {
    let view = match kind {
        Kind::Event => core.event(position)?.map(EventView::of),
        _ => dead_letter(core, position)?
            .map(|(kept, at, reason)| EventView::dead(position, &kept, at, reason)),
    };
    let Some(view) = view else { return Ok(None) };
    let Some(row) = core.offered(position)? else { return Ok(Some(view)) };
    let became = match row.event == position {
        true => None,
        false => core.event(row.event)?.map(EventView::of),
    };
    Ok(Some(view.offered(row, became)))
}

/// A message that was no event, as the log keeps it.
fn dead_letter(
    core: &Core<SledStore>,
    position: Position,
) -> Result<Option<(Kept, Time, String)>, StoreError> {
    let Some(bytes) = core.store().record(Kind::Note, position)? else { return Ok(None) };
    Ok(match decode(&bytes)? {
        NoteRecord::DeadLetter { at, name, id, body, is_base64, headers, published_at, reason } => {
            let published_at = published_at.unwrap_or_default();
            Some((Kept { name, id, body, is_base64, headers, published_at }, at, reason))
        }
        _ => None,
    })
}
