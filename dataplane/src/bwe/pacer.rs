//! Spreads what one subscriber gets over time, so that a key frame doesn't arrive as a burst that a slow
//! link has to drop.
//!
//! A token bucket that may be overdrawn: whoever asks gets a yes while tokens are left and then takes
//! what the packets need. Sound is sent without asking but takes tokens too. What waits, and in
//! which order, is the sender's concern.

use std::time::Duration;

use crate::time::Time;

/// Pace as a multiple of the estimate, in percent: publishers pace their streams already, so what
/// has to wait are key frames and streams that coincide; twice the rate ends such a burst within a frame or
/// two, and leaves at most half of it to a queue on the path.
const FACTOR_PERCENT: u64 = 200;

/// The same while the path's queue is as long as it may have room for: what a burst adds to it is lost, and with it
/// the key frame of the smaller layer that is to relieve the path.
const FACTOR_FULL_PERCENT: u64 = 100;

/// Time of tokens that may be saved up: a burst of one subscriber within a turn.
const BURST: Duration = Duration::from_millis(10);

/// Smallest burst, bytes: a full packet, for a rate of which 10 ms is less than that.
const BURST_MIN: i64 = 1500;

/// Deepest debt, as time: sound that was sent without asking must not starve the picture for longer.
const DEBT: Duration = Duration::from_millis(50);

/// Tokens are counted in billionths of a bit: what a rate in bits per second earns in a nanosecond, so that no
/// rate loses what a short step earns, and nothing is divided on the way of a packet.
const BIT: i64 = 1_000_000_000;

/// Of a byte.
const UNIT: i64 = 8 * BIT;

/// More time than this fills any bucket.
const FILLED: Duration = Duration::from_secs(1);

/// The token bucket of one subscriber.
#[derive(Debug, Clone, Copy)]
pub struct Pacer {
    tokens: i64,
    refilled: Time,
    /// Bits per second; never zero.
    rate: u64,
}

impl Pacer {
    /// A full bucket, at the pace of the start estimate.
    #[must_use]
    pub fn new(now: Time) -> Self {
        let rate = pace(super::ESTIMATE_START, FACTOR_PERCENT, None);
        Self {
            tokens: burst(rate),
            refilled: now,
            rate,
        }
    }

    /// Follows the estimate and the rate of a running probe, both in bits per second. `full`: the path's queue may
    /// have no more room.
    pub fn set_rate(&mut self, now: Time, estimate_bps: u64, probe_bps: Option<u64>, full: bool) {
        let factor = if full { FACTOR_FULL_PERCENT } else { FACTOR_PERCENT };
        let rate = pace(estimate_bps, factor, probe_bps);
        if rate != self.rate {
            self.refill(now);
            self.rate = rate;
            // Debts are so long at most, not so large: at a tenth of the rate they would last ten times as long, and
            // the key frame that is to relieve the path would wait for them.
            self.tokens = self.tokens.clamp(deepest(rate), burst(rate));
        }
    }

    /// Whether the next packet may leave. Sound doesn't ask.
    pub fn may_send(&mut self, now: Time) -> bool {
        self.refill(now);
        self.tokens > 0
    }

    /// Notes a packet of `bytes` of UDP payload, of any class.
    pub fn on_sent(&mut self, now: Time, bytes: usize) {
        self.refill(now);
        let bytes = bytes.saturating_add(super::OVERHEAD_BYTES);
        let cost = i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(UNIT);
        self.tokens = self.tokens.saturating_sub(cost).max(deepest(self.rate));
    }

    /// When [`Pacer::may_send`] becomes true again; `now` if it is.
    #[must_use]
    pub fn poll_deadline(&self, now: Time) -> Time {
        let tokens = self.tokens_at(now);
        if tokens > 0 {
            return now;
        }
        let missing = tokens.unsigned_abs() + 1;
        now + Duration::from_nanos(missing.div_ceil(self.rate))
    }

    /// Bytes that may leave as one burst, as of the last call with a time.
    #[must_use]
    pub fn burst_bytes(&self) -> usize {
        usize::try_from(self.tokens / UNIT).unwrap_or(0)
    }

    fn refill(&mut self, now: Time) {
        let tokens = self.tokens_at(now);
        if tokens != self.tokens {
            self.tokens = tokens;
            self.refilled = now;
        } else if self.tokens >= burst(self.rate) {
            self.refilled = self.refilled.max(now);
        }
    }

    fn tokens_at(&self, now: Time) -> i64 {
        self.tokens
            .saturating_add(earned(self.rate, now.since(self.refilled)))
            .min(burst(self.rate))
    }
}

/// Bits per second; never so low that the longest wait exceeds the time that [`earned`] counts.
fn pace(estimate_bps: u64, factor_percent: u64, probe_bps: Option<u64>) -> u64 {
    (estimate_bps.saturating_mul(factor_percent) / 100)
        .max(probe_bps.unwrap_or(0))
        .clamp(super::ESTIMATE_MIN, super::ESTIMATE_MAX * 10)
}

fn burst(rate: u64) -> i64 {
    earned(rate, BURST).max(BURST_MIN * UNIT)
}

/// The deepest debt.
fn deepest(rate: u64) -> i64 {
    -earned(rate, DEBT).max(BURST_MIN * UNIT)
}

/// Tokens of a time at a rate.
fn earned(rate: u64, time: Duration) -> i64 {
    let nanos = time.min(FILLED).as_nanos() as i64;
    // At most ten times the highest estimate for a second: 10^18.
    (rate as i64).saturating_mul(nanos)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn keeps_the_pace() {
        let mut pacer = Pacer::new(Time::ZERO);
        pacer.set_rate(Time::ZERO, 1_000_000, None, false);
        let mut sent = 0;
        for micros in (0..1_000_000).step_by(100) {
            let now = Time::from_nanos(micros * 1000);
            while pacer.may_send(now) {
                pacer.on_sent(now, 1172);
                sent += 1200;
            }
        }
        // 2 Mbit/s for a second.
        assert!((250_000..=250_000 + 3700).contains(&sent), "{sent}");
    }

    #[test]
    fn a_probe_raises_the_pace() {
        let mut pacer = Pacer::new(Time::ZERO);
        pacer.set_rate(Time::ZERO, 100_000, Some(5_000_000), false);
        pacer.on_sent(Time::ZERO, 10_000);
        assert!(!pacer.may_send(at(5)));
        assert!(pacer.may_send(at(17)));
    }

    #[test]
    fn sound_does_not_starve_the_picture() {
        let mut pacer = Pacer::new(Time::ZERO);
        for _ in 0..1000 {
            pacer.on_sent(Time::ZERO, 1000);
        }
        assert!(!pacer.may_send(at(40)));
        assert!(pacer.may_send(at(51)));
    }

    #[test]
    fn a_debt_is_no_longer_at_a_lower_rate() {
        let mut pacer = Pacer::new(Time::ZERO);
        pacer.set_rate(Time::ZERO, 10_000_000, None, false);
        pacer.on_sent(Time::ZERO, 100_000);
        pacer.set_rate(Time::ZERO, 500_000, None, false);
        assert!(!pacer.may_send(at(45)));
        assert!(pacer.may_send(at(51)));
    }

    #[test]
    fn a_full_queue_is_given_no_bursts() {
        let mut pacer = Pacer::new(Time::ZERO);
        pacer.set_rate(Time::ZERO, 1_000_000, None, true);
        pacer.on_sent(Time::ZERO, 5_000 - crate::bwe::OVERHEAD_BYTES);
        // 3500 bytes that were not saved up.
        assert!(!pacer.may_send(at(28)));
        assert!(pacer.may_send(at(29)));
    }

    #[test]
    fn a_burst_is_bounded_by_the_rate() {
        let mut pacer = Pacer::new(Time::ZERO);
        pacer.set_rate(Time::ZERO, 10_000_000, None, false);
        assert!(pacer.may_send(at(10_000)));
        assert_eq!(pacer.burst_bytes(), 25_000);
        pacer.set_rate(at(10_000), 30_000, None, false);
        assert_eq!(pacer.burst_bytes(), 1500);
    }

    proptest! {
        /// At the deadline, and not before it, there is something to send.
        #[test]
        fn the_deadline_is_exact(rate in 0u64..200_000_000, bytes in 0usize..5000, pause in 0u64..50_000_000) {
            let mut pacer = Pacer::new(Time::ZERO);
            pacer.set_rate(Time::ZERO, rate, None, false);
            let now = Time::from_nanos(pause);
            pacer.on_sent(now, bytes);
            let deadline = pacer.poll_deadline(now);
            if deadline > now {
                let mut before = pacer;
                prop_assert!(!before.may_send(deadline - Duration::from_nanos(1)));
            }
            prop_assert!(pacer.may_send(deadline));
        }

        /// However often it is asked, it neither gains nor loses.
        #[test]
        fn asking_changes_nothing(rate in 30_000u64..10_000_000, steps in prop::collection::vec(1u64..100_000, 1..200)) {
            let mut asked = Pacer::new(Time::ZERO);
            asked.set_rate(Time::ZERO, rate, None, false);
            asked.on_sent(Time::ZERO, 20_000);
            let alone = asked;
            let mut nanos = 0;
            for step in &steps {
                nanos += step;
                asked.may_send(Time::from_nanos(nanos));
            }
            let now = Time::from_nanos(nanos);
            prop_assert_eq!(alone.tokens_at(now), asked.tokens_at(now));
        }
    }
}
