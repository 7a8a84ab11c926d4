//! How often one address may come.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Most addresses that are counted one by one: some 6 MiB. Those beyond share one quota, so that
/// an attacker with many addresses slows newcomers, not memory, and nobody who was known.
const ADDRESSES_MAX: usize = 65_536;
/// How many new addresses come between two sweeps of those that have been quiet.
const SWEEP_EVERY: usize = 1_024;

/// A rate per peer address, in bounded memory.
pub(super) struct RateLimit {
    by_address: DefaultKeyedRateLimiter<IpAddr>,
    overflow: DefaultDirectRateLimiter,
    /// Counts towards the next sweep.
    since_sweep: std::sync::atomic::AtomicUsize,
    clock: DefaultClock,
}

impl RateLimit {
    /// As many requests each second, and as many at once.
    pub(super) fn per_second(requests: NonZeroU32) -> RateLimit {
        let quota = Quota::per_second(requests);
        RateLimit {
            by_address: RateLimiter::keyed(quota),
            overflow: RateLimiter::direct(quota),
            since_sweep: 0.into(),
            clock: DefaultClock::default(),
        }
    }

    /// Takes one from the address's quota, or says how long to wait.
    pub(super) fn take(&self, peer: IpAddr) -> Result<(), Duration> {
        use std::sync::atomic::Ordering::Relaxed;
        if self.since_sweep.fetch_add(1, Relaxed) >= SWEEP_EVERY
            && self.by_address.len() >= SWEEP_EVERY
        {
            self.since_sweep.store(0, Relaxed);
            self.by_address.retain_recent();
        }
        let refused = if self.by_address.len() < ADDRESSES_MAX {
            self.by_address.check_key(&counted_as(peer)).err()
        } else {
            self.overflow.check().err()
        };
        refused.map_or(Ok(()), |until| Err(until.wait_time_from(self.clock.now())))
    }
}

/// One party is one IPv4 address or one IPv6 /64 network, which is what a subscriber gets.
pub(super) fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_second: u32) -> RateLimit {
        RateLimit::per_second(NonZeroU32::new(per_second).expect("not zero"))
    }

    #[test]
    fn each_address_has_its_own_quota_and_is_told_how_long_to_wait() {
        let limit = limit(2);
        let (one, two) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        assert!(limit.take(one).is_ok() && limit.take(one).is_ok());
        let wait = limit.take(one).expect_err("the third is too many");
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
        assert!(limit.take(two).is_ok());
    }

    #[test]
    fn a_mapped_address_and_a_network_count_as_one_party() {
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().expect("an address");
        assert_eq!(counted_as(mapped), IpAddr::from([10, 0, 0, 1]));
        let a: IpAddr = "2001:db8:1:2:3::4".parse().expect("an address");
        let b: IpAddr = "2001:db8:1:2:ffff::1".parse().expect("an address");
        assert_eq!(counted_as(a), counted_as(b));
    }

    #[test]
    fn a_million_addresses_do_not_grow_the_table_without_bound() {
        let limit = limit(1);
        for bits in 0..200_000_u32 {
            let _refusal_is_fine = limit.take(IpAddr::V4(bits.into()));
        }
        assert!(limit.by_address.len() <= ADDRESSES_MAX);
    }
}
