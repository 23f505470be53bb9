//! How long packets wait on the path: their one-way delay above the least that was seen.
//!
//! The two clocks differ by an unknown constant, so only the difference of delays means anything. The
//! trendline sees a queue grow; this sees one that stands, and tells jitter, which leaves some packets
//! early, from a queue, which delays all of them.

use std::time::Duration;

use super::feedback::Acked;

/// Microseconds of arrivals of which the earliest counts, and as many before: a few packets even of
/// sound, and shorter than a queue takes to fill.
const RECENT: i64 = 50_000;

/// The least delay is that of this many microseconds and as many before: two clocks drift apart by
/// a few milliseconds a minute, and routes change.
const BASE: i64 = 15_000_000;

/// Two spells of so many microseconds with the same least delay, to these microseconds, make it the path's own: a queue
/// moves with every picture. Until it is known that a route became longer, all that is sent seems to wait in a queue
/// that no lower rate drains.
const SPELL: i64 = 1_000_000;
const SAME: i64 = 3_000;

/// Of what is sent in a spell more than this arrives, or it is a full queue that does not move.
const ARRIVES: f64 = 0.8;

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

    /// The least is this from now on.
    fn set(&mut self, now: i64, value: i64) {
        *self = Self {
            began: now,
            current: Some(value),
            before: None,
        };
    }

    fn get(&self) -> Option<i64> {
        match (self.current, self.before) {
            (Some(current), Some(before)) => Some(current.min(before)),
            (current, before) => current.or(before),
        }
    }
}

/// The least delay of some time.
#[derive(Debug, Clone, Copy)]
struct Spell {
    began: i64,
    least: i64,
    /// Bytes that arrived, and all that was sent before.
    arrived: u64,
    sent: u32,
    /// The least delay of the one before.
    before: Option<i64>,
}

impl Spell {
    fn new(packet: &Acked, delay: i64, before: Option<i64>) -> Self {
        Self {
            began: packet.arrival,
            least: delay,
            arrived: 0,
            sent: packet.total,
            before,
        }
    }
}

/// The queue of one path.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Queue {
    base: Minimum,
    recent: Minimum,
    spell: Option<Spell>,
    last: Option<i64>,
    /// Microseconds.
    jitter: f64,
}

impl Queue {
    /// Takes an acknowledged packet.
    pub(super) fn on_acked(&mut self, packet: &Acked) {
        let arrival = packet.arrival;
        let sent = i64::try_from(packet.sent_at.as_nanos() / 1000).unwrap_or(i64::MAX);
        let delay = arrival.saturating_sub(sent);
        self.base.on_value(arrival, BASE, delay);
        self.recent.on_value(arrival, RECENT, delay);
        self.follow_route(packet, delay);
        if let Some(last) = self.last.replace(delay) {
            let change = delay.saturating_sub(last).saturating_abs().min(JITTER_MAX) as f64;
            self.jitter += (change - self.jitter) / JITTER_WEIGHT;
        }
    }

    /// Learns how long the path is when it became longer.
    fn follow_route(&mut self, packet: &Acked, delay: i64) {
        let Some(spell) = &mut self.spell else {
            self.spell = Some(Spell::new(packet, delay, None));
            return;
        };
        let age = packet.arrival.saturating_sub(spell.began);
        // Packets overtake each other.
        if (-SPELL..SPELL).contains(&age) {
            spell.least = spell.least.min(delay);
            spell.arrived = spell.arrived.saturating_add(packet.bytes);
            return;
        }
        let least = spell.least;
        let same = |before: i64| before.saturating_sub(least).saturating_abs() <= SAME;
        let sent = packet.total.wrapping_sub(spell.sent);
        let arrives = spell.arrived as f64 >= ARRIVES * f64::from(sent);
        let ended = (SPELL..2 * SPELL).contains(&age) && arrives;
        if ended && spell.before.is_some_and(same) {
            self.base.set(packet.arrival, least);
        }
        *spell = Spell::new(packet, delay, ended.then_some(least));
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
    use crate::time::Time;

    /// The `index`th packet, every 10 ms, of which one in `of` comes; on a clock of its own.
    fn packet(index: u64, of: u64, delay: i64) -> Acked {
        Acked {
            number: index,
            sent_at: Time::from_millis(index * 10),
            arrival: index as i64 * 10_000 + delay * 1000 - 77_000_000,
            bytes: 1000,
            total: (index * of * 1000) as u32,
            after_gap: false,
        }
    }

    /// Packets every 10 ms with delays by turns, from the `from`th on; gives the number of the next.
    fn feed(queue: &mut Queue, from: u64, count: u64, delays: &[i64]) -> u64 {
        for index in from..from + count {
            queue.on_acked(&packet(index, 1, delays[index as usize % delays.len()]));
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
        let next = feed(&mut queue, next, 100, &[200, 230, 260]);
        assert_eq!(queue.standing(), Duration::from_millis(150));
        feed(&mut queue, next, 300, &[200, 230, 260]);
        assert_eq!(queue.standing(), Duration::ZERO);
    }

    #[test]
    fn a_queue_that_moves_is_no_longer_route() {
        let mut queue = Queue::default();
        let mut next = feed(&mut queue, 0, 500, &[50]);
        // It grows by 5 ms a second.
        for step in 0..1000 {
            queue.on_acked(&packet(next, 1, 100 + step / 20));
            next += 1;
        }
        assert!(queue.standing() >= Duration::from_millis(50), "{queue:?}");
        // Nor is one that is full.
        for index in next..next + 600 {
            queue.on_acked(&packet(index, 3, 200));
        }
        assert_eq!(queue.standing(), Duration::from_millis(150));
    }

    #[test]
    fn a_pause_longer_than_the_window_forgets() {
        let mut queue = Queue::default();
        feed(&mut queue, 0, 500, &[50]);
        feed(&mut queue, 100_000, 10, &[90]);
        assert_eq!(queue.standing(), Duration::ZERO);
    }
}
