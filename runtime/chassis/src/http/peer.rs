//! The other end of a connection.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use aide::OperationInput;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use tokio_util::sync::CancellationToken;

use super::rate::counted_as;

/// Who sent a request, for handlers whose answers last.
#[derive(Clone, Debug)]
pub struct Peer {
    /// One IPv4 address or one IPv6 /64 network: what limits count as one.
    pub party: IpAddr,
    hangup: Hangup,
}

impl Peer {
    /// Breaks the connection off at once, whatever is on its way: for a peer that does not read
    /// what it asked for. The peer sees that its answer is not complete.
    pub fn hang_up(&self) {
        self.hangup.0.cancel();
    }
}

/// One for each connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Hangup(CancellationToken);

impl Hangup {
    pub(super) async fn asked(&self) {
        self.0.cancelled().await;
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        // Only a test that calls the router without a connection has no peer.
        let address = address.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |it| it.0.ip());
        let hangup = parts.extensions.get::<Hangup>().cloned().unwrap_or_default();
        Ok(Peer { party: counted_as(address), hangup })
    }
}

impl OperationInput for Peer {}
