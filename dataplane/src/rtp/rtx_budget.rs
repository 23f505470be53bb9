//! How much retransmission one receiver gets: a token bucket of bytes.
//!
//! An authenticated peer can ask for every packet again and again; without a bound its requests
//! multiply what we send. Owns the bucket only; which packets may be resent is
//! [`crate::rtp::NackMap`]'s decision.

use std::time::Duration;

use crate::time::Time;

/// Share of the sent bytes that may be spent on retransmission, in percent. Loss above it needs a lower
/// rate, not more packets.
const SHARE_PERCENT: u64 = 15;

/// The same at most, where the path loses packets whatever the rate is.
const SHARE_MAX_PERCENT: u64 = 50;

/// Bytes per second that are granted whatever is sent: repairs the start of a stream and a
/// stream of few packets, at 200 kbit/s.
const FLOOR_PER_SECOND: u64 = 25_000;

/// Most bytes saved up: a lost burst of some 40 packets can be repaired at once.
const BURST: u64 = 60_000;

/// Longest pause that earns the floor: the bucket is full by then.
const EARN_MAX: Duration = Duration::from_secs(3);

/// Token bucket for one receiver.
#[derive(Debug, Clone, Copy)]
pub struct RtxBudget {
    /// In hundredths of a byte, so that a percentage is exact.
    tokens: u64,
    refilled: Time,
    share_percent: u64,
}

impl RtxBudget {
    /// A full bucket.
    #[must_use]
    pub const fn new(now: Time) -> Self {
        Self {
            tokens: BURST * 100,
            refilled: now,
            share_percent: SHARE_PERCENT,
        }
    }

    /// Follows the share of packets that the path loses whatever the rate is: each of them needs another,
    /// some of those are lost too, and losses come in clusters.
    pub fn set_path_loss(&mut self, loss: f64) {
        let needed = 150.0 * loss / (1.0 - loss.clamp(0.0, 0.9));
        // Saturates, and no number is none.
        self.share_percent = (needed as u64).clamp(SHARE_PERCENT, SHARE_MAX_PERCENT);
    }

    /// Notes media sent for the first time.
    pub fn on_sent(&mut self, bytes: usize) {
        self.tokens = (self.tokens + bytes as u64 * self.share_percent).min(BURST * 100);
    }

    /// Takes a retransmission of `bytes` from the bucket, or refuses it.
    pub fn spend(&mut self, now: Time, bytes: usize) -> bool {
        let millis = now.since(self.refilled).min(EARN_MAX).as_millis() as u64;
        if millis > 0 {
            self.tokens = (self.tokens + millis * FLOOR_PER_SECOND / 10).min(BURST * 100);
            self.refilled = now;
        }
        let cost = bytes as u64 * 100;
        if self.tokens < cost {
            return false;
        }
        self.tokens -= cost;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_held_to_the_share() {
        let mut budget = RtxBudget::new(Time::ZERO);
        let mut resent = 0;
        for millis in 0..10_000 {
            // 1000 bytes each millisecond, and a request for each of them.
            budget.on_sent(1000);
            if budget.spend(Time::from_millis(millis), 1000) {
                resent += 1000;
            }
        }
        let bound = BURST + 10_000 * 1000 * SHARE_PERCENT / 100 + 10 * FLOOR_PER_SECOND;
        assert!(resent <= bound, "{resent} of {bound}");
        assert!(resent >= bound - 2000, "{resent} of {bound}");
    }

    #[test]
    fn a_lossy_path_gets_more_within_a_bound() {
        let resent = |loss: f64| {
            let mut budget = RtxBudget::new(Time::ZERO);
            budget.set_path_loss(loss);
            let spent = (0..10_000).filter(|millis| {
                budget.on_sent(1000);
                budget.spend(Time::from_millis(*millis), 1000)
            });
            spent.count()
        };
        assert!(resent(0.01) == resent(0.0));
        assert!(resent(0.2) > 2 * resent(0.0));
        for hostile in [1.0, 50.0, f64::NAN, f64::INFINITY, -1.0] {
            assert!(resent(hostile) < 5_500, "{hostile}");
        }
    }

    #[test]
    fn a_silent_stream_still_earns() {
        let mut budget = RtxBudget::new(Time::ZERO);
        while budget.spend(Time::ZERO, 1000) {}
        assert!(!budget.spend(Time::from_millis(39), 1000));
        assert!(budget.spend(Time::from_millis(60), 1000));
    }
}
