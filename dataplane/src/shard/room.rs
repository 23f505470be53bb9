//! A room as a core sees it: who is in it, and whose sound is heard.
//!
//! Video slots are filled from outside; audio slots are filled here, so that a conversation goes on
//! while the control plane is away, but for those that somebody outside took in hand.

use kall_shared::id::RoomId;

use super::mirroring::Awaited;
use crate::limits;
use crate::shard::slab::Key;
use crate::speakers::Contest;

/// Members of one room, and the contest of their sounds.
#[derive(Debug)]
pub(super) struct Room {
    /// Its name.
    pub(super) id: RoomId,
    /// Sessions, in the order they came.
    pub(super) sessions: Vec<Key>,
    /// The other cores that have members of it, by bit.
    pub(super) peers: u64,
    /// What stands for the tracks that they publish.
    pub(super) mirrors: Vec<Key>,
    /// Slots that were given tracks of theirs before they were told of.
    pub(super) awaited: Vec<Awaited>,
    /// Who is heard, of the tracks whose media flows.
    pub(super) contest: Contest,
}

impl Room {
    /// An empty room.
    #[must_use]
    pub(super) fn new(id: RoomId) -> Self {
        Self {
            id,
            sessions: Vec::new(),
            peers: 0,
            mirrors: Vec::new(),
            awaited: Vec::new(),
            contest: Contest::new(limits::SOUNDS_PER_ROOM),
        }
    }
}

impl Room {
    /// Whether `core`, which has members of it, is the first of those: it tells what all of them find out.
    #[must_use]
    pub(super) fn is_led_by(&self, core: u8) -> bool {
        self.peers & ((1 << core) - 1) == 0
    }
}

/// Puts what a listener is to hear into its audio slots, which hold their occupants and are changed in
/// place; a track that stays keeps its slot. Returns whether anything changed.
pub(super) fn place(wanted: &[Key], slots: &mut [Option<Key>]) -> bool {
    let mut changed = false;
    for slot in slots.iter_mut() {
        if slot.is_some_and(|key| !wanted.contains(&key)) {
            *slot = None;
            changed = true;
        }
    }
    for wanted in wanted {
        if slots.contains(&Some(*wanted)) {
            continue;
        }
        if let Some(free) = slots.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(*wanted);
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys<const N: usize>(indexes: [u32; N]) -> [Key; N] {
        indexes.map(|index| Key { index, epoch: 0 })
    }

    #[test]
    fn a_track_that_stays_keeps_its_slot() {
        let mut slots = [None; 3];
        let [one, two, three, four] = keys([1, 2, 3, 4]);
        assert!(place(&[one, two], &mut slots));
        assert_eq!(slots, [Some(one), Some(two), None]);
        assert!(place(&[three, four, two], &mut slots));
        assert_eq!(slots, [Some(three), Some(two), Some(four)]);
        assert!(!place(&[two, four, three], &mut slots), "their order is nothing");
        assert!(place(&[], &mut slots));
        assert_eq!(slots, [None; 3]);
    }
}
