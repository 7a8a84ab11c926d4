//! What a saga's author sees.

use crate::{
    abort::{Abort, Rejection},
    engine::{Engine, Outcome},
    id::{Time, derived_uuid, hashed_uuid, millis},
    journal::{Command, Decision},
    message::{Event, Request, Retry},
    payload::{Same, same},
    replay::reads_reply,
    wait::When,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    rc::Rc,
    time::Duration,
};
use uuid::Uuid;

/// A step under way. It takes its name in the arm that polls it first.
pub type Step<T, E = Abort> = Pin<Box<dyn Future<Output = Result<T, E>>>>;

/// A cheap handle, passed by value: a saga's future owns it, is `'static`, and can be kept between
/// turns. Deliberately not `Send`: a durable future cannot be handed to another task or thread.
///
/// ```compile_fail
/// use saga_core::ctx::Ctx;
/// fn spawn(_: impl Send) {}
/// async fn sneak(ctx: Ctx) {
///     spawn(async move { ctx.now() });
/// }
/// ```
pub struct Ctx<T = ()> {
    pub(crate) engine: Engine,
    settings: Rc<T>,
}

impl<T> Clone for Ctx<T> {
    fn clone(&self) -> Self {
        Ctx { engine: self.engine.clone(), settings: self.settings.clone() }
    }
}

impl<T> Ctx<T> {
    pub(crate) fn new(engine: Engine, settings: T) -> Self {
        Ctx { engine, settings: Rc::new(settings) }
    }

    /// As they were when this saga started; there is no other way to configuration.
    pub fn settings(&self) -> &T {
        &self.settings
    }

    /// Asks a service, until it answers.
    pub fn call<R: Request>(&self, request: R) -> Call<R> {
        Call { engine: self.engine.clone(), request, undo: None, retry: R::RETRY }
    }

    /// Holds until the world publishes such an event for this business key.
    pub fn when<E: Event>(&self, key: impl fmt::Display) -> When<E> {
        When::new(self.engine.clone(), key.to_string())
    }

    /// What must happen if the saga does not succeed. The first registered is the last to run.
    pub fn undo<R: Request>(&self, request: R) {
        let step = self.engine.name();
        let command = self.command("the undo", R::SUBJECT, &request);
        self.engine.decide(Decision::Undo { step, command }, &[same::<R>]);
    }

    /// Tells the world. The event's id is the step's key; nobody waits for it but the end.
    pub fn publish<B>(&self, subject: &str, key: impl fmt::Display, body: &B)
    where
        B: Serialize + DeserializeOwned + PartialEq + 'static,
    {
        let step = self.engine.name();
        let command = self.command("the event", subject, body);
        self.engine.decide(Decision::Publish { step, command, key: key.to_string() }, &[same::<B>]);
    }

    /// Holds for a time.
    pub fn sleep(&self, time: Duration) -> Step<()> {
        let engine = self.engine.clone();
        Box::pin(async move {
            let step = engine.name();
            engine.decide(Decision::Sleep { step: step.clone(), ms: millis(time) }, &[]);
            let _: Outcome = engine.outcome(&step).await;
            Ok(())
        })
    }

    /// The time of the fact that is being applied: all the time that a saga knows. When the store
    /// was restored from a backup, what it has lost happens again, later: a request that tells this
    /// time is then another one under a known key, which services refuse.
    pub fn now(&self) -> Time {
        self.engine.now()
    }

    /// An id that is the same whenever this step is replayed, and when the saga begins again from
    /// what began it, as after a restore from a backup.
    pub fn new_id(&self) -> Uuid {
        let step = self.engine.name();
        let key = self.engine.key(&step);
        match self.engine.has_alias() {
            true => hashed_uuid(&["id", &key]),
            false => derived_uuid(self.engine.now(), &key),
        }
    }

    /// Point of no return: forgets every undo registered so far, but for those of calls that another
    /// arm has under way, which are undone if that arm loses. After it a failure is for a person.
    pub fn commit(&self) {
        self.engine.decide(Decision::Commit, &[]);
    }

    /// True where this run takes the new path: never in a turn that was stored without the mark.
    pub fn patched(&self, id: &str) -> bool {
        self.engine.patched(id)
    }

    fn command(&self, of: &str, subject: &str, body: &impl Serialize) -> Command {
        Command { subject: subject.to_owned(), body: self.engine.encode(of, subject, body) }
    }
}

/// A call being described. Nothing is decided until it is polled.
#[must_use = "a call is made when it is awaited"]
pub struct Call<R> {
    engine: Engine,
    request: R,
    undo: Option<(Command, Same)>,
    retry: Retry,
}

impl<R: Request> Call<R> {
    /// What undoes it: a value known before the call, so that it also covers a lost reply.
    pub fn undo<U: Request>(mut self, request: U) -> Self {
        let body = self.engine.encode("the undo", U::SUBJECT, &request);
        self.undo = Some((Command { subject: U::SUBJECT.to_owned(), body }, same::<U>));
        self
    }

    /// How this call is asked again, where it differs from what the request's type says.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }
}

impl<R: Request> IntoFuture for Call<R> {
    type Output = Result<R::Reply, Rejection>;
    type IntoFuture = Step<R::Reply, Rejection>;

    fn into_future(self) -> Self::IntoFuture {
        let Call { engine, request, undo, retry } = self;
        Box::pin(async move {
            let step = engine.name();
            let body = engine.encode("the request", R::SUBJECT, &request);
            let command = Command { subject: R::SUBJECT.to_owned(), body };
            let (undo, undo_type) = undo.unzip();
            let types: Vec<Same> = std::iter::once(same::<R> as Same).chain(undo_type).collect();
            let retry = retry.into();
            engine.expects(&step, reads_reply::<R>);
            engine.decide(Decision::Call { step: step.clone(), command, undo, retry }, &types);
            let body = loop {
                // Only a reply or a rejection is accepted for a call.
                if let Some(reply) = engine.outcome(&step).await.reply(R::SUBJECT) {
                    break reply?;
                }
            };
            Ok(engine.decode(&step, "the answer of", R::SUBJECT, body.decode()).await)
        })
    }
}
