//! Events whose headers the client of the broker cannot read.
//!
//! The broker takes any bytes as headers. The client ends, or begins anew, with a message whose
//! headers it cannot read; the message comes again and would end the next one, too. So what was
//! delivered and not acknowledged is read here as the broker keeps it, which the client takes for a
//! body, and becomes a dead letter like all else that cannot be read.

use super::{BusError, event::Message, intake::BROKEN, stream::CONSUMER};
use crate::engine::Handle;
use async_nats::jetstream::consumer;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use chassis::nats::{Nats, TRIGGERS};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use serde_json::json;
use std::{collections::BTreeSet, ops::RangeInclusive};
use tokio::sync::oneshot;

/// Questions to the broker at once: after a death in a flood tens of thousands of events are looked
/// at, and nothing is pulled meanwhile.
const LOOKS_AT_ONCE: usize = 32;
const VERSION: &str = "NATS/1.0";
/// Ends the deliveries of a message.
const TERM: &str = "+TERM";

/// What the broker says of one message; none when there is none.
#[derive(Deserialize)]
struct Answer {
    message: Option<Stored>,
}

/// A message as the broker keeps it: headers and body in base64.
#[derive(Deserialize)]
struct Stored {
    seq: u64,
    subject: String,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: DateTime<Utc>,
}

/// Makes dead letters of those that no client can take. What was taken is none of them.
pub(super) async fn set_aside(
    (nats, connection): (&Nats, u64),
    engine: &Handle,
    info: &consumer::Info,
    taken: &BTreeSet<u64>,
) -> Result<(), BusError> {
    let (first, last) = (info.ack_floor.stream_sequence + 1, info.delivered.stream_sequence);
    let width = (last + 1).saturating_sub(first) / LOOKS_AT_ONCE as u64 + 1;
    let parts = (0..).map(|it| first + it * width).take_while(|it| *it <= last);
    let looks = parts.map(|from| {
        let part = from..=last.min(from + width - 1);
        look_at((nats, connection), engine, part, taken)
    });
    futures::stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE).try_collect().await
}

/// A broker that does not let us look at them holds up nothing else.
async fn look_at(
    (nats, connection): (&Nats, u64),
    engine: &Handle,
    part: RangeInclusive<u64>,
    taken: &BTreeSet<u64>,
) -> Result<(), BusError> {
    let mut next = *part.start();
    while next <= *part.end() {
        if taken.contains(&next) {
            next += 1;
            continue;
        }
        let question = json!({ "seq": next, "next_by_subj": ">" });
        let subject = format!("STREAM.MSG.GET.{TRIGGERS}");
        let answer = match nats.jetstream().request(subject, &question).await {
            Ok(Answer { message }) => message,
            Err(error) => {
                tracing::warn!(%error, "cannot look at the events that come again");
                break;
            }
        };
        let Some(stored) = answer.filter(|it| part.contains(&it.seq)) else { break };
        next = stored.seq + 1;
        let headers = BASE64.decode(&stored.hdrs).unwrap_or_default();
        if !headers.is_empty() && !is_legible(&headers) {
            bury((nats, connection), engine, &stored).await?;
        }
    }
    Ok(())
}

/// Acknowledged when it is durable, as all others.
async fn bury(
    (nats, connection): (&Nats, u64),
    engine: &Handle,
    stored: &Stored,
) -> Result<(), BusError> {
    let Stored { seq: sequence, subject, time: published, .. } = stored;
    let (sequence, published) = (*sequence, *published);
    let body = BASE64.decode(&stored.data).unwrap_or_default();
    let (headers, body) = (None, body.as_slice());
    let message = Message { subject, headers, body, sequence, published };
    let (input, _) = message.unreadable("its headers break the protocol of NATS".to_owned());
    let (durable, is_durable) = oneshot::channel();
    let settled = move |_| {
        // Whoever waits ends with the process.
        let _gone = durable.send(());
    };
    engine.room().await?.event(input, Box::new(settled));
    is_durable.await.map_err(|_| BusError::Engine("the engine has stopped".into()))?;
    tracing::warn!(subject, sequence, "an event with headers that break the protocol is dead");
    if !nats.is_on(connection) {
        // Another event may have its number since: it comes again, and is a duplicate.
        return Err(BusError::Pull(BROKEN.into()));
    }
    // Of the numbers the broker looks at that in the stream alone.
    let acked = format!("$JS.ACK.{TRIGGERS}.{CONSUMER}.1.{sequence}.1.1.0");
    let heard = nats.client().request(acked, TERM.into()).await;
    heard.map(drop).map_err(|error| BusError::Pull(error.to_string()))
}

/// As the client reads them: a version, with a status at most, and fields.
fn is_legible(headers: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(headers) else { return false };
    let mut lines = text.lines();
    let version = lines.next().and_then(|it| it.strip_prefix(VERSION));
    let is_name = |it: &str| it.bytes().all(|byte| byte.is_ascii_graphic());
    let is_field = |line: &str| {
        let goes_on = line.starts_with(char::is_whitespace);
        !line.contains('\r')
            && (goes_on || line.split_once(':').is_some_and(|(name, _)| is_name(name)))
    };
    let is_status = |it: &str| it.is_empty() || it.len() == 3 && it.parse::<u16>().is_ok();
    let is_version = |it: &str| is_status(it.trim().split(' ').next().unwrap_or_default());
    version.is_some_and(is_version) && lines.filter(|it| !it.is_empty()).all(is_field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_client_reads_them() {
        for good in ["\r\n\r\n", "\r\nA: b\r\nC:\r\n d\r\n\r\n", " 409 No\r\nA: ü\r\n\r\n"] {
            assert!(is_legible(format!("{VERSION}{good}").as_bytes()), "{good:?}");
        }
        for bad in ["\r\nA: b\rc\r\n\r\n", "\r\nA\r\n\r\n", "\r\nA b: c\r\n\r\n", " no\r\n\r\n"] {
            assert!(!is_legible(format!("{VERSION}{bad}").as_bytes()), "{bad:?}");
        }
        assert!(!is_legible(b"NATS/1.0\r\nA: \xff\r\n\r\n"));
        assert!(!is_legible(b"A: b\r\n\r\n"));
    }
}
