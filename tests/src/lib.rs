//! Everything that crosses crates: real processes, seen from outside.
//!
//! - [`audit`]: what must hold when every order has ended.
//! - [`bench`]: loads, and what is read off.
//! - [`chance`]: what a seed decides.
//! - [`client`]: the public APIs, as a stranger would call them.
//! - [`fingerprint`]: whether anything was written to any store.
//! - [`kills`]: orders in flight while processes are killed.
//! - [`raw`]: HTTP as bytes.
//! - [`scenarios`]: the ways of an order, from the customer's click to its end.
//! - [`shared`]: one system for all tests of a program.
//! - [`signed`]: webhooks with the signatures of their providers.
//! - [`stack`]: a whole system of its own on free ports, to kill and to freeze.
//! - [`wire`]: NATS itself, to call, to stand in and to witness.
//!
//! The demonstration (`demo`) runs the scenarios against any running system.

pub mod audit;
pub mod bench;
pub mod chance;
pub mod client;
pub mod fingerprint;
pub mod kills;
pub mod raw;
pub mod scenarios;
pub mod shared;
pub mod signed;
pub mod stack;
pub mod wire;

use std::{future::Future, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

/// What went wrong, in words for whoever reads the test's output.
pub type Failure = String;

/// How often a condition is looked at, at first.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often at last: many orders that wait for minutes must not be a load of their own.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(1);

/// Looks until the condition gives something. This is the only place that lets time pass.
///
/// # Errors
/// It did not in that time; the message names what was awaited, and what was seen last.
pub async fn until<T, F, Fut>(what: &str, within: Duration, mut look: F) -> Result<T, Failure>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Failure>>,
{
    let deadline = Instant::now() + within;
    let mut pause = LOOK_EVERY;
    loop {
        match look().await {
            Ok(it) => return Ok(it),
            Err(seen) if deadline < Instant::now() => {
                return Err(format!("not within {} s: {what}; {seen}", within.as_secs()));
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 11 / 10).min(LOOK_EVERY_MAX);
    }
}

/// Ends when this program is asked to stop: what it has started is to be stopped first.
///
/// # Errors
/// Signals cannot be heard.
pub async fn asked_to_stop() -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(|err| format!("no signals: {err}"));
    let (mut interrupt, mut terminate) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
    }
    Ok(())
}
