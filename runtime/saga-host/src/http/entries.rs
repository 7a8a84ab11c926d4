//! Reads journals from the engine, a bounded piece at a time, so that no journal is so long that
//! the engine's thread has no time for anything else while somebody reads it.

use super::internal;
use crate::{
    door::busy,
    engine::{Busy, Handle},
    sled_store::SledStore,
};
use chassis::http::Problem;
use saga_core::{
    core::Core,
    head::Head,
    id::{Position, SagaId},
    store::{Store as _, StoreError, Stored, Table},
};

/// Entries that one visit to the engine reads: some hundred microseconds of its time.
pub(super) const VISIT_ENTRIES_MAX: usize = 256;
/// A visit ends with the entry, or the event, that goes over this.
pub(super) const VISIT_BYTES_MAX: usize = 256 << 10;

/// What one visit found.
#[derive(Debug)]
pub(super) struct Visit {
    /// The epoch in which the store is: the branch of the log that positions are of.
    pub(super) epoch: u64,
    /// The end of the log.
    pub(super) position: Position,
    /// Entries with their numbers, in the order in which they were asked for.
    pub(super) entries: Vec<(u32, Stored)>,
    /// Whether nothing more was asked for.
    pub(super) is_all: bool,
    /// The saga, when it has ended.
    pub(super) ended: Option<Head>,
}

/// Why nothing is read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads these entries of a journal, then those from `from` on; as many as one visit may.
pub(super) async fn visit(
    engine: &Handle,
    saga: SagaId,
    numbers: Vec<u32>,
    from: Option<usize>,
) -> Result<Visit, ReadError> {
    let from = from.and_then(|it| u32::try_from(it).ok());
    Ok(engine.read(move |core| read(core, saga, &numbers, from)).await??)
}

/// Between two batches of the engine.
pub(super) fn read(
    core: &Core<SledStore>,
    saga: SagaId,
    numbers: &[u32],
    from: Option<u32>,
) -> Result<Visit, StoreError> {
    let store = core.store();
    let (mut entries, mut bytes, mut is_all) = (Vec::new(), 0, true);
    // With its end, as a caller's cursor may begin at the last number there is.
    let tail = from.map(|it| it..=u32::MAX).into_iter().flatten();
    for number in numbers.iter().copied().chain(tail) {
        if entries.len() == VISIT_ENTRIES_MAX || VISIT_BYTES_MAX < bytes {
            is_all = false;
            break;
        }
        let Some(stored) = store.entry(saga, number)? else { break };
        bytes += stored.bytes.len();
        entries.push((number, stored));
    }
    let ended = match store.row(Table::Ended, saga.as_bytes())? {
        Some(_) => core.head(saga)?,
        None => None,
    };
    Ok(Visit { epoch: store.epoch(), position: store.position(), entries, is_all, ended })
}

impl ReadError {
    /// Whether it is worth asking again.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, ReadError::Busy(Busy::Full))
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        match error {
            ReadError::Busy(it) => busy(it),
            ReadError::Store(error) => internal(&error),
        }
    }
}
