//! The outside world of development, as a process of its own.

use sandbox::{config::Config, run};
use std::{future::Future, io::IsTerminal, process::ExitCode};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        // It would panic, as it cannot say on stderr that stderr cannot be written.
        .log_internal_errors(false)
        .init();
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            tracing::error!("sandbox: {fault}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::from_environment(|name| std::env::var(name).ok())?;
    let stop = stop_signal()?;
    let address = config.http_addr;
    let listener = TcpListener::bind(address).await.map_err(|fault| {
        format!("cannot listen on {address}: {fault}; free it or set SANDBOX_HTTP_ADDR")
    })?;
    Ok(run(config, listener, stop).await?)
}

/// Resolves at the first SIGINT or SIGTERM.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
    })
}
