//! One process that is killed again and again, and started again each time.

use super::{
    census::{self, Census},
    plan::{Kill, Lane, Moment, RUNTIME},
};
use crate::{Failure, client::Api, stack::Stack, until};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// How often a process is looked at that may be about to die.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A point that is not passed so often in this time, as the orders do not lead there, is given up:
/// the process is killed from outside.
const POINT_WITHIN: Duration = Duration::from_secs(60);
/// Until enough sagas are open.
const ENOUGH_WITHIN: Duration = Duration::from_secs(600);
/// Kills of one process with too few sagas open, for each that counts, before it is given up.
const REPEATS_MAX: usize = 3;

/// A kill that was done.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Who.
    pub process: &'static str,
    /// When, as planned.
    pub moment: Moment,
    /// Whether the point was not reached, and the process was killed from outside.
    pub is_from_outside: bool,
    /// What was open at the last look before.
    pub census: Census,
    /// Whether enough was.
    pub counts: bool,
}

/// What the lanes share.
pub struct Ground {
    /// The system.
    pub stack: Arc<Mutex<Stack>>,
    /// To look at it.
    pub api: Api,
    /// The last count of open sagas.
    pub census: watch::Receiver<Census>,
    /// Kills of the runtime that counted.
    pub runtime_kills: watch::Sender<usize>,
    /// Sagas that must be open for a kill to count.
    pub open_min: usize,
    /// Lets some people act.
    pub stir: Box<dyn Fn() + Send + Sync>,
    /// Is told of each kill.
    pub on_kill: Box<dyn Fn(&Done) + Send + Sync>,
}

impl Ground {
    /// The system, for a moment.
    pub fn stack(&self) -> MutexGuard<'_, Stack> {
        // Whoever panicked with it ends the run; until then it is as good as before.
        self.stack.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kills as planned; the process is ready in the end.
///
/// # Errors
/// It does not come back, or ends when nobody has killed it.
pub async fn run(ground: Arc<Ground>, lane: Lane) -> Result<(), Failure> {
    let Lane { process, mut kills } = lane;
    let mut repeats_left = REPEATS_MAX * kills.len();
    let mut started = Instant::now();
    while let Some(kill) = kills.pop_front() {
        let victim = Victim { ground: &ground, process, started };
        let done = victim.kill(kill).await?;
        (ground.on_kill)(&done);
        if process == RUNTIME && done.counts {
            ground.runtime_kills.send_modify(|it| *it += 1);
        }
        if !done.counts {
            kills.push_front(kill);
            repeats_left = repeats_left
                .checked_sub(1)
                .ok_or_else(|| format!("too few sagas are open whenever {process} is killed"))?;
        }
        let armed = kills.front().and_then(|it| match it.moment {
            Moment::Point(name, passage) => Some(format!("{name}:{passage}")),
            _ => None,
        });
        let settings: Vec<_> = armed.iter().map(|it| ("FERMATA_CRASH_AT", it.as_str())).collect();
        ground.stack().spawn_with(process, &settings)?;
        started = Instant::now();
    }
    Victim { ground: &ground, process, started }.ready().await
}

/// A process that runs, since a time.
struct Victim<'a> {
    ground: &'a Ground,
    process: &'static str,
    started: Instant,
}

impl Victim<'_> {
    async fn kill(&self, kill: Kill) -> Result<Done, Failure> {
        let mut is_from_outside = false;
        let census = match kill.moment {
            Moment::Ready(stir, kill_after) => {
                self.its_turn(kill.runtime_kills_before).await?;
                self.ready().await?;
                self.outlives(Instant::now() + stir).await?;
                let before = self.enough_are_open().await?;
                (self.ground.stir)();
                self.outlives(Instant::now() + kill_after).await?;
                let census = census::count(&self.ground.api).await.unwrap_or(before);
                self.ground.stack().kill(self.process)?;
                census
            }
            Moment::Start(after) => {
                self.outlives(self.started + after).await?;
                let census = *self.ground.census.borrow();
                self.ground.stack().kill(self.process)?;
                census
            }
            Moment::Point(..) => {
                is_from_outside = !self.ends_before(Instant::now() + POINT_WITHIN).await?;
                let census = *self.ground.census.borrow();
                if is_from_outside {
                    self.ground.stack().kill(self.process)?;
                }
                census
            }
        };
        let counts = census.open() >= self.ground.open_min;
        let (process, moment) = (self.process, kill.moment);
        Ok(Done { process, moment, is_from_outside, census, counts })
    }

    async fn its_turn(&self, runtime_kills: usize) -> Result<(), Failure> {
        let mut done = self.ground.runtime_kills.subscribe();
        let its_turn = done.wait_for(|it| *it >= runtime_kills).await;
        its_turn.map(|_| ()).map_err(|err| err.to_string())
    }

    async fn ready(&self) -> Result<(), Failure> {
        let readiness = self.ground.stack().readiness(self.process)?;
        tokio::select! {
            ready = readiness => ready.map_err(|why| self.with_log(&why)),
            ended = self.ends_before(Instant::now() + ENOUGH_WITHIN) => {
                ended?;
                Err(self.with_log("it ended by itself while it started"))
            }
        }
    }

    /// Counts once more if the runtime is there, right before the kill.
    async fn enough_are_open(&self) -> Result<Census, Failure> {
        until("enough sagas are open", ENOUGH_WITHIN, || async {
            let seen = census::count(&self.ground.api).await;
            let census = seen.unwrap_or(*self.ground.census.borrow());
            let is_enough = census.open() >= self.ground.open_min;
            if is_enough { Ok(census) } else { Err(census.to_string()) }
        })
        .await
    }

    async fn outlives(&self, time: Instant) -> Result<(), Failure> {
        match self.ends_before(time).await? {
            false => Ok(()),
            true => Err(self.with_log("it ended by itself")),
        }
    }

    async fn ends_before(&self, time: Instant) -> Result<bool, Failure> {
        loop {
            if self.ground.stack().has_ended(self.process)? {
                return Ok(true);
            }
            if time <= Instant::now() {
                return Ok(false);
            }
            sleep(LOOK_EVERY.min(time - Instant::now())).await;
        }
    }

    fn with_log(&self, why: &str) -> Failure {
        let process = self.process;
        format!("{process}: {why}; its log ends with\n{}", self.ground.stack().end_of_log(process))
    }
}
