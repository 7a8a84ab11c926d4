//! Random worlds around the core. One case is one world: sagas, services, publishers and people, a
//! script of up to 150 steps in which anything may go wrong, and then a rest in which everything
//! works again. A seed makes the case, always the same one.
//!
//! - [`kinds`]: what lives in a world, and how often what happens.
//! - [`steps`]: all that may happen.
//! - `world`: how it happens, over the desk of [`saga_core::testing`], which compares a warm, a
//!   cold and a reopened core after each input.
//! - `checks`: what must hold. Each checker has a name; a failure says whose finding it is.
//!
//! `planted` holds faults as patches: `deploy/simulate --planted` puts each of them back for a
//! moment and looks whether its checker finds it.

pub mod blame;
mod checks;
mod definitions;
pub mod kinds;
pub mod steps;
mod world;

use blame::Finding;
use kinds::{KINDS, Kind};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::{cell::Cell, fmt};
use steps::Step;
use world::World;

/// Shrinking tries so many other scripts at most, for so long at most: one that is a little longer
/// than it could be is of use as well.
const SHRINKS_MAX: u32 = 4_000;
const SHRINKS_MS_MAX: u32 = 120_000;
/// Batches of at most so many inputs are compared with batches of one.
const BATCH_MAX: usize = 20;

/// A case in which something did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// It makes the same case again.
    pub seed: u64,
    /// The kind of the world.
    pub kind: &'static str,
    /// What was found.
    pub finding: Finding,
    /// The script that shows it, the shortest one that was looked for.
    pub script: Vec<Step>,
}

/// The kind of the world that a seed makes.
pub fn kind_of(seed: u64) -> &'static Kind {
    let number = usize::try_from(seed % KINDS.len() as u64).unwrap_or_default();
    &KINDS[number]
}

/// What becomes of a script in which something does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// It is made as short as the same checker allows.
    Shortened,
    /// It stays as it is: that takes no time.
    AsFound,
}

/// Plays the case of this seed.
///
/// # Errors
/// What does not hold.
pub fn play(seed: u64, script: Script) -> Result<(), Box<Failure>> {
    let kind = kind_of(seed);
    if blame::SWITCHED_OFF.contains(&kind.name) {
        return Ok(());
    }
    let scripts = (steps::scripts(&kind.weights, kind.sizes, kind.steps_max), 1..BATCH_MAX);
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: if script == Script::Shortened { SHRINKS_MAX } else { 0 },
        max_shrink_time: SHRINKS_MS_MAX,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes(seed));
    let first = Cell::new(None);
    let run = TestRunner::new_with_rng(config, rng).run(&scripts, |case| {
        let found = finding(kind, &case);
        match found {
            Some(it) if first.get().is_none_or(|first| first == it.checker) => {
                first.set(Some(it.checker));
                Err(TestCaseError::fail(it.message))
            }
            _ => Ok(()),
        }
    });
    let case = match run {
        Ok(()) => return Ok(()),
        Err(TestError::Fail(_, case)) => case,
        Err(TestError::Abort(why)) => panic!("seed {seed} makes no case: {why}"),
    };
    let finding = finding(kind, &case).expect("what was found is found again");
    Err(Box::new(Failure { seed, kind: kind.name, finding, script: case.0 }))
}

fn finding(kind: &'static Kind, (script, batch): &(Vec<Step>, usize)) -> Option<Finding> {
    blame::found(|| {
        let mut world = World::new(kind);
        for step in script {
            world.does(*step);
        }
        world.deploy(0);
        // By the start of each saga: a late arm is younger than its id tells.
        let sagas = u8::try_from(world.heads().len()).unwrap_or(u8::MAX);
        (0..=sagas).for_each(|which| world.search(3, which));
        checks::at_the_end(&world, *batch);
        world.goes_on_for_an_hour();
        checks::after_an_hour(&world);
        world.comes_to_rest();
        checks::at_rest(&world);
    })
}

fn bytes(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, kind, finding, script } = self;
        writeln!(f, "seed {seed}, a world of the kind {kind}: {}", finding.checker)?;
        writeln!(f, "{} ({})", finding.message.trim(), finding.place)?;
        writeln!(f, "the script, {} steps:", script.len())?;
        for step in script {
            writeln!(f, "  {step:?}")?;
        }
        write!(f, "again: deploy/simulate --seed {seed}")
    }
}
