//! The one place where the world changes: decide, write the journal, apply, send.

use crate::{
    config::Config,
    journal::Journal,
    signature, webhook,
    world::{Record, Sender, Webhook, World},
};
use rand::{Rng, distr::Alphanumeric};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// What the doors share.
pub(crate) struct Office {
    pub(crate) config: Config,
    state: Mutex<State>,
    client: reqwest::Client,
    /// Counts the deliveries of each sender, for those that wait to be overtaken.
    stripe_delivered: watch::Sender<u64>,
    courier_delivered: watch::Sender<u64>,
}

struct State {
    world: World,
    journal: Journal,
}

/// A receiver that says nothing for this long has not taken the webhook.
const RECEIVER_TIMEOUT: Duration = Duration::from_secs(10);

impl Office {
    /// Reads the journal and sends what was still to be sent.
    pub(crate) fn open(config: Config) -> io::Result<Arc<Self>> {
        let (journal, records) = Journal::open(&config.data_dir)?;
        let mut world = World::default();
        records.into_iter().for_each(|record| world.apply(record));
        let client = reqwest::Client::builder()
            .timeout(RECEIVER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            // Webhooks go to processes beside this one.
            .no_proxy()
            .build()
            .map_err(io::Error::other)?;
        let pending = world.webhooks_pending();
        let office = Arc::new(Self {
            config,
            state: Mutex::new(State { world, journal }),
            client,
            stripe_delivered: watch::Sender::new(0),
            courier_delivered: watch::Sender::new(0),
        });
        pending.into_iter().for_each(|it| webhook::send(Arc::clone(&office), vec![it]));
        Ok(office)
    }

    /// Looks at the world.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock().world)
    }

    /// Decides on what is there and makes it so: all of the records, or none and an error.
    /// Nothing else happens in between.
    pub(crate) fn change<T, E: From<io::Error>>(
        &self,
        decide: impl FnOnce(&World) -> Result<(T, Vec<Record>), E>,
    ) -> Result<T, E> {
        let mut state = self.lock();
        let (answer, records) = decide(&state.world)?;
        if !records.is_empty() {
            state.journal.append(&records)?;
        }
        records.into_iter().for_each(|record| state.world.apply(record));
        Ok(answer)
    }

    /// One attempt to deliver; signed anew each time, as the providers do.
    pub(crate) async fn deliver(&self, webhook: &Webhook) -> Result<(), String> {
        let (now_s, body) = (now_s(), webhook.body.clone());
        let request = match webhook.sender {
            Sender::Stripe => {
                let header = signature::stripe(&self.config.stripe_webhook_secrets, now_s, &body);
                let to = self.client.post(&self.config.payment_webhook_url);
                to.header("Stripe-Signature", header)
            }
            Sender::Courier => {
                let header = signature::courier(&self.config.courier_webhook_secret, now_s, &body);
                let to = self.client.post(&self.config.courier_webhook_url);
                to.header("X-Signature", header).header("X-Timestamp", now_s)
            }
        };
        let request = request.header("Content-Type", "application/json; charset=utf-8");
        let answer = request.body(body).send().await.map_err(|fault| fault.to_string())?;
        if answer.status().is_success() {
            self.delivered(webhook.sender).send_modify(|count| *count += 1);
            Ok(())
        } else {
            Err(format!("status {}", answer.status()))
        }
    }

    /// How many deliveries this sender has made.
    pub(crate) fn delivered(&self, sender: Sender) -> &watch::Sender<u64> {
        match sender {
            Sender::Stripe => &self.stripe_delivered,
            Sender::Courier => &self.courier_delivered,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

/// An id such as the providers make them.
pub(crate) fn new_id(prefix: &str, random_chars: usize) -> String {
    let random = rand::rng().sample_iter(Alphanumeric).take(random_chars).map(char::from);
    prefix.chars().chain(random).collect()
}

pub(crate) fn now_s() -> u64 {
    since_epoch().as_secs()
}

pub(crate) fn now_ms() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
