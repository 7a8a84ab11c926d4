//! What a turn and a saga cost, counted by instruments: valgrind over the core alone, strace over
//! the real runtime. What is counted does not depend on how busy the machine is.

use super::{
    alone::{self, Written},
    loads, shapes,
    world::World,
};
use crate::{Failure, stack::binary};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs::read_to_string,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};

/// What one more saga, or one more turn, costs the core.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Instructions, by callgrind.
    pub instructions: f64,
    /// Blocks of memory that were asked for, by dhat.
    pub allocations: f64,
    /// Their bytes.
    pub allocated_bytes: f64,
}

/// A function of the core, and how much of all instructions lies in it and what it calls.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// Its name, as the compiler left it.
    pub function: String,
    /// Of a hundred.
    pub percent: f64,
}

/// What is run under the instruments.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Its name, as `bench-core` knows it.
    pub name: &'static str,
    /// What it is, with a number before it.
    pub what: &'static str,
    run: fn(u32) -> Result<Written, Failure>,
}

/// Sagas of four calls and two awaited events.
pub const ORDERS: Load = Load {
    name: "orders",
    what: "sagas of four calls and two awaited events",
    run: |count| alone::orders(count, alone::IN_FLIGHT),
};

/// Calls of one saga, one after the other: plain turns.
pub const STEPS: Load =
    Load { name: "steps", what: "calls of a saga, one after the other", run: shapes::steps };

/// Shapes in which there is much of something.
pub const SHAPES: [Load; 10] = [
    STEPS,
    Load { name: "fan", what: "calls of a saga beside each other", run: shapes::fan },
    Load { name: "keys", what: "keys that a saga waits for in turn", run: shapes::keys },
    Load { name: "repeats", what: "repeats of an answer", run: shapes::repeats },
    Load { name: "wake", what: "entries of a saga that has to be read", run: shapes::wake },
    Load { name: "busy", what: "calls of a saga beside parked ones", run: shapes::busy },
    Load { name: "lane", what: "sagas that hold on one lane", run: shapes::lane },
    Load { name: "copies", what: "sagas that get a copy of one event", run: shapes::copies },
    Load { name: "start", what: "sagas that owe something at a start", run: shapes::start },
    Load { name: "lists", what: "lists of a few among many", run: shapes::lists },
];

impl Load {
    /// The load of this name.
    pub fn named(name: &str) -> Option<Load> {
        [ORDERS].into_iter().chain(SHAPES).find(|it| it.name == name)
    }

    /// Runs it, and says what it gives to the store.
    ///
    /// # Errors
    /// It does not come to its end.
    pub fn written(self, count: u32) -> Result<Written, Failure> {
        (self.run)(count)
    }
}

/// The cost of one more: the difference between a load and one of twice its size, so that starting
/// and stopping do not count.
///
/// # Errors
/// There is no valgrind, or the load does not end.
pub fn cost(dir: &Path, load: Load, count: u32) -> Result<Cost, Failure> {
    let [once, twice] = [count, count * 2];
    let of_each = |few: f64, many: f64| (many - few) / f64::from(count);
    let few = (instructions(dir, load, once)?, allocations(dir, load, once)?);
    let many = (instructions(dir, load, twice)?, allocations(dir, load, twice)?);
    Ok(Cost {
        instructions: of_each(few.0, many.0),
        allocations: of_each(few.1.0, many.1.0),
        allocated_bytes: of_each(few.1.1, many.1.1),
    })
}

/// How a load grows: twice as much costs so many times the instructions of once. What starting
/// costs is not counted.
///
/// # Errors
/// There is no valgrind, or the load does not end.
pub fn growth(dir: &Path, load: Load, count: u32) -> Result<f64, Failure> {
    let start = instructions(dir, load, 1)?;
    let (once, twice) = (instructions(dir, load, count)?, instructions(dir, load, count * 2)?);
    Ok((twice - start) / (once - start))
}

fn instructions(dir: &Path, load: Load, count: u32) -> Result<f64, Failure> {
    let file = format!("--callgrind-out-file={}", callgrind_file(dir, load.name).display());
    let told = valgrind(&["--tool=callgrind", &file], load, count)?;
    collected(&told)
}

fn collected(told: &str) -> Result<f64, Failure> {
    number_behind(told, "Collected :", 1).ok_or_else(|| format!("no count in: {told}"))
}

/// Blocks and bytes.
fn allocations(dir: &Path, load: Load, count: u32) -> Result<(f64, f64), Failure> {
    let file = format!("--dhat-out-file={}", dir.join("dhat.out").display());
    let told = valgrind(&["--tool=dhat", &file], load, count)?;
    let (bytes, blocks) = (number_behind(&told, "Total:", 1), number_behind(&told, "Total:", 4));
    blocks.zip(bytes).ok_or_else(|| format!("no count in: {told}"))
}

fn callgrind_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("callgrind.{name}.out"))
}

fn valgrind(tool: &[&str], load: Load, count: u32) -> Result<String, Failure> {
    let mut command = Command::new("valgrind");
    command.args(tool).arg(binary("bench-core")?).args([load.name, &count.to_string()]);
    let output = run(&mut command, "valgrind")?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The word so far behind this one, as a number.
fn number_behind(text: &str, word: &str, behind: usize) -> Option<f64> {
    let line = text.lines().find(|it| it.contains(word))?;
    let rest = line.split_once(word)?.1;
    rest.split_whitespace().nth(behind - 1)?.replace(',', "").parse().ok()
}

/// The functions of these crates in which most instructions of the last count lie, with what they
/// call; the first ones contain the others.
///
/// # Errors
/// There is no valgrind, or nothing was counted yet.
pub fn shares(dir: &Path, load: Load, most: usize) -> Result<Vec<Share>, Failure> {
    shares_of(&callgrind_file(dir, load.name), most)
}

fn shares_of(file: &Path, most: usize) -> Result<Vec<Share>, Failure> {
    let mut command = Command::new("callgrind_annotate");
    command.args(["--inclusive=yes", "--threshold=100"]).arg(file);
    let output = run(&mut command, "valgrind")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut shares: Vec<Share> = Vec::new();
    for share in text.lines().filter_map(share) {
        // A function that was inlined stands under each file that has a part of it.
        if !shares.iter().any(|it| it.function == share.function) {
            shares.push(share);
        }
    }
    shares.truncate(most);
    Ok(shares)
}

/// A line is `instructions (percent%) file:function [object]`.
fn share(line: &str) -> Option<Share> {
    const CRATES: [&str; 8] = [
        "saga_core::",
        "saga_host::",
        "chassis::",
        "sled::",
        "async_nats::",
        "tokio::",
        "sha2::",
        "serde_json::",
    ];
    let (_, rest) = line.split_once('(')?;
    let (percent, rest) = rest.split_once("%)")?;
    let function = rest.trim().split_once(':')?.1;
    let function = function.split(" [").next()?.to_owned();
    let is_ours = CRATES.iter().any(|it| function.contains(it));
    let percent = percent.trim().parse().ok()?;
    is_ours.then_some(Share { function, percent })
}

/// Instructions of the real runtime for each saga of a load, all threads, and where they lie. Its
/// start is not counted, its end is.
///
/// # Errors
/// There is no valgrind, or the load does not end.
pub async fn process(
    dir: &Path,
    sagas: u32,
    in_flight: usize,
    most: usize,
) -> Result<(f64, Vec<Share>), Failure> {
    let out = callgrind_file(dir, "runtime");
    let file = format!("--callgrind-out-file={}", out.display());
    let world = World::start_under(dir, &[], &["valgrind", "--tool=callgrind", &file]).await?;
    let world = Arc::new(world);
    let mut zero = Command::new("callgrind_control");
    run(zero.args(["--zero", &world.runtime_pid().to_string()]), "valgrind")?;
    loads::orders(world.clone(), sagas, in_flight).await?;
    let mut world = Arc::into_inner(world).ok_or("somebody still uses the world")?;
    let instructions = collected(&world.stop_runtime()?)?;
    Ok((instructions / f64::from(sagas), shares_of(&out, most)?))
}

/// System calls of the real runtime, all threads, for each saga of a load: name → calls.
///
/// # Errors
/// There is no strace, or it may not look at other processes.
pub async fn syscalls(
    dir: &Path,
    world: Arc<World>,
    sagas: u32,
    in_flight: usize,
) -> Result<BTreeMap<String, f64>, Failure> {
    let table = dir.join("strace.out");
    let strace = Strace::attach(world.runtime_pid(), &table)?;
    loads::orders(world, sagas, in_flight).await?;
    strace.end()?;
    let text = read_to_string(&table).map_err(|err| format!("{}: {err}", table.display()))?;
    Ok(calls(&text).map(|(name, calls)| (name, calls / f64::from(sagas))).collect())
}

/// Lines are `% time, seconds, usecs/call, calls, errors or nothing, syscall`.
fn calls(table: &str) -> impl Iterator<Item = (String, f64)> {
    table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (name, calls) = (fields.last()?, fields.get(3)?.parse().ok()?);
        (*name != "total" && fields.len() >= 5).then(|| ((*name).to_owned(), calls))
    })
}

/// A look at a process that runs.
struct Strace(Child);

impl Strace {
    fn attach(pid: u32, table: &Path) -> Result<Strace, Failure> {
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o"]).arg(table).args(["-p", &pid.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|err| missing("strace", &err))?;
        let mut said = String::new();
        if let Some(stderr) = child.stderr.take() {
            // It says that it is attached, or why not.
            BufReader::new(stderr).read_line(&mut said).map_err(|err| err.to_string())?;
        }
        let strace = Strace(child);
        if said.contains("attached") {
            return Ok(strace);
        }
        Err(format!("strace cannot look at the runtime: {}; run as root", said.trim()))
    }

    fn end(mut self) -> Result<(), Failure> {
        run(Command::new("kill").args(["-INT", &self.0.id().to_string()]), "procps")?;
        self.0.wait().map(drop).map_err(|err| err.to_string())
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command, package: &str) -> Result<Output, Failure> {
    let output = command.output().map_err(|err| missing(package, &err))?;
    if output.status.success() {
        return Ok(output);
    }
    let name = command.get_program().to_string_lossy().into_owned();
    Err(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn missing(package: &str, err: &std::io::Error) -> Failure {
    format!("the budget needs {package}: {err}; install it (sudo apt install {package})")
}
