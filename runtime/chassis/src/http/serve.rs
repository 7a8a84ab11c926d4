//! Accepting connections, and letting go of them.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use super::crowd::{Crowd, connections_max, refuse};
use super::peer::Hangup;
use super::unread::Unread;
use super::{Health, Limits};
use crate::shutdown::Shutdown;

/// For the head of a request to arrive, which also ends idle connections.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);
/// Enough for any honest head, small enough for thousands of connections. What the library reads
/// ahead may be more, so the door counts once more.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Load balancers get this long to see that `/readyz` says no, before connections are refused.
const NOTICE: Duration = Duration::from_millis(500);
/// Requests in flight get this long to end.
const DRAIN: Duration = Duration::from_secs(8);
/// After a failed accept (too many open files, mostly) there is nothing to do but wait.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown` is asked, then drains: `/readyz` says 503 at once, new connections
/// are still taken for a short notice, requests in flight get a bounded time to end. Of `limits` it
/// minds the connections of one address, and how long one of them may take nothing of its answer;
/// the rest is the router's.
///
/// The whole takes at most 9 s from the asking on.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    health: Health,
    shutdown: Shutdown,
) {
    let connections = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(connections_max()));
    let crowd = Crowd::new(limits.connections_per_address);
    let stop = async {
        shutdown.asked().await;
        health.drain();
        tokio::time::sleep(NOTICE).await;
    };
    tokio::pin!(stop);
    loop {
        // A slot first: what is beyond the limit waits in the kernel's queue.
        let slot = tokio::select! {
            () = &mut stop => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        let (stream, peer) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener) => accepted,
        };
        let Some(guest) = crowd.enter(peer.ip()) else {
            refuse(&crowd, stream);
            continue;
        };
        let hangup = Hangup::default();
        let stream = Unread::bounded(stream, limits.send_timeout);
        let connection = connection(stream, peer, hangup.clone(), router.clone());
        let watched = connections.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                // What broke off, was no HTTP or was not read is its sender's affair.
                ended = watched => if let Err(error) = ended {
                    tracing::debug!(?error, "a connection ended early");
                },
                () = hangup.asked() => (),
            }
            drop((slot, guest));
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, connections.shutdown()).await.is_err() {
        tracing::warn!("left requests in flight behind after {} s", DRAIN.as_secs());
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Small answers must not wait for the peer's delayed acknowledgement.
                let _unchanged = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn connection(
    stream: Unread,
    peer: SocketAddr,
    hangup: Hangup,
    router: Router,
) -> http1::Connection<
    TokioIo<Unread>,
    impl hyper::service::Service<
        Request<Incoming>,
        Response = Response,
        Error = Infallible,
        Future = impl Future<Output = Result<Response, Infallible>>,
    >,
> {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(hangup.clone());
        router.clone().oneshot(request)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
}
