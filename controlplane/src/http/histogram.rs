//! Latencies as Prometheus takes them: counts below fixed bounds, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in seconds: half a millisecond is a request that does nothing, ten seconds is lost.
pub(super) const BOUNDS: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0,
];

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// By bound; what is above all of them is in none.
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

/// A histogram as it was.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    /// How many were at most each bound.
    pub(super) cumulative: [u64; BOUNDS.len()],
    pub(super) count: u64,
    pub(super) seconds: f64,
}

impl Histogram {
    pub(super) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(at) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.buckets[at].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Reading {
        let mut sum = 0;
        let cumulative = self.buckets.each_ref().map(|bucket| {
            sum += bucket.load(Ordering::Relaxed);
            sum
        });
        Reading {
            cumulative,
            // Never below the last bucket, whatever was counted while this was read.
            count: self.count.load(Ordering::Relaxed).max(sum),
            seconds: self.micros.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let histogram = Histogram::default();
        for millis in [1, 3, 3, 20_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let reading = histogram.read();
        assert_eq!(reading.cumulative, [0, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3]);
        assert_eq!((reading.count, reading.seconds), (4, 20.007));
    }
}
