//! What the API gives, as far as people are shown it. Fields that are not here, or not there, do no
//! harm: the runtime may be newer than the command line.

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Saga {
    pub(super) id: String,
    pub(super) definition: String,
    pub(super) version: u32,
    pub(super) key: String,
    pub(super) status: String,
    pub(super) paused: bool,
    pub(super) reason: Option<String>,
    pub(super) parent_id: Option<String>,
    pub(super) started_at: String,
    pub(super) updated_at: String,
    pub(super) ended_at: Option<String>,
    pub(super) waits: Vec<Wait>,
    pub(super) calls: Vec<Call>,
    pub(super) moves: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Wait {
    pub(super) event: String,
    pub(super) key: String,
    pub(super) filter: Vec<Comparison>,
    pub(super) since: String,
    pub(super) until: Option<String>,
    pub(super) on_deadline: String,
    pub(super) task_id: Option<String>,
    pub(super) seen: Option<String>,
    pub(super) unblock: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Comparison {
    pub(super) pointer: String,
    pub(super) op: String,
    pub(super) value: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Call {
    pub(super) subject: String,
    pub(super) attempts: u32,
    pub(super) since: String,
    pub(super) next_attempt_at: Option<String>,
    pub(super) kind: String,
    pub(super) step: String,
    pub(super) last_failure: Option<Failure>,
    pub(super) stopped: Option<String>,
    pub(super) warned: Option<String>,
}

/// What went wrong last.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Failure {
    pub(super) at: String,
    pub(super) reason: String,
    pub(super) times: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) definition: String,
    pub(super) key: String,
    pub(super) title: String,
    pub(super) facts: Option<Box<RawValue>>,
    pub(super) since: String,
    pub(super) until: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Event {
    pub(super) position: u64,
    pub(super) at: String,
    pub(super) name: String,
    pub(super) id: String,
    pub(super) source: Option<String>,
    pub(super) key: Option<String>,
    pub(super) published_at: Option<String>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) conflicts: Vec<u64>,
    pub(super) offered: Option<Offered>,
    pub(super) body: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Verdict {
    pub(super) definition: Option<String>,
    pub(super) outcome: String,
    pub(super) saga_id: Option<String>,
    pub(super) detail: Option<String>,
}

/// Who offered an event again, and where the event is that it became.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Offered {
    pub(super) at: String,
    pub(super) by: String,
    pub(super) reason: String,
    pub(super) position: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) settings: Option<Box<RawValue>>,
    pub(super) events: Vec<Declared>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Declared {
    pub(super) event: String,
    pub(super) starts: bool,
}

/// What came of a decision.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Decided {
    pub(super) saga_id: String,
}

/// The time that the runtime believes in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Clock {
    pub(super) now: String,
    pub(super) suspect: Option<String>,
}

/// A record of a journal: what is there depends on its kind.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Record {
    pub(super) seq: u64,
    pub(super) at: String,
    pub(super) kind: String,
    pub(super) step: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) key: Option<String>,
    pub(super) body: Option<Box<RawValue>>,
    pub(super) undo: Option<Undo>,
    pub(super) input: Option<Box<RawValue>>,
    pub(super) event: Option<String>,
    pub(super) events: Vec<String>,
    pub(super) filter: Vec<Comparison>,
    pub(super) until: Option<String>,
    pub(super) code: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) abort_kind: Option<String>,
    pub(super) by: Option<String>,
    pub(super) output: Option<Box<RawValue>>,
    pub(super) id: Option<String>,
    pub(super) held: Option<String>,
}

/// What undoes a call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Undo {
    pub(super) subject: String,
}

impl Call {
    /// An undo that an operator may give up.
    pub(super) fn is_waivable(&self) -> bool {
        self.kind == "undo" && (self.stopped.is_some() || self.warned.is_some())
    }
}

impl Saga {
    pub(super) fn has_ended(&self) -> bool {
        self.ended_at.is_some()
    }

    /// Where it stands, with what lies over it.
    pub(super) fn standing(&self) -> String {
        let paused = if self.paused { ", paused" } else { "" };
        format!("{}{paused}", self.status)
    }
}
