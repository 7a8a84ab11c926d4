//! Answers that their askers do not read, or read slowly.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use chassis::http::{Health, Limits, serve};
use chassis::shutdown::Shutdown;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

/// More than the system takes off our hands for a peer that reads nothing.
const LARGE: usize = 64 << 20;
/// What the slow reader takes at once, and how long it rests in between: too slow for
/// [`LARGE`] within many times [`PATIENCE`].
const PIECE: usize = 128 << 10;
const REST: Duration = Duration::from_millis(50);
/// For this test only; long enough for a reader that a busy machine does not let run.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long something may take that takes no time.
const SOON: Duration = Duration::from_secs(60);

/// Serves `/large`, `/small`, and `/quiet`, whose second half comes when a permit is added; to one
/// connection of an address at a time.
async fn start(send_timeout: Duration) -> (SocketAddr, &'static Semaphore) {
    let gate: &'static Semaphore = Box::leak(Box::new(Semaphore::new(0)));
    let quiet = move || async move {
        let halves = futures::stream::unfold(0_u8, move |sent| async move {
            let half = match sent {
                0 => Bytes::from_static(b"one "),
                1 => gate.acquire().await.map(|_| Bytes::from_static(b"two")).ok()?,
                _ => return None,
            };
            Some((Ok::<_, std::convert::Infallible>(half), sent + 1))
        });
        Body::from_stream(halves)
    };
    let router = Router::new()
        .route("/large", get(async || Bytes::from(vec![b'x'; LARGE])))
        .route("/small", get(async || "small"))
        .route("/quiet", get(quiet));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let limits = Limits { connections_per_address: 1, send_timeout, ..Limits::default() };
    tokio::spawn(serve(listener, router, limits, Health::new(), Shutdown::new()));
    (addr, gate)
}

/// Asks, over a connection that keeps little of what it is sent.
async fn ask(addr: SocketAddr, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 << 10).expect("a small buffer");
    let mut stream = socket.connect(addr).await.expect("connects");
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream
}

async fn rest_of(stream: &mut TcpStream) -> (Vec<u8>, std::io::Result<usize>) {
    let mut read = Vec::new();
    let ended = tokio::time::timeout(SOON, stream.read_to_end(&mut read)).await;
    (read, ended.expect("it ends"))
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_answer_loses_its_connection() {
    let (addr, _) = start(Duration::from_millis(500)).await;
    let mut deaf = ask(addr, "/large").await;
    // The first byte shows that the answer is on its way.
    deaf.read_exact(&mut [0]).await.expect("a byte");
    let began = Instant::now();
    loop {
        let (answer, _) = rest_of(&mut ask(addr, "/small").await).await;
        if answer.starts_with(b"HTTP/1.1 200") {
            break;
        }
        assert!(answer.starts_with(b"HTTP/1.1 429"), "{}", String::from_utf8_lossy(&answer));
        assert!(began.elapsed() < SOON, "it still holds its place");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (read, ended) = rest_of(&mut deaf).await;
    assert!(ended.is_err() || read.len() < LARGE, "the answer was not given in full");
}

#[tokio::test]
async fn a_slow_reader_that_gets_on_has_all_of_its_answer() {
    let (addr, _) = start(PATIENCE).await;
    let mut slow = ask(addr, "/large").await;
    let (began, mut piece, mut count) = (Instant::now(), vec![0; PIECE], 0);
    while began.elapsed() < 3 * PATIENCE {
        slow.read_exact(&mut piece).await.expect("it is not cut off");
        count += PIECE;
        tokio::time::sleep(REST).await;
    }
    assert!(count < LARGE / 2, "the server had to wait for it");
    let (read, ended) = rest_of(&mut slow).await;
    ended.expect("it is not cut off");
    assert!(LARGE < count + read.len(), "{count} and {} bytes", read.len());
}

#[tokio::test]
async fn a_stream_that_has_nothing_to_say_stays_open() {
    let patience = Duration::from_millis(100);
    let (addr, gate) = start(patience).await;
    let mut stream = ask(addr, "/quiet").await;
    let began = Instant::now();
    while began.elapsed() < 10 * patience {
        tokio::time::sleep(patience).await;
    }
    gate.add_permits(1);
    let (read, ended) = rest_of(&mut stream).await;
    ended.expect("it is not cut off");
    let read = String::from_utf8_lossy(&read);
    assert!(read.contains("one ") && read.contains("two"), "{read}");
}
