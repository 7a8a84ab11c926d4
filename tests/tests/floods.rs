//! A flood of one address, of one lane or of forgeries is bounded, and leaves the others unharmed.

use async_nats::{HeaderMap, jetstream};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use system_tests::{
    Failure,
    client::{Api, As, order_of, text},
    raw, signed,
    stack::Stack,
    until,
};
use tokio::{io::AsyncWriteExt as _, task::JoinSet};

/// Another address than the one that the tests come from: all of 127/8 is this machine.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Requests per second of one address, far below what a flood sends.
const RATE: u32 = 100;
/// What a second of a busy machine may be longer than it should.
const SLACK: f64 = 1.5;
/// Connections of one address.
const CONNECTIONS: usize = 50;
/// Senders of a flood, each of which sends one request after the other.
const SENDERS: usize = 8;

/// How often each status was answered, and whether all 429 said when to come again.
#[derive(Debug, Default)]
struct Answered {
    statuses: BTreeMap<u16, u32>,
    without_retry_after: u32,
}

/// Requests that are sent until somebody says stop.
struct Flood {
    senders: JoinSet<Result<Answered, Failure>>,
    stop: Arc<AtomicBool>,
    began: Instant,
}

impl Flood {
    fn of(from: Option<IpAddr>, address: &str, request: &str) -> Flood {
        let stop = Arc::new(AtomicBool::new(false));
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let (stop, address) = (Arc::clone(&stop), address.to_owned());
            let request = request.to_owned();
            senders.spawn(async move {
                let mut answered = Answered::default();
                while !stop.load(Ordering::Relaxed) {
                    let said = raw::say(&address, from, request.as_bytes()).await?;
                    *answered.statuses.entry(said.status).or_default() += 1;
                    if said.status == 429 && said.header("Retry-After").is_none() {
                        answered.without_retry_after += 1;
                    }
                }
                Ok(answered)
            });
        }
        Flood { senders, stop, began: Instant::now() }
    }

    /// What was answered, and in how many seconds.
    async fn end(mut self) -> Result<(Answered, f64), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Answered::default();
        while let Some(ended) = self.senders.join_next().await {
            let one = ended.map_err(|err| err.to_string())??;
            all.without_retry_after += one.without_retry_after;
            for (status, count) in one.statuses {
                *all.statuses.entry(status).or_default() += count;
            }
        }
        Ok((all, self.began.elapsed().as_secs_f64()))
    }
}

fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\
         Content-Type: application/json\r\n{headers}\r\n{body}"
    )
}

async fn pay_and_ship(api: &Api, order_id: &str) -> Result<(), Failure> {
    let order = api.order_is(order_id, "awaiting_payment").await?;
    api.customer(&text(&order, "/paymentSessionId")?, "pay", json!({})).await?;
    api.order_is(order_id, "shipped").await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_floods_is_told_to_wait_and_others_are_served() -> Result<(), Failure> {
    let (rate, connections) = (RATE.to_string(), CONNECTIONS.to_string());
    let stack = Stack::start(&[
        ("FERMATA_HTTP_REQUESTS_PER_S", &rate),
        ("FERMATA_HTTP_CONNECTIONS_PER_ADDRESS", &connections),
    ])
    .await?;
    let api = stack.api();
    let before = api.place(&order_of(2, false, "bob")).await?;
    let order = &stack.env()["ORDER_HTTP_ADDR"];
    let flood = Flood::of(Some(OTHER), order, &post("/api/orders", "", "{}"));
    pay_and_ship(api, &before).await?;
    let amid = api.place(&order_of(2, false, "ann")).await?;
    pay_and_ship(api, &amid).await?;
    let (answered, seconds) = flood.end().await?;
    let refused = answered.statuses.get(&429).copied().unwrap_or_default();
    let served = answered.statuses.get(&422).copied().unwrap_or_default();
    assert!(refused > 0, "it was a flood: {answered:?}");
    assert_eq!(answered.without_retry_after, 0, "each is told when to come again");
    assert_eq!(answered.statuses.len(), 2, "nothing else is answered: {answered:?}");
    let share = f64::from(served) / (f64::from(RATE) * (seconds + 1.0));
    assert!(share < SLACK, "it got {share} times its rate: {answered:?} in {seconds} s");
    println!("of its rate it got {share:.2}; refused {refused} in {seconds:.1} s");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_senders_of_one_address_hold_no_more_than_their_share() -> Result<(), Failure> {
    let connections = CONNECTIONS.to_string();
    let stack = Stack::start(&[("FERMATA_HTTP_CONNECTIONS_PER_ADDRESS", &connections)]).await?;
    let api = stack.api();
    let order = &stack.env()["ORDER_HTTP_ADDR"];
    let mut slow = Vec::new();
    for it in 0..CONNECTIONS {
        let mut sender = raw::connect(order, Some(OTHER)).await?;
        let half = match it % 2 {
            0 => "POST /api/orders HTTP/1.1\r\nHost: x\r\nX-Sl".to_owned(),
            _ => post("/api/orders", "", "{}").replace("Length: 2", "Length: 200"),
        };
        let sent = sender.write_all(half.as_bytes()).await;
        sent.map_err(|err| format!("half a request was not sent: {err}"))?;
        slow.push(sender);
    }
    let more = raw::say(order, Some(OTHER), post("/api/orders", "", "{}").as_bytes()).await?;
    assert_eq!(more.status, 429, "{}", more.head);
    assert_eq!(more.header("Retry-After"), Some("1"));
    let order_id = api.place(&order_of(2, false, "bob")).await?;
    pay_and_ship(api, &order_id).await?;
    drop(slow);
    until("its places are free again", Duration::from_secs(20), || async {
        let said = raw::say(order, Some(OTHER), post("/api/orders", "", "{}").as_bytes()).await?;
        if said.status == 422 { Ok(()) } else { Err(said.head) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgeries_do_not_shut_out_the_provider_that_has_the_same_address() -> Result<(), Failure> {
    let stack = Stack::start(&[("FERMATA_HTTP_REQUESTS_PER_S", &RATE.to_string())]).await?;
    let api = stack.api();
    let order_id = api.place(&order_of(2, false, "bob")).await?;
    api.order_is(&order_id, "awaiting_payment").await?;
    let forged = format!("Stripe-Signature: t=1,v1={}\r\n", "0".repeat(64));
    let forged = post("/webhooks/stripe", &forged, "{}");
    // From where the sandbox and this test come too.
    let flood = Flood::of(None, &stack.env()["PAYMENT_HTTP_ADDR"], &forged);
    let kind = "customer.created";
    for _ in 0..3 {
        let event = signed::stripe_event(kind, "ORD-none", "cs_none", false);
        let taken = signed::stripe(&stack, api, &event, 0).await?.expect(200)?;
        assert_eq!(taken["verdict"], "ignored", "taken at its first coming");
    }
    pay_and_ship(api, &order_id).await?;
    let (answered, seconds) = flood.end().await?;
    let (bad, many) = (answered.statuses.get(&400), answered.statuses.get(&429));
    assert!(many.is_some(), "it was a flood: {answered:?}");
    assert_eq!(answered.statuses.len(), 2, "no forgery is taken: {answered:?}");
    assert_eq!(answered.without_retry_after, 0);
    let bad = f64::from(bad.copied().unwrap_or_default());
    let share = bad / (f64::from(RATE) * (seconds + 1.0));
    assert!(share < SLACK, "{share} times the rate were looked at: {answered:?} in {seconds} s");
    println!("of its rate it got {share:.2}; {answered:?} in {seconds:.1} s");
    Ok(())
}

/// Events that a lane keeps: what the runtime keeps by default.
const LANE: usize = 1_000;
/// Events of the flood.
const EVENTS: usize = 3 * LANE;
/// Publishes that wait for the broker at once.
const UNACKED: usize = 64;
/// How long an order may take amid the flood, in lengths of the flood and its own time together.
/// Its events stand behind those of the flood in the one stream, so it waits for what is there
/// already, and for nothing else.
const DELAY_MAX: f64 = 2.0;
/// How much longer it may take than before once the flood is over.
const AFTER_MAX: f64 = 10.0;

/// The time from an order to the wait for its payment.
async fn order_takes(api: &Api) -> Result<Duration, Failure> {
    let began = Instant::now();
    let order_id = api.place(&order_of(1, false, "bob")).await?;
    api.order_is(&order_id, "awaiting_payment").await?;
    Ok(began.elapsed())
}

/// Tells of a parcel that is not there yet, again and again, each time as news.
async fn flood_lane(stack: &Stack, order_id: &str) -> Result<(), Failure> {
    let (user, password) = ("delivery", stack.env()["DELIVERY_NATS_PASSWORD"].clone());
    let client = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password)
        .custom_inbox_prefix(format!("_INBOX_{user}"))
        .connect(format!("nats://{}", stack.env()["NATS_ADDR"]))
        .await
        .map_err(|err| format!("{user} cannot connect: {err}"))?;
    let jetstream = jetstream::new(client);
    let send = |number: usize| {
        let jetstream = jetstream.clone();
        let body = json!({ "orderId": order_id, "status": "picked_up", "number": number });
        async move {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", format!("flood-{number}").as_str());
            let subject = "delivery.trigger.status-updated";
            let body = body.to_string().into();
            let sent = jetstream.publish_with_headers(subject, headers, body).await;
            let stored = sent.map_err(|err| err.to_string())?.await;
            stored.map(|_| ()).map_err(|err| err.to_string())
        }
    };
    let mut sent = stream::iter(0..EVENTS).map(send).buffer_unordered(UNACKED);
    while let Some(stored) = sent.next().await {
        stored?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_is_flooded_holds_up_no_other_and_loses_no_body() -> Result<(), Failure> {
    let stack = Arc::new(Stack::start(&[]).await?);
    let api = stack.api();
    let flooded = api.place(&order_of(1000, true, "ann")).await?;
    api.order_is(&flooded, "awaiting_approval").await?;
    let mut usual = [order_takes(api).await?, order_takes(api).await?, order_takes(api).await?];
    usual.sort();
    let usual = usual[1];
    let began = Instant::now();
    let flood = tokio::spawn({
        let (stack, flooded) = (Arc::clone(&stack), flooded.clone());
        async move { flood_lane(&stack, &flooded).await }
    });
    let mut amid = Duration::ZERO;
    while !flood.is_finished() {
        amid = amid.max(order_takes(api).await?);
    }
    flood.await.map_err(|err| err.to_string())??;
    let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
    let delay = ratio(amid, usual + began.elapsed());
    println!("amid the flood an order takes {:.1} times as long", ratio(amid, usual));
    assert!(delay < DELAY_MAX, "{amid:?} amid the flood, {usual:?} before: {delay}");

    let events = format!("{}/api/events", api.urls().runtime);
    let refused = until("all have their verdict", Duration::from_secs(60), || async {
        let dead = api.list(&events, "?verdict=dead_letter").await?;
        let is_all = dead.len() == EVENTS - LANE;
        if is_all { Ok(dead) } else { Err(format!("{} are refused", dead.len())) }
    })
    .await?;
    let after = ratio(order_takes(api).await?, usual);
    println!("after the flood an order takes {after:.1} times as long");
    assert!(after < AFTER_MAX, "it takes {after} times as long as {usual:?} after the flood");
    let kept = api.list(&events, "?verdict=kept").await?;
    assert_eq!(kept.len(), LANE, "the lane keeps what it may");
    let mut numbers = std::collections::BTreeSet::new();
    for event in refused.iter().take(20).chain(refused.iter().rev().take(20)) {
        let one = api.get(&format!("{events}/{}", event["position"])).await?;
        assert!(one["verdicts"][0].to_string().contains("is full"), "{one}");
        numbers.extend(one["body"]["number"].as_u64());
    }
    assert_eq!(numbers.len(), 40, "each body is there");
    offered_again(api, &events, &refused[0], &flooded).await
}

/// As long as the lane is full an offer is refused; when it is not, the event is taken in.
async fn offered_again(
    api: &Api,
    events: &str,
    event: &Value,
    flooded: &str,
) -> Result<(), Failure> {
    let url = format!("{events}/{}/offer", event["position"]);
    let why = json!({ "reason": "the flood is over" });
    let full = api.post(As::Operator, &url, &why).await?.expect(422)?;
    assert!(full.to_string().contains("full"), "{full}");
    api.approve(flooded, true).await?.expect(202)?;
    let order = api.order_is(flooded, "awaiting_payment").await?;
    api.customer(&text(&order, "/paymentSessionId")?, "pay", json!({})).await?;
    // Its saga then takes one of the kept after the other, and there is room again.
    until("the lane has room", Duration::from_secs(30), || async {
        let offered = api.post(As::Operator, &url, &why).await?;
        if offered.status == 202 { Ok(()) } else { Err(offered.to_string()) }
    })
    .await?;
    let seen = api.get(&format!("{events}/{}", event["position"])).await?;
    assert_ne!(seen["verdicts"][0]["outcome"], "dead_letter", "{seen}");
    Ok(())
}
