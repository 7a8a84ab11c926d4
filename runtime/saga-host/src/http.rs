//! The runtime's HTTP API. Reads answer from durable rows, between two batches of the engine.
//!
//! | route | role |
//! |---|---|
//! | `GET /api/sagas`, `/api/sagas/{id}`, `/api/sagas/{id}/{journal,stream}` | viewer |
//! | `POST /api/sagas/{id}/{pause,resume,cancel,terminate,retry}` | operator |
//! | `GET /api/definitions` | viewer |
//! | `POST /api/definitions/{name}/sagas` | operator |
//! | `GET /api/tasks` | viewer |
//! | `POST /api/tasks/{id}/decision` | approver |
//! | `GET /api/events`, `/api/events/{position}` | viewer |
//! | `POST /api/events/{position}/offer` | operator |
//!
//! Whatever is done or shown carries the header `Fermata-Store`: the instance of the store, so that
//! whoever has two systems sees which of them it was.

mod clock;
mod definitions;
mod entries;
mod events;
mod journal;
mod sagas;
mod stream;
mod tasks;
mod view;

use crate::{engine::Handle, feed::Readers, nats_bus::UnderWay};
use aide::{
    axum::{
        ApiRouter,
        routing::{get_with, post_with},
    },
    transform::TransformOperation,
};
use axum::{
    extract::State,
    http::{HeaderName, HeaderValue},
    middleware::map_response_with_state,
    response::Response,
};
use chassis::clock::Clock;
use chassis::http::{Accepted, Created, Json, Page, Problem, or_text, problems};
use saga_core::store::StoreError;
use std::{str::FromStr, time::Duration};
use uuid::Uuid;

/// How long a list looks for what fits; a page that is not full by then says where to go on.
const LOOKED_FOR_MAX: Duration = Duration::from_secs(2);

/// Names the instance of the store that an answer came from.
pub(crate) const STORE: HeaderName = HeaderName::from_static("fermata-store");

/// What handlers share.
#[derive(Clone)]
pub(crate) struct App {
    /// Of the store.
    pub(crate) instance: Uuid,
    pub(crate) engine: Handle,
    pub(crate) under_way: UnderWay,
    pub(crate) readers: Readers,
    pub(crate) clock: Clock,
}

impl App {
    pub(crate) fn new(
        instance: Uuid,
        engine: &Handle,
        under_way: &UnderWay,
        readers: Readers,
        clock: Clock,
    ) -> App {
        let (engine, under_way) = (engine.clone(), under_way.clone());
        App { instance, engine, under_way, readers, clock }
    }
}

/// All routes.
pub(crate) fn routes(app: App) -> ApiRouter {
    ApiRouter::new()
        .api_route("/api/sagas", get_with(sagas::list, |op| op.summary("Sagas, newest first")))
        .api_route("/api/sagas/{id}", get_with(sagas::one, |op| op.summary("A saga")))
        .api_route(
            "/api/sagas/{id}/journal",
            get_with(journal::page, |op| {
                or_text(
                    op.summary("What happened to a saga and what it decided, oldest first")
                        .response::<200, Json<Page<journal::RecordView>>>(),
                )
            }),
        )
        .api_route("/api/sagas/{id}/stream", get_with(stream::stream, stream::document))
        .api_route("/api/sagas/{id}/{action}", post_with(sagas::make_move, moved))
        .api_route(
            "/api/definitions",
            get_with(definitions::list, |op| op.summary("What this binary runs")),
        )
        .api_route("/api/definitions/{name}/sagas", post_with(sagas::start, started))
        .api_route("/api/tasks", get_with(tasks::list, |op| op.summary("What waits for people")))
        .api_route("/api/tasks/{id}/decision", post_with(tasks::decide, decided))
        .api_route(
            "/api/events",
            get_with(events::list, |op| op.summary("Events and their verdicts, newest first")),
        )
        .api_route(
            "/api/events/{position}",
            get_with(events::one, |op| op.summary("An event with its body")),
        )
        .api_route("/api/events/{position}/offer", post_with(events::offer, offered))
        .api_route(
            "/api/clock",
            get_with(clock::show, |op| op.summary("The time that the runtime believes in")),
        )
        .api_route("/api/clock/accept", post_with(clock::accept, accepted))
        .layer(map_response_with_state(app.clone(), name_store))
        .with_state(app)
}

/// Who is refused at the door is told nothing of what is behind it.
async fn name_store(State(app): State<App>, mut response: Response) -> Response {
    if response.status().is_success()
        && let Ok(value) = HeaderValue::try_from(app.instance.to_string())
    {
        response.headers_mut().insert(STORE, value);
    }
    response
}

fn moved(op: TransformOperation<'_>) -> TransformOperation<'_> {
    problems(op, &[409])
        .summary("Pause, resume, cancel, terminate or retry a saga")
        .response::<202, Accepted<view::SagaView>>()
        .response::<200, Json<view::SagaView>>()
}

fn started(op: TransformOperation<'_>) -> TransformOperation<'_> {
    problems(op, &[404, 409])
        .summary("Start a saga by hand")
        .response::<201, Created<view::SagaView>>()
        .response::<200, Json<view::SagaView>>()
}

fn offered(op: TransformOperation<'_>) -> TransformOperation<'_> {
    problems(op, &[404, 409])
        .summary("Offer an event again that could not be used, or that nobody wanted")
        .response::<202, Accepted<view::EventView>>()
        .response::<200, Json<view::EventView>>()
}

fn accepted(op: TransformOperation<'_>) -> TransformOperation<'_> {
    problems(op, &[409])
        .summary("Say that a suspect clock is right")
        .response::<200, Json<clock::ClockView>>()
}

fn decided(op: TransformOperation<'_>) -> TransformOperation<'_> {
    problems(op, &[404, 409])
        .summary("Decide a task")
        .response::<202, Accepted<tasks::DecidedView>>()
        .response::<200, Json<tasks::DecidedView>>()
}

/// What a list goes on from. It reads back as we write it and in no other way: signs, leading zeros
/// and capitals are not ours.
fn cursor<T: FromStr + ToString>(text: Option<&str>) -> Result<Option<T>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let read = text.parse::<T>().ok().filter(|it| it.to_string() == text);
    let refusal = || {
        Problem::unprocessable("the query has a wrong parameter")
            .field("/cursor", "must be the `next` of the page before")
    };
    read.map(Some).ok_or_else(refusal)
}

/// A row that does not read back: the caller can do nothing about it.
fn internal(error: &StoreError) -> Problem {
    tracing::error!(%error, "a question could not be answered");
    Problem::internal()
}
