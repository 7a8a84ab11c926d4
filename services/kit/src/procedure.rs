//! The three kinds of procedure, and one face for all of them.

use crate::{
    call::Call,
    outcome::{Outcome, Refusal, Rejection},
    wire::Request,
};
use chassis::db::Tx;
use chrono::{DateTime, Utc};
use proto_schemas::Body;
use saga_core::message;
use serde::{Serialize, de::DeserializeOwned};
use std::{any::Any, future::Future, marker::PhantomData, pin::Pin, sync::Arc};

/// A procedure that needs the outside world: a payment provider, a courier, a mail server.
///
/// It runs in three parts, so that a crash anywhere loses nothing and does nothing twice:
/// 1. [`begin`](Effect::begin), in a transaction: checks, and writes down what it is about to do.
/// 2. [`work`](Effect::work), outside: asks the provider, with [`Attempt::key`].
/// 3. [`finish`](Effect::finish), in a transaction: writes down what came of it, and replies.
///
/// Between 1 and 3 the key is pending. A crash there means that `work` runs again after the start,
/// with the same intent and the same key for the provider; so do failures, with growing pauses.
pub trait Effect: Send + Sync + 'static {
    /// The request that it answers.
    type Request: message::Request + Body;
    /// What `work` needs to know; stored with the key.
    type Intent: Serialize + DeserializeOwned + Send + 'static;
    /// What the outside answered.
    type Done: Send + 'static;

    /// Decides what to do. What it writes is taken back when it refuses.
    ///
    /// # Errors
    /// As for any procedure.
    fn begin(
        &self,
        tx: &mut Tx,
        call: &Call<Self::Request>,
    ) -> Outcome<Begun<Self::Intent, <Self::Request as message::Request>::Reply>>;

    /// Does it. May run more than once for one call, never twice at the same time.
    fn work(
        &self,
        intent: Self::Intent,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Self::Done, WorkError>> + Send;

    /// Writes down what came of it. `done` is an error when the outside refused for good; what
    /// this writes then stays, because it may have to take back what `begin` wrote.
    ///
    /// # Errors
    /// As for any procedure. When it fails, the work is done again later.
    fn finish(
        &self,
        tx: &mut Tx,
        call: &Call<Self::Request>,
        intent: Self::Intent,
        done: Result<Self::Done, Rejection>,
    ) -> Outcome<<Self::Request as message::Request>::Reply>;
}

/// What [`Effect::begin`] decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun<I, R> {
    /// There is work to do outside.
    Work(I),
    /// There is none: this is the reply.
    Done(R),
}

/// One run of [`Effect::work`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The key for the provider: the same for each run, another one after an operator's retry.
    pub key: String,
    /// 1, or more after an operator's retry.
    pub class: u32,
    /// Whether an earlier run may have had its effect: look it up first where the provider's own
    /// memory of keys is short (Stripe: 24 h), or after an operator's retry.
    pub may_have_happened: bool,
}

/// Why [`Effect::work`] has no result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WorkError {
    /// The outside refused for good.
    #[error("rejected: {0}")]
    Rejected(#[from] Rejection),
    /// It did not answer, or not sensibly: tried again later. Without secrets or personal data.
    #[error("failed: {0}")]
    Failed(String),
}

pub(crate) type Done = Box<dyn Any + Send>;
pub(crate) type Working = Pin<Box<dyn Future<Output = Result<Done, WorkError>> + Send>>;

/// What the core sees of any procedure: bodies are JSON text.
pub(crate) trait Procedure: Send + Sync {
    /// Whether calls are remembered by their key.
    fn is_keyed(&self) -> bool;
    fn begin(
        &self,
        tx: &mut Tx,
        request: &Request,
        at: DateTime<Utc>,
    ) -> Outcome<Begun<String, String>>;
    /// As [`Effect::work`]. Reached without outside work only when an older release had begun some.
    fn work(self: Arc<Self>, _intent: &str, _attempt: Attempt) -> Working {
        Box::pin(async { Err(WorkError::Failed(NO_WORK.to_owned())) })
    }
    /// As [`Effect::finish`], and reached as [`work`](Procedure::work) is.
    fn finish(
        &self,
        _tx: &mut Tx,
        _request: &Request,
        _intent: &str,
        _done: Result<Done, Rejection>,
        _at: DateTime<Utc>,
    ) -> Outcome<String> {
        Err(Refusal::failed(NO_WORK))
    }
}

const NO_WORK: &str = "the procedure no longer works outside: see its release notes";

/// Reads only; not remembered.
pub(crate) struct Query<R, F> {
    handler: F,
    of: PhantomData<fn(R)>,
}

/// Changes rows, in one transaction.
pub(crate) struct Local<R, F> {
    handler: F,
    of: PhantomData<fn(R)>,
}

impl<R, F> Query<R, F> {
    pub(crate) fn new(handler: F) -> Self {
        Query { handler, of: PhantomData }
    }
}

impl<R, F> Local<R, F> {
    pub(crate) fn new(handler: F) -> Self {
        Local { handler, of: PhantomData }
    }
}

impl<R, F> Procedure for Query<R, F>
where
    R: message::Request + Body,
    F: Fn(&Tx, R) -> Outcome<R::Reply> + Send + Sync,
{
    fn is_keyed(&self) -> bool {
        false
    }

    fn begin(
        &self,
        tx: &mut Tx,
        request: &Request,
        _: DateTime<Utc>,
    ) -> Outcome<Begun<String, String>> {
        let reply = (self.handler)(tx, read::<R>(request)?)?;
        encode(&reply).map(Begun::Done)
    }
}

impl<R, F> Procedure for Local<R, F>
where
    R: message::Request + Body,
    F: Fn(&mut Tx, Call<R>) -> Outcome<R::Reply> + Send + Sync,
{
    fn is_keyed(&self) -> bool {
        true
    }

    fn begin(
        &self,
        tx: &mut Tx,
        request: &Request,
        at: DateTime<Utc>,
    ) -> Outcome<Begun<String, String>> {
        let call = Call::new(read::<R>(request)?, request, at);
        let reply = (self.handler)(tx, call)?;
        encode(&reply).map(Begun::Done)
    }
}

/// An [`Effect`] behind the common face.
pub(crate) struct Outside<E>(pub(crate) E);

impl<E: Effect> Procedure for Outside<E> {
    fn is_keyed(&self) -> bool {
        true
    }

    fn begin(
        &self,
        tx: &mut Tx,
        request: &Request,
        at: DateTime<Utc>,
    ) -> Outcome<Begun<String, String>> {
        let call = Call::new(read::<E::Request>(request)?, request, at);
        match self.0.begin(tx, &call)? {
            Begun::Work(intent) => encode(&intent).map(Begun::Work),
            Begun::Done(reply) => encode(&reply).map(Begun::Done),
        }
    }

    fn work(self: Arc<Self>, intent: &str, attempt: Attempt) -> Working {
        let intent: Result<E::Intent, _> = serde_json::from_str(intent);
        Box::pin(async move {
            let intent = intent.map_err(|error| WorkError::Failed(unreadable(&error)))?;
            let done = self.0.work(intent, attempt).await?;
            Ok(Box::new(done) as Done)
        })
    }

    fn finish(
        &self,
        tx: &mut Tx,
        request: &Request,
        intent: &str,
        done: Result<Done, Rejection>,
        at: DateTime<Utc>,
    ) -> Outcome<String> {
        // An older release has checked it; today's checks must not strand what is done already.
        let body = serde_json::from_str(&request.body)
            .map_err(|error| Refusal::Failed(unreadable(&error)))?;
        let intent =
            serde_json::from_str(intent).map_err(|error| Refusal::Failed(unreadable(&error)))?;
        let done = match done.map(Done::downcast::<E::Done>) {
            Ok(Ok(done)) => Ok(*done),
            Ok(Err(_)) => return Err(Refusal::failed("the work ended with another type")),
            Err(rejection) => Err(rejection),
        };
        let call = Call::new(body, request, at);
        encode(&self.0.finish(tx, &call, intent, done)?)
    }
}

fn read<R: Body>(request: &Request) -> Outcome<R> {
    proto_schemas::read(request.body.as_bytes())
        .map_err(|refusal| Rejection::unreadable(refusal).into())
}

fn encode(value: &impl Serialize) -> Outcome<String> {
    serde_json::to_string(value).map_err(|error| Refusal::Failed(format!("no JSON form: {error}")))
}

fn unreadable(error: &serde_json::Error) -> String {
    format!("what was stored when the call began is not readable by this release: {error}")
}
