//! The server: its doors, its start and its stop.

use crate::{config::Config, control, courier, dashboard, office::Office, stripe};
use axum::{Router, extract::DefaultBodyLimit, http::StatusCode, routing::get};
use std::{future::Future, io, sync::Arc};
use tokio::net::TcpListener;

/// No request of these interfaces is anywhere near this size.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// Why the sandbox did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be read or written.
    #[error("journal: {0}")]
    Journal(#[source] io::Error),
    /// The server failed.
    #[error("server: {0}")]
    Server(#[source] io::Error),
}

/// Serves on this listener until `stop` resolves.
///
/// # Errors
/// The journal cannot be opened, or the server fails.
pub async fn run(
    config: Config,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StartError> {
    // Another one may have been installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let office = Office::open(config).map_err(StartError::Journal)?;
    let address = listener.local_addr().map_err(StartError::Server)?;
    tracing::info!("the outside world listens on {address}");
    axum::serve(listener, router(office))
        .with_graceful_shutdown(stop)
        .await
        .map_err(StartError::Server)
}

fn router(office: Arc<Office>) -> Router {
    Router::new()
        .route("/livez", get(|| async { StatusCode::OK }))
        .route("/readyz", get(|| async { StatusCode::OK }))
        .nest("/courier", courier::router())
        .nest("/sandbox", control::router().merge(dashboard::router()))
        .merge(stripe::router(Arc::clone(&office)))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(office)
}
