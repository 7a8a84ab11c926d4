//! The core's types as the wire has them. This is the one place that maps them.

use crate::{
    clock::rfc3339,
    nats_bus::{Attempts, KEY, Kept},
    telemetry::outcome_text,
};
use saga_core::{
    codec::OfferedRow,
    filter::Filter,
    fold::OpenWait,
    head::{Head, HeadCall},
    id::{TaskId, Time},
    moves::{Phase, open_moves},
    payload::Payload,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// JSON as it was recorded, with all digits of its numbers.
#[derive(Clone, Debug)]
pub(crate) struct Raw(pub(crate) Payload);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: &RawValue =
            serde_json::from_str(self.0.text()).map_err(serde::ser::Error::custom)?;
        text.serialize(serializer)
    }
}

impl JsonSchema for Raw {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

/// A saga, alone and in lists.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SagaView {
    /// A UUID of version 7.
    id: String,
    /// The definition's name.
    definition: String,
    /// The definition's version with which the saga keeps.
    version: u32,
    /// The business key.
    key: String,
    /// `running`, `waiting`, `compensating`, `attention`, `completed`, `cancelled`, `failed` or
    /// `terminated`.
    status: &'static str,
    /// An operator has paused it.
    paused: bool,
    /// Why it ended, or needs a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The saga to which it belongs: the one that ended before the event that this one handles.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    started_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// What it holds for: one entry for each subject of a wait, and one for each sleep.
    waits: Vec<WaitView>,
    /// Requests without an answer, undos among them, and events that the broker has not taken.
    calls: Vec<CallView>,
    /// The moves of an operator that would do something now.
    moves: Vec<&'static str>,
}

/// One thing that a saga holds for.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WaitView {
    /// The event's subject; `sleep` for a wait for a time.
    event: String,
    /// The business key that the event must carry.
    key: String,
    /// What its body must fulfil.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    filter: Vec<TestView>,
    since: String,
    /// The deadline; null when there is none.
    until: Option<String>,
    /// What happens then.
    on_deadline: &'static str,
    /// The task, when a person is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    /// What a decision on the task gives back as `seen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<String>,
    /// How anybody can let the saga go on.
    unblock: String,
}

/// One comparison of a filter; all must hold.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TestView {
    /// JSON pointer into the event's body.
    pointer: String,
    /// `eq`, `ne`, `in`, `lt`, `le`, `gt`, `ge` or `exists`.
    op: String,
    value: Raw,
}

/// A request without an answer, or an event that the broker has not taken.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallView {
    /// `call`, `undo` or `publish`.
    kind: &'static str,
    /// Its step.
    step: String,
    /// Where it goes.
    subject: String,
    /// How often it was sent since this process started.
    attempts: u32,
    since: String,
    /// When it is sent again; null when it is not by itself, or while it waits for its turn.
    next_attempt_at: Option<String>,
    /// What went wrong last, since this process started.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<FailureView>,
    /// Why it is not sent again by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    /// Why a person should look, though it is sent again by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    warned: Option<String>,
}

/// The last failure of a request or an event.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FailureView {
    at: String,
    /// In the words of whoever refused it.
    reason: String,
    /// How often it has failed since this process started.
    times: u32,
}

/// What waits for a person.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskView {
    id: String,
    saga_id: String,
    definition: String,
    /// The business key.
    key: String,
    title: String,
    /// What the person should see before deciding.
    facts: Raw,
    /// What a decision gives back as `seen`, to be about this question and about what it shows.
    seen: String,
    since: String,
    /// The deadline; null when there is none.
    until: Option<String>,
}

/// What is known of a request or an event that is under way.
pub(crate) type Sent<'a> = &'a dyn Fn(&HeadCall) -> Attempts;

impl SagaView {
    /// `sent` tells what only the courier and the publisher know of a call.
    pub(crate) fn of(head: &Head, sent: Sent<'_>) -> SagaView {
        let waits = head.waits.iter().flat_map(|it| WaitView::of(head, it));
        let sleeps = head.sleeps.iter().map(|it| WaitView {
            event: "sleep".into(),
            key: head.key.clone(),
            filter: Vec::new(),
            since: rfc3339(it.since),
            until: Some(rfc3339(it.due)),
            on_deadline: "the saga goes on",
            task_id: None,
            seen: None,
            unblock: "nobody: it goes on by itself".into(),
        });
        let ended = head.status.is_ended();
        SagaView {
            id: head.id.to_string(),
            definition: head.definition.clone(),
            version: head.version,
            key: head.key.clone(),
            status: head.status.as_str(),
            paused: head.paused,
            reason: head.reason.clone(),
            parent_id: head.origin.map(|it| it.to_string()),
            started_at: rfc3339(head.started_at),
            updated_at: rfc3339(head.updated_at),
            ended_at: head.ended_at.map(rfc3339),
            waits: if ended { Vec::new() } else { waits.chain(sleeps).collect() },
            calls: head.calls.iter().map(|it| CallView::of(it, sent)).collect(),
            moves: open_moves(Phase::of_head(head), head.paused),
        }
    }
}

impl WaitView {
    fn of<'a>(head: &'a Head, wait: &'a OpenWait) -> impl Iterator<Item = WaitView> + 'a {
        let task_id = wait.ask.as_ref().map(|_| task_id(head, wait));
        // What comes meanwhile counts, but the code sees it later.
        let behind = if head.paused { "; the saga goes on when it is resumed" } else { "" };
        wait.events.iter().map(move |event| WaitView {
            event: event.clone(),
            key: wait.key.clone(),
            filter: tests(&wait.filter),
            since: rfc3339(wait.since),
            until: wait.due.map(rfc3339),
            on_deadline: match wait.due {
                Some(_) => "the saga goes on without the event",
                None => "there is no deadline",
            },
            task_id: task_id.clone(),
            seen: head.seen(wait),
            unblock: match &task_id {
                Some(task) => format!(
                    "as approver: POST /api/tasks/{task}/decision \
                     {{\"approved\":true|false,\"reason\":\"…\"}}, or approve {task} on the \
                     command line{behind}"
                ),
                None => {
                    format!("an event on {event} with the header Fermata-Key: {}{behind}", wait.key)
                }
            },
        })
    }
}

impl CallView {
    fn of(call: &HeadCall, sent: Sent<'_>) -> CallView {
        let Attempts { attempts, next_at, failure } = sent(call);
        let next = next_at.filter(|_| call.stopped.is_none());
        CallView {
            kind: match (call.is_undo, call.is_publish) {
                (true, _) => "undo",
                (false, true) => "publish",
                (false, false) => "call",
            },
            step: call.step.to_string(),
            subject: call.subject.clone(),
            attempts,
            since: rfc3339(call.since),
            next_attempt_at: next.map(rfc3339),
            last_failure: failure.map(|it| FailureView {
                at: rfc3339(it.at),
                reason: it.reason,
                times: it.times,
            }),
            stopped: call.stopped.clone(),
            warned: call.warned.clone(),
        }
    }
}

impl TaskView {
    pub(crate) fn id(&self) -> String {
        self.id.clone()
    }

    /// Nothing for a wait that asks nobody.
    pub(crate) fn of(head: &Head, wait: &OpenWait) -> Option<TaskView> {
        let ask = wait.ask.as_ref()?;
        Some(TaskView {
            id: task_id(head, wait),
            saga_id: head.id.to_string(),
            definition: head.definition.clone(),
            key: head.key.clone(),
            title: ask.title.clone(),
            facts: Raw(ask.facts.clone()),
            seen: head.seen(wait)?,
            since: rfc3339(wait.since),
            until: wait.due.map(rfc3339),
        })
    }
}

pub(crate) fn tests(filter: &Filter) -> Vec<TestView> {
    let test = |it: &saga_core::filter::Test| TestView {
        pointer: it.pointer.clone(),
        op: serde_json::to_value(it.op)
            .ok()
            .and_then(|it| it.as_str().map(str::to_owned))
            .unwrap_or_default(),
        value: Raw(it.value.to_payload()),
    };
    filter.0.iter().map(test).collect()
}

fn task_id(head: &Head, wait: &OpenWait) -> String {
    TaskId { saga: head.id, step: wait.step.clone() }.to_string()
}

/// What became of an event.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventView {
    /// Its place in the log.
    position: u64,
    /// When it was made durable.
    at: String,
    /// Its subject.
    name: String,
    id: String,
    /// From whom, by the subject's prefix; absent for a message that is no event.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// The business key, when a header gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// When the broker took it; absent for a message that is no event.
    #[serde(skip_serializing_if = "Option::is_none")]
    published_at: Option<String>,
    /// One line for each definition, or one for all.
    verdicts: Vec<VerdictView>,
    /// Positions of events with the same id and another body, which did not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    conflicts: Vec<u64>,
    /// Set when an operator has offered it again; the verdicts say what became of it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    offered: Option<OfferedView>,
    /// The body, when the event is asked for alone; of a message that is no event as a string, in
    /// base64 where it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Raw>,
}

/// Who offered an event again.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OfferedView {
    at: String,
    /// Who did it.
    by: String,
    reason: String,
    /// Where the event is that it became: another place for a message that was no event.
    position: u64,
}

/// What became of an event, for one definition.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VerdictView {
    /// The definition; absent when it speaks for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    saga_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl EventView {
    pub(crate) fn of(seen: saga_core::core::Seen) -> EventView {
        let saga_core::core::Seen { position, event, identity } = seen;
        let (verdicts, conflicts) = match identity {
            Some(row) => (row.verdicts, row.conflicts),
            // Its identity belongs to the event that came first.
            None => (vec![conflict()], Vec::new()),
        };
        let verdict = |it: saga_core::effect::Verdict| VerdictView {
            definition: it.definition,
            outcome: outcome_text(it.outcome),
            saga_id: it.saga.map(|it| it.to_string()),
            detail: it.detail,
        };
        EventView {
            position,
            at: rfc3339(event.at),
            name: event.name,
            id: event.id,
            source: Some(event.source),
            key: event.key,
            published_at: Some(rfc3339(event.published_at)),
            verdicts: verdicts.into_iter().map(verdict).collect(),
            conflicts: conflicts.into_iter().map(|it| it.0).collect(),
            offered: None,
            body: Some(Raw(event.body)),
        }
    }

    /// A message that could not be read.
    pub(crate) fn dead(position: u64, kept: &Kept, at: Time, reason: String) -> EventView {
        let outcome = outcome_text(saga_core::effect::Outcome::DeadLetter);
        let verdict =
            VerdictView { definition: None, outcome, saga_id: None, detail: Some(reason) };
        EventView {
            position,
            at: rfc3339(at),
            name: kept.name.clone(),
            id: kept.id.clone(),
            source: None,
            key: kept.headers.get(KEY).cloned(),
            // Older stores do not know it.
            published_at: (kept.published_at > Time(0)).then(|| rfc3339(kept.published_at)),
            verdicts: vec![verdict],
            conflicts: Vec::new(),
            offered: None,
            body: Payload::of(&kept.body).ok().map(Raw),
        }
    }

    /// As an operator has offered it again; `became` is the event that it became, when that is
    /// another one.
    pub(crate) fn offered(self, row: OfferedRow, became: Option<EventView>) -> EventView {
        let OfferedRow { at, by, reason, event: position, .. } = row;
        let offered = Some(OfferedView { at: rfc3339(at), by, reason, position });
        let verdicts = became.map_or(self.verdicts, |it| it.verdicts);
        EventView { offered, verdicts, ..self }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// As it stands in lists.
    pub(crate) fn body_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, |it| it.0.text().len())
    }

    pub(crate) fn without_body(self) -> EventView {
        EventView { body: None, ..self }
    }

    pub(crate) fn has(&self, outcome: &str) -> bool {
        self.verdicts.iter().any(|it| it.outcome == outcome)
            || outcome == "conflict" && !self.conflicts.is_empty()
    }
}

fn conflict() -> saga_core::effect::Verdict {
    saga_core::effect::Verdict {
        definition: None,
        outcome: saga_core::effect::Outcome::Conflict,
        saga: None,
        detail: None,
    }
}
