//! Whether another process of this name is there.
//!
//! A record says who was there, not who is. So each process answers for itself, on subjects that
//! its user alone may use: on `fermata.owner.PROCESS` as soon as it has made its claim, and with
//! its run behind that from before, so that one that comes in the same moment finds it.
//!
//! One that does not answer in time is dead, stopped or cut off, and is replaced; where there is
//! none, the broker says so at once. It was out of touch with the broker for as long by then, so
//! the broker is away for it until it has looked whether it was replaced.

use super::ClaimError;
use crate::{
    db::Db,
    nats::{DEAD_AFTER, Nats},
};
use async_nats::{Message, StatusCode};
use bytes::Bytes;
use chrono::Utc;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep},
};
use uuid::Uuid;

/// What is answered.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct AtWork {
    instance: Uuid,
    /// The id of the process, on its machine.
    process: u32,
    #[serde(default)]
    right: Right,
}

/// Which of two that are at work has come later, and so has taken the place of the other one. The
/// broker counts the records; where it has taken none, clocks are all there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Right {
    /// The sequence of its last record.
    record: u64,
    /// When it made its claim, in ms since 1970.
    since: i64,
    run: Uuid,
}

/// Answers for a run of a process, as long as it is kept, and asks for others.
#[derive(Debug)]
pub(super) struct Presence {
    nats: Nats,
    instance: Uuid,
    process: String,
    run: Uuid,
    answers_for_this_run: bool,
    /// When the claim was made, in ms since 1970.
    since: Option<i64>,
    /// The sequence of the last record of this run; 0 when there is none.
    record: Arc<AtomicU64>,
    answering: JoinSet<()>,
    asked: Arc<Notify>,
}

impl Presence {
    pub(super) fn new(nats: Nats, db: &Db, process: &str, run: Uuid) -> Presence {
        Presence {
            nats,
            instance: db.instance(),
            process: process.to_owned(),
            run,
            answers_for_this_run: false,
            since: None,
            record: Arc::default(),
            answering: JoinSet::new(),
            asked: Arc::default(),
        }
    }

    /// From before the claim on. The broker takes the subscription before the record, as both go by
    /// one connection.
    pub(super) async fn answer_for_this_run(&mut self) -> Result<(), ClaimError> {
        if !self.answers_for_this_run {
            self.answer(self.subject_of(self.run)).await?;
            self.answers_for_this_run = true;
        }
        Ok(())
    }

    /// From when the claim is made.
    pub(super) async fn answer_at_work(&mut self) -> Result<(), ClaimError> {
        if self.since.is_none() {
            self.since = Some(Utc::now().timestamp_millis());
            self.answer(self.subject()).await.inspect_err(|_| self.since = None)?;
        }
        Ok(())
    }

    /// The broker has taken a record of this run.
    pub(super) fn recorded(&self, sequence: u64) {
        self.record.store(sequence, Ordering::Relaxed);
    }

    /// Nobody is at work but, it may be, this one.
    pub(super) async fn nobody_else(&self) -> Result<(), ClaimError> {
        match self.since {
            Some(_) => Ok(()),
            None => self.nobody(self.subject(), |_| true).await,
        }
    }

    /// Nobody is at work who has come later than this one.
    pub(super) async fn nobody_later(&self) -> Result<(), ClaimError> {
        let Some(since) = self.since else { return Ok(()) };
        let ours = Right { record: self.record.load(Ordering::Relaxed), since, run: self.run };
        self.nobody(self.subject(), |theirs| ours < theirs).await
    }

    /// Nobody is there who answers for this other run.
    pub(super) async fn nobody_of(&self, run: Uuid) -> Result<(), ClaimError> {
        self.nobody(self.subject_of(run), |_| true).await
    }

    /// Waits until another process asks.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    fn subject(&self) -> String {
        format!("fermata.owner.{}", self.process)
    }

    fn subject_of(&self, run: Uuid) -> String {
        format!("{}.{run}", self.subject())
    }

    async fn answer(&mut self, subject: String) -> Result<(), ClaimError> {
        let client = self.nats.client().clone();
        let questions = client.subscribe(subject).await;
        let mut questions = questions.map_err(|error| ClaimError::Broker(error.to_string()))?;
        let (asked, record) = (Arc::clone(&self.asked), Arc::clone(&self.record));
        let (instance, process, run) = (self.instance, process::id(), self.run);
        let since = self.since.unwrap_or_default();
        self.answering.spawn(async move {
            while let Some(question) = questions.next().await {
                asked.notify_one();
                let Some(reply) = question.reply else { continue };
                let right = Right { record: record.load(Ordering::Relaxed), since, run };
                // Numbers and texts always have a JSON form.
                let answer = serde_json::to_vec(&AtWork { instance, process, right });
                if let Err(error) = client.publish(reply, answer.unwrap_or_default().into()).await {
                    tracing::debug!(%error, "another process was not answered");
                }
            }
        });
        Ok(())
    }

    /// Nobody answers there whose right counts. What cannot be read has the least.
    async fn nobody(
        &self,
        subject: String,
        counts: impl Fn(Right) -> bool,
    ) -> Result<(), ClaimError> {
        let broker = |why: &str| ClaimError::Broker(why.to_owned());
        let connection = self.nats.connection().await?;
        let client = self.nats.client();
        let inbox = client.new_inbox();
        let heard = client.subscribe(inbox.clone()).await;
        let mut heard = heard.map_err(|error| broker(&error.to_string()))?;
        let asked = client.publish_with_reply(subject, inbox, Bytes::new()).await;
        asked.map_err(|error| broker(&error.to_string()))?;
        let answered = async {
            loop {
                let Some(answer) = heard.next().await else {
                    return Err(broker("the connection was closed"));
                };
                let Some(other) = read(&answer) else { return Ok(()) };
                if other.right.run != self.run && counts(other.right) {
                    let (process, id) = (self.process.clone(), other.process);
                    return Err(ClaimError::AtWork { process, id, instance: other.instance });
                }
            }
        };
        tokio::select! {
            biased;
            answered = answered => answered,
            () = self.nats.broken(connection) => {
                Err(broker("the connection was lost while another process was asked"))
            }
            () = self.in_vain() => {
                if self.since.is_none() {
                    let process = &self.process;
                    tracing::warn!(
                        process,
                        "another one was there and does not answer: it is replaced"
                    );
                }
                Ok(())
            }
        }
    }

    /// Whoever was asked before is not in touch any more, or its answer would be here: counted from
    /// when the broker has the question, as whoever is in touch by then knows it.
    async fn in_vain(&self) {
        let asked = Instant::now();
        self.nats.arrived().await;
        sleep(DEAD_AFTER + asked.elapsed()).await;
    }
}

/// None where the broker says that nobody is there.
fn read(answer: &Message) -> Option<AtWork> {
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return None;
    }
    let nobody_known = AtWork { instance: Uuid::nil(), process: 0, right: Right::default() };
    Some(serde_json::from_slice(&answer.payload).unwrap_or(nobody_known))
}
