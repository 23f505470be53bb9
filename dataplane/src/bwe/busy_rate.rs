//! How fast packets arrive while a queue stands: the rate of the path, or this call's share of it.
//!
//! A queue keeps its link busy, so what arrives then says what the link carries, however little was sent
//! before. The acknowledged rate can't tell that: its windows reach back to when there was less to send, and
//! a layer's first key frame would be judged by the thumbnail it replaces.

use std::time::Duration;

use super::feedback::Acked;
use crate::time::Time;

/// A queue of this length keeps the link busy between two packets.
const BUSY: Duration = Duration::from_millis(5);

/// Microseconds of arrivals, and packets, below which there is no rate.
const LEAST: i64 = 60_000;
const LEAST_PACKETS: u32 = 4;

/// Microseconds of arrivals after which a new window begins: the link itself may change.
const WINDOW: i64 = 200_000;

/// Microseconds without an arrival after which the queue is taken for another one.
const PAUSE: i64 = 200_000;

/// What a queue does to a call, bits per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Busy {
    /// How fast the packets came out of it.
    pub(super) arrived: f64,
    /// How fast they were sent into it, and with them those that it had no room for.
    pub(super) sent: f64,
}

/// So much more is sent than comes out of a queue that has no more room. Less than that may be due to bursts, or to what
/// the path loses besides.
const OVERFLOWING: f64 = 1.3;

impl Busy {
    /// Whether the queue drops what is too much.
    pub(super) fn overflows(self) -> bool {
        self.sent > OVERFLOWING * self.arrived
    }
}

/// Arrivals that follow upon each other from a queue.
#[derive(Debug, Clone, Copy)]
struct Window {
    start: i64,
    last: i64,
    /// When the first and the last of them were sent, and all that was sent until then.
    sent: [(Time, u32); 2],
    /// After the first packet, whose own time on the link is not in the window.
    bytes: u64,
    packets: u32,
}

impl Window {
    fn new(arrival: i64, packet: &Acked) -> Self {
        Self {
            start: arrival,
            last: arrival,
            sent: [(packet.sent_at, packet.total); 2],
            bytes: 0,
            packets: 0,
        }
    }

    fn rate(&self) -> Option<Busy> {
        let elapsed = self.last - self.start;
        if elapsed < LEAST || self.packets < LEAST_PACKETS {
            return None;
        }
        let arrived = self.bytes as f64 * 8e6 / elapsed as f64;
        let [first, last] = self.sent;
        let sent =
            f64::from(last.1.wrapping_sub(first.1)) * 8.0 / last.0.since(first.0).as_secs_f64().max(1e-3);
        Some(Busy { arrived, sent })
    }
}

/// The rate of a queue that stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BusyRate {
    window: Option<Window>,
    /// What the window before told, of the same queue.
    before: Option<Busy>,
}

impl BusyRate {
    /// Notes that packets came in between that nobody told of.
    pub(super) fn on_gap(&mut self) {
        self.window = None;
    }

    /// Notes an acknowledged packet, and how long the queue was.
    pub(super) fn on_acked(&mut self, packet: &Acked, standing: Duration) {
        let arrival = packet.arrival;
        if standing < BUSY {
            *self = Self::default();
            return;
        }
        let Some(window) = &mut self.window else {
            self.window = Some(Window::new(arrival, packet));
            return;
        };
        let since = arrival.saturating_sub(window.last);
        if since.saturating_abs() > PAUSE {
            *self = Self {
                window: Some(Window::new(arrival, packet)),
                before: None,
            };
            return;
        }
        if arrival < window.start {
            return;
        }
        window.last = window.last.max(arrival);
        let last = &mut window.sent[1];
        if packet.sent_at >= last.0 {
            *last = (packet.sent_at, packet.total);
        }
        window.bytes = window.bytes.saturating_add(packet.bytes);
        window.packets = window.packets.saturating_add(1);
        if window.last - window.start >= WINDOW {
            self.before = window.rate().or(self.before);
            self.window = Some(Window::new(window.last, packet));
        }
    }

    /// `None` while no queue stands, or not for long enough.
    pub(super) fn rate(&self) -> Option<Busy> {
        self.window.and_then(|window| window.rate()).or(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: Duration = Duration::from_millis(20);

    fn packet(sent_at: Time, arrival: i64, total: u32) -> Acked {
        Acked {
            number: 0,
            sent_at,
            arrival,
            bytes: 1250,
            total,
            after_gap: false,
        }
    }

    /// Packets of 1250 bytes that arrive every `spacing` microseconds and were sent every millisecond; gives
    /// the time after the last.
    fn feed(busy: &mut BusyRate, from: i64, micros: i64, spacing: i64, standing: Duration) -> i64 {
        let mut arrival = from;
        let mut sent = Time::from_millis(u64::try_from(from / 1000).unwrap());
        let mut total = 0;
        while arrival < from + micros {
            total += 1250;
            busy.on_acked(&packet(sent, arrival, total), standing);
            arrival += spacing;
            sent += Duration::from_millis(1);
        }
        arrival
    }

    fn about(busy: &BusyRate, bps: f64) -> bool {
        busy.rate().is_some_and(|rate| {
            (rate.arrived / bps - 1.0).abs() < 0.02 && (rate.sent / 10e6 - 1.0).abs() < 0.1
        })
    }

    #[test]
    fn without_a_queue_there_is_none() {
        let mut busy = BusyRate::default();
        feed(&mut busy, 0, 1_000_000, 5_000, Duration::from_millis(1));
        assert_eq!(busy.rate(), None);
    }

    #[test]
    fn a_burst_after_a_trickle_tells_the_link() {
        let after = |micros| {
            let mut busy = BusyRate::default();
            let next = feed(&mut busy, 0, 2_000_000, 100_000, Duration::ZERO);
            feed(&mut busy, next, micros, 5_000, QUEUE);
            busy
        };
        assert_eq!(after(50_000).rate(), None, "too short");
        let busy = after(100_000);
        assert!(about(&busy, 2e6), "{busy:?}");
    }

    #[test]
    fn follows_a_link_that_changes() {
        let mut busy = BusyRate::default();
        feed(&mut busy, 0, 150_000, 5_000, QUEUE);
        assert!(about(&busy, 2e6), "{busy:?}");
        feed(&mut busy, 155_000, 900_000, 20_000, QUEUE);
        assert!(
            busy.rate()
                .is_some_and(|rate| (rate.arrived / 5e5 - 1.0).abs() < 0.02),
            "{busy:?}"
        );
    }

    #[test]
    fn what_a_full_queue_drops_was_sent() {
        let mut busy = BusyRate::default();
        // Of four packets that are sent in 20 ms one comes out of it.
        for turn in 0..20_u32 {
            let at = turn * 20;
            busy.on_acked(
                &packet(Time::from_millis(at.into()), i64::from(at) * 1000, turn * 5000),
                QUEUE,
            );
        }
        let rate = busy.rate().unwrap();
        assert!((rate.arrived / 5e5 - 1.0).abs() < 0.02, "{busy:?}");
        assert!((rate.sent / 2e6 - 1.0).abs() < 0.02, "{busy:?}");
    }

    #[test]
    fn is_forgotten_with_its_queue() {
        let mut busy = BusyRate::default();
        let next = feed(&mut busy, 0, 500_000, 5_000, QUEUE);
        busy.on_acked(&packet(Time::ZERO, next, 0), Duration::ZERO);
        assert_eq!(busy.rate(), None);
        let next = feed(&mut busy, next, 500_000, 5_000, QUEUE);
        // A pause is none of its time.
        busy.on_acked(&packet(Time::ZERO, next + 1_000_000, 0), QUEUE);
        assert_eq!(busy.rate(), None);
    }

    #[test]
    fn clocks_that_jump_are_harmless() {
        let mut busy = BusyRate::default();
        for arrival in [i64::MAX, i64::MIN, 0, -1, 100_000, 50_000, i64::MIN] {
            let bytes = u64::MAX;
            busy.on_acked(
                &Acked {
                    bytes,
                    ..packet(Time::ZERO, arrival, u32::MAX)
                },
                QUEUE,
            );
            assert!(
                busy.rate()
                    .is_none_or(|rate| rate.arrived.is_finite() && rate.sent.is_finite())
            );
        }
    }
}
