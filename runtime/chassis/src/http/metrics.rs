//! Counts, in the OpenMetrics text format.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::problem::Problem;

/// The one prefix of our names.
const PREFIX: &str = "fermata";
/// OpenMetrics text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// From a cached read to a request that is about to time out.
const SECONDS_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 10.0];

/// The registry of a process; clones share it. Names get the prefix `fermata_`, counters the
/// suffix `_total`. Labels have few values: never an id, never anything personal.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// An empty registry with the counts of the HTTP door.
    #[must_use]
    pub fn new() -> Metrics {
        let seconds = || Histogram::new(SECONDS_BUCKETS);
        let metrics = Metrics {
            registry: Arc::new(Mutex::new(Registry::with_prefix(PREFIX))),
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
        };
        metrics.register("http_requests", "Requests answered", metrics.requests.clone());
        let help = "Time from the request to the answer";
        metrics.register("http_request_seconds", help, metrics.seconds.clone());
        metrics
    }

    /// Adds a metric of any kind of `prometheus_client`; give a clone and keep one to write to.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(name, help, metric);
    }

    /// Adds a counter.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.register(name, help, counter.clone());
        counter
    }

    /// Adds a gauge.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.register(name, help, gauge.clone());
        gauge
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        encode(&mut text, &registry)?;
        Ok(text)
    }

    pub(super) fn answer(&self) -> Response {
        match self.text() {
            Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
            Err(_) => Problem::internal().into_response(),
        }
    }

    pub(super) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let labels = RequestLabels { method: method.into(), route: route.into(), status };
        self.requests.get_or_create(&labels).inc();
        let route = RouteLabels { route: route.into() };
        self.seconds.get_or_create(&route).observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_prefix_and_units() {
        let metrics = Metrics::new();
        metrics.counter("webhooks", "Webhooks taken").inc();
        metrics.answered("GET", "/api/orders/{id}", 200, Duration::from_millis(3));
        let text = metrics.text().expect("text");
        assert!(text.contains("fermata_webhooks_total 1"), "{text}");
        let line = "fermata_http_requests_total{method=\"GET\",route=\"/api/orders/{id}\",\
                    status=\"200\"} 1";
        assert!(text.contains(line), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
