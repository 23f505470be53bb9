//! What a session is to be sent, in order, before it is rewritten and sealed.
//!
//! Entries refer to packets in their publication's ring; nothing is copied until the packet is sealed
//! into the transmit batch. Filled while a turn's datagrams come in, emptied by the transmit poll, so
//! that what one subscriber gets in a turn is sealed side by side.

use std::collections::VecDeque;

use crate::limits;
use crate::shard::slab::Key;

/// One thing to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A publisher's packet for one slot.
    Forward {
        /// Index of the slot.
        slot: u8,
        /// Where the packet came from.
        publication: Key,
        /// Its layer.
        layer: u8,
        /// Its extended number there.
        seq: u64,
    },
    /// A packet of a slot once more, on the slot's retransmission stream.
    Retransmit {
        /// Index of the slot.
        slot: u8,
        /// The number it had when it was sent.
        out_seq: u16,
    },
}

/// The queue of one session.
#[derive(Debug, Default)]
pub struct Outbox {
    items: VecDeque<Item>,
}

impl Outbox {
    /// Adds one; false when the queue is full and the item is dropped.
    #[must_use]
    pub fn push(&mut self, item: Item) -> bool {
        if self.items.len() == limits::OUTBOX_PACKETS {
            return false;
        }
        self.items.push_back(item);
        true
    }

    /// The next one.
    pub fn pop(&mut self) -> Option<Item> {
        self.items.pop_front()
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.items.clear();
    }
}
