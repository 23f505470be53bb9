//! Which track goes into which free video slot: a pure function of what begins and what is free.

use std::collections::BTreeSet;

use kall_shared::id::{Mid, TrackId};
use kall_shared::media::{Kind, Source};

use super::member::Slot;

/// A video track that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) track: TrackId,
    pub(super) source: Source,
    /// Place in the order of publication.
    pub(super) order: u64,
}

/// Fills free video slots: screens first, then in the order of publication. A track that has a
/// slot keeps it, one that the client sent away stays away. Returns the new pairs.
pub(super) fn fill(
    slots: &[Slot],
    mut candidates: Vec<Candidate>,
    unwanted: &BTreeSet<TrackId>,
) -> Vec<(Mid, Candidate)> {
    candidates.retain(|candidate| {
        !unwanted.contains(&candidate.track)
            && !slots
                .iter()
                .any(|slot| slot.wanted.as_ref() == Some(&candidate.track))
    });
    candidates.sort_by_key(|candidate| (candidate.source != Source::Screen, candidate.order));
    let free = slots
        .iter()
        .filter(|slot| slot.kind == Kind::Video && slot.wanted.is_none());
    free.zip(candidates)
        .map(|(slot, candidate)| (slot.mid.clone(), candidate))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(mid: &str, kind: Kind, wanted: Option<&str>) -> Slot {
        let mut slot = Slot::new(Mid::new(mid).expect("mid"), kind);
        slot.wanted = wanted.map(|id| TrackId::new(id).expect("id"));
        slot
    }

    fn candidate(id: &str, source: Source, order: u64) -> Candidate {
        Candidate {
            track: TrackId::new(id).expect("id"),
            source,
            order,
        }
    }

    fn pairs(filled: &[(Mid, Candidate)]) -> Vec<(&str, &str)> {
        filled
            .iter()
            .map(|(mid, candidate)| (mid.as_str(), candidate.track.as_str()))
            .collect()
    }

    #[test]
    fn screens_come_first_then_the_order_of_publication() {
        let slots = [
            slot("1", Kind::Audio, None),
            slot("2", Kind::Video, None),
            slot("3", Kind::Video, None),
            slot("4", Kind::Video, None),
        ];
        let tracks = vec![
            candidate("tr_b", Source::Camera, 2),
            candidate("tr_a", Source::Camera, 1),
            candidate("tr_s", Source::Screen, 3),
        ];
        let filled = fill(&slots, tracks, &BTreeSet::new());
        assert_eq!(pairs(&filled), [("2", "tr_s"), ("3", "tr_a"), ("4", "tr_b")]);
    }

    #[test]
    fn what_has_a_slot_keeps_it_and_what_was_sent_away_stays_away() {
        let slots = [slot("2", Kind::Video, Some("tr_a")), slot("3", Kind::Video, None)];
        let tracks = || {
            vec![
                candidate("tr_a", Source::Camera, 1),
                candidate("tr_b", Source::Camera, 2),
                candidate("tr_c", Source::Camera, 3),
            ]
        };
        assert_eq!(pairs(&fill(&slots, tracks(), &BTreeSet::new())), [("3", "tr_b")]);
        let unwanted = BTreeSet::from([TrackId::new("tr_b").expect("id")]);
        assert_eq!(pairs(&fill(&slots, tracks(), &unwanted)), [("3", "tr_c")]);
    }
}
