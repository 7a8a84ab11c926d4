//! The door, attacked over real sockets.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use aide::axum::ApiRouter;
use aide::axum::routing::{get, post_with};
use axum::http::HeaderMap;
use chassis::http::{
    Admin, Approver, Created, Door, Health, IdempotencyKey, Json, Limits, Metrics, Page, PageQuery,
    Path, Problem, Query, Role, Tokens, Viewer, problems, serve,
};
use chassis::shutdown::Shutdown;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use validator::Validate;

const BODY_BYTES_MAX: usize = 1024;

#[derive(Debug, Deserialize, Serialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Thing {
    #[validate(length(min = 1, message = "must not be empty"))]
    name_of_it: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct ThingPath {
    id: u64,
}

async fn create(_: Approver, _: IdempotencyKey, thing: Json<Thing>) -> Created<Thing> {
    Created { location: format!("/things/{}", thing.0.name_of_it), body: thing.0 }
}

async fn read(_: Viewer, path: Path<ThingPath>) -> Result<Json<u64>, Problem> {
    match path.0.id {
        0 => Err(Problem::not_found("there is no thing 0")),
        id => Ok(Json(id)),
    }
}

async fn list(_: Viewer, query: Query<PageQuery>) -> Json<Page<u16>> {
    Json(Page { items: vec![query.0.limit], next: None })
}

async fn panics(_: Admin) -> &'static str {
    panic!("planted");
}

async fn hook(headers: HeaderMap) -> Result<&'static str, Problem> {
    let is_signed = headers.get("x-signature").is_some_and(|it| it == "good");
    is_signed.then_some("taken").ok_or_else(|| Problem::bad_request("a wrong signature"))
}

struct Server {
    addr: SocketAddr,
    health: Health,
    shutdown: Shutdown,
    task: JoinHandle<()>,
    /// A request to `/slow` is answered when a permit is added.
    gate: &'static Semaphore,
}

async fn start_with(change: impl FnOnce(&mut Limits)) -> Server {
    let gate: &'static Semaphore = Box::leak(Box::new(Semaphore::new(0)));
    let slow = move || async move {
        let permit = gate.acquire().await;
        permit.map_or("closed", |_| "at last")
    };
    let routes = ApiRouter::new()
        .api_route("/things", post_with(create, |op| problems(op, &[409])).get(list))
        .api_route("/things/{id}", get(read))
        .api_route("/panics", get(panics))
        .api_route("/webhooks/things", post_with(hook, |op| op))
        .api_route("/slow", get(slow));
    let mut limits = Limits {
        body_bytes_max: BODY_BYTES_MAX,
        requests_per_s: NonZeroU32::new(1_000).expect("not zero"),
        request_timeout: Duration::from_secs(5),
        ..Limits::default()
    };
    change(&mut limits);
    let tokens = Tokens::default()
        .with(Role::Viewer, "vera", "viewer-token")
        .with(Role::Approver, "alice", "approver-token")
        .with(Role::Admin, "adam", "admin-token");
    let health = Health::new();
    let door = Door {
        title: "things",
        description: "Things for a test.",
        limits: limits.clone(),
        tokens,
        health: health.clone(),
        metrics: Metrics::new(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let shutdown = Shutdown::new();
    let server = serve(listener, door.router(routes), limits, health.clone(), shutdown.clone());
    Server { addr, health, shutdown, task: tokio::spawn(server), gate }
}

async fn start() -> Server {
    start_with(|_| ()).await
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn problem(&self) -> Value {
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem: Value = serde_json::from_str(&self.body).expect("a problem is JSON");
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert_eq!(problem["type"], "about:blank");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{self:?}");
        assert!(problem["errors"].is_array(), "{self:?}");
        problem
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = |it: &&str| it.to_ascii_lowercase().starts_with(&format!("{name}:"));
        self.head.lines().find(line).and_then(|it| it.split_once(": ")).map(|it| it.1)
    }
}

/// Sends the bytes as they are and reads one answer.
async fn send(addr: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(addr).await.expect("connects");
    stream.write_all(bytes).await.expect("the server reads on");
    receive(&mut stream).await
}

async fn receive(stream: &mut TcpStream) -> Answer {
    let mut buffer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&buffer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|it| it.strip_prefix("content-length: "));
            let length = length.map_or(0, |it| it.parse::<usize>().expect("a length"));
            if body.len() >= length {
                let status = head.split(' ').nth(1).expect("a status");
                let status = status.parse().expect("a number");
                return Answer { status, head: head.to_owned(), body: body.to_owned() };
            }
        }
        let mut chunk = [0; 16 * 1024];
        let count = stream.read(&mut chunk).await.expect("an answer, not a reset");
        assert!(count > 0, "the connection ended after {text:?}");
        buffer.extend_from_slice(&chunk[..count]);
    }
}

fn request(line: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
        .into_bytes()
}

const APPROVER: &str = "Authorization: Bearer approver-token\r\n";
const VIEWER: &str = "Authorization: Bearer viewer-token\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

async fn post(server: &Server, headers: &str, body: &str) -> Answer {
    send(server.addr, &request("POST /things", headers, body)).await
}

#[tokio::test]
async fn a_good_request_is_answered_with_its_location_and_safe_headers() {
    let server = start().await;
    let body = "{\"nameOfIt\":\"a\"}";
    let answer = post(&server, &format!("{APPROVER}{JSON}X-Request-Id: mine-1\r\n"), body).await;
    assert_eq!((answer.status, answer.body.as_str()), (201, body));
    assert_eq!(answer.header("location"), Some("/things/a"));
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.header("content-security-policy").is_some());
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let server = start().await;
    let thing = "{\"nameOfIt\":\"a\"}";
    for (headers, status) in [
        (String::new(), 401),
        ("Authorization: Bearer nonsense\r\n".into(), 401),
        ("Authorization: Basic YTpi\r\n".into(), 401),
        ("Authorization: Bearer \r\n".into(), 401),
        (format!("Authorization: Bearer {}\r\n", "x".repeat(8_000)), 401),
        (VIEWER.into(), 403),
    ] {
        let answer = post(&server, &format!("{headers}{JSON}"), thing).await;
        assert_eq!(answer.status, status, "{headers:.60}: {answer:?}");
        answer.problem();
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    }
    let admin = format!("Authorization: bearer admin-token\r\n{JSON}");
    assert_eq!(post(&server, &admin, thing).await.status, 201, "a higher role may too");
}

#[tokio::test]
async fn a_header_that_decides_and_stands_there_twice_is_refused() {
    let server = start().await;
    let thing = "{\"nameOfIt\":\"a\"}";
    let key = "Idempotency-Key: k\r\n";
    for (headers, status, name) in [
        (format!("{APPROVER}{VIEWER}{JSON}{key}"), 401, "Authorization"),
        (format!("{VIEWER}{APPROVER}{JSON}{key}"), 401, "Authorization"),
        (format!("{APPROVER}{APPROVER}{JSON}{key}"), 401, "Authorization"),
        (format!("{APPROVER}{JSON}Content-Type: text/plain\r\n{key}"), 400, "Content-Type"),
        (format!("{APPROVER}Content-Type: text/plain\r\n{JSON}{key}"), 400, "Content-Type"),
        (format!("{APPROVER}{JSON}{JSON}{key}"), 400, "Content-Type"),
        (format!("{APPROVER}{JSON}{key}{key}"), 400, "Idempotency-Key"),
    ] {
        let answer = post(&server, &headers, thing).await;
        assert_eq!(answer.status, status, "{headers}: {answer:?}");
        let detail = format!("the header {name} stands there twice");
        assert_eq!(answer.problem()["detail"], detail, "{headers}");
    }
    let once = format!("{APPROVER}{JSON}{key}");
    assert_eq!(post(&server, &once, thing).await.status, 201, "once is as it should be");
}

#[tokio::test]
async fn bad_bodies_are_told_apart() {
    let server = start().await;
    let checks = [
        ("{\"nameOfIt\":", 400, None),
        ("", 400, None),
        ("{\"nameOfIt\":5}", 422, Some("/nameOfIt")),
        ("{\"nameOfIt\":\"\"}", 422, Some("/nameOfIt")),
        ("{}", 422, Some("/nameOfIt")),
        ("{\"nameOfIt\":\"a\",\"more\":1}", 422, Some("/more")),
        // The values of the fields in their order are no object.
        ("[\"a\"]", 422, Some("")),
        (" \n[]", 422, Some("")),
        ("[\"a\"", 400, None),
        ("[] []", 400, None),
    ];
    for (body, status, pointer) in checks {
        let answer = post(&server, &format!("{APPROVER}{JSON}"), body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        let problem = answer.problem();
        assert_eq!(problem["errors"][0]["pointer"].as_str(), pointer, "{body}");
    }
    let answer = post(&server, &format!("{APPROVER}Content-Type: text/plain\r\n"), "{}").await;
    assert_eq!(answer.status, 415);
    answer.problem();
    let key = format!("{APPROVER}{JSON}Idempotency-Key: two words\r\n");
    assert_eq!(post(&server, &key, "{\"nameOfIt\":\"a\"}").await.status, 400);
}

#[tokio::test]
async fn paths_methods_and_queries_that_are_not_there_are_problems() {
    let server = start().await;
    let checks = [
        ("GET /nothing", 404),
        ("GET /", 404),
        ("GET /things/abc", 404),
        ("GET /things/0", 404),
        ("GET /things/99999999999999999999999", 404),
        ("GET /things/%ff", 404),
        ("DELETE /things", 405),
        ("PUT /openapi.json", 405),
        ("GET /things?limit=0", 422),
        ("GET /things?limit=201", 422),
        ("GET /things?limit=many", 422),
        ("GET /things?colour=red", 422),
        ("GET /things?limit=7", 200),
    ];
    for (line, status) in checks {
        let answer = send(server.addr, &request(line, VIEWER, "")).await;
        assert_eq!(answer.status, status, "{line}: {answer:?}");
        if status != 200 {
            let problem = answer.problem();
            let is_query = status == 422 && !line.contains("colour");
            assert_eq!(is_query, problem["errors"][0]["pointer"] == "/limit", "{line}: {problem}");
        }
        assert_eq!(answer.header("allow").is_some(), status == 405, "{line}: {answer:?}");
    }
}

#[tokio::test]
async fn a_client_that_sends_too_much_sees_its_413() {
    let server = start().await;
    let headers = format!("{APPROVER}{JSON}");
    for bytes in [BODY_BYTES_MAX + 1, 3 * 1024 * 1024] {
        let answer = post(&server, &headers, &"x".repeat(bytes)).await;
        assert_eq!(answer.status, 413, "{bytes}");
        answer.problem();
    }
    // Chunked: the size is not known beforehand. Without a token, and where nothing is.
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let head = "POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let all = format!("{head}{}0\r\n\r\n", chunk.repeat(40));
    let answer = send(server.addr, all.as_bytes()).await;
    assert!([404, 413].contains(&answer.status), "{answer:?}");
    answer.problem();
    let exact = format!("{{\"nameOfIt\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX - 15));
    assert_eq!(exact.len(), BODY_BYTES_MAX);
    assert_eq!(post(&server, &headers, &exact).await.status, 201, "the limit itself is allowed");
}

#[tokio::test]
async fn a_body_that_never_ends_is_timed_out() {
    let server = start_with(|it| it.request_timeout = Duration::from_millis(50)).await;
    let head = "POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
    let answer = send(server.addr, head.as_bytes()).await;
    assert_eq!(answer.status, 408);
    answer.problem();
}

#[tokio::test]
async fn framing_that_lies_never_reaches_a_handler() {
    let server = start().await;
    let smuggled = "POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\
                    Content-Length: 7\r\n\r\n{}    ";
    assert_eq!(send(server.addr, smuggled.as_bytes()).await.status, 400);
    let chunk = "POST /things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    assert_eq!(send(server.addr, chunk.as_bytes()).await.status, 400);
    assert_eq!(send(server.addr, b"\x16\x03\x01\x02\x00\x01\r\n\r\n").await.status, 400);
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000));
    let answer = send(server.addr, long.as_bytes()).await;
    assert!([414, 431].contains(&answer.status), "{answer:?}");
    let long = format!("X-Long: {}\r\n", "a".repeat(66_000));
    assert_eq!(send(server.addr, &request("GET /livez", &long, "")).await.status, 431);
    let answer = send(server.addr, &request("GET /livez", "", "")).await;
    assert_eq!(answer.status, 200, "the server lives");
}

#[tokio::test]
async fn what_is_no_http_is_answered_once_and_its_connection_is_closed() {
    let server = start().await;
    let path = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(70_000));
    let headers: String = (0..200).map(|it| format!("X-{it}: 1\r\n")).collect();
    let headers = format!("GET /livez HTTP/1.1\r\n{headers}\r\n");
    for (bytes, status) in [
        ("hello\r\n\r\n", 400),
        ("GET /livez HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("GET /livez HTTP/1.1\r\nX: a\0b\r\n\r\n", 400),
        (&path, 414),
        (&headers, 431),
    ] {
        let mut stream = TcpStream::connect(server.addr).await.expect("connects");
        // What follows a head that was refused is no request.
        let all = format!("{bytes}GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(all.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
        let _closed_or_reset = ended.await.expect("the connection is closed");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        assert!(answer.contains("content-length: 0\r\n"), "{status}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{status}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{status}: {answer}");
    }
}

#[tokio::test]
async fn a_panic_is_a_500_and_nothing_of_it_is_told() {
    let server = start().await;
    let admin = "Authorization: Bearer admin-token\r\n";
    let answer = send(server.addr, &request("GET /panics", admin, "")).await;
    assert_eq!(answer.status, 500);
    assert!(!answer.problem().to_string().contains("planted"));
    let answer = send(server.addr, &request("GET /things", VIEWER, "")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_handler_that_hangs_is_a_503_with_retry_after() {
    let server = start_with(|it| it.request_timeout = Duration::from_millis(50)).await;
    let answer = send(server.addr, &request("GET /slow", "", "")).await;
    assert_eq!(answer.status, 503);
    answer.problem();
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_again_and_health_is_still_told() {
    let server = start_with(|it| it.requests_per_s = NonZeroU32::new(2).expect("2")).await;
    let mut refused = None;
    for _ in 0..3 {
        let answer = send(server.addr, &request("GET /things", VIEWER, "")).await;
        refused = (answer.status == 429).then_some(answer);
    }
    let refused = refused.expect("the third is refused");
    refused.problem();
    assert_eq!(refused.header("retry-after"), Some("1"));
    for path in ["/livez", "/readyz", "/metrics", "/openapi.json"] {
        let answer = send(server.addr, &request(&format!("GET {path}"), "", "")).await;
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[tokio::test]
async fn too_many_at_once_are_told_to_come_again() {
    let server = start_with(|it| it.requests_max = 1).await;
    let mut slow = TcpStream::connect(server.addr).await.expect("connects");
    slow.write_all(&request("GET /slow", "", "")).await.expect("sent");
    let refused = loop {
        // Until the first has its place.
        let answer = send(server.addr, &request("GET /things", VIEWER, "")).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.status, 503);
    assert_eq!(refused.problem()["detail"], "too many requests at once");
    assert_eq!(refused.header("retry-after"), Some("1"));
    server.gate.add_permits(1);
    assert_eq!(receive(&mut slow).await.status, 200);
    assert_eq!(send(server.addr, &request("GET /things", VIEWER, "")).await.status, 200);
}

#[tokio::test]
async fn an_address_with_too_many_connections_is_told_so_and_others_come_in() {
    let server = start_with(|it| it.connections_per_address = 2).await;
    // Slow senders: each holds its connection with half a head.
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.addr).await.expect("connects");
        stream.write_all(b"GET /things HTTP/1.1\r\nHost: x\r\n").await.expect("sent");
        slow.push(stream);
    }
    let refused = send(server.addr, &request("GET /livez", "", "")).await;
    assert_eq!(refused.status, 429);
    refused.problem();
    assert_eq!(refused.header("retry-after"), Some("1"));
    let other = TcpSocket::new_v4().expect("a socket");
    other.bind("127.0.0.2:0".parse().expect("an address")).expect("all of 127/8 is ours");
    let mut other = other.connect(server.addr).await.expect("connects");
    other.write_all(&request("GET /livez", "", "")).await.expect("sent");
    assert_eq!(receive(&mut other).await.status, 200, "another address is not concerned");
    drop(slow);
    let mut last = refused.status;
    while last == 429 {
        last = send(server.addr, &request("GET /livez", "", "")).await.status;
    }
    assert_eq!(last, 200, "their places are free again");
}

#[tokio::test]
async fn forgeries_are_counted_and_what_is_signed_comes_in_beside_them() {
    let server = start_with(|it| it.requests_per_s = NonZeroU32::new(2).expect("2")).await;
    let signed = || request("POST /webhooks/things", "X-Signature: good\r\n", "");
    let forged = || request("POST /webhooks/things", "X-Signature: bad\r\n", "");
    let mut last = send(server.addr, &forged()).await;
    assert_eq!(last.status, 400);
    while last.status == 400 {
        last = send(server.addr, &forged()).await;
    }
    assert_eq!(last.status, 429);
    assert_eq!(last.header("retry-after"), Some("1"));
    for _ in 0..10 {
        assert_eq!(send(server.addr, &signed()).await.status, 200, "genuine, from there too");
    }
}

#[tokio::test]
async fn a_body_that_is_nested_too_deep_or_broken_is_a_400() {
    let server = start().await;
    let broken = b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
        Authorization: Bearer approver-token\r\nContent-Length: 23\r\n\r\n\
        {\"nameOfIt\":\"a\",\"b\":\"\xff\"}";
    assert_eq!(send(server.addr, broken).await.status, 400, "UTF-8 is broken in an unknown field");
    for levels in [101, 300] {
        let body = format!("{{\"nameOfIt\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        let answer = post(&server, &format!("{APPROVER}{JSON}"), &body).await;
        assert_eq!(answer.status, 400, "{levels}");
        assert!(answer.problem()["detail"].to_string().contains("deeper than 100 levels"));
    }
}

#[tokio::test]
async fn readyz_names_what_is_missing() {
    let server = start().await;
    let gate = server.health.gate("store");
    let answer = send(server.addr, &request("GET /readyz", "", "")).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.problem()["errors"][0]["pointer"], "/checks/store");
    assert_eq!(answer.header("retry-after"), Some("1"));
    gate.open();
    let answer = send(server.addr, &request("GET /readyz", "", "")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn metrics_count_by_route_and_strangers_cannot_grow_them() {
    let server = start().await;
    for path in ["/things/1", "/things/2", "/x1", "/x2"] {
        send(server.addr, &request(&format!("GET {path}"), VIEWER, "")).await;
    }
    send(server.addr, &request("BREW /things", VIEWER, "")).await;
    let text = send(server.addr, &request("GET /metrics", "", "")).await.body;
    assert!(text.contains("route=\"/things/{id}\",status=\"200\"} 2"), "{text}");
    assert!(text.contains("route=\"unmatched\",status=\"404\"} 2"), "{text}");
    assert!(!text.contains("BREW"), "{text}");
}

#[tokio::test]
async fn the_document_is_openapi_3_1_with_every_status() {
    let server = start().await;
    let text = send(server.addr, &request("GET /openapi.json", "", "")).await.body;
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    let create = &document["paths"]["/things"]["post"];
    for status in
        ["201", "400", "401", "403", "408", "409", "413", "415", "422", "429", "500", "503"]
    {
        assert!(create["responses"][status].is_object(), "{status} in {create}");
    }
    for path in ["/things", "/livez"] {
        let answers = &document["paths"][path]["get"]["responses"];
        assert!(answers["400"].is_object() && answers["431"].is_object(), "{answers}");
        assert!(answers["414"].is_object() && answers["414"]["content"].is_null(), "{answers}");
    }
    assert!(document["info"]["description"].as_str().expect("text").contains("without a body"));
    let headers = |status: &str| create["responses"][status]["headers"].clone();
    assert!(headers("201")["Location"].is_object() && headers("429")["Retry-After"].is_object());
    assert!(document["paths"]["/openapi.json"]["get"].is_object());
    assert_eq!(document["x-nats-procedures"], serde_json::json!([]));
    let media = &create["responses"]["422"]["content"]["application/problem+json"];
    assert!(media["schema"]["$ref"].as_str().expect("a schema").ends_with("/Problem"));
    assert!(document["components"]["schemas"]["Problem"].is_object());
    assert!(create["security"][0]["bearer"].is_array());
    assert!(document["paths"]["/readyz"]["get"]["responses"]["503"].is_object());
    let parameters = document["paths"]["/things"]["get"]["parameters"].as_array();
    assert_eq!(parameters.expect("parameters").len(), 2);
}

#[tokio::test]
async fn a_request_in_flight_is_finished_while_the_server_drains() {
    let server = start().await;
    let mut slow = TcpStream::connect(server.addr).await.expect("connects");
    slow.write_all(&request("GET /slow", "", "")).await.expect("sent");
    // The answer to a second request on another connection shows that the first was read.
    assert_eq!(send(server.addr, &request("GET /readyz", "", "")).await.status, 200);
    server.shutdown.ask();
    loop {
        let answer = send(server.addr, &request("GET /readyz", "", "")).await;
        if answer.status == 503 {
            assert_eq!(answer.problem()["detail"], "draining");
            break;
        }
    }
    while TcpStream::connect(server.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.gate.add_permits(1);
    let answer = receive(&mut slow).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "at last"));
    server.task.await.expect("the server ends");
}
