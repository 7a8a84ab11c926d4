//! Whether a process lives, and whether it can do its work.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::Json;
use crate::problem::Problem;

/// When a caller may ask again.
const RETRY_AFTER_S: u64 = 1;

/// The gates of a process: it is ready when all are open and it is not draining. Clones share
/// them.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Set once, when the stop begins.
    draining: bool,
    /// In the order in which they were added.
    gates: Vec<Check>,
}

/// What one gate says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Check {
    /// What was checked.
    name: String,
    /// Why it is not ready; absent when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
}

/// The answer of `/readyz` when all is well.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Ready {
    ready: bool,
    checks: Vec<Check>,
}

/// One precondition of being ready; closed until it is opened. Clones share it.
#[derive(Clone, Debug)]
pub struct Gate {
    health: Health,
    index: usize,
}

impl Health {
    /// A process without gates: ready at once.
    #[must_use]
    pub fn new() -> Health {
        Health::default()
    }

    /// Adds a gate that is closed for now.
    #[must_use]
    pub fn gate(&self, name: &str) -> Gate {
        let mut state = self.lock();
        let index = state.gates.len();
        state.gates.push(Check { name: name.into(), waits_for: Some("starting".into()) });
        Gate { health: self.clone(), index }
    }

    /// Says that the process is going down: never ready again.
    pub fn drain(&self) {
        self.lock().draining = true;
    }

    /// Whether the process can do its work now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.lock();
        !state.draining && state.gates.iter().all(|gate| gate.waits_for.is_none())
    }

    pub(super) fn readyz(&self) -> Response {
        let state = self.lock();
        if state.draining {
            return Problem::unavailable("draining", RETRY_AFTER_S).into_response();
        }
        let closed = state.gates.iter().filter_map(|gate| Some((gate, gate.waits_for.clone()?)));
        let problem = Problem::unavailable("not ready", RETRY_AFTER_S);
        let problem =
            closed.fold(problem, |it, (gate, why)| it.field(format!("/checks/{}", gate.name), why));
        if problem.errors().is_empty() {
            return Json(Ready { ready: true, checks: state.gates.clone() }).into_response();
        }
        problem.into_response()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and the state is whole at any point.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// It is as it should be.
    pub fn open(&self) {
        self.set(None);
    }

    /// It is not, and why: said to everybody, so without secrets.
    pub fn close(&self, why: impl Into<String>) {
        self.set(Some(why.into()));
    }

    fn set(&self, waits_for: Option<String>) {
        if let Some(gate) = self.health.lock().gates.get_mut(self.index) {
            gate.waits_for = waits_for;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_all_gates_are_open_and_never_once_it_drains() {
        let health = Health::new();
        assert!(health.is_ready());
        let (store, nats) = (health.gate("store"), health.gate("nats"));
        store.open();
        assert_eq!(health.readyz().status(), 503);
        nats.open();
        assert_eq!(health.readyz().status(), 200);
        nats.close("disconnected");
        assert!(!health.is_ready());
        nats.open();
        health.drain();
        assert!(!health.is_ready());
        assert_eq!(health.readyz().status(), 503);
    }
}
