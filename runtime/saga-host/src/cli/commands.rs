//! What each command asks, and what it prints.

use super::{
    Command, Options,
    client::{CliError, Client, Needs},
    text,
};
use clap::Args;
use serde_json::{Value, json};

/// Records that one page of a journal has.
const JOURNAL_PAGE: &str = "200";

/// Which sagas.
#[derive(Debug, Args)]
pub(super) struct Sagas {
    /// Only those that stand here: running, waiting, compensating, attention, completed, cancelled,
    /// failed or terminated.
    #[arg(long)]
    status: Option<String>,
    /// Only those of this definition.
    #[arg(long)]
    definition: Option<String>,
    /// Only those with this business key.
    #[arg(long)]
    key: Option<String>,
    /// Sagas at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
}

/// Asks, and gives what is to be printed.
pub(super) async fn run(command: Command, options: &Options) -> Result<String, CliError> {
    let client = |needs| Client::new(&options.url, needs);
    match command {
        // Not asked of a runtime, so it never comes here.
        Command::Serve => Ok(String::new()),
        Command::Sagas(which) => {
            let page = client(Needs::Viewer)?.get("/api/sagas", &which.query()).await?;
            Ok(if options.json { pretty(&page) } else { text::sagas(&page) })
        }
        Command::Show { saga } => show(&client(Needs::Viewer)?, &saga, options.json).await,
        Command::Tasks { limit } => {
            let query = [("limit", limit.to_string())];
            let page = client(Needs::Viewer)?.get("/api/tasks", &query).await?;
            Ok(if options.json { pretty(&page) } else { text::tasks(&page) })
        }
        Command::Approve { task, reason } => {
            decide(&client(Needs::Approver)?, &task, true, reason, options.json).await
        }
        Command::Reject { task, reason } => {
            decide(&client(Needs::Approver)?, &task, false, Some(reason), options.json).await
        }
    }
}

impl Sagas {
    fn query(self) -> Vec<(&'static str, String)> {
        let Sagas { status, definition, key, limit } = self;
        let filters = [("status", status), ("definition", definition), ("key", key)];
        let filters = filters.into_iter().filter_map(|(name, it)| Some((name, it?)));
        filters.chain([("limit", limit.to_string())]).collect()
    }
}

async fn show(client: &Client, saga: &str, as_json: bool) -> Result<String, CliError> {
    let saga = find(client, saga).await?;
    let path = format!("/api/sagas/{}/journal", text::field(&saga, "id"));
    if !as_json {
        return Ok(text::saga(&saga) + "\n" + &client.get_text(&path).await?);
    }
    let (mut journal, mut cursor) = (Vec::new(), None);
    loop {
        let mut query = vec![("limit", JOURNAL_PAGE.to_owned())];
        query.extend(cursor.map(|it| ("cursor", it)));
        let mut page = client.get(&path, &query).await?;
        if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
            journal.extend(items);
        }
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(pretty(&json!({ "saga": saga, "journal": journal })));
        }
    }
}

/// By its id, else by its business key.
async fn find(client: &Client, saga: &str) -> Result<Value, CliError> {
    let is_id = saga.len() == 36 && saga.bytes().all(|it| it.is_ascii_hexdigit() || it == b'-');
    let by_id = match is_id {
        true => client.get(&format!("/api/sagas/{saga}"), &[]).await.map(Some),
        false => Ok(None),
    };
    match by_id {
        Ok(Some(found)) => return Ok(found),
        Err(error) if !error.is_not_found() => return Err(error),
        _ => (),
    }
    let query = [("key", saga.to_owned()), ("limit", "1".to_owned())];
    let mut page = client.get("/api/sagas", &query).await?;
    match page["items"].get_mut(0).map(Value::take) {
        Some(found) => Ok(found),
        None => Err(CliError::Refused {
            status: reqwest::StatusCode::NOT_FOUND,
            detail: format!("no saga has the id or the key {saga}"),
            errors: Vec::new(),
        }),
    }
}

async fn decide(
    client: &Client,
    task: &str,
    approved: bool,
    reason: Option<String>,
    as_json: bool,
) -> Result<String, CliError> {
    let is_plain = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'.';
    if !task.bytes().all(is_plain) {
        return Err(CliError::Other(format!("{task:?} is no task id; `tasks` lists them")));
    }
    let mut body = json!({ "approved": approved });
    if let Some(reason) = reason {
        body["reason"] = reason.into();
    }
    let decided = client.post(&format!("/api/tasks/{task}/decision"), &body).await?;
    let word = if approved { "approved" } else { "rejected" };
    Ok(match as_json {
        true => pretty(&decided),
        false => format!("{word}; saga {}\n", text::field(&decided, "sagaId")),
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
