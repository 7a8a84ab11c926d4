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
use tracing::Instrument as _;
use uuid::Builder;

use super::door::Limits;
use super::metrics::Metrics;
use super::rate::RateLimit;
use crate::problem::{PROBLEM_JSON, Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken from the caller.
const REQUEST_ID_CHARS_MAX: usize = 128;
/// How much of a body that is refused is still read, so that its sender sees the answer instead
/// of a reset connection. Whoever sends more gets the reset.
const DRAIN_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The route label of a path that is none of ours, so that strangers cannot grow the metrics.
const UNMATCHED: &str = "unmatched";

/// What the layers share.
pub(super) struct Intake {
    pub(super) limits: Limits,
    pub(super) rate: RateLimit,
    pub(super) metrics: Metrics,
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
    let response = next.run(request).instrument(span.clone()).await;
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

/// Inner: limits rate, size and time, and catches panics.
pub(super) async fn limit(
    State(intake): State<Arc<Intake>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // Only a test that calls the router without a connection has no peer.
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |it| it.0.ip());
    let allowed = intake.rate.take(peer);
    let (parts, body) = request.into_parts();
    let reading = read(body, intake.limits.body_bytes_max);
    let body = match tokio::time::timeout(intake.limits.request_timeout, reading).await {
        Ok(Ok(body)) => body,
        Ok(Err(problem)) => return problem.into_response(),
        Err(_) => {
            let detail = "the body did not arrive in time";
            return Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response();
        }
    };
    if let Err(wait) = allowed {
        return Problem::too_many_requests(wait.as_secs() + 1).into_response();
    }
    let handler = next.run(Request::from_parts(parts, Body::from(body)));
    let caught = AssertUnwindSafe(handler).catch_unwind();
    match tokio::time::timeout(intake.limits.request_timeout, caught).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            tracing::error!(panic = panic_text(panic.as_ref()), "a handler panicked");
            Problem::internal().into_response()
        }
        Err(_) => {
            tracing::error!("a handler did not answer in time");
            Problem::unavailable("this took too long; what was begun may still be done", 1)
                .into_response()
        }
    }
}

/// Reads the whole body. One over the limit is read on, up to a bound, and thrown away.
async fn read(mut body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let mut kept = BytesMut::new();
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Problem::bad_request("the body broke off, or its framing is wrong"));
        };
        let Ok(data) = frame.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen > DRAIN_BYTES_MAX.max(bytes_max) {
            break;
        }
        if seen <= bytes_max {
            kept.extend_from_slice(&data);
        }
    }
    if seen > bytes_max {
        let detail = format!("the body is over the limit of {bytes_max} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(kept.freeze())
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
