//! How many connections there may be, and how many of them from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::rate::counted_as;

/// Open connections at most; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 4_096;
/// Files that the process needs beside its connections: the store, the broker, providers, logs.
const FILES_RESERVED: usize = 256;
/// Fewer connections than this serve nobody, whatever the system allows.
const CONNECTIONS_MIN: usize = 64;
/// Connections over the limit that are being told so at the same time; further ones are closed
/// without a word.
const REFUSALS_MAX: usize = 64;
/// For a refused sender to take its answer.
const REFUSAL_TIME: Duration = Duration::from_millis(500);
/// What is read of a refused request, so that its sender sees the answer instead of a reset.
const REFUSAL_BYTES_MAX: u64 = 64 * 1024;
const DETAIL: &str = "too many connections from this address";

/// Who is here now.
pub(super) struct Crowd {
    max: usize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    refusals: Semaphore,
}

/// One connection that counts as long as it lives.
pub(super) struct Guest {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    pub(super) fn new(max: usize) -> Arc<Crowd> {
        let refusals = Semaphore::new(REFUSALS_MAX);
        Arc::new(Crowd { max, by_address: Mutex::default(), refusals })
    }

    /// Nothing when the address has too many already.
    pub(super) fn enter(self: &Arc<Crowd>, peer: IpAddr) -> Option<Guest> {
        let address = counted_as(peer);
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        if self.max <= *count {
            return None;
        }
        *count += 1;
        Some(Guest { crowd: Arc::clone(self), address })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let by_address = &self.crowd.by_address;
        let mut by_address = by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// How many connections the process can hold. The usual limit of files is 1,024, and a process that
/// has none left cannot write its store either: it is raised as far as the system lets us, and the
/// rest is kept free.
pub(super) fn connections_max() -> usize {
    let wanted = (CONNECTIONS_MAX + FILES_RESERVED) as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let files = match current {
        Some(current) if current < wanted => {
            let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
            let limit = Rlimit { current: Some(raised), maximum };
            if setrlimit(Resource::Nofile, limit).is_ok() { raised } else { current }
        }
        _ => wanted,
    };
    let files = usize::try_from(files).unwrap_or(CONNECTIONS_MAX);
    files.saturating_sub(FILES_RESERVED).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// Says 429 to a connection that does not come in.
pub(super) fn refuse(crowd: &Arc<Crowd>, mut stream: TcpStream) {
    let crowd = Arc::clone(crowd);
    tokio::spawn(async move {
        let Ok(_place) = crowd.refusals.try_acquire() else { return };
        let telling = async {
            stream.write_all(answer().as_bytes()).await?;
            stream.shutdown().await?;
            let mut rest = stream.take(REFUSAL_BYTES_MAX);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
        };
        // A sender that does not listen is not told.
        let _unheard = tokio::time::timeout(REFUSAL_TIME, telling).await;
    });
}

fn answer() -> String {
    let body = format!(
        "{{\"type\":\"about:blank\",\"title\":\"Too Many Requests\",\"status\":429,\
         \"detail\":\"{DETAIL}\",\"errors\":[]}}"
    );
    let length = body.len();
    format!(
        "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/problem+json\r\n\
         content-length: {length}\r\nretry-after: 1\r\nconnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_places_and_gives_them_back() {
        let crowd = Crowd::new(2);
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let guests = [crowd.enter(one), crowd.enter(one)];
        assert!(guests.iter().all(Option::is_some));
        assert!(crowd.enter(one).is_none(), "the third is too many");
        assert!(crowd.enter(two).is_some(), "another address is not concerned");
        drop(guests);
        assert!(crowd.enter(one).is_some());
        assert!(crowd.by_address.lock().expect("no panic").is_empty(), "nobody is here any more");
    }

    #[test]
    fn files_are_left_for_the_store() {
        let connections = connections_max();
        assert!((CONNECTIONS_MIN..=CONNECTIONS_MAX).contains(&connections));
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!((connections + FILES_RESERVED) as u64 <= files, "{connections} of {files}");
    }
}
