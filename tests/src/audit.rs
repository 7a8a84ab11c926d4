//! What must hold when every order has ended, seen from outside: what the public APIs show is
//! gathered first ([`evidence`]), then compared with what was done ([`checks`]), so that each
//! comparison can be tried with a fault.

pub mod checks;
pub mod evidence;

use crate::{Failure, client::Api, scenarios::Way};
use evidence::Shelf;
use std::path::Path;

/// The shelf from which every scenario takes.
pub const SKU: &str = "WIDGET-001";

/// Faults that one message names; the others are more of the same.
const NAMED_MAX: usize = 20;

/// Checks sagas, goods, money, mails, webhooks and events of these orders, which are all that the
/// system has; `shelf` is what stood there before them.
///
/// # Errors
/// Something is open, was lost, or was done twice.
pub async fn check(api: &Api, spool: &Path, shelf: Shelf, ways: &[Way]) -> Result<(), Failure> {
    let seen = evidence::gather(api, spool, ways).await?;
    let faults = checks::all(&seen, shelf, ways);
    if faults.is_empty() {
        return Ok(());
    }
    let named: Vec<&str> = faults.iter().take(NAMED_MAX).map(String::as_str).collect();
    Err(format!("{} faults:\n{}", faults.len(), named.join("\n")))
}
