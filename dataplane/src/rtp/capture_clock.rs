//! A publisher's wall clock against ours.
//!
//! Owns the offset between the NTP times in a publisher's sender reports and our [`Time`]. All streams
//! of one publisher share it, so what we report downstream keeps them in step (lip sync). It
//! never looks at media packets: their arrival jitters with every frame's size, and an offset taken
//! from it would become a lasting skew between sound and picture.

use std::time::Duration;

use crate::time::{Ntp, Time};

/// One sender report's statement: this RTP time is that wall-clock time (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SrPair {
    /// The publisher's wall clock.
    pub ntp: Ntp,
    /// The stream's RTP time, extended like the stream's packets.
    pub ts: i64,
    /// When the report arrived.
    pub received: Time,
}

impl SrPair {
    /// Age up to which a pair may align two layers. A layer that nobody took reports nothing, and its
    /// first key frame must not wait for a report: the clocks of one publisher drift apart by less
    /// than 100 ppm, 6 ms in that time.
    pub const FRESH: Duration = Duration::from_secs(60);

    /// Whether the pair is young enough to align by.
    #[must_use]
    pub fn is_fresh(&self, now: Time) -> bool {
        now.since(self.received) < Self::FRESH
    }
}

/// Length of one bucket of the minimum filter. Two are kept, so an offset that grew because the clocks
/// drift is followed within a minute (100 ppm of drift is 6 ms in that time).
const BUCKET: Duration = Duration::from_secs(30);

/// A report this much later than the filter expects isn't queueing: the publisher's clock was set back.
const STEP: i64 = 1_000_000_000;

/// The minimum-delay filter over (arrival - NTP time) of one publisher's sender reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct CaptureClock {
    /// Nanoseconds to add to the publisher's NTP time to get our time, smallest of the bucket.
    current: Option<i64>,
    previous: Option<i64>,
    bucket_start: Time,
}

impl CaptureClock {
    /// Nothing known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            current: None,
            previous: None,
            bucket_start: Time::ZERO,
        }
    }

    /// Takes in a sender report of any of the publisher's streams.
    pub fn on_sender_report(&mut self, arrival: Time, ntp: Ntp) {
        let sample = nanos(arrival).wrapping_sub(ntp_nanos(ntp));
        if self
            .offset()
            .is_some_and(|offset| sample.saturating_sub(offset) > STEP)
        {
            *self = Self::new();
        }
        if self.current.is_none() {
            self.bucket_start = arrival;
        } else if arrival.since(self.bucket_start) >= BUCKET {
            self.previous = self.current.take();
            self.bucket_start = arrival;
        }
        self.current = Some(self.current.map_or(sample, |least| least.min(sample)));
    }

    /// The publisher's RTP time at our `now`, for the stream that `pair` is of; none before the first report.
    #[must_use]
    pub fn ts_at(&self, now: Time, pair: &SrPair, clock_rate: u32) -> Option<i64> {
        let publisher_now = nanos(now).wrapping_sub(self.offset()?);
        let since_pair = i128::from(publisher_now) - i128::from(ntp_nanos(pair.ntp));
        let ticks = since_pair * i128::from(clock_rate) / 1_000_000_000;
        i64::try_from(ticks).ok()?.checked_add(pair.ts)
    }

    fn offset(&self) -> Option<i64> {
        match (self.current, self.previous) {
            (Some(current), Some(previous)) => Some(current.min(previous)),
            (current, previous) => current.or(previous),
        }
    }
}

fn nanos(time: Time) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// Nanoseconds since 1900: at most 4.3e18, so it fits.
fn ntp_nanos(ntp: Ntp) -> i64 {
    let seconds = (ntp.0 >> 32) as i64;
    let fraction = ((ntp.0 & 0xffff_ffff) * 1_000_000_000) >> 32;
    seconds * 1_000_000_000 + fraction as i64
}

/// Ticks of `clock_rate` between two wall-clock times, negative if `earlier` is the later one.
#[must_use]
pub fn ticks_between(later: Ntp, earlier: Ntp, clock_rate: u32) -> i64 {
    let units = i128::from(later.0.wrapping_sub(earlier.0) as i64);
    ((units * i128::from(clock_rate)) >> 32) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Ntp = Ntp(3_900_000_000 << 32);

    fn at(millis: u64) -> Ntp {
        Ntp(START.0 + ((millis << 32) / 1000))
    }

    #[test]
    fn queueing_of_a_report_does_not_move_the_map() {
        let mut clock = CaptureClock::new();
        let pair = SrPair {
            ntp: at(1000),
            ts: 48_000,
            received: Time::from_millis(1020),
        };
        clock.on_sender_report(Time::from_millis(1020), at(1000));
        // The next one sat in a queue for 300 ms.
        clock.on_sender_report(Time::from_millis(2320), at(2000));
        let ts = clock.ts_at(Time::from_millis(3020), &pair, 48_000).unwrap();
        assert!((ts - 48_000 * 3).abs() <= 1, "{ts}");
    }

    #[test]
    fn drift_is_followed_after_two_buckets() {
        let mut clock = CaptureClock::new();
        // The publisher's clock loses 1 ms in each second.
        for second in 0..200u64 {
            clock.on_sender_report(Time::from_millis(second * 1000 + 20), at(second * 999));
        }
        let pair = SrPair {
            ntp: at(199 * 999),
            ts: 0,
            received: Time::from_millis(199_020),
        };
        let ts = clock.ts_at(Time::from_millis(199_020), &pair, 1000).unwrap();
        assert!((0..=60).contains(&ts), "{ts} ms of the offset's age remain");
    }

    #[test]
    fn a_clock_set_back_resets_the_filter() {
        let mut clock = CaptureClock::new();
        clock.on_sender_report(Time::from_millis(20), at(10_000));
        clock.on_sender_report(Time::from_millis(1020), at(5_000));
        let pair = SrPair {
            ntp: at(5_000),
            ts: 7,
            received: Time::from_millis(1020),
        };
        assert_eq!(clock.ts_at(Time::from_millis(1020), &pair, 90_000), Some(7));
    }

    #[test]
    fn any_ntp_time_is_survived() {
        let mut clock = CaptureClock::new();
        for ntp in [0, u64::MAX, 1 << 63, 1] {
            clock.on_sender_report(Time::FAR_FUTURE, Ntp(ntp));
            clock.on_sender_report(Time::ZERO, Ntp(ntp));
            let pair = SrPair {
                ntp: Ntp(!ntp),
                ts: i64::MAX,
                received: Time::ZERO,
            };
            let _ = clock.ts_at(Time::ZERO, &pair, 90_000);
        }
        assert_eq!(ticks_between(at(1000), at(2000), 90_000), -90_000);
    }
}
