//! Answers as people read them.

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde_json::Value;

/// A string field; empty where it is absent.
pub(super) fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// A page of sagas as a table.
pub(super) fn sagas(page: &Value) -> String {
    let mut table =
        table(&["SAGA", "DEFINITION", "KEY", "STATUS", "UPDATED", "WAITS FOR", "REASON"]);
    for saga in items(page) {
        let paused = if saga["paused"] == true { " (paused)" } else { "" };
        table.add_row([
            field(saga, "id").to_owned(),
            field(saga, "definition").to_owned(),
            field(saga, "key").to_owned(),
            format!("{}{paused}", field(saga, "status")),
            moment(field(saga, "updatedAt")),
            names(&saga["waits"], "event")
                .chain(names(&saga["calls"], "subject"))
                .collect::<Vec<_>>()
                .join(", "),
            field(saga, "reason").to_owned(),
        ]);
    }
    finish(&table, page, "no sagas\n")
}

/// A page of tasks as a table.
pub(super) fn tasks(page: &Value) -> String {
    let mut table = table(&["TASK", "DEFINITION", "KEY", "SINCE", "UNTIL", "TITLE"]);
    for task in items(page) {
        table.add_row([
            field(task, "id").to_owned(),
            field(task, "definition").to_owned(),
            field(task, "key").to_owned(),
            moment(field(task, "since")),
            moment(field(task, "until")),
            field(task, "title").to_owned(),
        ]);
    }
    finish(&table, page, "nothing waits for a person\n")
}

/// A saga: where it stands, what it waits for, and how to unblock it.
pub(super) fn saga(saga: &Value) -> String {
    let paused = if saga["paused"] == true { ", paused" } else { "" };
    let mut lines = vec![
        format!("saga        {}", field(saga, "id")),
        format!("definition  {} v{}", field(saga, "definition"), saga["version"]),
        format!("key         {}", field(saga, "key")),
        format!("status      {}{paused}", field(saga, "status")),
        format!("started     {}", moment(field(saga, "startedAt"))),
        format!("updated     {}", moment(field(saga, "updatedAt"))),
    ];
    let rest =
        [("ended       ", "endedAt"), ("reason      ", "reason"), ("belongs to  ", "parentId")];
    let rest = rest.into_iter().filter(|it| !field(saga, it.1).is_empty());
    lines.extend(rest.map(|(label, name)| match name {
        "endedAt" => format!("{label}{}", moment(field(saga, name))),
        _ => format!("{label}{}", field(saga, name)),
    }));
    lines.extend(saga["waits"].as_array().into_iter().flatten().map(wait));
    lines.extend(saga["calls"].as_array().into_iter().flatten().map(call));
    lines.join("\n") + "\n"
}

fn wait(wait: &Value) -> String {
    let until = match field(wait, "until") {
        "" => "without a deadline".to_owned(),
        until => format!("until {}, then {}", moment(until), field(wait, "onDeadline")),
    };
    let tests = wait["filter"].as_array().into_iter().flatten();
    let tests =
        tests.map(|it| format!("{} {} {}", field(it, "pointer"), field(it, "op"), it["value"]));
    let tests: Vec<String> = tests.collect();
    let filter = if tests.is_empty() {
        String::new()
    } else {
        format!("\n  if      {}", tests.join(" and "))
    };
    format!(
        "waits for   {}\n  key     {}{filter}\n  since   {}, {until}\n  unblock {}",
        field(wait, "event"),
        field(wait, "key"),
        moment(field(wait, "since")),
        field(wait, "unblock"),
    )
}

fn call(call: &Value) -> String {
    let next = match field(call, "nextAttemptAt") {
        "" => "not sent again by itself for now".to_owned(),
        at => format!("again at {}", moment(at)),
    };
    format!(
        "calls       {}\n  since   {}, sent {} times, {next}",
        field(call, "subject"),
        moment(field(call, "since")),
        call["attempts"],
    )
}

fn names<'a>(list: &'a Value, name: &'a str) -> impl Iterator<Item = &'a str> {
    list.as_array().into_iter().flatten().map(move |it| field(it, name))
}

/// Without the milliseconds and the letter between date and time.
fn moment(at: &str) -> String {
    match at.split_once('.') {
        Some((seconds, _)) => format!("{}Z", seconds.replace('T', " ")),
        None => at.to_owned(),
    }
}

fn items(page: &Value) -> impl Iterator<Item = &Value> {
    page["items"].as_array().into_iter().flatten()
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

fn finish(table: &Table, page: &Value, empty: &str) -> String {
    if table.row_count() == 0 {
        return empty.to_owned();
    }
    let more = if page["next"].is_string() { "there are more: raise --limit\n" } else { "" };
    format!("{}\n{more}", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_saga_says_what_it_waits_for_and_how_to_unblock_it() {
        let told = saga(&json!({
            "id": "s1", "definition": "demo", "version": 1, "key": "k", "status": "waiting",
            "paused": true, "startedAt": "2026-01-02T03:04:05.678Z",
            "updatedAt": "2026-01-02T03:04:05.678Z",
            "waits": [{
                "event": "orders.trigger.paid", "key": "k", "since": "2026-01-02T03:04:05.678Z",
                "filter": [{"pointer": "/sessionId", "op": "eq", "value": "s"}],
                "until": "2026-01-03T03:04:05.678Z", "onDeadline": "the saga goes on",
                "unblock": "publish it",
            }],
            "calls": [{"subject": "a.b", "attempts": 3, "since": "x", "nextAttemptAt": null}],
        }));
        for part in [
            "status      waiting, paused",
            "waits for   orders.trigger.paid",
            "if      /sessionId eq \"s\"",
            "until 2026-01-03 03:04:05Z, then the saga goes on",
            "unblock publish it",
            "sent 3 times, not sent again",
        ] {
            assert!(told.contains(part), "{part:?} is not in:\n{told}");
        }
    }

    #[test]
    fn a_list_is_a_table_and_an_empty_one_says_so() {
        let page = json!({"items": [{"id": "s1", "status": "running", "waits": [],
            "calls": [{"subject": "a.b"}]}], "next": "s1"});
        let told = sagas(&page);
        assert!(told.contains("running") && told.contains("a.b"), "{told}");
        assert!(told.ends_with("there are more: raise --limit\n"), "{told}");
        assert_eq!(tasks(&json!({"items": [], "next": null})), "nothing waits for a person\n");
    }
}
