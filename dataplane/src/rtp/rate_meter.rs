//! Bits per second over the last second, in tenths: what statistics and choices between layers read.

use std::time::Duration;

use crate::time::Time;

/// Buckets of one window.
const BUCKETS: usize = 10;

/// Length of one bucket.
const BUCKET: Duration = Duration::from_millis(100);

/// Bytes over the last second. Forty bytes of state, no timer: old buckets are cleared when the meter
/// is next touched, and skipped when it is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct RateMeter {
    bytes: [u32; BUCKETS],
    /// Number of the newest bucket since the start of time.
    newest: u64,
    /// Number of the first bucket ever used.
    first: Option<u64>,
}

impl RateMeter {
    /// Accounts `bytes` at `now`.
    pub fn add(&mut self, now: Time, bytes: usize) {
        let bucket = number(now);
        if self.first.is_none() {
            self.first = Some(bucket);
            self.newest = bucket;
        }
        // What passed without a byte is empty.
        let passed = bucket.saturating_sub(self.newest).min(BUCKETS as u64);
        for step in 1..=passed {
            self.bytes[index(self.newest + step)] = 0;
        }
        self.newest = self.newest.max(bucket);
        let there = &mut self.bytes[index(bucket)];
        *there = there.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Bits per second at `now`: over the last whole second, or since the first byte if that is less
    /// than a second ago.
    #[must_use]
    pub fn bps(&self, now: Time) -> u64 {
        let Some(first) = self.first else { return 0 };
        let current = number(now);
        let oldest = (current + 1).saturating_sub(BUCKETS as u64).max(first);
        let bytes: u64 = (oldest..=current.min(self.newest))
            .map(|bucket| u64::from(self.bytes[index(bucket)]))
            .sum();
        // The newest bucket is not over yet.
        let start = oldest * BUCKET.as_nanos() as u64;
        let nanos = now.as_nanos().saturating_sub(start).max(BUCKET.as_nanos() as u64);
        bytes.saturating_mul(8_000_000_000) / nanos
    }
}

fn number(now: Time) -> u64 {
    now.as_nanos() / BUCKET.as_nanos() as u64
}

fn index(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_has_its_rate_and_silence_has_none() {
        let mut meter = RateMeter::default();
        for millis in (0..5_000).step_by(10) {
            meter.add(Time::from_millis(millis), 125);
        }
        let bps = meter.bps(Time::from_millis(5_000));
        assert!((90_000..=110_000).contains(&bps), "{bps}");
        assert_eq!(meter.bps(Time::from_millis(7_000)), 0);
    }

    #[test]
    fn the_first_moments_are_not_diluted() {
        let mut meter = RateMeter::default();
        for millis in (1_000..1_300).step_by(10) {
            meter.add(Time::from_millis(millis), 125);
        }
        let bps = meter.bps(Time::from_millis(1_300));
        assert!((90_000..=110_000).contains(&bps), "{bps}");
    }

    #[test]
    fn a_pause_longer_than_the_window_leaves_nothing_behind() {
        let mut meter = RateMeter::default();
        meter.add(Time::from_millis(0), 10_000);
        meter.add(Time::from_millis(60_000), 125);
        assert!(meter.bps(Time::from_millis(60_010)) <= 10_000);
    }
}
