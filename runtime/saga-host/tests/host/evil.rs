//! Author code that blocks the engine's thread or overflows its stack, beside sagas that do not.

use crate::world::{OPERATOR, World};
use saga_core::{
    abort::Abort,
    ctx::Ctx,
    message::Event,
    saga::{Declared, Saga, event, events},
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Set for a build in which the code is mended.
const MENDED: &str = "EVIL_MENDED";
/// The exit status that the watchdog gives.
const EXIT_BLOCKED: i32 = 75;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evil {
    name: String,
    kind: Kind,
    /// Whether a call is answered before.
    #[serde(default)]
    late: bool,
    #[serde(default, deserialize_with = "never")]
    unreadable: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Block,
    Overflow,
    /// Comes back after four seconds.
    Slow,
    None,
}

impl Event for Evil {
    const SUBJECTS: &'static [&'static str] = &["orders.trigger.evil"];
    const KEY: &'static str = "/name";
}

fn is_mended() -> bool {
    std::env::var_os(MENDED).is_some()
}

/// An author's type whose reading never ends.
fn never<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<u64>::deserialize(value)?;
    if number.is_some() && !is_mended() {
        block();
    }
    Ok(number)
}

fn block() {
    loop {
        std::thread::park();
    }
}

fn slow() {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        std::thread::park_timeout(Duration::from_secs(1));
    }
}

fn deep(level: u64) -> u64 {
    let room = [level; 64];
    if level == 0 { 0 } else { black_box(room)[1] + deep(level - 1) }
}

pub struct Evils;

impl Saga for Evils {
    const NAME: &'static str = "evils";
    type Input = Evil;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        events([event::<Evil>().starts()])
    }

    async fn run(ctx: Ctx, it: Evil) -> Result<(), Abort> {
        if it.late {
            ctx.call(crate::demo::Reserve { order_id: it.name.clone() }).await?;
        }
        match it.kind {
            _ if is_mended() => (),
            Kind::Block => block(),
            Kind::Overflow => assert!(deep(black_box(100_000_000)) == 0),
            Kind::Slow => slow(),
            Kind::None => (),
        }
        Ok(())
    }
}

async fn evil(world: &World, name: &str, more: Value) {
    let mut body = json!({ "name": name, "kind": "none" });
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    let headers = [("Nats-Msg-Id", name)];
    world.publish("orders.trigger.evil", &headers, &body.to_string()).await;
}

/// Starts the runtime again whenever it has ended, until it is so; gives how often that was, and
/// how often the watchdog ended it.
async fn supervised(world: &mut World, so: impl AsyncFn(&World) -> bool) -> (usize, usize) {
    let (began, mut deaths, mut blocked) = (Instant::now(), 0, 0);
    loop {
        if world.is_gone() {
            deaths += 1;
            blocked += usize::from(world.ended().await.code() == Some(EXIT_BLOCKED));
            world.launch();
        }
        if world.is_ready().await && so(world).await {
            return (deaths, blocked);
        }
        assert!(began.elapsed() < Duration::from_secs(150), "in vain, after {deaths} restarts");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many sagas of a definition stand there; none while nobody answers.
async fn count(world: &World, definition: &str, status: &str) -> usize {
    let path = format!("/api/sagas?definition={definition}&status={status}&limit=200");
    let token = Some(crate::world::VIEWER);
    let (_, body) = world.call("GET", &path, token, None).await;
    body["items"].as_array().map_or(0, Vec::len)
}

async fn retry(world: &World, name: &str) -> u16 {
    let id = world.saga(name).await["id"].as_str().unwrap().to_owned();
    let path = format!("/api/sagas/{id}/retry");
    world.post(&path, OPERATOR, json!({ "reason": "it is mended" })).await.0
}

#[tokio::test]
async fn code_that_blocks_or_overflows_costs_two_restarts_and_the_orders_end_well() {
    const ORDERS: usize = 100;
    const EVIL: [&str; 3] = ["blocks", "overflows", "blocks-late"];
    let mut world = World::new().await;
    world.set("FERMATA_TURN_SECONDS_MAX", "1");
    world.start().await;
    let _services = world.services().await;
    for number in 0..ORDERS / 2 {
        world.order(&format!("o{number}")).await;
    }
    evil(&world, "blocks", json!({ "kind": "block" })).await;
    evil(&world, "overflows", json!({ "kind": "overflow" })).await;
    evil(&world, "blocks-late", json!({ "kind": "block", "late": true })).await;
    evil(&world, "unreadable", json!({ "unreadable": 1 })).await;
    for number in ORDERS / 2..ORDERS {
        world.order(&format!("o{number}")).await;
    }
    let (deaths, blocked) = supervised(&mut world, async |it| {
        let held = count(it, "evils", "attention").await;
        held == EVIL.len() && count(it, "demo", "waiting").await == ORDERS
    })
    .await;
    assert!(deaths <= 8 && blocked <= 6, "{deaths} deaths, {blocked} by the watchdog");
    for number in 0..ORDERS {
        world.pay(&format!("o{number}")).await;
    }
    let all_end = async |it: &World| count(it, "demo", "completed").await == ORDERS;
    assert_eq!(supervised(&mut world, all_end).await, (0, 0), "no order is held up any more");
    for name in EVIL {
        let reason = world.saga(name).await["reason"].as_str().unwrap().to_owned();
        assert!(reason.starts_with("quarantined: at entry "), "{name}: {reason}");
    }
    let dead = world.events("dead_letter").await;
    assert_eq!(dead.len(), 1, "{dead:?}");
    // A retry of what is not mended costs no more, and the next start meets nothing.
    let _nobody_answers = retry(&world, "blocks").await;
    let is_back = async |it: &World| count(it, "evils", "attention").await == EVIL.len();
    world.until("the process has ended", async |it| it.is_gone()).await;
    assert_eq!(supervised(&mut world, is_back).await, (1, 1));
    world.stop();
    world.set(MENDED, "1");
    world.start().await;
    for name in EVIL {
        assert_eq!(retry(&world, name).await, 202);
        world.until_status(name, "completed").await;
    }
    let position = dead[0]["position"].as_u64().unwrap();
    let path = format!("/api/events/{position}/offer");
    let (status, body) = world.post(&path, OPERATOR, json!({ "reason": "it is mended" })).await;
    assert_eq!(status, 202, "{body}");
    world.until_status("unreadable", "completed").await;
}

/// Beyond the time after which the broker gives again what is not acknowledged.
#[tokio::test]
async fn work_that_takes_long_lets_nothing_be_delivered_again() {
    const ORDERS: u64 = 400;
    let mut world = World::new().await;
    world.set("FERMATA_TURN_SECONDS_MAX", "60");
    world.start().await;
    let _services = world.services().await;
    evil(&world, "slow", json!({ "kind": "slow" })).await;
    for number in 0..ORDERS {
        world.order(&format!("o{number}")).await;
    }
    world.until_status(&format!("o{}", ORDERS - 1), "waiting").await;
    world.until_status("slow", "completed").await;
    assert_eq!(world.deliveries().await, 1 + ORDERS, "each event once");
}

#[tokio::test]
async fn a_blocked_engine_is_not_ready_and_nobody_waits_for_it_for_ever() {
    let mut world = World::new().await;
    world.set("FERMATA_TURN_SECONDS_MAX", "600");
    world.start().await;
    evil(&world, "blocks", json!({ "kind": "block" })).await;
    let says_why = async |it: &World| {
        let (status, body) = it.call("GET", "/readyz", None, None).await;
        status == 503 && body.to_string().contains("the engine has not answered for")
    };
    world.until("it says that the engine is silent", says_why).await;
    assert_eq!(world.call("GET", "/livez", None, None).await.0, 200, "the process lives");
    let began = Instant::now();
    let url = world.url("/api/sagas");
    let answer = world.http().get(url).bearer_auth(crate::world::VIEWER).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}
