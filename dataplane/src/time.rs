//! Time as the state machines see it: a number the driver hands in, never a clock they read.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Nanoseconds since the process's own start. Monotonic; the driver reads the clock once per loop
/// turn, a simulation counts it up by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The start of the process.
    pub const ZERO: Self = Self(0);

    /// A time later than any that will come.
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// From nanoseconds since the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From milliseconds since the start.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the start.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// How long ago `earlier` was; zero if it is in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// A wall-clock time in NTP's 32.32 format (RFC 5905 section 6): what sender reports carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ntp(pub u64);

/// Seconds between the NTP era (1900) and the Unix epoch (1970).
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;

impl Ntp {
    /// From a duration since the Unix epoch.
    #[must_use]
    pub fn from_unix(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs().wrapping_add(NTP_UNIX_OFFSET) & 0xffff_ffff;
        let fraction = (u64::from(since_epoch.subsec_nanos()) << 32) / 1_000_000_000;
        Self((seconds << 32) | fraction)
    }

    /// The middle 32 bits, as LSR in report blocks (RFC 3550 section 6.4.1).
    #[must_use]
    pub fn compact(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// Seconds from `earlier` to `self`, negative if it is later.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.0.wrapping_sub(earlier.0) as i64) as f64 / 4_294_967_296.0
    }
}

/// The wall clock as a fixed offset from [`Time`], read once at start: NTP times we write never jump
/// when the host's clock is set.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    unix_at_zero: Duration,
}

impl WallClock {
    /// `unix_at_zero`: the wall-clock time, since the Unix epoch, of [`Time::ZERO`].
    #[must_use]
    pub const fn new(unix_at_zero: Duration) -> Self {
        Self { unix_at_zero }
    }

    /// The NTP time of `now`.
    #[must_use]
    pub fn ntp(&self, now: Time) -> Ntp {
        Ntp::from_unix(self.unix_at_zero + Duration::from_nanos(now.as_nanos()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_counts_from_1900() {
        let ntp = Ntp::from_unix(Duration::new(0, 500_000_000));
        assert_eq!(ntp.0 >> 32, NTP_UNIX_OFFSET);
        assert_eq!(ntp.0 & 0xffff_ffff, 1 << 31);
    }

    #[test]
    fn compact_is_the_middle() {
        assert_eq!(Ntp(0x0123_4567_89ab_cdef).compact(), 0x4567_89ab);
    }
}
