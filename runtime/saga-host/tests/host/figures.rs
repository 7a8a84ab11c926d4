//! What a saga costs, printed and never judged: `cargo test -p saga-host figures -- --nocapture`.

use crate::world::World;
use std::time::Instant;

#[tokio::test]
async fn figures_of_a_burst_are_printed() {
    const SAGAS: usize = 300;
    let world = World::with_runtime().await;
    let _services = world.services().await;
    let names = ["fermata_engine_batches_total", "fermata_engine_inputs_total"];
    let seconds = "fermata_engine_commit_seconds_sum";
    let before = [world.metric(names[0]).await, world.metric(names[1]).await];
    let (seconds_before, io_before) = (world.metric(seconds).await, world.io());
    let began = Instant::now();
    let orders: Vec<String> = (0..SAGAS).map(|it| format!("o{it}")).collect();
    futures::future::join_all(orders.iter().map(|it| world.order(it))).await;
    futures::future::join_all(orders.iter().map(|it| world.pay(it))).await;
    let completed = async |it: &World| {
        let page = it.get("/api/sagas?status=completed&limit=1").await;
        let open = it.get("/api/sagas?status=waiting&limit=1").await["items"][0].is_null();
        page["items"][0].is_object() && open && it.metric("fermata_calls_open").await == 0.0
    };
    world.until("all are shipped", completed).await;
    let took = began.elapsed().as_secs_f64();
    let sagas = SAGAS as f64;
    let batches = world.metric(names[0]).await - before[0];
    let inputs = world.metric(names[1]).await - before[1];
    let commit_ms = (world.metric(seconds).await - seconds_before) / batches * 1000.0;
    let written = world
        .io()
        .into_iter()
        .zip(io_before)
        .map(|((name, now), (_, was))| format!("{name} {:.1}", (now - was) as f64 / sagas));
    let written: Vec<String> = written.collect();
    eprintln!(
        "{SAGAS} sagas in {took:.2} s ({:.0}/s); per saga: {:.1} inputs, {:.2} batches (one fsync \
         of the store and one of the sidecar each), {}; a commit takes {commit_ms:.2} ms and makes \
         {:.1} inputs durable; {} of {} requests were sent again",
        sagas / took,
        inputs / sagas,
        batches / sagas,
        written.join(", "),
        inputs / batches,
        world.metric("fermata_requests_repeated_total").await,
        world.metric("fermata_requests_sent_total").await,
    );
}

#[tokio::test]
async fn figures_of_a_single_event_are_printed() {
    const SAGAS: usize = 100;
    let world = World::with_runtime().await;
    let [_reserve, _release, mut ship] = world.services().await;
    let orders: Vec<String> = (0..SAGAS).map(|it| format!("o{it}")).collect();
    futures::future::join_all(orders.iter().map(|it| world.order(it))).await;
    let waiting = async |it: &World| {
        let page = it.get("/api/sagas?status=waiting&limit=200").await;
        page["items"].as_array().is_some_and(|it| it.len() == SAGAS)
    };
    world.until("all wait", waiting).await;
    let mut took_ms = Vec::new();
    for order in &orders {
        let began = Instant::now();
        world.pay(order).await;
        ship.heard().await;
        took_ms.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    took_ms.sort_by(f64::total_cmp);
    eprintln!(
        "from the publish of an event to the call that follows it, one at a time, broker and fsync \
         included: p50 {:.2} ms, p99 {:.2} ms",
        took_ms[SAGAS / 2],
        took_ms[SAGAS - 2]
    );
}
