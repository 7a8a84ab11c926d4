//! The way to the engine's thread.

use super::{
    ANSWERS_MAX, Answer, DOOR_WORK_MAX, EVENTS_MAX, OWN_EVENTS_MAX, Query, Settled, Ticked, Work,
};
use crate::{
    groups::{Group, Groups},
    sled_store::SledStore,
};
use saga_core::{
    core::Core,
    id::Time,
    input::{Actor, Command, Input},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// Whoever wants to know something waits no longer for an engine that does nothing: it is blocked.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// What waits for the engine in one place weighs about so much, so that all of it has some 50 MiB.
pub(super) const PLACE_BYTES: usize = 64 << 10;
/// However large one input is, there is room for it.
const PLACES_OF_ONE_MAX: u32 = 64;

/// Given back when the engine begins with the work, or has answered the question.
pub(super) type Place = OwnedSemaphorePermit;

/// How much may wait for the engine of each kind, so that none keeps out another one. Closed never:
/// a sender that is too late hears of it from the inbox.
#[derive(Clone)]
pub(super) struct Places {
    /// For whoever comes first.
    events: Arc<Semaphore>,
    /// For each group some that no other one takes.
    own: Arc<BTreeMap<Group, Arc<Semaphore>>>,
    answers: Arc<Semaphore>,
    door: Arc<Semaphore>,
}

impl Places {
    pub(super) fn new(groups: &Groups) -> Places {
        let [events, answers, door] =
            [EVENTS_MAX, ANSWERS_MAX, DOOR_WORK_MAX].map(|places| Arc::new(Semaphore::new(places)));
        let own = groups.all().into_iter();
        let own = own.map(|it| (it, Arc::new(Semaphore::new(OWN_EVENTS_MAX)))).collect();
        Places { events, own: Arc::new(own), answers, door }
    }

    /// All of them.
    pub(super) fn count(groups: &Groups) -> usize {
        EVENTS_MAX + groups.all().len() * OWN_EVENTS_MAX + ANSWERS_MAX + DOOR_WORK_MAX
    }
}

/// Why the engine takes nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Busy {
    /// Too much waits already.
    #[error("the engine has too much to do; try again")]
    Full,
    /// It is blocked, or has far too much to do.
    #[error("the engine does not answer")]
    Silent,
    /// It has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

/// The way to the engine; clones share it.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(super) inbox: mpsc::Sender<Work>,
    pub(super) places: Places,
    /// Made when the core was opened.
    pub(super) groups: Arc<Groups>,
    pub(super) next_due: watch::Receiver<Option<Time>>,
    /// Inputs that the engine has begun, and questions that it has answered.
    pub(super) beats: Arc<AtomicU64>,
}

impl Handle {
    /// Which definitions and events stand in one line.
    pub(crate) fn groups(&self) -> Arc<Groups> {
        self.groups.clone()
    }

    /// Gives an input that nobody waits for; waits while the engine is busy.
    pub(crate) async fn tell(&self, input: Input) -> Result<(), Busy> {
        self.room_for(0).await?.tell(input);
        Ok(())
    }

    /// Room for one event; waits while the engine is busy.
    pub(crate) async fn room(&self) -> Result<Room, Busy> {
        self.room_in(&self.places.events, 1).await
    }

    /// Room for one event of so many bytes that its group alone can take, if there is some. It is
    /// for small ones, so that what all groups together have there is little.
    pub(crate) fn own_room(&self, group: Group, bytes: usize) -> Option<Room> {
        let own = self.places.own.get(&group).filter(|_| bytes <= PLACE_BYTES)?;
        let place = own.clone().try_acquire_owned().ok()?;
        let permit = self.inbox.clone().try_reserve_owned().ok()?;
        Some(Room(permit, place))
    }

    /// Room for an answer of so many bytes: a large one takes the places of several.
    pub(crate) async fn room_for(&self, bytes: usize) -> Result<Room, Busy> {
        let places = 1 + u32::try_from(bytes / PLACE_BYTES).unwrap_or(PLACES_OF_ONE_MAX);
        self.room_in(&self.places.answers, places.min(PLACES_OF_ONE_MAX)).await
    }

    async fn room_in(&self, places: &Arc<Semaphore>, count: u32) -> Result<Room, Busy> {
        let place = places.clone().acquire_many_owned(count).await;
        let place = place.map_err(|_| Busy::Stopped)?;
        let permit = self.inbox.clone().reserve_owned().await;
        permit.map(|it| Room(it, place)).map_err(|_| Busy::Stopped)
    }

    /// Gives a command; the answer comes when it is durable.
    pub(crate) async fn ask(&self, actor: Actor, command: Command) -> Result<Answer, Busy> {
        let (answer, answered) = oneshot::channel();
        let place = self.door_place()?;
        self.try_send(Work::Asked(actor, command, answer, place))?;
        answered.await.map_err(|_| Busy::Stopped)
    }

    /// Reads what is durable. What was given before stands in other lines, and may come later.
    pub(crate) async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&Core<SledStore>) -> R + Send + 'static,
    ) -> Result<R, Busy> {
        let (answer, answered) = oneshot::channel();
        let place = self.door_place()?;
        let query: Query = Box::new(move |core| {
            let _place = place;
            // The asker may have lost patience, before or meanwhile.
            if !answer.is_closed() {
                let _gone = answer.send(read(core));
            }
        });
        self.try_send(Work::Read(query))?;
        self.while_it_lives(answered).await
    }

    /// Fires the timers that are due at or before the watermark.
    pub(crate) async fn tick(&self, watermark: Time) -> Result<Ticked, Busy> {
        let (answer, answered) = oneshot::channel();
        let work = Work::Tick(watermark, answer);
        self.inbox.send(work).await.map_err(|_| Busy::Stopped)?;
        answered.await.map_err(|_| Busy::Stopped)
    }

    /// When the next timer is due, as it changes.
    pub(crate) fn next_due(&self) -> watch::Receiver<Option<Time>> {
        self.next_due.clone()
    }

    /// Waits for an answer as long as the engine does anything at all.
    async fn while_it_lives<R>(&self, mut answered: oneshot::Receiver<R>) -> Result<R, Busy> {
        let mut beats = self.beats.load(Ordering::Relaxed);
        loop {
            match tokio::time::timeout(SILENCE_MAX, &mut answered).await {
                Ok(answer) => return answer.map_err(|_| Busy::Stopped),
                Err(_) => match self.beats.load(Ordering::Relaxed) {
                    same if same == beats => return Err(Busy::Silent),
                    more => beats = more,
                },
            }
        }
    }

    /// How much the engine has done; the question gives it something to do.
    pub(super) fn beats(&self) -> u64 {
        // A full inbox is work enough.
        if let Ok(place) = self.door_place() {
            let nothing: Query = Box::new(move |_| drop(place));
            let _gone = self.try_send(Work::Read(nothing));
        }
        self.beats.load(Ordering::Relaxed)
    }

    /// Lets the engine finish what it was given before, and end.
    pub(crate) async fn stop(&self) {
        // It may have stopped by itself.
        let _gone = self.inbox.send(Work::Stop).await;
    }

    fn door_place(&self) -> Result<Place, Busy> {
        self.places.door.clone().try_acquire_owned().map_err(|_| Busy::Full)
    }

    fn try_send(&self, work: Work) -> Result<(), Busy> {
        self.inbox.try_send(work).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Busy::Full,
            mpsc::error::TrySendError::Closed(_) => Busy::Stopped,
        })
    }
}

/// A place in the engine's inbox, for one input.
pub(crate) struct Room(mpsc::OwnedPermit<Work>, Place);

impl Room {
    /// Gives an input that nobody waits for.
    pub(crate) fn tell(self, input: Input) {
        self.0.send(Work::Told(input, self.1));
    }

    /// Gives an event; `settled` is called on the engine's thread when it is durable.
    pub(crate) fn event(self, input: Input, settled: Settled) {
        self.0.send(Work::Event(input, settled, self.1));
    }
}
