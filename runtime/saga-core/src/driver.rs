//! The driver runs turns: author code, and nothing else. It orders nothing and keeps nothing that
//! the journal does not hold.

use crate::{
    id::{Path, SagaId, Time},
    journal::{Entry, Fact, Turn},
    replay::{Applied, Code, Live, ReplayError},
    watch::{Culprit, Running, Watch},
};
use std::{borrow::Cow, collections::BTreeMap};

/// A cache of live sagas, bounded by count and by the bytes of their journals.
pub(crate) struct Driver {
    cached: BTreeMap<SagaId, Cached>,
    /// By last use.
    order: BTreeMap<u64, SagaId>,
    uses: u64,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
    /// Sagas that were woken and whose code does not fit their journal: their next turn says so.
    misfits: BTreeMap<SagaId, ReplayError>,
    watch: Box<dyn Watch + Send>,
}

struct Cached {
    live: Live,
    used: u64,
    bytes: usize,
}

/// One turn to be made.
pub(crate) struct Job<'a> {
    pub(crate) saga: SagaId,
    /// Told to who watches.
    pub(crate) running: Running<'a>,
    pub(crate) code: Code,
    pub(crate) fact: &'a Fact,
    pub(crate) at: Time,
    pub(crate) turn_at: Time,
}

impl Driver {
    pub(crate) fn new(count_max: usize, bytes_max: usize, watch: Box<dyn Watch + Send>) -> Driver {
        let (cached, order, misfits) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Driver { cached, order, uses: 0, bytes: 0, count_max, bytes_max, misfits, watch }
    }

    /// Lets author code run that is in no turn: what reads an event, say.
    pub(crate) fn watched<R>(&mut self, running: &Running<'_>, run: impl FnOnce() -> R) -> R {
        self.watch.enters(running);
        let res = run();
        self.watch.leaves();
        res
    }

    /// Makes a turn; the journal, with the size of each entry, is asked for only when the saga is
    /// not in memory. After an error
    /// nothing of the saga stays in memory.
    pub(crate) fn turn<E>(
        &mut self,
        job: &Job<'_>,
        journal: impl FnOnce() -> Result<Vec<(Entry, usize)>, E>,
    ) -> Result<Result<Applied, ReplayError>, E> {
        if let Some(misfit) = self.misfits.remove(&job.saga) {
            return Ok(Err(misfit));
        }
        let (cached, journal) = match self.take(job.saga) {
            Some(cached) => (Some(cached), Vec::new()),
            None => (None, journal()?),
        };
        self.watch.enters(&job.running);
        let made = self.make(job, cached, journal);
        self.watch.leaves();
        Ok(made.map(|(live, bytes, applied)| {
            self.put(job.saga, live, bytes);
            applied
        }))
    }

    /// Author code runs here, also when a future is dropped that can no longer be believed.
    fn make(
        &mut self,
        job: &Job<'_>,
        cached: Option<Cached>,
        journal: Vec<(Entry, usize)>,
    ) -> Result<(Live, usize, Applied), ReplayError> {
        let (mut live, bytes) = match cached {
            Some(cached) => (cached.live, cached.bytes),
            None => {
                let (journal, sizes): (Vec<Entry>, Vec<usize>) = journal.into_iter().unzip();
                let live = Live::replay_watched(job.code, &journal, || self.watch.goes_on())?;
                (live, sizes.iter().sum())
            }
        };
        let applied = live.turn(job.at, job.turn_at, job.fact)?;
        Ok((live, bytes, applied))
    }

    /// Whether the next turn of the saga can be made without its journal.
    pub(crate) fn has(&self, saga: SagaId) -> bool {
        self.cached.contains_key(&saga) || self.misfits.contains_key(&saga)
    }

    /// Replays a piece of a journal that is too long for one turn; `from` is the number of its
    /// first entry. Of such a saga nothing is held, and its code has not ended.
    ///
    /// # Errors
    /// The code does not fit the journal.
    pub(crate) fn replay_piece(
        &mut self,
        running: &Running<'_>,
        mut live: Live,
        from: usize,
        piece: &[(Entry, usize)],
    ) -> Result<Live, ReplayError> {
        const END: usize = 0;
        self.watch.enters(running);
        let replayed = piece.iter().enumerate().try_for_each(|(idx, (entry, _))| {
            live.replay_entry(from + idx, entry, END)?;
            self.watch.goes_on();
            Ok(())
        });
        // Dropping it may run code of its author.
        let live = replayed.map(|()| live);
        self.watch.leaves();
        live
    }

    /// Keeps a saga, also when there is no room for it: until its turn.
    pub(crate) fn keep(&mut self, saga: SagaId, live: Live, bytes: usize) {
        self.uses += 1;
        self.order.insert(self.uses, saga);
        self.bytes += bytes;
        self.cached.insert(saga, Cached { live, used: self.uses, bytes });
    }

    /// The next turn of the saga will end so.
    pub(crate) fn keep_misfit(&mut self, saga: SagaId, misfit: ReplayError) {
        self.misfits.insert(saga, misfit);
    }

    /// What the saga would hold for if its code saw what is held. Nothing of it stays.
    ///
    /// # Errors
    /// The code cannot go on.
    pub(crate) fn foresee(
        &mut self,
        running: &Running<'_>,
        code: Code,
        journal: &[Entry],
        now: Time,
    ) -> Result<Vec<Path>, ReplayError> {
        self.watched(running, || {
            let mut live = Live::replay(code, journal)?;
            for entry in journal.iter().filter(|it| matches!(it.turn, Turn::Held(_))) {
                live.turn(entry.at, now, &entry.fact)?;
            }
            Ok(live.state().waits.into_iter().map(|it| it.step).collect())
        })
    }

    /// Waits of the saga that took an event at which its code has not looked; nothing is known of
    /// one that is not in memory.
    pub(crate) fn unseen(&self, saga: SagaId) -> Option<Vec<Path>> {
        self.cached.get(&saga).map(|it| it.live.unseen())
    }

    /// The same, of any saga.
    ///
    /// # Errors
    /// The code cannot say it.
    pub(crate) fn unseen_in(
        &mut self,
        running: &Running<'_>,
        code: Code,
        journal: &[Entry],
    ) -> Result<Vec<Path>, ReplayError> {
        self.watched(running, || Live::replay(code, journal).map(|it| it.unseen()))
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
        self.misfits.remove(&saga);
        if let Some(cached) = self.take(saga) {
            self.discard(saga, cached.live);
        }
    }

    /// Drops a future, which may run code of its author.
    pub(crate) fn discard(&mut self, saga: SagaId, live: Live) {
        if !live.has_code() {
            return;
        }
        let running = Running {
            culprit: Culprit::Saga(saga),
            saga: Some(saga),
            definition: Cow::Borrowed(""),
            key: Cow::Borrowed(""),
            seq: 0,
            step: Cow::Borrowed("drop"),
        };
        self.watched(&running, || drop(live));
    }

    fn take(&mut self, saga: SagaId) -> Option<Cached> {
        let cached = self.cached.remove(&saga)?;
        self.order.remove(&cached.used);
        self.bytes -= cached.bytes;
        Some(cached)
    }

    fn put(&mut self, saga: SagaId, live: Live, bytes: usize) {
        self.keep(saga, live, bytes);
        self.evict();
    }

    fn evict(&mut self) {
        while self.cached.len() > self.count_max || self.bytes > self.bytes_max {
            let Some(saga) = self.order.values().next().copied() else { break };
            self.forget(saga);
        }
    }
}
