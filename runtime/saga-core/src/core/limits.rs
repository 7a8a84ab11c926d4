//! What code may ask for. All of it comes from an author or from a service, is stored and sent, and
//! nothing of it may be more than a row, a message or a list has room for: what is over a limit is
//! held, and says so.

use super::{HEAD_BYTES_MAX, KEY_BYTES_MAX, PAYLOAD_BYTES_MAX, TURN_BYTES_MAX};
use crate::{
    codec::encoded_bytes,
    fold::State,
    journal::{Ask, Command, Decision},
    replay::ReplayError,
    saga::Definition,
    subject,
    text::cut,
};

/// One line in a list of tasks.
const TITLE_BYTES_MAX: usize = 1_000;

/// What a person is shown stands in the head of the saga and in lists of tasks.
const FACTS_BYTES_MAX: usize = 64 << 10;

/// Comparisons of one wait: each is made with each event of its lane.
const FILTER_TESTS_MAX: usize = 32;

/// What the comparisons of one wait weigh together, as they are recorded.
const FILTER_BYTES_MAX: usize = 16 << 10;

/// The name of a patch is a word of the author's.
const PATCH_BYTES_MAX: usize = 255;

/// The name of a step has a number for each join and race that it lies in. It stands in keys,
/// subjects and headers, and in what the next process is told of the one that ran last.
const STEP_BYTES_MAX: usize = 1_000;

/// Requests and events of one saga that may be open at once: each turn looks through them. Who
/// needs more asks in pieces.
const OPEN_MAX: usize = 2_000;

/// Waits and sleeps of one saga that may be open at once: each has its place in the memory of the
/// process.
const HOLDS_MAX: usize = 16_384;

/// What the code may not ask for: it could never come to an end, or never be stored or sent.
pub(super) fn refused(definition: &Definition, decisions: &[Decision]) -> Option<ReplayError> {
    let refused = |it: &Decision| undeclared(definition, it).or_else(|| too_deep(it));
    let refused = |it: &Decision| refused(it).or_else(|| over(it));
    decisions.iter().find_map(refused).or_else(|| too_much(decisions))
}

/// What has become too much with a turn: the head is one row, and is written with each turn.
pub(super) fn too_much_open(state: &State, row_bytes: usize) -> Option<ReplayError> {
    let open = state.calls.len() + state.publishes.len();
    let what = "requests and events that it has open at once";
    let holds = state.waits.len() + state.sleeps.len();
    limit(what, open, OPEN_MAX)
        .or_else(|| limit("waits and sleeps that it has open at once", holds, HOLDS_MAX))
        .or_else(|| {
            let what = "bytes of all that it holds for and has asked";
            limit(what, row_bytes.max(state.holds_bytes()), HEAD_BYTES_MAX)
        })
}

fn limit(what: impl Into<String>, size: usize, max: usize) -> Option<ReplayError> {
    (max < size).then(|| ReplayError::OverLimit { what: what.into(), size, max })
}

fn too_deep(decision: &Decision) -> Option<ReplayError> {
    let (Decision::Call { step, .. }
    | Decision::Undo { step, .. }
    | Decision::Publish { step, .. }
    | Decision::Wait { step, .. }
    | Decision::Sleep { step, .. }) = decision
    else {
        return None;
    };
    let what = "bytes of the name of a step, as joins and races lie in each other";
    limit(what, step.as_str().len(), STEP_BYTES_MAX)
}

fn over(decision: &Decision) -> Option<ReplayError> {
    match decision {
        Decision::Call { command, undo, .. } => {
            sendable(command).or_else(|| undo.as_ref().and_then(sendable))
        }
        Decision::Undo { command, .. } => sendable(command),
        Decision::Publish { command, key, .. } => {
            sendable(command).or_else(|| wrong_key("published", &command.subject, key))
        }
        Decision::Wait { events, key, filter, ask, .. } => {
            let event = events.first().map_or("", String::as_str);
            let tests = format!("comparisons of a wait for {event}");
            let bytes = format!("bytes of the comparisons of a wait for {event}");
            wrong_key("awaited", event, key)
                .or_else(|| limit(tests, filter.0.len(), FILTER_TESTS_MAX))
                .or_else(|| limit(bytes, encoded_bytes(filter), FILTER_BYTES_MAX))
                .or_else(|| ask.as_ref().and_then(|it| wrong_ask(event, it)))
        }
        Decision::Patch { id } => limit("bytes of the name of a patch", id.len(), PATCH_BYTES_MAX),
        Decision::Complete { output } => {
            limit("bytes of the output", output.text().len(), PAYLOAD_BYTES_MAX)
        }
        Decision::Sleep { .. }
        | Decision::Commit
        | Decision::Close { .. }
        | Decision::Abandoned { .. }
        | Decision::Abort { .. } => None,
    }
}

fn wrong_ask(event: &str, ask: &Ask) -> Option<ReplayError> {
    let title = format!("bytes of the title that asks for {event}");
    let facts = format!("bytes of what is shown to whoever decides {event}");
    limit(title, ask.title.len(), TITLE_BYTES_MAX)
        .or_else(|| limit(facts, ask.facts.text().len(), FACTS_BYTES_MAX))
}

/// No event has a key of another length.
fn wrong_key(how: &str, event: &str, key: &str) -> Option<ReplayError> {
    let what = format!("bytes of the key of {event} that is {how}");
    match key.len() {
        0 => Some(ReplayError::OverLimit { what, size: 0, max: KEY_BYTES_MAX }),
        size => limit(what, size, KEY_BYTES_MAX),
    }
}

fn sendable(command: &Command) -> Option<ReplayError> {
    let Command { subject, body } = command;
    if let Some(fault) = subject::fault(subject) {
        const SHOWN_CHARS_MAX: usize = 80;
        let subject = cut(subject, SHOWN_CHARS_MAX).into_owned();
        return Some(ReplayError::BadSubject { subject, fault });
    }
    limit(format!("bytes of the body for {subject}"), body.text().len(), PAYLOAD_BYTES_MAX)
}

fn undeclared(definition: &Definition, decision: &Decision) -> Option<ReplayError> {
    let Decision::Wait { events, ask, .. } = decision else { return None };
    events.iter().find_map(|event| {
        let message = match definition.declared(event) {
            None => {
                format!(
                    "waits for {event}, which its definition does not declare: add it to events()"
                )
            }
            Some(it) if it.is_decision && ask.is_none() => {
                format!("waits for {event}, which only a person decides: say .ask(…)")
            }
            Some(it) if !it.is_decision && ask.is_some() => {
                format!("asks for {event}, which is not declared as a decision")
            }
            Some(_) => return None,
        };
        Some(ReplayError::Undeclared { message })
    })
}

fn too_much(decisions: &[Decision]) -> Option<ReplayError> {
    /// What the least decision adds to a head: the times and the names of its step.
    const DECISION_BYTES: usize = 128;
    let of_each = decisions.len().saturating_mul(DECISION_BYTES);
    let bytes = encoded_bytes(&decisions).saturating_add(of_each);
    (TURN_BYTES_MAX < bytes).then_some(ReplayError::TooMuch { bytes })
}
