//! A receive-side estimate for publishers without transport-wide feedback
//! (draft-alvestrand-rmcat-remb-03).
//!
//! It follows what arrives and honours loss, with the thresholds of draft-ietf-rmcat-gcc-02 section 6: below 2 % the
//! limit rises by 8 % a second, above 10 % it falls by half the loss, between them it stays. There is no
//! delay filter: every browser of today has transport-wide feedback and its own, better one; this is
//! the floor for older senders, and errs to the low side.

use std::time::Duration;

use crate::time::Time;

/// Interval between two messages; a sender forgets the limit after a few missed ones.
const INTERVAL: Duration = Duration::from_millis(500);

/// What a sender may start with before anything is known, bits per second.
const START: u64 = 500_000;

/// Never asked to go below this: a thumbnail and speech still fit.
const FLOOR: u64 = 100_000;

/// Never allowed above this.
const CEILING: u64 = 10_000_000;

/// The estimate for one publisher.
#[derive(Debug, Clone, Copy)]
pub struct RembSource {
    estimate: u64,
    bytes: u64,
    packets: u32,
    lost: u32,
    since: Time,
}

impl RembSource {
    /// Nothing received yet.
    #[must_use]
    pub const fn new(now: Time) -> Self {
        Self {
            estimate: START,
            bytes: 0,
            packets: 0,
            lost: 0,
            since: now,
        }
    }

    /// Notes a received packet of `len` bytes.
    pub fn on_packet(&mut self, len: usize) {
        self.bytes += len as u64;
        self.packets += 1;
    }

    /// Notes packets that were found missing.
    pub fn on_lost(&mut self, packets: u32) {
        self.lost = self.lost.saturating_add(packets);
    }

    /// The limit to send in bits per second, if a message is due.
    pub fn poll(&mut self, now: Time) -> Option<u64> {
        let elapsed = now.since(self.since);
        if elapsed < INTERVAL || self.packets == 0 {
            return None;
        }
        let millis = elapsed.as_millis() as u64;
        let received = self.bytes * 8000 / millis;
        let total = u64::from(self.packets) + u64::from(self.lost);
        let loss_percent = u64::from(self.lost) * 100 / total;
        if loss_percent > 10 {
            self.estimate -= self.estimate * loss_percent / 200;
        } else if loss_percent < 2 {
            self.estimate += self.estimate * 8 * millis / 100_000;
        }
        // A limit far above what is sent says nothing about the path.
        let cap = (received * 3 / 2 + 50_000).max(START);
        self.estimate = self.estimate.min(cap).clamp(FLOOR, CEILING);
        *self = Self {
            estimate: self.estimate,
            ..Self::new(now)
        };
        Some(self.estimate)
    }

    /// When the next message is due; none is sent to a publisher that sends nothing.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        if self.packets == 0 {
            Time::FAR_FUTURE
        } else {
            self.since + INTERVAL
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(source: &mut RembSource, from: u64, seconds: u64, packets: u32, lost: u32) -> u64 {
        let mut estimate = 0;
        for step in 1..=seconds * 2 {
            for _ in 0..packets / 2 {
                source.on_packet(1250);
            }
            source.on_lost(lost / 2);
            estimate = source.poll(Time::from_millis(from + step * 500)).unwrap();
        }
        estimate
    }

    #[test]
    fn rises_with_what_arrives_and_stays_near_it() {
        let mut source = RembSource::new(Time::ZERO);
        // 200 packets/s of 1250 bytes: 2 Mbit/s.
        let estimate = run(&mut source, 0, 30, 200, 0);
        assert!((2_000_000..=3_100_000).contains(&estimate), "{estimate}");
    }

    #[test]
    fn falls_under_heavy_loss_to_the_floor() {
        let mut source = RembSource::new(Time::ZERO);
        run(&mut source, 0, 30, 200, 0);
        assert_eq!(run(&mut source, 30_000, 30, 200, 100), FLOOR);
    }

    #[test]
    fn is_silent_without_packets() {
        let mut source = RembSource::new(Time::ZERO);
        assert_eq!(source.poll(Time::from_millis(5000)), None);
        assert_eq!(source.poll_deadline(), Time::FAR_FUTURE);
    }
}
