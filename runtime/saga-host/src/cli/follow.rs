//! A saga's journal as it grows, by the stream of the runtime, until the saga ends.

use super::{
    ages::between,
    client::{Client, read},
    commands::Asker,
    model::{Record, Saga},
    problem::CliError,
    records::Journal,
    screen::{plain_line, print, print_json, while_watched},
    show::{Found, newest},
    text,
    watch::Line,
};
use chrono::Utc;
use futures::{Stream, StreamExt as _, stream};
use reqwest::Response;
use sse_stream::{Sse, SseByteStream};
use std::{pin::pin, time::Duration};

/// The runtime says something every 15 s, if only that it is there.
const SILENCE_MAX: Duration = Duration::from_secs(45);
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// Prints a saga, then each record of its journal as soon as it is durable, then its end.
pub(super) async fn follow(asker: &Asker, client: &Client, saga: &str) -> Result<(), CliError> {
    let Found { saga, .. } = newest(asker, client, saga).await?;
    if !asker.options.json {
        print(&(text::saga(&saga, &asker.program, Utc::now()) + "\n"))?;
    }
    let journal = Journal::new(&saga.started_at, asker.screen.columns());
    let mut following = Following { asker, journal, seen: None };
    while_watched(following.until_the_end(client, &saga.id)).await
}

struct Following<'a> {
    asker: &'a Asker,
    journal: Journal,
    /// The id of the last message: the runtime goes on behind it.
    seen: Option<String>,
}

/// How a stream came to its end.
enum Stopped {
    /// So did the saga.
    Ended,
    /// It was cut by the runtime, as this reader was too slow or it went down.
    Cut,
}

impl Following<'_> {
    async fn until_the_end(&mut self, client: &Client, id: &str) -> Result<(), CliError> {
        let mut line = Line::new(self.asker, client);
        loop {
            match self.go_on(client, id, &mut line).await {
                Ok(Stopped::Ended) => return Ok(()),
                Ok(Stopped::Cut) => (),
                Err(error) if error.is_for_now() && line.is_worth_waiting() => line.lost(&error),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(RECONNECT_AFTER).await;
        }
    }

    async fn go_on(
        &mut self,
        client: &Client,
        id: &str,
        line: &mut Line<'_>,
    ) -> Result<Stopped, CliError> {
        let stream = client.stream(&["sagas", id, "stream"], self.seen.as_deref()).await?;
        line.back();
        match stream {
            Some(response) => self.read(client, response).await,
            // Everything was told, and its end fell into the gap.
            None => self.end(client.get(&["sagas", id]).await?.get()),
        }
    }

    async fn read(&mut self, client: &Client, response: Response) -> Result<Stopped, CliError> {
        let mut messages = pin!(SseByteStream::new(bytes_of(response)));
        loop {
            let message = match tokio::time::timeout(SILENCE_MAX, messages.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(None) => return Ok(Stopped::Cut),
                Ok(Some(Err(error))) => return Err(client.away(broken(&error))),
                Err(_) => return Err(client.away(silent())),
            };
            let Sse { event, data: Some(data), id, .. } = message else { continue };
            match event.as_deref() {
                Some("record") => self.record(&data)?,
                Some("ended") => return self.end(&data),
                // A newer runtime may say more.
                _ => continue,
            }
            self.seen = id.or(self.seen.take());
        }
    }

    fn record(&mut self, data: &str) -> Result<(), CliError> {
        match self.asker.options.json {
            true => print_json(data),
            false => print(&self.journal.line(&read::<Record>(data)?)),
        }
    }

    /// Its end decides about the exit status.
    fn end(&self, data: &str) -> Result<Stopped, CliError> {
        let saga: Saga = read(data)?;
        match self.asker.options.json {
            true => print_json(data)?,
            false => print(&ending(&saga))?,
        }
        if saga.status == "completed" { Ok(Stopped::Ended) } else { Err(CliError::EndedOtherwise) }
    }
}

fn ending(saga: &Saga) -> String {
    let took = between(&saga.started_at, saga.ended_at.as_deref().unwrap_or_default());
    let reason = saga.reason.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
    format!("\n{}\n", plain_line(&format!("{} after {took}{reason}", saga.status)))
}

/// The body, chunk by chunk.
fn bytes_of(response: Response) -> impl Stream<Item = Result<bytes::Bytes, reqwest::Error>> {
    stream::unfold(Some(response), |response| async {
        let mut response = response?;
        match response.chunk().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(response))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

fn broken(error: &sse_stream::Error) -> String {
    match error {
        sse_stream::Error::Body(_) => "the connection was cut".to_owned(),
        other => other.to_string(),
    }
}

fn silent() -> String {
    format!("it said nothing for {} s", SILENCE_MAX.as_secs())
}
