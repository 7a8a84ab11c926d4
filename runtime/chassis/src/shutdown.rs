//! Being asked to stop.
//!
//! A server is `run(config, shutdown)`: it ends when `shutdown` is asked. Tests ask by hand,
//! processes through [`Shutdown::on_signals`]. The second signal ends the process at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that was told twice to stop: 128 + SIGINT, as shells report it.
const EXIT_CODE_AT_ONCE: i32 = 130;

/// A handle on "stop now": clones share it, and it never goes back.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// A handle that nothing but [`Shutdown::ask`] triggers.
    #[must_use]
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// A handle that SIGINT and SIGTERM trigger. The second signal exits at once.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed, or outside a tokio runtime's reach.
    pub fn on_signals() -> std::io::Result<Shutdown> {
        let mut signals = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
        let shutdown = Shutdown::new();
        let asked = shutdown.clone();
        tokio::spawn(async move {
            any(&mut signals).await;
            tracing::info!("asked to stop; a second signal ends the process at once");
            asked.ask();
            any(&mut signals).await;
            tracing::warn!("asked twice to stop: leaving without draining");
            std::process::exit(EXIT_CODE_AT_ONCE);
        });
        Ok(shutdown)
    }

    /// Asks for the stop.
    pub fn ask(&self) {
        self.token.cancel();
    }

    /// Whether the stop was asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Ends when the stop is asked; at once when it was.
    pub async fn asked(&self) {
        self.token.cancelled().await;
    }
}

async fn any([first, second]: &mut [Signal; 2]) {
    tokio::select! {
        _ = first.recv() => (),
        _ = second.recv() => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_stop_and_it_stays_asked() {
        let shutdown = Shutdown::new();
        let other = shutdown.clone();
        let waiting = tokio::spawn(async move { other.asked().await });
        assert!(!shutdown.is_asked());
        shutdown.ask();
        waiting.await.expect("the waiter ends");
        shutdown.asked().await;
        assert!(shutdown.is_asked());
    }
}
