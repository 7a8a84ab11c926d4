//! Who is killed how and when: all of it follows from the seed.

use crate::chance::Chance;
use std::{collections::VecDeque, fmt, time::Duration};

/// The runtime's process.
pub const RUNTIME: &str = "fermata";
/// The broker's.
pub const BROKER: &str = "nats-server";
/// What is killed. The sandbox is the world outside, and stays.
pub const VICTIMS: [&str; 7] =
    [RUNTIME, BROKER, "order", "payment", "warehouse", "delivery", "notification"];

/// A kill comes so long after the process was ready at most: long enough to get something done,
/// short enough to be in the middle of it.
const AFTER_READY_MAX: Duration = Duration::from_secs(3);
/// And so long after some people were stirred to act, so that it finds sagas at work.
const AFTER_STIR_MAX: Duration = Duration::from_millis(150);
/// Or so long after a start that is not to be finished.
const AFTER_START_MAX: Duration = Duration::from_millis(400);
/// One kill at a random moment in so many comes while the process starts.
const AT_START_ONE_IN: u64 = 4;

/// A named point, and the highest passage of it that is worth waiting for.
type Point = (&'static str, u64);

/// The points of the runtime.
const RUNTIME_POINTS: [Point; 4] = [
    ("engine.before-append", 40),
    ("acks.before-ack", 4),
    ("engine.after-flush", 40),
    ("acks.before-receipt", 4),
];
/// Those around a commit, which every service has.
const COMMIT_POINTS: [Point; 2] = [("owner.before-commit", 8), ("owner.after-commit", 8)];
/// Between the effect at a provider and the note of it.
const EFFECT: Point = ("owner.before-finish", 3);
/// The same for a refund, which few orders have.
const REFUND: Point = ("refund.before-finish", 1);
/// Between outbox and receipt.
const RECEIPT: Point = ("relay.before-receipt", 3);

/// How large a run is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Orders in all, at least.
    pub orders: usize,
    /// Sagas that must be open for a kill to count.
    pub open_min: usize,
    /// Kills of the runtime.
    pub runtime: usize,
    /// Kills of each service.
    pub service: usize,
    /// Kills of the broker.
    pub broker: usize,
}

/// When a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So long after it was ready some people are stirred to act, and so long after that it is
    /// killed.
    Ready(Duration, Duration),
    /// So long after its start, ready or not.
    Start(Duration),
    /// By itself, when it passes this point for the nth time since its start.
    Point(&'static str, u64),
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::Ready(stir, kill) => {
                write!(f, "{} ms after it was ready", (*stir + *kill).as_millis())
            }
            Moment::Start(after) => write!(f, "{} ms after its start", after.as_millis()),
            Moment::Point(name, passage) => write!(f, "at {name}, passage {passage}"),
        }
    }
}

/// One kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// When.
    pub moment: Moment,
    /// Not before the runtime was killed so often, so that the kills of all are spread alike.
    pub runtime_kills_before: usize,
}

/// The kills of one process, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Who.
    pub process: &'static str,
    /// How and when.
    pub kills: VecDeque<Kill>,
}

/// The plan of a seed.
pub fn plan(seed: u64, size: &Size) -> Vec<Lane> {
    let lane = |(number, process): (u64, &'static str)| {
        let mut chance = Chance::fork(seed, number);
        let count = match process {
            RUNTIME => size.runtime,
            BROKER => size.broker,
            _ => size.service,
        };
        Lane { process, kills: kills(process, count, size.runtime, &mut chance) }
    };
    (1..).zip(VICTIMS).map(lane).collect()
}

/// Every second kill is at a point. A process has to be started for it, so it follows upon a kill
/// at a random moment, and only that one waits for its time.
fn kills(
    process: &'static str,
    count: usize,
    runtime_kills: usize,
    chance: &mut Chance,
) -> VecDeque<Kill> {
    let points = points(process);
    let mut next_point = 0;
    let mut gate = 0;
    let kill = |number: usize| {
        let has_point = number % 2 == 1 && !points.is_empty();
        if process != RUNTIME && !has_point {
            // The time of the runtime's kills is cut into equal parts, one for each kill.
            let part = runtime_kills * number / count.max(1);
            let width = (runtime_kills / count.max(1)).max(1) as u64;
            gate = part + usize::try_from(chance.below(width)).unwrap_or_default();
        }
        let moment = if has_point {
            let (name, passage_max) = points[next_point % points.len()];
            next_point += 1;
            Moment::Point(name, 1 + chance.below(passage_max))
        } else if number > 0 && process == RUNTIME && chance.below(AT_START_ONE_IN) == 0 {
            Moment::Start(chance.up_to(AFTER_START_MAX))
        } else {
            Moment::Ready(chance.up_to(AFTER_READY_MAX), chance.up_to(AFTER_STIR_MAX))
        };
        Kill { moment, runtime_kills_before: gate }
    };
    (0..count).map(kill).collect()
}

/// The points that a process passes.
fn points(process: &str) -> Vec<Point> {
    let of_service = |more: &[Point]| [more, &COMMIT_POINTS].concat();
    match process {
        RUNTIME => RUNTIME_POINTS.to_vec(),
        "order" => of_service(&[RECEIPT]),
        "payment" => of_service(&[EFFECT, REFUND, RECEIPT]),
        "delivery" => of_service(&[EFFECT, RECEIPT]),
        "notification" => of_service(&[EFFECT]),
        "warehouse" => of_service(&[]),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SIZE: Size = Size { orders: 500, open_min: 100, runtime: 100, service: 20, broker: 10 };

    #[test]
    fn a_seed_gives_one_plan_and_another_seed_another() {
        assert_eq!(plan(7, &SIZE), plan(7, &SIZE));
        assert_ne!(plan(7, &SIZE), plan(8, &SIZE));
    }

    #[test]
    fn each_process_is_killed_as_often_as_was_asked_for() {
        for Lane { process, kills } in plan(7, &SIZE) {
            let expected = match process {
                RUNTIME => 100,
                BROKER => 10,
                _ => 20,
            };
            assert_eq!(kills.len(), expected, "{process}");
            assert!(kills.iter().all(|it| it.runtime_kills_before <= SIZE.runtime), "{process}");
            let wanted: BTreeSet<_> = points(process).into_iter().map(|it| it.0).collect();
            let named = kills.iter().filter_map(|it| match it.moment {
                Moment::Point(name, _) => Some(name),
                _ => None,
            });
            assert_eq!(named.collect::<BTreeSet<_>>(), wanted, "{process}: every point is there");
        }
    }

    #[test]
    fn a_kill_at_a_point_waits_for_nothing_but_the_point() {
        for Lane { process, kills } in plan(7, &SIZE) {
            let before = kills.iter().zip(kills.iter().skip(1));
            for (first, then) in before.filter(|it| matches!(it.1.moment, Moment::Point(..))) {
                assert_eq!(first.runtime_kills_before, then.runtime_kills_before, "{process}");
            }
        }
    }
}
