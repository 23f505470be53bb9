//! Token buckets: so many at once, then so many a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Callers remembered; above it those whose bucket is full again are forgotten.
const CALLERS_MAX: usize = 10_000;

/// So many at once, and then so many a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    pub(super) burst: f64,
    pub(super) per_second: f64,
}

/// Meetings, guests, and WHIP and WHEP sessions of one address.
pub(super) const PAGES: Rate = Rate {
    burst: 60.0,
    per_second: 2.0,
};

/// Wrong API keys of one address: enough for a script that is being written, too few to guess.
pub(super) const WRONG_KEYS: Rate = Rate {
    burst: 60.0,
    per_second: 1.0,
};

/// Whose bucket it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    /// Somebody at this address, of what anybody may call.
    Address(IpAddr),
    /// A holder of an API key.
    Key(String),
    /// Somebody at this address without a right one.
    Stranger(IpAddr),
}

/// One bucket. Time is an argument.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    rate: Rate,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            tokens: rate.burst,
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
        self.tokens = (self.tokens + passed * self.rate.per_second).min(self.rate.burst);
        self.at = now;
    }

    /// How long until there is one again, in whole seconds.
    fn wait(&self) -> Duration {
        let missing = (1.0 - self.tokens).max(0.0);
        Duration::from_secs_f64((missing / self.rate.per_second).ceil().clamp(1.0, 3600.0))
    }
}

/// Buckets by caller.
#[derive(Debug, Default)]
pub(super) struct Limiter(Mutex<HashMap<Caller, Bucket>>);

impl Limiter {
    /// Whether this caller may go on.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn allow(&self, caller: Caller, rate: Rate, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= CALLERS_MAX {
            buckets.retain(|_, bucket| {
                bucket.refill(now);
                bucket.tokens < bucket.rate.burst
            });
        }
        let bucket = buckets.entry(caller).or_insert_with(|| Bucket::new(rate, now));
        if bucket.take(now) {
            Ok(())
        } else {
            Err(bucket.wait())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        burst: 3.0,
        per_second: 2.0,
    };

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RATE, start);
        assert_eq!((0..5).filter(|_| bucket.take(start)).count(), 3);
        assert_eq!(bucket.wait(), Duration::from_secs(1));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..5).filter(|_| bucket.take(later)).count(), 2);
    }

    #[test]
    fn callers_do_not_share_a_bucket() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        let one = IpAddr::from([192, 0, 2, 1]);
        while limiter.allow(Caller::Address(one), RATE, now).is_ok() {}
        let others = [
            Caller::Address(IpAddr::from([192, 0, 2, 2])),
            Caller::Stranger(one),
            Caller::Key("a".into()),
        ];
        for other in others {
            assert!(limiter.allow(other, RATE, now).is_ok());
        }
    }
}
