//! What a session is to be sent, before it is rewritten and sealed: three queues by urgency.
//!
//! Entries refer to packets in their publication's ring; nothing is copied until the packet is sealed
//! into the transmit batch. Filled while a turn's datagrams come in, emptied by the transmit poll, so
//! that what one subscriber gets in a turn is sealed side by side. Sound never waits for pictures;
//! what is sent again goes before what is new, for a decoder waits for it.

use std::collections::VecDeque;

use kall_shared::media::Kind;

use crate::io::prefetch::{prefetch, prefetch_after};
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

impl Item {
    /// Whether both are of one stream for one slot, and this one was published before.
    fn precedes(&self, later: &Self) -> bool {
        let of = |item: &Self| match *item {
            Self::Forward {
                slot,
                publication,
                layer,
                seq,
            } => Some(((slot, publication, layer), seq)),
            Self::Retransmit { .. } => None,
        };
        match (of(self), of(later)) {
            (Some((stream, before)), Some((same, after))) => stream == same && before < after,
            _ => false,
        }
    }
}

/// A session that has something to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// Which one.
    pub session: Key,
    /// The slot that came first: a hint at what to fetch ahead.
    pub slot: u8,
}

/// The queues of one session.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Whether the peer has keys: before that, what is published is not for it. Here, so that whoever hands a packet to
    /// hundreds of sessions looks at nothing else of them.
    pub open: bool,
    /// Whether the shard already knows that there is something to send, see [`Self::enlist`].
    pub queued: bool,
    audio: VecDeque<Item>,
    /// Packets of pictures that others of it, or later ones, have left before.
    late: VecDeque<Item>,
    repair: VecDeque<Item>,
    video: VecDeque<Item>,
    /// Repairs since the last picture.
    repaired: u8,
}

/// After so many repairs a new packet has its turn.
const REPAIRS_IN_A_ROW: u8 = 3;

impl Outbox {
    /// Adds a publisher's packet of this kind; false when the queue is full and the item is dropped.
    #[must_use]
    pub fn push(&mut self, kind: Kind, item: Item) -> bool {
        let queue = match (kind, item) {
            (_, Item::Retransmit { .. }) => &mut self.repair,
            (Kind::Audio, _) => &mut self.audio,
            (Kind::Video, _) => &mut self.video,
        };
        Self::add(queue, item)
    }

    /// Adds a publisher's packet of a picture that others of it, or later ones, may already have left:
    /// it goes before what is new. Where packets before it still wait themselves it keeps behind them, or it would leave
    /// although what it is predicted from is dropped. False when the queue is full and the item is dropped.
    #[must_use]
    pub fn push_late(&mut self, item: Item) -> bool {
        let Some(place) = self.video.iter().rposition(|queued| queued.precedes(&item)) else {
            return Self::add(&mut self.late, item);
        };
        let free = self.video.len() < limits::OUTBOX_PACKETS;
        if free {
            self.video.insert(place + 1, item);
        }
        free
    }

    /// Puts its session, `owner`, on the list of those that have something to send, where each stands once.
    pub fn enlist(&mut self, owner: Key, slot: u8, ready: &mut VecDeque<Ready>) {
        if !std::mem::replace(&mut self.queued, true) {
            ready.push_back(Ready { session: owner, slot });
        }
    }

    /// Fetches where the next item of this kind is written.
    pub fn prefetch_end(&self, kind: Kind) {
        let queue = match kind {
            Kind::Audio => &self.audio,
            Kind::Video => &self.video,
        };
        // A queue whose end has wrapped is a long one; the hint is lost then.
        prefetch_after(queue.as_slices().0);
    }

    /// Fetches the next items themselves.
    pub fn prefetch_items(&self) {
        for item in self.next_items() {
            prefetch(item);
        }
    }

    fn add(queue: &mut VecDeque<Item>, item: Item) -> bool {
        if queue.len() == limits::OUTBOX_PACKETS {
            return false;
        }
        queue.push_back(item);
        true
    }

    /// Takes the first of a queue. One that is empty begins at the start of its memory again: so it keeps to few lines,
    /// and where the next item goes is known without looking.
    fn take(queue: &mut VecDeque<Item>) -> Option<Item> {
        let item = queue.pop_front();
        if queue.is_empty() {
            queue.clear();
        }
        item
    }

    /// The next one that is sent whatever the path carries.
    pub fn pop_urgent(&mut self) -> Option<Item> {
        Self::take(&mut self.audio)
    }

    /// The next one that waits for its turn on the path.
    ///
    /// What is repaired goes first, but not alone: a receiver that asks for everything again still gets
    /// what is new.
    ///
    /// What came late goes before all of that: what follows it has left, and if it waited behind repairs it could be
    /// dropped with the queue in the end.
    pub fn pop_paced(&mut self) -> Option<Item> {
        if let Some(item) = Self::take(&mut self.late) {
            return Some(item);
        }
        if self.repaired < REPAIRS_IN_A_ROW
            && let Some(item) = Self::take(&mut self.repair)
        {
            self.repaired += 1;
            return Some(item);
        }
        self.repaired = 0;
        Self::take(&mut self.video).or_else(|| Self::take(&mut self.repair))
    }

    /// Drops the pictures that wait for one slot.
    pub fn drop_video(&mut self, slot: u8) -> usize {
        let before = self.video.len();
        self.video
            .retain(|item| !matches!(item, Item::Forward { slot: own, .. } if *own == slot));
        before - self.video.len()
    }

    /// The first of each queue.
    fn next_items(&self) -> impl Iterator<Item = &Item> {
        [&self.audio, &self.late, &self.repair, &self.video]
            .into_iter()
            .filter_map(VecDeque::front)
    }

    /// The slots of those that are next.
    pub fn next_slots(&self) -> impl Iterator<Item = u8> {
        self.next_items().map(|item| match *item {
            Item::Forward { slot, .. } | Item::Retransmit { slot, .. } => slot,
        })
    }

    /// The pictures' packets that wait, in their order.
    pub fn video(&self) -> impl Iterator<Item = &Item> {
        self.video.iter()
    }

    /// How many wait for their turn on the path.
    #[must_use]
    pub fn paced_len(&self) -> usize {
        self.late.len() + self.repair.len() + self.video.len()
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.audio.is_empty() && self.paced_len() == 0
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.audio.clear();
        self.late.clear();
        self.repair.clear();
        self.video.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(slot: u8, seq: u64) -> Item {
        Item::Forward {
            slot,
            publication: Key { index: 0, epoch: 0 },
            layer: 0,
            seq,
        }
    }

    #[test]
    fn sound_then_repair_then_pictures() {
        let mut outbox = Outbox::default();
        let again = Item::Retransmit { slot: 2, out_seq: 9 };
        assert!(outbox.push(Kind::Video, forward(2, 1)));
        assert!(outbox.push(Kind::Video, again));
        assert!(outbox.push(Kind::Audio, forward(1, 2)));
        assert_eq!(outbox.pop_urgent(), Some(forward(1, 2)));
        assert_eq!(outbox.pop_urgent(), None);
        assert_eq!(outbox.pop_paced(), Some(again));
        assert_eq!(outbox.pop_paced(), Some(forward(2, 1)));
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_others_wait_for_goes_before_what_is_new() {
        let mut outbox = Outbox::default();
        assert!(outbox.push(Kind::Video, forward(0, 8)));
        for out_seq in 0..5 {
            assert!(outbox.push(Kind::Video, Item::Retransmit { slot: 0, out_seq }));
        }
        assert!(outbox.push_late(forward(0, 7)));
        // It is no more part of the queue that is dropped when it is too long.
        assert_eq!(outbox.drop_video(0), 1);
        assert_eq!(outbox.pop_paced(), Some(forward(0, 7)));
        assert!(matches!(outbox.pop_paced(), Some(Item::Retransmit { .. })));
    }

    #[test]
    fn nothing_is_left_of_what_is_forgotten() {
        let mut outbox = Outbox::default();
        assert!(outbox.push(Kind::Audio, forward(1, 1)));
        assert!(outbox.push(Kind::Video, forward(0, 8)));
        assert!(outbox.push_late(forward(0, 7)));
        assert!(outbox.push(Kind::Video, Item::Retransmit { slot: 0, out_seq: 3 }));
        outbox.clear();
        assert!(outbox.is_empty());
        assert_eq!((outbox.pop_urgent(), outbox.pop_paced()), (None, None));
    }

    #[test]
    fn what_is_late_does_not_overtake_what_it_follows() {
        let mut outbox = Outbox::default();
        for seq in [6, 8, 9] {
            assert!(outbox.push(Kind::Video, forward(0, seq)));
        }
        assert!(outbox.push(Kind::Video, forward(1, 3)));
        assert!(outbox.push_late(forward(0, 7)));
        let order: Vec<Item> = std::iter::from_fn(|| outbox.pop_paced()).collect();
        let expected = [
            forward(0, 6),
            forward(0, 7),
            forward(0, 8),
            forward(0, 9),
            forward(1, 3),
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn one_slot_is_dropped_without_the_others() {
        let mut outbox = Outbox::default();
        for seq in 0..4 {
            assert!(outbox.push(Kind::Video, forward((seq % 2) as u8, seq)));
        }
        assert_eq!(outbox.drop_video(1), 2);
        assert_eq!(outbox.pop_paced(), Some(forward(0, 0)));
        assert_eq!(outbox.pop_paced(), Some(forward(0, 2)));
    }

    #[test]
    fn each_queue_is_bounded() {
        let mut outbox = Outbox::default();
        for seq in 0..limits::OUTBOX_PACKETS as u64 {
            assert!(outbox.push(Kind::Video, forward(0, seq)));
        }
        assert!(!outbox.push(Kind::Video, forward(0, 0)));
        assert!(outbox.push(Kind::Audio, forward(1, 0)), "sound has its own");
    }
}
