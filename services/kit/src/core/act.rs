//! What becomes of a call that is new, or of an undo: the procedure's outcome, and what the key
//! table remembers of it.

use crate::{
    call::provider_key,
    keys::{self, RequestHash, State},
    outcome::{Outcome, Refusal, Rejection},
    procedure::{Attempt, Begun, Procedure, Working},
    rows::Space,
    wire::{Answer, PAYLOAD_BYTES_MAX, Request},
};
use chassis::db::{DbError, Tx};
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// The reply to an undo for which there is nothing to do.
const NOTHING: &str = "null";

/// What follows a request.
pub(super) enum Next {
    Answer(Answer),
    /// Its outside work has begun; the answer comes after it.
    Begun {
        key: String,
        working: Working,
    },
    /// It waits for the outside work of this key, which is its own or the one that it undoes.
    Wait {
        key: String,
    },
}

/// Undoes a call: waits for it, compensates it, or makes sure that it never happens.
pub(super) fn undo(
    tx: &mut Tx,
    procedure: &Arc<dyn Procedure>,
    request: &Request,
    of: &str,
    hash: RequestHash,
    now: DateTime<Utc>,
) -> Result<Next, DbError> {
    let nothing = Next::Answer(Answer::Ok { body: NOTHING.to_owned() });
    let row = keys::get(tx, Space::Nats, of)?;
    match row.map(|row| row.state) {
        Some(State::Pending { .. }) => Ok(Next::Wait { key: of.to_owned() }),
        Some(State::Undone) => Ok(nothing),
        Some(State::Answered { answer: Answer::Ok { .. }, .. } | State::Barred) => {
            act(tx, procedure, request, Some(hash), now)
        }
        // Its undo has to find out by itself whether there is anything to undo. Its call may come
        // meanwhile.
        Some(State::Answered { .. }) | None if keys::may_be_forgotten(tx, request, of, now)? => {
            let next = act(tx, procedure, request, Some(hash), now)?;
            if matches!(next, Next::Begun { .. }) {
                keys::put(tx, Space::Nats, of, None, State::Barred, now)?;
            }
            Ok(next)
        }
        // A refusal can be asked again by an operator, and that request may still be on its way.
        Some(State::Answered { .. }) | None => {
            keys::put(tx, Space::Nats, of, None, State::Undone, now)?;
            Ok(nothing)
        }
    }
}

/// Runs a procedure for a call that has not been acted on. A hash means that the key is kept.
pub(super) fn act(
    tx: &mut Tx,
    procedure: &Arc<dyn Procedure>,
    request: &Request,
    hash: Option<RequestHash>,
    now: DateTime<Utc>,
) -> Result<Next, DbError> {
    let before = tx.savepoint();
    let outcome = guarded(tx, |tx| procedure.begin(tx, request, now));
    let key = request.key.as_deref().filter(|_| hash.is_some());
    match outcome {
        Ok(Begun::Done(body)) if body.len() > PAYLOAD_BYTES_MAX => {
            tx.roll_back(before);
            Ok(Next::Answer(too_large()))
        }
        Ok(Begun::Done(body)) => {
            let answer = Answer::Ok { body };
            if key.is_some() {
                settle(tx, request, &answer, now)?;
            }
            Ok(Next::Answer(answer))
        }
        Ok(Begun::Work(intent)) => {
            let next = begun(tx, procedure, request, intent, hash, now)?;
            if matches!(next, Next::Answer(_)) {
                tx.roll_back(before);
            }
            Ok(next)
        }
        Err(Refusal::Rejected(rejection)) => {
            tx.roll_back(before);
            let Some(answer) = sendable(&rejection) else {
                return Ok(Next::Answer(too_large()));
            };
            if key.is_some() && rejection.is_remembered {
                refuse(tx, request, &answer, now)?;
            }
            Ok(Next::Answer(answer))
        }
        Err(Refusal::Failed(why)) => {
            tx.roll_back(before);
            Ok(Next::Answer(Answer::failed(why)))
        }
        Err(Refusal::Store(error)) => {
            tx.roll_back(before);
            store_failed(error).map(Next::Answer)
        }
    }
}

/// Makes the intent durable, to be worked on after the commit.
fn begun(
    tx: &mut Tx,
    procedure: &Arc<dyn Procedure>,
    request: &Request,
    intent: String,
    hash: Option<RequestHash>,
    now: DateTime<Utc>,
) -> Result<Next, DbError> {
    let Some(key) = request.key.clone() else {
        return Ok(Next::Answer(Answer::failed("outside work needs a key")));
    };
    if intent.len() > PAYLOAD_BYTES_MAX {
        return Ok(Next::Answer(Answer::failed("the intent is too large to be stored")));
    }
    let working = Arc::clone(procedure).work(&intent, attempt(request, &key, false));
    let intent = match RawValue::from_string(intent) {
        Ok(intent) => intent,
        Err(error) => return Ok(Next::Answer(Answer::failed(error.to_string()))),
    };
    let state = State::Pending { request: request.clone(), intent };
    keys::put(tx, Space::Nats, &key, hash, state, now)?;
    Ok(Next::Begun { key, working })
}

/// Remembers a reply; after an undo also that the call is undone.
pub(super) fn settle(
    tx: &mut Tx,
    request: &Request,
    answer: &Answer,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    if let Some(of) = &request.undo_of {
        keys::put(tx, Space::Nats, of, None, State::Undone, now)?;
    }
    remember(tx, request, answer, now)
}

/// Remembers the refusal of a call. That of an undo is forgotten, so that a retry is a real one.
pub(super) fn refuse(
    tx: &mut Tx,
    request: &Request,
    answer: &Answer,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    match &request.key {
        Some(key) if request.is_undo() => keys::forget(tx, Space::Nats, key),
        _ => remember(tx, request, answer, now),
    }
}

fn remember(
    tx: &mut Tx,
    request: &Request,
    answer: &Answer,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let Some(key) = &request.key else { return Ok(()) };
    let attempt_class = request.attempt_class;
    let state = State::Answered { answer: answer.clone(), attempt_class };
    let hash = RequestHash::of(&request.subject, &request.body);
    keys::put(tx, Space::Nats, key, Some(hash), state, now)
}

pub(super) fn attempt(request: &Request, key: &str, may_have_happened: bool) -> Attempt {
    Attempt {
        key: provider_key(key, request.attempt_class),
        class: request.attempt_class,
        may_have_happened: may_have_happened || request.attempt_class > 1,
    }
}

/// A panic in a procedure is a failure of this one call, and so is a row that the store would
/// refuse: in the commit it would take the whole group with it.
pub(crate) fn guarded<T>(tx: &mut Tx, procedure: impl FnOnce(&mut Tx) -> Outcome<T>) -> Outcome<T> {
    let before = tx.savepoint();
    let outcome = catch_unwind(AssertUnwindSafe(|| procedure(tx))).unwrap_or_else(|_| {
        tracing::error!("a procedure panicked");
        Err(Refusal::failed("the procedure panicked"))
    });
    tx.check_since(before)?;
    outcome
}

/// A broken store ends the process; a row that cannot be read fails the one call.
pub(super) fn store_failed(error: DbError) -> Result<Answer, DbError> {
    if error.is_fatal() { Err(error) } else { Ok(Answer::failed(error.to_string())) }
}

pub(super) fn rejected(rejection: &Rejection) -> Next {
    Next::Answer(Answer::rejected(rejection))
}

/// Nothing when the broker would not take it.
pub(super) fn sendable(rejection: &Rejection) -> Option<Answer> {
    let answer = Answer::rejected(rejection);
    let fits = |body: &str| body.len() <= PAYLOAD_BYTES_MAX;
    matches!(&answer, Answer::Rejected { body, .. } if fits(body)).then_some(answer)
}

pub(super) fn too_large() -> Answer {
    Answer::failed("reply too large")
}
