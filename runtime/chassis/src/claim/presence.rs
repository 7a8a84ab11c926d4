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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

/// Which of two that are at work has come later, and so has taken the place of the other one.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Right {
    /// The run of the broker to which it has written its last record; nil where there is none.
    broker: Uuid,
    /// The sequence of that record.
    record: u64,
    /// When it made its claim, in ms since 1970.
    since: i64,
    run: Uuid,
}

impl Right {
    /// The broker counts the records of one of its runs. Another run may have lost its disk, and
    /// count anew: then clocks are all there is.
    fn is_before(self, other: Right) -> bool {
        let key = |it: Right| {
            let record = if self.broker == other.broker { it.record } else { 0 };
            (record, it.since, it.run)
        };
        key(self) < key(other)
    }
}

/// Answers for a run of a process, as long as it is kept, and asks for others.
#[derive(Debug)]
pub(super) struct Presence {
    nats: Nats,
    instance: Uuid,
    process: String,
    run: Uuid,
    answers_for_this_run: bool,
    is_at_work: bool,
    right: Arc<Mutex<Right>>,
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
            is_at_work: false,
            right: Arc::new(Mutex::new(Right { run, ..Right::default() })),
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
        if !self.is_at_work {
            lock(&self.right).since = Utc::now().timestamp_millis();
            self.answer(self.subject()).await?;
            self.is_at_work = true;
        }
        Ok(())
    }

    /// The broker has taken a record of this run.
    pub(super) fn recorded(&self, broker: Uuid, sequence: u64) {
        let mut right = lock(&self.right);
        *right = Right { broker, record: sequence, ..*right };
    }

    /// Nobody is at work but, it may be, this one.
    pub(super) async fn nobody_else(&self) -> Result<(), ClaimError> {
        if self.is_at_work { Ok(()) } else { self.nobody(self.subject()).await }
    }

    /// Nobody is at work who has come later than this one, which is at work.
    pub(super) async fn nobody_later(&self) -> Result<(), ClaimError> {
        self.nobody(self.subject()).await
    }

    /// Nobody is there who answers for this other run; if this one is at work, one that has come
    /// later.
    pub(super) async fn nobody_of(&self, run: Uuid) -> Result<(), ClaimError> {
        self.nobody(self.subject_of(run)).await
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
        let (asked, right) = (Arc::clone(&self.asked), Arc::clone(&self.right));
        let (instance, process) = (self.instance, process::id());
        self.answering.spawn(async move {
            while let Some(question) = questions.next().await {
                asked.notify_one();
                let Some(reply) = question.reply else { continue };
                let right = *lock(&right);
                // Numbers and texts always have a JSON form.
                let answer = serde_json::to_vec(&AtWork { instance, process, right });
                if let Err(error) = client.publish(reply, answer.unwrap_or_default().into()).await {
                    tracing::debug!(%error, "another process was not answered");
                }
            }
        });
        Ok(())
    }

    /// Nobody answers there. One that is at work heeds those alone that have come later: any other
    /// one was replaced, and finds that out in the same way. What cannot be read came first.
    async fn nobody(&self, subject: String) -> Result<(), ClaimError> {
        let broker = |why: &str| ClaimError::Broker(why.to_owned());
        let ours = *lock(&self.right);
        let is_heeded = |theirs: Right| !self.is_at_work || ours.is_before(theirs);
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
                if other.right.run != self.run && is_heeded(other.right) {
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
                if !self.is_at_work {
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

fn lock(right: &Mutex<Right>) -> MutexGuard<'_, Right> {
    // Nothing panics while it holds the lock.
    right.lock().unwrap_or_else(PoisonError::into_inner)
}

/// None where the broker says that nobody is there.
fn read(answer: &Message) -> Option<AtWork> {
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return None;
    }
    let nobody_known = AtWork { instance: Uuid::nil(), process: 0, right: Right::default() };
    Some(serde_json::from_slice(&answer.payload).unwrap_or(nobody_known))
}
