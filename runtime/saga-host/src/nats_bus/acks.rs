//! Events that are durable: acknowledged to the broker, receipted to whoever asked for it.

use super::{owner::Voice, tide::Flow};
use async_nats::jetstream::{AckKind, message::Acker};
use chassis::{crash, nats::Nats};
use futures::{StreamExt as _, stream::FuturesUnordered};
use prometheus_client::metrics::counter::Counter;
use std::collections::BTreeMap;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// Acknowledgements that wait for the broker's word at once: as many as it lets be open.
const ACKS_MAX: usize = 512;
/// Ids of one receipt: far below the largest message.
const RECEIPT_IDS_MAX: usize = 256;

/// An event that the broker delivered.
pub(super) struct Delivery {
    pub(super) acker: Acker,
    pub(super) receipt: Option<Receipt>,
    /// Its sequence in the stream.
    pub(super) sequence: u64,
}

/// Who wants to know that it is durable.
pub(super) struct Receipt {
    pub(super) subject: String,
    pub(super) id: String,
}

/// An event that is durable.
pub(super) struct Settlement {
    pub(super) delivery: Delivery,
    /// Nobody can use it: the broker need not give it again.
    pub(super) is_dead: bool,
}

/// Acknowledges and receipts until the engine and the intake are gone.
pub(super) struct Acks {
    pub(super) nats: Nats,
    /// Says in receipts which store this is.
    pub(super) voice: Voice,
    pub(super) flow: UnboundedSender<Flow>,
    pub(super) failures: Counter,
}

impl Acks {
    pub(super) async fn run(self, mut settled: UnboundedReceiver<Settlement>) {
        let mut under_way = FuturesUnordered::new();
        let mut is_open = true;
        while is_open || !under_way.is_empty() {
            let has_room = is_open && under_way.len() < ACKS_MAX;
            tokio::select! {
                first = settled.recv(), if has_room => match first {
                    None => is_open = false,
                    Some(first) => {
                        // One commit settles many: they are receipted together.
                        let mut receipts = Receipts::default();
                        let rest = std::iter::from_fn(|| settled.try_recv().ok());
                        for Settlement { delivery, is_dead } in
                            std::iter::once(first).chain(rest.take(RECEIPT_IDS_MAX - 1))
                        {
                            let Delivery { acker, receipt, sequence } = delivery;
                            // The clock that reads it may have ended.
                            let _gone = self.flow.send(Flow::Durable { sequence });
                            receipts.add(receipt);
                            under_way.push(acknowledge(acker, is_dead));
                        }
                        crash::point("acks.before-receipt");
                        self.send(receipts).await;
                        crash::point("acks.before-ack");
                    }
                },
                Some(done) = under_way.next(), if !under_way.is_empty() => {
                    if let Err(error) = done {
                        self.failures.inc();
                        tracing::debug!(error, "an event is not acknowledged; it comes again");
                    }
                }
            }
        }
    }

    async fn send(&self, receipts: Receipts) {
        for (subject, ids) in receipts.0 {
            let body = self.voice.receipt(&ids);
            if let Err(error) = self.nats.client().publish(subject, body.into()).await {
                tracing::debug!(%error, "a receipt did not leave; its event comes again");
            }
        }
    }
}

#[derive(Default)]
struct Receipts(BTreeMap<String, Vec<String>>);

impl Receipts {
    fn add(&mut self, receipt: Option<Receipt>) {
        if let Some(Receipt { subject, id }) = receipt {
            self.0.entry(subject).or_default().push(id);
        }
    }
}

/// Waits for the broker's word, so that an acknowledgement that got lost is known.
async fn acknowledge(acker: Acker, is_dead: bool) -> Result<(), String> {
    let kind = if is_dead { AckKind::Term } else { AckKind::Ack };
    acker.double_ack_with(kind).await.map_err(|error| error.to_string())
}
