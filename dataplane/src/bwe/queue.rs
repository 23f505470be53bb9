//! How long packets wait on the path: their one-way delay above the least that was seen.
//!
//! The two clocks differ by an unknown constant, so only the difference of delays means anything. The
//! trendline sees a queue grow; this sees one that stands, and tells jitter, which leaves some packets
//! early, from a queue, which delays all of them.

use std::time::Duration;

use crate::time::Time;

/// Microseconds of arrivals of which the earliest counts, and as many before: a few packets even of
/// sound, and shorter than a queue takes to fill.
const RECENT: i64 = 50_000;

/// The least delay is that of this many microseconds and as many before: two clocks drift apart by
/// a few milliseconds a minute, and routes change.
const BASE: i64 = 15_000_000;

/// Packets over which the jitter is averaged, and the most that one counts for, in microseconds.
const JITTER_WEIGHT: f64 = 16.0;
const JITTER_MAX: i64 = 1_000_000;

/// A minimum over a window that moves in halves.
#[derive(Debug, Clone, Copy, Default)]
struct Minimum {
    began: i64,
    current: Option<i64>,
    before: Option<i64>,
}

impl Minimum {
    fn on_value(&mut self, now: i64, half: i64, value: i64) {
        let age = now.saturating_sub(self.began);
        if self.current.is_none() || age >= half || age < -half {
            // What is older than two halves, or from a clock that jumped back, is forgotten.
            self.before = self.current.filter(|_| (0..2 * half).contains(&age));
            self.began = now;
            self.current = Some(value);
        } else {
            self.current = self.current.map(|least| least.min(value));
        }
    }

    fn get(&self) -> Option<i64> {
        match (self.current, self.before) {
            (Some(current), Some(before)) => Some(current.min(before)),
            (current, before) => current.or(before),
        }
    }
}

/// The queue of one path.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Queue {
    base: Minimum,
    recent: Minimum,
    last: Option<i64>,
    /// Microseconds.
    jitter: f64,
}

impl Queue {
    /// Takes an acknowledged packet; `arrival` in microseconds of the receiver's clock.
    pub(super) fn on_acked(&mut self, sent_at: Time, arrival: i64) {
        let sent = i64::try_from(sent_at.as_nanos() / 1000).unwrap_or(i64::MAX);
        let delay = arrival.saturating_sub(sent);
        self.base.on_value(arrival, BASE, delay);
        self.recent.on_value(arrival, RECENT, delay);
        if let Some(last) = self.last.replace(delay) {
            let change = delay.saturating_sub(last).saturating_abs().min(JITTER_MAX) as f64;
            self.jitter += (change - self.jitter) / JITTER_WEIGHT;
        }
    }

    /// How much the delay differs from packet to packet, on average (RFC 3550 section 6.4.1).
    pub(super) fn jitter(&self) -> Duration {
        Duration::from_micros(self.jitter as u64)
    }

    /// How long the luckiest packets of late waited.
    pub(super) fn standing(&self) -> Duration {
        let standing = match (self.recent.get(), self.base.get()) {
            (Some(recent), Some(base)) => recent.saturating_sub(base),
            _ => 0,
        };
        Duration::from_micros(u64::try_from(standing).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets every 10 ms with delays by turns, from the `from`th on; gives the number of the next.
    fn feed(queue: &mut Queue, from: u64, count: u64, delays: &[i64]) -> u64 {
        for index in from..from + count {
            let delay = delays[index as usize % delays.len()];
            // A clock of its own.
            let arrival = index as i64 * 10_000 + delay * 1000 - 77_000_000;
            queue.on_acked(Time::from_millis(index * 10), arrival);
        }
        from + count
    }

    #[test]
    fn jitter_is_no_queue() {
        let mut queue = Queue::default();
        feed(&mut queue, 0, 500, &[50, 90, 70, 60, 52]);
        assert!(queue.standing() <= Duration::from_millis(2), "{queue:?}");
        let jitter = queue.jitter().as_millis();
        // 40, 20, 10, 8 and 2 ms by turns.
        assert!((12..22).contains(&jitter), "{jitter}");
    }

    #[test]
    fn a_queue_stands_and_drains() {
        let mut queue = Queue::default();
        let next = feed(&mut queue, 0, 500, &[50]);
        let next = feed(&mut queue, next, 100, &[130, 140]);
        assert_eq!(queue.standing(), Duration::from_millis(80));
        feed(&mut queue, next, 40, &[50]);
        assert_eq!(queue.standing(), Duration::ZERO);
    }

    #[test]
    fn a_longer_route_is_learnt() {
        let mut queue = Queue::default();
        let next = feed(&mut queue, 0, 500, &[50]);
        let next = feed(&mut queue, next, 500, &[200]);
        assert_eq!(queue.standing(), Duration::from_millis(150));
        feed(&mut queue, next, 3000, &[200]);
        assert_eq!(queue.standing(), Duration::ZERO);
    }

    #[test]
    fn a_pause_longer_than_the_window_forgets() {
        let mut queue = Queue::default();
        feed(&mut queue, 0, 500, &[50]);
        feed(&mut queue, 100_000, 10, &[90]);
        assert_eq!(queue.standing(), Duration::ZERO);
    }
}
