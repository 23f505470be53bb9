//! The fallback for a peer that gives neither transport-wide feedback nor REMB: loss in its receiver
//! reports alone, with the thresholds of draft-ietf-rmcat-gcc-02 section 6.
//!
//! It can't tell the publisher's losses from the path's, nor see a queue; no browser of today needs it.

use std::time::Duration;

use super::aimd::RTT_DEFAULT;
use crate::time::Time;

/// Loss below which the rate rises, and above which it falls; in 1/256 as reports have it.
const RISE_BELOW: u8 = 5;
const FALL_ABOVE: u8 = 25;

/// Growth per second.
const INCREASE_PER_SECOND: f64 = 1.05;

/// Added to the round trip: time between two falls.
const FALL_INTERVAL: Duration = Duration::from_millis(300);

/// Longest time one report may count as increase.
const STEP_MAX: Duration = Duration::from_secs(1);

/// The rate by reports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reports {
    estimate: f64,
    updated: Time,
    fallen: Option<Time>,
    /// Bytes sent since `updated`.
    sent: u64,
}

impl Reports {
    /// Begins at `estimate` bits per second.
    pub(super) fn new(now: Time, estimate: f64) -> Self {
        Self {
            estimate,
            updated: now,
            fallen: None,
            sent: 0,
        }
    }

    /// Bits per second.
    pub(super) fn estimate(&self) -> f64 {
        self.estimate
    }

    /// When it last fell.
    pub(super) fn fallen(&self) -> Option<Time> {
        self.fallen
    }

    /// Notes what was sent, with headers.
    pub(super) fn on_sent(&mut self, bytes: u64) {
        self.sent = self.sent.saturating_add(bytes);
    }

    /// Takes the loss of one stream; several streams may report at once.
    pub(super) fn on_report(&mut self, now: Time, fraction_lost: u8, rtt: Option<Duration>) {
        if fraction_lost > FALL_ABOVE {
            let interval = FALL_INTERVAL + rtt.unwrap_or(RTT_DEFAULT);
            if self.fallen.is_none_or(|last| now.since(last) >= interval) {
                self.estimate *= 1.0 - f64::from(fraction_lost) / 512.0;
                self.fallen = Some(now);
            }
        } else if fraction_lost < RISE_BELOW {
            let elapsed = now.since(self.updated);
            let seconds = elapsed.as_secs_f64();
            if seconds > 0.0 {
                // No further than what was tried.
                let limit = 1.5 * self.sent as f64 * 8.0 / seconds;
                let raised = self.estimate * INCREASE_PER_SECOND.powf(elapsed.min(STEP_MAX).as_secs_f64());
                self.estimate = raised.min(limit.max(self.estimate));
            }
        }
        if now > self.updated {
            self.updated = now;
            self.sent = 0;
        }
        self.estimate = self
            .estimate
            .clamp(super::ESTIMATE_MIN as f64, super::ESTIMATE_MAX as f64);
    }

    /// Half of it.
    pub(super) fn halve(&mut self) {
        self.estimate = (self.estimate / 2.0).max(super::ESTIMATE_MIN as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(reports: &mut Reports, from: u64, seconds: u64, bytes: u64, fraction: u8) -> f64 {
        for second in from + 1..=from + seconds {
            reports.on_sent(bytes);
            // Sound and picture report together.
            for fraction in [fraction, 0] {
                reports.on_report(Time::from_millis(second * 1000), fraction, None);
            }
        }
        reports.estimate()
    }

    #[test]
    fn rises_with_what_is_sent() {
        let mut reports = Reports::new(Time::ZERO, 1e6);
        let estimate = run(&mut reports, 0, 60, 250_000, 0);
        assert!((2.9e6..3.1e6).contains(&estimate), "{estimate}");
    }

    #[test]
    fn holds_at_some_loss_and_falls_at_much() {
        let mut reports = Reports::new(Time::ZERO, 1e6);
        assert!((run(&mut reports, 0, 10, 125_000, 12) - 1e6).abs() < 1.0);
        assert!(run(&mut reports, 10, 30, 125_000, 64) < 1e5);
        assert!(run(&mut reports, 40, 60, 125_000, 255) >= super::super::ESTIMATE_MIN as f64);
    }
}
