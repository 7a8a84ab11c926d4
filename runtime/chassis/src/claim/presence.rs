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
use async_nats::client::RequestErrorKind;
use bytes::Bytes;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::{process, sync::Arc};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep},
};
use uuid::Uuid;

/// What is answered.
#[derive(Serialize, Deserialize)]
struct AtWork {
    instance: Uuid,
    /// The id of the process, on its machine.
    process: u32,
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
            self.answer(self.subject()).await?;
            self.is_at_work = true;
        }
        Ok(())
    }

    /// Nobody is at work but, it may be, this one.
    pub(super) async fn nobody_else(&self) -> Result<(), ClaimError> {
        if self.is_at_work { Ok(()) } else { self.nobody(self.subject()).await }
    }

    /// Nobody is there who answers for this other run.
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
        let answer = AtWork { instance: self.instance, process: process::id() };
        // Numbers and texts always have a JSON form.
        let answer: Bytes = serde_json::to_vec(&answer).unwrap_or_default().into();
        let asked = Arc::clone(&self.asked);
        self.answering.spawn(async move {
            while let Some(question) = questions.next().await {
                asked.notify_one();
                let Some(reply) = question.reply else { continue };
                if let Err(error) = client.publish(reply, answer.clone()).await {
                    tracing::debug!(%error, "another process was not answered");
                }
            }
        });
        Ok(())
    }

    async fn nobody(&self, subject: String) -> Result<(), ClaimError> {
        let broker = |why: &str| ClaimError::Broker(why.to_owned());
        let connection = self.nats.connection().await?;
        let asked = self.nats.client().request(subject, Bytes::new());
        let answer = tokio::select! {
            biased;
            answer = asked => answer,
            () = self.nats.broken(connection) => {
                return Err(broker("the connection was lost while another process was asked"));
            }
            () = self.in_vain() => {
                let process = &self.process;
                tracing::warn!(
                    process,
                    "another one was there and does not answer: it is replaced"
                );
                return Ok(());
            }
        };
        match answer {
            Ok(answer) => {
                let other = serde_json::from_slice::<AtWork>(&answer.payload);
                let (instance, id) = other.map_or((Uuid::nil(), 0), |it| (it.instance, it.process));
                Err(ClaimError::AtWork { process: self.process.clone(), id, instance })
            }
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(()),
            Err(error) => Err(broker(&error.to_string())),
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
