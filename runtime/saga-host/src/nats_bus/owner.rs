//! One runtime owns the stream of events, by the instance of its store.
//!
//! Before anything is taken or sent: no other runtime is there, and the broker's record does not
//! contradict our store ([`chassis::claim`]); and, where the broker has no record, no service that
//! is there knows another store. Then we say every few seconds on `fermata.epoch` which store we
//! have. A service that remembers more answers; when our store has lost what it receipted, a new
//! epoch begins, and services send again what is lost.

use super::BusError;
use async_nats::Subscriber;
use chassis::{
    claim::{self, Claim, ClaimError, Judge, Keeper, Standing},
    db::Db,
    http::Gate,
    nats::Nats,
};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Our name at the broker.
const PROCESS: &str = "fermata";
/// Where services hear which store we have.
const NOTICES: &str = "fermata.epoch";
/// How late a service that was away is heard.
const NOTICE_EVERY: Duration = Duration::from_secs(2);
/// For the services that are there to answer, when the broker has no record.
const ROLL_CALL: Duration = Duration::from_millis(500);
/// After a broker that did not answer.
const PAUSE: Duration = Duration::from_millis(250);
/// Epochs that services may make one run begin: some may know more than those heard first.
const EPOCHS_MAX: u32 = 16;
/// Further ahead than that no store has ever been: a service is wrong, or worse.
const EPOCHS_AHEAD_MAX: u64 = 1 << 20;

/// What we say of ourselves, in receipts and in notices.
#[derive(Clone)]
pub(super) struct Voice {
    db: Db,
    /// Names this run of the process.
    run: Uuid,
    /// Nobody has known this store before, so whoever knows another one need not believe us.
    asks: Arc<AtomicBool>,
}

#[derive(Serialize)]
struct Said<'a> {
    ids: &'a [String],
    instance: Uuid,
    epoch: u64,
    position: u64,
    run: Uuid,
    opened_in: u64,
    opened_at: u64,
    asks: bool,
}

impl Voice {
    fn new(db: Db, run: Uuid) -> Voice {
        Voice { db, run, asks: Arc::new(AtomicBool::new(true)) }
    }

    /// That these events are durable here.
    pub(super) fn receipt(&self, ids: &[String]) -> Vec<u8> {
        self.say(ids, self.db.position())
    }

    /// Which store this is; `began` is the position at which its epoch began, if that is known.
    fn notice(&self, began: Option<u64>) -> Vec<u8> {
        self.say(&[], began.unwrap_or_default())
    }

    fn say(&self, ids: &[String], position: u64) -> Vec<u8> {
        let said = Said {
            ids,
            instance: self.db.instance(),
            epoch: self.db.epoch(),
            position,
            run: self.run,
            opened_in: self.db.opened_in(),
            opened_at: self.db.opened_at(),
            asks: self.asks.load(Ordering::Relaxed),
        };
        // Numbers and texts always have a JSON form.
        serde_json::to_vec(&said).unwrap_or_default()
    }
}

/// What a service knows of our store.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Known {
    instance: Uuid,
    epoch: u64,
    position: u64,
}

/// A claim that is being made.
pub(super) struct Begun {
    /// The broker, which is away until the claim is made.
    pub(super) nats: Nats,
    pub(super) voice: Voice,
    pub(super) herald: Herald,
    pub(super) keeper: Keeper,
    /// Says that our store may be used no more.
    pub(super) lost: oneshot::Receiver<ClaimError>,
}

/// Begins to claim the stream for our store. The gate is that of the broker, see [`Keeper::start`].
pub(super) fn begin(nats: Nats, db: Db, replicas: usize, gate: Gate) -> Begun {
    let (allow, allowed) = watch::channel(0);
    let held = nats.behind(allowed);
    let owner = Owner::new(nats, db, replicas);
    let (voice, herald) = (owner.voice.clone(), owner.herald(held.clone()));
    let (keeper, lost) = Keeper::start(owner.settle(), allow, gate);
    Begun { nats: held, voice, herald, keeper, lost }
}

/// Claims the stream for our store.
struct Owner {
    nats: Nats,
    db: Db,
    claim: Claim,
    voice: Voice,
}

impl Owner {
    /// `nats` may be used before the claim is made.
    fn new(nats: Nats, db: Db, replicas: usize) -> Owner {
        let claim = Claim::new(nats.clone(), db.clone(), PROCESS).making_the_stream(replicas);
        let voice = Voice::new(db.clone(), claim.run());
        Owner { nats, db, claim, voice }
    }

    /// The part that speaks once the claim is made.
    fn herald(&self, nats: Nats) -> Herald {
        Herald {
            nats,
            db: self.db.clone(),
            judge: self.claim.judge().clone(),
            voice: self.voice.clone(),
            epochs: 0,
        }
    }

    /// As soon as the broker answers.
    async fn settle(mut self) -> Result<Claim, ClaimError> {
        loop {
            match self.try_settle().await {
                Ok(()) => return Ok(self.claim),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => tracing::warn!(%error, "trying again"),
            }
            sleep(PAUSE).await;
        }
    }

    async fn try_settle(&mut self) -> Result<(), ClaimError> {
        self.claim.look().await?;
        let standing = self.claim.stand()?;
        let asks = standing == Standing::Unknown;
        self.voice.asks.store(asks, Ordering::Relaxed);
        if asks {
            self.call_the_roll().await?;
        }
        self.claim.make().await
    }

    /// The broker has no record: the services that are there are the second witness.
    async fn call_the_roll(&self) -> Result<(), ClaimError> {
        let broker = |error: String| ClaimError::Broker(error);
        let client = self.nats.client();
        let inbox = client.new_inbox();
        let answers = client.subscribe(inbox.clone()).await;
        let answers = answers.map_err(|error| broker(error.to_string()))?;
        let sent = client.publish_with_reply(NOTICES, inbox, self.voice.notice(None).into()).await;
        sent.map_err(|error| broker(error.to_string()))?;
        let until_then = answers.take_until(sleep(ROLL_CALL));
        let known: Vec<Known> = until_then
            .filter_map(|it| async move { serde_json::from_slice::<Known>(&it.payload).ok() })
            .collect()
            .await;
        for it in known {
            if it.instance != self.db.instance() {
                self.claim.judge().yields(it.instance, "a service")?;
                self.voice.asks.store(false, Ordering::Relaxed);
            } else if is_plausible(&it, self.db.epoch()) {
                self.claim.judge().is_behind(it.epoch, it.position, "a service")?;
            }
        }
        Ok(())
    }
}

fn is_plausible(known: &Known, epoch: u64) -> bool {
    known.epoch.saturating_sub(epoch) < EPOCHS_AHEAD_MAX
}

/// Says which store we have, and hears who knows better.
pub(super) struct Herald {
    nats: Nats,
    db: Db,
    judge: Judge,
    voice: Voice,
    /// How many epochs this run has begun because of services.
    epochs: u32,
}

impl Herald {
    /// Begins when the claim is made: the broker is away until then.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), BusError> {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            ready = self.nats.ready() => ready?,
        }
        let failed = |error: async_nats::SubscribeError| BusError::Subscribe(error.to_string());
        let client = self.nats.client().clone();
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(failed)?;
        let mut notices = tokio::time::interval(NOTICE_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = notices.tick() => if self.nats.is_up() {
                    self.say(&inbox).await;
                },
                // One that was replaced has nothing to answer for; a service says it again.
                Some(answer) = next(&mut answers) => {
                    if self.nats.is_up() && self.hear(&answer).await? {
                        notices.reset_immediately();
                    }
                }
            }
        }
    }

    async fn say(&self, inbox: &str) {
        let began = (self.db.opened_in() < self.db.epoch()).then(|| self.db.opened_at());
        let body = self.voice.notice(began).into();
        if let Err(error) =
            self.nats.client().publish_with_reply(NOTICES, inbox.to_owned(), body).await
        {
            tracing::debug!(%error, "a notice did not leave");
        }
    }

    /// Whether what we say is another thing by it: in a new epoch, or as told. What a service says
    /// ends a process only in the first run of a store, of which nobody else has known: it could be
    /// a wrong one.
    async fn hear(&mut self, known: &Known) -> Result<bool, BusError> {
        if known.instance == self.db.instance() {
            if self.epochs == EPOCHS_MAX || !is_plausible(known, self.db.epoch()) {
                return Ok(false);
            }
            let has_begun = self.judge.is_behind(known.epoch, known.position, "a service");
            let has_begun = has_begun.map_err(BusError::from)?;
            self.epochs += u32::from(has_begun);
            return Ok(has_begun);
        }
        if !self.voice.asks.load(Ordering::Relaxed) {
            tracing::debug!(instance = %known.instance, "a service remembers another store");
            return Ok(false);
        }
        let Err(error) = self.judge.yields(known.instance, "a service") else {
            self.voice.asks.store(false, Ordering::Relaxed);
            return Ok(true);
        };
        let theirs = (known.instance, known.epoch, known.position);
        if let Err(error) = claim::give_back(&self.nats, PROCESS, self.voice.run, theirs).await {
            tracing::warn!(%error, "the record at the broker still names this store");
        }
        Err(error.into())
    }
}

async fn next(answers: &mut Subscriber) -> Option<Known> {
    loop {
        if let Ok(known) = serde_json::from_slice(&answers.next().await?.payload) {
            return Some(known);
        }
    }
}
