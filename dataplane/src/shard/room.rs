//! A room as a core sees it: who is in it, what is published, who hears whom.
//!
//! Video slots are filled from outside; audio slots are filled here, so that a conversation goes on
//! while the control plane is away, but for those that somebody outside took in hand.

use kall_shared::id::RoomId;
use kall_shared::media::Source;

use crate::shard::slab::Key;

/// A published audio track as the choice sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AudioCandidate {
    /// The publication.
    pub(super) publication: Key,
    /// The publishing session, which never hears itself.
    pub(super) owner: Key,
    /// What it is: a screen's sound comes first.
    pub(super) source: Source,
    /// A muted track yields its slot when others wait.
    pub(super) muted: bool,
}

/// Members and tracks of one room.
#[derive(Debug)]
pub(super) struct Room {
    /// Its name.
    pub(super) id: RoomId,
    /// Sessions, in the order they came.
    pub(super) sessions: Vec<Key>,
    /// Publications whose media flows, in the order they started.
    pub(super) started: Vec<Key>,
}

impl Room {
    /// An empty room.
    #[must_use]
    pub(super) fn new(id: RoomId) -> Self {
        Self {
            id,
            sessions: Vec::new(),
            started: Vec::new(),
        }
    }
}

/// Chooses what a listener's audio slots carry. `slots` holds each slot's occupant and is changed in
/// place; a track that stays keeps its slot. Returns whether anything changed.
pub(super) fn fill_audio(listener: Key, slots: &mut [Option<Key>], candidates: &[AudioCandidate]) -> bool {
    let mut wanted: Vec<&AudioCandidate> = candidates
        .iter()
        .filter(|candidate| candidate.owner != listener)
        .collect();
    // Stable, so within a rank whoever started first; a track in a slot outranks an equal one that
    // is not, so that equals never take turns.
    wanted.sort_by_key(|candidate| {
        let seated = slots.contains(&Some(candidate.publication));
        (candidate.source != Source::ScreenAudio, candidate.muted, !seated)
    });
    wanted.truncate(slots.len());
    let mut changed = false;
    for slot in slots.iter_mut() {
        if slot.is_some_and(|key| !wanted.iter().any(|candidate| candidate.publication == key)) {
            *slot = None;
            changed = true;
        }
    }
    for candidate in wanted {
        if slots.contains(&Some(candidate.publication)) {
            continue;
        }
        if let Some(free) = slots.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(candidate.publication);
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENER: Key = Key { index: 0, epoch: 0 };

    fn candidate(index: u32, source: Source, muted: bool) -> AudioCandidate {
        AudioCandidate {
            publication: Key { index, epoch: 0 },
            owner: Key { index, epoch: 0 },
            source,
            muted,
        }
    }

    fn indexes(slots: &[Option<Key>]) -> Vec<Option<u32>> {
        slots.iter().map(|slot| slot.map(|key| key.index)).collect()
    }

    #[test]
    fn everybody_is_heard_but_oneself_while_slots_last() {
        let all = [0, 1, 2].map(|index| candidate(index, Source::Microphone, false));
        let mut slots = [None; 3];
        assert!(fill_audio(LISTENER, &mut slots, &all));
        assert_eq!(indexes(&slots), [Some(1), Some(2), None]);
        assert!(!fill_audio(LISTENER, &mut slots, &all), "a settled choice stays");
    }

    #[test]
    fn the_sound_of_a_screen_comes_first_and_a_muted_track_yields() {
        let mut all = vec![
            candidate(1, Source::Microphone, true),
            candidate(2, Source::Microphone, false),
        ];
        let mut slots = [None; 2];
        fill_audio(LISTENER, &mut slots, &all);
        assert_eq!(indexes(&slots), [Some(2), Some(1)]);
        all.push(candidate(3, Source::ScreenAudio, false));
        fill_audio(LISTENER, &mut slots, &all);
        assert_eq!(indexes(&slots), [Some(2), Some(3)]);
    }

    #[test]
    fn a_track_that_stays_keeps_its_slot() {
        let all = [1, 2, 3].map(|index| candidate(index, Source::Microphone, false));
        let mut slots = [None, None];
        fill_audio(LISTENER, &mut slots, &all);
        fill_audio(LISTENER, &mut slots, &all[1..]);
        assert_eq!(indexes(&slots), [Some(3), Some(2)]);
    }
}
