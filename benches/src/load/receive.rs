//! What a client got: every packet counted, a share of them opened and authenticated.

use kall_dataplane::rtp::ext_seq::SeqUnwrapper;
use kall_dataplane::srtp::Inbound;
use kall_dataplane::time::Time;
use kall_dataplane::wire::rtp::Packet;

use super::publish::stamped;
use super::sdp::RTX;

/// Packets of a stream that a duplicate is told from.
const WINDOW: u64 = 1024;

/// Sums over streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets of media.
    pub packets: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
    /// Packets that should have come.
    pub expected: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Retransmissions, and what probes a path.
    pub repairs: u64,
    /// Packets that were opened.
    pub verified: u64,
    /// Packets that were no packets, or not authentic.
    pub forged: u64,
}

impl Counts {
    /// Adds another client's.
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.expected += other.expected;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.repairs += other.repairs;
        self.verified += other.verified;
        self.forged += other.forged;
    }

    /// Share of what should have come that did not.
    #[must_use]
    pub fn loss(&self) -> f64 {
        let unique = self.packets - self.duplicates;
        let lost = self.expected.saturating_sub(unique);
        lost as f64 / self.expected.max(1) as f64
    }
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    sequence: SeqUnwrapper,
    /// Above the highest number, now and at the beginning of the measurement.
    next: u64,
    base: u64,
    seen: [u64; (WINDOW / 64) as usize],
}

/// How a number stands to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Next,
    Late,
    Again,
}

impl Stream {
    fn new(ssrc: u32, sequence: u16) -> Self {
        let mut unwrapper = SeqUnwrapper::new();
        let first = unwrapper.unwrap(sequence);
        Self {
            ssrc,
            sequence: unwrapper,
            next: first,
            base: first,
            seen: [0; (WINDOW / 64) as usize],
        }
    }

    fn note(&mut self, sequence: u16) -> Order {
        let number = self.sequence.unwrap(sequence);
        let bit = |number: u64| ((number % WINDOW / 64) as usize, 1 << (number % 64));
        let (word, mask) = bit(number);
        if number >= self.next {
            // What was skipped has not been seen.
            for skipped in (self.next..number).rev().take(WINDOW as usize) {
                let (word, mask) = bit(skipped);
                self.seen[word] &= !mask;
            }
            self.next = number + 1;
            self.seen[word] |= mask;
            return Order::Next;
        }
        if self.next - number > WINDOW || self.seen[word] & mask != 0 {
            return Order::Again;
        }
        self.seen[word] |= mask;
        Order::Late
    }
}

/// Everything one client gets.
#[derive(Debug, Default)]
pub struct Receiver {
    streams: Vec<Stream>,
    counts: Counts,
    /// Packets since the last one that was opened.
    unopened: u32,
    /// The first packet of media.
    pub first: Option<Time>,
}

impl Receiver {
    /// Counts from here on.
    pub fn begin(&mut self) {
        self.counts = Counts::default();
        for stream in &mut self.streams {
            stream.base = stream.next;
        }
    }

    /// What came since [`Self::begin`].
    #[must_use]
    pub fn counts(&self) -> Counts {
        let expected = self.streams.iter().map(|stream| stream.next - stream.base);
        Counts {
            expected: expected.sum(),
            ..self.counts
        }
    }

    /// Streams that came so far, and their highest numbers, for reports.
    pub fn streams(&self) -> impl Iterator<Item = (u32, u64)> {
        self.streams
            .iter()
            .map(|stream| (stream.ssrc, stream.next.saturating_sub(1)))
    }

    /// Takes a sealed packet. One of `every` is opened; gives when such a one was sent.
    pub fn on_packet(
        &mut self,
        arrival: Time,
        data: &mut [u8],
        inbound: &mut Inbound,
        every: u32,
    ) -> Option<Time> {
        let &[_, payload_type, high, low, _, _, _, _, s0, s1, s2, s3, ..] = &*data else {
            self.counts.forged += 1;
            return None;
        };
        let len = data.len() as u64;
        let (sequence, ssrc) = (
            u16::from_be_bytes([high, low]),
            u32::from_be_bytes([s0, s1, s2, s3]),
        );
        if payload_type & 0x7f == RTX {
            self.counts.repairs += 1;
            return None;
        }
        self.first.get_or_insert(arrival);
        self.counts.packets += 1;
        self.counts.bytes += len;
        self.note(ssrc, sequence);
        self.unopened += 1;
        if self.unopened < every {
            return None;
        }
        self.unopened = 0;
        let Ok(opened) = inbound.unprotect_rtp(data) else {
            self.counts.forged += 1;
            return None;
        };
        self.counts.verified += 1;
        let packet = Packet::parse(&data[..opened.len]).ok()?;
        stamped(packet.payload())
    }

    fn note(&mut self, ssrc: u32, sequence: u16) {
        let found = self.streams.iter().position(|stream| stream.ssrc == ssrc);
        let place = found.unwrap_or_else(|| {
            self.streams.push(Stream::new(ssrc, sequence));
            self.streams.len() - 1
        });
        match self.streams[place].note(sequence) {
            Order::Next => {}
            Order::Late => self.counts.reordered += 1,
            Order::Again => self.counts.duplicates += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_double_or_late_is_told_apart() {
        let mut receiver = Receiver::default();
        for sequence in [65_534u16, 65_535, 0, 1] {
            receiver.note(1, sequence);
        }
        receiver.begin();
        for sequence in [2u16, 3, 5, 4, 5, 8] {
            receiver.note(1, sequence);
            receiver.counts.packets += 1;
        }
        let counts = receiver.counts();
        assert_eq!((counts.expected, counts.duplicates, counts.reordered), (7, 1, 1));
        assert!((counts.loss() - 2.0 / 7.0).abs() < 1e-9);
    }
}
