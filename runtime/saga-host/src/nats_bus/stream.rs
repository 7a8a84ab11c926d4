//! The stream of events and our consumer of it: made, and compared with what was asked for.

use super::{BusError, window::UNACKED_MAX};
use crate::config::StreamConfig;
use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, PullConsumer, ReplayPolicy, pull},
    context::{ConsumerInfoError, ConsumerInfoErrorKind},
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
    /// The number of its last delivery.
    pub(super) delivered: u64,
    /// The last sequence of the stream.
    pub(super) last: u64,
}

/// Makes the stream and the consumer, or brings them up to date.
pub(super) async fn ensure(nats: &Nats, config: &StreamConfig) -> Result<Ready, BusError> {
    let jetstream = nats.jetstream();
    let wanted = triggers_stream(config.subjects.clone(), config.bytes_max, config.replicas);
    apply_stream(&jetstream, &wanted).await?;
    let wanted = consumer_config();
    if lies_on_disk(&jetstream).await {
        tracing::info!("the broker keeps the consumer of events on its disk: it is made anew");
        delete_consumer(&jetstream).await?;
    }
    let consumer = create_consumer(&jetstream, &wanted).await?;
    let info = consumer.cached_info();
    let differences = differences(&wanted, &info.config);
    if !differences.is_empty() {
        return Err(BusError::ConsumerDiffers(differences.join("; ")));
    }
    Ok(Ready {
        delivered: info.delivered.consumer_sequence,
        last: last_sequence(&jetstream).await?,
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

/// Whether there is a consumer as earlier versions made it. The broker changes no storage.
async fn lies_on_disk(jetstream: &jetstream::Context) -> bool {
    let there: Result<PullConsumer, _> =
        jetstream.get_consumer_from_stream(CONSUMER, TRIGGERS).await;
    there.is_ok_and(|it| !it.cached_info().config.memory_storage)
}

/// Looks whether the consumer still is what [`ensure`] has made. A broker that does not answer is
/// no reason to doubt it. Gives where the consumer stands, when that is known.
pub(super) async fn check(
    consumer: &PullConsumer,
) -> Result<Option<jetstream::consumer::Info>, BusError> {
    match consumer.get_info().await {
        Ok(info) => Ok(Some(info)),
        Err(error) if is_gone(&error) => Err(BusError::Pull(error.to_string())),
        Err(_) => Ok(None),
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

async fn last_sequence(jetstream: &jetstream::Context) -> Result<u64, BusError> {
    let stream = jetstream.get_stream(TRIGGERS).await;
    let stream = stream.map_err(|error| BusError::Pull(error.to_string()))?;
    Ok(stream.cached_info().state.last_sequence)
}

/// The broker keeps it in memory. On a disk that lost its power it could be torn, which the broker
/// takes for a consumer that can neither be used nor made anew, or know more than the stream does.
/// Nothing is lost with it: what is not acknowledged is in the stream and comes again.
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
        memory_storage: true,
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
