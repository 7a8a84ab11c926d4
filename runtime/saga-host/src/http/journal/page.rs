//! `GET /api/sagas/{id}/journal`: a journal in pages, each read without the ones before it.

use super::{Keys, RecordView, records_of};
use crate::http::{
    App, cursor,
    entries::{self, ReadError},
    sagas::unknown,
};
use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use chassis::http::{Json, Page, PageQuery, Path, Problem, Query, Viewer};
use saga_core::{codec::decode_entry, id::SagaId, journal::Entry, render::render};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{fmt, str::FromStr};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(in crate::http) struct JournalPath {
    /// The saga's id.
    id: Uuid,
}

/// A page ends with the entry that goes over this, however few records it has: each may have a body
/// of most of a megabyte, and all of a page is in memory at once.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// Where a page begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Start {
    /// The number of an entry,
    entry: u32,
    /// the number of a record in it,
    index: usize,
    /// and in the journal.
    seq: usize,
}

/// As records; as text for people with `Accept: text/plain`.
pub(in crate::http) async fn page(
    State(app): State<App>,
    _: Viewer,
    Path(JournalPath { id }): Path<JournalPath>,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let start: Start = cursor(query.cursor.as_deref())?.unwrap_or_default();
    let accept = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
    if accept.starts_with("text/plain") {
        return text(&app, SagaId(id)).await;
    }
    let (items, next) = records(&app, SagaId(id), start, usize::from(query.limit)).await?;
    Ok(Json(Page { items, next: next.map(|it| it.to_string()) }).into_response())
}

/// At most so many records, and where the next page begins.
async fn records(
    app: &App,
    saga: SagaId,
    start: Start,
    limit: usize,
) -> Result<(Vec<RecordView>, Option<Start>), Problem> {
    // The first entry tells what keys begin with. It may be as long as one visit may be, so that it
    // has one of its own.
    let first = entries::visit(&app.engine, saga, vec![0], None).await?.entries.pop();
    let (_, first) = first.ok_or_else(|| unknown(saga))?;
    let keys = Keys::of(saga, &decode_entry(&first).map_err(ReadError::Store)?);
    let (mut items, mut from, mut bytes) = (Vec::new(), start.entry as usize, 0);
    loop {
        let visit = entries::visit(&app.engine, saga, Vec::new(), Some(from)).await?;
        for (number, stored) in visit.entries {
            if PAGE_BYTES_MAX < bytes {
                let seq = start.seq.saturating_add(items.len());
                return Ok((items, Some(Start { entry: number, index: 0, seq })));
            }
            bytes += stored.bytes.len();
            let entry = decode_entry(&stored).map_err(ReadError::Store)?;
            let seen = if number == start.entry { start.index } else { 0 };
            let records = records_of(keys, number, &entry).into_iter();
            for (index, record) in records.enumerate().skip(seen) {
                let seq = start.seq.saturating_add(items.len());
                if items.len() == limit {
                    return Ok((items, Some(Start { entry: number, index, seq })));
                }
                items.push(record.numbered(seq));
            }
            from = number as usize + 1;
        }
        if visit.is_all {
            return Ok((items, None));
        }
    }
}

async fn text(app: &App, saga: SagaId) -> Result<Response, Problem> {
    let mut journal: Vec<Entry> = Vec::new();
    loop {
        let visit = entries::visit(&app.engine, saga, Vec::new(), Some(journal.len())).await?;
        for (_, stored) in &visit.entries {
            journal.push(decode_entry(stored).map_err(ReadError::Store)?);
        }
        if journal.is_empty() {
            return Err(unknown(saga));
        }
        if visit.is_all {
            return Ok((render(&journal) + "\n").into_response());
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.entry, self.index, self.seq)
    }
}

/// What no page can have given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NoStart;

impl FromStr for Start {
    type Err = NoStart;

    fn from_str(text: &str) -> Result<Start, NoStart> {
        let mut parts = text.split('.').map(|it| it.parse::<u32>());
        let mut next = || parts.next().and_then(Result::ok).ok_or(NoStart);
        let (entry, index, seq) = (next()?, next()?, next()?);
        match parts.next() {
            None => Ok(Start { entry, index: index as usize, seq: seq as usize }),
            Some(_) => Err(NoStart),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_page_gives_reads_back() {
        let start = Start { entry: 7, index: 2, seq: 31 };
        assert_eq!(start.to_string().parse(), Ok(start));
        for text in ["", "x", "7", "7.2", "7.2.31.1", "7.2.-1", "7.2.4294967296"] {
            assert_eq!(text.parse::<Start>(), Err(NoStart), "{text}");
        }
    }
}
