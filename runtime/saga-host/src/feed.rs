//! Who watches a saga's journal, and how a watcher hears that it has grown.
//!
//! ```text
//! engine ──▶ bounded channel ──▶ herald ──▶ a watch for each saga ──▶ readers
//! ```
//!
//! The engine says after each commit which journals it has written to, once for all readers and not
//! at all while nobody watches. It waits for nobody: what finds the channel full is made up for by
//! waking everybody. A watcher is only told *that* there is more; what it is it reads from the
//! journal, so that it sees what is durable and nothing else.

use chassis::{http::Metrics, shutdown::Shutdown};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use saga_core::{core::Core, id::SagaId, store::Store};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// Commits that the herald has not looked at yet; it needs microseconds for each.
const COMMITS_MAX: usize = 64;
/// Watchers in all: each may hold a page of a journal and some events in memory.
pub(crate) const WATCHERS_MAX: usize = 256;
/// Watchers from one address: an office, or the front end of one team, with some room.
pub(crate) const WATCHERS_OF_ADDRESS_MAX: usize = 64;

/// Readers that ask the engine at once: they leave the places at its door to others.
const VISITS_MAX: usize = 8;

/// For each watcher, between two looks of one: some 5,000 looks a second in all, of some 10 to 20
/// microseconds of the engine's time each.
const REST: Duration = Duration::from_micros(200);

/// How many records a commit has added to a journal.
type Grown = (SagaId, u64);

/// The engine's end.
#[derive(Debug)]
pub(crate) struct Feed {
    commits: mpsc::Sender<Vec<Grown>>,
    news: Arc<News>,
}

/// What the engine and the herald tell each other beside the channel.
#[derive(Debug, Default)]
struct News {
    /// Written by the herald before a watcher is let in.
    watchers: AtomicUsize,
    /// Some commit did not find room in the channel.
    missed: AtomicBool,
}

/// The readers' end; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    doors: mpsc::UnboundedSender<Door>,
    visits: Arc<Semaphore>,
    news: Arc<News>,
    /// Streams that were closed because their readers did not keep up.
    pub(crate) cut_off: Counter,
    /// Ends all streams.
    pub(crate) shutdown: Shutdown,
}

#[derive(Debug)]
enum Door {
    In(Asked),
    Out(SagaId, IpAddr),
}

#[derive(Debug)]
struct Asked {
    saga: SagaId,
    party: IpAddr,
    /// For the way out.
    doors: mpsc::UnboundedSender<Door>,
    answer: oneshot::Sender<Result<Watch, Crowded>>,
}

/// Why nobody else may watch now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// There are [`WATCHERS_MAX`].
    All,
    /// There are [`WATCHERS_OF_ADDRESS_MAX`] from this address.
    Address,
}

/// A watcher's place; it is free again when this is dropped, wherever that is.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Counts the records that were added to the journal. What was added before the watch began may
    /// be in it or not; everything else is.
    pub(crate) grown: watch::Receiver<u64>,
    saga: SagaId,
    party: IpAddr,
    doors: mpsc::UnboundedSender<Door>,
}

/// Ends of a new feed, and the task between them.
pub(crate) fn feed(
    shutdown: Shutdown,
    metrics: &Metrics,
) -> (Feed, Readers, impl Future<Output = ()> + Send + use<>) {
    let (commits, committed) = mpsc::channel(COMMITS_MAX);
    let (doors, asked) = mpsc::unbounded_channel();
    let news = Arc::new(News::default());
    let open = metrics.gauge("streams", "Open streams of journals");
    let cut_off = metrics.counter("streams_cut_off", "Streams closed since nobody read them");
    let (sagas, parties) = (HashMap::new(), HashMap::new());
    let herald = Herald { news: Arc::clone(&news), open, sagas, parties };
    let visits = Arc::new(Semaphore::new(VISITS_MAX));
    let readers = Readers { doors, visits, news: Arc::clone(&news), cut_off, shutdown };
    (Feed { commits, news }, readers, herald.run(committed, asked))
}

impl Feed {
    /// What the batch being made adds to journals; nothing while nobody watches.
    pub(crate) fn gather<S: Store>(&self, core: &Core<S>) -> Vec<Grown> {
        if self.news.watchers.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        core.batch_entries().collect()
    }

    /// Says that the batch is durable.
    pub(crate) fn publish(&self, grown: Vec<Grown>) {
        if grown.is_empty() || self.commits.try_send(grown).is_ok() {
            return;
        }
        self.news.missed.store(true, Ordering::Release);
        // The herald may have emptied the channel meanwhile, and wait; when it is still full, the
        // herald sees the flag behind what is in there.
        let _full_or_gone = self.commits.try_send(Vec::new());
    }
}

impl Readers {
    /// One for each reader that asks the engine now.
    pub(crate) fn visits(&self) -> Arc<Semaphore> {
        Arc::clone(&self.visits)
    }

    /// How long a reader rests between two looks, so that all of them together leave the engine to
    /// its work however fast a saga goes.
    pub(crate) fn pause(&self) -> Duration {
        let watchers = self.news.watchers.load(Ordering::Relaxed);
        REST.saturating_mul(watchers.try_into().unwrap_or(u32::MAX))
    }

    /// Watches a saga from now on: what is committed after this returns is told.
    pub(crate) async fn watch(&self, saga: SagaId, party: IpAddr) -> Result<Watch, Crowded> {
        let (answer, answered) = oneshot::channel();
        let doors = self.doors.clone();
        let _gone = self.doors.send(Door::In(Asked { saga, party, doors, answer }));
        // The herald ends with the process.
        answered.await.unwrap_or(Err(Crowded::All))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _gone = self.doors.send(Door::Out(self.saga, self.party));
    }
}

struct Herald {
    news: Arc<News>,
    open: Gauge<i64, AtomicI64>,
    sagas: HashMap<SagaId, Watched>,
    parties: HashMap<IpAddr, usize>,
}

struct Watched {
    grown: watch::Sender<u64>,
    watchers: usize,
}

impl Herald {
    async fn run(
        mut self,
        mut committed: mpsc::Receiver<Vec<Grown>>,
        mut asked: mpsc::UnboundedReceiver<Door>,
    ) {
        loop {
            tokio::select! {
                Some(commit) = committed.recv() => self.tell(commit),
                Some(door) = asked.recv() => self.door(door),
                else => return,
            }
        }
    }

    fn tell(&self, commit: Vec<Grown>) {
        for (saga, records) in commit {
            if let Some(watched) = self.sagas.get(&saga) {
                watched.grown.send_modify(|it| *it += records);
            }
        }
        if self.news.missed.swap(false, Ordering::AcqRel) {
            self.sagas.values().for_each(|it| it.grown.send_modify(|_| ()));
        }
    }

    fn door(&mut self, door: Door) {
        match door {
            Door::In(Asked { saga, party, doors, answer }) => {
                let entered = self.enter(saga, party);
                let watch = entered.map(|grown| Watch { grown, saga, party, doors });
                // Whoever has gone meanwhile drops the place, and that is a message of its own.
                let _gone = answer.send(watch);
            }
            Door::Out(saga, party) => self.leave(saga, party),
        }
    }

    fn enter(&mut self, saga: SagaId, party: IpAddr) -> Result<watch::Receiver<u64>, Crowded> {
        if WATCHERS_MAX <= self.news.watchers.load(Ordering::Relaxed) {
            return Err(Crowded::All);
        }
        let of_party = self.parties.entry(party).or_default();
        if WATCHERS_OF_ADDRESS_MAX <= *of_party {
            return Err(Crowded::Address);
        }
        *of_party += 1;
        self.news.watchers.fetch_add(1, Ordering::Release);
        self.open.inc();
        let new = || Watched { grown: watch::channel(0).0, watchers: 0 };
        let watched = self.sagas.entry(saga).or_insert_with(new);
        watched.watchers += 1;
        Ok(watched.grown.subscribe())
    }

    fn leave(&mut self, saga: SagaId, party: IpAddr) {
        self.news.watchers.fetch_sub(1, Ordering::Release);
        self.open.dec();
        if let Some(watched) = self.sagas.get_mut(&saga) {
            watched.watchers -= 1;
            if watched.watchers == 0 {
                self.sagas.remove(&saga);
            }
        }
        if let Some(count) = self.parties.get_mut(&party) {
            *count -= 1;
            if *count == 0 {
                self.parties.remove(&party);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use std::net::Ipv4Addr;
    use uuid::Uuid;

    fn saga(number: u128) -> SagaId {
        SagaId(Uuid::from_u128(number))
    }

    fn party(number: usize) -> IpAddr {
        Ipv4Addr::from(u32::try_from(number).expect("a small number")).into()
    }

    fn running() -> (Feed, Readers) {
        let (feed, readers, herald) = feed(Shutdown::new(), &Metrics::new());
        tokio::spawn(herald);
        (feed, readers)
    }

    async fn until_free(readers: &Readers, saga: SagaId, party: IpAddr) -> Watch {
        loop {
            match readers.watch(saga, party).await {
                Ok(watch) => return watch,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    #[tokio::test]
    async fn a_watcher_is_told_of_its_own_saga_only() {
        let (feed, readers) = running();
        let mut one = readers.watch(saga(1), party(1)).await.expect("a place");
        let mut two = readers.watch(saga(2), party(1)).await.expect("a place");
        feed.publish(vec![(saga(1), 3), (saga(3), 1)]);
        feed.publish(vec![(saga(1), 2), (saga(2), 1)]);
        two.grown.changed().await.expect("it is told");
        assert_eq!((*one.grown.borrow(), *two.grown.borrow()), (5, 1));
        one.grown.mark_unchanged();
        feed.publish(vec![(saga(2), 1)]);
        two.grown.changed().await.expect("it is told");
        assert!(!one.grown.has_changed().expect("the herald is there"));
    }

    #[tokio::test]
    async fn the_engine_waits_for_nobody_and_whoever_missed_a_commit_is_woken() {
        let (feed, readers, herald) = feed(Shutdown::new(), &Metrics::new());
        let watching = readers.watch(saga(1), party(1));
        let mut herald = Box::pin(herald);
        let mut watch = tokio::select! {
            watch = watching => watch.expect("a place"),
            () = &mut herald => unreachable!("the herald goes on"),
        };
        // Nobody looks at the channel while the engine fills it.
        for _ in 0..COMMITS_MAX {
            feed.publish(vec![(saga(2), 1)]);
        }
        feed.publish(vec![(saga(1), 1)]);
        assert!(watch.grown.changed().now_or_never().is_none());
        tokio::select! {
            told = watch.grown.changed() => told.expect("it is woken"),
            () = &mut herald => unreachable!("the herald goes on"),
        }
    }

    #[tokio::test]
    async fn places_are_counted_for_each_address_and_in_all_and_given_back() {
        let (feed, readers) = running();
        let mut watches = Vec::new();
        for number in 0..WATCHERS_MAX {
            let party = party(number / WATCHERS_OF_ADDRESS_MAX);
            watches.push(readers.watch(saga(1), party).await.expect("a place"));
            if watches.len() == WATCHERS_OF_ADDRESS_MAX {
                assert_eq!(readers.watch(saga(1), party).await.err(), Some(Crowded::Address));
            }
        }
        assert_eq!(readers.watch(saga(1), party(99)).await.err(), Some(Crowded::All));
        watches.truncate(1);
        watches.push(until_free(&readers, saga(1), party(1)).await);
        assert_eq!(feed.news.watchers.load(Ordering::Acquire), 2);
    }

    #[tokio::test]
    async fn whoever_leaves_before_it_is_let_in_holds_no_place() {
        let (feed, readers, herald) = feed(Shutdown::new(), &Metrics::new());
        for number in 0..WATCHERS_MAX {
            let mut asking = Box::pin(readers.watch(saga(1), party(number)));
            assert!(asking.as_mut().now_or_never().is_none());
        }
        tokio::spawn(herald);
        drop(until_free(&readers, saga(1), party(1)).await);
        while feed.news.watchers.load(Ordering::Acquire) > 0 {
            tokio::task::yield_now().await;
        }
    }
}
