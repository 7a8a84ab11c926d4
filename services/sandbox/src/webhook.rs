//! Delivers webhooks until they are taken, as the providers do.

use crate::{
    office::{Office, now_ms},
    world::{Record, Webhook},
};
use std::{io, sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// Stripe waits for hours in between; a demonstration cannot.
const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// As long as Stripe tries in live mode.
const RETRY_LIMIT_MS: u64 = 3 * 24 * 60 * 60 * 1000;
/// Whoever waits to be overtaken goes on after this time when nothing comes by.
const OVERTAKEN_WAIT_MAX: Duration = Duration::from_secs(2);

/// Delivers these in their order, each until it is taken, as often as it asks for.
pub(crate) fn send(office: Arc<Office>, webhooks: Vec<Webhook>) {
    tokio::spawn(async move {
        for webhook in webhooks {
            let taken = deliver_all(&office, &webhook).await;
            let id = webhook.id;
            let done = if taken {
                Record::WebhookDelivered { id }
            } else {
                Record::WebhookAbandoned { id }
            };
            if let Err(fault) = office.change(|_| Ok::<_, io::Error>(((), vec![done]))) {
                tracing::error!("cannot write the journal: {fault}");
            }
        }
    });
}

async fn deliver_all(office: &Office, webhook: &Webhook) -> bool {
    sleep(Duration::from_millis(webhook.not_before_ms.saturating_sub(now_ms()))).await;
    if webhook.overtaken {
        let mut others = office.delivered(webhook.sender).subscribe();
        // Nobody came by within the time: then it goes as it is.
        let _ = timeout(OVERTAKEN_WAIT_MAX, others.changed()).await;
    }
    for _ in 0..webhook.deliveries {
        if !deliver_once(office, webhook).await {
            return false;
        }
    }
    true
}

async fn deliver_once(office: &Office, webhook: &Webhook) -> bool {
    let mut pause = RETRY_PAUSE_FIRST;
    loop {
        match office.deliver(webhook).await {
            Ok(()) => return true,
            Err(fault) => tracing::warn!("webhook {} was not taken: {fault}", webhook.id),
        }
        if now_ms() > webhook.queued_ms + RETRY_LIMIT_MS {
            return false;
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    }
}
