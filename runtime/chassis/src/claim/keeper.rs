//! Keeps a record as long as its process runs.

use super::{Claim, ClaimError, Kept};
use crate::{http::Gate, nats::NatsError};
use std::{pin::pin, time::Duration};
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
/// After a broker that did not answer.
const PAUSE: Duration = Duration::from_millis(250);
/// For the last record when the process goes down.
const LAST: Duration = Duration::from_secs(1);

/// A task that renews a record.
#[derive(Debug)]
pub struct Keeper {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Starts it, and lets those who wait use each connection on which the claim was made or found
    /// again: while there was none, another process may have taken our place. What is received says
    /// that the store may be used no more. The gate is closed while the broker answers, but keeps
    /// no record: one whose disk was full takes nothing until it is started again, and nobody else
    /// may notice.
    pub fn start(
        claiming: impl Future<Output = Result<Claim, ClaimError>> + Send + 'static,
        allowed: watch::Sender<u64>,
        gate: Gate,
    ) -> (Keeper, oneshot::Receiver<ClaimError>) {
        let (stop, (fail, failed)) = (CancellationToken::new(), oneshot::channel());
        let stopped = stop.clone();
        gate.open();
        let task = tokio::spawn(async move {
            let in_vain = InVain { gate, count: 0 };
            if let Err(error) = keep(claiming, &allowed, in_vain, &stopped).await {
                // Its parts have no broker any more, whatever they still do until they have ended.
                allowed.send_replace(0);
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

/// Counts how often the broker kept no record, one after the other.
struct InVain {
    gate: Gate,
    count: u32,
}

impl InVain {
    /// A broker that is away says nothing of what it takes.
    fn said(&mut self, kept: Kept) {
        let why = match kept {
            Kept::Unknown => return,
            Kept::No(why) => why,
            Kept::Yes => {
                self.count = 0;
                return self.gate.open();
            }
        };
        self.count += 1;
        if self.count == IN_VAIN_MAX {
            tracing::warn!(why, "the broker takes nothing");
            self.gate.close(format!("the broker takes nothing: {why}"));
        }
    }
}

async fn keep(
    claiming: impl Future<Output = Result<Claim, ClaimError>>,
    allowed: &watch::Sender<u64>,
    mut in_vain: InVain,
    stop: &CancellationToken,
) -> Result<(), ClaimError> {
    let mut claim = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        claimed = claiming => claimed?,
    };
    loop {
        let kept = tokio::select! {
            () = stop.cancelled() => break,
            kept = keep_on_one_connection(&mut claim, allowed, &mut in_vain) => kept,
        };
        match kept {
            // Not the claim is lost: the process hears of this by itself.
            Err(ClaimError::Nats(NatsError::Closed)) => {
                stop.cancelled().await;
                return Ok(());
            }
            Err(error) if error.is_final() && !is_of_an_old_server(&error) => return Err(error),
            Err(error) => {
                // One whose connection broke says nothing of the broker.
                if claim.nats.is_up() {
                    in_vain.said(Kept::No(error.to_string()));
                }
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = sleep(PAUSE) => (),
                }
            }
            Ok(()) => (),
        }
    }
    // One that was replaced ends anyway, and a broker that is away has an older position.
    let _last = tokio::time::timeout(LAST, claim.leave()).await;
    Ok(())
}

/// Who has begun with a newer one waits: this one may be replaced.
fn is_of_an_old_server(error: &ClaimError) -> bool {
    matches!(error, ClaimError::Nats(NatsError::Version { .. }))
}

/// Returns when the connection is no more.
async fn keep_on_one_connection(
    claim: &mut Claim,
    allowed: &watch::Sender<u64>,
    in_vain: &mut InVain,
) -> Result<(), ClaimError> {
    let connection = claim.nats.connection().await?;
    let nats = claim.nats.clone();
    let mut broken = pin!(nats.broken(connection));
    // What was asked on a connection that is no more is not answered.
    tokio::select! {
        () = &mut broken => return Ok(()),
        kept = claim.confirm() => in_vain.said(kept?),
    }
    allowed.send_replace(connection);
    loop {
        tokio::select! {
            () = &mut broken => return Ok(()),
            () = sleep(RENEW_EVERY) => (),
            // It may have taken the place of this one, which slept.
            () = claim.presence.asked() => (),
        }
        tokio::select! {
            () = &mut broken => return Ok(()),
            kept = claim.renew() => in_vain.said(kept?),
        }
    }
}
