//! What a flood of one definition does to another one that shares no event with it.

use super::{
    definitions::{Begin, GoOn, LightBegins, LightGoesOn, OrderBegins, Paid},
    loads::{LOAD_WITHIN, asked},
    percentile,
    world::World,
};
use crate::{Failure, until};
use async_nats::jetstream::context::PublishAckFuture;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// How often somebody who sends at a pace sends something.
const POUR_EVERY: Duration = Duration::from_millis(10);

/// How the light definition fared, alone and beside two floods.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    /// With nothing else to do.
    pub alone: Fared,
    /// Beside a flood that comes faster than it is handled, from somebody who sends at a pace.
    pub paced: Flooded,
    /// Beside one that is sent as fast as the broker takes it. On a machine of few cores that is
    /// work for all of them, which the runtime has no say in.
    pub burst: Flooded,
    /// The largest memory of the runtime meanwhile, in bytes.
    pub rss_bytes: u64,
}

/// How it fared beside one flood.
#[derive(Clone, Copy, Debug)]
pub struct Flooded {
    /// Events that it sent while the flood was sent.
    pub sent: Fared,
    /// Events that it sent from then on until the last one of the flood was handled.
    pub worked_off: Fared,
    /// How long the flood was sent, in s.
    pub sent_s: f64,
    /// How long it took from its first event until the last one was handled, in s.
    pub handled_s: f64,
}

/// From an event to the next step that it lets the saga ask for.
#[derive(Clone, Copy, Debug)]
pub struct Fared {
    /// Events that were measured.
    pub events: usize,
    /// Half are faster, in ms.
    pub p50_ms: f64,
    /// One in a hundred is slower, in ms; of less than a hundred this is the slowest.
    pub p99_ms: f64,
    /// How long it took until the publisher knew that the broker had it: half, in ms. Of that the
    /// runtime knows nothing, as the broker takes what is published first before it gives it out.
    pub taken_p50_ms: f64,
    /// The same, of one in a hundred.
    pub taken_p99_ms: f64,
}

impl Fared {
    fn of(all: &[Sample]) -> Fared {
        let mut in_all: Vec<f64> = all.iter().map(|it| it.ms).collect();
        let mut taken: Vec<f64> = all.iter().map(|it| it.taken_ms).collect();
        Fared {
            events: all.len(),
            p50_ms: percentile(&mut in_all, 0.5),
            p99_ms: percentile(&mut in_all, 0.99),
            taken_p50_ms: percentile(&mut taken, 0.5),
            taken_p99_ms: percentile(&mut taken, 0.99),
        }
    }
}

/// An event.
#[derive(Clone, Copy, Debug)]
struct Sample {
    sent: Instant,
    /// Until the broker had it.
    taken_ms: f64,
    /// Until the next step was asked for.
    ms: f64,
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Light sagas per second.
    pub light_per_s: u32,
    /// For how long they are alone.
    pub alone_s: u32,
    /// Events of each flood.
    pub events: u32,
    /// How many of them the paced one sends in a second.
    pub events_per_s: u32,
}

/// A light definition at this pace, alone, and then beside two floods, one after the other: half of
/// each starts orders, and half wakes orders that wait.
///
/// # Errors
/// The runtime does not keep up at all.
pub async fn flood(world: Arc<World>, size: Size) -> Result<Beside, Failure> {
    let half = size.events / 2;
    for tag in ["paced", "burst"] {
        begin(&world, tag, half).await?;
    }
    until_waiting(&world, f64::from(half) * 2.0).await?;
    let light = Light::begin(&world, "alone", size.light_per_s);
    tokio::time::sleep(Duration::from_secs(size.alone_s.into())).await;
    let alone = Fared::of(&light.end().await?);
    let mut rss_bytes = 0;
    let pace = Some(size.events_per_s);
    let paced = beside(&world, "paced", size, pace, &mut rss_bytes).await?;
    let burst = beside(&world, "burst", size, None, &mut rss_bytes).await?;
    Ok(Beside { alone, paced, burst, rss_bytes })
}

async fn beside(
    world: &Arc<World>,
    tag: &'static str,
    size: Size,
    pace: Option<u32>,
    rss_bytes: &mut u64,
) -> Result<Flooded, Failure> {
    let half = size.events / 2;
    let (before, waits) = (waiting(world).await?, f64::from(half) * 2.0);
    let light = Light::begin(world, tag, size.light_per_s);
    let began = Instant::now();
    let pouring = {
        let world = world.clone();
        tokio::spawn(async move { pour(&world, tag, half, pace).await.map(|()| Instant::now()) })
    };
    // Those that are woken wait once more, those that are started for the first time.
    while waiting(world).await? < before + waits {
        if LOAD_WITHIN < began.elapsed() {
            return Err("the flood was not handled".to_owned());
        }
        *rss_bytes = world.used().rss_bytes.max(*rss_bytes);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let handled_s = began.elapsed().as_secs_f64();
    let poured = pouring.await.map_err(|err| err.to_string())??;
    let (sent, after): (Vec<Sample>, _) =
        light.end().await?.into_iter().partition(|it| it.sent <= poured);
    let sent_s = poured.duration_since(began).as_secs_f64();
    Ok(Flooded { sent: Fared::of(&sent), worked_off: Fared::of(&after), sent_s, handled_s })
}

async fn begin(world: &World, tag: &str, count: u32) -> Result<(), Failure> {
    for number in 0..count {
        let key = format!("{tag}-{number}");
        let begin = Begin { key: key.clone(), steps: 4 };
        world.publish(OrderBegins::SUBJECT, format!("{key}/begin"), &begin).await?;
    }
    Ok(())
}

/// So many events in a second, or as fast as the broker takes them.
async fn pour(world: &World, tag: &str, half: u32, pace: Option<u32>) -> Result<(), Failure> {
    let publisher = world.publisher().await?;
    let mut ticks = tokio::time::interval(POUR_EVERY);
    let at_once = pace.map(|it| (f64::from(it) / 2.0 * POUR_EVERY.as_secs_f64()).ceil());
    for number in 0..half {
        if at_once.is_some_and(|it| f64::from(number) % it == 0.0) {
            ticks.tick().await;
        }
        let key = format!("{tag}-started-{number}");
        let begin = Begin { key: key.clone(), steps: 4 };
        publisher.publish(OrderBegins::SUBJECT, format!("{key}/begin"), &begin).await?;
        let key = format!("{tag}-{number}");
        let go_on = GoOn { key: key.clone() };
        publisher.publish(Paid::SUBJECT, format!("{key}/paid"), &go_on).await?;
    }
    publisher.flush().await
}

async fn until_waiting(world: &World, sagas: f64) -> Result<(), Failure> {
    until("the orders wait", LOAD_WITHIN, || async {
        let waiting = waiting(world).await?;
        if waiting < sagas { Err(format!("{waiting} wait")) } else { Ok(()) }
    })
    .await
}

/// How often an order has come to a wait.
async fn waiting(world: &World) -> Result<f64, Failure> {
    world.metric("saga_changes", &["bench-order", "\"waiting\""]).await
}

/// Light sagas, one after the other at a pace, until it is ended.
struct Light {
    end: watch::Sender<bool>,
    running: JoinHandle<Result<Vec<Sample>, Failure>>,
}

impl Light {
    fn begin(world: &Arc<World>, tag: &'static str, per_second: u32) -> Light {
        let (end, ended) = watch::channel(false);
        Light { end, running: tokio::spawn(paced(world.clone(), tag, per_second, ended)) }
    }

    /// Waits for those that have begun.
    async fn end(self) -> Result<Vec<Sample>, Failure> {
        self.end.send_replace(true);
        self.running.await.map_err(|err| err.to_string())?
    }
}

async fn paced(
    world: Arc<World>,
    tag: &'static str,
    per_second: u32,
    mut ended: watch::Receiver<bool>,
) -> Result<Vec<Sample>, Failure> {
    let mut running = JoinSet::new();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / per_second);
    for number in 0_u32.. {
        tokio::select! {
            _ = pace.tick() => (),
            ended = ended.wait_for(|it| *it) => {
                ended.map_err(|err| err.to_string())?;
                break;
            }
        }
        let (world, key) = (world.clone(), format!("light-{tag}-{number}"));
        running.spawn(async move { light(&world, key).await });
    }
    let mut all = Vec::new();
    while let Some(run) = running.join_next().await {
        all.extend(run.map_err(|err| err.to_string())??);
    }
    Ok(all)
}

/// Both of its events count: the one that starts it, and the one that lets it go on.
async fn light(world: &World, key: String) -> Result<[Sample; 2], Failure> {
    let [first, second] = [1, 2].map(|it| world.expect(&key, it));
    let begin = Begin { key: key.clone(), steps: 2 };
    let go_on = GoOn { key: key.clone() };
    let began = sample(async |sent| {
        let taken = world.publish(LightBegins::SUBJECT, format!("{key}/begin"), &begin).await?;
        tokio::try_join!(since(sent, taken), asked(first))
    });
    let began = began.await?;
    let went_on = sample(async |sent| {
        let taken = world.publish(LightGoesOn::SUBJECT, format!("{key}/goes-on"), &go_on).await?;
        tokio::try_join!(since(sent, taken), asked(second))
    });
    Ok([began, went_on.await?])
}

async fn sample(
    run: impl AsyncFnOnce(Instant) -> Result<(f64, Instant), Failure>,
) -> Result<Sample, Failure> {
    let sent = Instant::now();
    let (taken_ms, asked) = run(sent).await?;
    Ok(Sample { sent, taken_ms, ms: asked.duration_since(sent).as_secs_f64() * 1e3 })
}

/// How long until the broker says that it has the event, in ms.
async fn since(sent: Instant, taken: PublishAckFuture) -> Result<f64, Failure> {
    taken.await.map_err(|err| err.to_string())?;
    Ok(sent.elapsed().as_secs_f64() * 1e3)
}
