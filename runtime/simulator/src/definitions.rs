//! What the sagas of the worlds do, and the messages with which they do it.

pub(crate) mod messages;
pub(crate) mod people;
pub(crate) mod sales;
pub(crate) mod shop;

use saga_core::{
    abort::Abort,
    saga::{Registry, Saga},
};
use std::{future::poll_fn, pin::Pin, task::Poll};

/// Polls once and goes on, as a combinator made by hand would.
async fn poll_once(step: &mut (impl Future + Unpin)) {
    poll_fn(|cx| {
        _ = Pin::new(&mut *step).poll(cx);
        Poll::Ready(())
    })
    .await;
}

fn add<S: Saga<Settings = ()>>(registry: &mut Registry) {
    registry.register::<S>(&()).expect("the definitions of a world fit together");
}

fn overdue(what: &str) -> Abort {
    Abort::deadline(what)
}
