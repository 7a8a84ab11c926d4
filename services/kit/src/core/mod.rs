//! What a service does with one command after the other, over a transaction and without a clock, a
//! broker or a task: inputs go in, and what must happen after the commit comes out.

pub(crate) mod act;
#[cfg(test)]
mod tests;

use crate::{
    keys::{self, RequestHash, State},
    outbox,
    outcome::{Refusal, Rejection},
    procedure::{Done, Procedure, WorkError, Working},
    receipts::{self, Known, Lost, Receipt},
    rows::Space,
    wire::{Answer, PAYLOAD_BYTES_MAX, Request},
};
use act::{
    Next, act, attempt, guarded, refuse, rejected, sendable, settle, store_failed, too_large, undo,
};
use chassis::db::{DbError, Tx};
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::oneshot;

/// The pause after the first failure of outside work; it doubles with each further one.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two runs of outside work.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Everything that can happen to a service.
pub(crate) enum Input {
    /// A request came.
    Request { request: Request, reply: Reply },
    /// Outside work ended.
    Worked { key: String, done: Result<Done, WorkError> },
    /// The pause after failed work is over.
    Retry { key: String },
    /// The process has started: pending work goes on, and what is lost to the runtime is owed.
    Resume,
    /// A command of the service's own, from HTTP mostly.
    Write(Write),
    /// The runtime has receipted events, or says which store it has.
    Receipt { receipt: Receipt, objection: Option<oneshot::Sender<Known>> },
    /// Goes on owing events that are lost to the runtime.
    Resend { lost: Lost, after: Option<Vec<u8>> },
    /// Time to forget what is old.
    Sweep,
}

/// Where an answer goes. Nobody may be waiting any more.
pub(crate) type Reply = oneshot::Sender<Answer>;
/// Runs in the transaction; what it returns runs after the commit.
pub(crate) type Write = Box<dyn FnOnce(&mut Tx, DateTime<Utc>) -> Released + Send>;
type Released = Box<dyn FnOnce() + Send>;

/// Everything that a service owes after the commit.
pub(crate) enum Output {
    /// Send an answer.
    Answer { reply: Reply, answer: Answer, subject: String },
    /// Let a command of the service's own go on.
    Release(Released),
    /// Run outside work and report its end.
    Work { key: String, subject: String, working: Working },
    /// Come back to a key after a pause.
    RetryLater { key: String, pause: Duration },
    /// Tell the runtime what is known of its store.
    Object { reply: oneshot::Sender<Known>, known: Known },
    /// Tell the relay that these events have their receipt.
    Receipted(Vec<u64>),
    /// Tell the relay that these events are owed again.
    Owed(Vec<u64>),
    /// Feed another input soon.
    Again(Input),
}

/// The procedures of a service and what is under way in this process.
pub(crate) struct Core {
    procedures: BTreeMap<&'static str, Arc<dyn Procedure>>,
    /// Who waits for a pending key. Lost in a crash: they ask again.
    waiting: HashMap<String, Vec<(Request, Reply)>>,
    /// Keys whose outside work runs now, with the attempt class that it runs for.
    running: HashMap<String, u32>,
    /// Keys that a pause brings back. One pause for each: resends try at once, and if each of their
    /// failures began a pause of its own, a long outage would end in a storm.
    pausing: HashSet<String>,
    /// How often the work of a pending key has failed since the start.
    failures: HashMap<String, u32>,
}

impl Core {
    pub(crate) fn new(procedures: BTreeMap<&'static str, Arc<dyn Procedure>>) -> Core {
        Core {
            procedures,
            waiting: HashMap::new(),
            running: HashMap::new(),
            pausing: HashSet::new(),
            failures: HashMap::new(),
        }
    }

    /// Handles one input. An error means that the store is broken or a row of the kit is.
    pub(crate) fn handle(
        &mut self,
        tx: &mut Tx,
        input: Input,
        now: DateTime<Utc>,
        out: &mut Vec<Output>,
    ) -> Result<(), DbError> {
        match input {
            Input::Request { request, reply } => self.request(tx, request, reply, now, out)?,
            Input::Worked { key, done } => self.worked(tx, &key, done, now, out)?,
            Input::Retry { key } => {
                self.pausing.remove(&key);
                self.start_work(tx, &key, true, out)?;
            }
            Input::Resume => {
                keys::whole_since(tx, now)?;
                for key in keys::pending(tx)? {
                    match self.start_work(tx, &key, true, out) {
                        Err(error) if error.is_fatal() => return Err(error),
                        // The others must not stand still for this one.
                        Err(error) => tracing::error!(%error, key, "pending work cannot be read"),
                        Ok(()) => (),
                    }
                }
                out.extend(receipts::unfinished(tx)?.into_iter().map(resend));
            }
            Input::Write(write) => out.push(Output::Release(write(tx, now))),
            Input::Receipt { receipt, objection } => {
                let heard = receipts::hear(tx, &receipt, now)?;
                if !heard.receipted.is_empty() {
                    out.push(Output::Receipted(heard.receipted));
                }
                out.extend(heard.lost.into_iter().map(resend));
                if let (Some(known), Some(reply)) = (heard.objection, objection) {
                    out.push(Output::Object { reply, known });
                }
            }
            Input::Resend { lost, after } => {
                let (owed, next) = outbox::resend(tx, &lost, after.as_deref())?;
                out.push(Output::Owed(owed));
                match next {
                    None => lost.is_done(tx)?,
                    after => out.push(Output::Again(Input::Resend { lost, after })),
                }
            }
            Input::Sweep => {
                let more = [keys::sweep(tx, now)?, outbox::sweep(tx, now)?];
                if more.contains(&true) {
                    out.push(Output::Again(Input::Sweep));
                }
            }
        }
        Ok(())
    }

    fn request(
        &mut self,
        tx: &mut Tx,
        request: Request,
        reply: Reply,
        now: DateTime<Utc>,
        out: &mut Vec<Output>,
    ) -> Result<(), DbError> {
        let answer = match self.answer(tx, &request, now)? {
            Next::Answer(answer) => answer,
            Next::Begun { key, working } => {
                let subject = request.subject.clone();
                self.running.insert(key.clone(), request.attempt_class);
                self.waiting.entry(key.clone()).or_default().push((request, reply));
                out.push(Output::Work { key, subject, working });
                return Ok(());
            }
            Next::Wait { key } => {
                self.waiting.entry(key.clone()).or_default().push((request, reply));
                return self.start_work(tx, &key, true, out);
            }
        };
        out.push(Output::Answer { reply, answer, subject: request.subject });
        Ok(())
    }

    /// Decides by the key table whether the call is new.
    fn answer(&self, tx: &mut Tx, request: &Request, now: DateTime<Utc>) -> Result<Next, DbError> {
        let Some(procedure) = self.procedures.get(request.subject.as_str()) else {
            return Ok(Next::Answer(Answer::failed("nothing serves this subject")));
        };
        if !procedure.is_keyed() {
            return act(tx, procedure, request, None, now);
        }
        let Some(key) = &request.key else {
            let reason = "the header Idempotency-Key is missing";
            return Ok(rejected(&Rejection::of_request("key_missing", reason)));
        };
        let hash = RequestHash::of(&request.subject, &request.body);
        let Some(row) = keys::get(tx, Space::Nats, key)? else {
            return match &request.undo_of {
                Some(of) => undo(tx, procedure, request, of, hash, now),
                None => act(tx, procedure, request, Some(hash), now),
            };
        };
        if row.hash.as_ref().is_some_and(|known| !hash.is(known)) {
            let reason = "this key was used with another body";
            return Ok(rejected(&Rejection::of_request("key_reused", reason).status(409)));
        }
        if !matches!(row.state, State::Pending { .. }) {
            keys::renew(tx, Space::Nats, key, row.clone(), now)?;
        }
        match row.state {
            State::Undone | State::Barred => {
                let reason = "the call was undone before it came";
                Ok(rejected(&Rejection::new("undone", reason)))
            }
            State::Pending { request: stored, intent } => {
                if request.attempt_class > stored.attempt_class {
                    let stored = Request { attempt_class: request.attempt_class, ..stored };
                    let state = State::Pending { request: stored, intent };
                    keys::put(tx, Space::Nats, key, Some(hash), state, now)?;
                }
                Ok(Next::Wait { key: key.clone() })
            }
            State::Answered { answer: Answer::Rejected { .. }, attempt_class }
                if request.attempt_class > attempt_class =>
            {
                act(tx, procedure, request, Some(hash), now)
            }
            State::Answered { answer, .. } => Ok(Next::Answer(answer)),
        }
    }

    /// Runs the outside work of a pending key, unless it runs already.
    fn start_work(
        &mut self,
        tx: &Tx,
        key: &str,
        may_have_happened: bool,
        out: &mut Vec<Output>,
    ) -> Result<(), DbError> {
        if self.running.contains_key(key) {
            return Ok(());
        }
        let row = keys::get(tx, Space::Nats, key)?;
        let Some(State::Pending { request, intent }) = row.map(|row| row.state) else {
            return Ok(());
        };
        let Some(procedure) = self.procedures.get(request.subject.as_str()) else {
            tracing::error!(key, subject = request.subject, "pending work of no known procedure");
            return Ok(());
        };
        let attempt = attempt(&request, key, may_have_happened);
        let working = Arc::clone(procedure).work(intent.get(), attempt);
        self.running.insert(key.to_owned(), request.attempt_class);
        out.push(Output::Work { key: key.to_owned(), subject: request.subject, working });
        Ok(())
    }

    fn worked(
        &mut self,
        tx: &mut Tx,
        key: &str,
        done: Result<Done, WorkError>,
        now: DateTime<Utc>,
        out: &mut Vec<Output>,
    ) -> Result<(), DbError> {
        let class = self.running.remove(key);
        let row = keys::get(tx, Space::Nats, key)?;
        let Some(State::Pending { request, intent }) = row.map(|row| row.state) else {
            return Ok(());
        };
        let is_outdated = class.is_some_and(|class| class < request.attempt_class);
        if is_outdated && matches!(done, Err(WorkError::Rejected(_))) {
            // An operator has asked for another try meanwhile.
            return self.start_work(tx, key, true, out);
        }
        let ended = match done {
            Ok(done) => self.finish(tx, &request, &intent, Ok(done), now)?,
            Err(WorkError::Rejected(no)) => self.finish(tx, &request, &intent, Err(no), now)?,
            Err(WorkError::Failed(why)) => Ended::Later(Answer::failed(why)),
        };
        let (answer, is_over) = match ended {
            Ended::Over(answer) => (answer, true),
            Ended::Later(answer) => (answer, false),
        };
        if is_over {
            self.failures.remove(key);
        } else {
            let pause = self.pause(key);
            tracing::warn!(key, ?pause, "outside work failed and is tried again");
            if self.pausing.insert(key.to_owned()) {
                out.push(Output::RetryLater { key: key.to_owned(), pause });
            }
        }
        // What waits under another key is an undo of this call; repeats of the call come first.
        let waiting = self.waiting.remove(key).unwrap_or_default();
        let (repeats, undos): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(waiter, _)| waiter.key.as_deref() == Some(key));
        for (waiter, reply) in repeats {
            out.push(Output::Answer { reply, answer: answer.clone(), subject: waiter.subject });
        }
        for (waiter, reply) in undos {
            if is_over {
                self.request(tx, waiter, reply, now, out)?;
            } else {
                let answer = Answer::failed("the call that it undoes is not over yet");
                out.push(Output::Answer { reply, answer, subject: waiter.subject });
            }
        }
        Ok(())
    }

    /// Lets the procedure write down what came of its work, and settles the key.
    fn finish(
        &self,
        tx: &mut Tx,
        request: &Request,
        intent: &RawValue,
        done: Result<Done, Rejection>,
        now: DateTime<Utc>,
    ) -> Result<Ended, DbError> {
        let Some(procedure) = self.procedures.get(request.subject.as_str()) else {
            return Ok(Ended::Later(Answer::failed("nothing serves this subject any more")));
        };
        let before = tx.savepoint();
        let outcome = guarded(tx, |tx| procedure.finish(tx, request, intent.get(), done, now));
        match outcome {
            Ok(body) if body.len() <= PAYLOAD_BYTES_MAX => {
                let answer = Answer::Ok { body };
                settle(tx, request, &answer, now)?;
                Ok(Ended::Over(answer))
            }
            Ok(_) => {
                tx.roll_back(before);
                Ok(Ended::Later(too_large()))
            }
            Err(Refusal::Rejected(rejection)) => {
                let Some(answer) = sendable(&rejection) else {
                    tx.roll_back(before);
                    return Ok(Ended::Later(too_large()));
                };
                refuse(tx, request, &answer, now)?;
                Ok(Ended::Over(answer))
            }
            Err(Refusal::Failed(why)) => {
                tx.roll_back(before);
                Ok(Ended::Later(Answer::failed(why)))
            }
            Err(Refusal::Store(error)) => {
                tx.roll_back(before);
                store_failed(error).map(Ended::Later)
            }
        }
    }

    fn pause(&mut self, key: &str) -> Duration {
        let failures = self.failures.entry(key.to_owned()).or_default();
        let pause = RETRY_PAUSE.saturating_mul(1 << (*failures).min(10)).min(RETRY_PAUSE_MAX);
        *failures += 1;
        pause
    }
}

fn resend(lost: Lost) -> Output {
    Output::Again(Input::Resend { lost, after: None })
}

/// What follows the end of outside work.
enum Ended {
    Over(Answer),
    Later(Answer),
}
