//! Ports for tests that start servers.

use rand::Rng as _;
use std::{
    net::{TcpListener, UdpSocket},
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// Below the ports that any common system gives to connections, above those of known services.
const PORTS: Range<u16> = 10_000..32_000;

/// A TCP port of 127.0.0.1 that is free, and that no other test on this machine is given until this
/// process ends. A server that was killed finds it free when it comes back.
///
/// Asking the system for a port and giving it back does not do that: somebody else's connection may
/// have it before the server does. So the UDP port of the same number is held as its sign.
///
/// # Panics
/// None of 22,000 ports is free.
pub fn reserved_port() -> u16 {
    static HELD: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    let first = rand::rng().random_range(PORTS);
    for port in (first..PORTS.end).chain(PORTS.start..first) {
        // Somebody else may have a server there who knows nothing of this.
        let Ok(held) = UdpSocket::bind(("127.0.0.1", port)) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            HELD.lock().unwrap_or_else(PoisonError::into_inner).push(held);
            return port;
        }
    }
    panic!("none of the ports {PORTS:?} of 127.0.0.1 is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_given_a_port_that_somebody_has() {
        let ports: std::collections::BTreeSet<u16> = (0..500).map(|_| reserved_port()).collect();
        assert_eq!(ports.len(), 500);
        let port = ports.first().copied().unwrap_or_default();
        assert!(UdpSocket::bind(("127.0.0.1", port)).is_err(), "who has no sign is given none");
        TcpListener::bind(("127.0.0.1", port)).expect("it is free for its server");
    }
}
