//! The driver runs turns: author code, and nothing else. It orders nothing and keeps nothing that
//! the journal does not hold.

use crate::{
    id::{SagaId, Time},
    journal::{Entry, Fact},
    replay::{Applied, Code, Live, ReplayError},
};
use std::collections::BTreeMap;

/// A cache of live sagas, bounded by count and by the bytes of their journals.
pub(crate) struct Driver {
    cached: BTreeMap<SagaId, Cached>,
    /// By last use.
    order: BTreeMap<u64, SagaId>,
    uses: u64,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

struct Cached {
    live: Live,
    used: u64,
    bytes: usize,
}

/// One turn to be made.
pub(crate) struct Job<'a> {
    pub(crate) saga: SagaId,
    pub(crate) code: Code,
    pub(crate) fact: &'a Fact,
    pub(crate) at: Time,
    pub(crate) turn_at: Time,
}

impl Driver {
    pub(crate) fn new(count_max: usize, bytes_max: usize) -> Driver {
        let (cached, order) = (BTreeMap::new(), BTreeMap::new());
        Driver { cached, order, uses: 0, bytes: 0, count_max, bytes_max }
    }

    /// Makes a turn; the journal, with the size of each entry, is asked for only when the saga is
    /// not in memory. After an error
    /// nothing of the saga stays in memory.
    pub(crate) fn turn<E>(
        &mut self,
        job: &Job<'_>,
        journal: impl FnOnce() -> Result<Vec<(Entry, usize)>, E>,
    ) -> Result<Result<Applied, ReplayError>, E> {
        let (mut live, bytes) = match self.take(job.saga) {
            Some(cached) => (cached.live, cached.bytes),
            None => {
                let (journal, sizes): (Vec<Entry>, Vec<usize>) = journal()?.into_iter().unzip();
                match Live::replay(job.code, &journal) {
                    Ok(live) => (live, sizes.iter().sum()),
                    Err(err) => return Ok(Err(err)),
                }
            }
        };
        let applied = live.turn(job.at, job.turn_at, job.fact);
        if applied.is_ok() {
            self.put(job.saga, live, bytes);
        }
        Ok(applied)
    }

    /// The journal of a cached saga has grown.
    pub(crate) fn grew(&mut self, saga: SagaId, bytes: usize) {
        if let Some(cached) = self.cached.get_mut(&saga) {
            cached.bytes += bytes;
            self.bytes += bytes;
        }
        self.evict();
    }

    /// Forgets a saga: it has ended, or its future can no longer be believed.
    pub(crate) fn forget(&mut self, saga: SagaId) {
        self.take(saga);
    }

    fn take(&mut self, saga: SagaId) -> Option<Cached> {
        let cached = self.cached.remove(&saga)?;
        self.order.remove(&cached.used);
        self.bytes -= cached.bytes;
        Some(cached)
    }

    fn put(&mut self, saga: SagaId, live: Live, bytes: usize) {
        self.uses += 1;
        self.order.insert(self.uses, saga);
        self.bytes += bytes;
        self.cached.insert(saga, Cached { live, used: self.uses, bytes });
        self.evict();
    }

    fn evict(&mut self) {
        while self.cached.len() > self.count_max || self.bytes > self.bytes_max {
            let Some(saga) = self.order.values().next().copied() else { break };
            self.take(saga);
        }
    }
}
