use super::DbError;
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// A place in a commit where a test can let it fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Before sled takes the batch.
    Apply,
    /// Before sled's flush.
    Flush,
    /// Before the fsync.
    Sync,
    /// Before the sidecar is written.
    Sidecar,
}

/// Failures that a test plans for a store that is open. Clones share the plan; without one nothing
/// fails.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Where, and after how many passes, the next failure comes.
    planned: Arc<Mutex<Option<(Fault, u64)>>>,
}

impl Faults {
    /// Lets the commit fail that passes `fault` after `passes` others did.
    pub fn plan(&self, fault: Fault, passes: u64) {
        *self.planned.lock().unwrap_or_else(PoisonError::into_inner) = Some((fault, passes));
    }

    pub(super) fn check(&self, at: Fault) -> Result<(), DbError> {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        match planned.as_mut() {
            Some((fault, passes)) if *fault == at && *passes > 0 => *passes -= 1,
            Some((fault, _)) if *fault == at => {
                *planned = None;
                return Err(failure(at));
            }
            _ => (),
        }
        Ok(())
    }
}

fn failure(at: Fault) -> DbError {
    let planned = io::Error::other("planned by a test");
    match at {
        Fault::Apply | Fault::Flush => DbError::Store(sled::Error::Io(planned)),
        Fault::Sync => DbError::Sync(planned),
        Fault::Sidecar => DbError::Sidecar(planned),
    }
}
