//! A journal as records: each fact, and behind it what was decided on it.

mod page;

pub(super) use page::page;

use super::view::{Raw, TestView, tests};
use crate::clock::rfc3339;
use saga_core::{
    abort::Abort,
    id::{Alias, Path, SagaId, Time, call_key},
    journal::{Command, Decision, Entry, Fact, Hold, Turn},
    payload::Payload,
};
use schemars::JsonSchema;
use serde::Serialize;

/// One record; which fields are there depends on `kind`.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordView {
    /// Counts from 0. What stands behind a fact that was held moves when the fact is applied.
    seq: usize,
    /// The number of its entry, which never changes: a fact with what was decided on it. A fact
    /// that was held is told again under the same number when it is applied.
    entry: u32,
    at: String,
    /// A fact: `started replied rejected received timer_fired exhausted published publish_refused
    /// undone undo_rejected undo_silent undo_waived paused resumed cancel_asked terminated
    /// retried`. A decision: `call wait sleep publish undo patch close abandoned commit complete
    /// abort`.
    kind: &'static str,
    /// The scope path as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    /// The scope that is closed, empty for the saga itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// Of a call the idempotency key; of a wait or a publish the business key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Raw>,
    /// What undoes a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<CommandView>,
    /// What the saga is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<Raw>,
    /// The subject of an event that was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    /// The subjects that a wait takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<Vec<TestView>>,
    /// The deadline of a wait, or the end of a sleep; absent for a wait without a deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// The code of a rejection.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The kind of an abort: `rejected`, `deadline`, `failed`, `cancelled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    abort_kind: Option<&'static str>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Raw>,
    /// The name of a patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Steps whose undo was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    abandoned: Option<Vec<String>>,
    /// Why the code has not seen this fact yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<String>,
}

/// A request.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct CommandView {
    subject: String,
    body: Raw,
}

/// What the keys of a saga's requests begin with.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    alias: Alias,
    epoch: u32,
}

impl Keys {
    /// As the first entry of its journal tells.
    pub(crate) fn of(saga: SagaId, first: &Entry) -> Keys {
        match &first.fact {
            Fact::Started(start) => Keys { alias: start.acts_as(), epoch: start.epoch },
            _ => Keys::unknown(saga),
        }
    }

    /// While its journal has not been read.
    pub(crate) fn unknown(saga: SagaId) -> Keys {
        Keys { alias: Alias::of_id(saga), epoch: 0 }
    }
}

/// The records of one entry: the fact, then what was decided on it, not numbered yet.
pub(crate) fn records_of(keys: Keys, number: u32, entry: &Entry) -> Vec<RecordView> {
    let mut fact = fact(&entry.fact);
    fact.at = rfc3339(entry.at);
    let mut records = vec![fact];
    match &entry.turn {
        Turn::Held(hold) => records[0].held = Some(held(hold)),
        Turn::Done { at, decisions } => {
            let of = Of { keys, at: *at };
            records.extend(decisions.iter().map(|it| of.decision(it)));
        }
    }
    records.iter_mut().for_each(|it| it.entry = number);
    records
}

/// How many records an entry has.
pub(crate) fn count_of(entry: &Entry) -> usize {
    match &entry.turn {
        Turn::Held(_) => 1,
        Turn::Done { decisions, .. } => 1 + decisions.len(),
    }
}

impl RecordView {
    /// Gives it its place in the journal.
    pub(crate) fn numbered(self, seq: usize) -> RecordView {
        RecordView { seq, ..self }
    }
}

fn held(hold: &Hold) -> String {
    match hold {
        Hold::Paused => "the saga is paused".into(),
        Hold::Behind => "an earlier fact is held".into(),
        Hold::GivenBack => "the code was over before it was shown this".into(),
        Hold::Stuck { message } => message.clone(),
    }
}

fn kind(kind: &'static str) -> RecordView {
    RecordView { kind, ..RecordView::default() }
}

fn at_step(name: &'static str, step: &Path) -> RecordView {
    RecordView { step: Some(step.as_str().to_owned()), ..kind(name) }
}

fn moved(name: &'static str, by: &str, reason: &str) -> RecordView {
    RecordView { by: Some(by.to_owned()), reason: Some(reason.to_owned()), ..kind(name) }
}

fn because(name: &'static str, step: &Path, reason: &str) -> RecordView {
    RecordView { reason: Some(reason.to_owned()), ..at_step(name, step) }
}

fn refused(name: &'static str, step: &Path, code: &str, reason: &str) -> RecordView {
    let (code, reason) = (Some(code.to_owned()), Some(reason.to_owned()));
    RecordView { code, reason, ..at_step(name, step) }
}

fn raw(body: &Payload) -> Option<Raw> {
    Some(Raw(body.clone()))
}

fn fact(fact: &Fact) -> RecordView {
    match fact {
        Fact::Started(start) => RecordView {
            input: raw(&start.input),
            settings: raw(&start.settings),
            ..kind("started")
        },
        Fact::Replied { step, body } => RecordView { body: raw(body), ..at_step("replied", step) },
        Fact::Rejected { step, code, reason } => refused("rejected", step, code, reason),
        Fact::Received { step, event, event_id, body, .. } => RecordView {
            event: Some(event.clone()),
            event_id: Some(event_id.clone()),
            body: raw(body),
            ..at_step("received", step)
        },
        Fact::TimerFired { step } => at_step("timer_fired", step),
        Fact::Exhausted { step, reason, .. } => because("exhausted", step, reason),
        Fact::PublishRefused { step, reason } => because("publish_refused", step, reason),
        Fact::UndoSilent { step, reason } => because("undo_silent", step, reason),
        Fact::UndoWaived { step, by, reason } => {
            RecordView { step: Some(step.as_str().to_owned()), ..moved("undo_waived", by, reason) }
        }
        Fact::Published { step } => at_step("published", step),
        Fact::Undone { step } => at_step("undone", step),
        Fact::UndoRejected { step, code, reason } => refused("undo_rejected", step, code, reason),
        Fact::Paused { by, reason } => moved("paused", by, reason),
        Fact::Resumed { by, reason } => moved("resumed", by, reason),
        Fact::CancelAsked { by, reason } => moved("cancel_asked", by, reason),
        Fact::Terminated { by, reason, abandoned } => RecordView {
            abandoned: Some(abandoned.iter().map(|it| it.as_str().to_owned()).collect()),
            ..moved("terminated", by, reason)
        },
        Fact::Retried { by, reason } => moved("retried", by, reason),
    }
}

/// The turn that decided.
struct Of {
    keys: Keys,
    at: Time,
}

impl Of {
    fn decision(&self, decision: &Decision) -> RecordView {
        let record = match decision {
            Decision::Call { step, command, undo, .. } => RecordView {
                key: Some(call_key(self.keys.alias, self.keys.epoch, step)),
                undo: undo.as_ref().map(|it| CommandView {
                    subject: it.subject.clone(),
                    body: Raw(it.body.clone()),
                }),
                ..command_of("call", step, command)
            },
            Decision::Wait { step, events, key, filter, within_ms, .. } => RecordView {
                events: Some(events.clone()),
                key: Some(key.clone()),
                filter: Some(tests(filter)).filter(|it| !it.is_empty()),
                until: within_ms.map(|ms| rfc3339(self.at.after_ms(ms))),
                ..at_step("wait", step)
            },
            Decision::Sleep { step, ms } => {
                RecordView { until: Some(rfc3339(self.at.after_ms(*ms))), ..at_step("sleep", step) }
            }
            Decision::Publish { step, command, key } => {
                RecordView { key: Some(key.clone()), ..command_of("publish", step, command) }
            }
            Decision::Undo { step, command } => command_of("undo", step, command),
            Decision::Commit => kind("commit"),
            Decision::Patch { id } => RecordView { id: Some(id.clone()), ..kind("patch") },
            Decision::Close { scope, .. } => {
                RecordView { scope: Some(scope.as_str().to_owned()), ..kind("close") }
            }
            Decision::Abandoned { step } => at_step("abandoned", step),
            Decision::Complete { output } => RecordView { output: raw(output), ..kind("complete") },
            Decision::Abort { abort: Abort { kind: why, reason }, .. } => RecordView {
                abort_kind: Some(why.as_str()),
                reason: Some(reason.clone()),
                ..kind("abort")
            },
        };
        RecordView { at: rfc3339(self.at), ..record }
    }
}

fn command_of(name: &'static str, step: &Path, command: &Command) -> RecordView {
    let (subject, body) = (Some(command.subject.clone()), raw(&command.body));
    RecordView { subject, body, ..at_step(name, step) }
}
