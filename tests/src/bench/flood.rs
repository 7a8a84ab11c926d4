//! What a flood of one definition does to another one that shares no event with it.

use super::{
    definitions::{Begin, GoOn, LightBegins, LightGoesOn, OrderBegins, Paid},
    loads::{LOAD_WITHIN, asked},
    percentile,
    world::World,
};
use crate::{Failure, until};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

/// How the light definition fared, alone and beside the flood.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    /// With nothing else to do.
    pub alone: Fared,
    /// From the first event of the flood until the last one was handled.
    pub beside: Fared,
    /// How long that took, in s.
    pub flood_s: f64,
    /// The largest memory of the runtime meanwhile, in bytes.
    pub rss_bytes: u64,
}

/// From an event to the next step that it lets the saga ask for.
#[derive(Clone, Copy, Debug)]
pub struct Fared {
    /// Events that were measured.
    pub events: usize,
    /// Half are faster, in ms.
    pub p50_ms: f64,
    /// One in a hundred is slower, in ms.
    pub p99_ms: f64,
}

/// A light definition at this pace, for so many seconds alone, and then beside a flood: half of it
/// starts orders, and half wakes orders that wait.
///
/// # Errors
/// The runtime does not keep up at all.
pub async fn flood(
    world: Arc<World>,
    per_second: u32,
    alone_s: u32,
    events: u32,
) -> Result<Beside, Failure> {
    let half = events / 2;
    begin(&world, "woken", half).await?;
    until_waiting(&world, half.into()).await?;
    let (end, ended) = watch::channel(false);
    let alone = tokio::spawn(paced(world.clone(), "alone", per_second, ended));
    tokio::time::sleep(Duration::from_secs(alone_s.into())).await;
    end.send_replace(true);
    let alone = alone.await.map_err(|err| err.to_string())??;

    let (end, ended) = watch::channel(false);
    let beside = tokio::spawn(paced(world.clone(), "beside", per_second, ended));
    let began = Instant::now();
    let pouring = {
        let world = world.clone();
        tokio::spawn(async move { pour(&world, half).await })
    };
    // Those that are woken wait once more, those that are started for the first time.
    let mut rss_bytes = 0;
    let waits = f64::from(half) * 3.0;
    while waiting(&world).await? < waits {
        if LOAD_WITHIN < began.elapsed() {
            return Err("the flood was not handled".to_owned());
        }
        rss_bytes = world.used().rss_bytes.max(rss_bytes);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let flood_s = began.elapsed().as_secs_f64();
    end.send_replace(true);
    pouring.await.map_err(|err| err.to_string())??;
    let beside = beside.await.map_err(|err| err.to_string())??;
    Ok(Beside { alone, beside, flood_s, rss_bytes })
}

async fn begin(world: &World, tag: &str, count: u32) -> Result<(), Failure> {
    for number in 0..count {
        let key = format!("{tag}-{number}");
        let begin = Begin { key: key.clone(), steps: 4 };
        world.publish(OrderBegins::SUBJECT, format!("{key}/begin"), &begin).await?;
    }
    Ok(())
}

/// As fast as the broker takes it.
async fn pour(world: &World, half: u32) -> Result<(), Failure> {
    let publisher = world.publisher().await?;
    for number in 0..half {
        let key = format!("started-{number}");
        let begin = Begin { key: key.clone(), steps: 4 };
        publisher.publish(OrderBegins::SUBJECT, format!("{key}/begin"), &begin).await?;
        let key = format!("woken-{number}");
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

async fn paced(
    world: Arc<World>,
    tag: &'static str,
    per_second: u32,
    mut ended: watch::Receiver<bool>,
) -> Result<Fared, Failure> {
    let (sample, mut samples) = mpsc::unbounded_channel();
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
        let (world, sample) = (world.clone(), sample.clone());
        let key = format!("light-{tag}-{number}");
        running.spawn(async move { light(&world, key, &sample).await });
    }
    while let Some(run) = running.join_next().await {
        run.map_err(|err| err.to_string())??;
    }
    drop(sample);
    let mut all = Vec::new();
    while let Some(ms) = samples.recv().await {
        all.push(ms);
    }
    Ok(Fared {
        events: all.len(),
        p50_ms: percentile(&mut all, 0.5),
        p99_ms: percentile(&mut all, 0.99),
    })
}

/// Both of its events count: the one that starts it, and the one that lets it go on.
async fn light(
    world: &World,
    key: String,
    sample: &mpsc::UnboundedSender<f64>,
) -> Result<(), Failure> {
    let [first, second] = [1, 2].map(|it| world.expect(&key, it));
    let begin = Begin { key: key.clone(), steps: 2 };
    let go_on = GoOn { key: key.clone() };
    let sent = Instant::now();
    world.publish(LightBegins::SUBJECT, format!("{key}/begin"), &begin).await?;
    let began = asked(first).await?.duration_since(sent);
    let sent = Instant::now();
    world.publish(LightGoesOn::SUBJECT, format!("{key}/goes-on"), &go_on).await?;
    let went_on = asked(second).await?.duration_since(sent);
    for it in [began, went_on] {
        // Nobody counts after the load has ended.
        let _ = sample.send(it.as_secs_f64() * 1e3);
    }
    Ok(())
}
