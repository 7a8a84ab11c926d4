//! `bench [w1|w2|w3|orders|flood|budget …] [--json] [--parked SAGAS] [--brief]`: prints what the
//! runtime does on this machine. It asserts nothing: a figure means something beside the others of
//! the same run. `--brief` makes every load so small that its figures mean nothing: it shows that
//! all runs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark is there to be read")]

use serde_json::{Map, Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};
use system_tests::{
    Failure, asked_to_stop,
    bench::{
        budget::{self, Share},
        flood::{self, Beside, Fared, Flooded},
        floor::Floor,
        loads::{self, Latency, Throughput},
        world::World,
    },
    client::Api,
    scenarios::{Pace, Scenario},
    stack::{Stack, root},
};
use tokio::task::JoinSet;

/// What there is to measure; the last one only when it is asked for, as it needs instruments.
const LOADS: [&str; 6] = ["w1", "w2", "w3", "orders", "flood", "budget"];
/// Sagas per second under which latency is measured.
const PACE: u32 = 50;
/// Light sagas per second, alone and beside a flood.
const LIGHT_PACE: u32 = 30;
/// Events per second of a flood that is sent at a pace: far more than are handled.
const FLOOD_PACE: u32 = 4_000;
/// Of a batch: sled's file, and the sidecar that witnesses it.
const FSYNCS: f64 = 2.0;
/// Real orders at a time.
const ORDERS_IN_FLIGHT: usize = 50;

/// Functions shown of a count.
const SHARES: usize = 40;

/// How large the loads are.
#[derive(Clone, Copy)]
struct Sizes {
    /// Orders of one throughput figure; enough for some seconds.
    w1_sagas: u32,
    /// Sagas that wait.
    parked: u32,
    /// Calls of one saga.
    steps: u32,
    /// For how long latency is measured.
    pace_s: u32,
    /// For how long the disk alone is measured.
    floor_s: u32,
    /// Real orders through all services.
    orders: u32,
    /// Events of one definition at once.
    flood: u32,
    /// Sagas under each instrument.
    counted: u32,
}

const FULL: Sizes = Sizes {
    w1_sagas: 5_000,
    parked: 20_000,
    steps: 1_000,
    pace_s: 20,
    floor_s: 5,
    orders: 600,
    flood: 20_000,
    counted: 500,
};
const BRIEF: Sizes = Sizes {
    w1_sagas: 20,
    parked: 20,
    steps: 10,
    pace_s: 1,
    floor_s: 1,
    orders: 2,
    flood: 20,
    counted: 20,
};

struct Bench {
    dir: PathBuf,
    sizes: Sizes,
    is_json: bool,
    out: Map<String, Value>,
}

/// What was asked for.
struct Asked {
    loads: Vec<String>,
    sizes: Sizes,
    is_json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let asked = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("bench: {why}");
            return ExitCode::from(2);
        }
    };
    let is_json = asked.is_json;
    let ran = tokio::select! {
        ran = run(root().join("target/bench"), asked) => ran,
        stopped = asked_to_stop() => stopped.and(Err("stopped".to_owned())),
    };
    match ran {
        Ok(out) => {
            if is_json {
                println!("{}", Value::Object(out));
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn asked(mut args: impl Iterator<Item = String>) -> Result<Asked, Failure> {
    let (mut loads, mut sizes, mut parked, mut is_json) = (Vec::new(), FULL, None, false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => is_json = true,
            "--brief" => sizes = BRIEF,
            "--parked" => {
                let count = args.next().and_then(|it| it.parse().ok()).filter(|it| *it > 0);
                parked = Some(count.ok_or("--parked needs a number of sagas, such as 100000")?);
            }
            name if LOADS.contains(&name) => loads.push(arg),
            other => return Err(format!("there is no load {other}: {}", LOADS.join(", "))),
        }
    }
    if loads.is_empty() {
        loads = LOADS[..LOADS.len() - 1].iter().map(|it| (*it).to_owned()).collect();
    }
    sizes.parked = parked.unwrap_or(sizes.parked);
    Ok(Asked { loads, sizes, is_json })
}

async fn run(dir: PathBuf, asked: Asked) -> Result<Map<String, Value>, Failure> {
    std::fs::create_dir_all(&dir).map_err(|err| format!("{}: {err}", dir.display()))?;
    let file_system = file_system(&dir)?;
    if file_system == "tmpfs" || file_system == "ramfs" {
        return Err(format!(
            "{} is on {file_system}, which never waits for a disk: check the project out on one",
            dir.display()
        ));
    }
    let Asked { loads, sizes, is_json } = asked;
    let mut bench = Bench { dir, sizes, is_json, out: Map::new() };
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    bench.say(&format!("profile {profile}, file system {file_system}, {} cores", cores()));
    bench.out.insert("profile".into(), profile.into());
    bench.out.insert("fileSystem".into(), file_system.into());
    bench.out.insert("cores".into(), cores().into());
    for load in loads {
        match load.as_str() {
            "w1" => bench.w1().await?,
            "w2" => bench.w2().await?,
            "w3" => bench.w3().await?,
            "orders" => bench.orders().await?,
            "flood" => bench.flood().await?,
            _ => bench.budget().await?,
        }
    }
    Ok(bench.out)
}

impl Bench {
    fn say(&self, line: &str) {
        if self.is_json {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
    }

    async fn w1(&mut self) -> Result<(), Failure> {
        let mut figures = Map::new();
        for in_flight in [200, 500] {
            let world = Arc::new(World::start(&self.dir, &[]).await?);
            let it = loads::orders(world, self.sizes.w1_sagas, in_flight).await?;
            let Throughput { sagas_per_s, p50_ms, p99_ms, cpu_ms, batches, rows } = it;
            let pace = per_second(batches * sagas_per_s);
            let floor = loads::floor(&self.dir, pace, self.sizes.floor_s).await?;
            self.say(&format!(
                "w1, {in_flight} in flight: {sagas_per_s:.0} sagas/s; start to last step p50 \
                 {p50_ms:.0} ms, p99 {p99_ms:.0} ms; {}; for each saga {cpu_ms:.2} ms of the \
                 runtime's CPU, {:.3} fsyncs, {rows:.1} records and rows",
                told(floor),
                batches * FSYNCS
            ));
            let figure = json!({ "sagas_per_s": round(sagas_per_s), "p50_ms": round(p50_ms),
                "p99_ms": round(p99_ms), "floor_p50_ms": round(floor.p50_ms),
                "floor_p99_ms": round(floor.p99_ms), "cpu_ms_per_saga": round(cpu_ms),
                "fsyncs_per_saga": round(batches * FSYNCS), "rows_per_saga": round(rows) });
            figures.insert(format!("c{in_flight}"), figure);
        }
        let hot = self.latency("hot", &[], Duration::from_millis(20)).await?;
        figures.insert("latency50".to_owned(), hot);
        let evicted = [("FERMATA_FUTURES_MAX", "0")];
        let evicted = self.latency("evicted", &evicted, Duration::from_millis(20)).await?;
        figures.insert("latency50_evicted".to_owned(), evicted);
        self.out.insert("w1".to_owned(), figures.into());
        Ok(())
    }

    async fn latency(
        &self,
        name: &str,
        settings: &[(&str, &str)],
        gap: Duration,
    ) -> Result<Value, Failure> {
        let world = Arc::new(World::start(&self.dir, settings).await?);
        let it = loads::latency(world, PACE, self.sizes.pace_s, gap).await?;
        let Latency { p50_ms, p99_ms, batches_per_s } = it;
        let pace = per_second(batches_per_s);
        let floor = loads::floor(&self.dir, pace, self.sizes.floor_s).await?;
        self.say(&format!(
            "resume at {PACE} sagas/s, {name}: p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms; {}",
            told(floor)
        ));
        Ok(json!({ "p50_ms": round(p50_ms), "p99_ms": round(p99_ms),
            "floor_p50_ms": round(floor.p50_ms), "floor_p99_ms": round(floor.p99_ms) }))
    }

    async fn w2(&mut self) -> Result<(), Failure> {
        let it = loads::parked(World::start(&self.dir, &[]).await?, self.sizes.parked).await?;
        self.say(&format!(
            "w2, {} parked sagas: {:.0} parked/s; {:.0} bytes on disk and {:.0} bytes of memory \
             each; first step {:.2} s after a SIGKILL and a start",
            it.sagas, it.per_s, it.disk_bytes, it.memory_bytes, it.first_resume_s
        ));
        self.out.insert(
            "w2".to_owned(),
            json!({ "sagas": it.sagas, "parked_per_s": round(it.per_s),
                "disk_bytes_per_saga": round(it.disk_bytes),
                "memory_bytes_per_saga": round(it.memory_bytes),
                "first_resume_s": round(it.first_resume_s) }),
        );
        Ok(())
    }

    async fn w3(&mut self) -> Result<(), Failure> {
        let world = World::start(&self.dir, &[]).await?;
        let steps = self.sizes.steps;
        let steps_per_s = loads::steps(&world, steps).await?;
        self.say(&format!("w3, {steps} calls one after the other: {steps_per_s:.0} steps/s"));
        self.out.insert("w3".to_owned(), json!({ "steps_per_s": round(steps_per_s) }));
        Ok(())
    }

    async fn flood(&mut self) -> Result<(), Failure> {
        let world = Arc::new(World::start(&self.dir, &[]).await?);
        let Sizes { flood: events, pace_s: alone_s, .. } = self.sizes;
        let (light_per_s, events_per_s) = (LIGHT_PACE, FLOOD_PACE);
        let size = flood::Size { light_per_s, alone_s, events, events_per_s };
        let Beside { alone, paced, burst, rss_bytes } = flood::flood(world, size).await?;
        self.say(&format!(
            "flood: a light saga's event to its next step, {LIGHT_PACE} sagas/s, alone p50 {:.2} \
             ms, p99 {:.2} ms; at most {} MiB of memory",
            alone.p50_ms,
            alone.p99_ms,
            rss_bytes >> 20
        ));
        let figure = |it: Fared| {
            json!({ "events": it.events, "p50_ms": round(it.p50_ms), "p99_ms": round(it.p99_ms),
                "p50_ratio": round(it.p50_ms / alone.p50_ms),
                "p99_ratio": round(it.p99_ms / alone.p99_ms),
                "taken_p50_ms": round(it.taken_p50_ms), "taken_p99_ms": round(it.taken_p99_ms) })
        };
        let mut figures = Map::new();
        figures.insert("alone".to_owned(), figure(alone));
        for (name, it) in [("paced", paced), ("burst", burst)] {
            let Flooded { sent, worked_off, sent_s, handled_s } = it;
            self.say(&format!(
                "beside {events} events of another definition, {name}, handled in {handled_s:.1} \
                 s: sent for {sent_s:.1} s, meanwhile {}; then {}",
                beside(sent, alone),
                beside(worked_off, alone)
            ));
            let figure = json!({ "sent": figure(sent), "worked_off": figure(worked_off),
                "sent_s": round(sent_s), "handled_s": round(handled_s) });
            figures.insert(name.to_owned(), figure);
        }
        figures.insert("events".to_owned(), events.into());
        figures.insert("rss_bytes".to_owned(), rss_bytes.into());
        self.out.insert("flood".to_owned(), figures.into());
        Ok(())
    }

    /// Counts, not times: the one load whose figures a busy machine does not change.
    async fn budget(&mut self) -> Result<(), Failure> {
        let (count, mut figures) = (self.sizes.counted, Map::new());
        for (name, load) in [("saga", budget::ORDERS), ("plain_turn", budget::STEPS)] {
            let (written, cost) = (load.written(count)?, budget::cost(&self.dir, load, count)?);
            self.say(&format!(
                "budget of a {name}: {:.0} instructions, {:.0} allocations of {:.0} bytes in all; \
                 {count} of them wrote {}",
                cost.instructions,
                cost.allocations,
                cost.allocated_bytes,
                json!(written)
            ));
            let shares = budget::shares(&self.dir, load, SHARES)?;
            for Share { function, percent } in &shares {
                self.say(&format!("{percent:6.2} %  {function}"));
            }
            let figure = json!({ "cost": cost, "count": count, "written": written,
                "shares": shares });
            figures.insert(name.to_owned(), figure);
        }
        figures.insert("growth".to_owned(), self.growth(count)?);
        let (instructions, shares) = budget::process(&self.dir, count, 200, SHARES).await?;
        self.say(&format!("the whole runtime: {instructions:.0} instructions for each saga"));
        for Share { function, percent } in &shares {
            self.say(&format!("{percent:6.2} %  {function}"));
        }
        let figure = json!({ "instructions_per_saga": instructions, "shares": shares });
        figures.insert("runtime".to_owned(), figure);
        let world = Arc::new(World::start(&self.dir, &[]).await?);
        let calls = budget::syscalls(&self.dir, world, count, 200).await?;
        let mut sorted: Vec<(&String, &f64)> = calls.iter().collect();
        sorted.sort_by(|a, b| b.1.total_cmp(a.1));
        for (name, calls) in sorted {
            self.say(&format!("{calls:8.3} {name} for each saga"));
        }
        figures.insert("syscalls_per_saga".to_owned(), json!(calls));
        self.out.insert("budget".to_owned(), figures.into());
        Ok(())
    }

    /// What twice as much costs: about 2 where each costs the same, 4 where each costs as much as
    /// there are.
    fn growth(&self, count: u32) -> Result<Value, Failure> {
        let mut figures = Map::new();
        for load in budget::SHAPES {
            let growth = budget::growth(&self.dir, load, count)?;
            let (once, twice) = (load.written(count)?, load.written(count * 2)?);
            self.say(&format!(
                "{count} and twice as many {}: {growth:.2} times the instructions; {} and {} rows \
                 read, {} and {} written, {} and {} journals read, {} and {} entries at once",
                load.what,
                once.rows_read,
                twice.rows_read,
                once.rows,
                twice.rows,
                once.journals_read,
                twice.journals_read,
                once.entries_at_once,
                twice.entries_at_once
            ));
            let figure = json!({ "instructions": round(growth), "once": once, "twice": twice });
            figures.insert(load.name.to_owned(), figure);
        }
        Ok(figures.into())
    }

    /// The order saga with all its services, each with its own store.
    async fn orders(&mut self) -> Result<(), Failure> {
        let stack = Stack::start_below(&self.dir, &[("FERMATA_LOG", "warn")]).await?;
        let began = Instant::now();
        let (mut running, mut left) = (JoinSet::new(), self.sizes.orders);
        while left > 0 || !running.is_empty() {
            while left > 0 && running.len() < ORDERS_IN_FLIGHT {
                left -= 1;
                running.spawn(real_order(stack.api().clone()));
            }
            if let Some(run) = running.join_next().await {
                run.map_err(|err| err.to_string())??;
            }
        }
        let per_s = f64::from(self.sizes.orders) / began.elapsed().as_secs_f64();
        self.say(&format!(
            "process-order through all services, {ORDERS_IN_FLIGHT} at a time: {per_s:.0} orders/s"
        ));
        self.out.insert("process_order".to_owned(), json!({ "orders_per_s": round(per_s) }));
        Ok(())
    }
}

async fn real_order(api: Api) -> Result<(), Failure> {
    let order_id = Scenario::DuplicateWebhooks.place(&api).await?;
    Scenario::WebhookBeforeWait.play(&api, &order_id, &mut Pace::at_once()).await.map(|_| ())
}

/// How it is told that something took longer than alone.
fn beside(it: Fared, alone: Fared) -> String {
    let (p50, p99) = (it.p50_ms / alone.p50_ms, it.p99_ms / alone.p99_ms);
    let Fared { events, p50_ms, p99_ms, taken_p50_ms, taken_p99_ms } = it;
    format!(
        "p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, {p50:.2} and {p99:.2} times as long ({events} of \
         its events, which the broker had after {taken_p50_ms:.2} and {taken_p99_ms:.2} ms)"
    )
}

/// How a floor is told beside a latency.
fn told(floor: Floor) -> String {
    let Floor { p50_ms, p99_ms } = floor;
    format!("one fdatasync at the pace of its batches p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundreds")]
fn per_second(batches: f64) -> u32 {
    batches.max(1.0) as u32
}

/// Three digits behind the point say more than any figure here is worth.
fn round(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn file_system(dir: &Path) -> Result<String, Failure> {
    let said = Command::new("df").arg("--output=fstype").arg(dir).output();
    let said = said.map_err(|err| format!("failed to run df: {err}"))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    // Below a heading.
    said.lines().nth(1).map(|it| it.trim().to_owned()).ok_or_else(|| format!("df says: {said}"))
}
