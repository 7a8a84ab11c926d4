//! Puts a process's own routes behind the layers that all share.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use aide::openapi::{Info, OpenApi};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router, middleware};
use bytes::Bytes;
use serde_json::Value;

use super::auth::Tokens;
use super::document::{self, Procedure};
use super::health::{Health, Ready};
use super::intake::{Intake, limit, observe};
use super::metrics::{CONTENT_TYPE, Metrics};
use super::{Json, problems};
use crate::config::{Environment, Source};

/// An order with the most items that one may have fits twice.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Slower than any handler, faster than a caller's patience.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a mobile phone is without a network in a tunnel; what such a peer holds is bounded
/// by the connections of its address.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// One shop's front end, or an office behind one address.
const REQUESTS_PER_S: NonZeroU32 = NonZeroU32::new(100).expect("100 is not zero");
/// Everything of a developer's machine, load tests too, comes from one address.
const REQUESTS_PER_S_DEVELOPMENT: NonZeroU32 = NonZeroU32::new(5_000).expect("not zero");

/// More than any of our loads needs; with the largest bodies they hold 1 GiB.
const REQUESTS_MAX: usize = 1_024;

/// A browser opens six, a gateway in front some dozens; far below [`REQUESTS_MAX`], so that slow
/// senders of one address do not take all places.
const CONNECTIONS_PER_ADDRESS: usize = 256;
/// As with the rate, all of a developer's machine is one address; less than all connections, so
/// that the limit is there too.
const CONNECTIONS_PER_ADDRESS_DEVELOPMENT: usize = 2_048;

/// The routes that each process has, beside the limits.
const STANDARD: [&str; 4] = ["/livez", "/readyz", "/metrics", "/openapi.json"];

/// How much a caller may ask for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest body that is taken.
    pub body_bytes_max: usize,
    /// Requests per second and at once from one peer address (IPv6: one /64 network).
    pub requests_per_s: NonZeroU32,
    /// Requests that are read and handled at once, each of which may hold a body in memory; more
    /// are told to come again.
    pub requests_max: usize,
    /// Open connections of one peer address (IPv6: one /64 network); the next is told 429.
    pub connections_per_address: usize,
    /// For the body to arrive, and again for the handler to answer.
    pub request_timeout: Duration,
    /// How long a peer may take nothing of what is sent to it; within twice this time its
    /// connection is closed. One that reads slowly but gets on is not concerned, nor is a stream
    /// with nothing to say.
    pub send_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes_max: BODY_BYTES_MAX,
            requests_per_s: REQUESTS_PER_S,
            requests_max: REQUESTS_MAX,
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            request_timeout: REQUEST_TIMEOUT,
            send_timeout: SEND_TIMEOUT,
        }
    }
}

impl Limits {
    /// Reads `FERMATA_HTTP_BODY_BYTES_MAX`, `FERMATA_HTTP_REQUESTS_PER_S`,
    /// `FERMATA_HTTP_REQUESTS_MAX`, `FERMATA_HTTP_CONNECTIONS_PER_ADDRESS`,
    /// `FERMATA_HTTP_TIMEOUT_MS` and `FERMATA_HTTP_SEND_TIMEOUT_MS`.
    pub fn read(source: &mut Source) -> Option<Limits> {
        let (rate, connections) = match source.environment() {
            Environment::Production => (REQUESTS_PER_S, CONNECTIONS_PER_ADDRESS),
            Environment::Development => {
                (REQUESTS_PER_S_DEVELOPMENT, CONNECTIONS_PER_ADDRESS_DEVELOPMENT)
            }
        };
        let bytes = "a number of bytes";
        let body_bytes_max = source.or("FERMATA_HTTP_BODY_BYTES_MAX", BODY_BYTES_MAX, bytes);
        let rates = "a number of requests per second and address, at least 1";
        let requests_per_s = source.or("FERMATA_HTTP_REQUESTS_PER_S", rate, rates);
        let at_once = "a number of requests";
        let requests_max = source.or("FERMATA_HTTP_REQUESTS_MAX", REQUESTS_MAX, at_once);
        let open = "a number of connections";
        let connections_per_address =
            source.or("FERMATA_HTTP_CONNECTIONS_PER_ADDRESS", connections, open);
        let request_timeout = source.milliseconds("FERMATA_HTTP_TIMEOUT_MS", REQUEST_TIMEOUT);
        let send_timeout = source.milliseconds("FERMATA_HTTP_SEND_TIMEOUT_MS", SEND_TIMEOUT);
        Some(Limits {
            body_bytes_max: body_bytes_max?,
            requests_per_s: requests_per_s?,
            requests_max: requests_max?,
            connections_per_address: connections_per_address?,
            request_timeout: request_timeout?,
            send_timeout: send_timeout?,
        })
    }
}

/// What a process brings to its door.
#[derive(Clone, Debug)]
pub struct Door {
    /// The title in the OpenAPI document.
    pub title: &'static str,
    /// One sentence on what the process does, for the same place.
    pub description: &'static str,
    /// How much a caller may ask for.
    pub limits: Limits,
    /// Who may ask for more than what is public.
    pub tokens: Tokens,
    /// What `/readyz` tells.
    pub health: Health,
    /// What `/metrics` tells.
    pub metrics: Metrics,
}

impl Door {
    /// Completes the routes: adds the standard ones, documents all, and puts the layers around.
    pub fn router(&self, routes: ApiRouter) -> Router {
        self.router_with(routes, &[])
    }

    /// As [`Door::router`], of a process that answers these procedures too.
    pub fn router_with(&self, routes: ApiRouter, procedures: &[Procedure]) -> Router {
        let mut api = self.document();
        let document = Arc::new(OnceLock::new());
        let intake = Arc::new(Intake::new(self.limits.clone(), self.metrics.clone()));
        // The standard routes stand beside the limits: a flood must not make a process look dead.
        let limited = routes
            .layer(Extension(Arc::new(self.tokens.clone())))
            .layer(middleware::from_fn_with_state(Arc::clone(&intake), limit));
        let router = limited.merge(self.standard_routes(Arc::clone(&document))).finish_api_with(
            &mut api,
            |mut api| {
                document::declare_bearer(api.inner_mut());
                document::add_common(api.inner_mut(), &STANDARD);
                document::list_procedures(api.inner_mut(), procedures);
                api
            },
        );
        // The routes are there before the document of them all.
        let _it_is_first = document.set(Bytes::from(serde_json::to_vec(&api).unwrap_or_default()));
        router.layer(middleware::from_fn_with_state(intake, observe))
    }

    fn standard_routes(&self, document: Arc<OnceLock<Bytes>>) -> ApiRouter {
        let (health, metrics) = (self.health.clone(), self.metrics.clone());
        let readyz = move || std::future::ready(health.readyz());
        let metrics = move || std::future::ready(metrics.answer());
        let answer = move || std::future::ready(json(document.get().cloned().unwrap_or_default()));
        ApiRouter::new()
            .api_route(
                "/openapi.json",
                get_with(answer, |op| {
                    op.summary("This document").response::<200, Json<BTreeMap<String, Value>>>()
                }),
            )
            .api_route("/livez", get_with(livez, |op| op.summary("Whether the process runs")))
            .api_route(
                "/readyz",
                get_with(readyz, |op| {
                    problems(op.summary("Whether it can do its work"), &[503])
                        .response::<200, Json<Ready>>()
                }),
            )
            .api_route(
                "/metrics",
                get_with(metrics, |op| document::answers_text(op.summary("Counts"), CONTENT_TYPE)),
            )
    }

    fn document(&self) -> OpenApi {
        OpenApi {
            info: Info {
                title: self.title.into(),
                description: Some(format!("{} {}", self.description, document::UNREAD)),
                version: env!("CARGO_PKG_VERSION").into(),
                ..Info::default()
            },
            ..OpenApi::default()
        }
    }
}

async fn livez() -> &'static str {
    "alive\n"
}

fn json(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
