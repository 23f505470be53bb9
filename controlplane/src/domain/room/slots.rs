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
    rank(&mut candidates);
    let free = slots
        .iter()
        .filter(|slot| slot.kind == Kind::Video && slot.wanted.is_none());
    free.zip(candidates)
        .map(|(slot, candidate)| (slot.mid.clone(), candidate))
        .collect()
}

/// Puts what is shown first to the front: screens, then the order of publication.
pub(super) fn rank(candidates: &mut [Candidate]) {
    candidates.sort_by_key(|candidate| (candidate.source != Source::Screen, candidate.order));
}

/// Lets the slots of a kind show the best of what there is, given best first: what falls behind leaves
/// its slot, what stays keeps it. Returns the slots that change, and to what.
pub(super) fn follow(slots: &[Slot], kind: Kind, ranked: &[Candidate]) -> Vec<(Mid, Option<Candidate>)> {
    let slots: Vec<&Slot> = slots.iter().filter(|slot| slot.kind == kind).collect();
    let best = &ranked[..ranked.len().min(slots.len())];
    let shown = |candidate: &&Candidate| {
        slots
            .iter()
            .any(|slot| slot.wanted.as_ref() == Some(&candidate.track))
    };
    let mut new = best.iter().filter(|candidate| !shown(candidate));
    let mut changes = Vec::new();
    for slot in &slots {
        let stays = |wanted: &TrackId| best.iter().any(|candidate| candidate.track == *wanted);
        if slot.wanted.as_ref().is_some_and(stays) {
            continue;
        }
        let next = new.next().cloned();
        if next.is_some() || slot.wanted.is_some() {
            changes.push((slot.mid.clone(), next));
        }
    }
    changes
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

    fn changes(slots: &[Slot], ranked: &[Candidate]) -> Vec<(String, Option<String>)> {
        let changes = follow(slots, Kind::Video, ranked);
        let text = |change: Option<Candidate>| change.map(|candidate| candidate.track.to_string());
        changes
            .into_iter()
            .map(|(mid, change)| (mid.to_string(), text(change)))
            .collect()
    }

    #[test]
    fn a_player_follows_the_best_and_keeps_what_stays() {
        let mut tracks = vec![
            candidate("tr_a", Source::Camera, 1),
            candidate("tr_b", Source::Camera, 2),
        ];
        let one = [slot("0", Kind::Audio, Some("tr_x")), slot("1", Kind::Video, None)];
        assert_eq!(changes(&one, &tracks), [("1".into(), Some("tr_a".into()))]);
        let one = [slot("1", Kind::Video, Some("tr_a"))];
        assert_eq!(changes(&one, &tracks), []);

        // A screen pushes the last one out, the other stays where it is.
        tracks.push(candidate("tr_s", Source::Screen, 3));
        rank(&mut tracks);
        let two = [
            slot("1", Kind::Video, Some("tr_b")),
            slot("2", Kind::Video, Some("tr_a")),
        ];
        assert_eq!(changes(&two, &tracks), [("1".into(), Some("tr_s".into()))]);
        assert_eq!(changes(&two, &[]), [("1".into(), None), ("2".into(), None)]);
    }
}
