//! One probe: packets sent for some milliseconds at a rate above the estimate, and the rate at which
//! they arrived.
//!
//! Whatever is sent meanwhile counts; what is missing to the rate is asked for as retransmissions or
//! padding.

use std::time::Duration;

use super::feedback::Acked;
use crate::time::Time;

/// Packets needed at least: fewer have no rate.
const PACKETS: u32 = 5;

/// Bytes are asked for ahead by this time, and so arrive as small bursts.
const AHEAD: Duration = Duration::from_millis(2);

/// Least bytes worth asking for: a packet of padding is not longer than 255.
const ASK_MIN: u64 = 200;

/// Shortest time between two wakes for the sake of a probe.
const WAKE: Duration = Duration::from_millis(1);

/// Time after which a probe that the sender could not fill is given up.
const SEND_MAX: Duration = Duration::from_millis(300);

/// How long feedback is waited for, besides the round trip.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Received packets needed at least, and their share of packets and bytes.
const RECEIVED_PACKETS: u32 = 4;
const RECEIVED_SHARE: f64 = 0.8;

/// Longest interval that is a rate.
const INTERVAL_MAX: f64 = 1.0;

/// Arriving this much faster than it was sent, something held it back before.
const COMPRESSED: f64 = 2.0;

/// Arriving slower than this share of what was sent, the path was full; then a little less than what
/// arrived is what it carries.
const SATURATED: f64 = 0.9;
const SATURATED_SHARE: f64 = 0.95;

/// The same where it was not full: some milliseconds are a small sample.
const UNSATURATED_SHARE: f64 = 0.97;

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Finding {
    /// The path carried this many bits per second.
    Carried {
        /// The lower of the rates of sending and arrival.
        bps: f64,
        /// The path was full: more would not have arrived.
        saturated: bool,
    },
    /// Too little was sent, answered or received to tell; whether anything at all was.
    Nothing {
        /// Some of it was acknowledged.
        answered: bool,
    },
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    packets: u32,
    bytes: u64,
    first: i64,
    last: i64,
    /// Bytes that lie outside the interval: of the last burst sent, of the first packet received.
    outside: u64,
}

/// A probe that runs or waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cluster {
    rate: u64,
    planned: u64,
    began: Time,
    /// The first number and, once all is sent, the one after the last.
    first: u64,
    end: Option<u64>,
    ended: Time,
    sent: Seen,
    received: Seen,
    wake: Time,
}

impl Cluster {
    /// Begins with packet `next`, at `rate` bits per second, for `time`.
    pub(super) fn new(now: Time, rate: u64, time: Duration, next: u64) -> Self {
        Self {
            rate: rate.max(1),
            planned: bytes_in(rate, time),
            began: now,
            first: next,
            end: None,
            ended: now,
            sent: Seen::default(),
            received: Seen::default(),
            wake: now,
        }
    }

    /// The rate it was meant to have.
    pub(super) fn target(&self) -> u64 {
        self.rate
    }

    /// The rate while it is being sent.
    pub(super) fn rate(&self) -> Option<u64> {
        self.end.is_none().then_some(self.rate)
    }

    /// Whether packets that are sent now belong to it.
    pub(super) fn is_sending(&self) -> bool {
        self.end.is_none()
    }

    /// Bytes that it wants to be sent now.
    pub(super) fn wanted(&self, now: Time) -> usize {
        if self.end.is_some() {
            return 0;
        }
        let due = bytes_in(self.rate, now.since(self.began) + AHEAD);
        let most = if self.sent.packets < PACKETS {
            self.planned.max(self.sent.bytes.saturating_add(ASK_MIN))
        } else {
            self.planned
        };
        let missing = due.min(most).saturating_sub(self.sent.bytes);
        let rest = most.saturating_sub(self.sent.bytes);
        if missing < ASK_MIN.min(rest) {
            return 0;
        }
        usize::try_from(missing.max(ASK_MIN)).unwrap_or(0)
    }

    /// Notes a packet; `bytes` with headers.
    pub(super) fn on_sent(&mut self, now: Time, number: u64, bytes: u64) {
        if self.end.is_some() {
            return;
        }
        let at = micros(now);
        let sent = &mut self.sent;
        if sent.packets == 0 {
            sent.first = at;
        }
        sent.outside = if sent.last == at {
            sent.outside + bytes
        } else {
            bytes
        };
        sent.last = at;
        sent.packets += 1;
        sent.bytes = sent.bytes.saturating_add(bytes);
        if sent.bytes >= self.planned && sent.packets >= PACKETS {
            self.end = Some(number + 1);
            self.ended = now;
        }
    }

    /// Notes a packet that came.
    pub(super) fn on_acked(&mut self, packet: &Acked) {
        if packet.number < self.first || self.end.is_some_and(|end| packet.number >= end) {
            return;
        }
        let received = &mut self.received;
        if received.packets == 0 || packet.arrival < received.first {
            received.first = packet.arrival;
            received.outside = packet.bytes;
        }
        if received.packets == 0 || packet.arrival > received.last {
            received.last = packet.arrival;
        }
        received.packets += 1;
        received.bytes = received.bytes.saturating_add(packet.bytes);
    }

    /// What it found, once it is known. `told`: above the highest number that feedback spoke of; `inherent`: share
    /// of packets that the path loses anyway.
    pub(super) fn poll(
        &mut self,
        now: Time,
        told: u64,
        inherent: f64,
        rtt: Option<Duration>,
    ) -> Option<Finding> {
        self.wake = now + WAKE;
        match self.end {
            None if now.since(self.began) < SEND_MAX => None,
            // What could be sent may be enough.
            None if self.sent.packets >= PACKETS && self.sent.bytes * 5 >= self.planned * 4 => {
                self.end = Some(self.first + u64::from(self.sent.packets));
                self.ended = now;
                None
            }
            None => Some(Finding::Nothing {
                answered: self.received.packets > 0,
            }),
            Some(end) if told >= end || now.since(self.ended) >= ANSWER_MAX + rtt.unwrap_or_default() => {
                Some(self.finding(inherent).unwrap_or(Finding::Nothing {
                    answered: self.received.packets > 0,
                }))
            }
            Some(_) => None,
        }
    }

    fn finding(&self, inherent: f64) -> Option<Finding> {
        let (sent, received) = (&self.sent, &self.received);
        let arrives = 1.0 - inherent;
        let share = RECEIVED_SHARE * arrives;
        if received.packets < RECEIVED_PACKETS
            || f64::from(received.packets) < share * f64::from(sent.packets)
            || (received.bytes as f64) < share * sent.bytes as f64
        {
            return None;
        }
        let rate = |seen: &Seen| {
            let seconds = seen.last.saturating_sub(seen.first) as f64 / 1e6;
            let bits = seen.bytes.saturating_sub(seen.outside) as f64 * 8.0;
            (seconds > 0.0 && seconds <= INTERVAL_MAX).then(|| bits / seconds)
        };
        let (out, arrived) = (rate(sent)?, rate(received)? / arrives);
        if arrived > COMPRESSED * out {
            return None;
        }
        let saturated = arrived < SATURATED * out;
        Some(Finding::Carried {
            bps: if saturated {
                SATURATED_SHARE * arrived
            } else {
                UNSATURATED_SHARE * arrived.min(out)
            },
            saturated,
        })
    }

    /// When it has something to say or to ask.
    pub(super) fn poll_deadline(&self, rtt: Option<Duration>) -> Time {
        if self.end.is_some() {
            return self.ended + ANSWER_MAX + rtt.unwrap_or_default();
        }
        let next = self.sent.bytes.saturating_add(ASK_MIN);
        let nanos = u128::from(next) * 8_000_000_000 / u128::from(self.rate);
        let due = self.began + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)) - AHEAD;
        due.max(self.wake).min(self.began + SEND_MAX)
    }
}

fn bytes_in(rate: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(rate) * time.as_nanos() / 8_000_000_000).unwrap_or(u64::MAX)
}

fn micros(time: Time) -> i64 {
    i64::try_from(time.as_nanos() / 1000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends packets of `size` bytes whenever some are wanted, over a link of `capacity` bit/s, and gives what
    /// was found and how long it took to send, in milliseconds.
    fn run(rate: u64, size: u64, capacity: u64, lost_each: u64, inherent: f64) -> (Finding, u64) {
        let mut cluster = Cluster::new(Time::ZERO, rate, Duration::from_millis(20), 100);
        let (mut number, mut free, mut millis) = (100, 0.0f64, 0);
        let mut acked = Vec::new();
        while cluster.is_sending() {
            let now = Time::from_millis(millis);
            let mut wanted = cluster.wanted(now);
            while wanted > 0 && cluster.is_sending() {
                cluster.on_sent(now, number, size);
                free = free.max(millis as f64 * 1000.0) + size as f64 * 8e6 / capacity as f64;
                if number % lost_each != 0 {
                    acked.push(Acked {
                        number,
                        sent_at: now,
                        arrival: free as i64 - 5_000_000,
                        bytes: size,
                        total: 0,
                        after_gap: false,
                    });
                }
                number += 1;
                wanted = wanted.saturating_sub(size as usize);
            }
            millis += 1;
            assert!(millis < 300, "{cluster:?}");
        }
        for packet in &acked {
            cluster.on_acked(packet);
        }
        let finding = cluster.poll(Time::from_millis(millis + 50), number, inherent, None);
        (finding.unwrap(), millis)
    }

    fn carried(finding: Finding) -> (f64, bool) {
        match finding {
            Finding::Carried { bps, saturated } => (bps / 1e6, saturated),
            Finding::Nothing { .. } => panic!("nothing"),
        }
    }

    #[test]
    fn finds_the_rate_that_it_was_sent_at() {
        let (finding, millis) = run(3_000_000, 250, 100_000_000, u64::MAX, 0.0);
        let (rate, saturated) = carried(finding);
        assert!((2.6..3.3).contains(&rate) && !saturated, "{rate}");
        assert!((17..22).contains(&millis), "{millis}");
        let (rate, saturated) = carried(run(6_000_000, 1200, 100_000_000, u64::MAX, 0.0).0);
        assert!((5.0..7.0).contains(&rate) && !saturated, "{rate}");
    }

    #[test]
    fn finds_the_capacity_below_it() {
        let (rate, saturated) = carried(run(6_000_000, 250, 2_000_000, u64::MAX, 0.0).0);
        assert!((1.8..2.0).contains(&rate) && saturated, "{rate}");
    }

    #[test]
    fn a_slow_probe_takes_the_time_of_five_packets() {
        let (finding, millis) = run(200_000, 250, 10_000_000, u64::MAX, 0.0);
        let (rate, _) = carried(finding);
        assert!((0.15..0.25).contains(&rate), "{rate}");
        assert!((35..60).contains(&millis), "{millis}");
    }

    #[test]
    fn known_loss_is_allowed_for() {
        let lossy = |inherent| run(3_000_000, 250, 100_000_000, 4, inherent).0;
        assert_eq!(lossy(0.0), Finding::Nothing { answered: true });
        let (rate, saturated) = carried(lossy(0.25));
        assert!((2.6..3.3).contains(&rate) && !saturated, "{rate}");
    }

    #[test]
    fn is_given_up_when_nobody_sends_or_answers() {
        let mut silent = Cluster::new(Time::ZERO, 1_000_000, Duration::from_millis(20), 100);
        assert_eq!(silent.poll(Time::from_millis(299), 0, 0.0, None), None);
        let nothing = Some(Finding::Nothing { answered: false });
        assert_eq!(silent.poll(Time::from_millis(300), 0, 0.0, None), nothing);

        let mut sent = Cluster::new(Time::ZERO, 1_000_000, Duration::from_millis(20), 100);
        for number in 100..110 {
            sent.on_sent(Time::from_millis(number - 90), number, 1000);
        }
        assert!(!sent.is_sending());
        assert_eq!(sent.poll(sent.poll_deadline(None), 0, 0.0, None), nothing);
    }
}
