//! The live stream of a saga: what a reader sees, whenever it comes, goes, dawdles or comes back.

use crate::{
    chat,
    world::{OPERATOR, Said, VIEWER, World},
};
use futures::{Stream, StreamExt as _, stream};
use serde_json::{Value, json};
use sse_stream::{Sse, SseByteStream};
use std::{
    collections::BTreeMap,
    pin::Pin,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// Nothing here takes as long on a machine that is not stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A reader with a client that others wrote.
struct Reader {
    messages: Pin<Box<dyn Stream<Item = Option<Sse>> + Send>>,
}

/// A message with data.
#[derive(Clone, Debug, PartialEq)]
struct Message {
    event: String,
    id: String,
    data: Value,
}

impl Reader {
    async fn open(world: &World, saga: &str, last: Option<&str>) -> Reader {
        let response = ask(world, saga, Some(VIEWER), last).await;
        assert_eq!(response.status(), 200);
        Reader::of(response)
    }

    fn of(response: reqwest::Response) -> Reader {
        let chunks = stream::try_unfold(response, async |mut it| {
            let chunk = it.chunk().await?;
            Ok::<_, reqwest::Error>(chunk.map(|chunk| (chunk, it)))
        });
        let messages = SseByteStream::new(Box::pin(chunks)).map(Result::ok);
        Reader { messages: Box::pin(messages) }
    }

    /// The next message; none when the stream has ended or was cut off.
    async fn next(&mut self) -> Option<Message> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.messages.next()).await;
            let sse = next.expect("a message comes in time")??;
            if let Some(data) = sse.data {
                let data = serde_json::from_str(&data).expect("data is JSON");
                let (event, id) = (sse.event.unwrap_or_default(), sse.id.unwrap_or_default());
                return Some(Message { event, id, data });
            }
        }
    }

    async fn record(&mut self) -> Message {
        let message = self.next().await.expect("the stream goes on");
        assert_eq!(message.event, "record", "{message:?}");
        message
    }

    async fn until_kind(&mut self, kind: &str) -> Vec<Message> {
        let mut messages = vec![self.record().await];
        while messages.last().is_some_and(|it| it.data["kind"] != kind) {
            messages.push(self.record().await);
        }
        messages
    }

    /// The records up to the saga's end, and the saga.
    async fn rest(&mut self) -> (Vec<Message>, Message) {
        let mut records = Vec::new();
        loop {
            let message = self.next().await.expect("the stream goes on until the saga ends");
            if message.event == "ended" {
                assert_eq!(self.next().await, None, "the stream ends with the saga");
                return (records, message);
            }
            assert_eq!(message.event, "record");
            records.push(message);
        }
    }
}

async fn ask(
    world: &World,
    saga: &str,
    token: Option<&str>,
    last: Option<&str>,
) -> reqwest::Response {
    let mut request = world.http().get(world.url(&format!("/api/sagas/{saga}/stream")));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last);
    }
    request.send().await.expect("an answer")
}

async fn problem(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).expect("a problem"))
}

fn data(messages: &[Message]) -> Vec<Value> {
    messages.iter().map(|it| it.data.clone()).collect()
}

/// All pages of the journal.
async fn journal(world: &World, saga: &str) -> Vec<Value> {
    let (mut records, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/sagas/{saga}/journal?limit=200{cursor}");
        let page = world.get(&path).await;
        records.extend(page["items"].as_array().expect("records").clone());
        let Some(next) = page["next"].as_str() else { return records };
        cursor = format!("&cursor={next}");
    }
}

async fn id_of(world: &World, key: &str) -> String {
    world.saga(key).await["id"].as_str().expect("an id").to_owned()
}

async fn talk(world: &World, turns: usize, asides: usize, bytes: usize) -> String {
    let input = json!({ "name": "t1", "turns": turns, "asides": asides, "bytes": bytes });
    let path = "/api/definitions/chat/sagas";
    let (status, saga) = world.post(path, OPERATOR, json!({ "input": input })).await;
    assert_eq!(status, 201, "{saga}");
    saga["id"].as_str().expect("an id").to_owned()
}

async fn make(world: &World, saga: &str, action: &str) {
    let path = format!("/api/sagas/{saga}/{action}");
    let (status, body) = world.post(&path, OPERATOR, json!({ "reason": "a test" })).await;
    assert_eq!(status, 202, "{body}");
}

#[tokio::test]
async fn a_stream_begins_with_the_journal_goes_on_with_what_happens_and_ends_with_the_saga() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    let saga = id_of(&world, "o1").await;
    let past = journal(&world, &saga).await;
    let response = ask(&world, &saga, Some(VIEWER), None).await;
    assert_eq!(response.status(), 200);
    let expected = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
    ];
    for (name, value) in expected {
        assert_eq!(response.headers()[name], value);
    }
    assert_eq!(response.headers().get("content-encoding"), None);
    let mut reader = Reader::of(response);
    let mut seen = Vec::new();
    for record in &past {
        seen.push(reader.record().await);
        assert_eq!(seen.last().unwrap().data, *record);
    }
    world.pay("o1").await;
    let (rest, ended) = reader.rest().await;
    seen.extend(rest);
    assert_eq!(data(&seen), journal(&world, &saga).await);
    assert_eq!(ended.data, world.get(&format!("/api/sagas/{saga}")).await);
    assert_eq!(ended.data["status"], "completed");

    let last = &seen.last().unwrap().id;
    let response = ask(&world, &saga, Some(VIEWER), Some(last)).await;
    assert_eq!(response.status(), 204, "nothing will ever come");
    assert_eq!(response.text().await.unwrap(), "");
    for (at, message) in seen.iter().enumerate().rev().skip(1) {
        let mut reader = Reader::open(&world, &saga, Some(&message.id)).await;
        let (rest, again) = reader.rest().await;
        assert_eq!(rest, seen[at + 1..], "after {}", message.id);
        assert_eq!(again.data, ended.data);
    }
    let (all, _) = Reader::open(&world, &saga, None).await.rest().await;
    assert_eq!(all, seen);
}

#[tokio::test]
async fn readers_that_come_and_go_at_any_moment_see_each_record_once_and_in_order() {
    const READERS: usize = 12;
    const TURNS: usize = 250;
    let world = World::with_runtime().await;
    let _service = world.service(chat::SUBJECT, |_, _| Some(Said::ok())).await;
    let saga = talk(&world, TURNS, 3, 20).await;
    let read = |number: usize| {
        let (world, saga) = (&world, &saga);
        async move {
            let mut seen: Vec<Message> = Vec::new();
            let mut luck = 7 + number;
            loop {
                let last = seen.last().map(|it| it.id.clone());
                let response = ask(world, saga, Some(VIEWER), last.as_deref()).await;
                if response.status() == 204 {
                    return seen;
                }
                let mut reader = Reader::of(response);
                // Any order will do, as long as it is another one for each reader.
                luck = luck * 1_103_515_245 % 2_147_483_648 + 12_345;
                for _ in 0..luck % 97 {
                    match reader.next().await {
                        Some(message) if message.event == "record" => seen.push(message),
                        _ended => break,
                    }
                }
            }
        }
    };
    let all = futures::future::join_all((0..READERS).map(read)).await;
    let journal = journal(&world, &saga).await;
    assert_eq!(journal.len(), 3 + TURNS * 5);
    for seen in all {
        assert_eq!(data(&seen), journal);
    }
}

#[tokio::test]
async fn a_held_fact_is_told_when_it_is_held_and_again_when_it_is_applied() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    let saga = id_of(&world, "o1").await;
    let mut reader = Reader::open(&world, &saga, None).await;
    let mut seen = reader.until_kind("wait").await;
    make(&world, &saga, "pause").await;
    world.pay("o1").await;
    seen.extend(reader.until_kind("received").await);
    let held = seen.last().unwrap().clone();
    assert_eq!(held.data["held"], "the saga is paused");
    make(&world, &saga, "resume").await;
    let (rest, _) = reader.rest().await;
    let again = rest.iter().find(|it| it.data["kind"] == "received").unwrap();
    assert_eq!(again.data["entry"], held.data["entry"]);
    assert_eq!(again.data.get("held"), None);
    assert_eq!(rest[0].data["kind"], "resumed", "the log has it before what it let go on");
    seen.extend(rest);

    // Whoever replaces what has the same number has the journal.
    let journal = journal(&world, &saga).await;
    let mut entries: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    let mut entry_of_last = u64::MAX;
    for message in &seen {
        let number = message.data["entry"].as_u64().unwrap();
        if number != entry_of_last {
            entries.insert(number, Vec::new());
        }
        entries.get_mut(&number).unwrap().push(message.data.clone());
        entry_of_last = number;
    }
    let without_seq = |records: Vec<Value>| -> Vec<Value> {
        let without = |mut it: Value| {
            it.as_object_mut().unwrap().remove("seq");
            it
        };
        records.into_iter().map(without).collect()
    };
    let replaced: Vec<Value> = entries.into_values().flatten().collect();
    assert_eq!(without_seq(replaced), without_seq(journal.clone()));

    // Whoever comes later sees the fact once, numbered as the journal has it.
    let (mut late, _) = Reader::open(&world, &saga, None).await.rest().await;
    let order: Vec<&str> = late.iter().map(|it| it.id.as_str()).collect();
    let position = |id: &&str| id.split('.').next().unwrap().parse::<u64>().unwrap();
    assert!(order.is_sorted_by_key(position), "{order:?}");
    late.sort_by_key(|it| it.data["seq"].as_u64());
    assert_eq!(data(&late), journal);

    // Each id that was ever given is good for going on, and leaves nothing out.
    for (at, message) in seen.iter().enumerate() {
        let response = ask(&world, &saga, Some(VIEWER), Some(&message.id)).await;
        if at + 1 == seen.len() {
            assert_eq!(response.status(), 204);
            continue;
        }
        assert_eq!(response.status(), 200, "after {}", message.id);
        let (rest, _) = Reader::of(response).rest().await;
        let expected = seen[at + 1..].iter().filter(|it| it.data.get("held").is_none());
        let expected: Vec<String> = expected.map(|it| it.id.clone()).collect();
        let rest: Vec<String> = rest.into_iter().map(|it| it.id).collect();
        assert_eq!(rest, expected, "after {}", message.id);
    }
}

#[tokio::test]
async fn a_reader_goes_on_where_it_stood_when_the_runtime_is_killed() {
    const KILLS: usize = 4;
    let mut world = World::with_runtime().await;
    let _service = world.service(chat::SUBJECT, |_, _| Some(Said::ok())).await;
    let saga = talk(&world, 160, 2, 20).await;
    let mut seen: Vec<Message> = Vec::new();
    for kill in 0..=KILLS {
        let last = seen.last().map(|it| it.id.clone());
        let mut reader = Reader::open(&world, &saga, last.as_deref()).await;
        if kill == KILLS {
            seen.extend(reader.rest().await.0);
            break;
        }
        for _ in 0..80 {
            seen.push(reader.record().await);
        }
        world.kill();
        // What is still under way was sent, so it must have been durable.
        while let Some(message) = reader.next().await {
            seen.push(message);
        }
        world.start().await;
    }
    assert_eq!(data(&seen), journal(&world, &saga).await);
}

#[tokio::test]
async fn nothing_is_told_that_a_death_at_a_commit_takes_back() {
    for point in ["engine.before-append", "engine.after-flush"] {
        let mut world = World::new().await;
        world.set("FERMATA_ENV", "development");
        world.set("FERMATA_CRASH_AT", &format!("{point}:60"));
        world.start().await;
        let _service = world.service(chat::SUBJECT, |_, _| Some(Said::ok())).await;
        let saga = talk(&world, 100, 2, 20).await;
        let mut reader = Reader::open(&world, &saga, None).await;
        let mut seen = Vec::new();
        while let Some(message) = reader.next().await {
            seen.push(message);
        }
        assert!(!seen.is_empty(), "it dies while the saga runs");
        assert!(!world.ended().await.success());
        world.set("FERMATA_CRASH_AT", "");
        world.start().await;
        let last = seen.last().map(|it| it.id.clone());
        let (rest, _) = Reader::open(&world, &saga, last.as_deref()).await.rest().await;
        seen.extend(rest);
        assert_eq!(data(&seen), journal(&world, &saga).await, "{point}");
    }
}

#[tokio::test]
async fn a_journal_has_the_same_records_in_pages_of_any_size() {
    let world = World::with_runtime().await;
    let _service = world.service(chat::SUBJECT, |_, _| Some(Said::ok())).await;
    let saga = talk(&world, 12, 4, 20).await;
    let (seen, _) = Reader::open(&world, &saga, None).await.rest().await;
    for limit in [1, 4, 7, 75, 200] {
        let (mut records, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/sagas/{saga}/journal?limit={limit}{cursor}");
            let page = world.get(&path).await;
            let items = page["items"].as_array().expect("records");
            assert!((1..=limit).contains(&items.len()), "{path}: {page}");
            records.extend(items.clone());
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(records, data(&seen), "{limit} at once");
    }
    for cursor in ["x", "", "-1", "1", "1.2", "01.0.0", "%2B1.0.0", "1.0.0.0"] {
        let path = format!("/api/sagas/{saga}/journal?cursor={cursor}");
        let (status, body) = world.call("GET", &path, Some(VIEWER), None).await;
        assert_eq!((status, &body["errors"][0]["pointer"]), (422, &json!("/cursor")), "{body}");
    }
    for cursor in ["4294967295.0.0", "4294967294.4294967295.4294967295"] {
        let page = world.get(&format!("/api/sagas/{saga}/journal?cursor={cursor}")).await;
        assert_eq!(page, json!({ "items": [], "next": null }), "nothing stands behind {cursor}");
    }
    for (list, cursors) in [
        ("sagas", vec![saga.to_uppercase(), saga.replace('-', ""), format!("{{{saga}}}")]),
        ("tasks", vec![saga.clone(), format!("{saga}.01"), format!("{}.1", saga.to_uppercase())]),
        ("events", vec!["01".into(), "%2B1".into(), "-1".into(), "18446744073709551616".into()]),
    ] {
        for cursor in cursors {
            let path = format!("/api/{list}?cursor={cursor}");
            let (status, body) = world.call("GET", &path, Some(VIEWER), None).await;
            assert_eq!((status, &body["errors"][0]["pointer"]), (422, &json!("/cursor")), "{body}");
        }
    }
    let beyond = world.get("/api/events?cursor=18446744073709551615").await;
    assert_eq!(beyond["next"], Value::Null, "{beyond}");
}

#[tokio::test]
async fn a_page_of_long_records_has_fewer_of_them_and_none_is_left_out() {
    let world = World::with_runtime().await;
    let _service = world.service(chat::SUBJECT, |_, _| Some(Said::ok())).await;
    // The first entry alone is as long as one visit to the engine may be.
    let saga = talk(&world, 60, 0, 256 << 10).await;
    let (seen, _) = Reader::open(&world, &saga, None).await.rest().await;
    let page = world.get(&format!("/api/sagas/{saga}/journal?limit=200")).await;
    let (items, bytes) = (page["items"].as_array().expect("records"), page.to_string().len());
    assert!((1..60).contains(&items.len()) && bytes < 6 << 20, "{} of {bytes}", items.len());
    assert_eq!(journal(&world, &saga).await, data(&seen));
}

#[tokio::test]
async fn who_may_not_read_and_what_was_never_given_is_refused() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.order("o2").await;
    world.until_status("o1", "waiting").await;
    world.until_status("o2", "waiting").await;
    let (one, two) = (id_of(&world, "o1").await, id_of(&world, "o2").await);
    for token in [None, Some("nobody")] {
        let (status, body) = problem(ask(&world, &one, token, None).await).await;
        assert_eq!(status, 401, "{body}");
    }
    for saga in ["00000000-0000-0000-0000-000000000000", "x"] {
        let (status, body) = problem(ask(&world, saga, Some(VIEWER), None).await).await;
        assert_eq!(status, 404, "{body}");
    }
    let (mut reader, mut other) =
        (Reader::open(&world, &one, None).await, Reader::open(&world, &two, None).await);
    let (of_one, of_two) = (reader.until_kind("wait").await, other.until_kind("wait").await);
    let beyond = format!("{}.9", of_one[0].id);
    let zero = format!("{}.0", of_one[0].id);
    let padded = format!("0{}", of_one[0].id);
    let never = ["x", "-1", "1.", ".1", "0", "18446744073709551615", "18446744073709551616"];
    let wrong = [&*beyond, &*zero, &*padded, &*of_two[0].id];
    for last in never.iter().chain(&wrong) {
        let (status, body) = problem(ask(&world, &one, Some(VIEWER), Some(last)).await).await;
        assert_eq!(status, 422, "{last}: {body}");
        assert_eq!(body["errors"][0]["pointer"], "/Last-Event-ID", "{last}: {body}");
    }
}

/// As a client sends it that was cut off before the first message came.
#[tokio::test]
async fn an_empty_id_begins_anew() {
    let world = World::with_runtime().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    let saga = id_of(&world, "o1").await;
    assert_eq!(ask(&world, &saga, Some(VIEWER), Some("")).await.status(), 200);
    let whole = Reader::open(&world, &saga, None).await.until_kind("wait").await;
    let anew = Reader::open(&world, &saga, Some("")).await.until_kind("wait").await;
    assert_eq!(data(&anew), data(&whole));
}

#[tokio::test]
async fn one_address_has_so_many_streams_and_gets_a_place_back_when_one_ends() {
    const STREAMS_MAX: usize = 64;
    let world = World::with_runtime().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    let saga = id_of(&world, "o1").await;
    let mut readers = Vec::new();
    for _ in 0..STREAMS_MAX {
        readers.push(Reader::open(&world, &saga, None).await);
    }
    let refused = ask(&world, &saga, Some(VIEWER), None).await;
    let after = refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap();
    assert!((1..=60).contains(&after));
    let (status, body) = problem(refused).await;
    assert_eq!(status, 429, "{body}");
    assert_eq!(world.get(&format!("/api/sagas/{saga}")).await["status"], "waiting");
    readers.pop();
    let url = world.url(&format!("/api/sagas/{saga}/stream"));
    let asks_for_the_head = async |_: &World| {
        let request = world.http().head(&url).bearer_auth(VIEWER);
        request.send().await.expect("an answer").status().is_success()
    };
    // More often than there are places: a question for the head alone keeps none.
    for _ in 0..3 {
        world.until("there is a place for a moment", asks_for_the_head).await;
    }
    let free = async |it: &World| ask(it, &saga, Some(VIEWER), None).await.status().is_success();
    world.until("there is a place again", free).await;
}

/// A connection that asks for the stream and can be left unread.
async fn unread(world: &World, saga: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    // The less the kernel holds, the sooner the runtime notices.
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let address = world.url("").strip_prefix("http://").expect("a URL").parse();
    let mut stream = socket.connect(address.expect("an address")).await.expect("it connects");
    let request = format!(
        "GET /api/sagas/{saga}/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {VIEWER}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    stream
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_off_and_holds_nobody_up() {
    const TURNS: usize = 700;
    let world = World::with_runtime().await;
    let _service = world.service(chat::SUBJECT, |_, _| Some(Said::ok())).await;
    let saga = talk(&world, TURNS, 0, 16 << 10).await;
    let before = world.memory();
    let mut stuck = Vec::new();
    for _ in 0..8 {
        stuck.push(unread(&world, &saga).await);
    }
    let (seen, _) = Reader::open(&world, &saga, None).await.rest().await;
    assert_eq!(data(&seen), journal(&world, &saga).await, "one that reads misses nothing");
    let cut = async |it: &World| it.log().matches("a stream is closed").count() == 8;
    world.until("those that do not read are cut off", cut).await;
    assert!(world.log().contains("the reader is more than 256 messages behind"));
    let grown = world.memory().saturating_sub(before);
    eprintln!("with 8 readers that do not read, memory grew by {} KiB", grown >> 10);
    assert!(grown < 96 << 20, "{grown} bytes");
    for mut stream in stuck {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
        let _reset_or_end = read.expect("the connection is closed");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("\nevent: ended"), "it did not get everything");
        assert!(!text.ends_with("0\r\n\r\n"), "it is told that something is missing");
    }
}

#[tokio::test]
async fn a_stop_ends_streams_at_once_those_too_that_nobody_reads() {
    let mut world = World::with_runtime().await;
    let _service = world.service(chat::SUBJECT, |_, _| Some(Said::ok())).await;
    let saga = talk(&world, 400, 0, 64 << 10).await;
    let mut reader = Reader::open(&world, &saga, None).await;
    let stuck = unread(&world, &saga).await;
    // By now the kernel holds for the other all that it takes.
    for _ in 0..200 {
        reader.record().await;
    }
    let reading = tokio::spawn(async move { while reader.next().await.is_some() {} });
    let (status, took) = world.stop();
    assert_eq!(status.code(), Some(0), "{}", world.log());
    assert!(took < Duration::from_secs(5), "{took:?}");
    reading.await.expect("the stream has ended");
    drop(stuck);
}

#[tokio::test]
async fn a_quiet_stream_has_a_heartbeat_and_outlives_the_time_for_a_request() {
    let mut world = World::new().await;
    world.set("FERMATA_HTTP_TIMEOUT_MS", "500");
    world.start().await;
    let _services = world.services().await;
    world.order("o1").await;
    world.until_status("o1", "waiting").await;
    let saga = id_of(&world, "o1").await;
    let mut response = ask(&world, &saga, Some(VIEWER), None).await;
    let (began, mut text) = (Instant::now(), String::new());
    while !text.contains("\n\n:\n\n") {
        let chunk = tokio::time::timeout(PATIENCE, response.chunk()).await.expect("a heartbeat");
        text += std::str::from_utf8(&chunk.expect("it goes on").expect("it goes on")).unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    world.pay("o1").await;
    let mut reader = Reader::of(response);
    assert_eq!(reader.rest().await.1.data["status"], "completed");
}

#[tokio::test]
async fn the_document_names_the_stream_with_all_its_statuses() {
    let world = World::with_runtime().await;
    let (_, document) = world.call("GET", "/openapi.json", None, None).await;
    let get = &document["paths"]["/api/sagas/{id}/stream"]["get"];
    let statuses: Vec<&str> =
        get["responses"].as_object().unwrap().keys().map(|it| &**it).collect();
    for status in ["200", "204", "401", "403", "404", "422", "429", "500", "503"] {
        assert!(statuses.contains(&status), "{status} is not in {statuses:?}");
    }
    assert!(get["responses"]["200"]["content"]["text/event-stream"].is_object(), "{get}");
    let header = get["parameters"].as_array().unwrap().iter().find(|it| it["in"] == "header");
    assert_eq!(header.unwrap()["name"], "Last-Event-ID");
}

/// Printed and never judged: the readers need the same processors as the runtime.
#[tokio::test]
async fn figures_of_a_saga_that_many_watch_are_printed() {
    const TURNS: usize = 600;
    for readers in [0, 1, 60] {
        let world = World::with_runtime().await;
        let _service = world.service(chat::SUBJECT, |_, _| Some(Said::ok())).await;
        let began = Instant::now();
        let saga = talk(&world, TURNS, 0, 20).await;
        let read = |_| async { Reader::open(&world, &saga, None).await.rest().await.0.len() };
        let seen = futures::future::join_all((0..readers).map(read)).await;
        world.until_status("t1", "completed").await;
        let ms = began.elapsed().as_millis();
        assert!(seen.iter().all(|it| *it == 3 + 2 * TURNS), "{seen:?}");
        let engine_ms = world.engine_time().as_millis();
        eprintln!(
            "{TURNS} turns of a saga with {readers} readers took {ms} ms, {engine_ms} ms of them \
             of the engine's thread"
        );
    }
}
