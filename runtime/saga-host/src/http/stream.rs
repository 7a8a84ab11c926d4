//! A saga's journal as server-sent events (WHATWG HTML, section 9.2), as it grows.
//!
//! A reader's own task reads the journal from where the reader stands, and hands one message after
//! the other to the connection; when it has handed over all, it waits to be told of more. What it
//! reads is durable, and nothing waits in memory but a piece of the journal: a reader that does not
//! keep up costs a place, not space, and loses even that.

mod cursor;
mod pace;

use super::{App, entries::ReadError, journal::RecordView, view::SagaView};
use crate::{
    feed::{Crowded, Readers, Watch},
    http::stream::{
        cursor::{Cursor, Mark, Message, News, NoPlace},
        pace::{Pace, TooSlow},
    },
};
use aide::{
    OperationInput,
    generate::{GenContext, in_context},
    openapi::{
        HeaderStyle, MediaType, Operation, Parameter, ParameterData, ParameterSchemaOrContent,
        ReferenceOr, Response as ApiResponse, SchemaObject,
    },
    operation::add_parameters,
    transform::TransformOperation,
};
use axum::{
    extract::{FromRequestParts, State},
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use chassis::http::{Path, Peer, Problem, Viewer, problems};
use futures::stream;
use saga_core::id::SagaId;
use schemars::{JsonSchema, json_schema};
use serde::Deserialize;
use std::{convert::Infallible, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use uuid::Uuid;

/// Proxies cut connections that are quiet for 30 s or more; the standard itself advises 15 s.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How soon a reader that was cut off comes back.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
/// Messages between a reader's task and its connection: enough to fill the connection's buffer.
const MESSAGES_AT_ONCE: usize = 16;
/// Before the engine is asked again when it has too much to do.
const ENGINE_PAUSE: Duration = Duration::from_millis(50);
/// For what is on its way to a reader when the process goes down.
const FAREWELL: Duration = Duration::from_secs(1);
/// When a place for a reader may be free again.
const RETRY_AFTER_S: u64 = 5;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells nginx, and those that learnt it from there, to pass each message on at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const EVENT_STREAM: &str = "text/event-stream";

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(super) struct StreamPath {
    /// The saga's id.
    id: Uuid,
}

/// The id of the last message that the reader has seen, if it has seen any.
pub(super) struct LastEventId(Option<Mark>);

/// Everything that the reader has not seen, and then what comes; 204 when nothing ever will.
pub(super) async fn stream(
    State(app): State<App>,
    _: Viewer,
    Path(StreamPath { id }): Path<StreamPath>,
    LastEventId(last): LastEventId,
    peer: Peer,
) -> Result<Response, Problem> {
    let saga = SagaId(id);
    let mut watch = app.readers.watch(saga, peer.party).await.map_err(crowded)?;
    watch.grown.mark_unchanged();
    let mut cursor = Cursor::new(app.engine.clone(), app.readers.visits(), saga);
    let news = cursor.begin(last).await?;
    if !cursor.has_journal() {
        return Err(super::sagas::unknown(saga));
    }
    let news = news.ok_or_else(never_given)?;
    if last.is_some() && news.ended.is_some() && news.is_taken() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (events, handed) = mpsc::channel(MESSAGES_AT_ONCE);
    let (readers, shutdown) = (app.readers.clone(), app.readers.shutdown.clone());
    tokio::spawn(async move {
        let connection = events.clone();
        let mut feeder = Feeder { cursor, watch, readers, events };
        let end = tokio::select! {
            end = feeder.feed(news) => end,
            () = shutdown.asked() => End::Stopping,
            () = connection.closed() => End::Gone,
        };
        end.log(saga);
        if matches!(end, End::Slow(_)) {
            app.readers.cut_off.inc();
        }
        drop((feeder, connection));
        match end {
            End::Slow(_) => peer.hang_up(),
            End::Stopping => {
                // Whoever reads has it all by then, and no other may hold up the stop.
                tokio::time::sleep(FAREWELL).await;
                peer.hang_up();
            }
            End::Over | End::Gone | End::Failed(_) => (),
        }
    });
    let messages = stream::unfold(handed, async |mut it: mpsc::Receiver<Event>| {
        it.recv().await.map(|event| (Ok::<_, Infallible>(event), it))
    });
    let alive = KeepAlive::new().interval(HEARTBEAT);
    let mut response = Sse::new(messages).keep_alive(alive).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// What the task of a reader has.
struct Feeder {
    cursor: Cursor,
    watch: Watch,
    readers: Readers,
    events: mpsc::Sender<Event>,
}

/// Why a stream ends.
enum End {
    /// The saga has ended.
    Over,
    /// The process goes down; the reader will find the next one.
    Stopping,
    /// The reader has left.
    Gone,
    /// The reader does not keep up.
    Slow(TooSlow),
    /// The engine has stopped, or the journal cannot be read.
    Failed(ReadError),
}

impl Feeder {
    async fn feed(&mut self, news: News) -> End {
        match self.feed_on(news).await {
            Ok(()) => End::Over,
            Err(end) => end,
        }
    }

    async fn feed_on(&mut self, mut news: News) -> Result<(), End> {
        let mut looked_at = Instant::now();
        let mut pace = Pace::of(news.records, Instant::now());
        self.hand(Event::default().retry(RECONNECT_AFTER), &mut pace).await?;
        loop {
            loop {
                for message in self.take(&mut news).await? {
                    self.hand(record_event(message)?, &mut pace).await?;
                }
                if news.is_taken() {
                    break;
                }
            }
            if let Some(head) = &news.ended {
                let saga = SagaView::of(head, &|_| Default::default());
                let event = Event::default().event("ended").json_data(saga).map_err(failed)?;
                return self.hand(event, &mut pace).await;
            }
            // The herald ends with the process.
            self.watch.grown.changed().await.map_err(|_| End::Stopping)?;
            tokio::time::sleep_until(looked_at + self.readers.pause()).await;
            looked_at = Instant::now();
            self.watch.grown.mark_unchanged();
            news = self.news().await?;
            pace = Pace::of(news.records, Instant::now());
        }
    }

    async fn take(&mut self, news: &mut News) -> Result<Vec<Message>, End> {
        loop {
            match self.cursor.take(news).await {
                Err(error) if error.is_full() => tokio::time::sleep(ENGINE_PAUSE).await,
                taken => return taken.map_err(End::Failed),
            }
        }
    }

    async fn news(&mut self) -> Result<News, End> {
        loop {
            match self.cursor.news().await {
                Err(error) if error.is_full() => tokio::time::sleep(ENGINE_PAUSE).await,
                news => return news.map_err(End::Failed),
            }
        }
    }

    /// Gives a message to the connection, which takes it when it has sent most of those before.
    async fn hand(&mut self, event: Event, pace: &mut Pace) -> Result<(), End> {
        loop {
            match tokio::time::timeout_at(pace.look_at(), self.events.reserve()).await {
                Ok(Ok(place)) => {
                    place.send(event);
                    pace.took(Instant::now());
                    return Ok(());
                }
                Ok(Err(_)) => return Err(End::Gone),
                Err(_) => {
                    let grown = *self.watch.grown.borrow();
                    pace.look(grown, Instant::now()).map_err(End::Slow)?;
                }
            }
        }
    }
}

fn record_event(Message { mark, record }: Message) -> Result<Event, End> {
    let event = Event::default().event("record").id(mark.to_string());
    event.json_data(record).map_err(failed)
}

/// What is stored is JSON, so this is a defect of ours.
fn failed(error: axum::Error) -> End {
    let reason = error.to_string();
    End::Failed(ReadError::Store(saga_core::store::StoreError::failed("show from", reason)))
}

impl End {
    fn log(&self, saga: SagaId) {
        match self {
            End::Over | End::Stopping | End::Gone => tracing::debug!(%saga, "a stream ends"),
            End::Slow(why) => tracing::info!(%saga, %why, "a stream is closed"),
            End::Failed(error) => tracing::warn!(%saga, %error, "a stream breaks off"),
        }
    }
}

fn crowded(crowded: Crowded) -> Problem {
    match crowded {
        Crowded::All => Problem::unavailable("too many streams are open; try again", RETRY_AFTER_S),
        Crowded::Address => {
            let detail = "too many streams are open from this address: close some";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after_s(RETRY_AFTER_S)
        }
    }
}

fn never_given() -> Problem {
    Problem::unprocessable("a header has a wrong value").field(
        "/Last-Event-ID",
        "must be the id of a message of this stream, of after the last restore of the store; leave \
         it out to begin anew",
    )
}

impl<S: Send + Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(LAST_EVENT_ID).iter();
        let mark = match (values.next(), values.next()) {
            (None, _) => return Ok(LastEventId(None)),
            // A client that has seen no message yet has an empty id.
            (Some(value), None) if value.is_empty() => return Ok(LastEventId(None)),
            (Some(value), None) => value.to_str().map_err(|_| NoPlace).and_then(str::parse),
            (Some(_), Some(_)) => Err(NoPlace),
        };
        mark.map(|it| LastEventId(Some(it))).map_err(|NoPlace| never_given())
    }
}

impl OperationInput for LastEventId {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let json_schema = ctx.schema.subschema_for::<String>();
        let schema = SchemaObject { json_schema, example: None, external_docs: None };
        let description = "The id of the last message that was seen; the stream goes on behind it";
        let parameter_data = ParameterData {
            name: "Last-Event-ID".into(),
            description: Some(description.into()),
            required: false,
            deprecated: None,
            format: ParameterSchemaOrContent::Schema(schema),
            example: None,
            examples: Default::default(),
            explode: None,
            extensions: Default::default(),
        };
        let parameter = Parameter::Header { parameter_data, style: HeaderStyle::Simple };
        add_parameters(ctx, operation, [parameter]);
    }
}

/// What the types do not say.
pub(super) fn document(op: TransformOperation<'_>) -> TransformOperation<'_> {
    let description = "Each message has event `record`, its place in the log as id, and a record \
        of the journal as data, in the order of the log: a fact that was held comes again, with \
        the same `entry`, when it is applied. Comments keep the connection alive. When the saga \
        has ended, a last message has event `ended` and the saga as data.";
    let mut op = problems(op, &[422, 429, 503])
        .summary("What happens to a saga, as it happens")
        .description(description)
        .response_with::<204, (), _>(|it| it.description("the saga has ended and all was seen"));
    let data = in_context(|ctx| {
        [ctx.schema.subschema_for::<RecordView>(), ctx.schema.subschema_for::<SagaView>()]
    });
    let message = json_schema!({
        "description": "One message of many.",
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": { "enum": ["record", "ended"] },
            "id": { "description": "The place to go on from.", "type": "string" },
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": { "anyOf": data },
            },
        },
    });
    let schema = SchemaObject { json_schema: message, example: None, external_docs: None };
    let media = MediaType { schema: Some(schema), ..MediaType::default() };
    let response = ApiResponse {
        description: "messages, until the saga ends".into(),
        content: [(EVENT_STREAM.to_owned(), media)].into_iter().collect(),
        ..ApiResponse::default()
    };
    let responses = op.inner_mut().responses.get_or_insert_with(Default::default);
    let code = aide::openapi::StatusCode::Code(200);
    responses.responses.insert(code, ReferenceOr::Item(response));
    op
}
