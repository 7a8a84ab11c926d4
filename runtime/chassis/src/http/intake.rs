//! What happens to each request around its handler.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;
use uuid::Builder;

use super::door::Limits;
use super::metrics::Metrics;
use super::rate::RateLimit;
use super::serve::HEAD_BYTES_MAX;
use crate::problem::{PROBLEM_JSON, Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken from the caller.
const REQUEST_ID_CHARS_MAX: usize = 128;
/// When it is worth coming again after too many at once, and after a handler that took too long.
const RETRY_AFTER_S: u64 = 1;
/// How much of a body over the limit is still read.
const DRAIN_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Below this path each request proves by a signature who sent it. What does is not counted against
/// its address, so that whoever floods the path with forgeries, from behind the same proxy say,
/// does not shut out the provider; each of those that do not is.
pub const SIGNED_PREFIX: &str = "/webhooks/";
/// The route label of a path that is none of ours, so that strangers cannot grow the metrics.
const UNMATCHED: &str = "unmatched";

/// What the layers share.
pub(super) struct Intake {
    limits: Limits,
    rate: RateLimit,
    metrics: Metrics,
    /// One for each request that is read or handled now.
    places: Arc<Semaphore>,
}

/// Outermost: names the request, counts and logs it, and makes every error a problem.
pub(super) async fn observe(
    State(intake): State<Arc<Intake>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let method = request.method().as_str().to_owned();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or(UNMATCHED, MatchedPath::as_str).to_owned();
    let name = id.to_str().unwrap_or_default();
    let span = tracing::info_span!("request", id = name, method, route);
    let response = match head_bytes(&request) {
        ..=HEAD_BYTES_MAX => next.run(request).instrument(span.clone()).await,
        bytes => {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            let detail = format!("the head has {bytes} bytes, more than {HEAD_BYTES_MAX}");
            Problem::new(status, detail).into_response()
        }
    };
    let mut response = as_problem(response);
    let status = response.status().as_u16();
    let took = started.elapsed();
    // Methods are free text on the wire: those that are none of ours share one label.
    let label = if response.status() == StatusCode::METHOD_NOT_ALLOWED { "other" } else { &method };
    intake.metrics.answered(label, &route, status, took);
    span.in_scope(|| {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match status {
            500.. => tracing::warn!(status, ms, "answered"),
            _ => tracing::debug!(status, ms, "answered"),
        }
    });
    add_headers(response.headers_mut(), id);
    response
}

/// Inner: limits rate, number, size and time, and catches panics.
pub(super) async fn limit(
    State(intake): State<Arc<Intake>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = peer_of(&request);
    if !request.uri().path().starts_with(SIGNED_PREFIX) {
        let admitted = intake.take(peer).and_then(|()| intake.place());
        return admit(&intake, admitted, request, next).await;
    }
    let answer = admit(&intake, intake.place(), request, next).await;
    if !answer.status().is_client_error() {
        return answer;
    }
    intake.take(peer).map_or_else(Problem::into_response, |()| answer)
}

/// Reads the body of a request that may come in, and lets its handler answer.
async fn admit(
    intake: &Intake,
    admitted: Result<OwnedSemaphorePermit, Problem>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let bytes_max = intake.limits.body_bytes_max;
    let reading = async {
        match admitted {
            Ok(place) => read(body, bytes_max).await.map(|body| (place, body)),
            Err(problem) => {
                drain(body, bytes_max).await;
                Err(problem)
            }
        }
    };
    let (place, body) = match tokio::time::timeout(intake.limits.request_timeout, reading).await {
        Ok(Ok(it)) => it,
        Ok(Err(problem)) => return problem.into_response(),
        Err(_) => {
            let detail = "the body did not arrive in time";
            return Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response();
        }
    };
    let answer = handle(&intake.limits, next.run(Request::from_parts(parts, Body::from(body))));
    let answer = answer.await;
    drop(place);
    answer
}

/// Lets a handler answer, within its time, and survives it.
async fn handle(limits: &Limits, handler: impl Future<Output = Response>) -> Response {
    let caught = AssertUnwindSafe(handler).catch_unwind();
    match tokio::time::timeout(limits.request_timeout, caught).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            tracing::error!(panic = panic_text(panic.as_ref()), "a handler panicked");
            Problem::internal().into_response()
        }
        Err(_) => {
            tracing::error!("a handler did not answer in time");
            let detail = "this took too long; what was begun may still be done";
            Problem::unavailable(detail, RETRY_AFTER_S).into_response()
        }
    }
}

impl Intake {
    pub(super) fn new(limits: Limits, metrics: Metrics) -> Intake {
        let rate = RateLimit::per_second(limits.requests_per_s);
        let places = Arc::new(Semaphore::new(limits.requests_max));
        Intake { limits, rate, metrics, places }
    }

    /// Counts a request of this address, if it has not had too many.
    fn take(&self, peer: IpAddr) -> Result<(), Problem> {
        self.rate.take(peer).map_err(|wait| Problem::too_many_requests(wait.as_secs() + 1))
    }

    /// A place for a request, if there is one.
    fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Problem::unavailable("too many requests at once", RETRY_AFTER_S))
    }
}

/// What the request's line and headers take, about.
fn head_bytes(request: &Request) -> usize {
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len());
    request.uri().path_and_query().map_or(0, |it| it.as_str().len()) + headers.sum::<usize>()
}

fn peer_of(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // Only a test that calls the router without a connection has no peer.
    peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |it| it.0.ip())
}

/// Reads the whole body. One over the limit is read on, up to a bound, and thrown away.
async fn read(mut body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Problem::bad_request("the body broke off, or its framing is wrong"));
        };
        let Ok(data) = frame.into_data() else { continue };
        if kept.len() + data.len() > bytes_max {
            drop(kept);
            drain(body, DRAIN_BYTES_MAX).await;
            let detail = format!("the body is over the limit of {bytes_max} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        kept.extend_from_slice(&data);
    }
    Ok(kept.freeze())
}

/// Reads on and throws away, so that the sender of a body that is refused sees the answer instead
/// of a reset connection. Whoever sends more than the bound gets the reset.
async fn drain(mut body: Body, bytes_max: usize) {
    let mut seen = 0;
    while let Some(Ok(frame)) = body.frame().await {
        seen += frame.data_ref().map_or(0, Bytes::len);
        if seen > bytes_max {
            return;
        }
    }
}

/// The caller's id when it can be logged as it is, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let fits = |value: &&HeaderValue| {
        (1..=REQUEST_ID_CHARS_MAX).contains(&value.len())
            && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    let given = headers.get(REQUEST_ID).filter(fits).cloned();
    let random = || Builder::from_random_bytes(rand::random()).into_uuid();
    let new = || HeaderValue::from_str(&random().to_string());
    given.or_else(|| new().ok()).unwrap_or(HeaderValue::from_static("none"))
}

/// Errors that the framework made are plain text; callers get one form only.
fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|it| it.as_bytes().starts_with(PROBLEM_JSON.as_bytes()));
    if !(status.is_client_error() || status.is_server_error()) || is_problem {
        return response;
    }
    let detail = match status {
        StatusCode::NOT_FOUND => "nothing has this path",
        StatusCode::METHOD_NOT_ALLOWED => "this path has no such method; Allow names those it has",
        _ => "the request could not be served",
    };
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut problem = Problem::new(status, detail).into_response();
    if let Some(allow) = allow {
        problem.headers_mut().insert(header::ALLOW, allow);
    }
    problem
}

fn add_headers(headers: &mut HeaderMap, id: HeaderValue) {
    headers.insert(REQUEST_ID, id);
    let defaults = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
    ];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
