//! What stays on this machine.

use std::net::IpAddr;

/// Whether a URL leads to this machine. No proxy can reach it for us, and one that is asked gets to
/// see the token: a client of ours takes none for such a URL, whatever `http_proxy` says.
pub fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let name = match host.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    match name.parse::<IpAddr>() {
        // Connecting to no address in particular is connecting to oneself.
        Ok(address) => address.is_loopback() || address.is_unspecified(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_all_its_names() {
        for url in [
            "http://127.0.0.1:3000",
            "http://127.1.2.3/api",
            "http://localhost",
            "http://LOCALHOST:3000/",
            "http://[::1]:3000",
            "http://[::1]",
            "http://user:password@127.0.0.1:4222",
            "http://0.0.0.0:3000",
            "127.0.0.1:3000",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "https://api.stripe.com",
            "http://127.0.0.1.example",
            "http://localhost.example",
            "http://10.0.0.1:3000",
            "http://[2001:db8::1]:3000",
            "http://127.0.0.1@example.com/",
            "",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
