//! The thread that owns the state: it drains commands, handles them one by one over one
//! transaction, commits once, and only then lets anything out.

use crate::{
    core::{Core, Input, Output},
    metrics::KitMetrics,
    outbox,
    procedure::{Done, WorkError, Working},
    relay::RelayNote,
};
use chassis::{
    crash,
    db::{Db, DbError, Tx},
    nats::Nats,
    shutdown::Shutdown,
};
use chrono::{DateTime, Utc};
use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::{
    runtime,
    sync::{Semaphore, mpsc, oneshot},
};

/// Commands of one commit: enough to share an fsync among all callers that wait at once.
const GROUP_INPUTS_MAX: usize = 512;
/// Commands that wait; more callers wait for a place, and requests stay in the broker's buffer.
const QUEUE_INPUTS_MAX: usize = 2_048;
/// Runs of one procedure's outside work at the same time: what providers let one customer do. One
/// whose provider hangs must not hold up the others.
const WORK_MAX: usize = 32;
/// One run of outside work: a provider that has not answered by then is asked again.
const WORK_TIME_MAX: Duration = Duration::from_secs(60);
/// How often old rows are looked for.
const SWEEP_PAUSE: Duration = Duration::from_secs(60);

/// Tells the time; a test brings its own.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// What comes to the thread.
pub(crate) enum Command {
    Do(Input),
    /// Handle what came before, then end.
    Stop(oneshot::Sender<()>),
}

/// The way to the thread. Clones share it.
#[derive(Clone)]
pub(crate) struct Inlet {
    commands: mpsc::Sender<Command>,
    refuses: Arc<AtomicBool>,
}

impl Inlet {
    /// Waits for a place in the queue. Says whether the thread is still there.
    pub(crate) async fn send(&self, input: Input) -> bool {
        let place = self.commands.reserve().await;
        let place = place.ok().filter(|_| !self.refuses.load(Ordering::Acquire));
        place.map(|it| it.send(Command::Do(input))).is_some()
    }

    /// Gives the thread nothing more, as if it had ended.
    pub(crate) fn refuse(&self) {
        self.refuses.store(true, Ordering::Release);
    }

    /// Lets the thread handle what it has, and end.
    pub(crate) async fn stop(&self) {
        let (done, ended) = oneshot::channel();
        if self.commands.send(Command::Stop(done)).await.is_ok() {
            // It may have ended for another reason meanwhile.
            let _ended = ended.await;
        }
    }
}

/// Everything that the thread works with.
pub(crate) struct Owner {
    pub(crate) db: Db,
    pub(crate) core: Core,
    pub(crate) clock: Clock,
    pub(crate) metrics: KitMetrics,
    pub(crate) relay: mpsc::UnboundedSender<RelayNote>,
    /// Outside work waits for it; tests of the thread alone have none.
    pub(crate) nats: Option<Nats>,
    /// Asked when the store is poisoned: the process has to end.
    pub(crate) broken: Shutdown,
}

impl Owner {
    /// Starts the thread. Must be called within a tokio runtime, which runs the outside work.
    pub(crate) fn start(self) -> io::Result<Inlet> {
        let (commands, queue) = mpsc::channel(QUEUE_INPUTS_MAX);
        let inlet = Inlet { commands, refuses: Arc::default() };
        let mut shell = Shell {
            runtime: runtime::Handle::current(),
            inlet: inlet.clone(),
            places: HashMap::new(),
            metrics: self.metrics.clone(),
            relay: self.relay.clone(),
            nats: self.nats.clone(),
        };
        let sweeper = inlet.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_PAUSE).await;
                if !sweeper.send(Input::Sweep).await {
                    return;
                }
            }
        });
        let broken = self.broken.clone();
        thread::Builder::new().name("owner".to_owned()).spawn(move || {
            match catch_unwind(AssertUnwindSafe(move || self.run(queue, &mut shell))) {
                // Nothing of it is left: the store can be opened again. Nobody may be waiting.
                Ok(Some(done)) => drop(done.send(())),
                Ok(None) => (),
                Err(_) => {
                    tracing::error!("the service stops: its thread panicked");
                    broken.ask();
                }
            }
        })?;
        Ok(inlet)
    }

    /// Returns who waits for its end.
    fn run(
        mut self,
        mut queue: mpsc::Receiver<Command>,
        shell: &mut Shell,
    ) -> Option<oneshot::Sender<()>> {
        let mut stopping = None;
        while let Some(command) = queue.blocking_recv() {
            let mut group = Vec::new();
            let mut next = Some(command);
            while let Some(command) = next.take() {
                match command {
                    Command::Do(input) => group.push(input),
                    Command::Stop(done) => stopping = Some(done),
                }
                if group.len() < GROUP_INPUTS_MAX && stopping.is_none() {
                    next = queue.try_recv().ok();
                }
            }
            if let Err(error) = self.commit(group, shell) {
                tracing::error!(%error, "the service stops: its store failed");
                self.broken.ask();
                return None;
            }
            if stopping.is_some() {
                return stopping;
            }
        }
        None
    }

    /// One group, one transaction, one commit.
    fn commit(&mut self, group: Vec<Input>, shell: &mut Shell) -> Result<(), DbError> {
        let mut tx = Tx::over(&self.db);
        let mut outputs = Vec::new();
        let told_before = outbox::last_number(&tx)?;
        for input in group {
            let before = tx.savepoint();
            let released = outputs.len();
            let handled = self.core.handle(&mut tx, input, (self.clock)(), &mut outputs);
            match handled.and_then(|()| tx.check_since(before)) {
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "a command failed on a row of the kit");
                    tx.roll_back(before);
                    // Their callers find the channel closed, and ask again.
                    outputs.truncate(released);
                }
                Ok(()) => (),
            }
        }
        let has_news = outbox::last_number(&tx)? > told_before;
        if !tx.is_empty() {
            crash::point("owner.before-commit");
            self.db.commit(tx.into_batch(), self.db.position() + 1)?;
            self.metrics.commits.inc();
            crash::point("owner.after-commit");
        }
        for output in outputs {
            shell.release(output);
        }
        if has_news {
            shell.tell_relay(RelayNote::News);
        }
        Ok(())
    }
}

/// Carries out what is owed after a commit.
struct Shell {
    runtime: runtime::Handle,
    inlet: Inlet,
    /// By subject.
    places: HashMap<String, Arc<Semaphore>>,
    metrics: KitMetrics,
    relay: mpsc::UnboundedSender<RelayNote>,
    nats: Option<Nats>,
}

impl Shell {
    fn release(&mut self, output: Output) {
        match output {
            Output::Answer { reply, answer, subject } => {
                self.metrics.answered(&subject, answer.class());
                // The caller may be gone; it asks again.
                let _unheard = reply.send(answer);
            }
            Output::Release(release) => release(),
            Output::Object { reply, known } => {
                // The broker's side may be closing.
                let _unheard = reply.send(known);
            }
            Output::Work { key, subject, working } => {
                let (inlet, places) = (self.inlet.clone(), self.places(subject));
                let nats = self.nats.clone();
                self.runtime.spawn(async move {
                    let _place = places.acquire_owned().await;
                    // While there is none another process may have our place, and undo what this
                    // would do.
                    if let Some(nats) = nats
                        && !nats.is_there().await
                    {
                        return;
                    }
                    let done = work(working).await;
                    crash::point("owner.before-finish");
                    inlet.send(Input::Worked { key, done }).await;
                });
            }
            Output::RetryLater { key, pause } => {
                let inlet = self.inlet.clone();
                self.runtime.spawn(async move {
                    tokio::time::sleep(pause).await;
                    inlet.send(Input::Retry { key }).await;
                });
            }
            Output::Receipted(numbers) => {
                self.metrics.receipted.inc_by(numbers.len() as u64);
                self.tell_relay(RelayNote::Receipted(numbers));
            }
            Output::Owed(numbers) => self.tell_relay(RelayNote::Owed(numbers)),
            Output::Again(input) => {
                let inlet = self.inlet.clone();
                self.runtime.spawn(async move { inlet.send(input).await });
            }
        }
    }

    fn places(&mut self, subject: String) -> Arc<Semaphore> {
        let places = self.places.entry(subject);
        Arc::clone(places.or_insert_with(|| Arc::new(Semaphore::new(WORK_MAX))))
    }

    /// There may be no relay, in a service that runs without a broker.
    fn tell_relay(&self, note: RelayNote) {
        let _absent = self.relay.send(note);
    }
}

/// A run that panics or hangs has failed.
async fn work(working: Working) -> Result<Done, WorkError> {
    let mut task = tokio::spawn(working);
    let why = match tokio::time::timeout(WORK_TIME_MAX, &mut task).await {
        Ok(Ok(done)) => return done,
        Ok(Err(error)) => format!("the work ended early: {error}"),
        Err(_) => {
            task.abort();
            format!("no answer within {} s", WORK_TIME_MAX.as_secs())
        }
    };
    Err(WorkError::Failed(why))
}

#[cfg(test)]
mod tests;
