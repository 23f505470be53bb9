//! Token buckets: so many at once, then so many a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Addresses remembered; above it those whose bucket is full again are forgotten.
const ADDRESSES_MAX: usize = 10_000;

/// Meetings, guests, and WHIP and WHEP sessions that one address may make at once.
const PAGES_BURST: f64 = 60.0;

/// And then each second.
const PAGES_RATE: f64 = 2.0;

/// One bucket. Time is an argument.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    burst: f64,
    rate: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(burst: f64, rate: f64, now: Instant) -> Self {
        Self {
            burst,
            rate,
            tokens: burst,
            at: now,
        }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        self.at = now;
    }
}

/// Buckets by address, for what anybody may call.
#[derive(Debug, Default)]
pub(super) struct Limiter(Mutex<HashMap<IpAddr, Bucket>>);

impl Limiter {
    /// Whether this address may go on.
    pub(super) fn allow(&self, address: IpAddr, now: Instant) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= ADDRESSES_MAX {
            buckets.retain(|_, bucket| {
                bucket.refill(now);
                bucket.tokens < bucket.burst
            });
        }
        buckets
            .entry(address)
            .or_insert_with(|| Bucket::new(PAGES_BURST, PAGES_RATE, now))
            .take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(3.0, 2.0, start);
        assert_eq!((0..5).filter(|_| bucket.take(start)).count(), 3);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..5).filter(|_| bucket.take(later)).count(), 2);
    }

    #[test]
    fn addresses_do_not_share_a_bucket() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        while limiter.allow(one, now) {}
        assert!(limiter.allow(two, now));
    }
}
