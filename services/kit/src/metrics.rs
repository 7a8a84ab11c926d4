use chassis::http::Metrics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

/// What the kit counts.
#[derive(Clone, Debug)]
pub(crate) struct KitMetrics {
    calls: Family<CallLabels, Counter>,
    pub(crate) commits: Counter,
    pub(crate) published: Counter,
    pub(crate) refused: Counter,
    pub(crate) receipted: Counter,
    /// Events in flight, that is without a receipt.
    pub(crate) outstanding: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    subject: String,
    outcome: &'static str,
}

impl KitMetrics {
    pub(crate) fn new(metrics: &Metrics) -> KitMetrics {
        let calls = Family::default();
        metrics.register("service_calls", "Requests answered on NATS", calls.clone());
        KitMetrics {
            calls,
            commits: metrics.counter("service_commits", "Commits of the store"),
            published: metrics.counter("outbox_published", "Events that the broker took"),
            refused: metrics.counter("outbox_refused", "Times the broker did not take an event"),
            receipted: metrics.counter("outbox_receipted", "Events that the runtime holds"),
            outstanding: metrics.gauge("outbox_outstanding", "Events in flight without a receipt"),
        }
    }

    pub(crate) fn answered(&self, subject: &str, outcome: &'static str) {
        let labels = CallLabels { subject: subject.to_owned(), outcome };
        self.calls.get_or_create(&labels).inc();
    }
}
