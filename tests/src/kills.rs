//! Orders of all ways in flight, while processes are killed as by a power cut: at random moments,
//! while they start, and at points that the processes name themselves. In the end the audit says
//! whether anything was lost, or done twice.
//!
//! - [`plan`]: who is killed how and when, from a seed.
//! - [`crowd`]: the orders; enough of them are under way at any time.
//! - [`lane`]: one process, killed and started again as planned. All lanes run side by side.
//! - [`census`]: how many sagas are open, and where they stand.

pub mod census;
pub mod crowd;
pub mod lane;
pub mod plan;

use crate::{
    Failure,
    audit::{SKU, check},
    client::Api,
    scenarios::{Manners, Scenario, Way},
    stack::Stack,
    until,
};
use census::Watch;
use crowd::Crowd;
use lane::{Done, Ground};
use plan::{Moment, Size, VICTIMS};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet, time::interval};

/// How often orders are placed and looked after.
const TEND_EVERY: Duration = Duration::from_millis(100);
/// After the last order has ended: for mails, receipts and refunds to be written down.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// An order that makes no step for so long beyond its deadlines is stuck.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// From which all follows.
    pub seed: u64,
    /// How much of everything.
    pub size: Size,
    /// How long people take.
    pub manners: Manners,
    /// How long a saga waits for an approval or a payment. Nobody who acts at all may miss it, so
    /// it is longer than anybody thinks, and than the processes are away.
    pub deadline: Duration,
}

impl Run {
    /// The form of the suite: a minute or two.
    pub fn short(seed: u64) -> Run {
        let size = Size { orders: 60, open_min: 10, runtime: 10, service: 2, broker: 2 };
        let (think_max, late) = (Duration::from_secs(8), Duration::from_secs(25));
        let manners = Manners { think_max, stirred_one_in: 4, late };
        Run { seed, size, manners, deadline: Duration::from_secs(50) }
    }

    /// The form that takes its time.
    pub fn long(seed: u64, size: Size) -> Run {
        let (think_max, late) = (Duration::from_secs(90), Duration::from_secs(60));
        let manners = Manners { think_max, stirred_one_in: 20, late };
        Run { seed, size, manners, deadline: Duration::from_secs(200) }
    }

    /// Does it; `say` is given what a person wants to read. Data lie below `parent`, and stay there
    /// after a failure.
    ///
    /// # Errors
    /// Something was lost, done twice, or does not come to an end. The message has the seed.
    pub async fn run(&self, parent: &Path, say: Say) -> Result<(), Failure> {
        let ms = self.deadline.as_millis().to_string();
        let settings = [
            ("PROCESS_ORDER_APPROVAL_MS", ms.as_str()),
            ("PROCESS_ORDER_PAYMENT_MS", ms.as_str()),
            ("PROCESS_ORDER_DELIVERY_MS", "86400000"),
        ];
        let stack = Stack::start_below(parent, &settings).await?;
        let api = stack.api().clone();
        let stack = Arc::new(Mutex::new(stack));
        let res = self.kill_all(&stack, &api, say).await;
        res.map_err(|why| {
            let mut stack = stack.lock().unwrap_or_else(PoisonError::into_inner);
            format!("seed {}: {why}\nlogs and data: {}", self.seed, stack.keep().display())
        })
    }

    async fn kill_all(
        &self,
        stack: &Arc<Mutex<Stack>>,
        api: &Api,
        say: Say,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let patient = api.clone().with_patience(self.deadline + PATIENCE);
        let spool = stack.lock().map_err(|err| err.to_string())?.spool();
        let shelf = api.stock(SKU).await?;
        let watch = Watch::start(api.clone(), shelf);
        let lanes = plan::plan(self.seed, &self.size);
        let kills: usize = lanes.iter().map(|it| it.kills.len()).sum();
        self.say_plan(&lanes, &say);
        let dead: Arc<Mutex<Vec<Done>>> = Arc::default();
        let (noted, loud) = (Arc::clone(&dead), Arc::clone(&say));
        let on_kill = move |done: &Done| {
            let mut dead = noted.lock().unwrap_or_else(PoisonError::into_inner);
            dead.push(*done);
            let counted = dead.iter().filter(|it| it.counts).count();
            loud(&told(done, counted, kills, began.elapsed()));
        };
        let mut crowd = Crowd::new(patient, self.size, self.manners, self.seed);
        let ground = Arc::new(Ground {
            stack: Arc::clone(stack),
            api: api.clone(),
            census: watch.census.clone(),
            runtime_kills: watch::channel(0).0,
            open_min: self.size.open_min,
            stir: Box::new(crowd.stirrer()),
            on_kill: Box::new(on_kill),
        });
        let mut running = JoinSet::new();
        for lane in lanes {
            running.spawn(lane::run(Arc::clone(&ground), lane));
        }
        let mut tend = interval(TEND_EVERY);
        while !running.is_empty() {
            tokio::select! {
                _ = tend.tick() => {
                    let done = dead.lock().unwrap_or_else(PoisonError::into_inner).len();
                    crowd.fill(done, kills);
                    crowd.take_ended()?;
                    well(&watch)?;
                }
                Some(ended) = running.join_next() => ended.map_err(|err| err.to_string())??,
            }
        }
        let placed = crowd.placed();
        say(&format!("{placed} orders are placed; the last of them go on without a kill"));
        let ways = crowd.finish().await?;
        well(&watch)?;
        until("nothing is lost or done twice", SETTLED_WITHIN, || async {
            check(api, &spool, shelf, &ways).await
        })
        .await?;
        let dead = dead.lock().unwrap_or_else(PoisonError::into_inner);
        self.sum_up(&dead, &ways, began.elapsed(), &say)
    }

    fn say_plan(&self, lanes: &[plan::Lane], say: &Say) {
        let Size { orders, open_min, .. } = self.size;
        say(&format!(
            "seed {}: {orders} orders; a kill counts with {open_min} sagas open; the plan:",
            self.seed
        ));
        for lane in lanes {
            let mut line = format!("  {} {}:", lane.process, lane.kills.len());
            for kill in &lane.kills {
                let moment = match kill.moment {
                    Moment::Ready(stir, kill) => {
                        format!("ready+{}+{}ms", stir.as_millis(), kill.as_millis())
                    }
                    Moment::Start(after) => format!("start+{}ms", after.as_millis()),
                    Moment::Point(name, passage) => format!("{name}:{passage}"),
                };
                // Writing into a string does not fail.
                let _written = write!(line, " {moment}");
            }
            say(&line);
        }
    }

    /// Says what was done; fails when it was not what was planned.
    fn sum_up(
        &self,
        dead: &[Done],
        ways: &[Way],
        took: Duration,
        say: &Say,
    ) -> Result<(), Failure> {
        let counted: Vec<&Done> = dead.iter().filter(|it| it.counts).collect();
        for process in VICTIMS {
            let of: Vec<_> = counted.iter().filter(|it| it.process == process).collect();
            let mut points: BTreeMap<&str, usize> = BTreeMap::new();
            for done in of.iter().filter(|it| !it.is_from_outside) {
                if let Moment::Point(name, _) = done.moment {
                    *points.entry(name).or_default() += 1;
                }
            }
            let named: Vec<_> =
                points.iter().map(|(name, count)| format!("{count} {name}")).collect();
            let at_points: usize = points.values().sum();
            let named =
                if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
            say(&format!("{process}: {} kills, {at_points} at named points{named}", of.len()));
            let is_wanted = of.iter().any(|it| matches!(it.moment, Moment::Point(..)));
            if is_wanted && at_points == 0 {
                return Err(format!("{process} has not died at any of its points"));
            }
        }
        let mut open: Vec<usize> = counted.iter().map(|it| it.census.open()).collect();
        open.sort_unstable();
        let mut at_work: Vec<usize> = counted.iter().map(|it| it.census.at_work()).collect();
        at_work.sort_unstable();
        let (middle, last) = (open.len() / 2, open.len().saturating_sub(1));
        say(&format!(
            "{} kills count, {} do not; sagas open at a kill: {} to {}, median {}; of them \
             at work: median {}, most {}",
            counted.len(),
            dead.len() - counted.len(),
            open[0],
            open[last],
            open[middle],
            at_work[middle],
            at_work[last],
        ));
        let mut by_way: BTreeMap<Scenario, usize> = BTreeMap::new();
        for way in ways {
            *by_way.entry(way.scenario).or_default() += 1;
        }
        let by_way: Vec<_> = by_way.iter().map(|it| format!("{} {}", it.1, it.0.name())).collect();
        say(&format!("{} orders: {}", ways.len(), by_way.join(", ")));
        say(&format!(
            "seed {}: every saga ended as it should; nothing was lost or done twice; {} s",
            self.seed,
            took.as_secs()
        ));
        Ok(())
    }
}

/// Is given lines for people.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

fn well(watch: &Watch) -> Result<(), Failure> {
    match watch.fault.borrow().as_deref() {
        Some(fault) => Err(fault.to_owned()),
        None => Ok(()),
    }
}

fn told(done: &Done, counted: usize, kills: usize, at: Duration) -> String {
    let Done { process, moment, is_from_outside, census, counts } = done;
    let how = if *is_from_outside { ", which it did not pass: killed from outside" } else { "" };
    let which = match counts {
        true => format!("kill {counted} of {kills}"),
        false => "does not count".to_owned(),
    };
    format!("{:6.1}s {which}: {process} {moment}{how}; {census}", at.as_secs_f64())
}
