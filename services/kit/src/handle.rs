use crate::{
    core::{Input, Write, act::guarded},
    keys::{self, RequestHash, State},
    outcome::{Outcome, Refusal, Rejection},
    owner::Inlet,
    rows::Space,
    wire::Answer,
};
use chassis::db::{Db, DbError, Tx};
use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

/// The way into a running service from its HTTP routes and its own tasks. Clones share it.
#[derive(Clone)]
pub struct Handle {
    pub(crate) db: Db,
    pub(crate) inlet: Inlet,
}

impl Handle {
    /// The store, for reading: it shows what is durable, and nothing else.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Runs a transaction in its turn and returns when its commit is durable. What it wrote is
    /// taken back when it refuses.
    ///
    /// # Errors
    /// Its own refusal; or the service stops, or its store has failed.
    pub async fn write<T, F>(&self, write: F) -> Outcome<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx, DateTime<Utc>) -> Outcome<T> + Send + 'static,
    {
        let (done, outcome) = oneshot::channel();
        let write: Write = Box::new(move |tx, now| {
            let before = tx.savepoint();
            let written = guarded(tx, |tx| write(tx, now));
            if written.is_err() {
                tx.roll_back(before);
            }
            Box::new(move || {
                // The caller may be gone.
                let _unheard = done.send(written);
            })
        });
        let stopped = || Refusal::failed("the service is stopping");
        if !self.inlet.send(Input::Write(write)).await {
            return Err(stopped());
        }
        let poisoned = || self.db.is_poisoned().then_some(Refusal::Store(DbError::Poisoned));
        outcome.await.unwrap_or_else(|_| Err(poisoned().unwrap_or_else(stopped)))
    }

    /// As [`Handle::write`], once per key: a repeat with the same request gets the same outcome,
    /// one with another request is rejected with the code `key_reused`. Failures are not
    /// remembered. `request` is the body in JSON; `operation` tells routes apart.
    ///
    /// # Errors
    /// As for [`Handle::write`].
    pub async fn write_once<T, F>(
        &self,
        operation: &str,
        key: &str,
        request: &str,
        write: F,
    ) -> Outcome<T>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnOnce(&mut Tx, DateTime<Utc>) -> Outcome<T> + Send + 'static,
    {
        let key = format!("{operation} {key}");
        let hash = RequestHash::of(operation, request);
        let answer = self.write(move |tx, now| once(tx, now, &key, hash, write)).await?;
        match answer {
            Answer::Ok { body } => {
                serde_json::from_str(&body).map_err(|error| Refusal::failed(error.to_string()))
            }
            Answer::Rejected { status, body, .. } => Err(recorded(status, &body).into()),
            Answer::Failed { why } => Err(Refusal::Failed(why)),
        }
    }
}

/// Gives the recorded answer, or acts and records it. A rejection is an answer here, so that its
/// record stays.
fn once<T: Serialize>(
    tx: &mut Tx,
    now: DateTime<Utc>,
    key: &str,
    hash: RequestHash,
    write: impl FnOnce(&mut Tx, DateTime<Utc>) -> Outcome<T>,
) -> Outcome<Answer> {
    if let Some(row) = keys::get(tx, Space::Http, key)? {
        if row.hash.is_some_and(|known| !hash.is(&known)) {
            let reason = "this key was used with another body";
            return Err(Rejection::of_request("key_reused", reason).status(422).into());
        }
        if let State::Answered { answer, .. } = row.state {
            return Ok(answer);
        }
    }
    let before = tx.savepoint();
    let answer = match write(tx, now) {
        Ok(value) => {
            let body = serde_json::to_string(&value);
            Answer::Ok { body: body.map_err(|error| Refusal::failed(error.to_string()))? }
        }
        Err(Refusal::Rejected(rejection)) if rejection.is_remembered => {
            tx.roll_back(before);
            Answer::rejected(&rejection)
        }
        Err(other) => return Err(other),
    };
    let state = State::Answered { answer: answer.clone(), attempt_class: 1 };
    keys::put(tx, Space::Http, key, Some(hash), state, now)?;
    Ok(answer)
}

/// A rejection as it was recorded, without its details.
fn recorded(status: u16, body: &str) -> Rejection {
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    Rejection::new(text("code"), text("reason")).status(status)
}
