//! What was sent and what became of it: a ring over transport-wide sequence numbers.
//!
//! Numbers are unwrapped to 64 bits and contiguous, so a number is its own place in the ring. A number
//! quoted in feedback is taken as the one nearest to the last that was sent; what was never sent, or is
//! no longer remembered, is nobody.

use crate::rtp::ext_seq::nearest_u16;
use crate::time::Time;

/// Packets remembered: half a second at 40 Mbit/s. A power of two.
pub(super) const PACKETS: usize = 2048;

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

    /// Takes all its memory.
    pub(super) fn new() -> Self {
        let nothing = Sent {
            at: Time::ZERO,
            bytes: 0,
            total: 0,
            fate: Fate::Unknown,
            probe: false,
        };
        Self {
            packets: vec![nothing; PACKETS],
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
        self.first.max(self.next.saturating_sub(PACKETS as u64))
    }

    /// Notes the packet that took the next number.
    pub(super) fn push(&mut self, at: Time, bytes: u16, probe: bool) {
        self.total = self.total.wrapping_add(u32::from(bytes));
        self.packets[index(self.next)] = Sent {
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
        self.packets.get_mut(index(number))
    }

    /// Forgets all packets; numbers go on.
    pub(super) fn forget(&mut self) {
        self.first = self.next;
    }
}

fn index(number: u64) -> usize {
    (number % PACKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_last_packets_only() {
        let mut history = History::new();
        assert!(history.get_mut(history.next()).is_none());
        let first = history.next();
        for millis in 0..=PACKETS as u64 {
            history.push(Time::from_millis(millis), 100, false);
        }
        assert!(history.get_mut(first).is_none());
        assert_eq!(history.get_mut(first + 1).unwrap().at, Time::from_millis(1));
        assert!(history.get_mut(history.next()).is_none());
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
