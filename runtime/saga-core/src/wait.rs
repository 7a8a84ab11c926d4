//! `when`: a hold for the outside world.

use crate::{
    abort::Abort,
    ctx::Step,
    engine::{Engine, Outcome},
    filter::{Filter, Where},
    id::millis,
    journal::{Ask, Decision},
    message::Event,
};
use serde::Serialize;
use std::{marker::PhantomData, time::Duration};

/// A wait being described. It says how long: [`within`](When::within) or
/// [`forever`](When::forever).
#[must_use = "a wait is opened when it is awaited"]
pub struct When<E> {
    engine: Engine,
    key: String,
    filter: Filter,
    ask: Option<Ask>,
    event: PhantomData<E>,
}

impl<E: Event> When<E> {
    pub(crate) fn new(engine: Engine, key: String) -> Self {
        When { engine, key, filter: Filter::default(), ask: None, event: PhantomData }
    }

    /// Each filter narrows the wait further.
    pub fn filter(mut self, test: Where<E>) -> Self {
        self.filter.0.push(test.test);
        self
    }

    /// Makes it a task for a person, who is shown the title and the facts (a JSON object).
    pub fn ask(mut self, title: impl Into<String>, facts: &impl Serialize) -> Self {
        let event = E::SUBJECTS.first().copied().unwrap_or_default();
        let facts = self.engine.encode("what a person is shown for", event, facts);
        self.ask = Some(Ask { title: title.into(), facts });
        self
    }

    /// The output is another type, so that nobody can forget the deadline.
    pub fn within(self, limit: Duration) -> Step<Option<E>> {
        Box::pin(self.wait(Some(millis(limit))))
    }

    /// Says that there is no deadline.
    pub fn forever(self) -> Step<E> {
        Box::pin(async move {
            match self.wait(None).await? {
                Some(event) => Ok(event),
                // No timer exists for it.
                None => std::future::pending().await,
            }
        })
    }

    async fn wait(self, within_ms: Option<u64>) -> Result<Option<E>, Abort> {
        let When { engine, key, filter, ask, .. } = self;
        let step = engine.name();
        let events = E::SUBJECTS.iter().map(|it| (*it).to_owned()).collect();
        let wait = Decision::Wait { step: step.clone(), events, key, filter, within_ms, ask };
        engine.decide(wait, &[]);
        match engine.outcome(&step).await {
            Outcome::Received { event, body } => {
                let it = E::decode(&event, body.text());
                Ok(Some(engine.decode(&step, "the event", &event, it).await))
            }
            _ => Ok(None),
        }
    }
}
