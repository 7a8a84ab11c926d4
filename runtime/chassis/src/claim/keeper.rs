//! Keeps a record as long as its process runs.

use super::{Claim, ClaimError};
use crate::http::Gate;
use std::time::Duration;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// How old the position in a record may be, and how late a process that was replaced notices it.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Renewals in vain after which the broker is said to take nothing: one may be chance.
const IN_VAIN_MAX: u32 = 2;
/// For the last record when the process goes down.
const LAST: Duration = Duration::from_secs(1);

/// A task that renews a record.
#[derive(Debug)]
pub struct Keeper {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Starts it, and lets those go who wait for the claim. What is received says that the store
    /// may be used no more. The gate is closed while the broker answers, but keeps no record: one
    /// whose disk was full takes nothing until it is started again, and nobody else may notice.
    pub fn start(
        claiming: impl Future<Output = Result<Claim, ClaimError>> + Send + 'static,
        is_free: watch::Sender<bool>,
        gate: Gate,
    ) -> (Keeper, oneshot::Receiver<ClaimError>) {
        let (stop, (fail, failed)) = (CancellationToken::new(), oneshot::channel());
        let stopped = stop.clone();
        gate.open();
        let task = tokio::spawn(async move {
            if let Err(error) = keep(claiming, &is_free, &gate, &stopped).await {
                // The process may be on its way out.
                let _gone = fail.send(error);
                // Whoever waits for the claim has nothing to say about it.
                stopped.cancelled().await;
            }
        });
        (Keeper { stop, task }, failed)
    }

    /// Writes the last position and ends; the store must not be written any more.
    pub async fn end(self) {
        self.stop.cancel();
        // It panics nowhere that would matter now.
        let _ended = self.task.await;
    }
}

async fn keep(
    claiming: impl Future<Output = Result<Claim, ClaimError>>,
    is_free: &watch::Sender<bool>,
    gate: &Gate,
    stop: &CancellationToken,
) -> Result<(), ClaimError> {
    let mut claim = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        claimed = claiming => claimed?,
    };
    is_free.send_replace(true);
    let mut in_vain = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(RENEW_EVERY) => (),
            // It may have taken the place of this one, which slept.
            () = claim.presence.asked() => (),
        }
        match claim.renew().await? {
            None => {
                in_vain = 0;
                gate.open();
            }
            Some(why) => {
                in_vain += 1;
                if in_vain == IN_VAIN_MAX {
                    tracing::warn!(why, "the broker takes nothing");
                    gate.close(format!("the broker takes nothing: {why}"));
                }
            }
        }
    }
    // One that was replaced ends anyway, and a broker that is away has an older position.
    let _last = tokio::time::timeout(LAST, claim.renew()).await;
    Ok(())
}
