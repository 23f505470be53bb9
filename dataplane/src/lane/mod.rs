//! Lanes between cores: what the members of a room on several cores send each other.
//!
//! One lane leads from each core to each other one and has one writer and one reader, so that neither ever waits. What
//! crosses is values: a packet is copied into the lane once, whoever takes it over there, and nothing in it is shared.
//! It becomes visible in batches ([`Sender::publish`]), for every look of one core at the other's memory costs both.
//!
//! A lane is bounded. Pictures leave the last part of it to sound and to messages, so that a reader that falls behind
//! loses pictures first; messages are never lost, those that find no room wait at the writer's for what pictures leave.

mod message;

use std::collections::VecDeque;

pub use message::{LayerNews, Message, PacketHead, TrackNews};

/// Packets and messages of one lane: at 1,000 packets in each of its reader's turns there is room for four of them.
pub const ENTRIES: usize = 4096;

/// Payload of all lanes that one core writes to, together. A page of it is used only once something was in it.
const BYTES_OF_CORE: usize = 32 << 20;

/// Least and most payload of one lane: a key frame of a large screen, and what is on its way at 2 Gbit/s in 10 ms.
const BYTES_MIN: usize = 256 << 10;
const BYTES_MAX: usize = 2 << 20;

/// One part in so many of a lane is not for pictures.
const RESERVE: usize = 4;

/// A lane had no room for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

#[derive(Debug)]
enum Entry {
    Packet(PacketHead),
    Message(Message),
}

/// What comes out of a lane.
#[derive(Debug)]
pub enum Received<'a> {
    /// A packet: its facts, its dependency descriptor and its payload.
    Packet(&'a PacketHead, &'a [u8], &'a [u8]),
    /// A message.
    Message(Message),
}

/// The writer's end.
#[derive(Debug)]
pub struct Sender {
    entries: rtrb::Producer<Entry>,
    bytes: rtrb::Producer<u8>,
    /// Not visible to the reader yet.
    batch: Vec<Entry>,
    /// Messages that found no room.
    waiting: VecDeque<Message>,
}

/// The reader's end.
#[derive(Debug)]
pub struct Receiver {
    entries: rtrb::Consumer<Entry>,
    bytes: rtrb::Consumer<u8>,
    /// Where a packet is put together that lies across the end of the buffer.
    scratch: Vec<u8>,
}

/// A lane with room for so many entries, and bytes of payload.
#[must_use]
pub fn lane(entries: usize, bytes: usize) -> (Sender, Receiver) {
    let (to, from) = rtrb::RingBuffer::new(entries);
    let (bytes_to, bytes_from) = rtrb::RingBuffer::new(bytes);
    let sender = Sender {
        entries: to,
        bytes: bytes_to,
        batch: Vec::with_capacity(entries),
        waiting: VecDeque::new(),
    };
    let receiver = Receiver {
        entries: from,
        bytes: bytes_from,
        scratch: Vec::with_capacity(crate::limits::DATAGRAM_MAX * 2),
    };
    (sender, receiver)
}

impl Sender {
    /// Hands over a packet. `picture`: it leaves the reserve alone.
    ///
    /// # Errors
    /// There is no room; nothing of it was written.
    pub fn packet(
        &mut self,
        head: PacketHead,
        descriptor: &[u8],
        payload: &[u8],
        picture: bool,
    ) -> Result<(), Full> {
        let kept_free = |capacity: usize| if picture { capacity / RESERVE } else { 0 };
        let entries = self.entries.buffer().capacity();
        let bytes = self.bytes.buffer().capacity();
        let len = descriptor.len() + payload.len();
        if !has_slots(&self.entries, self.batch.len() + 1 + kept_free(entries))
            || !has_slots(&self.bytes, len + kept_free(bytes))
        {
            return Err(Full);
        }
        for part in [descriptor, payload] {
            // There is room, as was just seen.
            self.bytes.push_entire_slice(part).map_err(|_| Full)?;
        }
        self.batch.push(Entry::Packet(PacketHead {
            lens: (descriptor.len() as u16, payload.len() as u16),
            ..head
        }));
        Ok(())
    }

    /// Sends a message. It arrives after all that was handed over before it; packets may overtake one that waits for room.
    pub fn message(&mut self, message: Message) {
        if self.waiting.is_empty() && has_slots(&self.entries, self.batch.len() + 1) {
            self.batch.push(Entry::Message(message));
        } else if !message.is_periodic() {
            self.waiting.push_back(message);
        }
    }

    /// Makes what was handed over visible to the reader. Whether there was anything.
    pub fn publish(&mut self) -> bool {
        while !self.waiting.is_empty() && has_slots(&self.entries, self.batch.len() + 1) {
            self.batch.extend(self.waiting.pop_front().map(Entry::Message));
        }
        let any = !self.batch.is_empty();
        if let Ok(chunk) = self.entries.write_chunk_uninit(self.batch.len()) {
            chunk.fill_from_iter(self.batch.drain(..));
        }
        any
    }

    /// Messages that found no room.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// Whether a lane has so many free places. The reader's end is looked at only if it had not when it was looked at last.
fn has_slots<T>(lane: &rtrb::Producer<T>, count: usize) -> bool {
    lane.cached_slots() >= count || lane.slots() >= count
}

impl Receiver {
    /// Gives the next packet or message to `take`; false when there is none.
    pub fn receive(&mut self, take: impl FnOnce(Received<'_>)) -> bool {
        match self.entries.pop() {
            Err(_) => return false,
            Ok(Entry::Message(message)) => take(Received::Message(message)),
            Ok(Entry::Packet(head)) => {
                let (descriptor, payload) = (usize::from(head.lens.0), usize::from(head.lens.1));
                // Its bytes were there before it was.
                let Ok(chunk) = self.bytes.read_chunk(descriptor + payload) else {
                    return true;
                };
                let bytes = match chunk.as_slices() {
                    (whole, []) => whole,
                    (first, second) => {
                        self.scratch.clear();
                        self.scratch.extend_from_slice(first);
                        self.scratch.extend_from_slice(second);
                        &self.scratch
                    }
                };
                let (descriptor, payload) = bytes.split_at(descriptor);
                take(Received::Packet(&head, descriptor, payload));
                chunk.commit_all();
            }
        }
        true
    }

    /// Whether there is something.
    #[must_use]
    pub fn has_any(&self) -> bool {
        !self.entries.is_empty()
    }
}

/// The ends of all lanes that begin or end at one core, by the other core.
#[derive(Debug, Default)]
pub struct Lanes {
    /// To the others; none in its own place.
    pub to: Vec<Option<Sender>>,
    /// From the others; none in its own place.
    pub from: Vec<Option<Receiver>>,
}

/// The lanes between so many cores.
#[must_use]
pub fn mesh(cores: usize) -> Vec<Lanes> {
    let bytes = (BYTES_OF_CORE / cores.max(2)).clamp(BYTES_MIN, BYTES_MAX);
    let empty = || Lanes {
        to: (0..cores).map(|_| None).collect(),
        from: (0..cores).map(|_| None).collect(),
    };
    let mut mesh: Vec<Lanes> = (0..cores).map(|_| empty()).collect();
    for writer in 0..cores {
        for reader in (0..cores).filter(|reader| *reader != writer) {
            let (to, from) = lane(ENTRIES, bytes);
            mesh[writer].to[reader] = Some(to);
            mesh[reader].from[writer] = Some(from);
        }
    }
    mesh
}

#[cfg(test)]
mod tests;
