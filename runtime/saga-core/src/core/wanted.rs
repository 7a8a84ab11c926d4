//! What a saga owes the world: a pure function of its state, so that recovery is no second path.

use crate::{
    effect::{Effect, Request, RequestId, UndoOf},
    fold::{State, Touched},
    id::{call_key, undo_key},
    journal::RetryMs,
};

/// Everything that should be under way for a saga in this state, of these steps. A paused one sends
/// nothing.
pub(super) fn wanted(state: &State, touched: &Touched) -> Vec<Effect> {
    let Some(start) = state.start.as_ref().filter(|_| !state.paused) else { return Vec::new() };
    let (saga, epoch, alias) = (start.saga, start.epoch, start.acts_as());
    let calls = touched.calls(state).into_iter().filter(|(_, it)| it.exhausted.is_none());
    let calls = calls.map(|(step, call)| {
        Effect::Send(Request {
            id: RequestId { saga, step: step.clone(), is_undo: false },
            epoch,
            subject: call.command.subject.clone(),
            key: call_key(alias, epoch, step),
            body: call.command.body.clone(),
            undo: None,
            attempt_class: call.attempt_class,
            since: call.since,
            retry: call.retry,
            saga_key: start.key.clone(),
            is_recovered: false,
            began: state.started_at,
        })
    });
    let undos = state.owed.iter().filter(|it| touched.has_undo(it));
    let undos = undos.filter(|it| it.is_asked && it.failed.is_none());
    let undos = undos.filter_map(|undo| {
        let call_key = undo.of_call.then(|| call_key(alias, epoch, &undo.step));
        Some(Effect::Send(Request {
            id: RequestId { saga, step: undo.step.clone(), is_undo: true },
            epoch,
            subject: undo.command.subject.clone(),
            key: undo_key(alias, epoch, &undo.step),
            body: undo.command.body.clone(),
            undo: Some(UndoOf { call_key, abort: undo.why.as_ref()?.cut() }),
            attempt_class: undo.attempt_class,
            since: undo.since,
            retry: RetryMs::undo(),
            saga_key: start.key.clone(),
            is_recovered: false,
            began: state.started_at,
        }))
    });
    let publishes = state.publishes.iter().filter(|it| touched.has(&it.step));
    let publishes = publishes.map(|it| Effect::Publish {
        saga,
        step: it.step.clone(),
        id: call_key(alias, epoch, &it.step),
        subject: it.command.subject.clone(),
        key: it.key.clone(),
        body: it.command.body.clone(),
    });
    calls.chain(undos).chain(publishes).collect()
}
