//! How many checks one source may have looked at: each costs an HMAC, and whoever knows a user
//! fragment can ask for as many as its line carries.
//!
//! Counted are only checks from addresses that no valid check came from yet, so that nobody who
//! forges a source takes away the checks a living session rests on.

use std::net::IpAddr;
use std::time::Duration;

use crate::time::Time;

/// Checks of people who come, of one source, in a second: some 0.3 % of a core's time. A valid check takes its address
/// out of the count, so that is also how many addresses behind one translator begin in a second, and a hall full of
/// people opens a talk at the same moment.
pub const OF_NEWCOMERS: u32 = 2_000;

/// Questions for one's own address, of one source, in a second.
pub const OF_STRANGERS: u32 = 200;

/// Checks of one session from addresses that it has not proved yet, in a second: many times what a client with a dozen
/// addresses sends. Whoever knows the user fragment of one session gets no more than that looked at, from as many sources
/// as he likes.
const OF_A_SESSION: u16 = 100;

/// How far ahead a source may be: what it may ask in this time it may ask at once.
const AHEAD_MAX: Duration = Duration::from_secs(2);

/// Sources kept at a time, a power of two: 24 KB.
const SOURCES: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Source {
    network: u64,
    /// When what the source sent so far would be through at the allowed rate.
    through: Time,
}

/// The recent sources of checks. Two that share a place take it from each other, and then neither is
/// limited: memory stays bounded, and nobody is kept out by somebody else.
#[derive(Debug)]
pub struct CheckLimit {
    /// The time one check takes up.
    interval: Duration,
    sources: Box<[Source]>,
}

impl CheckLimit {
    /// So many checks of each source in a second.
    #[must_use]
    pub fn per_second(rate: u32) -> Self {
        let nobody = Source {
            network: 0,
            through: Time::ZERO,
        };
        Self {
            interval: Duration::from_secs(1) / rate,
            sources: vec![nobody; SOURCES].into_boxed_slice(),
        }
    }

    /// Whether a check from `ip` may be looked at now. One that is refused does not count.
    #[must_use]
    pub fn allow(&mut self, now: Time, ip: IpAddr) -> bool {
        let network = network(ip);
        // Fibonacci hashing spreads neighbours.
        let hash = network.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let source = &mut self.sources[(hash >> 32) as usize % SOURCES];
        if source.network != network {
            *source = Source {
                network,
                through: now,
            };
        }
        let through = source.through.max(now) + self.interval;
        if through > now + AHEAD_MAX {
            return false;
        }
        source.through = through;
        true
    }
}

/// The checks of one session from addresses that it has not proved yet.
#[derive(Debug, Default)]
pub struct Unproved {
    since: Time,
    count: u16,
}

impl Unproved {
    /// Whether another one may be looked at now. One that is refused does not count.
    #[must_use]
    pub fn allow(&mut self, now: Time) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            *self = Self { since: now, count: 0 };
        }
        let allowed = self.count < OF_A_SESSION;
        self.count += u16::from(allowed);
        allowed
    }
}

/// What one subscriber has: an IPv4 address, or 64 bits of IPv6 (RFC 6177).
fn network(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()) | 1 << 63,
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(limit: &mut CheckLimit, now: Time, ip: &str, count: usize) -> usize {
        let ip = ip.parse().expect("literal");
        (0..count).filter(|_| limit.allow(now, ip)).count()
    }

    #[test]
    fn a_burst_then_a_rate() {
        let mut limit = CheckLimit::per_second(200);
        let start = Time::from_millis(1000);
        assert_eq!(allowed(&mut limit, start, "192.0.2.1", 1000), 400);
        assert_eq!(allowed(&mut limit, start, "192.0.2.1", 1000), 0);
        let later = start + Duration::from_secs(1);
        assert_eq!(allowed(&mut limit, later, "192.0.2.1", 1000), 200);
        assert_eq!(
            allowed(&mut limit, later, "192.0.2.2", 1),
            1,
            "others are not held"
        );
        let rested = later + Duration::from_secs(60);
        assert_eq!(allowed(&mut limit, rested, "192.0.2.1", 1000), 400);
    }

    #[test]
    fn a_session_takes_so_many_in_a_second() {
        let mut unproved = Unproved::default();
        let start = Time::from_millis(5_000);
        assert_eq!((0..1000).filter(|_| unproved.allow(start)).count(), 100);
        let later = start + Duration::from_millis(999);
        assert!(!unproved.allow(later));
        let next = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| unproved.allow(next)).count(), 100);
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_source() {
        let mut limit = CheckLimit::per_second(200);
        let now = Time::from_millis(1000);
        let spread = (0..1000u32)
            .filter(|host| {
                let ip = format!("2001:db8:1:2::{host:x}");
                allowed(&mut limit, now, &ip, 1) == 1
            })
            .count();
        assert_eq!(spread, 400);
        assert_eq!(allowed(&mut limit, now, "2001:db8:1:3::1", 1), 1);
        assert_eq!(
            network("::ffff:192.0.2.1".parse().expect("literal")),
            network("192.0.2.1".parse().expect("literal"))
        );
    }
}
