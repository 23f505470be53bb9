//! When the next periodic report of a stream or a session is due.

use std::time::Duration;

use crate::time::Time;

/// Receiver reports go every second: WebRTC's rate control reads them (RFC 8834 section 4.1 allows the
/// reduced minimum of RFC 3550 section 6.2).
pub const RECEIVER_INTERVAL: Duration = Duration::from_secs(1);

/// The first receiver report comes early: it gives the publisher its round trip.
pub const RECEIVER_FIRST: Duration = Duration::from_millis(200);

/// Sender reports of video: a new subscriber can align sound and picture after one.
pub const SENDER_VIDEO_INTERVAL: Duration = Duration::from_secs(1);

/// Sender reports of audio: its clock has no frames to wait for.
pub const SENDER_AUDIO_INTERVAL: Duration = Duration::from_secs(2);

/// A periodic deadline that can be moved up.
#[derive(Debug, Clone, Copy)]
pub struct ReportSchedule {
    interval: Duration,
    next: Time,
}

impl ReportSchedule {
    /// First due at `first`, then every `interval`.
    #[must_use]
    pub const fn new(interval: Duration, first: Time) -> Self {
        Self {
            interval,
            next: first,
        }
    }

    /// Whether a report is due; if so the next one is an interval away.
    pub fn poll(&mut self, now: Time) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + self.interval;
        }
        due
    }

    /// Makes it due at once: the first packet, a new source, the end of a silence.
    pub fn hasten(&mut self, now: Time) {
        self.next = self.next.min(now);
    }

    /// When it is due.
    #[must_use]
    pub const fn poll_deadline(&self) -> Time {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_and_can_be_hastened() {
        let mut schedule = ReportSchedule::new(RECEIVER_INTERVAL, Time::ZERO + RECEIVER_FIRST);
        assert!(!schedule.poll(Time::from_millis(199)));
        assert!(schedule.poll(Time::from_millis(203)));
        assert_eq!(schedule.poll_deadline(), Time::from_millis(1203));
        schedule.hasten(Time::from_millis(500));
        assert!(schedule.poll(Time::from_millis(500)));
        assert!(!schedule.poll(Time::from_millis(1203)));
    }
}
