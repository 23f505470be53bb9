//! What was sent and what became of it: a ring over transport-wide sequence numbers.
//!
//! Numbers are unwrapped to 64 bits and contiguous, so a number is its own place in the ring. A number
//! quoted in feedback is taken as the one nearest to the last that was sent; what was never sent, or is
//! no longer remembered, is nobody. The ring is as large as the rate makes it: it grows when it is about to forget what
//! may still be spoken of, and most subscribers get a few hundred packets a second.

use std::time::Duration;

use crate::io::prefetch::prefetch_all;
use crate::rtp::ext_seq::nearest_u16;
use crate::time::Time;

/// Most packets remembered: half a second at 40 Mbit/s. A power of two.
pub(super) const PACKETS_MAX: usize = 2048;

/// Packets remembered to begin with. A power of two.
const PACKETS_MIN: usize = 128;

/// How long a packet is worth room: feedback that comes later tells nothing of the path as it is.
const REMEMBERED: Duration = Duration::from_millis(1500);

/// What a packet is, for accounting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Sound; never waits for the pacer.
    Audio,
    /// Pictures, sent for the first time.
    Video,
    /// A retransmission, asked for or sent as a probe.
    Rtx,
    /// Padding without content, sent as a probe.
    Padding,
}

impl Class {
    /// Every class, in the order of [`Class::index`].
    pub const ALL: [Self; 4] = [Self::Audio, Self::Video, Self::Rtx, Self::Padding];

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Audio => 0,
            Self::Video => 1,
            Self::Rtx => 2,
            Self::Padding => 3,
        }
    }
}

/// What is known of a packet's fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// No feedback spoke of it.
    InFlight,
    /// Feedback said it had not come; a later one may still say that it has.
    Missing,
    /// It came.
    Received,
    /// It did not come, finally.
    Lost,
    /// The feedback that would have told was itself lost.
    Unknown,
}

/// A packet that was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) at: Time,
    /// With headers of IP and UDP.
    pub(super) bytes: u16,
    /// All that was sent up to here, this packet included; wraps.
    pub(super) total: u32,
    pub(super) fate: Fate,
    /// Belongs to a probe, whose losses are wanted.
    pub(super) probe: bool,
}

impl Sent {
    const NOTHING: Self = Self {
        at: Time::ZERO,
        bytes: 0,
        total: 0,
        fate: Fate::Unknown,
        probe: false,
    };
}

/// The ring.
#[derive(Debug)]
pub(super) struct History {
    packets: Vec<Sent>,
    total: u32,
    next: u64,
    /// Nothing below this is remembered: it was sent on another path.
    first: u64,
}

impl History {
    /// The first number is one cycle up, so that no distance underflows.
    const START: u64 = 1 << 16;

    /// Nothing was sent yet.
    pub(super) fn new() -> Self {
        Self {
            packets: vec![Sent::NOTHING; PACKETS_MIN],
            total: 0,
            next: Self::START,
            first: Self::START,
        }
    }

    /// The number of the next packet.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The lowest number that is remembered.
    pub(super) fn oldest(&self) -> u64 {
        self.first
            .max(self.next.saturating_sub(self.packets.len() as u64))
    }

    /// Notes the packet that took the next number.
    pub(super) fn push(&mut self, at: Time, bytes: u16, probe: bool) {
        self.total = self.total.wrapping_add(u32::from(bytes));
        self.make_room(at);
        let index = self.index(self.next);
        self.packets[index] = Sent {
            at,
            bytes,
            total: self.total,
            fate: Fate::InFlight,
            probe,
        };
        self.next += 1;
    }

    /// The unwrapped form of a number quoted in feedback; it may never have been sent.
    pub(super) fn nearest(&self, sequence: u16) -> u64 {
        nearest_u16(self.next.saturating_sub(1), sequence)
    }

    /// The packet of this number, if it is remembered.
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Sent> {
        if number < self.oldest() || number >= self.next {
            return None;
        }
        let index = self.index(number);
        self.packets.get_mut(index)
    }

    /// Forgets all packets; numbers go on.
    pub(super) fn forget(&mut self) {
        self.first = self.next;
    }

    /// Grows, if the next packet would take the place of one that is worth it.
    fn make_room(&mut self, now: Time) {
        let size = self.packets.len();
        let oldest = self.next - size as u64;
        let there = self.packets[self.index(oldest)].at;
        if oldest < self.first || size == PACKETS_MAX || now.since(there) > REMEMBERED {
            return;
        }
        let new_size = size * 2;
        let mut packets = vec![Sent::NOTHING; new_size];
        for number in oldest..self.next {
            packets[number as usize & (new_size - 1)] = self.packets[self.index(number)];
        }
        self.packets = packets;
    }

    /// Fetches the places of so many packets from a number on, as far as they are in a row.
    pub(super) fn prefetch(&self, number: u64, count: usize) {
        let first = self.index(number);
        let end = (first + count).min(self.packets.len());
        prefetch_all(&self.packets[first..end]);
    }

    fn index(&self, number: u64) -> usize {
        // The size is a power of two.
        number as usize & (self.packets.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_last_packets_only() {
        let mut history = History::new();
        assert!(history.get_mut(history.next()).is_none());
        let first = history.next();
        for micros in 0..=PACKETS_MAX as u64 {
            history.push(Time::from_nanos(micros * 1000), 100, false);
        }
        assert!(history.get_mut(first).is_none());
        assert_eq!(history.get_mut(first + 1).unwrap().at, Time::from_nanos(1000));
        assert!(history.get_mut(history.next()).is_none());
    }

    #[test]
    fn is_as_large_as_the_rate_makes_it() {
        // 50 packets a second, and then 400.
        let mut history = History::new();
        let first = history.next();
        for packet in 0..1000 {
            history.push(Time::from_millis(100_000 + packet * 20), packet as u16, false);
        }
        assert_eq!(history.packets.len(), PACKETS_MIN);
        assert!(history.get_mut(first).is_none());
        for packet in 0..4000 {
            history.push(
                Time::from_nanos(120_000_000_000 + packet * 2_500_000),
                packet as u16,
                false,
            );
        }
        assert_eq!(history.packets.len(), 1024);
        for back in 1..=1024 {
            let number = history.next() - back;
            assert_eq!(u64::from(history.get_mut(number).unwrap().bytes), 4000 - back);
        }
    }

    #[test]
    fn quoted_numbers_are_the_nearest_to_the_last_sent() {
        let mut history = History::new();
        let first = history.next();
        for _ in 0..70_000 {
            history.push(Time::ZERO, 100, false);
        }
        let last = first + 69_999;
        assert_eq!(history.nearest(last as u16), last);
        assert_eq!(history.nearest((last - 1000) as u16), last - 1000);
        // Never sent.
        let ahead = history.nearest((last + 5) as u16);
        assert_eq!(ahead, last + 5);
        assert!(history.get_mut(ahead).is_none());
    }

    #[test]
    fn another_path_begins_with_nothing() {
        let mut history = History::new();
        history.push(Time::ZERO, 100, false);
        let old = history.next() - 1;
        history.forget();
        assert!(history.get_mut(old).is_none());
        history.push(Time::ZERO, 100, false);
        assert!(history.get_mut(old + 1).is_some());
    }
}
