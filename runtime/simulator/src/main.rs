//! Plays random worlds. `deploy/simulate` builds it and runs it.
#![allow(clippy::print_stdout, reason = "a run is there to be read")]

use simulator::{Failure, Script, kind_of, kinds::KINDS, play};
use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

const USAGE: &str = "usage: simulate [--as-found] [--cases 20000] [--from 0] [--seed N] \
                     [--kind NAME]";
/// After so many cases a line says how far the run is.
const TELL_EVERY: u64 = 1_000;

struct Run {
    /// The seeds of the cases.
    from: u64,
    until: u64,
    kind: Option<String>,
    script: Script,
}

fn read(arguments: &[String]) -> Result<Run, String> {
    let (mut from, mut cases, mut kind) = (0, 20_000, None);
    let mut script = Script::Shortened;
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        if name == "--as-found" {
            script = Script::AsFound;
            continue;
        }
        let value = rest.next().ok_or_else(|| format!("{name} takes a value\n{USAGE}"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} takes a number\n{USAGE}"));
        match name.as_str() {
            "--cases" => cases = number()?,
            "--from" => from = number()?,
            "--seed" => (from, cases) = (number()?, 1),
            "--kind" if KINDS.iter().any(|it| it.name == value) => kind = Some(value.clone()),
            "--kind" => {
                let names: Vec<&str> = KINDS.iter().map(|it| it.name).collect();
                return Err(format!("there is no kind {value}; there are {}", names.join(", ")));
            }
            _ => return Err(format!("there is no option {name}\n{USAGE}")),
        }
    }
    Ok(Run { from, until: from.saturating_add(cases), kind, script })
}

/// Plays until a case fails: the one with the lowest seed of those that were begun.
fn run(run: &Run) -> Option<Failure> {
    let (next, played) = (AtomicU64::new(run.from), AtomicU64::new(0));
    let (stop, failed) = (AtomicBool::new(false), Mutex::new(None::<Failure>));
    let begin = Instant::now();
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if run.until <= seed {
                break;
            }
            if run.kind.as_ref().is_some_and(|it| it != kind_of(seed).name) {
                continue;
            }
            if let Err(failure) = play(seed, run.script) {
                stop.store(true, Ordering::Relaxed);
                let mut failed = failed.lock().unwrap_or_else(|it| it.into_inner());
                if failed.as_ref().is_none_or(|it| seed < it.seed) {
                    *failed = Some(*failure);
                }
            }
            let count = played.fetch_add(1, Ordering::Relaxed) + 1;
            if count.is_multiple_of(TELL_EVERY) {
                println!("{count} cases in {} s", begin.elapsed().as_secs());
            }
        }
    };
    thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, Into::into);
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let count = played.load(Ordering::Relaxed);
    println!("{count} cases in {} s", begin.elapsed().as_secs());
    failed.into_inner().unwrap_or_else(|it| it.into_inner())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = match read(&arguments) {
        Ok(asked) => asked,
        Err(why) => {
            println!("simulate: {why}");
            return ExitCode::from(2);
        }
    };
    match run(&asked) {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            println!("simulate: {failure}");
            ExitCode::FAILURE
        }
    }
}
