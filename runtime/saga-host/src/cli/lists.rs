//! The lists of the API: what is asked, and which columns people see.

use super::{
    ages::{age, left},
    args::Sagas,
    client::{Query, read},
    model::{Definition, Event, Saga, Task},
    problem::CliError,
    table::{Cell, Tone},
};
use crate::names::spelt;
use chrono::{DateTime, SecondsFormat, Utc};
use std::time::Duration;

/// A list.
pub(super) struct List {
    /// Below `/api`.
    pub(super) path: [&'static str; 1],
    pub(super) query: Query,
    pub(super) header: &'static [&'static str],
    /// What is said when there is nothing.
    pub(super) empty: &'static str,
    /// How an item becomes a row.
    pub(super) row: RowOf,
}

/// An item of the API as a row, at this time.
pub(super) type RowOf = fn(&str, DateTime<Utc>) -> Result<ListRow, CliError>;

/// An item as a row.
pub(super) struct ListRow {
    /// Names the item.
    pub(super) id: String,
    /// Differs when the item has changed in a way that is worth another line.
    pub(super) stamp: String,
    pub(super) cells: Vec<Cell>,
}

/// Sagas that pass the filters.
pub(super) fn sagas(which: &Sagas, now: DateTime<Utc>) -> Result<List, CliError> {
    let ago = |option: &str, age: Option<Duration>| match age {
        None => Ok(None),
        Some(age) => {
            match chrono::Duration::from_std(age).ok().map(|it| now.checked_sub_signed(it)) {
                Some(Some(time)) => Ok(Some(time.to_rfc3339_opts(SecondsFormat::Millis, true))),
                _ => Err(CliError::Usage(format!("{option} goes back before all time"))),
            }
        }
    };
    let filters = [
        ("status", which.status.map(spelt)),
        ("definition", which.definition.clone()),
        ("key", which.key.clone()),
        ("q", which.search.clone()),
        ("startedBefore", ago("--older-than", which.older_than)?),
        ("startedAfter", ago("--newer-than", which.newer_than)?),
    ];
    Ok(List {
        path: ["sagas"],
        query: filters.into_iter().filter_map(|(name, it)| Some((name, it?))).collect(),
        header: &["SAGA", "DEFINITION", "KEY", "STATUS", "AGE", "UPDATED", "DETAIL"],
        empty: "no sagas",
        row: |item, now| read(item).map(|it| saga(&it, now)),
    })
}

/// What waits for people.
pub(super) fn tasks() -> List {
    List {
        path: ["tasks"],
        query: Query::new(),
        header: &["TASK", "DEFINITION", "KEY", "AGE", "DEADLINE", "TITLE", "FACTS"],
        empty: "nothing waits for a person",
        row: |item, now| read(item).map(|it| task(&it, now)),
    }
}

/// Events with this verdict.
pub(super) fn events(verdict: Option<String>) -> List {
    List {
        path: ["events"],
        query: verdict.map(|it| ("verdict", it)).into_iter().collect(),
        header: &["POSITION", "AGE", "EVENT", "KEY", "VERDICT", "DETAIL"],
        empty: "no events",
        row: |item, now| read(item).map(|it| event(&it, now)),
    }
}

/// What the runtime has linked.
pub(super) fn definitions() -> List {
    List {
        path: ["definitions"],
        query: Query::new(),
        header: &["DEFINITION", "VERSION", "STARTED BY", "TAKES", "SETTINGS"],
        empty: "the runtime has no definitions",
        row: |item, _| read(item).map(|it| definition(&it)),
    }
}

fn saga(saga: &Saga, now: DateTime<Utc>) -> ListRow {
    let tone = match saga.status.as_str() {
        _ if saga.paused => Tone::Waiting,
        "attention" | "failed" => Tone::Bad,
        "completed" => Tone::Good,
        "waiting" | "compensating" => Tone::Waiting,
        _ => Tone::Plain,
    };
    let detail = detail(saga, now);
    ListRow {
        id: saga.id.clone(),
        stamp: format!("{} {}", saga.standing(), saga.updated_at),
        cells: vec![
            saga.id.as_str().into(),
            saga.definition.as_str().into(),
            saga.key.as_str().into(),
            Cell::toned(saga.standing(), tone),
            age(&saga.started_at, now).into(),
            age(&saga.updated_at, now).into(),
            detail.into(),
        ],
    }
}

/// Why it ended or needs somebody; else what it holds for.
fn detail(saga: &Saga, now: DateTime<Utc>) -> String {
    if let Some(reason) = &saga.reason {
        return reason.clone();
    }
    let mut names: Vec<&str> = saga.waits.iter().map(|it| it.event.as_str()).collect();
    names.extend(saga.calls.iter().map(|it| it.subject.as_str()));
    // RFC 3339 in UTC sorts as text.
    let until = saga.waits.iter().filter_map(|it| it.until.as_deref()).min();
    let until = until.map(|it| format!(" ({})", left(it, now))).unwrap_or_default();
    format!("{}{until}", names.join(", "))
}

fn task(task: &Task, now: DateTime<Utc>) -> ListRow {
    ListRow {
        id: task.id.clone(),
        stamp: task.since.clone(),
        cells: vec![
            task.id.as_str().into(),
            task.definition.as_str().into(),
            task.key.as_str().into(),
            age(&task.since, now).into(),
            task.until.as_deref().map(|it| left(it, now)).unwrap_or_default().into(),
            task.title.as_str().into(),
            task.facts.as_ref().map(|it| it.get()).unwrap_or_default().into(),
        ],
    }
}

fn event(event: &Event, now: DateTime<Utc>) -> ListRow {
    let mut outcomes: Vec<&str> = event.verdicts.iter().map(|it| it.outcome.as_str()).collect();
    outcomes.dedup();
    let outcomes = outcomes.join(", ");
    let tone = match outcomes.as_str() {
        "dead_letter" | "refused" | "conflict" | "conflicting_start" => Tone::Bad,
        "unclaimed" | "unrouted" | "kept" => Tone::Waiting,
        _ => Tone::Plain,
    };
    let details = event.verdicts.iter();
    let details = details.filter_map(|it| it.detail.as_deref().or(it.saga_id.as_deref()));
    let details: Vec<&str> = details.collect();
    ListRow {
        id: event.position.to_string(),
        stamp: outcomes.clone(),
        cells: vec![
            event.position.to_string().into(),
            age(&event.at, now).into(),
            event.name.as_str().into(),
            event.key.as_deref().unwrap_or_default().into(),
            Cell::toned(outcomes, tone),
            details.join(", ").into(),
        ],
    }
}

fn definition(definition: &Definition) -> ListRow {
    let events = |starts: bool| {
        let of_kind = definition.events.iter().filter(|it| it.starts == starts);
        of_kind.map(|it| it.event.as_str()).collect::<Vec<&str>>().join(", ")
    };
    ListRow {
        id: definition.name.clone(),
        stamp: definition.version.to_string(),
        cells: vec![
            definition.name.as_str().into(),
            definition.version.to_string().into(),
            events(true).into(),
            events(false).into(),
            definition.settings.as_ref().map(|it| it.get()).unwrap_or_default().into(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{ages::time, screen::Screen, table::Columns};

    fn told(list: &List, items: &[&str]) -> String {
        let now = time("2026-01-02T03:14:05Z").expect("a time");
        let row = |item: &&str| (list.row)(item, now).expect("a row").cells;
        Columns::new(list.header).lines(items.iter().map(row).collect(), Screen::PIPE)
    }

    #[test]
    fn a_saga_is_a_line_that_says_what_it_holds_for_or_why_it_ended() {
        let list = sagas(&filters(), Utc::now()).expect("a list");
        let told = told(
            &list,
            &[
                r#"{"id":"s1","definition":"demo","key":"k","status":"waiting","paused":true,
                "startedAt":"2026-01-02T02:14:05Z","updatedAt":"2026-01-02T03:14:00Z",
                "waits":[{"event":"a.x","until":"2026-01-02T05:14:05Z"},{"event":"a.y"}],
                "calls":[{"subject":"b.c"}]}"#,
                r#"{"id":"s2","definition":"demo","key":"l","status":"cancelled",
                "startedAt":"2026-01-01T02:14:05Z","updatedAt":"2026-01-01T03:14:05Z",
                "reason":"the customer asked"}"#,
            ],
        );
        let expected = "\
SAGA  DEFINITION  KEY  STATUS           AGE  UPDATED  DETAIL
s1    demo        k    waiting, paused  1h   5s       a.x, a.y, b.c (in 2h)
s2    demo        l    cancelled        25h  24h      the customer asked
";
        assert_eq!(told, expected);
    }

    fn filters() -> Sagas {
        let which = crate::cli::args::Which { limit: 50, watch: false };
        Sagas {
            status: None,
            definition: None,
            key: None,
            search: None,
            older_than: None,
            newer_than: None,
            which,
        }
    }

    #[test]
    fn ages_become_times_and_absent_filters_are_not_asked() {
        let now = time("2026-01-02T03:14:05Z").expect("a time");
        let which = Sagas {
            search: Some("ann@example.com".into()),
            older_than: Some(Duration::from_secs(7200)),
            newer_than: Some(Duration::from_secs(86_400)),
            ..filters()
        };
        let expected = [
            ("q", "ann@example.com".to_owned()),
            ("startedBefore", "2026-01-02T01:14:05.000Z".to_owned()),
            ("startedAfter", "2026-01-01T03:14:05.000Z".to_owned()),
        ];
        assert_eq!(sagas(&which, now).expect("a list").query, expected);
        let which = Sagas { older_than: Some(Duration::MAX), ..filters() };
        let error = sagas(&which, now).err().expect("too long ago");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn tasks_events_and_definitions_are_lines() {
        let told_tasks = told(
            &tasks(),
            &[r#"{"id":"s1.0","definition":"demo","key":"k","title":"Approve it",
            "facts":{"risk":85},"since":"2026-01-02T03:04:05Z","until":"2026-01-03T03:04:05Z"}"#],
        );
        assert!(
            told_tasks
                .ends_with("s1.0  demo        k    10m  in 23h    Approve it  {\"risk\":85}\n")
        );
        let told_events = told(
            &events(Some("late".into())),
            &[r#"{"position":7,"at":"2026-01-02T03:14:00Z","name":"a.trigger.b","key":"k",
            "verdicts":[{"outcome":"late","definition":"demo","sagaId":"s1"},
            {"outcome":"late","detail":"no saga"}]}"#],
        );
        assert!(told_events.ends_with("7         5s   a.trigger.b  k    late     s1, no saga\n"));
        let told_definitions = told(
            &definitions(),
            &[r#"{"name":"demo","version":2,"settings":{"ms":1},"events":[
            {"event":"a.x","key":"/id","starts":true,"late":null},
            {"event":"a.y","key":"/id","starts":false}]}"#],
        );
        let expected = "demo        2        a.x         a.y    {\"ms\":1}\n";
        assert!(told_definitions.ends_with(expected), "{told_definitions}");
    }
}
