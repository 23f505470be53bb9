//! How fast acknowledged packets arrived, on the receiver's own clock: the one rate of the path that is
//! measured and not guessed.
//!
//! Samples over short windows are merged as a Kalman filter of one state would: a sample far from the
//! estimate counts little, unless it is confirmed by those that follow.

/// Microseconds of the first window: longer, for the first sample is believed as it is.
const FIRST_WINDOW: i64 = 500_000;

/// Microseconds of each window after it.
const WINDOW: i64 = 150_000;

/// A gap longer than this is a pause of the sender and no sample.
const PAUSE: i64 = 1_000_000;

/// Standard deviation of a sample as a multiple of its relative distance from the estimate, in
/// kbit/s.
const DOUBT: f64 = 10.0;

/// The same for a falling sample of few bytes: the sender had little to send.
const DOUBT_SMALL: f64 = 25.0;

/// Fewer bytes than this make a small sample: less than two full packets.
const SMALL_BYTES: u64 = 2000;

/// Variance of the first estimate, and what each sample's time adds to it; kbit/s squared.
const VARIANCE_START: f64 = 50.0;
const VARIANCE_STEP: f64 = 5.0;

/// Never below, kbit/s: below it nothing but sound flows, and says nothing of the path.
const FLOOR_KBPS: f64 = 40.0;

/// The acknowledged rate.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AckedRate {
    estimate_kbps: Option<f64>,
    variance: f64,
    /// Arrival that began the window, and the last one.
    window: Option<(i64, i64)>,
    bytes: u64,
}

impl AckedRate {
    /// Notes that packets came in between that nobody told of: a window over them would be too low.
    pub(super) fn on_gap(&mut self) {
        self.window = None;
    }

    /// Notes an acknowledged packet: when it arrived, in microseconds of the receiver's clock, and its
    /// bytes. One from before the window counts no more, for others of its time didn't either.
    pub(super) fn on_acked(&mut self, arrival: i64, bytes: u64) {
        let Some((start, last)) = self.window else {
            self.window = Some((arrival, arrival));
            self.bytes = bytes;
            return;
        };
        // A pause, or a clock that jumped.
        if arrival.saturating_sub(last).saturating_abs() > PAUSE {
            self.window = Some((arrival, arrival));
            self.bytes = bytes;
            return;
        }
        if arrival < start {
            return;
        }
        let arrival = arrival.max(last);
        let needed = if self.estimate_kbps.is_none() {
            FIRST_WINDOW
        } else {
            WINDOW
        };
        let elapsed = arrival - start;
        if elapsed >= needed {
            self.sample(elapsed);
            self.window = Some((arrival, arrival));
            self.bytes = bytes;
        } else {
            self.window = Some((start, arrival));
            self.bytes = self.bytes.saturating_add(bytes);
        }
    }

    fn sample(&mut self, elapsed_micros: i64) {
        // Bits per millisecond.
        let sample = self.bytes as f64 * 8000.0 / elapsed_micros as f64;
        let Some(estimate) = self.estimate_kbps else {
            self.estimate_kbps = Some(sample.max(FLOOR_KBPS));
            self.variance = VARIANCE_START;
            return;
        };
        let doubt = if self.bytes < SMALL_BYTES && sample < estimate {
            DOUBT_SMALL
        } else {
            DOUBT
        };
        // The estimate is never below the floor, so this divides by no zero.
        let sigma = doubt * (estimate - sample).abs() / estimate;
        let sample_variance = sigma * sigma;
        let variance = self.variance + VARIANCE_STEP;
        let sum = sample_variance + variance;
        self.estimate_kbps = Some(((sample_variance * estimate + variance * sample) / sum).max(FLOOR_KBPS));
        self.variance = sample_variance * variance / sum;
    }

    /// No more than this comes out of a queue, bits per second. By itself the rate follows a fall for a second,
    /// and what it says meanwhile of the time before would be taken for a path that carries more than was thought,
    /// just when it has come to carry less.
    pub(super) fn limit(&mut self, bps: f64) {
        let limit = (bps / 1000.0).max(FLOOR_KBPS);
        self.estimate_kbps = self.estimate_kbps.map(|estimate| estimate.min(limit));
    }

    /// Bits per second; `None` before the first window is full.
    pub(super) fn rate(&self) -> Option<f64> {
        self.estimate_kbps.map(|kbps| kbps * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds packets of 1250 bytes every `spacing` microseconds, and gives the last arrival.
    fn feed(acked: &mut AckedRate, from: i64, micros: i64, spacing: i64) -> i64 {
        let mut arrival = from;
        while arrival < from + micros {
            acked.on_acked(arrival, 1250);
            arrival += spacing;
        }
        arrival
    }

    #[test]
    fn nothing_before_the_first_window() {
        let mut acked = AckedRate::default();
        feed(&mut acked, 0, FIRST_WINDOW, 10_000);
        assert_eq!(acked.rate(), None);
        feed(&mut acked, FIRST_WINDOW, 10_000, 10_000);
        assert!((acked.rate().unwrap() - 1_000_000.0).abs() < 10_000.0);
    }

    #[test]
    fn what_a_queue_tells_is_believed_at_once() {
        let mut acked = AckedRate::default();
        let end = feed(&mut acked, 0, 5_000_000, 5_000);
        acked.limit(3e5);
        assert!((acked.rate().unwrap() - 3e5).abs() < 1.0);
        acked.limit(1e6);
        assert!((acked.rate().unwrap() - 3e5).abs() < 1.0, "it raises nothing");
        feed(&mut acked, end, 1_000_000, 20_000);
        assert!((acked.rate().unwrap() / 5e5 - 1.0).abs() < 0.3, "{acked:?}");
    }

    #[test]
    fn follows_a_change_within_two_seconds() {
        let mut acked = AckedRate::default();
        let end = feed(&mut acked, 0, 5_000_000, 5_000);
        assert!((acked.rate().unwrap() / 2e6 - 1.0).abs() < 0.02);
        feed(&mut acked, end, 2_000_000, 20_000);
        assert!((acked.rate().unwrap() / 5e5 - 1.0).abs() < 0.3, "{acked:?}");
    }

    #[test]
    fn a_pause_is_no_sample() {
        let mut acked = AckedRate::default();
        let end = feed(&mut acked, 0, 5_000_000, 5_000);
        let before = acked.rate();
        feed(&mut acked, end + 10_000_000, 100_000, 5_000);
        assert_eq!(acked.rate(), before);
    }

    #[test]
    fn what_was_not_told_is_not_missing() {
        let mut acked = AckedRate::default();
        let end = feed(&mut acked, 0, 5_000_000, 5_000);
        for round in 0..20 {
            acked.on_gap();
            // 200 ms that are told, 100 ms that are not.
            feed(&mut acked, end + round * 300_000, 200_000, 5_000);
        }
        assert!((acked.rate().unwrap() / 2e6 - 1.0).abs() < 0.02, "{acked:?}");
    }

    #[test]
    fn arrivals_told_backwards_are_harmless() {
        let mut acked = AckedRate::default();
        for arrival in (0..5_000_000).rev().step_by(5_000) {
            acked.on_acked(arrival, 1250);
        }
        assert_eq!(acked.rate(), None);
        acked.on_acked(i64::MAX, 1250);
        acked.on_acked(i64::MIN, 1250);
        assert_eq!(acked.rate(), None);
        // A clock that jumped goes on from where it is.
        feed(&mut acked, -9_000_000, 600_000, 10_000);
        assert!((acked.rate().unwrap() - 1_000_000.0).abs() < 10_000.0);
    }
}
