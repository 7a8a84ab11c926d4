//! The stream of events and our consumer of it: made, and compared with what was asked for.

use super::{BusError, window::UNACKED_MAX};
use crate::config::StreamConfig;
use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, PullConsumer, ReplayPolicy, pull},
    context::{ConsumerInfoError, ConsumerInfoErrorKind},
    stream::State,
};
use chassis::nats::{Nats, TRIGGERS, apply_stream, triggers_stream};
use std::time::Duration;

/// The durable consumer's name.
pub(super) const CONSUMER: &str = "fermata";
/// Soon enough after a crash: what was under way then comes again. Of what takes longer while we
/// live the broker is told that somebody is at it, see `acks`.
const ACK_WAIT: Duration = Duration::from_secs(3);
/// For ever: a message must never be stuck, undelivered, because it was delivered too often.
const DELIVERIES_UNLIMITED: i64 = -1;
/// What the server sets by itself; named, so that the comparison leaves nothing out.
const WAITING_MAX: i64 = 512;

/// A consumer that is as it should be, and where it stands.
pub(super) struct Ready {
    pub(super) consumer: PullConsumer,
    /// When the stream was created, in nanoseconds.
    pub(super) created_ns: i64,
    /// The number of its last delivery.
    pub(super) delivered: u64,
    /// The last sequence of the stream.
    pub(super) last: u64,
}

/// Makes the stream and the consumer, or brings them up to date.
pub(super) async fn ensure(nats: &Nats, config: &StreamConfig) -> Result<Ready, BusError> {
    let jetstream = nats.jetstream();
    let wanted = triggers_stream(config.subjects.clone(), config.bytes_max, config.replicas);
    let stream = apply_stream(&jetstream, &wanted).await?;
    let wanted = consumer_config();
    let mut consumer = create_consumer(&jetstream, &wanted).await?;
    let mut state = state(&jetstream).await?;
    if is_ahead(Passed::of(consumer.cached_info()), &state) {
        tracing::warn!("the broker has lost events but not their consumer: it is made anew");
        delete_consumer(&jetstream).await?;
        consumer = create_consumer(&jetstream, &wanted).await?;
        state = self::state(&jetstream).await?;
    }
    let info = consumer.cached_info();
    let differences = differences(&wanted, &info.config);
    if !differences.is_empty() {
        return Err(BusError::ConsumerDiffers(differences.join("; ")));
    }
    Ok(Ready {
        created_ns: stream.created.timestamp_nanos_opt().unwrap_or_default(),
        delivered: info.delivered.consumer_sequence,
        last: state.last_sequence,
        consumer,
    })
}

/// Makes the consumer anew: all that is not acknowledged comes at once and in the order of the
/// stream. Of the old one newer events would come first, and those that were taken before only
/// after a time-out.
pub(super) async fn anew(nats: &Nats, config: &StreamConfig) -> Result<Ready, BusError> {
    delete_consumer(&nats.jetstream()).await?;
    ensure(nats, config).await
}

async fn delete_consumer(jetstream: &jetstream::Context) -> Result<(), BusError> {
    let deleted = jetstream.delete_consumer_from_stream(CONSUMER, TRIGGERS).await;
    deleted.map(drop).map_err(|error| BusError::Consumer(error.to_string()))
}

/// Looks whether the consumer still is what [`ensure`] has made, and fits its stream. A broker that
/// does not answer is no reason to doubt it. Gives where the consumer stands, when that is known.
pub(super) async fn check(
    nats: &Nats,
    consumer: &PullConsumer,
) -> Result<Option<jetstream::consumer::Info>, BusError> {
    let info = match consumer.get_info().await {
        Ok(info) => info,
        Err(error) if is_gone(&error) => return Err(BusError::Pull(error.to_string())),
        Err(_) => return Ok(None),
    };
    match state(&nats.jetstream()).await {
        Ok(state) if is_ahead(Passed::of(&info), &state) => {
            Err(BusError::Pull("the broker has lost events but not their consumer".into()))
        }
        _ => Ok(Some(info)),
    }
}

fn is_gone(error: &ConsumerInfoError) -> bool {
    use ConsumerInfoErrorKind as Kind;
    matches!(error.kind(), Kind::NotFound | Kind::StreamNotFound)
}

async fn create_consumer(
    jetstream: &jetstream::Context,
    config: &pull::Config,
) -> Result<PullConsumer, BusError> {
    let consumer = jetstream.create_consumer_on_stream(config.clone(), TRIGGERS).await;
    consumer.map_err(|error| BusError::Consumer(error.to_string()))
}

async fn state(jetstream: &jetstream::Context) -> Result<State, BusError> {
    let stream = jetstream.get_stream(TRIGGERS).await;
    let stream = stream.map_err(|error| BusError::Pull(error.to_string()))?;
    Ok(stream.cached_info().state.clone())
}

/// What a consumer has behind it, as sequences of its stream.
#[derive(Clone, Copy)]
struct Passed {
    acknowledged: u64,
    delivered: u64,
}

impl Passed {
    fn of(info: &jetstream::consumer::Info) -> Passed {
        let acknowledged = info.ack_floor.stream_sequence;
        Passed { acknowledged, delivered: info.delivered.stream_sequence }
    }
}

/// Whether the consumer has passed events that are still in the stream, or that the stream never
/// had. A broker that lost the end of its disk numbers anew, and may keep what the consumer knew:
/// it would deliver none of the new events. Acknowledged events leave the stream, so the first one
/// in it stands above all that were. The consumer must have been asked before the stream.
fn is_ahead(consumer: Passed, stream: &State) -> bool {
    let has_passed = stream.messages > 0 && stream.first_sequence <= consumer.acknowledged;
    has_passed || stream.last_sequence < consumer.delivered
}

fn consumer_config() -> pull::Config {
    pull::Config {
        durable_name: Some(CONSUMER.into()),
        name: Some(CONSUMER.into()),
        description: Some("the runtime's own: it alone acknowledges events".into()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: DELIVERIES_UNLIMITED,
        replay_policy: ReplayPolicy::Instant,
        max_waiting: WAITING_MAX,
        max_ack_pending: UNACKED_MAX,
        inactive_threshold: Duration::ZERO,
        ..pull::Config::default()
    }
}

/// One line for each setting that the server has otherwise: field by field, since settings that are
/// left at their default are not on the wire.
fn differences(wanted: &pull::Config, applied: &jetstream::consumer::Config) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |name: &str, want: String, have: String| {
        if want != have {
            lines.push(format!("{name}: asked for {want}, is {have}"));
        }
    };
    macro_rules! compare_fields {
        ($($field:ident)*) => {
            $(compare(
                stringify!($field),
                format!("{:?}", wanted.$field),
                format!("{:?}", applied.$field),
            );)*
        };
    }
    compare_fields! {
        durable_name deliver_policy ack_policy ack_wait max_deliver filter_subject replay_policy
        rate_limit max_waiting max_ack_pending headers_only max_batch max_bytes max_expires
        inactive_threshold memory_storage backoff
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_nats::jetstream::consumer::IntoConsumerConfig as _;

    #[test]
    fn a_consumer_is_ahead_of_a_stream_that_numbers_anew() {
        let stream = |first: u64, last: u64, messages: u64| -> State {
            serde_json::from_value(serde_json::json!({
                "messages": messages, "bytes": 0, "first_seq": first, "last_seq": last,
                "consumer_count": 1, "first_ts": "2026-01-01T00:00:00Z",
                "last_ts": "2026-01-01T00:00:00Z",
            }))
            .expect("a state")
        };
        let is_ahead =
            |acknowledged, delivered, state| is_ahead(Passed { acknowledged, delivered }, &state);
        assert!(!is_ahead(0, 0, stream(0, 0, 0)), "both are new");
        assert!(!is_ahead(7, 7, stream(8, 7, 0)), "all is acknowledged");
        assert!(!is_ahead(5, 7, stream(6, 9, 4)), "some are under way");
        assert!(is_ahead(7, 7, stream(1, 3, 3)), "it would wait for number 8");
        assert!(is_ahead(7, 7, stream(0, 0, 0)), "and so would the next event");
        assert!(is_ahead(7, 7, stream(3, 9, 7)), "events that it has not had are behind it");
    }

    #[test]
    fn a_consumer_that_would_go_away_or_give_up_is_refused() {
        let wanted = consumer_config();
        let mut applied = wanted.clone().into_consumer_config();
        assert_eq!(differences(&wanted, &applied), Vec::<String>::new());
        applied.inactive_threshold = Duration::from_secs(5);
        applied.max_deliver = 5;
        let lines = differences(&wanted, &applied).join("; ");
        assert!(lines.contains("max_deliver: asked for -1, is 5"), "{lines}");
        assert!(lines.contains("inactive_threshold"), "{lines}");
    }
}
