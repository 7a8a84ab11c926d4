//! Logs and counts of what sagas do. Both come from the core's notes, which follow a durable batch
//! and are never made by a replay, so nothing is told twice.

use chassis::http::Metrics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};
use saga_core::{
    effect::{Note, Outcome, Verdict},
    fold::Status,
};
use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

/// From a saga of a few calls to one that waits for a month.
const SAGA_SECONDS: [f64; 10] =
    [0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 86_400.0, 604_800.0, 2_592_000.0];
/// From a commit on a fast disk to one that everybody feels.
const COMMIT_SECONDS: [f64; 9] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0];

/// Writes logs and metrics; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    started: Family<Of, Counter>,
    changed: Family<OfStatus, Counter>,
    seconds: Family<OfStatus, Histogram, fn() -> Histogram>,
    stale_answers: Counter,
    /// Second answers unlike the first.
    pub(crate) inconsistent_answers: Counter<u64, AtomicU64>,
    /// Answers for which there was no room; their requests are sent again.
    pub(crate) dropped_answers: Counter<u64, AtomicU64>,
    events: Family<OfOutcome, Counter>,
    batches: Counter,
    inputs: Counter,
    rows: Counter,
    commit_seconds: Histogram,
    /// Timers that are due but wait for intake.
    pub(crate) timers_held: Gauge<i64, AtomicI64>,
    /// Requests sent, first or again.
    pub(crate) requests: Counter<u64, AtomicU64>,
    /// Of these, those sent again.
    pub(crate) retries: Counter<u64, AtomicU64>,
    /// Calls that have no answer yet.
    pub(crate) calls_open: Gauge<i64, AtomicI64>,
    /// Attempts to give an event to the broker that it did not take.
    pub(crate) refused: Counter<u64, AtomicU64>,
    /// Events that the broker has taken from us.
    pub(crate) published: Counter<u64, AtomicU64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    definition: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStatus {
    definition: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: &'static str,
}

impl Telemetry {
    pub(crate) fn new(metrics: &Metrics) -> Telemetry {
        let seconds = || Histogram::new(SAGA_SECONDS);
        let it = Telemetry {
            started: Family::default(),
            changed: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            stale_answers: metrics
                .counter("stale_answers", "Answers of services that came late or twice"),
            inconsistent_answers: metrics
                .counter("inconsistent_answers", "Second answers of services unlike the first"),
            dropped_answers: metrics
                .counter("dropped_answers", "Answers for which the engine had no room"),
            events: Family::default(),
            batches: metrics.counter("engine_batches", "Batches made durable, one fsync each"),
            inputs: metrics.counter("engine_inputs", "Inputs applied in these batches"),
            rows: metrics.counter("store_rows", "Records and rows written in these batches"),
            commit_seconds: Histogram::new(COMMIT_SECONDS),
            timers_held: metrics
                .gauge("timers_held", "Timers that are due but wait until intake has caught up"),
            requests: metrics.counter("requests_sent", "Requests sent to services"),
            retries: metrics.counter("requests_repeated", "Requests sent again without an answer"),
            calls_open: metrics.gauge("calls_open", "Requests that have no answer yet"),
            refused: metrics
                .counter("events_refused", "Times that the broker did not take an event"),
            published: metrics.counter("events_published", "Events given to the broker"),
        };
        metrics.register("sagas_started", "Sagas begun", it.started.clone());
        metrics.register("saga_changes", "Sagas that came to a status", it.changed.clone());
        metrics.register("saga_seconds", "Time from start to end", it.seconds.clone());
        metrics.register("events", "Verdicts on events", it.events.clone());
        let help = "Time to make a batch durable";
        metrics.register("engine_commit_seconds", help, it.commit_seconds.clone());
        it
    }

    pub(crate) fn note(&self, note: &Note) {
        match note {
            Note::Started { saga, definition, key } => {
                self.started.get_or_create(&Of { definition: definition.clone() }).inc();
                tracing::info!(%saga, definition, key, "saga started");
            }
            // A reason may hold whatever a person or a service wrote: `show` has it.
            Note::Status { saga, definition, status, took_ms, .. } => {
                let labels = OfStatus { definition: definition.clone(), status: status.as_str() };
                self.changed.get_or_create(&labels).inc();
                if let Some(ms) = *took_ms {
                    let seconds = Duration::from_millis(ms).as_secs_f64();
                    self.seconds.get_or_create(&labels).observe(seconds);
                }
                match (status, status.as_str()) {
                    (Status::Attention, status) => {
                        tracing::error!(%saga, definition, status, "saga needs a person");
                    }
                    (_, status) => tracing::info!(%saga, definition, status, "saga changed"),
                }
            }
            Note::StaleAnswer { saga, step } => {
                self.stale_answers.inc();
                tracing::debug!(%saga, %step, "an answer that nobody waits for");
            }
        }
    }

    pub(crate) fn verdicts(&self, verdicts: &[Verdict]) {
        for verdict in verdicts {
            let outcome = outcome_text(verdict.outcome);
            self.events.get_or_create(&OfOutcome { outcome }).inc();
        }
    }

    pub(crate) fn committed(&self, inputs: usize, rows: usize, took: Duration) {
        self.batches.inc();
        self.rows.inc_by(rows as u64);
        self.inputs.inc_by(inputs as u64);
        self.commit_seconds.observe(took.as_secs_f64());
    }
}

/// As the API and the metrics spell it.
pub(crate) fn outcome_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Consumed => "consumed",
        Outcome::Started => "started",
        Outcome::Kept => "kept",
        Outcome::Late => "late",
        Outcome::Ignored => "ignored",
        Outcome::Unclaimed => "unclaimed",
        Outcome::Unrouted => "unrouted",
        Outcome::Duplicate => "duplicate",
        Outcome::Conflict => "conflict",
        Outcome::DuplicateStart => "duplicate_start",
        Outcome::ConflictingStart => "conflicting_start",
        Outcome::Announced => "announced",
        Outcome::Refused => "refused",
        Outcome::DeadLetter => "dead_letter",
    }
}
