//! A journal as text: one line for each record, with what was decided below the fact it follows.

use super::{
    ages::{between, moment},
    model::Record,
    screen::plain_line,
    table::cut,
    text::tests,
};
use std::collections::BTreeMap;

/// What the saga decided; all else is what happened to it.
const DECISIONS: [&str; 11] = [
    "call",
    "wait",
    "sleep",
    "publish",
    "undo",
    "patch",
    "close",
    "abandoned",
    "commit",
    "complete",
    "abort",
];

/// Numbers of records and the time since the first one stand in columns of this width.
const NUMBER_CHARS: usize = 4;
const SPAN_CHARS: usize = 7;

/// Journals tell their times as they pass since the saga began.
pub(super) struct Journal {
    began: String,
    columns: Option<usize>,
    /// What is undone at each step, in words: what becomes of an undo names the step alone.
    undoes: BTreeMap<String, String>,
}

impl Journal {
    /// `columns` are those of the terminal, where there is one.
    pub(super) fn new(began: &str, columns: Option<usize>) -> Journal {
        Journal { began: began.to_owned(), columns, undoes: BTreeMap::new() }
    }

    /// The record in one line. Takes them in their order.
    pub(super) fn line(&mut self, record: &Record) -> String {
        let undoes = match (record.kind.as_str(), &record.step, &record.subject) {
            ("call", Some(step), Some(subject)) if record.undo.is_some() => {
                Some((step.clone(), subject.clone()))
            }
            // It undoes no call of its own: what it does itself is its name.
            ("undo", Some(step), Some(subject)) => Some((step.clone(), format!("({subject})"))),
            _ => None,
        };
        self.undoes.extend(undoes);
        let is_of_undo = record.kind == "undone" || record.kind.starts_with("undo_");
        let of_undo = record.step.as_ref().filter(|_| is_of_undo);
        let undone = of_undo.and_then(|it| self.undoes.get(it));
        let span = format!("+{}", between(&self.began, &record.at));
        let mark = if DECISIONS.contains(&record.kind.as_str()) { "  >" } else { "<" };
        let line = format!(
            "{:>NUMBER_CHARS$} {span:>SPAN_CHARS$} {mark} {}",
            record.seq,
            words(record, undone).join(" ")
        );
        cut(&plain_line(&line), self.columns) + "\n"
    }
}

/// The step, what happened to it, and the rest with the body last, as it may be long.
fn words(record: &Record, undone: Option<&String>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    words.extend(record.step.clone());
    words.push(record.kind.replace('_', " "));
    words.extend(undone.cloned());
    words.extend([&record.scope, &record.abort_kind, &record.id].into_iter().flatten().cloned());
    words.extend(record.subject.iter().chain(&record.event).cloned());
    if !record.events.is_empty() {
        words.push(record.events.join(" or "));
    }
    // Of a call it is the idempotency key, which says the step again.
    if let Some(key) = record.key.as_ref().filter(|_| record.kind != "call") {
        words.push(format!("of {key}"));
    }
    if !record.filter.is_empty() {
        words.push(format!("if {}", tests(&record.filter)));
    }
    words.extend(record.until.as_ref().map(|it| format!("until {}", moment(it))));
    words.extend(record.undo.as_ref().map(|it| format!("(undo: {})", it.subject)));
    words.extend(record.by.as_ref().map(|it| format!("by {it}")));
    words.extend(record.code.as_ref().map(|it| format!("with {it}")));
    if let (Some(reason), Some(last)) = (&record.reason, words.last_mut()) {
        last.push(':');
        words.push(reason.clone());
    }
    words.extend(record.held.as_ref().map(|it| format!("(held: {it})")));
    let bodies = [&record.body, &record.input, &record.output].into_iter().flatten();
    words.extend(bodies.map(|it| it.get().to_owned()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(record: &str, columns: Option<usize>) -> String {
        let record: Record = serde_json::from_str(record).expect("a record");
        Journal::new("2026-01-01T00:00:00Z", columns).line(&record)
    }

    #[test]
    fn each_kind_of_record_is_one_line_that_says_what_happened() {
        for (record, expected) in [
            (
                r#"{"seq":0,"at":"2026-01-01T00:00:00Z","kind":"started","input":{"price":1.10}}"#,
                "   0   +0.0s < started {\"price\":1.10}\n",
            ),
            (
                r#"{"seq":11,"at":"2026-01-01T00:03:20Z","kind":"call","step":"2","subject":"a.b",
                "key":"s/0/2","body":{},"undo":{"subject":"a.c","body":{}}}"#,
                "  11  +3m20s   > 2 call a.b (undo: a.c) {}\n",
            ),
            (
                r#"{"seq":12,"at":"2026-01-01T00:00:12Z","kind":"wait","step":"3","key":"ORD-1",
                "events":["p.x","p.y"],"until":"2026-01-01T01:00:00Z",
                "filter":[{"pointer":"/s","op":"eq","value":1}]}"#,
                "  12    +12s   > 3 wait p.x or p.y of ORD-1 if /s eq 1 \
                 until 2026-01-01 01:00:00Z\n",
            ),
            (
                r#"{"seq":13,"at":"2026-01-01T00:00:12Z","kind":"undo_rejected","step":"3",
                "code":"gone","reason":"no such thing"}"#,
                "  13    +12s < 3 undo rejected with gone: no such thing\n",
            ),
            (
                r#"{"seq":14,"at":"2026-01-01T00:00:12Z","kind":"paused","by":"ann",
                "reason":"stock\ntaking","held":"the saga is paused"}"#,
                "  14    +12s < paused by ann: stock taking (held: the saga is paused)\n",
            ),
            (
                r#"{"seq":15,"at":"2026-01-01T00:00:12Z","kind":"abort","abortKind":"deadline",
                "reason":"too late"}"#,
                "  15    +12s   > abort deadline: too late\n",
            ),
            (
                r#"{"seq":16,"at":"2026-01-01T00:00:12Z","kind":"commit"}"#,
                "  16    +12s   > commit\n",
            ),
        ] {
            assert_eq!(line(record, None), expected);
        }
    }

    #[test]
    fn what_becomes_of_an_undo_names_what_is_undone() {
        let mut journal = Journal::new("2026-01-01T00:00:00Z", None);
        let mut told = |rest: &str| {
            let record = format!("{{\"seq\":1,\"at\":\"2026-01-01T00:00:00Z\",{rest}}}");
            let record: Record = serde_json::from_str(&record).expect("a record");
            journal.line(&record).split_once(['<', '>']).expect("a mark").1.trim().to_owned()
        };
        told(r#""kind":"call","step":"6.1.0","subject":"a.take","undo":{"subject":"a.give"}"#);
        told(r#""kind":"undo","step":"7","subject":"a.refund","body":{}"#);
        for (record, expected) in [
            (r#""kind":"replied","step":"6.1.0""#, "6.1.0 replied"),
            (r#""kind":"undone","step":"6.1.0""#, "6.1.0 undone a.take"),
            (r#""kind":"undone","step":"7""#, "7 undone (a.refund)"),
            (r#""kind":"undone","step":"8""#, "8 undone"),
            (
                r#""kind":"undo_rejected","step":"6.1.0","code":"gone","reason":"no""#,
                "6.1.0 undo rejected a.take with gone: no",
            ),
            (
                r#""kind":"undo_waived","step":"7","by":"ann","reason":"by hand""#,
                "7 undo waived (a.refund) by ann: by hand",
            ),
        ] {
            assert_eq!(told(record), expected);
        }
    }

    #[test]
    fn a_terminal_gets_no_more_than_its_width() {
        let record =
            r#"{"seq":0,"at":"2026-01-01T00:00:00Z","kind":"started","input":"0123456789"}"#;
        assert_eq!(line(record, Some(30)), "   0   +0.0s < started \"01234…\n");
    }
}
