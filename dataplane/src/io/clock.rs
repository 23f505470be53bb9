//! The process's clock: the one place that asks the kernel for the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::{Time, WallClock};

/// Counts from its creation. Copied to every core, so all cores share one [`Time`].
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    wall: WallClock,
}

impl Default for Clock {
    fn default() -> Self {
        Self::start()
    }
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            wall: WallClock::new(unix_now()),
        }
    }

    /// The monotonic time since the start.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    /// The wall clock, fixed at the start.
    #[must_use]
    pub fn wall(&self) -> WallClock {
        self.wall
    }
}

/// The wall clock as the kernel has it: only to compare with its packet timestamps.
#[must_use]
pub fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Longest believable wait of a packet in the socket. A larger one means that the host's clock was set.
const QUEUED_MAX: Duration = Duration::from_secs(1);

/// When a packet came, from the kernel's wall-clock `stamp`, at a moment that is `now` and `unix_now`.
#[must_use]
pub fn arrival(stamp: Option<Duration>, now: Time, unix_now: Duration) -> Time {
    match stamp.and_then(|stamp| unix_now.checked_sub(stamp)) {
        Some(queued) if queued <= QUEUED_MAX => now - queued,
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrival_is_the_kernels_time_unless_the_clock_was_set() {
        let now = Time::from_millis(5_000);
        let unix = Duration::from_secs(1_700_000_000);
        let ms = Duration::from_millis;
        assert_eq!(arrival(Some(unix - ms(3)), now, unix), Time::from_millis(4_997));
        assert_eq!(arrival(Some(unix + ms(3)), now, unix), now);
        assert_eq!(arrival(Some(unix - ms(60_000)), now, unix), now);
        assert_eq!(arrival(None, now, unix), now);
    }
}
