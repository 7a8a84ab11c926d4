//! What is done to the runtime, and what is read off.

use super::{
    definitions::{Begin, Delivered, GoOn, OrderBegins, Paid, StepsBegin},
    floor::{self, Floor},
    percentile,
    world::{Used, World},
};
use crate::{Failure, until};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

/// Longer than any load takes on a machine that is worth measuring.
pub(super) const LOAD_WITHIN: Duration = Duration::from_secs(300);
/// Slower than this, a saga is not parked on such a machine.
const PARKED_PER_S_MIN: u32 = 100;

/// Orders, so many at a time.
#[derive(Clone, Copy, Debug)]
pub struct Throughput {
    /// Orders that were completed per second.
    pub sagas_per_s: f64,
    /// From the start event to the last step, in ms.
    pub p50_ms: f64,
    /// The same, one in a hundred is slower.
    pub p99_ms: f64,
    /// Processor time of the runtime for each order, in ms.
    pub cpu_ms: f64,
    /// Durable batches for each order.
    pub batches: f64,
    /// Rows and records written for each order.
    pub rows: f64,
}

/// From an event to the next step that it lets the saga ask for.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// Half are faster, in ms.
    pub p50_ms: f64,
    /// One in a hundred is slower, in ms.
    pub p99_ms: f64,
    /// Durable batches per second while it was measured.
    pub batches_per_s: f64,
}

/// Sagas that wait.
#[derive(Clone, Copy, Debug)]
pub struct Parked {
    /// How many.
    pub sagas: u32,
    /// Sagas that were parked per second.
    pub per_s: f64,
    /// Bytes on the disk for each.
    pub disk_bytes: f64,
    /// Bytes of memory for each.
    pub memory_bytes: f64,
    /// From the start of the process to the next step of one of them, after a SIGKILL.
    pub first_resume_s: f64,
}

/// W1: four calls and two awaited events, so many sagas in flight.
///
/// # Errors
/// The runtime does not keep up at all.
pub async fn orders(
    world: Arc<World>,
    count: u32,
    in_flight: usize,
) -> Result<Throughput, Failure> {
    let tag = format!("w1-{in_flight}");
    let (used, batches, rows, done) =
        (world.used(), batches(&world).await?, rows(&world).await?, completed(&world).await?);
    let room = Arc::new(Semaphore::new(in_flight));
    let (last, mut lasts) = mpsc::unbounded_channel();
    let began = Instant::now();
    let mut running = JoinSet::new();
    let watching = {
        // A saga counts when the runtime says that it has ended; then the next may begin.
        let (world, room) = (world.clone(), room.clone());
        tokio::spawn(async move { watch(&world, &room, done, count).await })
    };
    for number in 0..count {
        room.acquire().await.map_err(|err| err.to_string())?.forget();
        let (world, last, key) = (world.clone(), last.clone(), format!("{tag}-{number}"));
        running.spawn(async move { order(&world, key, &last).await });
    }
    watching.await.map_err(|err| err.to_string())??;
    let seconds = began.elapsed().as_secs_f64();
    while let Some(run) = running.join_next().await {
        run.map_err(|err| err.to_string())??;
    }
    drop(last);
    let mut samples = Vec::new();
    while let Some(ms) = lasts.recv().await {
        samples.push(ms);
    }
    let of_each = |total: f64| total / f64::from(count);
    Ok(Throughput {
        sagas_per_s: f64::from(count) / seconds,
        p50_ms: percentile(&mut samples, 0.5),
        p99_ms: percentile(&mut samples, 0.99),
        cpu_ms: of_each((world.used().cpu_s - used.cpu_s) * 1e3),
        batches: of_each(self::batches(&world).await? - batches),
        rows: of_each(self::rows(&world).await? - rows),
    })
}

async fn watch(world: &World, room: &Semaphore, before: f64, count: u32) -> Result<(), Failure> {
    let (mut seen, end) = (before, before + f64::from(count));
    let deadline = Instant::now() + LOAD_WITHIN;
    while seen < end {
        if deadline < Instant::now() {
            return Err(format!("{} of {count} sagas were completed", seen - before));
        }
        tokio::time::sleep(world.look_every()).await;
        let now = completed(world).await?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count that only grows"
        )]
        room.add_permits((now - seen) as usize);
        seen = now;
    }
    Ok(())
}

async fn order(
    world: &World,
    key: String,
    last: &mpsc::UnboundedSender<f64>,
) -> Result<(), Failure> {
    let began = Instant::now();
    let [second, third, fourth] = [2, 3, 4].map(|it| world.expect(&key, it));
    let begin = Begin { key: key.clone(), steps: 4 };
    world.publish(OrderBegins::SUBJECT, format!("{key}/begin"), &begin).await?;
    asked(second).await?;
    let go_on = GoOn { key: key.clone() };
    world.publish(Paid::SUBJECT, format!("{key}/paid"), &go_on).await?;
    asked(third).await?;
    world.publish(Delivered::SUBJECT, format!("{key}/delivered"), &go_on).await?;
    let at = asked(fourth).await?;
    // Nobody counts after the load has ended.
    let _ = last.send(at.duration_since(began).as_secs_f64() * 1e3);
    Ok(())
}

/// Orders at a steady pace; each event comes `gap` after the step before it.
///
/// # Errors
/// The runtime does not keep up at all.
pub async fn latency(
    world: Arc<World>,
    per_second: u32,
    seconds: u32,
    gap: Duration,
) -> Result<Latency, Failure> {
    let before = (batches(&world).await?, Instant::now());
    let (sample, mut samples) = mpsc::unbounded_channel();
    let mut running = JoinSet::new();
    let pause = Duration::from_secs(1) / per_second;
    let began = tokio::time::Instant::now();
    for number in 0..per_second * seconds {
        tokio::time::sleep_until(began + pause * number).await;
        let (world, sample) = (world.clone(), sample.clone());
        let key = format!("latency-{}-{number}", gap.as_millis());
        running.spawn(async move { resumed(&world, key, gap, &sample).await });
    }
    while let Some(run) = running.join_next().await {
        run.map_err(|err| err.to_string())??;
    }
    drop(sample);
    let mut all = Vec::new();
    while let Some(ms) = samples.recv().await {
        all.push(ms);
    }
    let batches = batches(&world).await? - before.0;
    Ok(Latency {
        p50_ms: percentile(&mut all, 0.5),
        p99_ms: percentile(&mut all, 0.99),
        batches_per_s: batches / before.1.elapsed().as_secs_f64(),
    })
}

/// The disk alone, at this pace.
///
/// # Errors
/// The disk does not take it.
pub async fn floor(dir: &Path, per_second: u32, seconds: u32) -> Result<Floor, Failure> {
    let dir = dir.to_owned();
    let floor = tokio::task::spawn_blocking(move || floor::measure(&dir, per_second, seconds));
    let floor = floor.await.map_err(|err| err.to_string())?;
    floor.map_err(|err| format!("failed to measure the disk: {err}"))
}

async fn resumed(
    world: &World,
    key: String,
    gap: Duration,
    sample: &mpsc::UnboundedSender<f64>,
) -> Result<(), Failure> {
    let begin = Begin { key: key.clone(), steps: 4 };
    let [second, third, fourth] = [2, 3, 4].map(|it| world.expect(&key, it));
    world.publish(OrderBegins::SUBJECT, format!("{key}/begin"), &begin).await?;
    asked(second).await?;
    let go_on = GoOn { key: key.clone() };
    for (subject, next) in [(Paid::SUBJECT, third), (Delivered::SUBJECT, fourth)] {
        tokio::time::sleep(gap).await;
        let sent = Instant::now();
        world.publish(subject, format!("{key}/{subject}"), &go_on).await?;
        let at = asked(next).await?;
        // Nobody counts after the load has ended.
        let _ = sample.send(at.duration_since(sent).as_secs_f64() * 1e3);
    }
    Ok(())
}

/// W2: so many sagas that wait, a SIGKILL, and the first that goes on.
///
/// # Errors
/// The runtime does not come back.
pub async fn parked(mut world: World, sagas: u32) -> Result<Parked, Failure> {
    let (disk, used) = (world.disk_bytes(), world.used());
    let began = Instant::now();
    for number in 0..sagas {
        let key = format!("parked-{number}");
        let begin = Begin { key: key.clone(), steps: 4 };
        world.publish(OrderBegins::SUBJECT, format!("{key}/begin"), &begin).await?;
    }
    let within = LOAD_WITHIN + Duration::from_secs((sagas / PARKED_PER_S_MIN).into());
    until("all sagas wait", within, || async {
        let waiting = world.metric("saga_changes", &["bench-order", "\"waiting\""]).await?;
        if waiting < f64::from(sagas) { Err(format!("{waiting} wait")) } else { Ok(()) }
    })
    .await?;
    let per_s = f64::from(sagas) / began.elapsed().as_secs_f64();
    let Used { rss_bytes, .. } = world.used();
    let disk_bytes = world.disk_bytes().saturating_sub(disk);
    world.kill_runtime()?;
    let began = Instant::now();
    world.start_runtime()?;
    let key = format!("parked-{}", sagas / 2);
    let next = world.expect(&key, 3);
    world.publish(Paid::SUBJECT, format!("{key}/paid"), &GoOn { key: key.clone() }).await?;
    let at = asked(next).await?;
    #[expect(clippy::cast_precision_loss, reason = "bytes of one machine")]
    let of_each = |total: u64| total as f64 / f64::from(sagas);
    Ok(Parked {
        sagas,
        per_s,
        disk_bytes: of_each(disk_bytes),
        memory_bytes: of_each(rss_bytes.saturating_sub(used.rss_bytes)),
        first_resume_s: at.duration_since(began).as_secs_f64(),
    })
}

/// W3: one saga with so many calls, one after the other. Gives steps per second.
///
/// # Errors
/// The runtime does not keep up at all.
pub async fn steps(world: &World, count: u32) -> Result<f64, Failure> {
    let key = format!("steps-{count}");
    let (first, last) = (world.expect(&key, 1), world.expect(&key, count));
    let begin = Begin { key: key.clone(), steps: count };
    world.publish(StepsBegin::SUBJECT, format!("{key}/begin"), &begin).await?;
    let (first, last) = (asked(first).await?, asked(last).await?);
    Ok(f64::from(count - 1) / last.duration_since(first).as_secs_f64())
}

pub(super) async fn asked(
    step: tokio::sync::oneshot::Receiver<Instant>,
) -> Result<Instant, Failure> {
    let asked = tokio::time::timeout(LOAD_WITHIN, step).await;
    asked.map_err(|_| "a step was never asked for".to_owned())?.map_err(|err| err.to_string())
}

async fn completed(world: &World) -> Result<f64, Failure> {
    world.metric("saga_changes", &["bench-order", "\"completed\""]).await
}

async fn batches(world: &World) -> Result<f64, Failure> {
    world.metric("engine_batches", &[]).await
}

async fn rows(world: &World) -> Result<f64, Failure> {
    world.metric("store_rows", &[]).await
}
