//! What changes something: moves, starts, decisions, offers.

use super::{
    args::Move,
    client::{Client, read},
    commands::Asker,
    model::{Clock, Decided, Event, Saga},
    problem::CliError,
    screen::{plain_line, print, print_json},
    show::the_one,
    text,
};
use chrono::Utc;
use reqwest::StatusCode;
use serde::Serialize;
use serde_json::{json, value::RawValue};
use std::{
    fs::File,
    io::{self, Read},
};

/// What a start is read from at most; the runtime takes far less.
const INPUT_BYTES_MAX: u64 = 16 << 20;

/// A move of an operator, and the words for it.
pub(super) struct Moving {
    /// As the API calls it.
    pub(super) action: &'static str,
    /// When it has an effect from now on.
    pub(super) done: &'static str,
    /// When it had it already.
    pub(super) before: &'static str,
}

pub(super) const PAUSE: Moving =
    Moving { action: "pause", done: "paused", before: "was paused already" };
pub(super) const RESUME: Moving =
    Moving { action: "resume", done: "resumed", before: "was not paused" };
pub(super) const CANCEL: Moving =
    Moving { action: "cancel", done: "cancel asked", before: "is being cancelled already" };
pub(super) const TERMINATE: Moving =
    Moving { action: "terminate", done: "terminated", before: "was terminated already" };
pub(super) const RETRY: Moving =
    Moving { action: "retry", done: "tried again", before: "is being tried again already" };

pub(super) const WAIVE: Moving =
    Moving { action: "waive", done: "given up", before: "was given up already" };

/// Makes a move.
pub(super) async fn make_move(
    asker: &Asker,
    client: &Client,
    moving: &Moving,
    Move { saga, reason }: &Move,
    step: Option<&str>,
) -> Result<(), CliError> {
    let found = the_one(asker, client, saga).await?.saga;
    let mut body = json!({ "reason": reason });
    if let Some(step) = step {
        body["step"] = step.into();
    }
    let answer = client.post(&["sagas", &found.id, moving.action], &body).await;
    let (status, raw) =
        answer.map_err(|it| it.advise(StatusCode::CONFLICT, || shows(asker, &found.id)))?;
    if asker.options.json {
        return print_json(raw.get());
    }
    let saga: Saga = read(raw.get())?;
    let word = if is_new(status) { moving.done } else { moving.before };
    print_done(client, &format!("{word}; saga {} is {}\n", saga.id, saga.standing()))
}

/// What has changed, and where: whoever has two systems sees which of them it was.
fn print_done(client: &Client, told: &str) -> Result<(), CliError> {
    print(&format!("{told}{}\n", client.place()))
}

#[derive(Serialize)]
struct Start<'a> {
    input: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

/// Starts a saga.
pub(super) async fn start(
    asker: &Asker,
    client: &Client,
    definition: &str,
    input: &str,
    key: Option<&str>,
) -> Result<(), CliError> {
    let input = input_of(input)?;
    let body = Start { input: &input, key };
    let answer = client.post(&["definitions", definition, "sagas"], &body).await;
    let (status, raw) = answer.map_err(|error| {
        error
            .advise(StatusCode::NOT_FOUND, || format!("`{} definitions` lists them", asker.program))
            .advise(StatusCode::CONFLICT, || "give another --key, or the same input".to_owned())
    })?;
    if asker.options.json {
        return print_json(raw.get());
    }
    let saga: Saga = read(raw.get())?;
    let word = if is_new(status) { "started" } else { "was started before" };
    let key = plain_line(&saga.key);
    let told = format!("{word}; saga {} with the key {key} is {}\n", saga.id, saga.standing());
    print_done(client, &told)
}

/// What is decided of a task.
#[derive(Serialize)]
pub(super) struct Decision {
    pub(super) approved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seen: Option<String>,
}

/// Decides a task.
pub(super) async fn decide(
    asker: &Asker,
    client: &Client,
    task: &str,
    decision: &Decision,
) -> Result<(), CliError> {
    let answer = client.post(&["tasks", task, "decision"], decision).await;
    let (status, raw) = answer.map_err(|error| {
        error.advise(StatusCode::NOT_FOUND, || format!("`{} tasks` lists them", asker.program))
    })?;
    if asker.options.json {
        return print_json(raw.get());
    }
    let word = if decision.approved { "approved" } else { "rejected" };
    let before = if is_new(status) { "" } else { "was " };
    let already = if is_new(status) { "" } else { " before" };
    let saga = read::<Decided>(raw.get())?.saga_id;
    print_done(client, &format!("{before}{word}{already}; saga {saga}\n"))
}

/// Prints the time that the runtime believes in.
pub(super) async fn show_clock(asker: &Asker, client: &Client) -> Result<(), CliError> {
    let raw = client.get(&["clock"]).await?;
    print_clock(asker, &raw)
}

/// Says that a suspect clock is right.
pub(super) async fn accept_clock(
    asker: &Asker,
    client: &Client,
    reason: &str,
) -> Result<(), CliError> {
    let (_, raw) = client.post(&["clock", "accept"], &json!({ "reason": reason })).await?;
    print_clock(asker, &raw)
}

fn print_clock(asker: &Asker, raw: &RawValue) -> Result<(), CliError> {
    if asker.options.json {
        return print_json(raw.get());
    }
    let Clock { now, suspect } = read(raw.get())?;
    print(&match suspect {
        None => format!("{now}\n"),
        Some(why) => format!(
            "{now}; the clock is suspect: {why}; set it right, or, if it is right, say \
             `{} clock accept`\n",
            asker.program
        ),
    })
}

/// Prints an event.
pub(super) async fn show_event(
    asker: &Asker,
    client: &Client,
    position: u64,
) -> Result<(), CliError> {
    let raw = client.get(&["events", &position.to_string()]).await;
    let raw = raw.map_err(|it| it.advise(StatusCode::NOT_FOUND, || lists_events(asker)))?;
    if asker.options.json {
        return print_json(raw.get());
    }
    print(&text::event(&read::<Event>(raw.get())?, &asker.program, Utc::now()))
}

/// Offers an event again.
pub(super) async fn offer(
    asker: &Asker,
    client: &Client,
    position: u64,
    reason: &str,
) -> Result<(), CliError> {
    let position = position.to_string();
    let answer = client.post(&["events", &position, "offer"], &json!({ "reason": reason })).await;
    let (status, raw) = answer.map_err(|error| {
        error
            .advise(StatusCode::NOT_FOUND, || lists_events(asker))
            .advise(StatusCode::CONFLICT, || {
                format!("`{} event {position}` tells what became of it", asker.program)
            })
    })?;
    if asker.options.json {
        return print_json(raw.get());
    }
    let word = if is_new(status) { "offered again\n" } else { "was offered again before\n" };
    let event: Event = read(raw.get())?;
    print_done(client, &(word.to_owned() + &text::event(&event, &asker.program, Utc::now())))
}

fn is_new(status: StatusCode) -> bool {
    status != StatusCode::OK
}

fn shows(asker: &Asker, saga: &str) -> String {
    format!("`{} show {saga}` tells where it stands", asker.program)
}

fn lists_events(asker: &Asker) -> String {
    format!("`{} events` lists them", asker.program)
}

/// JSON as it was typed, from a file, or from standard input; with all digits of its numbers.
fn input_of(given: &str) -> Result<Box<RawValue>, CliError> {
    let unread = |what: &str, error: io::Error| {
        CliError::Usage(format!("--input: cannot read {what}: {error}"))
    };
    let (what, text) = match given.strip_prefix('@') {
        _ if given == "-" => {
            let text = text_of(io::stdin().lock());
            ("standard input", text.map_err(|error| unread("standard input", error))?)
        }
        Some(path) => {
            let file = File::open(path).map_err(|error| unread(path, error))?;
            (path, text_of(file).map_err(|error| unread(path, error))?)
        }
        None => ("the argument", given.to_owned()),
    };
    serde_json::from_str(&text)
        .map_err(|error| CliError::Usage(format!("--input: {what} is not JSON: {error}")))
}

/// No more than a start may have: what is read may have no end.
fn text_of(input: impl Read) -> io::Result<String> {
    let mut text = String::new();
    let bytes = input.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text)?;
    match u64::try_from(bytes) {
        Ok(..=INPUT_BYTES_MAX) => Ok(text),
        _ => Err(io::Error::other(format!("it has more than {INPUT_BYTES_MAX} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_input_is_json_from_the_argument_or_from_a_file() {
        let text = r#"{"amount": 1.10}"#;
        assert_eq!(input_of(text).expect("JSON").get(), text, "no digit is lost");
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("input.json");
        fs::write(&path, text).expect("written");
        let given = format!("@{}", path.display());
        assert_eq!(input_of(&given).expect("JSON").get(), text);
    }

    #[test]
    fn an_input_that_is_none_is_wrong_usage_and_says_what_is_wrong() {
        for (given, named) in [
            ("{", "not JSON"),
            ("@/nonexistent/file", "/nonexistent/file"),
            ("@/dev/zero", "more than 16777216 bytes"),
        ] {
            let error = input_of(given).expect_err(given);
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
