//! `bench [w1|w2|w3|orders …] [--json]`: prints what the runtime does on this machine. It asserts
//! nothing: a figure means something beside the others of the same run.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark is there to be read")]

use serde_json::{Map, Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};
use system_tests::{
    Failure,
    bench::{
        loads::{self, Latency, Throughput},
        world::World,
    },
    client::Api,
    scenarios::{Pace, Scenario},
    stack::{Stack, root},
};
use tokio::task::JoinSet;

/// Orders of one throughput figure; enough for some seconds.
const W1_SAGAS: u32 = 5_000;
const W2_SAGAS: u32 = 20_000;
const W3_STEPS: u32 = 1_000;
/// Sagas per second under which latency is measured, and for how long.
const PACE: u32 = 50;
const PACE_S: u32 = 20;
/// Real orders through all services, and how many at a time.
const ORDERS: u32 = 600;
const ORDERS_IN_FLIGHT: usize = 50;

struct Bench {
    dir: PathBuf,
    is_json: bool,
    out: Map<String, Value>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_json = wanted.iter().any(|it| it == "--json");
    wanted.retain(|it| it != "--json");
    let known = ["w1", "w2", "w3", "orders"];
    if let Some(other) = wanted.iter().find(|it| !known.contains(&it.as_str())) {
        eprintln!("bench: there is no load {other}: w1, w2, w3, orders");
        return ExitCode::from(2);
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|it| it == name);
    let dir = root().join("target/bench");
    match run(dir, is_json, is_wanted).await {
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

async fn run(
    dir: PathBuf,
    is_json: bool,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Map<String, Value>, Failure> {
    std::fs::create_dir_all(&dir).map_err(|err| format!("{}: {err}", dir.display()))?;
    let file_system = file_system(&dir)?;
    if file_system == "tmpfs" || file_system == "ramfs" {
        return Err(format!(
            "{} is on {file_system}, which has no disk to wait for",
            dir.display()
        ));
    }
    let mut bench = Bench { dir, is_json, out: Map::new() };
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    bench.say(&format!("profile {profile}, file system {file_system}, {} cores", cores()));
    bench.out.insert("profile".into(), profile.into());
    bench.out.insert("fileSystem".into(), file_system.into());
    if is_wanted("w1") {
        bench.w1().await?;
    }
    if is_wanted("w2") {
        bench.w2().await?;
    }
    if is_wanted("w3") {
        bench.w3().await?;
    }
    if is_wanted("orders") {
        bench.orders().await?;
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
            let it = loads::orders(world, W1_SAGAS, in_flight).await?;
            let Throughput { sagas_per_s, p50_ms, p99_ms, cpu_ms, batches, rows } = it;
            self.say(&format!(
                "w1, {in_flight} in flight: {sagas_per_s:.0} sagas/s; start to last step p50 \
                 {p50_ms:.0} ms, p99 {p99_ms:.0} ms; for each saga {cpu_ms:.2} ms of the \
                 runtime's CPU, {batches:.3} batches of 2 fsyncs, {rows:.1} records and rows"
            ));
            let figure = json!({ "sagas_per_s": round(sagas_per_s), "p50_ms": round(p50_ms),
                "p99_ms": round(p99_ms), "cpu_ms_per_saga": round(cpu_ms),
                "fsyncs_per_saga": round(batches * 2.0), "rows_per_saga": round(rows) });
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
        let Latency { p50_ms, p99_ms, floor } =
            loads::latency(world, PACE, PACE_S, gap, &self.dir).await?;
        self.say(&format!(
            "resume at {PACE} sagas/s, {name}: p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms; one \
             fdatasync at that pace p50 {:.2} ms, p99 {:.2} ms",
            floor.p50_ms, floor.p99_ms
        ));
        Ok(json!({ "p50_ms": round(p50_ms), "p99_ms": round(p99_ms),
            "floor_p50_ms": round(floor.p50_ms), "floor_p99_ms": round(floor.p99_ms) }))
    }

    async fn w2(&mut self) -> Result<(), Failure> {
        let it = loads::parked(World::start(&self.dir, &[]).await?, W2_SAGAS).await?;
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
        let steps_per_s = loads::steps(&world, W3_STEPS).await?;
        self.say(&format!("w3, {W3_STEPS} calls one after the other: {steps_per_s:.0} steps/s"));
        self.out.insert("w3".to_owned(), json!({ "steps_per_s": round(steps_per_s) }));
        Ok(())
    }

    /// The order saga with all its services, each with its own store.
    async fn orders(&mut self) -> Result<(), Failure> {
        let stack = Stack::start(&[("FERMATA_LOG", "warn")]).await?;
        let began = Instant::now();
        let (mut running, mut left) = (JoinSet::new(), ORDERS);
        while left > 0 || !running.is_empty() {
            while left > 0 && running.len() < ORDERS_IN_FLIGHT {
                left -= 1;
                running.spawn(real_order(stack.api().clone()));
            }
            if let Some(run) = running.join_next().await {
                run.map_err(|err| err.to_string())??;
            }
        }
        let per_s = f64::from(ORDERS) / began.elapsed().as_secs_f64();
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

/// Three digits behind the point say more than any figure here is worth.
fn round(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn file_system(dir: &Path) -> Result<String, Failure> {
    let said = Command::new("stat").args(["-f", "-c", "%T"]).arg(dir).output();
    let said = said.map_err(|err| format!("failed to run stat: {err}"))?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}
